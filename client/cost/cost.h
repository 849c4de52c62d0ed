/* cost.h - what a fleet does and costs now, from reports of its brokers at two times.
 *
 *     rate of a broker's figure = (later - earlier) / (uptime later - uptime earlier)
 *
 * Requests, engine time, wishes and work asked for (load x live workers) of all brokers are added;
 * workers are taken once, by name and host, from the first broker that lists them, so that it does
 * not matter whether brokers share them. A figure that is smaller
 * later belongs to a program that was started anew and counts from there. Without an earlier report
 * figures count since the start of each broker (and of each worker).
 *
 *     texts per second = requests per second x texts per request, as workers tell
 *     busy             = engine seconds per second / runners
 *
 * Workers tell their counts with heartbeats, half a second late; as texts per request that does not
 * matter. A worker that the earlier report does not list is left out of them, as nobody knows since
 * when it counts.
 *
 * Not known is NAN, everywhere. Threads: any; functions are pure. Memory: what a view borrows must
 * live as long as the view; a struct cost borrows nothing. */
#ifndef EMBER_COST_COST_H
#define EMBER_COST_COST_H

#include <ember/ember.h>

#include "base/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    COST_BROKERS_MAX = LIMIT_BROKERS,
    COST_SERVICES_MAX = LIMIT_SERVICES,
    COST_MODELS_MAX = 256,
    COST_ROUTES_MAX = 16,
    COST_ROUTE_BYTES = 9 * (LIMIT_NAME_BYTES + 10),
};

/* One broker's report as plain lists, borrowed. */
struct cost_view {
    struct ember_broker_info broker;
    struct ember_fleet_info fleet;
    const struct ember_worker_info *workers;
    const struct ember_service_info *services;
    const char *const *routes;
    size_t n_workers, n_services, n_routes;
    uint64_t coalesced; /* requests answered by the execution of an equal one */
};

struct cost_snapshot { /* every broker once, told apart by endpoint */
    struct cost_view view[COST_BROKERS_MAX];
    uint32_t n;
};

enum cost_source { COST_COMPUTED, COST_SHARED, COST_MEMORY, COST_REDIS, COST_SOURCES };

struct cost_service {
    char model[LIMIT_NAME_BYTES + 1];
    char task[16];
    uint64_t answered; /* in the window */
    double per_s;      /* answered requests */
    double engine;     /* seconds of runners per second */
};

struct cost_model { /* that a worker serves, or that answered */
    char name[LIMIT_NAME_BYTES + 1];
    char precision[8]; /* of most workers; "": no worker that is listed serves it */
    bool mixed;        /* others serve it in another */
    uint32_t workers;
    double per_s, engine; /* of all its tasks */
};

struct cost {
    double seconds; /* the longest time between two reports, or since a broker's start */
    uint32_t brokers;
    uint32_t live, suspect, runners;
    uint32_t listed;   /* workers, the union of what brokers list */
    uint32_t unlisted; /* connected, and beyond what a report has room for */
    double desired;    /* workers wished for by the brokers */
    double load;       /* asked for; 1: all that runners can do */
    uint64_t answered, coalesced;
    double per_s, engine, busy;
    uint64_t texts[COST_SOURCES]; /* that workers answered, by enum cost_source */
    double texts_per_s;
    uint32_t stated, unstated; /* listed workers that say what they cost, and do not */
    uint32_t uncounted;        /* of them: whose cost is not known and not in `hourly` */
    double hourly;             /* all that are connected */
    double per_1000, per_million_texts;
    struct cost_service services[COST_SERVICES_MAX];
    struct cost_model models[COST_MODELS_MAX];
    char routes[COST_ROUTES_MAX][COST_ROUTE_BYTES];
    uint32_t n_services, n_models, n_routes;
};

/* `before` NULL: since the start. `hourly_else`: of a worker that states no cost; 0: not known. */
void cost_make(const struct cost_snapshot *before, const struct cost_snapshot *after,
               double hourly_else, struct cost *out);

/* What a thousand requests cost at so many a second; NAN when that cannot be told. */
double cost_per_1000(double hourly, double per_s);

/* What a connected worker costs on average, of those that are counted; NAN: not known. */
double cost_of_worker(const struct cost *self);

const struct cost_model *cost_model(const struct cost *self, const char *name); /* NULL: none */

#endif
