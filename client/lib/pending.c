/* pending.c - a heap for time, a table of slots for answers, three queues for order.
 *
 * Invariants, checked by the simulation in tests/unit/pending_test.c:
 *   - an item that is in has one heap place and one slot, and is in the queue of its state
 *     (resting: none);
 *   - heap[0] is the soonest; wake_us <= deadline_us for every item;
 *   - ids rise with each one issued, so none is issued twice. */
#include "pending.h"

#include "base/check.h"
#include "base/hash.h"

#include <stdlib.h>

enum {
    SLOT_BITS = 16,
    REST_FIRST_US = 10 * 1000,
    REST_DOUBLINGS = 7, /* 10 ms .. 1.28 s */
    REST_LEAST_US = 1000,
};

void pending_init(struct pending *self, uint32_t window, uint64_t seed) {
    *self = (struct pending){.window = window, .random = seed};
    queue_init(&self->ready);
    queue_init(&self->parked);
    queue_init(&self->in_flight);
}

void pending_done(struct pending *self) {
    CHECK(self->n == 0);
    free(self->heap);
    free(self->slots);
    free(self->free_slots);
    *self = (struct pending){0};
}

/* ---- heap */

static void heap_put(struct pending *self, uint32_t at, struct pending_item *item) {
    self->heap[at] = item;
    item->heap_at = at;
}

static void heap_settle(struct pending *self, struct pending_item *item) {
    uint32_t at = item->heap_at;
    while (at > 0 && self->heap[(at - 1) / 2]->wake_us > item->wake_us) {
        heap_put(self, at, self->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child + 1 < self->n && self->heap[child + 1]->wake_us < self->heap[child]->wake_us)
            child++;
        if (child >= self->n || self->heap[child]->wake_us >= item->wake_us)
            break;
        heap_put(self, at, self->heap[child]);
        at = child;
    }
    heap_put(self, at, item);
}

static void heap_remove(struct pending *self, struct pending_item *item) {
    struct pending_item *last = self->heap[--self->n];
    if (last == item)
        return;
    heap_put(self, item->heap_at, last);
    heap_settle(self, last);
}

static void wake_at(struct pending *self, struct pending_item *item, uint64_t us) {
    item->wake_us = us < item->deadline_us ? us : item->deadline_us;
    heap_settle(self, item);
}

/* ---- room */

static bool grow(struct pending *self) {
    uint32_t room = self->heap_room ? self->heap_room * 2 : 64;
    if (room > PENDING_MAX)
        return false;
    struct pending_item **heap = realloc(self->heap, room * sizeof *heap);
    if (heap)
        self->heap = heap;
    struct pending_item **slots = realloc(self->slots, room * sizeof *slots);
    if (slots)
        self->slots = slots;
    uint16_t *free_slots = realloc(self->free_slots, room * sizeof *free_slots);
    if (free_slots)
        self->free_slots = free_slots;
    if (!heap || !slots || !free_slots)
        return false; /* what did grow is used the next time */
    for (uint32_t i = room; i > self->heap_room; i--) {
        slots[i - 1] = NULL;
        free_slots[self->n_free++] = (uint16_t)(i - 1);
    }
    self->heap_room = self->n_slots = room;
    return true;
}

static void new_id(struct pending *self, struct pending_item *item, uint16_t slot) {
    item->id = ++self->issued << SLOT_BITS | slot;
}

static uint16_t slot_of(uint64_t id) {
    return (uint16_t)id;
}

static void leave_queue(struct pending *self, struct pending_item *item) {
    if (item->state == PENDING_READY)
        queue_remove(&self->ready, &item->link);
    else if (item->state == PENDING_PARKED)
        queue_remove(&self->parked, &item->link);
    else if (item->state == PENDING_IN_FLIGHT)
        queue_remove(&self->in_flight, &item->link);
}

/* ---- in and out */

bool pending_add(struct pending *self, struct pending_item *item, uint64_t deadline_us) {
    if (self->n == self->heap_room && !grow(self))
        return false;
    *item = (struct pending_item){.deadline_us = deadline_us, .wake_us = deadline_us};
    uint16_t slot = self->free_slots[--self->n_free];
    new_id(self, item, slot);
    self->slots[slot] = item;
    item->heap_at = self->n++;
    heap_settle(self, item);
    item->state = PENDING_READY;
    queue_push(&self->ready, &item->link);
    return true;
}

void pending_remove(struct pending *self, struct pending_item *item) {
    if (item->state == PENDING_OUT)
        return;
    leave_queue(self, item);
    item->state = PENDING_OUT;
    heap_remove(self, item);
    uint16_t slot = slot_of(item->id);
    self->slots[slot] = NULL;
    self->free_slots[self->n_free++] = slot;
}

struct pending_item *pending_next(const struct pending *self) {
    if (self->in_flight.n >= self->window || queue_empty(&self->ready))
        return NULL;
    return QUEUE_ITEM(queue_head(&self->ready), struct pending_item, link);
}

void pending_sent(struct pending *self, struct pending_item *item, uint64_t session,
                  uint64_t now_us) {
    CHECK(item->state == PENDING_READY);
    queue_remove(&self->ready, &item->link);
    item->state = PENDING_IN_FLIGHT;
    queue_push(&self->in_flight, &item->link);
    item->session = session;
    item->sent_us = now_us;
    if (item->sendings < UINT16_MAX)
        item->sendings++;
}

void pending_park(struct pending *self, struct pending_item *item) {
    CHECK(item->state == PENDING_READY);
    queue_remove(&self->ready, &item->link);
    item->state = PENDING_PARKED;
    queue_push(&self->parked, &item->link);
}

static void to_front(struct pending *self, struct pending_item *item) {
    leave_queue(self, item);
    item->state = PENDING_READY;
    queue_push_front(&self->ready, &item->link);
}

void pending_unpark(struct pending *self) {
    while (!queue_empty(&self->parked)) /* last first, each in front of the one before */
        to_front(self, QUEUE_ITEM(self->parked.ends.prev, struct pending_item, link));
}

void pending_session_lost(struct pending *self, uint64_t session) {
    struct link *at = self->in_flight.ends.prev;
    while (at != &self->in_flight.ends) {
        struct link *before = at->prev;
        struct pending_item *item = QUEUE_ITEM(at, struct pending_item, link);
        if (item->session == session)
            to_front(self, item);
        at = before;
    }
}

struct pending_item *pending_find(const struct pending *self, uint64_t id, uint64_t session) {
    uint16_t slot = slot_of(id);
    struct pending_item *item = slot < self->n_slots ? self->slots[slot] : NULL;
    bool its_own =
        item && item->id == id && item->state == PENDING_IN_FLIGHT && item->session == session;
    return its_own ? item : NULL;
}

/* ---- time */

static uint64_t rest_us(struct pending *self, uint32_t refusals, uint32_t retry_after_ms) {
    uint64_t advice = (uint64_t)retry_after_ms * 1000;
    if (advice) /* no sooner than told; the spread keeps callers apart */
        return advice + hash_next(&self->random) % (advice / 2 + 1);
    uint32_t doublings = refusals < REST_DOUBLINGS ? refusals : REST_DOUBLINGS;
    return REST_LEAST_US + hash_next(&self->random) % ((uint64_t)REST_FIRST_US << doublings);
}

bool pending_refused(struct pending *self, struct pending_item *item, enum status status,
                     uint32_t retry_after_ms, uint64_t now_us) {
    CHECK(item->state == PENDING_IN_FLIGHT);
    bool not_now = status == STATUS_UNAVAILABLE || status == STATUS_UNKNOWN_OUTCOME ||
                   (status == STATUS_RESOURCE_EXHAUSTED && retry_after_ms > 0);
    uint64_t until = not_now ? now_us + rest_us(self, item->refusals, retry_after_ms) : 0;
    if (!not_now || until >= item->deadline_us) {
        pending_remove(self, item);
        return false;
    }
    item->refusals++;
    leave_queue(self, item);
    item->state = PENDING_RESTING;
    item->session = 0;
    new_id(self, item, slot_of(item->id));
    wake_at(self, item, until);
    return true;
}

struct pending_item *pending_expired(struct pending *self, uint64_t now_us) {
    while (self->n && self->heap[0]->wake_us <= now_us) {
        struct pending_item *item = self->heap[0];
        if (item->deadline_us <= now_us) {
            pending_remove(self, item);
            return item;
        }
        CHECK(item->state == PENDING_RESTING);
        item->state = PENDING_READY;
        queue_push(&self->ready, &item->link);
        wake_at(self, item, item->deadline_us);
    }
    return NULL;
}

uint64_t pending_wake_us(const struct pending *self) {
    return self->n ? self->heap[0]->wake_us : UINT64_MAX;
}
