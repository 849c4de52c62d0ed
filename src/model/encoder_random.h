/* encoder_random.h - weights made up from their names, the same every time, for benchmarks and
 * tests that need a model's shape and not its knowledge.
 *
 *     encoder_load_from(&shape, &random_source, kernel, &encoder, &err);
 *
 * Threads: pure functions. */
#ifndef EMBER_MODEL_ENCODER_RANDOM_H
#define EMBER_MODEL_ENCODER_RANDOM_H

#include "model/encoder_parts.h"

#include <string.h>

/* Numbers in -1 .. 1 from a counter; fast, because a model has a hundred million of them. */
static inline void random_fill(float *out, size_t n, uint64_t seed, float scale, float middle) {
    for (size_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        out[i] = middle + scale * (float)((int32_t)(seed >> 32)) * (1.0f / 2147483648.0f);
    }
}

/* The counter n steps on: a step is x -> a x + c, and so are two, four, eight ... steps. */
static inline uint64_t random_skip(uint64_t seed, uint64_t n) {
    uint64_t a = 6364136223846793005u, c = 1442695040888963407u;
    for (; n; n >>= 1) {
        if (n & 1)
            seed = seed * a + c;
        c = c * (a + 1);
        a = a * a;
    }
    return seed;
}

static inline bool random_has(const void *from, const char *name) {
    (void)from;
    return !strstr(name, "bert.");
}

static inline bool random_is_norm(const char *name) {
    static const char *const norms[] = {"LayerNorm.weight", "layer_norm.weight", "norm1.weight",
                                        "norm2.weight", "emb_ln.weight"};
    for (size_t i = 0; i < sizeof norms / sizeof *norms; i++)
        if (strstr(name, norms[i]))
            return true;
    return false;
}

/* Weights of layer norms lie around one, all others around zero; matrices about as wide as those
 * of trained models, which keeps scores of attention small but not flat. */
static inline enum status random_read(const void *from, const char *name, uint64_t rows,
                                      uint64_t cols, uint64_t first, uint64_t n, float *out,
                                      struct err *err) {
    (void)from, (void)rows, (void)err;
    uint64_t seed = 1469598103934665603u; /* FNV-1a of the name */
    for (const char *p = name; *p; p++)
        seed = (seed ^ (uint64_t)(unsigned char)*p) * 1099511628211u;
    const bool norm = random_is_norm(name);
    random_fill(out, n * cols, random_skip(seed, first * cols), norm ? 0.3f : 0.06f,
                norm ? 1.0f : 0.0f);
    return STATUS_OK;
}

static const struct encoder_source random_source = {NULL, random_has, NULL, random_read};

#endif
