/* find.h - `ember bench --find-rate`: probes of a live service, chosen by search.h. */
#ifndef EMBER_BENCH_FIND_H
#define EMBER_BENCH_FIND_H

#include "outcome.h"

struct found {
    bool holds;   /* some rate does */
    bool ceiling; /* and more was not or could not be asked */
    double rate;
};

/* Searches, and leaves rows, notes, the facts "holds", "found_rate", "refused_rate" and, as the
 * whole, the good probes of the found rate in *report. A failure says why no call at all is
 * answered. */
enum status find_rate(ember_t *ember, texts_t *texts, struct outcome *report, struct found *out,
                      struct err *err);

#endif
