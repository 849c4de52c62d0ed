/* crew.c - sessions of workers: READY, credit, results, losing them.
 *
 *     READY ──► live ◄──► suspect          see suspect.c
 *                 │           │
 *                 │ DRAIN     │ silent for three beats, disconnected, READY elsewhere
 *                 ▼           ▼
 *             draining ──► gone: tickets back to the front of their lines, newest first pushed,
 *                   BYE          so that the order is the old one; see probation.c */
#include "core_state.h"

#include "base/check.h"

#include <stdio.h>

enum core_sent crew_send(core_t *self, uint32_t worker, uint8_t type, uint64_t id) {
    if (self->fleet.workers[worker].doomed)
        return CORE_GONE;
    struct header header = {.type = type, .id = id, .epoch = self->cfg.id};
    enum core_sent sent = self->ops.to_worker(self->ops.arg, worker, &header, CORE_NONE);
    if (sent == CORE_GONE)
        crew_doom(self, worker, "disconnected");
    return sent;
}

void crew_doom(core_t *self, uint32_t worker, const char *why) {
    struct fleet_worker *w = &self->fleet.workers[worker];
    if (w->doomed)
        return;
    w->doomed = true;
    w->doom = why;
    self->fleet.loads[worker].open = false;
    self->doomed_workers[self->n_doomed_workers++] = worker;
}

void crew_end(core_t *self, uint32_t worker, uint64_t now_us) {
    struct fleet_worker *w = &self->fleet.workers[worker];
    uint32_t n_twice = probation_deaths(self, worker);
    fleet_close(&self->fleet, worker, now_us);
    while (!queue_empty(&w->in_flight)) { /* the newest first, each to the front */
        struct run *run = QUEUE_ITEM(w->in_flight.ends.prev, struct run, place);
        struct ticket *t = &self->tickets[run->ticket];
        run_end(self, run);
        probation_lost(self, t, !w->left, n_twice, now_us);
    }
    if (w->state != FLEET_DRAINING)
        self->stats.workers_lost++;
    self->ops.worker_closed(self->ops.arg, worker, w->doom);
    fleet_leave(&self->fleet, worker, now_us);
}

enum status core_ready(core_t *self, uint32_t *worker, const struct wire_ready *ready,
                       uint16_t credit, uint64_t now_us, struct err *err) {
    if (*worker != CORE_NONE) {
        struct fleet_worker *w = &self->fleet.workers[*worker];
        if (w->uuid == ready->uuid && w->state != FLEET_DRAINING && !w->doomed) {
            w->heard_us = now_us; /* it did not see our READY_OK yet */
            suspect_heard(self, *worker, credit);
            return STATUS_OK;
        }
        w->left = true; /* its connection is there: nothing says that a request killed it */
        crew_doom(self, *worker, "another worker on its connection");
    }
    uint32_t older = fleet_by_uuid(&self->fleet, ready->uuid);
    if (older != FLEET_NONE) {
        self->fleet.workers[older].left = true;
        crew_doom(self, older, "came back on another connection");
    }
    core_settle(self, now_us);
    *worker = CORE_NONE;
    enum status status = fleet_join(&self->fleet, ready, credit, now_us, worker, err);
    if (status != STATUS_OK)
        return status;
    self->fleet.workers[*worker].window = credit;
    admit_parked(self, now_us);
    dispatch_opened(self, *worker);
    core_settle(self, now_us);
    return STATUS_OK;
}

bool core_worker_heard(core_t *self, uint32_t worker, const struct header *header,
                       uint64_t now_us) {
    struct fleet_worker *w = &self->fleet.workers[worker];
    CHECK(worker < self->fleet.high_workers && w->state != FLEET_FREE);
    if (w->doomed)
        return false;
    if (header->epoch != self->cfg.id) {
        self->stats.strangers++;
        crew_send(self, worker, WIRE_WHO_ARE_YOU, 0);
        core_settle(self, now_us);
        return false;
    }
    w->heard_us = now_us;
    suspect_heard(self, worker, header->credit);
    return true;
}

static void on_result(core_t *self, uint32_t worker, const struct header *header, uint64_t now_us) {
    struct run *run = run_by_number(self, header->id, worker);
    if (!run) {
        self->stats.late++;
        suspect_late(self, worker);
        return;
    }
    const struct ticket *t = &self->tickets[run->ticket];
    learn_result(self, run, header, now_us);
    if (header->status == STATUS_OK)
        tempo_add(&self->services[t->service].tempo, now_us - run->sent_us, run->load);
    if (header->status == STATUS_INTERNAL)
        suspect_failed(self, worker, now_us);
    else
        suspect_answered(self, worker, now_us);
    ticket_result(self, run, header->status, now_us);
    dispatch_opened(self, worker);
}

static void on_nack(core_t *self, uint32_t worker, const struct header *header) {
    struct run *run = run_by_number(self, header->id, worker);
    if (!run) {
        self->stats.late++;
        return;
    }
    self->stats.nacked++;
    ticket_nacked(self, run);
    /* Whatever window it claims: nothing more until it speaks of something else, or one that
     * refuses everything would have us dispatch in circles. */
    struct fleet_load *load = &self->fleet.loads[worker];
    load->credit = load->cost < load->credit ? (uint16_t)load->cost : load->credit;
}

uint16_t core_demand(const core_t *self, uint32_t worker) {
    const struct fleet_worker *w = &self->fleet.workers[worker];
    uint64_t cost = 0;
    for (uint32_t i = 0; i < w->n_services; i++)
        cost += self->services[w->services[i]].cost_in_flight;
    for (uint32_t i = 0; i < w->n_services; i++)
        for (int lane = 0; lane < WIRE_LANES; lane++)
            cost += self->services[w->services[i]].lines[lane].cost;
    return cost < UINT16_MAX ? (uint16_t)cost : UINT16_MAX;
}

static void tell_demand(core_t *self, uint32_t worker) {
    struct header header = {
        .type = WIRE_PONG, .credit = core_demand(self, worker), .epoch = self->cfg.id};
    if (self->ops.to_worker(self->ops.arg, worker, &header, CORE_NONE) == CORE_GONE)
        crew_doom(self, worker, "disconnected");
}

static void on_bye(core_t *self, uint32_t worker) {
    crew_send(self, worker, WIRE_BYE_OK, 0);
    self->fleet.workers[worker].state = FLEET_DRAINING;
    self->fleet.workers[worker].left = true;
    crew_doom(self, worker, "said goodbye");
}

void core_worker_frame(core_t *self, uint32_t worker, const struct header *header,
                       uint64_t now_us) {
    switch (header->type) {
    case WIRE_RESULT:
        on_result(self, worker, header, now_us);
        break;
    case WIRE_NACK:
        on_nack(self, worker, header);
        break;
    case WIRE_PING:
    case WIRE_HEARTBEAT:
        tell_demand(self, worker);
        break;
    case WIRE_DRAIN:
        self->fleet.workers[worker].state = FLEET_DRAINING;
        fleet_close(&self->fleet, worker, now_us);
        break;
    case WIRE_BYE:
        on_bye(self, worker);
        break;
    case WIRE_PONG:
        break;
    default:
        self->stats.unexpected++;
    }
    if (self->n_doomed_clients || self->n_doomed_workers)
        core_settle(self, now_us);
}

void core_heartbeat(core_t *self, uint32_t worker, const struct wire_heartbeat *heartbeat) {
    struct fleet_worker *w = &self->fleet.workers[worker];
    w->last = *heartbeat;
    snprintf(w->redis, sizeof w->redis, "%.*s", (int)heartbeat->redis.bytes,
             heartbeat->redis.bytes ? heartbeat->redis.data : "");
    w->last.redis = view_of(w->redis);
}

void core_worker_lost(core_t *self, uint32_t worker, const char *why, uint64_t now_us) {
    CHECK(worker < self->fleet.high_workers && self->fleet.workers[worker].state != FLEET_FREE);
    crew_doom(self, worker, why);
    core_settle(self, now_us);
}

void core_sweep_workers(core_t *self, uint64_t now_us) {
    for (uint32_t i = 0; i < self->fleet.high_workers; i++)
        if (self->fleet.workers[i].state != FLEET_FREE)
            crew_send(self, i, WIRE_PING, 0);
    core_settle(self, now_us);
}

void crew_beat(core_t *self, uint64_t now_us) {
    uint64_t beat = self->cfg.heartbeat_us;
    for (uint32_t i = 0; i < self->fleet.high_workers; i++) {
        struct fleet_worker *w = &self->fleet.workers[i];
        if (w->state == FLEET_FREE || w->doomed)
            continue;
        if (now_us - w->heard_us > CORE_SILENT_BEATS * beat && now_us >= self->trust_us) {
            w->left = true; /* frozen, or out of reach: that is no request's doing */
            crew_doom(self, i, "silent");
            continue;
        }
        suspect_look(self, i, now_us);
        if (now_us - w->heard_us >= beat && now_us - w->pinged_us >= beat) {
            w->pinged_us = now_us;
            crew_send(self, i, WIRE_PING, 0);
        }
    }
}
