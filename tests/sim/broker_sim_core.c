/* broker_sim_core.c - the core's surroundings: what it asks for becomes messages, messages become
 * calls of it. Executions are booked here, so that each thing it does is judged the moment it does
 * it: no dispatch beyond the credit, no answer after the deadline, no body refused without dead
 * workers. */
#include "broker_sim.h"

/* ---------------------------------------------------------------- books of executions */

static void flight_begins(uint32_t worker, uint64_t ticket, uint64_t tag) {
    EXPECT(s.n_flights < FLIGHTS);
    for (uint32_t i = 0; i < s.n_flights; i++)
        EXPECT(s.flights[i].ticket != ticket);
    s.flights[s.n_flights++] = (struct flight){ticket, tag, worker};
}

static void flight_ends(uint32_t worker, uint64_t ticket) {
    for (uint32_t i = 0; i < s.n_flights; i++)
        if (s.flights[i].worker == worker && s.flights[i].ticket == ticket)
            s.flights[i--] = s.flights[--s.n_flights];
}

static uint64_t *deaths_of(uint64_t tag) {
    for (uint32_t i = 0; i < s.n_died && i < DIED; i++)
        if (s.died[i].tag == tag)
            return &s.died[i].n;
    uint32_t at = s.n_died++ % DIED;
    s.died[at].tag = tag;
    s.died[at].n = 0;
    return &s.died[at].n;
}

static void worker_dies(uint32_t worker) {
    for (uint32_t i = 0; i < s.n_flights; i++)
        if (s.flights[i].worker == worker) {
            ++*deaths_of(s.flights[i].tag);
            s.flights[i--] = s.flights[--s.n_flights];
        }
}

/* ---------------------------------------------------------------- what the core asks for */

static enum core_sent send_to(uint32_t conn, const struct header *header, uint64_t tag) {
    struct conn *c = &s.conns[conn];
    if (!c->up)
        return s.now_us < c->lag_until_us ? CORE_SENT : CORE_GONE;
    transmit(conn, false, *header, tag);
    return CORE_SENT;
}

/* The connection a core number stands for; a connection that was replaced is gone. */
static enum core_sent send_number(uint32_t conn, uint32_t number, const struct header *header,
                                  uint64_t tag) {
    if (s.conns[conn].number != number)
        return CORE_GONE;
    return send_to(conn, header, tag);
}

static enum core_sent to_worker(void *arg, uint32_t worker, const struct header *header,
                                uint32_t slot) {
    (void)arg;
    if (header->type == WIRE_CANCEL)
        flight_ends(worker, header->id);
    if (slot == CORE_NONE)
        return send_number(s.worker_conn[worker], worker, header, 0);
    EXPECT(header->type == WIRE_DISPATCH && s.bodies[slot]);
    EXPECT(header->attempt >= 1 && header->attempt <= LIMIT_ATTEMPTS);
    EXPECT(header->budget_us > 0);
    const struct fleet_load *load = &core_fleet(s.core)->loads[worker];
    EXPECT((load->open || core_fleet(s.core)->workers[worker].kept) && load->credit);
    EXPECT(!load->n || load->cost + core_cost(s.body_bytes[slot]) <= load->credit);
    s.moved += header->attempt > 1;
    if (!s.healed && chance(3))
        return CORE_FULL;
    enum core_sent sent = send_number(s.worker_conn[worker], worker, header, s.bodies[slot]);
    if (sent == CORE_SENT)
        flight_begins(worker, header->id, s.bodies[slot]);
    return sent;
}

/* What the broker says of a call, looked at the moment it says it. */
static void judge(uint32_t conn, const struct header *header) {
    const struct conn *c = &s.conns[conn];
    const struct call *call = &c->calls[header->id % CALLS];
    if (header->type != WIRE_REPLY || header->epoch != c->epoch || call->id != header->id)
        return;
    uint64_t deadline = call->arrived_us + call->budget_us;
    bool slept = call->arrived_us < s.jump_us; /* the broker was stopped in between */
    if (header->status == STATUS_DEADLINE_EXCEEDED)
        EXPECT(s.now_us >= deadline);
    EXPECT(slept || call->resent || s.now_us <= deadline + MS);
}

static enum core_sent to_client(void *arg, uint32_t client, const struct header *header,
                                const struct core_error *error) {
    (void)arg;
    EXPECT(header->type != WIRE_REPLY || (error && error->text[0] && header->status));
    uint32_t conn = s.client_conn[client];
    judge(conn, header);
    return send_number(conn, client, header, 0);
}

static enum core_sent forward(void *arg, uint32_t client, const struct header *header) {
    (void)arg;
    EXPECT(s.incoming);
    uint32_t conn = s.client_conn[client];
    judge(conn, header);
    return send_number(conn, client, header, s.incoming);
}

static struct view body(void *arg, uint32_t slot) {
    static unsigned char room[BODY_MAX];
    (void)arg;
    EXPECT(s.bodies[slot]);
    return body_of(s.bodies[slot], room);
}

/* The second worker that died of it is being buried, and not yet in the books. */
static void quarantined(void *arg, uint32_t slot, uint64_t hash) {
    (void)arg;
    (void)hash;
    EXPECT(*deaths_of(s.bodies[slot]) >= 1);
}

static void drop(void *arg, uint32_t slot) {
    (void)arg;
    s.bodies[slot] = 0;
}

static void closed(uint32_t conn, uint32_t number) {
    if (s.conns[conn].number == number)
        s.conns[conn].number = CORE_NONE;
}

static void client_closed(void *arg, uint32_t client, const char *why) {
    (void)arg;
    EXPECT(why);
    closed(s.client_conn[client], client);
}

static void worker_closed(void *arg, uint32_t worker, const char *why) {
    (void)arg;
    EXPECT(why);
    closed(s.worker_conn[worker], worker);
    worker_dies(worker);
}

const struct core_ops sim_ops = {.to_worker = to_worker,
                                 .to_client = to_client,
                                 .forward = forward,
                                 .body = body,
                                 .quarantined = quarantined,
                                 .drop = drop,
                                 .client_closed = client_closed,
                                 .worker_closed = worker_closed};

/* ---------------------------------------------------------------- arriving at the core */

static void arrive_hello(uint32_t conn, const struct message *m) {
    struct conn *c = &s.conns[conn];
    bool known = c->number != CORE_NONE;
    uint64_t session = hash_next(&s.random) | 1;
    /* The first three share an account, which may hold less than others; one counts three times. */
    struct core_who who = {.account = conn < 3 ? 42 : 0,
                           .max_requests = conn < 3 ? 3 * TICKETS / 8 : 0,
                           .max_bytes = conn == 4 ? 8000 : 0,
                           .max_cost = conn == 4 ? 300 : 0,
                           .weight = conn == 3 ? 3 : 0};
    if (core_hello(s.core, &c->number, m->header.epoch, session, &who, s.now_us, NULL) != STATUS_OK)
        return;
    s.client_conn[c->number] = conn;
    (void)known;
    struct header welcome = {.type = WIRE_WELCOME, .epoch = core_session(s.core, c->number)};
    transmit(conn, false, welcome, 0);
}

static void arrive_ready(uint32_t conn, const struct message *m) {
    struct conn *c = &s.conns[conn];
    struct wire_model models[2] = {
        {.name = view_of(conn % 2 ? "a" : "b"), .tasks = 1U << WIRE_TASK_EMBED},
        {.name = view_of("c"), .tasks = 1U << WIRE_TASK_EMBED | 1U << WIRE_TASK_CLASSIFY},
    };
    struct wire_ready ready = {.uuid = m->tag,
                               .name = view_of("w"),
                               .models = models,
                               .n_models = conn % 3 ? 2 : 1,
                               .tier = view_of(conn % 2 ? "fast" : "standard"),
                               .threads = conn % 4};
    uint32_t number = c->number;
    if (core_ready(s.core, &number, &ready, m->header.credit, s.now_us, NULL) != STATUS_OK)
        return;
    c->number = number;
    s.worker_conn[number] = conn;
    struct header ok = {.type = WIRE_READY_OK, .epoch = core_cfg(s.core)->id};
    transmit(conn, false, ok, 0);
}

static void arrive_request(uint32_t conn, const struct message *m) {
    struct conn *c = &s.conns[conn];
    struct call *call = &c->calls[m->header.id % CALLS];
    if (call->id == m->header.id && !call->arrived_us)
        call->arrived_us = s.now_us;
    static unsigned char room[BODY_MAX];
    struct view bytes = body_of(m->tag, room);
    uint32_t slot = core_request(s.core, c->number, &m->header, bytes, s.now_us);
    if (slot != CORE_NONE) {
        EXPECT(slot < TICKETS && !s.bodies[slot]);
        s.bodies[slot] = m->tag;
        s.body_bytes[slot] = bytes.bytes;
    }
}

void arrive(const struct message *m) {
    uint32_t conn = m->conn;
    struct conn *c = &s.conns[conn];
    bool client = conn < CLIENTS;
    if (m->header.type == WIRE_HELLO) {
        arrive_hello(conn, m);
    } else if (m->header.type == WIRE_READY) {
        arrive_ready(conn, m);
    } else if (c->number == CORE_NONE) {
        transmit(conn, false, (struct header){.type = WIRE_WHO_ARE_YOU}, 0);
    } else if (client) {
        if (!core_client_heard(s.core, c->number, &m->header, s.now_us))
            return;
        if (m->header.type == WIRE_REQUEST)
            arrive_request(conn, m);
        else
            core_client_frame(s.core, c->number, &m->header, s.now_us);
    } else if (core_worker_heard(s.core, c->number, &m->header, s.now_us)) {
        if (m->header.type == WIRE_RESULT || m->header.type == WIRE_NACK)
            flight_ends(c->number, m->header.id);
        s.incoming = m->tag;
        core_worker_frame(s.core, c->number, &m->header, s.now_us);
        s.incoming = 0;
    }
}
