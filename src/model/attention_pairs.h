/* attention_pairs.h - what of kernels_attention.h is different when a word holds two numbers in
 * bfloat16, which one instruction multiplies and adds. Only for AVX-512 with BF16.
 *
 *     K^T    lane = key, word = numbers 2s and 2s + 1 of its head
 *     V      lane = number of the head, word = keys 2s and 2s + 1; a key that does not exist is 0
 *     P, Q   rows as they are, two numbers a word */
#ifndef EMBER_MODEL_ATTENTION_PAIRS_H
#define EMBER_MODEL_ATTENTION_PAIRS_H

#include "model/gemm_tile.h"

enum { ATTENTION_PER_WORD = 2 };

/* 32 numbers, low before high, as 16 words. */
VEC_INLINE vec_t pairs_of(vec_t low, vec_t high) {
    return (vec_t)_mm512_cvtne2ps_pbh(high, low);
}

/* numbers 0 .. n of a row, 1 <= n; past n zeros. */
VEC_INLINE vec_t pairs_load(const float *row, uint32_t n, vec_t scale) {
    const vec_t zero = vec_set(0.0f);
    if (n >= 2 * VEC_LANES)
        return pairs_of(vec_load(row) * scale, vec_load(row + VEC_LANES) * scale);
    if (n <= VEC_LANES)
        return pairs_of(vec_load_first(row, n) * scale, zero);
    return pairs_of(vec_load(row) * scale, vec_load_first(row + VEC_LANES, n - VEC_LANES) * scale);
}

/* One vector of keys: out[s * stride + lane]; lanes >= n are 0. */
static inline void pairs_pack_vec(const float *k, size_t ld, uint32_t n, uint32_t dim, float *out,
                                  size_t stride) {
    for (uint32_t j = 0; j < dim; j += 2 * VEC_LANES) {
        const uint32_t left = dim - j;
        const uint32_t words = left >= 2 * VEC_LANES ? VEC_LANES : (left + 1) / 2;
        vec_t block[VEC_LANES];
        for (uint32_t i = 0; i < VEC_LANES; i++)
            block[i] = i < n ? pairs_load(k + i * ld + j, left, vec_set(LOG2_E)) : vec_set(0.0f);
        tile_transpose(block);
        for (uint32_t i = 0; i < words; i++, out += stride)
            vec_store(out, block[i]);
    }
}

static inline void attention_pack_k(const float *k, size_t ld, uint32_t n, uint32_t dim,
                                    float *out) {
    const struct tile_split panels = tile_split(tile_vecs(n), TILE_VECS);
    for (uint32_t p = 0; p < panels.parts; p++) {
        const uint32_t width = tile_part_size(&panels, p);
        const uint32_t first = tile_part_start(&panels, p) * VEC_LANES;
        for (uint32_t j = 0; j < width; j++) {
            const uint32_t row = first + j * VEC_LANES;
            const uint32_t left = n - row < VEC_LANES ? n - row : VEC_LANES;
            pairs_pack_vec(k + row * ld, ld, left, dim, out + j * VEC_LANES,
                           (size_t)width * VEC_LANES);
        }
        out += (size_t)width * VEC_LANES * ((dim + 1) / 2);
    }
}

static inline void attention_pack_v(const float *v, size_t ld, uint32_t n, uint32_t dim,
                                    float *out) {
    static const uint16_t turns[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                       21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                       11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const __m512i in_turn = _mm512_loadu_si512(turns);
    const struct tile_split panels = tile_split(tile_vecs(dim), TILE_VECS);
    for (uint32_t p = 0; p < panels.parts; p++) {
        const uint32_t width = tile_part_size(&panels, p) * VEC_LANES;
        const uint32_t first = tile_part_start(&panels, p) * VEC_LANES;
        for (uint32_t r = 0; r < n; r += 2, out += width) {
            const float *row = v + r * ld + first;
            for (uint32_t j = 0; j < width; j += VEC_LANES) {
                const uint32_t left = dim - first - j, lanes = left < VEC_LANES ? left : VEC_LANES;
                const vec_t a = vec_load_first(row + j, lanes);
                const vec_t b = r + 1 < n ? vec_load_first(row + ld + j, lanes) : vec_set(0.0f);
                const __m512i pairs = (__m512i)pairs_of(a, b);
                vec_store(out + j, (vec_t)_mm512_permutexvar_epi16(in_turn, pairs));
            }
        }
    }
}

VEC_INLINE void attention_store(float *c, const int vecs, const vec_t y[TILE_VECS]) {
    int j = 0;
    UNROLLED
    for (; j + 2 <= vecs; j += 2)
        vec_store(c + j * (VEC_LANES / 2), pairs_of(y[j], y[j + 1]));
    if (j < vecs)
        _mm256_storeu_si256((__m256i *)(c + j * (VEC_LANES / 2)),
                            (__m256i)_mm512_cvtneps_pbh(y[j]));
}

/* Queries are rounded to `room`, and *ld is the distance of their rows there. */
static inline const float *attention_queries(const float *q, size_t *ld, uint32_t rows,
                                             uint32_t dim, float *room) {
    const uint32_t words = (dim + 1) / 2;
    for (uint32_t i = 0; i < rows; i++)
        for (uint32_t j = 0; j < dim; j += 2 * VEC_LANES) {
            const vec_t x = pairs_load(q + i * *ld + j, dim - j, vec_set(1.0f));
            const uint32_t left = words - j / 2;
            vec_store_first(room + i * words + j / 2, x, left < VEC_LANES ? left : VEC_LANES);
        }
    *ld = words;
    return room;
}

#endif
