/* vec_avx2.h - eight floats at a time; included only by files that are compiled for AVX2 with FMA.
 * What each operation means is said in vec_avx512.h. */
#ifndef EMBER_MODEL_VEC_H
#define EMBER_MODEL_VEC_H

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

#define VEC_INLINE static inline __attribute__((always_inline))

enum {
    VEC_LANES = 8,
    TILE_ROWS = 6, /* a tile's sums: 6 x 2 of the 16 registers */
    TILE_VECS = 2,
};

typedef __m256 vec_t;

VEC_INLINE bool vec_usable(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

VEC_INLINE vec_t vec_set(float x) {
    return _mm256_set1_ps(x);
}
VEC_INLINE vec_t vec_load(const float *p) {
    return _mm256_loadu_ps(p);
}
VEC_INLINE void vec_store(float *p, vec_t x) {
    _mm256_storeu_ps(p, x);
}

VEC_INLINE __m256i vec_mask(uint32_t n) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane);
}
VEC_INLINE vec_t vec_load_first(const float *p, uint32_t n) {
    return _mm256_maskload_ps(p, vec_mask(n));
}
VEC_INLINE void vec_store_first(float *p, vec_t x, uint32_t n) {
    _mm256_maskstore_ps(p, vec_mask(n), x);
}
VEC_INLINE vec_t vec_fill_after(vec_t x, uint32_t n, float fill) {
    return _mm256_blendv_ps(_mm256_set1_ps(fill), x, _mm256_castsi256_ps(vec_mask(n)));
}

VEC_INLINE vec_t vec_fma(vec_t a, vec_t b, vec_t c) {
    return _mm256_fmadd_ps(a, b, c);
}
VEC_INLINE vec_t vec_max(vec_t a, vec_t b) {
    return _mm256_max_ps(a, b);
}
VEC_INLINE vec_t vec_min(vec_t a, vec_t b) {
    return _mm256_min_ps(a, b);
}
VEC_INLINE vec_t vec_abs(vec_t x) {
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}
VEC_INLINE vec_t vec_round(vec_t x) {
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* n in -126 .. 127, so that 2^n is an ordinary float whose exponent bits can be written down. */
VEC_INLINE vec_t vec_scale(vec_t x, vec_t n) {
    __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
}
VEC_INLINE float vec_sum(vec_t x) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
VEC_INLINE float vec_top(vec_t x) {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

VEC_INLINE vec_t vec_zip_low(vec_t a, vec_t b) {
    return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x20);
}
VEC_INLINE vec_t vec_zip_high(vec_t a, vec_t b) {
    return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x31);
}

#endif
