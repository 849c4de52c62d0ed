/* watch.h - how long each batch has been with its runner: progress for the heartbeat, and an alarm
 * for one that does not come back. Pure: no clock, no thread of its own.
 *
 *     a batch runs ...... stuck_us: STUCK, said once ........ twice that: HOPELESS, the process has
 *                                                             to be started anew
 *
 * A runner that hangs cannot be stopped, and what it holds may run still; so nobody else is given
 * that work from here. Brokers learn of it (Heartbeat), and when the process ends they give it to
 * others.
 *
 * Time counts only while we look: each look adds at most WATCH_STEP_US, so that a process which was
 * frozen, with its host perhaps, does not take its batches for stuck when it wakes.
 *
 * Threads: owner only; of a batch that a runner has, only started_us is read. */
#ifndef EMBER_WORKER_WATCH_H
#define EMBER_WORKER_WATCH_H

#include "batch.h"

enum { WATCH_STEP_US = 2 * 1000 * 1000 };

enum watch_news {
    WATCH_NONE,
    WATCH_STUCK,    /* one more is; worst is the one that runs longest */
    WATCH_EASED,    /* one that was stuck has come back */
    WATCH_HOPELESS, /* one has run for twice as long */
};

struct watch {
    uint64_t stuck_us; /* 0: never */
    uint64_t looked_us;
    uint64_t longest_us; /* of the batches that run now, the longest; 0: none runs */
    uint32_t n_stuck;
    const struct batch *worst; /* whose longest_us it is; NULL: none runs */
};

void watch_init(struct watch *self, uint64_t stuck_us, uint64_t now_us);

/* Brings the figures up to date with batches[0..n), those with a runner and others, and tells the
 * worst of what is new since the last look. */
enum watch_news watch_look(struct watch *self, struct batch *batches, uint32_t n, uint64_t now_us);

#endif
