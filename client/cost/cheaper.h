/* cheaper.h - what fleets would do the same work, and what they cost.
 *
 *     needed       = load x live workers / target          workers wished for, as a fraction
 *     needed_m     = needed x engine time of model m / engine time of all
 *     workers      = ceil(sum of needed_m x rate(now, m) / rate(candidate, m)), at least
 *                    min_workers
 *
 * Rates are those of the price table: how many calls a second one instance holds, so that only
 * their ratios count. A candidate is an instance with one precision for all models, or with the
 * precisions in use; it needs a row for each model that is in use. The present instance as it is
 * needs none. Where brokers do not know a load yet, runners' busy share stands for it: it leaves
 * out what waits.
 *
 * Not known is NAN, with a reason. Threads: any; pure. Memory: instances are borrowed from the
 * table. */
#ifndef EMBER_COST_CHEAPER_H
#define EMBER_COST_CHEAPER_H

#include "cost.h"
#include "prices.h"

/* Each row is a candidate at most, each instance once more as it is served, and the present one. */
enum { CHEAPER_MAX = 2 * LIMIT_PRICES_ROWS + 1, CHEAPER_WHY_BYTES = 200 };

struct cheaper_ask {
    const struct prices *prices; /* NULL: none */
    const char *instance;        /* that workers run on; NULL: not known */
    double target;               /* load that a worker is to have, 0 to 1 */
    uint32_t min_workers;
};

struct candidate {
    const char *instance;  /* "": the present one, without a name */
    const char *precision; /* "f32" ..., or "as now" */
    bool present;          /* nothing changes but the number of workers */
    bool changes_answers;  /* a model gets another precision: its answers change a little */
    double workers, hourly, per_1000;
    double saved;                /* against now; NAN also while a worker's cost is not known */
    char why[CHEAPER_WHY_BYTES]; /* of workers or hourly that are NAN */
};

struct cheaper {
    char why[CHEAPER_WHY_BYTES];       /* there is no candidate at all; "": there are */
    double needed;                     /* workers, a fraction; NAN: not known */
    bool by_busy;                      /* `load` was not known */
    double hourly;                     /* of one worker as it is now */
    struct candidate row[CHEAPER_MAX]; /* cheapest first, those of unknown cost last */
    uint32_t n;
    const struct candidate *best; /* cheapest, NULL: no cost is known */
};

void cheaper_make(const struct cost *cost, const struct cheaper_ask *ask, struct cheaper *out);

#endif
