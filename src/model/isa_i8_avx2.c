/* isa_i8_avx2.c - int8 products for AVX2: weights are widened to int16 as they are loaded, A is
 * kept so, and an instruction multiplies two numbers in each of eight columns and adds them up.
 *
 * The byte instruction of AVX2 (vpmaddubsw) would need |a| and w with a's sign, made anew for
 * every row and vector, and as many multiplications: nothing is won. */
#include "model/vec_avx2.h"

#include "model/i8_avx2.h"
#include "model/isa.h"

#define DOT_ROWS 6
#define DOT_VECS 2

enum { DOT_DEPTH = 2, DOT_W_BYTES = VEC_LANES * DOT_DEPTH, I8_OFFSET = 0, I8_PUT = 16 };

typedef uint32_t dot_word_t;
typedef int16_t i8_number_t;

static bool dot_usable(void) {
    return vec_usable();
}

VEC_INLINE dot_a_t dot_a(const dot_word_t *a) {
    return _mm256_set1_epi32((int)*a);
}
VEC_INLINE dot_w_t dot_w(const char *w) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)w));
}
VEC_INLINE dot_sum_t dot_add(dot_sum_t sum, dot_a_t a, dot_w_t w) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, w));
}
VEC_INLINE void i8_put(i8_number_t *out, const float *x, vec_t by) {
    const __m256i q = _mm256_permute4x64_epi64(i8_round(x, by), _MM_SHUFFLE(3, 1, 2, 0));
    _mm256_storeu_si256((__m256i *)(void *)out, q);
}

#include "model/gemm_i8.h"

const struct gemm_kernel gemm_i8_avx2 = DOT_KERNEL("avx2", GEMM_I8, 1);
