/* pace.h - what a service gets done, and what its requests take: learned from results.
 *
 * Three things are learned, each from what cannot be gamed by a client:
 *   rate     cost a service gets done per microsecond, measured while more was wanted than done;
 *            scaled by its workers when some come or go. Before that it is what its workers were
 *            seen to do (fleet.h), and before anything came back it is not known.
 *   unit     microseconds of engine work per unit of cost, as RESULTs tell. A request with many
 *            labels or of a large model takes more than its length says; relative to the mean of
 *            all services this is the weight that turns cost into work.
 *   held     time from dispatch to result.
 *
 * Threads: owner only. */
#ifndef EMBER_BROKER_PACE_H
#define EMBER_BROKER_PACE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    PACE_WEIGHT_ONE = 16, /* weights are in sixteenths */
    PACE_WEIGHT_MAX = 64 * PACE_WEIGHT_ONE,
    PACE_WEIGHT_MIN = 1,
};

struct pace {                      /* all zero: nothing is known, weight 0 reads as 1 */
    double done, seen, pressed_us; /* cost, results and time while pressed, older ones fading */
    double rate;                   /* cost per us; 0: not known */
    uint64_t cost, cost_before;    /* of results that are OK: ever, and up to the last look */
    uint64_t results, results_before;
    uint32_t members;            /* workers when the rate was measured */
    double calm_us;              /* since more was wanted than done */
    bool was_empty, was_refused; /* since the last look: nothing waited; admission said no */
    double unit_us;              /* engine work per cost; 0: not known */
    double held_us;              /* from dispatch to result; 0: not known */
    uint32_t weight16;
};

/* A result that is OK: what it cost, the engine work it tells (0: not known), its time away. */
void pace_result(struct pace *self, uint32_t cost, uint32_t engine_us, uint64_t held_us);

/* A look, several times a second: `waiting` requests wait now, `us` since the last one. */
void pace_look(struct pace *self, uint32_t waiting, uint32_t members, double us);

/* Cost per us that `members` workers can be expected to do, 0: not known. */
double pace_rate(const struct pace *self, uint32_t members);

/* The weight of a service among services whose mean of engine work per cost is mean_us. */
void pace_weigh(struct pace *self, double mean_us);

static inline uint64_t pace_work(const struct pace *self, uint32_t cost) {
    uint64_t weight = self->weight16 ? self->weight16 : PACE_WEIGHT_ONE;
    uint64_t work = cost * weight / PACE_WEIGHT_ONE;
    return work ? work : 1;
}

#endif
