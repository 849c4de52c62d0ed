/* budget.h - how many tokens a batch may have while memory is short. Pure: no clock, no files.
 *
 *     used of the limit     tokens of a batch
 *     above 80 %            half as many, down to BUDGET_TOKENS_MIN
 *     60 to 80 %            as many as before: a band, so that it does not swing
 *     below 60 %            twice as many, up to the setting
 *
 * Threads: owner only. */
#ifndef EMBER_WORKER_BUDGET_H
#define EMBER_WORKER_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

enum { BUDGET_TOKENS_MIN = 32, BUDGET_SHRINK_PERCENT = 80, BUDGET_GROW_PERCENT = 60 };

struct budget {
    uint32_t tokens_max; /* the setting */
    uint32_t tokens;     /* what holds now; at most tokens_max */
};

void budget_init(struct budget *self, uint32_t tokens_max);

/* Memory was looked at: `used` of `limit` bytes, 0 for no limit. True when self->tokens changed.
 * One step a call, so whoever calls decides how fast it moves. */
bool budget_sample(struct budget *self, uint64_t used, uint64_t limit);

#endif
