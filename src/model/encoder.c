/* encoder.c - one forward pass, read from top to bottom in forward_chunk():
 *
 *     x   = norm(words[id] + types[type] + positions[p])                              [rows, H]
 *     L x   qkv = x Wqkv + b                                                          [rows, 3H]
 *           context = attention(q, k, v), per sequence and head, written over q       [rows, H]
 *           x   = norm1(context Wout + b + x)                                         [rows, H]
 *           mid = act(x W1 + b)                                                       [block, I]
 *           x   = norm2(mid W2 + b + x)                                               [rows, H]
 *     out = mean of a sequence's rows, or its first row                               [n_seqs, H]
 *
 * A batch is cut into chunks of whole sequences that together have about CHUNK_ROWS tokens, and a
 * chunk goes through all layers before the next begins: states of one chunk stay in the
 * second-level cache, memory stays flat however large the batch is, and weights are fetched once
 * per chunk.
 *
 * First-token pooling needs one row per sequence after the last attention, so there the rest
 * of the last layer runs on those rows alone: three quarters of a layer are never computed. */
#include "model/encoder_parts.h"

#include "base/check.h"
#include "base/clock.h"

#include <string.h>

enum {
    CHUNK_ROWS = 256, /* tokens that go through the layers together, unless one sequence has more */
    BLOCK_ROWS = 128, /* of those, rows that go through the feed-forward part together */
};

/* Scratch of a forward pass, all from the caller's arena. */
struct work {
    float *x;         /* [rows, H] */
    float *qkv;       /* [rows, 3H]; attention leaves its result in the first third */
    float *mid;       /* [BLOCK_ROWS, I] */
    float *attention; /* for kernels->attention */
    void *gemm;       /* for the product with most need, or NULL */
    struct encoder_profile *profile;
};

/* A chunk: whole sequences, with positions relative to its first token. */
struct chunk {
    const int32_t *ids, *types;
    const uint32_t *start; /* [n_seqs + 1], start[0] is the chunk's first token */
    uint32_t n_seqs, rows;
};

static uint32_t min_u32(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

static uint32_t chunk_rows_max(const encoder_t *self, uint32_t n_tokens) {
    const uint32_t longest = self->shape.max_tokens;
    return min_u32(n_tokens, longest > CHUNK_ROWS ? longest : CHUNK_ROWS);
}

static size_t gemm_scratch_bytes(const encoder_t *self, uint32_t rows) {
    const size_t h = self->gemm->scratch_bytes(self->shape.hidden, rows);
    const size_t i = self->gemm->scratch_bytes(self->shape.inner, min_u32(rows, BLOCK_ROWS));
    return h > i ? h : i;
}

size_t encoder_scratch_bytes(const encoder_t *self, uint32_t n_tokens, uint32_t n_seqs) {
    (void)n_seqs;
    const struct model_shape *shape = &self->shape;
    const uint32_t rows = chunk_rows_max(self, n_tokens);
    const size_t attention =
        kernels_attention_scratch(min_u32(rows, shape->max_tokens), shape->hidden / shape->heads);
    return arena_need(rows, (size_t)shape->hidden * sizeof(float)) +
           arena_need(rows, (size_t)shape->hidden * 3 * sizeof(float)) +
           arena_need(min_u32(rows, BLOCK_ROWS), (size_t)shape->inner * sizeof(float)) +
           arena_need(attention, sizeof(float)) + arena_need(1, gemm_scratch_bytes(self, rows));
}

static struct work work_take(const encoder_t *self, uint32_t n_tokens, struct arena *arena) {
    const size_t h = self->shape.hidden, i = self->shape.inner;
    const uint32_t rows = chunk_rows_max(self, n_tokens);
    const size_t attention = kernels_attention_scratch(min_u32(rows, self->shape.max_tokens),
                                                       self->shape.hidden / self->shape.heads);
    const size_t gemm = gemm_scratch_bytes(self, rows);
    struct work work = {
        .x = arena_array(arena, float, rows *h),
        .qkv = arena_array(arena, float, rows * 3 * h),
        .mid = arena_array(arena, float, min_u32(rows, BLOCK_ROWS) * i),
        .attention = arena_array(arena, float, attention),
        .gemm = gemm ? arena_take(arena, gemm) : NULL,
    };
    CHECK(work.x && work.qkv && work.mid &&
          work.attention); /* encoder_scratch_bytes() counted it */
    CHECK(work.gemm || !gemm);
    return work;
}

static void spent(struct work *work, enum encoder_part part) {
    if (!work->profile)
        return;
    const uint64_t now_ns = clock_ns();
    work->profile->spent_ns[part] += now_ns - work->profile->last_ns;
    work->profile->last_ns = now_ns;
}

static void norm(const encoder_t *self, float *x, uint32_t rows, const struct encoder_norm *with) {
    const uint32_t h = self->shape.hidden;
    self->kernels->layer_norm(x, h, rows, h, with->weight, with->bias, self->shape.eps);
}

/* Row `id` of the word table; `room` [H] takes it where it has to be widened. */
static const float *word_row(const encoder_t *self, uint32_t id, float *room) {
    const size_t at = (size_t)id * self->shape.hidden;
    if (self->words)
        return self->words + at;
    self->kernels->widen(room, self->half_words + at, self->shape.hidden);
    return room;
}

static void embed(const encoder_t *self, const struct chunk *chunk, float *x) {
    const uint32_t h = self->shape.hidden;
    for (uint32_t s = 0; s < chunk->n_seqs; s++) {
        const uint32_t begin = chunk->start[s], n = chunk->start[s + 1] - begin;
        for (uint32_t p = 0; p < n; p++, x += h) {
            const uint32_t id = (uint32_t)chunk->ids[begin + p];
            const uint32_t type = (uint32_t)chunk->types[begin + p];
            CHECK(id < self->shape.vocab_rows && (!self->types || type < self->shape.types));
            self->kernels->sum3(x, word_row(self, id, x),
                                self->types ? self->types + (size_t)type * h : self->zeros,
                                self->positions ? self->positions + (size_t)p * h : self->zeros, h);
        }
    }
}

/* Every sequence, every head. The result of a head takes the place of its queries. With
 * first_only, only the first row of each sequence is computed. */
static void attend(const encoder_t *self, const struct chunk *chunk, struct work *work,
                   bool first_only) {
    const uint32_t h = self->shape.hidden, heads = self->shape.heads, dim = h / heads;
    for (uint32_t s = 0; s < chunk->n_seqs; s++) {
        const uint32_t n = chunk->start[s + 1] - chunk->start[s];
        float *qkv = work->qkv + (size_t)(chunk->start[s] - chunk->start[0]) * 3 * h;
        for (uint32_t head = 0; head < heads; head++) {
            float *q = qkv + (size_t)head * dim;
            self->kernels->attention(&(struct kernel_attention){.q = q,
                                                                .k = q + h,
                                                                .v = q + 2 * (size_t)h,
                                                                .ld = 3 * (size_t)h,
                                                                .n = n,
                                                                .n_queries = first_only ? 1 : n,
                                                                .dim = dim,
                                                                .out = q,
                                                                .ld_out = 3 * (size_t)h,
                                                                .scratch = work->attention});
        }
    }
}

/* Row s of x and of the context becomes the first row of sequence s. Rows only move to the front,
 * and in order, so none is overwritten before it has moved. */
static void keep_first_rows(const encoder_t *self, const struct chunk *chunk, struct work *work) {
    const size_t h = self->shape.hidden;
    for (uint32_t s = 1; s < chunk->n_seqs; s++) {
        const size_t row = chunk->start[s] - chunk->start[0];
        memmove(work->x + s * h, work->x + row * h, h * sizeof(float));
        memmove(work->qkv + s * 3 * h, work->qkv + row * 3 * h, h * sizeof(float));
    }
}

/* What comes after attention, for rows that no longer depend on each other. */
static void feed_forward(const encoder_t *self, const struct encoder_layer *layer, uint32_t rows,
                         struct work *work) {
    const uint32_t h = self->shape.hidden, inner = self->shape.inner;
    for (uint32_t row = 0; row < rows; row += BLOCK_ROWS) {
        const uint32_t m = min_u32(rows - row, BLOCK_ROWS);
        float *x = work->x + (size_t)row * h;
        gemm_run(&layer->out, &(struct gemm_call){.a = work->qkv + (size_t)row * 3 * h,
                                                  .lda = 3 * (size_t)h,
                                                  .m = m,
                                                  .c = x,
                                                  .ldc = h,
                                                  .residual = x,
                                                  .ld_residual = h,
                                                  .scratch = work->gemm});
        spent(work, ENCODER_OUT);
        norm(self, x, m, &layer->norm1);
        spent(work, ENCODER_NORM);
        gemm_run(&layer->ffn1, &(struct gemm_call){.a = x,
                                                   .lda = h,
                                                   .m = m,
                                                   .c = work->mid,
                                                   .ldc = inner,
                                                   .act = self->act,
                                                   .scratch = work->gemm});
        spent(work, ENCODER_FFN1);
        gemm_run(&layer->ffn2, &(struct gemm_call){.a = work->mid,
                                                   .lda = inner,
                                                   .m = m,
                                                   .c = x,
                                                   .ldc = h,
                                                   .residual = x,
                                                   .ld_residual = h,
                                                   .scratch = work->gemm});
        spent(work, ENCODER_FFN2);
        norm(self, x, m, &layer->norm2);
        spent(work, ENCODER_NORM);
    }
}

static void pool(const encoder_t *self, const struct chunk *chunk, const float *x, float *out) {
    const size_t h = self->shape.hidden;
    if (self->shape.pooling == MODEL_POOL_CLS) { /* keep_first_rows() has left only those */
        memcpy(out, x, chunk->n_seqs * h * sizeof(float));
        return;
    }
    for (uint32_t s = 0; s < chunk->n_seqs; s++, out += h) {
        const uint32_t row = chunk->start[s] - chunk->start[0];
        const uint32_t n = chunk->start[s + 1] - chunk->start[s];
        self->kernels->mean(out, x + row * h, h, n, (uint32_t)h);
    }
}

static void forward_chunk(const encoder_t *self, const struct chunk *chunk, struct work *work,
                          float *out) {
    const struct model_shape *shape = &self->shape;
    const uint32_t h = shape->hidden;
    uint32_t rows = chunk->rows;
    embed(self, chunk, work->x);
    norm(self, work->x, rows, &self->norm);
    spent(work, ENCODER_EMBED);
    for (uint32_t l = 0; l < shape->layers; l++) {
        const struct encoder_layer *layer = &self->layers[l];
        const bool first_only = shape->pooling == MODEL_POOL_CLS && l + 1 == shape->layers;
        gemm_run(&layer->qkv, &(struct gemm_call){.a = work->x,
                                                  .lda = h,
                                                  .m = rows,
                                                  .c = work->qkv,
                                                  .ldc = 3 * (size_t)h,
                                                  .scratch = work->gemm});
        spent(work, ENCODER_QKV);
        attend(self, chunk, work, first_only);
        if (first_only) {
            keep_first_rows(self, chunk, work);
            rows = chunk->n_seqs;
        }
        spent(work, ENCODER_ATTENTION);
        feed_forward(self, layer, rows, work);
    }
    pool(self, chunk, work->x, out);
    spent(work, ENCODER_POOL);
}

void encoder_forward_profiled(const encoder_t *self, const int32_t *ids, const int32_t *types,
                              const uint32_t *start, uint32_t n_seqs, struct arena *arena,
                              float *out, struct encoder_profile *profile) {
    const size_t mark = arena->used;
    struct work work = work_take(self, start[n_seqs] - start[0], arena);
    work.profile = profile;
    if (profile)
        profile->last_ns = clock_ns();
    for (uint32_t s = 0; s < n_seqs;) {
        struct chunk chunk = {.ids = ids, .types = types, .start = start + s};
        do {
            const uint32_t n = start[s + 1] - start[s];
            CHECK(n >= 1 && n <= self->shape.max_tokens);
            chunk.rows += n;
            chunk.n_seqs++;
            s++;
        } while (s < n_seqs && chunk.rows + (start[s + 1] - start[s]) <= CHUNK_ROWS);
        forward_chunk(self, &chunk, &work, out);
        out += (size_t)chunk.n_seqs * self->shape.hidden;
    }
    arena_rewind(arena, mark);
}

void encoder_forward(const encoder_t *self, const int32_t *ids, const int32_t *types,
                     const uint32_t *start, uint32_t n_seqs, struct arena *arena, float *out) {
    encoder_forward_profiled(self, ids, types, start, n_seqs, arena, out, NULL);
}
