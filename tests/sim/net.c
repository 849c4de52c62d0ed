/* net.c - see net.h. A heap by time and order; a message that breaks with its connection stays in
 * the heap until its time, and is dropped then. */
#include "net.h"

#include "base/check.h"
#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

enum { MS = 1000, NET_ROOM = 1 << 20 };

struct net_body *net_body_new(struct view bytes) {
    struct net_body *body = malloc(sizeof *body + bytes.bytes);
    CHECK(body);
    body->refs = 1;
    body->bytes = (uint32_t)bytes.bytes;
    if (bytes.bytes)
        memcpy(body->data, bytes.data, bytes.bytes);
    return body;
}

struct net_body *net_body_ref(struct net_body *body) {
    if (body)
        body->refs++;
    return body;
}

void net_body_unref(struct net_body *body) {
    if (body && --body->refs == 0)
        free(body);
}

struct view net_body_view(const struct net_body *body) {
    return body ? view_make(body->data, body->bytes) : view_make(NULL, 0);
}

void net_init(struct net *self, uint32_t n_links, uint64_t *random) {
    *self = (struct net){.n_links = n_links, .random = random};
    self->links = calloc(n_links, sizeof *self->links);
    CHECK(self->links);
}

void net_done(struct net *self) {
    for (uint32_t i = 0; i < self->n; i++)
        net_body_unref(self->heap[i].body);
    free(self->heap);
    free(self->links);
    *self = (struct net){0};
}

/* ---- the heap */

static bool earlier(const struct net_message *a, const struct net_message *b) {
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void push(struct net *self, const struct net_message *m) {
    if (self->n == self->room) {
        self->room = self->room ? 2 * self->room : 256;
        CHECK(self->room <= NET_ROOM); /* somebody sends without end */
        self->heap = realloc(self->heap, self->room * sizeof *self->heap);
        CHECK(self->heap);
    }
    uint32_t i = self->n++;
    while (i && earlier(m, &self->heap[(i - 1) / 2])) {
        self->heap[i] = self->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    self->heap[i] = *m;
}

static struct net_message pop(struct net *self) {
    struct net_message top = self->heap[0], last = self->heap[--self->n];
    uint32_t i = 0;
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= self->n)
            break;
        if (child + 1 < self->n && earlier(&self->heap[child + 1], &self->heap[child]))
            child++;
        if (!earlier(&self->heap[child], &last))
            break;
        self->heap[i] = self->heap[child];
        i = child;
    }
    self->heap[i] = last;
    return top;
}

/* ---- connections */

static void tell(struct net *self, uint32_t link, enum net_kind kind, bool to_broker,
                 uint64_t at_us) {
    struct net_message m = {.at_us = at_us,
                            .order = self->order++,
                            .link = link,
                            .life = self->links[link].life,
                            .kind = kind,
                            .to_broker = to_broker};
    push(self, &m);
}

void net_dial(struct net *self, uint32_t link, bool there, uint64_t now_us) {
    struct net_link *l = &self->links[link];
    CHECK(!l->up);
    l->life++;
    tell(self, link, there ? NET_OPEN : NET_REFUSED, false,
         now_us + 200 + hash_below(self->random, 3 * MS));
}

bool net_opened(struct net *self, const struct net_message *m, uint64_t now_us) {
    struct net_link *l = &self->links[m->link];
    if (m->life != l->life || l->up)
        return false;
    l->up = true;
    l->stall_until_us = 0;
    l->last_us[0] = l->last_us[1] = now_us;
    return true;
}

void net_break(struct net *self, uint32_t link, bool told, uint64_t now_us) {
    struct net_link *l = &self->links[link];
    bool was_up = l->up;
    if (was_up) {
        l->up = false;
        l->lag_until_us = now_us + hash_below(self->random, 3 * MS);
        tell(self, link, NET_CUT, true, now_us + hash_below(self->random, 2 * MS));
    }
    if (was_up && told) /* before the life ends: what it names is this one */
        tell(self, link, NET_CUT, false, now_us + hash_below(self->random, 5 * MS));
    l->life++;
}

bool net_send(struct net *self, uint32_t link, bool to_broker, const struct header *header,
              struct net_body *body, uint64_t now_us) {
    struct net_link *l = &self->links[link];
    if (!l->up)
        return false;
    bool slow = hash_below(self->random, 1000) < self->slow;
    uint64_t at = now_us + 50 + hash_below(self->random, slow ? 30 * MS : 400);
    at = at > l->stall_until_us ? at : l->stall_until_us;
    at = at > l->last_us[to_broker] ? at : l->last_us[to_broker];
    l->last_us[to_broker] = at;
    struct net_message m = {.at_us = at,
                            .order = self->order++,
                            .body = net_body_ref(body),
                            .link = link,
                            .life = l->life,
                            .kind = NET_FRAME,
                            .to_broker = to_broker,
                            .header = *header};
    push(self, &m);
    return true;
}

void net_close(struct net *self, uint32_t link, uint64_t now_us) {
    struct net_link *l = &self->links[link];
    if (l->up) {
        l->up = false;
        l->closed_life = l->life;
        l->lag_until_us = now_us + hash_below(self->random, 3 * MS);
        uint64_t at = now_us > l->last_us[1] ? now_us : l->last_us[1];
        tell(self, link, NET_CUT, true, at + hash_below(self->random, 2 * MS));
    }
    l->life++;
}

uint64_t net_next_us(const struct net *self) {
    return self->n ? self->heap[0].at_us : UINT64_MAX;
}

bool net_take(struct net *self, struct net_message *out) {
    struct net_message m = pop(self);
    const struct net_link *l = &self->links[m.link];
    bool there = m.life == l->life ? l->up : m.to_broker && m.life == l->closed_life;
    bool lost = m.kind == NET_FRAME && !there;
    if (lost) {
        net_body_unref(m.body);
        return false;
    }
    *out = m;
    return true;
}

void net_put_back(struct net *self, const struct net_message *m, uint64_t at_us) {
    struct net_message later = *m;
    later.at_us = at_us;
    push(self, &later);
}
