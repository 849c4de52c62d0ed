/* conn.h - a socket to one broker, and a monitor that tells when its connection breaks.
 *
 * Threads: owner only. */
#ifndef EMBER_CLIENT_CONN_H
#define EMBER_CLIENT_CONN_H

#include "base/err.h"
#include "wire/frame.h"

#include <stdbool.h>
#include <stdint.h>

struct conn {
    void *socket, *monitor; /* NULL: none */
    int monitor_fd;         /* readable: conn_event() until there is nothing */
    uint32_t in_a_row;      /* see frame_recv_dealer() */
    bool has_keys, up;      /* up: a handshake succeeded */
    bool redialling;        /* the last handshake ended without a word */
    uint32_t hung_up;       /* handshakes that ended without a word, in a row */
};

/* A fresh socket that dials `endpoint`; `number` differs at each call; `keys` NULL: plain.
 * STATUS_UNAVAILABLE: the endpoint makes no sense today (a host name that is not known). *self is
 * empty then. */
enum status conn_open(struct conn *self, void *context, const char *endpoint, int in_flight,
                      uint64_t number, const struct frame_curve *keys, struct err *err);
/* Empty: fine. `flush`: what was sent has a moment to leave, in the background. */
void conn_close(struct conn *self, bool flush);

enum { CONN_HANG_UPS = 3 };
enum conn_event { CONN_NOTHING, CONN_DROPPED, CONN_REFUSED, CONN_DENIED };

/* Takes the next event off; CONN_NOTHING when there is none. *why says what happened: "it does not
 * admit our key". CONN_REFUSED: nobody listens there, libzmq goes on dialling. CONN_DENIED: broker
 * and we do not agree on keys. One that hangs up during the handshake without a word, while we have
 * a key, is held to be such when it has done so CONN_HANG_UPS times. */
enum conn_event conn_event(struct conn *self, const char **why);

#endif
