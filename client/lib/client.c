/* client.c - the loop. It decides nothing that pending.c, dial.c and services.c can decide: it carries.
 *
 *     inbox --> begin calls, cancel calls
 *     dial  --> open a socket, HELLO, PING
 *     pending, services --> REQUEST
 *     sockets --> REPLY: to its part; WELCOME, PONG, WHO_ARE_YOU, GOAWAY: to dial
 *     monitor --> "connection refused, dropped": to dial, without waiting for silence
 *     clock --> deadlines
 *
 * Two connections: `now` for everything new, and `old`, a broker that said GOAWAY and still owes answers, which
 * lives until they are there or OLD_US are over. Each request knows the session it was sent in, so an answer
 * is taken only from the session that was asked.
 *
 * Why a fresh socket after each failure instead of libzmq's own reconnect: what libzmq had queued for the dead
 * peer dies with the socket, host names are looked up again, and a socket that connected to itself (a dead port
 * of the ephemeral range on loopback) cannot survive. */
#include "client.h"

#include "describe.h"
#include "dial.h"
#include "services.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/thread.h"
#include "wire/frame.h"
#include "wire/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    IN_FLIGHT_MAX = 4096, /* of one session; a broker may allow less */
    OLD_US = 3 * 1000 * 1000,
    LOOP_DRAIN = 256, /* messages taken from one socket per wake-up */
};

struct conn {
    void *socket, *monitor; /* NULL: none */
    uint64_t session;
    uint64_t until_us; /* old only */
};

struct client {
    struct client_cfg cfg;
    atomic_uint refs;
    atomic_size_t bytes; /* bodies of unfinished calls */
    atomic_uint n_calls;
    pthread_t thread;
    int wake_fd;

    pthread_mutex_t lock; /* guards the inbox */
    struct queue starting, cancelling;
    bool stopping;

    /* the loop's */
    void *context;
    struct conn now, old;
    struct dial dial;
    struct pending pending;
    struct services services;
    struct queue active; /* calls, oldest first */
    uint32_t n_describing;
    struct arena arena;
    struct wire_out out;
    uint64_t monitors; /* number of the next monitor's name */
    char trouble[ERR_TEXT_MAX];
};

/* ------------------------------------------------------------------------------------ ends of calls */

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
static void finish(struct client *self, ember_call_t *call, const struct ember_error *error) {
    release_parts(self, call);
    if (call->kind == CALL_DESCRIBE)
        self->n_describing--;
    queue_remove(&self->active, &call->active);
    atomic_fetch_sub_explicit(&self->bytes, call->bytes, memory_order_relaxed);
    atomic_fetch_sub_explicit(&self->n_calls, 1, memory_order_relaxed);
    call_end(call, error, clock_us());
    call_unref(call);
}

/* Some sending of some request was not answered by "not now". */
static bool may_have_run(const ember_call_t *call) {
    for (uint32_t i = 0; i < call->next_part; i++)
        if (call->parts[i].item.sendings > call->parts[i].item.refusals)
            return true;
    return false;
}

static void finish_err(struct client *self, ember_call_t *call, const struct err *err) {
    struct ember_error error;
    error_from(&error, err, -1);
    error.may_have_run = may_have_run(call);
    finish(self, call, &error);
}

static const char *endpoints_text(const struct client *self, char *out, size_t bytes) {
    size_t used = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < self->cfg.n_endpoints && used < bytes; i++) {
        int n = snprintf(out + used, bytes - used, "%s%s", i ? ", " : "", self->cfg.endpoints[i]);
        used += n > 0 ? (size_t)n : 0;
    }
    return out;
}

/* Time is over: says what stood in the way. */
static void finish_late(struct client *self, ember_call_t *call, uint64_t now_us) {
    char where[ERR_TEXT_MAX];
    uint64_t waited_ms = (now_us - call->started_us) / 1000;
    struct ember_error error;
    bool sent = may_have_run(call);
    if (call->refusal.status != EMBER_OK) {
        error = call->refusal;
    } else if (self->dial.state != DIAL_UP) {
        error_set(&error, sent ? STATUS_DEADLINE_EXCEEDED : STATUS_UNAVAILABLE, -1,
                  "no broker answers at %s%s%s", endpoints_text(self, where, sizeof where),
                  self->trouble[0] ? ": " : "", self->trouble);
    } else if (self->dial.leaving) {
        error_set(&error, STATUS_UNAVAILABLE, -1, "the broker at %s is shutting down",
                  self->cfg.endpoints[self->dial.at]);
    } else {
        error_set(&error, STATUS_DEADLINE_EXCEEDED, -1, "no answer within %llu ms from %s",
                  (unsigned long long)waited_ms, self->cfg.endpoints[self->dial.at]);
    }
    error.may_have_run |= sent;
    finish(self, call, &error);
}

/* ---------------------------------------------------------------------------------------- connections */

static void conn_close(struct conn *conn) {
    if (conn->monitor) {
        zmq_socket_monitor(conn->socket, NULL, 0);
        zmq_close(conn->monitor);
    }
    if (conn->socket)
        zmq_close(conn->socket);
    *conn = (struct conn){0};
}

/* Without a monitor everything still works, only slower: silence tells, too. */
static void conn_watch(struct client *self, struct conn *conn) {
    char name[64];
    snprintf(name, sizeof name, "inproc://ember-monitor-%llu",
             (unsigned long long)self->monitors++);
    int events = ZMQ_EVENT_CONNECT_RETRIED | ZMQ_EVENT_DISCONNECTED;
    if (zmq_socket_monitor(conn->socket, name, events) != 0)
        return;
    conn->monitor = zmq_socket(self->context, ZMQ_PAIR);
    if (conn->monitor && zmq_connect(conn->monitor, name) != 0) {
        zmq_close(conn->monitor);
        conn->monitor = NULL;
    }
    if (!conn->monitor)
        zmq_socket_monitor(conn->socket, NULL, 0);
}

static void old_close(struct client *self) {
    if (!self->old.socket)
        return;
    uint64_t session = self->old.session;
    conn_close(&self->old);
    pending_session_lost(&self->pending, session);
}

/* The connection is given up: what it owed is sent again elsewhere. */
static void now_close(struct client *self) {
    uint64_t session = self->now.session;
    conn_close(&self->now);
    services_forget(&self->services);
    if (session)
        pending_session_lost(&self->pending, session);
}

static void open_now(struct client *self, uint64_t now_us) {
    now_close(self);
    const char *endpoint = self->cfg.endpoints[self->dial.at];
    struct err err;
    self->now.socket = frame_socket(self->context, FRAME_CLIENT, IN_FLIGHT_MAX + 8, &err);
    if (!self->now.socket) {
        snprintf(self->trouble, sizeof self->trouble, "%s", err.text);
        dial_opened(&self->dial, now_us);
        dial_fail(&self->dial, now_us);
        return;
    }
    conn_watch(self, &self->now);
    dial_opened(&self->dial, now_us);
    if (zmq_connect(self->now.socket, endpoint) != 0) { /* a host name that is not known */
        snprintf(self->trouble, sizeof self->trouble, "%s", zmq_strerror(zmq_errno()));
        dial_fail(&self->dial, now_us);
    }
}

static enum frame_result send_out(struct client *self, const struct header *header,
                                  struct view body) {
    zmq_msg_t msg;
    if (!self->now.socket)
        return FRAME_GONE;
    if (!frame_body(&msg, body))
        return FRAME_NONE;
    return frame_send_dealer(self->now.socket, header, &msg);
}

/* False: the socket does not take it yet. */
static bool send_hello(struct client *self) {
    struct wire_service_name want[SERVICES_MAX];
    struct wire_hello hello = {.protocol_min = WIRE_PROTOCOL,
                               .protocol_max = WIRE_PROTOCOL,
                               .name = view_of(self->cfg.name),
                               .version = view_of(EMBER_VERSION),
                               .want = want};
    hello.n_want = services_want(&self->services, want);
    struct header header = {.type = WIRE_HELLO, .epoch = self->now.session};
    if (session_hello_encode(&hello, &self->out) != STATUS_OK)
        return false;
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
static bool follow_dial(struct client *self, uint64_t now_us) {
    for (;;) {
        switch (dial_next(&self->dial, now_us)) {
        case DIAL_NOTHING:
            if (self->dial.state == DIAL_DOWN && self->now.socket)
                now_close(self);
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

/* ------------------------------------------------------------------------------------------- requests */

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
    finish_err(self, call, &err);
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

static void send_ready(struct client *self, uint64_t now_us) {
    while (dial_may_send(&self->dial)) {
        struct pending_item *item = pending_next(&self->pending);
        if (!item || !advance(self, (struct part *)(void *)item, now_us))
            return;
    }
}

/* Begins parts of the call until its window is full; false without memory. */
static bool widen(struct client *self, ember_call_t *call) {
    while (call->next_part < call->n_parts && call->n_open < self->cfg.call_window) {
        struct part *part = &call->parts[call->next_part];
        if (!pending_add(&self->pending, &part->item, call->deadline_us))
            return false;
        call->next_part++;
        call->n_open++;
    }
    return true;
}

static void begin(struct client *self, ember_call_t *call) {
    struct err err;
    queue_push(&self->active, &call->active);
    if (call->kind == CALL_DESCRIBE)
        self->n_describing++;
    call->service = 0;
    if (call->task != WIRE_TASK_NONE)
        call->service = services_index(&self->services, call->model, call->task);
    if (call->service == SERVICE_NONE)
        err_set(&err, STATUS_RESOURCE_EXHAUSTED, "more than %d models and tasks in one program",
                SERVICES_MAX);
    else if (widen(self, call) || call->n_open > 0)
        return;
    else
        err_set(&err, STATUS_RESOURCE_EXHAUSTED, "no room for another request");
    finish_err(self, call, &err);
}

/* -------------------------------------------------------------------------------------------- replies */

static void scratch(struct client *self, size_t body_bytes) {
    size_t need = codec_arena_bytes(body_bytes);
    if (self->arena.size < need) {
        arena_done(&self->arena);
        arena_init(&self->arena, need); /* without memory it stays empty and decoding says so */
    }
    arena_reset(&self->arena);
}

/* A part is answered for good. */
static void part_done(struct client *self, ember_call_t *call) {
    call->n_open--;
    call->n_answered++;
    if (call->n_answered == call->n_parts) {
        static const struct ember_error fine = {.status = EMBER_OK, .item = -1};
        finish(self, call, &fine);
    } else if (!widen(self, call) && call->n_open == 0) {
        struct err err;
        err_set(&err, STATUS_RESOURCE_EXHAUSTED, "no room for another request");
        finish_err(self, call, &err);
    }
}

static void on_good_reply(struct client *self, struct part *part, struct view body,
                          uint64_t now_us) {
    ember_call_t *call = part->call;
    struct err err;
    enum status st = STATUS_OK;
    pending_remove(&self->pending, &part->item);
    if (call->kind == CALL_TASK)
        st = call_reply(part, body, &self->arena, &err);
    else if (call->kind == CALL_STATUS)
        st = describe_report(body, &self->arena, self->cfg.endpoints[self->dial.at], &call->report,
                             &err);
    call->round_trip_us = (uint32_t)(now_us - part->item.sent_us);
    if (st == STATUS_OK)
        part_done(self, call);
    else
        finish_err(self, call, &err);
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
    finish(self, call, &error);
}

static void on_reply(struct client *self, struct conn *conn, const struct header *header,
                     struct view body, uint64_t now_us) {
    struct pending_item *item = pending_find(&self->pending, header->id, header->epoch);
    if (!item || header->epoch != conn->session)
        return; /* late, twice, or of another session: whoever waited has its answer */
    struct part *part = (struct part *)(void *)item;
    enum status status;
    if (!status_from_code(header->status, &status))
        status = STATUS_INTERNAL;
    bool pong = header->type == WIRE_PONG;
    if (pong != (part->call->kind == CALL_PING) || part->call->kind == CALL_DESCRIBE)
        return;
    scratch(self, body.bytes);
    if (pong || status == STATUS_OK)
        on_good_reply(self, part, body, now_us);
    else
        on_bad_reply(self, part, status, body, now_us);
}

/* Calls that only want to know what stands behind a name end with the WELCOME they asked for. */
static void answer_describing(struct client *self) {
    struct link *at = queue_head(&self->active);
    while (at && self->n_describing > 0) {
        struct link *next = queue_next(&self->active, at);
        ember_call_t *call = QUEUE_ITEM(at, ember_call_t, active);
        if (call->kind == CALL_DESCRIBE && call->parts[0].item.state == PENDING_IN_FLIGHT &&
            self->services.welcomes >= call->hello) {
            describe_service(&self->services.list[call->service], &call->described);
            pending_remove(&self->pending, &call->parts[0].item);
            part_done(self, call);
        }
        at = next;
    }
}

static void on_welcome(struct client *self, struct view body, uint64_t now_us) {
    struct wire_welcome welcome;
    if (self->dial.state != DIAL_GREETING && self->dial.state != DIAL_UP)
        return;
    scratch(self, body.bytes);
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
    answer_describing(self);
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
        old_close(self);
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

/* HELLO itself was refused. */
static void on_refused_hello(struct client *self, const struct header *header, struct view body,
                             uint64_t now_us) {
    struct wire_error told;
    enum status status;
    if (!status_from_code(header->status, &status) || status == STATUS_OK)
        return;
    scratch(self, body.bytes);
    bool readable = codec_error_decode(body, &self->arena, &told, NULL) == STATUS_OK;
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
    } else if (header->type == WIRE_REPLY && current && self->dial.state == DIAL_GREETING &&
               header->id == 0) {
        on_refused_hello(self, header, body, now_us);
    } else if (header->type == WIRE_REPLY || header->type == WIRE_PONG) {
        on_reply(self, conn, header, body, now_us);
    } else if (current && header->type == WIRE_WELCOME) {
        on_welcome(self, body, now_us);
    } else if (current && header->type == WIRE_WHO_ARE_YOU) {
        on_unknown(self, header, now_us);
    } else if (current && header->type == WIRE_GOAWAY) {
        on_goaway(self, now_us);
    }
}

static void receive(struct client *self, struct conn *conn, uint64_t now_us) {
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

/* --------------------------------------------------------------------------------------------- monitor */

/* Takes one event off a monitor; 0 when there is none. */
static uint16_t monitor_event(void *monitor) {
    uint16_t event = 0;
    uint8_t bytes[6];
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    if (zmq_msg_recv(&frame, monitor, ZMQ_DONTWAIT) >= 0 && zmq_msg_size(&frame) == sizeof bytes) {
        memcpy(bytes, zmq_msg_data(&frame), sizeof bytes);
        memcpy(&event, bytes, sizeof event);
        while (zmq_msg_more(&frame))
            if (zmq_msg_recv(&frame, monitor, ZMQ_DONTWAIT) < 0)
                break;
    }
    zmq_msg_close(&frame);
    return event;
}

static void watch(struct client *self, uint64_t now_us) {
    uint16_t event;
    while (self->now.monitor && (event = monitor_event(self->now.monitor)) != 0) {
        bool dropped = event == ZMQ_EVENT_DISCONNECTED;
        /* With one endpoint libzmq's own dialling is as good as ours. */
        bool refused = event == ZMQ_EVENT_CONNECT_RETRIED && self->cfg.n_endpoints > 1;
        if (!dropped && !refused)
            continue;
        dial_fail(&self->dial, now_us);
        now_close(self);
    }
    while (self->old.monitor && (event = monitor_event(self->old.monitor)) != 0)
        if (event == ZMQ_EVENT_DISCONNECTED)
            old_close(self);
}

/* ------------------------------------------------------------------------------------------------ time */

static void expire(struct client *self, uint64_t now_us) {
    struct pending_item *item;
    while ((item = pending_expired(&self->pending, now_us)))
        finish_late(self, ((struct part *)(void *)item)->call, now_us);
    struct link *head;
    while (self->cfg.give_up_us && self->dial.state != DIAL_UP &&
           (head = queue_head(&self->active))) {
        ember_call_t *call = QUEUE_ITEM(head, ember_call_t, active);
        if (now_us < call->started_us + self->cfg.give_up_us ||
            now_us < self->dial.up_us + self->cfg.give_up_us)
            break;
        finish_late(self, call, now_us);
    }
    if (self->old.socket) {
        struct link *first = queue_head(&self->pending.in_flight);
        bool owes =
            first && QUEUE_ITEM(first, struct pending_item, link)->session == self->old.session;
        if (!owes || now_us >= self->old.until_us)
            old_close(self);
    }
    if (queue_empty(&self->pending.in_flight))
        dial_idle(&self->dial);
}

static uint64_t sooner(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static long sleep_ms(const struct client *self, uint64_t now_us) {
    uint64_t wake = sooner(pending_wake_us(&self->pending), dial_wake_us(&self->dial));
    if (self->old.socket)
        wake = sooner(wake, self->old.until_us);
    struct link *head = queue_head(&self->active);
    if (self->cfg.give_up_us && self->dial.state != DIAL_UP && head) {
        uint64_t started = QUEUE_ITEM(head, ember_call_t, active)->started_us;
        uint64_t base = started > self->dial.up_us ? started : self->dial.up_us;
        wake = sooner(wake, base + self->cfg.give_up_us);
    }
    if (wake <= now_us)
        return 0;
    uint64_t ms = (wake - now_us + 999) / 1000;
    return ms < 60000 ? (long)ms : 60000;
}

/* ------------------------------------------------------------------------------------------------ inbox */

static void cancel_call(struct client *self, ember_call_t *call) {
    if (queue_has(&call->active)) {
        struct ember_error error;
        error_set(&error, STATUS_CANCELLED, -1, "the caller took it back");
        error.may_have_run = may_have_run(call);
        finish(self, call, &error);
    }
    call_unref(call); /* the cancelling's own */
}

/* Moves everything in; false when the client is to stop. */
static bool take_inbox(struct client *self) {
    uint64_t count;
    (void)!read(self->wake_fd, &count, sizeof count);
    struct queue starting, cancelling;
    queue_init(&starting);
    queue_init(&cancelling);
    pthread_mutex_lock(&self->lock);
    struct link *link;
    while ((link = queue_pop(&self->starting)))
        queue_push(&starting, link);
    while ((link = queue_pop(&self->cancelling)))
        queue_push(&cancelling, link);
    bool stopping = self->stopping;
    pthread_mutex_unlock(&self->lock);
    while ((link = queue_pop(&starting)))
        begin(self, QUEUE_ITEM(link, ember_call_t, starting));
    while ((link = queue_pop(&cancelling)))
        cancel_call(self, QUEUE_ITEM(link, ember_call_t, cancelling));
    return !stopping;
}

static void wake(struct client *self) {
    uint64_t one = 1;
    (void)!write(self->wake_fd, &one, sizeof one);
}

enum status client_start(struct client *self, ember_call_t *call, struct err *err) {
    if (atomic_fetch_add(&self->n_calls, 1) >= CLIENT_CALLS_MAX) {
        atomic_fetch_sub(&self->n_calls, 1);
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "%d calls are unfinished", CLIENT_CALLS_MAX);
    }
    size_t before = atomic_fetch_add(&self->bytes, call->bytes);
    if (before > 0 && before + call->bytes > self->cfg.memory_max) {
        atomic_fetch_sub(&self->bytes, call->bytes);
        atomic_fetch_sub(&self->n_calls, 1);
        return err_set(err, STATUS_RESOURCE_EXHAUSTED,
                       "unfinished calls hold %zu bytes of texts, the limit is %llu", before,
                       (unsigned long long)self->cfg.memory_max);
    }
    call->client = self;
    atomic_fetch_add_explicit(&self->refs, 1, memory_order_relaxed);
    call_ref(call);
    pthread_mutex_lock(&self->lock);
    bool first = queue_empty(&self->starting) && queue_empty(&self->cancelling);
    queue_push(&self->starting, &call->starting);
    pthread_mutex_unlock(&self->lock);
    if (first)
        wake(self);
    return STATUS_OK;
}

void client_cancel(ember_call_t *call) {
    struct client *self = call->client;
    pthread_mutex_lock(&self->lock);
    bool first = false;
    if (!self->stopping && !queue_has(&call->cancelling)) {
        first = queue_empty(&self->starting) && queue_empty(&self->cancelling);
        call_ref(call);
        queue_push(&self->cancelling, &call->cancelling);
    }
    pthread_mutex_unlock(&self->lock);
    if (first)
        wake(self);
}

/* ------------------------------------------------------------------------------------------------- loop */

static void end_all(struct client *self) {
    struct link *head;
    while ((head = queue_head(&self->active))) {
        ember_call_t *call = QUEUE_ITEM(head, ember_call_t, active);
        struct ember_error error;
        error_set(&error, STATUS_CANCELLED, -1, "the client was closed");
        error.may_have_run = may_have_run(call);
        finish(self, call, &error);
    }
}

static void wait_for_events(struct client *self, bool greeting, uint64_t now_us) {
    zmq_pollitem_t items[5] = {{.fd = self->wake_fd, .events = ZMQ_POLLIN}};
    int n = 1;
    const struct conn *conns[] = {&self->now, &self->old};
    for (int i = 0; i < 2; i++) {
        if (conns[i]->socket)
            items[n++] = (zmq_pollitem_t){
                .socket = conns[i]->socket,
                .events = (short)(ZMQ_POLLIN | (i == 0 && greeting ? ZMQ_POLLOUT : 0))};
        if (conns[i]->monitor)
            items[n++] = (zmq_pollitem_t){.socket = conns[i]->monitor, .events = ZMQ_POLLIN};
    }
    zmq_poll(items, n, sleep_ms(self, now_us));
}

static void *run(void *arg) {
    struct client *self = arg;
    uint64_t now_us = clock_us();
    dial_init(&self->dial, self->cfg.n_endpoints, hash_entropy64(), now_us);
    while (take_inbox(self)) {
        now_us = clock_us();
        watch(self, now_us);
        receive(self, &self->now, now_us);
        receive(self, &self->old, now_us);
        expire(self, now_us);
        bool greeting = follow_dial(self, now_us);
        send_ready(self, now_us);
        wait_for_events(self, greeting, now_us);
    }
    end_all(self);
    conn_close(&self->now);
    conn_close(&self->old);
    zmq_ctx_term(self->context);
    return NULL;
}

enum status client_new(const struct client_cfg *cfg, struct client **out, struct err *err) {
    struct client *self = calloc(1, sizeof *self);
    if (!self)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for a client");
    self->cfg = *cfg;
    atomic_init(&self->refs, 1);
    pthread_mutex_init(&self->lock, NULL);
    queue_init(&self->starting);
    queue_init(&self->cancelling);
    queue_init(&self->active);
    pending_init(&self->pending, IN_FLIGHT_MAX, hash_entropy64());
    self->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    self->context = frame_context();
    enum status st = STATUS_OK;
    if (self->wake_fd < 0 || !self->context)
        st = err_errno(err, STATUS_RESOURCE_EXHAUSTED, "open a client");
    if (st == STATUS_OK)
        st = thread_start(&self->thread, "ember-client", run, self, err);
    if (st != STATUS_OK) {
        if (self->context)
            zmq_ctx_term(self->context);
        client_unref(self);
        return st;
    }
    *out = self;
    return STATUS_OK;
}

void client_stop(struct client *self) {
    pthread_mutex_lock(&self->lock);
    self->stopping = true;
    pthread_mutex_unlock(&self->lock);
    wake(self);
    pthread_join(self->thread, NULL);
}

void client_unref(struct client *self) {
    if (atomic_fetch_sub_explicit(&self->refs, 1, memory_order_acq_rel) != 1)
        return;
    pending_done(&self->pending);
    arena_done(&self->arena);
    wire_out_done(&self->out);
    if (self->wake_fd >= 0)
        close(self->wake_fd);
    pthread_mutex_destroy(&self->lock);
    free(self);
}
