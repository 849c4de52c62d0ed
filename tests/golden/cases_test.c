/* cases_test.c - `ember-model check --golden` as a judge of heads and precisions: right answers
 * pass, and each kind of wrong one is found out, by what it says. */
#include "support/golden.h"
#include "support/tool.h"

static struct golden_dir work;

/* One case for one model: the id is "m", the folder is golden's. */
static void lay_out(const char *folder, const char *line) {
    static const char index[] = "{\"models\": [{\"id\": \"m\", \"layers\": [\"model\"]}]}";
    char link[256], target[256];
    golden_empty(work.path, false);
    snprintf(link, sizeof link, "%s/model", work.path);
    snprintf(target, sizeof target, GOLDEN_DIR "/%s", folder);
    TEST_TRUE(symlink(target, link) == 0);
    golden_write(&work, "index.json", index, strlen(index));
    golden_write(&work, "m/cases.jsonl", line, strlen(line));
}

#define LINE(kind, rest) "{\"id\": \"x\", \"model\": \"m\", \"kind\": \"" kind "\", " rest "}"

#define NAMES(a)  "\"names\": [\"" a "\", \"咨询\", \"建议\", \"表扬\"], "
#define SOFTMAX   "\"activation\": \"softmax\", "
#define EMPTY     "\"texts\": [\"\"], "
#define LOGITS(x) "\"logits\": [[" x ", 0.0624349564, 2.76347423, -3.2013979]], "
#define SCORES(x) "\"scores\": [[" x ", 0.0556316376, 0.828644574, 0.00212743971]]"
#define RIGHT     "0.776334524"
#define SCORE     "0.11359638"

#define RERANK "\"query\": \"a\", \"docs\": [\"b\", \"a\", \"ab\"], "
#define RANKED "\"logits\": [-2.00905824, -1.16908205, -3.57702422], "
#define RANKS  "\"scores\": [0.118255131, 0.237020954, 0.0271983407]"

#define PAIRS    "\"pairs\": [[\"a\", \"b\"], [\"b\", \"a\"]], \"truncation\": \"only_first\", "
#define TYPES(x) "\"type_ids\": [[0, 0, 0, 1, 1], [0, 0, 0, " x ", 1]], "
#define PAIR_IDS "\"ids\": [[101, 141, 102, 142, 102], [101, 142, 102, 141, 102]], "
#define ROWS(a)                                                                                    \
    "\"logits\": [[3.35513234, 4.39374304, -0.181403652], [" a ", 3.57972932, 0.0970229357]]"

#define ZERO_SHOT                                                                                  \
    "\"text\": \"孩子们在学校的操场上踢足球。\", \"template\": \"{}\", \"labels\": [\"投诉\"], "
#define ENTAILS "\"logits\": [[3.80827641, 7.30162573, 4.23527145]], "

static void test_heads(void **state) {
    (void)state;
    static const struct {
        const char *name, *folder, *line, *has; /* has NULL: it passes */
    } rows[] = {
        {"classify", "cls-head/softmax",
         LINE("classify", EMPTY NAMES("投诉") SOFTMAX LOGITS(RIGHT) SCORES(SCORE)), NULL},
        {"another name", "cls-head/softmax",
         LINE("classify", EMPTY NAMES("抱怨") SOFTMAX LOGITS(RIGHT) SCORES(SCORE)),
         "label 0 has another name"},
        {"another activation", "cls-head/softmax",
         LINE("classify",
              EMPTY NAMES("投诉") "\"activation\": \"sigmoid\", " LOGITS(RIGHT) SCORES(SCORE)),
         "softmax, want sigmoid"},
        {"another logit", "cls-head/softmax",
         LINE("classify", EMPTY NAMES("投诉") SOFTMAX LOGITS("0.7764") SCORES(SCORE)),
         "logits of text 0 with the others: differs by "},
        {"no logit", "cls-head/softmax",
         LINE("classify", EMPTY NAMES("投诉") SOFTMAX LOGITS("null") SCORES(SCORE)),
         "differs by nan"},
        {"another score", "cls-head/softmax",
         LINE("classify", EMPTY NAMES("投诉") SOFTMAX LOGITS(RIGHT) SCORES("0.1137")),
         "scores 0 with the others: differs by 0.0001"},
        {"a label too many", "cls-head/softmax",
         LINE("classify", EMPTY "\"names\": [\"投诉\"], " SOFTMAX LOGITS(RIGHT) SCORES(SCORE)),
         "4 labels, want 1"},
        {"no texts", "cls-head/softmax",
         LINE("classify", NAMES("投诉") SOFTMAX LOGITS(RIGHT) SCORES(SCORE)), "it has no texts"},
        {"another text", "cls-head/softmax",
         LINE("classify",
              "\"texts\": [\"好\"], " NAMES("投诉") SOFTMAX LOGITS(RIGHT) SCORES(SCORE)),
         "differs by"},
        {"labels of a reranker", "reranker/hf",
         LINE("classify", EMPTY NAMES("投诉") SOFTMAX SCORES(SCORE)), "without such a head"},
        {"a vector of a classifier", "cls-head/softmax",
         LINE("embed", EMPTY "\"out\": [[1, 2, 3, 4]]"), "makes no sense for a model of 4 logits"},
        {"rerank", "reranker/hf", LINE("rerank", RERANK RANKED RANKS ", \"order\": [1, 0, 2]"),
         NULL},
        {"another order", "reranker/hf",
         LINE("rerank", RERANK RANKED RANKS ", \"order\": [0, 1, 2]"),
         "1 stands at place 0, want 0"},
        {"a document too many", "reranker/hf", LINE("rerank", RERANK "\"logits\": [1, 2]"),
         "2 rows of logits, want 3"},
        {"a place too few", "reranker/hf",
         LINE("rerank", RERANK RANKED RANKS ", \"order\": [1, 0]"), "an order of 3, want 2"},
        {"no documents", "reranker/hf", LINE("rerank", "\"query\": \"a\", \"docs\": []"),
         "no documents"},
        {"pairs", "nli-zh/hf", LINE("pair", PAIRS PAIR_IDS TYPES("1") ROWS("0.514567316")), NULL},
        {"another segment", "nli-zh/hf",
         LINE("pair", PAIRS PAIR_IDS TYPES("0") ROWS("0.514567316")),
         "text 1, token 3: segment 1, want 0"},
        {"another row", "nli-zh/hf", LINE("pair", PAIRS PAIR_IDS TYPES("1") ROWS("0.5147")),
         "logits of text 1"},
        {"half a pair", "nli-zh/hf", LINE("pair", "\"pairs\": [[\"a\"]]"), "a second text is no"},
        {"zero-shot", "nli-zh/hf",
         LINE("zeroshot", ZERO_SHOT ENTAILS "\"scores\": [0.605155945], \"order\": [0]"), NULL},
        {"entailment and contradiction exchanged", "nli-zh/hf",
         LINE("zeroshot", ZERO_SHOT ENTAILS "\"scores\": [0.394844055], \"order\": [0]"),
         "scores 0 with the others: differs by 0.21"},
        {"no labels", "nli-zh/hf",
         LINE("zeroshot", "\"text\": \"\", \"template\": \"{}\", \"labels\": []"), "no labels"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        lay_out(rows[i].folder, rows[i].line);
        tool_expect(tool_run("check --golden %s", work.path), rows[i].has != NULL,
                    rows[i].has ? rows[i].has : "1 checked, all passed");
    }
}

/* The vector of "hello world"; with 0.23 as its first number the cosine is 0.998, with 0.32
 * 0.99. */
#define VECTOR(first)                                                                              \
    LINE("embed", "\"texts\": [\"hello world\"], \"normalize\": true, \"out\": [[" first           \
                  ", 0.007645421, -0.3334155, 0.04712605, 0.1391938, 0.2211009, -0.1098878, "      \
                  "-0.5501423, -0.06708696, -0.003629172, 0.2919943, -0.2542733, 0.4595132, "      \
                  "-0.2627372, -0.189261, 0.08138983]]")

/* Float32 is judged number by number, bf16 and int8 by cosine, and by who stays first. */
static void test_precisions(void **state) {
    (void)state;
    static const struct {
        const char *name, *precision, *folder, *line, *has;
    } rows[] = {
        {"right", "f32", "formats/base", VECTOR("0.1628057"), NULL},
        {"right", "bf16", "formats/base", VECTOR("0.1628057"), NULL},
        {"right", "i8", "formats/base", VECTOR("0.1628057"), NULL},
        {"a little beside", "f32", "formats/base", VECTOR("0.1629"), "number 0 differs by "},
        {"that is nothing for bf16", "bf16", "formats/base", VECTOR("0.1629"), NULL},
        {"more", "bf16", "formats/base", VECTOR("0.23"), "at least 0.9999"},
        {"int8 may do so once, but not as a rule", "i8", "formats/base", VECTOR("0.23"),
         "the median of cosines is 0.99"},
        {"too much", "i8", "formats/base", VECTOR("0.32"), "at least 0.995"},
        {"not a number", "i8", "formats/base", VECTOR("null"), "cosine nan"},
        {"a logit beside", "i8", "cls-head/softmax",
         LINE("classify", EMPTY NAMES("投诉") SOFTMAX LOGITS("0.9") SCORES(SCORE)), NULL},
        {"another first", "i8", "cls-head/softmax",
         LINE("classify", EMPTY NAMES("投诉") SOFTMAX LOGITS(RIGHT) SCORES("1.05")),
         "2 is the first, want 0, which leads by 0.22"},
        {"another first, but not by much", "bf16", "cls-head/softmax",
         LINE("classify", EMPTY NAMES("投诉") SOFTMAX LOGITS(RIGHT) SCORES("1.02")), NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        lay_out(rows[i].folder, rows[i].line);
        tool_expect(tool_run("check --golden %s --precision %s", work.path, rows[i].precision),
                    rows[i].has != NULL, rows[i].has ? rows[i].has : "1 checked, all passed");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_precisions),
    };
    golden_make(&work);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    golden_remove(&work);
    return failed;
}
