/* killed_test.c - processes killed, frozen and drained while callers call. What must hold in each
 * row: every call ends once, with OK (its deadline is long), with its own vectors; afterwards all
 * is as before.
 *
 * Capacity is two workers of one thread and 2 ms a text, asleep: about 900 texts/s on any
 * machine. Callers ask for 70 % of it, so that a single worker cannot keep up and requests wait
 * while one is gone. */
#include "support/callers.h"
#include "support/rig.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdatomic.h>

enum { DIM = 48, TEXTS_MAX = 3, CALLS_MAX = 20000, DEADLINE_MS = 10000, BACK_MS = 8000 };

#define CALLS_PER_S 300.0 /* of two texts on average */

static struct rig rig;

static void pause_ms(uint32_t ms) {
    usleep(ms * 1000);
}

/* ----------------------------------------------------------------------------------------------
 * faults */

static void kill_workers_in_turn(void) {
    for (uint32_t i = 0; i < 2; i++) {
        proc_kill(&rig.worker[i]);
        pause_ms(200);
        rig_start_worker(&rig, i);
        rig_wait_workers(&rig, 2, BACK_MS * PROC_SLOW);
        pause_ms(200);
    }
}

static void freeze_worker(void) {
    proc_signal(&rig.worker[0], SIGSTOP);
    pause_ms(3000);
    proc_signal(&rig.worker[0], SIGCONT);
}

static void drain_workers_in_turn(void) {
    for (uint32_t i = 0; i < 2; i++) {
        proc_drain(&rig.worker[i], BACK_MS * PROC_SLOW);
        rig_wait_workers(&rig, 1, BACK_MS * PROC_SLOW);
        rig_start_worker(&rig, i);
        rig_wait_workers(&rig, 2, BACK_MS * PROC_SLOW);
    }
}

static void kill_broker(void) {
    proc_kill(&rig.broker[0]);
    pause_ms(300);
    rig_start_broker(&rig, 0);
}

/* Three restarts in quick succession: sessions and routing ids are handed out anew each time, in
 * another order, with answers of the time before still under way. */
static void kill_broker_often(void) {
    for (int i = 0; i < 3; i++) {
        proc_kill(&rig.broker[0]);
        rig_start_broker(&rig, 0);
        pause_ms(400);
    }
}

static void freeze_broker(void) {
    proc_signal(&rig.broker[0], SIGSTOP);
    pause_ms(2500);
    proc_signal(&rig.broker[0], SIGCONT);
}

static void drain_broker(void) {
    proc_drain(&rig.broker[0], BACK_MS * PROC_SLOW);
    pause_ms(200);
    rig_start_broker(&rig, 0);
}

static void kill_redis(void) {
    redis_kill(&rig.redis, SIGKILL);
    pause_ms(600);
    TEST_TRUE(redis_start_again(&rig.redis, NULL));
}

static void freeze_redis(void) {
    kill(rig.redis.pid, SIGSTOP);
    pause_ms(1000);
    kill(rig.redis.pid, SIGCONT);
}

/* -----------------------------------------------------------------------------------------------
 * rows */

struct row {
    const char *name;
    uint32_t brokers;
    bool redis;
    void (*fault)(void);
};

static const struct row rows[] = {
    {"nothing", 1, false, NULL},
    {"kill workers", 1, false, kill_workers_in_turn},
    {"freeze worker", 1, false, freeze_worker},
    {"drain workers", 1, false, drain_workers_in_turn},
    {"kill the only broker", 1, false, kill_broker},
    {"kill it three times", 1, false, kill_broker_often},
    {"drain the only broker", 1, false, drain_broker},
    {"kill one broker of two", 2, false, kill_broker},
    {"freeze one broker of two", 2, false, freeze_broker},
    {"drain one broker of two", 2, false, drain_broker},
    {"kill Redis", 1, true, kill_redis},
    {"freeze Redis", 1, true, freeze_redis},
};

static void start_rig(const struct row *row) {
    struct rig_cfg cfg = {
        .brokers = row->brokers,
        .workers = 2,
        .redis = row->redis,
        .models = {"m=fake:dim=48,sleep_us=2000"},
        /* Texts of the Redis rows come again and again and must be looked up there. */
        .worker_extra = {"--cache-memory", "0", "--log-level", "info"},
    };
    rig_init(&rig, &cfg);
    if (!rig_start(&rig))
        skip();
}

static void check(history_t *history, const char *name) {
    struct history_sums sums;
    history_check(history, &sums);
    history_print(&sums, name, stdout);
    TEST_EQ(sums.lost, 0);
    TEST_EQ(sums.twice, 0);
    TEST_EQ(sums.foreign, 0);
    TEST_EQ(sums.late, 0);
    TEST_EQ(sums.status[EMBER_OK], sums.calls);
    TEST_TRUE(sums.calls > 100);
}

static void run_row(const struct row *row) {
    TEST_ROW(row->name);
    start_rig(row);
    history_t *history = history_new(CALLS_MAX, TEXTS_MAX, DIM, row->redis ? 300 : 0);
    struct callers_cfg cfg = {.endpoints = rig.endpoints,
                              .model = "m",
                              .clients = 3,
                              .threads = 6,
                              .calls_per_s = CALLS_PER_S,
                              .timeout_ms = DEADLINE_MS,
                              .no_cache = !row->redis};
    callers_t *callers = callers_start(&cfg, history);
    pause_ms(500);
    if (row->fault)
        row->fault();
    pause_ms(500);
    callers_stop(&callers);
    check(history, row->name);
    history_destroy(&history);
    rig_wait_workers(&rig, 2, BACK_MS * PROC_SLOW);
    rig_wait_idle(&rig, BACK_MS * PROC_SLOW);
    rig_stop(&rig);
}

static void test_faults(void **state) {
    const char *only = getenv("KILLED_ROW"); /* for looking into one row by hand */
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!only || strstr(rows[i].name, only))
            run_row(&rows[i]);
}

/* ------------------------------------------------------------------------- real workers, large
 * calls */

/* Calls of many requests on the golden model, again and again, while its workers are killed in
 * turn. Each must give the rows of a quiet call. */
enum { LARGE = 900, LARGE_DIM = 96 };

static struct {
    char text[LARGE][32];
    const char *list[LARGE];
    float want[LARGE * LARGE_DIM];
    atomic_bool stop;
    atomic_uint calls, wrong, failed, resent;
    char why[200];
} large;

static enum ember_status large_call(ember_t *client, ember_result_t **result,
                                    struct ember_error *error) {
    struct ember_embed_options options = EMBER_EMBED_OPTIONS_INIT;
    options.cache = EMBER_CACHE_BYPASS;
    options.timeout_ms = DEADLINE_MS * PROC_SLOW;
    return ember_embed(client, large.list, LARGE, &options, result, error);
}

static void *large_run(void *client) {
    while (!atomic_load(&large.stop)) {
        ember_result_t *result = NULL;
        struct ember_error error;
        if (large_call(client, &result, &error) != EMBER_OK) {
            atomic_fetch_add(&large.failed, 1);
            snprintf(large.why, sizeof large.why, "%s: %.150s", ember_status_name(error.status),
                     error.message);
            continue;
        }
        const float *got = ember_result_floats(result, 0);
        bool wrong = false;
        for (size_t i = 0; i < LARGE * LARGE_DIM; i++)
            wrong |= !(fabsf(got[i] - large.want[i]) <= 1e-5f); /* another batch, other rounding */
        atomic_fetch_add(&large.wrong, wrong);
        atomic_fetch_add(&large.calls, 1);
        ember_result_destroy(&result);
    }
    return NULL;
}

static void test_real_workers(void **state) {
    (void)state;
    TEST_ROW("real workers");
    rig_init(&rig, &(struct rig_cfg){
                       .brokers = 1,
                       .workers = 2,
                       .real = true,
                       .models = {"mean=" EMBER_SOURCE_DIR "/tests/data/golden/bert-mean/f32"}});
    TEST_TRUE(rig_start(&rig));
    ember_t *client = NULL;
    ember_result_t *quiet = NULL;
    struct ember_error error;
    TEST_EQ(ember_open(rig.endpoints, NULL, &client, NULL), EMBER_OK);
    for (size_t i = 0; i < LARGE; i++) {
        snprintf(large.text[i], sizeof large.text[i], "item %zu of order %zu", i, i * 7919);
        large.list[i] = large.text[i];
    }
    if (large_call(client, &quiet, &error) != EMBER_OK)
        TEST_FAIL("quiet call: %s", error.message);
    memcpy(large.want, ember_result_floats(quiet, 0), sizeof large.want);
    ember_result_destroy(&quiet);

    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        TEST_EQ(pthread_create(&threads[i], NULL, large_run, client), 0);
    pause_ms(200);
    kill_workers_in_turn();
    atomic_store(&large.stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    printf("%-28s calls=%u of %d texts\n", "kill real workers", large.calls, LARGE);
    if (large.failed)
        TEST_FAIL("%u calls failed: %s", large.failed, large.why);
    TEST_EQ(large.wrong, 0);
    TEST_TRUE(large.calls >= 2); /* one of each caller at least, however slow the build */
    ember_close(&client);
    rig_stop(&rig);
}

static int stop(void **state) {
    rig_stop(&rig);
    return proc_stop_all(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_faults, stop),
        cmocka_unit_test_teardown(test_real_workers, stop),
    };
    return proc_report(cmocka_run_group_tests(tests, NULL, NULL));
}
