/* cost_print.h - what `ember cost` found, for people (cost_text.c) and programs (cost_json.c).
 *
 * Threads: one. */
#ifndef EMBER_CLI_COST_PRINT_H
#define EMBER_CLI_COST_PRINT_H

#include "cheaper.h"
#include "cost.h"
#include "savings.h"

struct cost_answer {
    struct cost cost;
    struct savings savings;
    struct cheaper cheaper;
    struct cheaper_ask ask;
    double hourly_else; /* of workers that state no cost; 0: not known */
    bool since_start;   /* --window 0 */
    uint32_t n_silent;  /* known brokers that gave no report */
};

void cost_print_text(const struct cost_answer *self);
void cost_print_json(const struct cost_answer *self);
void cost_print_raw(const struct cost_answer *self);

#endif
