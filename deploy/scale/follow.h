/* follow.h - which workers to start and which to stop, so that there are as many as wished for.
 *
 *     wish of the brokers ──┐
 *     workers they see ─────┼──► follow_decide() ──► start these, stop those
 *     units of the hosts ───┘
 *
 * A unit is one worker's place on a host: `ember-worker@3.service` is unit 3. How many workers
 * there are is what the brokers see, and units that started so lately that they cannot be seen:
 *
 *     have   = seen + coming
 *     coming = units that run + others - seen, at least 0 and at most the young ones
 *     others = seen - units that run, while none is young: workers that somebody else started;
 *              below 0: units that serve nobody
 *
 * so that a unit that runs and is not seen counts for start_us and no longer, and another is
 * started. Units of a host that does not answer run as when it last did: if they are gone, that
 * shows at once in what is seen, or start_us after the last start. All units together are at most
 * twice what is wished for, whoever sees them.
 *
 * Up at once, spread over hosts by the share of their units in use; a host with a unit that failed
 * is taken last. Down by a quarter of what there is at most, cool_us after the last change, only
 * while every broker tells its wish and nothing is starting; the brokers' wish is the highest of
 * their window already (broker/scale.h). Units beyond a host's number (it was made smaller, or 0 to
 * empty it) are replaced first and stopped then.
 *
 * Threads: owner only. Memory: as follow_new() says; decisions allocate nothing. No clock, no
 * processes: both are arguments. */
#ifndef EMBER_SCALE_FOLLOW_H
#define EMBER_SCALE_FOLLOW_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    FOLLOW_HOSTS_MAX = 1024,
    FOLLOW_HOST_UNITS_MAX = 256, /* of one host; numbers 1 to this */
    FOLLOW_UNITS_MAX = 4096,     /* of all hosts */
    FOLLOW_HOST_BYTES = 255,
    FOLLOW_STEP_MAX = 1024,              /* starts, and stops, of one decision */
    FOLLOW_BELIEVE_US = 5 * 1000 * 1000, /* a list that denies what was just done is older */
};

enum unit_state { UNIT_OFF, UNIT_STARTING, UNIT_ACTIVE, UNIT_STOPPING, UNIT_FAILED, UNIT_STATES };

struct follow_host {
    char name[FOLLOW_HOST_BYTES + 1];
    uint32_t units; /* that it may run */
};

struct follow_cfg {
    uint32_t min, max; /* workers, whatever the wish */
    uint64_t cool_us;  /* from any change to the next stop */
    uint64_t start_us; /* a unit that is not seen after so long serves nobody */
    uint64_t retry_us; /* a unit that failed, or was not to be stopped: left alone so long */
};

struct follow_sight { /* what the brokers say */
    uint32_t wish;    /* sum of those that know theirs */
    uint32_t seen;    /* workers connected that do or should work: the most that one sees */
    bool any;         /* at least one broker told its wish */
    bool all;         /* every one did */
};

struct follow_step {
    uint32_t host, unit;
};

enum follow_hold { /* why less is done than could be wished for */
                   FOLLOW_GOES,
                   FOLLOW_BLIND,   /* no broker tells its wish */
                   FOLLOW_PARTIAL, /* not all of them: nothing is stopped */
                   FOLLOW_SHORT,   /* the hosts have no unit free */
                   FOLLOW_UNSEEN,  /* units enough run, and brokers do not see enough of them */
};

struct follow_plan {
    uint32_t target, have, surplus;
    enum follow_hold hold;
    uint32_t n_start, n_stop;
    struct follow_step start[FOLLOW_STEP_MAX], stop[FOLLOW_STEP_MAX];
};

typedef struct follow follow_t;

/* NULL: no memory. `now_us` counts as the last change. */
follow_t *follow_new(const struct follow_cfg *cfg, uint64_t now_us);
void follow_destroy(follow_t **self); /* NULL is fine */

/* The hosts from now on, in the order in which equals are taken. Those of a name that was known
 * keep what is known of their units. False, and nothing is changed: no memory. */
bool follow_set_hosts(follow_t *self, const struct follow_host *hosts, uint32_t n);
uint32_t follow_hosts(const follow_t *self);
const struct follow_host *follow_host(const follow_t *self, uint32_t host);

/* A host's list: states[i] is of unit i + 1. NULL: the host does not answer; its units are neither
 * started nor stopped, and count by what the brokers see of them. */
void follow_listed(follow_t *self, uint32_t host, const enum unit_state *states, uint64_t now_us);

void follow_decide(follow_t *self, const struct follow_sight *sight, uint64_t now_us,
                   struct follow_plan *out);

/* A step of the plan was done, or could not be. */
void follow_started(follow_t *self, struct follow_step step, bool ok, uint64_t now_us);
void follow_stopped(follow_t *self, struct follow_step step, bool ok, uint64_t now_us);

/* Units of all hosts that answer, by state. */
void follow_count(const follow_t *self, uint32_t out[UNIT_STATES]);
uint32_t follow_silent(const follow_t *self); /* hosts that do not answer */

const char *unit_state_name(enum unit_state state);

#endif
