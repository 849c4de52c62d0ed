/* quality_test.c - what the model in models/ember-mini is worth, on small samples of our own
 * (tests/data/quality). The least figures stand a little below what was measured when the model was
 * made, so that a change of the engine that keeps the golden vectors' tolerance passes, and one
 * that hurts meaning does not. */
#include "support/tool.h"

#define MODEL EMBER_SOURCE_DIR "/models/ember-mini"
#define DATA  EMBER_SOURCE_DIR "/tests/data/quality"

static void judge(const char *precision) {
    static const struct {
        const char *name, *task, *file, *key;
        double least;
    } rows[] = {
        {"similarity, both languages", "sts", "sts", "spearman", 0.74},
        {"customers' letters, English", "zeroshot", "zeroshot-en", "accuracy", 0.85},
        {"customers' letters, Chinese", "zeroshot", "zeroshot-zh", "accuracy", 0.80},
        {"topics, English", "zeroshot", "zeroshot-topics-en", "accuracy", 0.75},
        {"topics, Chinese", "zeroshot", "zeroshot-topics-zh", "accuracy", 0.50},
        {"English finds its Chinese", "retrieval", "match", "recall@1", 0.90},
        {"a question finds its answer", "retrieval", "retrieval", "mrr@10", 0.80},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        TEST_EQ(tool_run("eval --model " MODEL " --precision %s --task %s " DATA "/%s.jsonl",
                         precision, rows[i].task, rows[i].file),
                0);
        double got = tool_figure(rows[i].key);
        print_message("%-5s %-28s %s %.4f, at least %.2f\n", precision, rows[i].name, rows[i].key,
                      got, rows[i].least);
        if (!(got >= rows[i].least))
            TEST_FAIL("%s: %s is %.4f, at least %.2f is wanted", precision, rows[i].key, got,
                      rows[i].least);
    }
}

static void test_f32(void **state) {
    (void)state;
    judge("f32");
}

static void test_bf16(void **state) {
    (void)state;
    judge("bf16");
}

static void test_i8(void **state) {
    (void)state;
    judge("i8");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_f32),
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_i8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
