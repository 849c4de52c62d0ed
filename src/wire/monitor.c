/* monitor.c - see monitor.h. A monitor's message is two frames: uint16 event and uint32 value in
 * the machine's order, then the address. */
#include "wire/monitor.h"

#include "wire/frame.h"

#include <errno.h>
#include <string.h>

enum { EVENT_BYTES = 6 };

/* False: none is waiting. */
static bool take(void *monitor, uint16_t *event, uint32_t *value) {
    bool more = true;
    *event = 0;
    for (int part = 0; more; part++) {
        zmq_msg_t frame;
        zmq_msg_init(&frame);
        if (zmq_msg_recv(&frame, monitor, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&frame);
            return false;
        }
        if (part == 0 && zmq_msg_size(&frame) == EVENT_BYTES) {
            memcpy(event, zmq_msg_data(&frame), sizeof *event);
            memcpy(value, (const char *)zmq_msg_data(&frame) + sizeof *event, sizeof *value);
        }
        more = zmq_msg_more(&frame) != 0;
        zmq_msg_close(&frame);
    }
    return true;
}

void *monitor_open(void *context, void *socket, const char *name, int *fd) {
    size_t fd_bytes = sizeof *fd;
    int zero = 0;
    int events = ZMQ_EVENT_CONNECT_RETRIED | ZMQ_EVENT_DISCONNECTED |
                 ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                 ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
    if (zmq_socket_monitor(socket, name, events) != 0)
        return NULL;
    void *monitor = zmq_socket(context, ZMQ_PAIR);
    if (monitor && zmq_setsockopt(monitor, ZMQ_LINGER, &zero, sizeof zero) == 0 &&
        zmq_connect(monitor, name) == 0 && zmq_getsockopt(monitor, ZMQ_FD, fd, &fd_bytes) == 0) {
        uint16_t event;
        uint32_t value;
        take(monitor, &event, &value); /* until it was found empty once, its descriptor is mute */
        return monitor;
    }
    int code = errno;
    if (monitor)
        zmq_close(monitor);
    zmq_socket_monitor(socket, NULL, 0);
    errno = code;
    return NULL;
}

enum monitor_event monitor_next(void *monitor, bool keys) {
    uint16_t event;
    uint32_t value = 0;
    while (take(monitor, &event, &value))
        switch (event) {
        case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
            return MONITOR_UP;
        case ZMQ_EVENT_CONNECT_RETRIED:
            return MONITOR_REFUSED;
        case ZMQ_EVENT_DISCONNECTED:
            return MONITOR_DOWN;
        case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
            return MONITOR_DENIED;
        case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
            if (value == ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH)
                return MONITOR_MISMATCH;
            if (keys) /* what it says cannot be read with the key that we were given */
                return MONITOR_UNTRUSTED;
            break; /* not ZMTP at all; DOWN follows */
        case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
            if (keys)
                return MONITOR_UNTRUSTED;
            break;
        default:
            break;
        }
    return MONITOR_NOTHING;
}

const char *monitor_why(enum monitor_event event, bool keys) {
    switch (event) {
    case MONITOR_DENIED:
        return "it does not admit our key";
    case MONITOR_MISMATCH:
        return keys ? "it uses no keys, and we have one" : "it wants a key, and we have none";
    case MONITOR_UNTRUSTED:
        return "it hangs up during the handshake: its key is not the server key that we have, or "
               "it "
               "uses no keys";
    default:
        return "";
    }
}
