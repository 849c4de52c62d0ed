/* broker_sim_test.c - the broker's core among simulated clients, workers and a network that
 * misbehaves.
 *
 *     clients ◄── delay, loss at disconnect ──► core ◄── delay, loss, freezes, restarts ──► workers
 *
 * One seed decides everything, so a failure replays:  broker_sim_test --seed 17 --steps 200000
 * After every step core_check() walks the tables. Beyond that the simulation asserts what a client
 * sees:
 *   - one answer per call, for a call it made, on the session it made it on;
 *   - an OK answer carries the result of that very call's payload;
 *   - DEADLINE_EXCEEDED comes at the deadline, neither before nor more than a tick after it;
 *   - nobody is given more than its window, nor a fourth execution of one request;
 *   - a body is refused only after two workers died that had it;
 *   - second executions keep to their budget;
 *   - once faults stop and callers are done, nothing is left: no ticket, no body.
 * Messages of one connection keep their order; those of different connections do not. */
#include "base/check.h"
#include "base/hash.h"
#include "core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CLIENTS = 6,
    WORKERS = 5,
    CONNS = CLIENTS + WORKERS,
    TICKETS = 64,
    CALLS = 256, /* remembered per client, by id */
    MESSAGES = 16384,
    JOBS = 64,      /* at one worker */
    FLIGHTS = 4096, /* executions that the core holds to be under way */
    DIED = 1024,    /* payloads remembered that were at a worker that died */
    PAYLOADS = 6,   /* that many clients ask for at the same time */
    BODY_MIN = 8,
    BODY_MAX = 4096,
    POISON = 499, /* one request in so many */
    MS = 1000,
    BEAT_US = 500 * MS,
};

struct call {
    uint64_t id, tag, sent_us, arrived_us;
    uint32_t budget_us;
    bool open, resent, cancelled;
};

struct job {
    uint64_t ticket, tag, due_us, deadline_us;
};

struct flight {
    uint64_t ticket, tag;
    uint32_t worker;
};

struct conn { /* connection i: client i, or worker i - CLIENTS */
    bool up;
    uint64_t lag_until_us; /* down, but sends are still swallowed */
    uint32_t life;         /* grows with each connection; messages of older ones are lost */
    uint32_t number;       /* at the core, or CORE_NONE */
    uint64_t last_in_us, last_out_us; /* arrivals, so that order is kept */
    uint64_t retry_us;                /* connect or introduce itself again */
    uint64_t epoch;                   /* of the session, 0: none yet */
    /* a client */
    uint64_t next_id, next_call_us;
    struct call calls[CALLS];
    /* a worker */
    uint64_t uuid, frozen_until_us, stuck_until_us, next_beat_us;
    struct job jobs[JOBS];
    uint32_t n_jobs;
    uint16_t credit;
    bool leaving;
};

struct message {
    uint64_t at_us, order, tag;
    uint32_t conn, life;
    bool to_core;
    struct header header;
};

static struct sim {
    uint64_t seed, random, now_us, order, jump_us;
    core_t *core;
    struct conn conns[CONNS];
    uint32_t client_conn[CLIENTS + 1], worker_conn[WORKERS + 4]; /* by the core's numbers */
    uint64_t bodies[TICKETS];                                    /* tag by slot, 0: none */
    size_t body_bytes[TICKETS];
    uint64_t incoming; /* tag of the RESULT being handled */
    struct message heap[MESSAGES];
    uint32_t n_heap;
    bool healed;
    uint32_t services[8]; /* numbers that clients ask for */
    uint64_t outcomes[STATUS_UNAUTHENTICATED + 1];
    uint64_t faults, moved;
    struct flight flights[FLIGHTS];
    uint32_t n_flights;
    struct {
        uint64_t tag, n;
    } died[DIED];
    uint32_t n_died;
    uint64_t payloads[PAYLOADS];
    uint64_t recovered, hedged, coalesced, poisoned;
} s;

#define EXPECT(cond)                                                                               \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: %s does not hold (--seed %llu, at %llu us)\n", __FILE__,       \
                    __LINE__, #cond, (unsigned long long)s.seed, (unsigned long long)s.now_us);    \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static uint32_t below(uint32_t n) {
    return hash_below(&s.random, n);
}

static bool chance(uint32_t in_thousand) {
    return below(1000) < in_thousand;
}

static uint64_t answer_of(uint64_t tag) {
    return hash_mix(tag) | 1;
}

/* Equal tags have equal lengths, and bodies that begin with them. */
static size_t bytes_of(uint64_t tag) {
    uint64_t random = tag;
    uint32_t most = hash_below(&random, 10) ? 300 : BODY_MAX - BODY_MIN;
    return BODY_MIN + hash_below(&random, most);
}

static struct view body_of(uint64_t tag, unsigned char *room) {
    memcpy(room, &tag, sizeof tag);
    return view_make(room, bytes_of(tag));
}

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

/* ---------------------------------------------------------------- the network */

static bool earlier(const struct message *a, const struct message *b) {
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void post(struct message m) {
    EXPECT(s.n_heap < MESSAGES);
    uint32_t i = s.n_heap++;
    while (i && earlier(&m, &s.heap[(i - 1) / 2])) {
        s.heap[i] = s.heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    s.heap[i] = m;
}

static struct message fetch(void) {
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

static void transmit(uint32_t conn, bool to_core, struct header header, uint64_t tag) {
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

static void disconnect(uint32_t conn) {
    struct conn *c = &s.conns[conn];
    c->up = false;
    c->life++; /* what is on the way is lost */
    c->lag_until_us = s.now_us + below(3 * MS);
    c->retry_us = s.now_us + below(800 * MS);
    c->epoch = 0;
    s.faults++;
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

static void arrive(const struct message *m) {
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

/* ---------------------------------------------------------------- clients */

static void client_receives(uint32_t conn, const struct message *m) {
    struct conn *c = &s.conns[conn];
    switch (m->header.type) {
    case WIRE_WELCOME:
        if (c->epoch != m->header.epoch)
            memset(c->calls, 0, sizeof c->calls); /* a new session: older calls are over */
        c->epoch = m->header.epoch;
        return;
    case WIRE_WHO_ARE_YOU:
        c->epoch = 0;
        c->retry_us = s.now_us;
        return;
    case WIRE_PING:
        transmit(conn, true, (struct header){.type = WIRE_PONG, .epoch = c->epoch}, 0);
        return;
    case WIRE_REPLY:
        break;
    default:
        EXPECT(m->header.type == WIRE_PONG || m->header.type == WIRE_GOAWAY);
        return;
    }
    if (m->header.epoch != c->epoch)
        return; /* of the session before */
    struct call *call = &c->calls[m->header.id % CALLS];
    if (call->id > m->header.id)
        return; /* the second answer to a repeated call, long forgotten */
    EXPECT(call->id == m->header.id);
    EXPECT(call->open || call->resent);
    enum status status;
    EXPECT(status_from_code(m->header.status, &status));
    if (status == STATUS_OK)
        EXPECT(m->tag == answer_of(call->tag));
    EXPECT(status != STATUS_CANCELLED || call->cancelled);
    if (call->open)
        s.outcomes[status]++;
    call->open = false;
}

static void send_call(uint32_t conn, struct call *call, uint8_t flags, uint16_t service,
                      uint8_t lane) {
    struct header header = {.type = WIRE_REQUEST,
                            .flags = flags,
                            .lane = lane,
                            .id = call->id,
                            .epoch = s.conns[conn].epoch,
                            .budget_us = call->budget_us,
                            .service = service};
    transmit(conn, true, header, call->tag);
}

static void client_calls(uint32_t conn) {
    struct conn *c = &s.conns[conn];
    uint32_t burst = chance(30) ? 20 : 1 + below(2);
    uint32_t storm_us = chance(50) ? 5 * MS : 0; /* all of a burst with one short deadline */
    for (uint32_t i = 0; i < burst; i++) {
        uint64_t id = ++c->next_id;
        struct call *call = &c->calls[id % CALLS];
        if (call->open)
            return; /* more than it can remember: stop asking */
        *call = (struct call){.id = id, .tag = hash_next(&s.random) | 1, .sent_us = s.now_us};
        uint64_t *shared = &s.payloads[below(PAYLOADS)];
        if (chance(50) || !*shared)
            *shared = call->tag;
        if (chance(300))
            call->tag = *shared;
        call->budget_us = storm_us ? storm_us : 1 + below(chance(100) ? 3 * MS : 2000 * MS);
        call->open = true;
        uint16_t service = (uint16_t)s.services[below(6)];
        send_call(conn, call, chance(100) ? WIRE_FLAG_ALONE : 0, service,
                  (uint8_t)below(WIRE_LANES));
        if (chance(40)) {
            call->resent = true;
            send_call(conn, call, WIRE_FLAG_RETRY, service, 0);
        }
        if (chance(40)) {
            call->cancelled = true;
            struct header cancel = {.type = WIRE_CANCEL, .id = id, .epoch = c->epoch};
            transmit(conn, true, cancel, 0);
        }
    }
}

static void client_step(uint32_t conn) {
    struct conn *c = &s.conns[conn];
    if (!c->up && s.now_us >= c->retry_us) {
        if (c->number != CORE_NONE) { /* the broker never noticed the old connection go */
            core_client_lost(s.core, c->number, "disconnected", s.now_us);
            EXPECT(c->number == CORE_NONE);
        }
        c->up = true;
        c->last_in_us = c->last_out_us = s.now_us;
        c->next_id = 0;
        c->retry_us = s.now_us;
    }
    if (c->up && !c->epoch && s.now_us >= c->retry_us) {
        transmit(conn, true, (struct header){.type = WIRE_HELLO}, 0);
        c->retry_us = s.now_us + 500 * MS;
    }
    if (c->epoch && !s.healed && s.now_us >= c->next_call_us) {
        client_calls(conn);
        c->next_call_us = s.now_us + below(chance(20) ? 300 * MS : 6 * MS);
    }
    if (c->up && !s.healed && chance(1) && chance(150))
        disconnect(conn);
    if (c->epoch && !s.healed && chance(1) && chance(100)) { /* forgets its session */
        c->epoch = 0;
        c->retry_us = s.now_us;
    }
}

/* ---------------------------------------------------------------- workers */

static void worker_says(uint32_t conn, uint8_t type, uint8_t status, uint64_t id, uint64_t tag) {
    struct conn *c = &s.conns[conn];
    struct header header = {
        .type = type, .status = status, .credit = c->credit, .id = id, .epoch = c->epoch};
    transmit(conn, true, header, tag);
}

static void worker_receives(uint32_t conn, const struct message *m) {
    struct conn *c = &s.conns[conn];
    if (m->header.type == WIRE_READY_OK) {
        c->epoch = m->header.epoch;
    } else if (m->header.type == WIRE_WHO_ARE_YOU) {
        c->epoch = 0;
        c->retry_us = s.now_us;
    } else if (m->header.type == WIRE_PING) {
        worker_says(conn, WIRE_PONG, 0, 0, 0);
    } else if (m->header.type == WIRE_DISPATCH && m->tag % POISON == 1 && !s.healed) {
        disconnect(conn); /* a request that kills whoever opens it */
    } else if (m->header.type == WIRE_DISPATCH) {
        if (c->n_jobs == JOBS || (!s.healed && chance(15))) {
            worker_says(conn, WIRE_NACK, 0, m->header.id, 0);
            return;
        }
        uint64_t us = 200 + below(chance(50) ? 400 * MS : 8 * MS);
        c->jobs[c->n_jobs++] = (struct job){.ticket = m->header.id,
                                            .tag = m->tag,
                                            .due_us = s.now_us + us,
                                            .deadline_us = s.now_us + m->header.budget_us};
    } else if (m->header.type == WIRE_CANCEL && chance(500)) {
        for (uint32_t i = 0; i < c->n_jobs; i++)
            if (c->jobs[i].ticket == m->header.id)
                c->jobs[i--] = c->jobs[--c->n_jobs];
    }
}

static void worker_connects(uint32_t conn) {
    struct conn *c = &s.conns[conn];
    if (c->number != CORE_NONE && chance(500)) { /* seen to go; otherwise READY finds it there */
        core_worker_lost(s.core, c->number, "disconnected", s.now_us);
        EXPECT(c->number == CORE_NONE);
    }
    bool same_process = chance(300);
    c->number = CORE_NONE; /* a new connection: the broker knows no session for it */
    c->up = true;
    c->leaving = false;
    c->last_in_us = c->last_out_us = s.now_us;
    c->retry_us = s.now_us;
    if (!same_process) {
        c->uuid = hash_next(&s.random) | 1;
        c->n_jobs = 0;
    }
}

static void worker_faults(uint32_t conn) {
    struct conn *c = &s.conns[conn];
    if (chance(1) && chance(300))
        disconnect(conn); /* crash or a broken line */
    else if (chance(1) && chance(150))
        c->frozen_until_us = s.now_us + below(4000 * MS);
    else if (chance(1) && chance(300))
        c->stuck_until_us = s.now_us + below(3000 * MS);
    else if (chance(1) && chance(100) && c->epoch && !c->leaving) {
        c->leaving = true;
        worker_says(conn, WIRE_DRAIN, 0, 0, 0);
    }
    if (chance(5))
        c->credit = (uint16_t)(chance(50) ? 0 : 1 + below(60));
}

static void worker_step(uint32_t conn) {
    struct conn *c = &s.conns[conn];
    if (s.healed && c->credit < 20)
        c->credit = 40;
    if (!c->up && s.now_us >= c->retry_us)
        worker_connects(conn);
    if (!c->up || s.now_us < c->frozen_until_us)
        return;
    if (!c->epoch && s.now_us >= c->retry_us) {
        struct header ready = {.type = WIRE_READY, .credit = c->credit};
        transmit(conn, true, ready, c->uuid);
        c->retry_us = s.now_us + 300 * MS;
    }
    if (c->epoch && s.now_us >= c->next_beat_us) {
        worker_says(conn, WIRE_HEARTBEAT, 0, 0, 0);
        c->next_beat_us = s.now_us + BEAT_US;
    }
    for (uint32_t i = 0; i < c->n_jobs; i++) {
        struct job job = c->jobs[i];
        bool late = s.now_us >= job.deadline_us;
        if (s.now_us < c->stuck_until_us || (job.due_us > s.now_us && !late))
            continue;
        c->jobs[i--] = c->jobs[--c->n_jobs];
        uint8_t status = late         ? STATUS_DEADLINE_EXCEEDED
                         : chance(20) ? STATUS_INVALID_ARGUMENT
                         : chance(5)  ? STATUS_INTERNAL
                                      : STATUS_OK;
        for (uint32_t copies = chance(20) ? 2 : 1; copies; copies--)
            worker_says(conn, WIRE_RESULT, status, job.ticket, answer_of(job.tag));
    }
    if (c->leaving && !c->n_jobs && c->epoch) {
        worker_says(conn, WIRE_BYE, 0, 0, 0);
        c->leaving = false;
        c->epoch = 0;
        c->uuid = hash_next(&s.random) | 1; /* its successor, on the same connection */
        c->retry_us = s.now_us + 100 * MS;
    }
    if (!s.healed)
        worker_faults(conn);
}

/* ---------------------------------------------------------------- running */

static void start(uint64_t seed) {
    memset(&s, 0, sizeof s);
    s.seed = seed;
    s.random = hash_mix(seed);
    s.now_us = 1000 * MS;
    struct core_cfg cfg = {.max_clients = CLIENTS + 1,
                           .max_workers = WORKERS + 4,
                           .max_services = 16,
                           .max_tickets = TICKETS,
                           .max_queued = TICKETS / 2,
                           .max_queued_bytes = 40000,
                           .max_queued_cost = seed % 2 ? 600 : 0,
                           .max_client_tickets = TICKETS / 4,
                           .max_client_bytes = 30000,
                           .queue_target_us = 100 * MS,
                           .heartbeat_us = BEAT_US,
                           .no_worker_grace_us = 1000 * MS,
                           .drain_us = 500 * MS,
                           .hedge = seed % 2,
                           .coalesce = seed % 4 != 0,
                           .id = hash_next(&s.random) | 1,
                           .seed = seed};
    if (seed % 3 == 0)
        snprintf(cfg.default_model, sizeof cfg.default_model, "c");
    struct core_ops ops = {.to_worker = to_worker,
                           .to_client = to_client,
                           .forward = forward,
                           .body = body,
                           .quarantined = quarantined,
                           .drop = drop,
                           .client_closed = client_closed,
                           .worker_closed = worker_closed};
    CHECK(core_new(&cfg, &ops, s.now_us, &s.core, NULL) == STATUS_OK);
    static const struct {
        const char *model;
        enum wire_task task;
    } wants[] = {{"a", WIRE_TASK_EMBED}, {"b", WIRE_TASK_EMBED},   {"c", WIRE_TASK_EMBED},
                 {"", WIRE_TASK_EMBED},  {"", WIRE_TASK_CLASSIFY}, {"never", WIRE_TASK_EMBED}};
    for (size_t i = 0; i < sizeof wants / sizeof *wants; i++)
        s.services[i] = core_number(s.core, view_of(wants[i].model), wants[i].task);
    for (uint32_t i = 0; i < CONNS; i++) {
        s.conns[i].number = CORE_NONE;
        s.conns[i].uuid = hash_next(&s.random) | 1;
        s.conns[i].retry_us = s.now_us + below(300 * MS);
        s.conns[i].credit = (uint16_t)(1 + below(60));
    }
}

static void deliver(const struct message *m) {
    struct conn *c = &s.conns[m->conn];
    if (m->life != c->life)
        return;
    if (m->to_core)
        arrive(m);
    else if (m->conn < CLIENTS)
        client_receives(m->conn, m);
    else if (s.now_us < c->frozen_until_us) { /* waits in its socket */
        struct message later = *m;
        later.at_us = c->frozen_until_us;
        post(later);
    } else
        worker_receives(m->conn, m);
}

/* One step: to the next message or tick, at most a millisecond on. */
static void step(void) {
    uint64_t next = s.now_us + MS;
    if (s.n_heap && s.heap[0].at_us < next)
        next = s.heap[0].at_us;
    if (core_next_us(s.core) < next)
        next = core_next_us(s.core);
    if (next > s.now_us)
        s.now_us = next;
    if (!s.healed && chance(1) && chance(40)) { /* the broker's host stops for a while */
        s.now_us += below(3000 * MS);
        s.jump_us = s.now_us;
    }
    for (int i = 0; i < 16 && s.n_heap && s.heap[0].at_us <= s.now_us; i++) {
        struct message m = fetch();
        deliver(&m);
        core_check(s.core);
    }
    for (uint32_t i = 0; i < CONNS; i++) {
        if (i < CLIENTS)
            client_step(i);
        else
            worker_step(i);
    }
    core_tick(s.core, s.now_us);
    core_check(s.core);
    core_dispatch(s.core, s.now_us);
    core_check(s.core);
    if (!s.healed && chance(2))
        core_sweep_workers(s.core, s.now_us);
    if (!s.healed && chance(2))
        core_sweep_clients(s.core, s.now_us);
}

static void check_all_answered(void) {
    for (uint32_t i = 0; i < CLIENTS; i++)
        for (uint32_t k = 0; k < CALLS; k++)
            EXPECT(!s.conns[i].calls[k].open || !s.conns[i].epoch);
    for (uint32_t i = 0; i < TICKETS; i++)
        EXPECT(!s.bodies[i]);
    EXPECT(core_queued(s.core) == 0 && core_in_flight(s.core) == 0);
}

static void run(uint64_t seed, uint64_t steps, bool drain) {
    start(seed);
    for (uint64_t i = 0; i < steps; i++)
        step();
    s.healed = true;
    if (drain)
        core_drain(s.core, s.now_us);
    uint64_t until = s.now_us + 6000 * MS; /* the longest budget, and the longest freeze */
    while (s.now_us < until)
        step();
    check_all_answered();
    const struct core_stats *stats = core_stats(s.core);
    s.recovered = stats->recovered;
    s.hedged = stats->hedged;
    s.coalesced = stats->coalesced;
    s.poisoned = stats->poisoned;
    EXPECT(s.recovered + s.hedged <= stats->received / 10 + 10 * (s.now_us / (1000 * MS) + 10));
    EXPECT(!drain || core_drained(s.core));
    core_destroy(&s.core);
}

static uint64_t argument(int argc, char **argv, const char *name, uint64_t fallback) {
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return strtoull(argv[i + 1], NULL, 10);
    return fallback;
}

int main(int argc, char **argv) {
    uint64_t seed = argument(argc, argv, "--seed", 1);
    uint64_t steps = argument(argc, argv, "--steps", 25000);
    uint64_t seeds = argument(argc, argv, "--seeds", argc > 1 ? 1 : 40);
    uint64_t ok = 0, all = 0, faults = 0, moved = 0;
    uint64_t recovered = 0, hedged = 0, coalesced = 0, poisoned = 0;
    uint64_t outcomes[STATUS_UNAUTHENTICATED + 1] = {0};
    for (uint64_t i = 0; i < seeds; i++) {
        run(seed + i, steps, (seed + i) % 2 == 0);
        for (int k = 0; k <= STATUS_UNAUTHENTICATED; k++) {
            outcomes[k] += s.outcomes[k];
            all += s.outcomes[k];
        }
        faults += s.faults;
        moved += s.moved;
        recovered += s.recovered;
        hedged += s.hedged;
        coalesced += s.coalesced;
        poisoned += s.poisoned;
    }
    ok = outcomes[STATUS_OK];
    printf("%llu steps of %llu seeds: %llu calls answered, %llu disconnects, %llu repeats\n",
           (unsigned long long)(steps * seeds), (unsigned long long)seeds, (unsigned long long)all,
           (unsigned long long)faults, (unsigned long long)moved);
    printf("  %llu recovered, %llu hedged, %llu coalesced, %llu poisoned\n",
           (unsigned long long)recovered, (unsigned long long)hedged, (unsigned long long)coalesced,
           (unsigned long long)poisoned);
    for (int k = 0; k <= STATUS_UNAUTHENTICATED; k++)
        if (outcomes[k])
            printf("  %-20s %llu\n", status_name((enum status)k), (unsigned long long)outcomes[k]);
    /* A simulation that never gets to the interesting part would prove nothing. */
    bool covers = seeds < 8 || (ok > all / 10 && outcomes[STATUS_DEADLINE_EXCEEDED] &&
                                outcomes[STATUS_RESOURCE_EXHAUSTED] && outcomes[STATUS_CANCELLED] &&
                                outcomes[STATUS_INTERNAL] && outcomes[STATUS_NOT_FOUND] &&
                                outcomes[STATUS_UNAVAILABLE] && moved && recovered && hedged &&
                                coalesced && poisoned);
    if (!covers)
        fprintf(stderr, "the runs do not cover what they should\n");
    return covers ? 0 : 1;
}
