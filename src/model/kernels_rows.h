/* kernels_rows.h - struct kernels over vec_*.h, written once for all instruction sets. */
#ifndef EMBER_MODEL_KERNELS_ROWS_H
#define EMBER_MODEL_KERNELS_ROWS_H

#include "model/kernels.h"
#include "model/kernels_attention.h"
#include "model/vec_math.h"

#include <math.h>
#include <string.h>

static bool isa_usable(void) {
    return vec_usable();
}

/* The mean of a row is taken off before squares are summed, in a second pass over numbers that are
 * still near, because the shorter sum of x^2 - n mean^2 cancels where a row's mean is large.
 *
 * `rows` rows go side by side, so that one's sums do not wait for each other; what happens to a row
 * is the same however many there are. */
VEC_INLINE void norm_rows(float *x, size_t ld, const size_t rows, uint32_t n, const float *weight,
                          const float *bias, float eps) {
    enum { MOST = 4 };
    const uint32_t full = n / VEC_LANES * VEC_LANES, left = n - full;
    vec_t sum[MOST], mean[MOST], scale[MOST];
    UNROLLED
    for (size_t r = 0; r < rows; r++)
        sum[r] = left ? vec_load_first(x + r * ld + full, left) : vec_set(0.0f);
    for (uint32_t i = 0; i < full; i += VEC_LANES) {
        UNROLLED
        for (size_t r = 0; r < rows; r++)
            sum[r] = sum[r] + vec_load(x + r * ld + i);
    }
    UNROLLED
    for (size_t r = 0; r < rows; r++) {
        mean[r] = vec_set(vec_sum(sum[r]) / (float)n);
        sum[r] = vec_set(0.0f);
        if (left) {
            const vec_t d = vec_load_first(x + r * ld + full, left) - mean[r];
            const vec_t of_row = vec_fill_after(d, left, 0.0f);
            sum[r] = of_row * of_row;
        }
    }
    for (uint32_t i = 0; i < full; i += VEC_LANES) {
        UNROLLED
        for (size_t r = 0; r < rows; r++) {
            const vec_t d = vec_load(x + r * ld + i) - mean[r];
            sum[r] = vec_fma(d, d, sum[r]);
        }
    }
    UNROLLED
    for (size_t r = 0; r < rows; r++)
        scale[r] = vec_set(1.0f / sqrtf(vec_sum(sum[r]) / (float)n + eps));
    for (uint32_t i = 0; i < full; i += VEC_LANES) {
        const vec_t w = vec_load(weight + i), b = bias ? vec_load(bias + i) : vec_set(0.0f);
        UNROLLED
        for (size_t r = 0; r < rows; r++) {
            float *p = x + r * ld + i;
            vec_store(p, vec_fma((vec_load(p) - mean[r]) * scale[r], w, b));
        }
    }
    if (!left)
        return;
    const vec_t w = vec_load_first(weight + full, left);
    const vec_t b = bias ? vec_load_first(bias + full, left) : vec_set(0.0f);
    UNROLLED
    for (size_t r = 0; r < rows; r++) {
        float *p = x + r * ld + full;
        const vec_t y = (vec_load_first(p, left) - mean[r]) * scale[r];
        vec_store_first(p, vec_fma(y, w, b), left);
    }
}

static void rows_layer_norm(float *x, size_t ld, uint32_t rows, uint32_t n, const float *weight,
                            const float *bias, float eps) {
    for (; rows >= 4; rows -= 4, x += 4 * ld)
        norm_rows(x, ld, 4, n, weight, bias, eps);
    for (; rows; rows--, x += ld)
        norm_rows(x, ld, 1, n, weight, bias, eps);
}

VEC_INLINE void rows_bias_act_as(float *x, size_t ld, uint32_t rows, uint32_t n, const float *bias,
                                 const enum kernel_act act) {
    for (uint32_t r = 0; r < rows; r++, x += ld) {
        uint32_t i = 0;
        for (; i + VEC_LANES <= n; i += VEC_LANES) {
            const vec_t b = bias ? vec_load(bias + i) : vec_set(0.0f);
            vec_store(x + i, vec_act(vec_load(x + i) + b, act));
        }
        if (i < n) {
            const uint32_t left = n - i;
            const vec_t b = bias ? vec_load_first(bias + i, left) : vec_set(0.0f);
            vec_store_first(x + i, vec_act(vec_load_first(x + i, left) + b, act), left);
        }
    }
}

static void rows_bias_act(float *x, size_t ld, uint32_t rows, uint32_t n, const float *bias,
                          enum kernel_act act) {
    switch (act) {
    case KERNEL_ACT_NONE:
        rows_bias_act_as(x, ld, rows, n, bias, KERNEL_ACT_NONE);
        break;
    case KERNEL_ACT_GELU:
        rows_bias_act_as(x, ld, rows, n, bias, KERNEL_ACT_GELU);
        break;
    case KERNEL_ACT_GELU_NEW:
        rows_bias_act_as(x, ld, rows, n, bias, KERNEL_ACT_GELU_NEW);
        break;
    case KERNEL_ACT_RELU:
        rows_bias_act_as(x, ld, rows, n, bias, KERNEL_ACT_RELU);
        break;
    case KERNEL_ACT_SILU:
        rows_bias_act_as(x, ld, rows, n, bias, KERNEL_ACT_SILU);
        break;
    }
}

VEC_INLINE void rows_gate_as(float *x, size_t ld, uint32_t rows, uint32_t n,
                             const enum kernel_act act) {
    for (uint32_t r = 0; r < rows; r++, x += ld) {
        const float *gate = x + n;
        uint32_t i = 0;
        for (; i + VEC_LANES <= n; i += VEC_LANES)
            vec_store(x + i, vec_load(x + i) * vec_act(vec_load(gate + i), act));
        if (i < n) {
            const uint32_t left = n - i;
            const vec_t up = vec_load_first(x + i, left);
            vec_store_first(x + i, up * vec_act(vec_load_first(gate + i, left), act), left);
        }
    }
}

static void rows_gate(float *x, size_t ld, uint32_t rows, uint32_t n, enum kernel_act act) {
    switch (act) {
    case KERNEL_ACT_NONE:
        rows_gate_as(x, ld, rows, n, KERNEL_ACT_NONE);
        break;
    case KERNEL_ACT_GELU:
        rows_gate_as(x, ld, rows, n, KERNEL_ACT_GELU);
        break;
    case KERNEL_ACT_GELU_NEW:
        rows_gate_as(x, ld, rows, n, KERNEL_ACT_GELU_NEW);
        break;
    case KERNEL_ACT_RELU:
        rows_gate_as(x, ld, rows, n, KERNEL_ACT_RELU);
        break;
    case KERNEL_ACT_SILU:
        rows_gate_as(x, ld, rows, n, KERNEL_ACT_SILU);
        break;
    }
}

/* A row's sines and cosines stay in registers while all heads pass. */
static void rows_rotate(float *x, size_t ld, uint32_t rows, uint32_t heads, uint32_t dim,
                        const float *cos_, const float *sin_) {
    const uint32_t half = dim / 2;
    for (uint32_t r = 0; r < rows; r++, x += ld, cos_ += half, sin_ += half) {
        for (uint32_t i = 0; i < half; i += VEC_LANES) {
            const uint32_t lanes = half - i < VEC_LANES ? half - i : VEC_LANES;
            const bool full = lanes == VEC_LANES;
            const vec_t c = full ? vec_load(cos_ + i) : vec_load_first(cos_ + i, lanes);
            const vec_t s = full ? vec_load(sin_ + i) : vec_load_first(sin_ + i, lanes);
            for (uint32_t head = 0; head < heads; head++) {
                float *p = x + (size_t)head * dim + i, *q = p + half;
                const vec_t u = full ? vec_load(p) : vec_load_first(p, lanes);
                const vec_t w = full ? vec_load(q) : vec_load_first(q, lanes);
                const vec_t first = vec_fma(vec_set(0.0f) - w, s, u * c);
                const vec_t second = vec_fma(u, s, w * c);
                if (full) {
                    vec_store(p, first);
                    vec_store(q, second);
                } else {
                    vec_store_first(p, first, lanes);
                    vec_store_first(q, second, lanes);
                }
            }
        }
    }
}

static void rows_softmax(float *x, size_t ld, uint32_t rows, uint32_t n) {
    for (uint32_t r = 0; r < rows; r++, x += ld) {
        const float scale = rows_exp(x, n);
        for (uint32_t i = 0; i < n; i++)
            x[i] *= scale;
    }
}

/* The 15 bits moved to a float's place have an exponent that is 112 too small: multiplied by 2^112
 * they are exact, subnormal ones included. Compilers make vectors of this loop. */
static void rows_widen(float *out, const uint16_t *half, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)(half[i] & 0x7fffu) << 13;
        float x;
        memcpy(&x, &bits, sizeof x);
        x *= 0x1p112f;
        memcpy(&bits, &x, sizeof bits);
        bits |= (uint32_t)(half[i] & 0x8000u) << 16;
        memcpy(out + i, &bits, sizeof bits);
    }
}

static void rows_sum3(float *out, const float *a, const float *b, const float *c, uint32_t n) {
    uint32_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES)
        vec_store(out + i, vec_load(a + i) + vec_load(b + i) + vec_load(c + i));
    for (; i < n; i++)
        out[i] = a[i] + b[i] + c[i];
}

static void rows_mean(float *out, const float *x, size_t ld, uint32_t rows, uint32_t n) {
    const float scale = 1.0f / (float)rows;
    uint32_t i = 0;
    for (; i < n; i += VEC_LANES) {
        const uint32_t left = n - i < VEC_LANES ? n - i : VEC_LANES;
        vec_t sum = vec_set(0.0f);
        for (uint32_t r = 0; r < rows; r++) {
            const float *p = x + r * ld + i;
            sum = sum + (left == VEC_LANES ? vec_load(p) : vec_load_first(p, left));
        }
        sum = sum * vec_set(scale);
        if (left == VEC_LANES)
            vec_store(out + i, sum);
        else
            vec_store_first(out + i, sum, left);
    }
}

#define ROWS_KERNELS(kernels_name)                                                                 \
    {                                                                                              \
        .name = kernels_name, .usable = isa_usable, .layer_norm = rows_layer_norm,                 \
        .bias_act = rows_bias_act, .gate = rows_gate, .rotate = rows_rotate,                       \
        .softmax = rows_softmax, .widen = rows_widen, .sum3 = rows_sum3, .mean = rows_mean,        \
        .attention = rows_attention,                                                               \
    }

#endif
