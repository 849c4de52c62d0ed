/* search.h - the highest rate that a service holds, found by probes. What is known is a table of
 * rates with votes; which rate is asked next follows from the table alone:
 *
 *     nothing known           the first rate
 *     votes that disagree     that rate again
 *     no rate is bad          twice the best one        (doubling)
 *     no rate is good         half of the worst one
 *     best and worst apart    between them, geometric   (bisection)
 *     they meet               the best one again, until it has SEARCH_VOTES good votes
 *
 * A probe is good when nothing failed and its P95 is within the limit. One stall must not end the
 * search at a low rate, nor luck at a high one: a rate is decided by the first SEARCH_VOTES equal
 * votes. Only a probe far below the limit counts alone, until its rate is the edge.
 *
 * Threads: owner only. No clock and no sockets. */
#ifndef EMBER_BENCH_SEARCH_H
#define EMBER_BENCH_SEARCH_H

#include <stdbool.h>
#include <stdint.h>

enum {
    SEARCH_RATES_MAX = 64,
    SEARCH_VOTES = 2,
    SEARCH_CALLS = 400, /* of a probe: 20 of them lie beyond P95 */
    SEARCH_PROBE_LEAST_US = 2 * 1000 * 1000,
    SEARCH_PROBE_MOST_US = 60 * 1000 * 1000,
};
#define SEARCH_PRECISION  0.05 /* best and worst meet when the worst is so much more */
#define SEARCH_CLEAR      0.5  /* of the limit: a probe whose P95 is below counts alone */
#define SEARCH_RATE_LEAST 0.5  /* calls a second; what does not hold there holds nowhere */

struct search_rate {
    double rate;
    uint32_t good, bad; /* votes */
    bool clear;         /* a vote was far below the limit */
    bool behind;        /* a bad vote was the generator's fault */
};

struct search {
    double start, rate_max;
    uint64_t slo_us;
    struct search_rate rates[SEARCH_RATES_MAX];
    uint32_t n;
};

/* What a probe showed. */
struct search_seen {
    uint64_t calls, failed, p95_us;
    bool behind; /* the generator did not keep up with the rate, so that nothing is shown */
};

enum search_step {
    SEARCH_PROBE,   /* ask *rate */
    SEARCH_FOUND,   /* *rate holds, and SEARCH_PRECISION more does not */
    SEARCH_CEILING, /* *rate holds; more was not or could not be asked */
    SEARCH_NOWHERE, /* no rate holds */
};

void search_init(struct search *self, double start, double rate_max, uint64_t slo_us);
enum search_step search_next(const struct search *self, double *rate);
/* Returns whether the probe was good. */
bool search_tell(struct search *self, double rate, const struct search_seen *seen);

/* How long a probe of that rate must be: SEARCH_CALLS calls; and so long that a rate too high by
 * SEARCH_PRECISION has a queue of the limit at the end. */
uint64_t search_probe_us(double rate, uint64_t slo_us);

#endif
