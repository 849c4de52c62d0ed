/* broker_sim.h - what the files of the simulation of the core share; broker_sim_test.c has the
 * picture.
 *
 *     broker_sim_net.c    messages on the way, and connections that break
 *     broker_sim_core.c   what the core asks for and is told, judged as it happens
 *     broker_sim_peers.c  clients and workers, and what they do wrong
 *     broker_sim_test.c   time, and what must hold in the end */
#ifndef EMBER_TEST_SIM_BROKER_SIM_H
#define EMBER_TEST_SIM_BROKER_SIM_H

#include "base/hash.h"
#include "core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CLIENTS = 6,
    WORKERS = 5,
    CONNS = CLIENTS + WORKERS,
    TICKETS = 64,
    CALLS = 256, /* remembered per client, by id */
    MESSAGES = 16384,
    JOBS = 64,      /* at one worker */
    FLIGHTS = 4096, /* executions that the core holds to be under way */
    DIED = 1024,    /* payloads remembered that were at a worker that died */
    PAYLOADS = 6,   /* that many clients ask for at the same time */
    BODY_MIN = 8,
    BODY_MAX = 4096,
    POISON = 499, /* one request in so many */
    MS = 1000,
    BEAT_US = 500 * MS,
};

struct call {
    uint64_t id, tag, sent_us, arrived_us;
    uint32_t budget_us;
    bool open, resent, cancelled;
};

struct job {
    uint64_t ticket, tag, due_us, deadline_us;
};

struct flight {
    uint64_t ticket, tag;
    uint32_t worker;
};

struct conn { /* connection i: client i, or worker i - CLIENTS */
    bool up;
    uint64_t lag_until_us; /* down, but sends are still swallowed */
    uint32_t life;         /* grows with each connection; messages of older ones are lost */
    uint32_t number;       /* at the core, or CORE_NONE */
    uint64_t last_in_us, last_out_us; /* arrivals, so that order is kept */
    uint64_t retry_us;                /* connect or introduce itself again */
    uint64_t epoch;                   /* of the session, 0: none yet */
    /* a client */
    uint64_t next_id, next_call_us;
    struct call calls[CALLS];
    /* a worker */
    uint64_t uuid, frozen_until_us, stuck_until_us, next_beat_us;
    struct job jobs[JOBS];
    uint32_t n_jobs;
    uint16_t credit;
    bool leaving;
};

struct message {
    uint64_t at_us, order, tag;
    uint32_t conn, life;
    bool to_core;
    struct header header;
};

struct sim {
    uint64_t seed, random, now_us, order, jump_us;
    core_t *core;
    struct conn conns[CONNS];
    uint32_t client_conn[CLIENTS + 1], worker_conn[WORKERS + 4]; /* by the core's numbers */
    uint64_t bodies[TICKETS];                                    /* tag by slot, 0: none */
    size_t body_bytes[TICKETS];
    uint64_t incoming; /* tag of the RESULT being handled */
    struct message heap[MESSAGES];
    uint32_t n_heap;
    bool healed;
    uint32_t services[8]; /* numbers that clients ask for */
    uint64_t outcomes[STATUS_UNAUTHENTICATED + 1];
    uint64_t faults, moved;
    struct flight flights[FLIGHTS];
    uint32_t n_flights;
    struct {
        uint64_t tag, n;
    } died[DIED];
    uint32_t n_died;
    uint64_t payloads[PAYLOADS];
    uint64_t recovered, hedged, coalesced, poisoned;
};
extern struct sim s;

#define EXPECT(cond)                                                                               \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: %s does not hold (--seed %llu, at %llu us)\n", __FILE__,       \
                    __LINE__, #cond, (unsigned long long)s.seed, (unsigned long long)s.now_us);    \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static inline uint32_t below(uint32_t n) {
    return hash_below(&s.random, n);
}

static inline bool chance(uint32_t in_thousand) {
    return below(1000) < in_thousand;
}

static inline uint64_t answer_of(uint64_t tag) {
    return hash_mix(tag) | 1;
}

/* Equal tags have equal lengths, and bodies that begin with them. */
static inline size_t bytes_of(uint64_t tag) {
    uint64_t random = tag;
    uint32_t most = hash_below(&random, 10) ? 300 : BODY_MAX - BODY_MIN;
    return BODY_MIN + hash_below(&random, most);
}

static inline struct view body_of(uint64_t tag, unsigned char *room) {
    memcpy(room, &tag, sizeof tag);
    return view_make(room, bytes_of(tag));
}

/* ---- the network */

void post(struct message m);
struct message fetch(void); /* the next one; there must be one */
/* Sends over the connection, to the core or from it; lost when that is down. */
void transmit(uint32_t conn, bool to_core, struct header header, uint64_t tag);
void disconnect(uint32_t conn);

/* ---- the core */

extern const struct core_ops sim_ops;
void arrive(const struct message *m);

/* ---- who is connected to it: a message, time */

void client_receives(uint32_t conn, const struct message *m);
void client_step(uint32_t conn);
void worker_receives(uint32_t conn, const struct message *m);
void worker_step(uint32_t conn);

#endif
