/* dispatch.c - which ticket that waits meets which worker with room.
 *
 *     ready[HIGH]    line(s3) line(s1)          lines whose service may have a worker with room;
 *     ready[NORMAL]  line(s1)                   the one that was given least work of late first, so
 *     ready[BULK]    line(s3)                   that services that share workers share them evenly
 *
 * A line leaves `ready` when no member has room and comes back when one gets some (dispatch_opened)
 * or the ticket at its head goes (dispatch_ready), so that a wake-up costs what it achieves. Whose
 * turn it is inside a line is line.c's business.
 *
 * Lanes: a higher lane goes before the lower ones of its service, and of services on the same
 * workers. But a line that waits earns from what passes it: NORMAL an eighth of HIGH's work on
 * workers that could have served it, BULK a sixteenth of both. When that pays for its next request,
 * the line is due and goes first. So no lane starves, and a higher one loses little.
 *
 * Room: a smaller request does not overtake a larger one for ever. A line whose next request finds
 * room nowhere, though a smaller one would, has the best such worker kept for it: lines of its own
 * lane and lower ones get nothing more there, and when it is due nobody does. A line keeps one
 * worker at most, and gives it back when that request has left; meanwhile its other accounts' turns
 * go on at other workers. */
#include "core_state.h"

enum { SHARE_ONE = 16, MEAN_SHIFT = 6, LAG_MIN = 256 };

static const uint8_t earns[WIRE_LANES] = {0, 2, 1}; /* sixteenths of higher lanes' work */

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

/* ---------------------------------------------------------------- kept workers */

/* The worker that is kept for this line, or NULL. */
static struct fleet_load *kept_by(core_t *self, const struct line *line) {
    if (line->keeps == CORE_NONE)
        return NULL;
    struct fleet_load *load = &self->fleet.loads[line->keeps];
    return load->keeper == line->service && load->keeper_lane == line->lane ? load : NULL;
}

static void keep(core_t *self, struct line *line, uint32_t worker) {
    if (worker == FLEET_NONE || kept_by(self, line))
        return;
    struct fleet_load *load = &self->fleet.loads[worker];
    load->keeper = line->service;
    load->keeper_lane = line->lane;
    load->barred = line->due ? 0 : line->lane;
    line->keeps = worker;
}

static void give_back(core_t *self, struct line *line) {
    struct fleet_load *load = kept_by(self, line);
    uint32_t worker = line->keeps;
    line->keeps = line->aside = CORE_NONE;
    if (!load)
        return;
    load->keeper = 0;
    load->barred = WIRE_LANES;
    dispatch_opened(self, worker);
}

void dispatch_emptied(core_t *self, struct line *line) {
    give_back(self, line);
    self->n_due -= line->due;
    line->due = false;
    line->earned16 = 0;
}

/* ---------------------------------------------------------------- lanes */

/* Does what it has earned pay for its next request? */
static void update_due(core_t *self, struct line *line, uint64_t now_us) {
    bool due = line->earned16 &&
               line->earned16 >= SHARE_ONE * (uint64_t)line_next(&self->flows, line, now_us)->work;
    if (due == line->due)
        return;
    line->due = due;
    self->n_due += due ? 1 : -1U;
    struct fleet_load *kept = kept_by(self, line);
    if (kept)
        kept->barred = due ? 0 : line->lane;
}

/* `work` of this line went to a worker that lines of lower lanes wait for, too. Who is due saves up
 * nothing more. */
static void passed(core_t *self, const struct line *line, uint32_t worker, uint32_t work,
                   uint64_t now_us) {
    uint32_t lower = 0;
    for (int lane = line->lane + 1; lane < WIRE_LANES; lane++)
        lower += self->lane_queued[lane];
    if (!lower)
        return;
    const struct fleet_worker *w = &self->fleet.workers[worker];
    for (uint32_t i = 0; i < w->n_services; i++) {
        struct service_state *service = &self->services[w->services[i]];
        for (int lane = line->lane + 1; service->queued && lane < WIRE_LANES; lane++) {
            struct line *other = &service->lines[lane];
            if (queue_empty(&other->waiting) || other->due)
                continue;
            other->earned16 += (uint64_t)work * earns[lane];
            update_due(self, other, now_us);
        }
    }
}

/* A line of a lower lane that has earned this worker and keeps no other; NULL: none. */
static struct line *due_at(core_t *self, const struct line *line, uint32_t worker) {
    const struct fleet_worker *w = &self->fleet.workers[worker];
    for (uint32_t i = 0; self->n_due && !line->due && i < w->n_services; i++) {
        struct service_state *service = &self->services[w->services[i]];
        for (int lane = line->lane + 1; service->queued && lane < WIRE_LANES; lane++)
            if (service->lines[lane].due && !kept_by(self, &service->lines[lane]))
                return &service->lines[lane];
    }
    return NULL;
}

/* ---------------------------------------------------------------- one ticket */

static void out_of_time(core_t *self, struct ticket *t, uint64_t now_us) {
    tally_slow(self, t, STATUS_DEADLINE_EXCEEDED, now_us);
    ticket_reply(self, t, STATUS_DEADLINE_EXCEEDED, "its time ran out while it waited");
}

/* The line's next ticket, when there is one that has time. What has not is answered. */
static struct ticket *next_of(core_t *self, struct line *line, uint64_t now_us) {
    uint64_t need_us = (uint64_t)self->services[line->service].pace.held_us / 2;
    while (!queue_empty(&line->waiting)) {
        struct ticket *t = line_next(&self->flows, line, now_us);
        struct ticket *hopeless = line_hopeless(&self->flows, line, now_us, need_us);
        if (hopeless && hopeless->deadline_us > now_us)
            ticket_shed(self, hopeless, CORE_REASON_TOO_LATE,
                        room_retry_ms(self, (double)line->cost, learn_rate(self, line->service)),
                        "it waited too long to be answered in time");
        else if (hopeless || t->deadline_us <= now_us)
            out_of_time(self, hopeless ? hopeless : t, now_us);
        else
            return t;
    }
    return NULL;
}

/* Lines of a lane have clocks that run with the work they are given; the one that is behind goes
 * first (start-time fair queueing, Goyal, Vin and Cheng 1996). The lane's clock is the latest at
 * which a line was given something. Whoever was away, or is on other workers where less gets done,
 * is held to be LAG behind it at most. */
static uint64_t clock_of(const core_t *self, const struct line *line) {
    uint64_t lag = LAG_MIN + self->mean16, now = self->clock[line->lane];
    return now > lag && line->clock < now - lag ? now - lag : line->clock;
}

static void spend(core_t *self, struct line *line, uint32_t work) {
    uint64_t clock = clock_of(self, line);
    if (self->clock[line->lane] < clock)
        self->clock[line->lane] = clock;
    line->clock = clock + work;
}

static void send(core_t *self, struct line *line, struct ticket *t, uint32_t worker,
                 uint64_t now_us) {
    uint32_t work = t->work, flow = t->flow;
    line_pay(&self->flows, line, t, now_us); /* while it still is in its flow */
    if (run_start(self, t, worker, now_us) != CORE_SENT) {
        line_refund(&self->flows, t); /* and that worker gets nothing more */
        return;
    }
    uint64_t spent16 = (uint64_t)work * SHARE_ONE;
    line->earned16 -= spent16 < line->earned16 ? spent16 : line->earned16;
    if (!queue_empty(&line->waiting))
        update_due(self, line, now_us);
    spend(self, line, work);
    int64_t mean16 = self->mean16;
    self->mean16 = (uint32_t)(mean16 + ((int64_t)work * 16 - mean16) / (1 << MEAN_SHIFT));
    if (line->aside == CORE_NONE || line->aside == flow)
        give_back(self, line);
    passed(self, line, worker, work, now_us);
}

/* Where it waits for a second execution, the worker of the first will not do. When that one alone
 * has room, it stops waiting; the next look (hedge.c) may find another. */
static bool put_off(core_t *self, struct ticket *t, const struct fleet_wish *wish) {
    struct fleet_wish any = {.cost = wish->cost, .lane = wish->lane, .avoid = FLEET_NONE};
    if (wish->avoid == FLEET_NONE || fleet_choose(&self->fleet, t->service, &any) == FLEET_NONE)
        return false;
    ticket_stay(self, t);
    return true;
}

/* The request that a worker is kept for, when that worker has room for it now; else NULL. A worker
 * that may be given nothing any more is kept for nobody: its flow is passed over no longer. */
static struct ticket *aside_fits(core_t *self, struct line *line, uint64_t now_us) {
    const struct fleet_load *load = kept_by(self, line);
    if (!load || !load->open || !load->credit)
        give_back(self, line);
    if (line->aside == CORE_NONE)
        return NULL;
    struct ticket *t = line_aside(&self->flows, line, now_us);
    bool fits = !load->n || load->cost + t->cost <= load->credit;
    bool may = t->deadline_us > now_us && run_where(self, t) != line->keeps;
    return fits && may ? t : NULL;
}

/* Its next request found no room. True: a worker is kept for it, now or since it was the only
 * account's, and other accounts may go on at others. */
static bool set_aside(core_t *self, struct line *line, const struct ticket *t,
                      const struct fleet_wish *wish) {
    if (kept_by(self, line)) {
        if (line->aside != CORE_NONE)
            return false;
    } else if (wish->almost == FLEET_NONE || due_at(self, line, wish->almost)) {
        return false;
    } else {
        keep(self, line, wish->almost);
    }
    bool others = line->flows.n > 1 && self->fleet.services[line->service].n_members > 1;
    line->aside = others ? t->flow : CORE_NONE;
    return line->aside != CORE_NONE;
}

/* False: nobody has room for the next of this line. */
static bool dispatch_one(core_t *self, struct line *line, uint64_t now_us) {
    struct ticket *t = aside_fits(self, line, now_us);
    if (t) {
        send(self, line, t, line->keeps, now_us);
        return true;
    }
    t = next_of(self, line, now_us);
    while (t) {
        struct fleet_wish wish = {.cost = t->cost, .lane = line->lane, .avoid = run_where(self, t)};
        bool runs = wish.avoid != FLEET_NONE;
        if (!runs && line->aside != CORE_NONE && line->aside != t->flow)
            wish.avoid = line->keeps;
        uint32_t worker = fleet_choose(&self->fleet, line->service, &wish);
        if (worker == FLEET_NONE) {
            if (runs && put_off(self, t, &wish))
                return true;
            if (!set_aside(self, line, t, &wish))
                return false;
            t = next_of(self, line, now_us);
            continue;
        }
        struct line *due = due_at(self, line, worker);
        if (!due) {
            send(self, line, t, worker, now_us);
            return true;
        }
        struct ticket *first = next_of(self, due, now_us);
        const struct fleet_load *load = &self->fleet.loads[worker];
        if (first && run_where(self, first) == worker) {
            ticket_stay(self, first);
            continue;
        }
        if (first && load->n && load->cost + first->cost > load->credit) {
            keep(self, due, worker); /* and this line looks for another */
            continue;
        }
        if (first)
            send(self, due, first, worker, now_us);
        return true;
    }
    return true;
}

/* ---------------------------------------------------------------- all of them */

/* The line whose turn it is, out of `ready`; NULL: none is left. */
static struct line *take_turn(core_t *self) {
    for (int lane = 0; lane < WIRE_LANES; lane++) {
        struct queue *ready = &self->ready[lane];
        struct line *first = NULL;
        uint64_t least = 0;
        for (struct link *item = queue_head(ready); item; item = queue_next(ready, item)) {
            struct line *line = QUEUE_ITEM(item, struct line, ready);
            uint64_t clock = clock_of(self, line);
            if (!first || clock < least) {
                first = line;
                least = clock;
            }
        }
        if (first) {
            queue_remove(ready, &first->ready);
            return first;
        }
    }
    return NULL;
}

void dispatch_all(core_t *self, uint64_t now_us) {
    struct line *line;
    while ((line = take_turn(self))) {
        if (queue_empty(&line->waiting) || (higher_waits(self, line) && !line->due) ||
            !dispatch_one(self, line, now_us) || queue_empty(&line->waiting))
            continue;
        if (!queue_has(&line->ready))
            queue_push(&self->ready[line->lane], &line->ready);
    }
}

void core_dispatch(core_t *self, uint64_t now_us) {
    if (self->cell != CORE_NONE || !queue_empty(&self->held))
        probation_go(self, now_us);
    dispatch_all(self, now_us);
    while (self->n_doomed_clients || self->n_doomed_workers) {
        core_settle(self, now_us); /* brings back what lost workers had */
        dispatch_all(self, now_us);
    }
}
