/* team.h - threads that have nothing to do help another through its computation.
 *
 *     leader   team_begin()  team_run(step 1)  team_run(step 2) ...           team_end()
 *                              | part 0 |        | part 0 |  part 2 |
 *     helper        team_help()   | part 1 |         | part 1 |         returns
 *
 * A step is a function and a number of parts that do not depend on each other; whoever is free
 * takes the next part, and the step is over when all of them are done. The leader waits for no
 * helper to come: without any it does all parts itself. Helpers come and go between parts.
 *
 * Waiting is done awake for some microseconds, because steps follow each other that fast, and then
 * with sched_yield(): a helper costs its core while it helps, so only an idle thread should.
 *
 * Threads: one leader at a time; any number of helpers. What the leader wrote before team_run() is
 * seen by all parts, what parts wrote is seen by the leader after it.
 * Memory: none. A team outlives its helpers. */
#ifndef EMBER_BASE_TEAM_H
#define EMBER_BASE_TEAM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { TEAM_PARTS_MAX = 4096 };

/* One part of a step, on any thread. `own` belongs to the thread that runs it: the leader's
 * team_run() and each helper's team_help() bring theirs. */
typedef void team_fn(void *arg, uint32_t part, void *own);

/* All zeros is a team at rest. */
struct team {
    _Atomic uint64_t next; /* step << 32 | parts << 16 | next part */
    _Atomic uint32_t done; /* parts of this step */
    _Atomic uint32_t helpers;
    atomic_bool open;
    _Atomic(team_fn *) fn;
    _Atomic(void *) arg;
};

void team_begin(struct team *self);
/* All parts of a step; n_parts is at most TEAM_PARTS_MAX. */
void team_run(struct team *self, team_fn *fn, void *arg, uint32_t n_parts, void *own);
/* Helpers leave soon afterwards. */
void team_end(struct team *self);

/* Helpers that are there now: what a step should be cut for is one more. */
static inline uint32_t team_helpers(struct team *self) {
    return atomic_load_explicit(&self->helpers, memory_order_relaxed);
}

/* Helps until the leader ends, or until leave(leave_arg) is true between two parts. */
void team_help(struct team *self, bool (*leave)(void *arg), void *leave_arg, void *own);

#endif
