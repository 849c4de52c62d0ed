/* bill_test.c - what workers cost over time, and what a thousand answers do. */
#include "support/test.h"

#include "bill.h"

enum { S = 1000 * 1000 };

static bool near(double a, double b) {
    return a - b < 1e-9 && b - a < 1e-9;
}

static void test_spent(void **state) {
    (void)state;
    struct bill bill;
    bill_init(&bill, 7 * S);
    bill_look(&bill, 36, 0, 10 * S); /* nothing was known to cost anything before */
    TEST_TRUE(near(bill.spent, 0));
    bill_look(&bill, 36, 0, 20 * S);
    TEST_TRUE(near(bill.spent, 0.1));
    bill_look(&bill, 72, 0, 30 * S);
    TEST_TRUE(near(bill.spent, 0.2)); /* the new price holds from now on */
    bill_look(&bill, 0, 0, 40 * S);
    TEST_TRUE(near(bill.spent, 0.4));
    bill_look(&bill, 0, 0, UINT64_C(4000) * S);
    TEST_TRUE(near(bill.spent, 0.4));
}

static void test_per_1000(void **state) {
    (void)state;
    struct bill bill;
    double per;
    uint64_t now_us = 0, answered = 0;
    bill_init(&bill, now_us);
    TEST_TRUE(!bill_per_1000(&bill, &per));
    for (int i = 0; i < 60; i++) /* 10 answers and a hundredth a second: one per 1000 */
        bill_look(&bill, 36, answered += 10, now_us += S);
    TEST_TRUE(bill_per_1000(&bill, &per));
    TEST_TRUE(per > 0.95 && per < 1.05); /* since the start */
    for (int i = 0; i < 600; i++)
        bill_look(&bill, 36, answered += 20, now_us += S);
    TEST_TRUE(bill_per_1000(&bill, &per));
    TEST_TRUE(near(per, 0.5)); /* what was before the last minutes is forgotten */
    bill_look(&bill, 36, answered, now_us += UINT64_C(3600) * S);
    TEST_TRUE(!bill_per_1000(&bill, &per)); /* an hour without a look or an answer */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spent),
        cmocka_unit_test(test_per_1000),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
