/* whole.h - what the files of the whole-system simulation share; whole_sim_test.c has the picture.
 *
 *     whole_broker.c   carries frames to a broker/core, as broker/inbound.c and outbound.c do
 *     whole_worker.c   upstream, shares and serve of a worker, as worker/brokers.c and loop.c do
 *     whole_client.c   pool and pending of a client, as client/lib's loop does
 *     whole_sim_test.c time, faults, and what must hold
 *
 * A process has a clock of its own: simulated time plus an offset, which a suspended host
 * lets jump forward. A frozen process does nothing; what is sent to it waits. */
#ifndef EMBER_TEST_SIM_WHOLE_H
#define EMBER_TEST_SIM_WHOLE_H

#include "net.h"

#include "base/hash.h"
#include "base/status.h"
#include "core.h"
#include "engine/engine.h"
#include "models.h"

#include <stdio.h>

enum {
    BROKERS = 3, /* at most; s.n_brokers are there */
    CLIENTS = 4,
    WORKERS = 4,
    PEERS = CLIENTS + WORKERS, /* who dials: clients, then workers */
    TICKETS = 48,
    TEXTS = 1 << 22,
    TEXTS_MAX = 3, /* of one request */
    DIM = 4,
    MS = 1000,
    SECOND = 1000 * MS,
    BEAT_US = 500 * MS,
    TEXT_ROOM = 640,
};

struct process {
    bool alive;
    uint64_t offset_us;       /* its clock is so far ahead */
    uint64_t frozen_until_us; /* all of these in simulated time */
    uint64_t wake_us;
    uint64_t restart_us;
    uint64_t resumed_us; /* the last time it could not run, or its clock jumped, ended here */
};

struct totals {
    uint64_t calls, outcomes[STATUS_UNAUTHENTICATED + 1];
    uint64_t executions, dispatches, poisoned, hedges;
    uint64_t cuts, crashes, freezes, jumps, drains, stalls, lies, swallowed;
    uint64_t spent, moved;
};

struct sim {
    uint64_t seed, random, now_us, steps, step;
    uint64_t jumped_us; /* the last jump of any clock */
    bool healed;        /* faults are over */
    bool calling;       /* clients may ask */
    bool verbose;
    uint32_t n_brokers;
    struct net net;
    struct process broker[BROKERS], client[CLIENTS], worker[WORKERS];
    /* the load of this phase */
    uint32_t burst, pause_us, budget_us, equal_percent, fault_pause_us;
    uint64_t phase_until_us, fault_us;
    uint32_t n_texts;
    uint8_t executed[TEXTS]; /* times, saturating */
    uint8_t killed[TEXTS];   /* workers that a poisonous text has killed */
    struct models models;
    engine_seat_t *seat[2];
    struct totals totals;
};
extern struct sim s;

void sim_failed(const char *file, int line, const char *what);
#define EXPECT(cond)                                                                               \
    do {                                                                                           \
        if (!(cond))                                                                               \
            sim_failed(__FILE__, __LINE__, #cond);                                                 \
    } while (0)

void sim_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define TRACE(...)                                                                                 \
    do {                                                                                           \
        if (s.verbose)                                                                             \
            sim_trace(__VA_ARGS__);                                                                \
    } while (0)

static inline uint32_t below(uint32_t n) {
    return hash_below(&s.random, n);
}
static inline bool chance(uint32_t in_thousand) {
    return below(1000) < in_thousand;
}
static inline uint32_t link_of(uint32_t peer, uint32_t broker) {
    return peer * BROKERS + broker;
}
static inline uint64_t clock_of(const struct process *p) {
    return s.now_us + p->offset_us;
}
/* A time of the process's clock in simulated time. */
static inline uint64_t real_of(const struct process *p, uint64_t us) {
    return us == UINT64_MAX ? us : us > p->offset_us ? us - p->offset_us : 0;
}
static inline void wake_by(struct process *p, uint64_t at_us) {
    p->wake_us = at_us < p->wake_us ? at_us : p->wake_us;
}

/* Text number `n`, which its bytes tell; some kill the worker that computes them, some are slow. */
bool text_is_poison(uint32_t n);
bool text_is_slow(uint32_t n);
struct view text_of(uint32_t n, char out[TEXT_ROOM]);
uint32_t text_number(struct view text); /* the other way */

/* ---- each kind of process: start, a message, time, the end */

void broker_start(uint32_t i);
void broker_kill(uint32_t i);
void broker_message(uint32_t i, const struct net_message *m);
void broker_turn(uint32_t i);                 /* sets wake_us */
void broker_swallow(uint32_t i, uint64_t us); /* takes requests for so long and does nothing */
void broker_drain(uint32_t i);
void broker_check_calm(uint32_t i); /* nothing is left, all workers are live */
const core_t *broker_core(uint32_t i);

void worker_start(uint32_t i);
void worker_kill(uint32_t i);
void worker_message(uint32_t i, uint32_t broker, const struct net_message *m);
void worker_turn(uint32_t i);
void worker_drain(uint32_t i);
void worker_lie(uint32_t i); /* sends a result once more, or one that nobody waits for */
void worker_check_calm(uint32_t i);

void client_start(uint32_t i);
void client_kill(uint32_t i);
void client_message(uint32_t i, uint32_t broker, const struct net_message *m);
void client_turn(uint32_t i);
uint32_t client_open(uint32_t i);          /* calls without an outcome */
void client_probe(uint32_t i, uint32_t n); /* calls that have to succeed */
void client_check_calm(uint32_t i);

#endif
