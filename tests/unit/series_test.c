/* series_test.c - intervals against sums by hand, and a long load in fixed room. */
#include "series.h"
#include "support/test.h"

static void test_intervals(void **state) {
    (void)state;
    series_t *s = series_new(1000);
    TEST_EQ(series_count(s), 0);
    series_add(s, 0, 400, true);
    series_add(s, 999, 2500, true); /* due in the first, ended in the third */
    series_add(s, 1500, 1600, false);
    TEST_EQ(series_count(s), 2);
    TEST_EQ(series_at(s, 0)->latency.n, 2);
    TEST_EQ(series_at(s, 0)->latency.max_us, 1501);
    TEST_EQ(series_at(s, 0)->ended, 1);
    TEST_EQ(series_at(s, 1)->latency.n, 0);
    TEST_EQ(series_at(s, 1)->failed, 1);
    TEST_EQ(series_at(s, 2)->ended, 1);
    TEST_TRUE(series_at(s, SERIES_MAX) == NULL);
    series_destroy(&s);
    TEST_TRUE(s == NULL);
}

static void test_long(void **state) {
    (void)state;
    enum { CALLS = 100000 };
    series_t *s = series_new(10);
    for (uint64_t i = 0; i < CALLS; i++)
        series_add(s, i * 100, i * 100 + i % 7, i % 10 != 0);
    uint64_t length_us = series_interval_us(s), answered = 0, failed = 0, ended = 0;
    TEST_TRUE(series_count(s) > SERIES_MAX / 2 && series_count(s) <= SERIES_MAX);
    for (uint32_t i = 0; i < series_count(s); i++) {
        const struct series_interval *at = series_at(s, i);
        uint64_t n = at->latency.n + at->failed;
        if (i + 1 < series_count(s)) /* one call each 100 us, give or take the edges */
            TEST_TRUE(n + 1 >= length_us / 100 && n <= length_us / 100 + 1);
        answered += at->latency.n;
        failed += at->failed;
        ended += at->ended;
    }
    TEST_EQ(failed, CALLS / 10);
    TEST_EQ(answered, CALLS - CALLS / 10);
    TEST_EQ(ended, answered);
    series_destroy(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_intervals),
                                       cmocka_unit_test(test_long)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
