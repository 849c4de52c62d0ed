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

static uint64_t sum_of(const void *data, size_t bytes, size_t piece) {
    struct hash_sum sum;
    hash_sum_begin(&sum);
    for (size_t at = 0; at < bytes; at += piece)
        hash_sum_add(&sum, (const char *)data + at, bytes - at < piece ? bytes - at : piece);
    return hash_sum_end(&sum);
}

static void test_sum(void **state) { /* every length, every bit and every order counts */
    (void)state;
    enum { N = 3 * HASH_SUM_BLOCK + 5 };
    unsigned char data[N + 1];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i * 7 + i / 100);
    for (size_t n = 0; n <= N; n++) {
        const uint64_t sum = sum_of(data, n, N);
        TEST_TRUE(sum_of(data, n, HASH_SUM_BLOCK) == sum);
        TEST_TRUE(sum_of(data, n, 2 * HASH_SUM_BLOCK) == sum);
        TEST_TRUE(sum_of(data, n + 1, N + 1) != sum);
    }
    const uint64_t sum = sum_of(data, N, N);
    for (size_t i = 0; i < N; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            data[i] ^= (unsigned char)(1 << bit);
            TEST_TRUE(sum_of(data, N, N) != sum);
            data[i] ^= (unsigned char)(1 << bit);
        }
    for (size_t i = 0; i + 16 <= N; i += 8) { /* neighbours change places */
        unsigned char word[8];
        memcpy(word, data + i, 8);
        memmove(data + i, data + i + 8, 8);
        memcpy(data + i + 8, word, 8);
        TEST_TRUE(sum_of(data, N, N) != sum);
        memcpy(word, data + i, 8);
        memmove(data + i, data + i + 8, 8);
        memcpy(data + i + 8, word, 8);
    }
    TEST_TRUE(sum_of(data, N, N) == sum);
    memset(data, 0, sizeof data); /* a page of zeros is not nothing */
    TEST_TRUE(sum_of(data, 128, N) != sum_of(data, 256, N));
    TEST_TRUE(sum_of(data, 0, N) != sum_of(data, 1, N));
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
                                       cmocka_unit_test(test_sum), cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
