/* budget_test.c - steps by table; then random walks that never leave the bounds, and settle. */
#include "budget.h"

#include "base/hash.h"
#include "support/test.h"

static void test_steps(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t max, before;
        uint64_t used, limit;
        uint32_t after;
    } rows[] = {
        {"no limit", 512, 512, UINT64_MAX, 0, 512},
        {"no limit any more", 512, 64, 1, 0, 128},
        {"plenty", 512, 512, 10, 100, 512},
        {"exactly 80 % is not above it", 512, 512, 80, 100, 512},
        {"above 80 %", 512, 512, 81, 100, 256},
        {"a little above 80 %", 512, 512, 8001, 10000, 256},
        {"far above", 512, 256, 5000, 100, 128},
        {"not below the least", 512, 48, 90, 100, 32},
        {"at the least", 512, 32, 90, 100, 32},
        {"a setting below the least", 16, 16, 90, 100, 16},
        {"between", 512, 128, 70, 100, 128},
        {"exactly 60 % grows", 512, 128, 60, 100, 256},
        {"a little above 60 %", 512, 128, 6001, 10000, 128},
        {"ends at the setting", 500, 260, 10, 100, 500},
        {"meets the setting again", 500, 250, 10, 100, 500},
        {"numbers near the end", 512, 512, UINT64_MAX, UINT64_MAX, 256},
        {"half of the largest", 512, 128, UINT64_MAX / 2, UINT64_MAX, 256},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct budget budget;
        budget_init(&budget, rows[i].max);
        TEST_EQ(budget.tokens, rows[i].max);
        budget.tokens = rows[i].before;
        TEST_EQ(budget_sample(&budget, rows[i].used, rows[i].limit),
                rows[i].before != rows[i].after);
        TEST_EQ(budget.tokens, rows[i].after);
    }
}

static void test_walks(void **state) {
    (void)state;
    uint64_t seed = 20261120;
    for (int walk = 0; walk < 200; walk++) {
        struct budget budget;
        const uint32_t max = 16 + hash_below(&seed, 8192 - 16);
        const uint32_t least = max < BUDGET_TOKENS_MIN ? max : BUDGET_TOKENS_MIN;
        const uint64_t limit = 1 + (hash_next(&seed) >> hash_below(&seed, 60));
        budget_init(&budget, max);
        for (int i = 0; i < 200; i++) {
            const uint32_t before = budget.tokens;
            const double part = (double)hash_below(&seed, 1200) / 1000;
            const bool changed = budget_sample(&budget, (uint64_t)(part * (double)limit), limit);
            TEST_TRUE(budget.tokens >= least && budget.tokens <= max);
            TEST_EQ(changed, budget.tokens != before);
            TEST_TRUE(budget.tokens >= before / 2 && budget.tokens <= 2 * before + 1);
        }
        for (int i = 0; i < 12; i++)
            budget_sample(&budget, limit, limit);
        TEST_EQ(budget.tokens, least);
        for (int i = 0; i < 12; i++)
            budget_sample(&budget, 0, limit);
        TEST_EQ(budget.tokens, max);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_steps), cmocka_unit_test(test_walks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
