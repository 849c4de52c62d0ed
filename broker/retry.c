/* retry.c - see retry.h. The sums are those of the arrays: a turn takes the oldest second out. */
#include "retry.h"

void retry_forced(struct retry *self) {
    self->again[self->at]++;
    self->again_sum++;
}

bool retry_take(struct retry *self) {
    uint64_t most = self->asked_sum * RETRY_PERCENT / 100 + RETRY_FLOOR * RETRY_SECONDS;
    if (self->again_sum >= most)
        return false;
    retry_forced(self);
    return true;
}

void retry_return(struct retry *self) {
    if (!self->again[self->at])
        return; /* taken in an earlier second, where it soon is forgotten */
    self->again[self->at]--;
    self->again_sum--;
}

void retry_turn(struct retry *self, uint64_t seconds) {
    if (seconds > RETRY_SECONDS)
        seconds = RETRY_SECONDS;
    for (; seconds; seconds--) {
        self->at = (self->at + 1) % RETRY_SECONDS;
        self->asked_sum -= self->asked[self->at];
        self->again_sum -= self->again[self->at];
        self->asked[self->at] = self->again[self->at] = 0;
    }
}
