/* poison.c - see poison.h. Nearly always the table is empty and a look costs one comparison;
 * otherwise it is walked, which is shorter than what refused requests would have cost. */
#include "poison.h"

#include "base/hash.h"

uint64_t poison_hash(struct view body, uint16_t service, uint64_t seed) {
    return hash_bytes(body.data, body.bytes, hash_mix(seed + service));
}

static void forget(struct poison *self, uint64_t now_us) {
    for (uint32_t i = 0; i < self->n; i++)
        if (self->items[i].until_us <= now_us)
            self->items[i--] = self->items[--self->n];
}

void poison_add(struct poison *self, uint64_t hash, uint64_t now_us) {
    forget(self, now_us);
    uint32_t at = self->n, first = 0;
    for (uint32_t i = 0; i < self->n; i++) {
        if (self->items[i].hash == hash)
            at = i;
        if (self->items[i].until_us < self->items[first].until_us)
            first = i;
    }
    if (at == POISON_MAX)
        at = first;
    else if (at == self->n)
        self->n++;
    self->items[at].hash = hash;
    self->items[at].until_us = now_us + POISON_US;
}

uint64_t poison_left_us(struct poison *self, uint64_t hash, uint64_t now_us) {
    if (!self->n)
        return 0;
    forget(self, now_us);
    for (uint32_t i = 0; i < self->n; i++)
        if (self->items[i].hash == hash)
            return self->items[i].until_us - now_us;
    return 0;
}
