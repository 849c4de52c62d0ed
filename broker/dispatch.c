/* dispatch.c - which ticket that waits meets which worker with room.
 *
 *     ready[HIGH]    line(s3) line(s1)          lines whose service may have a worker with room;
 *     ready[NORMAL]  line(s1)                   one ticket a turn, then to the back: services
 *     ready[BULK]    line(s3)                   that share workers share them evenly
 *
 * A line leaves `ready` when no member has room and comes back when one gets some (dispatch_opened)
 * or the ticket at its head goes (dispatch_ready), so that a wake-up costs what it achieves.
 *
 * Lanes are strict: while a higher lane of a service waits, the lower ones do, too; a smaller
 * request never overtakes. Ageing of BULK and fairness between clients would go into next_of(). */
#include "core_state.h"

void dispatch_ready(core_t *self, uint32_t service) {
    for (int lane = 0; lane < WIRE_LANES; lane++) {
        struct line *line = &self->services[service].lines[lane];
        if (!queue_empty(&line->waiting) && !queue_has(&line->ready))
            queue_push(&self->ready[lane], &line->ready);
    }
}

void dispatch_opened(core_t *self, uint32_t worker) {
    if (!self->queued || !self->fleet.loads[worker].open)
        return;
    const struct fleet_worker *w = &self->fleet.workers[worker];
    for (uint32_t i = 0; i < w->n_services; i++)
        if (self->services[w->services[i]].queued)
            dispatch_ready(self, w->services[i]);
}

static bool higher_waits(const core_t *self, const struct line *line) {
    const struct service_state *service = &self->services[line->service];
    for (int lane = 0; lane < line->lane; lane++)
        if (!queue_empty(&service->lines[lane].waiting))
            return true;
    return false;
}

/* The ticket of a line that goes first. */
static struct ticket *next_of(const struct line *line) {
    return QUEUE_ITEM(queue_head(&line->waiting), struct ticket, place);
}

/* False: nobody has room for the head of this line. */
static bool dispatch_one(core_t *self, const struct line *line, uint64_t now_us) {
    struct ticket *t = next_of(line);
    if (t->deadline_us <= now_us) {
        ticket_reply(self, t, STATUS_DEADLINE_EXCEEDED, "its time ran out while it waited");
        return true;
    }
    uint32_t worker = fleet_choose(&self->fleet, line->service, core_cost(t->body_bytes));
    if (worker == FLEET_NONE)
        return false;
    run_start(self, t, worker, now_us); /* or it waits on, and that worker gets nothing more */
    return true;
}

void dispatch_all(core_t *self, uint64_t now_us) {
    for (int lane = 0; lane < WIRE_LANES; lane++) {
        struct link *item;
        while ((item = queue_pop(&self->ready[lane]))) {
            struct line *line = QUEUE_ITEM(item, struct line, ready);
            if (queue_empty(&line->waiting) || higher_waits(self, line) ||
                !dispatch_one(self, line, now_us))
                continue;
            if (!queue_empty(&line->waiting) && !queue_has(&line->ready))
                queue_push(&self->ready[lane], &line->ready);
        }
    }
}

void core_dispatch(core_t *self, uint64_t now_us) {
    dispatch_all(self, now_us);
    while (self->n_doomed_clients || self->n_doomed_workers) {
        core_settle(self, now_us); /* brings back what lost workers had */
        dispatch_all(self, now_us);
    }
}
