/* isa_i8_avxvnni.c - int8 products for CPUs that have the instruction of isa_i8_avx512.c for half
 * the width, and not AVX-512. */
#include "model/vec_avx2.h"

#include "model/i8_avx2.h"
#include "model/isa.h"

#include <cpuid.h>

#define DOT_ROWS 6
#define DOT_VECS 2

enum { DOT_DEPTH = 4, DOT_W_BYTES = VEC_LANES * DOT_DEPTH, I8_OFFSET = 128, I8_PUT = 32 };

typedef uint32_t dot_word_t;
typedef uint8_t i8_number_t;

/* Leaf 7, subleaf 1, EAX bit 4: not every compiler's __builtin_cpu_supports() knows its name. */
static bool dot_usable(void) {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return vec_usable() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}

VEC_INLINE dot_a_t dot_a(const dot_word_t *a) {
    return _mm256_set1_epi32((int)*a);
}
VEC_INLINE dot_w_t dot_w(const char *w) {
    return _mm256_loadu_si256((const __m256i *)(const void *)w);
}
/* Not by its intrinsic, as in isa_i8_avx512.c. */
VEC_INLINE dot_sum_t dot_add(dot_sum_t sum, dot_a_t a, dot_w_t w) {
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(a), "x"(w));
    return sum;
}
VEC_INLINE void i8_put(i8_number_t *out, const float *x, vec_t by) {
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i bytes = _mm256_permutevar8x32_epi32(
        _mm256_packs_epi16(i8_round(x, by), i8_round(x + 16, by)), order);
    _mm256_storeu_si256((__m256i *)(void *)out,
                        _mm256_xor_si256(bytes, _mm256_set1_epi8((char)I8_OFFSET)));
}

#include "model/gemm_i8.h"

const struct gemm_kernel gemm_i8_avxvnni = DOT_KERNEL("avx-vnni", GEMM_I8, 1);
