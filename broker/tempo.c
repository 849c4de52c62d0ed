/* tempo.c - see tempo.h. The bucket of x is four times the place of its highest bit, and the two
 * bits behind that: no logarithm, no table. */
#include "tempo.h"

static uint32_t bucket_of(uint64_t x) {
    if (x < 4)
        return (uint32_t)x;
    uint32_t high = 63 - (uint32_t)__builtin_clzll(x);
    uint32_t bucket = 4 * (high - 1) + (uint32_t)(x >> (high - 2) & 3);
    return bucket < TEMPO_BUCKETS ? bucket : TEMPO_BUCKETS - 1;
}

/* The first number beyond the bucket. */
static uint32_t end_of(uint32_t bucket) {
    bucket++;
    return bucket < 4 ? bucket : (4 + bucket % 4) << (bucket / 4 - 1);
}

static void look(struct tempo *self) {
    uint32_t seen = 0;
    self->fresh = 0;
    if (self->n < TEMPO_ENOUGH)
        return;
    self->p95 = 0;
    for (uint32_t i = 0; i < TEMPO_BUCKETS; i++) {
        seen += self->counts[i];
        if (!self->p95 && seen * UINT64_C(100) >= self->n * UINT64_C(95))
            self->p95 = end_of(i);
        if (seen * UINT64_C(100) >= self->n * UINT64_C(99)) {
            self->p99 = end_of(i);
            return;
        }
    }
}

static void fade(struct tempo *self) {
    self->n = 0;
    for (uint32_t i = 0; i < TEMPO_BUCKETS; i++) {
        self->counts[i] /= 2;
        self->n += self->counts[i];
    }
}

void tempo_add(struct tempo *self, uint64_t held_us, uint32_t ahead) {
    self->counts[bucket_of(16 * held_us / (TEMPO_BASE + ahead))]++;
    self->n++;
    if (++self->fresh >= TEMPO_EVERY)
        look(self);
    if (self->n >= TEMPO_KEPT)
        fade(self);
}

static uint64_t scaled(uint32_t tempo, uint32_t ahead) {
    return tempo ? (uint64_t)tempo * (TEMPO_BASE + (uint64_t)ahead) / 16 : UINT64_MAX;
}

uint64_t tempo_p95_us(const struct tempo *self, uint32_t ahead) {
    return scaled(self->p95, ahead);
}

uint64_t tempo_p99_us(const struct tempo *self, uint32_t ahead) {
    return scaled(self->p99, ahead);
}
