/* fairness_test.c - a client that asks for a hundred thousand texts at once, and one that asks
 * for a single text now and then: what the second has to wait for the first.
 *
 *     e2e_fairness_test [--long]
 *
 * Two workers of one thread and 0.5 ms a text, asleep; a batch of sixteen takes about 9 ms. The
 * bulk call has a thousand requests under way, so that the broker's queue, not the caller's, is
 * where it waits. Promised: the 95th percentile of the single texts is at most 1.5 times what it
 * is on an idle system, and one batch, in a lane of their own as in the same one. */
#include "support/rig.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdatomic.h>

enum { BULK_TEXTS = 100000, SINGLES = 80, SINGLES_LONG = 400, BATCH_US = 9000, MAY_BE = 4 };

static struct rig rig;
static bool is_long;
static struct {
    const char *text[BULK_TEXTS];
    char words[BULK_TEXTS][32]; /* 30 bytes: 32 tokens of the fake engine, 16 in a batch */
    atomic_uint state;          /* 0: not ended, else 1 + status */
} bulk;

static void on_bulk(void *arg, enum ember_status status, ember_result_t *result,
                    const struct ember_error *error) {
    (void)arg;
    (void)error;
    ember_result_destroy(&result);
    atomic_store(&bulk.state, 1U + (unsigned)status);
}

static int compare_u32(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* A text every few milliseconds, one at a time; returns the 95th percentile in us. */
static uint32_t singles(ember_t *client, const char *name, enum ember_lane lane) {
    static uint32_t took_us[SINGLES_LONG], number;
    uint32_t n = is_long ? SINGLES_LONG : SINGLES;
    for (uint32_t i = 0; i < n; i++) {
        struct ember_embed_options options = EMBER_EMBED_OPTIONS_INIT;
        struct ember_error error;
        ember_result_t *result = NULL;
        char text[32];
        snprintf(text, sizeof text, "single %u", number++);
        options.cache = EMBER_CACHE_BYPASS;
        options.lane = lane;
        options.timeout_ms = 30000 * PROC_SLOW;
        uint64_t start_us = clock_us();
        if (ember_embed(client, (const char *[]){text}, 1, &options, &result, &error) != EMBER_OK)
            TEST_FAIL("%s: %s", name, error.message);
        took_us[i] = (uint32_t)(clock_us() - start_us);
        ember_result_destroy(&result);
        usleep(3000);
    }
    qsort(took_us, n, sizeof *took_us, compare_u32);
    uint32_t p95_us = took_us[n * 95 / 100];
    printf("%-28s p50/p95/worst_ms=%.1f/%.1f/%.1f\n", name, took_us[n / 2] / 1e3, p95_us / 1e3,
           took_us[n - 1] / 1e3);
    return p95_us;
}

static void run_row(const char *name, enum ember_lane single, enum ember_lane many) {
    TEST_ROW(name);
    ember_t *client = NULL, *other = NULL;
    struct ember_options open = EMBER_OPTIONS_INIT;
    struct ember_embed_options options = EMBER_EMBED_OPTIONS_INIT;
    struct ember_error error;
    ember_call_t *call = NULL;
    TEST_EQ(ember_open(rig.endpoints, NULL, &client, NULL), EMBER_OK);
    open.call_window = 1000;
    TEST_EQ(ember_open(rig.endpoints, &open, &other, NULL), EMBER_OK);
    uint32_t alone_us = singles(client, "alone", single);
    options.cache = EMBER_CACHE_BYPASS;
    options.lane = many;
    options.timeout_ms = 600000;
    atomic_store(&bulk.state, 0);
    if (ember_embed_start(other, bulk.text, BULK_TEXTS, &options, on_bulk, NULL, &call, &error) !=
        EMBER_OK)
        TEST_FAIL("bulk: %s", error.message);
    usleep(1000 * 1000); /* until it waits in the broker, and the broker knows the pace */
    uint32_t beside_us = singles(client, name, single);
    TEST_EQ(atomic_load(&bulk.state), 0); /* or there was no load beside */
    ember_call_cancel(call);
    ember_call_destroy(&call);
    uint32_t promised_us = alone_us + alone_us / 2 + BATCH_US;
    printf("    promised p95 %.1f ms: %s\n", promised_us / 1e3,
           beside_us <= promised_us ? "kept" : "NOT kept");
    if (beside_us > (is_long ? promised_us : MAY_BE * promised_us * PROC_SLOW))
        TEST_FAIL("p95 %u us, alone %u", beside_us, alone_us);
    ember_close(&other);
    ember_close(&client);
    rig_wait_idle(&rig, 20000 * PROC_SLOW);
}

static void test_fairness(void **state) {
    (void)state;
    for (uint32_t i = 0; i < BULK_TEXTS; i++) {
        snprintf(bulk.words[i], sizeof bulk.words[i], "one of very many texts: %06u", i);
        bulk.text[i] = bulk.words[i];
    }
    rig_init(&rig, &(struct rig_cfg){
                       .brokers = 1, .workers = 2, .models = {"m=fake:dim=16,sleep_us=500"}});
    TEST_TRUE(rig_start(&rig));
    run_row("beside bulk, other lanes", EMBER_LANE_NORMAL, EMBER_LANE_BULK);
    run_row("beside bulk, same lane", EMBER_LANE_NORMAL, EMBER_LANE_NORMAL);
}

static int stop(void **state) {
    rig_stop(&rig);
    return proc_stop_all(state);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_fairness, stop),
    };
    is_long = argc > 1 && strcmp(argv[1], "--long") == 0;
    return proc_report(cmocka_run_group_tests(tests, NULL, NULL));
}
