/* encoder_test.c - the forward pass over random weights against the formulas in double precision,
 * one token and one number at a time; and everything loading can refuse. */
#include "model/encoder_parts.h"

#include "base/limits.h"
#include "support/guarded.h"
#include "support/random_encoder.h"

#include <malloc.h>

enum { TOKENS_MAX = 700, HIDDEN_MAX = 96, INNER_MAX = 256 };

static const struct model_shape tiny = {.layers = 2,
                                        .hidden = 60, /* no multiple of anything */
                                        .heads = 5,
                                        .inner = 150,
                                        .vocab_rows = 97,
                                        .positions = 512,
                                        .types = 2,
                                        .max_tokens = 512,
                                        .eps = 1e-12f};

/* ---- the slow way: sequences one by one, weights asked from the source by name */

static void slow_read(const char *name, uint32_t layer, uint64_t rows, uint64_t cols, float *out) {
    char full[128];
    snprintf(full, sizeof full, name, layer);
    random_read(NULL, full, rows, cols, 0, rows, out, NULL);
}

static void slow_linear(const char *part, uint32_t layer, uint32_t n, uint32_t k, const double *x,
                        uint32_t rows, double *out) {
    static float w[INNER_MAX * INNER_MAX], bias[INNER_MAX];
    char name[128];
    snprintf(name, sizeof name, "encoder.layer.%%u.%s.weight", part);
    slow_read(name, layer, n, k, w);
    snprintf(name, sizeof name, "encoder.layer.%%u.%s.bias", part);
    slow_read(name, layer, 1, n, bias);
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++) {
            double sum = (double)bias[i];
            for (size_t j = 0; j < k; j++)
                sum += x[r * k + j] * (double)w[i * k + j];
            out[r * n + i] = sum;
        }
}

static void slow_norm(const char *part, uint32_t layer, uint32_t n, double eps, double *x,
                      uint32_t rows) {
    static float w[HIDDEN_MAX], bias[HIDDEN_MAX];
    char name[128];
    snprintf(name, sizeof name, "%s.weight", part);
    slow_read(name, layer, 1, n, w);
    snprintf(name, sizeof name, "%s.bias", part);
    slow_read(name, layer, 1, n, bias);
    for (size_t r = 0; r < rows; r++, x += n) {
        double mean = 0, variance = 0;
        for (size_t i = 0; i < n; i++)
            mean += x[i] / n;
        for (size_t i = 0; i < n; i++)
            variance += (x[i] - mean) * (x[i] - mean) / n;
        for (size_t i = 0; i < n; i++)
            x[i] = (x[i] - mean) / sqrt(variance + eps) * (double)w[i] + (double)bias[i];
    }
}

static void slow_attention(const double *q, const double *k, const double *v, uint32_t n,
                           uint32_t h, uint32_t heads, double *out) {
    static double p[TOKENS_MAX];
    const size_t d = h / heads;
    for (size_t head = 0; head < heads; head++)
        for (size_t i = 0; i < n; i++) {
            double top = -1e300, sum = 0;
            for (size_t j = 0; j < n; j++) {
                p[j] = 0;
                for (size_t c = head * d; c < (head + 1) * d; c++)
                    p[j] += q[i * h + c] * k[j * h + c] / sqrt((double)d);
                top = fmax(top, p[j]);
            }
            for (size_t j = 0; j < n; j++)
                sum += p[j] = exp(p[j] - top);
            for (size_t c = head * d; c < (head + 1) * d; c++) {
                out[i * h + c] = 0;
                for (size_t j = 0; j < n; j++)
                    out[i * h + c] += p[j] / sum * v[j * h + c];
            }
        }
}

static double slow_act(double x, enum model_act act) {
    switch (act) {
    case MODEL_GELU:
        return 0.5 * x * (1.0 + erf(x / sqrt(2.0)));
    case MODEL_GELU_NEW:
        return 0.5 * x * (1.0 + tanh(sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
    case MODEL_RELU:
        return x > 0 ? x : 0;
    case MODEL_SILU:
        return x / (1.0 + exp(-x));
    }
    return x;
}

static void slow_forward(const struct model_shape *shape, const int32_t *ids, const int32_t *types,
                         uint32_t n, double *out) {
    enum { STATES = TOKENS_MAX * HIDDEN_MAX };
    static double x[STATES], q[STATES], k[STATES], v[STATES], mid[TOKENS_MAX * INNER_MAX];
    static float words[1000 * HIDDEN_MAX], positions[512 * HIDDEN_MAX], segments[4 * HIDDEN_MAX];
    const uint32_t h = shape->hidden, inner = shape->inner;
    slow_read("embeddings.word_embeddings.weight", 0, shape->vocab_rows, h, words);
    slow_read("embeddings.position_embeddings.weight", 0, shape->positions, h, positions);
    slow_read("embeddings.token_type_embeddings.weight", 0, shape->types, h, segments);
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < h; c++)
            x[i * h + c] = (double)words[(size_t)ids[i] * h + c] + (double)positions[i * h + c] +
                           (double)segments[(size_t)types[i] * h + c];
    slow_norm("embeddings.LayerNorm", 0, h, (double)shape->eps, x, n);
    for (uint32_t l = 0; l < shape->layers; l++) {
        slow_linear("attention.self.query", l, h, h, x, n, q);
        slow_linear("attention.self.key", l, h, h, x, n, k);
        slow_linear("attention.self.value", l, h, h, x, n, v);
        slow_attention(q, k, v, n, h, shape->heads, mid);
        slow_linear("attention.output.dense", l, h, h, mid, n, q);
        for (size_t i = 0; i < (size_t)n * h; i++)
            x[i] += q[i];
        slow_norm("encoder.layer.%u.attention.output.LayerNorm", l, h, (double)shape->eps, x, n);
        slow_linear("intermediate.dense", l, inner, h, x, n, mid);
        for (size_t i = 0; i < (size_t)n * inner; i++)
            mid[i] = slow_act(mid[i], shape->act);
        slow_linear("output.dense", l, h, inner, mid, n, q);
        for (size_t i = 0; i < (size_t)n * h; i++)
            x[i] += q[i];
        slow_norm("encoder.layer.%u.output.LayerNorm", l, h, (double)shape->eps, x, n);
    }
    for (size_t c = 0; c < h; c++) {
        out[c] = x[c];
        for (size_t i = 1; i < n && shape->pooling == MODEL_POOL_MEAN; i++)
            out[c] += x[i * h + c];
        if (shape->pooling == MODEL_POOL_MEAN)
            out[c] /= n;
    }
}

/* ---- batches */

struct batch {
    uint32_t n_seqs, start[64];
    int32_t ids[TOKENS_MAX], types[TOKENS_MAX];
};

static void batch_make(struct batch *self, const struct model_shape *shape, const uint32_t *lengths,
                       uint32_t n_seqs) {
    uint64_t seed = 11;
    self->n_seqs = n_seqs;
    self->start[0] = 0;
    for (uint32_t s = 0; s < n_seqs; s++) {
        self->start[s + 1] = self->start[s] + lengths[s];
        for (uint32_t i = self->start[s]; i < self->start[s + 1]; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            self->ids[i] = (int32_t)((seed >> 33) % shape->vocab_rows);
            self->types[i] = i - self->start[s] > lengths[s] / 2;
        }
    }
    TEST_TRUE(self->start[n_seqs] <= TOKENS_MAX);
}

/* out: [n_seqs, hidden]. The arena is as large as encoder_scratch_bytes() says and not a byte
 * larger. */
static void batch_run(const encoder_t *encoder, const struct batch *batch, float *out) {
    struct arena arena;
    const uint32_t n_tokens = batch->start[batch->n_seqs];
    TEST_TRUE(arena_init(&arena, encoder_scratch_bytes(encoder, n_tokens, batch->n_seqs)));
    encoder_forward(encoder, batch->ids, batch->types, batch->start, batch->n_seqs, &arena, out);
    TEST_EQ(arena.used, 0);
    arena_done(&arena);
}

static encoder_t *load(const struct model_shape *shape, const struct gemm_kernel *kernel) {
    encoder_t *encoder = NULL;
    struct err err = {0};
    if (encoder_load_from(shape, &random_source, kernel, &encoder, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
    return encoder;
}

/* Pooled states have size 1; two or three layers of float32 keep them within some units of 1e-6. */
static const double tolerance = 1e-5;

static void compare(const struct model_shape *shape, const struct gemm_kernel *kernel,
                    const uint32_t *lengths, uint32_t n_seqs) {
    static struct batch batch;
    static float out[64 * HIDDEN_MAX];
    encoder_t *encoder = load(shape, kernel);
    batch_make(&batch, shape, lengths, n_seqs);
    batch_run(encoder, &batch, out);
    for (uint32_t s = 0; s < n_seqs; s++) {
        double want[HIDDEN_MAX];
        slow_forward(shape, batch.ids + batch.start[s], batch.types + batch.start[s], lengths[s],
                     want);
        for (uint32_t c = 0; c < shape->hidden; c++)
            if (!(fabs((double)out[s * shape->hidden + c] - want[c]) <= tolerance))
                TEST_FAIL("%s: sequence %u of %u tokens, number %u: %.9g, want %.9g", kernel->name,
                          s, lengths[s], c, (double)out[s * shape->hidden + c], want[c]);
    }
    encoder_destroy(&encoder);
}

static void test_forward(void **state) {
    (void)state;
    static const uint32_t mixed[] = {5, 1, 17, 2, 33, 16};
    static const struct {
        const char *name;
        uint32_t hidden, heads, inner;
        enum model_act act;
        enum model_pooling pooling;
        float eps;
    } rows[] = {
        {"odd widths, mean", 60, 5, 150, MODEL_GELU, MODEL_POOL_MEAN, 1e-12f},
        {"odd widths, first token", 60, 5, 150, MODEL_GELU, MODEL_POOL_CLS, 1e-12f},
        {"heads of 8", 96, 12, 200, MODEL_GELU_NEW, MODEL_POOL_MEAN, 1e-5f},
        {"heads of 32", 96, 3, 256, MODEL_RELU, MODEL_POOL_CLS, 1e-12f},
        {"heads of 64", 64, 1, 256, MODEL_SILU, MODEL_POOL_MEAN, 1e-12f},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct model_shape shape = tiny;
        shape.hidden = rows[i].hidden;
        shape.heads = rows[i].heads;
        shape.inner = rows[i].inner;
        shape.act = rows[i].act;
        shape.pooling = rows[i].pooling;
        shape.eps = rows[i].eps;
        for (const struct gemm_kernel *const *kernel = gemm_list(GEMM_F32); *kernel; kernel++)
            if ((*kernel)->usable())
                compare(&shape, *kernel, mixed, 6);
    }
}

/* Batches that are cut into several chunks, and a sequence that is longer than a chunk. */
static void test_chunks(void **state) {
    (void)state;
    static const uint32_t several[] = {100, 100, 100, 56, 1, 256, 40};
    static const uint32_t longest[] = {3, 512, 3};
    static const uint32_t thin[] = {100, 100, 57, 100, 99, 57, 100};
    struct model_shape shape = tiny;
    for (int pooling = MODEL_POOL_MEAN; pooling <= MODEL_POOL_CLS; pooling++) {
        shape.pooling = (enum model_pooling)pooling;
        compare(&shape, gemm_choose(GEMM_F32), several, 7);
        compare(&shape, gemm_choose(GEMM_F32), longest, 3);
        struct model_shape narrow =
            shape; /* where a chunk, not a sequence, decides what scratch holds */
        narrow.max_tokens = 100;
        compare(&narrow, gemm_choose(GEMM_F32), thin, 7);
    }
}

/* The answer to a text is the same to the last bit whatever comes with it: our kernels add in one
 * order whatever the number of rows. OpenBLAS does not promise that. */
static void test_company_changes_nothing(void **state) {
    (void)state;
    static const uint32_t lengths[] = {9, 30, 9, 200, 9, 100};
    static struct batch batch, single;
    static float out[6 * HIDDEN_MAX], alone[HIDDEN_MAX];
    const struct gemm_kernel *kernel = gemm_choose(GEMM_F32);
    if (strcmp(kernel->name, "openblas") == 0)
        kernel = gemm_by_name(GEMM_F32, "portable");
    encoder_t *encoder = load(&tiny, kernel);
    batch_make(&batch, &tiny, lengths, 6);
    batch_run(encoder, &batch, out);
    for (uint32_t s = 0; s < 6; s++) {
        single = (struct batch){.n_seqs = 1, .start = {0, lengths[s]}};
        memcpy(single.ids, batch.ids + batch.start[s], lengths[s] * sizeof(int32_t));
        memcpy(single.types, batch.types + batch.start[s], lengths[s] * sizeof(int32_t));
        batch_run(encoder, &single, alone);
        TEST_MEM_EQ(alone, out + s * tiny.hidden, tiny.hidden * sizeof(float));
    }
    encoder_destroy(&encoder);
}

static void test_no_malloc(void **state) {
    (void)state;
    static const uint32_t lengths[] = {60, 300, 7};
    static struct batch batch;
    static float out[3 * HIDDEN_MAX];
    struct arena arena;
    encoder_t *encoder = load(&tiny, gemm_choose(GEMM_F32));
    batch_make(&batch, &tiny, lengths, 3);
    TEST_TRUE(arena_init(&arena, encoder_scratch_bytes(encoder, 367, 3) + 4096));
    TEST_TRUE(arena_take(&arena, 100)); /* what was there stays there */
    const size_t used = arena.used;
    const struct mallinfo2 before = mallinfo2();
    encoder_forward(encoder, batch.ids, batch.types, batch.start, 3, &arena, out);
    const struct mallinfo2 after = mallinfo2();
    TEST_EQ(arena.used, used);
    TEST_EQ(after.uordblks, before.uordblks);
    TEST_EQ(after.hblkhd, before.hblkhd);
    arena_done(&arena);
    encoder_destroy(&encoder);
}

/* ---- names and failures */

struct altered {
    const char *prefix;  /* names in this source begin with it */
    bool old_norms;      /* gamma, beta */
    const char *without; /* this tensor is missing */
    const char *strange; /* this one has another shape */
};

static bool altered_has(const void *from, const char *name) {
    const struct altered *self = from;
    const size_t skip = strlen(self->prefix);
    if (strncmp(name, self->prefix, skip) != 0 || (!skip && strncmp(name, "bert.", 5) == 0))
        return false;
    if (self->without && strcmp(name + skip, self->without) == 0)
        return false;
    const bool is_new = strstr(name, "LayerNorm.weight") || strstr(name, "LayerNorm.bias");
    const bool is_old = strstr(name, "gamma") || strstr(name, "beta");
    return self->old_norms ? !is_new : !is_old;
}

static enum status altered_read(const void *from, const char *name, uint64_t rows, uint64_t cols,
                                uint64_t first, uint64_t n, float *out, struct err *err) {
    const struct altered *self = from;
    if (!altered_has(from, name))
        return err_set(err, STATUS_NOT_FOUND, "no tensor '%s'", name);
    if (self->strange && strcmp(name, self->strange) == 0)
        return err_set(err, STATUS_DATA_LOSS, "tensor '%s' has another shape", name);
    char known[128];
    snprintf(known, sizeof known, "%s", name + strlen(self->prefix));
    char *old = strstr(known, "gamma");
    if (old)
        snprintf(old, 8, "weight");
    old = strstr(known, "beta");
    if (old)
        snprintf(old, 8, "bias");
    return random_read(NULL, known, rows, cols, first, n, out, err);
}

static void test_names(void **state) {
    (void)state;
    static const struct {
        const char *name;
        struct altered altered;
        enum status want;
        const char *text;
    } rows[] = {
        {"plain", {.prefix = ""}, STATUS_OK, ""},
        {"prefix", {.prefix = "bert."}, STATUS_OK, ""},
        {"old norms", {.prefix = "", .old_norms = true}, STATUS_OK, ""},
        {"both", {.prefix = "bert.", .old_norms = true}, STATUS_OK, ""},
        {"no bias",
         {.prefix = "", .without = "encoder.layer.1.output.dense.bias"},
         STATUS_NOT_FOUND,
         "'encoder.layer.1.output.dense.bias'"},
        {"no words",
         {.prefix = "bert.", .without = "embeddings.word_embeddings.weight"},
         STATUS_NOT_FOUND,
         "embeddings.word_embeddings.weight"},
        {"no norm",
         {.prefix = "", .without = "encoder.layer.0.output.LayerNorm.weight"},
         STATUS_NOT_FOUND,
         "encoder.layer.0.output.LayerNorm.weight"},
        {"another shape",
         {.prefix = "", .strange = "encoder.layer.0.attention.self.key.weight"},
         STATUS_DATA_LOSS,
         "key.weight"},
    };
    static const uint32_t lengths[] = {4};
    static struct batch batch;
    static float want[HIDDEN_MAX], out[HIDDEN_MAX];
    const struct gemm_kernel *kernel = gemm_choose(GEMM_F32);
    encoder_t *encoder = load(&tiny, kernel);
    batch_make(&batch, &tiny, lengths, 1);
    batch_run(encoder, &batch, want);
    TEST_TRUE(encoder_weight_bytes(encoder) >= 2 * (4 * 60 * 60 + 2 * 60 * 150) * sizeof(float));
    encoder_destroy(&encoder);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        const struct encoder_source source = {&rows[i].altered, altered_has, NULL, altered_read};
        struct err err = {0};
        TEST_EQ(encoder_load_from(&tiny, &source, kernel, &encoder, &err), rows[i].want);
        TEST_HAS(err.text, rows[i].text);
        if (rows[i].want == STATUS_OK) {
            batch_run(encoder, &batch, out);
            TEST_MEM_EQ(out, want, tiny.hidden * sizeof(float));
        } else {
            TEST_TRUE(!encoder);
        }
        encoder_destroy(&encoder);
    }
}

/* AddressSanitizer ends the program at an allocation that is too large, unless it is told not
 * to. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "allocator_may_return_null=1";
}

/* A configuration that promises more than memory has is an answer, not a crash. */
static void test_no_memory(void **state) {
    (void)state;
    struct model_shape shape = tiny;
    shape.hidden = LIMIT_HIDDEN;
    shape.heads = 1;
    shape.inner = LIMIT_HIDDEN;
    shape.layers = LIMIT_LAYERS;
    shape.vocab_rows = UINT32_MAX;
    const struct altered nothing = {.prefix = "", .without = "embeddings.word_embeddings.weight"};
    const struct encoder_source source = {&nothing, altered_has, NULL, altered_read};
    encoder_t *encoder = NULL;
    const enum status st =
        encoder_load_from(&shape, &source, gemm_choose(GEMM_F32), &encoder, NULL);
    TEST_TRUE(st == STATUS_RESOURCE_EXHAUSTED || st == STATUS_NOT_FOUND);
    TEST_TRUE(!encoder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forward),
        cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_company_changes_nothing),
        cmocka_unit_test(test_no_malloc),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
