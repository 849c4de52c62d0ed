/* pool_pick.c - which of the usable brokers gets a request, and how many may go out twice; see
 * pool.h.
 *
 *      usable --> not stuck --> not avoided --> not shy (if any is not) --> policy --> room?
 *
 * A full window is not passed over with `order` and `cheapest`: their point is who gets the work,
 * and brokers share their workers, so that the next one has no more to offer. */
#include "pool.h"

#include "base/hash.h"

enum {
    ATTEMPT_LEAST_US = 100 * 1000,
    MINUTE_US = 60 * 1000 * 1000,
    HOLD_MOST_US = 80 * 1000 * 1000,
    FADE_US = 2 * 1000 * 1000, /* an old reply time halves its distance to the latency meanwhile */
    SHY_FIRST_US = 100 * 1000,
    SHY_DOUBLINGS = 5,
    SHY_MOST_US = 2 * 1000 * 1000,
    LATENCY_UNKNOWN_US = 1000,
};

/* The budget counts in thousandths: 100 a request, 1 every 100 us. */
enum { BUDGET_ONE = 1000, BUDGET_REQUEST = 100, BUDGET_TICK_US = 100 };

static uint64_t sooner(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* ---- choosing */

static uint64_t latency_of(const struct pool_broker *b) {
    return b->latency_us ? b->latency_us : LATENCY_UNKNOWN_US;
}

static uint64_t reply_time(const struct pool_broker *b, uint64_t now_us) {
    uint64_t base = latency_of(b), age = (now_us - b->reply_at_us) / FADE_US;
    if (b->reply_us <= base)
        return b->reply_us ? b->reply_us : base;
    return base + ((b->reply_us - base) >> (age < 31 ? age : 31));
}

/* As long as it is silent with something in flight, a reply takes at least that long there now:
 * else a broker that swallows all would look like the fastest. */
static uint64_t load_of(const struct pool_broker *b, uint64_t now_us) {
    uint64_t us = reply_time(b, now_us);
    uint64_t since_us = b->answered_us > b->waiting_us ? b->answered_us : b->waiting_us;
    if (b->outstanding && now_us > since_us + us)
        us = now_us - since_us;
    return (b->outstanding + UINT64_C(1)) * us;
}

/* The i-th set bit of `set`, which has more than i. */
static uint32_t nth(uint32_t set, uint32_t i) {
    while (i--)
        set &= set - 1;
    return (uint32_t)__builtin_ctz(set);
}

static uint32_t pick_least(struct pool *self, uint32_t set, uint64_t now_us) {
    uint32_t n = (uint32_t)__builtin_popcount(set);
    if (n < 2)
        return n ? nth(set, 0) : POOL_NONE;
    uint32_t a = n == 2 ? 0 : hash_below(&self->random, n);
    uint32_t b = n == 2 ? 1 : hash_below(&self->random, n - 1);
    b += n > 2 && b >= a;
    a = nth(set, a);
    b = nth(set, b);
    uint64_t load_a = load_of(&self->brokers[a], now_us),
             load_b = load_of(&self->brokers[b], now_us);
    if (load_a == load_b)
        return hash_next(&self->random) & 1 ? a : b;
    return load_a < load_b ? a : b;
}

/* At the start a broker that is preferred to the first one up is waited for, a little. */
static bool awaited(const struct pool *self, uint32_t at, uint64_t now_us) {
    if (self->current != POOL_NONE || now_us >= self->start_us + POOL_START_GRACE_US)
        return false;
    for (uint32_t i = 0; i < self->n; i++) {
        const struct pool_broker *b = &self->brokers[i];
        bool preferred = self->cfg.policy == POOL_ORDER ? i < at : b->cost < self->brokers[at].cost;
        if (preferred && pool_candidate(b) && b->dial.state != DIAL_UP && !b->dial.failures)
            return true;
    }
    return false;
}

static void judge_order(struct pool *self, uint32_t set, uint64_t now_us) {
    for (uint32_t i = 0; i < self->n; i++) {
        const struct pool_broker *b = &self->brokers[i];
        bool in = set & 1u << i;
        if (i == self->current && in)
            return;
        bool stays = self->current == POOL_NONE || !(set & 1u << self->current) ||
                     now_us >= b->up_since_us + b->steady_us;
        if (in && stays) {
            if (!awaited(self, i, now_us))
                self->current = i;
            return;
        }
    }
}

/* Of the set: the cheapest within the limit, or else the fastest. */
static uint32_t best_value(const struct pool *self, uint32_t set) {
    uint32_t cheapest = POOL_NONE, fastest = POOL_NONE;
    for (uint32_t i = 0; i < self->n; i++) {
        const struct pool_broker *b = &self->brokers[i];
        if (!(set & 1u << i))
            continue;
        if (fastest == POOL_NONE || latency_of(b) < latency_of(&self->brokers[fastest]))
            fastest = i;
        if (latency_of(b) <= self->cfg.latency_limit_us &&
            (cheapest == POOL_NONE || b->cost < self->brokers[cheapest].cost))
            cheapest = i;
    }
    return cheapest != POOL_NONE ? cheapest : fastest;
}

static void move_to(struct pool *self, uint32_t at, bool cheaper, uint64_t now_us) {
    if (cheaper) { /* a return; how long did the last one last? */
        self->moved_us = now_us;
    } else if (self->moved_us) {
        bool short_lived = now_us < self->moved_us + MINUTE_US;
        self->hold_us = !short_lived                       ? POOL_HOLD_FIRST_US
                        : self->hold_us < HOLD_MOST_US / 2 ? self->hold_us * 2
                                                           : HOLD_MOST_US;
        self->moved_us = 0;
    }
    self->current = at;
}

static void judge_cheapest(struct pool *self, uint32_t set, uint64_t now_us) {
    uint64_t limit = self->cfg.latency_limit_us, less = limit - limit / 5;
    for (uint32_t i = 0; i < self->n; i++) {
        struct pool_broker *b = &self->brokers[i];
        bool good = set & 1u << i && b->latency_us && b->latency_us <= less;
        b->good_since_us = !good ? 0 : b->good_since_us ? b->good_since_us : now_us;
    }
    uint32_t now = self->current;
    if (now == POOL_NONE || !(set & 1u << now)) {
        uint32_t at = best_value(self, set);
        if (at != POOL_NONE && !awaited(self, at, now_us))
            self->current = at;
        return;
    }
    const struct pool_broker *used = &self->brokers[now];
    bool within = latency_of(used) <= limit;
    uint32_t to = POOL_NONE;
    for (uint32_t i = 0; i < self->n; i++) {
        const struct pool_broker *b = &self->brokers[i];
        bool held = b->good_since_us && now_us >= b->good_since_us + self->hold_us;
        if (i != now && held && b->cost < used->cost &&
            (to == POOL_NONE || b->cost < self->brokers[to].cost))
            to = i;
    }
    if (to != POOL_NONE) {
        move_to(self, to, true, now_us);
    } else if (!within) {
        to = best_value(self, set & ~(1u << now));
        if (to != POOL_NONE && latency_of(&self->brokers[to]) <= latency_of(used) * 4 / 5)
            move_to(self, to, false, now_us);
    }
}

uint32_t pool_pick(struct pool *self, uint32_t avoid, uint64_t now_us) {
    uint32_t all = pool_choice(self, 0), set = pool_least_bad(self, all) & ~avoid, keen = 0;
    if (!set)
        set = all & ~avoid;
    if (self->cfg.policy == POOL_ORDER)
        judge_order(self, all, now_us);
    else if (self->cfg.policy == POOL_CHEAPEST)
        judge_cheapest(self, all, now_us);
    for (uint32_t i = 0; i < self->n; i++)
        if (now_us >= self->brokers[i].shy_until_us)
            keen |= 1u << i;
    if (set & keen)
        set &= keen;
    if (self->cfg.policy == POOL_LEAST_LATENCY) {
        for (uint32_t i = 0; i < self->n; i++)
            if (self->brokers[i].outstanding >= self->brokers[i].window)
                set &= ~(1u << i);
        return pick_least(self, set, now_us);
    }
    if (!set || self->current == POOL_NONE)
        return POOL_NONE;
    uint32_t at = self->current;
    if (!(set & 1u << at))
        at = self->cfg.policy == POOL_ORDER ? nth(set, 0) : best_value(self, set);
    return self->brokers[at].outstanding < self->brokers[at].window ? at : POOL_NONE;
}

bool pool_elsewhere(const struct pool *self, uint32_t avoid) {
    return pool_choice(self, avoid) != 0;
}

/* ---- requests */

uint64_t pool_attempt_us(const struct pool *self, uint64_t left_us) {
    if (self->cfg.attempt_us)
        return self->cfg.attempt_us;
    return left_us / 3 > ATTEMPT_LEAST_US ? left_us / 3 : ATTEMPT_LEAST_US;
}

void pool_sent(struct pool *self, uint32_t at, uint64_t now_us) {
    struct pool_broker *b = &self->brokers[at];
    if (!b->outstanding++)
        b->waiting_us = now_us;
}

void pool_ended(struct pool *self, uint32_t at) {
    struct pool_broker *b = &self->brokers[at];
    if (b->outstanding)
        b->outstanding--;
}

void pool_replied(struct pool *self, uint32_t at, uint64_t sent_us, uint64_t worker_us,
                  uint64_t now_us) {
    struct pool_broker *b = &self->brokers[at];
    uint64_t whole = now_us - sent_us;
    uint32_t us = whole < UINT32_MAX ? (uint32_t)whole : UINT32_MAX;
    if (worker_us)
        pool_sample(b, whole > worker_us ? whole - worker_us : 1);
    int64_t step = ((int64_t)us - (int64_t)b->reply_us) / 8;
    b->reply_us = b->reply_us ? (uint32_t)((int64_t)b->reply_us + step) : us;
    b->reply_at_us = now_us;
    b->replies++;
    pool_answered(self, at, now_us);
    b->shy = 0;
    b->shy_until_us = 0;
}

void pool_refused(struct pool *self, uint32_t at, uint64_t retry_after_us, uint64_t now_us) {
    struct pool_broker *b = &self->brokers[at];
    if (retry_after_us) {
        if (retry_after_us > b->reply_us)
            b->reply_us += (uint32_t)(sooner(retry_after_us, UINT32_MAX) - b->reply_us) / 8;
        b->reply_at_us = now_us;
        return;
    }
    uint32_t doublings = b->shy < SHY_DOUBLINGS ? b->shy : SHY_DOUBLINGS;
    b->shy++;
    b->shy_until_us = now_us + sooner((uint64_t)SHY_FIRST_US << doublings, SHY_MOST_US);
}

/* ---- budget */

static uint64_t budget_at(const struct pool *self, uint64_t now_us) {
    uint64_t all = self->budget + (now_us - self->budget_at_us) / BUDGET_TICK_US;
    return sooner(all, (uint64_t)POOL_BUDGET * BUDGET_ONE);
}

static void budget_add(struct pool *self, uint64_t more, uint64_t now_us) {
    uint64_t ticks = (now_us - self->budget_at_us) / BUDGET_TICK_US;
    self->budget = sooner(budget_at(self, now_us) + more, (uint64_t)POOL_BUDGET * BUDGET_ONE);
    self->budget_at_us += ticks * BUDGET_TICK_US; /* what is left of a tick counts the next time */
}

void pool_count(struct pool *self, uint64_t now_us) {
    self->taken++;
    budget_add(self, BUDGET_REQUEST, now_us);
}

bool pool_may_spend(const struct pool *self, uint64_t now_us) {
    return budget_at(self, now_us) >= BUDGET_ONE;
}

void pool_spend(struct pool *self, uint64_t now_us) {
    self->spent++;
    budget_add(self, 0, now_us);
    self->budget -= sooner(self->budget, BUDGET_ONE);
}

uint64_t pool_spend_us(const struct pool *self, uint64_t now_us) {
    uint64_t have = budget_at(self, now_us);
    return have >= BUDGET_ONE ? now_us : now_us + (BUDGET_ONE - have) * BUDGET_TICK_US;
}
