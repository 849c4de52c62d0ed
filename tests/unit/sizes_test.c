/* sizes_test.c - which bucket a size belongs to. */
#include "support/test.h"

#include "metrics/sizes.h"

static void test_buckets(void **state) {
    (void)state;
    static const struct {
        uint64_t n;
        unsigned bucket;
    } rows[] = {{0, 0}, {1, 0},     {2, 1},     {3, 2},       {4, 2},
                {5, 3}, {8192, 13}, {8193, 14}, {1 << 30, 14}};
    struct sizes s = {0};
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t before = counter_get(&s.bucket[rows[i].bucket]);
        sizes_add(&s, rows[i].n);
        sum += rows[i].n;
        TEST_EQ(counter_get(&s.bucket[rows[i].bucket]), before + 1);
    }
    TEST_EQ(counter_get(&s.sum), sum);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_buckets)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
