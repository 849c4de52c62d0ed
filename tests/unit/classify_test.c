/* classify_test.c - scores, their order, and hypotheses. */
#include "engine/classify.h"

#include "base/hash.h"
#include "base/limits.h"
#include "support/test.h"

static void test_scores(void **state) {
    (void)state;
    /* softmax of 20 x cosine: e^0 = 1 beside e^-2 = 0.1353353. */
    static const struct {
        const char *name;
        uint32_t n;
        float cosines[3];
        bool multi;
        float want[3];
    } rows[] = {
        {"two labels, 0.1 apart", 2, {0.5f, 0.4f}, false, {0.880797f, 0.119203f}},
        {"order of labels does not matter", 2, {0.4f, 0.5f}, false, {0.119203f, 0.880797f}},
        {"equal", 3, {-1, -1, -1}, false, {1 / 3.f, 1 / 3.f, 1 / 3.f}},
        {"far apart", 2, {1, -1}, false, {1, 4.248354e-18f}},
        {"multi label clips", 3, {0.25f, -0.5f, 1.0000001f}, true, {0.25f, 0, 1}},
        {"one label is scored alone", 1, {0.75f}, false, {0.75f}},
        {"none", 0, {0}, false, {0}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        float scores[3] = {0};
        classify_scores(rows[i].cosines, rows[i].n, rows[i].multi, scores);
        for (uint32_t j = 0; j < rows[i].n; j++)
            TEST_NEAR(scores[j], rows[i].want[j], 1e-6 * (double)rows[i].want[j] + 1e-30);
    }
}

static void test_scores_add_up(void **state) {
    (void)state;
    float x[64];
    for (int i = 0; i < 64; i++)
        x[i] = sinf((float)i);
    classify_scores(x, 64, false, x); /* in place */
    double sum = 0;
    for (int i = 0; i < 64; i++)
        sum += (double)x[i];
    TEST_NEAR(sum, 1, 1e-6);
}

static void test_order(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t n;
        float scores[5];
        uint32_t want[5];
    } rows[] = {
        {"falling", 3, {3, 2, 1}, {0, 1, 2}},
        {"rising", 3, {1, 2, 3}, {2, 1, 0}},
        {"ties keep their order", 5, {1, 2, 1, 2, 1}, {1, 3, 0, 2, 4}},
        {"one", 1, {0.5f}, {0}},
        {"none", 0, {0}, {0}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        uint32_t order[5];
        classify_order(rows[i].scores, rows[i].n, order);
        TEST_MEM_EQ(order, rows[i].want, rows[i].n * sizeof *order);
    }
}

/* As many as a head may have, few of them different: best first, ties as they came, none lost. */
static void test_order_of_many(void **state) {
    (void)state;
    static float scores[LIMIT_LABELS];
    static uint32_t order[LIMIT_LABELS];
    uint64_t seed = 7;
    for (uint32_t n = 1; n <= LIMIT_LABELS; n = 3 * n + 1) {
        for (uint32_t i = 0; i < n; i++)
            scores[i] = (float)hash_below(&seed, 40);
        classify_order(scores, n, order);
        for (uint32_t i = 1; i < n; i++) {
            float before = scores[order[i - 1]], after = scores[order[i]];
            TEST_TRUE(before > after || (before >= after && order[i - 1] < order[i]));
        }
    }
}

static void test_hypothesis(void **state) {
    (void)state;
    static const struct {
        const char *name, *template_text, *label;
        size_t room;
        const char *want; /* NULL: refused */
    } rows[] = {
        {"default", "{}", "complaint", 64, "complaint"},
        {"in a sentence", "This text is about {}.", "refunds", 64, "This text is about refunds."},
        {"Chinese", "这是一条{}。", "投诉", 64, "这是一条投诉。"},
        {"only the first slot", "{} {}", "a", 64, "a {}"},
        {"a slot inside the label", "x{}", "{}", 64, "x{}"},
        {"no slot", "about", "a", 64, NULL},
        {"empty template", "", "a", 64, NULL},
        {"empty label", "a{}b", "", 64, "ab"},
        {"fits to the byte", "ab{}c", "d", 4, "abdc"},
        {"one byte short", "ab{}c", "d", 3, NULL},
        {"label alone too long", "{}", "four", 3, NULL},
        {"half a slot", "{ }", "a", 64, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        char *out = malloc(rows[i].room); /* exactly the room: ASan sees a byte too many */
        TEST_TRUE(out != NULL);
        size_t n = classify_hypothesis(view_of(rows[i].template_text), view_of(rows[i].label), out,
                                       rows[i].room);
        if (rows[i].want)
            TEST_TRUE(view_equal(view_make(out, n), view_of(rows[i].want)));
        else
            TEST_EQ(n, 0);
        free(out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scores),     cmocka_unit_test(test_scores_add_up),
        cmocka_unit_test(test_order),      cmocka_unit_test(test_order_of_many),
        cmocka_unit_test(test_hypothesis),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
