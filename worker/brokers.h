/* brokers.h - the worker's connections to its brokers: frames in and out, greeting, beating,
 * leaving, and what of the credit each is told. One DEALER a broker, so that nothing for a dead one
 * is sent elsewhere.
 *
 *     DISPATCH, CANCEL --> serve                    replies of serve --> RESULT, NACK
 *     READY_OK, PONG, silence, a cut connection --> upstream.h, shares.h --> READY, HEARTBEAT ...
 *
 * Nothing a broker sends can do more than use up its own part: frames are parsed here, once; a
 * DISPATCH that no window allowed is answered with NACK; from a socket LIMIT_DRAIN frames are taken
 * per wake-up, so that the others have their turn; complaints in the log are limited.
 *
 * Threads: owner only. */
#ifndef EMBER_WORKER_BROKERS_H
#define EMBER_WORKER_BROKERS_H

#include "models.h"
#include "serve.h"
#include "settings.h"
#include "shares.h"
#include "upstream.h"

#include "base/arena.h"
#include "base/log.h"
#include "wire/frame.h"
#include "wire/keypair.h"
#include "wire/monitor.h"

enum { BROKERS_POLL = 2 * LIMIT_BROKERS }; /* poll items, at most */

struct broker {
    struct upstream upstream;
    void *socket, *monitor; /* monitor: tells when a connection is there, or no more */
    int monitor_fd;
    uint32_t in_a_row; /* see frame_recv_dealer() */
    const char *endpoint;
    struct log_limit bad, news, keys; /* what it says wrong; that it comes and goes; handshakes */
    uint64_t beat_us;                 /* last HEARTBEAT */
    uint64_t redial_us;               /* after a failed handshake; 0: not needed */
};

struct brokers_cfg {
    const struct settings *settings;
    const struct models *models;
    serve_t *serve;
    /* Fills the heartbeat's figures. */
    void (*beat)(void *arg, struct wire_heartbeat *out);
    void *beat_arg;
};

struct brokers {
    struct brokers_cfg cfg;
    void *context;
    struct broker broker[LIMIT_BROKERS];
    uint32_t n;
    struct shares shares;
    uint64_t now_us, uuid;
    bool draining, has_keys;
    char host[LIMIT_NAME_BYTES + 1];
    struct arena arena;
    struct wire_out out;
    uint64_t results_lost; /* answers whose broker was gone */
    uint64_t refused;      /* dispatches that no honest broker sends: beyond any window, or
                              of a ticket that is in hand */
};

/* Sockets, connected to the brokers of the settings. STATUS_INVALID_ARGUMENT names a bad endpoint;
 * *self can be given to brokers_done() in any case. */
enum status brokers_init(struct brokers *self, const struct brokers_cfg *cfg, uint64_t now_us,
                         struct err *err);
/* Closes; what was sent has a second to leave. Twice is fine, and all zero too. */
void brokers_done(struct brokers *self);

/* Items for poll: returns how many of items[0..BROKERS_POLL) were filled. */
uint32_t brokers_poll(const struct brokers *self, zmq_pollitem_t *items);
/* Reads what poll said is there. `items` as brokers_poll() filled them. */
void brokers_read(struct brokers *self, const zmq_pollitem_t *items, uint64_t now_us);

/* An answer of serve, to its broker. */
void brokers_reply(struct brokers *self, const struct serve_reply *reply);

/* Sends what time wants. `idle`: nothing is in hand that a draining worker would wait for. */
void brokers_tick(struct brokers *self, bool idle, uint64_t now_us);
uint64_t brokers_deadline_us(const struct brokers *self);

/* From now on: DRAIN, then BYE when idle; windows are 0. */
void brokers_drain(struct brokers *self);
/* So much of the credit can be used now; brokers are told at once. */
void brokers_credit(struct brokers *self, uint32_t credit);
/* A HEARTBEAT to each, with the next brokers_tick(). */
void brokers_beat(struct brokers *self);

uint32_t brokers_live(const struct brokers *self);
uint32_t brokers_held(const struct brokers *self); /* cost of all that is in hand */
bool brokers_gone(const struct brokers *self);     /* all of them, while draining */

#endif
