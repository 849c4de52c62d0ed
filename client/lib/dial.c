/* dial.c - see dial.h. */
#include "dial.h"

#include "base/hash.h"

enum {
    OPEN_US = 1000 * 1000,
    GREETING_US = 1000 * 1000,
    PAUSE_DOUBLINGS = 10,
    LASTED_US = 1000 * 1000, /* a connection that lasted so long was none of a row of failures */
    HEARTBEAT_FIRST_US = 1000 * 1000,
    HEARTBEAT_LEAST_US = 20 * 1000,
    HEARTBEAT_MOST_US = 10 * 1000 * 1000,
    SILENCES = 3,
};

void dial_init(struct dial *self, uint64_t seed) {
    *self = (struct dial){.random = seed, .heartbeat_us = HEARTBEAT_FIRST_US};
}

static void enter(struct dial *self, enum dial_state state, uint64_t now_us) {
    self->state = state;
    self->since_us = now_us;
}

void dial_on(struct dial *self, uint64_t now_us) {
    if (self->state == DIAL_OFF)
        enter(self, DIAL_DOWN, now_us);
}

void dial_off(struct dial *self) {
    self->state = DIAL_OFF;
    self->session = 0;
}

void dial_fail(struct dial *self, bool alone, uint64_t now_us) {
    if (self->state == DIAL_DOWN || self->state == DIAL_OFF)
        return;
    if (self->state == DIAL_UP && now_us >= self->since_us + LASTED_US)
        self->failures = 0;
    uint32_t doublings = self->failures < PAUSE_DOUBLINGS ? self->failures : PAUSE_DOUBLINGS;
    uint64_t most = (uint64_t)DIAL_PAUSE_FIRST_US << doublings;
    uint64_t cap = alone ? DIAL_PAUSE_ALONE_US : DIAL_PAUSE_MOST_US;
    self->failures++;
    self->session = 0;
    enter(self, DIAL_DOWN, now_us + hash_next(&self->random) % ((most < cap ? most : cap) + 1));
}

/* The next moment at which something is due while up: a question, or giving up. */
static uint64_t up_due_us(const struct dial *self, bool *give_up) {
    uint64_t period = self->heartbeat_us;
    *give_up = false;
    if (!self->first_us)
        return self->heard_us + period;
    uint64_t end = self->first_us + (SILENCES - 1) * period, again = self->asked_us + period;
    *give_up = end <= again;
    return *give_up ? end : again;
}

static uint64_t limit_us(const struct dial *self) {
    return self->state == DIAL_OPENING ? OPEN_US : GREETING_US;
}

enum dial_want dial_next(const struct dial *self, uint64_t now_us) {
    bool give_up;
    switch (self->state) {
    case DIAL_OFF:
        return DIAL_NOTHING;
    case DIAL_DOWN:
        return self->since_us <= now_us ? DIAL_OPEN : DIAL_NOTHING;
    case DIAL_UP:
        if (up_due_us(self, &give_up) > now_us)
            return DIAL_NOTHING;
        return give_up ? DIAL_LOST : DIAL_PING;
    default:
        if (now_us >= self->since_us + limit_us(self))
            return DIAL_LOST;
        return self->state == DIAL_OPENING ? DIAL_HELLO : DIAL_NOTHING;
    }
}

uint64_t dial_wake_us(const struct dial *self) {
    bool give_up;
    switch (self->state) {
    case DIAL_OFF:
        return UINT64_MAX;
    case DIAL_DOWN:
        return self->since_us;
    case DIAL_UP:
        return up_due_us(self, &give_up);
    default:
        return self->since_us + limit_us(self);
    }
}

void dial_opened(struct dial *self, uint64_t now_us) {
    enter(self, DIAL_OPENING, now_us);
}

void dial_greeted(struct dial *self, uint64_t now_us) {
    if (self->state == DIAL_OPENING)
        enter(self, DIAL_GREETING, now_us);
}

void dial_asked(struct dial *self, uint64_t now_us) {
    self->asked_us = now_us;
    if (!self->first_us)
        self->first_us = now_us;
}

void dial_heard(struct dial *self, uint64_t now_us) {
    self->heard_us = now_us;
    self->asked_us = self->first_us = 0;
}

void dial_welcome(struct dial *self, uint64_t session, uint64_t heartbeat_us, uint64_t now_us) {
    self->session = session;
    if (heartbeat_us < HEARTBEAT_LEAST_US)
        heartbeat_us = HEARTBEAT_LEAST_US;
    self->heartbeat_us = heartbeat_us < HEARTBEAT_MOST_US ? heartbeat_us : HEARTBEAT_MOST_US;
    if (self->state != DIAL_UP)
        enter(self, DIAL_UP, now_us);
    dial_heard(self, now_us);
}

void dial_unknown(struct dial *self, uint64_t now_us) {
    if (self->state == DIAL_UP) {
        self->session = 0;
        enter(self, DIAL_OPENING, now_us);
    }
}
