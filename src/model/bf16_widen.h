/* bf16_widen.h - bfloat16 where no instruction knows it: numbers are widened as they are loaded,
 * which is a shift, and multiplied as floats. Weights take half the memory all the same. */
#ifndef EMBER_MODEL_BF16_WIDEN_H
#define EMBER_MODEL_BF16_WIDEN_H

#include <string.h>

#define DOT_ROWS 4
#define DOT_VECS 2

typedef uint32_t bf16_bits_t __attribute__((vector_size(sizeof(vec_t))));

typedef struct {
    float first, second;
} dot_word_t;
typedef vec_t dot_sum_t;
typedef struct {
    vec_t first, second; /* of every pair */
} dot_a_t, dot_w_t;

static bool dot_usable(void) {
    return vec_usable();
}

VEC_INLINE dot_a_t dot_a(const dot_word_t *a) {
    return (dot_a_t){vec_set(a->first), vec_set(a->second)};
}
VEC_INLINE dot_w_t dot_w(const char *w) {
    bf16_bits_t pair;
    memcpy(&pair, w, sizeof pair);
    return (dot_w_t){(vec_t)(pair << 16), (vec_t)(pair & 0xffff0000u)};
}
VEC_INLINE dot_sum_t dot_add(dot_sum_t sum, dot_a_t a, dot_w_t w) {
    return vec_fma(a.second, w.second, vec_fma(a.first, w.first, sum));
}
/* As bf16_of() of gemm_bf16.h, but NaN may keep its lower bits. */
VEC_INLINE void bf16_put(dot_word_t *out, vec_t x) {
    const bf16_bits_t bits = (bf16_bits_t)x, nan = (bf16_bits_t)(x != x);
    const bf16_bits_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
    const bf16_bits_t kept = (rounded & ~nan) | (bits & nan);
    memcpy(out, &kept, sizeof kept);
}

#endif
