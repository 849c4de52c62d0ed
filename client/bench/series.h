/* series.h - a load over time: intervals of equal length with their counts and percentiles, in
 * fixed memory however long it takes. When the last interval is full, two become one and each is
 * twice as long.
 *
 * Threads: owner only. */
#ifndef EMBER_BENCH_SERIES_H
#define EMBER_BENCH_SERIES_H

#include "latency.h"

#include <stdbool.h>

enum { SERIES_MAX = 96 }; /* intervals; even. After a merge at least half of them are there */

struct series_interval {
    struct latency latency; /* of calls that were due in it and answered with OK */
    uint64_t failed;        /* and not */
    uint64_t ended;         /* calls answered with OK in it, whenever they were due */
};

typedef struct series series_t;

/* Intervals are `interval_us` long at first; NULL: no memory. */
series_t *series_new(uint64_t interval_us);
void series_destroy(series_t **self);

/* A call that was due `due_us` after the start and ended at `end_us`. */
void series_add(series_t *self, uint64_t due_us, uint64_t end_us, bool ok);

uint32_t series_count(const series_t *self); /* up to the last one with a call due in it */
uint64_t series_interval_us(const series_t *self);
const struct series_interval *series_at(const series_t *self, uint32_t i);

#endif
