/* overload_test.c - three times more than the workers can do. What must hold in each row: every
 * call ends once and in time; what is answered is right; what is refused is refused with
 * RESOURCE_EXHAUSTED and an advice when to come back, or ran out of time; and with the load the
 * trouble is gone.
 *
 *     e2e_overload_test [--long]          goodput for a minute, not for three seconds
 *
 * One worker of one thread, 4 ms asleep a text: about 240 texts/s on any machine. */
#include "support/callers.h"
#include "support/rig.h"

#include "base/clock.h"

enum { DIM = 16, TEXTS_MAX = 2, CALLS_MAX = 20000, SOON_MS = 3000 };

#define OVERLOAD_PER_S 480.0 /* calls of 1.5 texts on average: 720 texts/s */

static struct rig rig;

enum { REFUSED = 1, TIMED_OUT = 2 }; /* answers besides OK */

struct row {
    const char *name;
    const char *broker[RIG_EXTRA];
    uint32_t timeout_ms, flags;
    uint32_t may, must; /* REFUSED, TIMED_OUT */
    uint32_t load_ms, least_ok;
};

enum { STALL_US = 100 * 1000 };

/* With short deadlines a queue of first in, first out answers nobody in time once it is longer
 * than the deadline; least_ok is below what the worker can do (160 calls a second), from the first
 * second on. */
static const struct row rows[] = {
    {"short deadlines", {NULL}, 150, EMBER_NO_RETRY, REFUSED | TIMED_OUT, REFUSED, 3000, 240},
    {"short deadlines, tried again", {NULL}, 150, 0, REFUSED | TIMED_OUT, REFUSED, 3000, 240},
    {"short queue", {"--max-queued", "16"}, 10000, EMBER_NO_RETRY, REFUSED, REFUSED, 1000, 60},
    {"short queue, tried again",
     {"--max-queued", "16"},
     800,
     0,
     REFUSED | TIMED_OUT,
     REFUSED,
     1000,
     60},
    /* The library keeps to the limit that it was told, so there is nothing to refuse. */
    {"few per client", {"--max-in-flight-per-client", "4"}, 20000, EMBER_NO_RETRY, 0, 0, 1000, 60},
};

static void start_rig(const struct row *row) {
    struct rig_cfg cfg = {.brokers = 1, .workers = 1, .models = {"m=fake:dim=16,sleep_us=4000"}};
    memcpy(cfg.broker_extra, row->broker, sizeof cfg.broker_extra);
    rig_init(&rig, &cfg);
    TEST_TRUE(rig_start(&rig));
}

static void overload(const struct row *row, history_t *history, struct history_sums *sums) {
    struct callers_cfg cfg = {.endpoints = rig.endpoints,
                              .model = "m",
                              .clients = 4,
                              .threads = 16,
                              .calls_per_s = 2 * OVERLOAD_PER_S, /* every second thread waits */
                              .timeout_ms = row->timeout_ms,
                              .flags = row->flags,
                              .no_cache = true};
    callers_t *callers = callers_start(&cfg, history);
    usleep(row->load_ms * 1000);
    callers_stop(&callers);
    history_check(history, sums);
    history_print(sums, row->name, stdout);
}

/* As if nothing had been: an ordinary call each few milliseconds, all answered. */
static void check_recovered(const struct row *row) {
    struct history_sums sums;
    history_t *history = history_new(200, 1, DIM, 0);
    struct callers_cfg cfg = {.endpoints = rig.endpoints,
                              .model = "m",
                              .clients = 1,
                              .threads = 2,
                              .calls_per_s = 100,
                              .timeout_ms = 5000 * PROC_SLOW,
                              .flags = EMBER_NO_RETRY,
                              .no_cache = true};
    rig_wait_idle(&rig, SOON_MS * PROC_SLOW);
    callers_t *callers = callers_start(&cfg, history);
    usleep(300000);
    callers_stop(&callers);
    history_check(history, &sums);
    TEST_TRUE(sums.calls >= 5);
    if (sums.status[EMBER_OK] != sums.calls || sums.foreign)
        history_print(&sums, row->name, stderr);
    TEST_EQ(sums.status[EMBER_OK], sums.calls);
    TEST_EQ(sums.foreign, 0);
    history_destroy(&history);
}

static void run_row(const struct row *row) {
    struct history_sums sums;
    TEST_ROW(row->name);
    start_rig(row);
    history_t *history = history_new(CALLS_MAX, TEXTS_MAX, DIM, 0);
    overload(row, history, &sums);
    history_destroy(&history);
    uint32_t refused = sums.status[EMBER_RESOURCE_EXHAUSTED];
    uint32_t timed_out = sums.status[EMBER_DEADLINE_EXCEEDED];
    TEST_EQ(sums.lost + sums.twice + sums.foreign + sums.late, 0);
    TEST_EQ(sums.no_advice, 0);
    TEST_EQ(sums.status[EMBER_OK] + refused + timed_out, sums.calls);
    uint32_t seen = (refused ? REFUSED : 0) | (timed_out ? TIMED_OUT : 0);
    TEST_EQ(seen & ~row->may, 0);
    TEST_EQ(row->must & ~seen, 0);
    TEST_TRUE(seen || !row->may); /* else this was no overload */
    if (sums.stall_us > STALL_US) /* the machine stood still: how much was done says nothing */
        printf("    goodput not judged: the machine stood still for %u ms\n", sums.stall_us / 1000);
    else
        TEST_TRUE(sums.status[EMBER_OK] >= row->least_ok);
    check_recovered(row);
    rig_stop(&rig);
}

static void test_overload(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        run_row(&rows[i]);
}

/* ----------------------------------------------------------------------------------------------
 * how much is done at three times capacity, beside what can be done
 *
 * Four workers of one thread, 4 ms asleep a text, calls of one text. Capacity is measured, not
 * assumed: as many calls as the broker's queue takes, waiting as long as it takes. */

enum { GOODPUT_DIM = 16, FULL_MS = 1500, FULL_MS_LONG = 5000, LEARN_MS = 1000, DUE_MS = 500 };

static bool is_long;

/* Answers per second between a second after the begin and the end. */
static double per_second(double calls_per_s, uint32_t timeout_ms, uint32_t ms,
                         struct history_sums *sums, struct history_span *span) {
    uint32_t capacity = (uint32_t)(calls_per_s * (ms + 2000) / 1000) + 1000;
    history_t *history = history_new(capacity, 1, GOODPUT_DIM, 0);
    struct callers_cfg cfg = {.endpoints = rig.endpoints,
                              .model = "m",
                              .clients = 4,
                              .threads = 8,
                              .calls_per_s = calls_per_s,
                              .timeout_ms = timeout_ms,
                              .flags = EMBER_NO_RETRY,
                              .no_cache = true,
                              .open_loop = true};
    callers_t *callers = callers_start(&cfg, history);
    usleep(LEARN_MS * 1000);
    uint64_t from_us = clock_us();
    usleep((ms - LEARN_MS) * 1000);
    uint64_t to_us = clock_us();
    uint32_t done = history_ended_ok(history, from_us, to_us);
    callers_stop(&callers);
    history_check(history, sums);
    history_span(history, from_us, to_us, span);
    history_destroy(&history);
    return done * 1e6 / (double)(to_us - from_us);
}

static void test_goodput(void **state) {
    (void)state;
    struct history_sums sums;
    struct history_span span;
    TEST_ROW("goodput");
    rig_init(&rig, &(struct rig_cfg){
                       .brokers = 1, .workers = 4, .models = {"m=fake:dim=16,sleep_us=4000"}});
    TEST_TRUE(rig_start(&rig));
    uint32_t full_ms = is_long ? FULL_MS_LONG : FULL_MS;
    double rate = 1100, capacity = per_second(rate, 30000, LEARN_MS + full_ms, &sums, &span);
    TEST_EQ(sums.lost + sums.twice + sums.foreign, 0);
    rig_wait_idle(&rig, 30000 * PROC_SLOW);
    double goodput =
        per_second(3 * capacity, DUE_MS, LEARN_MS + (is_long ? 60000 : 3000), &sums, &span);
    history_print(&sums, "three times capacity", stdout);
    printf("    capacity=%.0f/s goodput=%.0f/s (%.0f %%), answered p50/p99/worst_ms=%.0f/%.0f/%.0f "
           "of %d\n",
           capacity, goodput, 100 * goodput / capacity, span.median_us / 1e3, span.p99_us / 1e3,
           span.worst_us / 1e3, DUE_MS);
    TEST_EQ(sums.lost + sums.twice + sums.foreign + sums.late, 0);
    TEST_EQ(sums.no_advice, 0);
    TEST_TRUE(span.p99_us <= DUE_MS * 1000 + HISTORY_GRACE_US + 2 * sums.stall_us);
    /* How much is done is judged in the long run, by hand; here only that it is not nothing. */
    if (sums.stall_us <= STALL_US)
        TEST_TRUE(goodput >= (is_long ? 0.9 : 0.4 / PROC_SLOW) * capacity);
    struct history_sums after;
    double calm = per_second(capacity / 3, DUE_MS, LEARN_MS + 500, &after, &span);
    printf("    at once after it, a third of capacity: %.0f/s, p50/p99_ms=%.1f/%.1f, %u of %u OK\n",
           calm, span.median_us / 1e3, span.p99_us / 1e3, after.status[EMBER_OK], after.calls);
    if (after.stall_us <= STALL_US) /* the first few meet the end of the queue */
        TEST_TRUE(after.status[EMBER_OK] >= after.calls - after.calls / 4);
    rig_stop(&rig);
}

static int stop(void **state) {
    rig_stop(&rig);
    return proc_stop_all(state);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_overload, stop),
        cmocka_unit_test_teardown(test_goodput, stop),
    };
    is_long = argc > 1 && strcmp(argv[1], "--long") == 0;
    return proc_report(cmocka_run_group_tests(tests, NULL, NULL));
}
