/* upstream.c - greeting, beating, leaving.
 *
 * Why silence is judged although TCP would tell: a broker that was restarted behind the same
 * address looks like a connection that came back by itself. Any message of ours then earns
 * WHO_ARE_YOU, and one that hangs earns nothing; both end in a new READY, which is harmless when it
 * was not needed. */
#include "upstream.h"

#include "base/limits.h"

#include <string.h>

_Static_assert((int)UPSTREAM_SERVICES == LIMIT_MODELS * (WIRE_TASKS - 1),
               "every task of every model");

void upstream_init(struct upstream *self, uint64_t now_us) {
    memset(self, 0, sizeof *self);
    self->state = UPSTREAM_GREETING;
    self->next_us = now_us;
    self->retry_us = UPSTREAM_RETRY_US;
}

static void greet(struct upstream *self, uint64_t now_us) {
    self->state = UPSTREAM_GREETING;
    self->next_us = now_us;
}

static uint8_t tick_serving(struct upstream *self, uint64_t now_us, bool *lost) {
    if (now_us - self->heard_us >= self->silence_us) {
        *lost = true;
        greet(self, now_us + UPSTREAM_GREET_US);
        return WIRE_READY;
    }
    if (now_us >= self->next_us) {
        self->next_us = now_us + self->heartbeat_us;
        return WIRE_HEARTBEAT;
    }
    if (now_us >= self->ping_us) {
        self->ping_us = now_us + self->heartbeat_us;
        return now_us - self->heard_us >= self->heartbeat_us ? WIRE_PING : 0;
    }
    return 0;
}

static uint8_t tick_leaving(struct upstream *self, uint64_t now_us, bool idle) {
    if (self->state == UPSTREAM_DRAINING && idle) {
        self->state = UPSTREAM_LEAVING;
        self->next_us = now_us + UPSTREAM_BYE_US;
        return WIRE_BYE;
    }
    if (self->state == UPSTREAM_DRAINING && now_us >= self->next_us) {
        self->next_us = now_us + self->heartbeat_us;
        return WIRE_HEARTBEAT; /* still alive, still working */
    }
    if (self->state == UPSTREAM_LEAVING && now_us >= self->next_us)
        self->state = UPSTREAM_GONE;
    return 0;
}

uint8_t upstream_tick(struct upstream *self, uint64_t now_us, bool draining, bool idle,
                      bool *lost) {
    *lost = false;
    if (draining && self->state == UPSTREAM_GREETING)
        self->state = UPSTREAM_GONE; /* it does not know us, or not any more */
    if (draining && self->state == UPSTREAM_SERVING) {
        self->state = UPSTREAM_DRAINING;
        self->next_us = now_us + self->heartbeat_us;
        return WIRE_DRAIN;
    }
    switch (self->state) {
    case UPSTREAM_GREETING:
        if (now_us < self->next_us)
            return 0;
        self->next_us = now_us + UPSTREAM_GREET_US;
        return WIRE_READY;
    case UPSTREAM_SERVING:
        return tick_serving(self, now_us, lost);
    case UPSTREAM_DRAINING:
    case UPSTREAM_LEAVING:
        return tick_leaving(self, now_us, idle);
    default:
        return 0;
    }
}

void upstream_unsent(struct upstream *self, uint64_t now_us) {
    if (self->state != UPSTREAM_GREETING)
        return;
    self->next_us = now_us + self->retry_us;
    self->retry_us =
        2 * self->retry_us < UPSTREAM_GREET_US ? 2 * self->retry_us : UPSTREAM_GREET_US;
}

uint64_t upstream_deadline_us(const struct upstream *self) {
    if (self->state == UPSTREAM_GONE)
        return UINT64_MAX;
    if (self->state != UPSTREAM_SERVING)
        return self->next_us;
    uint64_t silent_us = self->heard_us + self->silence_us;
    uint64_t best = self->next_us < self->ping_us ? self->next_us : self->ping_us;
    return silent_us < best ? silent_us : best;
}

void upstream_cut(struct upstream *self, uint64_t now_us) {
    self->cut = true;
    if (self->state == UPSTREAM_SERVING)
        greet(self, now_us);
    else if (self->state != UPSTREAM_GREETING)
        self->state = UPSTREAM_GONE; /* leaving: it has given what we hold to others already */
}

void upstream_connected(struct upstream *self, uint64_t now_us) {
    upstream_cut(self, now_us); /* whether or not we were told of the former one's end */
    if (self->state != UPSTREAM_GREETING)
        return;
    self->next_us = now_us;
    self->retry_us = UPSTREAM_RETRY_US;
}

void upstream_beat(struct upstream *self, uint64_t due_us) {
    bool beats = self->state == UPSTREAM_SERVING || self->state == UPSTREAM_DRAINING;
    if (beats && due_us < self->next_us)
        self->next_us = due_us;
}

void upstream_heard(struct upstream *self, uint64_t now_us) {
    self->heard_us = now_us;
}

bool upstream_ready_ok(struct upstream *self, const struct wire_ready_ok *ok,
                       int (*model_index)(void *arg, struct view name), void *arg,
                       uint64_t now_us) {
    bool changed = self->epoch != ok->broker || self->cut;
    self->epoch = ok->broker;
    self->cut = false;
    self->heartbeat_us = (ok->heartbeat_ms ? ok->heartbeat_ms : 500) * UINT64_C(1000);
    if (self->heartbeat_us < UPSTREAM_BEAT_US)
        self->heartbeat_us = UPSTREAM_BEAT_US;
    if (self->heartbeat_us > UPSTREAM_BEAT_US_MAX)
        self->heartbeat_us = UPSTREAM_BEAT_US_MAX;
    self->silence_us = ok->silence_ms * UINT64_C(1000);
    if (self->silence_us < 3 * self->heartbeat_us)
        self->silence_us = 3 * self->heartbeat_us;
    self->n_services = 0;
    for (uint32_t i = 0; i < ok->n_services && self->n_services < UPSTREAM_SERVICES; i++) {
        int model = model_index(arg, ok->services[i].model);
        if (model < 0 || ok->services[i].number == 0 || ok->services[i].number > UINT16_MAX)
            continue;
        self->services[self->n_services++] =
            (struct upstream_service){.number = (uint16_t)ok->services[i].number,
                                      .model = (uint8_t)model,
                                      .task = (uint8_t)ok->services[i].task};
    }
    if (self->state == UPSTREAM_GREETING) {
        self->state = UPSTREAM_SERVING;
        self->next_us = now_us; /* a heartbeat at once: it carries the figures */
        self->ping_us = now_us + self->heartbeat_us;
    }
    return changed;
}

void upstream_who_are_you(struct upstream *self, uint64_t now_us) {
    if (self->state == UPSTREAM_SERVING)
        greet(self, now_us);
    else if (self->state != UPSTREAM_GREETING)
        self->state =
            UPSTREAM_GONE; /* leaving: it knows nothing of ours that could be waited for */
}

void upstream_bye_ok(struct upstream *self) {
    if (self->state == UPSTREAM_LEAVING)
        self->state = UPSTREAM_GONE;
}

const struct upstream_service *upstream_service(const struct upstream *self, uint16_t number) {
    for (uint32_t i = 0; i < self->n_services; i++)
        if (self->services[i].number == number)
            return &self->services[i];
    return NULL;
}
