/* cache.c - memory first, then Redis; everything that crosses between them is checked here.
 *
 *      get_now ---> memory
 *      want ------> redis ---> value_parse() ---> memory ---> the caller
 *      put -------> memory, value_write() ---> redis
 *
 * A value from Redis is believed only when it names the text (SHA-256), the shape and the labels
 * of the question; then it is put into memory, so that it is read and checked once per process. */
#include "cache/cache.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/thread.h"
#include "cache/cache_memory.h"
#include "cache/cache_redis.h"

#include <stdlib.h>

struct cache {
    struct thread_owner owner;
    cache_answer_fn *answer;
    void *arg;
    cache_memory_t *memory; /* NULL: none */
    cache_redis_t *redis;   /* NULL: none */
    struct cache_stats stats;
    uint32_t depth; /* of callbacks */
    float numbers[VALUE_NUMBERS_MAX];
    char value[LIMIT_CACHE_VALUE_BYTES];
};

const char *cache_fault_name(enum cache_fault fault) {
    static const char *const names[CACHE_FAULTS] = {
        "connect", "timeout", "closed", "protocol", "auth", "loading", "oom", "readonly", "other"};
    return (unsigned)fault < CACHE_FAULTS ? names[fault] : "invalid";
}

const char *cache_redis_state_name(enum cache_redis_state state) {
    static const char *const names[] = {"off", "down", "bypass", "probe", "up"};
    return (unsigned)state < sizeof names / sizeof *names ? names[state] : "invalid";
}

static void answer(cache_t *self, uint64_t token, const struct cache_entry *entry,
                   enum cache_source source) {
    if (entry)
        self->stats.hits_redis++;
    else
        self->stats.misses++;
    self->depth++;
    self->answer(self->arg, token, entry, source);
    self->depth--;
}

static void on_value(void *arg, const struct cache_key *key, uint64_t token, struct view value) {
    cache_t *self = arg;
    struct cache_entry entry;
    if (!value.data) {
        answer(self, token, NULL, CACHE_MISS);
        return;
    }
    enum value_fault fault = value_parse(value, key, self->numbers, &entry);
    if (fault != VALUE_OK) {
        self->stats.value_faults[fault]++;
        answer(self, token, NULL, CACHE_MISS);
        return;
    }
    if (self->memory)
        cache_memory_put(self->memory, key, &entry);
    answer(self, token, &entry, CACHE_REDIS);
}

enum status cache_new(const struct cache_cfg *cfg, cache_answer_fn *answer_fn, void *arg,
                      cache_t **out, struct err *err) {
    cache_t *self = calloc(1, sizeof *self);
    if (!self)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for the cache");
    self->owner = thread_owner_here();
    self->answer = answer_fn;
    self->arg = arg;
    enum status st = STATUS_OK;
    if (cfg->memory_bytes)
        st = cache_memory_new(cfg->memory_bytes, cfg->seed ? cfg->seed : hash_entropy64(),
                              &self->memory, err);
    if (st == STATUS_OK && cfg->redis_url)
        st = cache_redis_new(cfg, on_value, self, &self->redis, err);
    if (st != STATUS_OK) {
        cache_destroy(&self);
        return st;
    }
    *out = self;
    return STATUS_OK;
}

void cache_destroy(cache_t **self) {
    if (!*self)
        return;
    CHECK((*self)->depth == 0);
    cache_redis_destroy(&(*self)->redis); /* answers what is wanted: memory must still be there */
    cache_memory_destroy(&(*self)->memory);
    free(*self);
    *self = NULL;
}

bool cache_get_now(cache_t *self, const struct cache_key *key, struct cache_entry *out) {
    CHECK(thread_is(self->owner));
    if (!self->memory || !cache_memory_get(self->memory, key, out))
        return false;
    self->stats.hits_memory++;
    return true;
}

bool cache_want(cache_t *self, const struct cache_key *key, uint64_t token, uint64_t now_us) {
    CHECK(thread_is(self->owner));
    if (self->redis && cache_redis_want(self->redis, key, token, now_us))
        return true;
    self->stats.misses++;
    return false;
}

void cache_flush(cache_t *self, uint64_t now_us) {
    CHECK(thread_is(self->owner));
    if (self->redis)
        cache_redis_flush(self->redis, now_us);
}

void cache_put(cache_t *self, const struct cache_key *key, const struct cache_entry *entry,
               const struct key_labels *labels) {
    CHECK(thread_is(self->owner));
    self->stats.puts++;
    if (self->redis) { /* first: entry may be one that memory gave */
        size_t bytes = value_write(key, entry, labels, self->value, sizeof self->value);
        if (bytes)
            cache_redis_set(self->redis, key, view_make(self->value, bytes));
        else
            self->stats.sets_unfit++;
    }
    if (self->memory)
        cache_memory_put(self->memory, key, entry);
}

int cache_fd(const cache_t *self) {
    return self->redis ? cache_redis_fd(self->redis) : -1;
}

short cache_events(const cache_t *self) {
    return self->redis ? cache_redis_events(self->redis) : 0;
}

uint64_t cache_deadline_us(const cache_t *self) {
    return self->redis ? cache_redis_deadline_us(self->redis) : UINT64_MAX;
}

void cache_on_events(cache_t *self, short revents, uint64_t now_us) {
    CHECK(thread_is(self->owner));
    if (self->redis)
        cache_redis_on_events(self->redis, revents, now_us);
}

void cache_tick(cache_t *self, uint64_t now_us) {
    CHECK(thread_is(self->owner));
    if (self->redis)
        cache_redis_tick(self->redis, now_us);
}

void cache_stats(const cache_t *self, struct cache_stats *out) {
    *out = self->stats;
    if (self->redis)
        cache_redis_stats(self->redis, out);
    if (self->memory) {
        struct cache_memory_stats memory;
        cache_memory_stats(self->memory, &memory);
        out->entries = memory.entries;
        out->bytes = memory.bytes;
        out->bytes_max = memory.bytes_max;
        out->evicted = memory.evicted;
    }
}
