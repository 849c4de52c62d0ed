/* rotary_test.c - angles of rotary positions, against the formula written the other way round. */
#include "model/rotary.h"

#include "support/test.h"

#include <math.h>

enum { ROWS_MAX = 64, HALF_MAX = 32 };

static void test_fill(void **state) {
    (void)state;
    static const struct {
        const char *name;
        double base;
        uint32_t n, dim;
    } rows[] = {
        {"published", 1000, 40, 64},
        {"one pair: the angle is the position", 10000, 8, 2},
        {"pairs that fill no vector", 500, 3, 6},
    };
    static float cosines[ROWS_MAX * HALF_MAX + 1], sines[ROWS_MAX * HALF_MAX + 1];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        const uint32_t half = rows[i].dim / 2, end = rows[i].n * half;
        cosines[end] = sines[end] = 7;
        rotary_fill(rows[i].base, rows[i].n, rows[i].dim, cosines, sines);
        for (uint32_t p = 0; p < rows[i].n; p++)
            for (uint32_t j = 0; j < half; j++) {
                const double angle = p / exp(2.0 * j / rows[i].dim * log(rows[i].base));
                const double c = (double)cosines[p * half + j], s = (double)sines[p * half + j];
                if (!(fabs(c - cos(angle)) < 1e-7 && fabs(s - sin(angle)) < 1e-7))
                    TEST_FAIL("position %u, pair %u: %.9g %.9g", p, j, c, s);
            }
        TEST_TRUE(cosines[end] == 7 && sines[end] == 7); /* nothing behind the end */
    }
}

static void test_base(void **state) {
    (void)state;
    const struct {
        const char *name;
        float factor;
        uint32_t trained, n, hidden, heads;
        double want;
    } rows[] = {
        {"no scaling", 0, 16, 100, 128, 2, 1000},
        {"as long as in training", 2, 16, 16, 128, 2, 1000},
        {"one more", 2, 16, 17, 128, 2, 1000 * pow(1.125, 64.0 / 62)},
        {"twice as long, factor 2", 2, 16, 32, 128, 2, 1000 * pow(3, 64.0 / 62)},
        {"four times, factor 4, small heads", 4, 8, 32, 24, 3, 1000 * pow(13, 8.0 / 6)},
        {"heads of two numbers have no base", 2, 16, 32, 8, 4, 1000},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        const struct model_shape shape = {.hidden = rows[i].hidden,
                                          .heads = rows[i].heads,
                                          .rotary_base = 1000,
                                          .rotary_factor = rows[i].factor,
                                          .rotary_trained = rows[i].trained};
        const double got = rotary_base(&shape, rows[i].n);
        if (!(fabs(got / rows[i].want - 1) < 1e-12))
            TEST_FAIL("%.15g, want %.15g", got, rows[i].want);
        TEST_EQ(rotary_scaled(&shape, rows[i].n),
                rows[i].factor > 0 && rows[i].n > rows[i].trained);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fill), cmocka_unit_test(test_base)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
