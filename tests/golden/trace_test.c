/* trace_test.c - the forward pass, step by step, against states computed in double precision by
 * PyTorch (tests/data/golden/README.md), of one model of each kind and with every product kernel of
 * float32.
 *
 * A correct float32 engine is within 5e-6, or of numbers beyond 1 within 3e-6 of their size; from
 * 1e-5 on there is a cause (tanh for erf costs 7e-5). */
#include "support/test.h"

#include "model/encoder_parts.h"
#include "json/json.h"

#include <math.h>

#define GOLDEN EMBER_SOURCE_DIR "/tests/data/golden/"

enum { TOKENS = 16, WIDTH_MAX = 400 };
static const double tolerance = 1e-5;

static const struct model {
    const char *name, *folder, *trace;
    struct model_shape shape;
    uint32_t steps; /* that the trace has and we see, "pooled" and "logits" among them */
} models[] = {
    {"BERT, mean",
     "bert-mean/f32",
     "bert-mean",
     {.layers = 3,
      .hidden = 96,
      .heads = 12,
      .inner = 384,
      .vocab_rows = 1600,
      .positions = 512,
      .types = 2,
      .max_tokens = 256,
      .eps = 1e-12f},
     24},
    {"Nomic",
     "nomic/hf",
     "nomic",
     {.family = MODEL_NOMIC,
      .act = MODEL_SILU,
      .gated = true,
      .rotary_base = 1000,
      .layers = 3,
      .hidden = 128,
      .heads = 2,
      .inner = 171, /* the tensors know better */
      .vocab_rows = 1664,
      .positions = 8192,
      .types = 2,
      .max_tokens = 8192,
      .eps = 1e-12f},
     24},
    {"BERT with a head",
     "nli-zh/hf",
     "nli-zh",
     {.layers = 2,
      .hidden = 72,
      .heads = 6,
      .inner = 288,
      .vocab_rows = 1400,
      .positions = 128,
      .types = 2,
      .max_tokens = 128,
      .eps = 1e-12f,
      .head = MODEL_HEAD_NLI},
     18},
};

struct trace {
    const struct model *model;
    json_t *root;
    uint32_t n;
    int32_t ids[TOKENS], types[TOKENS];
    uint32_t seen;
    double worst;
};

static uint32_t read_ints(const json_t *from, int32_t *out) {
    uint32_t n = 0;
    for (const json_t *item = json_first(from); item && n < TOKENS; item = json_next(item)) {
        uint64_t x = 0;
        TEST_TRUE(json_u64(item, &x));
        out[n++] = (int32_t)x;
    }
    return n;
}

static void trace_open(struct trace *self, const struct model *model) {
    struct err err = {0};
    char path[512];
    *self = (struct trace){.model = model};
    snprintf(path, sizeof path, GOLDEN "%s/trace.json", model->trace);
    if (json_load(path, 16 << 20, &self->root, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
    self->n = read_ints(json_get(self->root, "ids"), self->ids);
    TEST_EQ(read_ints(json_get(self->root, "type_ids"), self->types), self->n);
    TEST_TRUE(self->n > 2);
}

/* Row r of a step [tokens][numbers], or the step itself where it has one row. */
static const json_t *step_row(const struct trace *self, const char *step, uint32_t r) {
    const json_t *rows = json_get(json_get(self->root, "steps"), step);
    if (!rows)
        TEST_FAIL("the trace has no step %s", step);
    const json_t *row = json_first(rows);
    if (!json_is_array(row))
        return rows;
    while (r--)
        row = json_next(row);
    return row;
}

static void compare_rows(struct trace *self, const char *step, const float *x, size_t ld,
                         uint32_t rows, uint32_t n, double scale) {
    for (uint32_t r = 0; r < rows; r++) {
        const json_t *row = step_row(self, step, r);
        TEST_EQ(json_size(row), n);
        const json_t *item = json_first(row);
        for (uint32_t i = 0; i < n; i++, item = json_next(item)) {
            double want = 0;
            TEST_TRUE(json_f64(item, &want));
            const double off = fabs((double)x[r * ld + i] * scale - want) / fmax(1.0, fabs(want));
            if (!(off <= tolerance))
                TEST_FAIL("%s, %s, row %u, number %u: %.9g, want %.9g", self->model->name, step, r,
                          i, (double)x[r * ld + i] * scale, want);
            self->worst = fmax(self->worst, off);
        }
    }
    self->seen++;
}

/* Our queries are over sqrt(d), and those of rotary positions have a name of their own. */
static void see(void *arg, const char *step, uint32_t layer, const float *x, size_t ld,
                uint32_t rows, uint32_t n) {
    struct trace *self = arg;
    const struct model_shape *shape = &self->model->shape;
    const bool query = strcmp(step, "query") == 0;
    const bool rotated = shape->rotary_base > 0 && (query || strcmp(step, "key") == 0);
    char name[64];
    if (strncmp(step, "embeddings", 10) == 0 || strcmp(step, "pooler.out") == 0)
        snprintf(name, sizeof name, "%s", step);
    else
        snprintf(name, sizeof name, "layer.%u.%s%s", layer, step, rotated ? ".rotated" : "");
    compare_rows(self, name, x, ld, rows, n,
                 query ? sqrt((double)(shape->hidden / shape->heads)) : 1.0);
}

static void run(struct trace *trace, const weights_t *weights, const struct gemm_kernel *kernel) {
    struct err err = {0};
    encoder_t *encoder = NULL;
    if (encoder_load(&trace->model->shape, weights, kernel, &encoder, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
    struct arena arena;
    TEST_TRUE(arena_init(&arena, encoder_scratch_bytes(encoder, trace->n, 1)));
    float out[WIDTH_MAX];
    const uint32_t start[2] = {0, trace->n}, n = model_outputs(encoder_shape(encoder));
    const bool head = trace->model->shape.head != MODEL_HEAD_NONE;
    struct encoder_profile profile = {.see = see, .arg = trace};
    trace->seen = 0;
    encoder_forward_profiled(encoder, trace->ids, trace->types, start, 1, &arena, out, &profile);
    compare_rows(trace, head ? "logits" : "pooled", out, n, 1, n, 1.0);
    TEST_EQ(trace->seen, trace->model->steps);
    printf("%s with %s: within %.1e\n", trace->model->name, kernel->name, trace->worst);
    arena_done(&arena);
    encoder_destroy(&encoder);
}

static void test_steps(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        TEST_ROW(models[i].name);
        struct err err = {0};
        struct trace trace;
        weights_t *weights = NULL;
        char path[512];
        trace_open(&trace, &models[i]);
        snprintf(path, sizeof path, GOLDEN "%s", models[i].folder);
        if (weights_open(path, &weights, &err) != STATUS_OK)
            TEST_FAIL("%s", err.text);
        for (const struct gemm_kernel *const *kernel = gemm_list(GEMM_F32); *kernel; kernel++)
            if ((*kernel)->usable())
                run(&trace, weights, *kernel);
        weights_destroy(&weights);
        json_destroy(&trace.root);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_steps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
