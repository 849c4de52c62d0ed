/* isa_bf16_avx512.c - bfloat16 products for AVX-512 with its dot product of two numbers. */
#include "model/vec_avx512.h"

#include "model/isa.h"

#define DOT_ROWS 8
#define DOT_VECS 3

typedef uint32_t dot_word_t;
typedef __m512 dot_sum_t;
typedef __m512bh dot_a_t, dot_w_t;

static bool dot_usable(void) {
    return vec_usable() && __builtin_cpu_supports("avx512bf16");
}

VEC_INLINE dot_a_t dot_a(const dot_word_t *a) {
    return (__m512bh)_mm512_set1_epi32((int)*a);
}
VEC_INLINE dot_w_t dot_w(const char *w) {
    return (__m512bh)_mm512_loadu_si512(w);
}
VEC_INLINE dot_sum_t dot_add(dot_sum_t sum, dot_a_t a, dot_w_t w) {
    return _mm512_dpbf16_ps(sum, a, w);
}
VEC_INLINE void bf16_put(dot_word_t *out, vec_t x) {
    _mm256_storeu_si256((__m256i *)(void *)out, (__m256i)_mm512_cvtneps_pbh(x));
}

#include "model/gemm_bf16.h"

const struct gemm_kernel gemm_bf16_avx512 = DOT_KERNEL("avx512-bf16", GEMM_BF16, 1);
