/* runs.h - the kinds of run of `ember bench`. Each leaves what it found in *report, shows it as a
 * table if wanted, and sets *code to the exit status.
 *
 * Threads: owner only. */
#ifndef EMBER_BENCH_RUNS_H
#define EMBER_BENCH_RUNS_H

#include "outcome.h"

enum {
    RUNS_INTERVALS = 24,             /* at first; when they are full, two become one */
    RUNS_INTERVAL_MOST_US = 5000000, /* and so long at first: a load may be ended early */
    RUNS_DRIFT_CALLS = 20,           /* an interval with fewer has no P95 */
};

/* `cli` has an open client but for --compare, the texts are those of the settings. */
typedef enum status runs_fn(struct cli *cli, texts_t *texts, struct outcome *report, int *code,
                            struct err *err);

runs_fn runs_load;    /* one load, as --rate or --concurrency say */
runs_fn runs_find;    /* --find-rate */
runs_fn runs_ramp;    /* --ramp */
runs_fn runs_soak;    /* --soak */
runs_fn runs_compare; /* --compare A B, in compare.c */

#endif
