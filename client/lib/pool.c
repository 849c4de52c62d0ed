/* pool.c - see pool.h.
 *
 * A place of brokers[] goes through
 *
 *      free --> known: dial off --> dial down .. up --> leaving --.
 *        ^                ^             |  lost                   |
 *        |                '--- CLOSE <--'<------------------------'
 *        '-- forgotten ---------'
 *
 * Invariants, checked by the simulation in tests/unit/pool_test.c:
 *   - a given broker never leaves its place;
 *   - `outstanding` is the number of copies pending.c has out there, at most `window`;
 *   - what is picked is usable, is not avoided, and has room;
 *   - sendings paid from the budget never exceed what was put in.
 *
 * Why places are judged when a broker is picked and not by a timer: without requests it does not
 * matter who would get them. */
#include "pool.h"

#include "base/hash.h"

#include <stdio.h>
#include <string.h>

enum {
    SLOW_OPEN_US = 250 * 1000, /* order: after that the next one is dialled, too */
    UNWANTED_US = 10 * 1000 * 1000,
    LEAVE_US = 3 * 1000 * 1000,
    STEADY_FIRST_US = 2 * 1000 * 1000,
    STEADY_MOST_US = 64 * 1000 * 1000,
    MINUTE_US = 60 * 1000 * 1000,
    ORDER_CONNECTED = 2,
    FURTHER_US = 1000 * 1000,
};

void pool_init(struct pool *self, const struct pool_cfg *cfg, uint64_t seed, uint64_t now_us) {
    *self = (struct pool){.cfg = *cfg,
                          .current = POOL_NONE,
                          .hold_us = POOL_HOLD_FIRST_US,
                          .start_us = now_us,
                          .up_us = now_us,
                          .budget = POOL_BUDGET_START * 1000,
                          .budget_at_us = now_us,
                          .random = seed};
}

/* ---- who is known */

static uint32_t find(const struct pool *self, struct view endpoint) {
    for (uint32_t i = 0; i < self->n; i++)
        if (pool_known(&self->brokers[i]) &&
            view_equal(view_of(self->brokers[i].endpoint), endpoint))
            return i;
    return POOL_NONE;
}

static uint32_t take_place(struct pool *self, struct view endpoint, double cost) {
    uint32_t at = 0;
    while (at < self->n && pool_known(&self->brokers[at]))
        at++;
    if (at == POOL_MAX || endpoint.bytes >= POOL_ENDPOINT_BYTES)
        return POOL_NONE;
    struct pool_broker *b = &self->brokers[at];
    *b = (struct pool_broker){.cost = cost, .twin_of = POOL_NONE, .window = POOL_WINDOW};
    memcpy(b->endpoint, endpoint.data, endpoint.bytes);
    dial_init(&b->dial, hash_next(&self->random));
    if (at == self->n)
        self->n++;
    return at;
}

bool pool_give(struct pool *self, const char *endpoint, double cost) {
    if (find(self, view_of(endpoint)) != POOL_NONE)
        return true;
    uint32_t at = take_place(self, view_of(endpoint), cost);
    if (at == POOL_NONE)
        return false;
    self->brokers[at].given = true;
    return true;
}

static bool starts(struct view text, const char *with) {
    size_t n = strlen(with);
    return text.bytes > n && memcmp(text.data, with, n) == 0;
}

/* An endpoint that a broker may send us to: printable, and no local socket unless it is local
 * itself. */
static bool sound(const struct pool_broker *lister, struct view endpoint) {
    if (endpoint.bytes >= POOL_ENDPOINT_BYTES)
        return false;
    for (size_t i = 0; i < endpoint.bytes; i++) {
        unsigned char c = (unsigned char)endpoint.data[i];
        if (c <= ' ' || c >= 0x7f || c == ',' || c == '#')
            return false;
    }
    return starts(endpoint, "tcp://") ||
           (starts(endpoint, "ipc://") && starts(view_of(lister->endpoint), "ipc://"));
}

static void follow_list(struct pool *self, uint32_t at, const struct pool_welcome *welcome,
                        uint64_t now_us) {
    struct pool_broker *lister = &self->brokers[at];
    if (!lister->given || !self->cfg.discover)
        return;
    lister->lists = 0;
    for (uint32_t i = 0; i < welcome->n_brokers; i++) {
        struct view endpoint = welcome->brokers[i];
        if (!sound(lister, endpoint))
            continue;
        uint32_t place = find(self, endpoint);
        if (place == POOL_NONE)
            place = take_place(self, endpoint, lister->cost);
        if (place != POOL_NONE)
            lister->lists |= (uint8_t)(1u << place);
    }
    uint32_t listed = 0;
    for (uint32_t i = 0; i < self->n; i++)
        listed |= self->brokers[i].lists;
    for (uint32_t i = 0; i < self->n; i++) {
        struct pool_broker *b = &self->brokers[i];
        bool lost = pool_known(b) && !b->given && !(listed & 1u << i);
        if (lost && !b->forgotten)
            b->leave_us = now_us + LEAVE_US;
        b->forgotten = lost;
    }
}

/* ---- up and down */

bool pool_up(const struct pool *self, uint32_t at) {
    return self->brokers[at].dial.state == DIAL_UP;
}

bool pool_usable(const struct pool *self, uint32_t at) {
    const struct pool_broker *b = &self->brokers[at];
    return pool_known(b) && b->dial.state == DIAL_UP && !b->leaving && !b->forgotten &&
           !b->close_due && b->twin_of == POOL_NONE;
}

bool pool_used(const struct pool *self, uint32_t at, uint64_t now_us) {
    bool its_turn = self->cfg.policy == POOL_LEAST_LATENCY || self->current == at;
    const struct pool_broker *b = &self->brokers[at];
    return pool_usable(self, at) && its_turn && !b->stuck && now_us >= b->shy_until_us;
}

bool pool_any_up(const struct pool *self) {
    for (uint32_t i = 0; i < self->n; i++)
        if (pool_up(self, i))
            return true;
    return false;
}

void pool_sample(struct pool_broker *b, uint64_t us) {
    uint32_t sorted[POOL_SAMPLES];
    uint32_t value = us < 1 ? 1 : us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
    b->samples[b->n_samples++ % POOL_SAMPLES] = value;
    uint32_t n = b->n_samples < POOL_SAMPLES ? b->n_samples : POOL_SAMPLES;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t k = i;
        for (; k > 0 && sorted[k - 1] > b->samples[i]; k--)
            sorted[k] = sorted[k - 1];
        sorted[k] = b->samples[i];
    }
    b->latency_us = sorted[n / 2];
}

void pool_less_steady(struct pool_broker *b, uint64_t now_us) {
    bool was_up = b->dial.state == DIAL_UP;
    if (was_up && b->steady_us && now_us < b->up_since_us + MINUTE_US)
        b->steady_us = b->steady_us < STEADY_MOST_US / 2 ? b->steady_us * 2 : STEADY_MOST_US;
    else if (was_up || b->steady_us < STEADY_FIRST_US)
        b->steady_us = STEADY_FIRST_US;
}

static void forget_twins(struct pool *self, uint32_t of) {
    for (uint32_t i = 0; i < self->n; i++)
        if (self->brokers[i].twin_of == of)
            self->brokers[i].twin_of = POOL_NONE;
}

static void down(struct pool *self, uint32_t at, uint64_t now_us) {
    struct pool_broker *b = &self->brokers[at];
    if (pool_up(self, at))
        self->up_us = now_us;
    pool_less_steady(b, now_us);
    bool alone = true;
    for (uint32_t i = 0; i < self->n; i++)
        alone &= i == at || !pool_up(self, i);
    dial_fail(&b->dial, alone, now_us);
    b->leaving = false;
    b->hello_us = 0;
    b->good_since_us = 0;
    forget_twins(self, at);
}

void pool_failed(struct pool *self, uint32_t at, const char *why, uint64_t now_us) {
    struct pool_broker *b = &self->brokers[at];
    if (b->close_due || b->dial.state == DIAL_OFF || b->dial.state == DIAL_DOWN)
        return;
    snprintf(b->why, sizeof b->why, "%s", why);
    down(self, at, now_us);
    b->close_due = true;
    b->denied = false;
}

void pool_denied(struct pool *self, uint32_t at, const char *why, uint64_t now_us) {
    pool_failed(self, at, why, now_us);
    self->brokers[at].denied = true;
    self->denied_us = now_us;
}

bool pool_all_denied(const struct pool *self) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < self->n; i++)
        if (pool_candidate(&self->brokers[i])) {
            if (!self->brokers[i].denied)
                return false;
            n++;
        }
    return n > 0;
}

static void lost(struct pool *self, uint32_t at, uint64_t now_us) {
    const struct pool_broker *b = &self->brokers[at];
    char why[POOL_WHY_BYTES] = "it does not take the connection";
    if (b->dial.state == DIAL_UP)
        snprintf(why, sizeof why, "silent for %llu ms",
                 (unsigned long long)((now_us - b->dial.heard_us) / 1000));
    else if (b->dial.state == DIAL_GREETING)
        snprintf(why, sizeof why, "it does not answer HELLO");
    else if (b->why[0] && b->dial.failures)
        snprintf(why, sizeof why, "%s", b->why);
    pool_failed(self, at, why, now_us);
}

/* ---- who is wanted */

/* It is on its way up for the first time and may still be expected. */
static bool promising(const struct pool_broker *b, uint64_t now_us) {
    if (b->dial.failures)
        return false;
    return b->dial.state == DIAL_OFF ||
           (b->dial.state != DIAL_UP && now_us < b->dial.since_us + SLOW_OPEN_US);
}

static uint32_t wanted_bits(const struct pool *self, uint64_t now_us) {
    uint32_t bits = 0, good = 0, most = ORDER_CONNECTED + (now_us < self->further_us);
    for (uint32_t i = 0; i < self->n; i++) {
        const struct pool_broker *b = &self->brokers[i];
        if (!pool_candidate(b))
            continue;
        bool enough = self->cfg.policy == POOL_ORDER && good >= most;
        if (enough && i != self->current)
            continue;
        bits |= 1u << i;
        good += (pool_usable(self, i) && !b->stuck) || promising(b, now_us);
    }
    return bits;
}

bool pool_further(struct pool *self, uint64_t now_us) {
    for (uint32_t i = 0; i < self->n; i++)
        if (pool_candidate(&self->brokers[i]) && self->brokers[i].dial.state == DIAL_OFF) {
            self->further_us = now_us + FURTHER_US;
            return true;
        }
    return false;
}

static bool owes_nothing(const struct pool_broker *b, uint64_t until_us, uint64_t now_us) {
    return b->outstanding == 0 || now_us >= until_us;
}

/* Switches dials on and off, and ends connections that are to end. */
static void tend(struct pool *self, uint32_t at, bool wanted, uint64_t now_us) {
    struct pool_broker *b = &self->brokers[at];
    if (b->close_due)
        return;
    if (wanted) {
        b->unwanted_us = 0;
        dial_on(&b->dial, now_us);
    } else if (!b->unwanted_us) {
        b->unwanted_us = now_us;
    }
    if (b->dial.state != DIAL_UP && !wanted) {
        b->close_due = b->dial.state != DIAL_OFF || b->forgotten;
    } else if (b->dial.state == DIAL_UP) {
        bool ends = b->leaving || b->forgotten;
        b->close_due = (ends && owes_nothing(b, b->leave_us, now_us)) ||
                       (b->twin_of != POOL_NONE && b->outstanding == 0) ||
                       (!wanted && b->outstanding == 0 && now_us >= b->unwanted_us + UNWANTED_US);
    }
}

enum pool_want pool_next(struct pool *self, uint32_t busy, uint32_t *at, uint64_t now_us) {
    uint32_t wanted = wanted_bits(self, now_us);
    for (uint32_t i = 0; i < self->n; i++) {
        struct pool_broker *b = &self->brokers[i];
        if (!pool_known(b))
            continue;
        *at = i;
        tend(self, i, wanted & 1u << i, now_us);
        enum dial_want want = b->close_due ? DIAL_NOTHING : dial_next(&b->dial, now_us);
        if (want == DIAL_LOST)
            lost(self, i, now_us);
        if (b->close_due)
            return POOL_CLOSE;
        if (want == DIAL_OPEN)
            return POOL_OPEN;
        if (want == DIAL_PING)
            return POOL_PING;
        if (want == DIAL_HELLO && !(busy & 1u << i))
            return POOL_HELLO;
    }
    return POOL_NOTHING;
}

static uint64_t sooner(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* `at_us` when it is still to come. */
static uint64_t coming(uint64_t at_us, uint64_t now_us) {
    return at_us > now_us ? at_us : UINT64_MAX;
}

uint64_t pool_wake_us(const struct pool *self, uint64_t now_us) {
    uint64_t wake = coming(self->start_us + POOL_START_GRACE_US, now_us);
    for (uint32_t i = 0; i < self->n; i++) {
        const struct pool_broker *b = &self->brokers[i];
        if (!pool_known(b))
            continue;
        wake = sooner(wake, dial_wake_us(&b->dial));
        if (b->leaving || b->forgotten)
            wake = sooner(wake, coming(b->leave_us, now_us));
        if (b->unwanted_us && b->dial.state == DIAL_UP)
            wake = sooner(wake, coming(b->unwanted_us + UNWANTED_US, now_us));
        if (promising(b, now_us) && b->dial.state != DIAL_OFF)
            wake = sooner(wake, b->dial.since_us + SLOW_OPEN_US);
    }
    return wake;
}

void pool_opened(struct pool *self, uint32_t at, uint64_t now_us) {
    dial_opened(&self->brokers[at].dial, now_us);
}

void pool_greeted(struct pool *self, uint32_t at, uint64_t now_us) {
    struct pool_broker *b = &self->brokers[at];
    dial_greeted(&b->dial, now_us);
    b->hello_us = b->hello_us ? UINT64_MAX : now_us; /* two under way: no telling which is met */
}

void pool_asked(struct pool *self, uint32_t at, uint64_t now_us) {
    dial_asked(&self->brokers[at].dial, now_us);
}

void pool_closed(struct pool *self, uint32_t at, uint64_t now_us) {
    struct pool_broker *b = &self->brokers[at];
    bool again = pool_candidate(b) && !b->unwanted_us;
    if (b->dial.state == DIAL_UP) /* our choice */
        down(self, at, now_us);
    if (!again)
        dial_off(&b->dial);
    b->close_due = b->leaving = false;
    b->unwanted_us = 0;
    b->outstanding = 0;
    if (!b->forgotten)
        return;
    forget_twins(self, at);
    for (uint32_t i = 0; i < self->n; i++)
        self->brokers[i].lists &= (uint8_t) ~(1u << at);
    *b = (struct pool_broker){.twin_of = POOL_NONE};
    if (self->current == at)
        self->current = POOL_NONE;
}

/* ---- what brokers say */

void pool_heard(struct pool *self, uint32_t at, uint64_t now_us) {
    dial_heard(&self->brokers[at].dial, now_us);
    if (pool_up(self, at))
        self->up_us = now_us;
}

void pool_pong(struct pool *self, uint32_t at, uint64_t asked_us, uint64_t now_us) {
    struct pool_broker *b = &self->brokers[at];
    if (asked_us && asked_us == b->dial.asked_us) /* another number: an earlier one, or a fancy */
        pool_sample(b, now_us - asked_us);
    pool_heard(self, at, now_us);
}

/* A discovered name of a broker we have under another one is left alone. */
static void find_twin(struct pool *self, uint32_t at) {
    struct pool_broker *b = &self->brokers[at];
    for (uint32_t i = 0; i < self->n; i++) {
        struct pool_broker *other = &self->brokers[i];
        if (i == at || !pool_up(self, i) || other->id != b->id || other->twin_of != POOL_NONE)
            continue;
        if (!b->given)
            b->twin_of = (uint8_t)i;
        else if (!other->given)
            other->twin_of = (uint8_t)at;
        return;
    }
}

void pool_welcome(struct pool *self, uint32_t at, const struct pool_welcome *welcome,
                  uint64_t now_us) {
    struct pool_broker *b = &self->brokers[at];
    if (b->close_due || (b->dial.state != DIAL_GREETING && b->dial.state != DIAL_UP))
        return;
    if (b->hello_us && b->hello_us <= now_us)
        pool_sample(b, now_us - b->hello_us);
    b->hello_us = 0;
    if (b->dial.state != DIAL_UP || b->dial.session != welcome->session)
        b->up_since_us = now_us;
    if (b->id != welcome->id)
        forget_twins(self, at);
    b->id = welcome->id;
    uint32_t window = welcome->in_flight;
    b->window = window && window < POOL_WINDOW ? window : POOL_WINDOW;
    if (!b->stuck)
        b->why[0] = '\0';
    b->denied = false;
    dial_welcome(&b->dial, welcome->session, welcome->heartbeat_us, now_us);
    self->up_us = now_us;
    find_twin(self, at);
    follow_list(self, at, welcome, now_us);
}

void pool_unknown(struct pool *self, uint32_t at, uint64_t now_us) {
    struct pool_broker *b = &self->brokers[at];
    if (!b->close_due)
        dial_unknown(&b->dial, now_us);
    b->leaving = false;
    b->hello_us = 0;
}

void pool_goaway(struct pool *self, uint32_t at, uint64_t now_us) {
    struct pool_broker *b = &self->brokers[at];
    static const char why[] = "it is shutting down";
    if (!pool_up(self, at)) {
        pool_failed(self, at, why, now_us);
        return;
    }
    if (!b->leaving)
        b->leave_us = now_us + LEAVE_US;
    b->leaving = true;
    snprintf(b->why, sizeof b->why, "%s", why);
}

/* ---- for people */

const char *pool_state_name(const struct pool *self, uint32_t at) {
    static const char *const names[] = {"off", "down", "opening", "greeting", "up"};
    const struct pool_broker *b = &self->brokers[at];
    if (b->twin_of != POOL_NONE)
        return "same";
    if (b->dial.state == DIAL_UP && (b->leaving || b->forgotten))
        return "leaving";
    if (b->dial.state == DIAL_UP && b->stuck)
        return "stuck";
    return names[b->dial.state];
}

void pool_trouble(const struct pool *self, char *out, size_t bytes) {
    size_t used = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < self->n && used < bytes; i++) {
        const struct pool_broker *b = &self->brokers[i];
        if (!pool_candidate(b))
            continue;
        int n = snprintf(out + used, bytes - used, "%s%s%s%s%s", used ? ", " : "", b->endpoint,
                         b->why[0] ? " (" : "", b->why, b->why[0] ? ")" : "");
        used += n > 0 ? (size_t)n : 0;
    }
}
