/* core_check.c - the invariants, walked. Called after every step of tests and simulations. */
#include "core_state.h"

#include "base/check.h"

/* Who leads is in the table once; who follows, or waits with it, is in its list. */
static void check_group(const core_t *self, const struct ticket *t) {
    uint32_t slot = ticket_slot(self, t), found = 0;
    if (t->leader == CORE_NONE) {
        CHECK(queue_empty(&t->twins) && !queue_has(&t->twin));
        return;
    }
    const struct ticket *leader = &self->tickets[t->leader];
    bool under_way = leader->state == TICKET_HELD || ticket_runs(leader);
    CHECK(leader->leader == t->leader && leader->state != TICKET_FOLLOWING);
    CHECK(leader->hash == t->hash && leader->service == t->service);
    if (t == leader) {
        for (uint32_t i = self->leaders[t->hash & self->bucket_mask]; i != CORE_NONE;
             i = self->tickets[i].same_hash)
            found += i == slot;
        CHECK(found == 1 && !queue_has(&t->twin));
        return;
    }
    for (const struct link *item = queue_head(&leader->twins); item;
         item = queue_next(&leader->twins, item))
        found += item == &t->twin;
    CHECK(found == 1 && queue_empty(&t->twins));
    CHECK(t->state == (under_way ? TICKET_FOLLOWING : TICKET_WAITING));
}

static void check_ticket(const core_t *self, const struct ticket *t) {
    uint32_t slot = ticket_slot(self, t);
    const struct client *c = &self->clients[t->client];
    CHECK(t->client < self->high_clients && c->session);
    CHECK(t->account == c->account && t->cost == core_cost(t->body_bytes) && t->work);
    CHECK(queue_has(&t->turn) == (t->state == TICKET_WAITING));
    bool queued = t->state == TICKET_WAITING || t->state == TICKET_HELD;
    CHECK(queue_has(&t->place) == queued && queue_has(&t->owned));
    CHECK(self->wheel.items[slot].list != WHEEL_NONE);
    CHECK(self->wheel.items[slot].due_us == t->deadline_us);
    CHECK(t->service > 0 && t->service < self->fleet.n_services && t->lane < WIRE_LANES);
    CHECK(ticket_find((core_t *)(uintptr_t)self, t->client, t->id) == t);
    uint32_t runs = 0;
    for (uint32_t i = 0; i < TICKET_RUNS; i++) {
        if (t->runs[i] == CORE_NONE)
            continue;
        const struct run *run = &self->runs[t->runs[i]];
        CHECK(t->runs[i] < self->high_runs && run->ticket == slot);
        CHECK(run->worker < self->fleet.high_workers);
        CHECK(self->fleet.workers[run->worker].state != FLEET_FREE);
        CHECK(run->cost == t->cost);
        runs++;
    }
    CHECK(runs == ticket_runs(t) && t->attempts <= LIMIT_ATTEMPTS);
    CHECK(runs < 2 || self->runs[t->runs[0]].worker != self->runs[t->runs[1]].worker);
    switch (t->state) {
    case TICKET_WAITING:
        CHECK(runs <= 1 && t->attempts < LIMIT_ATTEMPTS);
        break;
    case TICKET_HELD:
        CHECK(runs == 0 && t->attempts < LIMIT_ATTEMPTS && t->deaths >= 2);
        break;
    case TICKET_FOLLOWING:
        CHECK(runs == 0 && t->leader != CORE_NONE && t->leader != slot);
        break;
    default:
        CHECK(runs && t->attempts >= 1);
    }
    check_group(self, t);
}

static void check_tickets(const core_t *self) {
    uint32_t waiting = 0, held = 0, following = 0, in_flight = 0, free = 0;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < self->high_tickets; i++) {
        const struct ticket *t = &self->tickets[i];
        free += t->state == TICKET_FREE;
        waiting += t->state == TICKET_WAITING;
        held += t->state == TICKET_HELD;
        following += t->state == TICKET_FOLLOWING;
        in_flight += t->state == TICKET_IN_FLIGHT;
        if (t->state == TICKET_WAITING || t->state == TICKET_HELD)
            bytes += t->body_bytes;
        if (t->state != TICKET_FREE)
            check_ticket(self, t);
    }
    CHECK(free == self->n_free_tickets);
    CHECK(waiting + held == self->queued && in_flight == self->in_flight);
    CHECK(held == self->held.n && following == self->following);
    CHECK(bytes == self->queued_bytes);
    CHECK(self->wheel.n == waiting + held + following + in_flight);
    CHECK(self->queued <= self->cfg.max_tickets);
}

static void check_flow(const core_t *self, const struct flow *f) {
    const struct line *line = &self->services[f->service].lines[f->lane];
    uint64_t cost = 0;
    CHECK(queue_has(&f->turn) && queue_has(&f->owned) && !queue_empty(&f->waiting));
    CHECK(self->accounts.items[f->account].sessions && f->weight);
    for (const struct link *item = queue_head(&f->waiting); item;
         item = queue_next(&f->waiting, item)) {
        const struct ticket *t = QUEUE_ITEM(item, const struct ticket, turn);
        CHECK(t->state == TICKET_WAITING && t->account == f->account);
        CHECK(t->service == f->service && t->lane == f->lane);
        CHECK(&self->flows.items[t->flow] == f);
        cost += t->cost;
    }
    CHECK(cost == f->cost && cost <= line->cost);
}

static void check_line(const struct line *line) {
    uint64_t cost = 0, weights = 0;
    uint32_t n = 0;
    for (const struct link *item = queue_head(&line->flows); item;
         item = queue_next(&line->flows, item)) {
        const struct flow *f = QUEUE_ITEM(item, const struct flow, turn);
        cost += f->cost;
        weights += f->weight;
        n += f->waiting.n;
    }
    CHECK(cost == line->cost && weights == line->weights && n == line->waiting.n);
    CHECK(n || (!line->due && !line->earned16 && line->keeps == CORE_NONE));
    CHECK(n || line->aside == CORE_NONE);
}

static void check_accounts(const core_t *self) {
    uint32_t requests = 0, flows = 0, used = 0, largest = accounts_largest(&self->accounts);
    uint64_t backlog = 0;
    for (uint32_t i = 0; i < self->flows.high; i++) {
        if (self->flows.items[i].account == ACCOUNT_NONE)
            continue;
        check_flow(self, &self->flows.items[i]);
        flows++;
    }
    CHECK(flows == self->flows.n);
    for (uint32_t i = 0; i < self->accounts.high; i++) {
        const struct account *a = &self->accounts.items[i];
        if (!a->sessions)
            continue;
        used++;
        requests += a->requests;
        backlog += a->backlog;
        CHECK(queue_has(&a->place) == (a->backlog > 0));
        CHECK(!a->backlog || a->rank <= self->accounts.items[largest].rank);
        for (int lane = 0; lane < WIRE_LANES; lane++)
            flows -= a->flows[lane].n;
    }
    CHECK(used == self->accounts.n && flows == 0);
    CHECK(requests == self->queued + self->in_flight + self->following &&
          backlog == self->queued_work);
}

static void check_clients(const core_t *self) {
    uint32_t n = 0, tickets = 0;
    for (uint32_t i = 0; i < self->high_clients; i++) {
        const struct client *c = &self->clients[i];
        if (!c->session)
            continue;
        n++;
        tickets += c->tickets.n;
        CHECK(!c->doomed);
        CHECK(c->account < self->accounts.high && self->accounts.items[c->account].sessions);
        CHECK(c->received == c->replied + c->tickets.n);
    }
    CHECK(n == self->n_clients);
    CHECK(tickets == self->queued + self->in_flight + self->following);
    uint64_t replied = 0;
    for (int i = 0; i <= STATUS_UNAUTHENTICATED; i++)
        replied += self->stats.replied[i];
    CHECK(replied == self->replied);
    CHECK(self->stats.received ==
          replied + self->queued + self->in_flight + self->following + self->stats.dropped);
}

static void check_workers(const core_t *self) {
    const struct fleet *fleet = &self->fleet;
    uint32_t n = 0, runs = 0, live = 0;
    for (uint32_t i = 0; i < fleet->high_workers; i++) {
        const struct fleet_worker *w = &fleet->workers[i];
        const struct fleet_load *load = &fleet->loads[i];
        if (w->state == FLEET_FREE) {
            CHECK(!load->open);
            continue;
        }
        n++;
        CHECK(!w->doomed);
        CHECK(load->open == suspect_is_open(self, i) && (!w->kept || self->cell == i));
        CHECK(load->n == w->in_flight.n);
        uint32_t cost = 0;
        for (const struct link *item = queue_head(&w->in_flight); item;
             item = queue_next(&w->in_flight, item)) {
            const struct run *run = QUEUE_ITEM(item, const struct run, place);
            const struct ticket *t = &self->tickets[run->ticket];
            CHECK(run->worker == i);
            uint32_t index = (uint32_t)(run - self->runs);
            CHECK((t->runs[0] == index) + (t->runs[1] == index) == 1);
            cost += run->cost;
        }
        CHECK(cost == load->cost);
        runs += load->n;
        for (uint32_t j = 0; j < w->n_services; j++) {
            const struct fleet_service *s = &fleet->services[w->services[j]];
            uint32_t found = 0;
            for (uint32_t k = 0; k < s->n_members; k++)
                found += s->members[k] == i;
            CHECK(found == 1);
        }
    }
    for (uint32_t i = 0; i < self->high_runs; i++)
        live += self->runs[i].ticket != CORE_NONE;
    CHECK(n == fleet->n_workers && runs == live && live >= self->in_flight);
    CHECK(live + self->n_free_runs == self->high_runs);
}

static void check_services(const core_t *self) {
    uint32_t queued = 0, in_flight = 0, due = 0, lanes[WIRE_LANES] = {0};
    for (uint32_t i = 0; i < self->fleet.n_services; i++) {
        const struct service_state *state = &self->services[i];
        uint32_t lines = 0;
        for (int lane = 0; lane < WIRE_LANES; lane++) {
            check_line(&state->lines[lane]);
            lines += state->lines[lane].waiting.n;
            lanes[lane] += state->lines[lane].waiting.n;
            due += state->lines[lane].due;
        }
        CHECK(lines <= state->queued);
        queued += state->queued;
        in_flight += state->in_flight;
        const struct fleet_service *s = &self->fleet.services[i];
        for (uint32_t k = 0; k < s->n_members; k++) {
            CHECK(self->fleet.workers[s->members[k]].state != FLEET_FREE);
            CHECK(self->fleet.loads[s->members[k]].fast == (k < s->n_fast));
        }
    }
    CHECK(due == self->n_due);
    for (int lane = 0; lane < WIRE_LANES; lane++)
        CHECK(lanes[lane] == self->lane_queued[lane]);
    CHECK(queued == self->queued && in_flight == self->in_flight);
}

void core_check(const core_t *self) {
    CHECK(!self->n_doomed_clients && !self->n_doomed_workers);
    check_tickets(self);
    check_accounts(self);
    check_clients(self);
    check_workers(self);
    check_services(self);
}
