/* batcher.h - which waiting texts form the next batch. Pure: no thread, no clock, no allocation.
 *
 *     HIGH    a c         pick: the oldest HIGH text decides the model; then HIGH before the rest,
 *     others  b d e       oldest first, until the token budget is full.   -> a c b d
 *
 * A text of the other lanes that has waited BATCHER_AGE_US stands in line with the HIGH ones, so
 * that a stream of HIGH texts cannot starve it. Texts of different requests and lengths mix freely:
 * engines compute no padding. When several runners are free and the queue is short, each gets its
 * share of the tokens instead of the first taking all.
 *
 * Threads: owner only. Memory: entries belong to the caller and are in one batcher at a time. */
#ifndef EMBER_WORKER_BATCHER_H
#define EMBER_WORKER_BATCHER_H

#include "base/limits.h"
#include "base/queue.h"
#include "wire/header.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BATCHER_AGE_US = 200 * 1000,
    BATCHER_SPLIT_TOKENS = 32, /* a share below this is not worth a second runner */
    BATCHER_CLASSES = 2,       /* HIGH, and the rest */
};

struct batcher_cfg {
    uint32_t tokens_max; /* of one batch, as engine_estimate() counts; one longer text goes alone */
    uint32_t items_max;
    size_t bytes_max; /* of text in one batch; at least what one text may have */
    uint64_t wait_us; /* how long a batch that is not full waits for company; HIGH never waits */
};

struct batcher_entry {
    struct link link;
    uint64_t queued_us; /* when it began to wait */
    uint32_t tokens;    /* estimate, at least 1 */
    uint32_t bytes;
    uint8_t model; /* < LIMIT_MODELS */
    uint8_t lane;  /* enum wire_lane */
};

struct batcher {
    struct batcher_cfg cfg;
    struct queue queue[LIMIT_MODELS][BATCHER_CLASSES];
    uint64_t tokens[LIMIT_MODELS]; /* waiting, of each model */
    uint32_t n;                    /* entries waiting */
};

void batcher_init(struct batcher *self, const struct batcher_cfg *cfg);

/* From now on batches have at most tokens_max tokens, at least 1. */
void batcher_set_tokens(struct batcher *self, uint32_t tokens_max);

/* Entries come with rising queued_us. */
void batcher_add(struct batcher *self, struct batcher_entry *entry);
void batcher_remove(struct batcher *self, struct batcher_entry *entry);
/* A HIGH request joined the entry: it moves up, behind the HIGH ones that are older than that. */
void batcher_promote(struct batcher *self, struct batcher_entry *entry);

/* Take the next batch, all of one model, into out[0..items_max); returns how many, 0 when nothing
 * waits or what waits may still wait. `free_runners`: runners that are free now, this one included;
 * at least 1. */
uint32_t batcher_pick(struct batcher *self, uint32_t free_runners, uint64_t now_us,
                      struct batcher_entry **out);

/* Whether a model has a full batch waiting. */
bool batcher_full(const struct batcher *self);

/* From when on batcher_pick() has something: 0 when it has now, UINT64_MAX when nothing waits. */
uint64_t batcher_deadline_us(const struct batcher *self, uint64_t now_us);

#endif
