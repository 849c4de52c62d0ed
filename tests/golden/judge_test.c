/* judge_test.c - `ember-model eval` as a process, on rows whose figures are known beforehand: equal
 * texts have cosine 1 whatever the weights are. */
#include "support/golden.h"
#include "support/tool.h"

#define MODEL GOLDEN_DIR "/bert-mean/f32"

/* Runs eval over these lines; the rest are its words. */
static int judge(const char *lines, const char *words) {
    golden_empty(golden_work.path, false);
    golden_write(&golden_work, "rows.jsonl", lines, strlen(lines));
    return tool_run("eval --model " MODEL " %s %s/rows.jsonl", words, golden_work.path);
}

static void test_similarity(void **state) {
    (void)state;
    static const char rising[] =
        "{\"a\": \"the cat\", \"b\": \"the cat\", \"score\": 5}\n"
        "{\"a\": \"the cat\", \"b\": \"of a new house\", \"score\": 1.5}\n";
    TEST_EQ(judge(rising, "--task sts"), 0);
    TEST_NEAR(tool_figure("spearman"), 1, 0);
    TEST_NEAR(tool_figure("pearson"), 1, 0);
    TEST_NEAR(tool_figure("pairs"), 2, 0);
    static const char falling[] = "\n{\"a\": \"the cat\", \"b\": \"the cat\", \"score\": 0}\n\n"
                                  "{\"text1\": \"cat\", \"text2\": \"new house\", \"score\": 3}";
    TEST_EQ(judge(falling, "--task sts --threads 2"), 0);
    TEST_NEAR(tool_figure("spearman"), -1, 0);
    TEST_NEAR(tool_figure("threads"), 2, 0);
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
    TEST_NEAR(tool_figure("queries"), 4, 0);
    TEST_NEAR(tool_figure("documents"), 3, 0); /* equal documents are one */
    TEST_NEAR(tool_figure("mrr@10"), 1, 0);
    TEST_NEAR(tool_figure("recall@1"), 1, 0);
    static const char half[] = "{\"query\": \"the cat\", \"document\": \"the cat\"}\n"
                               "{\"query\": \"the cat\", \"document\": \"of water\"}\n";
    TEST_EQ(judge(half, "--task retrieval"), 0);
    TEST_NEAR(tool_figure("mrr@10"), 0.75, 0);
    TEST_NEAR(tool_figure("recall@1"), 0.5, 0);
    TEST_NEAR(tool_figure("recall@10"), 1, 0);
    TEST_NEAR(tool_figure("mean_rank"), 1.5, 0);
    TEST_EQ(judge(found, "--task retrieval --query-prompt query --dimensions 32"), 0);
    TEST_NEAR(tool_figure("recall@1"), 1, 0);
    static const char twice[] = "{\"query\": \"a\", \"document\": \"the cat\", \"pid\": 7}\n"
                                "{\"query\": \"a\", \"document\": \"new house\", \"pid\": 7}\n";
    tool_expect(judge(twice, "--task retrieval"), 1,
                "rows.jsonl:2: pid \"7\" has named another text before");
    tool_expect(judge(found, "--task retrieval --query-prompt sing"), 2, "no prompt 'sing'");
    tool_expect(judge(found, "--task retrieval --dimensions 97"), 2, "the model has 96");
}

/* The model in a folder m of our own, for one more file. */
static void copy_model(void) {
    static const char *const files[] = {"config.json", "model.safetensors", "tokenizer.json",
                                        "tokenizer_config.json", "vocab.txt"};
    golden_empty(golden_work.path, false);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char from[300], to[100];
        snprintf(from, sizeof from, MODEL "/%s", files[i]);
        snprintf(to, sizeof to, "m/%s", files[i]);
        golden_copy(&golden_work, from, to);
    }
}

/* A model that publishes a prompt for queries alone: "cat" is looked for as "the cat". */
static void test_prompts(void **state) {
    (void)state;
    static const char prompts[] = "{\"prompts\": {\"query\": \"the \", \"plain\": \"\"}}";
    static const char rows[] = "{\"query\": \"cat\", \"document\": \"the cat\"}\n"
                               "{\"query\": \"cat\", \"document\": \"cat\"}\n"
                               "{\"query\": \"cat\", \"document\": \"the cat\"}\n";
    copy_model();
    golden_write(&golden_work, "m/config_sentence_transformers.json", prompts, strlen(prompts));
    golden_write(&golden_work, "rows.jsonl", rows, strlen(rows));
    TEST_EQ(tool_run("eval --model %s/m --task retrieval %s/rows.jsonl", golden_work.path,
                     golden_work.path),
            0);
    TEST_NEAR(tool_figure("mrr@10"), (1 + 0.5 + 1) / 3, 1e-4);
    TEST_EQ(tool_run("eval --model %s/m --task retrieval --query-prompt plain %s/rows.jsonl",
                     golden_work.path, golden_work.path),
            0);
    TEST_NEAR(tool_figure("mrr@10"), (0.5 + 1 + 0.5) / 3, 1e-4);
}

static void test_zeroshot(void **state) {
    (void)state;
    static const char rows[] = "{\"text\": \"cat\", \"label\": \"cat\"}\n"
                               "{\"text\": \"house\", \"label\": \"house\"}\n"
                               "{\"text\": \"water\", \"label\": \"water\"}\n"
                               "{\"text\": \"water\", \"label\": \"cat\"}\n";
    TEST_EQ(judge(rows, "--task zeroshot"), 0);
    TEST_NEAR(tool_figure("labels"), 3, 0);
    TEST_NEAR(tool_figure("accuracy"), 0.75, 0);
    /* cat: tp 1, fn 1: 2/3; house: 1; water: tp 1, fp 1: 2/3 */
    TEST_NEAR(tool_figure("macro_f1"), 0.7778, 0);
    tool_expect(judge(rows, "--task zeroshot --labels cat,house"), 1,
                "rows.jsonl:3: label \"water\" is not one of the 2 labels");
    tool_expect(judge(rows, "--task zeroshot --labels cat,cat"), 2, "'cat' stands there twice");
    tool_expect(judge(rows, "--task zeroshot --labels cat,,house"), 2, "an empty label");
    tool_expect(judge(rows, "--task zeroshot --template it"), 2, "has no {} for the label");
    tool_expect(judge(rows, "--task zeroshot --limit 1"), 1, "a single label");
    TEST_EQ(judge(rows, "--task zeroshot --labels cat,house,water,dog --json"), 0);
    TEST_HAS(tool_output, "\"labels\": 4,");
}

/* Settings beside a model: its template finds "the cat", its temperature is in use; a template of
 * the command line goes first, and what is better is told in the form of the file. */
static void test_settings(void **state) {
    (void)state;
    static const char rows[] = "{\"text\": \"the cat\", \"label\": \"cat\"}\n"
                               "{\"text\": \"the house\", \"label\": \"house\"}\n"
                               "{\"text\": \"一 只\", \"label\": \"只\"}\n";
    static const char settings[] =
        "{\"template\": \"the {}\", \"template_han\": \"一 {}\", \"temperature\": 2, "
        "\"multi_label\": {\"midpoint\": 0.25, \"temperature\": 0.5}}";
    copy_model();
    golden_write(&golden_work, "rows.jsonl", rows, strlen(rows));
    const char *dir = golden_work.path;
    TEST_EQ(tool_run("eval --model %s/m --task zeroshot %s/rows.jsonl", dir, dir), 0);
    TEST_NEAR(tool_figure("temperature"), 0.05, 0);
    golden_write(&golden_work, "m/ember_zero_shot.json", settings, strlen(settings));
    TEST_EQ(tool_run("eval --model %s/m --task zeroshot %s/rows.jsonl", dir, dir), 0);
    TEST_NEAR(tool_figure("accuracy"), 1, 0);
    TEST_NEAR(tool_figure("temperature"), 2, 0);
    const double loss = tool_figure("log_loss");
    TEST_TRUE(loss > 0.2 && loss < log(3)); /* so warm, little is said */
    TEST_NEAR(tool_figure("ece"), 1 - exp(-loss), 0.01);
    tool_expect(
        tool_run("eval --model %s/m --task zeroshot --calibrate --json %s/rows.jsonl", dir, dir), 0,
        "\"settings\": {\"template\": \"the {}\", \"template_han\": \"一 {}\", "
        "\"temperature\": 0.001, \"multi_label\": {\"midpoint\": 0.");
    tool_expect(tool_run("eval --model %s/m --task zeroshot --template it{} --calibrate "
                         "%s/rows.jsonl",
                         dir, dir),
                0, "\nsettings       {\"template\": \"it{}\", \"temperature\": ");
    tool_expect(tool_run("inspect %s/m", dir), 0,
                "\ntemplate       \"the {}\"\ntemplate_han   \"一 {}\"\ntemperature    2.0000");
    tool_expect(tool_run("inspect --json %s/m", dir), 0, "\"multi_midpoint\": 0.2500,");
    tool_expect(tool_run("eval --model %s/m --task sts --calibrate %s/rows.jsonl", dir, dir), 2,
                "--calibrate goes with --task zeroshot");
    tool_expect(tool_run("eval --model %s/m --task zeroshot --calibrate --dimensions 8 x", dir), 2,
                "without --dimensions");
    tool_expect(
        tool_run("eval --task zeroshot --calibrate --model " GOLDEN_DIR "/nli-zh/modelscope x"), 1,
        "--calibrate is for models of vectors");
    golden_write(&golden_work, "m/ember_zero_shot.json", "{\"temp\": 1}", 11);
    tool_expect(tool_run("inspect %s/m", dir), 1,
                "/m/ember_zero_shot.json: there is no 'temp'; there are template, template_han, "
                "temperature, multi_label\n");
}

/* ---- models with heads: the golden answers say which label is first */

static const json_t *element(const json_t *array, uint32_t i) {
    const json_t *e = array ? json_first(array) : NULL;
    while (e && i--)
        e = json_next(e);
    return e;
}

/* The index of the largest, or of the smallest, number. */
static uint32_t extreme(const json_t *numbers, bool largest) {
    uint32_t best = 0, i = 0;
    double most = -INFINITY, x = 0;
    for (const json_t *e = json_first(numbers); e; e = json_next(e), i++)
        if (json_f64(e, &x) && (largest ? x : -x) > most) {
            most = largest ? x : -x;
            best = i;
        }
    return best;
}

static bool has_id(const json_t *row, const char *id) {
    for (const json_t *e = json_first(json_get(row, "model")); e; e = json_next(e))
        if (strcmp(json_text(e), id) == 0)
            return true;
    return false;
}

/* A row of a text of ours, then one of "text", both with this label, into rows.jsonl. */
static void write_rows(const json_t *text, const json_t *label) {
    char line[20000], *at = line, *end = line + sizeof line;
    at += snprintf(at, (size_t)(end - at), "{\"text\": \"a dog, 一只狗\", \"label\": ");
    at += json_quote(view_of(json_text(label)), at, (size_t)(end - at));
    at += snprintf(at, (size_t)(end - at), "}\n");
    at += snprintf(at, (size_t)(end - at), "{\"text\": ");
    at += json_quote(view_of(json_text(text)), at, (size_t)(end - at));
    at += snprintf(at, (size_t)(end - at), ", \"label\": ");
    at += json_quote(view_of(json_text(label)), at, (size_t)(end - at));
    at += snprintf(at, (size_t)(end - at), "}\n");
    TEST_TRUE(at < end);
    golden_write(&golden_work, "rows.jsonl", line, (size_t)(at - line));
}

struct asked {
    const char *id, *task;
    const json_t *text, *labels, *scores;
    const char *words;
};

/* Whatever the model says of our text; of the golden one it is known. */
static void judge_both_ways(const struct asked *a) {
    for (int right = 0; right < 2; right++) {
        double accuracy[2];
        write_rows(a->text, element(a->labels, extreme(a->scores, right)));
        for (int i = 0; i < 2; i++) {
            TEST_EQ(tool_run("eval --model " GOLDEN_DIR "/%s --task %s %s --limit %d %s/rows.jsonl",
                             a->id, a->task, a->words, i + 1, golden_work.path),
                    0);
            accuracy[i] = tool_figure("accuracy");
        }
        TEST_NEAR(accuracy[1], (accuracy[0] + right) / 2, 1e-4);
    }
}

static bool plain_word(const char *text) {
    return text && *text && !strpbrk(text, " ,");
}

/* A case of zero-shot whose words can stand on the command line, as its labels. */
static bool zeroshot_words(const json_t *row, char *out, size_t bytes) {
    bool multi = true;
    json_bool(json_get(row, "multi_label"), &multi);
    const char *template_text = json_text(json_get(row, "template"));
    if (multi || !plain_word(template_text) || !json_is_null(json_get(row, "max_length")) ||
        json_size(json_get(row, "labels")) < 2)
        return false;
    size_t n = (size_t)snprintf(out, bytes, "--template %s --labels ", template_text);
    for (const json_t *e = json_first(json_get(row, "labels")); e; e = json_next(e)) {
        if (!plain_word(json_text(e)))
            return false;
        n += (size_t)snprintf(out + n, bytes - n, "%s%s", json_text(e), json_next(e) ? "," : "");
        TEST_TRUE(n < bytes);
    }
    return true;
}

static uint32_t judge_cases(const char *path, const char *id, bool zeroshot, uint32_t most) {
    size_t bytes;
    uint32_t n = 0;
    char words[2000] = "", *text = golden_read(path, &bytes);
    golden_empty(golden_work.path, false);
    for (char *line, *rest = text; (line = strsep(&rest, "\n")) && n < most;) {
        json_t *row = NULL;
        if (!*line)
            continue;
        TEST_EQ(json_parse(view_of(line), strlen(line), path, &row, NULL), STATUS_OK);
        const json_t *texts = json_get(row, "texts");
        struct asked a = {.id = id, .task = zeroshot ? "zeroshot" : "classify", .words = words};
        a.text = zeroshot ? json_get(row, "text") : element(texts, 0);
        a.labels = json_get(row, zeroshot ? "labels" : "names");
        a.scores = zeroshot ? json_get(row, "scores") : element(json_get(row, "logits"), 0);
        const bool wanted =
            zeroshot ? zeroshot_words(row, words, sizeof words)
                     : json_is_null(json_get(row, "max_length")) && json_size(texts) == 1;
        if (wanted && has_id(row, id) && a.text && a.scores && *json_text(a.text)) {
            TEST_ROW(json_text(json_get(row, "id")));
            judge_both_ways(&a);
            n++;
        }
        json_destroy(&row);
    }
    free(text);
    return n;
}

/* A row for each document, the query the same: they have the ranks 1 to n. Ten more for the best
 * document, or the worst, show which one has rank 1, or n. */
static void judge_order(const char *query, const json_t *docs, const json_t *scores) {
    enum { MORE = 10 };
    static char rows[200000], quoted[20000];
    const uint32_t n = json_size(docs);
    double all = 0;
    for (uint32_t i = 1; i <= n && i <= 10; i++)
        all += 1.0 / i;
    json_quote(view_of(query), quoted, sizeof quoted);
    for (int best = 0; best < 2; best++) {
        const json_t *wanted = element(docs, extreme(scores, best));
        char *at = rows, *end = rows + sizeof rows;
        for (uint32_t i = 0; i < n + MORE; i++) {
            const json_t *doc = i < n ? element(docs, i) : wanted;
            at += snprintf(at, (size_t)(end - at), "{\"query\": %s, \"document\": ", quoted);
            at += json_quote(view_of(json_text(doc)), at, (size_t)(end - at));
            at += snprintf(at, (size_t)(end - at), "}\n");
            TEST_TRUE(at < end);
        }
        golden_empty(golden_work.path, false);
        golden_write(&golden_work, "rows.jsonl", rows, (size_t)(at - rows));
        TEST_EQ(tool_run("eval --task retrieval --model " GOLDEN_DIR "/reranker/hf %s/rows.jsonl",
                         golden_work.path),
                0);
        TEST_NEAR(tool_figure("documents"), n, 0);
        TEST_NEAR(tool_figure("mrr@10"), (all + MORE * (best ? 1 : 1.0 / n)) / (n + MORE), 1e-4);
    }
}

/* A golden order of documents: the first has rank 1, the last of n rank n. */
static uint32_t judge_reranker(uint32_t most) {
    size_t bytes;
    uint32_t n = 0;
    char *text = golden_read(GOLDEN_DIR "/reranker/cases.jsonl", &bytes);
    for (char *line, *rest = text; (line = strsep(&rest, "\n")) && n < most;) {
        json_t *row = NULL;
        if (!*line)
            continue;
        TEST_EQ(json_parse(view_of(line), strlen(line), "case", &row, NULL), STATUS_OK);
        const json_t *docs = json_get(row, "docs");
        const char *query = json_text(json_get(row, "query"));
        if (json_is_null(json_get(row, "max_length")) && query && *query && json_size(docs) > 1 &&
            strcmp(json_text(json_first(docs)), json_text(element(docs, 1))) != 0) {
            TEST_ROW(json_text(json_get(row, "id")));
            judge_order(query, docs, json_get(row, "scores"));
            n++;
        }
        json_destroy(&row);
    }
    free(text);
    return n;
}

static void test_heads(void **state) {
    (void)state;
    TEST_TRUE(judge_reranker(8) == 8);
    TEST_TRUE(judge_cases(GOLDEN_DIR "/cls-head/cases.jsonl", "cls-head/softmax", false, 6) >= 3);
    TEST_TRUE(judge_cases(GOLDEN_DIR "/nli-zh/cases.jsonl", "nli-zh/modelscope", true, 6) >= 3);
    TEST_ROW("refusals");
    static const char row[] = "{\"text\": \"x\", \"label\": \"y\"}\n";
    golden_write(&golden_work, "rows.jsonl", row, strlen(row));
    tool_expect(tool_run("eval --task classify --model " GOLDEN_DIR "/cls-head/softmax "
                         "%s/rows.jsonl",
                         golden_work.path),
                1, "label \"y\" is not one of the 4 labels");
    tool_expect(tool_run("eval --task zeroshot --model " GOLDEN_DIR "/reranker/hf %s/rows.jsonl",
                         golden_work.path),
                1, "zero-shot needs");
    static const char pair[] = "{\"a\": \"x\", \"b\": \"y\", \"score\": 1}\n";
    golden_write(&golden_work, "rows.jsonl", pair, strlen(pair));
    tool_expect(tool_run("eval --task sts --model " GOLDEN_DIR "/reranker/hf %s/rows.jsonl",
                         golden_work.path),
                1, "the model gives 1 logits");
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
        {"an empty label", "zeroshot", "{\"text\": \"\", \"label\": \"\"}",
         "rows.jsonl:1: \"label\" is empty"},
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_similarity),
        cmocka_unit_test(test_retrieval),
        cmocka_unit_test(test_prompts),
        cmocka_unit_test(test_zeroshot),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_rows_that_make_no_sense),
        cmocka_unit_test(test_usage),
    };
    return cmocka_run_group_tests(tests, golden_set_up, golden_tear_down);
}
