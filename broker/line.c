/* line.c - see line.h.
 *
 * Invariants:
 *   - a ticket that waits is in its line's `waiting` (link place) and in one flow (link turn);
 *   - a flow has something waiting, or it is free;
 *   - cost and weights of a line are the sums over its flows. */
#include "line.h"

#include "base/check.h"
#include "base/hash.h"
#include "core_state.h"

#include <stdlib.h>

enum { QUANTUM_MIN = 8, MEAN_SHIFT = 5, SIXTEENTHS = 16, DEBT_MAX = 1 << 16, LATE_PARTS = 8 };
enum { SHARE_KNOWN_US = 200 * 1000, SHARE_FADE_US = 2 * 1000 * 1000 };

bool flows_init(struct flows *self, uint32_t max, struct accounts *accounts, uint64_t seed) {
    uint32_t buckets = 1;
    while (buckets < max)
        buckets *= 2;
    *self = (struct flows){.max = max, .mask = buckets - 1, .seed = seed, .accounts = accounts};
    self->items = calloc(max, sizeof *self->items);
    self->free = calloc(max, sizeof *self->free);
    self->buckets = malloc(buckets * sizeof *self->buckets);
    if (!self->items || !self->free || !self->buckets) {
        flows_done(self);
        return false;
    }
    for (uint32_t i = 0; i < buckets; i++)
        self->buckets[i] = ACCOUNT_NONE;
    return true;
}

void flows_done(struct flows *self) {
    free(self->items);
    free(self->free);
    free(self->buckets);
    *self = (struct flows){0};
}

void line_init(struct line *self, uint16_t service, uint8_t lane) {
    *self = (struct line){.service = service,
                          .lane = lane,
                          .keeps = UINT32_MAX,
                          .aside = UINT32_MAX,
                          .mean16 = SIXTEENTHS};
    queue_init(&self->waiting);
    queue_init(&self->flows);
}

uint32_t line_quantum(const struct line *self) {
    return QUANTUM_MIN + self->mean16 / (8 * SIXTEENTHS);
}

/* ---------------------------------------------------------------- flows */

static uint32_t *bucket_of(const struct flows *self, uint32_t account, const struct line *line) {
    uint64_t key = (uint64_t)account << 32 | (uint32_t)line->service << 2 | line->lane;
    return &self->buckets[hash_mix(key ^ self->seed) & self->mask];
}

static struct flow *flow_of(const struct flows *self, uint32_t account, const struct line *line) {
    for (uint32_t at = *bucket_of(self, account, line); at != ACCOUNT_NONE;) {
        struct flow *f = &self->items[at];
        if (f->account == account && f->service == line->service && f->lane == line->lane)
            return f;
        at = f->same_bucket;
    }
    return NULL;
}

static struct flow *flow_start(struct flows *self, struct line *line, uint32_t account,
                               bool front) {
    CHECK(self->n_free || self->high < self->max);
    uint32_t index = self->n_free ? self->free[--self->n_free] : self->high++;
    struct flow *f = &self->items[index];
    uint32_t *bucket = bucket_of(self, account, line);
    struct account *owner = &self->accounts->items[account];
    *f = (struct flow){.account = account,
                       .weight = owner->weight,
                       .service = line->service,
                       .lane = line->lane,
                       .same_bucket = *bucket};
    *bucket = index;
    queue_init(&f->waiting);
    if (front)
        queue_push_front(&line->flows, &f->turn);
    else
        queue_push(&line->flows, &f->turn);
    queue_push(&owner->flows[line->lane], &f->owned);
    line->weights += f->weight;
    self->n++;
    return f;
}

static void flow_end(struct flows *self, struct line *line, struct flow *f) {
    uint32_t index = (uint32_t)(f - self->items);
    uint32_t *at = bucket_of(self, f->account, line);
    while (*at != index)
        at = &self->items[*at].same_bucket;
    *at = f->same_bucket;
    if (line->aside == index)
        line->aside = UINT32_MAX;
    queue_remove(&line->flows, &f->turn);
    queue_remove(&self->accounts->items[f->account].flows[f->lane], &f->owned);
    line->weights -= f->weight;
    f->account = ACCOUNT_NONE;
    self->free[self->n_free++] = index;
    self->n--;
}

/* ---------------------------------------------------------------- in and out */

void line_push(struct flows *flows, struct line *self, struct ticket *t, bool again) {
    struct flow *f = flow_of(flows, t->account, self);
    if (!f)
        f = flow_start(flows, self, t->account, again);
    t->flow = (uint32_t)(f - flows->items);
    if (queue_empty(&f->waiting))
        f->since_us = t->admitted_us;
    if (again) {
        queue_push_front(&self->waiting, &t->place);
        queue_push_front(&f->waiting, &t->turn);
        f->deficit += t->cost;
        queue_remove(&self->flows, &f->turn);
        queue_push_front(&self->flows, &f->turn);
    } else {
        queue_push(&self->waiting, &t->place);
        queue_push(&f->waiting, &t->turn);
    }
    f->cost += t->cost;
    self->cost += t->cost;
    account_waits(flows->accounts, t->account, t->work);
}

void line_remove(struct flows *flows, struct line *self, struct ticket *t) {
    struct flow *f = &flows->items[t->flow];
    queue_remove(&self->waiting, &t->place);
    queue_remove(&f->waiting, &t->turn);
    f->cost -= t->cost;
    self->cost -= t->cost;
    account_waits_no_more(flows->accounts, t->account, t->work);
    if (queue_empty(&f->waiting))
        flow_end(flows, self, f);
}

/* ---------------------------------------------------------------- turns */

/* A flow that is in a line has a ticket. Not by queue_head(): its NULL, which cannot come, is what
 * gcc -O3 then warns of. */
static struct ticket *oldest_of(const struct flow *f) {
    return QUEUE_ITEM(f->waiting.ends.next, struct ticket, turn);
}

/* See LINE_LATE_US. */
static bool is_late(const struct flows *flows, struct flow *f, uint64_t now_us) {
    const struct ticket *t = oldest_of(f);
    uint64_t waited_us = now_us - t->admitted_us, budget_us = t->deadline_us - t->admitted_us;
    bool late = flows->target_us && waited_us > flows->target_us &&
                waited_us * LATE_PARTS > budget_us * (LATE_PARTS - 1);
    if (!late)
        f->late_us = 0;
    else if (!f->late_us)
        f->late_us = now_us ? now_us : 1;
    return late && now_us - f->late_us >= LINE_LATE_US;
}

/* What was given back to the front (it was paid for) goes first in any case. */
static struct ticket *next_of(const struct flows *flows, struct flow *f, uint64_t now_us) {
    struct ticket *t = oldest_of(f);
    if (t->attempts || !is_late(flows, f, now_us))
        return t;
    return QUEUE_ITEM(f->waiting.ends.prev, struct ticket, turn);
}

/* When a whole round pays for nobody's next request, rounds count double, and double again: as if
 * so many had gone by without a dispatch. So a turn is found in a few rounds, and fairness to
 * within one such step. A round is one in which each flow was given its quantum. */
struct ticket *line_next(struct flows *flows, struct line *self, uint64_t now_us) {
    uint32_t in_vain = 0;
    int64_t rounds = 1;
    for (;;) {
        struct flow *f = QUEUE_ITEM(queue_head(&self->flows), struct flow, turn);
        struct ticket *t = next_of(flows, f, now_us);
        if (self->flows.n == 1)
            return t;
        if (self->aside == (uint32_t)(f - flows->items)) {
            queue_remove(&self->flows, &f->turn);
            queue_push(&self->flows, &f->turn);
            if (self->flows.n > 2)
                continue;
            f = QUEUE_ITEM(queue_head(&self->flows), struct flow, turn);
            return next_of(flows, f, now_us); /* nobody else to be fair to */
        }
        if (!f->granted) {
            f->granted = true;
            f->deficit += rounds * line_quantum(self) * f->weight;
            in_vain++;
        }
        if (f->deficit >= t->cost)
            return t;
        f->granted = false;
        queue_remove(&self->flows, &f->turn);
        queue_push(&self->flows, &f->turn);
        if (in_vain + (self->aside != UINT32_MAX) >= self->flows.n) {
            in_vain = 0;
            rounds *= 2;
        }
    }
}

struct ticket *line_aside(struct flows *flows, const struct line *self, uint64_t now_us) {
    return next_of(flows, &flows->items[self->aside], now_us);
}

void line_pay(struct flows *flows, struct line *self, const struct ticket *t, uint64_t now_us) {
    struct flow *f = &flows->items[t->flow];
    if (self->flows.n == 1) { /* nobody to be fair to */
        f->deficit = 0;
        f->granted = false;
    } else {
        f->deficit -= t->cost;
    }
    f->paid += t->cost;
    if (now_us - f->since_us > SHARE_FADE_US) {
        f->since_us += (now_us - f->since_us) / 2;
        f->paid /= 2;
    }
    int64_t cost16 = (int64_t)t->cost * SIXTEENTHS, mean16 = self->mean16;
    self->mean16 = (uint32_t)(mean16 + (cost16 - mean16) / (1 << MEAN_SHIFT));
}

void line_refund(struct flows *flows, const struct ticket *t) {
    flows->items[t->flow].deficit += t->cost;
}

void line_settle(struct flows *flows, const struct line *self, uint32_t account, int64_t more) {
    struct flow *f = flow_of(flows, account, self);
    if (!f || self->flows.n == 1)
        return;
    f->deficit -= more;
    if (f->deficit < -DEBT_MAX)
        f->deficit = -DEBT_MAX;
}

uint64_t line_ahead(const struct flows *flows, const struct line *self, uint32_t account,
                    uint32_t cost) {
    const struct flow *f = flow_of(flows, account, self);
    uint64_t weight = f ? f->weight : flows->accounts->items[account].weight;
    uint64_t own = f ? f->cost : 0, others = self->cost - own;
    uint64_t others_weight = self->weights - (f ? weight : 0);
    uint64_t their_turns = (own + cost + line_quantum(self)) * others_weight / weight;
    return own + cost + (others < their_turns ? others : their_turns);
}

double line_share_us(const struct flows *flows, const struct line *self, uint32_t account,
                     uint32_t cost, uint64_t now_us) {
    const struct flow *f = flow_of(flows, account, self);
    if (!f || now_us < f->since_us + SHARE_KNOWN_US)
        return 0;
    return (double)(f->cost + cost) * (double)(now_us - f->since_us) / (double)(f->paid + cost);
}

struct ticket *line_hopeless(struct flows *flows, struct line *self, uint64_t now_us,
                             uint64_t need_us) {
    struct flow *f = QUEUE_ITEM(queue_head(&self->flows), struct flow, turn);
    struct ticket *t = oldest_of(f);
    bool hopeless = t->deadline_us < now_us + need_us;
    return hopeless && is_late(flows, f, now_us) ? t : NULL;
}

struct ticket *flows_newest(const struct flows *flows, uint32_t account) {
    const struct account *a = &flows->accounts->items[account];
    for (int lane = WIRE_LANES - 1; lane >= 0; lane--) {
        const struct link *head = queue_head(&a->flows[lane]);
        if (head) {
            const struct flow *f = QUEUE_ITEM(head, const struct flow, owned);
            return QUEUE_ITEM(f->waiting.ends.prev, struct ticket, turn);
        }
    }
    return NULL;
}
