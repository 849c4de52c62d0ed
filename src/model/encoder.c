/* encoder.c - one forward pass, read from top to bottom in forward_chunk():
 *
 *     x   = norm(words[id] + types[type] + positions[p])                              [rows, H]
 *     L x   qkv = x Wqkv + b                                                          [rows, 3H]
 *           q, k turned by their positions, where there is no table of positions
 *           context = attention(q, k, v), per sequence and head, written over q       [rows, H]
 *           x   = norm1(context Wout + b + x)                                         [rows, H]
 *           mid = act(x W1 + b), or gated: (x Wup) * act(x Wgate)                     [block, I]
 *           x   = norm2(mid W2 + b + x)                                               [rows, H]
 *     out = mean of a sequence's rows, or its first row                               [n_seqs, H]
 *           or classifier(tanh or relu (inner(first row)))                            [n_seqs, C]
 *
 * A batch is cut into chunks of whole sequences that together have about CHUNK_ROWS tokens, and a
 * chunk goes through all layers before the next begins: states of one chunk stay in the
 * second-level cache, memory stays flat however large the batch is, and weights are fetched once
 * per chunk.
 *
 * First-token pooling and heads need one row per sequence after the last attention, so there the
 * rest of the last layer runs on those rows alone: three quarters of a layer are never computed. */
#include "model/encoder_parts.h"

#include "base/check.h"
#include "base/clock.h"
#include "model/rotary.h"

#include <math.h>
#include <string.h>

enum {
    CHUNK_ROWS = 128, /* tokens that go through the layers together, unless one sequence has more */
    BLOCK_ROWS = 128, /* of those, rows that go through the feed-forward part together */
    TEAM_ROWS = 16,   /* fewest rows that are worth a part of their own for another thread */
    TEAM_SHARES = 2,  /* parts a thread, so that one who comes late or is slow gets fewer */
};

/* Scratch of one thread. */
struct desk {
    float *mid;       /* [BLOCK_ROWS, I], gated [BLOCK_ROWS, 2I] */
    float *attention; /* for kernels->attention */
    void *gemm;       /* for the product with most need, or NULL */
};

/* Scratch of a forward pass, all from the caller's arena. */
struct work {
    float *x;               /* [rows, H] */
    float *qkv;             /* [rows, 3H]; attention leaves its result in the first third */
    float *cosines, *sines; /* [rows, d/2] of sequences with angles of their own, or NULL */
    struct desk desk;       /* of the thread that leads */
    struct team *team;      /* that helps, or NULL */
    uint32_t layer;         /* that is being computed */
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

static uint32_t head_dim(const struct model_shape *shape) {
    return shape->hidden / shape->heads;
}

/* Every sequence longer than in training turns by angles of its own. */
static bool own_angles(const struct model_shape *shape) {
    return shape->rotary_base > 0 && rotary_scaled(shape, shape->max_tokens);
}

/* Numbers (gemm: bytes) of each part of the scratch. */
struct work_sizes {
    size_t x, qkv, mid, angles, attention, gemm;
};

static struct work_sizes work_sizes(const encoder_t *self, uint32_t n_tokens) {
    const struct model_shape *shape = &self->shape;
    const uint32_t rows = chunk_rows_max(self, n_tokens), block = min_u32(rows, BLOCK_ROWS);
    const size_t h = shape->hidden, dim = head_dim(shape);
    const size_t gemm[3] = {self->gemm->scratch_bytes(shape->hidden, rows),
                            self->gemm->scratch_bytes(shape->inner, block),
                            self->head_gemm->scratch_bytes(shape->hidden, rows)};
    struct work_sizes sizes = {
        .x = rows * h,
        .qkv = rows * 3 * h,
        .mid = (size_t)block * shape->inner * (shape->gated ? 2 : 1),
        .angles = own_angles(shape) ? rows * (dim / 2) : 0,
        .attention = kernels_attention_scratch(min_u32(rows, shape->max_tokens), head_dim(shape)),
    };
    for (int i = 0; i < 3; i++)
        sizes.gemm = gemm[i] > sizes.gemm ? gemm[i] : sizes.gemm;
    return sizes;
}

size_t encoder_scratch_bytes(const encoder_t *self, uint32_t n_tokens, uint32_t n_seqs) {
    (void)n_seqs;
    const struct work_sizes n = work_sizes(self, n_tokens);
    return arena_need(n.x, sizeof(float)) + arena_need(n.qkv, sizeof(float)) +
           arena_need(n.mid, sizeof(float)) + 2 * arena_need(n.angles, sizeof(float)) +
           arena_need(n.attention, sizeof(float)) + arena_need(n.gemm, 1);
}

static struct desk desk_take(const struct work_sizes *n, struct arena *arena) {
    struct desk desk = {
        .mid = arena_array(arena, float, n->mid),
        .attention = arena_array(arena, float, n->attention),
        .gemm = n->gemm ? arena_take(arena, n->gemm) : NULL,
    };
    CHECK(desk.mid && desk.attention); /* encoder_scratch_bytes() counted it */
    CHECK(desk.gemm || !n->gemm);
    return desk;
}

static struct work work_take(const encoder_t *self, uint32_t n_tokens, struct arena *arena) {
    const struct work_sizes n = work_sizes(self, n_tokens);
    struct work work = {
        .x = arena_array(arena, float, n.x),
        .qkv = arena_array(arena, float, n.qkv),
        .cosines = n.angles ? arena_array(arena, float, n.angles) : NULL,
        .sines = n.angles ? arena_array(arena, float, n.angles) : NULL,
        .desk = desk_take(&n, arena),
    };
    CHECK(work.x && work.qkv && (work.sines || !n.angles));
    return work;
}

static void spent(struct work *work, enum encoder_part part) {
    if (!work->profile)
        return;
    const uint64_t now_ns = clock_ns();
    work->profile->spent_ns[part] += now_ns - work->profile->last_ns;
    work->profile->last_ns = now_ns;
}

/* Show a step to a test that wants to see it. */
static inline void see(const struct work *work, const char *step, const float *x, size_t ld,
                       uint32_t rows, uint32_t n) {
    if (work->profile && work->profile->see)
        work->profile->see(work->profile->arg, step, work->layer, x, ld, rows, n);
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

/* Asks for a row of the word table. They lie anywhere in tens of megabytes. Inlined always, because
 * gcc sees no effect in such a function and leaves out calls of it. */
static inline __attribute__((always_inline)) void ask_word_row(const encoder_t *self, uint32_t id) {
    const size_t bytes = self->shape.hidden * (self->words ? sizeof(float) : sizeof(uint16_t));
    const char *row = (self->words ? (const char *)self->words : (const char *)self->half_words) +
                      (size_t)id * bytes;
    for (size_t at = 0; at < bytes; at += 64)
        __builtin_prefetch(row + at);
}

static void embed(const encoder_t *self, const struct chunk *chunk, float *x) {
    enum { AHEAD = 12 }; /* tokens */
    const uint32_t h = self->shape.hidden, end = chunk->start[chunk->n_seqs];
    for (uint32_t i = chunk->start[0]; i < end && i < chunk->start[0] + AHEAD; i++)
        ask_word_row(self, (uint32_t)chunk->ids[i]);
    for (uint32_t s = 0; s < chunk->n_seqs; s++) {
        const uint32_t begin = chunk->start[s], n = chunk->start[s + 1] - begin;
        for (uint32_t p = 0; p < n; p++, x += h) {
            const uint32_t id = (uint32_t)chunk->ids[begin + p];
            const uint32_t type = (uint32_t)chunk->types[begin + p];
            if (begin + p + AHEAD < end)
                ask_word_row(self, (uint32_t)chunk->ids[begin + p + AHEAD]);
            CHECK(id < self->shape.vocab_rows && (!self->types || type < self->shape.types));
            self->kernels->sum3(x, word_row(self, id, x),
                                self->types ? self->types + (size_t)type * h : self->zeros,
                                self->positions ? self->positions + (size_t)p * h : self->zeros, h);
        }
    }
}

/* ---- rotary positions */

static void prepare_angles(const encoder_t *self, const struct chunk *chunk, struct work *work) {
    const uint32_t dim = head_dim(&self->shape);
    for (uint32_t s = 0; work->cosines && s < chunk->n_seqs; s++) {
        const uint32_t n = chunk->start[s + 1] - chunk->start[s];
        const size_t at = (size_t)(chunk->start[s] - chunk->start[0]) * (dim / 2);
        if (rotary_scaled(&self->shape, n))
            rotary_fill(rotary_base(&self->shape, n), n, dim, work->cosines + at, work->sines + at);
    }
}

/* Queries and keys lie side by side, so they are turned as 2A heads. */
static void turn(const encoder_t *self, const struct chunk *chunk, struct work *work) {
    const uint32_t h = self->shape.hidden, dim = head_dim(&self->shape);
    for (uint32_t s = 0; self->cosines && s < chunk->n_seqs; s++) {
        const uint32_t n = chunk->start[s + 1] - chunk->start[s];
        const size_t row = chunk->start[s] - chunk->start[0], at = row * (dim / 2);
        const bool own = rotary_scaled(&self->shape, n);
        self->kernels->rotate(work->qkv + row * 3 * h, 3 * (size_t)h, n, 2 * self->shape.heads, dim,
                              own ? work->cosines + at : self->cosines,
                              own ? work->sines + at : self->sines);
    }
}

/* ---- blocks of a layer. Each is a step of parts that do not depend on each other: a thread alone
 * has one part (or one a block of rows), a team shares them. How a step is cut changes no number:
 * a row's sums are formed in the same order whatever rows are beside it. */

struct step {
    const encoder_t *self;
    const struct encoder_layer *layer;
    const struct chunk *chunk;
    struct work *work;
    uint32_t rows, parts;
    bool first_only;
};

static void run_step(struct step *step, team_fn *fn, uint32_t parts) {
    struct work *work = step->work;
    step->parts = parts;
    if (work->team) {
        team_run(work->team, fn, step, parts, &work->desk);
        return;
    }
    for (uint32_t part = 0; part < parts; part++)
        fn(step, part, &work->desk);
}

/* Threads that would share a step now. */
static uint32_t threads(const struct work *work) {
    return work->team ? 1 + team_helpers(work->team) : 1;
}

static uint32_t row_parts(const struct work *work, uint32_t rows, uint32_t alone) {
    const uint32_t n = threads(work), most = (rows + TEAM_ROWS - 1) / TEAM_ROWS;
    if (n == 1)
        return alone;
    const uint32_t parts = min_u32(n * TEAM_SHARES, most);
    return parts > alone ? parts : alone;
}

/* Where part i of n begins, of `total` in all. */
static uint32_t part_start(uint32_t total, uint32_t i, uint32_t n) {
    return (uint32_t)((uint64_t)total * i / n);
}

static void project_part(void *arg, uint32_t part, void *own) {
    const struct step *step = arg;
    const struct desk *desk = own;
    const size_t h = step->self->shape.hidden;
    const uint32_t row = part_start(step->rows, part, step->parts);
    gemm_run(&step->layer->qkv,
             &(struct gemm_call){.a = step->work->x + row * h,
                                 .lda = h,
                                 .m = part_start(step->rows, part + 1, step->parts) - row,
                                 .c = step->work->qkv + row * 3 * h,
                                 .ldc = 3 * h,
                                 .scratch = desk->gemm});
}

/* Every sequence, and a part's share of the heads. The result of a head takes the place of its
 * queries. With first_only, only the first row of each sequence is computed. */
static void attend_part(void *arg, uint32_t part, void *own) {
    const struct step *step = arg;
    const struct desk *desk = own;
    const encoder_t *self = step->self;
    const struct chunk *chunk = step->chunk;
    const uint32_t h = self->shape.hidden, heads = self->shape.heads, dim = h / heads;
    const uint32_t end = part_start(heads, part + 1, step->parts);
    for (uint32_t s = 0; s < chunk->n_seqs; s++) {
        const uint32_t n = chunk->start[s + 1] - chunk->start[s];
        float *qkv = step->work->qkv + (size_t)(chunk->start[s] - chunk->start[0]) * 3 * h;
        for (uint32_t head = part_start(heads, part, step->parts); head < end; head++) {
            float *q = qkv + (size_t)head * dim;
            self->attention(&(struct kernel_attention){.q = q,
                                                       .k = q + h,
                                                       .v = q + 2 * (size_t)h,
                                                       .ld = 3 * (size_t)h,
                                                       .n = n,
                                                       .n_queries = step->first_only ? 1 : n,
                                                       .dim = dim,
                                                       .out = q,
                                                       .ld_out = 3 * (size_t)h,
                                                       .more = head + 1 < end,
                                                       .scratch = desk->attention});
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

/* mid = act(x W1 + b), gated or not; returns the numbers from row to row of it. */
static size_t expand(const encoder_t *self, const struct encoder_layer *layer, const float *x,
                     uint32_t m, const struct desk *desk) {
    const uint32_t inner = self->shape.inner;
    const bool gated = self->shape.gated;
    const size_t ld = gated ? 2 * (size_t)inner : inner;
    gemm_run(&layer->ffn1, &(struct gemm_call){.a = x,
                                               .lda = self->shape.hidden,
                                               .m = m,
                                               .c = desk->mid,
                                               .ldc = ld,
                                               .act = gated ? KERNEL_ACT_NONE : self->act,
                                               .scratch = desk->gemm});
    if (gated)
        self->kernels->gate(desk->mid, ld, m, inner, self->act);
    return ld;
}

/* What comes after attention, for rows that no longer depend on each other. */
static void feed_part(void *arg, uint32_t part, void *own) {
    const struct step *step = arg;
    const struct desk *desk = own;
    const encoder_t *self = step->self;
    const struct encoder_layer *layer = step->layer;
    struct work *work = step->work;
    const uint32_t h = self->shape.hidden;
    const uint32_t row = part_start(step->rows, part, step->parts);
    const uint32_t m = part_start(step->rows, part + 1, step->parts) - row;
    float *x = work->x + (size_t)row * h;
    gemm_run(&layer->out, &(struct gemm_call){.a = work->qkv + (size_t)row * 3 * h,
                                              .lda = 3 * (size_t)h,
                                              .m = m,
                                              .c = x,
                                              .ldc = h,
                                              .residual = x,
                                              .ld_residual = h,
                                              .scratch = desk->gemm});
    spent(work, ENCODER_OUT);
    norm(self, x, m, &layer->norm1);
    spent(work, ENCODER_NORM);
    see(work, "attention.out", x, h, m, h);
    const size_t ld_mid = expand(self, layer, x, m, desk);
    spent(work, ENCODER_FFN1);
    see(work, self->shape.gated ? "gated" : "intermediate", desk->mid, ld_mid, m,
        self->shape.inner);
    gemm_run(&layer->ffn2, &(struct gemm_call){.a = desk->mid,
                                               .lda = ld_mid,
                                               .m = m,
                                               .c = x,
                                               .ldc = h,
                                               .residual = x,
                                               .ld_residual = h,
                                               .scratch = desk->gemm});
    spent(work, ENCODER_FFN2);
    norm(self, x, m, &layer->norm2);
    spent(work, ENCODER_NORM);
    see(work, "out", x, h, m, h);
}

/* x: the first rows. BERT's pooler and DistilBERT's pre_classifier differ in what follows them. */
static void classify(const encoder_t *self, uint32_t n_seqs, struct work *work, float *out) {
    const uint32_t h = self->shape.hidden;
    const bool relu = self->shape.family == MODEL_DISTILBERT;
    float *inner = work->qkv; /* [n_seqs, H]; nobody needs queries any more */
    gemm_run(&self->head_inner, &(struct gemm_call){.a = work->x,
                                                    .lda = h,
                                                    .m = n_seqs,
                                                    .c = inner,
                                                    .ldc = h,
                                                    .act = relu ? KERNEL_ACT_RELU : KERNEL_ACT_NONE,
                                                    .scratch = work->desk.gemm});
    for (size_t i = 0; !relu && i < (size_t)n_seqs * h; i++)
        inner[i] = tanhf(inner[i]);
    see(work, "pooler.out", inner, h, n_seqs, h);
    gemm_run(&self->classifier, &(struct gemm_call){.a = inner,
                                                    .lda = h,
                                                    .m = n_seqs,
                                                    .c = out,
                                                    .ldc = self->shape.classes,
                                                    .scratch = work->desk.gemm});
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
    const bool head = shape->head != MODEL_HEAD_NONE;
    const bool first = head || shape->pooling == MODEL_POOL_CLS;
    uint32_t rows = chunk->rows;
    embed(self, chunk, work->x);
    see(work, "embeddings.sum", work->x, h, rows, h);
    norm(self, work->x, rows, &self->norm);
    see(work, "embeddings.out", work->x, h, rows, h);
    prepare_angles(self, chunk, work);
    spent(work, ENCODER_EMBED);
    struct step step = {.self = self, .chunk = chunk, .work = work};
    for (uint32_t l = 0; l < shape->layers; l++) {
        step.layer = &self->layers[l];
        step.first_only = first && l + 1 == shape->layers;
        step.rows = rows;
        work->layer = l;
        run_step(&step, project_part, row_parts(work, rows, 1));
        spent(work, ENCODER_QKV);
        turn(self, chunk, work);
        see(work, "query", work->qkv, 3 * (size_t)h, rows, h);
        see(work, "key", work->qkv + h, 3 * (size_t)h, rows, h);
        see(work, "value", work->qkv + 2 * (size_t)h, 3 * (size_t)h, rows, h);
        run_step(&step, attend_part,
                 threads(work) == 1 ? 1 : min_u32(shape->heads, threads(work) * TEAM_SHARES));
        if (step.first_only) {
            keep_first_rows(self, chunk, work);
            step.rows = rows = chunk->n_seqs;
        }
        spent(work, ENCODER_ATTENTION);
        see(work, "context", work->qkv, 3 * (size_t)h, rows, h);
        run_step(&step, feed_part, row_parts(work, rows, (rows + BLOCK_ROWS - 1) / BLOCK_ROWS));
    }
    if (head)
        classify(self, chunk->n_seqs, work, out);
    else
        pool(self, chunk, work->x, out);
    spent(work, ENCODER_POOL);
}

static void forward(const encoder_t *self, const int32_t *ids, const int32_t *types,
                    const uint32_t *start, uint32_t n_seqs, struct arena *arena, float *out,
                    struct team *team, struct encoder_profile *profile) {
    const size_t mark = arena->used;
    struct work work = work_take(self, start[n_seqs] - start[0], arena);
    work.team = team;
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
        out += (size_t)chunk.n_seqs * model_outputs(&self->shape);
    }
    arena_rewind(arena, mark);
}

void encoder_forward(const encoder_t *self, const int32_t *ids, const int32_t *types,
                     const uint32_t *start, uint32_t n_seqs, struct arena *arena, float *out) {
    forward(self, ids, types, start, n_seqs, arena, out, NULL, NULL);
}

void encoder_forward_team(const encoder_t *self, const int32_t *ids, const int32_t *types,
                          const uint32_t *start, uint32_t n_seqs, struct arena *arena, float *out,
                          struct team *team) {
    forward(self, ids, types, start, n_seqs, arena, out, team, NULL);
}

void encoder_forward_profiled(const encoder_t *self, const int32_t *ids, const int32_t *types,
                              const uint32_t *start, uint32_t n_seqs, struct arena *arena,
                              float *out, struct encoder_profile *profile) {
    forward(self, ids, types, start, n_seqs, arena, out, NULL, profile);
}

void encoder_help(const encoder_t *self, uint32_t n_tokens, struct arena *arena, struct team *team,
                  bool (*leave)(void *arg), void *leave_arg) {
    const size_t mark = arena->used;
    const struct work_sizes sizes = work_sizes(self, n_tokens);
    struct desk desk = desk_take(&sizes, arena);
    team_help(team, leave, leave_arg, &desk);
    arena_rewind(arena, mark);
}
