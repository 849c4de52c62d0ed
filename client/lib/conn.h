/* conn.h - a socket to one broker, and a monitor that tells when its connection breaks.
 *
 * Threads: owner only. */
#ifndef EMBER_CLIENT_CONN_H
#define EMBER_CLIENT_CONN_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct conn {
    void *socket, *monitor; /* NULL: none */
};

/* A fresh socket that dials `endpoint`; `number` differs at each call. STATUS_UNAVAILABLE: the
 * endpoint makes no sense today (a host name that is not known). *self is empty then. */
enum status conn_open(struct conn *self, void *context, const char *endpoint, int in_flight,
                      uint64_t number, struct err *err);
/* Empty: fine. `flush`: what was sent has a moment to leave, in the background. */
void conn_close(struct conn *self, bool flush);

enum conn_event { CONN_NOTHING, CONN_DROPPED, CONN_REFUSED };

/* Takes the next event off; CONN_NOTHING when there is none. CONN_REFUSED: nobody listens there,
 * libzmq goes on dialling. */
enum conn_event conn_event(struct conn *self);

#endif
