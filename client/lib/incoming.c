/* incoming.c - from frames to calls: a REPLY goes to its part; WELCOME, PONG, WHO_ARE_YOU and
 * GOAWAY go to dial. An answer is taken only from the session that was asked. */
#include "client_state.h"

#include "describe.h"

#include <stdio.h>

enum { LOOP_DRAIN = 256 }; /* messages taken from one socket per wake-up */

/* False without memory: what came cannot be read, and its sender is not to blame. */
static bool scratch(struct client *self, size_t need) {
    if (self->arena.size < need) {
        arena_done(&self->arena);
        if (!arena_init(&self->arena, need))
            return false;
    }
    arena_reset(&self->arena);
    return true;
}

/* A part is answered for good. */
static void part_done(struct client *self, ember_call_t *call) {
    call->n_open--;
    call->n_answered++;
    if (call->n_answered == call->n_parts) {
        static const struct ember_error fine = {.status = EMBER_OK, .item = -1};
        client_finish(self, call, &fine);
    } else if (!client_widen(self, call) && call->n_open == 0) {
        struct err err;
        err_set(&err, STATUS_RESOURCE_EXHAUSTED, "no room for another request");
        client_finish_err(self, call, &err);
    }
}

static void on_good_reply(struct client *self, struct part *part, struct view body) {
    ember_call_t *call = part->call;
    struct err err;
    enum status st = STATUS_OK;
    pending_remove(&self->pending, &part->item);
    if (call->kind == CALL_TASK)
        st = call_reply(part, body, &self->arena, &err);
    else if (call->kind == CALL_STATUS)
        st = describe_report(body, &self->arena, self->cfg.endpoints[self->dial.at], &call->report,
                             &err);
    if (st == STATUS_OK)
        part_done(self, call);
    else
        client_finish_err(self, call, &err);
}

static void on_bad_reply(struct client *self, struct part *part, enum status status,
                         struct view body, uint64_t now_us) {
    ember_call_t *call = part->call;
    struct ember_error error;
    call_error(part, status, body, &self->arena, &error);
    if (!(call->flags & EMBER_NO_RETRY) &&
        pending_refused(&self->pending, &part->item, status, error.retry_after_ms, now_us)) {
        call->refusal = error;
        return;
    }
    client_finish(self, call, &error);
}

static void on_unreadable(struct client *self, struct part *part) {
    struct err err;
    err_set(&err, STATUS_RESOURCE_EXHAUSTED, "no memory to read the answer");
    client_finish_err(self, part->call, &err);
}

static void on_reply(struct client *self, struct conn *conn, const struct header *header,
                     struct view body, uint64_t now_us) {
    struct pending_item *item = pending_find(&self->pending, header->id, header->epoch);
    if (!item || header->epoch != conn->session)
        return; /* late, twice, or of another session: whoever waited has its answer */
    struct part *part = (struct part *)(void *)item;
    if (part->call->kind != CALL_TASK && part->call->kind != CALL_STATUS)
        return;
    enum status status;
    if (!status_from_code(header->status, &status))
        status = STATUS_INTERNAL;
    bool task = part->call->kind == CALL_TASK;
    if (!scratch(self,
                 task ? codec_reply_arena_bytes(body.bytes) : session_arena_bytes(body.bytes)))
        on_unreadable(self, part);
    else if (status == STATUS_OK)
        on_good_reply(self, part, body);
    else
        on_bad_reply(self, part, status, body, now_us);
}

/* Calls that are answered by a message without their id: a PONG, or the WELCOME of their HELLO. */
static void answer_asking(struct client *self, enum call_kind kind, uint64_t now_us) {
    struct link *at = self->n_asking ? queue_head(&self->active) : NULL;
    while (at) {
        struct link *next = queue_next(&self->active, at);
        ember_call_t *call = QUEUE_ITEM(at, ember_call_t, active);
        struct pending_item *item = &call->parts[0].item;
        if (call->kind == kind && item->state == PENDING_IN_FLIGHT &&
            item->session == self->now.session &&
            (kind == CALL_PING || self->services.welcomes >= call->hello)) {
            if (kind == CALL_DESCRIBE)
                describe_service(&self->services.list[call->service], &call->described);
            call->round_trip_us = (uint32_t)(now_us - item->sent_us);
            pending_remove(&self->pending, item);
            part_done(self, call);
        }
        at = next;
    }
}

static void on_welcome(struct client *self, struct view body, uint64_t now_us) {
    struct wire_welcome welcome;
    if (self->dial.state != DIAL_GREETING && self->dial.state != DIAL_UP)
        return;
    if (!scratch(self, session_arena_bytes(body.bytes))) {
        snprintf(self->trouble, sizeof self->trouble, "no memory to read its greeting");
        dial_fail(&self->dial, now_us);
        return;
    }
    if (session_welcome_decode(body, &self->arena, &welcome, NULL) != STATUS_OK ||
        welcome.protocol != WIRE_PROTOCOL || welcome.session == 0) {
        snprintf(self->trouble, sizeof self->trouble, "it speaks another protocol");
        dial_fail(&self->dial, now_us);
        return;
    }
    if (self->now.session != welcome.session) { /* what the old session owed is lost */
        if (self->now.session)
            pending_session_lost(&self->pending, self->now.session);
        self->now.session = welcome.session;
    }
    self->trouble[0] = '\0';
    uint32_t window = welcome.limits.in_flight;
    self->pending.window = window && window < IN_FLIGHT_MAX ? window : IN_FLIGHT_MAX;
    services_welcome(&self->services, &welcome);
    dial_welcome(&self->dial, welcome.session, (uint64_t)welcome.heartbeat_ms * 1000, now_us);
    pending_unpark(&self->pending);
    answer_asking(self, CALL_DESCRIBE, now_us);
}

/* The broker forgot us, most likely because it is a new one: begin again on the same connection. */
static void on_unknown(struct client *self, const struct header *header, uint64_t now_us) {
    if (self->dial.state != DIAL_UP || (header->epoch && header->epoch != self->now.session))
        return;
    pending_session_lost(&self->pending, self->now.session);
    self->now.session = 0;
    services_forget(&self->services);
    dial_unknown(&self->dial, now_us);
}

static void on_goaway(struct client *self, uint64_t now_us) {
    if (self->dial.state == DIAL_UP && self->cfg.n_endpoints > 1) {
        client_old_close(self);
        self->old = self->now;
        self->old.until_us = now_us + OLD_US;
        self->now = (struct conn){0};
        services_forget(&self->services);
        dial_fail(&self->dial, now_us);
    } else if (self->dial.state == DIAL_UP) {
        dial_goaway(&self->dial, now_us);
    } else {
        snprintf(self->trouble, sizeof self->trouble, "it is shutting down");
        dial_fail(&self->dial, now_us);
    }
}

/* A WELCOME with a status is none: the broker is full, or we cannot agree. Another may do
 * better. */
static void on_refused_hello(struct client *self, const struct header *header, struct view body,
                             uint64_t now_us) {
    struct wire_error told;
    enum status status;
    if (!status_from_code(header->status, &status))
        status = STATUS_INTERNAL;
    bool readable = scratch(self, session_arena_bytes(body.bytes)) &&
                    codec_error_decode(body, &self->arena, &told, NULL) == STATUS_OK;
    snprintf(self->trouble, sizeof self->trouble, "%s: %.*s", status_name(status),
             readable ? (int)told.message.bytes : 0, readable ? told.message.data : "");
    dial_fail(&self->dial, now_us);
}

static void on_message(struct client *self, struct conn *conn, const struct header *header,
                       struct view body, uint64_t now_us) {
    bool current = conn == &self->now;
    if (current)
        dial_heard(&self->dial, now_us);
    if (header->type == WIRE_PING) {
        struct header pong = {.type = WIRE_PONG, .id = header->id, .epoch = conn->session};
        frame_send_dealer(conn->socket, &pong, NULL);
    } else if (header->type == WIRE_REPLY) {
        on_reply(self, conn, header, body, now_us);
    } else if (current && header->type == WIRE_PONG) {
        answer_asking(self, CALL_PING, now_us);
    } else if (current && header->type == WIRE_WELCOME && header->status != STATUS_OK) {
        on_refused_hello(self, header, body, now_us);
    } else if (current && header->type == WIRE_WELCOME) {
        on_welcome(self, body, now_us);
    } else if (current && header->type == WIRE_WHO_ARE_YOU) {
        on_unknown(self, header, now_us);
    } else if (current && header->type == WIRE_GOAWAY) {
        on_goaway(self, now_us);
    }
}

void client_receive(struct client *self, struct conn *conn, uint64_t now_us) {
    for (uint32_t i = 0; i < LOOP_DRAIN && conn->socket; i++) {
        struct header header;
        zmq_msg_t body;
        enum header_verdict verdict;
        enum frame_result got = frame_recv_dealer(conn->socket, &header, &body, &verdict);
        if (got == FRAME_BAD)
            continue;
        if (got != FRAME_OK)
            return;
        on_message(self, conn, &header, frame_view(&body), now_us);
        zmq_msg_close(&body);
    }
}
