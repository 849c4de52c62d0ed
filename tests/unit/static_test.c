/* static_test.c - means of token vectors, from tables of every type and layout, and everything that
 * loading refuses. */
#include "model/static.h"

#include "support/test.h"

#include <malloc.h>
#include <math.h>
#include <string.h>

enum { V = 6, D = 5 };

static weights_t *table; /* what a test adds its tensors to */
static const struct model_shape shape = {.family = MODEL_STATIC, .vocab_rows = V, .hidden = D};

static int open_table(void **state) {
    (void)state;
    table = weights_new();
    return table ? 0 : -1;
}

static int close_table(void **state) {
    (void)state;
    weights_destroy(&table);
    return 0;
}

static void add(const char *name, enum weights_type type, const void *data, uint32_t rank,
                uint64_t rows, uint64_t cols) {
    struct tensor t = {.type = type, .rank = rank, .shape = {rows, cols}, .data = data};
    t.bytes = (size_t)(rows * (rank == 2 ? cols : 1)) * weights_type_bytes(type);
    weights_set_dense(&t);
    TEST_EQ(weights_add(table, view_of(name), &t, NULL), STATUS_OK);
}

/* Small whole numbers and halves: exact in every type, and so are their sums. */
static double number(uint32_t row, uint32_t column) {
    return (double)((row * 7 + column * 3) % 11) - 5 + 0.5 * (double)(row % 2);
}

/* `rows` rows of number() as `type`, at an odd address. */
static const void *make_table(enum weights_type type, uint32_t rows) {
    static char room[8 * 16 * D + 1];
    char *out = room + 1;
    for (uint32_t i = 0; i < rows * D; i++) {
        const double x = number(i / D, i % D);
        const float f = (float)x;
        uint32_t bits;
        memcpy(&bits, &f, sizeof bits);
        const uint32_t magnitude = bits & 0x7fffffffu;
        const uint16_t bf16 = (uint16_t)(bits >> 16);
        const uint16_t f16 =
            (uint16_t)((bits >> 16 & 0x8000u) | (magnitude ? (magnitude - (112u << 23)) >> 13 : 0));
        const void *const sources[] = {
            [WEIGHTS_F32] = &f, [WEIGHTS_F16] = &f16, [WEIGHTS_BF16] = &bf16, [WEIGHTS_F64] = &x};
        const size_t size = weights_type_bytes(type);
        memcpy(out + i * size, sources[type], size);
    }
    return out;
}

static static_model_t *load(void) {
    static_model_t *model = NULL;
    struct err err = {0};
    TEST_EQ(weights_seal(table, &err), STATUS_OK);
    if (static_load(&shape, table, &model, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
    return model;
}

/* Three texts: three tokens, none, one twice. */
static const int32_t ids[] = {0, 5, 2, 3, 3};
static const uint32_t start[] = {0, 3, 3, 5};

static void expect(const static_model_t *model, const uint32_t *rows, const float *factors) {
    float out[3 * D + 1];
    out[3 * D] = 77;
    static_forward(model, ids, start, 3, out);
    TEST_TRUE(out[3 * D] == 77);
    for (uint32_t s = 0; s < 3; s++)
        for (uint32_t c = 0; c < D; c++) {
            double want = 0;
            for (uint32_t i = start[s]; i < start[s + 1]; i++)
                want += number(rows ? rows[ids[i]] : (uint32_t)ids[i], c) *
                        (factors ? (double)factors[ids[i]] : 1.0) / (start[s + 1] - start[s]);
            if (!(fabs((double)out[s * D + c] - want) < 1e-6))
                TEST_FAIL("text %u, number %u: %g, want %g", s, c, (double)out[s * D + c], want);
        }
}

static void test_types(void **state) {
    static const struct {
        const char *name, *tensor;
        enum weights_type type;
        bool drops;
    } rows[] = {
        {"model2vec, f32", "embeddings", WEIGHTS_F32, true},
        {"model2vec, f16", "embeddings", WEIGHTS_F16, true},
        {"sentence-transformers, bf16", "embedding.weight", WEIGHTS_BF16, false},
        {"sentence-transformers, f64", "embedding.weight", WEIGHTS_F64, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        close_table(state);
        open_table(state);
        add(rows[i].tensor, rows[i].type, make_table(rows[i].type, V), 2, V, D);
        static_model_t *model = load();
        TEST_EQ(static_drops_unknown(table), rows[i].drops);
        TEST_EQ(static_weight_bytes(model),
                V * D * (rows[i].type == WEIGHTS_F64 ? 4 : weights_type_bytes(rows[i].type)));
        const struct mallinfo2 before = mallinfo2();
        expect(model, NULL, NULL);
        TEST_EQ(mallinfo2().uordblks, before.uordblks);
        static_destroy(&model);
        static_destroy(&model);
    }
}

static void test_columns_first(void **state) {
    (void)state;
    float turned[V * D];
    for (uint32_t i = 0; i < V * D; i++)
        turned[i % D * V + i / D] = (float)number(i / D, i % D);
    struct tensor t = {.type = WEIGHTS_F32,
                       .rank = 2,
                       .shape = {V, D},
                       .stride = {1, V},
                       .data = turned,
                       .bytes = sizeof turned};
    TEST_EQ(weights_add(table, view_of("embeddings"), &t, NULL), STATUS_OK);
    static_model_t *model = load();
    expect(model, NULL, NULL);
    static_destroy(&model);
}

static void test_shared_rows(void **state) {
    static const int32_t narrow[V] = {1, 0, 1, 2, 0, 2};
    static const int64_t wide[V] = {1, 0, 1, 2, 0, 2};
    static const uint32_t rows[V] = {1, 0, 1, 2, 0, 2};
    static const float factors[V] = {0.5f, 1, 2, 3, 0, -1};
    static const double exact[V] = {0.5, 1, 2, 3, 0, -1};
    for (int i = 0; i < 4; i++) {
        TEST_ROW(i & 1 ? "wide" : "narrow");
        close_table(state);
        open_table(state);
        add("embeddings", WEIGHTS_F16, make_table(WEIGHTS_F16, 3), 2, 3, D);
        add("mapping", i & 1 ? WEIGHTS_I64 : WEIGHTS_I32, i & 1 ? (const void *)wide : narrow, 1, V,
            0);
        if (i & 2)
            add("weights", i & 1 ? WEIGHTS_F64 : WEIGHTS_F32, i & 1 ? (const void *)exact : factors,
                1, V, 0);
        static_model_t *model = load();
        expect(model, rows, i & 2 ? factors : NULL);
        static_destroy(&model);
    }
}

static void test_refusals(void **state) {
    static const float numbers[16 * D], infinite[V] = {0, 0, INFINITY};
    static const int32_t in[V], beyond[V] = {0, 0, V}, below[V] = {0, -1};
    static const struct {
        const char *name;
        struct {
            const char *name;
            enum weights_type type;
            const void *data;
            uint32_t rank;
            uint64_t rows, cols;
        } tensors[2];
        enum status want;
        const char *text;
    } rows[] = {
        {"nothing", {{"table", WEIGHTS_F32, numbers, 2, V, D}}, STATUS_NOT_FOUND, "embeddings"},
        {"too few rows",
         {{"embeddings", WEIGHTS_F32, numbers, 2, V - 1, D}},
         STATUS_DATA_LOSS,
         "'embeddings' has shape [5,5]"},
        {"too narrow",
         {{"embedding.weight", WEIGHTS_F32, numbers, 2, V, D - 1}},
         STATUS_DATA_LOSS,
         "embedding.weight"},
        {"one row of numbers",
         {{"embeddings", WEIGHTS_F32, numbers, 1, V * D, 0}, {"mapping", WEIGHTS_I32, in, 1, V, 0}},
         STATUS_DATA_LOSS,
         "embeddings"},
        {"whole numbers",
         {{"embeddings", WEIGHTS_I32, numbers, 2, V, D}},
         STATUS_UNIMPLEMENTED,
         "embeddings"},
        {"infinite factor",
         {{"embeddings", WEIGHTS_F32, numbers, 2, V, D},
          {"weights", WEIGHTS_F32, infinite, 1, V, 0}},
         STATUS_DATA_LOSS,
         "'weights'"},
        {"too few factors",
         {{"embeddings", WEIGHTS_F32, numbers, 2, V, D},
          {"weights", WEIGHTS_F32, numbers, 1, V - 1, 0}},
         STATUS_DATA_LOSS,
         "'weights'"},
        {"mapping of floats",
         {{"embeddings", WEIGHTS_F32, numbers, 2, V, D},
          {"mapping", WEIGHTS_F32, numbers, 1, V, 0}},
         STATUS_UNIMPLEMENTED,
         "'mapping'"},
        {"mapping too short",
         {{"embeddings", WEIGHTS_F32, numbers, 2, V, D}, {"mapping", WEIGHTS_I32, in, 1, V - 1, 0}},
         STATUS_DATA_LOSS,
         "'mapping'"},
        {"mapping out of the table",
         {{"embeddings", WEIGHTS_F32, numbers, 2, V, D}, {"mapping", WEIGHTS_I32, beyond, 1, V, 0}},
         STATUS_DATA_LOSS,
         "'mapping'"},
        {"negative mapping",
         {{"embeddings", WEIGHTS_F32, numbers, 2, V, D}, {"mapping", WEIGHTS_I32, below, 1, V, 0}},
         STATUS_DATA_LOSS,
         "'mapping'"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        close_table(state);
        open_table(state);
        for (int k = 0; k < 2 && rows[i].tensors[k].name; k++)
            add(rows[i].tensors[k].name, rows[i].tensors[k].type, rows[i].tensors[k].data,
                rows[i].tensors[k].rank, rows[i].tensors[k].rows, rows[i].tensors[k].cols);
        TEST_EQ(weights_seal(table, NULL), STATUS_OK);
        static_model_t *model = NULL;
        struct err err = {0};
        TEST_EQ(static_load(&shape, table, &model, &err), rows[i].want);
        TEST_HAS(err.text, rows[i].text);
        TEST_TRUE(!model);
    }
}

/* A number that is none is found wherever it lies, also behind the first block that is read. */
static void test_broken_number(void **state) {
    enum { ROWS = 20000 };
    static float numbers[ROWS * D];
    const struct model_shape large = {.vocab_rows = ROWS, .hidden = D};
    for (uint32_t at = 0; at < ROWS * D; at += ROWS * D / 7) {
        close_table(state);
        open_table(state);
        add("embeddings", WEIGHTS_F32, numbers, 2, ROWS, D);
        TEST_EQ(weights_seal(table, NULL), STATUS_OK);
        numbers[at] = NAN;
        static_model_t *model = NULL;
        TEST_EQ(static_load(&large, table, &model, NULL), STATUS_DATA_LOSS);
        numbers[at] = 0;
        TEST_EQ(static_load(&large, table, &model, NULL), STATUS_OK);
        static_destroy(&model);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_table, close_table)

int main(void) {
    const struct CMUnitTest tests[] = {TEST(test_types), TEST(test_columns_first),
                                       TEST(test_shared_rows), TEST(test_refusals),
                                       TEST(test_broken_number)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
