/* breaker.h - when to leave a failing neighbour alone, and how long to wait before trying again.
 *
 *              failures in a row          open_us later, the next question
 *     closed -------------------> open ------------------------------------> probing
 *       ^                          ^                                          |   |
 *       |                          '---------------- it failed ---------------'   |
 *       '--------------------------- it was answered -----------------------------'
 *
 * Pure: time and randomness are arguments. Threads: plain data. */
#ifndef EMBER_CACHE_BREAKER_H
#define EMBER_CACHE_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_PROBING };

struct breaker {
    uint32_t failures_max; /* in a row, that open it */
    uint64_t open_us;      /* for this long */
    enum breaker_state state;
    uint32_t failures;
    uint64_t until_us; /* OPEN: no probe before */
};

struct breaker breaker_make(uint32_t failures_max, uint64_t open_us);

/* May a question be asked now? In OPEN, once the time has come, true makes that question the
 * probe; until breaker_ok() or breaker_failed() tells how it went, all others are refused. */
bool breaker_allow(struct breaker *self, uint64_t now_us);
void breaker_ok(struct breaker *self);
void breaker_failed(struct breaker *self, uint64_t now_us);

/* Waiting times that double from min_us to max_us, each drawn from its upper half so that a fleet
 * does not come back in step. */
struct backoff {
    uint64_t min_us, max_us, next_us;
};
struct backoff backoff_make(uint64_t min_us, uint64_t max_us);
uint64_t backoff_draw(struct backoff *self, uint64_t *random_state); /* and doubles */
void backoff_reset(struct backoff *self);

/* `ttl_s` +- 10 %, at least 1: entries made together do not expire together. */
uint32_t ttl_jitter(uint32_t ttl_s, uint64_t *random_state);

#endif
