/* prepare_test.c - `ember-model prepare` as a process: what it leaves, what it finds, what it
 * refuses. */
#include "support/golden.h"
#include "support/tool.h"

#define MODEL GOLDEN_DIR "/bert-mean/f32"
#define OTHER GOLDEN_DIR "/bert-cls-zh/hf"

static struct golden_dir work;

static uint32_t count(void) {
    uint32_t n = 0;
    DIR *dir = opendir(work.path);
    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;)
        n += strstr(entry->d_name, ".weights") != NULL;
    closedir(dir);
    return n;
}

static void test_prepare(void **state) {
    (void)state;
    TEST_EQ(tool_run("prepare --weights-cache %s " MODEL " " OTHER, work.path), 0);
    TEST_HAS(tool_output, MODEL ": ");
    TEST_HAS(tool_output, OTHER ": ");
    TEST_HAS(tool_output, "-f32, prepared");
    TEST_EQ(count(), 2);
    TEST_EQ(tool_run("prepare --weights-cache %s " MODEL, work.path), 0);
    TEST_HAS(tool_output, "there already");
    TEST_EQ(
        tool_run("prepare --precision i8 --kernel portable --weights-cache %s " MODEL, work.path),
        0);
    TEST_HAS(tool_output, "portable-i8, prepared");
    TEST_EQ(count(), 3);
}

static void test_refuses(void **state) {
    (void)state;
    static const struct {
        const char *name, *words;
        int want;
        const char *has;
    } rows[] = {
        {"no directory", "prepare", 2, "no directory"},
        {"nowhere to keep it", "prepare --weights-cache off " MODEL, 2, "weights-cache"},
        {"others may write", "prepare --weights-cache /tmp " MODEL, 1, "nobody else"},
        {"no model", "prepare --weights-cache /tmp /dev/null", 1, "/dev/null"},
        {"no such precision", "prepare --precision f64 " MODEL, 2, "precision"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        TEST_EQ(tool_run("%s", rows[i].words), rows[i].want);
        TEST_HAS(tool_output, rows[i].has);
    }
}

static int setup(void **state) {
    (void)state;
    golden_make(&work);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    golden_remove(&work);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_prepare),
                                       cmocka_unit_test(test_refuses)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
