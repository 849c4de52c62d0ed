/* workload.c - how much engine work is asked for, in us of one runner; scale.c makes workers of it.
 *
 *     request ──► cost x (engine work told / cost answered), of its service of late
 *
 * Answers that took no work, since the cache knew them or an equal request paid, are among those
 * answered: what is asked for is the work that will be done, not what it would be without a cache.
 * A service of which nothing is known yet is taken to be as dear as the mean of all. */
#include "core_state.h"

#define TOLD_KEEP 0.999 /* what an answer leaves of the sums before it */

static double unit_us(const core_t *self, uint32_t service) {
    const struct service_state *s = &self->services[service];
    if (s->told_cost > 0)
        return s->told_us / s->told_cost;
    return self->told_cost > 0 ? self->told_us / self->told_cost : 0;
}

void workload_offered(core_t *self, uint32_t service, uint32_t cost) {
    self->offered_us += cost * unit_us(self, service);
}

void workload_worked(core_t *self, uint32_t service, uint32_t engine_us) {
    self->stats.engine_us += engine_us;
    self->told_us += engine_us;
    self->services[service].told_us += engine_us;
    self->services[service].engine_us += engine_us;
}

void workload_answered(core_t *self, uint32_t service, uint32_t cost) {
    struct service_state *s = &self->services[service];
    s->told_us *= TOLD_KEEP; /* its work was added before */
    s->told_cost = (s->told_cost + cost) * TOLD_KEEP;
    self->told_us *= TOLD_KEEP;
    self->told_cost = (self->told_cost + cost) * TOLD_KEEP;
}

static uint32_t runners_of(const struct fleet_worker *w) { /* as it says: within reason */
    return w->threads < 1 ? 1 : w->threads < LIMIT_THREADS ? w->threads : LIMIT_THREADS;
}

struct core_load core_load(const core_t *self) {
    struct core_load load = {.offered_us = self->offered_us};
    const struct fleet *fleet = &self->fleet;
    for (uint32_t i = 0; i < fleet->high_workers; i++) {
        const struct fleet_worker *w = &fleet->workers[i];
        load.suspect += w->state == FLEET_SUSPECT;
        if (w->state != FLEET_LIVE)
            continue;
        load.live++;
        load.runners += runners_of(w);
        load.window += w->window;
        load.used += fleet->loads[i].cost;
    }
    for (uint32_t i = 1; i < fleet->n_services; i++) {
        const struct service_state *s = &self->services[i];
        uint64_t cost = 0;
        for (int lane = 0; lane < WIRE_LANES; lane++)
            cost += s->lines[lane].cost;
        if (cost)
            load.waiting_us += (double)cost * unit_us(self, i);
    }
    return load;
}

double core_hourly_cost(const core_t *self) {
    double sum = 0;
    for (uint32_t i = 0; i < self->fleet.high_workers; i++)
        if (self->fleet.workers[i].state != FLEET_FREE)
            sum += self->fleet.workers[i].hourly_cost;
    return sum;
}
