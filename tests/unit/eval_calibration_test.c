/* eval_calibration_test.c - figures that can be worked out by hand, and settings that are found
 * again. */
#include "eval_calibration.h"

#include "base/hash.h"
#include "support/test.h"

/* ln 3 makes scores of 1/4 and 3/4. */
#define LN3 1.09861229f

static void test_figures(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t n, n_labels;
        float x[8];
        uint32_t truth[4];
        double temperature, log_loss, ece;
    } rows[] = {
        {"nothing is known", 1, 2, {0, 0}, {1}, 1, 0.6931472, 0.5},
        {"right, at 3/4", 1, 2, {0, LN3}, {1}, 1, 0.2876821, 0.25},
        {"wrong, at 3/4", 1, 2, {0, LN3}, {0}, 1, 1.3862944, 0.75},
        {"half as warm: 9/10", 1, 2, {0, LN3}, {1}, 0.5, 0.1053605, 0.1},
        {"three of four right at 3/4",
         4,
         2,
         {0, LN3, LN3, 0, 0, LN3, LN3, 0},
         {1, 0, 1, 1},
         1,
         (3 * 0.2876821 + 1.3862944) / 4,
         0},
        {"bins do not make up for each other",
         2,
         2,
         {0, LN3, 0, 0},
         {1, 1},
         1,
         (0.2876821 + 0.6931472) / 2,
         0.375}, /* 0.25 too little, and the first is the guess: 0.5 */
        {"three labels", 1, 3, {LN3, 0, 0}, {0}, 1, 0.5108256, 0.4},
        {"very cold", 1, 2, {-1, 1}, {1}, 0.001, 0, 0},
        {"very cold, and wrong: no infinity", 1, 2, {-1, 1}, {0}, 0.001, 2000, 1},
    };
    static const uint32_t text[] = {0, 1, 2, 3};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        const struct calibration_rows in = {.x = rows[i].x,
                                            .text = text,
                                            .truth = rows[i].truth,
                                            .n = rows[i].n,
                                            .n_labels = rows[i].n_labels};
        const struct calibration got = calibration_of(&in, rows[i].temperature);
        TEST_NEAR(got.log_loss, rows[i].log_loss, 1e-6);
        TEST_NEAR(got.ece, rows[i].ece, 1e-6);
    }
}

enum { ROWS = 20000, LABELS = 4 };
static float x[ROWS * LABELS];
static uint32_t text[ROWS], truth[ROWS];
static const struct calibration_rows drawn = {x, text, truth, ROWS, LABELS};

static double chance(uint64_t *state) {
    return (double)(hash_next(state) >> 11) * 0x1p-53;
}

/* Truths drawn with the chances softmax(x / temperature): that temperature is the best one. */
static void draw(double temperature) {
    uint64_t state = 7;
    for (uint32_t i = 0; i < ROWS; i++) {
        double sum = 0, p[LABELS];
        text[i] = i;
        for (uint32_t k = 0; k < LABELS; k++) {
            x[i * LABELS + k] = (float)chance(&state);
            sum += p[k] = exp((double)x[i * LABELS + k] / temperature);
        }
        double left = chance(&state) * sum;
        truth[i] = 0;
        while (truth[i] < LABELS - 1 && (left -= p[truth[i]]) > 0)
            truth[i]++;
    }
}

static void test_temperature(void **state) {
    (void)state;
    static const double temperatures[] = {0.02, 0.05, 0.3, 1};
    for (size_t i = 0; i < sizeof temperatures / sizeof *temperatures; i++) {
        draw(temperatures[i]);
        const double got = calibration_temperature(&drawn, 0.001, 10);
        TEST_NEAR(log(got / temperatures[i]), 0, 0.07);
        const struct calibration best = calibration_of(&drawn, got);
        TEST_TRUE(best.ece < 0.02);
        TEST_TRUE(best.log_loss <= calibration_of(&drawn, got * 1.05).log_loss);
        TEST_TRUE(best.log_loss <= calibration_of(&drawn, got / 1.05).log_loss);
    }
}

static void test_ends(void **state) {
    (void)state;
    static const float two[] = {0, 1};
    static const uint32_t first[] = {0}, right[] = {1};
    const struct calibration_rows never_wrong = {two, first, right, 1, 2};
    TEST_NEAR(calibration_temperature(&never_wrong, 0.001, 10), 0.001, 1e-6);
    const struct calibration_rows always_wrong = {two, first, first, 1, 2};
    TEST_NEAR(calibration_temperature(&always_wrong, 0.001, 10), 10, 1e-4);
}

/* Each label alone is true with the chance that the curve says; the sum of a row's is near one, or
 * a row could not have one true label. */
static void test_curve(void **state) {
    (void)state;
    draw(0.05);
    double midpoint = 0, temperature = 0, loss = 0, off = 0;
    TEST_TRUE(calibration_curve(&drawn, &midpoint, &temperature));
    TEST_TRUE(midpoint > 0.5 && midpoint < 1.2 && temperature > 0.01 && temperature < 1);
    /* At the best place the mean score is the share of true labels, but for the soft targets. */
    for (uint32_t i = 0; i < ROWS * LABELS; i++) {
        const double p = 1 / (1 + exp(-((double)x[i] - midpoint) / temperature));
        loss += p;
        off += (p - (truth[i / LABELS] == i % LABELS)) * (double)x[i];
    }
    TEST_NEAR(loss / ROWS, 1, 1e-3);
    TEST_NEAR(off / ROWS, 0, 1e-3);
    TEST_ROW("the lower, the truer");
    for (uint32_t i = 0; i < ROWS * LABELS; i++)
        x[i] = -x[i];
    TEST_TRUE(!calibration_curve(&drawn, &midpoint, &temperature));
    TEST_ROW("all alike");
    memset(x, 0, sizeof x);
    TEST_TRUE(!calibration_curve(&drawn, &midpoint, &temperature));
    TEST_ROW("without an error it stays finite");
    static const float apart[] = {0, 1};
    static const uint32_t first[] = {0}, right[] = {1};
    const struct calibration_rows easy = {apart, first, right, 1, 2};
    TEST_TRUE(calibration_curve(&easy, &midpoint, &temperature));
    TEST_NEAR(midpoint, 0.5, 1e-6);
    TEST_NEAR(temperature, 1 / (2 * log(2)), 1e-6); /* targets 2/3 and 1/3 */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_figures),
        cmocka_unit_test(test_temperature),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_curve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
