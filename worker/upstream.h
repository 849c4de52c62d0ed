/* upstream.h - one broker as the worker sees it: what to send, and when. Pure: no socket, no clock.
 *
 *     GREETING --READY_OK--> SERVING --WHO_ARE_YOU, silence, connection cut--> GREETING
 *     (READY each               |
 *     UPSTREAM_GREET_US)      drain
 *                               v
 *                           DRAINING --all answered--> LEAVING --BYE_OK, or UPSTREAM_BYE_US--> GONE
 *
 * A broker that cannot be reached is greeted for ever: sending fails at once and costs nothing. At
 * first it is tried often, because a connection takes a millisecond or two to be made; and at once
 * when a connection is said to stand.
 *
 * Threads: owner only. */
#ifndef EMBER_WORKER_UPSTREAM_H
#define EMBER_WORKER_UPSTREAM_H

#include "wire/header.h"
#include "wire/session.h"

enum {
    UPSTREAM_GREET_US = 250 * 1000,
    UPSTREAM_RETRY_US = 2 * 1000, /* doubling to UPSTREAM_GREET_US */
    UPSTREAM_BYE_US = 1000 * 1000,
    UPSTREAM_BEAT_US = 20 * 1000,            /* no broker can ask for heartbeats more often */
    UPSTREAM_BEAT_US_MAX = 60 * 1000 * 1000, /* or more seldom */
    UPSTREAM_SERVICES = 16 * 4,              /* LIMIT_MODELS times tasks */
};

enum upstream_state {
    UPSTREAM_GREETING,
    UPSTREAM_SERVING,
    UPSTREAM_DRAINING,
    UPSTREAM_LEAVING,
    UPSTREAM_GONE
};

struct upstream_service {
    uint16_t number;
    uint8_t model; /* index */
    uint8_t task;  /* enum wire_task */
};

struct upstream {
    enum upstream_state state;
    uint64_t epoch; /* the broker's start id; 0: not known */
    uint64_t heartbeat_us, silence_us;
    uint64_t heard_us; /* last message from it */
    uint64_t next_us;  /* next READY, HEARTBEAT or end of waiting */
    uint64_t ping_us;  /* next PING, when it is silent */
    uint64_t retry_us; /* how long to wait when READY could not be sent */
    bool cut;          /* the connection broke since the last READY_OK */
    struct upstream_service services[UPSTREAM_SERVICES];
    uint32_t n_services;
};

void upstream_init(struct upstream *self, uint64_t now_us);

/* What to send now: WIRE_READY, WIRE_HEARTBEAT, WIRE_PING, WIRE_DRAIN, WIRE_BYE, or 0 for nothing.
 * Call it until it gives 0. *lost is set when the broker has been silent for too long; what it
 * dispatched is finished all the same, since a broker drops results that it no longer wants.
 * `idle`: nothing of any broker is in hand. */
uint8_t upstream_tick(struct upstream *self, uint64_t now_us, bool draining, bool idle, bool *lost);
/* The READY that upstream_tick() asked for could not be sent: there is no connection yet. */
void upstream_unsent(struct upstream *self, uint64_t now_us);
uint64_t upstream_deadline_us(const struct upstream *self);

/* The connection broke: the broker gives what it had sent here to others and knows us no more. */
void upstream_cut(struct upstream *self, uint64_t now_us);
/* A connection stands, a new one: time to greet. */
void upstream_connected(struct upstream *self, uint64_t now_us);
/* The next HEARTBEAT is due at that time, if not before; nothing while none is sent. */
void upstream_beat(struct upstream *self, uint64_t due_us);

/* A message came. */
void upstream_heard(struct upstream *self, uint64_t now_us);
/* READY_OK; `model_index` finds a model by name (-1: none of ours). True when what this broker
 * dispatched until now means nothing to it: it is another process than before, or the same over
 * another connection. */
bool upstream_ready_ok(struct upstream *self, const struct wire_ready_ok *ok,
                       int (*model_index)(void *arg, struct view name), void *arg, uint64_t now_us);
void upstream_who_are_you(struct upstream *self, uint64_t now_us);
void upstream_bye_ok(struct upstream *self);

/* NULL when the number is not known. */
const struct upstream_service *upstream_service(const struct upstream *self, uint16_t number);

static inline bool upstream_live(const struct upstream *self) {
    return self->state == UPSTREAM_SERVING;
}

#endif
