/* plan.h - how many workers a rate needs, and what that costs, from a rate that some of them hold.
 * It takes workers for alike and their rates for additive: brokers share work by pace, and a queue
 * in front of many is shorter than in front of few, so that the plan errs on the safe side.
 *
 * Threads: any; all functions are pure. */
#ifndef EMBER_BENCH_PLAN_H
#define EMBER_BENCH_PLAN_H

#include <stdint.h>

struct plan {
    double per_worker;  /* calls a second */
    double workers;     /* a whole number; NAN: not known */
    double per_hour;    /* all of them; NAN: not known */
    double per_million; /* calls, at the wanted rate; NAN: not known */
};

/* `found` calls a second were held by `workers`; `hourly` is what one costs, 0: not known. */
struct plan plan_workers(double found, uint32_t workers, double wanted, double hourly);

#endif
