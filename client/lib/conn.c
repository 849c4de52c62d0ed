/* conn.c - see conn.h. Why a fresh socket after each failure instead of libzmq's own reconnect:
 * what libzmq had queued for the dead peer dies with the socket, host names are looked up again,
 * and a socket that connected to itself (a dead port of the ephemeral range on loopback) cannot
 * survive.
 *
 * Without a monitor everything still works, only slower: silence tells, too. */
#include "conn.h"

#include "wire/frame.h"

#include <stdio.h>
#include <string.h>

enum { FLUSH_MS = 50 };

static void watch(struct conn *self, void *context, uint64_t number) {
    char name[64];
    snprintf(name, sizeof name, "inproc://ember-monitor-%llu", (unsigned long long)number);
    int events = ZMQ_EVENT_CONNECT_RETRIED | ZMQ_EVENT_DISCONNECTED;
    if (zmq_socket_monitor(self->socket, name, events) != 0)
        return;
    self->monitor = zmq_socket(context, ZMQ_PAIR);
    if (self->monitor && zmq_connect(self->monitor, name) != 0) {
        zmq_close(self->monitor);
        self->monitor = NULL;
    }
    if (!self->monitor)
        zmq_socket_monitor(self->socket, NULL, 0);
}

enum status conn_open(struct conn *self, void *context, const char *endpoint, int in_flight,
                      uint64_t number, struct err *err) {
    *self = (struct conn){0};
    self->socket = frame_socket(context, FRAME_CLIENT, in_flight, NULL, err);
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

/* The number of the next event, 0 when there is none. */
static uint16_t take_event(void *monitor) {
    uint16_t event = 0;
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    if (zmq_msg_recv(&frame, monitor, ZMQ_DONTWAIT) >= 0) {
        if (zmq_msg_size(&frame) >= sizeof event)
            memcpy(&event, zmq_msg_data(&frame), sizeof event);
        while (zmq_msg_more(&frame)) /* the endpoint, which we know */
            if (zmq_msg_recv(&frame, monitor, ZMQ_DONTWAIT) < 0)
                break;
    }
    zmq_msg_close(&frame);
    return event;
}

enum conn_event conn_event(struct conn *self) {
    uint16_t event;
    while (self->monitor && (event = take_event(self->monitor)) != 0) {
        if (event == ZMQ_EVENT_DISCONNECTED)
            return CONN_DROPPED;
        if (event == ZMQ_EVENT_CONNECT_RETRIED)
            return CONN_REFUSED;
    }
    return CONN_NOTHING;
}
