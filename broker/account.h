/* account.h - who holds how much: the limits of clients, and who has the largest backlog.
 *
 *     session 7 ──┐
 *     session 9 ──┴─► account (key 42)   3 requests, 2 of them wait ──► ranks[12]
 *     session 8 ────► account (own)      1 request                      ranks[2]
 *
 * Sessions that prove the same key share an account, others have one each. What is limited and
 * what is fair goes by account: a program gains nothing by connecting twice.
 *
 * Work is a request's cost, weighted by what its service's cost takes the engine (pace.h). The
 * backlog of an account is the work that waits, divided by its weight. Accounts are ranked by it
 * in steps of an eighth, so that the largest one is found and kept up to date in constant time.
 *
 * Threads: owner only. Memory: all of it is taken in accounts_init(). */
#ifndef EMBER_BROKER_ACCOUNT_H
#define EMBER_BROKER_ACCOUNT_H

#include "base/queue.h"
#include "wire/header.h"

#define ACCOUNT_NONE UINT32_MAX

enum {
    ACCOUNT_RANKS = 512, /* eight steps for each power of two of 64 bits */
    ACCOUNT_WEIGHT_MAX = 1000,
};

struct account {
    uint64_t key;      /* 0: of one session alone */
    uint32_t sessions; /* 0: free */
    uint32_t same_bucket;
    uint32_t max_requests, weight; /* limits are on what waits or runs */
    uint64_t max_bytes, max_work;
    uint32_t requests; /* waiting or in flight, here and below */
    uint64_t bytes, work;
    uint64_t backlog;               /* work that waits */
    struct queue flows[WIRE_LANES]; /* of struct flow, see line.h */
    struct link place;              /* in ranks[rank], while backlog > 0 */
    uint16_t rank;
};

struct accounts {
    struct account *items;
    uint32_t max, n, high; /* indices at or above `high` were never used */
    uint32_t *free, n_free;
    uint32_t *buckets, mask; /* key -> index */
    uint64_t seed;
    struct queue ranks[ACCOUNT_RANKS];
    uint64_t ranked[ACCOUNT_RANKS / 64]; /* a bit for each rank that is not empty */
};

struct account_limits { /* 0: none; of weight: 1 */
    uint32_t max_requests, weight;
    uint64_t max_bytes, max_work;
};

bool accounts_init(struct accounts *self, uint32_t max, uint64_t seed); /* false: no memory */
void accounts_done(struct accounts *self);

/* A session joins the account of this key, 0: one of its own. There is room for `max` sessions,
 * which is the caller's to keep. Of sessions that tell different limits the last one counts. */
uint32_t account_join(struct accounts *self, uint64_t key, const struct account_limits *limits);
void account_leave(struct accounts *self, uint32_t account);
uint32_t account_sessions(struct accounts *self, uint64_t key); /* of a key, not 0; now */

/* A request is held from admission to its answer, and waits for part of that time. */
static inline void account_hold(struct accounts *self, uint32_t account, uint32_t bytes,
                                uint64_t work) {
    struct account *a = &self->items[account];
    a->requests++;
    a->bytes += bytes;
    a->work += work;
}

static inline void account_release(struct accounts *self, uint32_t account, uint32_t bytes,
                                   uint64_t work) {
    struct account *a = &self->items[account];
    a->requests--;
    a->bytes -= bytes;
    a->work -= work;
}

void account_waits(struct accounts *self, uint32_t account, uint64_t work);
void account_waits_no_more(struct accounts *self, uint32_t account, uint64_t work);

/* The account with the largest backlog, to an eighth; ACCOUNT_NONE when nothing waits. */
uint32_t accounts_largest(const struct accounts *self);

/* Is the backlog of `a`, with `more` work added, at least that of `b`? */
bool account_is_larger(const struct accounts *self, uint32_t a, uint64_t more, uint32_t b);

#endif
