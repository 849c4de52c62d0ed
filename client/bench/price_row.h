/* price_row.h - the row of a price table (client/cost/prices.h) that a search found: what one of
 * the workers holds.
 *
 * Threads: one. */
#ifndef EMBER_BENCH_PRICE_ROW_H
#define EMBER_BENCH_PRICE_ROW_H

#include "find.h"

/* A word that a price table takes for an instance or a model. */
bool price_row_is_name(const char *text);

/* The found rate was held by `workers` of `model`, who each cost `hourly` (0: not known). Leaves
 * the row in *report, behind notes on what stands in it for something that is not known; a rate
 * that is only a lower bound, and a mix of calls, are remarked behind it. Left out where we may not
 * ask for the status; a note says so where workers differ in precision. */
void price_row_tell(const struct cli *cli, struct outcome *report, const char *model,
                    uint32_t workers, const struct found *found, double hourly);

#endif
