/* retry.h - how many executions may be spent on requests that have one already.
 *
 *     second   0    1    2  ...  9          of the last RETRY_SECONDS
 *     asked   80  120   90      100         requests
 *     again    3    9    1        2         further executions of them
 *
 *     allowed while  again  <  asked * 10 %  +  10 a second
 *
 * Without a limit, a fleet that is merely slow gets twice the work at the worst moment. Two kinds
 * of execution ask for leave, retry_take(): a second one to overtake a slow first, and one that
 * replaces an execution on a worker that looks stuck. What a dead worker had is executed again in
 * any case, since those requests would be lost; it is counted, retry_forced(), and leaves less
 * to the others. A request given back unstarted (NACK) has had no execution and is not counted.
 *
 * The share is finagle's retry budget with half its ratio (twitter.github.io/finagle, "Retries").
 * Threads: owner only. */
#ifndef EMBER_BROKER_RETRY_H
#define EMBER_BROKER_RETRY_H

#include <stdbool.h>
#include <stdint.h>

enum { RETRY_SECONDS = 10, RETRY_PERCENT = 10, RETRY_FLOOR = 10 /* a second */ };

struct retry { /* all zero: nothing has happened */
    uint32_t asked[RETRY_SECONDS], again[RETRY_SECONDS];
    uint64_t asked_sum, again_sum;
    uint32_t at;
};

static inline void retry_asked(struct retry *self) { /* a request came in */
    self->asked[self->at]++;
    self->asked_sum++;
}

void retry_forced(struct retry *self);
bool retry_take(struct retry *self);                   /* false: not now; nothing is counted */
void retry_return(struct retry *self);                 /* what was taken was not used */
void retry_turn(struct retry *self, uint64_t seconds); /* so many seconds are over */

#endif
