/* quantize_test.c - `ember-model quantize` as a process: what it measures, what it leaves in the
 * weights cache, what it refuses. */
#include "support/golden.h"
#include "support/tool.h"

#define MODEL GOLDEN_DIR "/bert-mean/f32"

static void test_precisions(void **state) {
    (void)state;
    TEST_EQ(tool_run("quantize --weights-cache off " MODEL), 0);
    TEST_TRUE(tool_figure("cosine_min") > 0.97 && tool_figure("cosine_min") < 0.999999);
    TEST_TRUE(tool_figure("cosine_mean") >= tool_figure("cosine_min"));
    TEST_TRUE(tool_figure("score_change") > 0 && tool_figure("score_change") < 0.2);
    TEST_NEAR(tool_figure("texts"), 40, 0);
    TEST_TRUE(tool_figure("f32_speed") > 0 && tool_figure("i8_speed") > 0 &&
              tool_figure("faster") > 0);
    TEST_TRUE(tool_figure("i8_bytes") < tool_figure("f32_bytes"));
    TEST_HAS(tool_output, "prepared       not kept\n");
    const double i8 = tool_figure("cosine_median");
    TEST_EQ(tool_run("quantize --precision bf16 --weights-cache off " MODEL), 0);
    TEST_TRUE(tool_figure("cosine_median") > i8); /* eight bits of mantissa against seven of all */
    TEST_TRUE(tool_figure("cosine_min") > 0.999);
}

/* Heads: logits and labels in place of vectors. */
static void test_heads(void **state) {
    (void)state;
    static const struct {
        const char *dir, *has;
    } rows[] = {
        {"cls-head/softmax", "labels "},
        {"nli-zh/hf", "labels "},
        {"reranker/hf", "spearman "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].dir);
        TEST_EQ(tool_run("quantize --weights-cache off " GOLDEN_DIR "/%s", rows[i].dir), 0);
        TEST_TRUE(tool_figure("logit_change") > 0 && tool_figure("logit_change") < 2);
        TEST_TRUE(tool_figure("score_change") > 0 && tool_figure("score_change") < 0.5);
        TEST_HAS(tool_output, rows[i].has);
        if (strstr(tool_output, "cosine"))
            TEST_FAIL("a cosine of logits: %s", tool_output);
    }
}

static uint32_t files_in(const char *path) {
    uint32_t n = 0;
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;)
        n += strstr(entry->d_name, ".weights") != NULL;
    if (dir)
        closedir(dir);
    return n;
}

static void test_cache(void **state) {
    (void)state;
    char cache[200];
    golden_empty(golden_work.path, false);
    snprintf(cache, sizeof cache, "%s/cache", golden_work.path);
    TEST_EQ(mkdir(cache, 0700), 0);
    tool_expect(tool_run("quantize --weights-cache %s --quiet " MODEL, cache), 0,
                "prepared       now\n");
    TEST_EQ(files_in(cache), 1); /* float32 was only measured */
    TEST_HAS(tool_output, cache);
    tool_expect(tool_run("quantize --weights-cache %s " MODEL, cache), 0, "prepared       found\n");
    TEST_EQ(files_in(cache), 1);
    tool_expect(tool_run("quantize --weights-cache %s --precision bf16 --json " MODEL, cache), 0,
                "\"prepared\": \"now\"");
    TEST_EQ(files_in(cache), 2);
}

static void test_texts(void **state) {
    (void)state;
    static const char two[] = "the cat\r\n\nof a new house";
    golden_empty(golden_work.path, false);
    golden_write(&golden_work, "two.txt", two, strlen(two));
    golden_write(&golden_work, "one.txt", "the cat\n\n", 9);
    TEST_EQ(tool_run("quantize --weights-cache off --texts %s/two.txt " MODEL, golden_work.path),
            0);
    TEST_NEAR(tool_figure("texts"), 2, 0);
    tool_expect(
        tool_run("quantize --weights-cache off --texts %s/one.txt " MODEL, golden_work.path), 1,
        "one.txt' has 1 texts");
    char *huge = malloc(70000);
    TEST_TRUE(huge != NULL);
    memset(huge, 'a', 70000);
    memcpy(huge, "first\n", 6);
    golden_write(&golden_work, "huge.txt", huge, 70000);
    free(huge);
    tool_expect(
        tool_run("quantize --weights-cache off --texts %s/huge.txt " MODEL, golden_work.path), 1,
        "huge.txt:2: 69994 bytes");
}

static void test_usage(void **state) {
    (void)state;
    static const struct {
        const char *words;
        int want;
        const char *has;
    } rows[] = {
        {"quantize", 2, "one model directory"},
        {"quantize --help", 0, "--min-cosine"},
        {"quantize /nowhere", 1, "/nowhere"},
        {"quantize --precision f32 x", 2, "f32"},
        {"quantize --weights-cache off --kernel abacus " MODEL, 2, "'abacus'"},
        {"quantize --weights-cache off --texts /nowhere.txt " MODEL, 1, "/nowhere.txt"},
        {"quantize --weights-cache off --min-cosine 0.9 " MODEL, 0, "cosine_min"},
        {"quantize --weights-cache off --min-cosine 1 " MODEL, 1, "below --min-cosine 1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].words);
        tool_expect(tool_run("%s", rows[i].words), rows[i].want, rows[i].has);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_precisions), cmocka_unit_test(test_heads),
        cmocka_unit_test(test_cache),      cmocka_unit_test(test_texts),
        cmocka_unit_test(test_usage),
    };
    return cmocka_run_group_tests(tests, golden_set_up, golden_tear_down);
}
