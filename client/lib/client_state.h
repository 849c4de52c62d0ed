/* client_state.h - the client as its own files see it: client.c (threads and the loop), outgoing.c
 * (connections and requests), incoming.c (answers). Nobody else includes it. */
#ifndef EMBER_CLIENT_CLIENT_STATE_H
#define EMBER_CLIENT_CLIENT_STATE_H

#include "client.h"
#include "conn.h"
#include "dial.h"
#include "services.h"

#include "wire/frame.h"

enum {
    IN_FLIGHT_MAX = 4096, /* of one session; a broker may allow less */
    OLD_US = 3 * 1000 * 1000,
    AGAIN_US = 5 * 1000,
};

struct client {
    struct client_cfg cfg;
    uint64_t uuid; /* told in HELLO */
    atomic_uint refs;
    atomic_size_t bytes; /* bodies of unfinished calls */
    atomic_uint n_calls;
    pthread_t thread;
    int wake_fd;

    pthread_mutex_t lock; /* guards the inbox */
    struct queue starting, cancelling;
    bool stopping;

    /* the loop's */
    void *context;
    struct conn now, old;
    struct dial dial;
    struct pending pending;
    struct services services;
    struct queue active; /* calls, oldest first */
    uint32_t n_asking;   /* of them, calls that only ask: ping, describe */
    struct arena arena;
    struct wire_out out;
    uint64_t conns;    /* opened so far */
    uint64_t again_us; /* when to send again what there was no memory for; 0: there was */
    char trouble[ERR_TEXT_MAX];
};

/* ---- outgoing.c */

/* Some sending of some request was not answered by "not now". */
bool client_may_have_run(const ember_call_t *call);

/* Forgets the call, then tells it. Its requests that still run are cancelled. */
void client_finish(struct client *self, ember_call_t *call, const struct ember_error *error);
void client_finish_err(struct client *self, ember_call_t *call, const struct err *err);

void client_now_close(struct client *self); /* what a connection owed is ready again */
void client_old_close(struct client *self);

/* Does what dial wants; true when HELLO waits for the socket to become writable. */
bool client_follow_dial(struct client *self, uint64_t now_us);

void client_begin(struct client *self, ember_call_t *call);
bool client_widen(struct client *self, ember_call_t *call); /* false: no memory for more parts */
void client_send_ready(struct client *self, uint64_t now_us);

/* ---- incoming.c */

void client_receive(struct client *self, struct conn *conn, uint64_t now_us);

#endif
