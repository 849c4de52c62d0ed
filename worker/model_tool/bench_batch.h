/* bench_batch.h - what `ember-model bench` runs: batches of made-up ids, and the least time that
 * their arithmetic can take.
 *
 * Threads: owner only. */
#ifndef EMBER_MODEL_TOOL_BENCH_BATCH_H
#define EMBER_MODEL_TOOL_BENCH_BATCH_H

#include "base/err.h"
#include "model/gemm.h"
#include "model/shape.h"
#include "peak.h"

#include <stdint.h>

enum {
    BENCH_MIXED_TEXTS = 256,   /* texts of the mixed batch */
    BENCH_MIXED_TOKENS = 8420, /* which they have together */
    BENCH_TEXTS_MAX = 1024,    /* texts of one batch */
};

struct bench_batch {
    uint32_t texts, tokens; /* tokens of all texts */
    uint32_t *start;        /* [texts + 1] */
    int32_t *ids, *types;   /* [tokens]; types are zeros */
};

/* Texts of these lengths; token i of the batch has the id (i * 2654435761 mod 2^32) mod
 * vocab_rows, so that another engine can be given the same. */
enum status bench_batch_make(const struct model_shape *shape, const uint32_t *lengths,
                             uint32_t texts, struct bench_batch *self, struct err *err);
void bench_batch_done(struct bench_batch *self);

/* Many short texts and a long tail: 4 + 12 u + 80 u^3 tokens for u uniform in 0 .. 1, and each
 * 32nd has 128. */
void bench_mixed_lengths(uint32_t lengths[BENCH_MIXED_TEXTS]);

/* Operations, a multiply-add being two, of all products with weights, and of attention. */
struct bench_flops {
    double products, attention;
};
struct bench_flops bench_flops(const struct model_shape *shape, const struct bench_batch *batch);

/* What the machine can do. */
struct bench_floor {
    struct peak_loop f32, products;     /* loops of float32, and of the precision at hand */
    double f32_gflops, products_gflops; /* as bench_floor_measure() found them last */
    double read;                        /* GB/s of memory */
    double near_bytes;                  /* of the last-level cache */
};

struct bench_floor bench_floor_make(enum gemm_precision precision, double read);
void bench_floor_measure(struct bench_floor *self);

/* Nanoseconds that a batch takes at least: its arithmetic at the registers' peak, attention at that
 * of float32 (bfloat16: half of the float32 floor altogether), or, if that is longer, its weights
 * once from memory where they are more than twice what the last-level cache holds. NaN where the
 * peak is not known. */
double bench_floor_ns(const struct bench_floor *self, enum gemm_precision precision,
                      const struct model_shape *shape, const struct bench_batch *batch);

#endif
