/* runner.c - take a batch, run it, give it back, until the link is closed.
 *
 * A runner is one thread, not a team: two threads that meet several times a layer pay for each
 * meeting, and with several batches waiting two runners have the same throughput without. Only
 * while other runners wait for work does one with a long batch invite them to help; they leave as
 * soon as there is a batch for them. */
#include "runner.h"

#include "base/clock.h"
#include "base/thread.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    HELP_TOKENS = 32, /* a thread more for as many tokens */
    HELP_PLACES_MAX =
        7, /* threads beside the runner's own: more would mostly wait for each other */
};

struct runner {
    struct runner_cfg cfg;
    struct link_help help; /* others with our batch */
    engine_seat_t *seats[LIMIT_MODELS];
    uint32_t trims; /* as the last batch told */
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
    batch_begin(batch);
    if (batch->tokens)
        run_tokens(batch);
    else if (batch->n_run > 0)
        engine_run(batch->engine, seat, batch->items, batch->n_run, &batch->times);
    batch->finished_us = clock_us();
    if (batch->tokens)
        batch->times.tokenize_us = batch->finished_us - batch->started_us;
}

/* Runners that would pay for themselves with this batch. */
static uint32_t places(const struct batch *batch) {
    uint32_t tokens = 0;
    for (uint32_t i = 0; i < batch->n; i++) {
        const struct engine_item *item = &batch->items[i];
        tokens += engine_estimate(batch->engine, item->text);
        if (item->pair != ENGINE_SINGLE)
            tokens += engine_estimate(batch->engine, item->second);
    }
    uint32_t threads = tokens / HELP_TOKENS;
    return threads < 2 ? 0 : threads - 1 < HELP_PLACES_MAX ? threads - 1 : HELP_PLACES_MAX;
}

static bool invite(runner_t *self, const struct batch *batch) {
    uint32_t n = self->cfg.alone ? 0 : places(batch);
    if (n == 0)
        return false;
    self->help.model = batch->model;
    team_begin(&self->help.team);
    bool stands = link_invite(self->cfg.link, &self->help, n);
    if (!stands)
        team_end(&self->help.team);
    return stands;
}

/* Memory got short since our last batch: what large ones left behind goes back. */
static void trim(runner_t *self, uint32_t trims) {
    if (self->trims == trims)
        return;
    self->trims = trims;
    for (uint32_t m = 0; m < LIMIT_MODELS; m++)
        if (self->seats[m])
            engine_seat_trim(self->seats[m]);
}

static void lead(runner_t *self, struct batch *batch) {
    trim(self, batch->trims);
    engine_seat_t *seat = self->seats[batch->model];
    bool invited = invite(self, batch);
    engine_seat_lead(seat, invited ? &self->help.team : NULL);
    runner_batch(seat, batch);
    if (invited)
        team_end(&self->help.team);
    link_give(self->cfg.link, batch);
    if (invited)
        link_dismiss(self->cfg.link, &self->help);
}

static bool wanted_elsewhere(void *arg) {
    return link_calls(arg);
}

static void *run(void *arg) {
    runner_t *self = arg;
    for (;;) {
        struct link_help *help;
        struct batch *batch = link_take(self->cfg.link, &help);
        if (batch) {
            lead(self, batch);
        } else if (help) {
            engine_help(self->seats[help->model], &help->team, wanted_elsewhere, self->cfg.link);
            link_leave(self->cfg.link, help);
        } else {
            return NULL;
        }
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
