/* rig.h - brokers, workers and a Redis of a test's own, as real processes on 127.0.0.1.
 *
 *     struct rig rig;
 *     rig_init(&rig, &(struct rig_cfg){.brokers = 1, .workers = 2, .models = {"m=fake:dim=32"}});
 *     rig_start(&rig);                        all up and every worker known to every broker
 *     proc_kill(&rig.worker[0]);
 *     rig_start_worker(&rig, 0);              the same again
 *     rig_wait_workers(&rig, 2, 3000);
 *     rig_stop(&rig);
 *
 * Needs redis-server only when .redis is set: rig_start() is false when there is none. */
#ifndef EMBER_TEST_RIG_H
#define EMBER_TEST_RIG_H

#include "support/net.h"
#include "support/proc.h"
#include "support/redis_proc.h"

#include <ember/ember.h>

enum { RIG_BROKERS = 2, RIG_WORKERS = 4, RIG_MODELS = 12, RIG_EXTRA = 8 };

/* Hosts of a rig with a network of its own: broker i is host i, worker i is host RIG_HOST_WORKER
 * + i, clients share two, and the test itself looks from the last. */
enum {
    RIG_HOST_WORKER = RIG_BROKERS,
    RIG_HOST_CLIENT = RIG_HOST_WORKER + RIG_WORKERS,
    RIG_HOST_TEST = RIG_HOST_CLIENT + 2,
    RIG_HOSTS
};

struct rig_cfg {
    uint32_t brokers, workers;
    bool real;                           /* ember-worker, not its fake */
    bool redis;                          /* one for all workers; otherwise they run without */
    uint32_t threads;                    /* of a worker; 0: 1 */
    const char *models[RIG_MODELS];      /* NAME=DIR, up to NULL */
    const char *broker_extra[RIG_EXTRA]; /* further options, up to NULL */
    const char *worker_extra[RIG_EXTRA];
    /* What stands before the program, up to NULL: {"prlimit", "--nofile=64"}. */
    const char *broker_before[RIG_EXTRA], *worker_before[RIG_EXTRA];
    struct net *net; /* of RIG_HOSTS; NULL: all on 127.0.0.1 */
};

struct rig {
    struct rig_cfg cfg;
    struct proc broker[RIG_BROKERS], worker[RIG_WORKERS];
    struct redis_proc redis;
    char clients[RIG_BROKERS][64], workers[RIG_BROKERS][64]; /* endpoints of the brokers */
    char endpoints[160];                                     /* all for clients, for ember_open() */
};

/* Addresses, no processes yet. *self must live as long as the test program. */
void rig_init(struct rig *self, const struct rig_cfg *cfg);
bool rig_start(struct rig *self);
void rig_start_broker(struct rig *self, uint32_t i);
void rig_start_worker(struct rig *self, uint32_t i);
/* With another model than the rig's: one whose engine has a fault, say. */
void rig_start_worker_as(struct rig *self, uint32_t i, const char *model);

/* Until each running broker knows exactly n workers, all of them live or suspect (one that was
 * stuck proves itself with requests alone: without load it stays suspect); the test fails after
 * ms. */
void rig_wait_workers(struct rig *self, uint32_t n, uint32_t ms);
/* The same, and none is suspect: under load. */
void rig_wait_trusted(struct rig *self, uint32_t n, uint32_t ms);
/* Until each running broker has nothing queued and nothing in flight. */
void rig_wait_idle(struct rig *self, uint32_t ms);
/* A counter of broker i by its name; the test fails when it has none. */
uint64_t rig_counter(struct rig *self, uint32_t i, const char *name);

/* Kills all that runs. Fine at any time after rig_init(), twice too. */
void rig_stop(struct rig *self);

#endif
