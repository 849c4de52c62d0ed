/* wheel.c - see wheel.h. Why not a heap: nearly all deadlines are taken back before they come, and
 * a heap pays log n cache misses to remove from its middle; the wheel pays two. */
#include "wheel.h"

#include "base/check.h"

#include <stdlib.h>

bool wheel_init(struct wheel *self, uint32_t n_items, uint64_t now_us) {
    *self = (struct wheel){.n_items = n_items, .tick = now_us / WHEEL_TICK_US};
    self->items = malloc(n_items * sizeof *self->items);
    if (!self->items)
        return false;
    for (uint32_t i = 0; i < n_items; i++)
        self->items[i].list = WHEEL_NONE;
    for (uint32_t i = 0; i <= WHEEL_BUCKETS; i++)
        self->head[i] = WHEEL_NONE;
    return true;
}

void wheel_done(struct wheel *self) {
    free(self->items);
    *self = (struct wheel){0};
}

static void put(struct wheel *self, uint32_t item, uint32_t list) {
    struct wheel_item *it = &self->items[item];
    it->list = list;
    it->prev = WHEEL_NONE;
    it->next = self->head[list];
    if (it->next != WHEEL_NONE)
        self->items[it->next].prev = item;
    self->head[list] = item;
    if (list < WHEEL_BUCKETS)
        self->used[list / 64] |= UINT64_C(1) << (list % 64);
}

static void take(struct wheel *self, uint32_t item) {
    struct wheel_item *it = &self->items[item];
    uint32_t list = it->list;
    if (it->prev != WHEEL_NONE)
        self->items[it->prev].next = it->next;
    else
        self->head[list] = it->next;
    if (it->next != WHEEL_NONE)
        self->items[it->next].prev = it->prev;
    if (list < WHEEL_BUCKETS && self->head[list] == WHEEL_NONE)
        self->used[list / 64] &= ~(UINT64_C(1) << (list % 64));
    it->list = WHEEL_NONE;
}

void wheel_add(struct wheel *self, uint32_t item, uint64_t due_us) {
    CHECK(item < self->n_items && self->items[item].list == WHEEL_NONE);
    uint64_t tick = (due_us + WHEEL_TICK_US - 1) / WHEEL_TICK_US;
    if (tick < self->tick)
        tick = self->tick; /* in the past: next time somebody looks */
    self->items[item].due_us = due_us;
    put(self, item, (uint32_t)(tick % WHEEL_BUCKETS));
    self->n++;
}

void wheel_remove(struct wheel *self, uint32_t item) {
    CHECK(item < self->n_items);
    if (self->items[item].list == WHEEL_NONE)
        return;
    take(self, item);
    self->n--;
}

/* Moves what is due in one bucket to the due list. */
static void collect(struct wheel *self, uint32_t bucket, uint64_t now_us) {
    uint32_t next;
    for (uint32_t item = self->head[bucket]; item != WHEEL_NONE; item = next) {
        next = self->items[item].next;
        if (self->items[item].due_us <= now_us) {
            take(self, item);
            put(self, item, WHEEL_BUCKETS);
        }
    }
}

uint32_t wheel_pop(struct wheel *self, uint64_t now_us) {
    uint64_t last = now_us / WHEEL_TICK_US;
    if (last >= self->tick + WHEEL_BUCKETS)
        self->tick = last - WHEEL_BUCKETS + 1; /* one turn looks at everything */
    for (; self->tick <= last; self->tick++)
        if (self->head[self->tick % WHEEL_BUCKETS] != WHEEL_NONE)
            collect(self, (uint32_t)(self->tick % WHEEL_BUCKETS), now_us);
    uint32_t item = self->head[WHEEL_BUCKETS];
    if (item != WHEEL_NONE) {
        take(self, item);
        self->n--;
    }
    return item;
}

uint64_t wheel_next_us(const struct wheel *self) {
    if (self->head[WHEEL_BUCKETS] != WHEEL_NONE)
        return self->tick * WHEEL_TICK_US;
    if (!self->n)
        return UINT64_MAX;
    uint32_t start = (uint32_t)(self->tick % WHEEL_BUCKETS);
    for (uint32_t i = 0; i <= WHEEL_BUCKETS / 64; i++) {
        uint32_t word = (start / 64 + i) % (WHEEL_BUCKETS / 64);
        uint64_t bits = self->used[word];
        if (i == 0)
            bits &= ~UINT64_C(0) << (start % 64);
        if (!bits)
            continue;
        uint32_t bucket = word * 64 + (uint32_t)__builtin_ctzll(bits);
        uint32_t ahead = (bucket + WHEEL_BUCKETS - start) % WHEEL_BUCKETS;
        return (self->tick + ahead) * WHEEL_TICK_US;
    }
    return UINT64_MAX;
}
