/* spec_test.c - option values, and what is none. */
#include "spec.h"
#include "support/test.h"

static void test_ramp(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool good;
        double second; /* rate of the second step */
    } rows[] = {
        {"10:50:5", true, 20},   {"50:10:5", true, 40},  {"0.5:1.5:3", true, 1},
        {"10:50:2", true, 50},   {"10:10:64", true, 10}, {"", false, 0},
        {"10:50", false, 0},     {"10:50:1", false, 0},  {"10:50:65", false, 0},
        {"10:50:2.5", false, 0}, {"0:50:5", false, 0},   {"10:0:5", false, 0},
        {"-1:50:5", false, 0},   {"a:b:c", false, 0},    {"10:50:5:", false, 0},
        {"nan:50:5", false, 0},  {"1:inf:5", false, 0},  {"10:2e6:5", false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].text);
        struct spec_ramp ramp;
        TEST_EQ(spec_ramp(rows[i].text, &ramp), rows[i].good);
        if (!rows[i].good)
            continue;
        TEST_NEAR(spec_ramp_rate(&ramp, 0), ramp.from, 1e-9);
        TEST_NEAR(spec_ramp_rate(&ramp, 1), rows[i].second, 1e-9);
        TEST_NEAR(spec_ramp_rate(&ramp, ramp.steps - 1), ramp.to, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ramp)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
