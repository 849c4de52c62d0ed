/* flight.c - a pool of flights and a chained hash table over their slots.
 *
 * Invariants: every touched flight is in the free list or in use, n are in use; a flight is in
 * exactly one bucket while it is in use and shared, otherwise in none. */
#include "flight.h"

#include "base/check.h"
#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

bool flights_init(struct flights *self, uint32_t n_max) {
    memset(self, 0, sizeof *self);
    CHECK(n_max > 0 && n_max < 1u << 30);
    self->n_buckets = 16;
    while (self->n_buckets < 2 * n_max)
        self->n_buckets *= 2;
    self->n_max = n_max;
    self->seed = hash_entropy64();
    self->flight = calloc(n_max, sizeof *self->flight);
    self->bucket = malloc(self->n_buckets * sizeof *self->bucket);
    if (!self->flight || !self->bucket)
        return false;
    memset(self->bucket, 0xff, self->n_buckets * sizeof *self->bucket); /* FLIGHT_NONE */
    self->free_head = FLIGHT_NONE;
    return true;
}

void flights_done(struct flights *self) {
    free(self->flight);
    free(self->bucket);
    memset(self, 0, sizeof *self);
}

static uint32_t *bucket_of(const struct flights *self, const struct cache_key *key) {
    /* Callers choose the texts: without the seed they could choose all of one bucket. */
    return &self->bucket[hash_mix(key->hash ^ self->seed) & (self->n_buckets - 1)];
}

static bool same_key(const struct cache_key *a, const struct cache_key *b) {
    return a->hash == b->hash && a->name_bytes == b->name_bytes &&
           memcmp(a->sha, b->sha, sizeof a->sha) == 0 &&
           memcmp(a->name, b->name, a->name_bytes) == 0;
}

struct flight *flights_find(const struct flights *self, const struct cache_key *key,
                            enum engine_side side, uint32_t max_tokens) {
    for (uint32_t i = *bucket_of(self, key); i != FLIGHT_NONE; i = self->flight[i].next) {
        struct flight *flight = &self->flight[i];
        if (flight->side == side && flight->max_tokens == max_tokens && same_key(&flight->key, key))
            return flight;
    }
    return NULL;
}

struct flight *flights_add(struct flights *self, const struct cache_key *key, enum engine_side side,
                           uint32_t max_tokens, bool shared) {
    if (self->n == self->n_max)
        return NULL;
    bool again = self->free_head != FLIGHT_NONE;
    struct flight *flight = &self->flight[again ? self->free_head : self->n_touched];
    CHECK(flight->state == FLIGHT_FREE && (key || !shared));
    if (again)
        self->free_head = flight->next;
    else
        self->n_touched++;
    self->n++;
    queue_init(&flight->waiters);
    if (key)
        flight->key = *key;
    flight->state = FLIGHT_DONE; /* until the caller says what it waits for */
    flight->side = side;
    flight->max_tokens = max_tokens;
    flight->shared = shared;
    flight->next = FLIGHT_NONE;
    flight->generation = (flight->generation + 1) & 0x7fffffff;
    if (shared) {
        uint32_t *bucket = bucket_of(self, key);
        flight->next = *bucket;
        *bucket = flights_slot(self, flight);
    }
    return flight;
}

void flights_remove(struct flights *self, struct flight *flight) {
    CHECK(flight->state != FLIGHT_FREE && queue_empty(&flight->waiters));
    CHECK(!queue_has(&flight->entry.link));
    uint32_t slot = flights_slot(self, flight);
    if (flight->shared) {
        uint32_t *at = bucket_of(self, &flight->key);
        while (*at != slot)
            at = &self->flight[*at].next;
        *at = flight->next;
    }
    flight->state = FLIGHT_FREE;
    flight->next = self->free_head;
    self->free_head = slot;
    self->n--;
}

uint64_t flights_token(const struct flights *self, const struct flight *flight) {
    return (uint64_t)flight->generation << 32 | flights_slot(self, flight);
}

struct flight *flights_by_token(const struct flights *self, uint64_t token) {
    uint32_t slot = (uint32_t)token;
    if (slot >= self->n_max)
        return NULL;
    struct flight *flight = &self->flight[slot];
    return flight->state != FLIGHT_FREE && flight->generation == token >> 32 ? flight : NULL;
}
