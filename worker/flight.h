/* flight.h - texts on their way to a vector, and who waits for each.
 *
 *     request A --unit--.
 *     request B --unit--+--> flight "text x"  LOOKUP -> QUEUED -> RUNNING -> gone
 *     request B --unit--'
 *
 * Two units share a flight when their answer is the same by construction: the same cache key
 * (model, prompt and text, side of the cut), and the same limits on length. The key's SHA-256 is
 * compared, not its MD5. So a text that is in flight is computed once, whoever asks.
 *
 * Threads: owner only. Memory: flights_init() allocates, nothing else does. Units belong to
 * requests. */
#ifndef EMBER_WORKER_FLIGHT_H
#define EMBER_WORKER_FLIGHT_H

#include "batcher.h"
#include "cache/key.h"
#include "engine/engine.h"

enum flight_state {
    FLIGHT_FREE,
    FLIGHT_LOOKUP,  /* Redis was asked */
    FLIGHT_QUEUED,  /* in the batcher */
    FLIGHT_RUNNING, /* in a batch */
    FLIGHT_DONE,    /* its answer is being handed out */
};

/* What a unit waits for, and so what its flight brings. */
enum unit_kind {
    UNIT_VECTOR, /* a text's full vector: an `emb` entry of the cache */
    UNIT_RANK,   /* the logit of a query and a document: a `rank` entry */
    UNIT_LOGITS, /* logits of a text or pair: no entry by themselves, scores made of them are */
};

struct batch;

struct flight {
    struct batcher_entry entry; /* while QUEUED */
    struct batch *batch;        /* while RUNNING: which (NULL: it is being filled), */
    uint32_t at;                /* and its place there when it was filled */
    struct queue waiters;       /* of struct unit.link, in order of arrival */
    struct cache_key key;       /* unset when not shared and not kept */
    enum flight_state state;
    enum engine_side side;
    uint32_t max_tokens; /* effective: at most the model's positions */
    uint32_t generation;
    uint32_t next; /* chain of its bucket, or of the free list */
    uint8_t model;
    uint8_t kind; /* enum unit_kind */
    bool shared;  /* others may join: it is in the table */
    bool keep;    /* its answer goes to the cache */
};

struct flights {
    struct flight *flight; /* [n_max] */
    uint32_t *bucket;      /* [n_buckets], a power of two */
    uint32_t n_buckets, n_max, n;
    uint64_t seed;      /* of the buckets */
    uint32_t free_head; /* of those that were in use */
    uint32_t n_touched; /* slots from here on never were: their pages cost nothing yet */
};
#define FLIGHT_NONE UINT32_MAX

/* False without memory; *self can be given to flights_done() in either case. */
bool flights_init(struct flights *self, uint32_t n_max);
void flights_done(struct flights *self);

/* The shared flight with this key, side and limit; NULL when there is none. */
struct flight *flights_find(const struct flights *self, const struct cache_key *key,
                            enum engine_side side, uint32_t max_tokens);

/* A new one without waiters, in the table when `shared`; NULL when all are in use. `key` may be
 * NULL when it is neither shared nor kept. The caller sets model, kind and keep. */
struct flight *flights_add(struct flights *self, const struct cache_key *key, enum engine_side side,
                           uint32_t max_tokens, bool shared);
/* Without waiters and in no batcher. */
void flights_remove(struct flights *self, struct flight *flight);

/* A name that outlives the flight: flights_by_token() gives NULL when it is gone. Below 1 << 63. */
uint64_t flights_token(const struct flights *self, const struct flight *flight);
struct flight *flights_by_token(const struct flights *self, uint64_t token);

static inline uint32_t flights_slot(const struct flights *self, const struct flight *flight) {
    return (uint32_t)(flight - self->flight);
}

#endif
