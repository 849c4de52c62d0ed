/* pace_test.c - what a service is held to be capable of, second by second. */
#include "pace.h"
#include "support/test.h"

#include <math.h>

enum { LOOK_US = 125 * 1000, LOOKS = 8 /* a second */ };

static struct pace pace;

static int setup(void **state) {
    (void)state;
    pace = (struct pace){.was_empty = true};
    return 0;
}

static void second(double seconds, uint32_t cost_per_s, uint32_t waiting) {
    static double rest;
    for (int i = 0; i < (int)lround(seconds * LOOKS); i++) {
        for (rest += (double)cost_per_s / LOOKS / 10; rest >= 1; rest -= 1)
            pace_result(&pace, 10, 0, 1000);
        pace_look(&pace, waiting, 2, LOOK_US);
    }
}

static bool is_about(double per_second, double share) {
    return fabs(1e6 * pace_rate(&pace, 2) - per_second) <= share * per_second;
}

static void test_learned_while_pressed(void **state) {
    (void)state;
    second(3, 1000, 0);
    TEST_TRUE(pace_rate(&pace, 2) == 0); /* nobody waited: it could do more */
    second(0.5, 2000, 10);
    TEST_TRUE(is_about(2000, 0.1)); /* known after half a second */
    TEST_TRUE(fabs(pace_rate(&pace, 1) - pace_rate(&pace, 2) / 2) < 1e-12);
    second(3, 500, 10);
    TEST_TRUE(is_about(500, 0.2));
}

static void test_more_counts_without_need(void **state) {
    (void)state;
    second(2, 1000, 10);
    second(3, 3000, 0);
    TEST_TRUE(is_about(3000, 0.15));
    second(3, 100, 0); /* less means that less was asked for */
    TEST_TRUE(is_about(3000, 0.15));
}

static void test_rare_results(void **state) {
    (void)state;
    second(2, 5, 3); /* one in two seconds */
    for (int i = 0; i < 40; i++) {
        second(0.25, 5, 3);
        if (i > 8)
            TEST_TRUE(is_about(5, 0.6));
    }
}

static void test_forgotten_when_calm(void **state) {
    (void)state;
    second(2, 1000, 10);
    second(4, 10, 0);
    TEST_TRUE(is_about(1000, 0.1));
    second(2, 10, 0);
    TEST_TRUE(pace_rate(&pace, 2) == 0);
    second(2, 1000, 10);
    for (int i = 0; i < 80; i++) { /* refusals are need, too */
        pace.was_refused = true;
        second(0.125, 10, 0);
    }
    TEST_TRUE(is_about(1000, 0.1));
}

static void test_weight(void **state) {
    (void)state;
    TEST_EQ(pace_work(&pace, 7), 7); /* nothing is known: as it is */
    pace_weigh(&pace, 50);
    TEST_EQ(pace_work(&pace, 7), 7);
    for (int i = 0; i < 100; i++)
        pace_result(&pace, 10, 10 * 200, 1000);
    pace_weigh(&pace, 50);
    TEST_EQ(pace_work(&pace, 7), 28);
    pace_weigh(&pace, 400);
    TEST_EQ(pace_work(&pace, 8), 4);
    TEST_EQ(pace_work(&pace, 1), 1); /* never nothing */
    pace_weigh(&pace, 0.001);
    TEST_EQ(pace_work(&pace, 1), PACE_WEIGHT_MAX / PACE_WEIGHT_ONE);
    pace_weigh(&pace, 1e9);
    TEST_EQ(pace.weight16, PACE_WEIGHT_MIN);
}

/* One result that took absurdly long moves the mean by a known step. */
static void test_outlier(void **state) {
    (void)state;
    for (int i = 0; i < 100; i++)
        pace_result(&pace, 10, 1000, 1000);
    pace_result(&pace, 10, UINT32_MAX, 3600 * UINT64_C(1000000));
    TEST_TRUE(pace.unit_us < 200 && pace.held_us < 2000);
}

#define TEST(f) cmocka_unit_test_setup(f, setup)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_learned_while_pressed),
        TEST(test_more_counts_without_need),
        TEST(test_rare_results),
        TEST(test_forgotten_when_calm),
        TEST(test_weight),
        TEST(test_outlier),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
