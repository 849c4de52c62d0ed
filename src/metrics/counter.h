/* counter.h - a number that one thread writes and any thread reads.
 *
 * One writer means that adding needs no locked instruction: a relaxed load and store are enough,
 * and a reader sees some recent value. Sum the counters of several threads at the reader. */
#ifndef EMBER_METRICS_COUNTER_H
#define EMBER_METRICS_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

struct counter {
    _Atomic uint64_t value;
};

static inline uint64_t counter_get(const struct counter *self) {
    return atomic_load_explicit(&self->value, memory_order_relaxed);
}

static inline void counter_set(struct counter *self, uint64_t value) { /* owner only */
    atomic_store_explicit(&self->value, value, memory_order_relaxed);
}

static inline void counter_add(struct counter *self, uint64_t n) { /* owner only */
    counter_set(self, counter_get(self) + n);
}

#endif
