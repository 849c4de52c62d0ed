/* unread.h - how much of what was sent to a client it may not have read yet.
 *
 * libzmq bounds what it holds for a slow peer by messages, not bytes: 2,000 replies of 1 MiB each
 * would be within its limit. So the broker counts bytes, and asks: a PING that goes out behind N
 * bytes comes back as a PONG only when those N bytes were read, since a connection keeps its order.
 *
 *     sent ────────────────────────────►|        ask when more than UNREAD_ASK_BYTES are not known
 *     known to be read ──────►|         |        to be read, one question at a time; its number
 *                             └─ unread ┘        is random, so that it cannot be answered unseen
 *
 *     unread <= limit / 4   fine
 *     unread <= limit       new requests of this client are refused until it reads
 *     unread >  limit       the client is given up
 *
 * A client that begins no session (it only sends HELLO again and again) is bounded by libzmq's
 * count: what it is sent is small.
 *
 * Threads: owner only. Pure: no clock, no sockets. */
#ifndef EMBER_BROKER_UNREAD_H
#define EMBER_BROKER_UNREAD_H

#include <stdbool.h>
#include <stdint.h>

enum {
    UNREAD_ASK_BYTES = 256 * 1024, /* at most; a sixteenth of a small limit */
    UNREAD_MESSAGE_BYTES = 128,    /* what a message takes besides its body: header, book-keeping */
};

struct unread_client {
    uint64_t sent, known; /* bytes since the session began */
    uint64_t question;    /* its number; 0: none is open */
    uint64_t asked_at;    /* sent, when it went out */
};

struct unread {
    struct unread_client *clients; /* by the core's number */
    uint32_t n_sessions;
    uint64_t limit, total_limit; /* bytes; of one client, of all */
    uint64_t ask;                /* see UNREAD_ASK_BYTES */
    uint64_t total;
    uint64_t random;
};

bool unread_init(struct unread *self, uint32_t n_clients, uint64_t limit, uint64_t total_limit,
                 uint64_t seed); /* false: no memory */
void unread_done(struct unread *self);

void unread_start(struct unread *self, uint32_t client); /* a session begins */
void unread_end(struct unread *self, uint32_t client);   /* and ends: what it left is forgotten */

/* May a message with a body of so many bytes go to the client? It is counted as sent when it may.
 * False, give it up: it has left too much unread; or all clients together have, and this one more
 * than its share of total_limit. So they never leave more than twice total_limit. */
bool unread_send(struct unread *self, uint32_t client, uint64_t body_bytes);

/* The number of a PING to send now, 0: none is due. */
uint64_t unread_question(struct unread *self, uint32_t client);
void unread_answer(struct unread *self, uint32_t client, uint64_t question); /* a PONG came */

/* The client should read before it asks for more. */
bool unread_is_behind(const struct unread *self, uint32_t client);

static inline uint64_t unread_bytes(const struct unread *self, uint32_t client) {
    return self->clients[client].sent - self->clients[client].known;
}

#endif
