/* serve_leave_test.c - requests that end before their answer is there, or are not taken at all:
 * cancelled, expired, given back, forgotten, without room; and what their texts' batches then do,
 * and cost. */
#include "support/serve_seen.h"

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

/* Batches that no runner has begun wait again, and so can be given to others. */
static void test_recall(void **state) {
    (void)state;
    struct wire_tokenize_request job = {.texts = texts_one, .n_texts = 1};
    texts_one[0] = view_of("recalled");
    for (uint32_t given = 0; given < 2; given++) {
        TEST_ROW(given ? "and given back" : "and run later");
        memset(&seen, 0, sizeof seen);
        world.cache.n = 0;
        embed(1, &(struct wire_embed_request){.texts = texts_one, .n_texts = 1});
        world_answer(&world, 0);
        TEST_TRUE(world_fill(&world));
        TEST_EQ(codec_tokenize_request_encode(&job, &world.wire), STATUS_OK);
        dispatch(2, WIRE_TASK_TOKENIZE, 0);
        TEST_TRUE(world_fill(&world));
        dispatch(3, WIRE_TASK_TOKENIZE, 0);
        TEST_TRUE(world_fill(&world));
        serve_cancel(world.serve, 1, 3); /* its memory waits for the runner */
        TEST_EQ(seen.n, 1);
        TEST_EQ(serve_give_back(world.serve), 0); /* a runner may have begun them */
        for (uint32_t i = 0; i < 3; i++)
            world_recall(&world, i);
        serve_check(world.serve);
        if (given)
            TEST_EQ(serve_give_back(world.serve), 2);
        world_finish(&world);
        TEST_EQ(seen.n, 3);
        TEST_EQ(seen.nacks, given ? 2 : 0);
        TEST_EQ(seen.status, given ? STATUS_UNAVAILABLE : STATUS_OK);
        TEST_TRUE(serve_idle(world.serve));
        serve_check(world.serve);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_cancel),   TEST(test_dropped), TEST(test_quota),
        TEST(test_deadline), TEST(test_full),    TEST(test_give_back),
        TEST(test_work),     TEST(test_recall),  TEST(test_forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
