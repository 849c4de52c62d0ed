/* batch.h - what travels between the loop and a runner: one batch of one model, with all its
 * memory.
 *
 * The loop fills a free batch, hands it over through the link and gets it back when it is done: it
 * has one owner at a time, and so it needs no lock. Texts are copied in, prompt in front, because
 * the request they came with may be cancelled while the runner reads them.
 *
 * Memory: batch_init() takes all of it; nothing is allocated later. */
#ifndef EMBER_WORKER_BATCH_H
#define EMBER_WORKER_BATCH_H

#include "batcher.h"
#include "engine/engine.h"

#include <stdatomic.h>

/* Tokenise only: the arrays belong to the request, which outlives the batch. */
struct batch_tokens {
    const struct view *texts;
    uint32_t n;
    enum engine_side side;
    uint32_t max_ids; /* of one text */
    int32_t *ids;     /* [n, max_ids] */
    uint32_t *n_ids;  /* [n] */
    uint32_t *n_full; /* [n] tokens of the whole text */
    uint64_t token;   /* whose it is */
};

struct batch {
    const engine_t *engine;
    uint32_t model;
    uint32_t n, n_max;
    uint32_t n_run;            /* items[0..n_run) were run, the rest dropped: see batch_begin() */
    struct engine_item *items; /* [n_max]; vectors point into `vectors`, texts into `text` */
    uint32_t *flights;         /* [n_max] which flight each item is */
    atomic_bool *dropped;      /* [n_max] by the place an item was added at; any thread */
    float *vectors;            /* [n_max, dim_max] */
    char *text;
    size_t text_bytes, text_max;
    struct batch_tokens *tokens; /* not NULL: this is a job of tokenising, n is 0 */
    struct batch_tokens job;     /* where `tokens` points */
    uint64_t number;             /* of the batch, rising */
    struct batcher_kind kind;    /* of texts: who may pass it */
    uint32_t trims;              /* times that memory was short: news to a runner when it rose */
    uint64_t formed_us;
    _Atomic uint64_t started_us; /* 0: no runner has begun; written by the runner, read by anyone */
    uint64_t finished_us;
    bool out;        /* of the loop: pushed and not yet popped */
    uint64_t ran_us; /* of the loop: see watch.h */
    struct engine_times times;
};

/* Texts a batch of that many tokens may have: each has two special tokens and one of its own. */
static inline uint32_t batch_items_max(uint32_t tokens_max) {
    uint32_t n = tokens_max / 3 + 1;
    return n < LIMIT_BATCH_ITEMS ? n : LIMIT_BATCH_ITEMS;
}

/* False without memory; *self can be given to batch_done() in either case. */
bool batch_init(struct batch *self, uint32_t items_max, size_t text_max, uint32_t dim_max);
void batch_done(struct batch *self);

/* Empty it for `model`. */
void batch_reset(struct batch *self, const engine_t *engine, uint32_t model);

/* Of the loop, at any time: nobody (or somebody again) waits for the item added as the at-th. What
 * the runner has not begun it leaves out. */
static inline void batch_drop(struct batch *self, uint32_t at, bool dropped) {
    atomic_store_explicit(&self->dropped[at], dropped, memory_order_relaxed);
}
/* Of the runner, once: puts what is dropped behind the rest, with no tokens, and sets n_run. */
void batch_begin(struct batch *self);

/* Adds prefix + text, and the second text of a pair (or nothing); the caller keeps to n_max and
 * text_max. Returns the item to fill in: a single text until the caller says which pair it is. */
struct engine_item *batch_add(struct batch *self, uint32_t flight, struct view prefix,
                              struct view text, struct view second, uint32_t dim);

#endif
