/* conn.c - see conn.h. Why a fresh socket after each failure instead of libzmq's own reconnect:
 * what libzmq had queued for the dead peer dies with the socket, host names are looked up again,
 * and a socket that connected to itself (a dead port of the ephemeral range on loopback) cannot
 * survive.
 *
 * Without a monitor everything still works, only slower: silence tells, too. */
#include "conn.h"

#include "wire/monitor.h"

#include <stdio.h>

enum { FLUSH_MS = 50 };

/* A broker with keys that is slower than we are reads that we have none, and closes, before libzmq
 * has sent the part of its greeting that would tell us so (MONITOR_MISMATCH). One of the next tries
 * tells; whoever else hangs up, a proxy without a broker, is tried on all the same. */
static const char hung_up_on_us[] = "it hangs up during the handshake: it may want a key";

static void watch(struct conn *self, void *context, uint64_t number) {
    char name[64];
    snprintf(name, sizeof name, "inproc://ember-monitor-%llu", (unsigned long long)number);
    self->monitor = monitor_open(context, self->socket, name, &self->monitor_fd);
}

enum status conn_open(struct conn *self, void *context, const char *endpoint, int in_flight,
                      uint64_t number, const struct frame_curve *keys, struct err *err) {
    *self = (struct conn){.has_keys = keys != NULL};
    self->socket = frame_socket(context, FRAME_CLIENT, in_flight, keys, err);
    if (!self->socket)
        return err->status;
    watch(self, context, number);
    if (zmq_connect(self->socket, endpoint) == 0)
        return STATUS_OK;
    err_set(err, STATUS_UNAVAILABLE, "%s", zmq_strerror(zmq_errno()));
    conn_close(self, false);
    return err->status;
}

void conn_close(struct conn *self, bool flush) {
    int linger_ms = FLUSH_MS;
    if (self->socket && flush)
        zmq_setsockopt(self->socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    if (self->monitor) {
        zmq_socket_monitor(self->socket, NULL, 0);
        zmq_close(self->monitor);
    }
    if (self->socket)
        zmq_close(self->socket);
    *self = (struct conn){0};
}

enum conn_event conn_event(struct conn *self, const char **why) {
    enum monitor_event event;
    while (self->monitor &&
           (event = monitor_next(self->monitor, self->has_keys)) != MONITOR_NOTHING) {
        bool again =
            self->redialling; /* libzmq says REFUSED, too, when it dials again after that */
        self->redialling = event == MONITOR_UNTRUSTED || (again && event == MONITOR_DOWN);
        if (event == MONITOR_UNTRUSTED && ++self->hung_up < CONN_HANG_UPS)
            continue;
        if (event == MONITOR_REFUSED && again)
            continue;
        if (event >= MONITOR_DENIED) {
            *why = monitor_why(event, self->has_keys);
            return CONN_DENIED;
        }
        if (event == MONITOR_UP) {
            self->up = true;
            self->hung_up = 0;
        } else if (event == MONITOR_REFUSED) {
            *why = "nobody listens there";
            return CONN_REFUSED;
        } else if (event == MONITOR_DOWN && (self->up || !self->hung_up)) {
            *why = self->up || self->has_keys ? "the connection broke" : hung_up_on_us;
            return CONN_DROPPED;
        }
    }
    return CONN_NOTHING;
}
