/* golden_test.c - ember-model as a process: golden models pass with every matrix kernel, hostile
 * and unusual files are judged, wrong answers are found out, and made-up models are real ones.
 *
 * The tool is the judge of everything else, so half of this asks whether it says no when it
 * should. */
#include "base/view.h"
#include "model/gemm.h"
#include "support/golden.h"
#include "support/tool.h"
#include "text/tokenizer.h"

/* ---- models of the golden folder
 * --------------------------------------------------------------- */

/* All models with the best kernel of each precision, then some with every kernel that runs here. */
static void test_every_kernel(void **state) {
    (void)state;
    for (int p = 0; p < GEMM_PRECISIONS; p++) {
        const enum gemm_precision precision = (enum gemm_precision)p;
        const char *name = gemm_precision_name(precision);
        TEST_ROW(name);
        tool_expect(tool_run("check --golden " GOLDEN_DIR " --precision %s", name), 0,
                    "27 checked, all passed");
        for (const struct gemm_kernel *const *k = gemm_list(precision); *k; k++) {
            TEST_ROW((*k)->name);
            if (!(*k)->usable())
                continue;
            tool_expect(tool_run("check --golden " GOLDEN_DIR
                                 " --only bert-mean/f32 --only bert-cls-zh/hf --only nomic/ntk"
                                 " --only nli-zh/two-way --only cls-head --only distilbert/hf"
                                 " --precision %s --kernel %s",
                                 name, (*k)->name),
                        0, "10 checked, all passed");
        }
    }
    tool_expect(tool_run("check --golden " GOLDEN_DIR " --only bert-mean/f32 --kernel abacus"), 1,
                "no matrix kernel 'abacus'");
    tool_expect(tool_run("check --golden " GOLDEN_DIR " --precision f64"), 2, "not 'f64'");
}

static void test_hostile_files(void **state) {
    (void)state;
    tool_expect(tool_run("check --corrupt " GOLDEN_DIR "/corrupt"), 0, "110 checked, all passed");
    tool_expect(tool_run("check --formats " GOLDEN_DIR "/formats"), 0, "27 checked, all passed");
}

/* ---- the judge says no
 * --------------------------------------------------------------------------- */

/* Sixteen numbers; formats/f32 gives other ones for any text. */
#define ZEROS   "[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]"
#define CASE    "{\"id\": \"x\", \"model\": \"formats/f32\", \"kind\": \"embed\", "
#define HELLO   "\"texts\": [\"hello world\"], \"normalize\": true, "
#define INDEX   "{\"models\": [{\"id\": \"formats/f32\", \"layers\": [\"base\"]}]}"
#define GOOD_ID "\"ids\": [[2, 57, 58, 3]], "

static void test_wrong_vectors_are_found(void **state) {
    (void)state;
    static const struct {
        const char *name, *line, *has;
    } rows[] = {
        {"zeros", CASE HELLO "\"out\": [" ZEROS "]}", "differs by"},
        {"a number missing", CASE HELLO "\"out\": [[0,0,0]]}", "16 numbers, want 3"},
        {"no vectors", CASE HELLO "\"out\": []}", "makes no sense"},
        {"no number", CASE HELLO "\"out\": [[null,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]]}",
         "differs by nan"},
        {"another id", CASE HELLO "\"ids\": [[2, 57, 59, 3]], \"out\": [" ZEROS "]}",
         "id 58, want 59"},
        {"another length", CASE HELLO GOOD_ID "\"n_full\": [5], \"out\": [" ZEROS "]}",
         "uncut, want 5"},
        {"a kind of the future",
         "{\"id\": \"x\", \"model\": [\"y\", \"formats/f32\"], \"kind\": \"sing\"}",
         "kind 'sing' is not one"},
        {"for another model", "{\"id\": \"x\", \"model\": [\"formats/f16\"]}",
         "has no case for it"},
        {"not JSON", "{\"id\": ", "cases.jsonl:1: not JSON"},
    };
    char base[256];
    snprintf(base, sizeof base, "%s/base", golden_work.path);
    golden_empty(golden_work.path, false);
    TEST_TRUE(symlink(GOLDEN_DIR "/formats/base", base) == 0);
    golden_write(&golden_work, "index.json", INDEX, strlen(INDEX));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        golden_write(&golden_work, "formats/cases.jsonl", rows[i].line, strlen(rows[i].line));
        tool_expect(tool_run("check --golden %s", golden_work.path), 1, rows[i].has);
        tool_expect(1, 1, "1 of 1 failed");
    }
}

static void test_wrong_verdicts_are_found(void **state) {
    (void)state;
    static const struct {
        const char *name, *flag, *line, *has;
    } rows[] = {
        {"a good model among the corrupt", "corrupt", "{\"id\": \"x\"}", "it was loaded"},
        {"a broken one among the formats", "formats",
         "{\"id\": \"x\", \"level\": \"must\", \"remove\": [\"config.json\"]}", "refused: "},
        {"clear refusal where that may be", "formats",
         "{\"id\": \"x\", \"level\": \"may\", \"text\": {\"config.json\": \"{}\"}}",
         "1 checked, all"},
        {"loads with other vectors", "formats",
         "{\"id\": \"x\", \"level\": \"may\", \"expect\": \"formats/f16\"}", "wrong vectors"},
        {"loads where it may", "corrupt", "{\"id\": \"x\", \"also\": [\"ok\"]}", "1 checked, all"},
        {"out of the folder", "corrupt", "{\"id\": \"x\", \"text\": {\"../y\": \"\"}}",
         "leads out of"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        char path[256];
        golden_empty(golden_work.path, false);
        if (strcmp(rows[i].flag, "corrupt") == 0) { /* beside it lies formats/ */
            snprintf(path, sizeof path, "%s/formats", golden_work.path);
            TEST_TRUE(symlink(GOLDEN_DIR "/formats", path) == 0);
            golden_write(&golden_work, "set/index.jsonl", rows[i].line, strlen(rows[i].line));
        } else {
            golden_write(&golden_work, "set/index.jsonl", rows[i].line, strlen(rows[i].line));
            snprintf(path, sizeof path, "%s/set/base", golden_work.path);
            TEST_TRUE(symlink(GOLDEN_DIR "/formats/base", path) == 0);
            golden_copy(&golden_work, GOLDEN_DIR "/formats/cases.jsonl", "set/cases.jsonl");
        }
        bool good = strstr(rows[i].has, "all") != NULL;
        tool_expect(tool_run("check --%s %s/set", rows[i].flag, golden_work.path), !good,
                    rows[i].has);
    }
}

static void test_tokenizer(void **state) {
    (void)state;
    static const struct {
        const char *name, *line;
        int want;
        const char *has;
    } rows[] = {
        {"right", "{\"text\": \"hello world\", \"ids\": [2, 57, 58, 3], \"n_full\": 4}", 0,
         "all passed"},
        {"a pair",
         "{\"text\": \"hello\", \"text_b\": \"world\", \"ids\": [2, 57, 3, 58, 3], "
         "\"type_ids\": [0, 0, 0, 1, 1]}",
         0, "all passed"},
        {"a NUL is dropped and nothing ends there",
         "{\"text\": \"hel\\u0000lo world\", \"ids\": [2, 57, 58, 3]}", 0, "all passed"},
        {"cut", "{\"text\": \"hello world\", \"max_length\": 3, \"ids\": [2, 57, 3]}", 0,
         "all passed"},
        {"wrong id", "{\"text\": \"hello world\", \"ids\": [2, 57, 57, 3]}", 1,
         "ids differ from token 2"},
        {"one more", "{\"text\": \"hello\", \"ids\": [2, 57, 3, 3]}", 1, "ids differ from token 3"},
        {"one less", "{\"text\": \"hello\", \"ids\": [2, 57]}", 1, "ids differ from token 2"},
        {"wrong type", "{\"text\": \"hello\", \"ids\": [2, 57, 3], \"type_ids\": [0, 0, 1]}", 1,
         "type_ids differ"},
        {"wrong length", "{\"text\": \"hello\", \"ids\": [2, 57, 3], \"n_full\": 4}", 1,
         "uncut, want 4"},
        {"no text", "{\"ids\": []}", 1, "it needs"},
    };
    golden_empty(golden_work.path, false);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        golden_write(&golden_work, "lines.jsonl", rows[i].line, strlen(rows[i].line));
        tool_expect(tool_run("check --tokenizer " GOLDEN_DIR "/formats/base --cases %s/lines.jsonl",
                             golden_work.path),
                    rows[i].want, rows[i].has);
    }
}

static void test_usage(void **state) {
    (void)state;
    static const struct {
        const char *words;
        int want;
        const char *has;
    } rows[] = {
        {"", 2, "Usage:"},
        {"--help", 0, "inspect"},
        {"--version", 0, "ember-model "},
        {"inspekt", 2, "no command is called 'inspekt'"},
        {"check", 2, "check what?"},
        {"check --help", 0, "--corrupt"},
        {"check --tokenizer x", 2, "needs --cases"},
        {"check --bogus", 2, "bogus"},
        {"check --golden " GOLDEN_DIR " --only nobody", 1, "nothing ran"},
        {"check --golden /nowhere", 1, "/nowhere/index.json"},
        {"inspect", 2, "one model directory"},
        {"inspect /nowhere", 1, "/nowhere"},
        {"inspect --help", 0, "--json"},
        {"synth --shape minilm-l6", 2, "--out is missing"},
        {"synth --shape elephant --out /tmp/x", 2, "'elephant' is neither"},
        {"synth --help", 0, "bge-small-zh"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].words);
        tool_expect(tool_run("%s", rows[i].words), rows[i].want, rows[i].has);
    }
}

/* ---- inspect and synth
 * --------------------------------------------------------------------------- */

/* The text of a member of the JSON object that `inspect --json` printed. */
static void inspected(const char *dir, const char *key, char *out, size_t out_bytes) {
    tool_expect(tool_run("inspect --json %s", dir), 0, "\"self_check\": \"ok\"");
    json_t *root = NULL;
    struct err err;
    if (json_parse(view_of(tool_output), TOOL_OUTPUT_MAX, "inspect", &root, &err) != STATUS_OK)
        TEST_FAIL("%s: %s", err.text, tool_output);
    const char *text = json_text(json_get(root, key));
    uint64_t number = 0;
    json_u64(json_get(root, key), &number);
    if (text)
        snprintf(out, out_bytes, "%s", text);
    else
        snprintf(out, out_bytes, "%llu", (unsigned long long)number);
    json_destroy(&root);
}

static void test_inspect(void **state) {
    (void)state;
    static const struct {
        const char *key, *want;
    } rows[] = {{"family", "bert"},
                {"layers", "3"},
                {"hidden", "96"},
                {"heads", "12"},
                {"inner", "384"},
                {"pooling", "mean"},
                {"dimensions", "96"},
                {"max_tokens", "256"},
                {"max_positions", "512"},
                {"vocabulary", "1600"},
                {"activation", "gelu (erf)"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].key);
        char got[100];
        inspected(GOLDEN_DIR "/bert-mean/f32", rows[i].key, got, sizeof got);
        TEST_STR_EQ(got, rows[i].want);
    }
    static const struct {
        const char *folder, *has;
    } lines[] = {
        {"bert-mean/bf16", "BF16: "},
        {"bert-mean/f32", "\ntasks          embed classify tokenize\nhead           none\n"},
        {"nomic/hf", "\ngated          yes\nrotary_base    1000\n"},
        {"nomic/hf --precision i8", "-i8\n"},
        {"cls-head/softmax", "\nlabels         \"投诉\", \"咨询\", \"建议\", \"表扬\"\n"},
        {"cls-head/softmax", "\nscores         softmax\n"},
        {"cls-head/softmax --json", "\"labels\": [\"投诉\", \"咨询\", "},
        {"nli-zh/hf", "\nentailment     2 is its logit\ncontradiction  0 is its logit\n"},
        {"reranker/hf", "\ntasks          rerank tokenize\nhead           score\n"},
        {"distilbert/hf", "\nfamily         distilbert\n"},
        {"distilbert/hf --precision bf16", "\nprecision      bf16\n"},
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        TEST_ROW(lines[i].folder);
        tool_expect(tool_run("inspect " GOLDEN_DIR "/%s", lines[i].folder), 0, lines[i].has);
    }
    tool_expect(tool_run("inspect " GOLDEN_DIR "/bert-mean/f32 --precision f8"), 2, "not 'f8'");
    tool_expect(tool_run("inspect " GOLDEN_DIR "/bert-mean/f32 --kernel portable"), 0,
                "portable-f32");
}

/* No piece of these texts is unknown to the tokenizer of `dir`. */
static void covers(const char *dir) {
    static const char *const texts[] = {
        "Hello, world! My order #1234 (of 5/6/2024) hasn't arrived; where is it?",
        "abcdefghijklmnopqrstuvwxyz0123456789 !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
        "ZYXWVUTSRQPONMLKJIHGFEDCBA q1w2e3 Caf\xc3\xa9 na\xc3\xafve",
        "我的订单还没有到，请问什么时候发货？谢谢！",
        "《退款》：“已申请”——共3件、￥19.90；投诉／咨询／建议（急）…",
        "龙年大吉 鬱龘靐齉 丂丄丅 龟龢",
    };
    tokenizer_t *tokenizer = NULL;
    struct err err;
    if (tokenizer_load(dir, &tokenizer, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        int32_t ids[512];
        uint32_t n =
            tokenizer_encode(tokenizer, view_of(texts[i]), 512, TOKENIZER_CUT_RIGHT, ids, NULL);
        for (uint32_t k = 0; k < n; k++)
            if (view_equal(tokenizer_piece(tokenizer, ids[k]), view_of("[UNK]")))
                TEST_FAIL("%s: token %u of \"%s\" is unknown", dir, k, texts[i]);
    }
    int32_t ids[64]; /* common words are whole */
    TEST_TRUE(tokenizer_vocab_size(tokenizer) < 25000 ||
              tokenizer_encode(tokenizer, view_of("please cancel my order and refund the money"),
                               64, TOKENIZER_CUT_RIGHT, ids, NULL) == 10);
    tokenizer_destroy(&tokenizer);
}

static void test_synth(void **state) {
    (void)state;
    char a[200], b[200], first[100], second[100];
    golden_empty(golden_work.path, false);
    snprintf(a, sizeof a, "%s/a", golden_work.path);
    snprintf(b, sizeof b, "%s/b/c", golden_work.path); /* folders are made */
    tool_expect(tool_run("synth --shape bert-tiny --out %s", a), 0,
                "2 layers, 128 wide, 30522 pieces, mean");
    tool_expect(tool_run("synth --shape bert-tiny --out %s", a), 1, "is there already");
    covers(a);
    inspected(a, "fingerprint", first, sizeof first);
    inspected(a, "dimensions", second, sizeof second);
    TEST_STR_EQ(second, "128");
    tool_expect(tool_run("synth --shape bert-tiny --out %s --seed 1", b), 0, "");
    inspected(b, "fingerprint", second, sizeof second);
    TEST_STR_EQ(first, second); /* the same seed, the same bytes */
    tool_expect(tool_run("synth --shape bert-tiny --out %s --seed 2 --force --pooling cls", b), 0,
                "cls");
    inspected(b, "fingerprint", second, sizeof second);
    TEST_TRUE(strcmp(first, second) != 0);
    inspected(b, "pooling", second, sizeof second);
    TEST_STR_EQ(second, "cls");
}

/* The published configurations of other families, smaller: written, and read as what they are. */
static void test_synth_families(void **state) {
    (void)state;
    static const struct {
        const char *from, *family;
        const char *hidden, *inner, *heads;
    } rows[] = {{"nomic/hf", "nomic", "128", "256", "2"},
                {"distilbert/hf", "distilbert", "64", "256", "4"},
                {"nli-zh/hf", "bert", "72", "288", "6"}};
    char dir[200], got[100];
    golden_empty(golden_work.path, false);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].family);
        snprintf(dir, sizeof dir, "%s/%zu", golden_work.path, i);
        tool_expect(tool_run("synth --shape " GOLDEN_DIR
                             "/%s/config.json --out %s --vocab " GOLDEN_DIR "/%s",
                             rows[i].from, dir, rows[i].from),
                    0, "random weights");
        inspected(dir, "family", got, sizeof got);
        TEST_STR_EQ(got, rows[i].family);
        inspected(dir, "hidden", got, sizeof got);
        TEST_STR_EQ(got, rows[i].hidden);
        inspected(dir, "inner", got, sizeof got);
        TEST_STR_EQ(got, rows[i].inner);
        inspected(dir, "heads", got, sizeof got);
        TEST_STR_EQ(got, rows[i].heads);
        inspected(dir, "head", got, sizeof got);
        TEST_STR_EQ(got, "none"); /* a vector, whatever the configuration was of */
    }
}

static void test_synth_from_files(void **state) {
    (void)state;
    static const char zh[] =
        "{\"model_type\": \"bert\", \"hidden_size\": 16, \"vocab_size\": 21128, "
        "\"num_hidden_layers\": 1, \"num_attention_heads\": 2, "
        "\"intermediate_size\": 32, \"max_position_embeddings\": 40}";
    char got[100];
    golden_empty(golden_work.path, false);
    golden_write(&golden_work, "zh.json", zh, strlen(zh));
    tool_expect(
        tool_run("synth --shape %s/zh.json --out %s/zh", golden_work.path, golden_work.path), 0,
        "21128 pieces");
    char dir[200];
    snprintf(dir, sizeof dir, "%s/zh", golden_work.path);
    covers(dir);
    inspected(dir, "max_positions", got, sizeof got);
    TEST_STR_EQ(got, "40");
    tool_expect(tool_run("synth --shape " GOLDEN_DIR
                         "/formats/base/config.json --out %s/m --vocab " GOLDEN_DIR "/formats/base",
                         golden_work.path),
                0, "64 pieces");
    tool_expect(tool_run("check --tokenizer %s/m --cases %s/none.jsonl", golden_work.path,
                         golden_work.path),
                1, "none.jsonl");
    tool_expect(tool_run("inspect %s/m", golden_work.path), 0, "self_check     ok");
    tool_expect(tool_run("synth --shape " GOLDEN_DIR
                         "/formats/base/config.json --out %s/n --vocab " GOLDEN_DIR
                         "/bert-mean/f32/vocab.txt",
                         golden_work.path),
                2, "1600 pieces, but");
    tool_expect(tool_run("synth --shape " GOLDEN_DIR "/formats/base/config.json --out %s/o",
                         golden_work.path),
                2, "no room for letters");
    tool_expect(tool_run("synth --shape bert-tiny --out /proc/nothing"), 1, "/proc/nothing");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kernel),
        cmocka_unit_test(test_hostile_files),
        cmocka_unit_test(test_wrong_vectors_are_found),
        cmocka_unit_test(test_wrong_verdicts_are_found),
        cmocka_unit_test(test_tokenizer),
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_inspect),
        cmocka_unit_test(test_synth),
        cmocka_unit_test(test_synth_from_files),
        cmocka_unit_test(test_synth_families),
    };
    return cmocka_run_group_tests(tests, golden_set_up, golden_tear_down);
}
