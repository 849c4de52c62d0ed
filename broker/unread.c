/* unread.c - see unread.h.
 *
 * Invariants: known <= asked_at <= sent while a question is open; total is the sum of what is
 * unread by clients with a session. */
#include "unread.h"

#include "base/hash.h"

#include <stdlib.h>

enum { BEHIND_PART = 4, ASK_PART = 16 };

bool unread_init(struct unread *self, uint32_t n_clients, uint64_t limit, uint64_t total_limit,
                 uint64_t seed) {
    *self = (struct unread){.limit = limit, .total_limit = total_limit, .random = seed};
    self->ask = limit / ASK_PART < UNREAD_ASK_BYTES ? limit / ASK_PART : UNREAD_ASK_BYTES;
    self->clients = calloc(n_clients, sizeof *self->clients);
    return self->clients != NULL;
}

void unread_done(struct unread *self) {
    free(self->clients);
    *self = (struct unread){0};
}

void unread_start(struct unread *self, uint32_t client) {
    self->clients[client] = (struct unread_client){0};
    self->n_sessions++;
}

void unread_end(struct unread *self, uint32_t client) {
    self->total -= unread_bytes(self, client);
    self->clients[client] = (struct unread_client){0};
    self->n_sessions--;
}

bool unread_send(struct unread *self, uint32_t client, uint64_t body_bytes) {
    struct unread_client *c = &self->clients[client];
    uint64_t bytes = body_bytes + UNREAD_MESSAGE_BYTES;
    uint64_t own = unread_bytes(self, client) + bytes;
    if (own > self->limit)
        return false;
    if (self->total + bytes > self->total_limit && own > self->total_limit / self->n_sessions)
        return false;
    c->sent += bytes;
    self->total += bytes;
    return true;
}

uint64_t unread_question(struct unread *self, uint32_t client) {
    struct unread_client *c = &self->clients[client];
    if (c->question || c->sent - c->known <= self->ask)
        return 0;
    do
        c->question = hash_next(&self->random);
    while (!c->question);
    c->asked_at = c->sent;
    return c->question;
}

void unread_answer(struct unread *self, uint32_t client, uint64_t question) {
    struct unread_client *c = &self->clients[client];
    if (!question || question != c->question)
        return;
    self->total -= c->asked_at - c->known;
    c->known = c->asked_at;
    c->question = 0;
}

bool unread_is_behind(const struct unread *self, uint32_t client) {
    return unread_bytes(self, client) > self->limit / BEHIND_PART;
}
