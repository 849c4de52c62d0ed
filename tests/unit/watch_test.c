/* watch_test.c - who is stuck, since when, and what a pause of the whole process does not count. */
#include "support/test.h"
#include "watch.h"

#define MS    UINT64_C(1000)
#define S     (1000 * MS)
#define STUCK (10 * S)

static struct watch watch;
static struct batch batches[3];

static void start(uint64_t now_us) {
    memset(batches, 0, sizeof batches);
    watch_init(&watch, STUCK, now_us);
}

/* Looks every 100 ms from `from_us` until `to_us`; the news of the last look that had any. */
static enum watch_news look(uint64_t from_us, uint64_t to_us) {
    enum watch_news news = WATCH_NONE;
    for (uint64_t at = from_us; at <= to_us; at += 100 * MS) {
        enum watch_news now = watch_look(&watch, batches, 3, at);
        news = now ? now : news;
    }
    return news;
}

static void test_ages(void **state) {
    (void)state;
    start(1 * S);
    TEST_EQ(look(1 * S, 2 * S), WATCH_NONE);
    TEST_EQ(watch.longest_us, 0);
    batches[0].out = batches[1].out = true; /* both pushed, one begun */
    batches[1].started_us = 2 * S + 1;
    TEST_EQ(look(2 * S, 3 * S), WATCH_NONE);
    TEST_EQ(watch.longest_us, 1 * S - 1);
    TEST_TRUE(watch.worst == &batches[1]);
    TEST_ROW("it comes back, and the other begins");
    batches[1].out = false;
    batches[0].started_us = 3 * S;
    look(3 * S, 4 * S);
    TEST_EQ(watch.longest_us, 1 * S);
    TEST_TRUE(watch.worst == &batches[0]);
}

static void test_stuck(void **state) {
    (void)state;
    start(0);
    for (int i = 0; i < 2; i++) {
        batches[i].out = true;
        batches[i].started_us = (uint64_t)(1 + i) * S;
    }
    TEST_EQ(look(1 * S, 11 * S - 100 * MS), WATCH_NONE);
    TEST_EQ(watch_look(&watch, batches, 3, 11 * S), WATCH_STUCK);
    TEST_EQ(watch.n_stuck, 1);
    TEST_EQ(watch_look(&watch, batches, 3, 11 * S + MS), WATCH_NONE); /* said once */
    TEST_EQ(look(11 * S + 100 * MS, 12 * S + 100 * MS), WATCH_STUCK);
    TEST_EQ(watch.n_stuck, 2);
    TEST_ROW("the first comes back");
    batches[0].out = false;
    TEST_EQ(watch_look(&watch, batches, 3, 13 * S), WATCH_EASED);
    TEST_EQ(watch.n_stuck, 1);
    TEST_EQ(look(13 * S, 22 * S - 100 * MS), WATCH_NONE);
    TEST_ROW("the second never does");
    TEST_EQ(watch_look(&watch, batches, 3, 22 * S), WATCH_HOPELESS);
    TEST_ROW("off");
    watch.stuck_us = 0;
    watch.n_stuck = 0;
    TEST_EQ(look(22 * S, 60 * S), WATCH_NONE);
    TEST_TRUE(watch.longest_us > 50 * S); /* the heartbeat tells it all the same */
}

/* The whole process was frozen for an hour: its batches have not run in that time. */
static void test_frozen(void **state) {
    (void)state;
    start(0);
    batches[0].out = true;
    batches[0].started_us = 1 * S;
    look(1 * S, 2 * S);
    TEST_EQ(watch_look(&watch, batches, 3, 3602 * S), WATCH_NONE);
    TEST_EQ(watch.longest_us, 1 * S + WATCH_STEP_US);
    TEST_EQ(look(3602 * S, 3605 * S), WATCH_NONE);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ages), cmocka_unit_test(test_stuck),
                                       cmocka_unit_test(test_frozen)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
