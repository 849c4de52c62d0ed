/* watch.c - adds up time, batch by batch. */
#include "watch.h"

#include <string.h>

void watch_init(struct watch *self, uint64_t stuck_us, uint64_t now_us) {
    memset(self, 0, sizeof *self);
    self->stuck_us = stuck_us;
    self->looked_us = now_us;
}

/* Since it started or we last looked, whichever is later. */
static uint64_t step_of(const struct watch *self, uint64_t started_us, uint64_t now_us) {
    uint64_t from = started_us > self->looked_us ? started_us : self->looked_us;
    uint64_t step = now_us > from ? now_us - from : 0;
    return step < WATCH_STEP_US ? step : WATCH_STEP_US;
}

enum watch_news watch_look(struct watch *self, struct batch *batches, uint32_t n, uint64_t now_us) {
    uint32_t before = self->n_stuck;
    self->longest_us = 0;
    self->n_stuck = 0;
    self->worst = NULL;
    for (uint32_t i = 0; i < n; i++) {
        struct batch *batch = &batches[i];
        uint64_t started_us = batch->out ? batch->started_us : 0;
        if (started_us == 0)
            continue;
        batch->ran_us += step_of(self, started_us, now_us);
        self->n_stuck += self->stuck_us && batch->ran_us >= self->stuck_us;
        if (!self->worst || batch->ran_us > self->longest_us) {
            self->longest_us = batch->ran_us;
            self->worst = batch;
        }
    }
    self->looked_us = now_us;
    if (self->stuck_us && self->longest_us >= 2 * self->stuck_us)
        return WATCH_HOPELESS;
    if (self->n_stuck == before)
        return WATCH_NONE;
    return self->n_stuck > before ? WATCH_STUCK : WATCH_EASED;
}
