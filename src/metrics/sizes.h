/* sizes.h - how large things were: counts per bucket with fixed edges, powers of two.
 *
 *     edge    1  2  4  8 ... 8192   (and one bucket beyond)
 *
 * For counts of things (texts, tokens), as histogram.h is for times; the same in every other way.
 *
 * Threads: one writer, any readers, no locks (see counter.h). */
#ifndef EMBER_METRICS_SIZES_H
#define EMBER_METRICS_SIZES_H

#include "metrics/counter.h"

enum { SIZES_EDGES = 14 };

struct sizes { /* all zero: empty */
    struct counter bucket[SIZES_EDGES + 1];
    struct counter sum;
};

static inline uint64_t sizes_edge(unsigned i) {
    return UINT64_C(1) << i;
}

void sizes_add(struct sizes *self, uint64_t n); /* owner only; 0 counts as at most 1 */

#endif
