/* runs_test.c - executions of the broker's core: second ones, and suspect workers. One rule, one
 * example; chance and mass are in tests/sim. */
#include "support/core_rig.h"

/* ---------------------------------------------------------------- suspects */

/* Two workers that answer in 5 ms; w0 gets a, w1 gets b and answers it. */
static uint32_t two_workers(void) {
    uint32_t c = client();
    worker(1);
    worker(2);
    learn(c, 128, 5 * MS);
    ask(c, 1, "a");
    dispatch();
    ask(c, 2, "b");
    dispatch();
    expect("w0 DISPATCH a; w1 DISPATCH b");
    now += 5 * MS;
    answers(1, STATUS_OK);
    expect("c0 REPLY 2 OK");
    return c;
}

static void test_stuck_worker(void **state) {
    (void)state;
    begin(false, false);
    uint32_t c = two_workers();
    go(40 * MS);
    expect(""); /* less than 50 ms, however fast others are */
    go(60 * MS);
    expect("w0 suspect; w1 DISPATCH a+");
    ask(c, 3, "c");
    dispatch();
    expect("w1 DISPATCH c"); /* nothing new for the suspect */
    answers(2, STATUS_OK);
    expect("w0 CANCEL; c0 REPLY 1 OK");
    answers(0, STATUS_OK); /* too late */
    expect("");
    TEST_EQ(core_stats(core)->late, 1);
    TEST_EQ(core_stats(core)->recovered, 1);

    TEST_ROW("the late answer earns it a probe; three good ones, and it is trusted");
    answers(3, STATUS_OK);
    forget();
    go(200 * MS);
    for (uint64_t i = 0; i < 3; i++) {
        TEST_EQ(core_fleet(core)->loads[0].credit, i ? CREDIT / 2 : CREDIT);
        while (!n_sent || sent[n_sent - 1].worker != 0) {
            ask(c, 10 + n_sent + 20 * i, "d");
            dispatch();
        }
        for (uint32_t k = 0; k < n_sent; k++)
            answers(k, STATUS_OK);
        TEST_EQ(core_fleet(core)->workers[0].state, i < 2 ? FLEET_SUSPECT : FLEET_LIVE);
        forget();
    }
    TEST_EQ(core_fleet(core)->loads[0].credit, CREDIT);
}

static void test_first_answer_counts(void **state) {
    (void)state;
    static const struct {
        const char *name;
        enum status first, second;
        const char *want;
    } rows[] = {
        {"the suspect was only slow", STATUS_OK, STATUS_OK, "w1 CANCEL; c0 REPLY 1 OK; "},
        {"a broken answer waits for the other", STATUS_INTERNAL, STATUS_OK, "c0 REPLY 1 OK; "},
        {"what is wrong is wrong anywhere", STATUS_INVALID_ARGUMENT, STATUS_OK,
         "w1 CANCEL; c0 REPLY 1 INVALID_ARGUMENT; "},
        {"both are broken", STATUS_INTERNAL, STATUS_INTERNAL, "c0 REPLY 1 INTERNAL; "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        begin(false, false);
        two_workers();
        go(100 * MS);
        expect("w0 suspect; w1 DISPATCH a+");
        answers(0, rows[i].first);
        answers(2, rows[i].second);
        snprintf(did[n_did++], sizeof did[0], "end");
        char want[128];
        snprintf(want, sizeof want, "%send", rows[i].want);
        expect(want);
    }
}

static void test_no_suspects(void **state) {
    (void)state;
    TEST_ROW("the only worker");
    begin(false, false);
    uint32_t c = client();
    worker(1);
    learn(c, 128, 5 * MS);
    ask(c, 1, "a");
    dispatch();
    forget();
    go(900 * MS);
    expect("");

    TEST_ROW("nobody gets on");
    begin(false, false);
    c = client();
    worker(1);
    worker(2);
    learn(c, 128, 5 * MS);
    ask(c, 1, "a");
    ask(c, 2, "b");
    dispatch();
    forget();
    go(900 * MS);
    TEST_EQ(core_stats(core)->suspected, 0);

    TEST_ROW("this process was stopped");
    begin(false, false);
    two_workers();
    now += 700 * MS;
    core_tick(core, now);
    answers(0, STATUS_OK); /* had been lying in the socket */
    expect("c0 REPLY 1 OK");

    TEST_ROW("nothing is known of the service's times");
    begin(false, false);
    c = client();
    worker(1);
    worker(2);
    ask(c, 1, "a");
    ask(c, 2, "b");
    dispatch();
    answers(1, STATUS_OK);
    forget();
    go(900 * MS);
    expect("");

    TEST_ROW("a worker with much to do");
    begin(false, false);
    c = client();
    worker(1);
    worker(2);
    learn(c, 128, 20 * MS); /* 9 with the base: 2.2 ms each */
    for (uint64_t i = 0; i < 40; i++)
        ask(c, i, "a");
    dispatch();
    go(30 * MS);
    for (uint32_t i = 0; i < n_sent; i++)
        if (sent[i].worker == 1)
            answers(i, STATUS_OK);
    forget();
    go(60 * MS); /* beyond 4 x 20 ms, but not for the last of 20 */
    uint32_t redone = 0;
    for (uint32_t i = 0; i < n_did; i++)
        redone += strstr(did[i], "+") != NULL;
    TEST_TRUE(redone < 10);
}

static void test_a_third_at_most(void **state) {
    (void)state;
    begin(false, false);
    uint32_t c = client();
    for (uint64_t i = 1; i <= 5; i++)
        worker(i);
    learn(c, 128, 5 * MS);
    for (uint64_t i = 0; i < 5; i++) {
        ask(c, 1 + i, "a");
        dispatch();
    }
    go(5 * MS);
    answers(4, STATUS_OK);
    go(200 * MS);
    TEST_EQ(core_stats(core)->suspected, 1); /* two of five would be more than a third */
}

static void test_failures_in_a_row(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t workers, bad_first, good, bad_then;
        bool suspect;
    } rows[] = {
        {"four", 2, 4, 0, 0, false},
        {"five", 2, 5, 0, 0, true},
        {"a good one between", 2, 3, 1, 4, false},
        {"nobody else there", 1, 9, 0, 0, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        begin(false, false);
        uint32_t c = client(), n = 0;
        for (uint64_t k = 1; k <= rows[i].workers; k++)
            worker(k);
        for (uint64_t id = 1; n < rows[i].bad_first + rows[i].good + rows[i].bad_then; id++) {
            forget();
            ask(c, id, "a");
            dispatch();
            bool good = sent[0].worker != 0 ||
                        (n >= rows[i].bad_first && n < rows[i].bad_first + rows[i].good);
            n += sent[0].worker == 0;
            answers(0, good ? STATUS_OK : STATUS_INTERNAL);
        }
        TEST_EQ(core_fleet(core)->workers[0].state == FLEET_SUSPECT, rows[i].suspect);
    }
}

static void test_probe(void **state) {
    (void)state;
    begin(false, false);
    uint32_t c = two_workers();
    go(100 * MS);
    answers(2, STATUS_OK);
    forget();
    go(9 * S);
    TEST_TRUE(!core_fleet(core)->loads[0].open);
    go(2 * S);
    TEST_TRUE(core_fleet(core)->loads[0].open);
    for (uint64_t i = 0; i < 6; i++)
        ask(c, 10 + i, "p");
    dispatch();
    uint32_t probes = 0, probe = 0;
    for (uint32_t i = 0; i < n_sent; i++)
        if (sent[i].worker == 0) {
            probes++;
            probe = i;
        }
    TEST_EQ(probes, 1);
    answers(probe, STATUS_INTERNAL);
    TEST_TRUE(!core_fleet(core)->loads[0].open); /* ten seconds more */

    TEST_ROW("the other one leaves: whom to trust, if not it");
    core_worker_lost(core, 1, "test", now);
    go(300 * MS);
    TEST_EQ(core_fleet(core)->workers[0].state, FLEET_LIVE);
}

/* A request that only looks stuck, with nobody else to give it to, costs nothing. */
static void test_nowhere_else(void **state) {
    (void)state;
    begin(false, false);
    uint32_t c = client();
    worker(1);
    learn(c, 128, 5 * MS);
    ask(c, 1, "slow");
    dispatch();
    for (uint64_t i = 0; i < 400; i++) {
        ask(c, 10 + i, "x");
        dispatch();
        go(5 * MS);
        answers(n_sent - 1, STATUS_OK);
        n_sent = 1;
        n_did = 0;
    }
    TEST_EQ(core_stats(core)->recovered, 0);
    TEST_EQ(core_stats(core)->retries_denied, 0);
}

/* ---------------------------------------------------------------- overtaking */

static void test_hedge(void **state) {
    (void)state;
    static const struct {
        const char *name;
        bool hedge, busy, waits;
        uint32_t spent;
        bool want;
    } rows[] = {
        {"slower than 95 of 100", true, false, false, 0, true},
        {"not asked for", false, false, false, 0, false},
        {"the other is more than half busy", true, true, false, 0, false},
        {"somebody waits", true, true, true, 0, false},
        {"the budget is spent", true, false, false, 200, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        begin(rows[i].hedge, false);
        uint32_t c = client();
        for (uint32_t k = 0; k < rows[i].spent; k += CREDIT) { /* on workers that die */
            uint32_t w = worker(100 + k);
            for (uint64_t id = 0; id < CREDIT; id++)
                ask(c, 5000 + id, "z");
            dispatch();
            core_worker_lost(core, w, "test", now);
            for (uint64_t id = 0; id < CREDIT; id++)
                cancel(c, 5000 + id);
        }
        worker(1);
        worker(2);
        learn(c, 512, 5 * MS);
        go(3 * MS);
        forget();
        for (uint64_t k = 0; rows[i].busy && k < (rows[i].waits ? 90 : 60); k++)
            ask(c, 1000 + k, "f");
        ask(c, 1, "a");
        dispatch();
        forget();
        go(20 * MS);
        uint32_t hedges = 0;
        for (uint32_t k = 0; k < n_did; k++)
            hedges += strstr(did[k], "+") != NULL;
        TEST_EQ(hedges != 0, rows[i].want);
        TEST_EQ(core_stats(core)->hedged, hedges);
        TEST_EQ(core_stats(core)->retries_denied > 0, rows[i].spent > 0);
    }
}

static void test_hedged_once(void **state) {
    (void)state;
    begin(true, false);
    uint32_t c = client();
    for (uint64_t i = 1; i <= 3; i++)
        worker(i);
    learn(c, 512, 5 * MS);
    ask(c, 1, "a");
    dispatch();
    go(15 * MS);
    TEST_EQ(n_sent, 2);
    TEST_TRUE(sent[0].worker != sent[1].worker);
    TEST_EQ(sent[1].header.attempt, 2);
    TEST_TRUE(sent[1].header.flags & WIRE_FLAG_RETRY);
    says(sent[1].worker, WIRE_NACK, 0, sent[1].header.id);
    go(20 * MS);
    TEST_EQ(n_sent, 2);
    forget();
    cancel(c, 1); /* both would be told; one is left */
    TEST_EQ(n_did, 2);
}

/* ---------------------------------------------------------------- time that is over */

/* Deadlines are looked at by ticks of the wheel: some are over by a part of one, unseen yet. */
static void test_no_time_left(void **state) {
    (void)state;
    TEST_ROW("a second execution");
    for (uint32_t over = 0; over < 20; over++) {
        begin(true, false);
        uint32_t c = client();
        worker(1);
        worker(2);
        learn(c, 512, 5 * MS);
        now += 500;
        ask_for(c, 1, (struct ask){.body = "a", .budget_us = 9500 + 50 * over});
        dispatch();
        for (int i = 0; i < 120; i++) {
            now += 100;
            core_tick(core, now);
            dispatch();
        }
        for (uint32_t i = 0; i < n_sent; i++)
            TEST_TRUE(sent[i].header.budget_us <= S);
    }
    TEST_ROW("a request that is held");
    begin(false, false);
    uint32_t c = client();
    ask_for(c, 1, (struct ask){.body = "a", .budget_us = 100 * MS + 300});
    ask_for(c, 2, (struct ask){.body = "b", .budget_us = 100 * MS + 300});
    for (uint64_t i = 0; i < 2; i++) {
        worker(1 + i);
        dispatch();
        core_worker_lost(core, 0, "test", now);
    }
    TEST_EQ(core_queued(core), 2);
    forget();
    now += 100 * MS + 500;
    core_tick(core, now);
    worker(3);
    dispatch();
    TEST_EQ(n_sent, 0);
    expect("c0 REPLY 2 DEADLINE_EXCEEDED; c0 REPLY 1 DEADLINE_EXCEEDED");
}

/* ---------------------------------------------------------------- a worker that repeats itself */

static void test_a_model_named_twice(void **state) {
    (void)state;
    begin(false, false);
    struct wire_model m[2];
    for (int i = 0; i < 2; i++)
        m[i] = (struct wire_model){.name = view_of("m"), .tasks = 1U << WIRE_TASK_EMBED};
    struct wire_ready ready = {.uuid = 5, .name = view_of("w"), .models = m, .n_models = 2};
    uint32_t w = CORE_NONE, c = client();
    TEST_EQ(core_ready(core, &w, &ready, CREDIT, now, NULL), STATUS_OK);
    core_check(core);
    ask(c, 1, "a");
    dispatch();
    core_worker_lost(core, w, "test", now);
    core_check(core);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stuck_worker),        cmocka_unit_test(test_first_answer_counts),
        cmocka_unit_test(test_no_suspects),         cmocka_unit_test(test_a_third_at_most),
        cmocka_unit_test(test_failures_in_a_row),   cmocka_unit_test(test_probe),
        cmocka_unit_test(test_nowhere_else),        cmocka_unit_test(test_hedge),
        cmocka_unit_test(test_hedged_once),         cmocka_unit_test(test_no_time_left),
        cmocka_unit_test(test_a_model_named_twice),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    core_destroy(&core);
    return failed;
}
