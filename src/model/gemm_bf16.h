/* gemm_bf16.h - bfloat16 weights and activations over gemm_dot.h: a float without its lower
 * sixteen bits, rounded to nearest, ties to even. Products and sums are float32.
 *
 * Besides what gemm_dot.h asks for, the including file defines bf16_put(): VEC_LANES numbers of A,
 * rounded, to VEC_LANES / 2 words. */
#ifndef EMBER_MODEL_GEMM_BF16_H
#define EMBER_MODEL_GEMM_BF16_H

#include "model/gemm.h"

#include <string.h>

enum { DOT_HEAD = 1 /* bias */, DOT_DEPTH = 2, DOT_W_BYTES = VEC_LANES * 4 };

/* NaN stays NaN, even if all that tells it from infinity is in the lower bits. */
static inline uint16_t bf16_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline float dot_convert(const float *a, const float *next, uint32_t k, uint32_t steps,
                                dot_word_t *words) {
    (void)next, (void)steps;
    uint32_t i = 0;
    for (; i + VEC_LANES <= k; i += VEC_LANES)
        bf16_put(words + i / DOT_DEPTH, vec_load(a + i));
    if (i < k)
        bf16_put(words + i / DOT_DEPTH, vec_load_first(a + i, k - i));
    return 1.0f; /* not used */
}

/* One column: k numbers to lane `lane` of a panel `columns` wide. */
static inline void dot_pack(const float *w, float bias, uint32_t k, char *head, uint32_t columns,
                            uint32_t lane, char *words) {
    for (uint32_t i = 0; i < k; i++) {
        const uint16_t x = bf16_of(w[i]);
        const size_t step = i / DOT_DEPTH;
        memcpy(words + ((step * columns + lane) * DOT_DEPTH + i % DOT_DEPTH) * sizeof x, &x,
               sizeof x);
    }
    memcpy(head + (size_t)lane * 4, &bias, sizeof bias);
}

VEC_INLINE dot_sum_t dot_start(const char *head, const int vecs, const int j) {
    (void)head, (void)vecs, (void)j;
    return vec_set(0.0f);
}

struct dot_head {
    vec_t bias;
};

VEC_INLINE struct dot_head dot_head(const char *head, const int vecs, const int j) {
    (void)vecs;
    return (struct dot_head){vec_load((const float *)(const void *)head + (size_t)j * VEC_LANES)};
}

VEC_INLINE vec_t dot_end(dot_sum_t sum, const struct dot_head *head, float row_scale) {
    (void)row_scale;
    return sum + head->bias;
}

#include "model/gemm_dot.h"

#endif
