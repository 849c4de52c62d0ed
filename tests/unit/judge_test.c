/* judge_test.c - limits and what misses them. */
#include "judge.h"
#include "support/test.h"

static void test_share(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool good;
        double want;
    } rows[] = {
        {"", true, -1},    {"0", true, 0},    {"0%", true, 0},    {"0.1%", true, 0.001},
        {"100%", true, 1}, {"1", false, 0},   {"101%", false, 0}, {"-1%", false, 0},
        {"%", false, 0},   {"1%%", false, 0}, {"nan%", false, 0}, {"0x", false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].text);
        double got = 0;
        TEST_EQ(judge_share(rows[i].text, &got), rows[i].good);
        TEST_NEAR(got, rows[i].want, 1e-12);
    }
}

static void test_missed(void **state) {
    (void)state;
    static const struct {
        const char *name;
        struct judge_limits limits;
        uint64_t calls, failed, p95_us;
        unsigned want;
    } rows[] = {
        {"no limits", {0, -1}, 10, 90, 1000, 0},
        {"just within", {1000, 0.1}, 90, 10, 1000, 0},
        {"too slow", {1000, 0.1}, 90, 10, 1001, JUDGE_P95},
        {"one error too many", {1000, 0.1}, 89, 11, 1000, JUDGE_ERRORS},
        {"both", {1000, 0}, 99, 1, 5000, JUDGE_P95 | JUDGE_ERRORS},
        {"no errors allowed, none there", {0, 0}, 100, 0, 0, 0},
        {"no answer at all", {1000, 0.5}, 0, 10, 0, JUDGE_P95 | JUDGE_ERRORS},
        {"no call at all", {1000, 0.5}, 0, 0, 0, JUDGE_P95},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        TEST_EQ(judge_missed(&rows[i].limits, rows[i].calls, rows[i].failed, rows[i].p95_us),
                rows[i].want);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_share), cmocka_unit_test(test_missed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
