/* shares.h - one worker's credit, divided among its brokers by what each has to do. Pure: no
 * socket, no clock.
 *
 *     credit 128   |floor|floor|      the rest: in proportion to demand      |
 *                     A     B     A A A A A A A A A A A A A A A B B B B B B B
 *
 * Demand of a broker, in cost units: what it says of itself (READY_OK and each PONG: what waits or
 * runs there for this worker's services), smoothed, and never less than what of its work is in hand
 * here. So a broker whose news is old does not lose the room that its own requests fill.
 *
 * What each live broker is to have, its target:
 *   - the floor at least, so that its next request needs not wait for anybody's news. It is the
 *     share of one runner (credit / threads), but all floors together leave three quarters of the
 *     credit to demand; and 1 in any case;
 *   - the rest in proportion to demand; evenly while nobody has any;
 *   - targets add up to the credit exactly, so a broker without demand leaves all but its floor to
 *     the others.
 *
 * What it is told, its window, comes with every message to it. A window shrinks to its target at
 * once, and grows only into what the others have been told to give up: windows told add up to the
 * credit at most, plus 1 for each broker that came while nothing was left. A lost broker's window
 * is free for the others at once.
 *
 * In flight may pass the credit all the same, because a broker that is told of a smaller window
 * keeps what it had sent. It sends nothing more until it is below, so at most the largest window
 * that each was told since its work in hand began is here, credit x brokers in the worst case; and
 * since work in hand counts as demand, one busy broker is not pushed out of its window by another.
 * Memory does not depend on it: serve has limits of its own, and shares_fits() refuses what no
 * honest broker can have sent.
 *
 * Threads: owner only. Memory: none but the struct. */
#ifndef EMBER_WORKER_SHARES_H
#define EMBER_WORKER_SHARES_H

#include "base/limits.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    SHARES_SMOOTH = 256,  /* demand is kept in parts of 1 / 256 */
    SHARES_SLACK = 64,    /* cost beyond the credit that a broker may have here: its deadlines end
                               before ours, and what it gave up on it no longer counts */
    SHARES_NEWS_PART = 4, /* a window that is off by a quarter is worth a message of its own */
};

struct share {
    bool live;
    uint32_t smooth; /* demand it told, smoothed, x SHARES_SMOOTH */
    uint64_t held;   /* cost of its requests in hand */
    uint32_t told;   /* window in the last message to it; 0 while it is not live */
};

struct shares {
    uint32_t credit;  /* all of it now; at least n */
    uint32_t most;    /* all there ever was: windows of before are still on their way */
    uint32_t threads; /* runners it is meant for */
    uint32_t n;
    struct share share[LIMIT_BROKERS];
};

/* `credit` is raised to `n`, so that each broker can have some; n: 1 to LIMIT_BROKERS. */
void shares_init(struct shares *self, uint32_t credit, uint32_t threads, uint32_t n);

/* There is more or less to divide: runners got stuck, or work again. 0: nobody gets any. */
void shares_credit(struct shares *self, uint32_t credit);

/* Broker i serves now and told its first demand (READY_OK); what it had told before is forgotten.
 * Harmless for one that served already. */
void shares_join(struct shares *self, uint32_t i, uint32_t demand);
/* Broker i told its demand (PONG). Half of what is new counts at once, as much of the rest the next
 * time. Ignored while it is not live. */
void shares_demand(struct shares *self, uint32_t i, uint32_t demand);
/* It serves no longer. What is held of it stays held. */
void shares_lost(struct shares *self, uint32_t i);

/* A request of that cost came from broker i, and was answered. */
void shares_hold(struct shares *self, uint32_t i, uint32_t cost);
void shares_release(struct shares *self, uint32_t i, uint32_t cost);
/* All that broker i had here is gone without an answer. */
void shares_forget(struct shares *self, uint32_t i);
/* False: no broker that keeps to any window it may have been told would send that now. One request
 * is taken whatever it costs, as the protocol allows, unless there is no credit at all. */
bool shares_fits(const struct shares *self, uint32_t i, uint32_t cost);

/* What broker i is to have. Of one that is not live (READY): what it would get with no demand. */
uint32_t shares_target(const struct shares *self, uint32_t i);
/* The window for a message to broker i that is being sent now. */
uint16_t shares_window(struct shares *self, uint32_t i);
/* Whether a live broker's window is so far from what it would be told now that it should not have
 * to wait for its next message. */
bool shares_news(const struct shares *self, uint32_t i);

/* The division itself: out[0..n) >= floor for each, the rest of `total` by weight, evenly when all
 * weights are 0. Adds up to total when n x floor <= total, which the caller sees to. Who gets the
 * units that do not divide: the largest remainder, the first among equals. */
void shares_split(uint32_t total, uint32_t floor, const uint64_t *weight, uint32_t n,
                  uint32_t *out);

/* What a request costs in credit, as brokers count. */
static inline uint32_t shares_cost(uint64_t body_bytes) {
    return (uint32_t)(1 + body_bytes / 64);
}

#endif
