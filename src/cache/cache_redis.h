/* cache_redis.h - questions to Redis from a loop that never waits.
 *
 *     cache_redis_want() ...   cache_redis_flush()   one MGET for all that was wanted
 *     cache_redis_set()                              queued; sent behind MGETs, a window at a time
 *
 * Bytes in, bytes out: what a value means is cache.c's business. The hooks (fd, events, deadline,
 * on_events, tick) and the limits in time are those of cache.h.
 *
 * Threads: owner only. Memory: cache_redis_new() takes what questions need; a queued SET is one
 * malloc, LIMIT_SETS_QUEUED and CACHE_SETS_BYTES_MAX bound them. */
#ifndef EMBER_CACHE_REDIS_H
#define EMBER_CACHE_REDIS_H

#include "cache/cache.h"

typedef struct cache_redis cache_redis_t;

enum {
    CACHE_SETS_BYTES_MAX = 16 * 1024 * 1024, /* of SETs that wait */
    CACHE_SETS_IN_FLIGHT = 64,               /* more would stand in the way of the next MGET */
    CACHE_BURSTS_MAX = 8,                    /* MGETs that are out, or being collected */
    CACHE_CONNECT_US = 50 * 1000,            /* connect and log in */
    CACHE_BACKOFF_MIN_US = 50 * 1000,
    CACHE_BACKOFF_MAX_US = 2 * 1000 * 1000,
    CACHE_BREAKER_FAILURES = 3,
    CACHE_BREAKER_OPEN_US = 1000 * 1000,
    CACHE_SET_PATIENCE = 10, /* times timeout_us: nobody waits for a SET */
};

/* value.data is NULL on a miss; both are borrowed for the call. */
typedef void cache_redis_answer_fn(void *arg, const struct cache_key *key, uint64_t token,
                                   struct view value);

/* Of cfg it reads redis_url, ttl_s, timeout_us and seed. Errors as cache_new(). */
enum status cache_redis_new(const struct cache_cfg *cfg, cache_redis_answer_fn *answer, void *arg,
                            cache_redis_t **out, struct err *err);
void cache_redis_destroy(cache_redis_t **self);

bool cache_redis_want(cache_redis_t *self, const struct cache_key *key, uint64_t token,
                      uint64_t now_us);
void cache_redis_flush(cache_redis_t *self, uint64_t now_us);
/* Both are copied. Dropped and counted when the queue is full. */
void cache_redis_set(cache_redis_t *self, const struct cache_key *key, struct view value);

int cache_redis_fd(const cache_redis_t *self);
short cache_redis_events(const cache_redis_t *self);
uint64_t cache_redis_deadline_us(const cache_redis_t *self);
void cache_redis_on_events(cache_redis_t *self, short revents, uint64_t now_us);
void cache_redis_tick(cache_redis_t *self, uint64_t now_us);

/* Fills what concerns Redis and leaves the rest. */
void cache_redis_stats(const cache_redis_t *self, struct cache_stats *out);

#endif
