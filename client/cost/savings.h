/* savings.h - what caches, precisions and routes save, of work and of a cost that goes with work.
 *
 *     saved = 1 - present / original
 *
 * caches     A text that a cache answered would have taken what a computed one took on average. Of
 *            the texts workers answered a part c was computed; of the requests a part q was
 *            answered by the execution of an equal one, at the broker:
 *                present / original = (1 - q) c
 *            and each source saves its part: memory (1 - q) m, Redis (1 - q) r, shared in flight
 *            (1 - q) s, coalesced q.
 * precision  Engine time E_m of a model in i8 or bf16 would be E_m x rate(i8) / rate(f32), by the
 *            price table, for the instance that the workers run on:
 *                present / original = sum E_m / sum E_m x rate(m, as served) / rate(m, f32)
 * routes     With u_m the engine time per answered request of a model and a_m its answers (all of
 *            them; those of one task are compared), against the dearest model of a route alone:
 *                present / original = sum a_m u_m / sum a_m max(u)
 * together   1 - the product of what is known: each is a factor of the work that the others leave.
 *
 * Cost here is the fleet's hourly cost in proportion to work: original = present / (1 - saved).
 * That a fleet is larger than its work is cheaper.h's matter. A saving below zero is a loss.
 *
 * Not known is NAN, with a reason. Threads: any; pure. Memory: names are borrowed from the struct
 * cost. */
#ifndef EMBER_COST_SAVINGS_H
#define EMBER_COST_SAVINGS_H

#include "cost.h"
#include "prices.h"

enum {
    SAVINGS_WHY_BYTES = 200,
    SAVINGS_TASKS = 3, /* embed, classify, rerank: tokenizing is no work of a model */
    SAVINGS_ROUTES_MAX = COST_ROUTES_MAX * SAVINGS_TASKS,
    SAVINGS_TARGETS = 8,
};

struct saving {
    double saved;             /* NAN: not known, and why[] says why */
    double original, present; /* an hour; NAN: not known */
    char why[SAVINGS_WHY_BYTES];
};

struct saving_model { /* of one that is served in i8 or bf16 */
    const struct cost_model *model;
    struct saving saving;
    double ratio; /* rate as served / rate in f32 */
};

struct saving_target { /* a model of a route */
    char model[LIMIT_NAME_BYTES + 1];
    uint32_t weight;
    uint64_t answered;
    double unit_ms;  /* engine time per answered request; NAN: none was answered */
    double per_1000; /* cost, by engine time */
};

struct saving_route {
    char alias[LIMIT_NAME_BYTES + 1];
    const char *task;
    struct saving_target target[SAVINGS_TARGETS];
    uint32_t n;
    struct saving saving;
};

struct savings {
    struct saving caches, precision, routes, all;
    double source[COST_SOURCES]; /* part of `caches` by each; of COST_COMPUTED: the work left */
    double coalesced;            /* the same of equal requests */
    struct saving_model models[COST_MODELS_MAX];
    struct saving_route route[SAVINGS_ROUTES_MAX];
    uint32_t n_models, n_routes;
};

/* `prices` NULL: there is no table. `instance` NULL: it is not known what the workers run on. */
void savings_make(const struct cost *cost, const struct prices *prices, const char *instance,
                  struct savings *out);

#endif
