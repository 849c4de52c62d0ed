/* chaos_test.c - faults drawn by a seed, one after the other and two at a time, until so many calls
 * were made. All of them must end once, in time, with OK and their own vectors, and no process may
 * end by itself.
 *
 *     fault_chaos_test [--requests N] [--minutes M] [--seed S] [--rate CALLS_PER_S]
 *
 * Two brokers, four workers of two threads, a Redis where there is one, each on a host of its own
 * where that can be had (net.h). Calls are made by clients that are closed and opened anew each
 * SEGMENT calls, when the history so far is judged and forgotten: memory does not grow with N. What
 * the seed decides is what is done and for how long; when exactly it meets a call is up to the
 * machine, so a seed gives the same faults again, not the same run. */
#include "support/callers.h"
#include "support/rig.h"

#include "base/clock.h"
#include "base/hash.h"

enum {
    DIM = 16,
    TEXTS_MAX = 2,
    SEGMENT = 100000,
    BROKERS = 2,
    WORKERS = 4,
    TIMEOUT_MS = 30000,
    BACK_MS = 15000,
    REDIS = RIG_BROKERS + RIG_WORKERS, /* among the victims */
    VICTIMS
};

static struct {
    uint64_t requests, seed;
    double minutes, rate;
    struct rig rig;
    struct net net;
    bool has_net, busy[VICTIMS];
    uint64_t chance;
} chaos = {.requests = 4000, .rate = 1200};

static void pause_ms(uint32_t ms) {
    usleep(ms * 1000);
}

static struct proc *victim_proc(uint32_t victim) {
    return victim < RIG_BROKERS ? &chaos.rig.broker[victim]
                                : &chaos.rig.worker[victim - RIG_BROKERS];
}

static void start_again(uint32_t victim) {
    if (victim == REDIS)
        TEST_TRUE(redis_start_again(&chaos.rig.redis, NULL));
    else if (victim < RIG_BROKERS)
        rig_start_broker(&chaos.rig, victim);
    else
        rig_start_worker(&chaos.rig, victim - RIG_BROKERS);
}

/* ----------------------------------------------------------------------------------------------
 * faults: begun, held for a while, healed */

static void kill_begin(uint32_t victim) {
    if (victim == REDIS)
        redis_kill(&chaos.rig.redis, SIGKILL);
    else
        proc_kill(victim_proc(victim));
}

static void send_signal(uint32_t victim, int signal_number) {
    if (victim == REDIS)
        kill(chaos.rig.redis.pid, signal_number);
    else
        proc_signal(victim_proc(victim), signal_number);
}

static void freeze_begin(uint32_t victim) {
    send_signal(victim, SIGSTOP);
}

static void freeze_end(uint32_t victim) {
    send_signal(victim, SIGCONT);
}

static void drain_begin(uint32_t victim) {
    if (victim == REDIS)
        redis_kill(&chaos.rig.redis, SIGKILL); /* it has nothing to finish */
    else
        proc_drain(victim_proc(victim), 30000 * PROC_SLOW);
}

static void unplug_begin(uint32_t victim) {
    net_unplug(&chaos.net, victim);
}

static void unplug_end(uint32_t victim) {
    net_plug(&chaos.net, victim);
}

/* From one broker only; a broker from the other's clients. */
static uint32_t other_side(uint32_t victim) {
    return victim < RIG_BROKERS ? RIG_HOST_CLIENT : victim % BROKERS;
}

static void cut_begin(uint32_t victim) {
    net_cut(&chaos.net, victim, other_side(victim));
}

static void cut_way_begin(uint32_t victim) {
    net_cut_way(&chaos.net, victim, other_side(victim));
}

static void cut_end(uint32_t victim) {
    net_heal(&chaos.net, victim, other_side(victim));
}

static struct {
    const char *name;
    void (*begin)(uint32_t victim);
    void (*end)(uint32_t victim);
    uint32_t hold_ms; /* at most */
    bool net;
    uint32_t done;
} faults[] = {
    {"kill", kill_begin, start_again, 1000, false, 0},
    {"freeze", freeze_begin, freeze_end, 4000, false, 0},
    {"drain", drain_begin, start_again, 500, false, 0},
    {"unplug", unplug_begin, unplug_end, 4000, true, 0},
    {"cut", cut_begin, cut_end, 4000, true, 0},
    {"cut one way", cut_way_begin, cut_end, 4000, true, 0},
};

struct choice {
    uint32_t fault, victim, hold_ms;
};

static bool allowed(const struct choice *c) {
    bool exists = c->victim < BROKERS ||
                  (c->victim >= RIG_BROKERS && c->victim < RIG_BROKERS + WORKERS) ||
                  (c->victim == REDIS && chaos.rig.cfg.redis);
    if (!exists || chaos.busy[c->victim])
        return false;
    /* Both brokers at once is more than is promised to callers with a deadline. */
    if (c->victim < BROKERS && chaos.busy[1 - c->victim])
        return false;
    return !faults[c->fault].net || (chaos.has_net && c->victim != REDIS);
}

static struct choice draw(void) {
    struct choice c;
    do {
        c.fault = hash_below(&chaos.chance, sizeof faults / sizeof *faults);
        c.victim = hash_below(&chaos.chance, VICTIMS);
    } while (!allowed(&c));
    /* Mostly short: that is where races are. */
    uint32_t most =
        hash_below(&chaos.chance, 3) ? faults[c.fault].hold_ms / 5 : faults[c.fault].hold_ms;
    c.hold_ms = hash_below(&chaos.chance, most + 1);
    return c;
}

static void check_alive(void) {
    for (uint32_t v = 0; v < REDIS; v++) {
        bool exists = v < RIG_BROKERS ? v < BROKERS : v - RIG_BROKERS < WORKERS;
        if (exists && !chaos.busy[v] && !proc_running(victim_proc(v)))
            TEST_FAIL("seed %llu: %s ended by itself with status %d",
                      (unsigned long long)chaos.seed, victim_proc(v)->name, victim_proc(v)->status);
    }
}

static void begin(const struct choice *c) {
    chaos.busy[c->victim] = true;
    faults[c->fault].begin(c->victim);
    faults[c->fault].done++;
}

static void end(const struct choice *c) {
    faults[c->fault].end(c->victim);
    chaos.busy[c->victim] = false;
}

static void step(void) {
    struct choice first = draw();
    begin(&first);
    if (hash_below(&chaos.chance, 3) == 0) { /* a second one in the middle of the first */
        pause_ms(hash_below(&chaos.chance, 200));
        struct choice second = draw();
        begin(&second);
        pause_ms(second.hold_ms);
        end(&second);
    }
    pause_ms(first.hold_ms);
    end(&first);
    pause_ms(hash_below(&chaos.chance, 400));
    check_alive();
}

/* ----------------------------------------------------------------------------------------------
 * the run */

static void start(void) {
    struct rig_cfg cfg = {.brokers = BROKERS,
                          .workers = WORKERS,
                          .threads = 2,
                          .redis = true,
                          .models = {"m=fake:dim=16,sleep_us=1500"},
                          .worker_extra = {"--log-level", "warn"},
                          .broker_extra = {"--log-level", "warn"},
                          .net = chaos.has_net ? &chaos.net : NULL};
    rig_init(&chaos.rig, &cfg);
    if (!rig_start(&chaos.rig)) {
        cfg.redis = false;
        rig_init(&chaos.rig, &cfg);
        TEST_TRUE(rig_start(&chaos.rig));
    }
}

static void add(struct history_sums *all, const struct history_sums *one) {
    all->calls += one->calls;
    all->cached += one->cached;
    all->resent += one->resent;
    for (uint32_t i = 0; i < HISTORY_STATUSES; i++)
        all->status[i] += one->status[i];
    all->worst_us = one->worst_us > all->worst_us ? one->worst_us : all->worst_us;
    all->stall_us = one->stall_us > all->stall_us ? one->stall_us : all->stall_us;
    all->median_us = one->median_us;
}

/* Faults and calls side by side, until all of these calls were made or the time is up. */
static void segment(uint32_t calls, uint64_t end_us, struct history_sums *all) {
    struct history_sums sums;
    /* Half of the texts come again: what is cached must be right, too. */
    history_t *history = history_new(calls, TEXTS_MAX, DIM, calls / 2 + 1);
    struct callers_cfg cfg = {.endpoints = chaos.rig.endpoints,
                              .model = "m",
                              .clients = 8,
                              .threads = 24,
                              .calls_per_s = chaos.rate / PROC_SLOW,
                              .timeout_ms = TIMEOUT_MS * PROC_SLOW,
                              .net = chaos.has_net ? &chaos.net : NULL,
                              .host = RIG_HOST_CLIENT};
    callers_t *callers = callers_start(&cfg, history);
    while (!history_full(history) && clock_us() < end_us)
        step();
    callers_stop(&callers);
    history_check(history, &sums);
    add(all, &sums);
    if (sums.lost + sums.twice + sums.foreign + sums.late || sums.status[EMBER_OK] != sums.calls) {
        history_print(&sums, "chaos", stderr);
        history_print_errors(history, stderr);
        TEST_FAIL("seed %llu", (unsigned long long)chaos.seed);
    }
    history_destroy(&history);
}

static void test_chaos(void **state) {
    (void)state;
    TEST_ROW("chaos");
    uint64_t start_us = clock_us();
    uint64_t end_us = chaos.minutes > 0 ? start_us + (uint64_t)(chaos.minutes * 60e6) : UINT64_MAX;
    struct history_sums all = {0};
    printf("seed %llu, %s\n", (unsigned long long)chaos.seed,
           chaos.has_net ? "a host each" : "one host: nothing is cut");
    start();
    chaos.chance = chaos.seed;
    while (all.calls < chaos.requests && clock_us() < end_us) {
        uint64_t left = chaos.requests - all.calls;
        segment((uint32_t)(left < SEGMENT ? left : SEGMENT), end_us, &all);
        if (chaos.requests > SEGMENT) {
            printf("%7.1f s ", (double)(clock_us() - start_us) / 1e6);
            history_print(&all, "so far", stdout);
            fflush(stdout);
        }
    }
    rig_wait_workers(&chaos.rig, WORKERS, BACK_MS * PROC_SLOW);
    rig_wait_idle(&chaos.rig, BACK_MS * PROC_SLOW);
    history_print(&all, "chaos", stdout);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        printf("%s%s %u", i ? ", " : "faults: ", faults[i].name, faults[i].done);
    printf("; %.1f s\n", (double)(clock_us() - start_us) / 1e6);
}

static int stop(void **state) {
    rig_stop(&chaos.rig);
    return proc_stop_all(state);
}

static bool take_args(int argc, char **argv) {
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (!value)
            return false;
        if (strcmp(argv[i], "--requests") == 0)
            chaos.requests = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--minutes") == 0)
            chaos.minutes = strtod(value, NULL);
        else if (strcmp(argv[i], "--seed") == 0)
            chaos.seed = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--rate") == 0)
            chaos.rate = strtod(value, NULL);
        else
            return false;
    }
    return chaos.requests > 0 && chaos.rate > 0;
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_chaos, stop),
    };
    chaos.seed = hash_entropy64() % 1000000;
    if (!take_args(argc, argv)) {
        fprintf(stderr, "usage: %s [--requests N] [--minutes M] [--seed S] [--rate N]\n", argv[0]);
        return 2;
    }
    chaos.has_net = net_open(&chaos.net, RIG_HOSTS);
    int failed = proc_report(cmocka_run_group_tests(tests, NULL, NULL));
    if (chaos.has_net)
        net_close(&chaos.net);
    return failed;
}
