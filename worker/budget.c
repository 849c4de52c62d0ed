/* budget.c - see budget.h. Halving and doubling meet the setting again, because the way up ends at
 * it and not at a power of two below. */
#include "budget.h"

static uint32_t least(const struct budget *self) {
    return self->tokens_max < BUDGET_TOKENS_MIN ? self->tokens_max : BUDGET_TOKENS_MIN;
}

/* Whether used is above `percent` of limit; used * 100 could overflow, limit / 100 cannot. */
static bool above(uint64_t used, uint64_t limit, uint32_t percent) {
    return used / percent > limit / 100 ||
           (used / percent == limit / 100 && used % percent * 100 > limit % 100 * percent);
}

void budget_init(struct budget *self, uint32_t tokens_max) {
    *self = (struct budget){.tokens_max = tokens_max, .tokens = tokens_max};
}

bool budget_sample(struct budget *self, uint64_t used, uint64_t limit) {
    const uint32_t before = self->tokens;
    if (limit != 0 && above(used, limit, BUDGET_SHRINK_PERCENT)) {
        self->tokens = self->tokens / 2 > least(self) ? self->tokens / 2 : least(self);
    } else if (limit == 0 || !above(used, limit, BUDGET_GROW_PERCENT)) {
        self->tokens = self->tokens > self->tokens_max / 2 ? self->tokens_max : 2 * self->tokens;
    }
    return self->tokens != before;
}
