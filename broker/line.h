/* line.h - who waits for a service in one lane, and whose turn it is.
 *
 *     line (service 3, NORMAL)
 *       flows    [account 5: t7 t9 t12] ──► [account 2: t8] ──► ...   turns, by cost
 *       waiting  t7 t8 t9 t12                                         by age
 *
 * A flow is what one account waits for in one line. Flows take turns by deficit round robin
 * (Shreedhar and Varghese 1995): with each turn a flow is given `quantum` x weight of cost and
 * goes on while that pays for its next request. What it has left is kept while it waits and
 * forgotten when it has nothing waiting. The quantum follows the mean cost of the line's requests,
 * so that a turn is found in a few steps whatever the requests cost.
 *
 * Inside a flow the order is that of arrival. Once a flow is late (LINE_LATE) it is served newest
 * first, until what made it late is gone: with everybody at the brink of the deadline first in,
 * first out would serve hardly anybody in time (the standing queue of Nichols and Jacobson 2012).
 *
 * Threads: owner only. Memory: all of it is taken in flows_init(); waiting requests bound the
 * number of flows. */
#ifndef EMBER_BROKER_LINE_H
#define EMBER_BROKER_LINE_H

#include "account.h"

struct ticket;

struct flow {
    struct link turn;        /* in its line's flows */
    struct link owned;       /* in its account's flows of this lane */
    struct queue waiting;    /* tickets, the oldest first */
    int64_t deficit;         /* cost it may still spend */
    uint64_t late_us;        /* since when its oldest is late; 0: it is not */
    uint64_t cost;           /* of what waits */
    uint64_t since_us, paid; /* cost it was given since then, older ones fading */
    uint32_t account;        /* ACCOUNT_NONE: free */
    uint32_t weight;         /* the account's, when it began to wait */
    uint32_t same_bucket;
    uint16_t service;
    uint8_t lane;
    bool granted; /* its turn has begun: it was given its quantum */
};

struct flows {
    struct flow *items;
    uint32_t max, n, high;
    uint32_t *free, n_free;
    uint32_t *buckets, mask; /* (account, service, lane) -> index */
    uint64_t seed;
    uint64_t target_us; /* see LINE_LATE; 0: never newest first */
    struct accounts *accounts;
};

/* A flow is late while its oldest request has waited longer than the target and longer than seven
 * eighths of its own time, which is more than admission expects it to take: a job with minutes to
 * spare may wait its turn. Newest first begins when that has been so for LINE_LATE_US on end. */
enum { LINE_LATE_US = 100 * 1000 };

struct line {
    struct queue waiting; /* tickets, the oldest first, those that came back before all */
    struct queue flows;   /* the one whose turn it is first */
    uint64_t cost;        /* of what waits */
    uint64_t weights;     /* of its flows */
    uint32_t mean16;      /* moving mean of what is dispatched, in sixteenths of cost */
    uint16_t service;
    uint8_t lane;
    /* The rest is the dispatcher's. */
    struct link ready; /* in core.ready[lane] when a dispatch is worth trying */
    uint64_t clock;    /* work it was given, beside other lines of its lane */
    uint64_t earned16; /* of higher lanes' work that passed it, in sixteenths */
    uint32_t keeps;    /* a worker that is kept for its next request; may be out of date */
    uint32_t aside;    /* the flow whose next request waits for that worker; or UINT32_MAX */
    bool due;          /* it has earned its next request */
};

bool flows_init(struct flows *self, uint32_t max, struct accounts *accounts, uint64_t seed);
void flows_done(struct flows *self);

void line_init(struct line *self, uint16_t service, uint8_t lane);

/* A ticket joins its line (t->service, t->lane, t->account). `again`: it was dispatched and comes
 * back; it goes to the front of its flow and of all, and its turn is already paid for. */
void line_push(struct flows *flows, struct line *self, struct ticket *t, bool again);
void line_remove(struct flows *flows, struct line *self, struct ticket *t);

/* Whose turn it is; the line is not empty. The flow that is set aside is passed over if there is
 * another. Asking again gives the same answer until something
 * changes. */
struct ticket *line_next(struct flows *flows, struct line *self, uint64_t now_us);

/* The next ticket of the flow that is set aside, which there is. */
struct ticket *line_aside(struct flows *flows, const struct line *self, uint64_t now_us);

/* The ticket is about to leave for a worker: its flow pays. */
void line_pay(struct flows *flows, struct line *self, const struct ticket *t, uint64_t now_us);
void line_refund(struct flows *flows, const struct ticket *t); /* it did not leave after all */

/* A request of this account took `more` cost than it paid for, or less: settled with its flow. */
void line_settle(struct flows *flows, const struct line *self, uint32_t account, int64_t more);

/* Cost that will be dispatched from this line up to and with a new request of this account. */
uint64_t line_ahead(const struct flows *flows, const struct line *self, uint32_t account,
                    uint32_t cost);

/* The time until a new request of this account is dispatched, if its flow goes on as it did while
 * it waited: who comes after it, and lanes above it, take their part of the rate, too. 0: its
 * flow has not waited long enough to tell. */
double line_share_us(const struct flows *flows, const struct line *self, uint32_t account,
                     uint32_t cost, uint64_t now_us);

/* Of a flow that is served newest first: the oldest ticket, when it has less than need_us left;
 * else NULL. Looks at the flow whose turn it is. */
struct ticket *line_hopeless(struct flows *flows, struct line *self, uint64_t now_us,
                             uint64_t need_us);

/* The account's newest waiting ticket of its lowest lane; NULL: nothing waits. */
struct ticket *flows_newest(const struct flows *flows, uint32_t account);

uint32_t line_quantum(const struct line *self); /* for one of weight 1 */

#endif
