/* gemm_tile.h - the innermost loop: a tile of up to TILE_ROWS rows and TILE_VECS vectors of C
 * stays in registers while k runs, for weights and for attention alike. Included after one
 * vec_*.h.
 *
 *              w vectors of 16 (8, 4) columns
 *            +------+------+------+
 *    a[0][k] | sum  | sum  | sum  |   each step of k: w loads of B, one broadcast per row,
 *    a[1][k] | sum  | sum  | sum  |   rows x w multiply-adds that do not wait for each other
 *      ...   |      |      |      |
 *            +------+------+------+
 *
 * B is packed in panels, left to right; a panel is w vectors wide and k deep, [k, w, VEC_LANES]
 * end to end. Widths are balanced (tile_split), the last vector is filled up with zeros.
 *
 * Sizes are constants in each of the TILE_ROWS x TILE_VECS functions, otherwise the sums would
 * live in memory; what happens once per tile is decided at run time. */
#ifndef EMBER_MODEL_GEMM_TILE_H
#define EMBER_MODEL_GEMM_TILE_H

#include "model/gemm_split.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A step of k in one vector of sums: x and w hold one number a lane, or whatever an including file
 * makes of 32 bits. */
#if !defined(TILE_STEP)
#define TILE_STEP(x, w, sum) vec_fma(x, w, sum)
#endif

struct tile {
    const float *a; /* [rows, k] */
    size_t lda;
    const float *b; /* one panel, ldb numbers from one k to the next: w * VEC_LANES when packed */
    size_t ldb;
    uint32_t k;
    float *c; /* [rows, ..], first column of the panel */
    size_t ldc;
    const float *bias;     /* [w * VEC_LANES], or NULL */
    const float *residual; /* as c, added, or NULL; may be c */
    size_t ld_residual;
    const float *row_scale; /* [rows], multiplies, or NULL; not together with residual */
    uintptr_t
        next; /* address of what will be wanted after this panel: never read, only asked for, so
                         * it need not be the address of anything */
    uint32_t next_vecs; /* vectors of it to ask for in each step of k: 1..TILE_VECS */
    uint32_t last;      /* columns of the last vector that exist in C: 1..VEC_LANES */
};

/* What happens to the sums. Each kind is a run of stores without a branch: a hundred of them per
 * tile, well predicted, left the multipliers without work for 2 % of the time. `row_scale` and
 * `residual` are NULL where they are not wanted, which the compiler knows; `last` is VEC_LANES. */
VEC_INLINE void tile_store(float *c, size_t ldc, const int rows, const int vecs,
                           const float *row_scale, const float *residual, size_t ld_residual,
                           vec_t sum[TILE_ROWS][TILE_VECS]) {
    UNROLLED
    for (int i = 0; i < rows; i++) {
        UNROLLED
        for (int j = 0; j < vecs; j++) {
            vec_t x = sum[i][j];
            if (row_scale)
                x = x * vec_set(row_scale[i]);
            if (residual)
                x = x + vec_load(residual + j * VEC_LANES);
            vec_store(c + j * VEC_LANES, x);
        }
        c += ldc;
        residual = residual ? residual + ld_residual : NULL;
    }
}

/* The same where the last vector is not full. */
VEC_INLINE void tile_store_first(const struct tile *t, const int rows, const int vecs,
                                 vec_t sum[TILE_ROWS][TILE_VECS]) {
    const uint32_t last = t->last;
    UNROLLED
    for (int i = 0; i < rows; i++) {
        float *c = t->c + (size_t)i * t->ldc;
        const float *residual = t->residual ? t->residual + (size_t)i * t->ld_residual : NULL;
        UNROLLED
        for (int j = 0; j < vecs; j++) {
            const uint32_t lanes = j == vecs - 1 ? last : VEC_LANES;
            vec_t x = sum[i][j];
            if (t->row_scale)
                x = x * vec_set(t->row_scale[i]);
            if (residual)
                x = x + vec_load_first(residual + j * VEC_LANES, lanes);
            vec_store_first(c + j * VEC_LANES, x, lanes);
        }
    }
}

VEC_INLINE void tile_finish(const struct tile *t, const int rows, const int vecs,
                            vec_t sum[TILE_ROWS][TILE_VECS]) {
    if (t->last != VEC_LANES)
        tile_store_first(t, rows, vecs, sum);
    else if (t->residual)
        tile_store(t->c, t->ldc, rows, vecs, NULL, t->residual, t->ld_residual, sum);
    else if (t->row_scale)
        tile_store(t->c, t->ldc, rows, vecs, t->row_scale, NULL, 0, sum);
    else
        tile_store(t->c, t->ldc, rows, vecs, NULL, NULL, 0, sum);
}

/* The loop over k. `asked` vectors of what is wanted next are asked for in each step. */
VEC_INLINE void tile_sum(const struct tile *t, const int rows, const int vecs, const int asked,
                         vec_t sum[TILE_ROWS][TILE_VECS]) {
    const float *a[TILE_ROWS];
    UNROLLED
    for (int i = 0; i < rows; i++)
        a[i] = t->a + (size_t)i * t->lda;
    const float *b = t->b;
    uintptr_t next = t->next;
    const size_t depth = t->k, ldb = t->ldb;
    for (size_t k = 0; k < depth; k++, b += ldb) {
        vec_t w[TILE_VECS];
        UNROLLED
        for (int j = 0; j < asked; j++, next += sizeof(vec_t))
            __builtin_prefetch((const void *)next, 0, 3);
        UNROLLED
        for (int j = 0; j < vecs; j++)
            w[j] = vec_load(b + j * VEC_LANES);
        UNROLLED
        for (int i = 0; i < rows; i++) {
            const vec_t x = vec_set(a[i][k]);
            UNROLLED
            for (int j = 0; j < vecs; j++)
                sum[i][j] = TILE_STEP(x, w[j], sum[i][j]);
        }
    }
}

/* Sums begin with the bias. */
VEC_INLINE void tile_start(const float *bias, const int rows, const int vecs,
                           vec_t sum[TILE_ROWS][TILE_VECS]) {
    UNROLLED
    for (int j = 0; j < vecs; j++) {
        const vec_t x = bias ? vec_load(bias + j * VEC_LANES) : vec_set(0.0f);
        UNROLLED
        for (int i = 0; i < rows; i++)
            sum[i][j] = x;
    }
}

VEC_INLINE void tile_run(const struct tile *t, const int rows, const int vecs) {
    vec_t sum[TILE_ROWS][TILE_VECS];
    tile_start(t->bias, rows, vecs, sum);
    if (TILE_VECS > 2 && t->next_vecs == 3)
        tile_sum(t, rows, vecs, 3, sum);
    else if (t->next_vecs == 2)
        tile_sum(t, rows, vecs, 2, sum);
    else
        tile_sum(t, rows, vecs, 1, sum);
    tile_finish(t, rows, vecs, sum);
}

/* A function per size. DEFINE(rows, vecs) defines NAME_rows_vecs, TILE_TABLE(NAME) lists them by
 * vectors, then rows. A constant of C can not be asked in #if, so the register file of the target
 * is. */
#define TILE_EACH_6(DEFINE, vecs)                                                                  \
    DEFINE(1, vecs) DEFINE(2, vecs) DEFINE(3, vecs) DEFINE(4, vecs) DEFINE(5, vecs) DEFINE(6, vecs)
#define TILE_LIST_6(name, vecs)                                                                    \
    NULL, name##_1_##vecs, name##_2_##vecs, name##_3_##vecs, name##_4_##vecs, name##_5_##vecs,     \
        name##_6_##vecs
#define TILE_EACH_8(DEFINE, vecs) TILE_EACH_6(DEFINE, vecs) DEFINE(7, vecs) DEFINE(8, vecs)
#define TILE_LIST_8(name, vecs)   TILE_LIST_6(name, vecs), name##_7_##vecs, name##_8_##vecs
/* clang-format off */
#if defined(__AVX512F__)
#define TILE_EACH(DEFINE) TILE_EACH_8(DEFINE, 1) TILE_EACH_8(DEFINE, 2) TILE_EACH_8(DEFINE, 3)
#define TILE_TABLE(name)                                                                           \
    { {NULL}, {TILE_LIST_8(name, 1)}, {TILE_LIST_8(name, 2)}, {TILE_LIST_8(name, 3)} }
#elif defined(__aarch64__)
#define TILE_EACH(DEFINE) TILE_EACH_8(DEFINE, 1) TILE_EACH_8(DEFINE, 2)
#define TILE_TABLE(name)                                                                           \
    { {NULL}, {TILE_LIST_8(name, 1)}, {TILE_LIST_8(name, 2)} }
#else
#define TILE_EACH(DEFINE) TILE_EACH_6(DEFINE, 1) TILE_EACH_6(DEFINE, 2)
#define TILE_TABLE(name)                                                                           \
    { {NULL}, {TILE_LIST_6(name, 1)}, {TILE_LIST_6(name, 2)} }
#endif
/* clang-format on */

typedef void (*tile_fn)(const struct tile *);

#define TILE_DEFINE(rows, vecs)                                                                    \
    static __attribute__((noinline)) void tile_##rows##_##vecs(const struct tile *t) {             \
        tile_run(t, rows, vecs);                                                                   \
    }
TILE_EACH(TILE_DEFINE)

static const tile_fn tile_table[TILE_VECS + 1][TILE_ROWS + 1] = TILE_TABLE(tile);

/* C = A B over all panels, `rows` in balanced blocks. t holds what is the same everywhere: a,
 * lda, b, k, c, ldc, residual, row_scale; columns is the width of C. B is in panels, or with ldb
 * other than 0 it is [k, columns] and columns are a multiple of VEC_LANES. */
static inline void tile_rows(struct tile t, uint32_t rows, uint32_t columns, size_t ldb) {
    const uint32_t vecs = tile_vecs(columns);
    const struct tile_split panels = tile_split(vecs, TILE_VECS);
    const uint32_t last = columns - (vecs - 1) * VEC_LANES;
    for (uint32_t p = 0; p < panels.parts; p++) {
        const uint32_t width = tile_part_size(&panels, p);
        t.last = p + 1 == panels.parts ? last : VEC_LANES;
        t.ldb = ldb ? ldb : (size_t)width * VEC_LANES;
        t.next = (uintptr_t)t.b; /* nothing: it is there already */
        tile_table[width][rows](&t);
        t.b += (size_t)width * VEC_LANES * (ldb ? 1 : t.k);
        t.c += (size_t)width * VEC_LANES;
        if (t.residual)
            t.residual += (size_t)width * VEC_LANES;
    }
}

/* A block of VEC_LANES x VEC_LANES turned over its diagonal: log2(VEC_LANES) rounds, each of which
 * interleaves the first half of the rows with the second and so rotates the bits of every number's
 * position by one. */
VEC_INLINE void tile_transpose(vec_t r[VEC_LANES]) {
    UNROLLED
    for (int round = 1; round < VEC_LANES; round *= 2) {
        vec_t t[VEC_LANES];
        UNROLLED
        for (int i = 0; i < VEC_LANES / 2; i++) {
            t[2 * i] = vec_zip_low(r[i], r[i + VEC_LANES / 2]);
            t[2 * i + 1] = vec_zip_high(r[i], r[i + VEC_LANES / 2]);
        }
        UNROLLED
        for (int i = 0; i < VEC_LANES; i++)
            r[i] = t[i];
    }
}

/* One vector of a panel: out[j * stride + lane] = rows[lane][j] * scale for j < k; lanes >= n are
 * 0. */
static inline void tile_pack_vec(const float *rows, size_t ld, uint32_t n, uint32_t k, float scale,
                                 float *out, size_t stride) {
    for (uint32_t j = 0; j < k; j += VEC_LANES) {
        const uint32_t deep = k - j < VEC_LANES ? k - j : VEC_LANES;
        vec_t block[VEC_LANES];
        if (n == VEC_LANES && deep == VEC_LANES) {
            UNROLLED
            for (uint32_t i = 0; i < VEC_LANES; i++)
                block[i] = vec_load(rows + i * ld + j);
        } else {
            for (uint32_t i = 0; i < VEC_LANES; i++)
                block[i] = i < n ? vec_load_first(rows + i * ld + j, deep) : vec_set(0.0f);
        }
        tile_transpose(block);
        if (deep == VEC_LANES) {
            UNROLLED
            for (uint32_t i = 0; i < VEC_LANES; i++)
                vec_store(out + (j + i) * stride, block[i] * vec_set(scale));
        } else {
            for (uint32_t i = 0; i < deep; i++)
                vec_store(out + (j + i) * stride, block[i] * vec_set(scale));
        }
    }
}

/* Rows [n, k] into panels of B = rows^T scale: tile_vecs(n) * VEC_LANES * k numbers. */
static inline void tile_pack(const float *rows, size_t ld, uint32_t n, uint32_t k, float scale,
                             float *out) {
    const struct tile_split panels = tile_split(tile_vecs(n), TILE_VECS);
    for (uint32_t p = 0; p < panels.parts; p++) {
        const uint32_t width = tile_part_size(&panels, p);
        const uint32_t first = tile_part_start(&panels, p) * VEC_LANES;
        for (uint32_t j = 0; j < width; j++) {
            const uint32_t row = first + j * VEC_LANES;
            const uint32_t left = n - row < VEC_LANES ? n - row : VEC_LANES;
            tile_pack_vec(rows + row * ld, ld, left, k, scale, out + j * VEC_LANES,
                          (size_t)width * VEC_LANES);
        }
        out += (size_t)width * VEC_LANES * k;
    }
}

#endif
