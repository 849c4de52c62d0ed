/* probation.c - requests that workers died of, told from those that were only there.
 *
 *     first death     everything the worker had is sent again at once: a worker that died by
 *                     itself, which is the rule, delays nobody
 *     second death    exactly one request was there both times: it is the one. Several were: they
 *                     are held, and each is sent to a worker that has nothing else to do
 *     third death     of a worker that had nothing else: no doubt is left
 *
 * The one that workers died of is answered INTERNAL, and its body is refused for a minute
 * (poison.h), so that repeats do not take the rest of the fleet down. Who was only there is
 * answered like anybody else. For held requests one worker at a time is kept (`cell`): it gets
 * nothing new, and once it is idle one held request after the other.
 *
 * Rejected: holding everything after the first death. One by one, the requests of a large window
 * would miss their deadlines each time a worker is killed. */
#include "core_state.h"

#include "base/check.h"

#include <stdio.h>

enum { DEATHS_MAX = 2 };

uint32_t probation_deaths(core_t *self, uint32_t worker) {
    struct fleet_worker *w = &self->fleet.workers[worker];
    uint32_t n_twice = 0;
    for (struct link *item = queue_head(&w->in_flight); item && !w->left;
         item = queue_next(&w->in_flight, item)) {
        struct ticket *t = &self->tickets[QUEUE_ITEM(item, struct run, place)->ticket];
        n_twice += ++t->deaths >= DEATHS_MAX;
    }
    return n_twice;
}

static void convict(core_t *self, struct ticket *t, uint64_t now_us) {
    char text[120];
    if (self->ops.body) {
        uint32_t slot = ticket_slot(self, t);
        struct view body = self->ops.body(self->ops.arg, slot);
        uint64_t hash = poison_hash(body, t->service, self->cfg.seed);
        poison_add(&self->poison, hash, now_us);
        if (self->ops.quarantined)
            self->ops.quarantined(self->ops.arg, slot, hash);
    }
    self->stats.poisoned++;
    snprintf(text, sizeof text,
             "%u workers died with the request in flight; it is refused for %u s", t->deaths,
             POISON_US / 1000000);
    ticket_reply_all(self, t, STATUS_INTERNAL, text);
}

/* A run of the ticket ended with its worker. */
void probation_lost(core_t *self, struct ticket *t, bool died, uint32_t n_twice, uint64_t now_us) {
    bool alone = t->alone, twice = died && t->deaths >= DEATHS_MAX;
    self->stats.requeued++;
    retry_forced(&self->retry);
    if (ticket_runs(t))
        return; /* it has another execution */
    if (t->state == TICKET_WAITING) {
        coalesce_scatter(self, t);
        return;
    }
    t->alone = false;
    if (twice && (alone || n_twice == 1)) {
        convict(self, t, now_us);
    } else if (t->attempts >= LIMIT_ATTEMPTS) {
        char text[80];
        snprintf(text, sizeof text, "the request was in flight on %u workers that were lost",
                 t->attempts);
        ticket_reply_all(self, t, STATUS_INTERNAL, text);
    } else if (twice) {
        ticket_leave(self, t);
        ticket_hold(self, t);
    } else {
        ticket_back(self, t);
    }
}

/* The one with the least to finish among those that serve it. */
static uint32_t find_cell(const core_t *self, uint32_t service) {
    const struct fleet_service *s = &self->fleet.services[service];
    uint32_t best = CORE_NONE;
    for (uint32_t i = 0; i < s->n_members; i++) {
        uint32_t worker = s->members[i];
        const struct fleet_load *load = &self->fleet.loads[worker];
        if (load->open && load->credit &&
            (best == CORE_NONE || load->cost < self->fleet.loads[best].cost))
            best = worker;
    }
    return best;
}

static void keep(core_t *self, uint32_t worker) {
    if (self->cell != CORE_NONE && worker != self->cell) {
        uint32_t old = self->cell;
        self->cell = CORE_NONE;
        self->fleet.workers[old].kept = false;
        suspect_open(self, old);
    }
    if (worker != CORE_NONE) {
        self->cell = worker;
        self->fleet.workers[worker].kept = true;
        suspect_open(self, worker);
    }
}

static bool can_serve(const core_t *self, uint32_t worker, uint32_t service) {
    const struct fleet_worker *w = &self->fleet.workers[worker];
    if (w->state != FLEET_LIVE || w->doomed || !self->fleet.loads[worker].credit)
        return false;
    for (uint32_t i = 0; i < w->n_services; i++)
        if (w->services[i] == service)
            return true;
    return false;
}

/* It has something to finish; but what it had before it was kept is waited for only as long as it
 * is trusted to get on. */
static bool is_busy(const core_t *self, uint32_t worker) {
    const struct fleet_worker *w = &self->fleet.workers[worker];
    const struct link *head = queue_head(&w->in_flight);
    return head && (w->state == FLEET_LIVE ||
                    self->tickets[QUEUE_ITEM(head, const struct run, place)->ticket].alone);
}

void probation_go(core_t *self, uint64_t now_us) {
    if (self->cell != CORE_NONE && !self->fleet.workers[self->cell].kept)
        self->cell = CORE_NONE; /* it left */
    uint32_t n = self->held.n;
    for (; n; n--) {
        struct ticket *t = QUEUE_ITEM(queue_head(&self->held), struct ticket, place);
        if (!self->fleet.services[t->service].n_members) { /* for admit_orphans() to judge */
            ticket_back(self, t);
            continue;
        }
        if (t->deadline_us <= now_us) {
            tally_slow(self, t, STATUS_DEADLINE_EXCEEDED, now_us);
            ticket_reply(self, t, STATUS_DEADLINE_EXCEEDED, "its time ran out while it waited");
            continue;
        }
        if (self->cell != CORE_NONE && is_busy(self, self->cell))
            return;
        if (self->cell == CORE_NONE || !can_serve(self, self->cell, t->service))
            keep(self, find_cell(self, t->service));
        if (self->cell != CORE_NONE && !self->fleet.loads[self->cell].n) {
            t->alone = run_start(self, t, self->cell, now_us) == CORE_SENT;
            return;
        }
        queue_remove(&self->held, &t->place); /* no worker for it now: the next one's turn */
        queue_push(&self->held, &t->place);
    }
    if (self->cell != CORE_NONE && queue_empty(&self->held) && !self->fleet.loads[self->cell].n)
        keep(self, CORE_NONE);
}

bool probation_refuses(core_t *self, struct view body, uint16_t service, uint64_t now_us,
                       struct err *err) {
    if (!self->poison.n)
        return false;
    uint64_t hash = poison_hash(body, service, self->cfg.seed);
    uint64_t left_us = poison_left_us(&self->poison, hash, now_us);
    if (!left_us)
        return false;
    err_set(err, STATUS_INTERNAL, "workers died of requests like this one; it is refused for %u s",
            (uint32_t)((left_us + 999999) / 1000000));
    return true;
}
