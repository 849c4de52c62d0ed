/* pending.c - a heap for time, a table of slots for answers, five queues for order.
 *
 * Invariants, checked by the simulations in tests/unit/pending_test.c and pool_sim_test.c:
 *   - an item that is in has one heap place and one slot, and is in the queue of its state
 *     (resting: none);
 *   - it has one copy or two when in flight or stranded, one when overdue, otherwise none; two
 *     copies are on two brokers; pool.c counts the copies on a broker as outstanding there;
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
    REST_LONGEST_US = 3000 * 1000, /* but for the spread; see rest_us() */
    REST_SHORTEST_US = 20 * 1000,  /* with less time left than that there is no more resting */
    PARKED_US = 20 * 1000,         /* a second copy is put off */
    PROBE_US = 100 * 1000,         /* what goes to a stuck broker goes to another one after that */
    CHECK_LEAST_US = 10 * 1000,
    FURTHER_US = 500 * 1000, /* for one more broker to be connected */
    OVERDUE_LOOK = 8,        /* so many are tried: who waits for a broker must not stop all */
};

void pending_init(struct pending *self, struct pool *pool, uint64_t seed) {
    *self = (struct pending){.pool = pool, .random = seed};
    queue_init(&self->ready);
    queue_init(&self->parked);
    queue_init(&self->in_flight);
    queue_init(&self->overdue);
    queue_init(&self->stranded);
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
    case PENDING_STRANDED:
        return &self->stranded;
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

/* How long a broker may take with it before another is asked. */
static uint64_t patience_us(const struct pending *self, const struct pending_item *item,
                            uint32_t broker, uint64_t now_us) {
    uint64_t left_us = item->deadline_us > now_us ? item->deadline_us - now_us : 0;
    return pool_probing(self->pool, broker) ? PROBE_US : pool_attempt_us(self->pool, left_us);
}

/* In flight from now on, the last copy of all: when another one is due. */
static void await(struct pending *self, struct pending_item *item, uint64_t now_us) {
    uint32_t broker = item->copies[item->n_copies - 1].broker;
    wake_at(self, item,
            item->single ? item->deadline_us : now_us + patience_us(self, item, broker, now_us));
}

/* ---- brokers that do not answer */

static bool all_stuck(const struct pending *self, const struct pending_item *item) {
    for (uint32_t i = 0; i < item->n_copies; i++)
        if (!self->pool->brokers[item->copies[i].broker].stuck)
            return false;
    return item->n_copies > 0;
}

static uint64_t half_us(const struct pending_item *item) {
    return item->first_us + (item->deadline_us - item->first_us) / 2;
}

/* It is owed a copy on another broker whatever the budget says. */
static bool owed(const struct pending *self, const struct pending_item *item, uint64_t now_us) {
    if (item->single || item->n_copies == 0)
        return false;
    if (all_stuck(self, item))
        return true;
    if (item->saved || now_us < half_us(item))
        return false;
    for (uint32_t i = 0; i < item->n_copies; i++)
        if (!pool_silent(self->pool, item->copies[i].broker, item->copies[i].sent_us, now_us))
            return false;
    return true;
}

static void note_late(struct pending *self, struct pending_item *item) {
    for (uint32_t i = 0; i < item->n_copies && !item->single; i++) {
        struct pending_copy *copy = &item->copies[i];
        if (!copy->late)
            pool_timed_out(self->pool, copy->broker, copy->sent_us);
        copy->late = true;
    }
}

/* The attempt's time is over, or its copies are to be looked after again: at half of its time, and
 * at half of what is left, and so on. */
static void look_after(struct pending *self, struct pending_item *item, uint64_t now_us) {
    note_late(self, item);
    if (owed(self, item, now_us)) {
        enter(self, item, PENDING_STRANDED, false);
        wake_at(self, item, item->deadline_us);
        return;
    }
    if (item->n_copies == 1 && item->state != PENDING_OVERDUE)
        enter(self, item, PENDING_OVERDUE, false);
    uint64_t half = half_us(item), left = item->deadline_us - now_us;
    uint64_t next = left > 2 * CHECK_LEAST_US ? now_us + left / 2 : item->deadline_us;
    wake_at(self, item, half > now_us ? half : next);
}

/* What waits for brokers that are stuck since now. */
static void strand(struct pending *self, struct queue *queue) {
    struct link *at = queue_head(queue);
    while (at) {
        struct link *next = queue_next(queue, at);
        struct pending_item *item = QUEUE_ITEM(at, struct pending_item, link);
        if (!item->single && all_stuck(self, item)) {
            enter(self, item, PENDING_STRANDED, false);
            wake_at(self, item, item->deadline_us);
        }
        at = next;
    }
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
        self->paid = true;
        if (*broker != POOL_NONE)
            return item;
        at = queue_next(&self->overdue, at);
    }
    return NULL;
}

/* The first of those stranded that another broker takes. A broker that refused it may have it
 * again: the others say nothing at all. */
static struct pending_item *next_stranded(struct pending *self, uint32_t *broker, uint64_t now_us) {
    struct link *at = queue_head(&self->stranded), *next;
    for (uint32_t looks = 0; at && looks < OVERDUE_LOOK; at = next) {
        struct pending_item *item = QUEUE_ITEM(at, struct pending_item, link);
        next = queue_next(&self->stranded, at);
        if (!owed(self, item, now_us)) { /* one of them has begun to answer */
            enter(self, item, PENDING_IN_FLIGHT, false);
            await(self, item, now_us);
            continue;
        }
        looks++;
        uint32_t has = copies_bits(item), avoid = has | item->refused_by;
        *broker = pool_pick(self->pool, pool_elsewhere(self->pool, avoid) ? avoid : has, now_us);
        if (*broker == POOL_NONE)
            continue;
        self->paid = !pool_trusted(self->pool, *broker, now_us);
        if (!self->paid || pool_may_spend(self->pool, now_us))
            return item;
    }
    return NULL;
}

struct pending_item *pending_next(struct pending *self, uint32_t *broker, uint64_t now_us) {
    struct pending_item *item = next_stranded(self, broker, now_us);
    if (!item)
        item = next_overdue(self, broker, now_us);
    if (!item && (item = head_of(&self->ready))) {
        if (!pool_elsewhere(self->pool, item->refused_by))
            item->refused_by = 0; /* who had not refused it is gone */
        *broker = POOL_NONE;
        if (!item->sendings && !item->single)
            *broker = pool_probe(self->pool, item->refused_by, now_us);
        if (*broker == POOL_NONE)
            *broker = pool_pick(self->pool, item->refused_by, now_us);
        item = *broker != POOL_NONE ? item : NULL;
    }
    if (item)
        self->offered = *broker;
    return item;
}

static void give_up(struct pending *self, struct pending_item *item, uint32_t i) {
    self->given_up = item->copies[i];
    self->given_up_id = item->id;
    drop_copy(self, item, item->copies[i].broker);
}

bool pending_given_up(struct pending *self, uint64_t *id, struct pending_copy *out) {
    *id = self->given_up_id;
    *out = self->given_up;
    self->given_up_id = 0;
    return *id != 0;
}

void pending_sent(struct pending *self, struct pending_item *item, uint32_t broker,
                  uint64_t session, uint64_t now_us) {
    CHECK((item->state == PENDING_READY) == (item->n_copies == 0));
    bool first = item->state == PENDING_READY, stranded = item->state == PENDING_STRANDED;
    CHECK(first || stranded || item->state == PENDING_OVERDUE);
    item->saved |= stranded && !all_stuck(self, item);
    if (item->n_copies == PENDING_COPIES) /* and a third broker: the older one goes */
        give_up(self, item, item->copies[1].sent_us < item->copies[0].sent_us);
    if (!item->sendings) {
        item->first_us = now_us;
        pool_count(self->pool, now_us);
    }
    if (!first && self->paid)
        pool_spend(self->pool, now_us);
    item->copies[item->n_copies++] =
        (struct pending_copy){.session = session, .sent_us = now_us, .broker = broker};
    pool_sent(self->pool, broker, now_us);
    enter(self, item, PENDING_IN_FLIGHT, false);
    await(self, item, now_us);
    if (item->sendings < UINT16_MAX)
        item->sendings++;
}

void pending_park(struct pending *self, struct pending_item *item, uint64_t now_us) {
    if (item->state == PENDING_READY) {
        uint32_t broker = self->offered;
        item->parked_at = (uint8_t)broker;
        enter(self, item, PENDING_PARKED, false);
        wake_at(self, item,
                item->single ? item->deadline_us
                             : now_us + patience_us(self, item, broker, now_us));
    } else if (item->state == PENDING_OVERDUE || item->state == PENDING_STRANDED) {
        enter(self, item, PENDING_IN_FLIGHT, false);
        wake_at(self, item, now_us + PARKED_US);
    }
}

static void unpark(struct pending *self, struct pending_item *item) {
    enter(self, item, PENDING_READY, true);
    wake_at(self, item, item->deadline_us);
}

void pending_unpark(struct pending *self) {
    while (!queue_empty(&self->parked)) /* last first, each in front of the one before */
        unpark(self, QUEUE_ITEM(self->parked.ends.prev, struct pending_item, link));
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
        if (item->state != PENDING_IN_FLIGHT)
            enter(self, item, PENDING_IN_FLIGHT, false);
        await(self, item, now_us);
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
    bereave_all(self, &self->stranded, broker, now_us);
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

/* An advice is a queue divided by the pace of the last seconds. Far ahead it says little: the pace
 * may be that of workers that were away, and are back in a second. So a long one is asked about
 * again, which costs a broker next to nothing. */
static uint64_t rest_us(struct pending *self, uint32_t refusals, uint32_t retry_after_ms) {
    uint64_t advice = (uint64_t)retry_after_ms * 1000;
    advice = advice < REST_LONGEST_US ? advice : REST_LONGEST_US;
    if (advice) /* no sooner than told; the spread keeps callers apart */
        return advice + hash_next(&self->random) % (advice / 2 + 1);
    uint32_t doublings = refusals < REST_DOUBLINGS ? refusals : REST_DOUBLINGS;
    return REST_LEAST_US + hash_next(&self->random) % ((uint64_t)REST_FIRST_US << doublings);
}

/* Until when it rests; 0: there is no time for it. An advice beyond its deadline is a guess about
 * the queue: it is asked again with half of its time left, and so on, rather than given up with
 * seconds to go. */
static uint64_t rest_until(struct pending *self, const struct pending_item *item,
                           uint32_t retry_after_ms, uint64_t now_us) {
    uint64_t until = now_us + rest_us(self, item->refusals, retry_after_ms);
    if (until < item->deadline_us)
        return until;
    uint64_t left = item->deadline_us > now_us ? item->deadline_us - now_us : 0;
    return left < REST_SHORTEST_US ? 0 : now_us + left / 2 + hash_next(&self->random) % (left / 4);
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

/* All that are connected have not found it: whether it waits for one more to be. */
static bool waits_for_further(struct pending *self, struct pending_item *item, uint64_t now_us) {
    if (item->single || item->further || !pool_further(self->pool, now_us))
        return false;
    item->further = true;
    item->refusals++;
    item->parked_at = POOL_NONE;
    enter(self, item, PENDING_PARKED, false);
    new_id(self, item, slot_of(item->id));
    wake_at(self, item, now_us + FURTHER_US);
    return true;
}

enum pending_verdict pending_refused(struct pending *self, struct pending_item *item,
                                     uint32_t broker, enum status status, uint32_t retry_after_ms,
                                     uint64_t now_us) {
    bool again = not_now(status, retry_after_ms);
    drop_copy(self, item, broker);
    pool_answered(self->pool, broker, now_us);
    if (all_stuck(self, item)) /* nothing is to be expected from the other one */
        give_up(self, item, 0);
    if (again || status == STATUS_NOT_FOUND) {
        item->refused_by |= (uint8_t)(1u << broker);
        bool busy = status == STATUS_RESOURCE_EXHAUSTED;
        pool_refused(self->pool, broker, busy ? (uint64_t)retry_after_ms * 1000 : 0, now_us);
        if (item->n_copies > 0) { /* the other broker may do better */
            item->refusals++;
            if (item->state != PENDING_IN_FLIGHT)
                enter(self, item, PENDING_IN_FLIGHT, false);
            await(self, item, now_us);
            return PENDING_TRY_AGAIN;
        }
        if (goes_elsewhere(self, item, status, now_us)) {
            item->refusals++;
            enter(self, item, PENDING_READY, true);
            wake_at(self, item, item->deadline_us);
            return PENDING_TRY_AGAIN;
        }
    }
    if (status == STATUS_NOT_FOUND && waits_for_further(self, item, now_us))
        return PENDING_TRY_AGAIN;
    uint64_t rest = again ? rest_until(self, item, retry_after_ms, now_us) : 0;
    if (!rest) {
        pending_remove(self, item);
        return PENDING_FINAL;
    }
    item->refusals++;
    item->refused_by = 0;
    enter(self, item, PENDING_RESTING, false);
    new_id(self, item, slot_of(item->id));
    wake_at(self, item, rest);
    return PENDING_TRY_AGAIN;
}

/* ---- time */

/* The time of an item that is not its deadline. */
static void wake(struct pending *self, struct pending_item *item, uint64_t now_us) {
    if (item->state == PENDING_IN_FLIGHT || item->state == PENDING_OVERDUE) {
        look_after(self, item, now_us);
        return;
    }
    CHECK(item->state == PENDING_RESTING || item->state == PENDING_PARKED);
    if (item->state == PENDING_PARKED &&
        item->parked_at != POOL_NONE) { /* no word about its service: as good as no answer */
        pool_timed_out(self->pool, item->parked_at, now_us);
        item->refused_by |= (uint8_t)(1u << item->parked_at);
    }
    enter(self, item, PENDING_READY, false);
    wake_at(self, item, item->deadline_us);
}

struct pending_item *pending_expired(struct pending *self, uint64_t now_us) {
    while (self->n && self->heap[0]->wake_us <= now_us) {
        struct pending_item *item = self->heap[0];
        if (item->deadline_us <= now_us) {
            note_late(self, item);
            pending_remove(self, item);
            return item;
        }
        wake(self, item, now_us);
    }
    if (pool_judge(self->pool, now_us)) {
        strand(self, &self->overdue); /* those were sent before the others */
        strand(self, &self->in_flight);
    }
    return NULL;
}

static uint64_t sooner(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

uint64_t pending_wake_us(const struct pending *self, uint64_t now_us) {
    uint64_t wake =
        sooner(self->n ? self->heap[0]->wake_us : UINT64_MAX, pool_judge_us(self->pool));
    bool none = queue_empty(&self->overdue) && queue_empty(&self->stranded);
    if (none || pool_may_spend(self->pool, now_us))
        return wake; /* with a budget they go as soon as there is a broker */
    return sooner(wake, pool_spend_us(self->pool, now_us));
}
