/* team.c - one word says it all: which step, of how many parts, and which part is next.
 *
 * A part is taken by exchanging that word for one with the next part, which fails as soon as
 * anybody took that part or the step is another. So a helper that was held up between reading the
 * word and taking a part cannot take a part of a step that is over; and as the word was the same
 * before and after it read function and argument, they belong to this step: the leader changes them
 * only when all parts are done. The step's number wraps after 2^32 steps; a helper held up for just
 * as many is not to be feared. */
#include "base/team.h"

#include "base/check.h"

#include <sched.h>

enum { SPINS = 4000 }; /* some ten microseconds */

_Static_assert(TEAM_PARTS_MAX < 1 << 16, "parts fit the word");

static uint64_t word(uint32_t step, uint32_t parts, uint32_t next) {
    return (uint64_t)step << 32 | (uint64_t)parts << 16 | next;
}

static void relax(uint32_t *spins) {
    if (++*spins > SPINS) {
        sched_yield();
        return;
    }
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* False: no part is left in this step. */
static bool take_part(struct team *self, void *own) {
    uint64_t now = atomic_load_explicit(&self->next, memory_order_acquire);
    for (;;) {
        const uint32_t parts = (uint32_t)(now >> 16) & 0xffff, part = (uint32_t)now & 0xffff;
        if (part >= parts)
            return false;
        team_fn *fn = atomic_load_explicit(&self->fn, memory_order_relaxed);
        void *arg = atomic_load_explicit(&self->arg, memory_order_relaxed);
        if (atomic_compare_exchange_weak_explicit(&self->next, &now, now + 1, memory_order_acq_rel,
                                                  memory_order_acquire)) {
            fn(arg, part, own);
            atomic_fetch_add_explicit(&self->done, 1, memory_order_release);
            return true;
        }
    }
}

void team_begin(struct team *self) {
    atomic_store(&self->open, true);
}

void team_run(struct team *self, team_fn *fn, void *arg, uint32_t n_parts, void *own) {
    CHECK(n_parts <= TEAM_PARTS_MAX);
    const uint64_t last = atomic_load_explicit(&self->next, memory_order_relaxed);
    atomic_store_explicit(&self->fn, fn, memory_order_relaxed);
    atomic_store_explicit(&self->arg, arg, memory_order_relaxed);
    atomic_store_explicit(&self->done, 0, memory_order_relaxed);
    atomic_store_explicit(&self->next, word((uint32_t)(last >> 32) + 1, n_parts, 0),
                          memory_order_release);
    while (take_part(self, own))
        ;
    uint32_t spins = 0;
    while (atomic_load_explicit(&self->done, memory_order_acquire) < n_parts)
        relax(&spins);
}

void team_end(struct team *self) {
    atomic_store(&self->open, false);
}

void team_help(struct team *self, bool (*leave)(void *arg), void *leave_arg, void *own) {
    atomic_fetch_add(&self->helpers, 1);
    uint32_t spins = 0;
    while (atomic_load_explicit(&self->open, memory_order_acquire) &&
           !(leave && leave(leave_arg))) {
        if (take_part(self, own))
            spins = 0;
        else
            relax(&spins);
    }
    atomic_fetch_sub(&self->helpers, 1);
}
