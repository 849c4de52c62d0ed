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
VEC_INLINE uint32_t i8_top_bits(i8_top_t a, i8_top_t b) {
    const __m256i top = _mm256_max_epi32(a, b);
    __m128i t = _mm_max_epi32(_mm256_castsi256_si128(top), _mm256_extracti128_si256(top, 1));
    t = _mm_max_epi32(t, _mm_shuffle_epi32(t, _MM_SHUFFLE(1, 0, 3, 2)));
    t = _mm_max_epi32(t, _mm_shuffle_epi32(t, _MM_SHUFFLE(2, 3, 0, 1)));
    return (uint32_t)_mm_cvtsi128_si32(t);
}
/* Eight whole numbers. */
VEC_INLINE __m128i i8_round(vec_t x) {
    const __m256i q = _mm256_cvtps_epi32(x);
    return _mm_packs_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1));
}
VEC_INLINE dot_sum_t i8_load_sum(const char *p) {
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}
VEC_INLINE vec_t i8_float(dot_sum_t sum) {
    return _mm256_cvtepi32_ps(sum);
}

#endif
