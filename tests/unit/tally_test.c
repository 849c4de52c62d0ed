/* tally_test.c - which answers count against the service level, and under which reason one was
 * refused. */
#include "support/core_rig.h"

static const struct core_stats *stats(void) {
    return core_stats(core);
}

static uint64_t within(enum wire_lane lane) {
    return stats()->slo[lane][1];
}

static uint64_t beyond(enum wire_lane lane) {
    return stats()->slo[lane][0];
}

/* One request of that lane, answered so after `us`. */
static void once(uint8_t lane, enum status status, uint64_t us) {
    forget();
    ask_for(0, ++now, (struct ask){.body = "a", .lane = lane});
    dispatch();
    now += us;
    answers(0, status);
}

static void test_level(void **state) {
    (void)state;
    static const struct {
        const char *name;
        enum status status;
        uint64_t us;
        uint64_t within, beyond;
    } rows[] = {
        {"in time", STATUS_OK, 10 * MS, 1, 0},
        {"just in time", STATUS_OK, 150 * MS, 1, 0},
        {"late", STATUS_OK, 150 * MS + 1, 0, 1},
        {"failed at once", STATUS_INTERNAL, 1, 0, 1},
        {"out of time", STATUS_DEADLINE_EXCEEDED, 1, 0, 1},
        {"no room at the worker", STATUS_RESOURCE_EXHAUSTED, 1, 0, 1},
        {"asked wrongly", STATUS_INVALID_ARGUMENT, 1, 0, 0},
        {"no such model", STATUS_NOT_FOUND, 1, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        begin(false, false);
        client();
        worker(1);
        once(WIRE_LANE_NORMAL, rows[i].status, rows[i].us);
        TEST_EQ(within(WIRE_LANE_NORMAL), rows[i].within);
        TEST_EQ(beyond(WIRE_LANE_NORMAL), rows[i].beyond);
        TEST_EQ(within(WIRE_LANE_HIGH) + beyond(WIRE_LANE_HIGH) + within(WIRE_LANE_BULK), 0);
    }
}

static void test_of_the_client(void **state) {
    (void)state;
    begin(false, false);
    uint32_t c = client();
    ask(c, 1, "a");
    cancel(c, 1); /* taken back */
    TEST_EQ(within(WIRE_LANE_NORMAL) + beyond(WIRE_LANE_NORMAL), 0);
    for (uint64_t id = 2; id < 2 + TICKETS; id++) /* as much as it may have */
        ask(c, id, "a");
    ask(c, 1000, "a");
    TEST_EQ(stats()->refusals[CORE_REASON_CLIENT_LIMIT], 1);
    TEST_EQ(beyond(WIRE_LANE_NORMAL), 0);
    const struct header h = {.type = WIRE_REQUEST, .id = 1001, .epoch = 500, .service = 1};
    core_refuse(core, c, &h, CORE_REASON_UNREAD, 10, "read first", now);
    TEST_EQ(beyond(WIRE_LANE_HIGH), 0);
    core_refuse(core, c, &(struct header){.type = WIRE_REQUEST, .id = 1002, .epoch = 500},
                CORE_REASON_MEMORY, 10, "no memory", now);
    TEST_EQ(stats()->refusals[CORE_REASON_MEMORY], 1);
    TEST_EQ(beyond(WIRE_LANE_HIGH), 1); /* that is ours */
    core_refuse(core, c, &(struct header){.type = WIRE_REQUEST, .lane = 9, .service = 60000},
                CORE_REASON_MEMORY, 10, "no memory", now); /* nowhere to count it by name */
    core_check(core);
}

static void test_by_service(void **state) {
    (void)state;
    begin(false, false);
    client();
    worker(1);
    once(WIRE_LANE_BULK, STATUS_OK, 1);
    once(WIRE_LANE_BULK, STATUS_OK, 1);
    once(WIRE_LANE_HIGH, STATUS_INTERNAL, 1);
    uint32_t number = core_number(core, view_of("m"), WIRE_TASK_EMBED);
    const struct core_replies *replies = core_replies(core, number);
    TEST_EQ(replies->n[WIRE_LANE_BULK][STATUS_OK], 2);
    TEST_EQ(replies->n[WIRE_LANE_HIGH][STATUS_INTERNAL], 1);
    TEST_EQ(replies->n[WIRE_LANE_HIGH][STATUS_OK], 0);
    core_destroy(&core);
}

static void test_slow(void **state) {
    (void)state;
    begin(false, true);
    uint32_t c = client();
    worker(1);
    once(WIRE_LANE_NORMAL, STATUS_OK, 200 * MS - 1);
    TEST_EQ(n_slow, 0);
    forget();
    ask_for(c, 7, (struct ask){.body = "a", .lane = WIRE_LANE_BULK});
    now += 50 * MS;
    dispatch();
    ask_for(c, 8, (struct ask){.body = "a", .lane = WIRE_LANE_BULK}); /* follows it */
    now += 250 * MS;
    answers(0, STATUS_OK);
    TEST_EQ(n_slow, 2); /* the follower is told first */
    TEST_EQ(stats()->slow, 2);
    TEST_EQ(last_slow.id, 7);
    TEST_EQ(last_slow.session, 500);
    TEST_EQ(last_slow.lane, WIRE_LANE_BULK);
    TEST_EQ(last_slow.attempts, 1);
    TEST_EQ(last_slow.execution, sent[0].header.id);
    TEST_EQ(last_slow.waited_us, 50 * MS);
    TEST_EQ(last_slow.total_us, 300 * MS);
    ask_for(c, 9, (struct ask){.body = "b", .lane = WIRE_LANE_HIGH, .budget_us = 400 * MS});
    dispatch();
    go(1 * S); /* nobody answers */
    TEST_EQ(n_slow, 3);
    TEST_EQ(last_slow.id, 9);
    TEST_EQ(last_slow.status, STATUS_DEADLINE_EXCEEDED);
    TEST_TRUE(last_slow.total_us >= 400 * MS);
    TEST_EQ(last_slow.worker, 0);
    ask_for(c, 10, (struct ask){.body = "c", .budget_us = 400 * MS});
    dispatch();
    core_worker_lost(core, 0, "test", now);
    now += 500 * MS;
    TEST_EQ(worker(2), 0); /* in its place, and not the one that had the request */
    core_tick(core, now);
    TEST_EQ(n_slow, 4);
    TEST_EQ(last_slow.id, 10);
    TEST_TRUE(last_slow.execution != 0);
    TEST_EQ(last_slow.worker, CORE_NONE);
}

static void test_names(void **state) {
    (void)state;
    for (int i = 0; i < CORE_REASONS; i++) {
        const char *name = core_reason_name((enum core_reason)i);
        TEST_TRUE(name && name[0] && name[strspn(name, "abcdefghijklmnopqrstuvwxyz_")] == 0);
        for (int k = 0; k < i; k++)
            TEST_TRUE(strcmp(name, core_reason_name((enum core_reason)k)) != 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_level),      cmocka_unit_test(test_of_the_client),
        cmocka_unit_test(test_by_service), cmocka_unit_test(test_slow),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
