/* coalesce.c - equal requests share an execution.
 *
 *     leader ◄── twin ◄── twin ◄── twin       equal bodies for one service, of any client
 *
 *     waiting:    each waits in its own line, with its own lane, turn and deadline, and the first
 *                 to be sent becomes the leader of all: none waits longer than it would alone,
 *                 whoever the others are
 *     in flight:  the others follow, and a new one does at once; each is answered with the
 *                 leader's result, or leaves at its own deadline or cancel
 *     leader goes (deadline, cancel, client lost): the next twin takes over its executions
 *     execution is lost: all wait again, each at the front of its own line
 *
 * Found by a hash under a secret seed and then compared, so that no collision mixes answers. A
 * group has at most GROUP_MAX members and a look compares with at most LOOKS_MAX groups; who finds
 * no place stands for itself. Requests with the flag ALONE do, too.
 *
 * Invariants:
 *   - a leader's `leader` is itself, and it alone is in the table;
 *   - twins follow exactly when the leader has a run or is held; otherwise they wait. */
#include "core_state.h"

#include "base/check.h"

#include <string.h>

enum { GROUP_MAX = 64, LOOKS_MAX = 8 };

static uint32_t *bucket_of(const core_t *self, uint64_t hash) {
    return &self->leaders[hash & self->bucket_mask];
}

static void enter(core_t *self, struct ticket *t) {
    uint32_t *bucket = bucket_of(self, t->hash);
    t->leader = ticket_slot(self, t);
    t->same_hash = *bucket;
    *bucket = t->leader;
}

static void take_out(core_t *self, struct ticket *t) {
    uint32_t *at = bucket_of(self, t->hash);
    while (*at != t->leader)
        at = &self->tickets[*at].same_hash;
    *at = t->same_hash;
    t->leader = CORE_NONE;
}

static bool leads(const core_t *self, const struct ticket *t) {
    return t->leader == ticket_slot(self, t);
}

/* What it waits for is under way: its twins follow. */
static bool is_under_way(const struct ticket *t) {
    return t->state == TICKET_HELD || ticket_runs(t);
}

static struct ticket *leader_for(core_t *self, const struct ticket *t, struct view body) {
    uint32_t looks = 0;
    for (uint32_t slot = *bucket_of(self, t->hash); slot != CORE_NONE;) {
        struct ticket *other = &self->tickets[slot];
        slot = other->same_hash;
        if (other->hash != t->hash || other->service != t->service ||
            other->body_bytes != t->body_bytes)
            continue;
        if (++looks > LOOKS_MAX)
            return NULL;
        struct view kept = self->ops.body(self->ops.arg, other->leader);
        if (other->twins.n < GROUP_MAX - 1 && view_equal(kept, body))
            return other;
    }
    return NULL;
}

bool coalesce_join(core_t *self, struct ticket *t, struct view body) {
    if (!self->leaders || t->flags & WIRE_FLAG_ALONE)
        return false;
    t->hash = poison_hash(body, t->service, self->cfg.seed);
    struct ticket *leader = leader_for(self, t, body);
    if (!leader) {
        enter(self, t);
        return false;
    }
    t->leader = leader->leader;
    queue_push(&leader->twins, &t->twin);
    if (!is_under_way(leader))
        return false;
    ticket_follow(self, t);
    return true;
}

uint64_t coalesce_deadline_us(const core_t *self, const struct ticket *t) {
    uint64_t latest = t->deadline_us;
    if (t->leader == CORE_NONE)
        return latest;
    const struct ticket *leader = &self->tickets[t->leader];
    latest = leader->deadline_us > latest ? leader->deadline_us : latest;
    for (const struct link *item = queue_head(&leader->twins); item;
         item = queue_next(&leader->twins, item)) {
        uint64_t due = QUEUE_ITEM(item, const struct ticket, twin)->deadline_us;
        latest = due > latest ? due : latest;
    }
    return latest;
}

/* `next`, one of the leader's twins, takes its place; the old leader is in no group. */
static void succeed(core_t *self, struct ticket *old, struct ticket *next) {
    take_out(self, old);
    queue_remove(&old->twins, &next->twin);
    enter(self, next);
    struct link *item;
    while ((item = queue_pop(&old->twins))) {
        QUEUE_ITEM(item, struct ticket, twin)->leader = next->leader;
        queue_push(&next->twins, item);
    }
}

static uint8_t larger(uint8_t a, uint8_t b) {
    return a > b ? a : b;
}

/* The ticket is being sent: it leads, and whoever waits for the same follows. What workers died of
 * before is the body, not the ticket it was sent for. */
void coalesce_gather(core_t *self, struct ticket *t) {
    if (t->leader == CORE_NONE)
        return;
    if (!leads(self, t)) {
        struct ticket *old = &self->tickets[t->leader];
        succeed(self, old, t);
        old->leader = t->leader;
        queue_push(&t->twins, &old->twin);
    }
    for (struct link *item = queue_head(&t->twins); item; item = queue_next(&t->twins, item)) {
        struct ticket *twin = QUEUE_ITEM(item, struct ticket, twin);
        if (twin->state != TICKET_WAITING)
            continue;
        t->deaths = larger(t->deaths, twin->deaths);
        ticket_leave(self, twin);
        ticket_follow(self, twin);
    }
}

/* The leader has lost its execution. What its workers went through, its twins' body did. */
void coalesce_scatter(core_t *self, struct ticket *t) {
    if (!leads(self, t))
        return;
    for (struct link *item = t->twins.ends.prev; item != &t->twins.ends; item = item->prev) {
        struct ticket *twin = QUEUE_ITEM(item, struct ticket, twin);
        if (twin->state != TICKET_FOLLOWING)
            continue;
        uint8_t most = t->attempts < LIMIT_ATTEMPTS ? t->attempts : LIMIT_ATTEMPTS - 1;
        twin->attempts = larger(twin->attempts, most); /* it may have gone through more before */
        twin->deaths = t->deaths;
        ticket_leave(self, twin);
        ticket_wait(self, twin, true);
    }
}

/* The leader is about to leave, its execution is not lost: true when the next twin has it now. */
bool coalesce_hand_over(core_t *self, struct ticket *t) {
    if (!leads(self, t) || queue_empty(&t->twins) || !is_under_way(t))
        return false;
    struct ticket *next = QUEUE_ITEM(queue_head(&t->twins), struct ticket, twin);
    bool held = t->state == TICKET_HELD;
    succeed(self, t, next);
    ticket_leave(self, t);
    ticket_leave(self, next);
    for (uint32_t i = 0; i < TICKET_RUNS; i++) {
        next->runs[i] = t->runs[i];
        t->runs[i] = CORE_NONE;
        if (next->runs[i] != CORE_NONE)
            self->runs[next->runs[i]].ticket = ticket_slot(self, next);
    }
    next->attempts = larger(next->attempts, t->attempts);
    next->deaths = t->deaths;
    next->alone = t->alone;
    next->hedged = t->hedged;
    if (held)
        ticket_hold(self, next);
    else
        ticket_fly(self, next);
    return true;
}

void coalesce_leave(core_t *self, struct ticket *t) {
    if (t->leader == CORE_NONE)
        return;
    if (!leads(self, t)) {
        queue_remove(&self->tickets[t->leader].twins, &t->twin);
        t->leader = CORE_NONE;
    } else if (queue_empty(&t->twins)) {
        take_out(self, t);
    } else { /* those that wait with it wait on */
        CHECK(!is_under_way(t));
        succeed(self, t, QUEUE_ITEM(queue_head(&t->twins), struct ticket, twin));
    }
}
