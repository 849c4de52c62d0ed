/* dial.h - which broker we talk to, and whether it is still there. Pure: it says what to do,
 * client.c does it.
 *
 *      opened                hello sent             WELCOME
 *  down ----> opening (TCP) ----------> greeting ------------> up
 *   ^            |                         |                   |
 *   '------------'-------------------------'-------------------'
 *     refused, dropped, no answer in time, three silences: the next endpoint, at once for each
 *     endpoint that was not tried yet, then after a pause with jitter
 *
 * Silence. A broker that says nothing for `heartbeat` is asked (PING); after three such periods it
 * is given up. While requests are in flight the period shrinks to a third of what the strictest of
 * them can wait (max(100 ms, a third of its time)), so that the call still has time for another
 * broker. Silence that nobody has asked about does not count: a process that was stopped for a
 * minute asks first.
 *
 * Later policies for several brokers (spread, least busy, back to the first) belong here:
 * dial_fail() is the only place that picks an endpoint.
 *
 * Threads: owner only. */
#ifndef EMBER_CLIENT_DIAL_H
#define EMBER_CLIENT_DIAL_H

#include <stdbool.h>
#include <stdint.h>

enum dial_state { DIAL_DOWN, DIAL_OPENING, DIAL_GREETING, DIAL_UP };

enum dial_want {
    DIAL_NOTHING,
    DIAL_OPEN,  /* a fresh socket to endpoint `at`; then dial_opened() */
    DIAL_HELLO, /* HELLO as soon as the socket takes it; then dial_greeted() */
    DIAL_PING,  /* then dial_asked() */
};

struct dial {
    enum dial_state state;
    uint32_t n_endpoints, at;
    uint32_t failures;   /* since the last WELCOME */
    uint64_t session;    /* 0: none */
    uint64_t up_us;      /* last time a broker was known to answer, or the start */
    uint64_t since_us;   /* of the present state; when down: when to open */
    uint64_t heard_us;   /* last message of this session */
    uint64_t asked_us;   /* last PING since then; 0: none */
    uint64_t first_us;   /* first PING since then; 0: none */
    uint64_t waiting_us; /* since when something is in flight; 0: nothing is */
    uint64_t heartbeat_us;
    uint64_t patience_us; /* of what is in flight */
    uint64_t random;
    bool leaving; /* GOAWAY: nothing new may be sent */
};

void dial_init(struct dial *self, uint32_t n_endpoints, uint64_t seed, uint64_t now_us);

/* What to do now; call again after doing it. dial_wake_us(): when to ask next, UINT64_MAX:
 * never. */
enum dial_want dial_next(struct dial *self, uint64_t now_us);
uint64_t dial_wake_us(const struct dial *self);

void dial_opened(struct dial *self, uint64_t now_us);
void dial_greeted(struct dial *self, uint64_t now_us);
void dial_asked(struct dial *self, uint64_t now_us);

/* A request was sent that has left_us to its deadline; nothing is in flight any more. */
void dial_sent(struct dial *self, uint64_t left_us, uint64_t now_us);
void dial_idle(struct dial *self);

void dial_heard(struct dial *self, uint64_t now_us); /* any sound message */
void dial_welcome(struct dial *self, uint64_t session, uint64_t heartbeat_us, uint64_t now_us);
void dial_unknown(struct dial *self, uint64_t now_us); /* WHO_ARE_YOU: say HELLO again */
void dial_goaway(struct dial *self, uint64_t now_us);
void dial_fail(struct dial *self, uint64_t now_us); /* the connection is refused or gone */

static inline bool dial_may_send(const struct dial *self) {
    return self->state == DIAL_UP && !self->leaving;
}

#endif
