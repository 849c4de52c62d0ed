/* probation_test.c - requests that the core's workers die of: refused when two did, and those that
 * were only near are tried alone (broker/probation.c, broker/poison.c). */
#include "support/core_rig.h"

static void test_poison(void **state) {
    (void)state;
    begin(false, false);
    uint32_t c = client();
    worker(1);
    worker(2);
    ask(c, 1, "poison");
    dispatch();
    expect("w0 DISPATCH p");
    core_worker_lost(core, 0, "test", now);
    dispatch();
    expect("w1 DISPATCH p");
    core_worker_lost(core, 1, "test", now);
    expect("c0 REPLY 1 INTERNAL");
    TEST_STR_EQ(last_text, "2 workers died with the request in flight; it is refused for 60 s");
    worker(3);
    ask(c, 2, "poison");
    expect("c0 REPLY 2 INTERNAL");
    TEST_STR_EQ(last_text, "workers died of requests like this one; it is refused for 60 s");
    ask(c, 3, "posion");
    ask_for(c, 4, (struct ask){.body = "poison", .task = WIRE_TASK_TOKENIZE});
    dispatch();
    expect("w1 DISPATCH p; w1 DISPATCH p"); /* other bytes, another service */
    answers(2, STATUS_OK);
    answers(3, STATUS_OK);
    forget();
    go(59 * S);
    ask(c, 5, "poison");
    expect("c0 REPLY 5 INTERNAL");
    go(2 * S);
    ask(c, 6, "poison");
    dispatch();
    expect("w1 DISPATCH p");
    TEST_EQ(core_stats(core)->poisoned, 1);
}

/* Three requests at two workers that die: each is then tried by itself. */
static void test_bystanders(void **state) {
    (void)state;
    begin(false, false);
    uint32_t c = client();
    worker(1);
    ask(c, 1, "a");
    ask(c, 2, "poison");
    ask(c, 3, "c");
    dispatch();
    core_worker_lost(core, 0, "test", now);
    expect("w0 DISPATCH a; w0 DISPATCH p; w0 DISPATCH c");
    worker(2);
    dispatch();
    expect("w0 DISPATCH a; w0 DISPATCH p; w0 DISPATCH c"); /* at once, all together */
    core_worker_lost(core, 0, "test", now);
    uint32_t w = worker(3);
    ask(c, 4, "d");
    dispatch();
    expect("w0 DISPATCH c"); /* alone: d waits */
    answers(6, STATUS_OK);
    dispatch();
    expect("c0 REPLY 3 OK; w0 DISPATCH p");
    core_worker_lost(core, w, "test", now);
    expect("c0 REPLY 2 INTERNAL");
    worker(4);
    dispatch();
    expect("w0 DISPATCH a");
    answers(8, STATUS_OK);
    dispatch();
    expect("c0 REPLY 1 OK; w0 DISPATCH d");
    TEST_EQ(core_stats(core)->poisoned, 1);
}

static void test_held_requests_can_go(void **state) {
    (void)state;
    begin(false, false);
    uint32_t c = client(), d = client();
    worker(1);
    ask_for(c, 1, (struct ask){.body = "a", .budget_us = 3 * S});
    ask(c, 2, "b");
    ask(d, 3, "d");
    dispatch();
    core_worker_lost(core, 0, "test", now);
    worker(2);
    dispatch();
    core_worker_lost(core, 0, "test", now);
    forget();
    TEST_EQ(core_queued(core), 3);
    cancel(c, 2);
    expect("c0 REPLY 2 CANCELLED");
    core_client_lost(core, d, "test", now);
    go(4 * S);
    expect("c0 REPLY 1 DEADLINE_EXCEEDED");
    TEST_EQ(core_queued(core), 0);
}

/* The worker that was to be emptied for what is held does not get on: another one is. */
static void test_the_kept_worker_is_stuck(void **state) {
    (void)state;
    begin(false, false);
    uint32_t c = client(), w = worker(1);
    learn(c, 128, 5 * MS);
    ask(c, 1, "a");
    ask(c, 2, "b");
    dispatch();
    core_worker_lost(core, w, "test", now);
    w = worker(2);
    dispatch();
    uint32_t other = worker(3), kept = worker(4);
    ask(c, 3, "z");
    ask(c, 4, "y");
    dispatch();
    core_worker_lost(core, w, "test", now);
    dispatch();
    if (!core_fleet(core)->workers[kept].kept)
        kept = other;
    TEST_TRUE(core_fleet(core)->workers[kept].kept);
    TEST_EQ(core_queued(core), 2);
    for (uint32_t i = n_sent - 2; i < n_sent; i++)
        if (sent[i].worker != kept)
            answers(i, STATUS_OK);
    forget();
    for (uint64_t i = 0; i < 60; i++) { /* it says that it lives, and answers nothing */
        ask(c, 20 + i, "n");
        dispatch();
        go(5 * MS);
        for (; n_sent > 0; n_sent--)
            if (sent[n_sent - 1].worker != kept)
                answers(n_sent - 1, STATUS_OK);
        n_did = 0;
    }
    go(100 * MS);
    TEST_EQ(core_queued(core), 0);
    TEST_EQ(core_fleet(core)->workers[kept].state, FLEET_SUSPECT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_poison),
        cmocka_unit_test(test_bystanders),
        cmocka_unit_test(test_held_requests_can_go),
        cmocka_unit_test(test_the_kept_worker_is_stuck),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    core_destroy(&core);
    return failed;
}
