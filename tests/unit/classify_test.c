/* classify_test.c - scores, their order, and hypotheses. */
#include "engine/classify.h"

#include "base/hash.h"
#include "base/limits.h"
#include "model/zero_shot.h"
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
        classify_scores(NULL, rows[i].cosines, rows[i].n, rows[i].multi, scores);
        for (uint32_t j = 0; j < rows[i].n; j++)
            TEST_NEAR(scores[j], rows[i].want[j], 1e-6 * (double)rows[i].want[j] + 1e-30);
    }
}

/* e^(-1) beside e^0, and the sigmoid of 1 is 0.7310586: by eye. */
static void test_settings(void **state) {
    (void)state;
    static const struct zero_shot hot = {.temperature = 1}, own = {.multi = true,
                                                                   .midpoint = 0.25f,
                                                                   .multi_temperature = 0.5f};
    static const struct {
        const char *name;
        const struct zero_shot *settings;
        uint32_t n;
        float cosines[3];
        bool multi;
        float want[3];
    } rows[] = {
        {"a temperature", &hot, 2, {0, 1}, false, {0.2689414f, 0.7310586f}},
        {"which labels alone do not know", &hot, 2, {0.25f, -1}, true, {0.25f, 0}},
        {"labels alone", &own, 3, {0.75f, 0.25f, -0.25f}, true, {0.7310586f, 0.5f, 0.2689414f}},
        {"one label", &own, 1, {0.75f}, false, {0.7310586f}},
        {"the usual temperature", &own, 2, {0.5f, 0.4f}, false, {0.880797f, 0.119203f}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        float scores[3] = {0};
        classify_scores(rows[i].settings, rows[i].cosines, rows[i].n, rows[i].multi, scores);
        for (uint32_t j = 0; j < rows[i].n; j++)
            TEST_NEAR(scores[j], rows[i].want[j], 1e-6);
    }
    TEST_NEAR(classify_temperature(NULL), CLASSIFY_TEMPERATURE, 0);
    TEST_NEAR(classify_temperature(&own), CLASSIFY_TEMPERATURE, 0);
    TEST_NEAR(classify_temperature(&hot), 1, 0);
}

static void test_templates(void **state) {
    (void)state;
    static const struct zero_shot one = {.template_text = "it is {}"},
                                  han = {.template_han = "是{}"},
                                  both = {.template_text = "it is {}", .template_han = "是{}"};
    static const struct {
        const char *name;
        const struct zero_shot *settings;
        const char *label, *want;
    } rows[] = {
        {"no settings", NULL, "退款", "{}"},
        {"one for all", &one, "退款", "it is {}"},
        {"for Han alone", &han, "refund", "{}"},
        {"Han", &han, "退款", "是{}"},
        {"both: latin", &both, "refund", "it is {}"},
        {"both: Han", &both, "退款", "是{}"},
        {"one character is enough", &both, "VIP 客", "是{}"},
        {"kana are none", &both, "はい", "it is {}"},
        {"Hangul is none", &both, "환불", "it is {}"},
        {"beyond the first plane", &both, "\xf0\xa0\x80\x80", "是{}"},
        {"broken UTF-8", &both, "\xe9\x80", "it is {}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct view got = classify_template(rows[i].settings, view_of(rows[i].label));
        TEST_TRUE(view_equal(got, view_of(rows[i].want)));
    }
}

static void test_scores_add_up(void **state) {
    (void)state;
    float x[64];
    for (int i = 0; i < 64; i++)
        x[i] = sinf((float)i);
    classify_scores(NULL, x, 64, false, x); /* in place */
    double sum = 0;
    for (int i = 0; i < 64; i++)
        sum += (double)x[i];
    TEST_NEAR(sum, 1, 1e-6);
}

#define LN2 0.69314718f
#define LN3 1.09861229f
#define LN5 1.60943791f

/* e^0 : e^(ln 3) = 1 : 3, and the sigmoid of ln 3 is 3/4: every figure can be checked by eye. */
static void test_nli(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t n, classes, entailment, contradiction;
        bool multi;
        float logits[9], want[3];
    } rows[] = {
        {"over the labels", 2, 3, 0, 2, false, {LN3, 9, 7, 0, -9, -7}, {0.75f, 0.25f}},
        {"entailment last", 2, 3, 2, 0, false, {9, 7, LN3, -9, -7, 0}, {0.75f, 0.25f}},
        {"in the middle", 2, 3, 1, 2, false, {9, 0, 7, -9, LN3, -7}, {0.25f, 0.75f}},
        {"two classes", 2, 2, 1, 0, false, {5, 0, 6, 0}, {0.5f, 0.5f}},
        {"three labels", 3, 2, 0, 1, false, {0, 4, LN2, 5, LN5, 6}, {0.125f, 0.25f, 0.625f}},
        {"each alone", 2, 3, 0, 2, true, {LN3, 9, 0, 1, -9, 1}, {0.75f, 0.5f}},
        {"against the other index", 2, 3, 2, 0, true, {LN3, 9, 0, 0, -9, LN3}, {0.25f, 0.75f}},
        {"each alone, two classes", 2, 2, 1, 0, true, {1, 1 + LN3, 2, 2}, {0.75f, 0.5f}},
        {"one label is scored alone", 1, 3, 0, 2, false, {LN3, 9, 0}, {0.75f}},
        {"large ones do not overflow", 2, 2, 0, 1, false, {1000, 0, 1000 + LN3, 0}, {0.25f, 0.75f}},
        {"nor do far ones", 2, 2, 0, 1, true, {1000, -1000, -1000, 1000}, {1, 0}},
        {"none", 0, 3, 0, 2, false, {0}, {0}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        float scores[3] = {0};
        classify_nli(rows[i].logits, rows[i].n, rows[i].classes, rows[i].entailment,
                     rows[i].contradiction, rows[i].multi, scores);
        for (uint32_t j = 0; j < rows[i].n; j++) /* 1000 + ln 3 has lost four digits */
            TEST_NEAR(scores[j], rows[i].want[j], rows[i].logits[0] == 1000 ? 1e-5 : 1e-7);
    }
}

static void test_head(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t n;
        bool sigmoid;
        float logits[3], want[3];
    } rows[] = {
        {"softmax", 3, false, {0, LN2, LN5}, {0.125f, 0.25f, 0.625f}},
        {"a constant does not matter",
         3,
         false,
         {-80, LN2 - 80, LN5 - 80},
         {0.125f, 0.25f, 0.625f}},
        {"sigmoid", 3, true, {0, LN3, -LN3}, {0.5f, 0.75f, 0.25f}},
        {"one class", 1, true, {LN3}, {0.75f}},
        {"one class of a softmax", 1, false, {-5}, {1}},
        {"ends", 2, true, {200, -200}, {1, 0}},
        {"none", 0, false, {0}, {0}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        float scores[3];
        memcpy(scores, rows[i].logits, sizeof scores);
        classify_head(scores, rows[i].n, rows[i].sigmoid, scores); /* in place */
        for (uint32_t j = 0; j < rows[i].n; j++)
            TEST_NEAR(scores[j], rows[i].want[j], rows[i].logits[0] < -79 ? 2e-6 : 1e-7);
    }
    TEST_ROW("NaN stays NaN");
    float broken[2] = {NAN, 1};
    classify_head(broken, 2, true, broken);
    TEST_TRUE(isnan(broken[0]) && !isnan(broken[1]));
    classify_nli(&(float){NAN}, 1, 1, 0, 0, true, broken);
    TEST_TRUE(isnan(broken[0]));
    TEST_NEAR(classify_sigmoid(0), 0.5, 0);
    TEST_NEAR(classify_sigmoid(LN3), 0.75, 1e-7);
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
        cmocka_unit_test(test_settings),   cmocka_unit_test(test_templates),
        cmocka_unit_test(test_nli),        cmocka_unit_test(test_head),
        cmocka_unit_test(test_order),      cmocka_unit_test(test_order_of_many),
        cmocka_unit_test(test_hypothesis),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
