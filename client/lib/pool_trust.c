/* pool_trust.c - which brokers do what they are asked, judged by their answers to requests alone;
 * see pool.h. Greetings and PONGs show that a process runs, not that it serves anyone.
 *
 *      trusted --STUCK_TIMEOUTS attempts in a row, and its quiet time, without an answer--> stuck
 *         ^                                                                                   |
 *         '------------------------- an answer to a request <--- a request a second ----------'
 *
 * The quiet time is four times what a reply took of late, 250 ms to 2 s: so a burst of requests
 * with short attempts, all of them sent in the same moment, convicts nobody between two of its
 * answers. A broker that is slow answers, if late, and is never stuck: where all are overloaded
 * nothing is sent twice but what the retry budget pays for. */
#include "pool.h"

#include <stdio.h>

enum {
    STUCK_TIMEOUTS = 5,
    QUIET_REPLIES = 4,
    QUIET_LEAST_US = 250 * 1000,
    QUIET_MOST_US = 2 * 1000 * 1000,
    PROBE_EVERY_US = 1000 * 1000,
    LATELY_US = 2 * 1000 * 1000,
    UNPROVEN = 4, /* requests in flight at a broker that gets more without having answered lately */
};

static uint64_t later(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

static uint64_t quiet_us(const struct pool_broker *b) {
    uint64_t us = (uint64_t)b->reply_us * QUIET_REPLIES;
    return us < QUIET_LEAST_US ? QUIET_LEAST_US : us < QUIET_MOST_US ? us : QUIET_MOST_US;
}

void pool_timed_out(struct pool *self, uint32_t at, uint64_t sent_us) {
    struct pool_broker *b = &self->brokers[at];
    if (!b->timeouts)
        b->silent_us = sent_us;
    if (b->timeouts < UINT32_MAX)
        b->timeouts++;
}

void pool_answered(struct pool *self, uint32_t at, uint64_t now_us) {
    struct pool_broker *b = &self->brokers[at];
    b->answered_us = now_us;
    b->timeouts = 0;
    if (!b->stuck)
        return;
    b->stuck = false;
    b->why[0] = '\0';
    b->up_since_us = now_us; /* order: it is back since now, and used when it is steady */
}

bool pool_silent(const struct pool *self, uint32_t at, uint64_t sent_us, uint64_t now_us) {
    const struct pool_broker *b = &self->brokers[at];
    return b->stuck || now_us >= later(b->answered_us, sent_us) + quiet_us(b);
}

static uint64_t stuck_from_us(const struct pool_broker *b) {
    if (b->stuck || b->timeouts < STUCK_TIMEOUTS)
        return UINT64_MAX;
    return later(b->answered_us, b->silent_us) + quiet_us(b);
}

bool pool_judge(struct pool *self, uint64_t now_us) {
    bool any = false;
    for (uint32_t i = 0; i < self->n; i++) {
        struct pool_broker *b = &self->brokers[i];
        if (now_us < stuck_from_us(b))
            continue;
        any = b->stuck = true;
        b->probe_us = now_us + PROBE_EVERY_US;
        pool_less_steady(b, now_us);
        snprintf(b->why, sizeof b->why, "it takes requests and answers none");
    }
    return any;
}

uint64_t pool_judge_us(const struct pool *self) {
    uint64_t soonest = UINT64_MAX;
    for (uint32_t i = 0; i < self->n; i++) {
        uint64_t us = stuck_from_us(&self->brokers[i]);
        soonest = us < soonest ? us : soonest;
    }
    return soonest;
}

bool pool_trusted(const struct pool *self, uint32_t at, uint64_t now_us) {
    const struct pool_broker *b = &self->brokers[at];
    bool proven = b->answered_us && now_us <= b->answered_us + LATELY_US;
    return pool_usable(self, at) && !b->stuck && (proven || b->outstanding < UNPROVEN);
}

uint32_t pool_choice(const struct pool *self, uint32_t avoid) {
    uint32_t usable = 0, sound = 0;
    for (uint32_t i = 0; i < self->n; i++)
        if (pool_usable(self, i)) {
            usable |= 1u << i;
            sound |= self->brokers[i].stuck ? 0 : 1u << i;
        }
    return (sound ? sound : usable) & ~avoid;
}

uint32_t pool_least_bad(const struct pool *self, uint32_t set) {
    uint64_t latest = 0;
    uint32_t best = set;
    for (uint32_t i = 0; i < self->n; i++) {
        const struct pool_broker *b = &self->brokers[i];
        if (!(set & 1u << i))
            continue;
        if (!b->stuck)
            return set;
        if (b->answered_us > latest) {
            latest = b->answered_us;
            best = 1u << i;
        }
    }
    return best;
}

bool pool_probing(const struct pool *self, uint32_t at) {
    return self->brokers[at].stuck && pool_choice(self, 1u << at);
}

uint32_t pool_probe(struct pool *self, uint32_t avoid, uint64_t now_us) {
    for (uint32_t i = 0; i < self->n; i++) {
        struct pool_broker *b = &self->brokers[i];
        if (avoid & 1u << i || !b->stuck || !pool_usable(self, i) || now_us < b->probe_us ||
            now_us < b->shy_until_us || b->outstanding >= b->window || !pool_probing(self, i))
            continue;
        b->probe_us = now_us + PROBE_EVERY_US;
        return i;
    }
    return POOL_NONE;
}
