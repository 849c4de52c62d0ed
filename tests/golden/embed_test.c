/* embed_test.c - `ember-model embed` as a process: its vectors are the golden ones, in both forms,
 * and what it refuses it names with its line. */
#include "support/golden.h"
#include "support/tool.h"

#define MODEL GOLDEN_DIR "/bert-mean/f32"
#define ID    "bert-mean/f32"

enum { DIM = 96, TEXTS_MAX = 64, HEAD = 128 };

static struct {
    char *text[TEXTS_MAX];
    float out[TEXTS_MAX][DIM];
    uint32_t n;
} want;

static bool of_model(const json_t *row) {
    for (const json_t *e = json_first(json_get(row, "model")); e; e = json_next(e))
        if (strcmp(json_text(e), ID) == 0)
            return true;
    return false;
}

/* Golden texts that fill a line, with their normalised vectors. */
static void collect(const json_t *row, void *arg) {
    (void)arg;
    bool normalize = false;
    json_bool(json_get(row, "normalize"), &normalize);
    if (!of_model(row) || !normalize || !json_is_null(json_get(row, "max_length")))
        return;
    const json_t *out = json_first(json_get(row, "out"));
    for (const json_t *e = json_first(json_get(row, "texts")); e;
         e = json_next(e), out = json_next(out)) {
        if (strpbrk(json_text(e), "\r\n") || want.n == TEXTS_MAX)
            continue;
        uint32_t k = 0;
        double x = 0;
        for (const json_t *number = json_first(out); number; number = json_next(number), k++) {
            TEST_TRUE(k < DIM && json_f64(number, &x));
            want.out[want.n][k] = (float)x;
        }
        TEST_EQ(k, DIM);
        want.text[want.n++] = strdup(json_text(e));
    }
}

static int set_up(void **state) {
    golden_each("bert-mean/cases.jsonl", collect, NULL);
    TEST_TRUE(want.n >= 20);
    return golden_set_up(state);
}

static int tear_down(void **state) {
    for (uint32_t i = 0; i < want.n; i++)
        free(want.text[i]);
    return golden_tear_down(state);
}

static void expect_vector(const float *got, uint32_t i) {
    for (uint32_t k = 0; k < DIM; k++)
        TEST_NEAR((double)got[k], (double)want.out[i][k], 1e-5);
}

/* The golden texts as lines, or as JSON rows. */
static void write_texts(const char *name, bool json) {
    static char all[600000], quoted[500000];
    size_t n = 0;
    for (uint32_t i = 0; i < want.n; i++) {
        json_quote(view_of(want.text[i]), quoted, sizeof quoted);
        n += (size_t)snprintf(all + n, sizeof all - n,
                              json ? "\n{\"id\": 1, \"text\": %s}\n" : "%s\n",
                              json ? quoted : want.text[i]);
        TEST_TRUE(n < sizeof all);
    }
    golden_write(&golden_work, name, all, n);
}

static void test_numpy(void **state) {
    (void)state;
    static const char *const names[] = {"texts.txt", "texts.jsonl"};
    for (int json = 0; json < 2; json++) {
        char path[200], head[200];
        size_t bytes;
        TEST_ROW(names[json]);
        golden_empty(golden_work.path, false);
        write_texts(names[json], json);
        snprintf(path, sizeof path, "%s/out.npy", golden_work.path);
        tool_expect(tool_run("embed --model " MODEL " --format npy --out %s --threads 2 %s/%s",
                             path, golden_work.path, names[json]),
                    0, " numbers each, ");
        char *data = golden_read(path, &bytes);
        snprintf(head, sizeof head,
                 "{'descr': '<f4', 'fortran_order': False, 'shape': (%u, %d), } ", want.n, DIM);
        TEST_EQ(bytes, HEAD + (size_t)want.n * DIM * sizeof(float));
        TEST_TRUE(memcmp(data, "\x93NUMPY\x01\x00\x76\x00", 10) == 0);
        TEST_TRUE(memcmp(data + 10, head, strlen(head)) == 0 && data[HEAD - 1] == '\n');
        for (uint32_t i = 0; i < want.n; i++) {
            float row[DIM];
            memcpy(row, data + HEAD + (size_t)i * sizeof row, sizeof row);
            expect_vector(row, i);
        }
        free(data);
        snprintf(path, sizeof path, "%s/out.npy.part", golden_work.path);
        TEST_TRUE(access(path, F_OK) != 0);
    }
}

/* The numbers of line i, on standard output: 64 KiB of it are kept, enough for a few texts. */
static void test_json_lines(void **state) {
    (void)state;
    static const char texts[] = "the cat\n\nof a new house\r\n\xe4\xbd\xa0\xe5\xa5\xbd";
    golden_empty(golden_work.path, false);
    golden_write(&golden_work, "texts", texts, strlen(texts));
    TEST_EQ(tool_run("embed --model " MODEL " --quiet %s/texts", golden_work.path), 0);
    char *rest = tool_output, *line;
    uint32_t n = 0;
    for (; (line = strsep(&rest, "\n")) && *line; n++) {
        json_t *row = NULL;
        uint64_t i = 0;
        double x = 0, sum = 0;
        TEST_EQ(json_parse(view_of(line), strlen(line), "line", &row, NULL), STATUS_OK);
        TEST_TRUE(json_u64(json_get(row, "i"), &i) && i == n);
        TEST_TRUE(json_u64(json_get(row, "dim"), &i) && i == DIM);
        TEST_EQ(json_size(json_get(row, "vector")), DIM);
        for (const json_t *e = json_first(json_get(row, "vector")); e; e = json_next(e)) {
            TEST_TRUE(json_f64(e, &x));
            sum += x * x;
        }
        TEST_NEAR(sum, 1, 1e-5);
        json_destroy(&row);
    }
    TEST_EQ(n, 4); /* an empty line is a text */
    TEST_EQ(tool_run("embed --model " MODEL " --quiet --dimensions 8 %s/texts", golden_work.path),
            0);
    TEST_HAS(tool_output, "{\"i\":3,\"dim\":8,\"vector\":[");
}

static void test_refusals(void **state) {
    (void)state;
    static const struct {
        const char *name, *file, *text, *words;
        int want;
        const char *has;
    } rows[] = {
        {"not UTF-8", "t.txt", "good\nb\xff", "", 1, "t.txt:2: the text is not UTF-8 at byte 1"},
        {"no JSON", "t.jsonl", "{\"text\": \"x\"}\n\n{\"te", "", 1, "t.jsonl:3: not JSON"},
        {"no text", "t.jsonl", "{\"label\": \"x\"}", "", 1, "t.jsonl:1: \"text\" is missing"},
        {"a number", "t.jsonl", "{\"text\": 1}", "", 1, "t.jsonl:1: \"text\" is no string"},
        {"numpy without a file", "t.txt", "x", "--format npy", 2, "needs --out FILE"},
        {"too many dimensions", "t.txt", "x", "--dimensions 97", 2, "the model has 96"},
        {"no such prompt", "t.txt", "x", "--prompt sing", 2, "publishes no prompt 'sing'"},
        {"a folder that is not there", "t.txt", "x", "--out /nowhere/x", 1,
         "make '/nowhere/x.part'"},
        {"a full disk", "t.txt", "x", "--out /dev/full/x", 1, "make '/dev/full/x.part'"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        golden_empty(golden_work.path, false);
        golden_write(&golden_work, rows[i].file, rows[i].text, strlen(rows[i].text));
        tool_expect(tool_run("embed --model " MODEL " %s %s/%s", rows[i].words, golden_work.path,
                             rows[i].file),
                    rows[i].want, rows[i].has);
    }
    tool_expect(tool_run("embed --model " MODEL), 2, "takes --model DIR and one file");
    tool_expect(tool_run("embed --model " MODEL " /nowhere.txt"), 1, "/nowhere.txt");
    tool_expect(tool_run("embed --model " MODEL " %s", golden_work.path), 1, "is a directory");
    tool_expect(tool_run("embed --model " GOLDEN_DIR "/reranker/hf /dev/null"), 1, "has a head");
    tool_expect(tool_run("embed --help"), 0, "corpus.npy");
}

/* A file that was there stays as it is when a run fails in the middle. */
static void test_complete_or_not_at_all(void **state) {
    (void)state;
    char path[200];
    size_t bytes;
    golden_empty(golden_work.path, false);
    golden_write(&golden_work, "out.npy", "before", 6);
    golden_write(&golden_work, "texts", "one\n\xff\n", 6);
    snprintf(path, sizeof path, "%s/out.npy", golden_work.path);
    tool_expect(
        tool_run("embed --model " MODEL " --format npy --out %s %s/texts", path, golden_work.path),
        1, "texts:2: ");
    char *data = golden_read(path, &bytes);
    TEST_TRUE(bytes == 6 && memcmp(data, "before", 6) == 0);
    free(data);
    snprintf(path, sizeof path, "%s/out.npy.part", golden_work.path);
    TEST_TRUE(access(path, F_OK) != 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numpy),
        cmocka_unit_test(test_json_lines),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_complete_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
