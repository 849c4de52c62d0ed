/* batcher.h - which waiting texts form the next batch. Pure: no thread, no clock, no allocation.
 *
 *     lane HIGH     request 7 [. .]                        first, always
 *     lane NORMAL   request 4 [. . . . . . .]  9 [.]       small ones first: 9, then 4
 *     lane BULK     request 2 [. . . . . . . . . . . .]    an eighth of what goes before it
 *
 * Texts wait in the line of the request that asks for them. The highest lane goes first, and in it
 * the small requests (one text, or few tokens) in their order, then the large one with the fewest
 * tokens left (to a factor of two; among those, the one that got there first): a small request
 * that just came is in the next batch whatever large ones wait, and of equal ones each is finished
 * before the next is begun, so that answers, and with them new work, come evenly. Nobody starves:
 * what passes a lower lane earns it an eighth of its tokens, what passes the line that has waited
 * longest in its lane earns that one a third, and who has earned its next text goes first.
 *
 * A batch that has a small request in it takes of large ones only what fits in a quarter of the
 * budget: all of a batch is answered when its last text is done, and a single text should not wait
 * for company that does not need the hurry.
 *
 * Texts of different requests and lengths mix freely: engines compute no padding. When several
 * runners are free and the queue is short, each gets its share of the tokens instead of the first
 * taking all. Models take turns, except that one with a higher lane, or one that has waited
 * BATCHER_AGE_US, goes first.
 *
 * Threads: owner only. Memory: entries and lines belong to the caller; an entry is in one line at a
 * time, a line in one batcher while it has entries. Everything takes constant time. */
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
    BATCHER_SIZES = 16,        /* small; then by powers of two; the last has all that is larger */
    BATCHER_LANE_PART = 8,     /* a lower lane earns a token for so many that pass it, */
    BATCHER_OLDEST_PART = 3,   /* the line that has waited longest for so many */
    BATCHER_SMALL_PART = 4,    /* small: one text, or so many such requests fill a batch */
};

struct batcher_cfg {
    uint32_t tokens_max; /* of one batch, as engine_estimate() counts; one longer text goes alone */
    uint32_t items_max;
    size_t bytes_max; /* of text in one batch; at least what one text may have */
    uint64_t wait_us; /* how long a batch that is not full waits for company; HIGH never waits */
};

/* What one request waits for. */
struct batcher_line {
    struct link by_age, by_size; /* in its lane while it has entries */
    struct queue entries;
    uint64_t since_us; /* when its first entry began to wait */
    uint32_t tokens;   /* of the entries that wait */
    uint32_t asked;    /* of all that were ever added */
    uint8_t model;     /* < LIMIT_MODELS */
    uint8_t lane;      /* enum wire_lane */
    uint8_t size;      /* which by_size it is in */
    bool small;        /* one text, or few tokens: as of when something was last added */
};

struct batcher_entry {
    struct link link;
    struct batcher_line *line; /* while it waits */
    uint64_t queued_us;        /* when it began to wait */
    uint32_t tokens;           /* estimate, at least 1 */
    uint32_t bytes;
};

struct batcher_lane {
    struct queue by_age, by_size[BATCHER_SIZES];
    uint32_t sizes;       /* bit i: by_size[i] has a line */
    uint32_t n_small;     /* of its lines, those that are small */
    uint64_t earned;      /* tokens of higher lanes that passed this one, */
    uint64_t earned_next; /* and of other lines that passed the oldest; less what was paid */
};

struct batcher_model {
    struct batcher_lane lanes[WIRE_LANES];
    uint64_t tokens, picked; /* picked: number of its last batch */
    uint32_t n;
};

struct batcher {
    struct batcher_cfg cfg;
    struct batcher_model models[LIMIT_MODELS];
    uint64_t n_picks;
    uint32_t n; /* entries waiting */
};

/* What a batch is that was picked. */
struct batcher_kind {
    uint8_t lane; /* the highest in it */
    bool loose;   /* nobody small is in it, and nobody who had earned it: see batcher_presses() */
};

void batcher_init(struct batcher *self, const struct batcher_cfg *cfg);

/* From now on batches have at most tokens_max tokens, at least 1. */
void batcher_set_tokens(struct batcher *self, uint32_t tokens_max);

/* Lines need no end: one without entries is in no list. */
void batcher_line_init(struct batcher_line *line, uint32_t model, uint8_t lane);

void batcher_add(struct batcher *self, struct batcher_line *line, struct batcher_entry *entry);
/* An entry that was picked and not begun waits again, before all others. */
void batcher_put_back(struct batcher *self, struct batcher_line *line, struct batcher_entry *entry);
void batcher_remove(struct batcher *self, struct batcher_entry *entry);
/* The entry goes to the end of another line, of the same model. */
void batcher_move(struct batcher *self, struct batcher_line *line, struct batcher_entry *entry);

/* Take the next batch, all of one model, into out[0..items_max); returns how many, 0 when nothing
 * waits or what waits may still wait. `free_runners`: runners that are free now, this one included;
 * at least 1. */
uint32_t batcher_pick(struct batcher *self, uint32_t free_runners, uint64_t now_us,
                      struct batcher_entry **out, struct batcher_kind *kind);

/* Whether something waits that should not wait for a batch of this kind, if that can be put
 * back. */
bool batcher_presses(const struct batcher *self, const struct batcher_kind *kind);

/* Whether a model has a full batch waiting. */
bool batcher_full(const struct batcher *self);

/* From when on batcher_pick() has something: 0 when it has now, UINT64_MAX when nothing waits. */
uint64_t batcher_deadline_us(const struct batcher *self, uint64_t now_us);

#endif
