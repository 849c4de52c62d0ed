/* serve_batch.c - flights into batches, and vectors or logits back to those who wait. */
#include "request.h"

#include "base/check.h"

#include <stdio.h>

/* Drops waiters whose time is over: they are answered now, not after a batch they do not need. */
static void expire_waiters(serve_t *self, struct flight *flight) {
    struct link *l = queue_head(&flight->waiters);
    while (l) {
        struct request *request = QUEUE_ITEM(l, struct unit, link)->request;
        if (request->deadline_us <= self->now_us) {
            serve_expire(self, request); /* may take several units off this list */
            l = queue_head(&flight->waiters);
        } else {
            l = queue_next(&flight->waiters, l);
        }
    }
}

static void place(serve_t *self, struct flight *flight, struct batch *batch) {
    expire_waiters(self, flight);
    if (queue_empty(&flight->waiters)) {
        flights_remove(&self->flights, flight);
        return;
    }
    flight->batch = batch;
    flight->at = batch->n;
    const struct unit *first = QUEUE_ITEM(queue_head(&flight->waiters), struct unit, link);
    struct engine_item *item =
        batch_add(batch, flights_slot(&self->flights, flight), first->request->prefix, first->text,
                  first->second, self->cfg.models->model[flight->model].info->dim);
    item->pair = (enum engine_pair)first->pair;
    item->side = flight->side;
    item->max_tokens = flight->max_tokens;
}

static bool fill_job(serve_t *self, struct batch *batch) {
    struct request *request;
    for (;;) {
        struct link *l = queue_head(&self->jobs);
        if (!l)
            return false;
        request = QUEUE_ITEM(l, struct request, tokenize.link);
        if (request->deadline_us > self->now_us)
            break;
        serve_expire(self, request); /* takes it off the list */
    }
    queue_pop(&self->jobs);
    batch_reset(batch, request_model(self, request)->engine, request->model);
    tokenize_fill(request, &batch->job);
    batch->job.token = (uint64_t)(request - self->requests);
    batch->tokens = &batch->job;
    batch->kind = (struct batcher_kind){.lane = request->lane};
    request->on_runner = true;
    return true;
}

static bool fill_texts(serve_t *self, struct batch *batch, uint32_t free_runners) {
    for (;;) {
        uint32_t n =
            batcher_pick(&self->batcher, free_runners, self->now_us, self->picked, &batch->kind);
        if (n == 0)
            return false;
        uint32_t model = QUEUE_ITEM(self->picked[0], struct flight, entry)->model;
        batch_reset(batch, self->cfg.models->model[model].engine, model);
        for (uint32_t i = 0; i < n; i++) { /* first: expiring takes waiters off others, too */
            struct flight *flight = QUEUE_ITEM(self->picked[i], struct flight, entry);
            flight->state = FLIGHT_RUNNING;
            flight->batch = NULL;
        }
        for (uint32_t i = 0; i < n; i++)
            place(self, QUEUE_ITEM(self->picked[i], struct flight, entry), batch);
        if (batch->n > 0)
            return true;
    }
}

bool serve_fill(serve_t *self, struct batch *batch, uint32_t free_runners) {
    if (!fill_job(self, batch) && !fill_texts(self, batch, free_runners))
        return false;
    batch->number = ++self->batch_number;
    batch->formed_us = self->now_us;
    self->running += batch->n;
    self->batches_out++;
    return true;
}

bool serve_saturated(const serve_t *self) {
    return batcher_full(&self->batcher);
}

bool serve_presses(const serve_t *self, const struct batch *batch) {
    return batcher_presses(&self->batcher, &batch->kind);
}

static void note_batch(const struct batch *batch, const struct flight *flight) {
    uint64_t queued = batch->started_us > flight->entry.queued_us
                          ? batch->started_us - flight->entry.queued_us
                          : 0;
    for (struct link *l = queue_head(&flight->waiters); l; l = queue_next(&flight->waiters, l)) {
        struct request *request = QUEUE_ITEM(l, struct unit, link)->request;
        if (queued > request->times.queue_us)
            request->times.queue_us = serve_us32(queued);
        if (request->last_batch == batch->number)
            continue;
        request->last_batch = batch->number;
        request->times.tokenize_us += serve_us32(batch->times.tokenize_us);
        request->times.infer_us += serve_us32(batch->times.infer_us);
    }
}

/* "text 2", "the query with document 3" for messages; returns the index + 1 of what the reply has
 * facts of, or 0. */
static uint32_t name_unit(const struct unit *unit, char *out, size_t out_bytes) {
    if (unit->request->task == WIRE_TASK_CLASSIFY)
        return classify_name(unit, out, out_bytes);
    const char *what = unit->request->task == WIRE_TASK_RERANK ? "the query with document" : "text";
    snprintf(out, out_bytes, "%s %u", what, unit->index + 1);
    return unit->index + 1;
}

/* The model gave no answer: all that wait for it fail. */
static void crash(serve_t *self, struct flight *flight, const struct engine_item *item) {
    flight->state = FLIGHT_DONE;
    for (struct link *l; (l = queue_pop(&flight->waiters));) {
        struct unit *unit = QUEUE_ITEM(l, struct unit, link);
        struct request *request = unit->request;
        char name[64];
        uint32_t at = name_unit(unit, name, sizeof name);
        unit->flight = NULL;
        request->pending--;
        if (item->status == STATUS_OUT_OF_RANGE)
            serve_fail(request, STATUS_INVALID_ARGUMENT, at,
                       "%s has %u tokens, %u are allowed, and truncation is off", name,
                       item->tokens_full, flight->max_tokens);
        else
            serve_fail(request, STATUS_INTERNAL, at, "the model gave no usable %s for %s",
                       flight->kind == UNIT_VECTOR ? "vector" : "score", name);
        serve_settle(self, request);
    }
    flights_remove(&self->flights, flight);
}

/* Engine work on the item, as its part of the batch's tokens, goes to who asked first: others who
 * wait for the same text would not have made it cheaper by staying away. */
static void note_work(const struct flight *flight, uint64_t batch_ns, uint32_t tokens,
                      uint64_t batch_tokens) {
    struct link *l = queue_head(&flight->waiters);
    if (l && batch_tokens)
        QUEUE_ITEM(l, struct unit, link)->request->work_ns += batch_ns * tokens / batch_tokens;
}

/* Nobody waited for it when its batch began. Somebody who came later waits once more. */
static void done_dropped(serve_t *self, struct flight *flight) {
    CHECK(flight->state == FLIGHT_RUNNING);
    counter_add(&self->stats.dropped, 1);
    if (queue_empty(&flight->waiters))
        flights_remove(&self->flights, flight);
    else
        serve_enqueue(self, flight);
}

static void done_item(serve_t *self, const struct batch *batch, uint32_t i) {
    const struct engine_item *item = &batch->items[i];
    struct flight *flight = &self->flights.flight[batch->flights[i]];
    const struct engine_info *info = self->cfg.models->model[batch->model].info;
    CHECK(flight->state == FLIGHT_RUNNING);
    histogram_add(&self->stats.queue_us, batch->started_us > flight->entry.queued_us
                                             ? batch->started_us - flight->entry.queued_us
                                             : 0);
    note_batch(batch, flight);
    if (item->status != STATUS_OK) {
        crash(self, flight, item);
        return;
    }
    counter_add(&self->stats.tokens, item->tokens);
    struct cache_entry entry = {.kind = flight->kind == UNIT_RANK ? CACHE_RANK : CACHE_EMB,
                                .truncated = item->tokens_full > item->tokens,
                                .tokens = item->tokens,
                                .n = info->dim,
                                .numbers = item->out};
    if (flight->keep && self->cfg.cache.self &&
        (flight->max_tokens == info->max_tokens ||
         (!entry.truncated && entry.tokens <= info->max_tokens))) /* any limit gives this one */
        self->cfg.cache.put(self->cfg.cache.self, &flight->key, &entry, NULL);
    serve_land(self, flight, &entry, WIRE_SOURCE_MODEL, WIRE_SOURCE_SHARED);
}

static void done_job(serve_t *self, const struct batch *batch) {
    struct request *request = &self->requests[batch->job.token];
    request->on_runner = false;
    if (request->answered) {
        queue_remove(&self->parked, &request->link);
        serve_release(self, request);
        return;
    }
    request->times.tokenize_us = serve_us32(batch->times.tokenize_us);
    request->work_ns = batch->times.tokenize_us * 1000;
    request->times.queue_us = serve_us32(batch->started_us - request->arrived_us);
    request->pending--;
    serve_settle(self, request);
}

void serve_done(serve_t *self, struct batch *batch) {
    CHECK(self->batches_out > 0);
    self->batches_out--;
    self->running -= batch->n;
    counter_add(&self->stats.batches, 1);
    if (batch->finished_us > batch->started_us)
        counter_add(&self->stats.busy_us, batch->finished_us - batch->started_us);
    histogram_add(&self->stats.tokenize_us, batch->times.tokenize_us);
    if (batch->tokens) {
        done_job(self, batch);
        return;
    }
    histogram_add(&self->stats.infer_us, batch->times.infer_us);
    uint64_t work_ns = (batch->times.tokenize_us + batch->times.infer_us) * 1000, tokens = 0;
    for (uint32_t i = 0; i < batch->n_run; i++)
        tokens += batch->items[i].tokens;
    if (batch->n_run) {
        sizes_add(&self->stats.batch_texts, batch->n_run);
        sizes_add(&self->stats.batch_tokens, tokens);
    }
    /* Before the first is answered: that may take other waiters off their lists. */
    for (uint32_t i = 0; i < batch->n_run; i++)
        note_work(&self->flights.flight[batch->flights[i]], work_ns, batch->items[i].tokens,
                  tokens);
    for (uint32_t i = 0; i < batch->n; i++)
        if (i < batch->n_run)
            done_item(self, batch, i);
        else
            done_dropped(self, &self->flights.flight[batch->flights[i]]);
}

static void recall_job(serve_t *self, const struct batch *batch) {
    struct request *request = &self->requests[batch->job.token];
    request->on_runner = false;
    if (request->answered) {
        queue_remove(&self->parked, &request->link);
        serve_release(self, request);
    } else {
        queue_push(&self->jobs, &request->tokenize.link);
    }
}

void serve_recall(serve_t *self, struct batch *batch) {
    CHECK(self->batches_out > 0);
    self->batches_out--;
    self->running -= batch->n;
    if (batch->tokens) {
        recall_job(self, batch);
        return;
    }
    for (uint32_t i = batch->n; i-- > 0;) { /* from the last: each goes before all */
        struct flight *flight = &self->flights.flight[batch->flights[i]];
        CHECK(flight->state == FLIGHT_RUNNING);
        if (queue_empty(&flight->waiters))
            flights_remove(&self->flights, flight);
        else
            serve_enqueue_again(self, flight);
    }
}
