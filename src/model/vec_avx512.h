/* vec_avx512.h - sixteen floats at a time; included only by files that are compiled for AVX-512.
 *
 * The three vec_*.h offer the same few operations under the same names, so that gemm_packed.h,
 * vec_math.h and kernels_rows.h are written once and compiled per instruction set. */
#ifndef EMBER_MODEL_VEC_H
#define EMBER_MODEL_VEC_H

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

#define VEC_INLINE static inline __attribute__((always_inline))

enum {
    VEC_LANES = 16,
    TILE_ROWS = 8, /* a tile's sums: 8 x 3 of the 32 registers */
    TILE_VECS = 3,
};

typedef __m512 vec_t;

VEC_INLINE bool vec_usable(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("fma");
}

VEC_INLINE vec_t vec_set(float x) {
    return _mm512_set1_ps(x);
}
VEC_INLINE vec_t vec_load(const float *p) {
    return _mm512_loadu_ps(p);
}
VEC_INLINE void vec_store(float *p, vec_t x) {
    _mm512_storeu_ps(p, x);
}

/* Only the first n lanes, 1 <= n <= VEC_LANES; the others are 0 after a load, untouched by a
 * store. */
VEC_INLINE __mmask16 vec_mask(uint32_t n) {
    return (__mmask16)((1u << n) - 1);
}
VEC_INLINE vec_t vec_load_first(const float *p, uint32_t n) {
    return _mm512_maskz_loadu_ps(vec_mask(n), p);
}
VEC_INLINE void vec_store_first(float *p, vec_t x, uint32_t n) {
    _mm512_mask_storeu_ps(p, vec_mask(n), x);
}
/* x in the first n lanes, `fill` in the others. */
VEC_INLINE vec_t vec_fill_after(vec_t x, uint32_t n, float fill) {
    return _mm512_mask_mov_ps(_mm512_set1_ps(fill), vec_mask(n), x);
}

VEC_INLINE vec_t vec_fma(vec_t a, vec_t b, vec_t c) { /* a b + c */
    return _mm512_fmadd_ps(a, b, c);
}
VEC_INLINE vec_t vec_max(vec_t a, vec_t b) {
    return _mm512_max_ps(a, b);
}
VEC_INLINE vec_t vec_min(vec_t a, vec_t b) {
    return _mm512_min_ps(a, b);
}
VEC_INLINE vec_t vec_abs(vec_t x) {
    return _mm512_abs_ps(x);
}
VEC_INLINE vec_t vec_round(vec_t x) {
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* x 2^n, n whole. Only this width takes any n, and answers 0 or infinity where floats end. */
#define VEC_SCALE_ANY 1
VEC_INLINE vec_t vec_add_down(vec_t a, vec_t b) { /* a + b, rounded down; only here */
    return _mm512_add_round_ps(a, b, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}
VEC_INLINE vec_t vec_scale(vec_t x, vec_t n) {
    return _mm512_scalef_ps(x, n);
}
VEC_INLINE float vec_sum(vec_t x) {
    return _mm512_reduce_add_ps(x);
}
VEC_INLINE float vec_top(vec_t x) { /* the largest lane */
    return _mm512_reduce_max_ps(x);
}

/* table[i], i the last four bits of each lane of `at`. Only this width has it. */
#define VEC_LOOKUP 1
VEC_INLINE vec_t vec_lookup(const float table[16], vec_t at) {
    return _mm512_permutexvar_ps(_mm512_castps_si512(at), _mm512_loadu_ps(table));
}

/* a0 b0 a1 b1 .. of the lower halves, and of the upper halves. */
VEC_INLINE vec_t vec_zip_low(vec_t a, vec_t b) {
    const __m512i order = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    return _mm512_permutex2var_ps(a, order, b);
}
VEC_INLINE vec_t vec_zip_high(vec_t a, vec_t b) {
    const __m512i order =
        _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    return _mm512_permutex2var_ps(a, order, b);
}

#endif
