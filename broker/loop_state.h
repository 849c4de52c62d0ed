/* loop_state.h - the loop as its own files see it: loop.c (wake-ups, start, end), inbound.c (what
 * comes in), outbound.c (what goes out). Nobody else includes it. */
#ifndef EMBER_BROKER_LOOP_STATE_H
#define EMBER_BROKER_LOOP_STATE_H

#include "base/log.h"
#include "base/memory.h"
#include "bill.h"
#include "figures.h"
#include "gate.h"
#include "greet.h"
#include "loop.h"
#include "peers.h"
#include "unread.h"
#include "wire/frame.h"

#include <stdatomic.h>

enum {
    LOG_EVERY_US = 1000 * 1000, /* of one kind of trouble */
    LOG_SLOW_US = 100 * 1000,   /* of slow requests */
    BANNED_MAX = 256,
    UNREAD_CLIENTS = 8, /* all clients may leave as much unread as so many that do not read */
};

struct loop {
    struct loop_cfg cfg;
    core_t *core;
    figures_t *figures;
    struct greet greet;
    struct wire_out overview;
    struct view advertise[CFG_LIST_MAX];
    void *context, *front, *back, *front_monitor, *back_monitor;
    struct peers clients, workers;
    struct unread unread;
    guard_t *guard; /* NULL: no keys */
    struct gate gate;
    zmq_msg_t *bodies;   /* [core.max_tickets], always initialised */
    zmq_msg_t *incoming; /* body of the RESULT being handled */
    int front_monitor_fd, back_monitor_fd;
    uint64_t monitors_us;
    uint64_t now_us, started_us, publish_us, overview_us;
    uint64_t sweep_until_us, sweep_next_us, client_sweep_us, client_swept_us;
    uint32_t lost_connections; /* of workers, that no sweep has found yet */
    struct memory memory;
    uint64_t memory_next_us, trim_next_us;
    struct scale scale;
    struct bill bill;
    uint64_t load_next_us;
    bool short_of_memory; /* nothing new is taken */
    struct frame_peer
        banned[BANNED_MAX]; /* connections that were given up and may still be there */
    uint32_t n_banned;      /* ever; the ring keeps the latest */
    struct figures_frames frames;
    struct log_limit log_malformed, log_refused, log_cut, log_slow;
    _Atomic int stops; /* signals and calls of loop_stop() */
    bool aborted;
    char clients_endpoint[256], workers_endpoint[256];
};

/* ---- outbound.c */

struct core_ops outbound_ops(loop_t *self);

/* Send a copy of `bytes` behind the header: to a connection, or to a client with a session, whose
 * unread bytes are counted. */
enum core_sent outbound_bytes(void *socket, const struct frame_peer *to,
                              const struct header *header, struct view bytes);
enum core_sent outbound_client(loop_t *self, uint32_t client, const struct header *header,
                               struct view bytes);
void outbound_refuse(loop_t *self, void *socket, const struct frame_peer *to, uint8_t type,
                     const struct header *asked, const struct err *err);
bool outbound_banned(const loop_t *self, const struct frame_peer *peer);

/* ---- inbound.c */

/* Takes up to LIMIT_DRAIN messages of a socket, front or back. */
void inbound_drain(loop_t *self, void *socket);

/* Ends the sessions of keys that are not admitted any more. */
void inbound_end_revoked(loop_t *self);

#endif
