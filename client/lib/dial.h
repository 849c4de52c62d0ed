/* dial.h - the connection to one broker: when to open it, greet, ask whether it is still there, and
 * when to give it up. Pure: it says what to do; pool.c keeps one for each broker.
 *
 *        wanted         opened                hello sent             WELCOME
 *  off ---------> down ----> opening (TCP) ----------> greeting ------------> up
 *   ^              ^            |                         |                   |
 *   |              '------------'-------------------------'-------------------'
 *   |                refused, dropped, no answer in time, three silences: again after a pause,
 *   |                random between nothing and 50 ms, 100 ms .. the cap
 *   '-- not wanted any more, from every state
 *
 * Silence. A broker that says nothing for `heartbeat` is asked (PING); after three such periods it
 * is given up. However short of time requests are, the period stays: a broker that was held up for
 * a moment is not lost, and who is in a hurry asks a second one (pending.h). Silence that nobody
 * has asked about does not count: a process that was stopped for a minute asks first.
 *
 * Threads: owner only. */
#ifndef EMBER_CLIENT_DIAL_H
#define EMBER_CLIENT_DIAL_H

#include <stdbool.h>
#include <stdint.h>

enum {
    DIAL_PAUSE_FIRST_US = 50 * 1000,
    DIAL_PAUSE_MOST_US = 2 * 1000 * 1000,
    DIAL_PAUSE_ALONE_US = 500 * 1000, /* the cap while no other broker is up */
};

enum dial_state { DIAL_OFF, DIAL_DOWN, DIAL_OPENING, DIAL_GREETING, DIAL_UP };

enum dial_want {
    DIAL_NOTHING,
    DIAL_OPEN,  /* a fresh socket; then dial_opened() */
    DIAL_HELLO, /* HELLO as soon as the socket takes it; then dial_greeted() */
    DIAL_PING,  /* then dial_asked() */
    DIAL_LOST,  /* no answer in time: dial_fail() is called for */
};

struct dial {
    enum dial_state state;
    uint32_t failures; /* in a row; a connection that lasted a second ends the row */
    uint64_t session;  /* from the last WELCOME; 0: none */
    uint64_t since_us; /* of the present state; when down: when to open */
    uint64_t heard_us; /* last message of this session */
    uint64_t asked_us; /* last PING since then; 0: none */
    uint64_t first_us; /* first PING since then; 0: none */
    uint64_t heartbeat_us;
    uint64_t random;
};

void dial_init(struct dial *self, uint64_t seed);

void dial_on(struct dial *self, uint64_t now_us); /* off: down, to be opened now */
void dial_off(struct dial *self);

/* What to do now; call again after doing it. dial_wake_us(): when to ask next, UINT64_MAX:
 * never. */
enum dial_want dial_next(const struct dial *self, uint64_t now_us);
uint64_t dial_wake_us(const struct dial *self);

void dial_opened(struct dial *self, uint64_t now_us);
void dial_greeted(struct dial *self, uint64_t now_us);
void dial_asked(struct dial *self, uint64_t now_us);

void dial_heard(struct dial *self, uint64_t now_us); /* any sound message */
void dial_welcome(struct dial *self, uint64_t session, uint64_t heartbeat_us, uint64_t now_us);
void dial_unknown(struct dial *self, uint64_t now_us); /* WHO_ARE_YOU: say HELLO again */
/* The connection is refused or gone; `alone`: no other broker is up. */
void dial_fail(struct dial *self, bool alone, uint64_t now_us);

#endif
