/* scale_loop_test.c - the whole loop of scaling, simulated by seed: two brokers' wishes
 * (broker/scale.h), what ember-scale makes of them (deploy/scale/follow.h), and 256 hosts with 16
 * units each that take their time, fail, fall silent and die.
 *
 *     load ──► brokers ──► wish ──► follow ──► hosts ──► workers ──► what waits, and how long
 *
 * Load is 1, then 4, then 1 times what a thousand workers do at 70 %. While four times as much is
 * asked than there are workers for, what waits beyond 7 s is refused, as a broker would. */
#include "support/test.h"

#include "follow.h"
#include "scale.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    S = 1000 * 1000,
    START = 1000 * S,
    HOSTS = 256,
    UNITS = 16,
    BROKERS = 2,
    LOOK_S = 5,
    WINDOW_S = 300,
    COOL_S = 60,
    DRAIN_S = 10,
    OTHERS = 100, /* with trouble: workers that somebody else started, on no host of ours */
};
#define WORKERS 1000
#define TARGET  0.7

enum life { GONE, COMING, DUD, WORKS, DRAINS, BROKEN }; /* DUD: runs, and no broker sees it */

struct place {
    enum life life;
    uint32_t until; /* COMING, DRAINS: the second it ends */
};

struct host {
    struct place places[UNITS];
    uint32_t silent_until, dead_until;
};

struct world {
    uint64_t seed, now_us;
    uint32_t second;
    struct scale brokers[BROKERS];
    double offered_us[BROKERS];
    uint64_t received[BROKERS];
    follow_t *follow;
    struct follow_plan plan;
    struct host hosts[HOSTS];
    double waits, wait_s; /* work that waits, in runner seconds; how long a new request would */
    double refused;
    uint32_t starts, stops, turns;
    int way;
    bool trouble; /* hosts fall silent and die, starts fail */
};

static double draw(struct world *w) { /* 0 .. 1 */
    w->seed = w->seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (double)(w->seed >> 11) / (double)(UINT64_C(1) << 53);
}

static uint32_t in(const struct world *w, enum life life) {
    uint32_t n = life == WORKS && w->trouble ? OTHERS : 0;
    for (uint32_t h = 0; h < HOSTS; h++)
        for (uint32_t u = 0; u < UNITS; u++)
            n += w->hosts[h].places[u].life == life;
    return n;
}

static void begin(struct world *w, uint64_t seed, bool trouble) {
    const struct scale_cfg scale = {.target = TARGET,
                                    .min = 1,
                                    .max = 4096,
                                    .brokers = BROKERS,
                                    .stabilization_us = (uint64_t)WINDOW_S * S};
    const struct follow_cfg cfg = {.min = 1,
                                   .max = 4096,
                                   .cool_us = (uint64_t)COOL_S * S,
                                   .start_us = 60 * S,
                                   .retry_us = 300 * S};
    *w = (struct world){.seed = seed, .now_us = START, .trouble = trouble};
    for (uint32_t b = 0; b < BROKERS; b++)
        scale_init(&w->brokers[b], &scale, START);
    w->follow = follow_new(&cfg, START);
    static struct follow_host hosts[HOSTS];
    for (uint32_t h = 0; h < HOSTS; h++) {
        hosts[h].units = UNITS;
        snprintf(hosts[h].name, sizeof hosts[h].name, "h%u", h);
    }
    TEST_TRUE(follow_set_hosts(w->follow, hosts, HOSTS));
    for (uint32_t i = 0; i < WORKERS - (trouble ? OTHERS : 0); i++)
        w->hosts[i % HOSTS].places[i / HOSTS].life = WORKS;
}

/* ---- hosts */

static void suffer(struct world *w) {
    for (uint32_t h = 0; h < HOSTS; h++) {
        struct host *host = &w->hosts[h];
        double lot = draw(w);
        if (lot < 1.0 / 20000) /* a host dies, for five minutes */
            host->dead_until = w->second + 300;
        else if (lot < 4.0 / 20000) /* or cannot be reached for one */
            host->silent_until = w->second + 60;
        if (host->dead_until > w->second)
            memset(host->places, 0, sizeof host->places);
    }
}

static void pass(struct world *w) {
    if (w->trouble)
        suffer(w);
    for (uint32_t h = 0; h < HOSTS; h++)
        for (uint32_t u = 0; u < UNITS; u++) {
            struct place *p = &w->hosts[h].places[u];
            if (p->life == COMING && w->second >= p->until)
                p->life = !w->trouble || draw(w) > 0.02 ? WORKS : draw(w) < 0.5 ? DUD : BROKEN;
            else if (p->life == DRAINS && w->second >= p->until)
                p->life = GONE;
        }
}

static bool answers(const struct world *w, uint32_t h) {
    return w->hosts[h].silent_until <= w->second && w->hosts[h].dead_until <= w->second;
}

static void list(struct world *w) {
    static const enum unit_state states[] = {
        [GONE] = UNIT_OFF,     [COMING] = UNIT_ACTIVE,   [DUD] = UNIT_ACTIVE,
        [WORKS] = UNIT_ACTIVE, [DRAINS] = UNIT_STOPPING, [BROKEN] = UNIT_FAILED,
    };
    static enum unit_state listed[FOLLOW_HOST_UNITS_MAX];
    for (uint32_t h = 0; h < HOSTS; h++) {
        for (uint32_t u = 0; u < UNITS; u++)
            listed[u] = states[w->hosts[h].places[u].life];
        follow_listed(w->follow, h, answers(w, h) ? listed : NULL, w->now_us);
    }
}

static void turn(struct world *w, int way) {
    w->turns += way != w->way;
    w->way = way;
}

static void act(struct world *w) {
    const struct follow_plan *plan = &w->plan;
    for (uint32_t i = 0; i < plan->n_start; i++) {
        struct follow_step step = plan->start[i];
        struct place *p = &w->hosts[step.host].places[step.unit - 1];
        TEST_TRUE(step.unit >= 1 && step.unit <= UNITS);
        TEST_TRUE(p->life == GONE || p->life == BROKEN); /* nothing is started twice */
        bool ok = answers(w, step.host) && (!w->trouble || draw(w) > 0.01);
        if (ok)
            *p = (struct place){COMING, w->second + 3 + (uint32_t)(draw(w) * 30)};
        follow_started(w->follow, step, ok, w->now_us);
    }
    for (uint32_t i = 0; i < plan->n_stop; i++) {
        struct follow_step step = plan->stop[i];
        struct place *p = &w->hosts[step.host].places[step.unit - 1];
        TEST_TRUE(p->life == WORKS || p->life == DUD || p->life == COMING);
        bool ok = !w->trouble || draw(w) > 0.01;
        if (ok)
            *p = (struct place){DRAINS, w->second + (uint32_t)(draw(w) * DRAIN_S)};
        follow_stopped(w->follow, step, ok, w->now_us);
    }
    w->starts += plan->n_start;
    w->stops += plan->n_stop;
    if (plan->n_start > WORKERS / 50 || plan->n_stop > WORKERS / 50)
        turn(w, plan->n_start ? 1 : -1);
}

/* ---- a second */

static void serve(struct world *w, double asked) {
    double can = in(w, WORKS);
    w->waits = fmax(w->waits + asked - can, 0);
    double most = 7 * fmax(can, 1);
    if (w->waits > most) {
        w->refused += w->waits - most;
        w->waits = most;
    }
    w->wait_s = can > 0 ? w->waits / can : 7;
}

static void look(struct world *w, double asked) {
    struct follow_sight sight = {.any = true, .all = true};
    sight.seen = in(w, WORKS);
    for (uint32_t b = 0; b < BROKERS; b++) {
        double share = b ? 0.4 : 0.6;
        w->offered_us[b] += asked * share * S;
        w->received[b]++;
        struct scale_sample sample = {.live = sight.seen,
                                      .runners = sight.seen,
                                      .offered_us = w->offered_us[b],
                                      .waiting_us = w->waits * share * S,
                                      .received = w->received[b]};
        sight.wish += scale_look(&w->brokers[b], &sample, w->now_us);
        sight.all &= w->brokers[b].known;
        sight.any &= w->brokers[b].known;
    }
    if (w->second % LOOK_S)
        return;
    list(w);
    follow_decide(w->follow, &sight, w->now_us, &w->plan);
    act(w);
}

static void live_on(struct world *w, uint32_t seconds, double times) {
    w->starts = w->stops = w->turns = 0;
    w->way = 0;
    for (uint32_t i = 0; i < seconds; i++) {
        w->second++;
        w->now_us += S;
        double asked = times * TARGET * WORKERS * (0.95 + 0.1 * draw(w));
        pass(w);
        serve(w, asked);
        look(w, asked);
    }
}

static bool is_near(uint32_t got, double want, double more) {
    if (getenv("SCALE_TRACE"))
        printf("%u workers where %.0f are wanted\n", got, want);
    return got >= 0.93 * want && got <= more * want;
}

static void test_steps(void **state) {
    (void)state;
#ifdef EMBER_SANITIZED
    enum { SEEDS = 6 };
#else
    enum { SEEDS = 12 };
#endif
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        static struct world w;
        bool trouble = seed > 4;
        begin(&w, seed, trouble);
        live_on(&w, WINDOW_S,
                1); /* 0.6 of the requests at one broker, half of the workers found by the other */
        TEST_TRUE(is_near(in(&w, WORKS), 1.1 * WORKERS, 1.12));
        live_on(&w, 2 * WINDOW_S, 1);
        TEST_TRUE(is_near(in(&w, WORKS), WORKERS, 1.12));
        TEST_TRUE(w.wait_s < 0.15 && w.refused <= 0);
        TEST_TRUE(trouble || w.turns <= 1);

        live_on(&w, WINDOW_S, 4); /* within one window: enough workers, and nothing waits */
        TEST_TRUE(is_near(in(&w, WORKS), 4 * WORKERS, 1.03));
        TEST_TRUE(w.wait_s < 0.15);
        TEST_TRUE(w.turns <= 1);
        TEST_EQ(w.stops, 0);
        live_on(&w, 2 * WINDOW_S, 3.8);
        TEST_TRUE(w.wait_s < 0.15);

        live_on(&w, WINDOW_S - 30, 1); /* nobody goes before the window is over */
        TEST_TRUE(is_near(in(&w, WORKS), 3.8 * WORKERS, 1.12));
        live_on(&w, 30 + 9 * COOL_S, 1); /* then a quarter a minute, and not too many */
        TEST_TRUE(is_near(in(&w, WORKS), WORKERS, 1.2));
        TEST_TRUE(w.wait_s < 0.15);
        TEST_TRUE(trouble || w.starts <= WORKERS / 50); /* noise */
        live_on(&w, 2 * WINDOW_S, 1);
        TEST_TRUE(is_near(in(&w, WORKS), WORKERS, 1.12));
        TEST_TRUE(w.wait_s < 0.15);
        follow_destroy(&w.follow);
    }
}

/* Half of the hosts die at once, and are not there again: the other half takes over. */
static void test_half(void **state) {
    (void)state;
    static struct world w;
    begin(&w, 99, false);
    live_on(&w, 2 * WINDOW_S, 1);
    for (uint32_t h = 0; h < HOSTS; h += 2) {
        w.hosts[h].dead_until = UINT32_MAX;
        memset(w.hosts[h].places, 0, sizeof w.hosts[h].places);
    }
    live_on(&w, WINDOW_S, 1);
    TEST_TRUE(is_near(in(&w, WORKS), WORKERS, 1.3));
    TEST_TRUE(w.wait_s < 0.15);
    follow_destroy(&w.follow);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_half),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
