/* client_state.h - the client as its own files see it: client.c (threads and the loop), outgoing.c
 * (connections and requests), incoming.c (answers). Nobody else includes it. */
#ifndef EMBER_CLIENT_CLIENT_STATE_H
#define EMBER_CLIENT_CLIENT_STATE_H

#include "client.h"
#include "conn.h"
#include "pool.h"
#include "services.h"

#include "wire/frame.h"

enum { AGAIN_US = 5 * 1000 };

struct client_broker { /* what one of pool.brokers[] has of ours */
    struct conn conn;
    bool is_readable, has_news; /* its socket, its monitor: maybe */
    struct services services;   /* those of the client, numbered by this broker */
};

struct client {
    struct client_cfg cfg;
    uint64_t uuid; /* told in HELLO */
    atomic_uint refs;
    atomic_size_t bytes; /* bodies of unfinished calls */
    atomic_uint n_calls;
    pthread_t thread;
    int wake_fd;
    bool woken; /* the loop's: wake_fd is readable */

    pthread_mutex_t lock; /* guards the inbox */
    struct queue starting, cancelling;
    bool stopping;

    /* the loop's */
    void *context;
    struct pool pool;
    struct client_broker brokers[POOL_MAX];
    uint32_t stuck; /* bits: HELLO waits for the socket to become writable */
    struct pending pending;
    struct services services; /* names only */
    struct queue active;      /* calls, oldest first */
    uint32_t n_asking;        /* of them, calls that only ask: ping, describe */
    struct arena arena;
    struct wire_out out;
    uint64_t conns;    /* opened so far */
    uint64_t again_us; /* when to send again what there was no memory for; 0: there was */
};

/* ---- outgoing.c */

/* Some sending of some request was not answered by "not now". */
bool client_may_have_run(const ember_call_t *call);

/* Forgets the call, then tells it. Its requests that still run are cancelled. */
void client_finish(struct client *self, ember_call_t *call, const struct ember_error *error);
void client_finish_err(struct client *self, ember_call_t *call, const struct err *err);
void client_cancel_copies(struct client *self, struct part *part); /* of one that is out */
void client_cancel_given_up(struct client *self); /* after pending_sent(), pending_refused() */

/* The session is gone: its requests go elsewhere, its numbers mean nothing any more. */
void client_lost(struct client *self, uint32_t at, uint64_t now_us);
void client_follow_pool(struct client *self, uint64_t now_us); /* does what it wants */
void client_leave(struct client *self); /* says BYE wherever there is a session, closes all */

void client_begin(struct client *self, ember_call_t *call, uint64_t now_us);
bool client_widen(struct client *self, ember_call_t *call); /* false: no memory for more parts */
/* False: a connection failed at that, pool_next() has something to say. */
bool client_send_ready(struct client *self, uint64_t now_us);

/* ---- incoming.c */

void client_receive(struct client *self, uint32_t at, uint64_t now_us);

#endif
