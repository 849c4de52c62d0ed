/* bench_test.c - `ember-model bench` as a process: its rows, its JSON, and what it refuses. Speed
 * is not judged. */
#include "support/golden.h"
#include "support/tool.h"

#define MODEL GOLDEN_DIR "/bert-mean/f32"
#define SOON  " --time 1ms"

static json_t *answer(void) {
    json_t *root = NULL;
    struct err err;
    if (json_parse(view_of(tool_output), TOOL_OUTPUT_MAX, "bench", &root, &err) != STATUS_OK)
        TEST_FAIL("%s: %s", err.text, tool_output);
    return root;
}

static double number(const json_t *row, const char *key) {
    double x = NAN;
    json_f64(json_get(row, key), &x);
    return x;
}

static void test_rows(void **state) {
    (void)state;
    TEST_EQ(tool_run("bench " MODEL SOON " --json --precision f32 --rows 1,4;2x3 --mixed"), 0);
    json_t *root = answer();
    static const struct {
        const char *row;
        double texts, tokens;
    } want[] = {{"1 x 4", 1, 4}, {"2 x 3", 2, 6}, {"mixed", 256, 8420}};
    const json_t *row = json_first(json_get(root, "rows"));
    for (size_t i = 0; i < sizeof want / sizeof *want; i++, row = json_next(row)) {
        TEST_ROW(want[i].row);
        TEST_TRUE(row != NULL);
        TEST_STR_EQ(json_text(json_get(row, "row")), want[i].row);
        TEST_STR_EQ(json_text(json_get(row, "precision")), "f32");
        TEST_NEAR(number(row, "texts"), want[i].texts, 0);
        TEST_NEAR(number(row, "tokens"), want[i].tokens, 0);
        TEST_TRUE(number(row, "ms") >= number(row, "ms_min") && number(row, "ms_min") > 0);
        TEST_TRUE(number(row, "passes") >= 7);
    }
    TEST_TRUE(row == NULL);
    TEST_STR_EQ(json_text(json_get(json_get(root, "model"), "name")), "f32");
    TEST_TRUE(json_text(json_get(json_get(root, "machine"), "cpu")) != NULL);
    json_destroy(&root);
}

/* The vector of a row is the first text's, whatever is behind it in the batch. */
static void test_vectors(void **state) {
    (void)state;
    TEST_EQ(tool_run("bench " MODEL SOON " --json --vectors --rows 1,4;3,4;1,5"), 0);
    json_t *root = answer();
    const json_t *one = json_first(json_get(root, "rows")), *three = json_next(one);
    const json_t *a = json_get(one, "vector"), *b = json_get(three, "vector");
    const json_t *other = json_get(json_next(three), "vector");
    TEST_EQ(json_size(a), 96);
    double differs = 0;
    const json_t *y = json_first(b), *z = json_first(other);
    for (const json_t *x = json_first(a); x; x = json_next(x), y = json_next(y), z = json_next(z)) {
        double u = 0, v = 1, w = 0;
        TEST_TRUE(json_f64(x, &u) && json_f64(y, &v) && json_f64(z, &w));
        TEST_NEAR(v, u, 1e-4);
        differs += fabs(u - w);
    }
    TEST_TRUE(differs > 1e-2);
    json_destroy(&root);
}

static void test_baseline(void **state) {
    (void)state;
    static const char rows[] = "{\"rows\": [{\"row\": \"1 x 4\", \"ms\": 1e6}]}";
    golden_empty(golden_work.path, false);
    golden_write(&golden_work, "base.json", rows, strlen(rows));
    tool_expect(
        tool_run("bench " MODEL SOON " --rows 1,4;1,5 --baseline %s/base.json", golden_work.path),
        0, "1000000.000");
    TEST_HAS(tool_output, "faster");
    TEST_EQ(tool_run("bench " MODEL SOON " --json --rows 1,4;1,5 --baseline %s/base.json",
                     golden_work.path),
            0);
    json_t *root = answer();
    const json_t *first = json_first(json_get(root, "rows"));
    TEST_NEAR(number(first, "baseline_ms"), 1e6, 0);
    TEST_TRUE(json_get(json_next(first), "baseline_ms") == NULL);
    json_destroy(&root);
    golden_write(&golden_work, "none.json", "{\"rows\": []}", 12);
    tool_expect(tool_run("bench " MODEL SOON " --baseline %s/none.json", golden_work.path), 1,
                "has no \"rows\"");
}

static void test_shapes_and_threads(void **state) {
    (void)state;
    tool_expect(
        tool_run("bench --shape bert-tiny" SOON " --rows 1,8 --threads 2 --team 2 --profile"), 0,
        "2 threads");
    TEST_HAS(tool_output, "shared by 2 threads");
    TEST_HAS(tool_output, "# bert-tiny: 2 layers, 128 wide, 2 heads, 512 inner");
    TEST_HAS(tool_output, "attention");
    tool_expect(tool_run("bench --shape tiny" SOON " --rows 1,8 --kernel all"), 0, "portable");
    TEST_HAS(tool_output, "openblas");
}

static void test_usage(void **state) {
    (void)state;
    static const struct {
        const char *words;
        int want;
        const char *has;
    } rows[] = {
        {"bench --help", 0, "--baseline"},
        {"bench a b", 2, "one model directory"},
        {"bench /nowhere", 1, "/nowhere"},
        {"bench --shape elephant", 2, "'elephant' is none of minilm-l6"},
        {"bench --shape tiny --rows 1-8", 2, "'1-8' is not texts,tokens"},
        {"bench --shape tiny --rows 1,8,9", 2, "is not texts,tokens"},
        {"bench --shape tiny --rows 0,8", 2, "is not texts,tokens"},
        {"bench --shape tiny --rows 2000,8", 2, "is not texts,tokens"},
        {"bench --shape tiny --rows 1,513", 2, "the model has 512 positions"},
        {"bench --shape tiny --precision f32,f8", 2, "'f8' is not f32, bf16 or i8"},
        {"bench --shape tiny --kernel abacus", 2, "no matrix kernel 'abacus' of f32"},
        {"bench --shape tiny --baseline /nowhere.json", 1, "/nowhere.json"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].words);
        tool_expect(tool_run("%s", rows[i].words), rows[i].want, rows[i].has);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),     cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_baseline), cmocka_unit_test(test_shapes_and_threads),
        cmocka_unit_test(test_usage),
    };
    return cmocka_run_group_tests(tests, golden_set_up, golden_tear_down);
}
