/* ticket.c - the life of one admitted request. See core_state.h for the picture.
 *
 * Invariants:
 *   - a ticket is free, in exactly one line, or has runs (run.c);
 *   - it leaves through finish() alone, which happens once, after its answer or its client's
 *     loss. */
#include "core_state.h"

#include "base/check.h"
#include "base/hash.h"

#include <stdio.h>

static uint32_t *bucket_of(core_t *self, uint32_t client, uint64_t id) {
    /* Clients choose their ids: without the seed they could choose all of one bucket. */
    uint64_t key = (id + ((uint64_t)client << 40)) ^ self->cfg.seed;
    return &self->buckets[hash_mix(key) & self->bucket_mask];
}

struct ticket *ticket_new(core_t *self, uint32_t client, uint64_t id) {
    if (!self->n_free_tickets && self->high_tickets == self->cfg.max_tickets)
        return NULL;
    uint32_t slot =
        self->n_free_tickets ? self->free_tickets[--self->n_free_tickets] : self->high_tickets++;
    struct ticket *t = &self->tickets[slot];
    *t = (struct ticket){.id = id,
                         .client = client,
                         .account = self->clients[client].account,
                         .runs = {CORE_NONE, CORE_NONE},
                         .state = TICKET_FREE};
    uint32_t *bucket = bucket_of(self, client, id);
    t->same_bucket = *bucket;
    *bucket = slot;
    queue_push(&self->clients[client].tickets, &t->owned);
    return t;
}

struct ticket *ticket_find(core_t *self, uint32_t client, uint64_t id) {
    for (uint32_t slot = *bucket_of(self, client, id); slot != CORE_NONE;) {
        struct ticket *t = &self->tickets[slot];
        if (t->id == id && t->client == client)
            return t;
        slot = t->same_bucket;
    }
    return NULL;
}

void ticket_wait(core_t *self, struct ticket *t, bool front) {
    struct service_state *service = &self->services[t->service];
    struct line *line = &service->lines[t->lane];
    t->state = TICKET_WAITING;
    line_push(&self->flows, line, t, front);
    service->queued++;
    self->queued++;
    self->lane_queued[t->lane]++;
    self->queued_bytes += t->body_bytes;
    self->queued_work += t->work;
    if (!queue_has(&line->ready))
        queue_push(&self->ready[t->lane], &line->ready);
}

void ticket_unplace(core_t *self, struct ticket *t) {
    struct service_state *service = &self->services[t->service];
    if (t->state == TICKET_WAITING) {
        struct line *line = &service->lines[t->lane];
        line_remove(&self->flows, line, t);
        service->queued--;
        self->queued--;
        self->lane_queued[t->lane]--;
        self->queued_bytes -= t->body_bytes;
        self->queued_work -= t->work;
        service->pace.was_empty |= !service->queued;
        if (queue_empty(&line->waiting))
            dispatch_emptied(self, line);
        if (service->queued)
            dispatch_ready(self, t->service); /* what stood behind it may fit now */
    } else if (t->state == TICKET_IN_FLIGHT) {
        for (uint32_t i = 0; i < TICKET_RUNS; i++)
            if (t->runs[i] != CORE_NONE)
                run_end(self, &self->runs[t->runs[i]]);
        service->in_flight--;
        service->cost_in_flight -= t->cost;
        self->in_flight--;
    }
    t->state = TICKET_FREE;
}

/* Out of every table; the slot may be given to the next request. */
static void finish(core_t *self, struct ticket *t) {
    uint32_t slot = ticket_slot(self, t);
    ticket_unplace(self, t);
    wheel_remove(&self->wheel, slot);
    uint32_t *at = bucket_of(self, t->client, t->id);
    while (*at != slot)
        at = &self->tickets[*at].same_bucket;
    *at = t->same_bucket;
    queue_remove(&self->clients[t->client].tickets, &t->owned);
    account_release(&self->accounts, t->account, t->body_bytes, t->work);
    self->free_tickets[self->n_free_tickets++] = slot;
    self->ops.drop(self->ops.arg, slot);
}

static struct header reply_header(const core_t *self, const struct ticket *t, uint8_t status) {
    return (struct header){.type = WIRE_REPLY,
                           .status = status,
                           .attempt = t->attempts,
                           .id = t->id,
                           .epoch = self->clients[t->client].session,
                           .service = t->asked};
}

static void count_reply(core_t *self, uint32_t client, uint8_t status) {
    self->stats.replied[status]++;
    self->replied++;
    self->clients[client].replied++;
}

static void reply(core_t *self, struct ticket *t, enum status status,
                  const struct core_error *error) {
    struct header header = reply_header(self, t, (uint8_t)status);
    uint32_t client = t->client;
    count_reply(self, client, (uint8_t)status);
    finish(self, t);
    client_send(self, client, &header, error);
}

void ticket_reply(core_t *self, struct ticket *t, enum status status, const char *text) {
    struct core_error error = {.text = text, .may_have_run = t->attempts > 0};
    reply(self, t, status, &error);
}

void ticket_shed(core_t *self, struct ticket *t, uint32_t retry_after_ms, const char *text) {
    struct core_error error = {
        .text = text, .retry_after_ms = retry_after_ms, .may_have_run = t->attempts > 0};
    self->services[t->service].shed++;
    self->stats.shed++;
    reply(self, t, STATUS_RESOURCE_EXHAUSTED, &error);
}

void ticket_forward(core_t *self, struct ticket *t, uint8_t code, uint64_t now_us) {
    enum status status;
    if (!status_from_code(code, &status)) {
        ticket_reply(self, t, STATUS_INTERNAL, "the worker answered with a status nobody knows");
        return;
    }
    struct header header = reply_header(self, t, code);
    uint32_t client = t->client;
    self->services[t->service].answered++;
    self->answered++;
    histogram_add(&self->stats.total_us, now_us - t->admitted_us);
    count_reply(self, client, code);
    finish(self, t);
    if (!self->clients[client].doomed)
        client_sent(self, client, self->ops.forward(self->ops.arg, client, &header));
}

void ticket_drop(core_t *self, struct ticket *t) {
    self->stats.dropped++;
    ticket_recall(self, t);
    finish(self, t);
}

void ticket_recall(core_t *self, struct ticket *t) {
    for (uint32_t i = 0; i < TICKET_RUNS; i++)
        if (t->runs[i] != CORE_NONE)
            run_recall(self, &self->runs[t->runs[i]]);
}

/* Not executed as far as we know, or lost with every worker that tried. */
void ticket_unserved(core_t *self, struct ticket *t, enum status status, const char *text) {
    ticket_reply(self, t, t->attempts ? STATUS_UNKNOWN_OUTCOME : status, text);
}

void ticket_lost(core_t *self, struct ticket *t) {
    ticket_unplace(self, t);
    self->stats.requeued++;
    if (t->attempts < LIMIT_ATTEMPTS) {
        ticket_wait(self, t, true);
        return;
    }
    char text[80];
    snprintf(text, sizeof text, "the request was in flight on %u workers that died", t->attempts);
    ticket_reply(self, t, STATUS_INTERNAL, text);
}
