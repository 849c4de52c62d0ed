/* net.h - a network of connections in simulated time: what is sent arrives later, in order, or is
 * lost with its connection.
 *
 *     dialler ── link, direction 0 ──► broker        order is kept within a direction of a link and
 *     dialler ◄── link, direction 1 ── broker        nowhere else
 *
 * A link is a place for one connection at a time; each connection of it has its own `life`. When it
 * breaks, all that is on the way is lost, each end hears of it in its own time (NET_CUT), and the
 * broker's sends are swallowed for a moment before they fail, as TCP's are. A stalled link keeps
 * what is sent until the stall is over.
 *
 * One generator of random numbers decides everything. Bodies are shared by count. */
#ifndef EMBER_TEST_SIM_NET_H
#define EMBER_TEST_SIM_NET_H

#include "base/view.h"
#include "wire/header.h"

struct net_body {
    uint32_t refs, bytes;
    char data[];
};

struct net_body *net_body_new(struct view bytes);
struct net_body *net_body_ref(struct net_body *body); /* NULL is fine */
void net_body_unref(struct net_body *body);           /* NULL is fine */
struct view net_body_view(const struct net_body *body);

enum net_kind {
    NET_FRAME,
    NET_OPEN,    /* to the dialler: the connection stands */
    NET_REFUSED, /* to the dialler: nobody listens */
    NET_CUT,     /* to either end: it is gone */
};

struct net_message {
    uint64_t at_us, order;
    struct net_body *body;
    uint32_t link, life;
    enum net_kind kind;
    bool to_broker;
    struct header header;
};

struct net_link {
    bool up;
    uint32_t life, closed_life; /* of closed_life what was sent before the end still arrives */
    uint64_t lag_until_us;      /* down, but the broker's sends are still swallowed */
    uint64_t stall_until_us;    /* what is sent does not arrive before */
    uint64_t last_us[2];        /* latest arrival, so that order is kept */
};

struct net {
    struct net_link *links;
    uint32_t n_links;
    struct net_message *heap; /* [n] by time, then order */
    uint32_t n, room;
    uint64_t order, *random;
    uint32_t slow; /* of a thousand messages so many take long */
};

void net_init(struct net *self, uint32_t n_links, uint64_t *random);
void net_done(struct net *self);

/* Tries to connect; `there`: somebody listens. NET_OPEN or NET_REFUSED will tell. */
void net_dial(struct net *self, uint32_t link, bool there, uint64_t now_us);
/* To be called when NET_OPEN arrives: false when the connection broke meanwhile. */
bool net_opened(struct net *self, const struct net_message *m, uint64_t now_us);
/* The connection is gone, or the attempt to make one. `told`: the dialler did not do it itself. */
void net_break(struct net *self, uint32_t link, bool told, uint64_t now_us);

/* The dialler closes it; what it has sent arrives before the broker hears of the end. */
void net_close(struct net *self, uint32_t link, uint64_t now_us);

/* False: not connected, nothing sent. Takes a reference of its own to `body`. */
bool net_send(struct net *self, uint32_t link, bool to_broker, const struct header *header,
              struct net_body *body, uint64_t now_us);

uint64_t net_next_us(const struct net *self); /* UINT64_MAX: nothing is on the way */
/* Takes the next message. A frame of a connection that broke is freed; then *out is not set. */
bool net_take(struct net *self, struct net_message *out);
/* It waits in its receiver's socket until then: the process stands still. */
void net_put_back(struct net *self, const struct net_message *m, uint64_t at_us);

#endif
