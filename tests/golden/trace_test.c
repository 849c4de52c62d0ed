/* trace_test.c - the forward pass, layer by layer, against states computed in double precision by
 * PyTorch (tests/data/golden/README.md): a model cut off after layer l gives, by first-token
 * pooling, the first row of that layer, and by mean pooling the mean of its rows. With every
 * product kernel.
 *
 * A correct float32 engine is within 2e-6; from 1e-5 on there is a cause (tanh for erf costs
 * 7e-5). */
#include "support/test.h"

#include "model/dir.h"
#include "model/encoder.h"
#include "json/json.h"

#define GOLDEN EMBER_SOURCE_DIR "/tests/data/golden/bert-mean"

enum { TOKENS = 16, HIDDEN = 96 };
static const double tolerance = 1e-5;

struct trace {
    json_t *root;
    uint32_t n;
    int32_t ids[TOKENS], types[TOKENS];
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

static void trace_open(struct trace *self) {
    struct err err = {0};
    if (json_load(GOLDEN "/trace.json", 16 << 20, &self->root, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
    self->n = read_ints(json_get(self->root, "ids"), self->ids);
    TEST_EQ(read_ints(json_get(self->root, "type_ids"), self->types), self->n);
    TEST_TRUE(self->n > 2);
}

/* Row 0, or the mean of all rows, of a step [tokens][HIDDEN]; or the step itself when it is one
 * row. */
static void trace_step(const struct trace *self, const char *name, enum model_pooling pooling,
                       double want[HIDDEN]) {
    const json_t *step = json_get(json_get(self->root, "steps"), name);
    TEST_TRUE(step);
    const uint32_t rows = pooling == MODEL_POOL_MEAN ? self->n : 1;
    memset(want, 0, HIDDEN * sizeof *want);
    const json_t *row = json_first(step);
    for (uint32_t r = 0; r < rows; r++, row = json_next(row)) {
        TEST_EQ(json_size(row), HIDDEN);
        const json_t *item = json_first(row);
        for (uint32_t i = 0; i < HIDDEN; i++, item = json_next(item)) {
            double x = 0;
            TEST_TRUE(json_f64(item, &x));
            want[i] += x / rows;
        }
    }
}

static void compare(const struct trace *trace, const struct model_shape *shape,
                    const weights_t *weights, const struct gemm_kernel *kernel) {
    struct err err = {0};
    encoder_t *encoder = NULL;
    if (encoder_load(shape, weights, kernel, &encoder, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
    struct arena arena;
    TEST_TRUE(arena_init(&arena, encoder_scratch_bytes(encoder, trace->n, 1)));
    float out[HIDDEN];
    const uint32_t start[2] = {0, trace->n};
    encoder_forward(encoder, trace->ids, trace->types, start, 1, &arena, out);
    char step[64];
    snprintf(step, sizeof step, "layer.%u.out", shape->layers - 1);
    double want[HIDDEN], worst = 0;
    trace_step(trace, step, shape->pooling, want);
    for (uint32_t i = 0; i < HIDDEN; i++)
        worst = fmax(worst, fabs((double)out[i] - want[i]));
    if (!(worst <= tolerance))
        TEST_FAIL("%s with %s: off by %.2g", step, kernel->name, worst);
    printf("%s %s %s: within %.1e\n", kernel->name, step,
           shape->pooling == MODEL_POOL_MEAN ? "mean" : "first", worst);
    arena_done(&arena);
    encoder_destroy(&encoder);
}

static void test_layers(void **state) {
    (void)state;
    struct err err = {0};
    struct trace trace = {0};
    struct model_dir *dir = NULL;
    trace_open(&trace);
    if (model_dir_open(GOLDEN "/f32", &dir, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
    TEST_EQ(dir->shape.hidden, HIDDEN);
    TEST_TRUE(dir->shape.layers == 3);
    for (const struct gemm_kernel *const *kernel = gemm_list(GEMM_F32); *kernel; kernel++)
        for (uint32_t layers = 1; (*kernel)->usable() && layers <= dir->shape.layers; layers++)
            for (int pooling = MODEL_POOL_MEAN; pooling <= MODEL_POOL_CLS; pooling++) {
                struct model_shape shape = dir->shape;
                shape.layers = layers;
                shape.pooling = (enum model_pooling)pooling;
                compare(&trace, &shape, dir->weights, *kernel);
            }
    model_dir_close(&dir);
    json_destroy(&trace.root);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_layers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
