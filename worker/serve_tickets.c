/* serve_tickets.c - the request of a ticket: a chained hash table over the slots of all active
 * requests, so that a flood of CANCELs costs a look-up each and no walk. Seeded, since brokers
 * choose the tickets. */
#include "request.h"

#include "base/check.h"
#include "base/hash.h"

#include <stdlib.h>

static struct request **bucket_of(const serve_t *self, uint32_t broker, uint64_t ticket) {
    uint64_t hash = hash_mix(hash_mix(ticket ^ self->ticket_seed) + broker);
    return &self->ticket_bucket[hash & (self->n_ticket_buckets - 1)];
}

bool serve_tickets_init(serve_t *self) {
    self->n_ticket_buckets = 16;
    while (self->n_ticket_buckets < 2 * self->cfg.requests_max)
        self->n_ticket_buckets *= 2;
    self->ticket_seed = hash_entropy64();
    self->ticket_bucket = calloc(self->n_ticket_buckets, sizeof(struct request *));
    return self->ticket_bucket != NULL;
}

struct request *serve_ticket_find(const serve_t *self, uint32_t broker, uint64_t ticket) {
    struct request *request = *bucket_of(self, broker, ticket);
    while (request && (request->origin.ticket != ticket || request->origin.broker != broker))
        request = request->ticket_next;
    return request;
}

void serve_ticket_add(serve_t *self, struct request *request) {
    struct request **bucket = bucket_of(self, request->origin.broker, request->origin.ticket);
    request->ticket_next = *bucket;
    *bucket = request;
}

void serve_ticket_remove(serve_t *self, struct request *request) {
    struct request **at = bucket_of(self, request->origin.broker, request->origin.ticket);
    while (*at != request) {
        CHECK(*at);
        at = &(*at)->ticket_next;
    }
    *at = request->ticket_next;
}
