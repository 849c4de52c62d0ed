/* serve_test.c - one request at a time: what each kind of request is answered, and from where. */
#include "support/serve_world.h"

#include "engine/classify.h"
#include "engine/vector.h"

static struct world world;

static enum world_model asked_model; /* WORLD_M0 unless a test says otherwise */

struct seen {
    uint32_t n, nacks;
    struct serve_origin origin;
    enum status status;
    uint32_t work_us, work_us_sum;
    uint8_t body[64 * 1024];
    size_t bytes;
};
static struct seen seen;

static void on_reply(void *arg, const struct serve_reply *reply) {
    struct seen *to = arg;
    to->n++;
    to->nacks += reply->nack;
    to->origin = reply->origin;
    to->status = reply->status;
    to->work_us = reply->work_us;
    to->work_us_sum += reply->work_us;
    TEST_TRUE(reply->body.bytes <= sizeof to->body);
    if (reply->body.bytes)
        memcpy(to->body, reply->body.data, reply->body.bytes);
    to->bytes = reply->body.bytes;
}

static struct view seen_body(void) {
    arena_reset(&world.arena);
    return view_make(seen.body, seen.bytes);
}

static int setup(void **state) {
    (void)state;
    memset(&world, 0, sizeof world);
    memset(&seen, 0, sizeof seen);
    asked_model = WORLD_M0;
    world_open(&world,
               (struct serve_cfg){.requests_max = 4, .items_max = 160, .bytes_max = 8 << 20},
               on_reply, &seen);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    world_close(&world);
    return 0;
}

static void dispatch(uint64_t ticket, enum wire_task task, uint32_t budget_us) {
    struct serve_origin origin = {.ticket = ticket, .broker = 1, .service = 9};
    serve_dispatch(world.serve, &origin, asked_model, task, WIRE_LANE_NORMAL, budget_us,
                   wire_out_view(&world.wire));
}

static void embed(uint64_t ticket, const struct wire_embed_request *in) {
    TEST_EQ(codec_embed_request_encode(in, &world.wire), STATUS_OK);
    dispatch(ticket, WIRE_TASK_EMBED, 0);
}

static struct wire_embed_reply seen_embed(void) {
    struct wire_embed_reply reply;
    TEST_EQ(seen.status, STATUS_OK);
    TEST_EQ(codec_embed_reply_decode(seen_body(), &world.arena, &reply, NULL), STATUS_OK);
    return reply;
}

static void expect_error(enum status status, uint32_t item, const char *part) {
    TEST_EQ(seen.status, status);
    struct wire_error error;
    TEST_EQ(codec_error_decode(seen_body(), &world.arena, &error, NULL), STATUS_OK);
    char text[512] = "";
    memcpy(text, error.message.data, error.message.bytes);
    TEST_HAS(text, part);
    TEST_EQ(error.item, item);
}

static struct view texts_one[1], texts_two[2];

static void test_embed_wrong(void **state) {
    (void)state;
    texts_two[0] = view_of("short");
    texts_two[1] = view_of("a text of more than sixteen bytes");
    const struct {
        const char *name;
        struct wire_embed_request in;
        enum status status;
        uint32_t item;
        const char *part;
    } rows[] = {
        {"dimensions beyond the model's", {.dimensions = 9}, STATUS_INVALID_ARGUMENT, 0, "have 8"},
        {"a prompt it has not",
         {.prompt_name = view_of("query")},
         STATUS_INVALID_ARGUMENT,
         0,
         "no prompt of that name; it has none"},
        {"too long and not to be cut",
         {.truncate = WIRE_TRUNCATE_OFF},
         STATUS_INVALID_ARGUMENT,
         2,
         "35 tokens, 16 are allowed"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct wire_embed_request in = rows[i].in;
        in.texts = texts_two;
        in.n_texts = 2;
        embed(i, &in);
        world_finish(&world);
        TEST_EQ(seen.n, i + 1);
        TEST_EQ(seen.nacks, 0);
        expect_error(rows[i].status, rows[i].item, rows[i].part);
        serve_check(world.serve);
    }
    TEST_ROW("a body that is no message");
    world.wire.bytes = 0;
    TEST_EQ(codec_embed_request_encode(
                &(struct wire_embed_request){.texts = texts_two, .n_texts = 2}, &world.wire),
            STATUS_OK);
    world.wire.bytes -= 3;
    dispatch(90, WIRE_TASK_EMBED, 0);
    TEST_EQ(seen.status, STATUS_INVALID_ARGUMENT);
    TEST_ROW("a task it does not do");
    dispatch(91, WIRE_TASK_RERANK, 0);
    expect_error(STATUS_UNIMPLEMENTED, 0,
                 "model 'm0' does not rerank; it can embed, classify, tokenize");
    asked_model = WORLD_SCORE;
    dispatch(92, WIRE_TASK_CLASSIFY, 0);
    expect_error(STATUS_UNIMPLEMENTED, 0,
                 "model 'score' does not classify; it can rerank, tokenize");
    TEST_TRUE(serve_idle(world.serve));
}

static void test_nan(void **state) {
    (void)state;
    texts_two[0] = view_of("fine");
    texts_two[1] = view_of("a NaN");
    embed(1, &(struct wire_embed_request){.texts = texts_two, .n_texts = 2});
    world_finish(&world);
    expect_error(STATUS_INTERNAL, 2, "no usable vector");
    TEST_EQ(world.cache.puts, 1); /* what was fine is kept all the same */
}

/* Who gave the vector, by what is known of the text and how the cache is to be used. */
static void test_sources(void **state) {
    (void)state;
    texts_one[0] = view_of("hello");
    const struct {
        const char *name;
        enum wire_cache cache;
        bool redis_only, cut_short; /* max_tokens below the text's length */
        enum wire_source source;
        uint32_t puts; /* after it */
    } rows[] = {
        {"never seen", WIRE_CACHE_USE, false, false, WIRE_SOURCE_MODEL, 1},
        {"in memory", WIRE_CACHE_USE, false, false, WIRE_SOURCE_MEMORY, 1},
        {"in Redis", WIRE_CACHE_USE, true, false, WIRE_SOURCE_REDIS, 1},
        {"bypassed: neither read nor written", WIRE_CACHE_BYPASS, false, false, WIRE_SOURCE_MODEL,
         1},
        {"refreshed: not read, but written", WIRE_CACHE_REFRESH, false, false, WIRE_SOURCE_MODEL,
         2},
        {"cut by the request: nobody else's answer", WIRE_CACHE_USE, false, true, WIRE_SOURCE_MODEL,
         2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        for (uint32_t e = 0; e < world.cache.n; e++)
            world.cache.entry[e].in_memory = !rows[i].redis_only;
        embed(i, &(struct wire_embed_request){.texts = texts_one,
                                              .n_texts = 1,
                                              .cache = rows[i].cache,
                                              .max_tokens = rows[i].cut_short ? 5 : 0});
        world_finish(&world);
        TEST_EQ(seen.n, i + 1);
        struct wire_embed_reply reply = seen_embed();
        TEST_EQ(reply.facts.source[0], rows[i].source);
        TEST_EQ(reply.facts.tokens[0], rows[i].cut_short ? 5 : 7);
        TEST_EQ(reply.facts.truncated[0], rows[i].cut_short);
        TEST_EQ(world.cache.puts, rows[i].puts);
        float full[WORLD_DIM], want[WORLD_DIM];
        world_vector(&world, 0, texts_one[0], ENGINE_CUT_RIGHT, rows[i].cut_short ? 5 : 0, full);
        vector_finish(full, WORLD_DIM, 0, world.models.model[0].info->normalize, want);
        TEST_MEM_EQ(reply.vectors.data, want, sizeof want);
    }
}

/* Two requests and one of them twice: computed once, told truthfully. */
static void test_shared(void **state) {
    (void)state;
    texts_two[0] = texts_two[1] = texts_one[0] = view_of("the same");
    embed(1, &(struct wire_embed_request){.texts = texts_two, .n_texts = 2});
    embed(2, &(struct wire_embed_request){.texts = texts_one, .n_texts = 1});
    TEST_EQ(world.cache.n_wants, 1);
    world_answer(&world, 0);
    TEST_TRUE(world_fill(&world));
    TEST_EQ(world.batch[2].n, 1);
    world_run(&world, 2);
    TEST_EQ(seen.n, 2);
    const struct serve_stats *stats = serve_stats(world.serve);
    TEST_EQ(counter_get(&stats->misses), 1);
    TEST_EQ(counter_get(&stats->shared), 2);
    TEST_EQ(seen_embed().facts.source[0], WIRE_SOURCE_SHARED); /* the second request's */
}

/* The one who asked first goes; those who joined still get their answer, also from a batch. */
static void test_cancel(void **state) {
    (void)state;
    texts_one[0] = view_of("the same");
    const char *const stages[] = {"waiting for Redis", "queued", "running"};
    for (uint32_t stage = 0; stage < 3; stage++) {
        TEST_ROW(stages[stage]);
        memset(&seen, 0, sizeof seen);
        world.cache.n = 0;
        embed(1, &(struct wire_embed_request){.texts = texts_one, .n_texts = 1});
        embed(2, &(struct wire_embed_request){.texts = texts_one, .n_texts = 1});
        if (stage > 0)
            world_answer(&world, 0);
        if (stage > 1)
            TEST_TRUE(world_fill(&world));
        serve_cancel(world.serve, 2, 1); /* another broker's ticket 1 */
        TEST_EQ(seen.n, 0);
        serve_cancel(world.serve, 1, 1);
        serve_check(world.serve);
        TEST_EQ(seen.n, 1);
        TEST_EQ(seen.status, STATUS_CANCELLED);
        world_finish(&world);
        TEST_EQ(seen.n, 2);
        TEST_EQ(seen.origin.ticket, 2);
        TEST_EQ(seen_embed().facts.source[0], WIRE_SOURCE_MODEL);
        TEST_TRUE(serve_idle(world.serve));
    }
    TEST_ROW("nobody waits any more");
    world.cache.n = 0;
    embed(3, &(struct wire_embed_request){.texts = texts_one, .n_texts = 1});
    world_answer(&world, 0);
    serve_cancel(world.serve, 1, 3);
    TEST_TRUE(!world_fill(&world)); /* so nothing is computed */
    TEST_TRUE(serve_idle(world.serve));
}

/* Batches are prepared before a runner is free: what is taken back until one begins is not
 * computed.
 * */
static void test_dropped(void **state) {
    (void)state;
    const struct serve_stats *stats = serve_stats(world.serve);
    struct batch *batch = &world.batch[0];
    struct wire_embed_request in = {.texts = texts_one, .n_texts = 1, .cache = WIRE_CACHE_REFRESH};
    TEST_ROW("one of three");
    const char *const words[] = {"aa", "b", "cccc"};
    for (uint64_t i = 0; i < 3; i++) {
        texts_one[0] = view_of(words[i]);
        embed(1 + i, &in);
    }
    TEST_TRUE(serve_fill(world.serve, batch, 1));
    TEST_EQ(batch->n, 3);
    serve_cancel(world.serve, 1, 1);
    runner_batch(world.seat[WORLD_M0], batch);
    TEST_EQ(batch->n_run, 2);
    TEST_TRUE(view_equal(batch->items[0].text, view_of("b")));
    TEST_TRUE(view_equal(batch->items[1].text, view_of("cccc")));
    uint64_t puts = world.cache.puts;
    serve_done(world.serve, batch);
    serve_check(world.serve);
    TEST_EQ(seen.n, 3);
    TEST_EQ(seen.origin.ticket, 3);
    TEST_EQ(seen_embed().facts.tokens[0], 6); /* its own answer */
    TEST_EQ(world.cache.puts, puts + 2);
    TEST_EQ(counter_get(&stats->dropped), 1);
    TEST_TRUE(serve_idle(world.serve));
    in.cache = WIRE_CACHE_USE;
    texts_one[0] = view_of("new text");
    const char *const late[] = {"nobody comes", "somebody comes before it begins",
                                "somebody comes when it has begun"};
    for (uint32_t i = 0; i < 3; i++) {
        TEST_ROW(late[i]);
        memset(&seen, 0, sizeof seen);
        world.cache.n = 0;
        embed(10, &in);
        world_answer(&world, 0);
        TEST_TRUE(serve_fill(world.serve, batch, 1));
        serve_cancel(world.serve, 1, 10);
        serve_check(world.serve);
        if (i == 1)
            embed(11, &in);
        runner_batch(world.seat[WORLD_M0], batch);
        TEST_EQ(batch->n_run, i == 1);
        if (i == 2)
            embed(11, &in);
        serve_done(world.serve, batch);
        serve_check(world.serve);
        world_finish(&world);
        TEST_EQ(seen.n, i ? 2 : 1);
        TEST_EQ(seen.status, i ? STATUS_OK : STATUS_CANCELLED);
        TEST_EQ(world.cache.n, i > 0);
        TEST_TRUE(serve_idle(world.serve));
    }
    TEST_ROW("expired, not cancelled");
    world.cache.n = 0;
    TEST_EQ(codec_embed_request_encode(&in, &world.wire), STATUS_OK);
    dispatch(20, WIRE_TASK_EMBED, 1000);
    world_answer(&world, 0);
    TEST_TRUE(serve_fill(world.serve, batch, 1));
    world_time(&world, SERVE_SCAN_US);
    serve_tick(world.serve);
    TEST_EQ(seen.status, STATUS_DEADLINE_EXCEEDED);
    runner_batch(world.seat[WORLD_M0], batch);
    TEST_EQ(batch->n_run, 0);
    serve_done(world.serve, batch);
    TEST_TRUE(serve_idle(world.serve));
    TEST_ROW("a tokenise job that expired while it waited");
    TEST_EQ(codec_tokenize_request_encode(
                &(struct wire_tokenize_request){.texts = texts_one, .n_texts = 1}, &world.wire),
            STATUS_OK);
    uint32_t n = seen.n;
    dispatch(21, WIRE_TASK_TOKENIZE, 1000);
    world_time(&world, 1000);
    TEST_TRUE(!serve_fill(world.serve, batch, 1));
    TEST_EQ(seen.n, n + 1);
    TEST_EQ(seen.status, STATUS_DEADLINE_EXCEEDED);
    TEST_TRUE(serve_idle(world.serve));
}

/* Of two brokers none can take all the room; tickets of one mean nothing to the other. */
static void test_quota(void **state) {
    (void)state;
    world_close(&world);
    memset(&world, 0, sizeof world);
    world_open(
        &world,
        (struct serve_cfg){.requests_max = 8, .items_max = 160, .brokers = 2, .bytes_max = 8 << 20},
        on_reply, &seen);
    struct view many[40];
    char names[40][8];
    for (uint32_t i = 0; i < 40; i++) {
        snprintf(names[i], sizeof names[i], "q%u", i);
        many[i] = view_of(names[i]);
    }
    struct wire_embed_request in = {.texts = many, .n_texts = 40};
    for (uint64_t ticket = 1; ticket <= 3; ticket++)
        embed(ticket, &in); /* of broker 1 */
    TEST_EQ(seen.n, 0);
    embed(4, &in); /* 160 are there, 120 for each */
    TEST_EQ(seen.nacks, 1);
    struct serve_origin other = {.ticket = 1, .broker = 0, .service = 9};
    serve_dispatch(world.serve, &other, WORLD_M0, WIRE_TASK_EMBED, WIRE_LANE_NORMAL, 0,
                   wire_out_view(&world.wire));
    TEST_EQ(seen.nacks, 1);
    TEST_TRUE(serve_has(world.serve, 0, 1));
    TEST_TRUE(serve_has(world.serve, 1, 3));
    TEST_TRUE(!serve_has(world.serve, 0, 3) && !serve_has(world.serve, 1, 4));
    serve_check(world.serve);
    serve_cancel(world.serve, 0, 3); /* the other's */
    TEST_EQ(seen.n, 1);
    serve_cancel(world.serve, 0, 1);
    TEST_EQ(seen.n, 2);
    TEST_EQ(seen.origin.broker, 0);
    TEST_TRUE(!serve_has(world.serve, 0, 1));
    TEST_TRUE(serve_has(world.serve, 1, 1));
    world_finish(&world);
    TEST_EQ(seen.n, 5);
    serve_check(world.serve);
}

static void test_deadline(void **state) {
    (void)state;
    texts_one[0] = view_of("late");
    TEST_EQ(codec_embed_request_encode(
                &(struct wire_embed_request){.texts = texts_one, .n_texts = 1}, &world.wire),
            STATUS_OK);
    TEST_ROW("before its batch");
    dispatch(1, WIRE_TASK_EMBED, 1000);
    world_answer(&world, 0);
    world_time(&world, 1000);
    TEST_TRUE(!world_fill(&world));
    expect_error(STATUS_DEADLINE_EXCEEDED, 0, "deadline");
    TEST_ROW("while Redis thinks");
    dispatch(2, WIRE_TASK_EMBED, 1000);
    world_time(&world, 999);
    serve_tick(world.serve);
    TEST_EQ(seen.n, 1);
    world_time(&world, SERVE_SCAN_US);
    TEST_TRUE(serve_deadline_us(world.serve) <= world.now_us);
    serve_tick(world.serve);
    TEST_EQ(seen.n, 2);
    TEST_EQ(seen.status, STATUS_DEADLINE_EXCEEDED);
    TEST_TRUE(serve_deadline_us(world.serve) == UINT64_MAX);
    world_finish(&world);
    serve_check(world.serve);
}

/* What there is no room for goes back, and says so before anything is started. */
static void test_full(void **state) {
    (void)state;
    struct view many[64];
    char names[64][8];
    for (uint32_t i = 0; i < 64; i++) {
        snprintf(names[i], sizeof names[i], "t%u", i);
        many[i] = view_of(names[i]);
    }
    struct wire_embed_request big = {.texts = many, .n_texts = 64};
    texts_one[0] = view_of("x");
    struct wire_embed_request small = {.texts = texts_one, .n_texts = 1};
    TEST_ROW("texts");
    embed(1, &big);
    embed(2, &big);
    TEST_EQ(seen.n, 0);
    embed(3, &big); /* 192 of 160 */
    TEST_EQ(seen.nacks, 1);
    TEST_EQ(seen.origin.ticket, 3);
    TEST_ROW("requests");
    embed(4, &small);
    embed(5, &small);
    TEST_EQ(seen.nacks, 1);
    embed(6, &small); /* a fifth of four */
    TEST_EQ(seen.nacks, 2);
    world_finish(&world);
    TEST_EQ(seen.n, 6);
    TEST_ROW("memory");
    static char long_text[LIMIT_TEXT_BYTES];
    memset(long_text, 'a', sizeof long_text);
    struct view three[3] = {view_make(long_text, sizeof long_text),
                            view_make(long_text, sizeof long_text - 1),
                            view_make(long_text, sizeof long_text - 2)};
    struct wire_embed_request heavy = {.texts = three, .n_texts = 3}; /* 2 MiB to decode each */
    for (uint32_t i = 0; i < 4; i++)
        embed(10 + i, &heavy);
    TEST_TRUE(seen.nacks > 2);
    world_finish(&world);
    TEST_EQ(seen.n, 10);
    TEST_ROW("draining");
    serve_drain(world.serve);
    uint32_t nacks = seen.nacks;
    embed(20, &small);
    TEST_EQ(seen.nacks, nacks + 1);
    serve_check(world.serve);
}

static void test_give_back(void **state) {
    (void)state;
    texts_one[0] = view_of("x");
    embed(1, &(struct wire_embed_request){.texts = texts_one, .n_texts = 1});
    world_answer(&world, 0);
    TEST_TRUE(world_fill(&world));
    texts_one[0] = view_of("y");
    embed(2, &(struct wire_embed_request){.texts = texts_one, .n_texts = 1});
    TEST_EQ(serve_give_back(world.serve), 1); /* the first may be running: no NACK is true of it */
    TEST_EQ(seen.nacks, 1);
    TEST_EQ(seen.origin.ticket, 2);
    TEST_TRUE(!serve_idle(world.serve));
    world_finish(&world);
    TEST_EQ(seen.n, 2);
    TEST_EQ(seen.nacks, 1);
    TEST_EQ(seen.status, STATUS_OK);
    TEST_TRUE(serve_idle(world.serve));
    TEST_ROW("a tokenise job, waiting and with a runner");
    for (uint32_t out = 0; out < 2; out++) {
        struct wire_tokenize_request in = {.texts = texts_one, .n_texts = 1};
        TEST_EQ(codec_tokenize_request_encode(&in, &world.wire), STATUS_OK);
        dispatch(3 + out, WIRE_TASK_TOKENIZE, 0);
        TEST_TRUE(!out || world_fill(&world));
        TEST_EQ(serve_give_back(world.serve), !out);
        world_finish(&world);
        TEST_EQ(seen.status, out ? STATUS_OK : STATUS_UNAVAILABLE);
    }
}

/* Engine work goes by tokens, to who asked first, and a hit costs nothing. */
static void test_work(void **state) {
    (void)state;
    texts_one[0] = view_of("seven b"); /* 9 tokens */
    embed(1, &(struct wire_embed_request){.texts = texts_one, .n_texts = 1});
    texts_two[0] = view_of("x");       /* 3 */
    texts_two[1] = view_of("seven b"); /* shared */
    embed(2, &(struct wire_embed_request){.texts = texts_two, .n_texts = 2});
    while (world.cache.n_wants)
        world_answer(&world, 0);
    TEST_TRUE(serve_fill(world.serve, &world.batch[0], 1));
    TEST_EQ(world.batch[0].n, 2);
    runner_batch(world.seat[WORLD_M0], &world.batch[0]);
    world.batch[0].times = (struct engine_times){.tokenize_us = 200, .infer_us = 1000};
    serve_done(world.serve, &world.batch[0]);
    TEST_EQ(seen.n, 2);
    TEST_EQ(seen.origin.ticket, 2);
    TEST_EQ(seen.work_us, 300);
    TEST_EQ(seen.work_us_sum, 1200); /* nothing of the batch is lost or counted twice */
    memset(&seen, 0, sizeof seen);
    TEST_ROW("from memory");
    embed(3, &(struct wire_embed_request){.texts = texts_two, .n_texts = 2});
    TEST_EQ(seen.n, 1);
    TEST_EQ(seen.work_us, 0);
    TEST_ROW("tokenise: all of its time");
    struct wire_tokenize_request in = {.texts = texts_two, .n_texts = 2};
    TEST_EQ(codec_tokenize_request_encode(&in, &world.wire), STATUS_OK);
    dispatch(4, WIRE_TASK_TOKENIZE, 0);
    TEST_TRUE(serve_fill(world.serve, &world.batch[0], 1));
    runner_batch(world.seat[WORLD_M0], &world.batch[0]);
    world.batch[0].times.tokenize_us = 77;
    serve_done(world.serve, &world.batch[0]);
    TEST_EQ(seen.n, 2);
    TEST_EQ(seen.work_us, 77);
}

static void test_forget(void **state) {
    (void)state;
    texts_one[0] = view_of("x");
    embed(1, &(struct wire_embed_request){.texts = texts_one, .n_texts = 1});
    serve_forget(world.serve, 0);
    TEST_TRUE(!serve_idle(world.serve));
    serve_forget(world.serve, 1);
    TEST_TRUE(serve_idle(world.serve));
    world_finish(&world);
    TEST_EQ(seen.n, 0);
}

static void classify(uint64_t ticket, const struct wire_classify_request *in) {
    TEST_EQ(codec_classify_request_encode(in, &world.wire), STATUS_OK);
    dispatch(ticket, WIRE_TASK_CLASSIFY, 0);
}

static void test_classify(void **state) {
    (void)state;
    const struct view labels[] = {view_of("b"), view_of("a"), view_of("c")};
    texts_two[0] = view_of("first");
    texts_two[1] = view_of("x a x");
    const struct {
        const char *name;
        struct wire_classify_request in;
        uint32_t hypotheses; /* texts the model is given: labels and texts it has not seen */
        enum wire_source source;
        uint32_t top;
    } rows[] = {
        {"all new", {.top_k = 0}, 5, WIRE_SOURCE_MODEL, 3},
        {"known", {.top_k = 2}, 0, WIRE_SOURCE_MEMORY, 2},
        {"scored one by one: vectors are known", {.multi_label = true}, 0, WIRE_SOURCE_MEMORY, 3},
        {"another template, other hypotheses",
         {.hypothesis_template = view_of("x {} x")},
         2,
         WIRE_SOURCE_MODEL,
         3},
        {"one label more than none", {.n_labels = 1}, 0, WIRE_SOURCE_MEMORY, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct wire_classify_request in = rows[i].in;
        in.texts = texts_two;
        in.n_texts = 2;
        in.labels = labels;
        in.n_labels = in.n_labels ? in.n_labels : 3;
        uint64_t before = world.cache.puts;
        classify(i, &in);
        world_finish(&world);
        struct wire_classify_reply reply;
        TEST_EQ(seen.status, STATUS_OK);
        TEST_EQ(codec_classify_reply_decode(seen_body(), &world.arena, &reply, NULL), STATUS_OK);
        TEST_EQ(reply.n_results, 2);
        TEST_EQ(reply.results[0].n, rows[i].top);
        TEST_EQ(reply.facts.source[0], rows[i].source);
        TEST_EQ(world.cache.puts - before,
                rows[i].hypotheses + (i == 1 ? 0 : 2)); /* a cls entry a text, when scored here */
        if (in.hypothesis_template.bytes) {
            TEST_EQ(reply.results[1].label[0], 1); /* the text is the hypothesis of "a" */
            TEST_TRUE(reply.results[1].score[0] > 0.9F);
        }
        for (uint32_t k = 1; k < reply.results[0].n; k++)
            TEST_TRUE(reply.results[0].score[k - 1] >= reply.results[0].score[k]);
    }
}

static void test_classify_wrong(void **state) {
    (void)state;
    texts_one[0] = view_of("x");
    const struct view labels[] = {view_of("fine"), view_of("a label of too many bytes")};
    classify(1, &(struct wire_classify_request){.texts = texts_one, .n_texts = 1});
    expect_error(STATUS_INVALID_ARGUMENT, 0, "model 'm0' has no labels of its own");
    /* Cutting the label is wrong for those who forbade it, also when others allowed it before. */
    for (uint64_t ticket = 2; ticket < 6; ticket++) {
        bool off = ticket % 2;
        classify(ticket, &(struct wire_classify_request){.texts = texts_one,
                                                         .n_texts = 1,
                                                         .labels = labels,
                                                         .n_labels = 2,
                                                         .truncate = off ? WIRE_TRUNCATE_OFF
                                                                         : WIRE_TRUNCATE_RIGHT});
        world_finish(&world);
        if (off)
            expect_error(STATUS_INVALID_ARGUMENT, 0, "label 2");
        else
            TEST_EQ(seen.status, STATUS_OK);
    }
    TEST_TRUE(serve_idle(world.serve));
}

static void test_tokenize(void **state) {
    (void)state;
    texts_two[0] = view_of("ab");
    texts_two[1] = view_of("twenty bytes of text");
    struct wire_tokenize_request in = {.texts = texts_two, .n_texts = 2, .pieces = true};
    TEST_EQ(codec_tokenize_request_encode(&in, &world.wire), STATUS_OK);
    dispatch(1, WIRE_TASK_TOKENIZE, 0);
    world_finish(&world);
    struct wire_tokenize_reply reply;
    TEST_EQ(seen.status, STATUS_OK);
    TEST_EQ(codec_tokenize_reply_decode(seen_body(), &world.arena, &reply, NULL), STATUS_OK);
    TEST_EQ(reply.results[0].n_ids, 4);
    TEST_EQ(reply.results[0].ids[2], 'b');
    TEST_TRUE(view_equal(reply.results[0].pieces[1], view_of("a")));
    TEST_EQ(reply.results[1].n_ids, 16);
    TEST_EQ(reply.results[1].full, 22);
    TEST_EQ(reply.facts.truncated[1], 1);
    TEST_ROW("cancelled while a runner writes into it");
    dispatch(2, WIRE_TASK_TOKENIZE, 0);
    TEST_TRUE(world_fill(&world));
    serve_cancel(world.serve, 1, 2);
    serve_check(world.serve);
    TEST_EQ(seen.n, 2);
    world_finish(&world);
    TEST_EQ(seen.n, 2);
    serve_check(world.serve);
    TEST_ROW("too long and not to be cut");
    in.truncate = WIRE_TRUNCATE_OFF;
    TEST_EQ(codec_tokenize_request_encode(&in, &world.wire), STATUS_OK);
    dispatch(3, WIRE_TASK_TOKENIZE, 0);
    world_finish(&world);
    expect_error(STATUS_INVALID_ARGUMENT, 2, "the text has more than the 16 tokens");
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_embed_wrong), TEST(test_nan),
        TEST(test_sources),     TEST(test_shared),
        TEST(test_cancel),      TEST(test_dropped),
        TEST(test_quota),       TEST(test_deadline),
        TEST(test_full),        TEST(test_give_back),
        TEST(test_work),        TEST(test_forget),
        TEST(test_classify),    TEST(test_classify_wrong),
        TEST(test_tokenize),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
