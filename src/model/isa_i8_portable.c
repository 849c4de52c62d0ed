/* isa_i8_portable.c - int8 products for any CPU: pairs of int16, as in isa_i8_avx2.c. */
#include "model/vec_portable.h"

#include "model/isa.h"

#include <math.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define DOT_ROWS 4
#define DOT_VECS 2

enum { DOT_DEPTH = 2, DOT_W_BYTES = VEC_LANES * DOT_DEPTH, I8_OFFSET = 0, I8_PUT = 4 };

typedef int16_t i8_number_t;
typedef struct {
    int16_t first, second;
} dot_word_t;
typedef vec_int_t dot_sum_t, i8_top_t;

static bool dot_usable(void) {
    return true;
}

#if defined(__SSE2__)

typedef __m128i dot_a_t, dot_w_t;

VEC_INLINE dot_a_t dot_a(const dot_word_t *a) {
    int32_t word;
    memcpy(&word, a, sizeof word);
    return _mm_set1_epi32(word);
}
VEC_INLINE dot_w_t dot_w(const char *w) {
    const __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)w);
    return _mm_srai_epi16(_mm_unpacklo_epi8(bytes, bytes), 8);
}
VEC_INLINE dot_sum_t dot_add(dot_sum_t sum, dot_a_t a, dot_w_t w) {
    return sum + (vec_int_t)_mm_madd_epi16(a, w);
}

#else

typedef struct {
    vec_int_t first, second; /* of every pair */
} dot_a_t, dot_w_t;

VEC_INLINE dot_a_t dot_a(const dot_word_t *a) {
    const int32_t x = a->first, y = a->second;
    return (dot_a_t){{x, x, x, x}, {y, y, y, y}};
}
VEC_INLINE dot_w_t dot_w(const char *w) {
    typedef int8_t bytes_t __attribute__((vector_size(4)));
    typedef int8_t pairs_t __attribute__((vector_size(8)));
    pairs_t p;
    memcpy(&p, w, sizeof p);
    const bytes_t first = __builtin_shufflevector(p, p, 0, 2, 4, 6);
    const bytes_t second = __builtin_shufflevector(p, p, 1, 3, 5, 7);
    return (dot_w_t){__builtin_convertvector(first, vec_int_t),
                     __builtin_convertvector(second, vec_int_t)};
}
VEC_INLINE dot_sum_t dot_add(dot_sum_t sum, dot_a_t a, dot_w_t w) {
    return sum + a.first * w.first + a.second * w.second;
}

#endif

VEC_INLINE i8_top_t i8_top_zero(void) {
    return (i8_top_t){0, 0, 0, 0};
}
VEC_INLINE i8_top_t i8_top_of(i8_top_t a, i8_top_t b) {
    const vec_int_t more = a > b;
    return (a & more) | (b & ~more);
}
VEC_INLINE i8_top_t i8_top(i8_top_t top, vec_t x) {
    return i8_top_of(top, (vec_int_t)vec_abs(x));
}
VEC_INLINE uint32_t i8_top_bits(i8_top_t a) {
    int32_t top = 0;
    for (uint32_t i = 0; i < VEC_LANES; i++)
        top = a[i] > top ? a[i] : top;
    return (uint32_t)top;
}
/* lrintf(): adding and taking away a large number could be merged with the multiplication before
 * it, and then round otherwise than the other kernels. */
VEC_INLINE void i8_put(i8_number_t *out, const float *x, vec_t by) {
    const vec_t scaled = vec_load(x) * by;
    for (uint32_t i = 0; i < VEC_LANES; i++)
        out[i] = (int16_t)lrintf(scaled[i]);
}
VEC_INLINE dot_sum_t i8_load_sum(const char *p) {
    dot_sum_t x;
    memcpy(&x, p, sizeof x);
    return x;
}
VEC_INLINE vec_t i8_float(dot_sum_t sum) {
    return __builtin_convertvector(sum, vec_t);
}

#include "model/gemm_i8.h"

const struct gemm_kernel gemm_i8_portable = DOT_KERNEL("portable", GEMM_I8, 1);
