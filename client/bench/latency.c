/* latency.c - see latency.h. Values below 64 have a bucket each; above, the six bits behind the
 * leading one pick the bucket within the power:
 *
 *     value 1 0 1 1 0 1 0 | 0 1 1      power = number of bits cut off, sub = the six bits
 *           ^ six bits    | cut off */
#include "latency.h"

#include <math.h>

static uint32_t bucket_of(uint64_t us) {
    uint32_t bits = 64 - (uint32_t)__builtin_clzll(us | 1);
    uint32_t cut = bits > 7 ? bits - 7 : 0;
    if (cut >= LATENCY_POWERS - 1)
        return LATENCY_BUCKETS - 1;
    uint32_t rest = (uint32_t)(us >> cut); /* 0..127; 64..127 when cut */
    return cut * LATENCY_SUB + rest;
}

static uint64_t upper_edge(uint32_t bucket) {
    uint32_t cut = bucket < 2 * LATENCY_SUB ? 0 : bucket / LATENCY_SUB - 1;
    uint64_t rest = bucket - cut * LATENCY_SUB;
    return ((rest + 1) << cut) - 1;
}

void latency_add(struct latency *self, uint64_t us) {
    self->count[bucket_of(us)]++;
    self->n++;
    self->sum_us += (double)us;
    if (us > self->max_us)
        self->max_us = us;
}

void latency_merge(struct latency *self, const struct latency *other) {
    for (uint32_t i = 0; i < LATENCY_BUCKETS; i++)
        self->count[i] += other->count[i];
    self->n += other->n;
    self->sum_us += other->sum_us;
    if (other->max_us > self->max_us)
        self->max_us = other->max_us;
}

uint64_t latency_quantile_us(const struct latency *self, double q) {
    uint64_t want = (uint64_t)ceil(q * (double)self->n), seen = 0;
    if (want == 0)
        want = 1;
    for (uint32_t i = 0; i < LATENCY_BUCKETS; i++) {
        seen += self->count[i];
        if (seen >= want) {
            uint64_t edge = upper_edge(i);
            return edge < self->max_us && i < LATENCY_BUCKETS - 1 ? edge : self->max_us;
        }
    }
    return 0;
}

double latency_mean_us(const struct latency *self) {
    return self->n ? self->sum_us / (double)self->n : 0;
}
