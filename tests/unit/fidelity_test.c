/* fidelity_test.c - differences of two sets of answers, worked out by hand. */
#include "fidelity.h"

#include "support/test.h"

static void test_vectors(void **state) {
    (void)state;
    static const float a[] = {1, 0, 0, 1, 0.6f, 0.8f}; /* three texts of two numbers */
    struct fidelity_vectors got;
    TEST_TRUE(fidelity_vectors(a, a, 3, 2, &got));
    TEST_NEAR(got.cosine.min, 1, 1e-7);
    TEST_NEAR(got.score_change, 0, 0);
    TEST_NEAR(got.neighbours, 1, 0);

    /* the third turns to the other side: its cosines 0.6, 0.8 become 0.8, 0.6, and so its
     * neighbour; the first's changes from 0.6 to 0.8, the second's from 0.8 to 0.6, both stay with
     * the third */
    static const float b[] = {2, 0, 0, 3, 0.8f, 0.6f};
    TEST_TRUE(fidelity_vectors(a, b, 3, 2, &got));
    TEST_NEAR(got.cosine.min, 0.96, 1e-6);
    TEST_NEAR(got.cosine.median, 1, 1e-6);
    TEST_NEAR(got.cosine.mean, 2.96 / 3, 1e-6);
    TEST_NEAR(got.score_change, 0.2, 1e-6);
    TEST_NEAR(got.neighbours, 2.0 / 3, 1e-6);

    TEST_TRUE(fidelity_vectors(a, b, 1, 2, &got));
    TEST_NEAR(got.cosine.min, 1, 1e-6);
    TEST_TRUE(isnan(got.score_change) && isnan(got.neighbours));
}

static void test_labels(void **state) {
    (void)state;
    const struct engine_info softmax = {.head = ENGINE_HEAD_LABELS, .dim = 2};
    static const float a[] = {0, 0, 2, 1}, b[] = {0, 0.5f, 2, 1.25f};
    struct fidelity_logits got;
    TEST_TRUE(fidelity_logits(&softmax, a, b, 2, &got));
    TEST_NEAR(got.logit_change, 0.5, 1e-6);
    TEST_NEAR(got.score_change, 1 / (1 + exp(-0.5)) - 0.5, 1e-6); /* of the first row */
    TEST_NEAR(got.labels, 0.5, 0); /* the first row's second label is now ahead */
    TEST_TRUE(isnan(got.spearman));

    const struct engine_info sigmoid = {.head = ENGINE_HEAD_LABELS, .dim = 2, .sigmoid = true};
    TEST_TRUE(fidelity_logits(&sigmoid, a, b, 2, &got));
    TEST_NEAR(got.score_change, 1 / (1 + exp(-0.5)) - 0.5, 1e-6);
}

static void test_pairs(void **state) {
    (void)state;
    const struct engine_info nli = {
        .head = ENGINE_HEAD_NLI, .dim = 3, .entailment = 2, .contradiction = 0};
    static const float a[] = {0, 9, 1, 1, 0, 0}, b[] = {0, 5, 1, 1, 0, 3};
    struct fidelity_logits got;
    TEST_TRUE(fidelity_logits(&nli, a, b, 2, &got));
    TEST_NEAR(got.logit_change, 4, 1e-6); /* a neutral logit alters no score */
    TEST_NEAR(got.score_change, 1 / (1 + exp(-2)) - 1 / (1 + exp(1)), 1e-6);
    TEST_NEAR(got.labels, 0.5, 0);

    const struct engine_info score = {.head = ENGINE_HEAD_SCORE, .dim = 1};
    static const float c[] = {1, 2, 3}, d[] = {1, 3, 2};
    TEST_TRUE(fidelity_logits(&score, c, d, 3, &got));
    TEST_NEAR(got.logit_change, 1, 1e-6);
    TEST_NEAR(got.spearman, 0.5, 1e-6);
    TEST_TRUE(isnan(got.labels));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
