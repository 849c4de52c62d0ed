/* latency_test.c - percentiles against sorted values. */
#include "latency.h"
#include "support/test.h"

#include "base/hash.h"

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void test_against_sorted(void **state) {
    (void)state;
    enum { N = 20000 };
    static uint64_t values[N];
    static const double q[] = {0.001, 0.5, 0.9, 0.95, 0.99, 0.999, 1};
    for (unsigned bits = 3; bits <= 34; bits++) {
        struct latency *l = calloc(1, sizeof *l);
        uint64_t random = bits;
        for (int i = 0; i < N; i++) {
            values[i] = hash_next(&random) >> (64 - bits);
            latency_add(l, values[i]);
        }
        qsort(values, N, sizeof *values, by_value);
        for (size_t i = 0; i < sizeof q / sizeof *q; i++) {
            double want = (double)values[(size_t)ceil(q[i] * N) - 1];
            double got = (double)latency_quantile_us(l, q[i]);
            if (got < want || got > want * (1 + 1.0 / 64) + 0.5)
                TEST_FAIL("%u bits, q %g: %g, want %g", bits, q[i], got, want);
        }
        TEST_EQ(l->n, N);
        TEST_EQ(latency_quantile_us(l, 1), values[N - 1]);
        free(l);
    }
}

static void test_edges(void **state) {
    (void)state;
    struct latency *l = calloc(1, sizeof *l);
    TEST_EQ(latency_quantile_us(l, 0.5), 0);
    TEST_NEAR(latency_mean_us(l), 0, 0);
    latency_add(l, 0);
    latency_add(l, UINT64_MAX / 4); /* far beyond the last bucket: counted, the maximum is exact */
    TEST_EQ(latency_quantile_us(l, 0.5), 0);
    TEST_EQ(latency_quantile_us(l, 1), UINT64_MAX / 4);
    free(l);
}

static void test_merge(void **state) {
    (void)state;
    struct latency *parts = calloc(3, sizeof *parts), *whole = &parts[2];
    uint64_t random = 5;
    for (int i = 0; i < 5000; i++) {
        uint64_t us = hash_next(&random) >> (40 + hash_below(&random, 10));
        latency_add(&parts[i % 3 == 0], us);
        latency_add(whole, us);
    }
    latency_merge(&parts[0], &parts[1]);
    TEST_MEM_EQ(parts[0].count, whole->count, sizeof whole->count);
    TEST_EQ(parts[0].n, whole->n);
    TEST_EQ(parts[0].max_us, whole->max_us);
    TEST_NEAR(latency_mean_us(&parts[0]), latency_mean_us(whole), 1e-3);
    free(parts);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_sorted),
                                       cmocka_unit_test(test_edges), cmocka_unit_test(test_merge)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
