/* follow_test.c - which units are started and stopped: rules by table, and what lists say. */
#include "support/test.h"

#include "follow.h"

#include <string.h>

enum { S = 1000 * 1000, T0 = 1000 * S };

#define USUAL                                                                                      \
    { .min = 1, .max = 4096, .cool_us = 60 * S, .start_us = 30 * S, .retry_us = 300 * S }

static const struct follow_cfg cfg = USUAL;

/* Hosts of so many units, of which the first `runs` have been running since T0. */
struct world {
    follow_t *follow;
    struct follow_plan plan;
    enum unit_state states[8][FOLLOW_HOST_UNITS_MAX];
    uint32_t n;
};

static void open_world(struct world *w, const struct follow_cfg *with, uint32_t n,
                       const uint32_t *units, const uint32_t *runs) {
    struct follow_host hosts[8];
    *w = (struct world){.follow = follow_new(with, T0), .n = n};
    for (uint32_t i = 0; i < n; i++) {
        hosts[i] = (struct follow_host){.units = units[i]};
        snprintf(hosts[i].name, sizeof hosts[i].name, "h%u", i);
        for (uint32_t k = 0; k < runs[i]; k++)
            w->states[i][k] = UNIT_ACTIVE;
    }
    TEST_TRUE(follow_set_hosts(w->follow, hosts, n));
    for (uint32_t i = 0; i < n; i++)
        follow_listed(w->follow, i, w->states[i], T0);
}

static void decide(struct world *w, uint32_t wish, uint32_t seen, uint64_t now_us) {
    struct follow_sight sight = {.wish = wish, .seen = seen, .any = true, .all = true};
    follow_decide(w->follow, &sight, now_us, &w->plan);
}

static bool has(const struct follow_step *steps, uint32_t n, uint32_t host, uint32_t unit) {
    for (uint32_t i = 0; i < n; i++)
        if (steps[i].host == host && steps[i].unit == unit)
            return true;
    return false;
}

static void test_how_many(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t runs, seen;
        struct follow_sight sight;
        uint64_t after_us; /* T0 */
        struct follow_cfg cfg;
        uint32_t start, stop;
        enum follow_hold hold;
    } rows[] = {
        {"as many as wished for", 5, 5, {5, 0, true, true}, 100 * S, USUAL, 0, 0, FOLLOW_GOES},
        {"up at once", 5, 5, {9, 0, true, true}, 1, USUAL, 4, 0, FOLLOW_GOES},
        {"from nothing", 0, 0, {3, 0, true, true}, 1, USUAL, 3, 0, FOLLOW_GOES},
        {"the maximum", 5, 5, {9, 0, true, true}, 1, {1, 7, 60 * S, 30 * S, 300 * S}, 2, 0, 0},
        {"the minimum", 2, 2, {0, 0, true, true}, 1, {4, 9, 60 * S, 30 * S, 300 * S}, 2, 0, 0},
        {"no more units", 10, 10, {20, 0, true, true}, 1, USUAL, 6, 0, FOLLOW_SHORT},
        {"down, but not yet", 8, 8, {1, 0, true, true}, 59 * S, USUAL, 0, 0, FOLLOW_GOES},
        {"down by a quarter", 8, 8, {1, 0, true, true}, 60 * S, USUAL, 0, 2, FOLLOW_GOES},
        {"down by one at least", 3, 3, {1, 0, true, true}, 60 * S, USUAL, 0, 1, FOLLOW_GOES},
        {"down to the wish", 12, 12, {11, 0, true, true}, 60 * S, USUAL, 0, 1, FOLLOW_GOES},
        {"blind", 8, 8, {0, 0, false, false}, 60 * S, USUAL, 0, 0, FOLLOW_BLIND},
        {"partial: not down", 8, 8, {1, 0, true, false}, 60 * S, USUAL, 0, 0, FOLLOW_PARTIAL},
        {"partial: but up", 8, 8, {9, 0, true, false}, 60 * S, USUAL, 1, 0, FOLLOW_GOES},
        {"young ones are on their way", 5, 2, {5, 0, true, true}, 29 * S, USUAL, 0, 0, FOLLOW_GOES},
        {"and hold back stops", 8, 6, {1, 0, true, true}, 29 * S, USUAL, 0, 0, FOLLOW_GOES},
        {"who is not seen is replaced", 5, 2, {5, 0, true, true}, 30 * S, USUAL, 3, 0, FOLLOW_GOES},
        {"others' workers count", 2, 6, {6, 0, true, true}, 100 * S, USUAL, 0, 0, FOLLOW_GOES},
        {"and ours make room", 2, 6, {5, 0, true, true}, 100 * S, USUAL, 0, 1, FOLLOW_GOES},
        {"others' cannot be stopped", 0, 6, {2, 0, true, true}, 100 * S, USUAL, 0, 0, FOLLOW_GOES},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        static struct world w;
        uint32_t half = rows[i].runs / 2;
        open_world(&w, &rows[i].cfg, 2, (uint32_t[]){8, 8},
                   (uint32_t[]){rows[i].runs - half, half});
        struct follow_sight sight = rows[i].sight;
        sight.seen = rows[i].seen;
        follow_decide(w.follow, &sight, T0 + rows[i].after_us, &w.plan);
        TEST_EQ(w.plan.n_start, rows[i].start);
        TEST_EQ(w.plan.n_stop, rows[i].stop);
        TEST_EQ(w.plan.hold, rows[i].hold);
        follow_destroy(&w.follow);
    }
}

static void test_which(void **state) {
    (void)state;
    static struct world w;
    open_world(&w, &cfg, 3, (uint32_t[]){4, 8, 2}, (uint32_t[]){2, 2, 1}); /* 1/2, 1/4, 1/2 */
    w.states[1][0] = UNIT_OFF;                                             /* unit 2 alone: 1/8 */
    follow_listed(w.follow, 1, w.states[1], T0 + 10 * S);
    decide(&w, 9, 4, T0 + 10 * S);
    TEST_EQ(w.plan.n_start, 5);
    TEST_TRUE(has(w.plan.start, 5, 1, 1)); /* holes first */
    TEST_TRUE(has(w.plan.start, 5, 1, 3));
    TEST_TRUE(has(w.plan.start, 5, 1, 4)); /* now all have a half: the first host is next */
    TEST_TRUE(has(w.plan.start, 5, 0, 3));
    TEST_TRUE(has(w.plan.start, 5, 1, 5) || has(w.plan.start, 5, 2, 2));
    follow_destroy(&w.follow);

    open_world(&w, &cfg, 3, (uint32_t[]){4, 8, 2}, (uint32_t[]){4, 7, 1});
    decide(&w, 9, 12, T0 + 60 * S);
    TEST_EQ(w.plan.n_stop, 3);
    TEST_TRUE(has(w.plan.stop, 3, 0, 4)); /* the fullest, its last */
    TEST_TRUE(has(w.plan.stop, 3, 1, 7));
    TEST_TRUE(has(w.plan.stop, 3, 1, 6) || has(w.plan.stop, 3, 0, 3));
    follow_destroy(&w.follow);

    open_world(&w, &cfg, 3, (uint32_t[]){4, 4, 4}, (uint32_t[]){2, 2, 2});
    follow_listed(w.follow, 1, NULL, T0 + S); /* silent: its workers are seen, nothing else */
    TEST_EQ(follow_silent(w.follow), 1);
    decide(&w, 9, 6, T0 + 60 * S);
    TEST_EQ(w.plan.n_start, 3);
    for (uint32_t i = 0; i < 3; i++)
        TEST_TRUE(w.plan.start[i].host != 1);
    decide(&w, 1, 6, T0 + 60 * S);
    TEST_EQ(w.plan.n_stop, 1);
    TEST_TRUE(w.plan.stop[0].host != 1);
    follow_destroy(&w.follow);
}

/* A host that is made smaller is replaced first, and emptied then. */
static void test_surplus(void **state) {
    (void)state;
    static struct world w;
    open_world(&w, &cfg, 2, (uint32_t[]){8, 8}, (uint32_t[]){4, 4});
    struct follow_host hosts[] = {{"h1", 8}, {"h0", 0}};
    TEST_TRUE(follow_set_hosts(w.follow, hosts, 2)); /* in another order: h0 is the second */
    decide(&w, 8, 8, T0 + 60 * S);
    TEST_EQ(w.plan.surplus, 4);
    TEST_EQ(w.plan.n_stop, 0);
    TEST_EQ(w.plan.n_start, 4);
    for (uint32_t i = 0; i < 4; i++)
        follow_started(w.follow, w.plan.start[i], true, T0 + 60 * S);
    decide(&w, 8, 8, T0 + 61 * S);
    TEST_EQ(w.plan.n_start + w.plan.n_stop, 0); /* not seen yet */
    for (uint32_t k = 4; k < 8; k++)
        w.states[1][k] = UNIT_ACTIVE;
    follow_listed(w.follow, 0, w.states[1], T0 + 70 * S);
    decide(&w, 8, 12, T0 + 119 * S);
    TEST_EQ(w.plan.n_stop, 0); /* a minute from the last change */
    decide(&w, 8, 12, T0 + 120 * S);
    TEST_EQ(w.plan.n_stop, 3);
    for (uint32_t i = 0; i < 3; i++)
        TEST_EQ(w.plan.stop[i].host, 1);
    follow_destroy(&w.follow);
}

static void start_all(struct world *w, uint64_t now_us) {
    for (uint32_t i = 0; i < w->plan.n_start; i++) {
        struct follow_step step = w->plan.start[i];
        follow_started(w->follow, step, true, now_us);
        w->states[step.host][step.unit - 1] = UNIT_ACTIVE;
    }
}

/* Workers that no listed unit runs: what is short is started once, not at every look until it is
 * seen. So it is when their host falls silent meanwhile, and when units serve nobody. */
static void test_others(void **state) {
    (void)state;
    static struct world w;
    open_world(&w, &cfg, 2, (uint32_t[]){8, 8}, (uint32_t[]){0, 0});
    decide(&w, 12, 12, T0 + 60 * S);
    TEST_EQ(w.plan.n_start + w.plan.n_stop, 0);
    decide(&w, 14, 12, T0 + 61 * S);
    TEST_EQ(w.plan.n_start, 2);
    start_all(&w, T0 + 61 * S);
    for (uint32_t i = 0; i < 5; i++) {
        decide(&w, 14, 12, T0 + (66 + 5 * i) * S);
        TEST_EQ(w.plan.n_start, 0);
    }
    decide(&w, 14, 14, T0 + 95 * S);
    TEST_EQ(w.plan.n_start, 0);
    decide(&w, 15, 14, T0 + 96 * S);
    TEST_EQ(w.plan.n_start, 1);
    follow_destroy(&w.follow);

    open_world(&w, &cfg, 2, (uint32_t[]){8, 8}, (uint32_t[]){8, 4});
    follow_listed(w.follow, 0, NULL, T0 + 60 * S);
    decide(&w, 14, 12, T0 + 60 * S);
    TEST_EQ(w.plan.n_start, 2);
    start_all(&w, T0 + 60 * S);
    decide(&w, 14, 12, T0 + 65 * S);
    TEST_EQ(w.plan.n_start, 0);
    follow_listed(w.follow, 0, w.states[0], T0 + 70 * S); /* it is back: nothing is held back */
    decide(&w, 14, 12, T0 + 70 * S);
    TEST_EQ(w.plan.n_start, 0);
    decide(&w, 15, 14, T0 + 75 * S);
    TEST_EQ(w.plan.n_start, 1);
    follow_destroy(&w.follow);

    open_world(&w, &cfg, 2, (uint32_t[]){8, 8}, (uint32_t[]){4, 4});
    follow_listed(w.follow, 0, NULL, T0 + 60 * S); /* it died, is replaced, and comes back empty */
    decide(&w, 8, 4, T0 + 60 * S);
    TEST_EQ(w.plan.n_start, 4);
    start_all(&w, T0 + 60 * S);
    memset(w.states[0], 0, sizeof w.states[0]); /* UNIT_OFF */
    follow_listed(w.follow, 0, w.states[0], T0 + 70 * S);
    decide(&w, 8, 4, T0 + 70 * S);
    TEST_EQ(w.plan.n_start, 0);
    follow_destroy(&w.follow);

    open_world(&w, &cfg, 2, (uint32_t[]){8, 8}, (uint32_t[]){4, 4});
    decide(&w, 8, 5, T0 + 60 * S); /* three serve nobody */
    TEST_EQ(w.plan.n_start, 3);
    start_all(&w, T0 + 60 * S);
    decide(&w, 8, 5, T0 + 65 * S);
    TEST_EQ(w.plan.n_start, 0);
    decide(&w, 9, 8, T0 + 70 * S); /* the new ones are there: one more is one more */
    TEST_EQ(w.plan.n_start, 1);
    follow_destroy(&w.follow);
}

/* All that run serve nobody: no more than twice the wish is started, nor more than the maximum. */
static void test_unseen(void **state) {
    (void)state;
    static const struct { uint32_t max, runs; } rows[] = {{4096, 12}, {8, 8}, {6, 6}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        static struct world w;
        struct follow_cfg with = cfg;
        with.max = rows[i].max;
        open_world(&w, &with, 2, (uint32_t[]){16, 16}, (uint32_t[]){3, 3});
        uint32_t running = 6;
        for (uint32_t minute = 1; minute < 10; minute++) {
            uint64_t now_us = T0 + minute * 60 * (uint64_t)S;
            for (uint32_t h = 0; h < 2; h++)
                follow_listed(w.follow, h, w.states[h], now_us);
            decide(&w, 6, 0, now_us);
            running += w.plan.n_start;
            start_all(&w, now_us);
        }
        TEST_EQ(running, rows[i].runs);
        TEST_EQ(w.plan.hold, FOLLOW_UNSEEN);
        follow_destroy(&w.follow);
    }
}

/* Where starts fail others are asked; where stops fail others are stopped. */
static void test_refused(void **state) {
    (void)state;
    static struct world w;
    open_world(&w, &cfg, 2, (uint32_t[]){8, 8}, (uint32_t[]){0, 4});
    decide(&w, 5, 4, T0 + 60 * S);
    TEST_EQ(w.plan.n_start, 1);
    TEST_EQ(w.plan.start[0].host, 0);
    follow_started(w.follow, w.plan.start[0], false, T0 + 60 * S);
    decide(&w, 5, 4, T0 + 65 * S);
    TEST_EQ(w.plan.n_start, 1);
    TEST_EQ(w.plan.start[0].host, 1);
    follow_destroy(&w.follow);

    open_world(&w, &cfg, 2, (uint32_t[]){8, 8}, (uint32_t[]){3, 2});
    decide(&w, 4, 5, T0 + 60 * S);
    TEST_TRUE(has(w.plan.stop, w.plan.n_stop, 0, 3));
    follow_stopped(w.follow, w.plan.stop[0], false, T0 + 60 * S);
    decide(&w, 4, 5, T0 + 120 * S);
    TEST_TRUE(has(w.plan.stop, w.plan.n_stop, 0, 2));
    decide(&w, 4, 5, T0 + 360 * S);
    TEST_TRUE(has(w.plan.stop, w.plan.n_stop, 0, 3));
    struct follow_host hosts[] = {{"h0", 2}, {"h1", 8}}; /* now unit 3 is surplus, and stays */
    TEST_TRUE(follow_set_hosts(w.follow, hosts, 2));
    decide(&w, 2, 5, T0 + 120 * S);
    TEST_EQ(w.plan.n_stop, 1);
    TEST_TRUE(!has(w.plan.stop, 1, 0, 3));
    follow_destroy(&w.follow);
}

static uint32_t in_state(const struct world *w, enum unit_state state) {
    uint32_t counts[UNIT_STATES];
    follow_count(w->follow, counts);
    return counts[state];
}

static void test_lists(void **state) {
    (void)state;
    static struct world w;
    open_world(&w, &cfg, 1, (uint32_t[]){3}, (uint32_t[]){0});
    decide(&w, 1, 0, T0);
    TEST_EQ(w.plan.n_start, 1);
    struct follow_step step = w.plan.start[0];
    follow_started(w.follow, step, true, T0);
    follow_listed(w.follow, 0, w.states[0], T0 + S); /* an older list, or systemd is about to */
    TEST_EQ(in_state(&w, UNIT_STARTING), 1);
    decide(&w, 1, 0, T0 + S);
    TEST_EQ(w.plan.n_start, 0);
    follow_listed(w.follow, 0, w.states[0], T0 + 29 * S);
    TEST_EQ(in_state(&w, UNIT_STARTING), 1);
    follow_listed(w.follow, 0, w.states[0], T0 + 30 * S); /* it never came */
    TEST_EQ(in_state(&w, UNIT_FAILED), 1);
    decide(&w, 1, 0, T0 + 30 * S);
    TEST_EQ(w.plan.n_start, 1);
    TEST_TRUE(w.plan.start[0].unit != step.unit);

    step = w.plan.start[0]; /* one that cannot be started, and one that ends */
    follow_started(w.follow, step, false, T0 + 31 * S);
    TEST_EQ(in_state(&w, UNIT_FAILED), 2);
    decide(&w, 2, 0, T0 + 31 * S);
    TEST_EQ(w.plan.n_start, 1);
    TEST_EQ(w.plan.hold, FOLLOW_SHORT);
    step = w.plan.start[0];
    follow_started(w.follow, step, true, T0 + 31 * S);
    w.states[0][step.unit - 1] = UNIT_FAILED;
    follow_listed(w.follow, 0, w.states[0], T0 + 40 * S);
    TEST_EQ(in_state(&w, UNIT_FAILED), 3);
    decide(&w, 2, 0, T0 + 41 * S);
    TEST_EQ(w.plan.n_start, 0);
    decide(&w, 2, 0, T0 + 330 * S); /* the first's time is over */
    TEST_EQ(w.plan.n_start, 1);

    w.states[0][step.unit - 1] = UNIT_ACTIVE; /* somebody mended it by hand */
    follow_listed(w.follow, 0, w.states[0], T0 + 340 * S);
    TEST_EQ(in_state(&w, UNIT_ACTIVE), 1);
    decide(&w, 2, 1, T0 + 341 * S);
    TEST_EQ(w.plan.n_start, 1);

    follow_stopped(w.follow, step, true, T0 + 350 * S);
    follow_listed(w.follow, 0, w.states[0], T0 + 351 * S);
    TEST_EQ(in_state(&w, UNIT_STOPPING), 1);
    follow_listed(w.follow, 0, w.states[0], T0 + 360 * S); /* it was not stopped */
    TEST_EQ(in_state(&w, UNIT_ACTIVE), 1);
    follow_destroy(&w.follow);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_how_many), cmocka_unit_test(test_which),
        cmocka_unit_test(test_surplus),  cmocka_unit_test(test_others),
        cmocka_unit_test(test_unseen),   cmocka_unit_test(test_refused),
        cmocka_unit_test(test_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
