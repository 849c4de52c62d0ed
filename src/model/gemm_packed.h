/* gemm_packed.h - struct gemm_kernel over gemm_tile.h, written once for all instruction sets.
 *
 * Packed weights: [bias, vecs * VEC_LANES][panel 0][panel 1].. (gemm_tile.h draws a panel).
 *
 * Order of work: a block of rows that fits the second-level cache meets every panel in turn;
 * inside, all rows of the block meet one panel while it is near. So weights come from far once
 * per block, and the activation runs over sums that were stored a moment ago.
 *
 * While rows meet a panel, the next panel is asked for, evenly over the tiles that can do it: a
 * vector per step of k and tile, more where there are fewer tiles than vectors in a panel. Left
 * to itself the processor waits for weights at the start of every panel: asking took 8 rows of a
 * 384-wide model from 1.24 to 0.85 ms, 16 from 2.0 to 1.5, 32 from 3.6 to 2.8. All at once by the
 * first tile is slower wherever others could share the work (32 rows: 2.95). Behind the last
 * panel lies the first of the next product when its owner packs them in the order of use. */
#ifndef EMBER_MODEL_GEMM_PACKED_H
#define EMBER_MODEL_GEMM_PACKED_H

#include "model/gemm.h"
#include "model/gemm_tile.h"
#include "model/kernels_rows.h"

/* Numbers of A in one block of rows. */
enum { GEMM_BLOCK = 128 * 1024 };

static size_t packed_bytes(uint32_t n, uint32_t k) {
    return (size_t)tile_vecs(n) * VEC_LANES * ((size_t)k + 1) * sizeof(float);
}

static void packed_pack(const float *w, const float *bias, uint32_t n, uint32_t k, void *packed) {
    const uint32_t columns = tile_vecs(n) * VEC_LANES;
    float *out = packed;
    for (uint32_t i = 0; i < columns; i++)
        out[i] = bias && i < n ? bias[i] : 0.0f;
    tile_pack(w, k, n, k, 1.0f, out + columns);
}

static size_t packed_scratch_bytes(uint32_t k, uint32_t m) {
    (void)k, (void)m;
    return 0;
}

/* c += residual: only where an activation stands between the sums and the residual. */
static void packed_add(const struct tile *t, uint32_t rows, uint32_t columns,
                       const float *residual) {
    for (uint32_t i = 0; i < rows; i++)
        for (uint32_t j = 0; j < columns; j++)
            t->c[i * t->ldc + j] += residual[i * t->ld_residual + j];
}

/* All rows of a block against one panel whose first column is `column`. */
static void packed_panel(const struct gemm_call *call, uint32_t first_row, uint32_t rows,
                         uint32_t column, uint32_t columns, struct tile t) {
    const struct tile_split blocks = tile_split(rows, TILE_ROWS);
    const uint32_t vecs = tile_vecs(columns);
    t.last = columns - (vecs - 1) * VEC_LANES;
    uint32_t unasked = vecs; /* vectors of the next panel's rows */
    for (uint32_t i = 0; i < blocks.parts; i++) {
        const uint32_t n = tile_part_size(&blocks, i);
        const size_t row = first_row + tile_part_start(&blocks, i);
        const float *residual =
            call->residual ? call->residual + row * call->ld_residual + column : NULL;
        t.a = call->a + row * call->lda;
        t.c = call->c + row * call->ldc + column;
        t.residual = call->act == KERNEL_ACT_NONE ? residual : NULL;
        if (unasked) {
            const uint32_t tiles = blocks.parts - i;
            t.next_vecs = (unasked + tiles - 1) / tiles;
            unasked -= t.next_vecs;
        } else {
            t.next_vecs = 1;
            t.next = (uintptr_t)t.b; /* nothing: it is there already */
        }
        tile_table[vecs][n](&t);
        t.next += t.next_vecs * sizeof(vec_t) * t.k;
        if (call->act != KERNEL_ACT_NONE) {
            rows_bias_act(t.c, t.ldc, n, columns, NULL, call->act);
            if (residual)
                packed_add(&t, n, columns, residual);
        }
    }
}

static void packed_run(const struct gemm_weights *weights, const struct gemm_call *call) {
    const uint32_t n = weights->n, k = weights->k, vecs = tile_vecs(n);
    const float *bias = weights->packed;
    const struct tile_split panels = tile_split(vecs, TILE_VECS);
    uint32_t block = GEMM_BLOCK / k / TILE_ROWS * TILE_ROWS;
    if (block < TILE_ROWS)
        block = TILE_ROWS;
    for (uint32_t row = 0; row < call->m; row += block) {
        const uint32_t rows = call->m - row < block ? call->m - row : block;
        struct tile t = {.lda = call->lda,
                         .b = bias + (size_t)vecs * VEC_LANES,
                         .k = k,
                         .ldc = call->ldc,
                         .ld_residual = call->ld_residual};
        for (uint32_t p = 0; p < panels.parts; p++) {
            const uint32_t width = tile_part_size(&panels, p) * VEC_LANES;
            const uint32_t column = tile_part_start(&panels, p) * VEC_LANES;
            const uint32_t columns = n - column < width ? n - column : width;
            t.ldb = width;
            t.bias = bias + column;
            t.next = (uintptr_t)(t.b + (size_t)width * k);
            packed_panel(call, row, rows, column, columns, t);
            t.b += (size_t)width * k;
        }
    }
}

#define PACKED_KERNEL(kernel_name)                                                                 \
    {                                                                                              \
        .name = kernel_name, .precision = GEMM_F32, .layout = 1, .usable = isa_usable,             \
        .packed_bytes = packed_bytes, .pack = packed_pack, .scratch_bytes = packed_scratch_bytes,  \
        .run = packed_run,                                                                         \
    }

#endif
