/* hash.h - a 64-bit hash for tables and a small random generator for tests, jitter and choices.
 * Neither is for secrets: random identities come from hash_entropy64(). */
#ifndef EMBER_BASE_HASH_H
#define EMBER_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* wyhash-like mixing of `bytes` bytes; the same input and seed give the same value on any host. */
uint64_t hash_bytes(const void *data, size_t bytes, uint64_t seed);

/* A checksum at the speed of memory, for gigabytes: 64 bits, against accidents and not against
 * people. It is fed in pieces; every piece but the last has a multiple of HASH_SUM_BLOCK bytes. The
 * value is the same on any little-endian host. */
enum { HASH_SUM_LANES = 8, HASH_SUM_BLOCK = 16 * HASH_SUM_LANES };
struct hash_sum {
    uint64_t lane[HASH_SUM_LANES];
    uint64_t bytes;
};
void hash_sum_begin(struct hash_sum *self);
void hash_sum_add(struct hash_sum *self, const void *data, size_t bytes);
uint64_t hash_sum_end(const struct hash_sum *self);

/* One step of splitmix64 (Steele, Lea, Flood 2014): a good mixer of one integer. */
uint64_t hash_mix(uint64_t x);

/* Next number of the splitmix64 sequence whose state is *state. */
uint64_t hash_next(uint64_t *state);

/* Uniform in [0, n), n > 0. */
uint32_t hash_below(uint64_t *state, uint32_t n);

/* 64 bits from getrandom(2), never 0. */
uint64_t hash_entropy64(void);

#endif
