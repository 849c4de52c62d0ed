/* histogram_test.c - buckets, merging, quantiles. */
#include "support/test.h"

#include "metrics/histogram.h"

static void test_edges_rise(void **state) {
    (void)state;
    bool slo = false;
    for (unsigned i = 0; i < HISTOGRAM_EDGES; i++) {
        slo |= histogram_edges_us[i] == 150000;
        if (i)
            TEST_TRUE(histogram_edges_us[i] > histogram_edges_us[i - 1]);
    }
    TEST_TRUE(slo);
}

static void test_bucket_of_value(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint64_t us, edge; /* the smallest edge that counts it */
    } rows[] = {
        {"zero", 0, 100},
        {"on the first edge", 100, 100},
        {"just above an edge", 101, 250},
        {"on the service level", 150000, 150000},
        {"above the service level", 150001, 200000},
        {"on the last edge", 60000000, 60000000},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct histogram h = {0};
        histogram_add(&h, rows[i].us);
        for (unsigned e = 0; e < HISTOGRAM_EDGES; e++)
            TEST_EQ(histogram_at_most(&h, histogram_edges_us[e]),
                    histogram_edges_us[e] >= rows[i].edge);
        TEST_EQ(histogram_count(&h), 1);
        TEST_EQ(counter_get(&h.sum_us), rows[i].us);
    }
    TEST_ROW("beyond the last edge");
    struct histogram h = {0};
    histogram_add(&h, 60000001);
    TEST_EQ(histogram_at_most(&h, 60000000), 0);
    TEST_EQ(histogram_count(&h), 1);
}

static void test_quantile(void **state) {
    (void)state;
    struct histogram h = {0}, twice = {0};
    TEST_NEAR(histogram_quantile_us(&h, 0.5), 0, 0);
    for (int i = 0; i < 50; i++)
        histogram_add(&h, 60); /* 0..100 */
    for (int i = 0; i < 50; i++)
        histogram_add(&h, 150); /* 100..250 */
    TEST_NEAR(histogram_quantile_us(&h, 0.25), 50, 1e-9);
    TEST_NEAR(histogram_quantile_us(&h, 0.5), 100, 1e-9);
    TEST_NEAR(histogram_quantile_us(&h, 0.75), 175, 1e-9);
    TEST_NEAR(histogram_quantile_us(&h, 1), 250, 1e-9);
    histogram_merge(&twice, &h);
    histogram_merge(&twice, &h);
    TEST_EQ(histogram_count(&twice), 200);
    TEST_EQ(counter_get(&twice.sum_us), 2 * (50 * 60 + 50 * 150));
    TEST_NEAR(histogram_quantile_us(&twice, 0.75), 175, 1e-9);
    struct histogram far = {0};
    histogram_add(&far, 100000000);
    TEST_NEAR(histogram_quantile_us(&far, 0.5), 60000000, 1e-9);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edges_rise),
        cmocka_unit_test(test_bucket_of_value),
        cmocka_unit_test(test_quantile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
