/* cache.h - results that are known already: memory in front of a Redis that the whole fleet shares.
 *
 *     cache_get_now()  memory, at once
 *        | not there
 *     cache_want()     collected ...
 *     cache_flush()    ... and asked with one MGET; the answers come to the callback
 *        | not there
 *     (the model)      cache_put(): memory at once, SET when Redis has time
 *
 * Nothing here blocks, fails or delays a request: whatever goes wrong is a miss and counted. When
 * Redis does not answer a burst in timeout_us the connection is closed, so that a late reply can
 * never be taken for the answer to the next question; after three failures in a row Redis is left
 * alone for a second (breaker.h).
 *
 * In the loop: put cache_fd() with cache_events() into the poll set when it is >= 0, wait until
 * cache_deadline_us() at most, then call cache_on_events() with what poll returned, and
 * cache_tick(). All three change with every call into this module: ask again before each poll.
 *
 * Threads: owner only, the callback included. Memory: cache_new() allocates what memory_bytes and
 * the limits say; a get allocates nothing. */
#ifndef EMBER_CACHE_CACHE_H
#define EMBER_CACHE_CACHE_H

#include "cache/value.h"

typedef struct cache cache_t;

enum cache_source { CACHE_MISS, CACHE_MEMORY, CACHE_REDIS };

struct cache_cfg {
    size_t
        memory_bytes; /* of the memory cache, its tables included; 0: none, else at least 1 MiB */
    const char *redis_url; /* redis://[user:password@]host:port[/db] or unix:///path; NULL: none */
    uint32_t ttl_s;        /* 0: CACHE_TTL_S */
    uint32_t timeout_us;   /* of one burst; 0: CACHE_TIMEOUT_US */
    uint64_t seed;         /* of jitter and table; 0: from the system */
};
enum { CACHE_TTL_S = 3600, CACHE_TIMEOUT_US = 10000 };

/* The answer to cache_want(): exactly one for each that returned true, from within cache_flush(),
 * cache_on_events(), cache_tick() or cache_destroy(). entry is NULL on a miss, otherwise valid
 * for the call. It may call anything here but cache_destroy(). */
typedef void cache_answer_fn(void *arg, uint64_t token, const struct cache_entry *entry,
                             enum cache_source source);

/* Resolves the address (this may block), connects later. STATUS_INVALID_ARGUMENT: the URL,
 * STATUS_NOT_FOUND: its host, STATUS_RESOURCE_EXHAUSTED: no memory. */
enum status cache_new(const struct cache_cfg *cfg, cache_answer_fn *answer, void *arg,
                      cache_t **out, struct err *err);
/* Answers what is still wanted with a miss, then frees. NULL is fine. */
void cache_destroy(cache_t **self);

/* Memory alone: true and *out filled on a hit; its numbers are valid until the next call that is
 * not cache_get_now(). A miss is counted only by cache_want(). */
bool cache_get_now(cache_t *self, const struct cache_key *key, struct cache_entry *out);

/* Ask Redis for `key` (copied) with the next flush. False when that is of no use now (no Redis,
 * bypassed, or too much asked already): it is a miss, and no answer will come. */
bool cache_want(cache_t *self, const struct cache_key *key, uint64_t token, uint64_t now_us);
void cache_flush(cache_t *self, uint64_t now_us);

/* Keep a result the model gave. `labels` is what the key was made with, NULL for an `emb`. */
void cache_put(cache_t *self, const struct cache_key *key, const struct cache_entry *entry,
               const struct key_labels *labels);

int cache_fd(const cache_t *self);               /* -1: none now */
short cache_events(const cache_t *self);         /* POLLIN, POLLOUT */
uint64_t cache_deadline_us(const cache_t *self); /* UINT64_MAX: none */
void cache_on_events(cache_t *self, short revents, uint64_t now_us);
void cache_tick(cache_t *self, uint64_t now_us);

/* What went wrong with Redis; each is counted. Error replies are counted by their first word. */
enum cache_fault {
    CACHE_FAULT_CONNECT,  /* refused, unreachable, or not there in 50 ms */
    CACHE_FAULT_TIMEOUT,  /* a burst was not answered in time */
    CACHE_FAULT_CLOSED,   /* closed by the other side, or an error of the socket */
    CACHE_FAULT_PROTOCOL, /* not the reply to our question */
    CACHE_FAULT_AUTH,     /* NOAUTH WRONGPASS NOPERM */
    CACHE_FAULT_LOADING,  /* LOADING BUSY MASTERDOWN: up, but not answering yet */
    CACHE_FAULT_OOM,      /* OOM */
    CACHE_FAULT_READONLY, /* READONLY MISCONF NOREPLICAS: it takes no SET */
    CACHE_FAULT_OTHER,    /* any other error reply */
    CACHE_FAULTS
};
const char *cache_fault_name(enum cache_fault fault); /* "connect" "timeout" ... */

enum cache_redis_state {
    CACHE_REDIS_OFF,    /* none configured */
    CACHE_REDIS_DOWN,   /* not connected, or connecting */
    CACHE_REDIS_BYPASS, /* connected, but left alone after failures */
    CACHE_REDIS_PROBE,  /* one burst is out to see whether it is well again */
    CACHE_REDIS_UP
};
const char *cache_redis_state_name(enum cache_redis_state state); /* "off" "down" "bypass" ... */

struct cache_stats {
    uint64_t hits_memory, hits_redis, misses; /* misses: a want that brought nothing */
    uint64_t value_faults[VALUE_FAULTS];      /* values that were there and were no answer */
    uint64_t redis_faults[CACHE_FAULTS];
    uint64_t bursts, keys_asked; /* MGETs sent, keys in them */
    uint64_t puts, sets_sent, sets_done, sets_dropped;
    uint64_t sets_unfit;                /* entries a value cannot say (value_write) */
    uint64_t connects;                  /* times Redis became usable */
    uint64_t evicted;                   /* entries memory gave up */
    uint64_t entries, bytes, bytes_max; /* of the memory cache, now */
    uint32_t sets_queued;               /* now */
    enum cache_redis_state redis;       /* now */
};
void cache_stats(const cache_t *self, struct cache_stats *out);

#endif
