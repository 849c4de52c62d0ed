/* brokers_test.c - two real brokers, killed, frozen and drained one after the other, and a client
 * that was told of one of them: the other is discovered. Every call is answered. */
#include "support/rig.h"

#include "base/clock.h"

#include <ember/ember.h>

enum { UP_MS = 8000, CALLS = 40, SLACK_MS = 400 };

static struct rig rig;
static ember_t *client;

static void begin(bool told_of_both, const struct ember_options *options) {
    rig_init(&rig, &(struct rig_cfg){
                       .brokers = 2, .workers = 2, .models = {"m=fake:dim=8,sleep_us=1000"}});
    rig.cfg.broker_extra[0] =
        "--advertise"; /* to itself, too: a list for all is what people write */
    rig.cfg.broker_extra[1] = rig.clients[0];
    rig.cfg.broker_extra[2] = "--advertise";
    rig.cfg.broker_extra[3] = rig.clients[1];
    TEST_TRUE(rig_start(&rig));
    struct ember_error error;
    if (ember_open(told_of_both ? rig.endpoints : rig.clients[0], options, &client, &error) !=
        EMBER_OK)
        TEST_FAIL("open: %s", error.message);
}

static int end(void **state) {
    ember_close(&client);
    rig_stop(&rig);
    return proc_stop_all(state);
}

static void wait_up(size_t i) {
    struct ember_broker_view v = EMBER_BROKER_VIEW_INIT;
    for (uint64_t end_us = clock_us() + UP_MS * PROC_SLOW * 1000ull; clock_us() < end_us;
         usleep(2000))
        if (ember_view_broker(client, i, &v, NULL) == EMBER_OK && strcmp(v.state, "up") == 0)
            return;
    TEST_FAIL("broker %zu is '%s': %s", i, v.state, v.why);
}

/* Calls one after another; each must be answered. Returns the longest, in ms. */
static uint64_t call_all(uint32_t n, uint32_t timeout_ms) {
    static uint32_t number;
    uint64_t worst_us = 0;
    for (uint32_t i = 0; i < n; i++) {
        char text[32];
        const char *list[] = {text};
        snprintf(text, sizeof text, "text %u", number++);
        struct ember_embed_options options = EMBER_EMBED_OPTIONS_INIT;
        options.model = "m";
        options.timeout_ms = timeout_ms;
        ember_result_t *result = NULL;
        struct ember_error error;
        uint64_t start_us = clock_us();
        if (ember_embed(client, list, 1, &options, &result, &error) != EMBER_OK)
            TEST_FAIL("call %u: %s: %s", i, ember_status_name(error.status), error.message);
        uint64_t took_us = clock_us() - start_us;
        worst_us = took_us > worst_us ? took_us : worst_us;
        ember_result_destroy(&result);
    }
    return worst_us / 1000;
}

static void test_killed(void **state) {
    (void)state;
    begin(true, NULL);
    wait_up(1);
    call_all(CALLS, 0);
    for (uint32_t i = 0; i < 2; i++) {
        proc_kill(&rig.broker[i]);
        printf("broker %u killed: the longest of %d calls took %llu ms\n", i, CALLS,
               (unsigned long long)call_all(CALLS, 0));
        rig_start_broker(&rig, i);
        rig_wait_workers(&rig, 2, UP_MS * PROC_SLOW);
        wait_up(i);
    }
}

/* Nothing tells of it but silence: the attempt ends after a third of the call's time. */
static void test_frozen(void **state) {
    (void)state;
    begin(true, NULL);
    wait_up(1);
    call_all(CALLS, 0);
    proc_signal(&rig.broker[0], SIGSTOP);
    uint64_t worst_ms = call_all(CALLS, 1500 * PROC_SLOW);
    printf("broker 0 frozen: the longest of %d calls took %llu ms\n", CALLS,
           (unsigned long long)worst_ms);
    TEST_TRUE(worst_ms < (500 + SLACK_MS) * PROC_SLOW);
    proc_signal(&rig.broker[0], SIGCONT);
    wait_up(0);
    call_all(CALLS, 0);
}

static void test_discovered(void **state) {
    (void)state;
    begin(false, NULL);
    wait_up(1);
    struct ember_broker_view v = EMBER_BROKER_VIEW_INIT;
    TEST_EQ(ember_view_broker(client, 1, &v, NULL), EMBER_OK);
    TEST_EQ(v.discovered, 1);
    TEST_STR_EQ(v.endpoint, rig.clients[1]);
    TEST_ROW("and not itself, under its own name");
    TEST_EQ(ember_view_broker(client, 2, &v, NULL), EMBER_OUT_OF_RANGE);
    call_all(CALLS, 0);
    proc_kill(&rig.broker[0]);
    call_all(CALLS, 0);
}

static void test_drained(void **state) {
    (void)state;
    struct ember_options options = EMBER_OPTIONS_INIT;
    options.policy = EMBER_POLICY_LEAST_LATENCY;
    begin(true, &options);
    wait_up(0);
    wait_up(1);
    for (uint32_t i = 0; i < 2; i++) {
        call_all(CALLS, 0);
        proc_drain(&rig.broker[i], UP_MS * PROC_SLOW);
        call_all(CALLS, 0);
        rig_start_broker(&rig, i);
        rig_wait_workers(&rig, 2, UP_MS * PROC_SLOW);
        wait_up(i);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_killed, end),
        cmocka_unit_test_teardown(test_frozen, end),
        cmocka_unit_test_teardown(test_discovered, end),
        cmocka_unit_test_teardown(test_drained, end),
    };
    return proc_report(cmocka_run_group_tests(tests, NULL, NULL));
}
