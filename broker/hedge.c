/* hedge.c - second executions: of what is stuck at a worker, and, if wanted, of what is slow.
 *
 *     every 10 ms while anything is in flight, the oldest execution of each worker:
 *
 *     older than max(50 ms, 4 x p99)         p99 of the service, by what the worker had to do
 *       the worker itself gets on            this one is stuck: to the front of its line
 *       others get on, it does not           the worker is suspect, and all it has goes there
 *     older than p95, --hedge on             another execution, where a worker is half idle and
 *                                            nobody waits for it
 *
 * The first execution goes on meanwhile; the first answer counts, and the other is cancelled. Both
 * kinds keep to the budget (retry.h). Nothing is concluded from times at which this process itself
 * did not run, and a worker is only suspect when two looks say so: after a stall of the whole host
 * answers may still be on their way. */
#include "core_state.h"

enum {
    STUCK_US = 50 * 1000,
    STUCK_P99 = 4,
    STALL_US = 5 * HEDGE_LOOK_US, /* a look that comes so late says that we were stopped */
    HOPE_MAX_US = 1000 * 1000,
    HEDGE_RUNS = 8, /* the oldest runs of a worker that are looked at */
};

static const struct tempo *tempo_of(const core_t *self, const struct run *run) {
    return &self->services[self->tickets[run->ticket].service].tempo;
}

static bool is_stuck(const core_t *self, const struct run *run, uint64_t now_us) {
    uint64_t age_us = now_us - run->sent_us;
    if (age_us <= STUCK_US)
        return false;
    uint64_t p99_us = tempo_p99_us(tempo_of(self, run), run->load);
    return p99_us != UINT64_MAX && age_us > STUCK_P99 * p99_us;
}

/* Has another worker of the service answered anything since this was sent? */
static bool others_get_on(const core_t *self, const struct run *run) {
    const struct fleet_service *s = &self->fleet.services[self->tickets[run->ticket].service];
    for (uint32_t i = 0; i < s->n_members; i++) {
        const struct fleet_worker *w = &self->fleet.workers[s->members[i]];
        if (s->members[i] != run->worker && w->state == FLEET_LIVE && w->answered_us > run->sent_us)
            return true;
    }
    return false;
}

static bool may_run_again(const struct ticket *t) {
    return t->state == TICKET_IN_FLIGHT && !t->alone && ticket_runs(t) == 1 &&
           t->attempts < LIMIT_ATTEMPTS;
}

/* Those at the worker that are stuck, or all it has, to the front of their lines; the oldest first
 * there. */
static void recover(core_t *self, struct fleet_worker *w, bool all, uint64_t now_us) {
    struct link *item = queue_head(&w->in_flight), *last = NULL;
    for (; item; item = queue_next(&w->in_flight, item)) {
        const struct run *run = QUEUE_ITEM(item, const struct run, place);
        if (!all && !is_stuck(self, run, now_us))
            break;
        if (may_run_again(&self->tickets[run->ticket])) {
            if (!retry_take(&self->retry)) {
                self->stats.retries_denied++;
                break;
            }
            last = item;
        }
    }
    for (item = last; item && item != &w->in_flight.ends; item = item->prev) {
        struct ticket *t = &self->tickets[QUEUE_ITEM(item, const struct run, place)->ticket];
        if (!may_run_again(t))
            continue;
        ticket_leave(self, t);
        ticket_wait(self, t, true);
    }
}

/* A worker that is at most half busy with this, where the ticket does not run yet. */
static uint32_t idle_for(core_t *self, const struct ticket *t) {
    struct fleet_wish wish = {.cost = t->cost, .lane = t->lane, .avoid = run_where(self, t)};
    uint32_t worker = fleet_choose(&self->fleet, t->service, &wish);
    if (worker == FLEET_NONE)
        return FLEET_NONE;
    const struct fleet_load *load = &self->fleet.loads[worker];
    bool idle = !load->n || 2 * (load->cost + t->cost) <= load->credit;
    return idle ? worker : FLEET_NONE;
}

static void overtake(core_t *self, struct fleet_worker *w, uint64_t now_us) {
    uint32_t n = 0;
    for (struct link *item = queue_head(&w->in_flight); item && n < HEDGE_RUNS; n++) {
        const struct run *run = QUEUE_ITEM(item, const struct run, place);
        struct ticket *t = &self->tickets[run->ticket];
        item = queue_next(&w->in_flight, item);
        uint64_t p95_us = tempo_p95_us(tempo_of(self, run), run->load);
        if (p95_us == UINT64_MAX || now_us - run->sent_us <= p95_us || t->hedged ||
            t->deadline_us <= now_us || !may_run_again(t) || self->services[t->service].queued)
            continue;
        uint32_t worker = idle_for(self, t);
        if (worker == FLEET_NONE)
            continue;
        if (!retry_take(&self->retry)) {
            self->stats.retries_denied++;
            return;
        }
        if (run_start(self, t, worker, now_us) != CORE_SENT)
            continue;
        t->hedged = true;
        self->stats.hedged++;
    }
}

static void look(core_t *self, uint32_t worker, uint64_t now_us) {
    struct fleet_worker *w = &self->fleet.workers[worker];
    const struct link *head = queue_head(&w->in_flight);
    if (!head || w->doomed)
        return;
    const struct run *oldest = QUEUE_ITEM(head, const struct run, place);
    if (self->tickets[oldest->ticket].alone)
        return; /* on trial there, and nowhere else */
    bool stuck = is_stuck(self, oldest, now_us), gets_on = w->answered_us > oldest->sent_us;
    uint64_t doubt_us = w->doubt_us;
    w->doubt_us = 0;
    if (stuck && !gets_on && w->state != FLEET_DRAINING) {
        w->doubt_us = doubt_us ? doubt_us : now_us;
        if (doubt_us && others_get_on(self, oldest))
            suspect_begin(self, worker, "does not get on", now_us);
    }
    if (w->state == FLEET_SUSPECT)
        recover(self, w, true, now_us);
    else if (stuck && gets_on)
        recover(self, w, false, now_us);
    else if (self->cfg.hedge)
        overtake(self, w, now_us);
}

void hedge_watch(core_t *self, uint64_t now_us) {
    uint64_t gap_us = now_us - self->watched_us;
    self->watched_us = now_us;
    self->watch_us = now_us + HEDGE_LOOK_US;
    if (gap_us > STALL_US)
        self->hope_us = now_us + (gap_us < HOPE_MAX_US ? gap_us : HOPE_MAX_US);
    if (now_us < self->hope_us)
        return;
    for (uint32_t i = 0; i < self->fleet.high_workers; i++)
        look(self, i, now_us);
}
