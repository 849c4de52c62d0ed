/* broker_sim_peers.c - clients that call, repeat, cancel and vanish, and workers that compute, give
 * back, freeze, die and come again. A client checks each answer it gets against its call. */
#include "broker_sim.h"

/* ---------------------------------------------------------------- clients */

void client_receives(uint32_t conn, const struct message *m) {
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

void client_step(uint32_t conn) {
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

void worker_receives(uint32_t conn, const struct message *m) {
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

void worker_step(uint32_t conn) {
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
