/* histogram.h - how long things took: counts per bucket with fixed edges, in microseconds.
 *
 *     edge    100 us  250 us  ...  100 ms  150 ms  200 ms  ...  60 s   (and one bucket beyond)
 *
 * The edges are the same everywhere, so histograms of threads and hosts can be added. 150 ms is one
 * of them, because the service level is told against it. A value equal to an edge belongs below it,
 * as in Prometheus (`le`).
 *
 * Threads: one writer, any readers, no locks (see counter.h). A reader that runs beside the writer
 * may see the sum and the counts of different moments, one observation apart. */
#ifndef EMBER_METRICS_HISTOGRAM_H
#define EMBER_METRICS_HISTOGRAM_H

#include "metrics/counter.h"

enum { HISTOGRAM_EDGES = 22 };

extern const uint64_t histogram_edges_us[HISTOGRAM_EDGES]; /* rising */

struct histogram { /* all zero: empty */
    struct counter bucket[HISTOGRAM_EDGES + 1];
    struct counter sum_us;
};

void histogram_add(struct histogram *self, uint64_t us); /* owner only */

/* Adds what `from` holds to *into; *into belongs to the caller. */
void histogram_merge(struct histogram *into, const struct histogram *from);

uint64_t histogram_count(const struct histogram *self);

/* How many were at most `edge_us`, one of the edges. */
uint64_t histogram_at_most(const struct histogram *self, uint64_t edge_us);

/* The q-quantile (0..1) by linear interpolation inside its bucket, as Prometheus'
 * histogram_quantile() does; 0 when empty, the last edge when it lies beyond it. */
double histogram_quantile_us(const struct histogram *self, double q);

#endif
