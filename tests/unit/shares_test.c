/* shares_test.c - the division itself, and thousands of random steps of several brokers after each
 * of which the books must balance. */
#include "shares.h"

#include "base/hash.h"
#include "support/test.h"

static void test_split(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t total, floor, n;
        uint64_t weight[4];
        uint32_t want[4];
    } rows[] = {
        {"one takes all", 128, 64, 1, {0}, {128}},
        {"nobody has demand", 128, 8, 2, {0, 0}, {64, 64}},
        {"nobody has demand, odd", 10, 1, 3, {0, 0, 0}, {4, 3, 3}},
        {"one has none", 128, 8, 2, {500, 0}, {120, 8}},
        {"three to one", 128, 8, 2, {30, 10}, {92, 36}},
        {"largest remainder", 10, 1, 3, {1, 1, 2}, {3, 3, 4}},
        {"first among equals", 4, 1, 3, {7, 7, 7}, {2, 1, 1}},
        {"floors are all there is", 4, 1, 4, {9, 0, 0, 0}, {1, 1, 1, 1}},
        {"greatest numbers",
         65535,
         1,
         4,
         {UINT64_C(1) << 40, UINT64_C(1) << 40, 0, 0},
         {32767, 32766, 1, 1}},
        {"nothing", 0, 0, 2, {1, 2}, {0, 0}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        uint32_t out[4] = {0};
        shares_split(rows[i].total, rows[i].floor, rows[i].weight, rows[i].n, out);
        for (uint32_t k = 0; k < rows[i].n; k++)
            TEST_EQ(out[k], rows[i].want[k]);
    }
}

static void test_life(void **state) {
    (void)state;
    struct shares s;
    shares_init(&s, 128, 2, 2);
    TEST_ROW("greeting: an even part, as nobody serves yet");
    TEST_EQ(shares_window(&s, 0), 64);
    TEST_EQ(shares_window(&s, 1), 64);
    TEST_ROW("the first to serve gets all, without demand too");
    shares_join(&s, 0, 0);
    TEST_EQ(shares_window(&s, 0), 128);
    TEST_EQ(shares_window(&s, 1), 1); /* greeted again: nothing is left */
    TEST_ROW("the second gets its part when the first has been told");
    shares_join(&s, 1, 0);
    TEST_EQ(shares_window(&s, 1), 1);
    TEST_TRUE(shares_news(&s, 0));
    TEST_EQ(shares_window(&s, 0), 64);
    TEST_TRUE(!shares_news(&s, 0));
    TEST_TRUE(shares_news(&s, 1));
    TEST_EQ(shares_window(&s, 1), 64);
    TEST_ROW("demand: half of what is new at once");
    shares_demand(&s, 0, 1000);
    shares_demand(&s, 1, 0);
    TEST_EQ(s.share[0].smooth, 500 * SHARES_SMOOTH);
    TEST_EQ(shares_target(&s, 0), 112); /* all but the other's floor: a quarter of 128, by two */
    TEST_EQ(shares_target(&s, 1), 16);
    TEST_EQ(shares_window(&s, 0), 64); /* broker 1 has not been told yet */
    TEST_EQ(shares_window(&s, 1), 16);
    TEST_EQ(shares_window(&s, 0), 112);
    TEST_ROW("what is in hand is demand");
    shares_hold(&s, 1, 500);
    TEST_EQ(shares_target(&s, 1), 64);
    shares_release(&s, 1, 500);
    TEST_ROW("a demand that goes away leaves nothing behind");
    for (int i = 0; i < 40; i++)
        shares_demand(&s, 0, 0);
    TEST_EQ(s.share[0].smooth, 0);
    TEST_ROW("lost: its share is free at once");
    shares_lost(&s, 1);
    TEST_EQ(shares_window(&s, 0), 128);
    shares_demand(&s, 1, 60000); /* a late PONG of the one that is gone */
    TEST_EQ(shares_window(&s, 0), 128);
    TEST_ROW("all runners are stuck");
    shares_credit(&s, 0);
    TEST_EQ(shares_window(&s, 0), 0);
    TEST_TRUE(!shares_fits(&s, 0, 1));
    TEST_ROW("a credit too small for all");
    shares_init(&s, 1, 4, 3);
    for (uint32_t i = 0; i < 3; i++)
        shares_join(&s, i, 100 * i);
    for (uint32_t i = 0; i < 3; i++)
        TEST_EQ(shares_target(&s, i), 1);
}

static void test_fits(void **state) {
    (void)state;
    struct shares s;
    shares_init(&s, 128, 2, 2);
    TEST_TRUE(shares_fits(&s, 0, 5000)); /* one is always taken */
    shares_hold(&s, 0, 100);
    TEST_TRUE(shares_fits(&s, 0, 28 + SHARES_SLACK));
    TEST_TRUE(!shares_fits(&s, 0, 29 + SHARES_SLACK));
    TEST_TRUE(shares_fits(&s, 1, 5000)); /* another's flood is not its own */
    shares_forget(&s, 0);
    TEST_TRUE(shares_fits(&s, 0, 5000));
    TEST_ROW("less to divide: what was sent under larger windows still fits");
    shares_hold(&s, 0, 100);
    shares_credit(&s, 64);
    TEST_TRUE(shares_fits(&s, 0, 28 + SHARES_SLACK));
    TEST_TRUE(!shares_fits(&s, 0, 29 + SHARES_SLACK));
    TEST_EQ(shares_cost(0), 1);
    TEST_EQ(shares_cost(63), 1);
    TEST_EQ(shares_cost(64), 2);
}

/* Random steps; `told` of a broker is what it last heard. */
static void step(struct shares *s, uint64_t *random) {
    uint32_t i = hash_below(random, s->n);
    switch (hash_below(random, 12)) {
    case 0:
        if (!s->share[i].live)
            shares_join(s, i, hash_below(random, 70000));
        break;
    case 1:
        shares_lost(s, i);
        break;
    case 2:
        shares_hold(s, i, hash_below(random, 300));
        break;
    case 3:
        shares_release(s, i, (uint32_t)hash_below(random, (uint32_t)s->share[i].held + 1));
        break;
    case 4:
    case 5:
        shares_demand(s, i, hash_below(random, 3) ? hash_below(random, 70000) : 0);
        break;
    default:
        shares_window(s, i);
    }
}

static void test_books(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        uint64_t random = seed;
        struct shares s;
        uint32_t n = 1 + hash_below(&random, LIMIT_BROKERS);
        shares_init(&s, hash_below(&random, 4) ? hash_below(&random, 2000) : 65535,
                    1 + hash_below(&random, 64), n);
        for (int at = 0; at < 200; at++) {
            step(&s, &random);
            uint32_t targets = 0, told = 0, live = 0;
            for (uint32_t i = 0; i < n; i++) {
                if (s.share[i].live) {
                    targets += shares_target(&s, i);
                    TEST_TRUE(shares_target(&s, i) >= 1);
                    live++;
                } else {
                    TEST_EQ(s.share[i].told, 0);
                }
                told += s.share[i].told;
            }
            if (live && targets != s.credit)
                TEST_FAIL("seed %llu: targets %u of %u", (unsigned long long)seed, targets,
                          s.credit);
            if (told > s.credit + live)
                TEST_FAIL("seed %llu: told %u of %u", (unsigned long long)seed, told, s.credit);
        }
        /* Whatever happened, two rounds of messages later everybody has its target. */
        for (uint32_t i = 0; i < 2 * n; i++)
            shares_window(&s, i % n);
        for (uint32_t i = 0; i < n; i++)
            if (s.share[i].live)
                TEST_EQ(s.share[i].told, shares_target(&s, i));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_life),
        cmocka_unit_test(test_fits),
        cmocka_unit_test(test_books),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
