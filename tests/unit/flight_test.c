/* flight_test.c - who shares a flight, and that names of flights that are gone name nothing. */
#include "flight.h"
#include "support/test.h"

static struct key_model key_model;
static key_maker_t *keys;

static struct cache_key key_of(const char *text) {
    struct cache_key key;
    key_emb(keys, &key_model, view_make(NULL, 0), view_of(text), false, &key);
    return key;
}

static void test_find(void **state) {
    (void)state;
    struct flights flights;
    TEST_TRUE(flights_init(&flights, 8));
    struct cache_key a = key_of("a"), b = key_of("b");
    struct flight *shared = flights_add(&flights, &a, ENGINE_CUT_RIGHT, 128, true);
    struct flight *alone = flights_add(&flights, &b, ENGINE_CUT_RIGHT, 128, false);
    const struct {
        const char *name;
        const struct cache_key *key;
        enum engine_side side;
        uint32_t max_tokens;
        struct flight *want;
    } rows[] = {
        {"the same", &a, ENGINE_CUT_RIGHT, 128, shared},
        {"must not be cut", &a, ENGINE_CUT_OFF, 128, NULL},
        {"another limit", &a, ENGINE_CUT_RIGHT, 64, NULL},
        {"another text", &b, ENGINE_CUT_RIGHT, 128, NULL}, /* that flight is not shared */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        TEST_TRUE(flights_find(&flights, rows[i].key, rows[i].side, rows[i].max_tokens) ==
                  rows[i].want);
    }
    TEST_ROW("one MD5, another text"); /* what the author of two colliding texts would make */
    struct cache_key forged = a;
    forged.sha[31] ^= 1;
    TEST_TRUE(flights_find(&flights, &forged, ENGINE_CUT_RIGHT, 128) == NULL);
    flights_remove(&flights, alone);
    flights_remove(&flights, shared);
    TEST_TRUE(flights_find(&flights, &a, ENGINE_CUT_RIGHT, 128) == NULL);
    TEST_EQ(flights.n, 0);
    flights_done(&flights);
}

static void test_tokens(void **state) {
    (void)state;
    struct flights flights;
    TEST_TRUE(flights_init(&flights, 2));
    struct flight *flight = flights_add(&flights, NULL, ENGINE_CUT_RIGHT, 128, false);
    uint64_t token = flights_token(&flights, flight);
    TEST_TRUE(token >> 63 == 0);
    TEST_TRUE(flights_by_token(&flights, token) == flight);
    flights_remove(&flights, flight);
    TEST_TRUE(flights_by_token(&flights, token) == NULL);
    struct flight *again = flights_add(&flights, NULL, ENGINE_CUT_RIGHT, 128, false);
    TEST_TRUE(again == flight); /* the slot is the same, its name is not */
    TEST_TRUE(flights_by_token(&flights, token) == NULL);
    TEST_TRUE(flights_by_token(&flights, 1000) == NULL);
    TEST_TRUE(flights_add(&flights, NULL, ENGINE_CUT_RIGHT, 128, false) != NULL);
    TEST_TRUE(flights_add(&flights, NULL, ENGINE_CUT_RIGHT, 128, false) == NULL);
    flights_done(&flights);
}

/* Many flights in few buckets: each is found while it is there, and no longer. */
static void test_chains(void **state) {
    (void)state;
    enum { N = 200 };
    static struct cache_key key[N];
    struct flight *flight[N];
    struct flights flights;
    TEST_TRUE(flights_init(&flights, N));
    for (uint32_t i = 0; i < N; i++) {
        char text[16];
        snprintf(text, sizeof text, "%u", i);
        key[i] = key_of(text);
        key[i].hash &= 3; /* so that they share four buckets */
        flight[i] = flights_add(&flights, &key[i], ENGINE_CUT_RIGHT, 128, true);
    }
    for (uint32_t i = 0; i < N; i += 3)
        flights_remove(&flights, flight[i]);
    for (uint32_t i = 0; i < N; i++)
        TEST_TRUE(flights_find(&flights, &key[i], ENGINE_CUT_RIGHT, 128) ==
                  (i % 3 ? flight[i] : NULL));
    flights_done(&flights);
}

int main(void) {
    TEST_TRUE(key_maker_new(&keys, NULL) == STATUS_OK);
    TEST_TRUE(key_model_init(&key_model, "m", "0123abcd", 8, NULL) == STATUS_OK);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_chains),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    key_maker_destroy(&keys);
    return failed;
}
