/* admit.c - a request at the door: refused with a reason, or given a ticket and a place in a line.
 *
 *     repeat? ─► sane? ─► which service? ─► anybody to do it? ─► room? time? (room.c) ─► ticket
 *
 * "Anybody to do it" is patient: a request whose model has no worker waits while the broker itself
 * is young or a worker left a moment ago, so that restarts of either lose nothing. Requests for the
 * default model that arrive before any worker are parked under the empty name and move when one
 * comes. */
#include "core_state.h"

#include "base/check.h"

#include <stdarg.h>
#include <stdio.h>

/* Names of models that workers serve, or served, for a task: "a, b, c". */
static const char *known_models(const core_t *self, enum wire_task task, bool live, char *out,
                                size_t room) {
    size_t used = 0;
    out[0] = '\0';
    for (uint32_t i = 1; i < self->fleet.n_services; i++) {
        const struct fleet_service *s = &self->fleet.services[i];
        if (s->task != task || !s->seen || (live && !s->n_members))
            continue;
        int n = snprintf(out + used, room - used, "%s%s", used ? ", " : "", s->model);
        if (n < 0 || (size_t)n >= room - used) {
            out[used] = '\0';
            break;
        }
        used += (size_t)n;
    }
    return used ? out : "none";
}

/* "embed, classify": what workers do or did with the model; NULL when there is nothing. */
static const char *known_tasks(const core_t *self, const char *model, char *out, size_t out_bytes) {
    size_t n = 0;
    for (enum wire_task task = WIRE_TASK_NONE + 1; task < WIRE_TASKS; task++) {
        uint32_t number = fleet_find(&self->fleet, view_of(model), task);
        if (number && self->fleet.services[number].seen && n < out_bytes)
            n += (size_t)snprintf(out + n, out_bytes - n, "%s%s", n ? ", " : "",
                                  wire_task_name(task));
    }
    return n ? out : NULL;
}

static enum status nobody_serves(const core_t *self, const struct fleet_service *s,
                                 struct err *err) {
    const char *task = wire_task_name(s->task);
    if (s->seen)
        return err_set(err, STATUS_UNAVAILABLE, "no worker serves model '%s' (task %s) now",
                       s->model, task);
    char models[256];
    if (!s->model[0])
        return err_set(err, STATUS_NOT_FOUND, "no worker serves any model (task %s)", task);
    if (known_tasks(self, s->model, models, sizeof models))
        return err_set(err, STATUS_UNIMPLEMENTED, "model '%s' does not %s; it can %s", s->model,
                       task, models);
    return err_set(err, STATUS_NOT_FOUND, "no worker serves model '%s' (task %s); known: %s",
                   s->model, task, known_models(self, s->task, false, models, sizeof models));
}

/* The service behind the empty model name, 0 with *err when there is none. Candidates are the
 * models with a worker now; without any, those that had one: they may come back. */
static uint32_t default_service(const core_t *self, enum wire_task task, uint64_t now_us,
                                struct err *err) {
    if (self->cfg.default_model[0]) {
        uint32_t number = fleet_find(&self->fleet, view_of(self->cfg.default_model), task);
        if (number && self->fleet.services[number].seen)
            return number;
    }
    bool waiting =
        self->cfg.default_model[0] && now_us - self->start_us < self->cfg.no_worker_grace_us;
    uint32_t live = 0, n_live = 0, seen = 0, n_seen = 0;
    for (uint32_t i = 1; i < self->fleet.n_services; i++) {
        const struct fleet_service *s = &self->fleet.services[i];
        if (s->task != task || !s->seen)
            continue;
        seen = i;
        n_seen++;
        if (s->n_members) {
            live = i;
            n_live++;
        }
    }
    if (waiting) {
        err_set(err, STATUS_NOT_FOUND, "no worker serves model '%s' (task %s) yet",
                self->cfg.default_model, wire_task_name(task));
        return 0;
    }
    if (n_live == 1 || (n_live == 0 && n_seen == 1))
        return n_live ? live : seen;
    char models[256];
    if (n_seen)
        err_set(err, STATUS_INVALID_ARGUMENT,
                "name a model: there is no default for task %s; known: %s", wire_task_name(task),
                known_models(self, task, n_live > 0, models, sizeof models));
    else
        err_set(err, STATUS_NOT_FOUND, "no worker serves any model (task %s)",
                wire_task_name(task));
    return 0;
}

/* The service behind a route: the client's first choice that has a worker now; else the first that
 * may soon have one again; else its first choice. 0: no model of the route has a number. */
static uint32_t routed_service(const core_t *self, const struct route *route, enum wire_task task,
                               uint32_t client, uint64_t now_us) {
    const struct client *c = &self->clients[client];
    uint8_t order[ROUTES_TARGETS];
    uint32_t patient = 0, first = 0;
    route_order(route, c->who.sticky ? c->who.sticky : c->session, order);
    for (uint32_t i = 0; i < route->n; i++) {
        uint32_t number = fleet_find(&self->fleet, view_of(route->target[order[i]].model), task);
        if (!number)
            continue;
        if (self->fleet.services[number].n_members)
            return number;
        if (!patient && core_within_grace(self, number, now_us))
            patient = number;
        if (!first)
            first = number;
    }
    return patient ? patient : first;
}

/* What a service number of a request means right now: one service asked for, maybe another one
 * executed. *out may be a service without a worker, or the unnamed one itself: the request then
 * waits for a worker to come. */
enum status admit_resolve(const core_t *self, uint32_t asked, uint32_t client, uint64_t now_us,
                          uint32_t *out, struct err *err) {
    if (asked == 0 || asked >= self->fleet.n_services)
        return err_set(err, STATUS_INVALID_ARGUMENT, "service %u was not agreed in WELCOME", asked);
    const struct fleet_service *s = &self->fleet.services[asked];
    uint32_t target = asked;
    struct view named = view_of(s->model[0] ? s->model : self->cfg.default_model);
    const struct route *route = routes_find(&self->routes, named);
    if (route) {
        target = routed_service(self, route, s->task, client, now_us);
        if (!target)
            return err_set(err, STATUS_RESOURCE_EXHAUSTED,
                           "this broker has no room for the models of route '%s'", route->alias);
        s = &self->fleet.services[target];
    } else if (!s->model[0]) {
        struct err why = {.status = STATUS_OK};
        target = default_service(self, s->task, now_us, &why);
        if (!target && why.status == STATUS_NOT_FOUND && core_within_grace(self, asked, now_us))
            target = asked;
        if (!target)
            return err_set(err, why.status, "%s", why.text);
        s = &self->fleet.services[target];
    }
    if (!s->n_members && !core_within_grace(self, target, now_us)) {
        enum status status = nobody_serves(self, s, err);
        return route ? err_prefix(err, status, "route '%s'", route->alias) : status;
    }
    *out = target;
    return STATUS_OK;
}

void admit_refuse(core_t *self, uint32_t client, const struct header *request,
                  const struct refusal *refusal, const char *format, ...) {
    char text[ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct header header = {.type = WIRE_REPLY,
                            .status = (uint8_t)refusal->status,
                            .id = request->id,
                            .epoch = self->clients[client].session,
                            .service = request->service};
    struct core_error error = {.text = text, .retry_after_ms = refusal->retry_ms};
    tally_refusal(self, client, request->lane, refusal);
    client_send(self, client, &header, &error);
}

/* What can be said of a request without looking at anybody else's. */
static bool is_sane(core_t *self, uint32_t client, const struct header *header, size_t body_bytes) {
    struct refusal no = {STATUS_INVALID_ARGUMENT, CORE_REASON_INVALID, header->service, 0};
    if (self->draining) {
        no.status = STATUS_UNAVAILABLE;
        no.reason = CORE_REASON_STOPPING;
        admit_refuse(self, client, header, &no, "this broker is stopping");
    } else if (header->budget_us == 0 || header->budget_us > LIMIT_DEADLINE_MS * UINT64_C(1000)) {
        admit_refuse(self, client, header, &no, "the time budget is %u us, it must be 1 to %u ms",
                     header->budget_us, LIMIT_DEADLINE_MS);
    } else if (header->lane >= WIRE_LANES) {
        admit_refuse(self, client, header, &no, "there is no lane %u", header->lane);
    } else if (body_bytes > LIMIT_REQUEST_BYTES) {
        no.status = STATUS_RESOURCE_EXHAUSTED;
        no.reason = CORE_REASON_TOO_LARGE;
        admit_refuse(self, client, header, &no, "the request has %zu bytes, %u are the limit",
                     body_bytes, LIMIT_REQUEST_BYTES);
    } else {
        return true;
    }
    return false;
}

uint32_t core_request(core_t *self, uint32_t client, const struct header *header, struct view body,
                      uint64_t now_us) {
    CHECK(client < self->high_clients && self->clients[client].session);
    if (self->clients[client].doomed)
        return CORE_NONE;
    if (ticket_find(self, client, header->id)) {
        self->stats.attached++; /* the answer of the first one is the answer */
        return CORE_NONE;
    }
    self->stats.received++;
    self->clients[client].received++;
    uint32_t service, slot = CORE_NONE;
    struct err err;
    if (!is_sane(self, client, header, body.bytes))
        goto out;
    enum status status = admit_resolve(self, header->service, client, now_us, &service, &err);
    if (status != STATUS_OK) {
        const struct refusal no = {status, CORE_REASON_NO_WORKER, header->service, 0};
        admit_refuse(self, client, header, &no, "%s", err.text);
        goto out;
    }
    if (probation_refuses(self, body, (uint16_t)service, now_us, &err)) {
        const struct refusal no = {STATUS_INTERNAL, CORE_REASON_POISONED, service, 0};
        admit_refuse(self, client, header, &no, "%s", err.text);
        goto out;
    }
    const struct room_wish wish = {
        client, service, (uint32_t)body.bytes, core_cost(body.bytes),
        (uint32_t)pace_work(&self->services[service].pace, core_cost(body.bytes))};
    if (!room_for(self, &wish, header, now_us))
        goto out;
    struct ticket *t = ticket_new(self, client, header->id);
    t->admitted_us = now_us;
    t->deadline_us = now_us + header->budget_us;
    t->body_bytes = wish.bytes;
    t->cost = wish.cost;
    t->work = wish.work;
    t->asked = header->service;
    t->service = (uint16_t)service;
    t->lane = header->lane;
    t->flags = header->flags;
    slot = ticket_slot(self, t);
    account_hold(&self->accounts, t->account, t->body_bytes, t->work);
    workload_offered(self, service, t->cost);
    wheel_add(&self->wheel, slot, t->deadline_us);
    retry_asked(&self->retry);
    if (!coalesce_join(self, t, body))
        ticket_wait(self, t, false);
out:
    if (self->n_doomed_clients || self->n_doomed_workers)
        core_settle(self, now_us);
    return slot != CORE_NONE && self->tickets[slot].state != TICKET_FREE ? slot : CORE_NONE;
}

void core_refuse(core_t *self, uint32_t client, const struct header *header,
                 enum core_reason reason, uint32_t retry_after_ms, const char *why,
                 uint64_t now_us) {
    const struct refusal no = {STATUS_RESOURCE_EXHAUSTED, reason, header->service, retry_after_ms};
    if (self->clients[client].doomed)
        return;
    if (ticket_find(self, client, header->id)) {
        self->stats.attached++;
        return;
    }
    self->stats.received++;
    self->clients[client].received++;
    admit_refuse(self, client, header, &no, "%s", why);
    core_settle(self, now_us);
}

void admit_parked(core_t *self, uint64_t now_us) {
    for (enum wire_task task = WIRE_TASK_NONE + 1; task < WIRE_TASKS; task++) {
        uint32_t unnamed = fleet_find(&self->fleet, view_of(""), task);
        if (!unnamed || !self->services[unnamed].queued)
            continue;
        uint32_t target;
        struct err err;
        /* Only what no route leads to is parked: who asked makes no difference. */
        enum status status = admit_resolve(self, unnamed, 0, now_us, &target, &err);
        if (status == STATUS_OK && target == unnamed)
            continue;
        for (int lane = 0; lane < WIRE_LANES; lane++) {
            struct queue *waiting = &self->services[unnamed].lines[lane].waiting;
            while (!queue_empty(waiting)) {
                struct ticket *t = QUEUE_ITEM(queue_head(waiting), struct ticket, place);
                if (status != STATUS_OK) {
                    ticket_unserved(self, t, status, err.text);
                    continue;
                }
                ticket_unplace(self, t);
                t->service = (uint16_t)target;
                ticket_wait(self, t, false);
            }
        }
    }
}

void admit_orphans(core_t *self, uint64_t now_us) {
    admit_parked(self, now_us);
    for (uint32_t i = 1; i < self->fleet.n_services; i++) {
        const struct fleet_service *s = &self->fleet.services[i];
        if (!self->services[i].queued || s->n_members || core_within_grace(self, i, now_us))
            continue;
        struct err err;
        enum status status = nobody_serves(self, s, &err);
        for (int lane = 0; lane < WIRE_LANES; lane++) {
            struct queue *waiting = &self->services[i].lines[lane].waiting;
            while (!queue_empty(waiting))
                ticket_unserved(self, QUEUE_ITEM(queue_head(waiting), struct ticket, place), status,
                                err.text);
        }
    }
}
