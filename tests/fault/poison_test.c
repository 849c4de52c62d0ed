/* poison_test.c - a request that kills every worker it comes to, among callers whose requests do
 * not: it is answered INTERNAL after two workers (three, if others were there both times), its
 * repeats kill nobody for a minute, and every other call is answered. */
#include "support/callers.h"
#include "support/rig.h"

#include "base/clock.h"

enum { WORKERS = 4, CALLS_PER_S = 150, DIM = 48, BACK_MS = 10000, TIMEOUT_MS = 20000 };

static struct rig rig;
static history_t *history;
static callers_t *callers;

static enum ember_status embed(ember_t *client, const char *text, struct ember_error *error) {
    struct ember_embed_options options = EMBER_EMBED_OPTIONS_INIT;
    ember_result_t *result = NULL;
    options.model = "m";
    options.timeout_ms = TIMEOUT_MS * PROC_SLOW;
    enum ember_status status = ember_embed(client, &text, 1, &options, &result, error);
    ember_result_destroy(&result);
    return status;
}

static uint32_t bury(void) { /* and start others in their place */
    uint32_t n = 0;
    for (uint32_t i = 0; i < WORKERS; i++)
        if (!proc_running(&rig.worker[i])) {
            n++;
            rig_start_worker(&rig, i);
        }
    rig_wait_workers(&rig, WORKERS, BACK_MS * PROC_SLOW);
    return n;
}

static void begin(void) {
    struct rig_cfg cfg = {.brokers = 1,
                          .workers = WORKERS,
                          .threads = 2,
                          .models = {"m=fake:dim=48,sleep_us=2000,crash=poison"}};
    rig_init(&rig, &cfg);
    TEST_TRUE(rig_start(&rig));
}

static void kill_with(ember_t *client, const char *text, uint32_t least, uint32_t most) {
    struct ember_error error = {0};
    uint64_t start_us = clock_us();
    TEST_EQ(embed(client, text, &error), EMBER_INTERNAL);
    TEST_HAS(error.message, "workers died");
    double ms = (double)(clock_us() - start_us) / 1e3;
    usleep(200 * 1000);
    uint32_t dead = bury();
    print_message("\"%s\": answered after %.0f ms, %u workers died\n", text, ms, dead);
    TEST_TRUE(dead >= least && dead <= most);
    TEST_EQ(embed(client, text, &error), EMBER_INTERNAL);
    TEST_HAS(error.message, "refused");
    usleep(200 * 1000);
    TEST_EQ(bury(), 0);
}

static void test_alone(void **state) {
    (void)state;
    begin();
    ember_t *client = NULL;
    TEST_EQ(ember_open(rig.endpoints, NULL, &client, NULL), EMBER_OK);
    kill_with(client, "poison alone", 2, 2);
    TEST_EQ(embed(client, "no poison", NULL), EMBER_OK);
    ember_close(&client);
    rig_stop(&rig);
}

static void test_in_company(void **state) {
    (void)state;
    begin();
    ember_t *client = NULL;
    TEST_EQ(ember_open(rig.endpoints, NULL, &client, NULL), EMBER_OK);
    history = history_new(100000, 3, DIM, 0);
    struct callers_cfg calls = {.endpoints = rig.endpoints,
                                .model = "m",
                                .clients = 2,
                                .threads = 4,
                                .calls_per_s = CALLS_PER_S,
                                .timeout_ms = TIMEOUT_MS * PROC_SLOW};
    callers = callers_start(&calls, history);
    usleep(300 * 1000);
    kill_with(client, "poison in company", 2, 3);
    kill_with(client, "poison of another kind", 2, 3);
    callers_stop(&callers);
    struct history_sums sums;
    history_check(history, &sums);
    print_message("%u calls beside it, %u OK, median %.1f ms, worst %.1f ms\n", sums.calls,
                  sums.status[EMBER_OK], sums.median_us / 1e3, sums.worst_us / 1e3);
    TEST_TRUE(sums.calls > 50);
    TEST_EQ(sums.status[EMBER_OK], sums.calls);
    TEST_EQ(sums.lost + sums.twice + sums.foreign, 0);
    TEST_EQ(rig_counter(&rig, 0, "poisoned"), 2);
    history_destroy(&history);
    ember_close(&client);
    rig_stop(&rig);
}

static int stop(void **state) {
    if (callers)
        callers_stop(&callers);
    rig_stop(&rig);
    return proc_stop_all(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_alone, stop),
        cmocka_unit_test_teardown(test_in_company, stop),
    };
    return proc_report(cmocka_run_group_tests(tests, NULL, NULL));
}
