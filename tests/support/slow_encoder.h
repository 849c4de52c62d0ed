/* slow_encoder.h - the encoder written down a second time, from the formulas: in double precision,
 * one sequence, one token and one number at a time, weights asked from a source by name. */
#ifndef EMBER_SLOW_ENCODER_H
#define EMBER_SLOW_ENCODER_H

#include "model/encoder_random.h"

#include <math.h>
#include <stdio.h>

enum {
    SLOW_TOKENS = 700,
    SLOW_HIDDEN = 96,
    SLOW_INNER = 256,
    SLOW_VOCAB = 1000,
    SLOW_STATES = SLOW_TOKENS * SLOW_HIDDEN
};

/* What the tensors are called; %u is the layer. */
struct slow_names {
    const char *norm, *query, *key, *value, *fused, *out, *ffn1, *gate, *ffn2, *norm1, *norm2,
        *head;
};

static inline const struct slow_names *slow_names(enum model_family family) {
    static const struct slow_names all[] = {
        [MODEL_BERT] = {.norm = "embeddings.LayerNorm",
                        .query = "encoder.layer.%u.attention.self.query",
                        .key = "encoder.layer.%u.attention.self.key",
                        .value = "encoder.layer.%u.attention.self.value",
                        .out = "encoder.layer.%u.attention.output.dense",
                        .ffn1 = "encoder.layer.%u.intermediate.dense",
                        .ffn2 = "encoder.layer.%u.output.dense",
                        .norm1 = "encoder.layer.%u.attention.output.LayerNorm",
                        .norm2 = "encoder.layer.%u.output.LayerNorm",
                        .head = "pooler.dense"},
        [MODEL_NOMIC] = {.norm = "emb_ln",
                         .fused = "encoder.layers.%u.attn.Wqkv",
                         .out = "encoder.layers.%u.attn.out_proj",
                         .ffn1 = "encoder.layers.%u.mlp.fc11",
                         .gate = "encoder.layers.%u.mlp.fc12",
                         .ffn2 = "encoder.layers.%u.mlp.fc2",
                         .norm1 = "encoder.layers.%u.norm1",
                         .norm2 = "encoder.layers.%u.norm2"},
        [MODEL_DISTILBERT] = {.norm = "embeddings.LayerNorm",
                              .query = "transformer.layer.%u.attention.q_lin",
                              .key = "transformer.layer.%u.attention.k_lin",
                              .value = "transformer.layer.%u.attention.v_lin",
                              .out = "transformer.layer.%u.attention.out_lin",
                              .ffn1 = "transformer.layer.%u.ffn.lin1",
                              .ffn2 = "transformer.layer.%u.ffn.lin2",
                              .norm1 = "transformer.layer.%u.sa_layer_norm",
                              .norm2 = "transformer.layer.%u.output_layer_norm",
                              .head = "pre_classifier"},
    };
    return &all[family];
}

/* Tensor `part`.`kind` of a layer. */
static inline void slow_read(const char *part, const char *kind, uint32_t layer, uint64_t rows,
                             uint64_t cols, float *out) {
    char format[128], name[128];
    snprintf(format, sizeof format, "%s.%s", part, kind);
    snprintf(name, sizeof name, format, layer);
    random_read(NULL, name, rows, cols, 0, rows, out, NULL);
}

/* Rows first .. first + n of the linear layer `part`, which has `of` rows. */
static inline void slow_linear(const char *part, bool with_bias, uint32_t layer, uint32_t of,
                               uint32_t first, uint32_t n, uint32_t k, const double *x,
                               uint32_t rows, double *out) {
    static float w[SLOW_INNER * SLOW_INNER * 2], bias[SLOW_INNER * 2];
    memset(bias, 0, sizeof bias);
    slow_read(part, "weight", layer, of, k, w);
    if (with_bias)
        slow_read(part, "bias", layer, 1, of, bias);
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++) {
            double sum = (double)bias[first + i];
            for (size_t j = 0; j < k; j++)
                sum += x[r * k + j] * (double)w[(first + i) * k + j];
            out[r * n + i] = sum;
        }
}

static inline void slow_norm(const char *part, uint32_t layer, uint32_t n, double eps, double *x,
                             uint32_t rows) {
    static float w[SLOW_HIDDEN], bias[SLOW_HIDDEN];
    slow_read(part, "weight", layer, 1, n, w);
    slow_read(part, "bias", layer, 1, n, bias);
    for (size_t r = 0; r < rows; r++, x += n) {
        double mean = 0, variance = 0;
        for (size_t i = 0; i < n; i++)
            mean += x[i] / n;
        for (size_t i = 0; i < n; i++)
            variance += (x[i] - mean) * (x[i] - mean) / n;
        for (size_t i = 0; i < n; i++)
            x[i] = (x[i] - mean) / sqrt(variance + eps) * (double)w[i] + (double)bias[i];
    }
}

/* Rotary positions of one state [n, h], as complex numbers: (u + iw) e^(i angle). */
static inline void slow_rotate(const struct model_shape *shape, double *x, uint32_t n) {
    const uint32_t h = shape->hidden, d = h / shape->heads;
    const double f = (double)shape->rotary_factor, m = shape->rotary_trained;
    double base = (double)shape->rotary_base;
    if (f > 0 && n > m)
        base *= pow(f * n / m - (f - 1.0), (double)d / (d - 2.0));
    for (size_t p = 0; p < n; p++)
        for (size_t head = 0; head < shape->heads; head++)
            for (size_t j = 0; j < d / 2; j++) {
                double *u = x + p * h + head * d + j, *w = u + d / 2;
                const double angle = (double)p * pow(base, -2.0 * (double)j / d), a = *u;
                *u = a * cos(angle) - *w * sin(angle);
                *w = *w * cos(angle) + a * sin(angle);
            }
}

static inline void slow_attention(const double *q, const double *k, const double *v, uint32_t n,
                                  uint32_t h, uint32_t heads, double *out) {
    static double p[SLOW_TOKENS];
    const size_t d = h / heads;
    for (size_t head = 0; head < heads; head++)
        for (size_t i = 0; i < n; i++) {
            double top = -1e300, sum = 0;
            for (size_t j = 0; j < n; j++) {
                p[j] = 0;
                for (size_t c = head * d; c < (head + 1) * d; c++)
                    p[j] += q[i * h + c] * k[j * h + c] / sqrt((double)d);
                top = fmax(top, p[j]);
            }
            for (size_t j = 0; j < n; j++)
                sum += p[j] = exp(p[j] - top);
            for (size_t c = head * d; c < (head + 1) * d; c++) {
                out[i * h + c] = 0;
                for (size_t j = 0; j < n; j++)
                    out[i * h + c] += p[j] / sum * v[j * h + c];
            }
        }
}

static inline double slow_act(double x, enum model_act act) {
    switch (act) {
    case MODEL_GELU:
        return 0.5 * x * (1.0 + erf(x / sqrt(2.0)));
    case MODEL_GELU_NEW:
        return 0.5 * x * (1.0 + tanh(sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
    case MODEL_RELU:
        return x > 0 ? x : 0;
    case MODEL_SILU:
        return x / (1.0 + exp(-x));
    }
    return x;
}

/* To 11 bits, at least 2^-24 apart: half precision. */
static inline double slow_half(double x) {
    const int e = x == 0 || fabs(x) < 0x1p-14 ? -14 : ilogb(x);
    return ldexp(nearbyint(ldexp(x, 10 - e)), e - 10);
}

static inline void slow_embed(const struct model_shape *shape, bool half, const int32_t *ids,
                              const int32_t *types, uint32_t n, double *x) {
    static float words[SLOW_VOCAB * SLOW_HIDDEN], positions[512 * SLOW_HIDDEN],
        segments[4 * SLOW_HIDDEN];
    const uint32_t h = shape->hidden;
    slow_read("embeddings.word_embeddings", "weight", 0, shape->vocab_rows, h, words);
    memset(positions, 0, sizeof positions);
    memset(segments, 0, sizeof segments);
    if (shape->family != MODEL_NOMIC)
        slow_read("embeddings.position_embeddings", "weight", 0, shape->positions, h, positions);
    if (shape->family != MODEL_DISTILBERT)
        slow_read("embeddings.token_type_embeddings", "weight", 0, shape->types, h, segments);
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < h; c++) {
            const double word = (double)words[(size_t)ids[i] * h + c];
            x[i * h + c] = (half ? slow_half(word) : word) +
                           (double)positions[(i * h + c) % (512 * SLOW_HIDDEN)] +
                           (double)segments[(size_t)types[i] * h + c];
        }
}

static inline void slow_layer(const struct model_shape *shape, uint32_t l, uint32_t n, double *x) {
    static double q[SLOW_STATES], k[SLOW_STATES], v[SLOW_STATES], up[SLOW_TOKENS * SLOW_INNER],
        gate[SLOW_TOKENS * SLOW_INNER];
    const struct slow_names *names = slow_names(shape->family);
    const uint32_t h = shape->hidden, inner = shape->inner;
    const bool bias = shape->family != MODEL_NOMIC;
    const char *const parts[3] = {names->query, names->key, names->value};
    double *const outs[3] = {q, k, v};
    for (uint32_t i = 0; i < 3; i++)
        if (names->fused)
            slow_linear(names->fused, bias, l, 3 * h, i * h, h, h, x, n, outs[i]);
        else
            slow_linear(parts[i], bias, l, h, 0, h, h, x, n, outs[i]);
    if (shape->rotary_base > 0) {
        slow_rotate(shape, q, n);
        slow_rotate(shape, k, n);
    }
    slow_attention(q, k, v, n, h, shape->heads, up);
    slow_linear(names->out, bias, l, h, 0, h, h, up, n, q);
    for (size_t i = 0; i < (size_t)n * h; i++)
        x[i] += q[i];
    slow_norm(names->norm1, l, h, (double)shape->eps, x, n);
    slow_linear(names->ffn1, bias, l, inner, 0, inner, h, x, n, up);
    if (shape->gated)
        slow_linear(names->gate, bias, l, inner, 0, inner, h, x, n, gate);
    for (size_t i = 0; i < (size_t)n * inner; i++)
        up[i] = shape->gated ? up[i] * slow_act(gate[i], shape->act) : slow_act(up[i], shape->act);
    slow_linear(names->ffn2, bias, l, h, 0, h, inner, up, n, q);
    for (size_t i = 0; i < (size_t)n * h; i++)
        x[i] += q[i];
    slow_norm(names->norm2, l, h, (double)shape->eps, x, n);
}

/* out: [model_outputs(shape)]. `half`: the word table in half precision. */
static inline void slow_forward(const struct model_shape *shape, bool half, const int32_t *ids,
                                const int32_t *types, uint32_t n, double *out) {
    static double x[SLOW_STATES];
    const uint32_t h = shape->hidden;
    slow_embed(shape, half, ids, types, n, x);
    slow_norm(slow_names(shape->family)->norm, 0, h, (double)shape->eps, x, n);
    for (uint32_t l = 0; l < shape->layers; l++)
        slow_layer(shape, l, n, x);
    if (shape->head != MODEL_HEAD_NONE) {
        double z[SLOW_HIDDEN];
        slow_linear(slow_names(shape->family)->head, true, 0, h, 0, h, h, x, 1, z);
        for (uint32_t c = 0; c < h; c++)
            z[c] = shape->family == MODEL_DISTILBERT ? fmax(z[c], 0) : tanh(z[c]);
        slow_linear("classifier", true, 0, shape->classes, 0, shape->classes, h, z, 1, out);
        return;
    }
    for (size_t c = 0; c < h; c++) {
        out[c] = x[c];
        for (size_t i = 1; i < n && shape->pooling == MODEL_POOL_MEAN; i++)
            out[c] += x[i * h + c];
        if (shape->pooling == MODEL_POOL_MEAN)
            out[c] /= n;
    }
}

#endif
