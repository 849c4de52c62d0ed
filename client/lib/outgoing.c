/* outgoing.c - from calls to frames: connections, HELLO and PING, requests, and the ends of calls.
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

static void release_parts(struct client *self, ember_call_t *call) {
    for (uint32_t i = 0; i < call->next_part; i++) {
        struct part *part = &call->parts[i];
        if (part->item.state == PENDING_IN_FLIGHT && part->item.session == self->now.session &&
            self->now.socket && call->kind == CALL_TASK) {
            struct header header = {.type = WIRE_CANCEL, .id = part->item.id};
            header.epoch = part->item.session;
            frame_send_dealer(self->now.socket, &header, NULL); /* best effort */
        }
        pending_remove(&self->pending, &part->item);
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
void client_old_close(struct client *self) {
    if (!self->old.socket)
        return;
    uint64_t session = self->old.session;
    conn_close(&self->old);
    pending_session_lost(&self->pending, session);
}

/* The connection is given up: what it owed is sent again elsewhere. */
void client_now_close(struct client *self) {
    uint64_t session = self->now.session;
    conn_close(&self->now);
    services_forget(&self->services);
    if (session)
        pending_session_lost(&self->pending, session);
}

static void open_now(struct client *self, uint64_t now_us) {
    struct err err;
    client_now_close(self);
    dial_opened(&self->dial, now_us);
    if (conn_open(&self->now, self->context, self->cfg.endpoints[self->dial.at], IN_FLIGHT_MAX + 8,
                  self->conns++, &err) != STATUS_OK) {
        snprintf(self->trouble, sizeof self->trouble, "%s", err.text);
        dial_fail(&self->dial, now_us);
    }
}

static enum frame_result send_out(struct client *self, const struct header *header,
                                  struct view body) {
    zmq_msg_t msg;
    if (!self->now.socket)
        return FRAME_GONE;
    if (!frame_body(&msg, body)) {
        self->again_us = clock_us() + AGAIN_US; /* nothing else would wake us for it */
        return FRAME_NONE;
    }
    self->again_us = 0;
    return frame_send_dealer(self->now.socket, header, &msg);
}

/* False: the socket does not take it yet. */
static bool send_hello(struct client *self) {
    struct wire_service_name want[SERVICES_MAX];
    struct wire_hello hello = {.protocol_min = WIRE_PROTOCOL,
                               .protocol_max = WIRE_PROTOCOL,
                               .name = view_of(self->cfg.name),
                               .version = view_of(EMBER_VERSION),
                               .want = want,
                               .client = self->uuid};
    hello.n_want = services_want(&self->services, want);
    struct header header = {.type = WIRE_HELLO, .epoch = self->now.session};
    if (session_hello_encode(&hello, &self->out) != STATUS_OK) {
        self->again_us = clock_us() + AGAIN_US;
        return false;
    }
    if (send_out(self, &header, wire_out_view(&self->out)) != FRAME_OK)
        return false;
    services_asked(&self->services);
    return true;
}

static void send_ping(struct client *self) {
    struct header header = {.type = WIRE_PING, .epoch = self->now.session};
    send_out(self, &header, view_make(NULL, 0));
}

/* Does what dial wants; true when HELLO waits for the socket to become writable. */
bool client_follow_dial(struct client *self, uint64_t now_us) {
    for (;;) {
        switch (dial_next(&self->dial, now_us)) {
        case DIAL_NOTHING:
            if (self->dial.state == DIAL_DOWN && self->now.socket)
                client_now_close(self);
            return false;
        case DIAL_OPEN:
            open_now(self, now_us);
            break;
        case DIAL_HELLO:
            if (!send_hello(self))
                return true;
            dial_greeted(&self->dial, now_us);
            break;
        case DIAL_PING:
            send_ping(self);
            dial_asked(&self->dial, now_us);
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

static enum frame_result send_part(struct client *self, struct part *part, uint16_t number,
                                   uint64_t now_us) {
    const ember_call_t *call = part->call;
    bool ping = call->kind == CALL_PING;
    struct header header = {.type = ping ? WIRE_PING : WIRE_REQUEST,
                            .flags = part->item.sendings ? WIRE_FLAG_RETRY : 0,
                            .lane = (uint8_t)call->lane,
                            .attempt = (uint16_t)(part->item.sendings + 1),
                            .id = part->item.id,
                            .epoch = self->now.session,
                            .budget_us = ping ? 0 : left_us(&part->item, now_us),
                            .service = number};
    return send_out(self, &header, view_make(part->body, part->body_bytes));
}

/* The broker spoke about the service and gave it no number. */
static void refuse_service(struct client *self, ember_call_t *call) {
    struct err err;
    err_set(&err, STATUS_RESOURCE_EXHAUSTED, "the broker has no room for another service ('%s')",
            self->services.list[call->service].model);
    client_finish_err(self, call, &err);
}

static enum frame_result send_describe(struct client *self, ember_call_t *call) {
    if (!send_hello(self)) /* the answer is its WELCOME */
        return FRAME_NONE;
    call->hello = self->services.hellos;
    return FRAME_OK;
}

/* One ready request: sent, parked or refused. False: the socket takes no more for now. */
static bool advance(struct client *self, struct part *part, uint64_t now_us) {
    ember_call_t *call = part->call;
    const struct service *service = &self->services.list[call->service];
    uint16_t number = 0;
    if (call->kind == CALL_TASK) {
        if (!service->asked && !send_hello(self))
            return false;
        if (!services_answered(&self->services, service)) {
            pending_park(&self->pending, &part->item);
            return true;
        }
        number = service->number;
        if (!number) {
            refuse_service(self, call);
            return true;
        }
    }
    enum frame_result sent = call->kind == CALL_DESCRIBE ? send_describe(self, call)
                                                         : send_part(self, part, number, now_us);
    if (sent != FRAME_OK)
        return false;
    dial_sent(&self->dial, part->item.deadline_us - now_us, now_us);
    pending_sent(&self->pending, &part->item, self->now.session, now_us);
    return true;
}

void client_send_ready(struct client *self, uint64_t now_us) {
    while (dial_may_send(&self->dial)) {
        struct pending_item *item = pending_next(&self->pending);
        if (!item || !advance(self, (struct part *)(void *)item, now_us))
            return;
    }
}

/* Begins parts of the call until its window is full; false without memory. */
bool client_widen(struct client *self, ember_call_t *call) {
    while (call->next_part < call->n_parts && call->n_open < self->cfg.call_window) {
        struct part *part = &call->parts[call->next_part];
        if (!pending_add(&self->pending, &part->item, call->deadline_us))
            return false;
        call->next_part++;
        call->n_open++;
    }
    return true;
}

void client_begin(struct client *self, ember_call_t *call) {
    struct err err;
    queue_push(&self->active, &call->active);
    if (call->kind == CALL_DESCRIBE || call->kind == CALL_PING)
        self->n_asking++;
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
