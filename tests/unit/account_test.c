/* account_test.c - who shares an account, and who is found to have the largest backlog. */
#include "account.h"
#include "base/hash.h"
#include "support/test.h"

enum { MAX = 64 };

static struct accounts accounts;

static int setup(void **state) {
    (void)state;
    return accounts_init(&accounts, MAX, 1) ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    accounts_done(&accounts);
    return 0;
}

static uint32_t join(uint64_t key, uint32_t weight) {
    return account_join(&accounts, key, &(struct account_limits){.weight = weight});
}

static void test_sessions_of_a_key_share(void **state) {
    (void)state;
    uint32_t a = join(42, 0), b = join(42, 0), own = join(0, 0), other = join(0, 0);
    TEST_EQ(a, b);
    TEST_TRUE(own != other && own != a);
    TEST_EQ(accounts.n, 3);
    account_leave(&accounts, a);
    TEST_EQ(accounts.n, 3);
    TEST_EQ(join(42, 0), a); /* one session is still there */
    account_leave(&accounts, a);
    account_leave(&accounts, a);
    TEST_EQ(accounts.n, 2);
    account_leave(&accounts, own);
    account_leave(&accounts, other);
    TEST_EQ(accounts.n, 0);
    for (uint64_t key = 1; key <= MAX; key++) /* and all of it is free again */
        join(key, 0);
    TEST_EQ(accounts.n, MAX);
}

static void test_limits(void **state) {
    (void)state;
    struct account_limits limits = {.max_requests = 3, .max_bytes = 5, .max_work = 7};
    const struct account *a = &accounts.items[account_join(&accounts, 1, &limits)];
    TEST_EQ(a->max_requests, 3);
    TEST_EQ(a->max_bytes, 5);
    TEST_EQ(a->max_work, 7);
    TEST_EQ(a->weight, 1);
    account_join(&accounts, 1, &(struct account_limits){.weight = 1000000});
    TEST_TRUE(a->max_requests == UINT32_MAX && a->max_bytes == UINT64_MAX);
    TEST_EQ(a->weight, ACCOUNT_WEIGHT_MAX);
    account_hold(&accounts, 0, 10, 20);
    account_hold(&accounts, 0, 1, 2);
    account_release(&accounts, 0, 10, 20);
    TEST_TRUE(a->requests == 1 && a->bytes == 1 && a->work == 2);
}

static void test_largest(void **state) {
    (void)state;
    TEST_EQ(accounts_largest(&accounts), ACCOUNT_NONE);
    uint32_t small = join(0, 1), large = join(0, 1), heavy = join(0, 10);
    account_waits(&accounts, small, 7);
    account_waits(&accounts, large, 100000);
    TEST_EQ(accounts_largest(&accounts), large);
    account_waits(&accounts, heavy, 500000); /* of weight 10 */
    TEST_EQ(accounts_largest(&accounts), large);
    TEST_TRUE(!account_is_larger(&accounts, heavy, 0, large));
    TEST_TRUE(account_is_larger(&accounts, heavy, 500000, large));
    account_waits_no_more(&accounts, large, 99990);
    TEST_EQ(accounts_largest(&accounts), heavy);
    join(0, 1);
    account_waits_no_more(&accounts, heavy, 500000);
    TEST_EQ(accounts_largest(&accounts), large);
    account_waits_no_more(&accounts, large, 10);
    TEST_EQ(accounts_largest(&accounts), small);
    account_waits_no_more(&accounts, small, 7);
    TEST_EQ(accounts_largest(&accounts), ACCOUNT_NONE);
}

static void test_weight_may_change(void **state) {
    (void)state;
    uint32_t a = join(7, 1), b = join(8, 1);
    account_waits(&accounts, a, 1000);
    account_waits(&accounts, b, 500);
    TEST_EQ(accounts_largest(&accounts), a);
    join(7, 4);
    TEST_EQ(accounts_largest(&accounts), b);
}

/* Whatever happens, the one that is found is within an eighth of the largest. */
static void test_against_a_search(void **state) {
    (void)state;
    uint64_t random = 3;
    for (uint32_t i = 0; i < MAX; i++)
        join(0, 1 + i % 3);
    for (int step = 0; step < 20000; step++) {
        uint32_t i = hash_below(&random, MAX);
        struct account *a = &accounts.items[i];
        uint64_t work = hash_below(&random, 1U << hash_below(&random, 30)) + 1;
        if (a->backlog >= work && hash_below(&random, 2))
            account_waits_no_more(&accounts, i, work);
        else
            account_waits(&accounts, i, work);
        double most = 0;
        for (uint32_t k = 0; k < MAX; k++) {
            const struct account *b = &accounts.items[k];
            double backlog = (double)b->backlog / b->weight;
            most = backlog > most ? backlog : most;
        }
        const struct account *found = &accounts.items[accounts_largest(&accounts)];
        TEST_TRUE((double)found->backlog / found->weight >= most * 8 / 9 - 1);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_sessions_of_a_key_share), TEST(test_limits),           TEST(test_largest),
        TEST(test_weight_may_change),       TEST(test_against_a_search),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
