/* hash.c - multiply-and-fold hashing of 8-byte words; splitmix64. */
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

uint64_t hash_entropy64(void) {
    uint64_t x = 0;
    while (x == 0)
        CHECK(getrandom(&x, sizeof x, 0) == (ssize_t)sizeof x);
    return x;
}
