/* engine.h - what a worker calls: texts or pairs in, vectors or logits out.
 *
 *     engine_open("models/minilm")  ->  engine_seat_new() per runner thread  ->  engine_run() ...
 *
 * An engine is one model, loaded and checked; it is immutable and shared. A seat is what one
 * runner thread needs to use it: scratch memory, sized once for the batch budget, so that a
 * batch allocates nothing. An item's output is what the model gives, before anything a reply can
 * derive from it: the full, pooled, NOT normalised vector (normalisation, fewer dimensions and
 * encodings are vector.h's business and not part of a cache key), or, of a model with a head, its
 * logits (scores are classify.h's business).
 *
 * Threads: engine_t immutable after open; a seat is used by one thread at a time. */
#ifndef EMBER_ENGINE_ENGINE_H
#define EMBER_ENGINE_ENGINE_H

#include "base/err.h"
#include "base/limits.h"
#include "base/team.h"
#include "base/view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct engine engine_t;
typedef struct engine_seat engine_seat_t;

enum engine_precision { ENGINE_F32, ENGINE_BF16, ENGINE_I8 };

/* "f32", "bf16", "i8": in settings, file names, log lines. */
const char *engine_precision_name(enum engine_precision precision);
bool engine_precision_parse(const char *name, enum engine_precision *out); /* false: no such name */

struct zero_shot; /* model/zero_shot.h; for classify.h, which reads it */

struct engine_options {
    enum engine_precision precision;
    const char *kernel; /* name of a matrix kernel, NULL: the best of this CPU (gemm_choose) */

    /* A directory where prepared weights are kept for all processes of the host, and what is
     * remembered of model directories (model/prepared.h, stamp.h); NULL: none. weights_cache_dir()
     * knows where. Trouble with it never fails an opening: info->weights_note tells. */
    const char *weights_cache;
    /* Called before weights are prepared, which takes a second or so; may be NULL. */
    void (*preparing)(void *arg, const char *dir, size_t bytes);
    void *preparing_arg;
};

enum engine_head {
    ENGINE_HEAD_NONE,   /* output: a vector */
    ENGINE_HEAD_LABELS, /* output: a logit for each of the model's own labels */
    ENGINE_HEAD_NLI,    /* output for a pair: logits, entailment and contradiction among them */
    ENGINE_HEAD_SCORE,  /* output for a pair: one logit */
};

enum {
    ENGINE_TASK_EMBED = 1,
    ENGINE_TASK_CLASSIFY = 2,
    ENGINE_TASK_RERANK = 4,
    ENGINE_TASK_TOKENIZE = 8
};

struct engine_info {
    char fingerprint
        [65]; /* SHA-256 in hex of everything that alters an answer, precision included */
    char fingerprint8[9]; /* its first eight digits: stands in cache keys */
    char family[16];      /* "bert", "nomic", "distilbert", "static" */
    char pooling[8];      /* "mean", "cls"; heads stand on the first token: "cls" */
    char kernel[32];      /* "avx512-f32", "avx512-vnni-i8" ... */
    char precision[8];    /* "f32", "bf16", "i8" */
    uint32_t dim;         /* numbers of an output: of a full vector, or logits */
    uint32_t max_tokens;  /* the published limit of a sequence, special tokens included */
    uint32_t
        max_positions; /* what the model can take when a request asks for more; >= max_tokens */
    uint32_t vocab;    /* pieces */
    uint32_t layers, hidden, heads, inner;
    uint32_t tasks; /* ENGINE_TASK_* */
    bool normalize; /* the published model normalises: the default of a request that does not say */
    size_t weight_bytes;             /* prepared weights in memory */
    bool weights_shared;             /* mapped from options->weights_cache: one copy for the host */
    bool weights_made;               /* they were prepared by this opening, not found */
    char weights_note[ERR_TEXT_MAX]; /* why they are not shared or had to be made anew; or empty */
    uint64_t read_us, map_us, make_us; /* what opening took: reading and hashing the directory,
                                        * mapping and checking weights, preparing and saving them */
    uint32_t n_prompts;                /* prompts published with the model */

    enum engine_head head;
    uint32_t n_labels;      /* of the head, = dim; 0 without one */
    bool sigmoid;           /* scores of the labels stand alone; otherwise softmax */
    uint32_t entailment;    /* with ENGINE_HEAD_NLI: which logits */
    uint32_t contradiction; /* (or "not entailment") */
};

/* Open a published model directory (model/dir.h says which files). `options` NULL: float32 on
 * the best kernel of this CPU. Errors as dir, weights and tokenizer give them, and
 * STATUS_DATA_LOSS when files do not fit each other; the message names the file.
 * STATUS_INVALID_ARGUMENT: no kernel of that name and precision runs on this CPU; the message lists
 * those that do. STATUS_ABORTED: files changed while they were read, twice in a row. */
enum status engine_open(const char *dir, const struct engine_options *options, engine_t **out,
                        struct err *err);
void engine_destroy(engine_t **self); /* NULL is fine; after all of its seats */
const struct engine_info *engine_info(const engine_t *self);

/* Text to put before a user's for the published prompt `name` ("query", "document" ...); false
 * when the model publishes none of that name. With name NULL: the model's default prompt, which
 * may be empty. The view lives as long as the engine. */
bool engine_prompt(const engine_t *self, const char *name, struct view *out);
/* i < info->n_prompts; both views live as long as the engine. */
void engine_prompt_at(const engine_t *self, uint32_t i, struct view *name, struct view *text);

/* How a model of vectors scores labels where a request does not say; NULL: classify.h's defaults.
 * Lives as long as the engine. */
const struct zero_shot *engine_zero_shot(const engine_t *self);

/* Name of the head's label i < info->n_labels; lives as long as the engine. */
struct view engine_label(const engine_t *self, uint32_t i);

/* Scratch for batches of at most max_tokens tokens (raised to info->max_positions) and max_items
 * texts, both at least 1. The engine must outlive it. STATUS_RESOURCE_EXHAUSTED without
 * memory. */
enum status engine_seat_new(const engine_t *self, uint32_t max_tokens, uint32_t max_items,
                            engine_seat_t **out, struct err *err);
void engine_seat_destroy(engine_seat_t **self); /* NULL is fine */
/* Gives memory that only large batches touch back to the system, until one comes again. For the
 * thread that uses the seat. */
void engine_seat_trim(engine_seat_t *self);

enum engine_side {
    ENGINE_CUT_RIGHT, /* the end of a long text goes */
    ENGINE_CUT_LEFT,  /* its beginning goes */
    ENGINE_CUT_OFF,   /* too long is an error */
};

enum engine_pair {
    ENGINE_SINGLE,             /* no pair: `text` alone */
    ENGINE_PAIR_ONLY_FIRST,    /* too long: `text` is cut, `second` stays whole as far as it fits */
    ENGINE_PAIR_LONGEST_FIRST, /* too long: the longer of both is cut first */
};

/* One text, or pair of texts, of a batch. Inputs are borrowed for the call; outputs are written for
 * each item. A pair is always cut on the right; with ENGINE_CUT_OFF it is refused like a text. */
struct engine_item {
    struct view text;   /* at most LIMIT_TEXT_BYTES, prompt prefix included; may be empty */
    struct view second; /* the other text of a pair (hypothesis, document); may be empty */
    enum engine_pair pair;
    enum engine_side side;
    uint32_t max_tokens;  /* 0: info->max_tokens; else 2 (a pair: 3) to info->max_positions, brought
                          * into that */
    float *out;           /* [dim], written when status is OK, else undefined */
    uint32_t tokens;      /* tokens that were used, special ones included; 0 with OUT_OF_RANGE */
    uint32_t tokens_full; /* tokens the whole text has, special ones included */
    enum status status;   /* OK, or
                           * OUT_OF_RANGE  too long and side is OFF
                           * INTERNAL      the model gave a NaN or an infinity */
};

struct engine_times { /* microseconds, added to what is there */
    uint64_t tokenize_us, infer_us;
};

/* Tokenise and encode n items (n <= max_items). Batches of more than the seat's tokens are run
 * in parts. Answers do not depend on what else is in the batch beyond float32 rounding.
 * A pair needs a model with segments or without need of them: every model with a head takes both.
 * Allocates nothing. `times` may be NULL. */
void engine_run(const engine_t *self, engine_seat_t *seat, struct engine_item *items, uint32_t n,
                struct engine_times *times);

/* ---- a batch shared with threads that have nothing else to do (base/team.h). The outputs are the
 * same to the last bit. */

/* Between team_begin() and team_end(): engine_run() on this seat lets the team's helpers take part.
 * NULL: alone again. */
void engine_seat_lead(engine_seat_t *seat, struct team *team);
/* A helper's side, as team_help(): on a seat of its own, of the same engine and size as the
 * leader's. Returns at once from an engine whose work cannot be shared. */
void engine_help(engine_seat_t *seat, struct team *team, bool (*leave)(void *arg), void *leave_arg);

/* Token ids of one text, special ones included, into ids[0..max_ids), max_ids >= 2. Returns how
 * many were written; 0 when side is OFF and the text has more. *tokens_full (may be NULL): how
 * many the whole text has. Any thread. */
uint32_t engine_tokenize(const engine_t *self, struct view text, enum engine_side side,
                         int32_t *ids, uint32_t max_ids, uint32_t *tokens_full);
/* The vocabulary's piece of an id; empty when it has none. Lives as long as the engine. */
struct view engine_piece(const engine_t *self, int32_t id);
/* A guess of the tokens of a text, from 2 to info->max_tokens, for packing batches; cheap, any
 * thread. */
uint32_t engine_estimate(const engine_t *self, struct view text);
/* The same from 2 to `limit`, for requests whose own limit is above the published one. */
uint32_t engine_estimate_upto(const engine_t *self, struct view text, uint32_t limit);

/* Known-text self-check: runs fixed texts (pairs, where the head wants them) alone and together
 * and compares; STATUS_INTERNAL when an answer is NaN, a vector zero, or depends on its company.
 * Run at start and for /readyz. It allocates a little; STATUS_RESOURCE_EXHAUSTED when it cannot. */
enum status engine_self_check(const engine_t *self, engine_seat_t *seat, struct err *err);

#endif
