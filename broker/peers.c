/* peers.c - a hash table with linear probing, half full at most. Removal shifts what follows back,
 * so there are no tombstones and a table that has seen a million connections is as fast as a new
 * one. */
#include "peers.h"

#include "base/check.h"
#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

bool peers_init(struct peers *self, uint32_t max, uint64_t seed) {
    uint32_t size = 2;
    while (size < 2 * max)
        size *= 2;
    *self = (struct peers){.mask = size - 1, .max = max, .seed = seed};
    self->ids = calloc(max, sizeof *self->ids);
    self->strikes = calloc(max, sizeof *self->strikes);
    self->table = malloc(size * sizeof *self->table);
    if (!self->ids || !self->strikes || !self->table) {
        peers_done(self);
        return false;
    }
    for (uint32_t i = 0; i < size; i++)
        self->table[i] = PEERS_NONE;
    return true;
}

void peers_done(struct peers *self) {
    free(self->ids);
    free(self->strikes);
    free(self->table);
    *self = (struct peers){0};
}

static uint32_t home(const struct peers *self, const struct frame_peer *id) {
    uint32_t word; /* the first byte is always 0 */
    memcpy(&word, id->id + 1, sizeof word);
    return (uint32_t)hash_mix(self->seed ^ word) & self->mask;
}

static uint32_t find_at(const struct peers *self, const struct frame_peer *id) {
    for (uint32_t at = home(self, id);; at = (at + 1) & self->mask) {
        uint32_t number = self->table[at];
        if (number == PEERS_NONE || memcmp(self->ids[number].id, id->id, sizeof id->id) == 0)
            return at;
    }
}

uint32_t peers_find(const struct peers *self, const struct frame_peer *id) {
    return self->table[find_at(self, id)];
}

void peers_bind(struct peers *self, const struct frame_peer *id, uint32_t number) {
    CHECK(number < self->max);
    uint32_t at = find_at(self, id);
    CHECK(self->table[at] == PEERS_NONE);
    self->ids[number] = *id;
    self->strikes[number] = 0;
    self->table[at] = number;
}

void peers_unbind(struct peers *self, uint32_t number) {
    uint32_t hole = find_at(self, &self->ids[number]);
    CHECK(self->table[hole] == number);
    for (uint32_t at = (hole + 1) & self->mask; self->table[at] != PEERS_NONE;
         at = (at + 1) & self->mask) {
        uint32_t ideal = home(self, &self->ids[self->table[at]]);
        if (((at - ideal) & self->mask) < ((at - hole) & self->mask))
            continue; /* it would move before its home */
        self->table[hole] = self->table[at];
        hole = at;
    }
    self->table[hole] = PEERS_NONE;
}
