/* eval_metrics_test.c - figures of evaluations against numbers worked out by hand. */
#include "eval_metrics.h"

#include "support/test.h"

enum { MAX = 8 };

static void test_ranks(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t n;
        double x[MAX], want[MAX];
    } rows[] = {
        {"none", 0, {0}, {0}},
        {"one", 1, {7}, {1}},
        {"all different", 4, {30, 10, 40, 20}, {3, 1, 4, 2}},
        {"two share 2 and 3", 4, {5, 1, 5, 9}, {2.5, 1, 2.5, 4}},
        {"all equal", 5, {2, 2, 2, 2, 2}, {3, 3, 3, 3, 3}},
        {"ties at both ends", 6, {1, 9, 1, 9, 1, 5}, {2, 5.5, 2, 5.5, 2, 4}},
        {"zeros of both signs are equal", 3, {0.0, -0.0, -1}, {2.5, 2.5, 1}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        double got[MAX] = {0};
        TEST_TRUE(eval_ranks(rows[i].x, rows[i].n, got));
        for (uint32_t k = 0; k < rows[i].n; k++)
            TEST_NEAR(got[k], rows[i].want[k], 0);
    }
}

/* sums for the third row: x - mean = -2 -1 0 1 2, y - mean = -1 -2 1 0 2; xy 8, xx 10, yy 10. For
 * the fourth: ranks of y are 1 3 3 3 5, deviations -2 0 0 0 2; xy 8, xx 10, yy 8. */
static void test_correlation(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t n;
        double x[MAX], y[MAX], pearson, spearman;
    } rows[] = {
        {"a line", 3, {1, 2, 3}, {10, 20, 30}, 1, 1},
        {"a falling one", 3, {1, 2, 3}, {3, 2, 1}, -1, -1},
        {"four fifths", 5, {1, 2, 3, 4, 5}, {2, 1, 4, 3, 5}, 0.8, 0.8},
        {"three share a rank", 5, {1, 2, 3, 4, 5}, {0, 7, 7, 7, 9}, 0.821583836, 0.894427191},
        {"monotone, not straight", 4, {1, 2, 3, 4}, {1, 10, 100, 1000}, 0.824140717, 1},
        {"unrelated", 4, {1, 2, 1, 2}, {1, 1, 2, 2}, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        TEST_NEAR(eval_pearson(rows[i].x, rows[i].y, rows[i].n), rows[i].pearson, 1e-6);
        TEST_NEAR(eval_spearman(rows[i].x, rows[i].y, rows[i].n), rows[i].spearman, 1e-9);
        TEST_NEAR(eval_spearman(rows[i].y, rows[i].x, rows[i].n), rows[i].spearman, 1e-9);
    }
    static const double flat[3] = {5, 5, 5}, steep[3] = {1, 2, 3};
    TEST_TRUE(isnan(eval_pearson(flat, steep, 3)));
    TEST_TRUE(isnan(eval_spearman(steep, flat, 3)));
    TEST_TRUE(isnan(eval_pearson(steep, steep, 1)));
    TEST_TRUE(isnan(eval_spearman(steep, steep, 0)));
}

static void test_retrieval(void **state) {
    (void)state;
    static const float scores[] = {0.1f, 0.9f, 0.5f, 0.5f, 0.9f};
    TEST_NEAR(eval_rank(scores, 5, 0), 5, 0);
    TEST_NEAR(eval_rank(scores, 5, 1), 1.5, 0);
    TEST_NEAR(eval_rank(scores, 5, 3), 3.5, 0);
    static const float flat[20] = {0};
    TEST_NEAR(eval_rank(flat, 20, 0), 10.5, 0); /* no luck of the first place */
    TEST_NEAR(eval_rank(flat, 1, 0), 1, 0);

    static const double ranks[] = {1, 2, 10, 11, 1.5};
    const struct eval_retrieval got = eval_retrieval(ranks, 5);
    TEST_NEAR(got.mrr10, (1 + 0.5 + 0.1 + 0 + 2.0 / 3) / 5, 1e-12);
    TEST_NEAR(got.recall1, 1.0 / 5, 1e-12);
    TEST_NEAR(got.recall10, 4.0 / 5, 1e-12);
    TEST_NEAR(got.rank_mean, 25.5 / 5, 1e-12);
    TEST_TRUE(isnan(eval_retrieval(ranks, 0).mrr10));
}

static void test_guesses(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t n, n_labels, truth[MAX], guess[MAX];
        double accuracy, macro_f1;
        uint32_t n_seen;
    } rows[] = {
        {"all right", 3, 3, {0, 1, 2}, {0, 1, 2}, 1, 1, 3},
        {"all wrong", 2, 2, {0, 1}, {1, 0}, 0, 0, 2},
        /* label 0: tp 2 fp 1 fn 0: 4/5; label 1: tp 1 fp 0 fn 1: 2/3 */
        {"one of four", 4, 2, {0, 0, 1, 1}, {0, 0, 1, 0}, 0.75, (0.8 + 2.0 / 3) / 2, 2},
        /* label 0 alone is ever said: 0: 2/4 ... tp 1 fp 2 fn 0: 1/2; others 0 */
        {"always the first", 3, 3, {0, 1, 2}, {0, 0, 0}, 1.0 / 3, 0.5 / 3, 3},
        {"labels that never occur do not count", 2, 9, {4, 4}, {4, 4}, 1, 1, 1},
        {"a guess that is never true counts", 2, 9, {4, 4}, {4, 5}, 0.5, (2.0 / 3) / 2, 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        const struct eval_guesses got =
            eval_guesses(rows[i].truth, rows[i].guess, rows[i].n, rows[i].n_labels);
        TEST_NEAR(got.accuracy, rows[i].accuracy, 1e-12);
        TEST_NEAR(got.macro_f1, rows[i].macro_f1, 1e-12);
        TEST_EQ(got.n_seen, rows[i].n_seen);
    }
    TEST_TRUE(isnan(eval_guesses(rows[0].truth, rows[0].guess, 0, 3).accuracy));
    TEST_TRUE(isnan(eval_guesses(rows[0].truth, rows[0].guess, 0, 3).macro_f1));
}

static void test_spread(void **state) {
    (void)state;
    double odd[] = {3, 1, 2}, even[] = {4, 1, 3, 8};
    struct eval_spread got = eval_spread(odd, 3);
    TEST_NEAR(got.min, 1, 0);
    TEST_NEAR(got.median, 2, 0);
    TEST_NEAR(got.mean, 2, 0);
    got = eval_spread(even, 4);
    TEST_NEAR(got.min, 1, 0);
    TEST_NEAR(got.median, 3.5, 0);
    TEST_NEAR(got.mean, 4, 0);
    TEST_TRUE(isnan(eval_spread(odd, 0).median));
}

static void test_cosine(void **state) {
    (void)state;
    static const float a[] = {3, 4}, b[] = {4, 3}, c[] = {-6, -8}, zero[] = {0, 0};
    TEST_NEAR(eval_cosine(a, b, 2), 0.96, 1e-12);
    TEST_NEAR(eval_cosine(a, a, 2), 1, 1e-12);
    TEST_NEAR(eval_cosine(a, c, 2), -1, 1e-12);
    TEST_NEAR(eval_cosine(a, zero, 2), 0, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranks),     cmocka_unit_test(test_correlation),
        cmocka_unit_test(test_retrieval), cmocka_unit_test(test_guesses),
        cmocka_unit_test(test_spread),    cmocka_unit_test(test_cosine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
