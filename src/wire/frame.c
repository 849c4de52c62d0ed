/* frame.c - socket options by role, and messages as [header][body].
 *
 * Why raw zmq_msg_t: czmq's message classes cost 1.5 to 2.4 times the CPU of a broker
 * (docs/PERFORMANCE.md). Why the options: docs/PROTOCOL.md, "Sockets", gives each its reason. */
#include "wire/frame.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/limits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    RECEIVED_MAX = 128, /* messages of one client that wait for the broker to read them */
    IN_A_ROW_FREE = 48, /* see frame_recv_dealer() */
};

void *frame_context(void) {
    /* libzmq numbers routing ids from rand(), which it never seeds: without this every process
     * would hand out the same ids, and all reconnects of a fleet would keep step. */
    srandom((unsigned)hash_entropy64());
    void *context = zmq_ctx_new();
    if (context)
        zmq_ctx_set(context, ZMQ_MAX_SOCKETS, 1023);
    return context;
}

static bool set_int(void *socket, int option, int value) {
    return zmq_setsockopt(socket, option, &value, sizeof value) == 0;
}

static bool set_max_bytes(void *socket, int64_t bytes) {
    return zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &bytes, sizeof bytes) == 0;
}

/* No ZMTP heartbeats: in libzmq 4.3.4 one that is due while a lost connection still has input that
 * nobody has taken aborts the process (zeromq/libzmq issues 4364 and 3937). Half-open connections
 * are found by TCP itself, peers that are stuck by our own heartbeats. */
static bool set_common(void *socket, int in_flight) {
    return set_int(socket, ZMQ_SNDHWM, in_flight) && set_int(socket, ZMQ_RCVHWM, in_flight) &&
           set_int(socket, ZMQ_LINGER, 1000) && set_int(socket, ZMQ_TCP_KEEPALIVE, 1) &&
           set_int(socket, ZMQ_TCP_KEEPALIVE_IDLE, 30) &&
           set_int(socket, ZMQ_TCP_KEEPALIVE_INTVL, 10) &&
           set_int(socket, ZMQ_TCP_KEEPALIVE_CNT, 3) && set_int(socket, ZMQ_TCP_MAXRT, 10000);
}

/* Nor would a broker want to send any, or a TTL that makes the other side watch for ours: libzmq
 * finds a timer to be cancelled by walking all of them (poller_base.cpp, "complexity is O(n)"),
 * one for each connection and message that answers. With 11,000 connections that took 0.2 ms a
 * request. Who is gone without a word is found by the kernel's keepalive within a minute. */
static bool set_router(void *socket) {
    return set_int(socket, ZMQ_ROUTER_MANDATORY, 1) && set_int(socket, ZMQ_ROUTER_HANDOVER, 0) &&
           set_int(socket, ZMQ_BACKLOG, 1024) && set_int(socket, ZMQ_HANDSHAKE_IVL, 2000);
}

/* A broker that comes back should have its workers within 300 ms: they redial as often as that
 * wants (libzmq adds up to one interval at random). There are fewer of them than clients. */
static bool set_dealer(void *socket, bool worker) {
    return set_int(socket, ZMQ_IMMEDIATE, 1) && set_int(socket, ZMQ_RECONNECT_IVL, 50) &&
           set_int(socket, ZMQ_RECONNECT_IVL_MAX, worker ? 100 : 1000) &&
           set_int(socket, ZMQ_CONNECT_TIMEOUT, 2000) && set_int(socket, ZMQ_HANDSHAKE_IVL, 5000);
}

/* ZMQ_ZAP_ENFORCE_DOMAIN: the header keeps the name to itself, the library knows the number. With
 * it a socket that has a domain refuses every peer while no ZAP handler is bound; without it CURVE
 * lets any key in then. */
enum { ZAP_ENFORCE_DOMAIN = 93 };

static bool set_key(void *socket, int option, const uint8_t *key) {
    return zmq_setsockopt(socket, option, key, FRAME_KEY_BYTES) == 0;
}

static bool set_curve(void *socket, bool router, const struct frame_curve *curve) {
    if (!router)
        return set_key(socket, ZMQ_CURVE_SERVERKEY, curve->server_key) &&
               set_key(socket, ZMQ_CURVE_PUBLICKEY, curve->public_key) &&
               set_key(socket, ZMQ_CURVE_SECRETKEY, curve->secret_key);
    return set_int(socket, ZMQ_CURVE_SERVER, 1) &&
           set_key(socket, ZMQ_CURVE_SECRETKEY, curve->secret_key) &&
           zmq_setsockopt(socket, ZMQ_ZAP_DOMAIN, curve->domain, strlen(curve->domain)) == 0 &&
           set_int(socket, ZAP_ENFORCE_DOMAIN, 1);
}

void *frame_socket(void *context, enum frame_role role, int in_flight,
                   const struct frame_curve *curve, struct err *err) {
    bool router = role == FRAME_CLIENT_SIDE || role == FRAME_WORKER_SIDE;
    void *socket = zmq_socket(context, router ? ZMQ_ROUTER : ZMQ_DEALER);
    if (!socket) {
        err_set(err, STATUS_RESOURCE_EXHAUSTED, "open a socket: %s", zmq_strerror(errno));
        return NULL;
    }
    /* What arrives: requests on the client side and at workers, replies on the other two. */
    bool requests = role == FRAME_CLIENT_SIDE || role == FRAME_WORKER;
    bool ok = set_common(socket, in_flight) &&
              (router ? set_router(socket) : set_dealer(socket, role == FRAME_WORKER)) &&
              set_max_bytes(socket, requests ? LIMIT_REQUEST_BYTES : LIMIT_REPLY_BYTES);
    if (ok && role == FRAME_CLIENT_SIDE) /* in bytes: times LIMIT_REQUEST_BYTES for each client */
        ok = set_int(socket, ZMQ_RCVHWM, in_flight < RECEIVED_MAX ? in_flight : RECEIVED_MAX);
    if (ok && role == FRAME_CLIENT)
        ok = set_int(socket, ZMQ_LINGER, 0);
    if (!ok)
        err_set(err, STATUS_INTERNAL, "set a socket option: %s", zmq_strerror(errno));
    CHECK(!curve || !router || (curve->domain && curve->domain[0])); /* "" would enforce nothing */
    if (ok && curve && !(ok = set_curve(socket, router, curve)))
        err_set(err, STATUS_FAILED_PRECONDITION, "CURVE is not to be had of this libzmq: %s",
                zmq_strerror(errno));
    if (!ok) {
        zmq_close(socket);
        return NULL;
    }
    return socket;
}

/* Throws away the frames of a message that is not ours. */
static void drop_rest(void *socket, zmq_msg_t *frame) {
    while (zmq_msg_more(frame))
        if (zmq_msg_recv(frame, socket, ZMQ_DONTWAIT) < 0)
            break;
    zmq_msg_close(frame);
}

/* Receives [header][body] from a socket that has a whole message ready. */
static enum frame_result recv_two(void *socket, struct header *header, zmq_msg_t *body,
                                  enum header_verdict *verdict) {
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    if (zmq_msg_recv(&frame, socket, ZMQ_DONTWAIT) < 0) {
        int code = errno;
        zmq_msg_close(&frame);
        return code == EAGAIN || code == EINTR ? FRAME_NONE : FRAME_GONE;
    }
    *verdict = header_parse(zmq_msg_data(&frame), zmq_msg_size(&frame), header);
    if (*verdict != HEADER_OK || !zmq_msg_more(&frame)) {
        if (*verdict == HEADER_OK)
            *verdict = HEADER_BAD_LENGTH;
        drop_rest(socket, &frame);
        return FRAME_BAD;
    }
    zmq_msg_close(&frame);
    zmq_msg_init(body);
    if (zmq_msg_recv(body, socket, ZMQ_DONTWAIT) < 0) {
        zmq_msg_close(body);
        return FRAME_GONE; /* parts of a message arrive together: the socket is closing */
    }
    if (zmq_msg_more(body)) {
        *verdict = HEADER_BAD_LENGTH;
        drop_rest(socket, body);
        return FRAME_BAD;
    }
    return FRAME_OK;
}

/* libzmq looks after lost connections at every hundredth receive in a row: with two frames a
 * message always between the two. With ZMQ_IMMEDIATE a connection that is lost then takes its
 * second frame away, and libzmq aborts (4.3.4, fq.cpp, "!_more"). To ask for events first has it
 * look before the first frame. It begins to count anew at a receive that finds nothing. */
enum frame_result frame_recv_dealer(void *socket, uint32_t *in_a_row, struct header *header,
                                    zmq_msg_t *body, enum header_verdict *verdict) {
    int events;
    size_t bytes = sizeof events;
    if (*in_a_row >= IN_A_ROW_FREE)
        (void)zmq_getsockopt(socket, ZMQ_EVENTS, &events, &bytes);
    enum frame_result got = recv_two(socket, header, body, verdict);
    if (got == FRAME_BAD) /* it may have had any number of frames */
        *in_a_row = IN_A_ROW_FREE;
    else
        *in_a_row = got == FRAME_NONE ? 0 : *in_a_row + 1;
    return got;
}

enum frame_result frame_recv_router(void *socket, struct frame_peer *from, struct header *header,
                                    zmq_msg_t *body, enum header_verdict *verdict) {
    zmq_msg_t id;
    zmq_msg_init(&id);
    if (zmq_msg_recv(&id, socket, ZMQ_DONTWAIT) < 0) {
        int code = errno;
        zmq_msg_close(&id);
        return code == EAGAIN || code == EINTR ? FRAME_NONE : FRAME_GONE;
    }
    const uint8_t *bytes = zmq_msg_data(&id);
    bool ours = zmq_msg_size(&id) == FRAME_PEER_BYTES && bytes[0] == 0; /* libzmq's own form */
    if (!ours || !zmq_msg_more(&id)) {
        memset(from->id, 0, sizeof from->id);
        *verdict = HEADER_BAD_LENGTH;
        drop_rest(socket, &id);
        return FRAME_BAD;
    }
    memcpy(from->id, bytes, FRAME_PEER_BYTES);
    zmq_msg_close(&id);
    return recv_two(socket, header, body, verdict);
}

const char *frame_user(zmq_msg_t *body) {
    return zmq_msg_gets(body, "User-Id");
}

static enum frame_result send_header(void *socket, const struct header *header, zmq_msg_t *body) {
    uint8_t bytes[HEADER_BYTES];
    header_pack(header, bytes);
    zmq_msg_t empty;
    if (!body) {
        zmq_msg_init(&empty);
        body = &empty;
    }
    if (zmq_send(socket, bytes, sizeof bytes, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0) {
        int code = errno;
        zmq_msg_close(body);
        return code == EAGAIN || code == EINTR ? FRAME_NONE : FRAME_GONE;
    }
    if (zmq_msg_send(body, socket, ZMQ_DONTWAIT) < 0) {
        zmq_msg_close(body);
        return FRAME_GONE;
    }
    return FRAME_OK;
}

enum frame_result frame_send_dealer(void *socket, const struct header *header, zmq_msg_t *body) {
    return send_header(socket, header, body);
}

enum frame_result frame_send_router(void *socket, const struct frame_peer *to,
                                    const struct header *header, zmq_msg_t *body) {
    if (zmq_send(socket, to->id, sizeof to->id, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0) {
        int code = errno;
        if (body)
            zmq_msg_close(body);
        return code == EAGAIN || code == EINTR ? FRAME_NONE : FRAME_GONE;
    }
    return send_header(socket, header, body);
}

bool frame_body(zmq_msg_t *out, struct view bytes) {
    if (zmq_msg_init_size(out, bytes.bytes) != 0) {
        zmq_msg_init(out);
        return false;
    }
    if (bytes.bytes)
        memcpy(zmq_msg_data(out), bytes.data, bytes.bytes);
    return true;
}
