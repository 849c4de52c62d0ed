/* frame.h - the two frames of a message, [header][body], over libzmq sockets.
 *
 * A ROUTER socket (broker) puts the peer's routing id in front. Routing ids are libzmq's own,
 * five bytes, name one connection and never leave the broker; a peer that chose its own is
 * refused.
 *
 * Every call is non-blocking. Threads: a socket and its frames belong to one thread.
 * Ownership: a zmq_msg_t that a send takes is empty afterwards, whatever the outcome. */
#ifndef EMBER_WIRE_FRAME_H
#define EMBER_WIRE_FRAME_H

#include "base/err.h"
#include "base/view.h"
#include "wire/header.h"

#include <zmq.h>

enum { FRAME_PEER_BYTES = 5, FRAME_KEY_BYTES = 32 };

struct frame_peer {
    uint8_t id[FRAME_PEER_BYTES];
};

enum frame_result {
    FRAME_OK,
    FRAME_NONE, /* nothing to receive, or: the peer's queue is full, nothing was sent */
    FRAME_GONE, /* the peer of a ROUTER is not connected, or the socket is closing */
    FRAME_BAD,  /* a message that is not ours was taken off the socket and dropped */
};

/* What a socket is for; decides its options (docs/PROTOCOL.md, "Sockets"). */
enum frame_role {
    FRAME_CLIENT_SIDE, /* broker's ROUTER for clients */
    FRAME_WORKER_SIDE, /* broker's ROUTER for workers */
    FRAME_CLIENT,      /* client's DEALER */
    FRAME_WORKER
}; /* worker's DEALER */

/* A context with its limits set; seeds libzmq's generator first (see docs/PROTOCOL.md on routing
 * ids). */
void *frame_context(void);

/* Encryption of a socket (CURVE, RFC 26): keys as bytes. A ROUTER asks the ZAP handler of its
 * context (inproc://zeromq.zap.01) about each key that connects and refuses all when there is
 * none. */
struct frame_curve {
    uint8_t public_key[FRAME_KEY_BYTES], secret_key[FRAME_KEY_BYTES]; /* our own */
    uint8_t server_key[FRAME_KEY_BYTES]; /* of a DEALER: the broker's public key */
    const char *domain;                  /* of a ROUTER: what the ZAP handler is told, not "" */
};

/* A socket with the role's options, not yet bound or connected; NULL with *err. `in_flight`
 * bounds the messages that may be queued for one peer. `curve` is copied by libzmq; NULL: plain.
 * The caller closes it with zmq_close(). STATUS_FAILED_PRECONDITION: this libzmq cannot encrypt, or
 * cannot be made to refuse peers while no ZAP handler runs. */
void *frame_socket(void *context, enum frame_role role, int in_flight,
                   const struct frame_curve *curve, struct err *err);

/* Receive one message. FRAME_OK: *header filled, *body initialised and owned by the caller (size
 * 0 when empty). FRAME_BAD: *verdict says why (and *from is set on a ROUTER when the id was
 * sound). Otherwise nothing is written. */
enum frame_result frame_recv_router(void *socket, struct frame_peer *from, struct header *header,
                                    zmq_msg_t *body, enum header_verdict *verdict);
/* `in_a_row`: how many receives of this socket found something since one found nothing. Kept by the
 * caller as long as the socket, 0 at first. */
enum frame_result frame_recv_dealer(void *socket, uint32_t *in_a_row, struct header *header,
                                    zmq_msg_t *body, enum header_verdict *verdict);

/* The User-Id that the ZAP handler gave the connection this body came from; NULL without CURVE.
 * Borrowed from the body. To be asked of header or body: the frame with a routing id has lost it in
 * libzmq 4.3.4. */
const char *frame_user(zmq_msg_t *body);

/* Send header and body (NULL: an empty body). The body is consumed in every case. */
enum frame_result frame_send_router(void *socket, const struct frame_peer *to,
                                    const struct header *header, zmq_msg_t *body);
enum frame_result frame_send_dealer(void *socket, const struct header *header, zmq_msg_t *body);

/* A body that copies `bytes`; false without memory. */
bool frame_body(zmq_msg_t *out, struct view bytes);

static inline struct view frame_view(zmq_msg_t *body) {
    return view_make(zmq_msg_data(body), zmq_msg_size(body));
}

#endif
