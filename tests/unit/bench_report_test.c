/* bench_report_test.c - which row of a baseline a row of ours is held against. */
#include "bench_report.h"

#include "support/test.h"

static void test_find(void **state) {
    (void)state;
    static const char text[] = "{\"rows\": ["
                               "{\"row\": \"1 x 8\", \"precision\": \"f32\", \"ms\": 3.5},"
                               "{\"row\": \"1 x 8\", \"precision\": \"i8\", \"ms\": 1.5},"
                               "{\"row\": \"mixed\", \"policy\": \"one by one\", \"ms\": 20},"
                               "{\"row\": \"mixed\", \"policy\": \"sorted\", \"ms\": 10},"
                               "{\"row\": \"mixed\", \"policy\": \"padded\", \"ms\": 30},"
                               "{\"row\": \"odd\", \"ms\": \"7\"}, {\"row\": \"odd\", \"ms\": -1},"
                               "{\"row\": 5, \"ms\": 1}, {\"ms\": 1}, 7]}";
    static const struct {
        const char *row, *precision;
        double want; /* 0: none */
    } rows[] = {
        {"1 x 8", "f32", 3.5}, {"1 x 8", "i8", 1.5},  {"1 x 8", "bf16", 0}, {"1 x 80", "f32", 0},
        {"mixed", "f32", 10},  {"mixed", "bf16", 10}, {"odd", "f32", 0},
    };
    json_t *baseline = NULL;
    TEST_EQ(json_parse(view_of(text), sizeof text, "rows", &baseline, NULL), STATUS_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].row);
        const double got = bench_report_find(baseline, rows[i].row, rows[i].precision);
        if (rows[i].want > 0)
            TEST_NEAR(got, rows[i].want, 0);
        else
            TEST_TRUE(isnan(got));
    }
    json_destroy(&baseline);
    TEST_TRUE(isnan(bench_report_find(NULL, "1 x 8", "f32")));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_find)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
