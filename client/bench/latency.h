/* latency.h - how long calls took, for percentiles: counts in buckets that are 1/64 of their power
 * of two wide, so that each value is known to 1.6 %, from 1 us to 19 hours, in fixed memory. The
 * maximum is exact. (The layout is that of HdrHistogram, Gil Tene 2012.)
 *
 * Threads: owner only. */
#ifndef EMBER_BENCH_LATENCY_H
#define EMBER_BENCH_LATENCY_H

#include <stdint.h>

enum { LATENCY_SUB = 64, LATENCY_POWERS = 31, LATENCY_BUCKETS = LATENCY_SUB * LATENCY_POWERS };

struct latency { /* all zero: empty */
    uint64_t count[LATENCY_BUCKETS];
    uint64_t n, max_us;
    double sum_us;
};

void latency_add(struct latency *self, uint64_t us);
void latency_merge(struct latency *self, const struct latency *other);

/* The value that a share q (0..1) of all is not above; the upper edge of its bucket, at most the
 * maximum. 0 when empty. */
uint64_t latency_quantile_us(const struct latency *self, double q);

double latency_mean_us(const struct latency *self);

#endif
