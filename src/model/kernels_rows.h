/* kernels_rows.h - struct kernels over vec_*.h, written once for all instruction sets. */
#ifndef EMBER_MODEL_KERNELS_ROWS_H
#define EMBER_MODEL_KERNELS_ROWS_H

#include "model/gemm_tile.h"
#include "model/isa.h"
#include "model/kernels.h"
#include "model/vec_math.h"

#include <float.h>
#include <math.h>
#include <string.h>

_Static_assert((int)VEC_LANES <= (int)ISA_LANES_MAX && (int)TILE_ROWS <= (int)ISA_TILE_ROWS_MAX,
               "kernels_attention_scratch() counts on it");

static bool isa_usable(void) {
    return vec_usable();
}

static inline float rows_sum(const float *x, uint32_t n) {
    vec_t a = vec_set(0.0f), b = a;
    uint32_t i = 0;
    for (; i + 2 * VEC_LANES <= n; i += 2 * VEC_LANES) {
        a = a + vec_load(x + i);
        b = b + vec_load(x + i + VEC_LANES);
    }
    for (; i + VEC_LANES <= n; i += VEC_LANES)
        a = a + vec_load(x + i);
    if (i < n)
        b = b + vec_load_first(x + i, n - i);
    return vec_sum(a + b);
}

/* Sum of (x - mean)^2: a second pass over a row that is still near, because the shorter
 * sum of x^2 - n mean^2 cancels where a row's mean is large. */
static inline float rows_squares(const float *x, uint32_t n, float mean) {
    const vec_t m = vec_set(mean);
    vec_t a = vec_set(0.0f), b = a;
    uint32_t i = 0;
    for (; i + 2 * VEC_LANES <= n; i += 2 * VEC_LANES) {
        const vec_t p = vec_load(x + i) - m, q = vec_load(x + i + VEC_LANES) - m;
        a = vec_fma(p, p, a);
        b = vec_fma(q, q, b);
    }
    for (; i + VEC_LANES <= n; i += VEC_LANES) {
        const vec_t p = vec_load(x + i) - m;
        a = vec_fma(p, p, a);
    }
    if (i < n) {
        const vec_t q = vec_fill_after(vec_load_first(x + i, n - i) - m, n - i, 0.0f);
        b = vec_fma(q, q, b);
    }
    return vec_sum(a + b);
}

static void rows_layer_norm(float *x, size_t ld, uint32_t rows, uint32_t n, const float *weight,
                            const float *bias, float eps) {
    for (uint32_t r = 0; r < rows; r++, x += ld) {
        const float mean = rows_sum(x, n) / (float)n;
        const float variance = rows_squares(x, n, mean) / (float)n;
        const vec_t m = vec_set(mean), scale = vec_set(1.0f / sqrtf(variance + eps));
        uint32_t i = 0;
        for (; i + VEC_LANES <= n; i += VEC_LANES) {
            const vec_t y = (vec_load(x + i) - m) * scale;
            const vec_t b = bias ? vec_load(bias + i) : vec_set(0.0f);
            vec_store(x + i, vec_fma(y, vec_load(weight + i), b));
        }
        if (i < n) {
            const uint32_t left = n - i;
            const vec_t y = (vec_load_first(x + i, left) - m) * scale;
            const vec_t w = vec_load_first(weight + i, left);
            const vec_t b = bias ? vec_load_first(bias + i, left) : vec_set(0.0f);
            vec_store_first(x + i, vec_fma(y, w, b), left);
        }
    }
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

/* x[i] = e^(x[i] - max); returns 1 / sum, which the caller multiplies in where it costs least. */
static inline float rows_exp(float *x, uint32_t n) {
    const uint32_t full = n / VEC_LANES * VEC_LANES, left = n - full;
    vec_t top = vec_set(-FLT_MAX), sum = vec_set(0.0f);
    for (uint32_t i = 0; i < full; i += VEC_LANES)
        top = vec_max(top, vec_load(x + i));
    if (left)
        top = vec_max(top, vec_fill_after(vec_load_first(x + full, left), left, -FLT_MAX));
    top = vec_set(vec_top(top));
    for (uint32_t i = 0; i < full; i += VEC_LANES) {
        const vec_t y = vec_exp(vec_load(x + i) - top);
        vec_store(x + i, y);
        sum = sum + y;
    }
    if (left) {
        const vec_t y = vec_exp(vec_load_first(x + full, left) - top);
        vec_store_first(x + full, y, left);
        sum = sum + vec_fill_after(y, left, 0.0f);
    }
    return 1.0f / vec_sum(sum);
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

/* V [n, dim] into the panels of gemm_tile.h: no turning, only copied together. Read in place its
 * rows would lie 3 x hidden apart and fall on few lines of the cache. */
static inline void attention_pack_v(const float *v, size_t ld, uint32_t n, uint32_t dim,
                                    float *out) {
    const struct tile_split panels = tile_split(tile_vecs(dim), TILE_VECS);
    for (uint32_t p = 0; p < panels.parts; p++) {
        const uint32_t width = tile_part_size(&panels, p) * VEC_LANES;
        const uint32_t first = tile_part_start(&panels, p) * VEC_LANES;
        for (uint32_t r = 0; r < n; r++, out += width) {
            const float *row = v + r * ld + first;
            for (uint32_t j = 0; j < width; j += VEC_LANES) {
                const uint32_t left = dim - first - j;
                vec_store(out + j,
                          left >= VEC_LANES ? vec_load(row + j) : vec_load_first(row + j, left));
            }
        }
    }
}

/* Scores to e^score, up to a factor per row that scale[row] takes away again. Columns past n are
 * whatever they like afterwards, before they are 0, because K^T is filled up with zeros.
 *
 * The largest score of a row is subtracted only where a score is beyond 30 in size: 8192 x e^30
 * and e^-30 are both far inside a float. That is rare, and so the processor is far into e^x
 * before it knows the largest score of anything: a third of the time of softmax. */
static inline void attention_exp(float *scores, size_t ld, uint32_t rows, uint32_t n,
                                 float *scale) {
    vec_t size = vec_set(0.0f);
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t i = 0; i < n; i += VEC_LANES)
            size = vec_max(size, vec_abs(vec_load(scores + r * ld + i)));
    if (vec_top(size) > 30.0f) {
        for (uint32_t r = 0; r < rows; r++)
            scale[r] = rows_exp(scores + r * ld, n);
        return;
    }
    const uint32_t last = (n - 1) / VEC_LANES * VEC_LANES;
    for (uint32_t r = 0; r < rows; r++) {
        float *x = scores + r * ld;
        vec_t sum = vec_set(0.0f);
        for (uint32_t i = 0; i < last; i += VEC_LANES) {
            const vec_t y = vec_exp_within(vec_load(x + i));
            vec_store(x + i, y);
            sum = sum + y;
        }
        const vec_t y = vec_exp_within(vec_load(x + last));
        vec_store(x + last, y);
        sum = sum + vec_fill_after(y, n - last, 0.0f);
        scale[r] = 1.0f / vec_sum(sum);
    }
}

/* K^T and V are packed once per head; then a few queries at a time: their scores against all
 * keys, e^x in place, and the sums over V, scaled by 1 / sum at the end. Scores of those queries
 * stay in the first-level cache for some hundred keys. */
static void rows_attention(const struct kernel_attention *call) {
    const uint32_t n = call->n, dim = call->dim;
    const size_t keys = (size_t)tile_vecs(n) * VEC_LANES;
    float *kt = call->scratch;
    float *v = kt + keys * dim;
    float *scores = v + (size_t)tile_vecs(dim) * VEC_LANES * n;
    tile_pack(call->k, call->ld, n, dim, kt);
    attention_pack_v(call->v, call->ld, n, dim, v);

    const struct tile_split blocks = tile_split(call->n_queries, TILE_ROWS);
    for (uint32_t b = 0; b < blocks.parts; b++) {
        const uint32_t rows = tile_part_size(&blocks, b);
        const size_t row = tile_part_start(&blocks, b);
        float scale[TILE_ROWS];
        tile_rows((struct tile){.a = call->q + row * call->ld,
                                .lda = call->ld,
                                .b = kt,
                                .k = dim,
                                .c = scores,
                                .ldc = keys},
                  rows, (uint32_t)keys);
        attention_exp(scores, keys, rows, n, scale);
        tile_rows((struct tile){.a = scores,
                                .lda = keys,
                                .b = v,
                                .k = n,
                                .c = call->out + row * call->ld_out,
                                .ldc = call->ld_out,
                                .row_scale = scale},
                  rows, dim);
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
