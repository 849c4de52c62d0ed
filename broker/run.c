/* run.c - executions: a ticket is sent to a worker, and the two part again.
 *
 *     ticket ── runs[0] ──► run ──► in its worker's list, the oldest first
 *            └─ runs[1] ──► run ──► in another worker's list
 *
 * Invariants:
 *   - a ticket has at most one run at a worker, and two in all;
 *   - the generation of a run changes with each use of its index: an answer to an execution that
 *     ended in our books finds nothing, whoever sends it and however late. */
#include "core_state.h"

#include "base/check.h"

static uint64_t number_of(const core_t *self, const struct run *run) {
    return (uint32_t)(run - self->runs) | (uint64_t)run->generation << 32;
}

struct run *run_by_number(core_t *self, uint64_t number, uint32_t worker) {
    uint32_t index = (uint32_t)number;
    if (index >= self->high_runs)
        return NULL;
    struct run *run = &self->runs[index];
    bool valid = run->ticket != CORE_NONE && run->generation == (uint32_t)(number >> 32) &&
                 run->worker == worker;
    return valid ? run : NULL;
}

/* There are two for each ticket, so there always is one. */
static struct run *take(core_t *self) {
    CHECK(self->n_free_runs || self->high_runs < TICKET_RUNS * self->cfg.max_tickets);
    uint32_t index = self->n_free_runs ? self->free_runs[--self->n_free_runs] : self->high_runs++;
    struct run *run = &self->runs[index];
    run->generation++;
    return run;
}

static void give_back(core_t *self, struct run *run) {
    run->ticket = CORE_NONE;
    self->free_runs[self->n_free_runs++] = (uint32_t)(run - self->runs);
}

/* The ticket is in flight with this run. */
static void place(core_t *self, struct ticket *t, struct run *run, uint64_t now_us) {
    struct fleet_worker *w = &self->fleet.workers[run->worker];
    struct fleet_load *load = &self->fleet.loads[run->worker];
    if (!self->in_flight) { /* nothing was watched until now */
        self->watched_us = now_us;
        self->watch_us = now_us + HEDGE_LOOK_US;
    }
    self->stats.recovered += t->state == TICKET_WAITING && ticket_runs(t);
    if (t->state != TICKET_IN_FLIGHT)
        ticket_fly_on(self, t);
    coalesce_gather(self, t);
    t->runs[t->runs[0] != CORE_NONE] = (uint32_t)(run - self->runs);
    run->ticket = ticket_slot(self, t);
    run->sent_us = now_us;
    t->execution = number_of(self, run);
    t->worker = run->worker;
    t->uuid = w->uuid;
    queue_push(&w->in_flight, &run->place);
    w->dispatched++;
    load->cost += run->cost;
    load->n++;
    run->load = load->cost;
    if (w->state == FLEET_SUSPECT)
        suspect_open(self, run->worker); /* this may have been its probe */
    self->stats.dispatched++;
    if (!t->sent_us)
        t->sent_us = now_us;
    if (++t->attempts == 1)
        histogram_add(&self->stats.queue_us, now_us - t->admitted_us);
}

enum core_sent run_start(core_t *self, struct ticket *t, uint32_t worker, uint64_t now_us) {
    struct run *run = take(self);
    run->worker = worker;
    run->cost = t->cost;
    run->deadline_us = coalesce_deadline_us(self, t);
    uint8_t flags = t->flags & (WIRE_FLAG_RETRY | WIRE_FLAG_ALONE);
    if (t->attempts)
        flags |= WIRE_FLAG_RETRY;
    if (ticket_runs(t))
        flags |= WIRE_FLAG_HEDGED;
    struct header header = {.type = WIRE_DISPATCH,
                            .flags = flags,
                            .lane = t->lane,
                            .attempt = (uint16_t)(t->attempts + 1),
                            .id = number_of(self, run),
                            .epoch = self->cfg.id,
                            .budget_us = (uint32_t)(run->deadline_us - now_us),
                            .service = t->service};
    enum core_sent sent = self->ops.to_worker(self->ops.arg, worker, &header, ticket_slot(self, t));
    if (sent == CORE_SENT) {
        place(self, t, run, now_us);
        return sent;
    }
    give_back(self, run);
    if (sent == CORE_GONE)
        crew_doom(self, worker, "disconnected");
    else
        suspect_stuffed(self, worker, now_us);
    return sent;
}

uint32_t run_where(const core_t *self, const struct ticket *t) {
    uint32_t index = t->runs[0] != CORE_NONE ? t->runs[0] : t->runs[1];
    return index != CORE_NONE ? self->runs[index].worker : FLEET_NONE;
}

void run_end(core_t *self, struct run *run) {
    struct ticket *t = &self->tickets[run->ticket];
    struct fleet_load *load = &self->fleet.loads[run->worker];
    uint32_t index = (uint32_t)(run - self->runs);
    queue_remove(&self->fleet.workers[run->worker].in_flight, &run->place);
    load->cost -= run->cost;
    load->n--;
    if (self->fleet.workers[run->worker].state == FLEET_SUSPECT)
        suspect_open(self, run->worker);
    t->runs[t->runs[0] != index] = CORE_NONE;
    give_back(self, run);
}

void run_recall(core_t *self, struct run *run) {
    crew_send(self, run->worker, WIRE_CANCEL, number_of(self, run));
    dispatch_opened(self, run->worker); /* its room is free: no RESULT need come to say so */
}
