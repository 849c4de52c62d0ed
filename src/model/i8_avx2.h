/* i8_avx2.h - what the two int8 kernels over vec_avx2.h have in common. */
#ifndef EMBER_MODEL_I8_AVX2_H
#define EMBER_MODEL_I8_AVX2_H

typedef __m256i dot_sum_t, dot_a_t, dot_w_t, i8_top_t;

VEC_INLINE i8_top_t i8_top_zero(void) {
    return _mm256_setzero_si256();
}
VEC_INLINE i8_top_t i8_top(i8_top_t top, vec_t x) {
    return _mm256_max_epi32(top, _mm256_castps_si256(vec_abs(x)));
}
VEC_INLINE i8_top_t i8_top_of(i8_top_t a, i8_top_t b) {
    return _mm256_max_epi32(a, b);
}
VEC_INLINE uint32_t i8_top_bits(i8_top_t top) {
    __m128i t = _mm_max_epi32(_mm256_castsi256_si128(top), _mm256_extracti128_si256(top, 1));
    t = _mm_max_epi32(t, _mm_shuffle_epi32(t, _MM_SHUFFLE(1, 0, 3, 2)));
    t = _mm_max_epi32(t, _mm_shuffle_epi32(t, _MM_SHUFFLE(2, 3, 0, 1)));
    return (uint32_t)_mm_cvtsi128_si32(t);
}
/* Sixteen numbers in the order 0-3, 8-11, 4-7, 12-15, as packing within halves leaves them. */
VEC_INLINE __m256i i8_round(const float *x, vec_t by) {
    return _mm256_packs_epi32(_mm256_cvtps_epi32(vec_load(x) * by),
                              _mm256_cvtps_epi32(vec_load(x + VEC_LANES) * by));
}
VEC_INLINE dot_sum_t i8_load_sum(const char *p) {
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}
VEC_INLINE vec_t i8_float(dot_sum_t sum) {
    return _mm256_cvtepi32_ps(sum);
}

#endif
