/* stats_test.c - medians by hand; trends and pairs from a seed: what is there is seen, and noise is
 * taken for more as rarely as promised. */
#include "stats.h"
#include "support/test.h"

#include "base/hash.h"

static double uniform(uint64_t *random) {
    return ((double)(hash_next(random) >> 11) + 0.5) / 9007199254740992.0;
}

/* Noise with a long tail, as percentiles have it. */
static double noisy(uint64_t *random) {
    return exp(0.2 / (0.1 + uniform(random)));
}

static void test_median(void **state) {
    (void)state;
    static const double odd[] = {3, 1, 2}, even[] = {4, 1, 3, 2};
    TEST_NEAR(stats_median(odd, 3), 2, 0);
    TEST_NEAR(stats_median(even, 4), 2.5, 0);
    TEST_TRUE(isnan(stats_median(odd, 0)));
}

static void test_trend(void **state) {
    (void)state;
    static const struct {
        const char *name;
        double values[10];
        uint32_t n;
        double slope;
        bool sure;
    } rows[] = {
        {"nothing", {0}, 0, 0, false},
        {"one", {5}, 1, 0, false},
        {"too few to be sure", {1, 2, 3, 4, 5}, 5, 1, false},
        {"a line", {1, 3, 5, 7, 9, 11, 13, 15, 17, 19}, 10, 2, true},
        {"a line down", {9, 8, 7, 6, 5, 4, 3, 2}, 8, -1, true},
        {"one outlier does not tilt it", {1, 2, 3, 4, 5, 900, 7, 8, 9, 10}, 10, 1, true},
        {"all equal", {4, 4, 4, 4, 4, 4, 4, 4}, 8, 0, false},
        {"up and down", {1, 2, 1, 2, 1, 2, 1, 2}, 8, 0, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct stats_trend t = stats_trend(rows[i].values, rows[i].n);
        TEST_NEAR(t.slope, rows[i].slope, 1e-9);
        TEST_EQ(t.sure, rows[i].sure);
    }
    TEST_ROW("ties take from the variance"); /* S = 12, (510 - 54) / 18 */
    static const double ties[] = {1, 1, 2, 2, 3, 3};
    TEST_NEAR(stats_trend(ties, 6).chance, erfc(11 / sqrt(456.0 / 18) / sqrt(2)), 1e-9);
}

static void test_pairs(void **state) {
    (void)state;
    static const struct {
        const char *name;
        double a[8], b[8];
        uint32_t n;
        double ratio, chance;
    } rows[] = {
        {"none", {0}, {0}, 0, NAN, 1},
        {"five of five", {1, 2, 3, 4, 5}, {2, 4, 6, 8, 10}, 5, 2, 2.0 / 32},
        {"six of six", {1, 2, 3, 4, 5, 6}, {2, 4, 6, 8, 10, 12}, 6, 2, 2.0 / 64},
        {"the same", {1, 2, 3, 4, 5, 6}, {1, 2, 3, 4, 5, 6}, 6, 1, 1},
        {"to and fro", {1, 2, 1, 2, 1, 2}, {2, 1, 2, 1, 2, 1}, 6, 1, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct stats_pairs p = stats_pairs(rows[i].a, rows[i].b, rows[i].n);
        TEST_TRUE(isnan(rows[i].ratio) ? isnan(p.ratio) : fabs(p.ratio - rows[i].ratio) < 1e-9);
        TEST_NEAR(p.chance, rows[i].chance, 1e-9);
        TEST_EQ(p.sure, p.chance <= STATS_SURE);
    }
}

/* How often of `runs` a trend, and a difference of pairs, are called sure. */
static void count_sure(double slope, double ratio, uint32_t runs, uint32_t *trends,
                       uint32_t *pairs) {
    uint64_t random = 3;
    *trends = *pairs = 0;
    for (uint32_t run = 0; run < runs; run++) {
        double series[24], a[8], b[8];
        for (uint32_t i = 0; i < 24; i++)
            series[i] = noisy(&random) * (1 + slope * i / 24);
        for (uint32_t i = 0; i < 8; i++) {
            a[i] = noisy(&random);
            b[i] = noisy(&random) * ratio;
        }
        *trends += stats_trend(series, 24).sure;
        *pairs += stats_pairs(a, b, 8).sure;
    }
}

static void test_noise(void **state) {
    (void)state;
    uint32_t trends, pairs;
    count_sure(0, 1, 2000, &trends, &pairs);
    TEST_TRUE(trends > 40 && trends < 140); /* 5 % are 100 */
    TEST_TRUE(pairs > 40 && pairs < 140);
    count_sure(3, 3, 200, &trends, &pairs); /* four times slower at the end; three times */
    TEST_TRUE(trends > 180);
    TEST_TRUE(pairs > 180);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_median), cmocka_unit_test(test_trend),
                                       cmocka_unit_test(test_pairs), cmocka_unit_test(test_noise)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
