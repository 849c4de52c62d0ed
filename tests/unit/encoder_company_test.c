/* encoder_company_test.c - the answer to a text does not depend on the texts that come with it, to
 * the last bit: every text of a pool is computed alone, then in random company, with every kernel
 * and every table of row kernels that this CPU can run.
 *
 * OpenBLAS chooses its order of sums by the number of rows, so there a tolerance stands instead. */
#include "model/encoder_parts.h"
#include "model/encoder_random.h"
#include "support/guarded.h"

enum { POOL = 24, HIDDEN_MAX = 96, TEXT_MAX = 300, BATCH_TEXTS = 12 };
#ifdef EMBER_SANITIZED
enum { BATCHES = 4 };
#else
enum { BATCHES = 25 };
#endif
enum { BATCH_TOKENS = BATCH_TEXTS * TEXT_MAX };

static const double openblas_tolerance = 1e-5; /* states of size 1 after two layers */

/* Texts of all lengths around the sizes of tiles, vectors and blocks. */
static const uint32_t lengths[POOL] = {1,  2,  3,  5,  7,  8,  9,  12, 15,  16,  17,  24,
                                       31, 32, 33, 48, 49, 63, 65, 97, 127, 129, 200, TEXT_MAX};

struct text {
    int32_t ids[TEXT_MAX], types[TEXT_MAX];
    float alone[HIDDEN_MAX];
};

static struct text pool[POOL];

static uint32_t draw(uint64_t *seed, uint32_t below) {
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((*seed >> 33) % below);
}

/* picks: which texts of the pool, in order; out: [n, outputs]. */
static void run(const encoder_t *encoder, const uint32_t *picks, uint32_t n, float *out) {
    static int32_t ids[BATCH_TOKENS], types[BATCH_TOKENS];
    uint32_t start[BATCH_TEXTS + 1] = {0};
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t tokens = lengths[picks[i]];
        memcpy(ids + start[i], pool[picks[i]].ids, tokens * sizeof *ids);
        memcpy(types + start[i], pool[picks[i]].types, tokens * sizeof *types);
        start[i + 1] = start[i] + tokens;
    }
    struct arena arena;
    TEST_TRUE(arena_init(&arena, encoder_scratch_bytes(encoder, start[n], n)));
    encoder_forward(encoder, ids, types, start, n, &arena, out);
    arena_done(&arena);
}

static void compare(const encoder_t *encoder, uint32_t text, const float *out, uint32_t batch) {
    const uint32_t n = model_outputs(&encoder->shape);
    const float *alone = pool[text].alone;
    if (strcmp(encoder->gemm->name, "openblas") == 0) {
        for (uint32_t i = 0; i < n; i++)
            TEST_NEAR(out[i], alone[i], openblas_tolerance);
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        if (memcmp(&out[i], &alone[i], sizeof out[i]) != 0)
            TEST_FAIL("batch %u, text of %u tokens, number %u: %.9g, alone %.9g", batch,
                      lengths[text], i, (double)out[i], (double)alone[i]);
}

static void check_company(const encoder_t *encoder) {
    static float out[BATCH_TEXTS * HIDDEN_MAX];
    const uint32_t n = model_outputs(&encoder->shape);
    for (uint32_t i = 0; i < POOL; i++)
        run(encoder, &i, 1, pool[i].alone);
    uint64_t seed = 7;
    for (uint32_t batch = 0; batch < BATCHES; batch++) {
        uint32_t picks[BATCH_TEXTS];
        const uint32_t texts = 1 + draw(&seed, BATCH_TEXTS);
        for (uint32_t i = 0; i < texts; i++)
            picks[i] = draw(&seed, POOL);
        run(encoder, picks, texts, out);
        for (uint32_t i = 0; i < texts; i++)
            compare(encoder, picks[i], out + i * n, batch);
    }
}

static void check_kernel(const struct model_shape *shape, const struct gemm_kernel *kernel) {
    struct err err = {0};
    encoder_t *encoder = NULL;
    if (encoder_load_from(shape, &random_source, kernel, &encoder, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
    for (const struct kernels *const *rows = kernels_list(); *rows; rows++)
        if ((*rows)->usable()) {
            static char row[64];
            snprintf(row, sizeof row, "hidden %u, precision %d, %s, rows by %s", shape->hidden,
                     (int)kernel->precision, kernel->name, (*rows)->name);
            TEST_ROW(row);
            encoder->kernels = *rows;
            encoder->attention = kernel->precision == GEMM_F32 ? (*rows)->attention
                                                               : kernels_attention_narrow(*rows);
            check_company(encoder);
        }
    encoder_destroy(&encoder);
}

static void test_company(void **state) {
    (void)state;
    static const struct model_shape shapes[] = {
        {.layers = 2,
         .hidden = 60, /* no multiple of anything */
         .heads = 5,
         .inner = 150,
         .vocab_rows = 97,
         .positions = 512,
         .types = 2,
         .max_tokens = 512,
         .eps = 1e-12f},
        {.layers = 2,
         .hidden = 96,
         .heads = 3,
         .inner = 192,
         .vocab_rows = 97,
         .positions = 512,
         .types = 2,
         .max_tokens = 512,
         .pooling = MODEL_POOL_CLS,
         .eps = 1e-12f},
    };
    uint64_t seed = 3;
    for (uint32_t t = 0; t < POOL; t++)
        for (uint32_t i = 0; i < lengths[t]; i++) {
            pool[t].ids[i] = (int32_t)draw(&seed, 97);
            pool[t].types[i] = (int32_t)draw(&seed, 2);
        }
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int p = 0; p < GEMM_PRECISIONS; p++)
            for (const struct gemm_kernel *const *kernel = gemm_list((enum gemm_precision)p);
                 *kernel; kernel++)
                if ((*kernel)->usable())
                    check_kernel(&shapes[s], *kernel);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_company)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
