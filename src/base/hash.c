/* hash.c - multiply-and-fold hashing of 8-byte words; splitmix64.
 *
 * struct hash_sum: the lanes take 16 bytes each in turn, one multiplication for both words, so that
 * eight of them are under way at any time: 23 GB/s where one lane after hash_bytes() gives 3 and
 * eight of its kind 11. */
#include "base/hash.h"

#include "base/check.h"

#include <string.h>
#include <sys/random.h>

uint64_t hash_mix(uint64_t x) {
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

uint64_t hash_next(uint64_t *state) {
    *state += 0x9e3779b97f4a7c15u;
    return hash_mix(*state);
}

uint32_t hash_below(uint64_t *state, uint32_t n) {
    CHECK(n > 0);
    return (uint32_t)(((hash_next(state) >> 32) * n) >> 32);
}

static uint64_t fold(uint64_t a, uint64_t b) {
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t hash_bytes(const void *data, size_t bytes, uint64_t seed) {
    const unsigned char *p = data;
    uint64_t h = hash_mix(seed + 0x9e3779b97f4a7c15u) ^ bytes;
    size_t left = bytes;
    for (; left >= 8; left -= 8, p += 8) {
        uint64_t w;
        memcpy(&w, p, 8);
        h = fold(h ^ w, 0xa0761d6478bd642fu) + 0xe7037ed1a0b428dbu;
    }
    uint64_t w = 0;
    if (left)
        memcpy(&w, p, left);
    return hash_mix(fold(h ^ w, 0x8ebc6af09c88c6e3u));
}

/* ---- struct hash_sum ---- */

#define SUM_A UINT64_C(0xa0761d6478bd642f)
#define SUM_B UINT64_C(0xe7037ed1a0b428db)

static uint64_t word_at(const unsigned char *p) {
    uint64_t w;
    memcpy(&w, p, sizeof w);
    return w;
}

void hash_sum_begin(struct hash_sum *self) {
    for (uint64_t i = 0; i < HASH_SUM_LANES; i++)
        self->lane[i] = hash_mix(SUM_A + i);
    self->bytes = 0;
}

/* Both factors carry the lane, so that neither a word nor its neighbour can wipe it out by
 * being zero or equal to a constant. */
static void sum_blocks(uint64_t lane[HASH_SUM_LANES], const unsigned char *p, size_t blocks) {
    for (; blocks > 0; blocks--, p += HASH_SUM_BLOCK)
        for (size_t i = 0; i < HASH_SUM_LANES; i++)
            lane[i] =
                fold(lane[i] ^ word_at(p + 16 * i), (lane[i] + SUM_B) ^ word_at(p + 16 * i + 8));
}

void hash_sum_add(struct hash_sum *self, const void *data, size_t bytes) {
    CHECK(self->bytes % HASH_SUM_BLOCK == 0); /* only the last piece may end within a block */
    const unsigned char *p = data;
    const size_t left = bytes % HASH_SUM_BLOCK;
    sum_blocks(self->lane, p, bytes / HASH_SUM_BLOCK);
    if (left) {
        unsigned char last[HASH_SUM_BLOCK] = {0};
        memcpy(last, p + (bytes - left), left);
        sum_blocks(self->lane, last, 1);
    }
    self->bytes += bytes;
}

uint64_t hash_sum_end(const struct hash_sum *self) {
    uint64_t sum = self->bytes;
    for (size_t i = 0; i < HASH_SUM_LANES; i++)
        sum = fold(sum ^ self->lane[i], SUM_B) + SUM_A;
    return hash_mix(sum);
}

uint64_t hash_entropy64(void) {
    uint64_t x = 0;
    while (x == 0)
        CHECK(getrandom(&x, sizeof x, 0) == (ssize_t)sizeof x);
    return x;
}
