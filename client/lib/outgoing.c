/* outgoing.c - from calls to frames: connections, HELLO, PING and BYE, requests, and the ends of
 * calls.
 *
 *     call --widen--> parts --advance--> REQUEST
 *                               '------> parked, with a HELLO, while the broker has not yet
 *                               numbered
 *                                        the service */
#include "client_state.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

/* ---- ends of calls */

/* Copies of a request that ended are dropped wherever they are; best effort. */
void client_cancel_copies(struct client *self, struct part *part) {
    struct pending_copy copy;
    while (pending_copy_left(&part->item, &copy)) {
        void *socket = self->brokers[copy.broker].conn.socket;
        if (part->call->kind != CALL_TASK || !socket || !pool_up(&self->pool, copy.broker) ||
            self->pool.brokers[copy.broker].dial.session != copy.session)
            continue;
        struct header header = {.type = WIRE_CANCEL, .id = part->item.id, .epoch = copy.session};
        frame_send_dealer(socket, &header, NULL);
    }
}

void client_cancel_given_up(struct client *self) {
    struct pending_copy copy;
    uint64_t id;
    if (!pending_given_up(&self->pending, &id, &copy) || !pool_up(&self->pool, copy.broker) ||
        self->pool.brokers[copy.broker].dial.session != copy.session)
        return;
    struct header header = {.type = WIRE_CANCEL, .id = id, .epoch = copy.session};
    frame_send_dealer(self->brokers[copy.broker].conn.socket, &header, NULL);
}

static void release_parts(struct client *self, ember_call_t *call) {
    for (uint32_t i = 0; i < call->next_part; i++) {
        pending_remove(&self->pending, &call->parts[i].item);
        client_cancel_copies(self, &call->parts[i]);
    }
}

/* Forgets the call, then tells it. Its requests that still run are cancelled. */
void client_finish(struct client *self, ember_call_t *call, const struct ember_error *error) {
    release_parts(self, call);
    if (call->kind == CALL_DESCRIBE || call->kind == CALL_PING)
        self->n_asking--;
    queue_remove(&self->active, &call->active);
    atomic_fetch_sub_explicit(&self->bytes, call->bytes, memory_order_relaxed);
    atomic_fetch_sub_explicit(&self->n_calls, 1, memory_order_relaxed);
    call_end(call, error, clock_us());
    call_unref(call);
}

/* Some sending of some request was not answered by "not now". */
bool client_may_have_run(const ember_call_t *call) {
    for (uint32_t i = 0; i < call->next_part; i++)
        if (call->parts[i].item.sendings > call->parts[i].item.refusals)
            return true;
    return false;
}

void client_finish_err(struct client *self, ember_call_t *call, const struct err *err) {
    struct ember_error error;
    error_from(&error, err, -1);
    error.may_have_run = client_may_have_run(call);
    client_finish(self, call, &error);
}

/* ---- connections */

void client_lost(struct client *self, uint32_t at, uint64_t now_us) {
    services_forget(&self->brokers[at].services);
    pending_lost(&self->pending, at, now_us);
    pending_unpark(&self->pending); /* what waited for its numbers may go elsewhere */
}

static void open_one(struct client *self, uint32_t at, uint64_t now_us) {
    struct err err;
    struct client_broker *broker = &self->brokers[at];
    pool_opened(&self->pool, at, now_us);
    if (conn_open(&broker->conn, self->context, self->pool.brokers[at].endpoint, POOL_WINDOW + 8,
                  self->conns++, self->cfg.has_keys ? &self->cfg.keys : NULL, &err) != STATUS_OK)
        pool_failed(&self->pool, at, err.text, now_us);
}

static void send_bye(struct client *self, uint32_t at) {
    struct header header = {.type = WIRE_BYE, .epoch = self->pool.brokers[at].dial.session};
    frame_send_dealer(self->brokers[at].conn.socket, &header, NULL);
}

static void close_one(struct client *self, uint32_t at, uint64_t now_us) {
    struct conn *conn = &self->brokers[at].conn;
    bool ours = conn->socket && pool_up(&self->pool, at);
    if (ours)
        send_bye(self, at);
    conn_close(conn, ours);
    client_lost(self, at, now_us);
    pool_closed(&self->pool, at, now_us);
}

void client_leave(struct client *self) {
    for (uint32_t i = 0; i < POOL_MAX; i++) {
        struct conn *conn = &self->brokers[i].conn;
        bool up = conn->socket && pool_up(&self->pool, i);
        if (up)
            send_bye(self, i);
        conn_close(conn, up);
    }
}

static enum frame_result send_out(struct client *self, uint32_t at, const struct header *header,
                                  struct view body) {
    zmq_msg_t msg;
    void *socket = self->brokers[at].conn.socket;
    if (!socket)
        return FRAME_GONE;
    if (!frame_body(&msg, body)) {
        self->again_us = clock_us() + AGAIN_US; /* nothing else would wake us for it */
        return FRAME_NONE;
    }
    self->again_us = 0;
    return frame_send_dealer(socket, header, &msg);
}

/* False: the socket does not take it yet. */
static bool send_hello(struct client *self, uint32_t at) {
    struct services *services = &self->brokers[at].services;
    struct wire_service_name want[SERVICES_MAX];
    struct wire_hello hello = {.protocol_min = WIRE_PROTOCOL,
                               .protocol_max = WIRE_PROTOCOL,
                               .name = view_of(self->cfg.name),
                               .version = view_of(EMBER_VERSION),
                               .want = want,
                               .client = self->uuid};
    services_follow(services, &self->services);
    hello.n_want = services_want(services, want);
    struct header header = {.type = WIRE_HELLO, .epoch = self->pool.brokers[at].dial.session};
    if (session_hello_encode(&hello, &self->out) != STATUS_OK) {
        self->again_us = clock_us() + AGAIN_US;
        return false;
    }
    if (send_out(self, at, &header, wire_out_view(&self->out)) != FRAME_OK)
        return false;
    services_asked(services);
    return true;
}

static void send_ping(struct client *self, uint32_t at, uint64_t now_us) {
    struct header header = {
        .type = WIRE_PING, .id = now_us, .epoch = self->pool.brokers[at].dial.session};
    send_out(self, at, &header, view_make(NULL, 0));
}

void client_follow_pool(struct client *self, uint64_t now_us) {
    uint32_t at;
    self->stuck = 0;
    for (;;) {
        switch (pool_next(&self->pool, self->stuck, &at, now_us)) {
        case POOL_NOTHING:
            return;
        case POOL_OPEN:
            open_one(self, at, now_us);
            break;
        case POOL_HELLO:
            if (send_hello(self, at))
                pool_greeted(&self->pool, at, now_us);
            else
                self->stuck |= 1u << at;
            break;
        case POOL_PING:
            send_ping(self, at, now_us);
            pool_asked(&self->pool, at, now_us);
            break;
        case POOL_CLOSE:
            close_one(self, at, now_us);
            break;
        }
    }
}

/* ---- requests */

static uint32_t left_us(const struct pending_item *item, uint64_t now_us) {
    uint64_t left = item->deadline_us - now_us;
    uint64_t most = (uint64_t)LIMIT_DEADLINE_MS * 1000;
    return (uint32_t)(left < most ? left : most);
}

static uint8_t flags_of(const struct part *part) {
    uint8_t flags = part->item.sendings ? WIRE_FLAG_RETRY : 0;
    return part->call->alone ? flags | WIRE_FLAG_ALONE : flags;
}

static enum frame_result send_part(struct client *self, struct part *part, uint32_t at,
                                   uint16_t number, uint64_t now_us) {
    const ember_call_t *call = part->call;
    bool ping = call->kind == CALL_PING;
    struct header header = {.type = ping ? WIRE_PING : WIRE_REQUEST,
                            .flags = flags_of(part),
                            .lane = (uint8_t)call->lane,
                            .attempt = (uint16_t)(part->item.sendings + 1),
                            .id = part->item.id,
                            .epoch = self->pool.brokers[at].dial.session,
                            .budget_us = ping ? 0 : left_us(&part->item, now_us),
                            .service = number};
    return send_out(self, at, &header, view_make(part->body, part->body_bytes));
}

/* The broker spoke about the service and gave it no number. */
static void refuse_service(struct client *self, ember_call_t *call) {
    struct err err;
    err_set(&err, STATUS_RESOURCE_EXHAUSTED, "the broker has no room for another service ('%s')",
            self->services.list[call->service].model);
    client_finish_err(self, call, &err);
}

static enum frame_result send_describe(struct client *self, uint32_t at, ember_call_t *call) {
    if (!send_hello(self, at)) /* the answer is its WELCOME */
        return FRAME_NONE;
    call->hello = self->brokers[at].services.hellos;
    return FRAME_OK;
}

/* One ready request: sent, parked or refused. False: the socket takes no more. */
static bool advance(struct client *self, struct part *part, uint32_t at, uint64_t now_us) {
    ember_call_t *call = part->call;
    struct services *services = &self->brokers[at].services;
    services_follow(services, &self->services);
    const struct service *service = &services->list[call->service];
    uint16_t number = 0;
    if (call->kind == CALL_TASK) {
        if (!service->asked && !send_hello(self, at))
            return false;
        if (!services_answered(services, service)) {
            pending_park(&self->pending, &part->item, now_us);
            return true;
        }
        number = service->number;
        if (!number) {
            refuse_service(self, call);
            return true;
        }
    }
    enum frame_result sent = call->kind == CALL_DESCRIBE
                                 ? send_describe(self, at, call)
                                 : send_part(self, part, at, number, now_us);
    if (sent != FRAME_OK)
        return false;
    pending_sent(&self->pending, &part->item, at, self->pool.brokers[at].dial.session, now_us);
    client_cancel_given_up(self);
    return true;
}

/* A socket that refuses a message of an open session has lost its connection (its queue has room
 * for more than the broker's window): there is no use in waiting for the monitor to tell. */
bool client_send_ready(struct client *self, uint64_t now_us) {
    struct pending_item *item;
    uint32_t at;
    while ((item = pending_next(&self->pending, &at, now_us)))
        if (!advance(self, (struct part *)(void *)item, at, now_us)) {
            if (self->again_us)
                return true;
            pool_failed(&self->pool, at, "the connection is gone", now_us);
            return false;
        }
    return true;
}

/* Begins parts of the call until its window is full; false without memory. */
bool client_widen(struct client *self, ember_call_t *call) {
    while (call->next_part < call->n_parts && call->n_open < self->cfg.call_window) {
        struct part *part = &call->parts[call->next_part];
        if (!pending_add(&self->pending, &part->item, call->kind != CALL_TASK, call->deadline_us))
            return false;
        call->next_part++;
        call->n_open++;
    }
    return true;
}

/* What is known of the i-th broker; `view_there` false: there are fewer. */
static void look(struct client *self, ember_call_t *call, uint64_t now_us) {
    uint32_t i = call->view_of;
    pool_pick(&self->pool, 0,
              now_us); /* so that who is used is decided, should nobody have asked */
    for (uint32_t at = 0; at < self->pool.n; at++) {
        const struct pool_broker *b = &self->pool.brokers[at];
        if (!b->endpoint[0] || i--)
            continue;
        struct ember_broker_view *v = &call->view;
        snprintf(v->endpoint, sizeof v->endpoint, "%s", b->endpoint);
        snprintf(v->state, sizeof v->state, "%s", pool_state_name(&self->pool, at));
        snprintf(v->why, sizeof v->why, "%s", b->why);
        v->cost = b->cost;
        v->discovered = !b->given;
        v->used = pool_used(&self->pool, at, now_us);
        v->latency_us = b->latency_us;
        v->in_flight = b->outstanding;
        v->answered = b->replies;
        call->view_there = true;
        return;
    }
}

void client_begin(struct client *self, ember_call_t *call, uint64_t now_us) {
    static const struct ember_error fine = {.status = EMBER_OK, .item = -1};
    struct err err;
    queue_push(&self->active, &call->active);
    if (call->kind == CALL_DESCRIBE || call->kind == CALL_PING)
        self->n_asking++;
    if (call->kind == CALL_VIEW) {
        look(self, call, now_us);
        client_finish(self, call, &fine);
        return;
    }
    call->service = 0;
    if (call->task != WIRE_TASK_NONE)
        call->service = services_index(&self->services, call->model, call->task);
    if (call->service == SERVICE_NONE)
        err_set(&err, STATUS_RESOURCE_EXHAUSTED, "more than %d models and tasks in one program",
                SERVICES_MAX);
    else if (client_widen(self, call) || call->n_open > 0)
        return;
    else
        err_set(&err, STATUS_RESOURCE_EXHAUSTED, "no room for another request");
    client_finish_err(self, call, &err);
}
