/* kernels_attention.h - attention of one head over one sequence, over vec_*.h and gemm_tile.h.
 *
 *     blocks of keys   pack K^T and V of the block into panels
 *       tiles of queries
 *         P = 2^(Q K^T), panel by panel: powers are taken while scores are still in registers
 *         O += P V, sums += the rows of P
 *     out = O / sums
 *
 * Nothing has to be rescaled from one block of keys to the next, because no largest score is
 * subtracted: a float holds e^x for every |x| < 87, far more than scores of attention reach. What
 * is checked instead is the sum of a row. Within ATTENTION_LEAST .. ATTENTION_MOST no term was
 * too large, nor is any times V, and those too small for a float did not matter. Any other row is
 * done again the slow and careful way (attention_careful).
 *
 * K is multiplied by log2 e when it is packed, because powers of two are cheaper than those of e.
 *
 * The order of all sums depends on n, dim and the table alone.
 *
 * With ATTENTION_PAIRS (attention_pairs.h) K, V, Q and P are rounded to bfloat16 and words hold two
 * numbers; sums, powers and the careful way stay float32. */
#ifndef EMBER_MODEL_KERNELS_ATTENTION_H
#define EMBER_MODEL_KERNELS_ATTENTION_H

#include "model/gemm_tile.h"
#include "model/isa.h"
#include "model/kernels.h"
#include "model/kernels_softmax.h"
#include "model/vec_math.h"

#include <string.h>

_Static_assert((int)VEC_LANES <= (int)ISA_LANES_MAX && (int)TILE_ROWS <= (int)ISA_TILE_ROWS_MAX,
               "isa_attention_need() counts on it");

#define ATTENTION_LEAST 0x1p-80f /* 8192 terms that vanished are less than 2^-113 */
#define ATTENTION_MOST  0x1p96f  /* P V stays finite for all |V| < 2^32 */

#define LOG2_E 1.44269504f

enum { ATTENTION_V_IN_PLACE = 32 }; /* rows of V that are not worth a copy */

#if defined(ATTENTION_PAIRS)
#include "model/attention_pairs.h"
#else
/* One number a word. */
enum { ATTENTION_PER_WORD = 1 };

static inline void attention_pack_k(const float *k, size_t ld, uint32_t n, uint32_t dim,
                                    float *out) {
    tile_pack(k, ld, n, dim, LOG2_E, out);
}

/* V [n, dim] into the panels of gemm_tile.h: no turning, only copied together. Many rows read in
 * place would not do: they lie 3 x hidden apart and fall on few lines of the cache. */
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

VEC_INLINE void attention_store(float *c, const int vecs, const vec_t y[TILE_VECS]) {
    UNROLLED
    for (int j = 0; j < vecs; j++)
        vec_store(c + j * VEC_LANES, y[j]);
}

/* Queries are read where they are. */
static inline const float *attention_queries(const float *q, size_t *ld, uint32_t rows,
                                             uint32_t dim, float *room) {
    (void)ld, (void)rows, (void)dim, (void)room;
    return q;
}
#endif

static inline uint32_t attention_words(uint32_t numbers) {
    return (numbers + ATTENTION_PER_WORD - 1) / ATTENTION_PER_WORD;
}

/* A tile of 2^score; their sums over the row are added to total[rows]. Lanes past t->last are keys
 * that do not exist: they are not in the sums, and the product with V never reads them. */
VEC_INLINE void powers_run(const struct tile *t, vec_t *total, const int rows, const int vecs) {
    vec_t sum[TILE_ROWS][TILE_VECS];
    tile_start(NULL, rows, vecs, sum);
    tile_sum(t, rows, vecs, 0, sum);
    const size_t ldc = t->ldc;
    const uint32_t last = t->last;
    float *c = t->c;
    UNROLLED
    for (int i = 0; i < rows; i++, c += ldc) {
        vec_t of_row = total[i], y[TILE_VECS];
        UNROLLED
        for (int j = 0; j < vecs; j++) {
            y[j] = vec_exp2(sum[i][j]);
            of_row = of_row + (j == vecs - 1 ? vec_fill_after(y[j], last, 0.0f) : y[j]);
        }
        attention_store(c, vecs, y);
        total[i] = of_row;
    }
}

typedef void (*powers_fn)(const struct tile *, vec_t *);

#define POWERS_DEFINE(rows, vecs)                                                                  \
    static __attribute__((noinline)) void powers_##rows##_##vecs(const struct tile *t,             \
                                                                 vec_t *total) {                   \
        powers_run(t, total, rows, vecs);                                                          \
    }
TILE_EACH(POWERS_DEFINE)

static const powers_fn powers_table[TILE_VECS + 1][TILE_ROWS + 1] = TILE_TABLE(powers);

/* A block of keys. */
struct attention_keys {
    const float *kt; /* K^T in panels */
    struct tile_split panels;
    const float *v; /* in panels, or in place */
    size_t ldv;     /* 0 for panels */
    uint32_t n;
    bool first, last; /* of the sequence; both where one block holds it all */
};

/* The caller's scratch, cut up. */
struct attention_scratch {
    float *powers; /* [TILE_ROWS, ld_powers] */
    size_t ld_powers;
    float *kt, *v; /* panels of one block of keys */
    float *sums;   /* [n_queries] of P's rows so far */
    float *o;      /* [n_queries, dim]: O so far, where there is more than one block of keys */
    float *scores; /* [n] and */
    float *care;   /* [TILE_ROWS, dim], for rows that need care; before, queries in words */
};

static inline struct attention_scratch attention_cut(const struct kernel_attention *call) {
    const struct isa_attention_need need = isa_attention_need(call->n, call->dim);
    struct attention_scratch self = {.powers = call->scratch, .ld_powers = need.ld_powers};
    self.kt = self.powers + need.powers;
    self.v = self.kt + need.kt;
    self.sums = self.v + need.v;
    self.scores = self.sums + need.sums;
    self.care = self.scores + need.scores;
    self.o = self.care + need.care;
    return self;
}

/* One query with scores too large or too small for powers without their largest subtracted, or
 * with NaN among them. Nothing is packed for this: it is rare. */
static __attribute__((noinline)) void attention_careful(const struct kernel_attention *call,
                                                        size_t row, float *scores, float *out) {
    const uint32_t dim = call->dim, n = call->n;
    const float *q = call->q + row * call->ld;
    for (size_t i = 0; i < n; i++) {
        const float *k = call->k + i * call->ld;
        vec_t sum = vec_set(0.0f);
        for (uint32_t j = 0; j < dim; j += VEC_LANES) {
            const uint32_t lanes = dim - j < VEC_LANES ? dim - j : VEC_LANES;
            sum = vec_fma(vec_load_first(q + j, lanes), vec_load_first(k + j, lanes), sum);
        }
        scores[i] = vec_sum(sum);
    }
    const vec_t scale = vec_set(rows_exp(scores, n));
    for (uint32_t j = 0; j < dim; j += VEC_LANES) {
        const uint32_t lanes = dim - j < VEC_LANES ? dim - j : VEC_LANES;
        vec_t sum = vec_set(0.0f);
        for (size_t i = 0; i < n; i++)
            sum =
                vec_fma(vec_set(scores[i]), vec_load_first(call->v + i * call->ld + j, lanes), sum);
        vec_store_first(out + j, sum * scale, lanes);
    }
}

/* The powers of one tile of queries against one block of keys, and their sums. */
static inline void attention_powers(const struct kernel_attention *call,
                                    const struct attention_keys *keys, size_t row, uint32_t rows,
                                    const struct attention_scratch *with) {
    vec_t total[TILE_ROWS];
    UNROLLED
    for (int i = 0; i < TILE_ROWS; i++)
        total[i] = vec_set(0.0f);
    struct tile t = {.lda = call->ld,
                     .b = keys->kt,
                     .k = attention_words(call->dim),
                     .c = with->powers,
                     .ldc = with->ld_powers,
                     .last = VEC_LANES};
    t.a = attention_queries(call->q + row * call->ld, &t.lda, rows, call->dim, with->care);
    for (uint32_t p = 0; p < keys->panels.parts; p++) {
        const uint32_t width = tile_part_size(&keys->panels, p);
        if (p + 1 == keys->panels.parts)
            t.last = (keys->n - 1) % VEC_LANES + 1;
        t.ldb = width * VEC_LANES;
        powers_table[width][rows](&t, total);
        t.b += t.ldb * t.k;
        t.c += t.ldb / ATTENTION_PER_WORD;
    }
    float *sums = with->sums + row;
    for (uint32_t i = 0; i < rows; i++)
        sums[i] = vec_sum(total[i]) + (keys->first ? 0.0f : sums[i]);
}

static inline bool attention_good(float sum) {
    return sum > ATTENTION_LEAST && sum < ATTENTION_MOST; /* and not NaN */
}

/* O += P V for one tile of queries against one block of keys. */
static inline void attention_values(const struct kernel_attention *call,
                                    const struct attention_keys *keys, size_t row, uint32_t rows,
                                    const struct attention_scratch *with, const float *scale) {
    const bool only = keys->first && keys->last;
    struct tile t = {.a = with->powers,
                     .lda = with->ld_powers,
                     .b = keys->v,
                     .k = attention_words(keys->n),
                     .c = only ? call->out + row * call->ld_out : with->o + row * call->dim,
                     .ldc = only ? call->ld_out : call->dim,
                     .row_scale = only ? scale : NULL};
    if (!keys->first) {
        t.residual = t.c;
        t.ld_residual = t.ldc;
    }
    tile_rows(t, rows, call->dim, keys->ldv);
}

/* One tile of queries against one block of keys. */
static inline void attention_tile(const struct kernel_attention *call,
                                  const struct attention_keys *keys, size_t row, uint32_t rows,
                                  const struct attention_scratch *with) {
    const uint32_t dim = call->dim;
    const float *sums = with->sums + row;
    float scale[TILE_ROWS];
    uint32_t bad = 0; /* a bit per row */
    attention_powers(call, keys, row, rows, with);
    for (uint32_t i = 0; i < rows; i++) {
        scale[i] = 1.0f / sums[i];
        bad |= (uint32_t)!attention_good(sums[i]) << i;
    }
    if (!keys->last || (keys->first && !bad)) {
        attention_values(call, keys, row, rows, with, scale);
        return;
    }
    /* The last of several blocks, or a row that needs care: out may be q, so care comes first. */
    float *care = with->care;
    for (uint32_t i = 0; i < rows; i++)
        if (bad >> i & 1)
            attention_careful(call, row + i, with->scores, care + (size_t)i * dim);
    attention_values(call, keys, row, rows, with, scale);
    for (uint32_t i = 0; i < rows; i++) {
        float *out = call->out + (row + i) * call->ld_out;
        if (bad >> i & 1)
            memcpy(out, care + (size_t)i * dim, dim * sizeof(float));
        else if (!keys->first)
            for (uint32_t j = 0; j < dim; j++)
                out[j] = with->o[(row + i) * dim + j] * scale[i];
    }
}

/* Asks for `rows` rows of one head. They lie far apart, and so the processor does not see them
 * coming. */
VEC_INLINE void attention_ask(const float *x, size_t ld, size_t rows, uint32_t dim) {
    for (size_t i = 0; i < rows; i++, x += ld) {
        __builtin_prefetch(x, 0, 2);
        for (uint32_t j = 16; j < dim; j += 16)
            __builtin_prefetch(x + j, 0, 2);
    }
}

/* While tile i of the last block is computed: the same share of the next head. */
VEC_INLINE void attention_ask_next(const struct kernel_attention *call, size_t i, size_t tiles) {
    const size_t from = call->n * i / tiles * call->ld + call->dim;
    const size_t n = call->n * (i + 1) / tiles - call->n * i / tiles;
    if (call->n_queries > 1)
        attention_ask(call->q + from, call->ld, n, call->dim);
    attention_ask(call->k + from, call->ld, n, call->dim);
    attention_ask(call->v + from, call->ld, n, call->dim);
}

static void rows_attention(const struct kernel_attention *call) {
    const uint32_t n = call->n, dim = call->dim;
    const struct attention_scratch with = attention_cut(call);
    const struct tile_split blocks = tile_split(n, ISA_ATTENTION_KEYS);
    const struct tile_split tiles = tile_split(call->n_queries, TILE_ROWS);
    const bool in_place =
        ATTENTION_PER_WORD == 1 && n <= ATTENTION_V_IN_PLACE && dim % VEC_LANES == 0;
    for (uint32_t b = 0; b < blocks.parts; b++) {
        const size_t key = tile_part_start(&blocks, b);
        struct attention_keys keys = {.kt = with.kt,
                                      .v = with.v,
                                      .n = tile_part_size(&blocks, b),
                                      .first = b == 0,
                                      .last = b + 1 == blocks.parts};
        keys.panels = tile_split(tile_vecs(keys.n), TILE_VECS);
        attention_pack_k(call->k + key * call->ld, call->ld, keys.n, dim, with.kt);
        if (in_place) {
            keys.v = call->v;
            keys.ldv = call->ld;
        } else {
            attention_pack_v(call->v + key * call->ld, call->ld, keys.n, dim, with.v);
        }
        for (uint32_t i = 0; i < tiles.parts; i++) {
            if (call->more && keys.last)
                attention_ask_next(call, i, tiles.parts);
            attention_tile(call, &keys, tile_part_start(&tiles, i), tile_part_size(&tiles, i),
                           &with);
        }
    }
}

#endif
