/* tempo_test.c - quantiles of run times by cost, against sorting. */
#include "support/test.h"

#include "base/hash.h"
#include "tempo.h"

static void test_says_nothing_too_early(void **state) {
    (void)state;
    struct tempo t = {0};
    for (int i = 0; i < TEMPO_ENOUGH - 1; i++)
        tempo_add(&t, 1000, 2);
    TEST_TRUE(tempo_p99_us(&t, 2) == UINT64_MAX);
    TEST_TRUE(tempo_p95_us(&t, 2) == UINT64_MAX);
    tempo_add(&t, 1000, 2);
    TEST_TRUE(tempo_p99_us(&t, 2) != UINT64_MAX);
}

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void test_quantiles(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint64_t least_us;
        uint32_t spread_us, slow_in_100, slow_us;
    } rows[] = {
        {"all alike", 5000, 1, 0, 0},
        {"a microsecond", 1, 1, 0, 0},
        {"spread over a decade", 1000, 9000, 0, 0},
        {"three of a hundred are slow", 2000, 500, 3, 90000},
        {"a minute", 60000000, 1000, 0, 0},
    };
    enum { N = 1024 };
    static uint64_t held[N];
    uint64_t random = 5;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct tempo t = {0};
        for (int k = 0; k < N; k++) {
            held[k] = rows[i].least_us + hash_below(&random, rows[i].spread_us);
            if (hash_below(&random, 100) < rows[i].slow_in_100)
                held[k] += rows[i].slow_us;
            tempo_add(&t, held[k], 24); /* 32 with the base */
        }
        qsort(held, N, sizeof *held, by_size);
        uint64_t p95 = tempo_p95_us(&t, 24), p99 = tempo_p99_us(&t, 24);
        TEST_TRUE(p95 + 1 >= held[N * 95 / 100 - 1] && p99 + 1 >= held[N * 99 / 100 - 1]);
        TEST_TRUE((double)p95 <= 1.26 * (double)held[N * 95 / 100] + 4);
        TEST_TRUE((double)p99 <= 1.26 * (double)held[N * 99 / 100] + 4);
        /* Twice as much to do may take twice as long, from the base on. */
        TEST_EQ(tempo_p99_us(&t, 56) / 2, p99);
    }
}

static void test_old_times_fade(void **state) {
    (void)state;
    struct tempo t = {0};
    for (int i = 0; i < 10000; i++)
        tempo_add(&t, 1000000, 24);
    TEST_TRUE(tempo_p95_us(&t, 24) >= 1000000);
    int n = 0;
    for (; n < 100000 && tempo_p95_us(&t, 24) > 2000; n++)
        tempo_add(&t, 1000, 24);
    TEST_TRUE(n > TEMPO_KEPT / 2 && n < 8 * TEMPO_KEPT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_says_nothing_too_early),
        cmocka_unit_test(test_quantiles),
        cmocka_unit_test(test_old_times_fade),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
