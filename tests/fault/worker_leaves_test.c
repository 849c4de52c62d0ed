/* worker_leaves_test.c - two brokers, two workers, callers who call: workers drain and come back,
 * a broker is killed and comes back. No call fails, and a broker has its workers soon after its
 * start.
 * */
#include "support/callers.h"
#include "support/rig.h"

#include "base/clock.h"

enum { CALLS_PER_S = 150, DIM = 48, BACK_MS = 10000, TIMEOUT_MS = 10000 };

static struct rig rig;
static history_t *history;
static callers_t *callers;

static void open_rig(void) {
    struct rig_cfg cfg = {.brokers = 2, .workers = 2, .threads = 2};
    cfg.models[0] = "m=fake:dim=48,sleep_us=2000";
    rig_init(&rig, &cfg);
    TEST_TRUE(rig_start(&rig));
    history = history_new(100000, 3, DIM, 0);
    struct callers_cfg calls = {.endpoints = rig.endpoints,
                                .model = "m",
                                .clients = 2,
                                .threads = 4,
                                .calls_per_s = CALLS_PER_S,
                                .timeout_ms = TIMEOUT_MS * PROC_SLOW};
    callers = callers_start(&calls, history);
    usleep(300 * 1000);
}

/* All calls have ended with OK, each with its own answer. */
static void close_rig(const char *what) {
    struct history_sums sums;
    usleep(300 * 1000);
    callers_stop(&callers);
    history_check(history, &sums);
    print_message("%s: %u calls, %u OK, median %.1f ms, worst %.1f ms\n", what, sums.calls,
                  sums.status[EMBER_OK], sums.median_us / 1e3, sums.worst_us / 1e3);
    TEST_TRUE(sums.calls > 50);
    TEST_EQ(sums.status[EMBER_OK], sums.calls);
    TEST_EQ(sums.lost + sums.twice + sums.foreign, 0);
    history_destroy(&history);
    rig_stop(&rig);
}

static void test_drain(void **state) {
    (void)state;
    TEST_ROW("drain in turn");
    open_rig();
    for (uint32_t i = 0; i < 4; i++) {
        struct proc *worker = &rig.worker[i % 2];
        size_t from = proc_log_bytes(worker);
        proc_drain(worker, BACK_MS * PROC_SLOW);
        TEST_TRUE(proc_wait_log_from(worker, from, "drained=yes", BACK_MS));
        rig_start_worker(&rig, i % 2);
        rig_wait_workers(&rig, 2, BACK_MS * PROC_SLOW);
        usleep(100 * 1000);
    }
    close_rig("workers drained in turn");
}

static void test_broker_back(void **state) {
    (void)state;
    static const uint32_t away_ms[] = {0, 120, 400, 1500};
    TEST_ROW("a broker is killed and comes back");
    open_rig();
    double worst_ms = 0;
    for (size_t i = 0; i < sizeof away_ms / sizeof *away_ms; i++) {
        size_t from[2] = {0};
        proc_kill(&rig.broker[1]);
        usleep(away_ms[i] * 1000);
        for (uint32_t w = 0; w < 2; w++)
            from[w] = proc_log_bytes(&rig.worker[w]);
        uint64_t start_us = clock_us();
        rig_start_broker(&rig, 1);
        for (uint32_t w = 0; w < 2; w++)
            TEST_TRUE(proc_wait_log_from(&rig.worker[w], from[w], "event=broker-serving",
                                         BACK_MS * PROC_SLOW));
        double ms = (double)(clock_us() - start_us) / 1e3;
        worst_ms = ms > worst_ms ? ms : worst_ms;
        print_message("away for %u ms, started, both workers serve it after %.0f ms\n", away_ms[i],
                      ms);
    }
    TEST_TRUE(worst_ms < 3000 * PROC_SLOW); /* meant: 300 */
    rig_wait_workers(&rig, 2, BACK_MS * PROC_SLOW);
    close_rig("a broker killed and back");
}

static int stop(void **state) {
    if (callers)
        callers_stop(&callers);
    rig_stop(&rig);
    return proc_stop_all(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_drain, stop),
        cmocka_unit_test_teardown(test_broker_back, stop),
    };
    return proc_report(cmocka_run_group_tests(tests, NULL, NULL));
}
