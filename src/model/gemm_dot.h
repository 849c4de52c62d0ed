/* gemm_dot.h - struct gemm_kernel for numbers narrower than a float, written once for int8 and
 * bfloat16 and all instruction sets.
 *
 * Such instructions take several numbers of k at once: a word. Rows of A are converted to words
 * once per call, in call->scratch; weights lie in words already:
 *
 *               v vectors of 16 (8, 4) columns
 *             +------+------+------+
 *    a[0][s]  | sum  | sum  | sum  |   each step: v loads of words of W, one broadcast word per
 *    a[1][s]  | sum  | sum  | sum  |   row, rows x v instructions that multiply DOT_DEPTH numbers
 *      ...    |      |      |      |   in each lane and add them to its sum
 *             +------+------+------+
 *
 * The sums stay in registers until they are floats with scale, bias and residual, and are stored
 * once. An activation runs over the stored tile, which is in the first-level cache still.
 *
 * Packed weights are panels, left to right, each end to end
 *     [head: DOT_HEAD, v, VEC_LANES of 4 bytes][steps, v, VEC_LANES, DOT_DEPTH numbers]
 * where the head is bias, and scale and offset if the numbers need them: there and not elsewhere,
 * because then it is asked for together with the panel (gemm_packed.h tells why asking pays).
 * Columns that do not exist and numbers past k are zeros.
 *
 * The including file has one vec_*.h and defines
 *     DOT_ROWS, DOT_VECS      the largest tile
 *     DOT_DEPTH, DOT_HEAD     numbers of k in a word; vectors of a head per vector of columns
 *     DOT_W_BYTES             of one vector of weights
 *     dot_word_t              a word of A in memory
 *     dot_sum_t, dot_a_t, dot_w_t, dot_a(), dot_w(), dot_add()
 *     dot_start()             a sum before the first step
 *     dot_head(), dot_end()   what a head has for a vector of columns; a sum to floats with it
 *     dot_convert()           a row of A to words; returns the row's scale
 *     dot_pack()              rows of W to one vector of a panel and its head */
#ifndef EMBER_MODEL_GEMM_DOT_H
#define EMBER_MODEL_GEMM_DOT_H

#include "model/gemm.h"
#include "model/gemm_split.h"
#include "model/vec_math.h"

#include <string.h>

enum { DOT_BLOCK_BYTES = 192 * 1024 }; /* words of A in one block of rows: part of the L2 cache */

/* GELU takes a tenth of the time of a tile with k = 384, and little of it on the units that
 * multiply words. So a tile may leave it to the next one, which does a row now and then on its
 * way through k. Where registers are few there is no room for that. */
#if defined(VEC_LOOKUP)
enum { DOT_CHORES = 1 };
#else
enum { DOT_CHORES = 0 };
#endif

/* What happens to a sum in registers, after scale and bias; all else is a pass over the stored
 * tile. */
enum dot_finish { DOT_PLAIN, DOT_RESIDUAL, DOT_GELU };

struct dot_tile {
    const dot_word_t *a; /* [rows, steps] */
    size_t lda;          /* words */
    const char *head;    /* of the panel */
    uint32_t steps;
    uint32_t last; /* columns of the last vector that exist in C: 1..VEC_LANES */
    float *c;      /* [rows, ..], first column of the panel */
    size_t ldc;
    const float *residual; /* as c; for DOT_RESIDUAL; may be c */
    size_t ld_residual;
    const float *row_scale; /* [rows] */
    uintptr_t next;         /* address of what will be wanted after this panel: only asked for */
    uint32_t next_vecs;     /* vectors of it to ask for in each step: 1..DOT_VECS */
    enum dot_finish finish;
    float *chore;        /* rows of an earlier tile, DOT_VECS vectors wide, that wait for GELU */
    uint32_t chore_rows; /* or 0 */
};

/* x Phi(x) within 7e-5, which is a fraction of what rounding to int8 or bfloat16 costs (5e-3 and
 * 2e-3 of a typical x), at half the price of vec_gelu(): as there max(x, 0) - g(|x|), but by
 * parabolas, one per quarter of |x| up to 4. Where g ends, at 1.3e-4, the last ends at half of
 * it. */
#if defined(VEC_LOOKUP)
static const float dot_gelu_pieces[3][16] = {
    {1.62085858e-05f, 0.00340995056f, 0.0242822274f, 0.0782945959f, 0.167556603f, 0.274492337f,
     0.368978348f, 0.423238609f, 0.424446085f, 0.378195152f, 0.302797941f, 0.21962088f,
     0.145187998f, 0.0878945785f, 0.0489065828f, 0.0250222878f},
    {0.499038716f, 0.474026721f, 0.39193737f, 0.248376814f, 0.0695094627f, -0.102428376f,
     -0.229378942f, -0.292205087f, -0.293939991f, -0.253067267f, -0.192781758f, -0.132212057f,
     -0.0824804819f, -0.0471249778f, -0.0247756382f, -0.0120274528f},
    {-0.391498841f, -0.344792812f, -0.263688473f, -0.168078623f, -0.0783578638f, -0.00918914695f,
     0.0334756126f, 0.05166664f, 0.05223262f, 0.0432007464f, 0.031147646f, 0.0201190408f,
     0.011810967f, 0.00635590033f, 0.00315272125f, 0.00144697708f},
};

VEC_INLINE vec_t dot_gelu(vec_t x) {
    const vec_t u = vec_min(vec_set(3.9999998f), vec_abs(x));
    const vec_t at = vec_add_down(u, vec_set(3145728.0f)); /* 1.5 x 2^21: its units are quarters */
    vec_t g = vec_lookup(dot_gelu_pieces[2], at);
    g = vec_fma(g, u, vec_lookup(dot_gelu_pieces[1], at));
    g = vec_fma(g, u, vec_lookup(dot_gelu_pieces[0], at));
    return vec_max(vec_set(0.0f), x) - g;
}
#else
VEC_INLINE vec_t dot_gelu(vec_t x) {
    return vec_gelu(x);
}
#endif

/* Sums to C, in each of these kinds without a branch or a pointer that a store to C might change:
 * either leaves the multipliers of the next tile without work. */
VEC_INLINE void dot_store(const struct dot_tile *t, const int rows, const int vecs,
                          const enum dot_finish finish, dot_sum_t sum[DOT_ROWS][DOT_VECS]) {
    const float *row_scale = t->row_scale, *residual = t->residual;
    const size_t ldc = t->ldc, ld_residual = t->ld_residual;
    float *c = t->c;
    UNROLLED
    for (int j = 0; j < vecs; j++, c += VEC_LANES) {
        const struct dot_head head = dot_head(t->head, vecs, j);
        UNROLLED
        for (int i = 0; i < rows; i++) {
            vec_t x = dot_end(sum[i][j], &head, row_scale[i]);
            if (finish == DOT_GELU)
                x = dot_gelu(x);
            if (finish == DOT_RESIDUAL)
                x = x + vec_load(residual + (size_t)i * ld_residual);
            vec_store(c + (size_t)i * ldc, x);
        }
        if (finish == DOT_RESIDUAL)
            residual += VEC_LANES;
    }
}

/* The same where the last vector is not full. */
VEC_INLINE void dot_store_first(const struct dot_tile *t, const int rows, const int vecs,
                                dot_sum_t sum[DOT_ROWS][DOT_VECS]) {
    UNROLLED
    for (int j = 0; j < vecs; j++) {
        const uint32_t lanes = j == vecs - 1 ? t->last : VEC_LANES;
        const struct dot_head head = dot_head(t->head, vecs, j);
        UNROLLED
        for (int i = 0; i < rows; i++) {
            vec_t x = dot_end(sum[i][j], &head, t->row_scale[i]);
            if (t->finish == DOT_GELU)
                x = dot_gelu(x);
            if (t->finish == DOT_RESIDUAL)
                x = x +
                    vec_load_first(t->residual + (size_t)i * t->ld_residual + j * VEC_LANES, lanes);
            vec_store_first(t->c + (size_t)i * t->ldc + j * VEC_LANES, x, lanes);
        }
    }
}

/* Where the loop over k is. */
struct dot_place {
    const dot_word_t *a[DOT_ROWS];
    const char *w;
    uintptr_t next;
};

VEC_INLINE void dot_walk(struct dot_place *at, const size_t first, const size_t end, const int rows,
                         const int vecs, const int asked, dot_sum_t sum[DOT_ROWS][DOT_VECS]) {
    for (size_t s = first; s < end; s++, at->w += vecs * DOT_W_BYTES) {
        dot_w_t words[DOT_VECS];
        UNROLLED
        for (int j = 0; j < asked; j++, at->next += DOT_W_BYTES)
            __builtin_prefetch((const void *)at->next, 0, 3);
        UNROLLED
        for (int j = 0; j < vecs; j++)
            words[j] = dot_w(at->w + j * DOT_W_BYTES);
        UNROLLED
        for (int i = 0; i < rows; i++) {
            const dot_a_t x = dot_a(at->a[i] + s);
            UNROLLED
            for (int j = 0; j < vecs; j++)
                sum[i][j] = dot_add(sum[i][j], x, words[j]);
        }
    }
}

VEC_INLINE void dot_sum(const struct dot_tile *t, const int rows, const int vecs, const int asked,
                        dot_sum_t sum[DOT_ROWS][DOT_VECS]) {
    struct dot_place at = {.w = t->head + (size_t)DOT_HEAD * (size_t)vecs * VEC_LANES * 4,
                           .next = t->next};
    UNROLLED
    for (int i = 0; i < rows; i++)
        at.a[i] = t->a + (size_t)i * t->lda;
    const size_t steps = t->steps;
    size_t s = 0;
    if (DOT_CHORES && t->chore_rows) {
        const size_t chores = t->chore_rows, some = steps / chores, ldc = t->ldc;
        float *c = t->chore;
        for (size_t row = 0; row < chores; row++, s += some, c += ldc) {
            dot_walk(&at, s, s + some, rows, vecs, asked, sum);
            UNROLLED
            for (int j = 0; j < DOT_VECS; j++)
                vec_store(c + j * VEC_LANES, dot_gelu(vec_load(c + j * VEC_LANES)));
        }
    }
    dot_walk(&at, s, steps, rows, vecs, asked, sum);
}

VEC_INLINE void dot_run_tile(const struct dot_tile *t, const int rows, const int vecs) {
    dot_sum_t sum[DOT_ROWS][DOT_VECS];
    UNROLLED
    for (int i = 0; i < rows; i++) {
        UNROLLED
        for (int j = 0; j < vecs; j++)
            sum[i][j] = dot_start(t->head, vecs, j);
    }
    if (DOT_VECS > 2 && t->next_vecs == 3)
        dot_sum(t, rows, vecs, 3, sum);
    else if (t->next_vecs == 2)
        dot_sum(t, rows, vecs, 2, sum);
    else
        dot_sum(t, rows, vecs, 1, sum);
    if (t->last != VEC_LANES)
        dot_store_first(t, rows, vecs, sum);
    else if (t->finish == DOT_GELU)
        dot_store(t, rows, vecs, DOT_GELU, sum);
    else if (t->finish == DOT_RESIDUAL)
        dot_store(t, rows, vecs, DOT_RESIDUAL, sum);
    else
        dot_store(t, rows, vecs, DOT_PLAIN, sum);
}

typedef void (*dot_fn)(const struct dot_tile *);

#define DOT_DEFINE(rows, vecs)                                                                     \
    static __attribute__((noinline)) void dot_##rows##_##vecs(const struct dot_tile *t) {          \
        dot_run_tile(t, rows, vecs);                                                               \
    }
#define DOT_DEFINE_4(vecs)                                                                         \
    DOT_DEFINE(1, vecs) DOT_DEFINE(2, vecs) DOT_DEFINE(3, vecs) DOT_DEFINE(4, vecs)
#define DOT_ROW_4(vecs) NULL, dot_1_##vecs, dot_2_##vecs, dot_3_##vecs, dot_4_##vecs
#if DOT_ROWS == 8
#define DOT_DEFINE_ALL(vecs)                                                                       \
    DOT_DEFINE_4(vecs)                                                                             \
    DOT_DEFINE(5, vecs) DOT_DEFINE(6, vecs) DOT_DEFINE(7, vecs) DOT_DEFINE(8, vecs)
#define DOT_ROW(vecs)                                                                              \
    { DOT_ROW_4(vecs), dot_5_##vecs, dot_6_##vecs, dot_7_##vecs, dot_8_##vecs }
#elif DOT_ROWS == 6
#define DOT_DEFINE_ALL(vecs) DOT_DEFINE_4(vecs) DOT_DEFINE(5, vecs) DOT_DEFINE(6, vecs)
#define DOT_ROW(vecs)                                                                              \
    { DOT_ROW_4(vecs), dot_5_##vecs, dot_6_##vecs }
#else
#define DOT_DEFINE_ALL(vecs) DOT_DEFINE_4(vecs)
#define DOT_ROW(vecs)                                                                              \
    { DOT_ROW_4(vecs) }
#endif

DOT_DEFINE_ALL(1)
DOT_DEFINE_ALL(2)
#if DOT_VECS == 3
DOT_DEFINE_ALL(3)
#endif

/* By vectors, then rows. */
static const dot_fn dot_table[DOT_VECS + 1][DOT_ROWS + 1] = {
    {NULL},
    DOT_ROW(1),
    DOT_ROW(2),
#if DOT_VECS == 3
    DOT_ROW(3),
#endif
};

/* c = act(c) + residual over a tile that was just stored. */
VEC_INLINE void dot_act_as(const struct dot_tile *t, uint32_t rows, uint32_t columns,
                           const float *residual, const enum kernel_act act) {
    for (uint32_t i = 0; i < rows; i++) {
        float *c = t->c + i * t->ldc;
        const float *r = residual ? residual + i * t->ld_residual : NULL;
        for (uint32_t j = 0; j < columns; j += VEC_LANES) {
            const uint32_t left = columns - j;
            vec_t x;
            if (left >= VEC_LANES) {
                x = vec_act(vec_load(c + j), act);
                if (r)
                    x = x + vec_load(r + j);
                vec_store(c + j, x);
            } else {
                x = vec_act(vec_load_first(c + j, left), act);
                if (r)
                    x = x + vec_load_first(r + j, left);
                vec_store_first(c + j, x, left);
            }
        }
    }
}

/* What dot_store() left to do. */
static void dot_act(const struct dot_tile *t, uint32_t rows, uint32_t columns,
                    const float *residual, enum kernel_act act) {
    switch (act) {
    case KERNEL_ACT_NONE:
        break;
    case KERNEL_ACT_GELU:
        if (residual)
            dot_act_as(t, rows, columns, residual, KERNEL_ACT_NONE);
        break;
    case KERNEL_ACT_GELU_NEW:
        dot_act_as(t, rows, columns, residual, KERNEL_ACT_GELU_NEW);
        break;
    case KERNEL_ACT_RELU:
        dot_act_as(t, rows, columns, residual, KERNEL_ACT_RELU);
        break;
    case KERNEL_ACT_SILU:
        dot_act_as(t, rows, columns, residual, KERNEL_ACT_SILU);
        break;
    }
}

/* ---- layout ---------------------------------------------------------------------------------- */

static inline uint32_t dot_steps(uint32_t k) {
    return k / DOT_DEPTH + (k % DOT_DEPTH != 0);
}

/* Bytes of a panel, or of panels, `vecs` vectors wide. */
static inline size_t dot_panel_bytes(uint32_t vecs, uint32_t steps) {
    return (size_t)vecs * ((size_t)DOT_HEAD * VEC_LANES * 4 + (size_t)steps * DOT_W_BYTES);
}

static size_t dot_packed_bytes(uint32_t n, uint32_t k) {
    const size_t bytes = dot_panel_bytes(tile_vecs(n), dot_steps(k));
    return (bytes + GEMM_ALIGN - 1) / GEMM_ALIGN * GEMM_ALIGN;
}

static void dot_pack_all(const float *w, const float *bias, uint32_t n, uint32_t k, void *packed) {
    const struct tile_split panels = tile_split(tile_vecs(n), DOT_VECS);
    const uint32_t steps = dot_steps(k);
    memset(packed, 0, dot_packed_bytes(n, k));
    char *panel = packed;
    for (uint32_t p = 0; p < panels.parts; p++) {
        const uint32_t width = tile_part_size(&panels, p);
        const uint32_t first = tile_part_start(&panels, p) * VEC_LANES;
        char *words = panel + (size_t)DOT_HEAD * width * VEC_LANES * 4;
        for (uint32_t i = first; i < first + width * VEC_LANES && i < n; i++) {
            const uint32_t lane = i - first;
            dot_pack(w + (size_t)i * k, bias ? bias[i] : 0.0f, k, panel, width * VEC_LANES, lane,
                     words);
        }
        panel += dot_panel_bytes(width, steps);
    }
}

/* Words from row to row of converted A: whole cache lines, so that conversion may write whole
 * vectors. */
static inline size_t dot_row_words(uint32_t k) {
    const size_t bytes = (size_t)dot_steps(k) * sizeof(dot_word_t);
    return (bytes + GEMM_ALIGN - 1) / GEMM_ALIGN * GEMM_ALIGN / sizeof(dot_word_t);
}

/* Rows of A that are converted and multiplied together. */
static inline uint32_t dot_block_rows(uint32_t k) {
    const size_t rows = DOT_BLOCK_BYTES / (dot_row_words(k) * sizeof(dot_word_t));
    return rows < DOT_ROWS ? DOT_ROWS : (uint32_t)rows / DOT_ROWS * DOT_ROWS;
}

/* Scratch: [scale of each row of a block, filled up to cache lines][its words] */
static inline size_t dot_scale_bytes(uint32_t rows) {
    return ((size_t)rows * sizeof(float) + GEMM_ALIGN - 1) / GEMM_ALIGN * GEMM_ALIGN;
}

static size_t dot_scratch_bytes(uint32_t k, uint32_t m) {
    const uint32_t most = dot_block_rows(k), rows = m < most ? m : most;
    return dot_scale_bytes(rows) + rows * dot_row_words(k) * sizeof(dot_word_t);
}

/* ---- a product ------------------------------------------------------------------------------- */

/* All rows of a block against one panel whose first column is `column`. Leaves in t what the next
 * panel starts from. */
static void dot_run_panel(const struct gemm_call *call, uint32_t first_row, uint32_t rows,
                          uint32_t column, uint32_t columns, bool last_panel, struct dot_tile *t) {
    const struct tile_split tiles = tile_split(rows, DOT_ROWS);
    const uint32_t vecs = tile_vecs(columns);
    const dot_word_t *words = t->a;
    const float *scales = t->row_scale;
    const bool whole = columns == DOT_VECS * VEC_LANES;
    uint32_t unasked = vecs; /* vectors of the next panel's steps */
    t->last = columns - (vecs - 1) * VEC_LANES;
    for (uint32_t i = 0; i < tiles.parts; i++) {
        const uint32_t start = tile_part_start(&tiles, i), n = tile_part_size(&tiles, i);
        const size_t row = first_row + start;
        const bool defer = DOT_CHORES && call->act == KERNEL_ACT_GELU && !call->residual && whole &&
                           !(last_panel && i + 1 == tiles.parts);
        t->a = words + start * t->lda;
        t->row_scale = scales + start;
        t->c = call->c + row * call->ldc + column;
        t->residual = call->residual ? call->residual + row * call->ld_residual + column : NULL;
        t->finish = defer                                            ? DOT_PLAIN
                    : call->act == KERNEL_ACT_GELU                   ? DOT_GELU
                    : call->act == KERNEL_ACT_NONE && call->residual ? DOT_RESIDUAL
                                                                     : DOT_PLAIN;
        if (unasked) {
            const uint32_t left = tiles.parts - i;
            t->next_vecs = (unasked + left - 1) / left;
            unasked -= t->next_vecs;
        } else {
            t->next_vecs = 1;
            t->next = (uintptr_t)t->head; /* nothing: it is there already */
        }
        dot_table[vecs][n](t);
        t->next += (size_t)t->next_vecs * DOT_W_BYTES * t->steps;
        dot_act(t, n, columns, t->residual, call->act);
        t->chore = t->c;
        t->chore_rows = defer ? n : 0;
    }
    t->a = words;
    t->row_scale = scales;
}

/* From where to ask: behind the head of the next panel, which is asked for apart. A single tile
 * takes a panel in one go; there so much ahead is enough, and more would not stay in the
 * first-level cache until it is wanted (4 rows of a 384-wide model: 137 us, so 122). */
static inline uintptr_t dot_next(const struct dot_tile *t, const char *next, uint32_t width,
                                 uint32_t rows) {
    enum { AHEAD = 8192 };
    if (rows <= DOT_ROWS && next - t->head > AHEAD)
        return (uintptr_t)t->head + AHEAD;
    return (uintptr_t)next + (size_t)DOT_HEAD * width * VEC_LANES * 4;
}

static void dot_run(const struct gemm_weights *weights, const struct gemm_call *call) {
    const uint32_t n = weights->n, k = weights->k, steps = dot_steps(k);
    const struct tile_split panels = tile_split(tile_vecs(n), DOT_VECS);
    const size_t row_words = dot_row_words(k);
    const uint32_t most = dot_block_rows(k), block = call->m < most ? call->m : most;
    float *scales = call->scratch;
    dot_word_t *words = (dot_word_t *)(void *)((char *)call->scratch + dot_scale_bytes(block));
    for (uint32_t row = 0; row < call->m; row += block) {
        const uint32_t rows = call->m - row < block ? call->m - row : block;
        for (uint32_t i = 0; i < rows; i++) {
            const float *a = call->a + (row + i) * call->lda;
            const float *next = i + 1 < rows ? a + call->lda : a;
            scales[i] = dot_convert(a, next, k, steps, words + i * row_words);
        }
        struct dot_tile t = {.a = words,
                             .lda = row_words,
                             .head = weights->packed,
                             .steps = steps,
                             .ldc = call->ldc,
                             .ld_residual = call->ld_residual,
                             .row_scale = scales};
        for (uint32_t p = 0; p < panels.parts; p++) {
            const uint32_t width = tile_part_size(&panels, p);
            const uint32_t column = tile_part_start(&panels, p) * VEC_LANES;
            const uint32_t left = n - column;
            const char *next = t.head + dot_panel_bytes(width, steps);
            t.next = dot_next(&t, next, width, rows);
            for (uint32_t i = 0; i < DOT_HEAD * width; i++)
                __builtin_prefetch(next + (size_t)i * VEC_LANES * 4, 0, 3);
            dot_run_panel(call, row, rows, column,
                          left < width * VEC_LANES ? left : width * VEC_LANES,
                          p + 1 == panels.parts, &t);
            t.head = next;
        }
    }
}

#define DOT_KERNEL(kernel_name, kernel_precision, kernel_layout)                                   \
    {                                                                                              \
        .name = kernel_name, .precision = kernel_precision, .layout = kernel_layout,               \
        .usable = dot_usable, .packed_bytes = dot_packed_bytes, .pack = dot_pack_all,              \
        .scratch_bytes = dot_scratch_bytes, .run = dot_run,                                        \
    }

#endif
