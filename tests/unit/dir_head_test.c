/* dir_head_test.c - whether a directory has a head, which, and what its labels are called. The
 * weights are one tensor: classifier.weight. */
#include "model/dir.h"

#include "support/golden.h"

enum { HIDDEN = 16, DATA_MAX = (LIMIT_LABELS + 1) * HIDDEN * 4 };

static struct golden_dir work;

/* model.safetensors with classifier.weight [rows, cols], or with another tensor where rows is 0. */
static void write_weights(uint32_t rows, uint32_t cols) {
    static char file[256 + DATA_MAX];
    const size_t bytes = (rows ? (size_t)rows * cols : 1) * 4;
    const char *name = rows ? "classifier.weight" : "embeddings.other";
    uint64_t header = (uint64_t)snprintf(
        file + 8, 248, "{\"%s\":{\"dtype\":\"F32\",\"shape\":[%u,%u],\"data_offsets\":[0,%zu]}}",
        name, rows ? rows : 1, rows ? cols : 1, bytes);
    memcpy(file, &header, 8);
    memset(file + 8 + header, 0, bytes);
    golden_write(&work, "model.safetensors", file, 8 + header + bytes);
}

static void write_text(const char *name, const char *text) {
    if (text)
        golden_write(&work, name, text, strlen(text));
}

static void write_config(const char *type, const char *more) {
    char text[4096];
    snprintf(text, sizeof text,
             "{\"model_type\":\"%s\",\"hidden_size\":16,\"num_hidden_layers\":1,"
             "\"num_attention_heads\":2,\"intermediate_size\":32,\"vocab_size\":64,"
             "\"dim\":16,\"n_layers\":1,\"n_heads\":2,\"hidden_dim\":32,"
             "\"rope_parameters\":{\"rope_theta\":1000}%s%s}",
             type, *more ? "," : "", more);
    golden_write(&work, "config.json", text, strlen(text));
}

#define ARCH(name) "\"architectures\":[\"" name "\"]"
#define SEQ        ARCH("BertForSequenceClassification")
#define TASK(name) "{\"task\":\"" name "\"}"
#define NLI        "\"id2label\":{\"0\":\"contradiction\",\"1\":\"neutral\",\"2\":\"entailment\"}"

/* Which head there is. */
static void test_heads(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t rows;
        const char *config, *scope;
        enum model_head head;
        bool sigmoid;
    } rows[] = {
        {"nothing says anything", 3, "", NULL, MODEL_HEAD_LABELS, false},
        {"no classifier", 0, "", NULL, MODEL_HEAD_NONE, false},
        {"its class", 3, SEQ, NULL, MODEL_HEAD_LABELS, false},
        {"a plain model", 3, ARCH("BertModel"), NULL, MODEL_HEAD_NONE, false},
        {"for masked words", 0, ARCH("BertForMaskedLM"), NULL, MODEL_HEAD_NONE, false},
        {"for token labels, without them", 0, ARCH("BertForTokenClassification"), NULL,
         MODEL_HEAD_NONE, false},
        {"one class", 1, SEQ, NULL, MODEL_HEAD_SCORE, true},
        {"one class, by regression", 1, SEQ ",\"problem_type\":\"regression\"", NULL,
         MODEL_HEAD_SCORE, true},
        {"several at once", 3, SEQ ",\"problem_type\":\"multi_label_classification\"", NULL,
         MODEL_HEAD_LABELS, true},
        {"one of several", 3, SEQ ",\"problem_type\":\"single_label_classification\"", NULL,
         MODEL_HEAD_LABELS, false},
        {"null", 3, SEQ ",\"problem_type\":null,\"id2label\":null", NULL, MODEL_HEAD_LABELS, false},
        {"entailment by name", 3, SEQ "," NLI, NULL, MODEL_HEAD_NLI, false},
        {"a task", 3, "", TASK("text-classification"), MODEL_HEAD_LABELS, false},
        {"a task beats a plain class", 3, ARCH("BertModel"), TASK("sentiment-classification"),
         MODEL_HEAD_LABELS, false},
        {"another task", 3, "", TASK("sentence-embedding"), MODEL_HEAD_NONE, false},
        {"a task beats a class", 3, SEQ, TASK("sentence-embedding"), MODEL_HEAD_NONE, false},
        {"ranking", 1, "", TASK("text-ranking"), MODEL_HEAD_SCORE, true},
        {"zero-shot", 3, "", TASK("zero-shot-classification"), MODEL_HEAD_NLI, false},
        {"pairs with names", 3, NLI, TASK("nli"), MODEL_HEAD_NLI, false},
        {"pairs with other names", 2, "", TASK("sentence-similarity"), MODEL_HEAD_LABELS, false},
        {"an unknown task", 3, "", TASK("something-new"), MODEL_HEAD_LABELS, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct model_dir *dir = NULL;
        struct err err;
        golden_empty(work.path, false);
        write_weights(rows[i].rows, HIDDEN);
        write_config("bert", rows[i].config);
        write_text("configuration.json", rows[i].scope);
        if (model_dir_open(work.path, &dir, &err) != STATUS_OK)
            TEST_FAIL("%s", err.text);
        TEST_EQ(dir->shape.head, rows[i].head);
        TEST_EQ(dir->shape.sigmoid, rows[i].sigmoid);
        const bool none = rows[i].head == MODEL_HEAD_NONE;
        TEST_EQ(dir->shape.classes, none ? 0 : rows[i].rows);
        TEST_EQ(model_outputs(&dir->shape), none ? HIDDEN : rows[i].rows);
        TEST_EQ(dir->shape.pooling, none ? MODEL_POOL_MEAN : MODEL_POOL_CLS);
        TEST_TRUE(none == (dir->labels == NULL));
        model_dir_close(&dir);
    }
}

/* A folder made for vectors gives vectors, whatever else is in it. */
static void test_embedders(void **state) {
    (void)state;
    static const struct {
        const char *name, *file, *text;
        bool embeds;
    } rows[] = {
        {"nothing", NULL, NULL, false},
        {"modules", "modules.json",
         "[{\"type\":\"Transformer\"},{\"path\":\"1_Pooling\",\"type\":\"Pooling\"}]", true},
        {"pooling", NULL, NULL, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct model_dir *dir = NULL;
        golden_empty(work.path, false);
        write_weights(3, HIDDEN);
        write_config("bert", SEQ);
        if (rows[i].file)
            write_text(rows[i].file, rows[i].text);
        if (rows[i].embeds)
            write_text("1_Pooling/config.json", "{\"pooling_mode_cls_token\":true}");
        TEST_EQ(model_dir_open(work.path, &dir, NULL), STATUS_OK);
        TEST_EQ(dir->shape.head == MODEL_HEAD_NONE, rows[i].embeds);
        model_dir_close(&dir);
    }
}

#define THREE(a, b, c) "{\"0\":\"" a "\",\"1\":\"" b "\",\"2\":\"" c "\"}"

/* Where names come from, and which of them is entailment. */
static void test_labels(void **state) {
    (void)state;
    enum { NONE = 9 };
    static const struct {
        const char *name;
        uint32_t rows;
        const char *config, *scope, *mapping, *want[3];
        uint32_t entailment, contradiction;
    } rows[] = {
        {"numbers", 3, "", NULL, NULL, {"LABEL_0", "LABEL_1", "LABEL_2"}, NONE, NONE},
        {"in order",
         3,
         "\"id2label\":" THREE("a", "b", "c"),
         NULL,
         NULL,
         {"a", "b", "c"},
         NONE,
         NONE},
        {"out of order",
         3,
         "\"id2label\":{\"2\":\"c\",\"0\":\"a\",\"1\":\"b\"}",
         NULL,
         NULL,
         {"a", "b", "c"},
         NONE,
         NONE},
        {"id2label wins",
         3,
         "\"id2label\":" THREE("a", "b", "c") ",\"label2id\":{\"x\":0,\"y\":1,\"z\":2}",
         NULL,
         "{\"u\":0,\"v\":1,\"w\":2}",
         {"a", "b", "c"},
         NONE,
         NONE},
        {"label2id alone",
         3,
         "\"label2id\":{\"z\":2,\"y\":1,\"x\":0}",
         NULL,
         NULL,
         {"x", "y", "z"},
         NONE,
         NONE},
        {"label_mapping.json",
         3,
         "",
         NULL,
         "{\"投诉\":0,\"表扬\":2,\"咨询\":1}",
         {"投诉", "咨询", "表扬"},
         NONE,
         NONE},
        {"empty is absent",
         3,
         "\"id2label\":{},\"label2id\":{}",
         NULL,
         "{\"u\":0,\"v\":1,\"w\":2}",
         {"u", "v", "w"},
         NONE,
         NONE},
        {"last is entailment",
         3,
         NLI,
         NULL,
         NULL,
         {"contradiction", "neutral", "entailment"},
         2,
         0},
        {"in capitals",
         3,
         "\"id2label\":" THREE("NEUTRAL", "Entailment", "CONTRADICTION"),
         NULL,
         NULL,
         {"NEUTRAL", "Entailment", "CONTRADICTION"},
         1,
         2},
        {"two ways",
         2,
         "\"id2label\":{\"0\":\"not_entailment\",\"1\":\"entailment\"}",
         NULL,
         NULL,
         {"not_entailment", "entailment"},
         1,
         0},
        {"from label2id",
         3,
         "\"label2id\":{\"entailment\":0,\"neutral\":1,\"contradiction\":2}",
         NULL,
         NULL,
         {"entailment", "neutral", "contradiction"},
         0,
         2},
        {"from label_mapping.json",
         3,
         "",
         TASK("zero-shot-classification"),
         "{\"entailment\":1,\"neutral\":2,\"contradiction\":0}",
         {"contradiction", "entailment", "neutral"},
         1,
         0},
        {"by convention",
         3,
         "",
         TASK("zero-shot-classification"),
         NULL,
         {"LABEL_0", "LABEL_1", "LABEL_2"},
         0,
         2},
        {"generic names are none",
         3,
         "\"id2label\":" THREE("LABEL_0", "LABEL_1", "LABEL_2"),
         TASK("zero-shot-classification"),
         NULL,
         {"LABEL_0", "LABEL_1", "LABEL_2"},
         0,
         2},
        {"and give way to others",
         3,
         "\"id2label\":" THREE("LABEL_0", "LABEL_1", "LABEL_2"),
         NULL,
         "{\"u\":0,\"v\":1,\"w\":2}",
         {"u", "v", "w"},
         NONE,
         NONE},
        {"a number too few of them",
         3,
         "\"id2label\":{\"0\":\"LABEL_0\",\"1\":\"LABEL_1\"}",
         NULL,
         NULL,
         {"LABEL_0", "LABEL_1", "LABEL_2"},
         NONE,
         NONE},
        {"an old label2id of numbers is no news",
         3,
         NLI ",\"label2id\":{\"LABEL_0\":0,\"LABEL_1\":1,\"LABEL_2\":2}",
         NULL,
         NULL,
         {"contradiction", "neutral", "entailment"},
         2,
         0},
        {"entailment with nothing against it",
         3,
         "\"id2label\":" THREE("entailment", "b", "c"),
         NULL,
         NULL,
         {"entailment", "b", "c"},
         NONE,
         NONE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct model_dir *dir = NULL;
        struct err err;
        golden_empty(work.path, false);
        write_weights(rows[i].rows, HIDDEN);
        write_config("bert", rows[i].config);
        write_text("configuration.json", rows[i].scope);
        write_text("label_mapping.json", rows[i].mapping);
        if (model_dir_open(work.path, &dir, &err) != STATUS_OK)
            TEST_FAIL("%s", err.text);
        for (uint32_t k = 0; k < rows[i].rows; k++)
            TEST_STR_EQ(dir->labels[k], rows[i].want[k]);
        TEST_EQ(dir->shape.head, rows[i].entailment == NONE ? MODEL_HEAD_LABELS : MODEL_HEAD_NLI);
        if (rows[i].entailment != NONE) {
            TEST_EQ(dir->shape.entailment, rows[i].entailment);
            TEST_EQ(dir->shape.contradiction, rows[i].contradiction);
        }
        model_dir_close(&dir);
    }
}

static char long_name[LIMIT_LABEL_BYTES + 64]; /* "id2label":{"0":"xxx...","1":"b","2":"c"} */

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *name, *type;
        uint32_t rows, cols;
        const char *config, *scope, *mapping;
        enum status want;
        const char *part;
    } rows[] = {
        {"promised and not there", "bert", 0, 0, SEQ, NULL, NULL, STATUS_NOT_FOUND,
         "'classifier.weight' is missing"},
        {"another width", "bert", 3, 17, SEQ, NULL, NULL, STATUS_DATA_LOSS, "[classes, 16]"},
        {"as many as may be", "bert", LIMIT_LABELS, HIDDEN, SEQ, NULL, NULL, STATUS_OK, ""},
        {"one more", "bert", LIMIT_LABELS + 1, HIDDEN, SEQ, NULL, NULL, STATUS_RESOURCE_EXHAUSTED,
         "1025 classes"},
        {"labels of tokens", "bert", 3, HIDDEN, ARCH("BertForTokenClassification"), NULL, NULL,
         STATUS_UNIMPLEMENTED, "BertForTokenClassification"},
        {"labels of tokens by task", "bert", 3, HIDDEN, "", TASK("named-entity-recognition"), NULL,
         STATUS_UNIMPLEMENTED, "named-entity-recognition"},
        {"choices", "bert", 1, HIDDEN, ARCH("BertForMultipleChoice"), NULL, NULL,
         STATUS_UNIMPLEMENTED, "MultipleChoice"},
        {"regression of many", "bert", 3, HIDDEN, SEQ ",\"problem_type\":\"regression\"", NULL,
         NULL, STATUS_UNIMPLEMENTED, "'regression'"},
        {"problem of no text", "bert", 3, HIDDEN, SEQ ",\"problem_type\":1", NULL, NULL,
         STATUS_UNIMPLEMENTED, "problem_type"},
        {"zero-shot of two without names", "bert", 2, HIDDEN, "", TASK("zero-shot-classification"),
         NULL, STATUS_DATA_LOSS, "cannot be told"},
        {"zero-shot with other names", "bert", 3, HIDDEN, "\"id2label\":" THREE("a", "b", "c"),
         TASK("zero-shot-classification"), NULL, STATUS_DATA_LOSS, "cannot be told"},
        {"pairs of one segment", "bert", 1, HIDDEN, SEQ ",\"type_vocab_size\":1", NULL, NULL,
         STATUS_UNIMPLEMENTED, "two segments"},
        {"labels of one segment", "bert", 3, HIDDEN, SEQ ",\"type_vocab_size\":1", NULL, NULL,
         STATUS_OK, ""},
        {"behind nomic", "nomic_bert", 3, HIDDEN, "", NULL, NULL, STATUS_UNIMPLEMENTED,
         "nomic_bert"},
        {"behind distilbert", "distilbert", 3, HIDDEN, "", NULL, NULL, STATUS_OK, ""},
        {"a name too few", "bert", 3, HIDDEN, "\"id2label\":{\"0\":\"a\",\"1\":\"b\"}", NULL, NULL,
         STATUS_DATA_LOSS, "class 2 of 3"},
        {"a name too many", "bert", 2, HIDDEN, "\"id2label\":" THREE("a", "b", "c"), NULL, NULL,
         STATUS_DATA_LOSS, "'2' is none of 2"},
        {"two the same", "bert", 3, HIDDEN, "\"id2label\":" THREE("a", "b", "a"), NULL, NULL,
         STATUS_DATA_LOSS, "two classes 'a'"},
        {"an empty name", "bert", 3, HIDDEN, "\"id2label\":" THREE("a", "", "c"), NULL, NULL,
         STATUS_DATA_LOSS, "class 1 has an empty name"},
        {"a long name", "bert", 3, HIDDEN, long_name, NULL, NULL, STATUS_RESOURCE_EXHAUSTED,
         "1024 bytes"},
        {"a name of no text", "bert", 2, HIDDEN, "\"id2label\":{\"0\":\"a\",\"1\":1}", NULL, NULL,
         STATUS_DATA_LOSS, "no text"},
        {"a key of no number", "bert", 2, HIDDEN, "\"id2label\":{\"0\":\"a\",\"x\":\"b\"}", NULL,
         NULL, STATUS_DATA_LOSS, "'x' is none"},
        {"the same number twice", "bert", 2, HIDDEN, "\"id2label\":{\"0\":\"a\",\"00\":\"b\"}",
         NULL, NULL, STATUS_DATA_LOSS, "two names"},
        {"a number of half a class", "bert", 2, HIDDEN, "\"label2id\":{\"a\":0,\"b\":0.5}", NULL,
         NULL, STATUS_DATA_LOSS, "'b' stands for none"},
        {"a mapping of a list", "bert", 2, HIDDEN, "", NULL, "[]", STATUS_DATA_LOSS,
         "label_mapping.json: no JSON object"},
        {"a mapping that is cut", "bert", 2, HIDDEN, "", NULL, "{\"a\":", STATUS_DATA_LOSS,
         "label_mapping.json"},
        {"a mapping of too few", "bert", 2, HIDDEN, "", NULL, "{\"a\":0}", STATUS_DATA_LOSS,
         "label_mapping.json: it has no name for class 1"},
        {"entailment here and there", "bert", 3, HIDDEN,
         NLI ",\"label2id\":{\"entailment\":0,\"neutral\":1,\"contradiction\":2}", NULL, NULL,
         STATUS_DATA_LOSS, "disagree about 'entailment'"},
    };
    snprintf(long_name, sizeof long_name, "\"id2label\":{\"0\":\"%0*d\",\"1\":\"b\",\"2\":\"c\"}",
             LIMIT_LABEL_BYTES + 1, 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct model_dir *dir = NULL;
        struct err err = {0};
        golden_empty(work.path, false);
        write_weights(rows[i].rows, rows[i].cols);
        write_config(rows[i].type, rows[i].config);
        write_text("configuration.json", rows[i].scope);
        write_text("label_mapping.json", rows[i].mapping);
        enum status st = model_dir_open(work.path, &dir, &err);
        if (st != rows[i].want)
            TEST_FAIL("%s: %s", status_name(st), err.text);
        TEST_HAS(err.text, rows[i].part);
        if (st != STATUS_OK)
            TEST_HAS(err.text, work.path);
        model_dir_close(&dir);
    }
}

/* model_dir_mark() makes other fingerprints, the same for the same word. */
static void test_mark(void **state) {
    (void)state;
    TEST_ROW("mark");
    char prints[4][9];
    static const char *const words[4] = {NULL, "i8", "bf16", "i8"};
    for (int i = 0; i < 4; i++) {
        struct model_dir *dir = NULL;
        golden_empty(work.path, false);
        write_weights(3, HIDDEN);
        write_config("bert", "");
        TEST_EQ(model_dir_open(work.path, &dir, NULL), STATUS_OK);
        if (words[i])
            TEST_EQ(model_dir_mark(dir, words[i], NULL), STATUS_OK);
        char hex[9];
        snprintf(hex, sizeof hex, "%02x%02x%02x%02x", dir->fingerprint[0], dir->fingerprint[1],
                 dir->fingerprint[2], dir->fingerprint[3]);
        TEST_STR_EQ(dir->fingerprint8, hex);
        memcpy(prints[i], hex, sizeof hex);
        model_dir_close(&dir);
    }
    TEST_TRUE(strcmp(prints[0], prints[1]) != 0 && strcmp(prints[1], prints[2]) != 0);
    TEST_TRUE(strcmp(prints[0], prints[2]) != 0);
    TEST_STR_EQ(prints[1], prints[3]);
}

#define STATIC_MODULE(path) "[{\"path\":\"" path "\",\"type\":\"s.models.StaticEmbedding\"}"

/* Static models: sizes from the table, modules of their own kind. */
static void test_static(void **state) {
    (void)state;
    static const struct {
        const char *name, *modules, *tensor;
        enum status want;
        const char *part;
        bool normalize;
        uint32_t max_tokens;
    } rows[] = {
        {"no modules", NULL, "embeddings", STATUS_OK, "", true, 512},
        {"module alone", STATIC_MODULE(".") "]", "embeddings", STATUS_OK, "", false, 512},
        {"normalized", STATIC_MODULE("") ",{\"type\":\"s.models.Normalize\"}]", "embedding.weight",
         STATUS_OK, "", true, LIMIT_TOKENS},
        {"elsewhere", STATIC_MODULE("0_StaticEmbedding") "]", "embeddings", STATUS_UNIMPLEMENTED,
         "0_StaticEmbedding", false, 0},
        {"a transformer", "[{\"type\":\"Transformer\"}]", "embeddings", STATUS_UNIMPLEMENTED,
         "Transformer", false, 0},
        {"a list of nothing", "[]", "embeddings", STATUS_DATA_LOSS, "no list", false, 0},
        {"no table", NULL, "vectors", STATUS_NOT_FOUND, "'embeddings'", false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct model_dir *dir = NULL;
        struct err err = {0};
        char file[256];
        uint64_t header = (uint64_t)snprintf(
            file + 8, 200, "{\"%s\":{\"dtype\":\"F16\",\"shape\":[5,3],\"data_offsets\":[0,30]}}",
            rows[i].tensor);
        memcpy(file, &header, 8);
        memset(file + 8 + header, 0, 30);
        golden_empty(work.path, false);
        golden_write(&work, "model.safetensors", file, 8 + header + 30);
        write_text("config.json", "{\"model_type\":\"model2vec\",\"normalize\":true}");
        write_text("tokenizer_config.json", "{\"model_max_length\":64}"); /* nobody asks it */
        write_text("modules.json", rows[i].modules);
        enum status st = model_dir_open(work.path, &dir, &err);
        if (st != rows[i].want)
            TEST_FAIL("%s: %s", status_name(st), err.text);
        TEST_HAS(err.text, rows[i].part);
        if (st != STATUS_OK)
            continue;
        TEST_EQ(dir->shape.family, MODEL_STATIC);
        TEST_EQ(dir->shape.hidden, 3);
        TEST_EQ(dir->shape.vocab_rows, 5);
        TEST_EQ(dir->shape.normalize, rows[i].normalize);
        TEST_EQ(dir->shape.max_tokens, rows[i].max_tokens);
        model_dir_close(&dir);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heads),  cmocka_unit_test(test_embedders),
        cmocka_unit_test(test_labels), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_mark),   cmocka_unit_test(test_static),
    };
    golden_make(&work);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    golden_remove(&work);
    return failed;
}
