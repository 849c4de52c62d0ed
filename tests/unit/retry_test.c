/* retry_test.c - the budget: a share of what was asked lately, and a floor. */
#include "support/test.h"

#include "retry.h"

static uint32_t take_all(struct retry *self) {
    uint32_t n = 0;
    while (n < 100000 && retry_take(self))
        n++;
    return n;
}

static void test_share_and_floor(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t a_second, seconds, forced, want;
    } rows[] = {
        {"nothing asked: the floor", 0, 0, 0, 100},
        {"a burst in one second", 5000, 1, 0, 600},
        {"ten seconds at a steady pace", 100, 10, 0, 200},
        {"what is older than ten seconds does not count", 100, 25, 0, 200},
        {"what died with a worker is counted", 100, 10, 150, 50},
        {"and may be more than all", 100, 10, 5000, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct retry r = {0};
        for (uint32_t s = 0; s < rows[i].seconds; s++) {
            retry_turn(&r, s > 0);
            for (uint32_t k = 0; k < rows[i].a_second; k++)
                retry_asked(&r);
        }
        for (uint32_t k = 0; k < rows[i].forced; k++)
            retry_forced(&r);
        TEST_EQ(take_all(&r), rows[i].want);
    }
}

static void test_time_gives_back(void **state) {
    (void)state;
    struct retry r = {0};
    TEST_EQ(take_all(&r), 100);
    retry_turn(&r, 9);
    TEST_EQ(take_all(&r), 0);
    retry_turn(&r, 1);
    TEST_EQ(take_all(&r), 100);
    for (int i = 0; i < 1000; i++)
        retry_asked(&r);
    retry_turn(&r, UINT64_MAX); /* the process was stopped */
    TEST_EQ(r.asked_sum, 0);
    TEST_EQ(take_all(&r), 100);
}

static void test_what_is_not_used(void **state) {
    (void)state;
    struct retry self = {0};
    uint32_t all = take_all(&self);
    retry_return(&self);
    TEST_TRUE(retry_take(&self));
    TEST_TRUE(!retry_take(&self));
    retry_turn(&self, 1);
    retry_return(&self); /* of a second that is over: nothing to give back now */
    TEST_EQ(self.again_sum, all);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_share_and_floor),
        cmocka_unit_test(test_time_gives_back),
        cmocka_unit_test(test_what_is_not_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
