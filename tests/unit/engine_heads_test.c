/* engine_heads_test.c - the engine over models with heads, without layers, and in other
 * precisions: what it tells about them, pairs and how they are cut. Whether logits are right is
 * golden_test.c's.
 * */
#include "engine/engine_cpu.h"
#include "engine/vector.h"
#include "model/gemm.h"
#include "support/golden.h"

enum { LOGITS_MAX = 8 };

static void open_at(const char *path, enum engine_precision precision, engine_t **out) {
    struct err err;
    if (engine_open(path, &(struct engine_options){.precision = precision}, out, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
}

static void open_golden(const char *folder, engine_t **out) {
    char path[256];
    snprintf(path, sizeof path, GOLDEN_DIR "/%s", folder);
    open_at(path, ENGINE_F32, out);
}

static void sit(const engine_t *engine, engine_seat_t **out) {
    struct err err;
    if (engine_seat_new(engine, 1, 16, out, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
    if (engine_self_check(engine, *out, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
}

static void test_info(void **state) {
    (void)state;
    static const struct {
        const char *folder, *family;
        enum engine_head head;
        uint32_t dim, n_labels, tasks, max_tokens, max_positions, types;
        bool sigmoid;
        const char *label; /* of class 1, or of the only one */
    } rows[] = {
        {"bert-mean/f32", "bert", ENGINE_HEAD_NONE, 96, 0,
         ENGINE_TASK_EMBED | ENGINE_TASK_CLASSIFY | ENGINE_TASK_TOKENIZE, 256, 512, 2, false, NULL},
        {"nomic/hf", "nomic", ENGINE_HEAD_NONE, 128, 0,
         ENGINE_TASK_EMBED | ENGINE_TASK_CLASSIFY | ENGINE_TASK_TOKENIZE, 8192, 8192, 2, false,
         NULL},
        {"nli-zh/hf", "bert", ENGINE_HEAD_NLI, 3, 3, ENGINE_TASK_CLASSIFY, 128, 128, 2, false,
         "neutral"},
        {"nli-zh/modelscope", "bert", ENGINE_HEAD_NLI, 3, 3, ENGINE_TASK_CLASSIFY, 128, 128, 2,
         false, "LABEL_1"},
        {"cls-head/softmax", "bert", ENGINE_HEAD_LABELS, 4, 4, ENGINE_TASK_CLASSIFY, 90, 90, 2,
         false, "咨询"},
        {"reranker/hf", "bert", ENGINE_HEAD_SCORE, 1, 1, ENGINE_TASK_RERANK, 512, 512, 2, true,
         "LABEL_0"},
        {"distilbert/hf", "distilbert", ENGINE_HEAD_LABELS, 2, 2, ENGINE_TASK_CLASSIFY, 512, 512, 0,
         false, "POSITIVE"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].folder);
        engine_t *engine = NULL;
        engine_seat_t *seat = NULL;
        open_golden(rows[i].folder, &engine);
        const struct engine_info *info = engine_info(engine);
        TEST_STR_EQ(info->family, rows[i].family);
        TEST_EQ(info->head, rows[i].head);
        TEST_EQ(info->dim, rows[i].dim);
        TEST_EQ(info->n_labels, rows[i].n_labels);
        TEST_EQ(info->tasks, rows[i].tasks | ENGINE_TASK_TOKENIZE);
        TEST_EQ(info->max_tokens, rows[i].max_tokens);
        TEST_EQ(info->max_positions, rows[i].max_positions);
        TEST_EQ(info->sigmoid, rows[i].sigmoid);
        TEST_STR_EQ(info->precision, "f32");
        TEST_EQ(engine_dir(engine)->shape.types, rows[i].types);
        if (rows[i].label)
            TEST_TRUE(view_equal(engine_label(engine, info->n_labels > 1), view_of(rows[i].label)));
        sit(engine, &seat);
        engine_seat_destroy(&seat);
        engine_destroy(&engine);
    }
}

static void test_entailment(void **state) {
    (void)state;
    static const struct {
        const char *folder;
        uint32_t entailment, contradiction;
    } rows[] = {
        {"nli-zh/hf", 2, 0}, {"nli-zh/modelscope", 0, 2}, /* no names: the convention */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].folder);
        engine_t *engine = NULL;
        open_golden(rows[i].folder, &engine);
        TEST_EQ(engine_info(engine)->entailment, rows[i].entailment);
        TEST_EQ(engine_info(engine)->contradiction, rows[i].contradiction);
        engine_destroy(&engine);
    }
}

/* Every Chinese character is a token in this vocabulary. */
static void test_pairs_are_cut(void **state) {
    (void)state;
    static const struct {
        const char *name, *text, *second;
        enum engine_pair pair;
        enum engine_side side;
        uint32_t max_tokens;
        enum status want;
        uint32_t tokens, full;
        const char *as_text, *as_second; /* the same answer, uncut */
    } rows[] = {
        {"fits", "今天", "好", ENGINE_PAIR_ONLY_FIRST, ENGINE_CUT_RIGHT, 0, STATUS_OK, 6, 6, "今天",
         "好"},
        {"the first is cut", "今天天气", "好", ENGINE_PAIR_ONLY_FIRST, ENGINE_CUT_RIGHT, 6,
         STATUS_OK, 6, 8, "今天", "好"},
        {"on the right, whatever the side", "今天天气", "好", ENGINE_PAIR_ONLY_FIRST,
         ENGINE_CUT_LEFT, 6, STATUS_OK, 6, 8, "今天", "好"},
        {"the longer is cut", "今天", "天气很好", ENGINE_PAIR_LONGEST_FIRST, ENGINE_CUT_RIGHT, 7,
         STATUS_OK, 7, 9, "今天", "天气"},
        {"fits exactly", "今天", "好", ENGINE_PAIR_ONLY_FIRST, ENGINE_CUT_OFF, 6, STATUS_OK, 6, 6,
         "今天", "好"},
        {"off", "今天天气", "好", ENGINE_PAIR_ONLY_FIRST, ENGINE_CUT_OFF, 6, STATUS_OUT_OF_RANGE, 0,
         8, NULL, NULL},
        {"off, the longer", "今天", "天气很好", ENGINE_PAIR_LONGEST_FIRST, ENGINE_CUT_OFF, 7,
         STATUS_OUT_OF_RANGE, 0, 9, NULL, NULL},
        {"an empty second is a pair", "今天", "", ENGINE_PAIR_LONGEST_FIRST, ENGINE_CUT_OFF, 0,
         STATUS_OK, 5, 5, "今天", ""},
        {"both empty", "", "", ENGINE_PAIR_ONLY_FIRST, ENGINE_CUT_OFF, 0, STATUS_OK, 3, 3, "", ""},
        {"2 reads as 3", "今天", "好", ENGINE_PAIR_LONGEST_FIRST, ENGINE_CUT_RIGHT, 2, STATUS_OK, 3,
         6, "", ""},
    };
    engine_t *engine = NULL;
    engine_seat_t *seat = NULL;
    open_golden("nli-zh/hf", &engine);
    sit(engine, &seat);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        float logits[2][LOGITS_MAX];
        struct engine_item item = {.text = view_of(rows[i].text),
                                   .second = view_of(rows[i].second),
                                   .pair = rows[i].pair,
                                   .side = rows[i].side,
                                   .max_tokens = rows[i].max_tokens,
                                   .out = logits[0]};
        engine_run(engine, seat, &item, 1, NULL);
        TEST_EQ(item.status, rows[i].want);
        TEST_EQ(item.tokens, rows[i].tokens);
        TEST_EQ(item.tokens_full, rows[i].full);
        if (!rows[i].as_text)
            continue;
        item = (struct engine_item){.text = view_of(rows[i].as_text),
                                    .second = view_of(rows[i].as_second),
                                    .pair = ENGINE_PAIR_LONGEST_FIRST,
                                    .side = ENGINE_CUT_OFF,
                                    .out = logits[1]};
        engine_run(engine, seat, &item, 1, NULL);
        TEST_EQ(item.status, STATUS_OK);
        TEST_MEM_EQ(logits[0], logits[1], 3 * sizeof(float));
    }
    engine_seat_destroy(&seat);
    engine_destroy(&engine);
}

/* Singles and pairs in one batch, in several parts: the segments of one must not reach another. */
static void test_company(void **state) {
    (void)state;
    static const char *const folders[] = {"nli-zh/hf", "distilbert/hf", "bert-mean/f32",
                                          "nomic/hf"};
    static const char *const texts[] = {"今天天气很好", "", "the food was wet", "好", "the end"};
    enum { N = 12, DIM_MAX = 128, TEXTS = sizeof texts / sizeof *texts };
    static float alone[N][DIM_MAX], together[N][DIM_MAX];
    for (size_t f = 0; f < sizeof folders / sizeof *folders; f++) {
        TEST_ROW(folders[f]);
        engine_t *engine = NULL;
        engine_seat_t *seat = NULL;
        struct engine_item items[N];
        open_golden(folders[f], &engine);
        sit(engine, &seat);
        const uint32_t dim = engine_info(engine)->dim;
        for (uint32_t i = 0; i < N; i++) {
            items[i] = (struct engine_item){.text = view_of(texts[i % TEXTS]),
                                            .second = view_of(texts[(i + 2) % TEXTS]),
                                            .pair = (enum engine_pair)(i % 3),
                                            .out = alone[i]};
            engine_run(engine, seat, &items[i], 1, NULL);
            TEST_EQ(items[i].status, STATUS_OK);
            items[i].out = together[i];
        }
        engine_run(engine, seat, items, N, NULL);
        for (uint32_t i = 0; i < N; i++)
            for (uint32_t k = 0; k < dim; k++)
                TEST_NEAR(together[i][k], alone[i][k], 2e-5);
        engine_seat_destroy(&seat);
        engine_destroy(&engine);
    }
}

/* Other precisions give about the same, under another fingerprint. */
static void test_precisions(void **state) {
    (void)state;
    static const struct {
        enum engine_precision precision;
        enum gemm_precision gemm;
        const char *name;
        double cosine;
    } rows[] = {
        {ENGINE_F32, GEMM_F32, "f32", 0.999999},
        {ENGINE_BF16, GEMM_BF16, "bf16", 0.9999},
        {ENGINE_I8, GEMM_I8, "i8", 0.999},
    };
    char prints[3][65];
    float vectors[3][96];
    size_t bytes[3];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        engine_t *engine = NULL;
        engine_seat_t *seat = NULL;
        open_at(GOLDEN_DIR "/bert-mean/f32", rows[i].precision, &engine);
        const struct engine_info *info = engine_info(engine);
        TEST_STR_EQ(info->precision, rows[i].name);
        TEST_HAS(info->kernel, rows[i].name);
        TEST_HAS(info->kernel, gemm_choose(rows[i].gemm)->name);
        TEST_EQ(strncmp(info->fingerprint, info->fingerprint8, 8), 0);
        memcpy(prints[i], info->fingerprint, sizeof prints[i]);
        bytes[i] = info->weight_bytes;
        for (size_t k = 0; k < i; k++)
            TEST_TRUE(strcmp(prints[i], prints[k]) != 0);
        sit(engine, &seat);
        struct engine_item item = {.text = view_of("the food was too wet"), .out = vectors[i]};
        engine_run(engine, seat, &item, 1, NULL);
        TEST_EQ(item.status, STATUS_OK);
        TEST_TRUE((double)vector_cosine(vectors[0], vectors[i], 96) >= rows[i].cosine);
        engine_seat_destroy(&seat);
        engine_destroy(&engine);
    }
    TEST_TRUE(bytes[2] < bytes[1] && bytes[1] < bytes[0]);
    struct err err;
    engine_t *none = NULL;
    const struct engine_options options = {.precision = ENGINE_I8, .kernel = "openblas"};
    TEST_EQ(engine_open(GOLDEN_DIR "/bert-mean/f32", &options, &none, &err),
            STATUS_INVALID_ARGUMENT);
    TEST_HAS(err.text, "'openblas' for i8");
    TEST_HAS(err.text, "; i8: ");
    TEST_HAS(err.text, "f32: ");
}

/* ---- a model without layers ---- */

/* Ids 0 to 5; a cat is (1, 2), a dog (3, -4), [UNK] would be (100, 100). */
static const char pieces[] = "[PAD]\n[UNK]\ncat\ndog\n##s\nthe\n";
static const float table[6][2] = {{50, 50}, {100, 100}, {1, 2}, {3, -4}, {0, 6}, {-1, -1}};

static void write_table(const struct golden_dir *dir, const char *name) {
    char file[512];
    uint64_t bytes = (uint64_t)snprintf(
        file + 8, sizeof file - 8,
        "{\"%s\":{\"dtype\":\"F32\",\"shape\":[6,2],\"data_offsets\":[0,48]}}", name);
    memcpy(file, &bytes, 8);
    memcpy(file + 8 + bytes, table, sizeof table);
    golden_write(dir, "model.safetensors", file, 8 + bytes + sizeof table);
}

static void test_static(void **state) {
    (void)state;
    static const struct {
        const char *name, *tensor, *text;
        enum engine_side side;
        uint32_t max_tokens, tokens;
        float want[2];
    } rows[] = {
        {"one", "embeddings", "cat", ENGINE_CUT_RIGHT, 0, 1, {1, 2}},
        {"a mean", "embeddings", "Cat dog", ENGINE_CUT_RIGHT, 0, 2, {2, -1}},
        {"pieces", "embeddings", "cats", ENGINE_CUT_RIGHT, 0, 2, {0.5f, 4}},
        {"unknown ones are left out", "embeddings", "cat zebra", ENGINE_CUT_RIGHT, 0, 1, {1, 2}},
        {"nothing is known", "embeddings", "zebra", ENGINE_CUT_RIGHT, 0, 0, {0, 0}},
        {"nothing is there", "embeddings", "", ENGINE_CUT_OFF, 0, 0, {0, 0}},
        {"cut", "embedding.weight", "cat dog dog", ENGINE_CUT_RIGHT, 2, 2, {2, -1}},
        {"cut on the left", "embedding.weight", "dog dog cat", ENGINE_CUT_LEFT, 2, 2, {2, -1}},
        {"unknown ones are kept",
         "embedding.weight",
         "cat zebra",
         ENGINE_CUT_RIGHT,
         0,
         2,
         {50.5f, 51}},
    };
    static const char config[] = "{\"model_type\":\"model2vec\",\"normalize\":true}";
    struct golden_dir dir;
    golden_make(&dir);
    golden_write(&dir, "config.json", config, strlen(config));
    golden_write(&dir, "vocab.txt", pieces, strlen(pieces));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        engine_t *engine = NULL;
        engine_seat_t *seat = NULL;
        write_table(&dir, rows[i].tensor);
        open_at(dir.path, ENGINE_F32, &engine);
        sit(engine, &seat);
        float got[2] = {7, 7};
        struct engine_item item = {.text = view_of(rows[i].text),
                                   .side = rows[i].side,
                                   .max_tokens = rows[i].max_tokens,
                                   .out = got};
        engine_run(engine, seat, &item, 1, NULL);
        TEST_EQ(item.status, STATUS_OK);
        TEST_EQ(item.tokens, rows[i].tokens);
        TEST_NEAR(got[0], rows[i].want[0], 1e-6);
        TEST_NEAR(got[1], rows[i].want[1], 1e-6);
        engine_seat_destroy(&seat);
        engine_destroy(&engine);
    }
    engine_t *engine = NULL; /* narrow products have nothing to do here */
    open_at(dir.path, ENGINE_I8, &engine);
    TEST_STR_EQ(engine_info(engine)->family, "static");
    TEST_STR_EQ(engine_info(engine)->precision, "f32");
    TEST_STR_EQ(engine_info(engine)->kernel, "table-f32");
    TEST_EQ(engine_info(engine)->dim, 2);
    TEST_TRUE(engine_info(engine)->normalize);
    TEST_EQ(engine_info(engine)->max_tokens, LIMIT_TOKENS); /* StaticEmbedding reads everything */
    engine_destroy(&engine);
    golden_remove(&dir);
}

/* model2vec looks at 512 tokens, and before that at 512 times the median piece: 3 code points. */
static void test_static_is_cut(void **state) {
    (void)state;
    enum { PIECE = 3 };
    static const char config[] = "{\"model_type\":\"model2vec\"}";
    struct golden_dir dir;
    engine_t *engine = NULL;
    engine_seat_t *seat = NULL;
    golden_make(&dir);
    golden_write(&dir, "config.json", config, strlen(config));
    golden_write(&dir, "vocab.txt", pieces, strlen(pieces));
    write_table(&dir, "embeddings");
    open_at(dir.path, ENGINE_F32, &engine);
    sit(engine, &seat);
    TEST_EQ(engine_info(engine)->max_tokens, 512);
    TEST_EQ(tokenizer_median_piece(engine_tokenizer(engine)), PIECE);
    static const struct {
        const char *name, *text;
        enum engine_side side;
        uint32_t max_tokens, tokens;
        enum status want;
    } rows[] = {
        {"six code points of two tokens", "éé cat dog", ENGINE_CUT_RIGHT, 2, 1, STATUS_OK},
        {"the last six", "dog cat éé", ENGINE_CUT_LEFT, 2, 1, STATUS_OK},
        {"off looks at all", "é cat cat", ENGINE_CUT_OFF, 2, 2, STATUS_OK},
        {"off refuses", "cat cat cat", ENGINE_CUT_OFF, 2, 0, STATUS_OUT_OF_RANGE},
        {"fits", "cat cat", ENGINE_CUT_RIGHT, 3, 2, STATUS_OK},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        float got[2];
        struct engine_item item = {.text = view_of(rows[i].text),
                                   .side = rows[i].side,
                                   .max_tokens = rows[i].max_tokens,
                                   .out = got};
        engine_run(engine, seat, &item, 1, NULL);
        TEST_EQ(item.status, rows[i].want);
        TEST_EQ(item.tokens, rows[i].tokens);
    }
    engine_seat_destroy(&seat);
    engine_destroy(&engine);
    golden_remove(&dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_info),          cmocka_unit_test(test_entailment),
        cmocka_unit_test(test_pairs_are_cut), cmocka_unit_test(test_company),
        cmocka_unit_test(test_precisions),    cmocka_unit_test(test_static),
        cmocka_unit_test(test_static_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
