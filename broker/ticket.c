/* ticket.c - the life of one admitted request. See core_state.h for the picture.
 *
 * Invariants:
 *   - a ticket is in exactly one state, each of which has one way in and one way out (below);
 *   - it leaves through finish() alone, which happens once, after its answer or its client's loss;
 *   - in flight it has one run or two; waiting it may have one, at a worker that looks stuck; held
 *     and following it has none. */
#include "core_state.h"

#include "base/check.h"
#include "base/hash.h"

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
                         .leader = CORE_NONE,
                         .state = TICKET_FREE};
    uint32_t *bucket = bucket_of(self, client, id);
    t->same_bucket = *bucket;
    *bucket = slot;
    queue_push(&self->clients[client].tickets, &t->owned);
    queue_init(&t->twins);
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

/* ---------------------------------------------------------------- states */

static void enter_queue(core_t *self, struct ticket *t) {
    struct service_state *service = &self->services[t->service];
    service->queued++;
    self->queued++;
    self->queued_bytes += t->body_bytes;
}

static void leave_queue(core_t *self, struct ticket *t) {
    struct service_state *service = &self->services[t->service];
    service->queued--;
    self->queued--;
    self->queued_bytes -= t->body_bytes;
    service->pace.was_empty |= !service->queued;
}

void ticket_wait(core_t *self, struct ticket *t, bool front) {
    struct line *line = &self->services[t->service].lines[t->lane];
    CHECK(t->state == TICKET_FREE);
    t->state = TICKET_WAITING;
    line_push(&self->flows, line, t, front);
    self->lane_queued[t->lane]++;
    self->queued_work += t->work;
    enter_queue(self, t);
    if (!queue_has(&line->ready))
        queue_push(&self->ready[t->lane], &line->ready);
}

void ticket_hold(core_t *self, struct ticket *t) {
    CHECK(t->state == TICKET_FREE);
    t->state = TICKET_HELD;
    queue_push(&self->held, &t->place);
    enter_queue(self, t);
}

void ticket_follow(core_t *self, struct ticket *t) {
    CHECK(t->state == TICKET_FREE);
    t->state = TICKET_FOLLOWING;
    self->following++;
}

void ticket_fly(core_t *self, struct ticket *t) {
    struct service_state *service = &self->services[t->service];
    CHECK(t->state == TICKET_FREE);
    t->state = TICKET_IN_FLIGHT;
    service->in_flight++;
    service->cost_in_flight += t->cost;
    self->in_flight++;
}

void ticket_leave(core_t *self, struct ticket *t) {
    struct service_state *service = &self->services[t->service];
    struct line *line = &service->lines[t->lane];
    uint8_t state = t->state;
    t->state = TICKET_FREE;
    switch (state) {
    case TICKET_WAITING:
        line_remove(&self->flows, line, t);
        self->lane_queued[t->lane]--;
        self->queued_work -= t->work;
        leave_queue(self, t);
        if (queue_empty(&line->waiting))
            dispatch_emptied(self, line);
        if (service->queued)
            dispatch_ready(self, t->service); /* what stood behind it may fit now */
        break;
    case TICKET_HELD:
        queue_remove(&self->held, &t->place);
        leave_queue(self, t);
        break;
    case TICKET_FOLLOWING:
        self->following--;
        break;
    case TICKET_IN_FLIGHT:
        service->in_flight--;
        service->cost_in_flight -= t->cost;
        self->in_flight--;
        break;
    default:
        break;
    }
}

void ticket_fly_on(core_t *self, struct ticket *t) {
    ticket_leave(self, t);
    ticket_fly(self, t);
}

void ticket_stay(core_t *self, struct ticket *t) {
    retry_return(&self->retry);
    ticket_fly_on(self, t);
}

void ticket_unplace(core_t *self, struct ticket *t) {
    ticket_leave(self, t);
    for (uint32_t i = 0; i < TICKET_RUNS; i++)
        if (t->runs[i] != CORE_NONE)
            run_end(self, &self->runs[t->runs[i]]);
}

/* ---------------------------------------------------------------- the end */

/* Whoever works on it is told to stop, unless somebody else waits for the same. */
static void recall(core_t *self, struct ticket *t) {
    if (!ticket_runs(t) && t->state != TICKET_HELD)
        return;
    if (coalesce_hand_over(self, t))
        return;
    for (uint32_t i = 0; i < TICKET_RUNS; i++)
        if (t->runs[i] != CORE_NONE)
            run_recall(self, &self->runs[t->runs[i]]);
}

/* Out of every table; the slot may be given to the next request. */
static void finish(core_t *self, struct ticket *t) {
    uint32_t slot = ticket_slot(self, t);
    recall(self, t);
    coalesce_leave(self, t);
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

static void reply(core_t *self, struct ticket *t, enum status status, const char *text,
                  uint32_t retry_after_ms) {
    struct header header = reply_header(self, t, (uint8_t)status);
    struct core_error error = {.text = text,
                               .retry_after_ms = retry_after_ms,
                               .may_have_run = t->attempts || t->state == TICKET_FOLLOWING};
    uint32_t client = t->client;
    tally_answer(self, t, status, UINT64_MAX); /* none of these is OK */
    finish(self, t);
    client_send(self, client, &header, &error);
}

void ticket_reply(core_t *self, struct ticket *t, enum status status, const char *text) {
    reply(self, t, status, text, 0);
}

void ticket_shed(core_t *self, struct ticket *t, enum core_reason reason, uint32_t retry_after_ms,
                 const char *text) {
    if (ticket_runs(t)) { /* it only waits for a second execution: the first may still do */
        ticket_stay(self, t);
        return;
    }
    self->services[t->service].shed++;
    self->stats.shed++;
    self->stats.refusals[reason]++;
    reply(self, t, STATUS_RESOURCE_EXHAUSTED, text, retry_after_ms);
}

/* The worker's answer goes to the ticket's client. */
static void forward(core_t *self, struct ticket *t, enum status status, uint64_t now_us) {
    struct header header = reply_header(self, t, (uint8_t)status);
    uint32_t client = t->client;
    self->services[t->service].answered++;
    self->answered++;
    workload_answered(self, t->service, t->cost); /* an error, too, may have taken work */
    histogram_add(&self->stats.total_us, now_us - t->admitted_us);
    tally_answer(self, t, status, now_us - t->admitted_us);
    tally_slow(self, t, status, now_us);
    finish(self, t);
    if (!self->clients[client].doomed)
        client_sent(self, client, self->ops.forward(self->ops.arg, client, &header));
}

/* Would another execution say the same? Then it is the answer of equal requests, too, and needs no
 * second opinion. */
static bool is_of_the_request(enum status status) {
    return status == STATUS_OK || status == STATUS_INVALID_ARGUMENT || status == STATUS_NOT_FOUND ||
           status == STATUS_UNIMPLEMENTED;
}

/* To the ticket, and to those that wait with it. What only this execution says (its time was over,
 * it was cancelled, the worker has no room) is not theirs: they go on by themselves. */
static void answer(core_t *self, struct ticket *t, enum status status, uint64_t now_us) {
    bool theirs = is_of_the_request(status) || status == STATUS_INTERNAL;
    while (theirs && !queue_empty(&t->twins)) {
        struct ticket *twin = QUEUE_ITEM(queue_head(&t->twins), struct ticket, twin);
        self->stats.coalesced++;
        forward(self, twin, status, now_us);
    }
    recall(self, t); /* the execution that was slower */
    ticket_unplace(self, t);
    coalesce_scatter(self, t);
    forward(self, t, status, now_us);
}

void ticket_back(core_t *self, struct ticket *t) {
    ticket_leave(self, t);
    coalesce_scatter(self, t);
    ticket_wait(self, t, true);
}

void ticket_reply_all(core_t *self, struct ticket *t, enum status status, const char *text) {
    while (!queue_empty(&t->twins)) {
        struct ticket *twin = QUEUE_ITEM(queue_head(&t->twins), struct ticket, twin);
        twin->attempts = t->attempts > twin->attempts ? t->attempts : twin->attempts;
        ticket_reply(self, twin, status, text);
    }
    ticket_reply(self, t, status, text);
}

void ticket_result(core_t *self, struct run *run, uint8_t code, uint64_t now_us) {
    struct ticket *t = &self->tickets[run->ticket];
    enum status status;
    bool known = status_from_code(code, &status);
    bool final = known && is_of_the_request(status);
    bool early = known && status == STATUS_DEADLINE_EXCEEDED &&
                 run->deadline_us < t->deadline_us; /* told the time of another before it */
    bool second = ticket_runs(t) > 1 || t->state == TICKET_WAITING;
    if (!final && (second || early || !known)) {
        run_end(self, run);
        t->attempts -= early;
        if (ticket_runs(t))
            return; /* the other may say better */
        if (second)
            coalesce_scatter(self, t); /* it waits for another execution already */
        else if (early)                /* its own time is not over */
            ticket_back(self, t);
        else
            ticket_reply_all(self, t, STATUS_INTERNAL, "the worker's status is unknown");
        return;
    }
    run_end(self, run);
    answer(self, t, status, now_us);
}

void ticket_nacked(core_t *self, struct run *run) {
    struct ticket *t = &self->tickets[run->ticket];
    run_end(self, run);
    t->attempts--; /* it was not started */
    if (ticket_runs(t))
        return;
    if (t->state == TICKET_WAITING)
        coalesce_scatter(self, t);
    else if (t->alone) { /* and it waits for a worker of its own again */
        t->alone = false;
        ticket_leave(self, t);
        ticket_hold(self, t);
    } else {
        ticket_back(self, t);
    }
}

void ticket_drop(core_t *self, struct ticket *t) {
    self->stats.dropped++;
    finish(self, t);
}

/* Not executed as far as we know, or lost with every worker that tried. */
void ticket_unserved(core_t *self, struct ticket *t, enum status status, const char *text) {
    bool may_have_run = t->attempts || t->state == TICKET_FOLLOWING;
    ticket_reply(self, t, may_have_run ? STATUS_UNKNOWN_OUTCOME : status, text);
}
