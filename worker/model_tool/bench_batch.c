/* bench_batch.c - lengths, ids, and sums of products. */
#include "bench_batch.h"

#include <math.h>
#include <stdlib.h>

enum status bench_batch_make(const struct model_shape *shape, const uint32_t *lengths,
                             uint32_t texts, struct bench_batch *self, struct err *err) {
    *self = (struct bench_batch){.texts = texts};
    for (uint32_t i = 0; i < texts; i++)
        self->tokens += lengths[i];
    self->start = calloc((size_t)texts + 1, sizeof *self->start);
    self->ids = calloc(self->tokens, sizeof *self->ids);
    self->types = calloc(self->tokens, sizeof *self->types);
    if (!self->start || !self->ids || !self->types) {
        bench_batch_done(self);
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for a batch");
    }
    for (uint32_t i = 0; i < texts; i++)
        self->start[i + 1] = self->start[i] + lengths[i];
    for (uint32_t i = 0; i < self->tokens; i++)
        self->ids[i] = (int32_t)((i * 2654435761u) % shape->vocab_rows);
    return STATUS_OK;
}

void bench_batch_done(struct bench_batch *self) {
    free(self->start);
    free(self->ids);
    free(self->types);
    *self = (struct bench_batch){0};
}

void bench_mixed_lengths(uint32_t lengths[BENCH_MIXED_TEXTS]) {
    uint32_t seed = 12345;
    for (uint32_t i = 0; i < BENCH_MIXED_TEXTS; i++) {
        seed = seed * 1664525u + 1013904223u;
        const double u = (double)(seed >> 8) / 16777216.0;
        lengths[i] = i % 32 ? 4 + (uint32_t)(80 * u * u * u + 12 * u) : 128;
    }
}

/* Numbers of all matrices of a layer: query, key, value, output; up (twice when gated) and down. */
static double layer_numbers(const struct model_shape *shape) {
    const double h = shape->hidden, inner = shape->inner;
    return 4 * h * h + (shape->gated ? 3 : 2) * h * inner;
}

struct bench_flops bench_flops(const struct model_shape *shape, const struct bench_batch *batch) {
    struct bench_flops sum = {0};
    for (uint32_t i = 0; i < batch->texts; i++) {
        const double tokens = batch->start[i + 1] - batch->start[i];
        sum.products += shape->layers * tokens * 2 * layer_numbers(shape);
        sum.attention += shape->layers * tokens * 4 * tokens * shape->hidden;
    }
    return sum;
}

struct bench_floor bench_floor_make(enum gemm_precision precision, double read) {
    struct bench_floor self = {
        .f32 = peak_loop_of(GEMM_F32),
        .products = peak_loop_of(precision == GEMM_I8 ? GEMM_I8 : GEMM_F32),
        .read = read,
        .near_bytes = peak_last_cache(),
    };
    bench_floor_measure(&self);
    return self;
}

void bench_floor_measure(struct bench_floor *self) {
    self->f32_gflops = self->products_gflops = peak_of(&self->f32);
    if (self->products.run != self->f32.run)
        self->products_gflops = peak_of(&self->products);
}

double bench_floor_ns(const struct bench_floor *self, enum gemm_precision precision,
                      const struct model_shape *shape, const struct bench_batch *batch) {
    static const double number_bytes[GEMM_PRECISIONS] = {
        [GEMM_F32] = 4, [GEMM_BF16] = 2, [GEMM_I8] = 1};
    if (!(self->f32_gflops > 0 && self->products_gflops > 0))
        return NAN;
    const double bytes = number_bytes[precision] * shape->layers * layer_numbers(shape);
    const bool far = self->read > 0 && bytes > 2 * self->near_bytes;
    const double read_ns = far ? bytes / self->read : 0;
    const struct bench_flops flops = bench_flops(shape, batch);
    double ns = flops.products / self->products_gflops + flops.attention / self->f32_gflops;
    if (precision == GEMM_BF16)
        ns /= 2;
    return read_ns > ns ? read_ns : ns;
}
