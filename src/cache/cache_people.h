/* cache_people.h - looking into the shared cache by hand: what `ember cache get|stat|purge`
 * stands on.
 *
 * One connection, one question at a time, waiting for each answer: for people's tools, never for
 * a loop. Errors of all: STATUS_UNAVAILABLE when Redis is not there or does not answer in time
 * (close it then), STATUS_UNAUTHENTICATED and STATUS_PERMISSION_DENIED when it will not let us,
 * STATUS_FAILED_PRECONDITION with its words when it answers with another error.
 *
 * Threads: owner only. SIGPIPE must be ignored or blocked: hiredis writes without MSG_NOSIGNAL. */
#ifndef EMBER_CACHE_PEOPLE_H
#define EMBER_CACHE_PEOPLE_H

#include "base/err.h"
#include "base/limits.h"
#include "base/view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cache_people cache_people_t;

/* STATUS_INVALID_ARGUMENT: the URL (redis_url.h). `timeout_ms` is for each answer, not 0. */
enum status cache_people_open(const char *url, uint32_t timeout_ms, cache_people_t **out,
                              struct err *err);
void cache_people_close(cache_people_t **self); /* NULL is fine */

/* The value of `key` into out[0..out_bytes) and its length into *bytes; *ttl_s: seconds it still
 * lives, -1: for ever. STATUS_NOT_FOUND: no such key; STATUS_RESOURCE_EXHAUSTED: it is longer
 * than out. value_facts() explains it. */
enum status cache_people_get(cache_people_t *self, struct view key, char *out, size_t out_bytes,
                             size_t *bytes, int64_t *ttl_s, struct err *err);

enum { CACHE_PEOPLE_GROUPS = 64 };

/* Entries of one model and kind. */
struct cache_people_group {
    char model[LIMIT_NAME_BYTES + 1 + 8 + 1]; /* name@fingerprint8 */
    char kind[24];                            /* "emb", "cls+multi" ... */
    uint64_t keys, bytes;                     /* bytes: what Redis says they take in memory */
};

struct cache_people_stat {
    char version[24], policy[24];            /* of the server; its maxmemory-policy */
    uint64_t used_bytes, max_bytes;          /* max_bytes 0: no limit set */
    uint64_t hits, misses, evicted, expired; /* the server's counters, of all its users */
    uint64_t keys, bytes, others;            /* ours; others: keys of the database that are not */
    uint32_t n_groups;                       /* by model and kind, in order of their names */
    struct cache_people_group
        groups[CACHE_PEOPLE_GROUPS]; /* those beyond count in keys, bytes only */
};

/* Told after each step of a walk; false ends it early with STATUS_CANCELLED. */
typedef bool cache_people_progress_fn(void *arg, uint64_t seen, uint64_t removed);

/* Walks over all keys with SCAN: the server goes on working. `progress` may be NULL. */
enum status cache_people_stat(cache_people_t *self, cache_people_progress_fn *progress, void *arg,
                              struct cache_people_stat *out, struct err *err);

/* Remove the entries of `model`, given as name or name@fingerprint8, or all of ours when it is
 * NULL. *removed tells how many, also after an error. STATUS_INVALID_ARGUMENT: no such model name
 * is possible. */
enum status cache_people_purge(cache_people_t *self, const char *model,
                               cache_people_progress_fn *progress, void *arg, uint64_t *removed,
                               struct err *err);

#endif
