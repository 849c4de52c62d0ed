/* plan_test.c - workers and costs by hand. */
#include "plan.h"
#include "support/test.h"

static void test_plan(void **state) {
    (void)state;
    static const struct {
        const char *name;
        double found;
        uint32_t workers;
        double wanted, hourly;
        struct plan want;
    } rows[] = {
        {"as many as there are", 100, 2, 100, 0.36, {50, 2, 0.72, 2}},
        {"a bit more needs one more", 100, 2, 101, 0.36, {50, 3, 1.08, 1.08 / 101 / 3600 * 1e6}},
        {"rounding hires nobody", 0.7, 7, 0.3, 0, {0.1, 3, NAN, NAN}},
        {"one at least", 100, 1, 0.5, 0.18, {100, 1, 0.18, 100}},
        {"cost not known", 100, 4, 1000, 0, {25, 40, NAN, NAN}},
        {"nobody was there", 100, 0, 100, 1, {NAN, NAN, NAN, NAN}},
        {"nothing was held", 0, 2, 100, 1, {NAN, NAN, NAN, NAN}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct plan got =
            plan_workers(rows[i].found, rows[i].workers, rows[i].wanted, rows[i].hourly);
        const double *a = &got.per_worker, *b = &rows[i].want.per_worker;
        for (int k = 0; k < 4; k++)
            TEST_TRUE(isnan(b[k]) ? isnan(a[k]) : fabs(a[k] - b[k]) < 1e-9 * fabs(b[k]));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_plan)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
