/* tempo.h - how long executions take, so that one can be told that takes too long.
 *
 *     held     time from dispatch to result
 *     ahead    cost at the worker when it was sent there, its own included
 *     tempo    held / (TEMPO_BASE + ahead)
 *
 * A long text takes longer than a short one, and one behind a full window longer than one alone:
 * divided by what there was to do, times of one service become comparable. TEMPO_BASE stands for
 * what an execution takes however little there is to do.
 *
 * Kept are counts by tempo in quarters of an octave; all are halved from time to time, so that
 * about the last TEMPO_KEPT count. A quantile is the upper end of its bucket: at most 19 % too
 * high, never too low.
 *
 * Threads: owner only. */
#ifndef EMBER_BROKER_TEMPO_H
#define EMBER_BROKER_TEMPO_H

#include <stdint.h>

enum {
    TEMPO_BASE = 8,
    TEMPO_BUCKETS = 112, /* tempos up to 2^29 / 16 us per cost, or 33 s */
    TEMPO_ENOUGH = 64,   /* results before anything is said */
    TEMPO_KEPT = 2048,
    TEMPO_EVERY = 64, /* results from one look at the quantiles to the next */
};

struct tempo { /* all zero: nothing is known */
    uint16_t counts[TEMPO_BUCKETS];
    uint32_t n, fresh;
    uint32_t p95, p99; /* sixteenths of a microsecond per cost; 0: not known */
};

void tempo_add(struct tempo *self, uint64_t held_us, uint32_t ahead);

/* What 95 and 99 of 100 executions with so much ahead keep to; UINT64_MAX: not known. */
uint64_t tempo_p95_us(const struct tempo *self, uint32_t ahead);
uint64_t tempo_p99_us(const struct tempo *self, uint32_t ahead);

#endif
