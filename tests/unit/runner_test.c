/* runner_test.c - real runners behind a real link: every batch comes back once, with the right
 * vectors, and a batch costs no allocation. The thread sanitizer's favourite. */
#include "runner.h"
#include "support/test.h"

#include "batch.h"
#include "engine/engine_fake.h"
#include "link.h"

#include <malloc.h>
#include <poll.h>

enum { DIM = 16, BATCHES = 5, ITEMS = 6, ROUNDS = 400, THREADS = 3 };

static struct models models;

static void open_model(const char *spec) {
    TEST_EQ(engine_fake_open(spec, &models.model[0].engine, NULL), STATUS_OK);
    models.model[0].info = engine_info(models.model[0].engine);
    models.n = 1;
    models.dim_max = DIM;
}

static void fill(struct batch *batch, uint32_t number) {
    batch_reset(batch, models.model[0].engine, 0);
    batch->number = number;
    for (uint32_t i = 0; i < 1 + number % ITEMS; i++) {
        char text[32];
        snprintf(text, sizeof text, "%u of %u", i, number);
        batch_add(batch, i, view_of("p: "), view_of(text), view_of(""), DIM);
    }
}

static void check(const struct batch *batch, engine_seat_t *seat) {
    TEST_EQ(batch->n, 1 + batch->number % ITEMS);
    TEST_TRUE(batch->finished_us >= batch->started_us && batch->started_us > 0);
    for (uint32_t i = 0; i < batch->n; i++) {
        char text[32];
        snprintf(text, sizeof text, "p: %u of %u", i, (uint32_t)batch->number);
        float want[DIM];
        struct engine_item item = {.text = view_of(text), .out = want};
        struct engine_times times = {0};
        engine_run(models.model[0].engine, seat, &item, 1, &times);
        TEST_EQ(batch->items[i].status, STATUS_OK);
        TEST_MEM_EQ(batch->items[i].out, want, sizeof want);
    }
}

static void wait_for(link_t *link) {
    struct pollfd fd = {.fd = link_fd(link), .events = POLLIN};
    TEST_EQ(poll(&fd, 1, 5000), 1);
}

static void test_round_trips(void **state) {
    (void)state;
    open_model("dim=16");
    link_t *link = NULL;
    runner_t *runner[THREADS];
    struct batch batch[BATCHES];
    engine_seat_t *seat = NULL;
    TEST_EQ(engine_seat_new(models.model[0].engine, 512, ITEMS, &seat, NULL), STATUS_OK);
    TEST_EQ(link_new(BATCHES, &link, NULL), STATUS_OK);
    for (uint32_t i = 0; i < BATCHES; i++)
        TEST_TRUE(batch_init(&batch[i], ITEMS, 1024, DIM));
    for (uint32_t i = 0; i < THREADS; i++) {
        struct runner_cfg cfg = {
            .models = &models, .link = link, .number = i, .tokens_max = 512, .items_max = ITEMS};
        TEST_EQ(runner_start(&cfg, &runner[i], NULL), STATUS_OK);
    }
    static bool seen[ROUNDS];
    uint32_t n_sent = 0, n_back = 0;
    for (uint32_t i = 0; i < BATCHES; i++) {
        fill(&batch[i], n_sent++);
        link_push(link, &batch[i]);
    }
    while (n_back < ROUNDS) {
        wait_for(link);
        for (struct batch *done; (done = link_pop(link));) {
            TEST_TRUE(!seen[done->number]);
            seen[done->number] = true;
            n_back++;
            check(done, seat);
            if (n_sent == ROUNDS)
                continue;
            fill(done, n_sent++);
            link_push(link, done);
        }
    }
    struct pollfd fd = {.fd = link_fd(link), .events = POLLIN};
    TEST_EQ(poll(&fd, 1, 0), 0); /* an empty ring is silent: the loop would spin otherwise */
    link_close(link);
    for (uint32_t i = 0; i < THREADS; i++)
        runner_join(&runner[i]);
    for (uint32_t i = 0; i < BATCHES; i++)
        batch_done(&batch[i]);
    link_destroy(&link);
    engine_seat_destroy(&seat);
    engine_destroy(&models.model[0].engine);
}

/* A long text beside waiting runners is shared: sooner done, to the last bit the same, and a batch
 * that comes meanwhile finds a runner. Long and short batches in turn, one or two at a time. */
static void test_team(void **state) {
    (void)state;
    enum { TEXT = 4000, TURNS = 60 };
    static char text[2][TEXT];
    TEST_EQ(engine_open(EMBER_SOURCE_DIR "/tests/data/golden/bert-mean/f32", NULL,
                        &models.model[0].engine, NULL),
            STATUS_OK);
    const engine_t *engine = models.model[0].engine;
    models.model[0].info = engine_info(engine);
    models.n = 1;
    const uint32_t dim = models.dim_max = engine_info(engine)->dim;
    for (size_t i = 0; i + 1 < TEXT; i++)
        text[0][i] = " abcdefg"[i * i % 8];
    memcpy(text[1], "short", 6);
    link_t *link = NULL;
    runner_t *runner[THREADS];
    struct batch batch[2];
    engine_seat_t *seat = NULL;
    float want[2][256];
    TEST_TRUE(dim <= 256);
    TEST_EQ(engine_seat_new(engine, 512, 1, &seat, NULL), STATUS_OK);
    for (int i = 0; i < 2; i++) {
        struct engine_item item = {.text = view_of(text[i]), .out = want[i]};
        engine_run(engine, seat, &item, 1, NULL);
        TEST_EQ(item.status, STATUS_OK);
        TEST_TRUE(batch_init(&batch[i], 1, TEXT, dim));
    }
    TEST_EQ(link_new(2, &link, NULL), STATUS_OK);
    for (uint32_t i = 0; i < THREADS; i++) {
        struct runner_cfg cfg = {
            .models = &models, .link = link, .tokens_max = 512, .items_max = 1};
        TEST_EQ(runner_start(&cfg, &runner[i], NULL), STATUS_OK);
    }
    for (uint32_t turn = 0; turn < TURNS; turn++) {
        uint32_t out = 1 + turn % 2, back = 0;
        for (uint32_t i = 0; i < out; i++) {
            batch_reset(&batch[i], engine, 0);
            batch[i].number = (turn / 2 + i) % 2; /* which text */
            batch_add(&batch[i], 0, view_of(""), view_of(text[batch[i].number]), view_of(""), dim);
            link_push(link, &batch[i]);
        }
        while (back < out) {
            wait_for(link);
            for (struct batch *done; (done = link_pop(link)); back++) {
                TEST_EQ(done->items[0].status, STATUS_OK);
                TEST_MEM_EQ(done->items[0].out, want[done->number], dim * sizeof(float));
            }
        }
    }
    link_close(link);
    for (uint32_t i = 0; i < THREADS; i++)
        runner_join(&runner[i]);
    for (int i = 0; i < 2; i++)
        batch_done(&batch[i]);
    link_destroy(&link);
    engine_seat_destroy(&seat);
    engine_destroy(&models.model[0].engine);
}

/* What waits when the link is closed is left alone, what runs is finished. */
static void test_close(void **state) {
    (void)state;
    open_model("dim=16,sleep_us=300000");
    link_t *link = NULL;
    runner_t *runner = NULL;
    struct batch batch[3];
    TEST_EQ(link_new(3, &link, NULL), STATUS_OK);
    struct runner_cfg cfg = {.models = &models, .link = link, .tokens_max = 512, .items_max = 6};
    TEST_EQ(runner_start(&cfg, &runner, NULL), STATUS_OK);
    for (uint32_t i = 0; i < 3; i++) {
        TEST_TRUE(batch_init(&batch[i], ITEMS, 1024, DIM));
        fill(&batch[i], 0);
        link_push(link, &batch[i]);
    }
    wait_for(link);
    link_close(link);
    runner_join(&runner);
    uint32_t n = 0;
    while (link_pop(link))
        n++;
    TEST_TRUE(n >= 1 && n < 3);
    for (uint32_t i = 0; i < 3; i++)
        batch_done(&batch[i]);
    link_destroy(&link);
    engine_destroy(&models.model[0].engine);
}

/* What no runner has begun can be taken back, oldest first; then it is nobody's. */
static void test_recall(void **state) {
    (void)state;
    open_model("dim=16");
    link_t *link = NULL;
    runner_t *runner = NULL;
    struct batch batch[3];
    TEST_EQ(link_new(3, &link, NULL), STATUS_OK);
    for (uint32_t i = 0; i < 3; i++) {
        TEST_TRUE(batch_init(&batch[i], ITEMS, 1024, DIM));
        fill(&batch[i], 0);
        link_push(link, &batch[i]);
    }
    TEST_TRUE(link_withdraw(link, &batch[1])); /* from between */
    TEST_TRUE(!link_withdraw(link, &batch[1]));
    link_push(link, &batch[1]);
    TEST_TRUE(link_withdraw(link, &batch[1])); /* over the end of the ring */
    TEST_TRUE(link_recall(link) == &batch[0]);
    link_push(link, &batch[1]);
    TEST_TRUE(link_recall(link) == &batch[2]);
    TEST_TRUE(link_recall(link) == &batch[1]);
    TEST_TRUE(link_recall(link) == NULL);
    link_push(link, &batch[2]);
    TEST_TRUE(link_calls(link)); /* one waits still */
    struct runner_cfg cfg = {.models = &models, .link = link, .tokens_max = 512, .items_max = 6};
    TEST_EQ(runner_start(&cfg, &runner, NULL), STATUS_OK);
    wait_for(link);
    TEST_TRUE(link_pop(link) == &batch[2]);
    TEST_TRUE(link_recall(link) == NULL && !link_withdraw(link, &batch[2]));
    TEST_TRUE(link_pop(link) == NULL);
    TEST_TRUE(!link_calls(link));
    link_close(link);
    runner_join(&runner);
    for (uint32_t i = 0; i < 3; i++)
        batch_done(&batch[i]);
    link_destroy(&link);
    engine_destroy(&models.model[0].engine);
}

static void test_no_malloc(void **state) {
    (void)state;
#ifdef EMBER_SANITIZED
    skip(); /* their malloc keeps no such figures */
#endif
    open_model("dim=16");
    struct batch batch;
    engine_seat_t *seat = NULL;
    TEST_EQ(engine_seat_new(models.model[0].engine, 512, ITEMS, &seat, NULL), STATUS_OK);
    TEST_TRUE(batch_init(&batch, ITEMS, 1024, DIM));
    fill(&batch, 5);
    runner_batch(seat, &batch);
    size_t before = mallinfo2().uordblks;
    for (uint32_t i = 0; i < 100; i++) {
        fill(&batch, i);
        runner_batch(seat, &batch);
    }
    TEST_EQ(mallinfo2().uordblks, before);
    batch_done(&batch);
    engine_seat_destroy(&seat);
    engine_destroy(&models.model[0].engine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips), cmocka_unit_test(test_team),
        cmocka_unit_test(test_close),       cmocka_unit_test(test_recall),
        cmocka_unit_test(test_no_malloc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
