/* cache_memory.h - verified entries in memory, bounded in bytes.
 *
 * A hit needs the same key name and the same SHA-256. When memory is full the oldest entry goes,
 * unless it was asked for since it was last looked at: then it stays for another round (second
 * chance, the CLOCK of Corbato 1968). Threads: owner only. Memory: all of it is taken by new(). */
#ifndef EMBER_CACHE_MEMORY_H
#define EMBER_CACHE_MEMORY_H

#include "cache/value.h"

typedef struct cache_memory cache_memory_t;

enum { CACHE_MEMORY_BYTES_MIN = 1024 * 1024 };

/* `bytes` in all, tables included, at least CACHE_MEMORY_BYTES_MIN. `seed` spoils texts that were
 * chosen to collide in the table. STATUS_RESOURCE_EXHAUSTED without memory. */
enum status cache_memory_new(size_t bytes, uint64_t seed, cache_memory_t **out, struct err *err);
void cache_memory_destroy(cache_memory_t **self); /* NULL is fine */

/* True and *out filled; its numbers stay where they are until the next put. */
bool cache_memory_get(cache_memory_t *self, const struct cache_key *key, struct cache_entry *out);

/* Copy the entry in, in place of one of the same key. Its numbers may not lie in
 * this cache, except those a get of the same key gave. */
void cache_memory_put(cache_memory_t *self, const struct cache_key *key,
                      const struct cache_entry *entry);

struct cache_memory_stats {
    uint64_t entries, bytes, bytes_max, evicted; /* bytes: of live entries */
};
void cache_memory_stats(const cache_memory_t *self, struct cache_memory_stats *out);

/* Aborts unless the invariants hold; for tests, it walks everything. */
void cache_memory_check(const cache_memory_t *self);

#endif
