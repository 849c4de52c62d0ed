/* admit_test.c - admission by time: what the broker learns of a service's pace, and whom it sends
 * away.
 *
 * One worker with room for ten; a test decides how many results come in a second. Requests have
 * bodies of no bytes and cost 1. */
#include "core.h"
#include "support/body.h"
#include "support/test.h"

enum { ROOM = 10, SENT_MAX = 100000, START_US = 1000 };

static core_t *core;
static uint32_t client, worker, service;
static uint64_t now_us, next_id;
static uint64_t sent[SENT_MAX]; /* tickets at the worker, the oldest at `done` */
static uint32_t n_sent, done, n_refused, advice_ms;

static enum core_sent to_worker(void *arg, uint32_t number, const struct header *header,
                                uint32_t slot) {
    (void)arg, (void)number, (void)slot;
    if (header->type == WIRE_DISPATCH && n_sent < SENT_MAX)
        sent[n_sent++] = header->id;
    return CORE_SENT;
}

static enum core_sent to_client(void *arg, uint32_t number, const struct header *header,
                                const struct core_error *error) {
    (void)arg, (void)number;
    if (header->type == WIRE_REPLY && header->status == STATUS_RESOURCE_EXHAUSTED) {
        n_refused++;
        advice_ms = error->retry_after_ms;
    }
    return CORE_SENT;
}

static enum core_sent forward(void *arg, uint32_t number, const struct header *header) {
    (void)arg, (void)number, (void)header;
    return CORE_SENT;
}

static void drop(void *arg, uint32_t slot) {
    (void)arg, (void)slot;
}

static void closed(void *arg, uint32_t number, const char *why) {
    (void)arg, (void)number;
    TEST_FAIL("a peer was closed: %s", why);
}

/* True: it was let in. */
static bool request(uint32_t budget_ms, uint8_t lane) {
    struct header header = {.type = WIRE_REQUEST,
                            .lane = lane,
                            .attempt = 1,
                            .id = ++next_id,
                            .epoch = 7,
                            .budget_us = budget_ms * 1000,
                            .service = (uint16_t)service};
    uint32_t before = n_refused;
    TEST_TRUE(core_client_heard(core, client, &header, now_us));
    core_request(core, client, &header, BODY(0), now_us);
    core_dispatch(core, now_us);
    core_check(core);
    return n_refused == before;
}

static void answer(uint32_t n, enum status status) {
    for (; n > 0 && done < n_sent; n--, done++) {
        struct header header = {.type = WIRE_RESULT,
                                .status = (uint8_t)status,
                                .attempt = ROOM,
                                .id = sent[done],
                                .epoch = 9};
        TEST_TRUE(core_worker_heard(core, worker, &header, now_us));
        core_worker_frame(core, worker, &header, now_us);
        core_dispatch(core, now_us);
    }
}

/* A second in tenths, with so many results in all; both peers are heard. */
static void second_of(uint32_t results, enum status status) {
    for (int i = 0; i < 10; i++) {
        struct header beat = {.type = WIRE_HEARTBEAT, .attempt = ROOM, .epoch = 9};
        now_us += 100000;
        TEST_TRUE(core_worker_heard(core, worker, &beat, now_us));
        answer(results / 10, status);
        core_tick(core, now_us);
    }
}

static int setup(void **state) {
    (void)state;
    struct core_cfg cfg = {.max_clients = 4,
                           .max_workers = 4,
                           .max_services = 8,
                           .max_tickets = 4096,
                           .max_queued = 4096,
                           .max_queued_bytes = 1 << 20,
                           .max_client_tickets = 4096,
                           .heartbeat_us = 500000,
                           .no_worker_grace_us = 5000000,
                           .drain_us = 1000000,
                           .id = 9,
                           .seed = 1};
    struct core_ops ops = {.to_worker = to_worker,
                           .to_client = to_client,
                           .forward = forward,
                           .drop = drop,
                           .client_closed = closed,
                           .worker_closed = closed};
    now_us = START_US;
    next_id = n_sent = done = n_refused = advice_ms = 0;
    client = worker = CORE_NONE;
    TEST_EQ(core_new(&cfg, &ops, now_us, &core, NULL), STATUS_OK);
    TEST_EQ(core_hello(core, &client, 0, 7, NULL, now_us, NULL), STATUS_OK);
    struct wire_model model = {.name = view_of("m"), .tasks = 1U << WIRE_TASK_EMBED};
    struct wire_ready ready = {
        .uuid = 5, .name = view_of("w"), .models = &model, .n_models = 1, .threads = 1};
    TEST_EQ(core_ready(core, &worker, &ready, ROOM, now_us, NULL), STATUS_OK);
    service = core_number(core, view_of("m"), WIRE_TASK_EMBED);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    core_destroy(&core);
    return 0;
}

/* 1000 requests wait, and two seconds of ten results have gone by: the pace is 10 a second. */
static void press(void) {
    for (int i = 0; i < 1000; i++)
        TEST_TRUE(request(600000, WIRE_LANE_NORMAL));
    second_of(10, STATUS_OK); /* this one began with nothing waiting */
    second_of(10, STATUS_OK);
}

/* A window of ten is taken to last 100 ms. */
static void test_unknown_pace(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t budget_ms, let_in;
    } rows[] = {
        {"no time at all: one for the runner, one behind it", 1, 2},
        {"half a second", 500, 35},
        {"ten minutes: as much as there is room for", 600000, 1000},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        uint32_t before = n_refused;
        for (int k = 0; k < 1000; k++)
            request(rows[i].budget_ms, WIRE_LANE_NORMAL);
        TEST_EQ(1000 - (n_refused - before), rows[i].let_in);
        teardown(NULL);
        setup(NULL);
    }
}

static void test_refused_with_advice(void **state) {
    (void)state;
    press(); /* 980 ahead at 10/s: 98 s */
    TEST_TRUE(!request(100000, WIRE_LANE_NORMAL));
    TEST_TRUE(advice_ms >= 27000 && advice_ms <= 29000); /* 98.1 s of which 70 were allowed */
    TEST_TRUE(request(150000, WIRE_LANE_NORMAL));
    /* Nobody of a lower lane is ahead of it: ten at the worker alone. */
    TEST_TRUE(request(2000, WIRE_LANE_HIGH));
    TEST_TRUE(!request(1000, WIRE_LANE_HIGH));
}

static void test_expired_results_are_no_pace(void **state) {
    (void)state;
    press();
    for (int i = 0; i < 4; i++)
        second_of(200, STATUS_DEADLINE_EXCEEDED);
    TEST_TRUE(!request(60000, WIRE_LANE_NORMAL)); /* some 180 ahead, and not at 200/s */
}

static void test_better_pace_counts_at_once(void **state) {
    (void)state;
    press();
    TEST_TRUE(!request(4000, WIRE_LANE_NORMAL));
    second_of(400, STATUS_OK); /* 580 ahead at 400/s */
    TEST_TRUE(request(4000, WIRE_LANE_NORMAL));
}

static void test_two_are_always_let_in(void **state) {
    (void)state;
    press();
    answer(1000, STATUS_OK); /* all of them, in no time: nothing is left */
    TEST_EQ(core_queued(core) + core_in_flight(core), 0);
    TEST_TRUE(request(1, WIRE_LANE_NORMAL));
    TEST_TRUE(request(1, WIRE_LANE_NORMAL));
    TEST_TRUE(!request(1, WIRE_LANE_NORMAL));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_unknown_pace),
        TEST(test_refused_with_advice),
        TEST(test_expired_results_are_no_pace),
        TEST(test_better_pace_counts_at_once),
        TEST(test_two_are_always_let_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
