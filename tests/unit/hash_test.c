#include "support/test.h"

#include "base/hash.h"

static void test_bytes(void **state) { /* every length and every byte counts */
    (void)state;
    unsigned char data[64];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i * 7);
    for (size_t n = 0; n < sizeof data; n++) {
        uint64_t h = hash_bytes(data, n, 1);
        TEST_EQ(hash_bytes(data, n, 1), h);
        TEST_TRUE(hash_bytes(data, n, 2) != h);
        TEST_TRUE(hash_bytes(data, n + 1, 1) != h);
        for (size_t i = 0; i < n; i++) {
            data[i] ^= 0x10;
            TEST_TRUE(hash_bytes(data, n, 1) != h);
            data[i] ^= 0x10;
        }
    }
    TEST_TRUE(hash_bytes("a\0", 2, 0) != hash_bytes("a", 1, 0)); /* length is part of it */
}

static void
test_spread(void **state) { /* 16 bits of a counter's hash fill their 65536 places evenly */
    (void)state;
    static unsigned seen[65536];
    for (uint64_t i = 0; i < 65536 * 16; i++)
        seen[hash_bytes(&i, sizeof i, 0) & 0xffff]++;
    for (size_t i = 0; i < 65536; i++)
        TEST_TRUE(seen[i] > 0 && seen[i] < 50);
}

static void test_random(void **state) {
    (void)state;
    uint64_t seed = 1;
    unsigned n[10] = {0};
    for (int i = 0; i < 100000; i++)
        n[hash_below(&seed, 10)]++;
    for (int i = 0; i < 10; i++)
        TEST_TRUE(n[i] > 9500 && n[i] < 10500);
    uint64_t again = 1, other = 1;
    TEST_EQ(hash_next(&again), hash_next(&other));
    TEST_EQ(hash_below(&seed, 1), 0);
    TEST_TRUE(hash_entropy64() != hash_entropy64());
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bytes), cmocka_unit_test(test_spread),
                                       cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
