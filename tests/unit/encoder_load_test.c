/* encoder_load_test.c - from tensors to an encoder: every tensor of every family is missed by name,
 * sizes that only tensors tell, what is refused, and images that are the same bytes wherever they
 * lie. */
#include "model/encoder_parts.h"

#include "base/limits.h"
#include "model/encoder_random.h"
#include "support/test.h"

#include <math.h>

enum { TENSORS_MAX = 64, NAME_BYTES = 96 };

static const struct model_shape bert = {.layers = 2,
                                        .hidden = 24,
                                        .heads = 3,
                                        .inner = 40,
                                        .vocab_rows = 300,
                                        .positions = 20,
                                        .types = 2,
                                        .max_tokens = 20,
                                        .eps = 1e-12f,
                                        .head = MODEL_HEAD_LABELS,
                                        .classes = 3};

static struct model_shape shape_of(enum model_family family) {
    struct model_shape shape = bert;
    shape.family = family;
    if (family == MODEL_NOMIC) {
        shape.act = MODEL_SILU;
        shape.gated = true;
        shape.rotary_base = 1000;
        shape.head = MODEL_HEAD_NONE;
        shape.classes = 0;
    }
    return shape;
}

/* ---- a file of the tensors that a shape asks for */

struct made {
    weights_t *weights;
    const char *prefix;
    const char *without, *wider; /* left out; with a column more */
    uint32_t n;
    char names[TENSORS_MAX][NAME_BYTES]; /* without the prefix */
    float *data[TENSORS_MAX];
};

/* Reads as random_source does, and keeps what was asked for. */
static enum status collect(const void *from, const char *name, uint64_t rows, uint64_t cols,
                           uint64_t first, uint64_t n, float *out, struct err *err) {
    struct made *self = *(struct made *const *)from;
    TEST_TRUE(self->n < TENSORS_MAX && first == 0 && n == rows);
    random_read(NULL, name, rows, cols, 0, rows, out, err);
    if (self->without && strcmp(self->without, name) == 0)
        return STATUS_OK;
    snprintf(self->names[self->n], NAME_BYTES, "%s", name);
    const uint64_t more = self->wider && strcmp(self->wider, name) == 0;
    float *data = calloc((size_t)(rows * (cols + more)), sizeof *data);
    TEST_TRUE(data);
    memcpy(data, out, (size_t)(rows * cols) * sizeof *data);
    self->data[self->n++] = data;
    char full[2 * NAME_BYTES];
    const bool outside = strncmp(name, "classifier", 10) == 0 || strncmp(name, "pre_", 4) == 0;
    snprintf(full, sizeof full, "%s%s", outside ? "" : self->prefix, name);
    struct tensor t = {.type = WEIGHTS_F32, .rank = 2, .shape = {rows, cols + more}, .data = data};
    if (rows == 1) /* a bias or a norm */
        t = (struct tensor){.rank = 1, .shape = {cols + more}, .data = data};
    t.bytes = (size_t)(rows * (cols + more)) * sizeof *data;
    weights_set_dense(&t);
    TEST_EQ(weights_add(self->weights, view_of(full), &t, NULL), STATUS_OK);
    return STATUS_OK;
}

static void make(struct made *self, const struct model_shape *shape, const char *prefix,
                 const char *without, const char *wider) {
    *self = (struct made){
        .weights = weights_new(), .prefix = prefix, .without = without, .wider = wider};
    const struct encoder_source source = {&self, random_has, NULL, collect};
    encoder_t *encoder = NULL;
    TEST_EQ(encoder_load_from(shape, &source, gemm_choose(GEMM_F32), &encoder, NULL), STATUS_OK);
    encoder_destroy(&encoder);
    TEST_EQ(weights_seal(self->weights, NULL), STATUS_OK);
}

static void unmake(struct made *self) {
    weights_destroy(&self->weights);
    for (uint32_t i = 0; i < self->n; i++)
        free(self->data[i]);
}

/* ---- one text */

static const int32_t ids[] = {1, 200, 7, 7, 299}, types[] = {0, 0, 1, 1, 1};

static void run(const encoder_t *encoder, float *out) {
    struct arena arena;
    TEST_TRUE(arena_init(&arena, encoder_scratch_bytes(encoder, 5, 1)));
    encoder_forward(encoder, ids, types, (const uint32_t[]){0, 5}, 1, &arena, out);
    arena_done(&arena);
}

static void expect_same(const encoder_t *a, const encoder_t *b) {
    float from_a[32], from_b[32];
    run(a, from_a);
    run(b, from_b);
    TEST_EQ(model_outputs(encoder_shape(a)), model_outputs(encoder_shape(b)));
    TEST_MEM_EQ(from_a, from_b, model_outputs(encoder_shape(a)) * sizeof(float));
}

static const struct {
    const char *name, *prefix;
    enum model_family family;
    uint32_t tensors; /* two layers, head included */
} families[] = {
    {"bert", "", MODEL_BERT, 5 + 2 * 16 + 4},
    {"bert, prefix", "bert.", MODEL_BERT, 5 + 2 * 16 + 4},
    {"nomic", "", MODEL_NOMIC, 4 + 2 * 9},
    {"distilbert", "", MODEL_DISTILBERT, 4 + 2 * 16 + 4},
    {"distilbert, prefix", "distilbert.", MODEL_DISTILBERT, 4 + 2 * 16 + 4},
};
enum { FAMILIES = sizeof families / sizeof *families };

static void expect_refused(const struct model_shape *shape, const char *prefix, const char *without,
                           const char *wider, enum status want) {
    struct made other;
    struct err err = {0};
    encoder_t *encoder = NULL;
    make(&other, shape, prefix, without, wider);
    const enum status st =
        encoder_load(shape, other.weights, gemm_choose(GEMM_F32), &encoder, &err);
    if (st != want)
        TEST_FAIL("%s of '%s%s', want %s: %s", status_name(st), without ? without : "",
                  wider ? wider : "", status_name(want), err.text);
    TEST_HAS(err.text, without ? without : wider);
    TEST_TRUE(!encoder);
    unmake(&other);
}

static void test_every_tensor_counts(void **state) {
    (void)state;
    for (size_t f = 0; f < FAMILIES; f++) {
        TEST_ROW(families[f].name);
        const struct model_shape shape = shape_of(families[f].family);
        struct made whole;
        struct err err = {0};
        encoder_t *encoder = NULL, *random = NULL;
        make(&whole, &shape, families[f].prefix, NULL, NULL);
        TEST_EQ(whole.n, families[f].tensors);
        TEST_EQ(encoder_load(&shape, whole.weights, gemm_choose(GEMM_F32), &encoder, &err),
                STATUS_OK);
        TEST_EQ(encoder_load_from(&shape, &random_source, gemm_choose(GEMM_F32), &random, NULL),
                STATUS_OK);
        expect_same(encoder, random);
        encoder_destroy(&encoder);
        encoder_destroy(&random);
        for (uint32_t i = 0; i < whole.n; i++) {
            const char *prefix = families[f].prefix, *name = whole.names[i];
            expect_refused(&shape, prefix, name, NULL, STATUS_NOT_FOUND);
            expect_refused(&shape, prefix, NULL, name, STATUS_DATA_LOSS);
        }
        unmake(&whole);
    }
}

/* Published configurations say n_inner before it is rounded up, and may name no labels. */
static void test_sizes_of_tensors(void **state) {
    (void)state;
    static const struct {
        const char *name;
        enum model_family family;
        uint32_t inner, classes;
        enum status want;
    } rows[] = {
        {"inner was rounded up", MODEL_NOMIC, 33, 0, STATUS_OK},
        {"inner is smaller", MODEL_NOMIC, 64, 0, STATUS_OK},
        {"labels without names", MODEL_BERT, 40, 0, STATUS_OK},
        {"labels without names", MODEL_DISTILBERT, 40, 0, STATUS_OK},
        {"more labels than classes", MODEL_BERT, 40, 4, STATUS_DATA_LOSS},
        {"inner is no guess elsewhere", MODEL_BERT, 33, 3, STATUS_DATA_LOSS},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        const struct model_shape right = shape_of(rows[i].family);
        struct model_shape asked = right;
        struct made made;
        struct err err = {0};
        encoder_t *encoder = NULL, *random = NULL;
        asked.inner = rows[i].inner;
        asked.classes = rows[i].classes;
        make(&made, &right, "", NULL, NULL);
        TEST_EQ(encoder_load(&asked, made.weights, gemm_choose(GEMM_F32), &encoder, &err),
                rows[i].want);
        if (encoder) {
            TEST_EQ(encoder_shape(encoder)->inner, right.inner);
            TEST_EQ(encoder_shape(encoder)->classes, right.classes);
            encoder_load_from(&right, &random_source, gemm_choose(GEMM_F32), &random, NULL);
            expect_same(encoder, random);
        }
        encoder_destroy(&encoder);
        encoder_destroy(&random);
        unmake(&made);
    }
}

static uint64_t many_rows(const void *from, const char *name) {
    (void)from, (void)name;
    return LIMIT_HIDDEN + 1;
}

static uint64_t no_rows(const void *from, const char *name) {
    (void)from, (void)name;
    return 0;
}

static void test_refusals(void **state) {
    (void)state;
    static const struct {
        const char *name;
        enum model_family family;
        uint32_t heads;
        bool gated;
        float rotary;
        enum model_head head;
        uint64_t (*rows)(const void *from, const char *name);
        enum status want;
        const char *text;
    } rows[] = {
        {"no encoder", MODEL_STATIC, 3, false, 0, 0, NULL, STATUS_UNIMPLEMENTED, "no encoder"},
        {"gated BERT", MODEL_BERT, 3, true, 0, 0, NULL, STATUS_UNIMPLEMENTED, "gates"},
        {"rotary BERT", MODEL_BERT, 3, false, 1000, 0, NULL, STATUS_UNIMPLEMENTED, "rotary"},
        {"Nomic without gates", MODEL_NOMIC, 3, false, 1000, 0, NULL, STATUS_UNIMPLEMENTED,
         "gates"},
        {"Nomic with a table", MODEL_NOMIC, 3, true, 0, 0, NULL, STATUS_UNIMPLEMENTED, "rotary"},
        {"Nomic with a head", MODEL_NOMIC, 3, true, 1000, MODEL_HEAD_SCORE, NULL,
         STATUS_UNIMPLEMENTED, "head"},
        {"odd heads", MODEL_NOMIC, 8, true, 1000, 0, NULL, STATUS_DATA_LOSS, "of 3 numbers"},
        {"a wide gate", MODEL_NOMIC, 3, true, 1000, 0, many_rows, STATUS_RESOURCE_EXHAUSTED,
         "fc11"},
        {"many classes", MODEL_BERT, 3, false, 0, MODEL_HEAD_LABELS, many_rows,
         STATUS_RESOURCE_EXHAUSTED, "classifier.weight"},
        {"no classes", MODEL_BERT, 3, false, 0, MODEL_HEAD_LABELS, no_rows, STATUS_NOT_FOUND,
         "classifier.weight"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct model_shape shape = bert;
        shape.family = rows[i].family;
        shape.heads = rows[i].heads;
        shape.gated = rows[i].gated;
        shape.rotary_base = rows[i].rotary;
        shape.head = rows[i].head;
        shape.classes = 0;
        const struct encoder_source source = {NULL, random_has, rows[i].rows, random_read};
        struct err err = {0};
        encoder_t *encoder = NULL;
        TEST_EQ(encoder_load_from(&shape, &source, gemm_choose(GEMM_F32), &encoder, &err),
                rows[i].want);
        TEST_HAS(err.text, rows[i].text);
        TEST_TRUE(!encoder);
    }
}

/* ---- precisions */

static enum status large_words(const void *from, const char *name, uint64_t rows, uint64_t cols,
                               uint64_t first, uint64_t n, float *out, struct err *err) {
    random_read(NULL, name, rows, cols, first, n, out, err);
    if (strstr(name, "word_embeddings") && first <= 290 && first + n > 290)
        out[(290 - first) * cols + 5] = *(const float *)from;
    return STATUS_OK;
}

static void test_words_beyond_half_precision(void **state) {
    (void)state;
    static const struct {
        const char *name;
        float word;
        enum gemm_precision precision;
        enum status want;
    } rows[] = {
        {"as large as it goes", 65519.0f, GEMM_I8, STATUS_OK},
        {"too large", 65520.0f, GEMM_I8, STATUS_OUT_OF_RANGE},
        {"too far below zero", -1e9f, GEMM_BF16, STATUS_OUT_OF_RANGE},
        {"float32 has room", 1e9f, GEMM_F32, STATUS_OK},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        const struct encoder_source source = {&rows[i].word, random_has, NULL, large_words};
        struct err err = {0};
        encoder_t *encoder = NULL;
        TEST_EQ(encoder_load_from(&bert, &source, gemm_choose(rows[i].precision), &encoder, &err),
                rows[i].want);
        TEST_HAS(err.text, rows[i].want == STATUS_OK ? "" : "word_embeddings");
        encoder_destroy(&encoder);
    }
}

/* Every number in half precision is a number in float32, and comes back from there. */
static void test_halves(void **state) {
    (void)state;
    for (const struct kernels *const *kernels = kernels_list(); *kernels; kernels++) {
        if (!(*kernels)->usable())
            continue;
        TEST_ROW((*kernels)->name);
        static uint16_t half[65536];
        static float out[65536];
        uint32_t n = 0;
        for (uint32_t h = 0; h < 65536; h++)
            if ((h & 0x7c00) != 0x7c00)
                half[n++] = (uint16_t)h;
        (*kernels)->widen(out, half, n);
        for (uint32_t i = 0; i < n; i++) {
            const int exponent = half[i] >> 10 & 31;
            const double fraction = half[i] & 1023;
            const double size =
                exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
            TEST_TRUE((double)out[i] == (half[i] & 0x8000 ? -size : size));
        }
        (*kernels)->widen(out, half + 1, 3); /* not a vector, not aligned */
        TEST_TRUE(out[0] == 0x1p-24f && out[2] == 3 * 0x1p-24f && out[3] == 3 * 0x1p-24f);
    }
}

/* Words of an image are the halves nearest to what was read, by a rounding of our own; every third
 * lies just between two of them, where the even one counts. */
static enum status every_word(const void *from, const char *name, uint64_t rows, uint64_t cols,
                              uint64_t first, uint64_t n, float *out, struct err *err) {
    random_read(from, name, rows, cols, first, n, out, err);
    for (uint64_t i = 0; strstr(name, "word_embeddings") && i < n * cols; i++) {
        const int k = (int)(first * cols + i); /* 2^-30 to 2^15, both signs */
        out[i] =
            k % 3 ? out[i] * ldexpf(18.0f, k % 46 - 30) : ldexpf((float)(2 * (k % 2000) + 1), -17);
    }
    return STATUS_OK;
}

static void test_words_are_rounded(void **state) {
    (void)state;
    const struct encoder_source source = {NULL, random_has, NULL, every_word};
    const uint32_t n = bert.vocab_rows * bert.hidden;
    static float words[300 * 24];
    encoder_t *encoder = NULL;
    every_word(NULL, "embeddings.word_embeddings.weight", 300, 24, 0, 300, words, NULL);
    TEST_EQ(encoder_load_from(&bert, &source, gemm_choose(GEMM_I8), &encoder, NULL), STATUS_OK);
    for (uint32_t i = 0; i < n; i++) {
        float got;
        encoder->kernels->widen(&got, encoder->half_words + i, 1);
        const double x = (double)words[i];
        const int e = fabs(x) < 0x1p-14 ? -14 : ilogb(x);
        const double want = ldexp(nearbyint(ldexp(x, 10 - e)), e - 10);
        if ((double)got != want)
            TEST_FAIL("%a becomes %a, want %a", x, (double)got, want);
    }
    encoder_destroy(&encoder);
}

/* ---- images */

static void check_image(const struct model_shape *shape, const struct gemm_kernel *kernel) {
    const size_t bytes = encoder_image_bytes(shape, kernel);
    char *room[2] = {aligned_alloc(64, bytes + 64), aligned_alloc(64, bytes + 64)};
    encoder_t *loaded = NULL, *over[2] = {NULL, NULL};
    TEST_TRUE(room[0] && room[1] && bytes % ENCODER_IMAGE_ALIGN == 0);
    TEST_EQ(encoder_load_from(shape, &random_source, kernel, &loaded, NULL), STATUS_OK);
    TEST_EQ(encoder_weight_bytes(loaded), bytes);
    for (int i = 0; i < 2; i++) {
        memset(room[i], 0, bytes);
        memset(room[i] + bytes, 0x55, 64);
        TEST_EQ(encoder_image_fill(shape, kernel, &random_source, room[i], NULL), STATUS_OK);
        for (size_t k = bytes; k < bytes + 64; k++)
            TEST_EQ(room[i][k], 0x55);
        TEST_EQ(encoder_over(shape, kernel, room[i], &over[i], NULL), STATUS_OK);
        TEST_TRUE(!shape->classes || over[i]->classifier.kernel->precision == GEMM_F32);
        expect_same(loaded, over[i]);
    }
    TEST_MEM_EQ(room[0], room[1], bytes); /* no address, no chance is in it */
    memcpy(room[1], room[0], bytes);
    encoder_destroy(&over[0]);
    free(room[0]); /* nothing points back to where it was filled */
    expect_same(loaded, over[1]);
    encoder_destroy(&over[1]);
    encoder_destroy(&loaded);
    free(room[1]);
}

static void test_images(void **state) {
    (void)state;
    for (size_t f = 0; f < FAMILIES; f++)
        for (int p = 0; p < GEMM_PRECISIONS; p++)
            for (const struct gemm_kernel *const *k = gemm_list((enum gemm_precision)p); *k; k++)
                if ((*k)->usable()) {
                    TEST_ROW((*k)->name);
                    const struct model_shape shape = shape_of(families[f].family);
                    check_image(&shape, *k);
                }
}

/* Heads lie in images as the portable kernel of float32 packs them, and those are known by
 * ENCODER_IMAGE_LAYOUT alone: whoever packs otherwise must raise both numbers. */
static void test_layout_of_heads(void **state) {
    (void)state;
    TEST_EQ(gemm_by_name(GEMM_F32, "portable")->layout, 1);
    TEST_EQ(ENCODER_IMAGE_LAYOUT, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_tensor_counts),
        cmocka_unit_test(test_sizes_of_tensors),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_words_beyond_half_precision),
        cmocka_unit_test(test_halves),
        cmocka_unit_test(test_words_are_rounded),
        cmocka_unit_test(test_images),
        cmocka_unit_test(test_layout_of_heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
