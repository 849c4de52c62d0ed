/* pending.h - requests that wait for their answer: what to send next, when to send again, when to
 * give up. Pure: time comes in as an argument, nothing is sent here.
 *
 *         add            sent               answer: final
 *      ---------> ready ------> in flight ---------------> (out)
 *                 ^ ^ |           |   |
 *                 | | '--> parked |   | answer: "not now" (busy, no worker, drained)
 *                 | '-------------'   v
 *                 |  session lost   resting
 *                 '-------------------'  its rest is over
 *
 *   parked   the broker has not numbered its service yet; goes back to the front when it has.
 *   resting  refused for now; comes back after the broker's advice or a growing pause, with jitter.
 * From every state a request leaves at its deadline.
 *
 * Ids: number of its issue << 16 | slot. No id is ever issued twice, and the slot finds the request
 * of an answer in one step. A request that is sent again because its session was lost keeps its id;
 * one that was answered "not now" gets a new id, so that a late second answer to the old one finds
 * nobody.
 *
 * Threads: owner only. Memory: grows with the number of requests, up to PENDING_MAX. */
#ifndef EMBER_CLIENT_PENDING_H
#define EMBER_CLIENT_PENDING_H

#include "base/queue.h"
#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

enum { PENDING_MAX = 65536 };

enum pending_state {
    PENDING_OUT,
    PENDING_READY,
    PENDING_PARKED,
    PENDING_IN_FLIGHT,
    PENDING_RESTING
};

struct pending_item { /* lives inside its owner; fields are read, not written */
    struct link link;
    uint64_t id;
    uint64_t deadline_us;
    uint64_t wake_us; /* deadline, or the end of its rest */
    uint64_t sent_us; /* the last time */
    uint64_t session; /* it was last sent in; 0: not sent */
    uint32_t heap_at;
    uint32_t refusals; /* answers that said "not now" */
    uint16_t sendings;
    uint8_t state;
};

struct pending {
    struct queue ready, parked, in_flight; /* in_flight in the order of sending */
    uint32_t window;                       /* most requests in flight */
    struct pending_item **heap;            /* [n] by wake_us, soonest first */
    uint32_t n, heap_room;
    struct pending_item **slots; /* [n_slots] */
    uint16_t *free_slots;        /* [n_free], a stack */
    uint32_t n_slots, n_free;
    uint64_t issued; /* ids */
    uint64_t random;
};

void pending_init(struct pending *self, uint32_t window, uint64_t seed);
void pending_done(struct pending *self); /* all items must be out */

/* Takes the request in as ready. False when PENDING_MAX are in or there is no memory. */
bool pending_add(struct pending *self, struct pending_item *item, uint64_t deadline_us);
void pending_remove(struct pending *self, struct pending_item *item); /* out already: fine */

/* The request to be sent now, NULL when none is ready or the window is full. It stays ready until
 * one of the next two is called. */
struct pending_item *pending_next(const struct pending *self);
void pending_sent(struct pending *self, struct pending_item *item, uint64_t session,
                  uint64_t now_us);
void pending_park(struct pending *self, struct pending_item *item);
void pending_unpark(struct pending *self); /* all of them, in their order */

/* What was in flight in `session` is ready again, before everything else and in its old order. */
void pending_session_lost(struct pending *self, uint64_t session);

/* The request in flight that an answer belongs to: id and session must both be its own. NULL: late,
 * twice or foreign, to be dropped. */
struct pending_item *pending_find(const struct pending *self, uint64_t id, uint64_t session);

/* Whether an answer is final. "Not now" is UNAVAILABLE and UNKNOWN_OUTCOME, and RESOURCE_EXHAUSTED
 * with an advice when to come back (without one a size is meant). True: the item rests and will be
 * ready again. False: final, or its time would be over before; the item is out. */
bool pending_refused(struct pending *self, struct pending_item *item, enum status status,
                     uint32_t retry_after_ms, uint64_t now_us);

/* The next request whose deadline has come, now out, or NULL. Makes ready whose rest is over. */
struct pending_item *pending_expired(struct pending *self, uint64_t now_us);

uint64_t pending_wake_us(const struct pending *self); /* when to call that; UINT64_MAX: never */

#endif
