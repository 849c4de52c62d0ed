/* oom_worker_test.c - the worker with each of its allocations failing in turn: its start, and
 * requests of every task, on models that the fake engine plays. */
#include "support/oom.h"
#include "support/serve_world.h"

#include "link.h"
#include "loop.h"
#include "settings.h"

static struct world world;
static enum status answered[64]; /* by ticket */
static uint32_t n_answered;

static void on_reply(void *arg, const struct serve_reply *reply) {
    (void)arg;
    TEST_TRUE(reply->origin.ticket < 64);
    answered[reply->origin.ticket] = reply->nack ? STATUS_RESOURCE_EXHAUSTED : reply->status;
    n_answered++;
}

static const struct serve_cfg cfg = {.requests_max = 4, .items_max = 160, .bytes_max = 8 << 20};

static int set_up(void **state) {
    (void)state;
    memset(&world, 0, sizeof world);
    world_open(&world, cfg, on_reply, NULL);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    world_close(&world);
    return 0;
}

/* ------------------------------------------------------------------------------ requests */

enum { REQUESTS = 5 };

static struct view texts[40];

static enum status encode(uint32_t i) {
    struct view labels[] = {view_of("a"), view_of("b")};
    for (uint32_t k = 0; k < 40; k++)
        texts[k] = view_of(k % 2 ? "a text" : "another text of a request");
    struct wire_embed_request embed = {.texts = texts, .n_texts = 40};
    struct wire_classify_request labelled = {
        .texts = texts, .n_texts = 8, .labels = labels, .n_labels = 2};
    struct wire_classify_request own = {.texts = texts, .n_texts = 8, .seconds = texts};
    struct wire_rerank_request rerank = {.query = texts[0], .documents = texts, .n_documents = 8};
    struct wire_tokenize_request tokenize = {.texts = texts, .n_texts = 8, .pieces = true};
    switch (i) {
    case 0:
        return codec_embed_request_encode(&embed, &world.wire);
    case 1:
        return codec_classify_request_encode(&labelled, &world.wire);
    case 2:
        return codec_classify_request_encode(&own, &world.wire);
    case 3:
        return codec_rerank_request_encode(&rerank, &world.wire);
    default:
        return codec_tokenize_request_encode(&tokenize, &world.wire);
    }
}

/* All of them, each answered once; the first status that is not OK. */
static enum status serve_all(void) {
    static const enum world_model models[REQUESTS] = {WORLD_M0, WORLD_NLI, WORLD_LABELS,
                                                      WORLD_SCORE, WORLD_M1};
    static const enum wire_task tasks[REQUESTS] = {WIRE_TASK_EMBED, WIRE_TASK_CLASSIFY,
                                                   WIRE_TASK_CLASSIFY, WIRE_TASK_RERANK,
                                                   WIRE_TASK_TOKENIZE};
    enum status worst = STATUS_OK;
    n_answered = 0;
    for (uint32_t i = 0; i < REQUESTS; i++) {
        enum status st = encode(i);
        if (st != STATUS_OK)
            return st; /* of the test's own buffer */
        struct serve_origin origin = {.ticket = i, .broker = 0, .service = 9};
        serve_dispatch(world.serve, &origin, models[i], tasks[i], WIRE_LANE_NORMAL, 0,
                       wire_out_view(&world.wire));
        world_finish(&world);
        serve_check(world.serve);
        TEST_EQ(n_answered, i + 1);
        if (worst == STATUS_OK)
            worst = answered[i];
    }
    TEST_TRUE(serve_idle(world.serve));
    return worst;
}

/* A serve of its own, from the start to the end; what was refused is served afterwards. */
static enum status life(void *arg) {
    (void)arg;
    struct err err = {.status = STATUS_OK};
    struct serve_cfg full = cfg;
    full.models = &world.models;
    full.cache = (struct serve_cache){.self = (cache_t *)(void *)&world.cache,
                                      .get_now = world_get_now,
                                      .want = world_want,
                                      .put = world_put};
    full.batcher =
        (struct batcher_cfg){.tokens_max = 48, .items_max = 12, .bytes_max = 2 * LIMIT_TEXT_BYTES};
    full.limits.pairs = WORLD_PAIRS;
    full.brokers = 1;
    full.worker = "w";
    full.reply = on_reply;
    world.cache.n = 0;
    enum status st = serve_new(&full, &world.serve, &err);
    TEST_TRUE((st == STATUS_OK) == (world.serve != NULL) && (st == STATUS_OK || err.text[0]));
    if (st == STATUS_OK) {
        world_time(&world, 0);
        st = serve_all();
        if (oom_disarm() > 0)
            TEST_EQ(serve_all(), STATUS_OK);
    }
    serve_destroy(&world.serve);
    wire_out_done(&world.wire);
    return st;
}

static void test_requests(void **state) {
    (void)state;
    serve_destroy(&world.serve);
    TEST_TRUE(oom_each("requests", life, NULL) >= 10);
}

/* ------------------------------------------------------------------------------ the start */

static enum status start(void *arg) {
    const struct settings *settings = arg;
    struct err err = {.status = STATUS_OK};
    link_t *link = NULL;
    loop_t *loop = NULL;
    enum status st = link_new(2, &link, &err);
    if (st == STATUS_OK) {
        struct loop_cfg whole = {.settings = settings,
                                 .models = &world.models,
                                 .link = link,
                                 .n_batches = 2,
                                 .items_max = 12,
                                 .signals_fd = -1};
        st = loop_new(&whole, &loop, &err);
        TEST_TRUE((st == STATUS_OK) == (loop != NULL));
    }
    if (st != STATUS_OK)
        TEST_TRUE(err.status == st && err.text[0]);
    loop_destroy(&loop);
    link_destroy(&link);
    return st;
}

static void test_start(void **state) {
    (void)state;
    struct settings settings = {.threads = 1,
                                .credit = 16,
                                .batch_tokens = 48,
                                .redis = "off",
                                .name = "w",
                                .cache_memory = 1 << 20,
                                .batch_wait_us = 1000};
    settings.brokers.n = 2;
    snprintf(settings.brokers.item[0], CFG_TEXT_MAX, "ipc://@ember-oom-nobody-1");
    snprintf(settings.brokers.item[1], CFG_TEXT_MAX, "ipc://@ember-oom-nobody-2");
    TEST_TRUE(oom_each("start", start, &settings) >= 15);
    snprintf(settings.redis, sizeof settings.redis, "redis://127.0.0.1:1/0");
    oom_each("start with Redis", start, &settings);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_requests, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_start, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
