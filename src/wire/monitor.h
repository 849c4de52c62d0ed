/* monitor.h - what becomes of a DEALER's connection, told by libzmq's monitor.
 *
 *     dialling ──► REFUSED: nobody listens; libzmq goes on dialling
 *        '──► handshake ──► UP ──► DOWN
 *                 |──► DENIED      the broker does not admit our key
 *                 |──► MISMATCH    one side wants keys and the other has none
 *                 '──► UNTRUSTED   with keys: the broker hung up without a word, as it does when it
 *                                  cannot read what was meant for another broker's key
 *
 * After the last three libzmq does not always dial again: disconnect and connect the socket, or
 * take another. UNTRUSTED may also be a
 * broker that died at that moment: believe it when it comes again.
 *
 * Threads: a monitor belongs to one thread. */
#ifndef EMBER_WIRE_MONITOR_H
#define EMBER_WIRE_MONITOR_H

#include <stdbool.h>

enum monitor_event {
    MONITOR_NOTHING,
    MONITOR_UP,
    MONITOR_REFUSED,
    MONITOR_DOWN,
    MONITOR_DENIED,
    MONITOR_MISMATCH,
    MONITOR_UNTRUSTED,
};

/* A monitor of `socket`, which does not dial yet, under a name that no other has
 * ("inproc://..."), a ZMQ_PAIR to be closed by the caller, after zmq_socket_monitor(socket, NULL,
 * 0); NULL with errno. *fd is to be polled, not the PAIR, which would cost system calls at each
 * wake-up though it hardly ever has news. It is edge-triggered: when it is readable, take events
 * until there is none. */
void *monitor_open(void *context, void *socket, const char *name, int *fd);

/* The next event, MONITOR_NOTHING when none is waiting. `keys`: the socket has any. */
enum monitor_event monitor_next(void *monitor, bool keys);

/* For people: "it does not admit our key"; "" for what is none of the last three. */
const char *monitor_why(enum monitor_event event, bool keys);

#endif
