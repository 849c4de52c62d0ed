/* stats.h - whether a difference or a drift is more than noise, without assuming what the noise
 * looks like: percentiles of a service are anything but normal.
 *
 * Threads: any; all functions are pure. */
#ifndef EMBER_BENCH_STATS_H
#define EMBER_BENCH_STATS_H

#include <stdbool.h>
#include <stdint.h>

enum {
    STATS_MAX = 256,     /* values at most */
    STATS_TURNS = 16,    /* pairs at most: 2^16 signs are tried */
    STATS_TREND_MIN = 6, /* values below which no trend is ever sure */
};
#define STATS_SURE 0.05 /* so unlikely must it be that noise alone did it */

/* NAN when n is 0. */
double stats_median(const double *values, uint32_t n);

/* The median slope of all pairs, per step (Theil 1950, Sen 1968), and whether the order of the
 * values is more than chance (Mann 1945, Kendall 1975: the normal approximation, with ties). */
struct stats_trend {
    double slope, start; /* of the line start + slope * i */
    double chance;       /* that an order like this, or a stronger one, is luck */
    bool sure;
};
struct stats_trend stats_trend(const double *values, uint32_t n);

/* Pairs a[i], b[i] of positive values: the median of b / a, and the share of all 2^n ways to swap
 * pairs whose mean log ratio is at least as far from zero (a randomization test, Fisher 1935). At
 * n = 5 even five of five have a chance of 6 %. */
struct stats_pairs {
    double ratio;
    double chance;
    bool sure;
};
struct stats_pairs stats_pairs(const double *a, const double *b, uint32_t n);

#endif
