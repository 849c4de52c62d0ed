/* engine_cpu.c - tokenizer, encoder, pooling or head of a published model on this CPU.
 *
 *     items    text 0      text 1   text 2                    pair 3 ...
 *                |           |        |                         |       tokenizer_encode(), _pair()
 *     ids      [CLS ... SEP|CLS ... SEP|CLS ............... SEP|CLS a SEP b SEP|...  end to end
 *     types    [0 ...       0 ...       0 ...                   0 ...... 1 ...       no padding
 *                                  |
 *                            encoder_forward()   which runs it in pieces that stay in the caches
 *                                  |
 *     rows     [vector 0    |vector 1   |vector 2              |...      copied to the items
 *
 * With a head a row holds logits instead of a vector; nothing else differs.
 *
 * Texts are tokenised until the seat's ids are full, then run; so a batch may be of any size,
 * and the batcher's token estimate need not be exact. The tokenizer writes behind what is queued
 * before anyone knows whether it fits: that is what the spare room at the end of `ids` is for.
 *
 * A model without layers has a table in the encoder's place, and its texts are bare: no [CLS], no
 * [SEP], maybe no token at all.
 *
 * Invariants: a queued sequence of an encoder has 2 to max_positions ids, all below the word
 * table's rows (checked at open against the vocabulary), so nothing a text says can make the
 * encoder read outside its tables. */
#include "engine/engine_cpu.h"

#include "base/arena.h"
#include "base/check.h"
#include "base/clock.h"
#include "engine/engine_ops.h"
#include "engine/engine_weights.h"
#include "model/dir.h"
#include "model/encoder.h"
#include "model/gemm.h"
#include "model/static.h"
#include "model/weights.h"
#include "text/tokenizer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PAIR_TOKENS_MIN = 3 }; /* [CLS] [SEP] [SEP] */

struct cpu {
    struct engine base;
    struct model_dir *dir;
    tokenizer_t *tokenizer;
    struct engine_weights weights;
    const encoder_t *encoder; /* weights.encoder; or */
    static_model_t *table;    /* one vector per token, for MODEL_STATIC */
    uint32_t piece_chars; /* with a table: only the first max_tokens times as many code points of a
                            * text are read; 0: all */
};

struct cpu_seat {
    struct engine_seat base;
    struct arena arena; /* encoder_forward()'s scratch */
    uint32_t tokens;    /* most that are run together */
    int32_t *ids;    /* [tokens + max_positions] queued sequences, end to end, and the spare room */
    int32_t *types;  /* the same of their segments */
    uint32_t *start; /* [max_items + 1] queued sequence i is ids[start[i]] .. ids[start[i + 1]] */
    uint32_t *item;  /* [max_items] which item queued sequence i belongs to */
    float *rows;     /* [max_items, dim] */
};

static const struct cpu *cpu_of(const engine_t *self) {
    return (const struct cpu *)(const void *)self;
}

/* ---- open ---- */

static void cpu_destroy(engine_t *engine) {
    struct cpu *self = (struct cpu *)(void *)engine;
    engine_weights_done(&self->weights);
    static_destroy(&self->table);
    tokenizer_destroy(&self->tokenizer);
    model_dir_close(&self->dir);
    free(self);
}

/* The vocabulary's file, for messages: tokenizer.json goes first, as in tokenizer_load(). */
static const char *vocabulary_name(const char *dir) {
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    bool there = n > 0 && (size_t)n < sizeof path && access(path, F_OK) == 0;
    return there ? "tokenizer.json" : "vocab.txt";
}

/* engine.h keeps model/ out of what its users see. */
static enum gemm_precision gemm_of(enum engine_precision precision) {
    switch (precision) {
    case ENGINE_F32:
        return GEMM_F32;
    case ENGINE_BF16:
        return GEMM_BF16;
    case ENGINE_I8:
        return GEMM_I8;
    }
    CHECK(false); /* all of the enum are above */
    return GEMM_F32;
}

/* "f32: avx2 portable; i8: portable": what runs here. */
static void list_kernels(char *out, size_t out_bytes) {
    size_t used = 0;
    *out = '\0';
    for (int p = 0; p < GEMM_PRECISIONS; p++) {
        const enum gemm_precision precision = (enum gemm_precision)p;
        const char *head = gemm_precision_name(precision);
        for (const struct gemm_kernel *const *k = gemm_list(precision); *k; k++) {
            if (!(*k)->usable() || used >= out_bytes)
                continue;
            used += (size_t)snprintf(out + used, out_bytes - used, "%s%s%s %s",
                                     head && used ? "; " : "", head ? head : "", head ? ":" : "",
                                     (*k)->name);
            head = NULL;
        }
    }
}

static enum status choose_kernel(const struct engine_options *options,
                                 const struct gemm_kernel **out, struct err *err) {
    const enum gemm_precision precision = gemm_of(options->precision);
    for (const struct gemm_kernel *const *k = gemm_list(precision); *k; k++)
        if ((*k)->usable() && (!options->kernel || strcmp((*k)->name, options->kernel) == 0)) {
            *out = *k;
            return STATUS_OK;
        }
    char names[240];
    list_kernels(names, sizeof names);
    return err_set(err, STATUS_INVALID_ARGUMENT,
                   "no matrix kernel %s%.40s%sfor %s runs on this CPU; there are: %s",
                   options->kernel ? "'" : "", options->kernel ? options->kernel : "",
                   options->kernel ? "' " : "", gemm_precision_name(precision), names);
}

/* What the position table allows; shape->max_tokens, the published limit, may be less. */
static uint32_t longest_sequence(const struct model_shape *shape) {
    return shape->positions < LIMIT_TOKENS ? shape->positions : LIMIT_TOKENS;
}

/* A table is used where it lies, in the mapped file. */
static enum status load_static(struct cpu *self, const struct engine_options *options,
                               struct err *err) {
    struct model_dir *dir = self->dir;
    enum status st = model_dir_need_weights(dir, options->weights_cache, err);
    if (st != STATUS_OK)
        return st;
    if (static_drops_unknown(dir->weights)) /* model2vec, that is */
        self->piece_chars = tokenizer_median_piece(self->tokenizer);
    st = static_load(&dir->shape, dir->weights, &self->table, err);
    return engine_name_dir(dir, st, err);
}

/* Prepared weights are a copy in the kernel's order: the file's mapping goes, and its pages with
 * it. */
static enum status load_encoder(struct cpu *self, const struct gemm_kernel *kernel,
                                const struct engine_options *options, struct err *err) {
    struct model_shape shape = self->dir->shape;
    shape.max_tokens = longest_sequence(&shape); /* a request may ask for more than the default */
    enum status st = engine_weights_load(self->dir, &shape, kernel, options, &self->weights, err);
    self->encoder = self->weights.encoder;
    return st;
}

static enum status check_sizes(const struct cpu *self, struct err *err) {
    const struct model_shape *shape = &self->dir->shape;
    const char *path = self->dir->path;
    const uint32_t pieces = tokenizer_vocab_size(self->tokenizer);
    if (pieces > shape->vocab_rows) /* before the weights: ids past the end of the word table */
        return err_set(err, STATUS_DATA_LOSS,
                       "'%s/%s': %u pieces, but config.json gives the word table %u rows", path,
                       vocabulary_name(path), pieces, shape->vocab_rows);
    if (shape->max_tokens < PAIR_TOKENS_MIN)
        return err_set(err, STATUS_DATA_LOSS, "'%s/config.json': %u tokens are too few", path,
                       shape->max_tokens);
    return STATUS_OK;
}

static enum status load(struct cpu *self, const struct gemm_kernel *kernel,
                        const struct engine_options *options, struct err *err) {
    enum status st = STATUS_OK;
    const bool table = self->dir->shape.family == MODEL_STATIC;
    const struct tokenizer_options bare = {
        .bare = table, .drop_unknown = table && static_drops_unknown(self->dir->weights)};
    if (kernel->precision != GEMM_F32 && !table) /* other answers: they must not share a cache */
        st = model_dir_mark(self->dir, gemm_precision_name(kernel->precision), err);
    if (st == STATUS_OK)
        st = tokenizer_load_with(self->dir->path, &bare, &self->tokenizer, err);
    if (st == STATUS_OK)
        st = check_sizes(self, err);
    if (st != STATUS_OK)
        return st;
    return table ? load_static(self, options, err) : load_encoder(self, kernel, options, err);
}

static const char *family_name(enum model_family family) {
    static const char *const names[] = {[MODEL_BERT] = "bert",
                                        [MODEL_NOMIC] = "nomic",
                                        [MODEL_DISTILBERT] = "distilbert",
                                        [MODEL_STATIC] = "static"};
    return names[family];
}

static enum engine_head head_of(enum model_head head) {
    switch (head) {
    case MODEL_HEAD_NONE:
        return ENGINE_HEAD_NONE;
    case MODEL_HEAD_LABELS:
        return ENGINE_HEAD_LABELS;
    case MODEL_HEAD_NLI:
        return ENGINE_HEAD_NLI;
    case MODEL_HEAD_SCORE:
        return ENGINE_HEAD_SCORE;
    }
    CHECK(false); /* all of the enum are above */
    return ENGINE_HEAD_NONE;
}

static uint32_t tasks_of(enum engine_head head) {
    switch (head) {
    case ENGINE_HEAD_NONE:
        return ENGINE_TASK_EMBED | ENGINE_TASK_CLASSIFY | ENGINE_TASK_TOKENIZE;
    case ENGINE_HEAD_LABELS:
    case ENGINE_HEAD_NLI:
        return ENGINE_TASK_CLASSIFY | ENGINE_TASK_TOKENIZE;
    case ENGINE_HEAD_SCORE:
        return ENGINE_TASK_RERANK | ENGINE_TASK_TOKENIZE;
    }
    CHECK(false); /* all of the enum are above */
    return 0;
}

static void name_kernel(struct engine_info *info, const struct gemm_kernel *kernel) {
    const char *precision = gemm_precision_name(kernel->precision);
    const size_t name = strlen(kernel->name), tail = strlen(precision);
    const bool told = name > tail && strcmp(kernel->name + name - tail, precision) == 0;
    snprintf(info->kernel, sizeof info->kernel, told ? "%s" : "%s-%s", kernel->name, precision);
    snprintf(info->precision, sizeof info->precision, "%s", precision);
}

static void fill_info(struct cpu *self, const struct gemm_kernel *kernel) {
    const struct model_shape *shape =
        self->encoder ? encoder_shape(self->encoder) : &self->dir->shape;
    struct engine_info *info = &self->base.info;
    for (int i = 0; i < MODEL_FINGERPRINT_BYTES; i++)
        snprintf(info->fingerprint + 2 * i, 3, "%02x", self->dir->fingerprint[i]);
    memcpy(info->fingerprint8, info->fingerprint, 8);
    if (self->encoder) {
        name_kernel(info, kernel);
    } else { /* no products: float32 whatever was asked for */
        snprintf(info->kernel, sizeof info->kernel, "table-f32");
        snprintf(info->precision, sizeof info->precision, "f32");
    }
    snprintf(info->family, sizeof info->family, "%s", family_name(shape->family));
    snprintf(info->pooling, sizeof info->pooling, "%s",
             shape->pooling == MODEL_POOL_CLS ? "cls" : "mean");
    info->dim = model_outputs(shape);
    info->hidden = shape->hidden;
    info->max_tokens = self->dir->shape.max_tokens;
    info->max_positions = longest_sequence(shape);
    info->vocab = tokenizer_vocab_size(self->tokenizer);
    info->layers = shape->layers;
    info->heads = shape->heads;
    info->inner = shape->inner;
    info->head = head_of(shape->head);
    info->tasks = tasks_of(info->head);
    info->normalize = shape->normalize;
    const struct prepared *prepared = &self->weights.prepared;
    info->weight_bytes =
        self->encoder ? encoder_weight_bytes(self->encoder) : static_weight_bytes(self->table);
    info->weights_shared = prepared->shared;
    info->weights_made = prepared->made;
    snprintf(info->weights_note, sizeof info->weights_note, "%s", prepared->note);
    info->map_us = prepared->map_us;
    info->make_us = prepared->make_us;
    info->n_prompts = self->dir->n_prompts;
    info->n_labels = shape->head == MODEL_HEAD_NONE ? 0 : shape->classes;
    info->sigmoid = shape->sigmoid;
    info->entailment = shape->entailment;
    info->contradiction = shape->contradiction;
}

/* ---- prompts ---- */

static bool cpu_prompt(const engine_t *engine, const char *name, struct view *out) {
    const struct cpu *self = cpu_of(engine);
    const char *wanted = name ? name : self->dir->default_prompt;
    const struct model_prompt *prompt = wanted ? model_dir_prompt(self->dir, wanted) : NULL;
    if (!prompt && name)
        return false;
    *out = prompt ? view_of(prompt->text) : view_of("");
    return true;
}

static void cpu_prompt_at(const engine_t *engine, uint32_t i, struct view *name,
                          struct view *text) {
    const struct model_prompt *prompt = &cpu_of(engine)->dir->prompts[i];
    *name = view_of(prompt->name);
    *text = view_of(prompt->text);
}

static const struct zero_shot *cpu_zero_shot(const engine_t *engine) {
    return cpu_of(engine)->dir->zero_shot;
}

static struct view cpu_label(const engine_t *engine, uint32_t i) {
    return view_of(cpu_of(engine)->dir->labels[i]);
}

/* ---- seats ---- */

static void cpu_seat_destroy(engine_seat_t *base) {
    struct cpu_seat *seat = (struct cpu_seat *)(void *)base;
    arena_done(&seat->arena);
    free(seat->ids);
    free(seat->types);
    free(seat->start);
    free(seat->item);
    free(seat->rows);
    free(seat);
}

static enum status cpu_seat_new(const engine_t *engine, uint32_t max_tokens, uint32_t max_items,
                                engine_seat_t **out, struct err *err) {
    const struct cpu *self = cpu_of(engine);
    struct cpu_seat *seat = calloc(1, sizeof *seat);
    if (!seat)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for a seat");
    seat->tokens = max_tokens; /* at least the longest: engine_seat_new() sees to it */
    const size_t room = (size_t)max_tokens + engine->info.max_positions;
    seat->ids = calloc(room, sizeof *seat->ids);
    seat->types = calloc(room, sizeof *seat->types);
    seat->start = calloc((size_t)max_items + 1, sizeof *seat->start);
    seat->item = calloc(max_items, sizeof *seat->item);
    seat->rows = calloc((size_t)max_items * engine->info.dim, sizeof *seat->rows);
    bool arena =
        !self->encoder ||
        arena_init(&seat->arena, encoder_scratch_bytes(self->encoder, max_tokens, max_items));
    if (!seat->ids || !seat->types || !seat->start || !seat->item || !seat->rows || !arena) {
        cpu_seat_destroy(&seat->base);
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for a seat of %u tokens",
                       max_tokens);
    }
    *out = &seat->base;
    return STATUS_OK;
}

static void cpu_seat_trim(engine_seat_t *base) {
    struct cpu_seat *seat = (struct cpu_seat *)(void *)base;
    arena_release(&seat->arena);
}

/* ---- a batch ---- */

/* A sum of squares that is NaN or infinite has such a number in it; lengths of 1e19 do not
 * occur. */
static bool row_finite(const float *x, uint32_t n) {
    float squares = 0;
    for (uint32_t i = 0; i < n; i++)
        squares += x[i] * x[i];
    return isfinite(squares);
}

/* Run the n queued sequences, and hand their vectors out. */
static void run_queued(const struct cpu *self, struct cpu_seat *seat, struct engine_item *items,
                       uint32_t n) {
    uint32_t dim = self->base.info.dim;
    if (n == 0)
        return;
    if (self->encoder)
        encoder_forward_team(self->encoder, seat->ids, seat->types, seat->start, n, &seat->arena,
                             seat->rows, seat->base.team);
    else
        static_forward(self->table, seat->ids, seat->start, n, seat->rows);
    for (uint32_t i = 0; i < n; i++) {
        struct engine_item *item = &items[seat->item[i]];
        const float *row = seat->rows + (size_t)i * dim;
        item->status = row_finite(row, dim) ? STATUS_OK : STATUS_INTERNAL;
        memcpy(item->out, row, dim * sizeof *row);
    }
}

static uint32_t encode(const struct cpu *self, struct view text, enum engine_side side,
                       uint32_t max_tokens, int32_t *ids, uint32_t *n_full) {
    enum tokenizer_side cut = side == ENGINE_CUT_LEFT ? TOKENIZER_CUT_LEFT : TOKENIZER_CUT_RIGHT;
    return tokenizer_encode(self->tokenizer, text, max_tokens, cut, ids, n_full);
}

/* The first (or last) `chars` code points of a text. */
static struct view cut_chars(struct view text, size_t chars, enum engine_side side) {
    const uint8_t *p = (const uint8_t *)text.data;
    size_t i = 0;
    if (text.bytes <= chars)
        return text;
    if (side == ENGINE_CUT_LEFT) {
        for (i = text.bytes; i > 0 && chars; i--)
            chars -= (p[i - 1] & 0xC0) != 0x80; /* not a byte within a code point */
        return view_make(text.data + i, text.bytes - i);
    }
    for (; i < text.bytes; i++) {
        if ((p[i] & 0xC0) != 0x80 && chars-- == 0)
            break;
    }
    return view_make(text.data, i);
}

/* The item's tokens behind those that are queued; returns how many. */
static uint32_t encode_item(const struct cpu *self, struct engine_item *item, int32_t *ids,
                            int32_t *types) {
    const uint32_t limit = engine_item_limit(&self->base, item);
    uint32_t n;
    if (item->pair == ENGINE_SINGLE) {
        const bool whole = !self->piece_chars || item->side == ENGINE_CUT_OFF;
        const struct view text =
            whole ? item->text
                  : cut_chars(item->text, (size_t)limit * self->piece_chars, item->side);
        n = encode(self, text, item->side, limit, ids, &item->tokens_full);
    } else {
        n = tokenizer_encode_pair(self->tokenizer, item->text, item->second, limit,
                                  item->pair == ENGINE_PAIR_ONLY_FIRST ? TOKENIZER_ONLY_FIRST
                                                                       : TOKENIZER_LONGEST_FIRST,
                                  ids, types, &item->tokens_full);
    }
    if (item->pair == ENGINE_SINGLE || self->dir->shape.types < 2)
        memset(types, 0, n * sizeof *types);
    return n;
}

static void cpu_run(const engine_t *engine, engine_seat_t *base, struct engine_item *items,
                    uint32_t n, struct engine_times *times) {
    const struct cpu *self = cpu_of(engine);
    struct cpu_seat *seat = (struct cpu_seat *)(void *)base;
    uint64_t infer_us = 0, start_us = clock_us();
    uint32_t queued = 0;
    seat->start[0] = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct engine_item *item = &items[i];
        uint32_t used = seat->start[queued];
        int32_t *ids = seat->ids + used; /* room for the longest behind what is there */
        int32_t *types = seat->types + used;
        uint32_t tokens = encode_item(self, item, ids, types);
        bool refused = item->side == ENGINE_CUT_OFF && item->tokens_full > tokens;
        item->tokens = refused ? 0 : tokens;
        item->status =
            refused ? STATUS_OUT_OF_RANGE : STATUS_OK; /* run_queued() may say otherwise */
        if (refused)
            continue;
        if (used + tokens > seat->tokens) {
            uint64_t before_us = clock_us();
            run_queued(self, seat, items, queued);
            infer_us += clock_us() - before_us;
            memmove(seat->ids, ids, tokens * sizeof *ids);
            memmove(seat->types, types, tokens * sizeof *types);
            queued = used = 0;
        }
        seat->item[queued++] = i;
        seat->start[queued] = used + tokens;
    }
    uint64_t before_us = clock_us();
    run_queued(self, seat, items, queued);
    uint64_t end_us = clock_us();
    infer_us += end_us - before_us;
    times->infer_us += infer_us;
    times->tokenize_us += end_us - start_us - infer_us;
}

static void cpu_help(engine_seat_t *base, struct team *team, bool (*leave)(void *arg),
                     void *leave_arg) {
    struct cpu_seat *seat = (struct cpu_seat *)(void *)base;
    const struct cpu *self = cpu_of(base->engine);
    if (self->encoder) /* means of rows are over before anybody could come */
        encoder_help(self->encoder, seat->tokens, &seat->arena, team, leave, leave_arg);
}

/* ---- tokens ---- */

static uint32_t cpu_tokenize(const engine_t *engine, struct view text, enum engine_side side,
                             int32_t *ids, uint32_t max_ids, uint32_t *n_full) {
    return encode(cpu_of(engine), text, side, max_ids, ids, n_full);
}

static struct view cpu_piece(const engine_t *engine, int32_t id) {
    return tokenizer_piece(cpu_of(engine)->tokenizer, id);
}

static uint32_t cpu_estimate(const engine_t *engine, struct view text) {
    (void)engine;
    return tokenizer_estimate(text);
}

static const struct engine_ops cpu_ops = {
    .destroy = cpu_destroy,
    .prompt = cpu_prompt,
    .prompt_at = cpu_prompt_at,
    .zero_shot = cpu_zero_shot,
    .label = cpu_label,
    .seat_new = cpu_seat_new,
    .seat_destroy = cpu_seat_destroy,
    .seat_trim = cpu_seat_trim,
    .run = cpu_run,
    .help = cpu_help,
    .tokenize = cpu_tokenize,
    .piece = cpu_piece,
    .estimate = cpu_estimate,
};

enum status engine_open_dir(struct model_dir **dir, const struct engine_options *options,
                            engine_t **out, struct err *err) {
    const struct engine_options defaults = {0};
    const struct gemm_kernel *kernel;
    if (!options)
        options = &defaults;
    enum status st = choose_kernel(options, &kernel, err);
    if (st != STATUS_OK)
        return st;
    struct cpu *self = calloc(1, sizeof *self);
    if (!self)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for an engine");
    self->base.ops = &cpu_ops;
    self->dir = *dir; /* moved, as far as a failure is concerned */
    *dir = NULL;
    st = load(self, kernel, options, err);
    if (st != STATUS_OK) {
        cpu_destroy(&self->base);
        return st;
    }
    fill_info(self, kernel);
    *out = &self->base;
    return STATUS_OK;
}

/* `cache`: where to look for what is remembered of the directory, or NULL. */
static enum status open_once(const char *path, const char *cache,
                             const struct engine_options *options, engine_t **out,
                             struct err *err) {
    const uint64_t begin_us = clock_us();
    struct model_dir *dir = NULL;
    enum status st = model_dir_open_known(path, cache, &dir, err);
    const uint64_t read_us = clock_us() - begin_us;
    if (st == STATUS_OK)
        st = engine_open_dir(&dir, options, out, err);
    if (st == STATUS_OK)
        (*out)->info.read_us = read_us;
    model_dir_close(&dir);
    return st;
}

/* Files that change while they are read, or a stamp that is taken away, cost a second reading, of
 * everything. */
enum status engine_open(const char *path, const struct engine_options *options, engine_t **out,
                        struct err *err) {
    const struct engine_options defaults = {0};
    const struct gemm_kernel *kernel; /* a wrong name is found before gigabytes are read */
    if (!options)
        options = &defaults;
    enum status st = choose_kernel(options, &kernel, err);
    if (st == STATUS_OK)
        st = open_once(path, options->weights_cache, options, out, err);
    if (st == STATUS_ABORTED)
        st = open_once(path, NULL, options, out, err);
    return st;
}

const struct model_dir *engine_dir(const engine_t *self) {
    CHECK(self->ops == &cpu_ops);
    return cpu_of(self)->dir;
}

const tokenizer_t *engine_tokenizer(const engine_t *self) {
    CHECK(self->ops == &cpu_ops);
    return cpu_of(self)->tokenizer;
}
