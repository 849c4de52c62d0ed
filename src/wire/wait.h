/* wait.h - sleep until something may be there: zmq_poll() with half of its system calls.
 *
 * zmq_poll() asks for the events of each socket, and for all descriptors, twice a turn: before it
 * sleeps and behind it. The descriptor of a socket (ZMQ_FD) tells of all that comes after the
 * socket was asked for its events, so to ask once, before, is enough; what woke us the receive that
 * follows finds out (zmq_getsockopt(3), ZMQ_FD and ZMQ_EVENTS).
 *
 * Threads: that of the sockets. */
#ifndef EMBER_WIRE_WAIT_H
#define EMBER_WIRE_WAIT_H

#include <zmq.h>

enum { WAIT_ITEMS_MAX = 32 };

/* As zmq_poll(), up to WAIT_ITEMS_MAX items, but that revents of a socket says what may be: a
 * receive may still find nothing. Returns how many items have something; -1 with errno: EINTR, or a
 * socket whose context ends. */
int wait_for(zmq_pollitem_t *items, int n, long timeout_ms);

#endif
