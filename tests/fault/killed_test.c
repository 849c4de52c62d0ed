/* killed_test.c - processes killed, frozen, hung, drained and shouted at while callers call; what
 * must hold in each row stands in matrix.h.
 *
 *     fault_killed_test [--long] [--rounds N] [ROW...]      a part of its name picks a row */
#include "support/matrix.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdatomic.h>

static void pause_ms(uint32_t ms) {
    usleep(ms * 1000);
}

/* ----------------------------------------------------------------------------------------------
 * workers */

/* As a supervisor would: started again at once, noticed by brokers in its own time. */
static void kill_workers_in_turn(struct rig *rig) {
    for (uint32_t i = 0; i < 2; i++) {
        proc_kill(&rig->worker[i]);
        rig_start_worker(rig, i);
        pause_ms(400);
    }
}

static void freeze_worker(struct rig *rig) {
    proc_signal(&rig->worker[0], SIGSTOP);
    pause_ms(matrix_ms(2500, 5000));
    proc_signal(&rig->worker[0], SIGCONT);
    uint64_t start_us = clock_us();
    rig_wait_trusted(rig, MATRIX_WORKERS, MATRIX_BACK_MS * PROC_SLOW);
    matrix_note("worker trusted again in %.0f ms", (double)(clock_us() - start_us) / 1e3);
}

/* The loop of the worker lives and says so; the one runner never comes back from a text. */
static void hang_worker(struct rig *rig) {
    proc_drain(&rig->worker[0], MATRIX_BACK_MS * PROC_SLOW);
    rig_start_worker_as(rig, 0, MATRIX_MODEL ",hang=text");
    pause_ms(matrix_ms(2500, 5000));
    proc_kill(&rig->worker[0]);
    rig_start_worker(rig, 0);
}

static void drain_workers_in_turn(struct rig *rig) {
    for (uint32_t i = 0; i < 2; i++) {
        proc_drain(&rig->worker[i], MATRIX_BACK_MS * PROC_SLOW);
        rig_start_worker(rig, i);
        rig_wait_workers(rig, MATRIX_WORKERS, MATRIX_BACK_MS * PROC_SLOW);
    }
}

/* The first drains, the second ends a process at once, the rest meet it anywhere in between. */
static void storm(struct rig *rig, struct proc *proc) {
    for (int i = 0; i < 20; i++) {
        if (proc_running(proc))
            proc_signal(proc, SIGTERM);
        usleep(300);
    }
    matrix_supervise(rig, 500);
}

static void storm_worker(struct rig *rig) {
    storm(rig, &rig->worker[0]);
}

/* ----------------------------------------------------------------------------------------------
 * brokers */

static void kill_broker(struct rig *rig) {
    proc_kill(&rig->broker[0]);
    pause_ms(300);
    rig_start_broker(rig, 0);
    uint64_t start_us = clock_us();
    rig_wait_workers(rig, MATRIX_WORKERS, MATRIX_BACK_MS * PROC_SLOW);
    matrix_note("workers back in %.0f ms", (double)(clock_us() - start_us) / 1e3);
}

/* Three restarts in quick succession: sessions and routing ids are handed out anew each time, in
 * another order, with answers of the time before still under way. */
static void kill_broker_often(struct rig *rig) {
    for (int i = 0; i < 3; i++) {
        proc_kill(&rig->broker[0]);
        rig_start_broker(rig, 0);
        pause_ms(400);
    }
}

static void freeze_broker(struct rig *rig) {
    proc_signal(&rig->broker[0], SIGSTOP);
    pause_ms(matrix_ms(2500, 5000));
    proc_signal(&rig->broker[0], SIGCONT);
}

static void drain_broker(struct rig *rig) {
    proc_drain(&rig->broker[0], MATRIX_BACK_MS * PROC_SLOW);
    pause_ms(200);
    rig_start_broker(rig, 0);
}

static void storm_broker(struct rig *rig) {
    storm(rig, &rig->broker[0]);
}

/* What a foreign peer can bring about inside the messaging library (SECURITY.md). */
static void abort_broker(struct rig *rig) {
    proc_signal(&rig->broker[0], SIGABRT);
    matrix_supervise(rig, 1000);
}

/* ----------------------------------------------------------------------------------------------
 * Redis */

static void kill_redis(struct rig *rig) {
    redis_kill(&rig->redis, SIGKILL);
    pause_ms(600);
    TEST_TRUE(redis_start_again(&rig->redis, NULL));
}

static void freeze_redis(struct rig *rig) {
    kill(rig->redis.pid, SIGSTOP);
    pause_ms(1000);
    kill(rig->redis.pid, SIGCONT);
}

static void tell_redis(struct rig *rig, const char *name, const char *value) {
    char reply[256];
    redis_ask(&rig->redis, reply, sizeof reply, "CONFIG", "SET", name, value, NULL);
    TEST_STR_EQ(reply, "+OK");
}

static void fill_redis(struct rig *rig) {
    tell_redis(rig, "maxmemory", "1");
    pause_ms(1000);
    tell_redis(rig, "maxmemory", "0");
}

/* Started again on what it has saved, key by key, slowly: meanwhile it answers LOADING. */
static void load_redis(struct rig *rig) {
    char reply[1024];
    static const char *const slowly[] = {"--key-load-delay", "5000",
                                         "--loading-process-events-interval-bytes", "1024", NULL};
    redis_ask(&rig->redis, reply, sizeof reply, "SAVE", NULL);
    redis_kill(&rig->redis, SIGKILL);
    TEST_TRUE(redis_start_again(&rig->redis, slowly));
    bool seen = false;
    uint64_t end_us = clock_us() + 5000 * 1000;
    do {
        redis_ask(&rig->redis, reply, sizeof reply, "PING", NULL);
        seen |= strncmp(reply, "-LOADING", 8) == 0;
        pause_ms(20);
    } while (strcmp(reply, "+PONG") != 0 && clock_us() < end_us);
    TEST_TRUE(seen);
}

/* ----------------------------------------------------------------------------------------------
 * rows */

static const struct matrix_row rows[] = {
    MATRIX_ROW("nothing", "the measure of the others", NULL, 1, 300),
    MATRIX_ROW("kill workers", "0 lost, added < 20 ms + one execution", kill_workers_in_turn, 1,
               500),
    MATRIX_ROW("freeze worker", "0 lost, worker readmitted", freeze_worker, 1, 3000),
    MATRIX_ROW("freeze worker, hedged", "added < hedge delay + one execution", freeze_worker, 1,
               3000, .needs = "--hedge", .broker_extra = {"--hedge", "on"}),
    MATRIX_ROW("hang worker", "0 lost, others answer for it", hang_worker, 1, 3000,
               .replaced = true),
    MATRIX_ROW("hang worker, hedged", "0 lost, others answer for it", hang_worker, 1, 3000,
               .replaced = true, .needs = "--hedge", .broker_extra = {"--hedge", "on"}),
    MATRIX_ROW("drain workers", "no call notices", drain_workers_in_turn, 1, 500),
    MATRIX_ROW("SIGTERM storm at a worker", "0 lost", storm_worker, 1, 1000, .by_hand = true),
    MATRIX_ROW("kill the only broker", "0 lost once it is back", kill_broker, 1, 3000),
    MATRIX_ROW("restart broker three times", "nobody gets another's answer", kill_broker_often, 1,
               5000),
    MATRIX_ROW("drain the only broker", "0 lost once it is back", drain_broker, 1, 3000,
               .by_hand = true),
    MATRIX_ROW("SIGTERM storm at the broker", "0 lost once it is back", storm_broker, 1, 3000),
    MATRIX_ROW("abort the only broker", "back in < 1 s, 0 lost", abort_broker, 1, 3000,
               .by_hand = true),
    MATRIX_ROW("kill one broker of two", "added < attempt timer + one execution", kill_broker, 2,
               3000),
    MATRIX_ROW("freeze one broker of two", "added < attempt timer + one execution", freeze_broker,
               2, 4000),
    MATRIX_ROW("drain one broker of two", "no call notices", drain_broker, 2, 1000),
    MATRIX_ROW("kill Redis", "speed alone", kill_redis, 1, 500, .redis = true),
    MATRIX_ROW("freeze Redis", "speed alone", freeze_redis, 1, 500, .redis = true),
    MATRIX_ROW("Redis is full", "speed alone", fill_redis, 1, 500, .redis = true, .by_hand = true),
    MATRIX_ROW("Redis is loading", "speed alone", load_redis, 1, 500, .redis = true),
};

static void test_faults(void **state) {
    (void)state;
    matrix_run(rows, sizeof rows / sizeof *rows, NULL);
}

/* ------------------------------------------------------------------------- real workers, large
 * calls */

/* Calls of many requests on the golden model, again and again, while its workers are killed in
 * turn. Each must give the rows of a quiet call. */
enum { LARGE = 900, LARGE_DIM = 96, DEADLINE_MS = 10000 };

static struct rig rig;

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
    for (uint32_t i = 0; i < 2; i++) {
        proc_kill(&rig.worker[i]);
        pause_ms(200);
        rig_start_worker(&rig, i);
        rig_wait_workers(&rig, 2, MATRIX_BACK_MS * PROC_SLOW);
        pause_ms(200);
    }
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
    matrix_stop();
    rig_stop(&rig);
    return proc_stop_all(state);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_faults, stop),
        cmocka_unit_test_teardown(test_real_workers, stop),
    };
    if (!matrix_args(argc, argv)) {
        fprintf(stderr, "usage: %s [--long] [--rounds N] [ROW...]\n", argv[0]);
        return 2;
    }
    return proc_report(cmocka_run_group_tests(tests, NULL, NULL));
}
