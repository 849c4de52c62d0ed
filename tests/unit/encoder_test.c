/* encoder_test.c - the forward pass over random weights against the formulas in double precision,
 * one token and one number at a time; and everything loading can refuse. */
#include "model/encoder_parts.h"

#include "base/limits.h"
#include "support/guarded.h"
#include "support/slow_encoder.h"

#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { TOKENS_MAX = SLOW_TOKENS, HIDDEN_MAX = SLOW_HIDDEN };

static const struct model_shape tiny = {.layers = 2,
                                        .hidden = 60, /* no multiple of anything */
                                        .heads = 5,
                                        .inner = 150,
                                        .vocab_rows = 97,
                                        .positions = 512,
                                        .types = 2,
                                        .max_tokens = 512,
                                        .eps = 1e-12f};

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
            self->types[i] = shape->types > 1 && i - self->start[s] > lengths[s] / 2;
        }
    }
    TEST_TRUE(self->start[n_seqs] <= TOKENS_MAX);
}

/* out: [n_seqs, model_outputs(shape)]. The arena is as large as encoder_scratch_bytes() says and
 * not a byte larger. */
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
    encoder->attention = encoder->kernels->attention; /* exact, whatever the precision */
    batch_make(&batch, shape, lengths, n_seqs);
    batch_run(encoder, &batch, out);
    const uint32_t n = model_outputs(encoder_shape(encoder));
    for (uint32_t s = 0; s < n_seqs; s++) {
        double want[HIDDEN_MAX];
        slow_forward(shape, kernel->precision != GEMM_F32, batch.ids + batch.start[s],
                     batch.types + batch.start[s], lengths[s], want);
        for (uint32_t c = 0; c < n; c++)
            if (!(fabs((double)out[s * n + c] - want[c]) <= tolerance))
                TEST_FAIL("%s: sequence %u of %u tokens, number %u: %.9g, want %.9g", kernel->name,
                          s, lengths[s], c, (double)out[s * n + c], want[c]);
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

static const struct model_shape nomic = {.family = MODEL_NOMIC,
                                         .act = MODEL_SILU,
                                         .gated = true,
                                         .rotary_base = 1000,
                                         .layers = 2,
                                         .hidden = 60,
                                         .heads = 5,
                                         .inner = 150,
                                         .vocab_rows = 97,
                                         .positions = 600,
                                         .types = 2,
                                         .max_tokens = 600,
                                         .eps = 1e-12f};

/* Exact products, and everything else as with products that are not: half a word table, a head in
 * float32 of its own. */
static const struct gemm_kernel *rounded_kernel(void) {
    static struct gemm_kernel kernel;
    kernel = *gemm_choose(GEMM_F32);
    kernel.name = "float32 said to be bfloat16";
    kernel.precision = GEMM_BF16;
    return &kernel;
}

static void test_families(void **state) {
    (void)state;
    static const uint32_t mixed[] = {5, 1, 17, 2, 33, 16, 40, 3};
    static const struct {
        const char *name;
        enum model_family family;
        uint32_t hidden, heads, inner, types;
        enum model_pooling pooling;
        enum model_head head;
        uint32_t classes;
        float factor;
        uint32_t trained;
    } rows[] = {
        {.name = "nomic", .family = MODEL_NOMIC},
        {.name = "nomic, heads of 64", .family = MODEL_NOMIC, .hidden = 64, .heads = 1},
        {.name = "nomic, heads of 2", .family = MODEL_NOMIC, .hidden = 40, .heads = 20},
        {.name = "nomic, first token", .family = MODEL_NOMIC, .pooling = MODEL_POOL_CLS},
        {.name = "nomic, longer than trained", .family = MODEL_NOMIC, .factor = 2, .trained = 16},
        {.name = "nomic, trained as long", .family = MODEL_NOMIC, .factor = 2, .trained = 600},
        {.name = "nomic without scaling", .family = MODEL_NOMIC, .trained = 16},
        {.name = "bert, labels", .head = MODEL_HEAD_LABELS, .classes = 4},
        {.name = "bert, entailment", .head = MODEL_HEAD_NLI, .classes = 3, .pooling = 1},
        {.name = "bert, score", .head = MODEL_HEAD_SCORE, .classes = 1, .hidden = 48, .heads = 4},
        {.name = "bert, classes beyond the width", .head = MODEL_HEAD_LABELS, .classes = 77},
        {.name = "bert, four segments", .types = 4},
        {.name = "bert, one segment", .types = 1},
        {.name = "distilbert", .family = MODEL_DISTILBERT},
        {.name = "distilbert, no types", .family = MODEL_DISTILBERT, .types = UINT32_MAX},
        {.name = "distilbert, first token", .family = MODEL_DISTILBERT, .pooling = MODEL_POOL_CLS},
        {.name = "distilbert, labels",
         .family = MODEL_DISTILBERT,
         .head = MODEL_HEAD_LABELS,
         .classes = 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct model_shape shape = rows[i].family == MODEL_NOMIC ? nomic : tiny;
        shape.family = rows[i].family;
        shape.hidden = rows[i].hidden ? rows[i].hidden : shape.hidden;
        shape.heads = rows[i].heads ? rows[i].heads : shape.heads;
        shape.types = rows[i].types ? rows[i].types : shape.types;
        shape.types = rows[i].types == UINT32_MAX ? 0 : shape.types;
        shape.pooling = rows[i].pooling;
        shape.head = rows[i].head;
        shape.classes = rows[i].classes;
        shape.rotary_factor = rows[i].factor;
        shape.rotary_trained = rows[i].trained;
        for (const struct gemm_kernel *const *kernel = gemm_list(GEMM_F32); *kernel; kernel++)
            if ((*kernel)->usable())
                compare(&shape, *kernel, mixed, 8);
        compare(&shape, rounded_kernel(), mixed, 8);
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
    struct model_shape scaled = nomic;
    scaled.rotary_factor = 2;
    scaled.rotary_trained = 64;
    compare(&scaled, gemm_choose(GEMM_F32), several, 7);
    compare(&scaled, gemm_choose(GEMM_F32), longest, 3);
}

/* The answer to a text is the same to the last bit whatever comes with it: our kernels add in one
 * order whatever the number of rows. OpenBLAS does not promise that. */
static const struct gemm_kernel *own_kernel(void) {
    const struct gemm_kernel *kernel = gemm_choose(GEMM_F32);
    return strcmp(kernel->name, "openblas") == 0 ? gemm_by_name(GEMM_F32, "portable") : kernel;
}

static void check_company(const struct model_shape *shape) {
    static const uint32_t lengths[] = {9, 30, 9, 200, 9, 100};
    static struct batch batch, single;
    static float out[6 * HIDDEN_MAX], alone[HIDDEN_MAX];
    encoder_t *encoder = load(shape, own_kernel());
    const uint32_t n = model_outputs(shape);
    batch_make(&batch, shape, lengths, 6);
    batch_run(encoder, &batch, out);
    for (uint32_t s = 0; s < 6; s++) {
        single = (struct batch){.n_seqs = 1, .start = {0, lengths[s]}};
        memcpy(single.ids, batch.ids + batch.start[s], lengths[s] * sizeof(int32_t));
        memcpy(single.types, batch.types + batch.start[s], lengths[s] * sizeof(int32_t));
        batch_run(encoder, &single, alone);
        TEST_MEM_EQ(alone, out + s * n, n * sizeof(float));
    }
    encoder_destroy(&encoder);
}

/* ---- a team */

enum { HELPERS = 2 };

struct helper {
    const encoder_t *encoder;
    uint32_t n_tokens;
    struct team *team;
    atomic_bool *stop;
    pthread_t thread;
};

static void *help(void *arg) {
    struct helper *self = arg;
    struct arena arena;
    TEST_TRUE(arena_init(&arena, encoder_scratch_bytes(self->encoder, self->n_tokens, 1)));
    while (!atomic_load(self->stop))
        encoder_help(self->encoder, self->n_tokens, &arena, self->team, NULL, NULL);
    TEST_EQ(arena.used, 0);
    arena_done(&arena);
    return NULL;
}

/* The same to the last bit, whoever helps and whenever. */
static void check_team(const struct model_shape *shape) {
    enum { PASSES = 12 };
    static const uint32_t lengths[] = {9, 130, 40, 200};
    static struct batch batch;
    static float alone[4 * HIDDEN_MAX], shared[4 * HIDDEN_MAX];
    encoder_t *encoder = load(shape, own_kernel());
    const size_t bytes = 4 * model_outputs(shape) * sizeof(float);
    batch_make(&batch, shape, lengths, 4);
    batch_run(encoder, &batch, alone);
    const uint32_t n_tokens = batch.start[4];
    struct team team = {0};
    atomic_bool stop = false;
    struct helper helpers[HELPERS];
    for (int i = 0; i < HELPERS; i++) {
        helpers[i] = (struct helper){encoder, n_tokens, &team, &stop, 0};
        TEST_EQ(pthread_create(&helpers[i].thread, NULL, help, &helpers[i]), 0);
    }
    struct arena arena;
    TEST_TRUE(arena_init(&arena, encoder_scratch_bytes(encoder, n_tokens, 4)));
    for (uint32_t pass = 0; pass < PASSES; pass++) {
        team_begin(&team);
        while (pass >= PASSES / 3 && team_helpers(&team) < (pass >= PASSES / 2 ? HELPERS : 1))
            sched_yield(); /* first whoever is there, then one, then both */
        memset(shared, 0, bytes);
        encoder_forward_team(encoder, batch.ids, batch.types, batch.start, 4, &arena, shared,
                             &team);
        team_end(&team);
        TEST_MEM_EQ(shared, alone, bytes);
        TEST_EQ(arena.used, 0);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < HELPERS; i++)
        pthread_join(helpers[i].thread, NULL);
    arena_done(&arena);
    encoder_destroy(&encoder);
}

static void test_company_changes_nothing(void **state) {
    (void)state;
    struct model_shape labels = tiny, distil = tiny, scaled = nomic;
    labels.head = MODEL_HEAD_LABELS;
    labels.classes = 5;
    distil.family = MODEL_DISTILBERT;
    scaled.rotary_factor = 4;
    scaled.rotary_trained = 20;
    const struct {
        const char *name;
        const struct model_shape *shape;
    } rows[] = {{"bert", &tiny},
                {"head", &labels},
                {"distilbert", &distil},
                {"nomic", &nomic},
                {"nomic, scaled", &scaled}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        check_company(rows[i].shape);
        check_team(rows[i].shape);
    }
}

static void check_no_malloc(const struct model_shape *shape) {
    static const uint32_t lengths[] = {60, 300, 7};
    static struct batch batch;
    static float out[3 * HIDDEN_MAX];
    struct arena arena;
    encoder_t *encoder = load(shape, rounded_kernel());
    batch_make(&batch, shape, lengths, 3);
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

static void test_no_malloc(void **state) {
    (void)state;
    struct model_shape labels = tiny, scaled = nomic;
    labels.head = MODEL_HEAD_LABELS;
    labels.classes = 5;
    scaled.rotary_factor = 4;
    scaled.rotary_trained = 20;
    check_no_malloc(&tiny);
    check_no_malloc(&labels);
    check_no_malloc(&scaled);
}

/* 8192 tokens need memory for 8192 states, not for 8192 x 8192 scores. */
static void test_long_sequences_need_little(void **state) {
    (void)state;
    struct model_shape shape = nomic;
    shape.positions = shape.max_tokens = 8192;
    encoder_t *encoder = load(&shape, gemm_choose(GEMM_F32));
    const size_t one = encoder_scratch_bytes(encoder, 4096, 1),
                 two = encoder_scratch_bytes(encoder, 8192, 1);
    TEST_TRUE(two < 2 * one && two < 8192 * 60 * sizeof(float) * 8);
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
        cmocka_unit_test(test_forward),   cmocka_unit_test(test_families),
        cmocka_unit_test(test_chunks),    cmocka_unit_test(test_company_changes_nothing),
        cmocka_unit_test(test_no_malloc), cmocka_unit_test(test_long_sequences_need_little),
        cmocka_unit_test(test_names),     cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
