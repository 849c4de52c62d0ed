/* learn.c - what results tell: the pace of workers and services, and what requests take.
 *
 *     RESULT ──► fleet_learn()   how fast its worker is
 *           ├──► pace_result()   what its service gets done, and what a unit of cost takes
 *           └──► line_settle()   its account pays, or is given back, what the estimate was wrong by
 *
 * A request is charged by its length when it is dispatched, since nothing else is known of it. If
 * it turns out dearer (texts times labels) or cheaper (all of it was cached) than its service's
 * requests are for their length, the difference is settled with its account's turns. */
#include "core_state.h"

enum { SETTLE_MAX = 16 }; /* a request counts as so many times its cost at most */

#define ENGINE_KEEP 0.998 /* what a result leaves of the sums over all services */

static void settle(core_t *self, const struct ticket *t, uint32_t engine_us) {
    const struct service_state *service = &self->services[t->service];
    double cost = t->cost, took = engine_us / service->pace.unit_us;
    double most = cost * SETTLE_MAX;
    took = took < most ? took : most;
    line_settle(&self->flows, &service->lines[t->lane], t->account, (int64_t)(took - cost));
}

void learn_result(core_t *self, const struct run *run, const struct header *header,
                  uint64_t now_us) {
    const struct ticket *t = &self->tickets[run->ticket];
    struct service_state *service = &self->services[t->service];
    uint64_t held_us = now_us - run->sent_us;
    /* It cannot have worked more than all its threads in the time it had: one that says so would
     * make its service look dear, and others cheap. */
    uint32_t threads = self->fleet.workers[run->worker].threads;
    uint64_t most_us = held_us * (threads < LIMIT_THREADS ? threads + 1 : LIMIT_THREADS);
    uint32_t engine_us = header->budget_us < most_us ? header->budget_us : (uint32_t)most_us;
    workload_worked(self, t->service, engine_us);
    if (header->status != STATUS_OK)
        return;
    fleet_learn(&self->fleet, run->worker, run->cost, run->load, held_us);
    pace_result(&service->pace, run->cost, engine_us, held_us);
    if (!engine_us)
        return;
    self->engine_us = self->engine_us * ENGINE_KEEP + engine_us;
    self->engine_cost = self->engine_cost * ENGINE_KEEP + run->cost;
    settle(self, t, engine_us);
}

void learn_look(core_t *self, uint64_t now_us) {
    double us = (double)(now_us - self->looked_us);
    double mean_us = self->engine_cost > 0 ? self->engine_us / self->engine_cost : 0;
    if (us <= 0)
        return;
    self->looked_us = now_us;
    fleet_measure(&self->fleet);
    for (uint32_t i = 1; i < self->fleet.n_services; i++) {
        struct service_state *service = &self->services[i];
        pace_look(&service->pace, service->queued, self->fleet.services[i].n_members, us);
        pace_weigh(&service->pace, mean_us);
    }
}

double learn_rate(const core_t *self, uint32_t service) {
    const struct fleet_service *s = &self->fleet.services[service];
    double rate = pace_rate(&self->services[service].pace, s->n_members);
    return rate > 0 ? rate : (double)s->pace;
}
