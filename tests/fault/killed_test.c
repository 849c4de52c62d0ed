/* killed_test.c - processes killed, frozen and drained while callers call. What must hold in each row: every
 * call ends once, with OK (its deadline is long), with its own vectors; afterwards all is as before.
 *
 * Capacity is two workers of one thread and 2 ms a text, asleep: about 900 texts/s on any machine. Callers
 * ask for 70 % of it, so that a single worker cannot keep up and requests wait while one is gone. */
#include "support/callers.h"
#include "support/fleet.h"

#include "base/clock.h"

enum { DIM = 48, TEXTS_MAX = 3, CALLS_MAX = 20000, DEADLINE_MS = 10000, BACK_MS = 8000 };

#define CALLS_PER_S 300.0 /* of two texts on average */

static struct fleet fleet;

static void pause_ms(uint32_t ms) {
    usleep(ms * 1000);
}

/* ---------------------------------------------------------------------------------------------- faults */

static void kill_workers_in_turn(void) {
    for (uint32_t i = 0; i < 2; i++) {
        proc_kill(&fleet.worker[i]);
        pause_ms(200);
        fleet_start_worker(&fleet, i);
        fleet_wait_workers(&fleet, 2, BACK_MS * PROC_SLOW);
        pause_ms(200);
    }
}

static void freeze_worker(void) {
    proc_signal(&fleet.worker[0], SIGSTOP);
    pause_ms(3000);
    proc_signal(&fleet.worker[0], SIGCONT);
}

static void drain_workers_in_turn(void) {
    for (uint32_t i = 0; i < 2; i++) {
        proc_drain(&fleet.worker[i], BACK_MS * PROC_SLOW);
        fleet_wait_workers(&fleet, 1, BACK_MS * PROC_SLOW);
        fleet_start_worker(&fleet, i);
        fleet_wait_workers(&fleet, 2, BACK_MS * PROC_SLOW);
    }
}

static void kill_broker(void) {
    proc_kill(&fleet.broker[0]);
    pause_ms(300);
    fleet_start_broker(&fleet, 0);
}

/* Three restarts in quick succession: sessions and routing ids are handed out anew each time, in another
 * order, with answers of the time before still under way. */
static void kill_broker_often(void) {
    for (int i = 0; i < 3; i++) {
        proc_kill(&fleet.broker[0]);
        fleet_start_broker(&fleet, 0);
        pause_ms(400);
    }
}

static void freeze_broker(void) {
    proc_signal(&fleet.broker[0], SIGSTOP);
    pause_ms(2500);
    proc_signal(&fleet.broker[0], SIGCONT);
}

static void drain_broker(void) {
    proc_drain(&fleet.broker[0], BACK_MS * PROC_SLOW);
    pause_ms(200);
    fleet_start_broker(&fleet, 0);
}

static void kill_redis(void) {
    redis_kill(&fleet.redis, SIGKILL);
    pause_ms(600);
    TEST_TRUE(redis_start_again(&fleet.redis, NULL));
}

static void freeze_redis(void) {
    kill(fleet.redis.pid, SIGSTOP);
    pause_ms(1000);
    kill(fleet.redis.pid, SIGCONT);
}

/* ----------------------------------------------------------------------------------------------- rows */

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

static void start_fleet(const struct row *row) {
    struct fleet_cfg cfg = {
        .brokers = row->brokers,
        .workers = 2,
        .redis = row->redis,
        .models = {"m=fake:dim=48,sleep_us=2000"},
        /* Texts of the Redis rows come again and again and must be looked up there. */
        .worker_extra = {"--cache-memory", "0", "--log-level", "info"},
    };
    fleet_init(&fleet, &cfg);
    if (!fleet_start(&fleet))
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
    start_fleet(row);
    history_t *history = history_new(CALLS_MAX, TEXTS_MAX, DIM, row->redis ? 300 : 0);
    struct callers_cfg cfg = {.endpoints = fleet.endpoints,
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
    fleet_wait_workers(&fleet, 2, BACK_MS * PROC_SLOW);
    fleet_wait_idle(&fleet, BACK_MS * PROC_SLOW);
    fleet_stop(&fleet);
}

static void test_faults(void **state) {
    const char *only = getenv("KILLED_ROW"); /* for looking into one row by hand */
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!only || strstr(rows[i].name, only))
            run_row(&rows[i]);
}

static int stop(void **state) {
    fleet_stop(&fleet);
    return proc_stop_all(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_faults, stop),
    };
    return proc_report(cmocka_run_group_tests(tests, NULL, NULL));
}
