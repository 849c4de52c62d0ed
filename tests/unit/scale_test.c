/* scale_test.c - how many workers are wanted: rules by table, and a wave over a thousand. */
#include "support/test.h"

#include "scale.h"

#include <math.h>

enum { S = 1000 * 1000, START = 50 * S, RUNNERS = 4 };

/* Looks once a second for `seconds` at a fleet that is asked for `busy` runners' work. */
struct feed {
    struct scale scale;
    struct scale_sample sample;
    uint64_t now_us;
};

static void feed_init(struct feed *self, const struct scale_cfg *cfg) {
    *self = (struct feed){.now_us = START};
    scale_init(&self->scale, cfg, START);
}

static uint32_t feed(struct feed *self, uint32_t seconds, uint32_t live, double busy) {
    self->sample.live = live;
    self->sample.runners = live * RUNNERS;
    for (uint32_t i = 0; i < seconds; i++) {
        self->now_us += S;
        self->sample.offered_us += busy * S;
        self->sample.received += busy > 0;
        scale_look(&self->scale, &self->sample, self->now_us);
    }
    return self->scale.wish;
}

static void test_wish(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t live, suspect;
        double busy, waiting_us;
        struct scale_cfg cfg;
        uint32_t want;
    } rows[] = {
        {"at the target it stays", 10, 0, 28, 0, {0.7, 1, 100, 1, 0}, 10},
        {"a half of it: half", 10, 0, 14, 0, {0.7, 1, 100, 1, 0}, 5},
        {"rounded up", 10, 0, 14.1, 0, {0.7, 1, 100, 1, 0}, 6},
        {"what waits counts", 10, 0, 14, 14.0 * SCALE_BACKLOG_US, {0.7, 1, 100, 1, 0}, 10},
        {"twice what is there at most", 10, 0, 400, 0, {0.7, 1, 100, 1, 0}, 20},
        {"not above the maximum", 10, 0, 400, 0, {0.7, 1, 15, 1, 0}, 15},
        {"not below the minimum", 10, 0, 0, 0, {0.7, 3, 100, 1, 0}, 3},
        {"the minimum is parted among brokers", 10, 0, 0, 0, {0.7, 3, 100, 2, 0}, 2},
        {"suspects do nothing, so they come on top", 8, 2, 22.4, 0, {0.7, 1, 100, 1, 0}, 10},
        {"none, and nobody asks", 0, 0, 0, 0, {0.7, 0, 100, 1, 0}, 0},
        {"none, and somebody asks", 0, 0, 1, 0, {0.7, 0, 100, 1, 0}, 1},
        {"none but a suspect, and somebody asks", 0, 1, 1, 0, {0.7, 0, 100, 1, 0}, 2},
        {"no limit set: nothing", 10, 0, 28, 0, {0, 0, 0, 0, 0}, 0},
        {"in the first window nobody goes", 10, 0, 0, 0, {0.7, 1, 100, 1, 900 * S}, 10},
        {"parted among brokers, too", 10, 0, 0, 0, {0.7, 1, 100, 3, 900 * S}, 4},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct feed f;
        feed_init(&f, &rows[i].cfg);
        f.sample.suspect = rows[i].suspect;
        f.sample.waiting_us = rows[i].waiting_us;
        TEST_EQ(feed(&f, 600, rows[i].live, rows[i].busy), rows[i].want);
    }
}

static void test_load(void **state) {
    (void)state;
    struct feed f;
    feed_init(&f, &(struct scale_cfg){.target = 0.7, .max = 100});
    feed(&f, 1, 10, 20);
    TEST_TRUE(f.scale.known); /* there is no window to wait for */
    feed_init(&f, &(struct scale_cfg){.target = 0.7, .max = 100, .stabilization_us = 300 * S});
    feed(&f, 10, 10, 20);
    TEST_TRUE(!f.scale.known); /* workers may still be coming back */
    feed(&f, 300, 10, 20);
    TEST_TRUE(f.scale.known);
    TEST_TRUE(fabs(f.scale.load - 0.5) < 1e-6);
    uint32_t wish = f.scale.wish;
    TEST_EQ(scale_look(&f.scale, &f.sample, f.now_us), wish); /* no time has passed */
}

/* In the first window a broker holds on to what it found, and not to what came since: of two
 * brokers one may have all of the requests, and workers that it wished for would be the other's
 * wish, too. */
static void test_found(void **state) {
    (void)state;
    struct feed f;
    feed_init(&f, &(struct scale_cfg){
                      .target = 0.7, .max = 100, .brokers = 2, .stabilization_us = 300 * S});
    feed(&f, 5, 3, 0); /* workers come back */
    TEST_EQ(feed(&f, 20, 20, 0), 10);
    TEST_EQ(feed(&f, 100, 40, 0), 10);
    feed(&f, 170, 16, 0);
    TEST_EQ(feed(&f, 200, 16, 0), 8);
    TEST_EQ(feed(&f, 400, 16, 0), 0);
}

static void test_window(void **state) {
    (void)state;
    struct feed f;
    feed_init(
        &f, &(struct scale_cfg){.target = 0.5, .min = 1, .max = 100, .stabilization_us = 300 * S});
    TEST_EQ(feed(&f, 400, 10, 20), 10);
    TEST_EQ(feed(&f, 60, 10, 40), 20); /* up at once */
    uint32_t last = f.scale.wish;
    for (int i = 0; i < 299; i++) { /* and not down for a window, however little is asked */
        TEST_EQ(feed(&f, 1, 20, 4), last);
    }
    TEST_EQ(feed(&f, 60, 20, 4), 3); /* 4 / 4 / 0.5, and what the mean remembers */
    TEST_EQ(feed(&f, 60, 20, 4), 2);
    f.now_us += UINT64_C(86400) * S; /* stopped for a day: the window is empty */
    TEST_EQ(feed(&f, 1, 20, 0), 1);
}

/* ---------------------------------------------------------------- a wave */

/* A fleet that follows the wish: workers take 30 s to come and none to go. What is not done waits,
 * up to 7 s of work; the rest is refused. */
struct fleet {
    struct feed feed;
    uint64_t seed;
    uint32_t live, coming[31]; /* by the second they come in */
    double waits;
    uint32_t lowest, highest, turns; /* of the wish since the last reset; times it turned */
    int way;
};

static double noise(struct fleet *self) { /* 0.9 .. 1.1 */
    self->seed = self->seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return 0.9 + 0.2 * (double)(self->seed >> 40) / (1 << 24);
}

static void follow(struct fleet *self, uint32_t wish) {
    uint32_t coming = 0;
    self->live += self->coming[0];
    for (uint32_t i = 0; i < 30; i++)
        coming += self->coming[i] = self->coming[i + 1];
    self->coming[30] = 0;
    if (wish > self->live + coming)
        self->coming[29] += wish - self->live - coming;
    else if (wish < self->live)
        self->live = wish;
}

static void note(struct fleet *self, uint32_t before, uint32_t wish) {
    self->lowest = wish < self->lowest ? wish : self->lowest;
    self->highest = wish > self->highest ? wish : self->highest;
    uint32_t step = wish > before ? wish - before : before - wish;
    int way = wish > before ? 1 : -1;
    if (step * 50 <= before) /* up to 2 % is noise */
        return;
    self->turns += way != self->way;
    self->way = way;
}

static void live_on(struct fleet *self, uint32_t seconds, double busy) {
    self->lowest = UINT32_MAX;
    self->highest = self->turns = 0;
    self->way = 0;
    for (uint32_t i = 0; i < seconds; i++) {
        double asked = busy * noise(self), can = (double)self->live * RUNNERS;
        self->waits = fmin(fmax(self->waits + asked - can, 0), 7 * can);
        self->feed.sample.waiting_us = self->waits * S;
        uint32_t before = self->feed.scale.wish;
        uint32_t wish = feed(&self->feed, 1, self->live, asked);
        note(self, before ? before : wish, wish);
        follow(self, wish);
    }
}

static void test_wave(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct fleet fleet = {.seed = seed, .live = 1000};
        feed_init(
            &fleet.feed,
            &(struct scale_cfg){.target = 0.7, .min = 1, .max = 8000, .stabilization_us = 300 * S});
        const double quiet = 0.7 * 1000 * RUNNERS;
        live_on(&fleet, 400, quiet);
        live_on(&fleet, 400, quiet);
        TEST_TRUE(fleet.lowest >= 980 && fleet.highest <= 1050);
        TEST_EQ(fleet.turns, 0);
        live_on(&fleet, 90, 4 * quiet); /* two doublings, and what the fleet takes to come */
        TEST_TRUE(fleet.feed.scale.wish >= 4000);
        TEST_EQ(fleet.turns, 1);
        live_on(&fleet, 30, 4 * quiet);
        TEST_TRUE(fleet.live >= 4000);
        live_on(&fleet, 1200, 4 * quiet);
        TEST_TRUE(fleet.lowest >= 3950 && fleet.highest <= 5000);
        TEST_TRUE(fleet.turns <= 1); /* what it wanted for the backlog goes */
        TEST_TRUE(fleet.live <= 4200 && fleet.waits <= 0);
        live_on(&fleet, 295, quiet);
        TEST_TRUE(fleet.lowest >= 3950); /* the window is not over */
        live_on(&fleet, 120, quiet);
        TEST_EQ(fleet.turns, 1);
        live_on(&fleet, 400, quiet);
        TEST_TRUE(fleet.lowest >= 980 && fleet.highest <= 1050);
        TEST_EQ(fleet.turns, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wish),   cmocka_unit_test(test_load), cmocka_unit_test(test_found),
        cmocka_unit_test(test_window), cmocka_unit_test(test_wave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
