/* pending.h - requests that wait for their answer: which to send next and to whom, when to send
 * again, when to give up. Pure: time comes in as an argument, nothing is sent here.
 *
 *         add            sent               answer: final
 *      ---------> ready ------> in flight ---------------> (out)
 *                 ^ ^ |         |   |  ^ |
 *                 | | |         |   |  | '-> overdue: no answer in the attempt's time; one copy
 *                 | | |         |   |  '---  goes to a second broker, the first answer wins
 *                 | | '--> parked   |
 *                 | '-------------' | answer: "not now" (busy, no worker, drained)
 *                 |  broker lost,   v
 *                 |  refused and  resting
 *                 |  elsewhere is   |
 *                 '-----------------'  its rest is over
 *
 *   parked   the broker has not numbered its service yet; goes back to the front when it has. After
 *            the attempt's time another one is asked.
 *   overdue  in flight on one broker, due on a second one as soon as there is one and the retry
 *            budget allows.
 *   stranded in flight on brokers that are stuck, or, once a request, with half of its time gone,
 *            on some that have answered nothing since it was sent nor lately: due on another one
 *            that is trusted (pool_trusted()), without the budget. Who has two copies gives up the
 *            older one for it.
 *   resting  refused for now; comes back after the broker's advice or a growing pause, with jitter.
 * From every state a request leaves at its deadline.
 *
 * Copies. A request is out on at most two brokers, under the same id, each in the session it was
 * sent in. An answer counts only from a broker and session that has a copy, so what comes late,
 * twice or from a stranger finds nobody. Whoever ends a request cancels the copies that are left.
 *
 * Ids: number of its issue << 16 | slot. No id is ever issued twice, and the slot finds the request
 * of an answer in one step. A request that goes to another broker keeps its id; after a rest it has
 * a new one, since it may meet the session that refused it.
 *
 * Threads: owner only. Memory: grows with the number of requests, up to PENDING_MAX. */
#ifndef EMBER_CLIENT_PENDING_H
#define EMBER_CLIENT_PENDING_H

#include "pool.h"

#include "base/queue.h"
#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

enum { PENDING_MAX = 65536, PENDING_COPIES = 2 };

enum pending_state {
    PENDING_OUT,
    PENDING_READY,
    PENDING_PARKED,
    PENDING_IN_FLIGHT,
    PENDING_OVERDUE,
    PENDING_STRANDED,
    PENDING_RESTING
};

struct pending_copy {
    uint64_t session, sent_us;
    uint32_t broker;
    bool late; /* its attempt's time is over, and the pool knows */
};

struct pending_item { /* lives inside its owner; fields are read, not written */
    struct link link;
    uint64_t id;
    uint64_t deadline_us;
    uint64_t first_us; /* first sending */
    uint64_t wake_us;  /* deadline, end of its rest, or when to look after its copies */
    struct pending_copy copies[PENDING_COPIES]; /* [n_copies] */
    uint32_t heap_at;
    uint32_t refusals; /* answers that said "not now" */
    uint16_t sendings;
    uint8_t state, n_copies;
    uint8_t refused_by; /* bits: brokers that refused it since it last rested */
    bool single;        /* never sent to a second broker while the first may answer */
    bool spilled;       /* too much for one broker, taken to another: only once */
    bool further;       /* waited for one more broker, as all had not found it: only once */
    bool saved;         /* had its second copy at half of its time: only once */
    uint8_t parked_at;  /* the broker it waits for; POOL_NONE: any */
};

struct pending {
    struct pool *pool;
    struct queue ready, parked, in_flight, overdue, stranded; /* in_flight: as they were sent */
    struct pending_item **heap;                               /* [n] by wake_us, soonest first */
    uint32_t n, heap_room;
    struct pending_item **slots; /* [n_slots] */
    uint16_t *free_slots;        /* [n_free], a stack */
    uint32_t n_slots, n_free;
    uint64_t issued;  /* ids */
    uint32_t offered; /* by the last pending_next(): the broker */
    bool paid;        /* and whether the copy is paid from the retry budget */
    struct pending_copy given_up;
    uint64_t given_up_id; /* 0: none */
    uint64_t random;
};

void pending_init(struct pending *self, struct pool *pool, uint64_t seed);
void pending_done(struct pending *self); /* all items must be out */

/* Takes the request in as ready. False when PENDING_MAX are in or there is no memory. */
bool pending_add(struct pending *self, struct pending_item *item, bool single,
                 uint64_t deadline_us);
void pending_remove(struct pending *self, struct pending_item *item); /* out already: fine */

/* The request to be sent now, and to whom; NULL when there is none or nobody takes it. It stays
 * where it is until one of the next two is called. item->sendings > 0: with flag RETRY. */
struct pending_item *pending_next(struct pending *self, uint32_t *broker, uint64_t now_us);
void pending_sent(struct pending *self, struct pending_item *item, uint32_t broker,
                  uint64_t session, uint64_t now_us);
/* After pending_sent() and pending_refused(): the copy that was given up for a better one and is to
 * be cancelled. False: none was. */
bool pending_given_up(struct pending *self, uint64_t *id, struct pending_copy *out);
/* The broker that pending_next() named does not know its service yet: put aside until
 * pending_unpark(), or, if it is in flight elsewhere, for a moment. */
void pending_park(struct pending *self, struct pending_item *item, uint64_t now_us);
void pending_unpark(struct pending *self); /* all of them, in their order */

/* The broker is gone or has forgotten us: what was in flight there alone is ready again, before
 * everything else and in its old order. */
void pending_lost(struct pending *self, uint32_t broker, uint64_t now_us);

/* The request in flight that an answer belongs to: id, broker and session must be those of a copy.
 * NULL: late, twice or foreign, to be dropped. */
struct pending_item *pending_find(const struct pending *self, uint64_t id, uint32_t broker,
                                  uint64_t session);
uint64_t pending_sent_us(const struct pending_item *item, uint32_t broker); /* 0: not to that one */

/* The final answer has come from `broker`; the item is out. */
void pending_answered(struct pending *self, struct pending_item *item, uint32_t broker);

/* An item that is out by any way: takes off the next copy that still runs somewhere and is to be
 * cancelled. False: none is left. */
bool pending_copy_left(struct pending_item *item, struct pending_copy *out);

/* An answer that is no result, from one of its brokers.
 *   PENDING_FINAL      the item is out: no use in trying, or no time.
 *   PENDING_TRY_AGAIN  it is ready (elsewhere), resting, or still in flight on the other broker.
 * An advice is kept for three seconds at most (and a spread); one that lies beyond the deadline is
 * not: half of the time left is waited for then.
 * "Not now" is UNAVAILABLE and UNKNOWN_OUTCOME, RESOURCE_EXHAUSTED with an advice when to come
 * back (without one a size is meant), and NOT_FOUND while there is a broker that was not asked; a
 * known one that is not connected is waited for once. */
enum pending_verdict { PENDING_FINAL, PENDING_TRY_AGAIN };
enum pending_verdict pending_refused(struct pending *self, struct pending_item *item,
                                     uint32_t broker, enum status status, uint32_t retry_after_ms,
                                     uint64_t now_us);

/* The next request whose deadline has come, now out, or NULL. Makes ready whose rest is over, and
 * overdue whose attempt is. */
struct pending_item *pending_expired(struct pending *self, uint64_t now_us);

uint64_t pending_wake_us(const struct pending *self, uint64_t now_us); /* when to call that */

#endif
