/* pending.c - a heap for time, a table of slots for answers, four queues for order.
 *
 * Invariants, checked by the simulations in tests/unit/pending_test.c and pool_sim_test.c:
 *   - an item that is in has one heap place and one slot, and is in the queue of its state
 *     (resting: none);
 *   - it has one copy or two when in flight, one when overdue, otherwise none; two copies are on
 *     two brokers; the copies on a broker are what pool.c counts as outstanding there;
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
    PARKED_US = 20 * 1000, /* a second copy is put off */
    OVERDUE_LOOK = 8,      /* so many are tried: who waits for a broker must not stop all */
};

void pending_init(struct pending *self, struct pool *pool, uint64_t seed) {
    *self = (struct pending){.pool = pool, .random = seed};
    queue_init(&self->ready);
    queue_init(&self->parked);
    queue_init(&self->in_flight);
    queue_init(&self->overdue);
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

static struct queue *queue_of(struct pending *self, uint8_t state) {
    switch (state) {
    case PENDING_READY:
        return &self->ready;
    case PENDING_PARKED:
        return &self->parked;
    case PENDING_IN_FLIGHT:
        return &self->in_flight;
    case PENDING_OVERDUE:
        return &self->overdue;
    default:
        return NULL; /* out, resting */
    }
}

/* To the end of the queue of its new state, or to the front. */
static void enter(struct pending *self, struct pending_item *item, enum pending_state state,
                  bool front) {
    struct queue *from = queue_of(self, item->state), *to = queue_of(self, (uint8_t)state);
    if (from)
        queue_remove(from, &item->link);
    item->state = (uint8_t)state;
    if (to && front)
        queue_push_front(to, &item->link);
    else if (to)
        queue_push(to, &item->link);
}

/* ---- copies */

static uint32_t copies_bits(const struct pending_item *item) {
    uint32_t bits = 0;
    for (uint32_t i = 0; i < item->n_copies; i++)
        bits |= 1u << item->copies[i].broker;
    return bits;
}

/* False: it has none on that broker. */
static bool drop_copy(struct pending *self, struct pending_item *item, uint32_t broker) {
    for (uint32_t i = 0; i < item->n_copies; i++)
        if (item->copies[i].broker == broker) {
            item->copies[i] = item->copies[--item->n_copies];
            pool_ended(self->pool, broker);
            return true;
        }
    return false;
}

/* In flight on one broker from now on: when the second one is due. */
static void await_alone(struct pending *self, struct pending_item *item, uint64_t now_us) {
    uint64_t left_us = item->deadline_us > now_us ? item->deadline_us - now_us : 0;
    uint64_t until = now_us + pool_attempt_us(self->pool, left_us);
    wake_at(self, item, item->single ? item->deadline_us : until);
}

/* ---- in and out */

bool pending_add(struct pending *self, struct pending_item *item, bool single,
                 uint64_t deadline_us) {
    if (self->n == self->heap_room && !grow(self))
        return false;
    *item =
        (struct pending_item){.deadline_us = deadline_us, .wake_us = deadline_us, .single = single};
    uint16_t slot = self->free_slots[--self->n_free];
    new_id(self, item, slot);
    self->slots[slot] = item;
    item->heap_at = self->n++;
    heap_settle(self, item);
    enter(self, item, PENDING_READY, false);
    return true;
}

void pending_remove(struct pending *self, struct pending_item *item) {
    if (item->state == PENDING_OUT)
        return;
    enter(self, item, PENDING_OUT, false);
    heap_remove(self, item);
    uint16_t slot = slot_of(item->id);
    self->slots[slot] = NULL;
    self->free_slots[self->n_free++] = slot;
    for (uint32_t i = 0; i < item->n_copies; i++)
        pool_ended(self->pool, item->copies[i].broker);
}

void pending_answered(struct pending *self, struct pending_item *item, uint32_t broker) {
    drop_copy(self, item, broker);
    pending_remove(self, item);
}

bool pending_copy_left(struct pending_item *item, struct pending_copy *out) {
    if (item->n_copies == 0)
        return false;
    *out = item->copies[--item->n_copies];
    return true;
}

/* ---- sending */

static struct pending_item *head_of(const struct queue *queue) {
    return queue_empty(queue) ? NULL : QUEUE_ITEM(queue_head(queue), struct pending_item, link);
}

/* The first of those overdue that another broker takes. */
static struct pending_item *next_overdue(struct pending *self, uint32_t *broker, uint64_t now_us) {
    struct link *at = queue_head(&self->overdue);
    if (!at || !pool_may_spend(self->pool, now_us))
        return NULL;
    for (uint32_t i = 0; at && i < OVERDUE_LOOK; i++) {
        struct pending_item *item = QUEUE_ITEM(at, struct pending_item, link);
        *broker = pool_pick(self->pool, copies_bits(item) | item->refused_by, now_us);
        if (*broker != POOL_NONE)
            return item;
        at = queue_next(&self->overdue, at);
    }
    return NULL;
}

struct pending_item *pending_next(struct pending *self, uint32_t *broker, uint64_t now_us) {
    struct pending_item *item = next_overdue(self, broker, now_us);
    if (item)
        return item;
    item = head_of(&self->ready);
    if (!item)
        return NULL;
    if (!pool_elsewhere(self->pool, item->refused_by))
        item->refused_by = 0; /* who had not refused it is gone */
    *broker = pool_pick(self->pool, item->refused_by, now_us);
    return *broker != POOL_NONE ? item : NULL;
}

void pending_sent(struct pending *self, struct pending_item *item, uint32_t broker,
                  uint64_t session, uint64_t now_us) {
    bool second = item->state == PENDING_OVERDUE;
    CHECK((second || item->state == PENDING_READY) && item->n_copies == (second ? 1 : 0));
    item->copies[item->n_copies++] =
        (struct pending_copy){.session = session, .sent_us = now_us, .broker = broker};
    uint64_t left_us = item->deadline_us > now_us ? item->deadline_us - now_us : 0;
    pool_sent(self->pool, broker, pool_attempt_us(self->pool, left_us), now_us);
    enter(self, item, PENDING_IN_FLIGHT, false);
    if (second) {
        pool_spend(self->pool, now_us);
        wake_at(self, item, item->deadline_us);
    } else {
        if (!item->sendings)
            pool_count(self->pool, now_us);
        await_alone(self, item, now_us);
    }
    if (item->sendings < UINT16_MAX)
        item->sendings++;
}

void pending_park(struct pending *self, struct pending_item *item, uint64_t now_us) {
    if (item->state == PENDING_READY)
        enter(self, item, PENDING_PARKED, false);
    else if (item->state == PENDING_OVERDUE) {
        enter(self, item, PENDING_IN_FLIGHT, false);
        wake_at(self, item, now_us + PARKED_US);
    }
}

void pending_unpark(struct pending *self) {
    while (!queue_empty(&self->parked)) /* last first, each in front of the one before */
        enter(self, QUEUE_ITEM(self->parked.ends.prev, struct pending_item, link), PENDING_READY,
              true);
}

/* One of its brokers is gone. */
static void bereave(struct pending *self, struct pending_item *item, uint32_t broker,
                    uint64_t now_us) {
    if (!drop_copy(self, item, broker))
        return;
    if (item->n_copies == 0) {
        enter(self, item, PENDING_READY, true);
        wake_at(self, item, item->deadline_us);
    } else {
        await_alone(self, item, now_us);
    }
}

static void bereave_all(struct pending *self, struct queue *queue, uint32_t broker,
                        uint64_t now_us) {
    struct link *at = queue->ends.prev;
    while (at != &queue->ends) {
        struct link *before = at->prev;
        bereave(self, QUEUE_ITEM(at, struct pending_item, link), broker, now_us);
        at = before;
    }
}

void pending_lost(struct pending *self, uint32_t broker, uint64_t now_us) {
    bereave_all(self, &self->in_flight, broker, now_us);
    bereave_all(self, &self->overdue, broker, now_us); /* those were sent before the others */
}

/* ---- answers */

static const struct pending_copy *copy_on(const struct pending_item *item, uint32_t broker) {
    for (uint32_t i = 0; i < item->n_copies; i++)
        if (item->copies[i].broker == broker)
            return &item->copies[i];
    return NULL;
}

struct pending_item *pending_find(const struct pending *self, uint64_t id, uint32_t broker,
                                  uint64_t session) {
    uint16_t slot = slot_of(id);
    struct pending_item *item = slot < self->n_slots ? self->slots[slot] : NULL;
    const struct pending_copy *copy = item && item->id == id ? copy_on(item, broker) : NULL;
    return copy && copy->session == session ? item : NULL;
}

uint64_t pending_sent_us(const struct pending_item *item, uint32_t broker) {
    const struct pending_copy *copy = copy_on(item, broker);
    return copy ? copy->sent_us : 0;
}

static uint64_t rest_us(struct pending *self, uint32_t refusals, uint32_t retry_after_ms) {
    uint64_t advice = (uint64_t)retry_after_ms * 1000;
    if (advice) /* no sooner than told; the spread keeps callers apart */
        return advice + hash_next(&self->random) % (advice / 2 + 1);
    uint32_t doublings = refusals < REST_DOUBLINGS ? refusals : REST_DOUBLINGS;
    return REST_LEAST_US + hash_next(&self->random) % ((uint64_t)REST_FIRST_US << doublings);
}

/* Whether another broker is asked at once. Not executed: it costs nobody anything. Too busy, or
 * perhaps executed: only from the retry budget, and the first once a request. */
static bool goes_elsewhere(struct pending *self, struct pending_item *item, enum status status,
                           uint64_t now_us) {
    if (item->single || !pool_elsewhere(self->pool, item->refused_by))
        return false;
    if (status == STATUS_UNAVAILABLE || status == STATUS_NOT_FOUND)
        return true;
    bool busy = status == STATUS_RESOURCE_EXHAUSTED;
    if ((busy && item->spilled) || !pool_may_spend(self->pool, now_us))
        return false;
    item->spilled |= busy;
    pool_spend(self->pool, now_us);
    return true;
}

static bool not_now(enum status status, uint32_t retry_after_ms) {
    return status == STATUS_UNAVAILABLE || status == STATUS_UNKNOWN_OUTCOME ||
           (status == STATUS_RESOURCE_EXHAUSTED && retry_after_ms > 0);
}

enum pending_verdict pending_refused(struct pending *self, struct pending_item *item,
                                     uint32_t broker, enum status status, uint32_t retry_after_ms,
                                     uint64_t now_us) {
    bool again = not_now(status, retry_after_ms);
    drop_copy(self, item, broker);
    if (again || status == STATUS_NOT_FOUND) {
        item->refused_by |= (uint8_t)(1u << broker);
        bool busy = status == STATUS_RESOURCE_EXHAUSTED;
        pool_refused(self->pool, broker, busy ? (uint64_t)retry_after_ms * 1000 : 0, now_us);
        if (item->n_copies > 0) { /* the other broker may do better */
            item->refusals++;
            await_alone(self, item, now_us);
            return PENDING_TRY_AGAIN;
        }
        if (goes_elsewhere(self, item, status, now_us)) {
            item->refusals++;
            enter(self, item, PENDING_READY, true);
            wake_at(self, item, item->deadline_us);
            return PENDING_TRY_AGAIN;
        }
    }
    uint64_t until = again ? now_us + rest_us(self, item->refusals, retry_after_ms) : 0;
    if (!again || until >= item->deadline_us) {
        pending_remove(self, item);
        return PENDING_FINAL;
    }
    item->refusals++;
    item->refused_by = 0;
    enter(self, item, PENDING_RESTING, false);
    new_id(self, item, slot_of(item->id));
    wake_at(self, item, until);
    return PENDING_TRY_AGAIN;
}

/* ---- time */

struct pending_item *pending_expired(struct pending *self, uint64_t now_us) {
    while (self->n && self->heap[0]->wake_us <= now_us) {
        struct pending_item *item = self->heap[0];
        if (item->deadline_us <= now_us) {
            pending_remove(self, item);
            return item;
        }
        CHECK(item->state == PENDING_RESTING || item->state == PENDING_IN_FLIGHT);
        bool rested = item->state == PENDING_RESTING;
        enter(self, item, rested ? PENDING_READY : PENDING_OVERDUE, false);
        wake_at(self, item, item->deadline_us);
    }
    return NULL;
}

uint64_t pending_wake_us(const struct pending *self, uint64_t now_us) {
    uint64_t wake = self->n ? self->heap[0]->wake_us : UINT64_MAX;
    if (queue_empty(&self->overdue) || pool_may_spend(self->pool, now_us))
        return wake; /* with a budget they go as soon as there is a broker */
    uint64_t spend_us = pool_spend_us(self->pool, now_us);
    return spend_us < wake ? spend_us : wake;
}
