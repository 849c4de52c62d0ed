/* incoming.c - from frames to calls: a REPLY goes to its part; WELCOME, PONG, WHO_ARE_YOU and
 * GOAWAY go to the pool. An answer is taken only from a broker and session that was asked. */
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

static void on_good_reply(struct client *self, uint32_t at, struct part *part, struct view body,
                          uint64_t now_us) {
    ember_call_t *call = part->call;
    struct err err;
    enum status st = STATUS_OK;
    uint64_t sent_us = pending_sent_us(&part->item, at);
    uint32_t worker_us = 0;
    pending_answered(&self->pending, &part->item, at);
    client_cancel_copies(self, part);
    if (call->kind == CALL_TASK)
        st = call_reply(part, body, &self->arena, &worker_us, &err);
    else if (call->kind == CALL_STATUS)
        st = describe_report(body, &self->arena, self->pool.brokers[at].endpoint, &call->report,
                             &err);
    if (call->kind == CALL_TASK)
        pool_replied(&self->pool, at, sent_us, worker_us, now_us);
    if (st == STATUS_OK)
        part_done(self, call);
    else
        client_finish_err(self, call, &err);
}

static void on_bad_reply(struct client *self, uint32_t at, struct part *part, enum status status,
                         struct view body, uint64_t now_us) {
    ember_call_t *call = part->call;
    struct ember_error error;
    call_error(part, status, body, &self->arena, &error);
    pool_answered(&self->pool, at, now_us);
    if (!(call->flags & EMBER_NO_RETRY) &&
        pending_refused(&self->pending, &part->item, at, status, error.retry_after_ms, now_us) ==
            PENDING_TRY_AGAIN) {
        client_cancel_given_up(self);
        call->refusal = error;
        return;
    }
    client_cancel_given_up(self);
    client_finish(self, call, &error);
}

static void on_unreadable(struct client *self, struct part *part) {
    struct err err;
    err_set(&err, STATUS_RESOURCE_EXHAUSTED, "no memory to read the answer");
    client_finish_err(self, part->call, &err);
}

static void on_reply(struct client *self, uint32_t at, const struct header *header,
                     struct view body, uint64_t now_us) {
    struct pending_item *item = pending_find(&self->pending, header->id, at, header->epoch);
    if (!item)
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
        on_good_reply(self, at, part, body, now_us);
    else
        on_bad_reply(self, at, part, status, body, now_us);
}

/* Calls that are answered by a message without their id: a PONG, or the WELCOME of their HELLO. */
static void answer_asking(struct client *self, uint32_t at, enum call_kind kind, uint64_t now_us) {
    const struct services *services = &self->brokers[at].services;
    struct link *link = self->n_asking ? queue_head(&self->active) : NULL;
    while (link) {
        struct link *next = queue_next(&self->active, link);
        ember_call_t *call = QUEUE_ITEM(link, ember_call_t, active);
        struct pending_item *item = &call->parts[0].item;
        uint64_t sent_us = call->kind == kind ? pending_sent_us(item, at) : 0;
        if (item->state == PENDING_IN_FLIGHT && sent_us &&
            (kind == CALL_PING || services->welcomes >= call->hello)) {
            if (kind == CALL_DESCRIBE)
                describe_service(&services->list[call->service], &call->described);
            call->round_trip_us = (uint32_t)(now_us - sent_us);
            pending_answered(&self->pending, item, at);
            part_done(self, call);
        }
        link = next;
    }
}

static void on_welcome(struct client *self, uint32_t at, struct view body, uint64_t now_us) {
    const struct dial *dial = &self->pool.brokers[at].dial;
    struct wire_welcome welcome;
    if (dial->state != DIAL_GREETING && dial->state != DIAL_UP)
        return;
    if (!scratch(self, session_arena_bytes(body.bytes))) {
        pool_failed(&self->pool, at, "no memory to read its greeting", now_us);
        return;
    }
    if (session_welcome_decode(body, &self->arena, &welcome, NULL) != STATUS_OK ||
        welcome.protocol != WIRE_PROTOCOL || welcome.session == 0) {
        pool_failed(&self->pool, at, "it speaks another protocol", now_us);
        return;
    }
    if (dial->session && dial->session != welcome.session)
        pending_lost(&self->pending, at, now_us); /* what the old session owed */
    services_welcome(&self->brokers[at].services, &welcome);
    struct pool_welcome told = {.session = welcome.session,
                                .id = welcome.broker,
                                .heartbeat_us = (uint64_t)welcome.heartbeat_ms * 1000,
                                .in_flight = welcome.limits.in_flight,
                                .brokers = welcome.brokers,
                                .n_brokers = welcome.n_brokers};
    pool_welcome(&self->pool, at, &told, now_us);
    pending_unpark(&self->pending);
    answer_asking(self, at, CALL_DESCRIBE, now_us);
}

/* The broker forgot us, most likely because it is a new one: begin again on the same connection. */
static void on_unknown(struct client *self, uint32_t at, const struct header *header,
                       uint64_t now_us) {
    const struct dial *dial = &self->pool.brokers[at].dial;
    if (dial->state != DIAL_UP || (header->epoch && header->epoch != dial->session))
        return;
    client_lost(self, at, now_us);
    pool_unknown(&self->pool, at, now_us);
}

/* A WELCOME with a status is none: the broker is full, or we cannot agree. Another may do
 * better. */
static void on_refused_hello(struct client *self, uint32_t at, const struct header *header,
                             struct view body, uint64_t now_us) {
    struct wire_error told;
    enum status status;
    char why[POOL_WHY_BYTES];
    if (!status_from_code(header->status, &status))
        status = STATUS_INTERNAL;
    bool readable = scratch(self, session_arena_bytes(body.bytes)) &&
                    codec_error_decode(body, &self->arena, &told, NULL) == STATUS_OK;
    snprintf(why, sizeof why, "%s: %.*s", status_name(status),
             readable ? (int)told.message.bytes : 0, readable ? told.message.data : "");
    if (status == STATUS_UNAUTHENTICATED)
        pool_denied(&self->pool, at, "it does not admit our key", now_us);
    else
        pool_failed(&self->pool, at, why, now_us);
}

static void on_message(struct client *self, uint32_t at, const struct header *header,
                       struct view body, uint64_t now_us) {
    if (header->type == WIRE_PONG)
        pool_pong(&self->pool, at, header->id, now_us);
    else
        pool_heard(&self->pool, at, now_us);
    switch (header->type) {
    case WIRE_REPLY:
        on_reply(self, at, header, body, now_us);
        break;
    case WIRE_PING: {
        struct header pong = {
            .type = WIRE_PONG, .id = header->id, .epoch = self->pool.brokers[at].dial.session};
        frame_send_dealer(self->brokers[at].conn.socket, &pong, NULL);
        break;
    }
    case WIRE_PONG:
        answer_asking(self, at, CALL_PING, now_us);
        break;
    case WIRE_WELCOME:
        if (header->status != STATUS_OK)
            on_refused_hello(self, at, header, body, now_us);
        else
            on_welcome(self, at, body, now_us);
        break;
    case WIRE_WHO_ARE_YOU:
        on_unknown(self, at, header, now_us);
        break;
    case WIRE_GOAWAY:
        pool_goaway(&self->pool, at, now_us);
        break;
    default: /* of another side, or of a version to come */
        break;
    }
}

void client_receive(struct client *self, uint32_t at, uint64_t now_us) {
    struct conn *conn = &self->brokers[at].conn;
    for (uint32_t i = 0; i < LOOP_DRAIN && conn->socket && !self->pool.brokers[at].close_due; i++) {
        struct header header;
        zmq_msg_t body;
        enum header_verdict verdict;
        enum frame_result got =
            frame_recv_dealer(conn->socket, &conn->in_a_row, &header, &body, &verdict);
        if (got == FRAME_BAD)
            continue;
        if (got != FRAME_OK)
            return;
        on_message(self, at, &header, frame_view(&body), now_us);
        zmq_msg_close(&body);
    }
}
