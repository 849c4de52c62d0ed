/* gemm_i8.h - int8 weights and activations over gemm_dot.h.
 *
 *     w[j, k] = scale[j] q[j, k]         scale[j] = max |w[j, :]| / 127, fixed at packing
 *     a[i, k] = scale[i] q[i, k]         scale[i] = max |a[i, :]| / 127, found in each call
 *     c[i, j] = scale[i] scale[j] sum_k q[i, k] q[j, k] + bias[j]
 *
 * q is rounded to the nearest whole number, ties to even, so -127 .. 127, and the sum is exact:
 * all kernels have the same. Where the instruction wants A without sign, I8_OFFSET is added to
 * every number of A; sums then start at -I8_OFFSET sum_k q[j, k], which is in the head.
 *
 * No sum leaves int32: on the way it is q q' over the words so far, minus 128 q' over those to
 * come, at most 128 x 127 a number. GEMM_I8_K_MAX is where that ends.
 *
 * A row without any number above 2^-120 in size counts as zeros, because 127 / max would leave
 * float. A row with NaN or infinity has the scale NaN, so that all of it becomes NaN, through
 * activations as well. The same for weights.
 *
 * Besides what gemm_dot.h asks for, the including file defines I8_OFFSET and
 *     i8_top_t, i8_top_zero(), i8_top(), i8_top_of(), i8_top_bits()
 *                                         the largest bit pattern of |x|
 *     i8_number_t, I8_PUT, i8_put()       I8_PUT numbers of A to q + I8_OFFSET
 *     i8_load_sum(), i8_float()           VEC_LANES int32 from memory; to floats */
#ifndef EMBER_MODEL_GEMM_I8_H
#define EMBER_MODEL_GEMM_I8_H

#include "base/check.h"
#include "model/gemm.h"

#include <math.h>
#include <string.h>

enum { DOT_HEAD = 3 }; /* offset, scale, bias */

/* Largest |x| of n numbers as bits: as integers NaN is above infinity, and that above all else. */
static inline uint32_t i8_max_bits(const float *x, uint32_t n) {
    i8_top_t a = i8_top_zero(), b = a, c = a, d = a;
    uint32_t i = 0;
    for (; i + 4 * VEC_LANES <= n; i += 4 * VEC_LANES) {
        a = i8_top(a, vec_load(x + i));
        b = i8_top(b, vec_load(x + i + VEC_LANES));
        c = i8_top(c, vec_load(x + i + 2 * VEC_LANES));
        d = i8_top(d, vec_load(x + i + 3 * VEC_LANES));
    }
    for (; i + VEC_LANES <= n; i += VEC_LANES)
        a = i8_top(a, vec_load(x + i));
    if (i < n)
        b = i8_top(b, vec_load_first(x + i, n - i));
    return i8_top_bits(i8_top_of(i8_top_of(a, b), i8_top_of(c, d)));
}

/* From the bits of the largest number: *inverse = 127 / max, 0 where there is nothing to round. */
static inline float i8_scale(uint32_t bits, float *inverse) {
    float top;
    memcpy(&top, &bits, sizeof top);
    *inverse = 0.0f;
    if (bits >= 0x7f800000u)
        return NAN;
    if (bits <= 0x03800000u) /* 2^-120 */
        return 0.0f;
    *inverse = 127.0f / top;
    return top / 127.0f;
}

/* `next` is asked for on the way: the next row may be in the second-level cache only. */
static inline float dot_convert(const float *a, const float *next, uint32_t k, uint32_t steps,
                                dot_word_t *words) {
    float inverse;
    const float scale = i8_scale(i8_max_bits(a, k), &inverse);
    i8_number_t *out = (i8_number_t *)(void *)words;
    if (inverse == 0.0f) {
        memset(out, I8_OFFSET, steps * sizeof *words); /* the bytes of int16 zeros where it is 0 */
        return scale;
    }
    const vec_t by = vec_set(inverse);
    uint32_t i = 0;
    for (; i + I8_PUT <= k; i += I8_PUT) {
        for (uint32_t j = 0; j < I8_PUT; j += GEMM_ALIGN / sizeof *next)
            __builtin_prefetch(next + i + j, 0, 3);
        i8_put(out + i, a + i, by);
    }
    if (i < k) {
        float rest[I8_PUT] = {0};
        memcpy(rest, a + i, (k - i) * sizeof *a);
        i8_put(out + i, rest, by);
    }
    return scale;
}

/* One column: k numbers to lane `lane` of a panel `columns` wide. */
static inline void dot_pack(const float *w, float bias, uint32_t k, char *head, uint32_t columns,
                            uint32_t lane, char *words) {
    enum { CHUNK = 256 };
    CHECK(k <= GEMM_I8_K_MAX);
    float inverse, q[CHUNK];
    const float scale = i8_scale(i8_max_bits(w, k), &inverse);
    int32_t sum = 0;
    for (uint32_t done = 0; done < k && inverse != 0.0f; done += CHUNK) {
        const uint32_t n = k - done < CHUNK ? k - done : CHUNK;
        for (uint32_t i = 0; i < n; i++)
            q[i] = w[done + i] * inverse;
        for (uint32_t i = 0; i < n; i++) {
            const int32_t x = (int32_t)lrintf(q[i]);
            const size_t step = (done + i) / DOT_DEPTH;
            words[(step * columns + lane) * DOT_DEPTH + (done + i) % DOT_DEPTH] = (char)x;
            sum += x;
        }
    }
    const int32_t offset = -I8_OFFSET * sum;
    memcpy(head + (size_t)lane * 4, &offset, sizeof offset);
    memcpy(head + (size_t)(columns + lane) * 4, &scale, sizeof scale);
    memcpy(head + (size_t)(2 * columns + lane) * 4, &bias, sizeof bias);
}

VEC_INLINE dot_sum_t dot_start(const char *head, const int vecs, const int j) {
    (void)vecs;
    return i8_load_sum(head + (size_t)j * VEC_LANES * 4);
}

struct dot_head {
    vec_t scale, bias;
};

VEC_INLINE struct dot_head dot_head(const char *head, const int vecs, const int j) {
    const float *scale = (const float *)(const void *)head + (size_t)(vecs + j) * VEC_LANES;
    return (struct dot_head){vec_load(scale), vec_load(scale + (size_t)vecs * VEC_LANES)};
}

VEC_INLINE vec_t dot_end(dot_sum_t sum, const struct dot_head *head, float row_scale) {
    return vec_fma(i8_float(sum), head->scale * vec_set(row_scale), head->bias);
}

#include "model/gemm_dot.h"

#endif
