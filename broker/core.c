/* core.c - start, time and end of the broker's decisions. core_state.h has the picture and the
 * other files.
 *
 * Invariants, walked by core_check() after every step in tests:
 *   - received = replied + queued + in flight + following + dropped, in all and per client;
 *   - a worker's load is the sum of its runs, and above its window only for a single one;
 *   - each ticket is in one place, on the wheel, in its client's list and in the table of ids. */
#include "core_state.h"

#include "base/check.h"

#include <math.h>
#include <stdlib.h>

enum { BEATS_PARTS = 4, SECOND_US = 1000000 };

static uint32_t power_of_two(uint32_t at_least) {
    uint32_t n = 1;
    while (n < at_least)
        n *= 2;
    return n;
}

static bool take_tables(core_t *self, uint64_t now_us) {
    const struct core_cfg *cfg = &self->cfg;
    uint32_t buckets = power_of_two(2 * cfg->max_tickets);
    self->bucket_mask = buckets - 1;
    self->tickets = calloc(cfg->max_tickets, sizeof *self->tickets);
    self->free_tickets = calloc(cfg->max_tickets, sizeof *self->free_tickets);
    self->runs = calloc((size_t)TICKET_RUNS * cfg->max_tickets, sizeof *self->runs);
    self->free_runs = calloc((size_t)TICKET_RUNS * cfg->max_tickets, sizeof *self->free_runs);
    self->buckets = malloc(buckets * sizeof *self->buckets);
    self->clients = calloc(cfg->max_clients, sizeof *self->clients);
    self->free_clients = calloc(cfg->max_clients, sizeof *self->free_clients);
    self->doomed_clients = calloc(cfg->max_clients, sizeof *self->doomed_clients);
    self->doomed_workers = calloc(cfg->max_workers, sizeof *self->doomed_workers);
    self->services = calloc(cfg->max_services, sizeof *self->services);
    bool coalesce = cfg->coalesce && self->ops.body;
    self->leaders = coalesce ? malloc(buckets * sizeof *self->leaders) : NULL;
    if (coalesce && !self->leaders)
        return false;
    if (!self->tickets || !self->free_tickets || !self->runs || !self->free_runs ||
        !self->buckets || !self->clients || !self->free_clients || !self->doomed_clients ||
        !self->doomed_workers || !self->services)
        return false;
    for (uint32_t i = 0; i < buckets; i++)
        self->buckets[i] = CORE_NONE;
    for (uint32_t i = 0; coalesce && i < buckets; i++)
        self->leaders[i] = CORE_NONE;
    queue_init(&self->held);
    self->cell = CORE_NONE;
    return wheel_init(&self->wheel, cfg->max_tickets, now_us) &&
           accounts_init(&self->accounts, cfg->max_clients, cfg->seed) &&
           flows_init(&self->flows, cfg->max_tickets, &self->accounts, cfg->seed) &&
           fleet_init(&self->fleet, cfg->max_workers, cfg->max_services, cfg->seed);
}

enum status core_new(const struct core_cfg *cfg, const struct core_ops *ops, uint64_t now_us,
                     core_t **out, struct err *err) {
    CHECK(cfg->id && cfg->max_tickets && cfg->max_tickets <= LIMIT_TICKETS &&
          cfg->max_clients <= LIMIT_PEERS && cfg->heartbeat_us);
    core_t *self = calloc(1, sizeof *self);
    if (self) {
        self->cfg = *cfg;
        self->ops = *ops;
    }
    if (!self || !take_tables(self, now_us)) {
        core_destroy(&self);
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for the broker's tables");
    }
    for (int lane = 0; lane < WIRE_LANES; lane++) {
        queue_init(&self->ready[lane]);
        for (uint32_t i = 0; i < cfg->max_services; i++) {
            line_init(&self->services[i].lines[lane], (uint16_t)i, (uint8_t)lane);
        }
    }
    self->flows.target_us = cfg->queue_target_us;
    self->start_us = self->last_beat_us = self->looked_us = now_us;
    self->next_beat_us = now_us + cfg->heartbeat_us / BEATS_PARTS;
    self->next_second_us = now_us + SECOND_US;
    *out = self;
    return STATUS_OK;
}

void core_destroy(core_t **out) {
    core_t *self = *out;
    *out = NULL;
    if (!self)
        return;
    for (uint32_t i = 0; i < self->high_tickets; i++)
        if (self->tickets[i].state != TICKET_FREE)
            self->ops.drop(self->ops.arg, i);
    fleet_done(&self->fleet);
    wheel_done(&self->wheel);
    flows_done(&self->flows);
    accounts_done(&self->accounts);
    free(self->tickets);
    free(self->free_tickets);
    free(self->runs);
    free(self->free_runs);
    free(self->buckets);
    free(self->leaders);
    free(self->clients);
    free(self->free_clients);
    free(self->doomed_clients);
    free(self->doomed_workers);
    free(self->services);
    free(self);
}

/* Ends what was found to be gone. Ending one may find more: recalls go to workers, answers to
 * clients. */
void core_settle(core_t *self, uint64_t now_us) {
    while (self->n_doomed_clients || self->n_doomed_workers) {
        if (self->n_doomed_workers)
            crew_end(self, self->doomed_workers[--self->n_doomed_workers], now_us);
        else
            client_end(self, self->doomed_clients[--self->n_doomed_clients]);
    }
}

bool core_within_grace(const core_t *self, uint32_t service, uint64_t now_us) {
    const struct fleet_service *s = &self->fleet.services[service];
    uint64_t since = s->seen && s->last_us > self->start_us ? s->last_us : self->start_us;
    return now_us - since < self->cfg.no_worker_grace_us;
}

static void expire(core_t *self, uint64_t now_us) {
    uint32_t slot;
    while ((slot = wheel_pop(&self->wheel, now_us)) != WHEEL_NONE) {
        struct ticket *t = &self->tickets[slot];
        bool waited = t->state == TICKET_WAITING || t->state == TICKET_HELD;
        tally_slow(self, t, STATUS_DEADLINE_EXCEEDED, now_us);
        ticket_reply(self, t, STATUS_DEADLINE_EXCEEDED,
                     waited ? "its time ran out while it waited"
                            : "its time ran out at the worker");
    }
}

/* Results per second over the last few seconds, for advice on when to come again. */
static void measure_rate(core_t *self, uint64_t seconds) {
    double now = (double)(self->answered - self->answered_before) / (double)seconds;
    self->rate += 0.4 * (now - self->rate);
    self->answered_before = self->answered;
}

static void end_drain(core_t *self) {
    for (uint32_t i = 0; i < self->high_tickets; i++) {
        struct ticket *t = &self->tickets[i];
        if (t->state == TICKET_FREE)
            continue;
        ticket_unserved(self, t, STATUS_UNAVAILABLE, "this broker is stopping");
    }
}

static void beat(core_t *self, uint64_t now_us) {
    /* Nobody could be heard while this process did not run: give them time to be. */
    if (now_us - self->last_beat_us > self->cfg.heartbeat_us)
        self->trust_us = now_us + CORE_SILENT_BEATS * self->cfg.heartbeat_us;
    self->last_beat_us = now_us;
    self->next_beat_us = now_us + self->cfg.heartbeat_us / BEATS_PARTS;
    learn_look(self, now_us);
    crew_beat(self, now_us);
    core_settle(self, now_us);
    admit_orphans(self, now_us);
    if (now_us >= self->next_second_us) {
        uint64_t seconds = 1 + (now_us - self->next_second_us) / SECOND_US;
        self->next_second_us += seconds * SECOND_US;
        measure_rate(self, seconds);
        retry_turn(&self->retry, seconds);
        clients_beat(self, now_us);
    }
    if (self->draining && now_us >= self->drain_until_us)
        end_drain(self);
}

void core_tick(core_t *self, uint64_t now_us) {
    expire(self, now_us);
    if (now_us >= self->next_beat_us)
        beat(self, now_us);
    if (self->in_flight && now_us >= self->watch_us)
        hedge_watch(self, now_us);
    core_settle(self, now_us);
}

uint64_t core_next_us(const core_t *self) {
    uint64_t due = wheel_next_us(&self->wheel);
    if (self->in_flight && self->watch_us < due)
        due = self->watch_us;
    return due < self->next_beat_us ? due : self->next_beat_us;
}

void core_drain(core_t *self, uint64_t now_us) {
    if (self->draining)
        return;
    self->draining = true;
    self->drain_until_us = now_us + self->cfg.drain_us;
    for (uint32_t i = 0; i < self->high_clients; i++) {
        struct header goaway = {.type = WIRE_GOAWAY, .epoch = self->clients[i].session};
        if (self->clients[i].session)
            client_send(self, i, &goaway, NULL);
    }
    for (uint32_t i = 0; i < self->high_tickets; i++) {
        struct ticket *t = &self->tickets[i];
        if (t->state == TICKET_WAITING && t->attempts == 0)
            ticket_reply(self, t, STATUS_UNAVAILABLE, "this broker is stopping");
    }
    core_settle(self, now_us);
}

bool core_draining(const core_t *self) {
    return self->draining;
}

bool core_drained(const core_t *self) {
    return self->draining && self->queued + self->in_flight + self->following == 0;
}

/* The models of a route have numbers, too: places where requests may wait for their workers. */
static void number_targets(core_t *self, const struct route *route, enum wire_task task) {
    for (uint32_t i = 0; i < route->n; i++)
        fleet_number(&self->fleet, view_of(route->target[i].model), task, true);
}

uint32_t core_number(core_t *self, struct view model, enum wire_task task) {
    uint32_t number = fleet_number(&self->fleet, model, task, false);
    struct view named = model.bytes ? model : view_of(self->cfg.default_model);
    const struct route *route = routes_find(&self->routes, named);
    if (number && route)
        number_targets(self, route, task);
    return number;
}

void core_set_routes(core_t *self, const struct routes *routes) {
    self->routes = *routes;
    for (uint32_t i = 1; i < self->fleet.n_services; i++) {
        const struct fleet_service *s = &self->fleet.services[i];
        core_number(self, view_of(s->model), s->task);
    }
}

const struct core_cfg *core_cfg(const core_t *self) {
    return &self->cfg;
}

const struct core_stats *core_stats(const core_t *self) {
    return &self->stats;
}

const struct fleet *core_fleet(const core_t *self) {
    return &self->fleet;
}

const struct routes *core_routes(const core_t *self) {
    return &self->routes;
}

uint32_t core_clients(const core_t *self) {
    return self->n_clients;
}

uint32_t core_queued(const core_t *self) {
    return self->queued;
}

uint64_t core_queued_bytes(const core_t *self) {
    return self->queued_bytes;
}

uint32_t core_in_flight(const core_t *self) {
    return self->in_flight;
}

uint32_t core_following(const core_t *self) {
    return self->following;
}

uint64_t core_replied(const core_t *self) {
    return self->replied;
}

struct core_service_view core_service(const core_t *self, uint32_t number, uint64_t now_us) {
    const struct service_state *state = &self->services[number];
    struct core_service_view view = {.queued = state->queued,
                                     .in_flight = state->in_flight,
                                     .answered = state->answered,
                                     .engine_us = state->engine_us,
                                     .refused = state->refused,
                                     .shed = state->shed,
                                     .rate = 1e6 * learn_rate(self, number),
                                     .weight = (double)pace_work(&state->pace, PACE_WEIGHT_ONE) /
                                               PACE_WEIGHT_ONE};
    for (int lane = 0; lane < WIRE_LANES; lane++) {
        view.lanes[lane] = state->lines[lane].waiting.n;
        struct link *head = queue_head(&state->lines[lane].waiting);
        if (!head)
            continue;
        uint64_t age = now_us - QUEUE_ITEM(head, struct ticket, place)->admitted_us;
        view.oldest_us = age > view.oldest_us ? age : view.oldest_us;
    }
    return view;
}

uint32_t core_serves(const core_t *self, uint32_t number, uint32_t client, uint64_t now_us) {
    uint32_t target;
    if (admit_resolve(self, number, client, now_us, &target, NULL) != STATUS_OK)
        return 0;
    return self->fleet.services[target].model[0] ? target : 0;
}
