/* fleet.h - brokers, workers and a Redis of a test's own, as real processes on 127.0.0.1.
 *
 *     struct fleet fleet;
 *     fleet_init(&fleet, &(struct fleet_cfg){.brokers = 1, .workers = 2, .models = {"m=fake:dim=32"}});
 *     fleet_start(&fleet);                        all up and every worker known to every broker
 *     proc_kill(&fleet.worker[0]);
 *     fleet_start_worker(&fleet, 0);              the same again
 *     fleet_wait_workers(&fleet, 2, 3000);
 *     fleet_stop(&fleet);
 *
 * Needs redis-server only when .redis is set: fleet_start() is false when there is none. */
#ifndef EMBER_TEST_FLEET_H
#define EMBER_TEST_FLEET_H

#include "support/proc.h"
#include "support/redis_proc.h"

#include <ember/ember.h>

enum { FLEET_BROKERS = 2, FLEET_WORKERS = 4, FLEET_MODELS = 4, FLEET_EXTRA = 8 };

struct fleet_cfg {
    uint32_t brokers, workers;
    bool real;                             /* ember-worker, not its fake */
    bool redis;                            /* one for all workers; otherwise they run without */
    uint32_t threads;                      /* of a worker; 0: 1 */
    const char *models[FLEET_MODELS];      /* NAME=DIR, up to NULL */
    const char *broker_extra[FLEET_EXTRA]; /* further options, up to NULL */
    const char *worker_extra[FLEET_EXTRA];
};

struct fleet {
    struct fleet_cfg cfg;
    struct proc broker[FLEET_BROKERS], worker[FLEET_WORKERS];
    struct redis_proc redis;
    char clients[FLEET_BROKERS][64], workers[FLEET_BROKERS][64]; /* endpoints of the brokers */
    char endpoints[160]; /* all for clients, for ember_open() */
};

/* Addresses, no processes yet. *self must live as long as the test program. */
void fleet_init(struct fleet *self, const struct fleet_cfg *cfg);
bool fleet_start(struct fleet *self);
void fleet_start_broker(struct fleet *self, uint32_t i);
void fleet_start_worker(struct fleet *self, uint32_t i);

/* Until each running broker knows exactly n workers and all of them are live; the test fails after ms. */
void fleet_wait_workers(struct fleet *self, uint32_t n, uint32_t ms);
/* Until each running broker has nothing queued and nothing in flight. */
void fleet_wait_idle(struct fleet *self, uint32_t ms);
/* A counter of broker i by its name; the test fails when it has none. */
uint64_t fleet_counter(struct fleet *self, uint32_t i, const char *name);

/* Kills all that runs. Fine at any time after fleet_init(), twice too. */
void fleet_stop(struct fleet *self);

#endif
