/* prices.h - the price table of `ember cost`: what an instance costs and how much it holds.
 *
 *     # instance   hourly   model    precision   rate
 *     amber-4      0.17     minilm   i8          412     # of ember bench --find-rate
 *     amber-4      0.17     *        f32         95
 *
 * A row a line, words between blanks; what follows a word that begins with # is a comment. `rate`
 * is calls a second at which one instance holds the service level, `hourly` what an instance costs,
 * 0: not known. Model * is any that has no row of its own. An instance has one cost; a row that
 * comes twice is refused.
 *
 * Threads: a parsed table is immutable. Memory: none of its own. */
#ifndef EMBER_COST_PRICES_H
#define EMBER_COST_PRICES_H

#include "base/err.h"
#include "base/limits.h"
#include "base/view.h"

#include <stdint.h>

enum { PRICES_PRECISION_BYTES = 8 }; /* with the NUL */
#define PRICES_HOURLY_MAX 1e6
#define PRICES_RATE_MIN   1e-6
#define PRICES_RATE_MAX   1e9

struct price {
    char instance[LIMIT_NAME_BYTES + 1], model[LIMIT_NAME_BYTES + 1];
    char precision[PRICES_PRECISION_BYTES]; /* "f32", "bf16", "i8" */
    double hourly, rate;
    uint32_t line; /* where it stands */
};

struct prices {
    struct price row[LIMIT_PRICES_ROWS];
    uint32_t n;
};

/* `what` names the table in messages. STATUS_INVALID_ARGUMENT names line and fault,
 * STATUS_RESOURCE_EXHAUSTED the limit; *out may then hold some rows. A table without a row is a
 * fault, too. */
enum status prices_parse(struct view text, const char *what, struct prices *out, struct err *err);

/* The row of the model, else of *; NULL: none. */
const struct price *prices_find(const struct prices *self, const char *instance, const char *model,
                                const char *precision);

/* Some row of that instance: all have its cost. NULL: it is not in the table. */
const struct price *prices_instance(const struct prices *self, const char *instance);

/* The instance, if the table has a single one; else NULL. */
const char *prices_only(const struct prices *self);

/* "amber-4, birch-8", cut where there is no more room. Returns out. */
const char *prices_list(const struct prices *self, char *out, size_t bytes);

#endif
