/* isa_i8_avx512.c - int8 products for AVX-512 with VNNI: the text of gemm_i8.h over vec_avx512.h.
 * One instruction multiplies four unsigned numbers of A with four signed ones of W in each of
 * sixteen columns and adds them up. */
#include "model/vec_avx512.h"

#include "model/gemm_split.h"
#include "model/isa.h"

#define DOT_ROWS 8
#define DOT_VECS 3

enum { DOT_DEPTH = 4, DOT_W_BYTES = VEC_LANES * DOT_DEPTH, I8_OFFSET = 128, I8_PUT = 64 };

typedef uint32_t dot_word_t;
typedef uint8_t i8_number_t;
typedef __m512i dot_sum_t, dot_a_t, dot_w_t, i8_top_t;

static bool dot_usable(void) {
    return vec_usable() && __builtin_cpu_supports("avx512vnni");
}

VEC_INLINE dot_a_t dot_a(const dot_word_t *a) {
    return _mm512_set1_epi32((int)*a);
}
VEC_INLINE dot_w_t dot_w(const char *w) {
    return _mm512_loadu_si512(w);
}
/* Not by its intrinsic: around that gcc 12 keeps the sums in memory. */
VEC_INLINE dot_sum_t dot_add(dot_sum_t sum, dot_a_t a, dot_w_t w) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(w));
    return sum;
}

VEC_INLINE i8_top_t i8_top_zero(void) {
    return _mm512_setzero_si512();
}
VEC_INLINE i8_top_t i8_top(i8_top_t top, vec_t x) {
    return _mm512_max_epi32(top, _mm512_castps_si512(vec_abs(x)));
}
VEC_INLINE i8_top_t i8_top_of(i8_top_t a, i8_top_t b) {
    return _mm512_max_epi32(a, b);
}
VEC_INLINE uint32_t i8_top_bits(i8_top_t top) {
    return (uint32_t)_mm512_reduce_max_epi32(top);
}
/* Packing works within each quarter of a vector, which leaves groups of four in the order 0 4 8 12,
 * 1 5 ..; a last permutation turns that. */
VEC_INLINE void i8_put(i8_number_t *out, const float *x, vec_t by) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i q[4];
    UNROLLED
    for (int i = 0; i < 4; i++)
        q[i] = _mm512_cvtps_epi32(vec_load(x + i * VEC_LANES) * by);
    const __m512i low = _mm512_packs_epi32(q[0], q[1]), high = _mm512_packs_epi32(q[2], q[3]);
    const __m512i bytes = _mm512_permutexvar_epi32(order, _mm512_packs_epi16(low, high));
    _mm512_storeu_si512(out, _mm512_xor_si512(bytes, _mm512_set1_epi8((char)I8_OFFSET)));
}
VEC_INLINE dot_sum_t i8_load_sum(const char *p) {
    return _mm512_loadu_si512(p);
}
VEC_INLINE vec_t i8_float(dot_sum_t sum) {
    return _mm512_cvtepi32_ps(sum);
}

#include "model/gemm_i8.h"

const struct gemm_kernel gemm_i8_avx512 = DOT_KERNEL("avx512-vnni", GEMM_I8, 1);
