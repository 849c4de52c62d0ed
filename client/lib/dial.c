/* dial.c - see dial.h. The session number outlives the connection until the next WELCOME, so that
 * client.c can tell whether a WELCOME continues the session (a later HELLO) or begins another (a
 * restart). */
#include "dial.h"

#include "base/hash.h"

enum {
    OPEN_ALONE_US =
        5 * 1000 * 1000,   /* libzmq dials again by itself: only a fresh name look-up is missing */
    OPEN_US = 1000 * 1000, /* with another endpoint to go to */
    GREETING_US = 1000 * 1000,
    PAUSE_FIRST_US = 50 * 1000,
    PAUSE_DOUBLINGS = 4, /* 50 ms .. 0.8 s */
    HEARTBEAT_LEAST_US = 20 * 1000,
    HEARTBEAT_MOST_US = 10 * 1000 * 1000,
    PATIENCE_LEAST_US = 100 * 1000,
    SILENCES = 3,
};

void dial_init(struct dial *self, uint32_t n_endpoints, uint64_t seed, uint64_t now_us) {
    *self = (struct dial){.n_endpoints = n_endpoints,
                          .random = seed,
                          .since_us = now_us,
                          .up_us = now_us,
                          .heartbeat_us = 1000 * 1000};
}

void dial_fail(struct dial *self, uint64_t now_us) {
    if (self->state == DIAL_DOWN)
        return;
    if (self->state == DIAL_UP)
        self->up_us = now_us;
    self->failures++;
    self->at = (self->at + 1) % self->n_endpoints;
    self->state = DIAL_DOWN;
    self->leaving = false;
    self->waiting_us = 0;
    uint64_t pause = 0;
    uint32_t rounds = self->failures / self->n_endpoints;
    if (rounds > 0) {
        uint32_t doublings = rounds - 1 < PAUSE_DOUBLINGS ? rounds - 1 : PAUSE_DOUBLINGS;
        pause = hash_next(&self->random) % ((uint64_t)PAUSE_FIRST_US << doublings);
    }
    self->since_us = now_us + pause;
}

static uint64_t open_limit_us(const struct dial *self) {
    return self->n_endpoints > 1 ? OPEN_US : OPEN_ALONE_US;
}

static uint64_t patience_us(const struct dial *self) {
    uint64_t idle = SILENCES * self->heartbeat_us;
    return self->waiting_us && self->patience_us < idle ? self->patience_us : idle;
}

/* When the present silence began. */
static uint64_t silence_us(const struct dial *self) {
    return self->waiting_us > self->heard_us ? self->waiting_us : self->heard_us;
}

/* The next moment at which something is due while up: a question, or giving up. */
static uint64_t up_due_us(const struct dial *self, bool *give_up) {
    uint64_t patience = patience_us(self), period = patience / SILENCES;
    *give_up = false;
    if (!self->first_us)
        return silence_us(self) + period;
    uint64_t end = self->first_us + patience - period, again = self->asked_us + period;
    *give_up = end <= again;
    return *give_up ? end : again;
}

static enum dial_want next_up(struct dial *self, uint64_t now_us) {
    bool give_up;
    if (up_due_us(self, &give_up) > now_us)
        return DIAL_NOTHING;
    if (!give_up)
        return DIAL_PING;
    dial_fail(self, now_us);
    return self->since_us <= now_us ? DIAL_OPEN : DIAL_NOTHING;
}

enum dial_want dial_next(struct dial *self, uint64_t now_us) {
    if (self->state == DIAL_UP)
        return next_up(self, now_us);
    uint64_t limit = self->state == DIAL_OPENING ? open_limit_us(self) : GREETING_US;
    if (self->state != DIAL_DOWN && now_us >= self->since_us + limit)
        dial_fail(self, now_us);
    if (self->state == DIAL_DOWN)
        return self->since_us <= now_us ? DIAL_OPEN : DIAL_NOTHING;
    return self->state == DIAL_OPENING ? DIAL_HELLO : DIAL_NOTHING;
}

uint64_t dial_wake_us(const struct dial *self) {
    bool give_up;
    switch (self->state) {
    case DIAL_DOWN:
        return self->since_us;
    case DIAL_OPENING:
        return self->since_us + open_limit_us(self);
    case DIAL_GREETING:
        return self->since_us + GREETING_US;
    case DIAL_UP:
        return up_due_us(self, &give_up);
    }
    return UINT64_MAX;
}

static void enter(struct dial *self, enum dial_state state, uint64_t now_us) {
    self->state = state;
    self->since_us = now_us;
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

void dial_sent(struct dial *self, uint64_t left_us, uint64_t now_us) {
    uint64_t patience = left_us / 3 > PATIENCE_LEAST_US ? left_us / 3 : PATIENCE_LEAST_US;
    if (!self->waiting_us) {
        self->waiting_us = now_us;
        self->patience_us = patience;
    } else if (patience < self->patience_us) {
        self->patience_us = patience;
    }
}

void dial_idle(struct dial *self) {
    self->waiting_us = 0;
}

void dial_heard(struct dial *self, uint64_t now_us) {
    self->heard_us = now_us;
    self->asked_us = self->first_us = 0;
    if (self->state == DIAL_UP)
        self->up_us = now_us;
}

void dial_welcome(struct dial *self, uint64_t session, uint64_t heartbeat_us, uint64_t now_us) {
    self->session = session;
    self->failures = 0;
    if (heartbeat_us < HEARTBEAT_LEAST_US)
        heartbeat_us = HEARTBEAT_LEAST_US;
    self->heartbeat_us = heartbeat_us < HEARTBEAT_MOST_US ? heartbeat_us : HEARTBEAT_MOST_US;
    enter(self, DIAL_UP, now_us);
    dial_heard(self, now_us);
}

void dial_unknown(struct dial *self, uint64_t now_us) {
    if (self->state == DIAL_UP) {
        self->waiting_us = 0;
        self->leaving = false;
        enter(self, DIAL_OPENING, now_us);
    }
}

void dial_goaway(struct dial *self, uint64_t now_us) {
    (void)now_us;
    if (self->state == DIAL_UP)
        self->leaving = true;
}
