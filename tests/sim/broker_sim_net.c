/* broker_sim_net.c - messages on the way, a heap by the time of their arrival. Those of one
 * connection keep their order; those of different connections do not. */
#include "broker_sim.h"

static bool earlier(const struct message *a, const struct message *b) {
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

void post(struct message m) {
    EXPECT(s.n_heap < MESSAGES);
    uint32_t i = s.n_heap++;
    while (i && earlier(&m, &s.heap[(i - 1) / 2])) {
        s.heap[i] = s.heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    s.heap[i] = m;
}

struct message fetch(void) {
    struct message top = s.heap[0], last = s.heap[--s.n_heap];
    uint32_t i = 0;
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= s.n_heap)
            break;
        if (child + 1 < s.n_heap && earlier(&s.heap[child + 1], &s.heap[child]))
            child++;
        if (!earlier(&s.heap[child], &last))
            break;
        s.heap[i] = s.heap[child];
        i = child;
    }
    s.heap[i] = last;
    return top;
}

void transmit(uint32_t conn, bool to_core, struct header header, uint64_t tag) {
    struct conn *c = &s.conns[conn];
    if (!c->up)
        return; /* lost with the connection */
    uint64_t *last = to_core ? &c->last_in_us : &c->last_out_us;
    uint64_t at = s.now_us + 50 + below(chance(20) ? 30 * MS : 400);
    at = at > *last ? at : *last;
    *last = at;
    post((struct message){.at_us = at,
                          .order = s.order++,
                          .tag = tag,
                          .conn = conn,
                          .life = c->life,
                          .to_core = to_core,
                          .header = header});
}

void disconnect(uint32_t conn) {
    struct conn *c = &s.conns[conn];
    c->up = false;
    c->life++; /* what is on the way is lost */
    c->lag_until_us = s.now_us + below(3 * MS);
    c->retry_us = s.now_us + below(800 * MS);
    c->epoch = 0;
    s.faults++;
}
