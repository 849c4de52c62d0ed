/* runner.h - one thread, one seat a model, one batch at a time.
 *
 * Threads: runner_start() and runner_join() are the loop's; the thread shares nothing but the link
 * and the engines, which are immutable. Memory: all of it at start, none per batch. */
#ifndef EMBER_WORKER_RUNNER_H
#define EMBER_WORKER_RUNNER_H

#include "link.h"
#include "models.h"

typedef struct runner runner_t;

struct runner_cfg {
    const struct models *models;
    link_t *link;
    uint32_t number; /* names the thread: "runner-3" */
    uint32_t tokens_max, items_max;
    bool alone; /* batches are never shared with runners that wait */
};

/* Makes the seats, then the thread. STATUS_RESOURCE_EXHAUSTED without memory. */
enum status runner_start(const struct runner_cfg *cfg, runner_t **out, struct err *err);
/* Waits for the thread, which ends after link_close(). NULL is fine. */
void runner_join(runner_t **self);

/* What the thread does with a batch; here for tests, which have no thread. */
void runner_batch(engine_seat_t *seat, struct batch *batch);

#endif
