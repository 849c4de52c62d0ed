/* judge_test.c - `ember-model eval` as a process, on rows whose figures are known beforehand: equal
 * texts have cosine 1 whatever the weights are. */
#include "support/golden.h"
#include "support/tool.h"

static struct golden_dir work;

#define MODEL GOLDEN_DIR "/bert-mean/f32"

/* Runs eval over these lines; the rest are its words. */
static int judge(const char *lines, const char *words) {
    golden_empty(work.path, false);
    golden_write(&work, "rows.jsonl", lines, strlen(lines));
    return tool_run("eval --model " MODEL " %s %s/rows.jsonl", words, work.path);
}

/* The number behind a key of the lines for people. */
static double figure(const char *key) {
    char line[64];
    snprintf(line, sizeof line, "\n%s ", key);
    const char *at = strstr(tool_output, line);
    if (!at)
        TEST_FAIL("no '%s' in:\n%s", key, tool_output);
    return strtod(at + strlen(line), NULL);
}

static void test_similarity(void **state) {
    (void)state;
    static const char rising[] =
        "{\"a\": \"the cat\", \"b\": \"the cat\", \"score\": 5}\n"
        "{\"a\": \"the cat\", \"b\": \"of a new house\", \"score\": 1.5}\n";
    TEST_EQ(judge(rising, "--task sts"), 0);
    TEST_NEAR(figure("spearman"), 1, 0);
    TEST_NEAR(figure("pearson"), 1, 0);
    TEST_NEAR(figure("pairs"), 2, 0);
    static const char falling[] = "\n{\"a\": \"the cat\", \"b\": \"the cat\", \"score\": 0}\n\n"
                                  "{\"text1\": \"cat\", \"text2\": \"new house\", \"score\": 3}";
    TEST_EQ(judge(falling, "--task sts --threads 2"), 0);
    TEST_NEAR(figure("spearman"), -1, 0);
    TEST_NEAR(figure("threads"), 2, 0);
    TEST_EQ(judge(rising, "--task sts --limit 1"), 0);
    TEST_HAS(tool_output, "spearman       none\n"); /* one pair has no correlation */
    tool_expect(judge(rising, "--task sts --limit 1 --json"), 0, "\"spearman\": null,");
}

static void test_retrieval(void **state) {
    (void)state;
    static const char found[] =
        "{\"query\": \"the cat\", \"document\": \"the cat\", \"pid\": 7}\n"
        "{\"query\": \"new house\", \"context\": \"new house\"}\n"
        "{\"query\": \"of water\", \"document\": \"of water\", \"pid\": \"w\"}\n"
        "{\"query\": \"new house\", \"document\": \"new house\"}\n";
    TEST_EQ(judge(found, "--task retrieval"), 0);
    TEST_NEAR(figure("queries"), 4, 0);
    TEST_NEAR(figure("documents"), 3, 0); /* equal documents are one */
    TEST_NEAR(figure("mrr@10"), 1, 0);
    TEST_NEAR(figure("recall@1"), 1, 0);
    static const char half[] = "{\"query\": \"the cat\", \"document\": \"the cat\"}\n"
                               "{\"query\": \"the cat\", \"document\": \"of water\"}\n";
    TEST_EQ(judge(half, "--task retrieval"), 0);
    TEST_NEAR(figure("mrr@10"), 0.75, 0);
    TEST_NEAR(figure("recall@1"), 0.5, 0);
    TEST_NEAR(figure("recall@10"), 1, 0);
    TEST_NEAR(figure("mean_rank"), 1.5, 0);
    TEST_EQ(judge(found, "--task retrieval --query-prompt query --dimensions 32"), 0);
    TEST_NEAR(figure("recall@1"), 1, 0);
    static const char twice[] = "{\"query\": \"a\", \"document\": \"the cat\", \"pid\": 7}\n"
                                "{\"query\": \"a\", \"document\": \"new house\", \"pid\": 7}\n";
    tool_expect(judge(twice, "--task retrieval"), 1,
                "rows.jsonl:2: pid \"7\" has named another text before");
    tool_expect(judge(found, "--task retrieval --query-prompt sing"), 2, "no prompt 'sing'");
    tool_expect(judge(found, "--task retrieval --dimensions 97"), 2, "the model has 96");
}

static void test_zeroshot(void **state) {
    (void)state;
    static const char rows[] = "{\"text\": \"cat\", \"label\": \"cat\"}\n"
                               "{\"text\": \"house\", \"label\": \"house\"}\n"
                               "{\"text\": \"water\", \"label\": \"water\"}\n"
                               "{\"text\": \"water\", \"label\": \"cat\"}\n";
    TEST_EQ(judge(rows, "--task zeroshot"), 0);
    TEST_NEAR(figure("labels"), 3, 0);
    TEST_NEAR(figure("accuracy"), 0.75, 0);
    /* cat: tp 1, fn 1: 2/3; house: 1; water: tp 1, fp 1: 2/3 */
    TEST_NEAR(figure("macro_f1"), 0.7778, 0);
    tool_expect(judge(rows, "--task zeroshot --labels cat,house"), 1,
                "rows.jsonl:3: label \"water\" is not one of the 2 labels");
    tool_expect(judge(rows, "--task zeroshot --labels cat,cat"), 2, "'cat' stands there twice");
    tool_expect(judge(rows, "--task zeroshot --labels cat,,house"), 2, "an empty label");
    tool_expect(judge(rows, "--task zeroshot --template it"), 2, "has no {} for the label");
    tool_expect(judge(rows, "--task zeroshot --limit 1"), 1, "a single label");
    TEST_EQ(judge(rows, "--task zeroshot --labels cat,house,water,dog --json"), 0);
    TEST_HAS(tool_output, "\"labels\": 4,");
}

static void test_rows_that_make_no_sense(void **state) {
    (void)state;
    static const struct {
        const char *name, *task, *lines, *has;
    } rows[] = {
        {"nothing", "sts", "\n\n", "has no rows"},
        {"no JSON", "sts", "{\"a\": ", "rows.jsonl:1: "},
        {"no object", "sts", "[1]", "rows.jsonl:1: not a JSON object"},
        {"later", "sts", "{\"a\": \"x\", \"b\": \"y\", \"score\": 1}\n{\"a\": \"x\"}",
         "rows.jsonl:2: \"b\" or \"text2\" is missing"},
        {"no number", "sts", "{\"a\": \"x\", \"b\": \"y\", \"score\": \"1\"}",
         "rows.jsonl:1: \"score\" is no number"},
        {"a number for a text", "sts", "{\"a\": 1, \"b\": \"y\", \"score\": 1}",
         "rows.jsonl:1: \"a\" is no string"},
        {"an empty text", "zeroshot", "{\"text\": \"\", \"label\": \"y\"}",
         "rows.jsonl:1: \"text\" is empty"},
        {"no label", "zeroshot", "{\"text\": \"x\"}", "rows.jsonl:1: \"label\" is missing"},
        {"no query", "retrieval", "{\"document\": \"x\"}", "rows.jsonl:1: \"query\" is missing"},
        {"no document", "retrieval", "{\"query\": \"x\"}",
         "rows.jsonl:1: \"document\" or \"context\" is missing"},
        {"a pid of another kind", "retrieval",
         "{\"query\": \"x\", \"document\": \"y\", \"pid\": [1]}", "\"pid\" is neither"},
        {"no head", "classify", "{\"text\": \"x\", \"label\": \"y\"}", "no labels of its own"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char words[64];
        TEST_ROW(rows[i].name);
        snprintf(words, sizeof words, "--task %s", rows[i].task);
        tool_expect(judge(rows[i].lines, words), 1, rows[i].has);
        if (strstr(tool_output, "fingerprint"))
            TEST_FAIL("half an answer: %s", tool_output);
    }
}

static void test_usage(void **state) {
    (void)state;
    static const struct {
        const char *words;
        int want;
        const char *has;
    } rows[] = {
        {"eval", 2, "takes --model DIR and one file"},
        {"eval --model x", 2, "takes --model DIR and one file"},
        {"eval --task sing --model x y", 2, "sing"},
        {"eval --help", 0, "zeroshot"},
        {"eval --model /nowhere y", 1, "/nowhere"},
        {"eval --model " MODEL " /nowhere.jsonl", 1, "/nowhere.jsonl"},
        {"eval --model " MODEL " --kernel abacus y", 2, "no matrix kernel 'abacus'"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].words);
        tool_expect(tool_run("%s", rows[i].words), rows[i].want, rows[i].has);
    }
}

static int set_up(void **state) {
    (void)state;
    golden_make(&work);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    golden_remove(&work);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_similarity), cmocka_unit_test(test_retrieval),
        cmocka_unit_test(test_zeroshot),   cmocka_unit_test(test_rows_that_make_no_sense),
        cmocka_unit_test(test_usage),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
