/* cache_memory_test.c - what goes in comes out, what was asked for stays longer, and the table is
 * whole after a long random life; EMBER_BENCH=1 prints what a get and a put cost. */
#include "base/clock.h"
#include "base/hash.h"
#include "cache/cache_memory.h"
#include "support/test.h"

static struct cache_key key_of(uint32_t id, uint32_t n) {
    struct cache_key key = {.kind = CACHE_EMB, .n = n};
    key.name_bytes =
        (uint32_t)snprintf(key.name, sizeof key.name, "ember:m@0123abcd:emb:%032x", id);
    key.hash = hash_bytes(key.name, key.name_bytes, 0);
    memcpy(key.sha, &id, sizeof id);
    return key;
}

static float numbers[VALUE_NUMBERS_MAX];

static void put(cache_memory_t *memory, uint32_t id, uint32_t n) {
    struct cache_key key = key_of(id, n);
    for (uint32_t i = 0; i < n; i++)
        numbers[i] = (float)(id + i);
    struct cache_entry entry = {CACHE_EMB, id % 2, id % 500, n, numbers};
    cache_memory_put(memory, &key, &entry);
}

static bool has(cache_memory_t *memory, uint32_t id, uint32_t n) {
    struct cache_key key = key_of(id, n);
    struct cache_entry entry;
    if (!cache_memory_get(memory, &key, &entry))
        return false;
    TEST_TRUE(entry.kind == CACHE_EMB && entry.n == n && entry.truncated == (id % 2));
    TEST_EQ(entry.tokens, id % 500);
    for (uint32_t i = 0; i < n; i++)
        if (entry.numbers[i] != (float)(id + i))
            TEST_FAIL("entry %u number %u: %g", id, i, (double)entry.numbers[i]);
    return true;
}

static cache_memory_t *make(size_t bytes) {
    cache_memory_t *memory = NULL;
    struct err err;
    if (cache_memory_new(bytes, 42, &memory, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
    return memory;
}

static void test_same_and_other(void **state) {
    (void)state;
    cache_memory_t *memory = make(CACHE_MEMORY_BYTES_MIN);
    put(memory, 1, 384);
    TEST_TRUE(has(memory, 1, 384));
    TEST_TRUE(!has(memory, 2, 384));
    struct cache_entry entry;
    struct cache_key key = key_of(1, 384);
    key.sha[31] ^= 1; /* the same MD5, another text */
    TEST_TRUE(!cache_memory_get(memory, &key, &entry));
    key = key_of(1, 384);
    key.name[8] = 'M'; /* another model, and the 64-bit hash happens to be the same */
    TEST_TRUE(!cache_memory_get(memory, &key, &entry));
    key = key_of(1, 384);
    key.n = 383;
    TEST_TRUE(!cache_memory_get(memory, &key, &entry));
    key = key_of(1, 384);
    key.kind = CACHE_CLS;
    TEST_TRUE(!cache_memory_get(memory, &key, &entry));
    cache_memory_check(memory);
    cache_memory_destroy(&memory);
    cache_memory_destroy(&memory);
}

static void test_again(void **state) {
    (void)state;
    cache_memory_t *memory = make(CACHE_MEMORY_BYTES_MIN);
    struct cache_memory_stats once, twice;
    put(memory, 1, 8);
    cache_memory_stats(memory, &once);
    struct cache_key key = key_of(1, 8);
    static const float other[8] = {9, 8, 7, 6, 5, 4, 3, 2};
    struct cache_entry entry = {CACHE_EMB, false, 3, 8, other}, out;
    cache_memory_put(memory, &key, &entry);
    TEST_TRUE(cache_memory_get(memory, &key, &out));
    TEST_MEM_EQ(out.numbers, other, sizeof other);
    TEST_EQ(out.tokens, 3);
    cache_memory_put(memory, &key, &out); /* what a get gave */
    TEST_TRUE(cache_memory_get(memory, &key, &out));
    TEST_MEM_EQ(out.numbers, other, sizeof other);
    cache_memory_stats(memory, &twice);
    TEST_MEM_EQ(&once, &twice, sizeof once);
    cache_memory_destroy(&memory);
}

/* Ten entries are asked for all the time; a long row of others passes by. */
static void test_second_chance(void **state) {
    (void)state;
    cache_memory_t *memory = make(CACHE_MEMORY_BYTES_MIN);
    for (uint32_t id = 0; id < 10; id++)
        put(memory, id, 384);
    for (uint32_t id = 10; id < 10000; id++) {
        put(memory, id, 384);
        for (uint32_t k = 0; id % 50 == 0 && k < 10; k++)
            TEST_TRUE(has(memory, k, 384));
    }
    TEST_TRUE(has(memory, 9999, 384));
    TEST_TRUE(!has(memory, 10, 384));
    struct cache_memory_stats stats;
    cache_memory_stats(memory, &stats);
    TEST_TRUE(stats.bytes <= stats.bytes_max && stats.bytes_max <= CACHE_MEMORY_BYTES_MIN);
    TEST_TRUE(stats.entries > 500 && stats.evicted + stats.entries == 10000);
    cache_memory_check(memory);
    cache_memory_destroy(&memory);
}

/* All were asked for, so all have a second chance: a put must end none the less. */
static void test_all_asked(void **state) {
    (void)state;
    cache_memory_t *memory = make(CACHE_MEMORY_BYTES_MIN);
    for (uint32_t id = 0; id < 3000; id++) {
        put(memory, id, 100);
        for (uint32_t k = 0; k <= id && id < 1800; k++)
            (void)has(memory, k, 100);
    }
    TEST_TRUE(has(memory, 2999, 100));
    cache_memory_check(memory);
    cache_memory_destroy(&memory);
}

/* A put moves a few and then takes the next oldest, asked for or not: its time is bounded. */
static void test_chances_end(void **state) {
    (void)state;
    cache_memory_t *memory = make(CACHE_MEMORY_BYTES_MIN);
    struct cache_memory_stats stats;
    uint32_t n = 0;
    do {
        put(memory, n++, 100);
        cache_memory_stats(memory, &stats);
    } while (stats.evicted == 0);
    for (uint32_t id = 1; id < n; id++)
        TEST_TRUE(has(memory, id, 100));
    put(memory, n, 100);
    TEST_TRUE(has(memory, 1, 100) && has(memory, n, 100));
    uint32_t lost = 0;
    for (uint32_t id = 1; id < n; id++)
        lost += !has(memory, id, 100);
    TEST_EQ(lost, 1); /* somewhere behind those that were moved, not the very first */
    cache_memory_check(memory);
    cache_memory_destroy(&memory);
}

/* Small entries: the table is full before the bytes are. */
static void test_small(void **state) {
    (void)state;
    cache_memory_t *memory = make(CACHE_MEMORY_BYTES_MIN);
    for (uint32_t id = 0; id < 20000; id++)
        put(memory, id, 1);
    struct cache_memory_stats stats;
    cache_memory_stats(memory, &stats);
    TEST_TRUE(stats.entries > 2000 && stats.bytes < stats.bytes_max);
    TEST_TRUE(has(memory, 19999, 1));
    cache_memory_check(memory);
    cache_memory_destroy(&memory);
}

static void test_random_life(void **state) {
    (void)state;
    cache_memory_t *memory = make(CACHE_MEMORY_BYTES_MIN);
    uint64_t random = 7;
    for (uint32_t i = 0; i < 60000; i++) {
        uint32_t id = hash_below(&random, 3000);
        uint32_t n = id % 7 == 0 ? 1 + id % LIMIT_DIM : 1 + id % 300; /* one length per id */
        if (hash_below(&random, 3) == 0)
            put(memory, id, n);
        else
            (void)has(memory, id, n);
        if (i % 1000 == 0)
            cache_memory_check(memory);
    }
    cache_memory_destroy(&memory);
}

static void test_refused(void **state) {
    (void)state;
    cache_memory_t *memory = NULL;
    struct err err;
    TEST_EQ(cache_memory_new(CACHE_MEMORY_BYTES_MIN - 1, 1, &memory, &err),
            STATUS_INVALID_ARGUMENT);
    TEST_TRUE(memory == NULL);
}

static void test_bench(void **state) {
    (void)state;
    if (!getenv("EMBER_BENCH"))
        return;
    enum { IDS = 20000, ROUNDS = 50 };
    cache_memory_t *memory = make((size_t)64 * 1024 * 1024);
    struct cache_key *keys = malloc(IDS * sizeof *keys);
    for (uint32_t id = 0; id < IDS; id++) {
        keys[id] = key_of(id, 384);
        put(memory, id, 384);
    }
    uint64_t random = 1, hits = 0, start = clock_ns();
    for (uint32_t i = 0; i < IDS * ROUNDS; i++) {
        struct cache_entry entry;
        hits += cache_memory_get(memory, &keys[hash_below(&random, IDS)], &entry);
    }
    uint64_t got = clock_ns();
    struct cache_entry entry = {CACHE_EMB, false, 9, 384, numbers};
    for (uint32_t i = 0; i < IDS * 5; i++) {
        struct cache_key key = keys[i % IDS];
        key.hash = hash_next(&random);
        memcpy(key.sha, &key.hash, 8);
        cache_memory_put(memory, &key, &entry);
    }
    uint64_t done = clock_ns();
    printf("get %.0f ns (%.0f%% hits), put with eviction %.0f ns\n",
           (double)(got - start) / (IDS * ROUNDS), 100.0 * (double)hits / (IDS * ROUNDS),
           (double)(done - got) / (IDS * 5));
    free(keys);
    cache_memory_destroy(&memory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_and_other), cmocka_unit_test(test_again),
        cmocka_unit_test(test_second_chance),  cmocka_unit_test(test_all_asked),
        cmocka_unit_test(test_chances_end),    cmocka_unit_test(test_small),
        cmocka_unit_test(test_random_life),    cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bench),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
