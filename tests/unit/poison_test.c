/* poison_test.c - bodies that are refused for a minute: which, how long, how many. */
#include "support/test.h"

#include "poison.h"

enum { S = 1000 * 1000, START = 5 * S };

static void test_hash(void **state) {
    (void)state;
    struct view a = view_of("some body"), b = view_of("some bodx"), none = view_make(NULL, 0);
    TEST_TRUE(poison_hash(a, 1, 7) == poison_hash(view_of("some body"), 1, 7));
    TEST_TRUE(poison_hash(a, 1, 7) != poison_hash(b, 1, 7));
    TEST_TRUE(poison_hash(a, 1, 7) != poison_hash(a, 2, 7)); /* another service may cope */
    TEST_TRUE(poison_hash(a, 1, 7) != poison_hash(a, 1, 8)); /* nobody can work one out */
    TEST_TRUE(poison_hash(none, 1, 7) != poison_hash(none, 2, 7));
}

static void test_time(void **state) {
    (void)state;
    struct poison p = {0};
    TEST_EQ(poison_left_us(&p, 1, START), 0);
    poison_add(&p, 1, START);
    poison_add(&p, 2, START + 10 * S);
    static const struct {
        const char *name;
        uint64_t after_us, hash, want;
    } rows[] = {
        {"at once", 0, 1, 60 * S},
        {"never added", 0, 3, 0},
        {"nearly over", 60 * S - 1, 1, 1},
        {"over", 60 * S, 1, 0},
        {"the other one goes on", 60 * S, 2, 10 * S},
        {"until it is over, too", 70 * S, 2, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        TEST_EQ(poison_left_us(&p, rows[i].hash, START + rows[i].after_us), rows[i].want);
    }
    TEST_EQ(p.n, 0);
}

static void test_again_is_longer_not_more(void **state) {
    (void)state;
    struct poison p = {0};
    poison_add(&p, 1, START);
    poison_add(&p, 1, START + 30 * S);
    TEST_EQ(p.n, 1);
    TEST_EQ(poison_left_us(&p, 1, START + 60 * S), 30 * S);
}

static void test_full(void **state) {
    (void)state;
    struct poison p = {0};
    for (uint64_t i = 0; i < POISON_MAX + 10; i++)
        poison_add(&p, 100 + i, START + i);
    TEST_EQ(p.n, POISON_MAX);
    for (uint64_t i = 0; i < POISON_MAX + 10; i++) /* the ten oldest made room */
        TEST_EQ(poison_left_us(&p, 100 + i, START + 100) > 0, i >= 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_again_is_longer_not_more),
        cmocka_unit_test(test_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
