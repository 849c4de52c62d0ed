/* runner.c - take a batch, run it, give it back, until the link is closed.
 *
 * Why a runner is one thread and not a team: two threads that meet several times a layer pay for
 * each meeting, and with several batches waiting two runners have the same throughput without. */
#include "runner.h"

#include "base/clock.h"
#include "base/thread.h"

#include <stdio.h>
#include <stdlib.h>

struct runner {
    struct runner_cfg cfg;
    engine_seat_t *seats[LIMIT_MODELS];
    pthread_t thread;
    bool running;
};

static void run_tokens(struct batch *batch) {
    struct batch_tokens *job = batch->tokens;
    for (uint32_t i = 0; i < job->n; i++)
        job->n_ids[i] =
            engine_tokenize(batch->engine, job->texts[i], job->side,
                            job->ids + (size_t)i * job->max_ids, job->max_ids, &job->n_full[i]);
}

void runner_batch(engine_seat_t *seat, struct batch *batch) {
    batch->started_us = clock_us();
    if (batch->tokens)
        run_tokens(batch);
    else
        engine_run(batch->engine, seat, batch->items, batch->n, &batch->times);
    batch->finished_us = clock_us();
    if (batch->tokens)
        batch->times.tokenize_us = batch->finished_us - batch->started_us;
}

static void *run(void *arg) {
    runner_t *self = arg;
    for (;;) {
        struct batch *batch = link_take(self->cfg.link);
        if (!batch)
            return NULL;
        runner_batch(self->seats[batch->model], batch);
        link_give(self->cfg.link, batch);
    }
}

enum status runner_start(const struct runner_cfg *cfg, runner_t **out, struct err *err) {
    runner_t *self = calloc(1, sizeof *self);
    if (!self)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for a runner");
    self->cfg = *cfg;
    enum status st = STATUS_OK;
    for (uint32_t m = 0; m < cfg->models->n && st == STATUS_OK; m++)
        st = engine_seat_new(cfg->models->model[m].engine, cfg->tokens_max, cfg->items_max,
                             &self->seats[m], err);
    if (st == STATUS_OK) {
        char name[16];
        snprintf(name, sizeof name, "runner-%u", cfg->number % 1000);
        st = thread_start(&self->thread, name, run, self, err);
        self->running = st == STATUS_OK;
    }
    if (st != STATUS_OK) {
        runner_join(&self);
        return st;
    }
    *out = self;
    return STATUS_OK;
}

void runner_join(runner_t **self_p) {
    runner_t *self = *self_p;
    if (!self)
        return;
    if (self->running)
        pthread_join(self->thread, NULL);
    for (uint32_t m = 0; m < LIMIT_MODELS; m++)
        if (self->seats[m])
            engine_seat_destroy(&self->seats[m]);
    free(self);
    *self_p = NULL;
}
