/* workload_test.c - how much engine work the core says is asked for. */
#include "support/core_rig.h"

/* A result that took so much engine work, within the time it had. */
static void ends(uint32_t dispatch_number, enum status status, uint32_t engine_us) {
    struct header h = {.type = WIRE_RESULT,
                       .status = (uint8_t)status,
                       .id = sent[dispatch_number].header.id,
                       .epoch = 77,
                       .credit = CREDIT,
                       .budget_us = engine_us};
    now += engine_us;
    TEST_TRUE(core_worker_heard(core, sent[dispatch_number].worker, &h, now));
    core_worker_frame(core, sent[dispatch_number].worker, &h, now);
    core_check(core);
}

static void works(uint32_t dispatch_number, uint32_t engine_us) {
    ends(dispatch_number, STATUS_OK, engine_us);
}

static void test_offered(void **state) {
    (void)state;
    begin(false, false);
    uint32_t c = client();
    worker(1);
    ask(c, 1, "a"); /* nothing is known yet: it counts for nothing */
    dispatch();
    TEST_TRUE(core_load(core).offered_us <= 0);
    works(0, 10 * MS);
    TEST_EQ(core_stats(core)->engine_us, 10 * MS);
    for (uint32_t i = 0; i < 3; i++) /* as dear as the first */
        ask(c, 2 + i, "b");
    TEST_EQ((uint64_t)core_load(core).offered_us, 30 * MS);
    TEST_EQ((uint64_t)core_load(core).waiting_us, 30 * MS);
    dispatch();
    TEST_EQ((uint64_t)core_load(core).waiting_us, 0);
    forget();
    for (uint32_t i = 0; i < 3; i++) /* they were sent, and nothing came of it */
        cancel(c, 2 + i);
    TEST_EQ((uint64_t)core_load(core).offered_us, 30 * MS);
}

static void test_of_the_cache(void **state) {
    (void)state;
    begin(false, false);
    uint32_t c = client();
    worker(1);
    for (uint32_t i = 0; i < 2000; i++) { /* every second one is known to the cache */
        forget();
        ask(c, 1 + i, "a");
        dispatch();
        works(0, i % 2 ? 10 * MS : 0);
    }
    double before = core_load(core).offered_us;
    ask(c, 9999, "a");
    double one = core_load(core).offered_us - before;
    TEST_TRUE(one > 4.9 * MS && one < 5.1 * MS);
}

/* Work that ended with an error is as dear as any other, not dearer. */
static void test_failures(void **state) {
    (void)state;
    begin(false, false);
    uint32_t c = client();
    worker(1);
    for (uint32_t i = 0; i < 2000; i++) {
        forget();
        ask(c, 1 + i, "a");
        dispatch();
        ends(0, i == 1999 ? STATUS_OK : STATUS_INVALID_ARGUMENT, 10 * MS);
    }
    double before = core_load(core).offered_us;
    ask(c, 9999, "a");
    double one = core_load(core).offered_us - before;
    TEST_TRUE(one > 9.9 * MS && one < 10.1 * MS);
}

static void test_workers(void **state) {
    (void)state;
    begin(false, false);
    uint32_t c = client();
    worker(1);
    uint32_t w = worker(2);
    struct core_load load = core_load(core);
    TEST_EQ(load.live, 2);
    TEST_EQ(load.runners, 2); /* they named no threads */
    TEST_EQ(load.window, 2 * CREDIT);
    TEST_EQ(load.used, 0);
    ask(c, 1, "a");
    dispatch();
    TEST_EQ(core_load(core).used, core_cost(1));
    says(w, WIRE_DRAIN, 0, 0);
    TEST_EQ(core_load(core).live, 1);
    core_destroy(&core);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_offered),
        cmocka_unit_test(test_of_the_cache),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
