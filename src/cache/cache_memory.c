/* cache_memory.c - a ring of records and a table of where they are.
 *
 *      0          tail                           head        size     counted in units of 64 bytes
 *      |  free     | oldest ... records ... newest |  free    |       (or wrapped around the end)
 *                     |                          ^
 *                     '-- asked for since? ------'  moved to the newest end, once per round
 *
 * A record is [struct record][numbers][key name], contiguous, so a get copies nothing; vectors
 * and scores of any length share one memory without fragments. Moving a record costs a memmove of
 * one or two kilobytes, and a put moves at most CHANCES of them, so that its time is bounded.
 *
 * The table is open addressing with linear probing; a slot holds 32 bits of the hash and the
 * offset. Removing shifts back what follows, so there are no tombstones and a probe ends at the
 * first free slot.
 *
 * Invariants, checked by cache_memory_check():
 *   - walking from tail over `used` units meets whole records and gaps only and ends at head;
 *   - each live record is found in the table under its hash, and n_entries counts them;
 *   - at most three quarters of the slots are taken.
 *
 * Why the name is compared and not the hash alone: the SHA-256 is of the text, and the model
 * stands in the name only. */
#include "cache/cache_memory.h"

#include "base/check.h"
#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

enum { UNIT = 64, CHANCES = 16, BYTES_PER_SLOT = 512 };

struct record {
    uint32_t units; /* of this record, or of a gap up to the end of the ring */
    uint32_t tag;   /* 32 bits of the mixed hash: the slot it wants is tag & mask */
    uint32_t n, tokens;
    uint16_t name_bytes;
    uint8_t kind;
    bool live, asked, truncated; /* live: in the table */
    uint8_t sha[32];
};

_Static_assert(sizeof(struct record) <= UNIT, "a gap of one unit holds its own length");

struct slot {
    uint32_t tag;
    uint32_t at; /* offset + 1 in units; 0: free */
};

struct cache_memory {
    char *ring; /* `size` units, aligned to one */
    uint32_t size, head, tail, used;
    struct slot *slots;
    uint32_t mask, n_entries;
    uint64_t seed, live_units, evicted;
};

static uint32_t round_down_pow2(uint64_t n) {
    uint32_t p = 1;
    while ((uint64_t)p * 2 <= n && p < 1u << 30)
        p *= 2;
    return p;
}

enum status cache_memory_new(size_t bytes, uint64_t seed, cache_memory_t **out, struct err *err) {
    if (bytes < CACHE_MEMORY_BYTES_MIN || bytes / UNIT > UINT32_MAX / 2)
        return err_set(err, STATUS_INVALID_ARGUMENT,
                       "a memory cache of %zu bytes: %d to %zu are possible", bytes,
                       CACHE_MEMORY_BYTES_MIN, (size_t)UINT32_MAX / 2 * UNIT);
    cache_memory_t *self = calloc(1, sizeof *self);
    if (self) {
        uint32_t n_slots = round_down_pow2(bytes / BYTES_PER_SLOT * 2);
        self->mask = n_slots - 1;
        self->seed = seed;
        self->size = (uint32_t)((bytes - n_slots * sizeof *self->slots) / UNIT);
        self->slots = calloc(n_slots, sizeof *self->slots);
        self->ring = aligned_alloc(UNIT, (size_t)self->size * UNIT);
    }
    if (!self || !self->slots || !self->ring) {
        cache_memory_destroy(&self);
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for a cache of %zu bytes", bytes);
    }
    *out = self;
    return STATUS_OK;
}

void cache_memory_destroy(cache_memory_t **self) {
    if (!*self)
        return;
    free((*self)->slots);
    free((*self)->ring);
    free(*self);
    *self = NULL;
}

static struct record *record_at(const cache_memory_t *self, uint32_t at) {
    return (struct record *)(void *)(self->ring + (size_t)at * UNIT);
}

static float *record_numbers(struct record *record) {
    return (float *)(void *)(record + 1);
}

static char *record_name(struct record *record) {
    return (char *)(record_numbers(record) + record->n);
}

/* --- table --- */

static uint32_t tag_of(const cache_memory_t *self, const struct cache_key *key) {
    return (uint32_t)(hash_mix(key->hash ^ self->seed) >> 16);
}

static bool record_is(struct record *record, const struct cache_key *key) {
    return record->kind == key->kind && record->n == key->n &&
           record->name_bytes == key->name_bytes &&
           memcmp(record->sha, key->sha, sizeof record->sha) == 0 &&
           memcmp(record_name(record), key->name, key->name_bytes) == 0;
}

/* The record of `key`, or NULL. */
static struct record *find(const cache_memory_t *self, const struct cache_key *key) {
    uint32_t tag = tag_of(self, key);
    for (uint32_t i = tag & self->mask; self->slots[i].at; i = (i + 1) & self->mask)
        if (self->slots[i].tag == tag && record_is(record_at(self, self->slots[i].at - 1), key))
            return record_at(self, self->slots[i].at - 1);
    return NULL;
}

/* The slot that points to offset `at`. */
static uint32_t slot_of(const cache_memory_t *self, uint32_t tag, uint32_t at) {
    uint32_t i = tag & self->mask;
    while (self->slots[i].at != at + 1) {
        CHECK(self->slots[i].at != 0);
        i = (i + 1) & self->mask;
    }
    return i;
}

static void slot_add(cache_memory_t *self, uint32_t tag, uint32_t at) {
    uint32_t i = tag & self->mask;
    while (self->slots[i].at)
        i = (i + 1) & self->mask;
    self->slots[i] = (struct slot){tag, at + 1};
}

/* Free slot i; what follows moves into it when that is nearer to where it wants to be. */
static void slot_remove(cache_memory_t *self, uint32_t i) {
    uint32_t mask = self->mask;
    for (uint32_t j = (i + 1) & mask; self->slots[j].at; j = (j + 1) & mask) {
        uint32_t home = self->slots[j].tag & mask;
        if (((j - home) & mask) >= ((j - i) & mask)) {
            self->slots[i] = self->slots[j];
            i = j;
        }
    }
    self->slots[i].at = 0;
}

static uint32_t offset_of(const cache_memory_t *self, const struct record *record) {
    return (uint32_t)(((const char *)record - self->ring) / UNIT);
}

/* Out of the table; its place in the ring is given back when the tail comes by. */
static void forget(cache_memory_t *self, struct record *record) {
    slot_remove(self, slot_of(self, record->tag, offset_of(self, record)));
    record->live = false;
    self->live_units -= record->units;
    self->n_entries--;
}

/* --- ring --- */

static void advance(cache_memory_t *self, uint32_t *end, uint32_t units) {
    *end += units;
    if (*end == self->size)
        *end = 0;
}

/* Units that can be written at head in one piece; the rest of the ring is closed with a gap first
 * when it is too short for `units`. */
static uint32_t room_at_head(cache_memory_t *self, uint32_t units) {
    if (self->used == self->size)
        return 0;
    if (self->used == 0)
        self->head = self->tail = 0;
    if (self->head < self->tail)
        return self->tail - self->head;
    uint32_t to_end = self->size - self->head;
    if (to_end >= units)
        return to_end;
    struct record *gap = record_at(self, self->head);
    gap->units = to_end;
    gap->live = false;
    self->used += to_end;
    self->head = 0;
    return self->used == self->size ? 0 : self->tail;
}

/* Take the oldest record off the ring. It goes, or, asked for since the last round and with chances
 * left, comes back as the newest. */
static void take_oldest(cache_memory_t *self, uint32_t *chances) {
    struct record *record = record_at(self, self->tail);
    uint32_t units = record->units, from = self->tail;
    bool stays = record->live && record->asked && *chances > 0;
    if (record->live && !stays) {
        forget(self, record);
        self->evicted++;
    }
    uint32_t slot = stays ? slot_of(self, record->tag, from) : 0;
    advance(self, &self->tail, units);
    self->used -= units;
    if (!stays)
        return;
    --*chances;
    /* There is room: at worst the place it just left. The gap that room_at_head() may write lies
     * between head and the end, where the record is not. */
    if (self->used == 0)
        self->head = self->tail = from; /* not to 0: the record itself lies here */
    uint32_t room = self->used ? room_at_head(self, units) : self->size - self->head;
    CHECK(room >= units);
    struct record *moved = record_at(self, self->head);
    memmove(moved, record, (size_t)units * UNIT);
    moved->asked = false;
    self->slots[slot].at = self->head + 1;
    advance(self, &self->head, units);
    self->used += units;
}

bool cache_memory_get(cache_memory_t *self, const struct cache_key *key, struct cache_entry *out) {
    struct record *record = find(self, key);
    if (!record)
        return false;
    record->asked = true;
    *out = (struct cache_entry){
        .kind = (enum cache_kind)record->kind,
        .truncated = record->truncated,
        .tokens = record->tokens,
        .n = record->n,
        .numbers = record_numbers(record),
    };
    return true;
}

void cache_memory_put(cache_memory_t *self, const struct cache_key *key,
                      const struct cache_entry *entry) {
    CHECK(entry->n == key->n && entry->n <= VALUE_NUMBERS_MAX && entry->kind == key->kind);
    struct record *old = find(self, key);
    if (old) { /* same key, same length: written in place */
        memmove(record_numbers(old), entry->numbers, entry->n * sizeof *entry->numbers);
        old->tokens = entry->tokens;
        old->truncated = entry->truncated;
        return;
    }
    size_t numbers_bytes = entry->n * sizeof *entry->numbers;
    size_t bytes = sizeof(struct record) + numbers_bytes + key->name_bytes;
    uint32_t units = (uint32_t)((bytes + UNIT - 1) / UNIT);
    uint32_t chances = CHANCES;
    while (room_at_head(self, units) < units || self->n_entries >= self->mask - self->mask / 4)
        take_oldest(self, &chances);

    struct record *record = record_at(self, self->head);
    *record = (struct record){
        .units = units,
        .tag = tag_of(self, key),
        .n = entry->n,
        .tokens = entry->tokens,
        .name_bytes = (uint16_t)key->name_bytes,
        .kind = (uint8_t)entry->kind,
        .live = true,
        .truncated = entry->truncated,
    };
    memcpy(record->sha, key->sha, sizeof record->sha);
    memcpy(record_numbers(record), entry->numbers, numbers_bytes);
    memcpy(record_name(record), key->name, key->name_bytes);
    slot_add(self, record->tag, self->head);
    advance(self, &self->head, units);
    self->used += units;
    self->live_units += units;
    self->n_entries++;
}

void cache_memory_stats(const cache_memory_t *self, struct cache_memory_stats *out) {
    *out = (struct cache_memory_stats){
        .entries = self->n_entries,
        .bytes = self->live_units * UNIT,
        .bytes_max = (uint64_t)self->size * UNIT,
        .evicted = self->evicted,
    };
}

void cache_memory_check(const cache_memory_t *self) {
    uint32_t at = self->tail, walked = 0, live = 0, taken = 0;
    while (walked < self->used) {
        const struct record *record = record_at(self, at);
        CHECK(record->units > 0 && record->units <= self->size - at);
        if (record->live) {
            CHECK(self->slots[slot_of(self, record->tag, at)].tag == record->tag);
            live++;
        }
        walked += record->units;
        at = at + record->units == self->size ? 0 : at + record->units;
    }
    CHECK(walked == self->used && at == self->head && live == self->n_entries);
    for (uint32_t i = 0; i <= self->mask; i++)
        taken += self->slots[i].at != 0;
    CHECK(taken == live && taken <= self->mask - self->mask / 4 + 1);
}
