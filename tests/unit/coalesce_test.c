/* coalesce_test.c - equal requests at the core: one execution answers all of a group, whoever leads
 * it, and each keeps its own deadline, lane and end (broker/coalesce.c). */
#include "support/core_rig.h"

static void test_equal_requests(void **state) {
    (void)state;
    static const struct {
        const char *name;
        struct ask second;
        bool coalesce, shared;
    } rows[] = {
        {"equal", {.body = "a"}, true, true},
        {"in another lane", {.body = "a", .lane = WIRE_LANE_BULK}, true, true},
        {"with less time", {.body = "a", .budget_us = S}, true, true},
        {"other bytes", {.body = "b"}, true, false},
        {"longer", {.body = "aa"}, true, false},
        {"another service", {.body = "a", .task = WIRE_TASK_TOKENIZE}, true, false},
        {"wants its own", {.body = "a", .flags = WIRE_FLAG_ALONE}, true, false},
        {"switched off", {.body = "a"}, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int late = 0; late < 2; late++) { /* while the first waits, or is in flight */
            TEST_ROW(rows[i].name);
            begin(false, rows[i].coalesce);
            uint32_t c = client(), d = client();
            worker(1);
            ask(c, 1, "a");
            if (late)
                dispatch();
            ask_for(d, 2, rows[i].second);
            dispatch();
            TEST_EQ(n_sent, rows[i].shared ? 1 : 2);
            TEST_EQ(core_following(core), rows[i].shared);
            for (uint32_t k = 0; k < n_sent; k++)
                answers(k, STATUS_OK);
            TEST_EQ(core_stats(core)->replied[STATUS_OK], 2);
            TEST_EQ(core_stats(core)->coalesced, rows[i].shared);
        }
}

static void test_the_first_goes(void **state) {
    (void)state;
    enum { CANCEL, DEADLINE, LOST };
    static const char *const want[] = {
        [CANCEL] = "c0 REPLY 1 CANCELLED; c1 REPLY 2 OK; c2 REPLY 3 OK",
        [DEADLINE] = "c0 REPLY 1 DEADLINE_EXCEEDED; c1 REPLY 2 OK; c2 REPLY 3 OK",
        [LOST] = "c1 REPLY 2 OK; c2 REPLY 3 OK"};
    for (int how = CANCEL; how <= LOST; how++)
        for (int late = 0; late < 2; late++) {
            TEST_ROW(want[how]);
            begin(false, true);
            uint32_t a = client(), b = client(), c = client();
            worker(1);
            ask_for(a, 1, (struct ask){.body = "a", .budget_us = 100 * MS});
            if (late)
                dispatch();
            ask(b, 2, "a");
            ask(c, 3, "a");
            dispatch();
            TEST_EQ(n_sent, 1);
            TEST_EQ(sent[0].header.budget_us, late ? 100 * MS : 60 * S);
            forget();
            if (how == CANCEL)
                cancel(a, 1);
            else if (how == LOST)
                core_client_lost(core, a, "test", now);
            else
                go(102 * MS);
            n_sent = 1;
            answers(0, STATUS_OK);                               /* of the execution that went on */
            bool swapped = strstr(did[n_did - 1], "c1") != NULL; /* whoever leads is last */
            if (swapped) {
                char last[160];
                memcpy(last, did[n_did - 1], sizeof last);
                memcpy(did[n_did - 1], did[n_did - 2], sizeof last);
                memcpy(did[n_did - 2], last, sizeof last);
            }
            expect(want[how]);
        }
}

/* What only one execution says is not the answer of others. */
static void test_answers_that_are_not_shared(void **state) {
    (void)state;
    begin(false, true);
    uint32_t c = client(), d = client();
    worker(1);
    ask_for(c, 1, (struct ask){.body = "a", .budget_us = 50 * MS});
    dispatch();
    ask(d, 2, "a");
    answers(0, STATUS_RESOURCE_EXHAUSTED);
    dispatch();
    expect("w0 DISPATCH a; c0 REPLY 1 RESOURCE_EXHAUSTED; w0 DISPATCH a");
    ask_for(c, 3, (struct ask){.body = "a", .budget_us = 50 * MS});
    answers(1, STATUS_INTERNAL);
    expect("c0 REPLY 3 INTERNAL; c1 REPLY 2 INTERNAL");

    TEST_ROW("the worker was told the time of the first, who is gone");
    ask_for(c, 4, (struct ask){.body = "b", .budget_us = 50 * MS});
    dispatch();
    ask(d, 5, "b");
    go(51 * MS);
    answers(2, STATUS_DEADLINE_EXCEEDED);
    dispatch();
    answers(3, STATUS_OK);
    expect("w0 DISPATCH b; c0 REPLY 4 DEADLINE_EXCEEDED; w0 DISPATCH b; c1 REPLY 5 OK");
}

static void test_each_in_its_own_place(void **state) {
    (void)state;
    begin(false, true);
    uint32_t c = client(), d = client();
    for (uint64_t i = 0; i < 3; i++)
        ask_for(c, 1 + i,
                (struct ask){.body = i == 2 ? "same"
                                     : i    ? "y"
                                            : "x",
                             .lane = WIRE_LANE_BULK});
    ask_for(d, 9, (struct ask){.body = "same", .lane = WIRE_LANE_HIGH});
    worker(1);
    dispatch();
    expect("w0 DISPATCH s; w0 DISPATCH x; w0 DISPATCH y"); /* HIGH went first, BULK came along */
    answers(0, STATUS_OK);
    expect("c0 REPLY 3 OK; c1 REPLY 9 OK");

    TEST_ROW("given back, and lost: all wait again");
    ask_for(c, 20, (struct ask){.body = "t", .lane = WIRE_LANE_BULK});
    dispatch();
    ask_for(d, 21, (struct ask){.body = "t", .lane = WIRE_LANE_HIGH});
    TEST_EQ(core_following(core), 1);
    says(0, WIRE_NACK, 0, sent[3].header.id);
    TEST_EQ(core_following(core), 0);
    TEST_EQ(core_queued(core), 2);
    core_worker_lost(core, 0, "test", now);
    n_did = 0;
    worker(2);
    dispatch();
    TEST_EQ(sent[4].header.lane, WIRE_LANE_HIGH);
    TEST_EQ(core_following(core), 1);
}

static void test_poison_in_company(void **state) {
    (void)state;
    begin(false, true);
    uint32_t c = client(), d = client();
    worker(1);
    worker(2);
    ask(c, 1, "poison");
    ask(d, 2, "poison");
    dispatch();
    core_worker_lost(core, sent[0].worker, "test", now);
    dispatch();
    core_worker_lost(core, sent[1].worker, "test", now);
    TEST_EQ(n_sent, 2); /* the twin's copy kills nobody else */
    TEST_EQ(core_stats(core)->replied[STATUS_INTERNAL], 2);
}

/* Whoever of a group is sent, what its workers went through is forgotten by none. */
static void test_a_group_remembers(void **state) {
    (void)state;
    TEST_ROW("it ran once; that another was given back unstarted does not undo it");
    begin(false, true);
    uint32_t c = client(), d = client();
    worker(1);
    ask_for(c, 1, (struct ask){.body = "a", .lane = WIRE_LANE_BULK});
    dispatch();
    core_worker_lost(core, 0, "test", now);
    worker(2);
    ask_for(d, 2, (struct ask){.body = "a", .lane = WIRE_LANE_HIGH});
    dispatch();
    TEST_EQ(sent[1].header.lane, WIRE_LANE_HIGH);
    says(0, WIRE_NACK, 0, sent[1].header.id);
    forget();
    core_worker_lost(core, 0, "test", now);
    go(6 * S); /* nobody comes back */
    TEST_EQ(core_stats(core)->replied[STATUS_UNKNOWN_OUTCOME], 1);

    TEST_ROW("two workers died of the body, whoever it was sent for");
    begin(false, true);
    c = client();
    d = client();
    worker(1);
    ask_for(c, 1, (struct ask){.body = "poison", .lane = WIRE_LANE_BULK});
    dispatch();
    core_worker_lost(core, 0, "test", now);
    worker(2);
    ask_for(d, 2, (struct ask){.body = "poison", .lane = WIRE_LANE_HIGH});
    dispatch();
    core_worker_lost(core, 0, "test", now);
    TEST_EQ(core_stats(core)->poisoned, 1);
    TEST_EQ(core_stats(core)->replied[STATUS_INTERNAL], 2);
}

static void test_groups_are_bounded(void **state) {
    (void)state;
    begin(false, true);
    uint32_t c = client();
    worker(1);
    for (uint64_t i = 0; i < 200; i++)
        ask(c, i, "a");
    dispatch();
    TEST_EQ(n_sent, 4); /* 64 + 64 + 64 + 8 */
    for (uint32_t i = 0; i < 4; i++)
        answers(i, STATUS_OK);
    TEST_EQ(core_stats(core)->replied[STATUS_OK], 200);
    TEST_EQ(core_stats(core)->coalesced, 196);
}

static void test_drain_with_company(void **state) {
    (void)state;
    begin(false, true);
    uint32_t c = client(), d = client();
    worker(1);
    ask(c, 1, "a");
    dispatch();
    ask(d, 2, "a");
    ask(d, 3, "waits");
    forget();
    core_drain(core, now);
    core_check(core);
    expect("c1 REPLY 3 UNAVAILABLE");
    TEST_TRUE(!core_drained(core));
    go(21 * S);
    TEST_TRUE(core_drained(core));
    TEST_EQ(core_stats(core)->replied[STATUS_UNKNOWN_OUTCOME], 2); /* both ran, in a way */
}

static void test_demand(void **state) {
    (void)state;
    begin(false, true);
    uint32_t c = client(), w = worker(1);
    says(w, WIRE_HEARTBEAT, 0, 0);
    TEST_EQ(demand, 0);
    for (uint64_t i = 0; i < 60; i++) {
        char text[8];
        snprintf(text, sizeof text, "%u", (unsigned)i);
        ask(c, i, text);
    }
    says(w, WIRE_HEARTBEAT, 0, 0);
    TEST_EQ(demand, 60);
    dispatch();        /* 40 go */
    ask(c, 100, "59"); /* costs nobody anything */
    says(w, WIRE_PING, 0, 0);
    TEST_TRUE(demand == 60 || demand == 61);
    TEST_EQ(core_demand(core, w), demand);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_requests),
        cmocka_unit_test(test_the_first_goes),
        cmocka_unit_test(test_answers_that_are_not_shared),
        cmocka_unit_test(test_each_in_its_own_place),
        cmocka_unit_test(test_poison_in_company),
        cmocka_unit_test(test_a_group_remembers),
        cmocka_unit_test(test_groups_are_bounded),
        cmocka_unit_test(test_drain_with_company),
        cmocka_unit_test(test_demand),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    core_destroy(&core);
    return failed;
}
