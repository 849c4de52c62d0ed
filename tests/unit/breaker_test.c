/* breaker_test.c - a life of the breaker as a table, and the bounds of what is drawn. */
#include "cache/breaker.h"
#include "support/test.h"

static void test_life(void **state) {
    (void)state;
    enum what { ASK, OK, FAILED };
    static const struct {
        const char *name;
        enum what what;
        uint64_t now_us;
        bool allowed;
        enum breaker_state state;
    } rows[] = {
        {"well", ASK, 0, true, BREAKER_CLOSED},
        {"first failure", FAILED, 10, false, BREAKER_CLOSED},
        {"second", FAILED, 20, false, BREAKER_CLOSED},
        {"a success in between", OK, 30, false, BREAKER_CLOSED},
        {"first again", FAILED, 40, false, BREAKER_CLOSED},
        {"second again", FAILED, 50, false, BREAKER_CLOSED},
        {"still asked", ASK, 60, true, BREAKER_CLOSED},
        {"third in a row", FAILED, 100, false, BREAKER_OPEN},
        {"left alone", ASK, 100, false, BREAKER_OPEN},
        {"left alone to the end", ASK, 1099, false, BREAKER_OPEN},
        {"the probe", ASK, 1100, true, BREAKER_PROBING},
        {"nobody beside it", ASK, 1100, false, BREAKER_PROBING},
        {"nor later", ASK, 99999, false, BREAKER_PROBING},
        {"it failed", FAILED, 2000, false, BREAKER_OPEN},
        {"alone again", ASK, 2999, false, BREAKER_OPEN},
        {"second probe", ASK, 3000, true, BREAKER_PROBING},
        {"it was answered", OK, 3001, false, BREAKER_CLOSED},
        {"well again", ASK, 3002, true, BREAKER_CLOSED},
        {"and counts from nothing", FAILED, 3003, false, BREAKER_CLOSED},
    };
    struct breaker breaker = breaker_make(3, 1000);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        if (rows[i].what == ASK)
            TEST_EQ(breaker_allow(&breaker, rows[i].now_us), rows[i].allowed);
        else if (rows[i].what == OK)
            breaker_ok(&breaker);
        else
            breaker_failed(&breaker, rows[i].now_us);
        TEST_EQ(breaker.state, rows[i].state);
    }
}

static void test_backoff(void **state) {
    (void)state;
    static const uint64_t want[] = {50, 100, 200, 400, 800, 1600, 2000, 2000, 2000};
    uint64_t random = 3, sum = 0;
    struct backoff backoff = backoff_make(50, 2000);
    for (int round = 0; round < 200; round++) {
        backoff_reset(&backoff);
        for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
            uint64_t got = backoff_draw(&backoff, &random);
            if (got < want[i] / 2 || got > want[i])
                TEST_FAIL("attempt %zu waits %llu, want %llu..%llu", i, (unsigned long long)got,
                          (unsigned long long)want[i] / 2, (unsigned long long)want[i]);
            sum += i == 0 ? got : 0;
        }
    }
    TEST_TRUE(sum > 200 * 35 && sum < 200 * 40); /* the mean of 25..50 */
}

static void test_ttl(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t ttl_s, least, most;
    } rows[] = {{"an hour", 3600, 3240, 3960}, {"ten seconds", 10, 9, 11}, {"one", 1, 1, 1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        uint64_t random = 5;
        uint32_t least = UINT32_MAX, most = 0;
        for (int k = 0; k < 20000; k++) {
            uint32_t got = ttl_jitter(rows[i].ttl_s, &random);
            least = got < least ? got : least;
            most = got > most ? got : most;
        }
        TEST_EQ(least, rows[i].least); /* 20,000 draws of at most 721 values: both ends come */
        TEST_EQ(most, rows[i].most);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_life), cmocka_unit_test(test_backoff),
                                       cmocka_unit_test(test_ttl)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
