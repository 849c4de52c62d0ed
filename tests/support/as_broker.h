/* as_broker.h - a test that is a worker's broker: a real ROUTER, raw frames, any number of brokers
 * side by side for one ember-worker-fake.
 *
 *     static struct as_broker a;
 *     as_broker_open(&a, 1);                         a.endpoint is for the worker's --broker
 *     as_broker_wait(&a, WIRE_READY, 5000);
 *     as_broker_welcome(&a, 100);                    READY_OK with heartbeats each 100 ms
 *     as_broker_embed(&a, ticket, text);             DISPATCH
 *     as_broker_read(&a, 50);                        for so long: counts what comes
 *
 * Reading answers HEARTBEAT with PONG, whose demand is a.demand. What came stands in the struct:
 * the last header of each type, how many, the last heartbeat, and what became of each ticket.
 *
 * Threads: one. */
#ifndef EMBER_TEST_AS_BROKER_H
#define EMBER_TEST_AS_BROKER_H

#include "base/clock.h"
#include "support/port.h"
#include "support/test.h"
#include "wire/codec.h"
#include "wire/frame.h"
#include "wire/session.h"

#include <stdlib.h>

enum { AS_BROKER_TICKETS = 65536, AS_BROKER_TYPES = 32, AS_BROKER_SERVICE = 1 };

struct as_broker {
    void *context, *sock;
    char endpoint[64];
    struct frame_peer peer;
    uint64_t epoch;
    uint16_t demand; /* what PONG says */
    bool no_pong;
    struct header last[AS_BROKER_TYPES]; /* [type] */
    uint32_t n[AS_BROKER_TYPES];
    uint64_t at_us[AS_BROKER_TYPES];                              /* when the last came */
    struct wire_heartbeat beat;                                   /* the last; .redis is not kept */
    uint8_t results[AS_BROKER_TICKETS], nacks[AS_BROKER_TICKETS]; /* of each ticket below the max */
    uint8_t status[AS_BROKER_TICKETS];
    uint32_t work_us[AS_BROKER_TICKETS];
    uint16_t window, window_min; /* of the last message; the least since it was set */
    struct arena arena;
    struct wire_out out;
};

static inline void as_broker_bind(struct as_broker *self) {
    int linger = 0;
    self->sock = frame_socket(self->context, FRAME_WORKER_SIDE, 100000, NULL, NULL);
    TEST_TRUE(self->sock != NULL);
    zmq_setsockopt(self->sock, ZMQ_LINGER, &linger, sizeof linger);
    for (int tries = 0; zmq_bind(self->sock, self->endpoint) != 0; tries++) {
        TEST_TRUE(tries < 200);
        usleep(10000); /* the former socket is still closing */
    }
}

static inline void as_broker_open(struct as_broker *self, uint64_t epoch) {
    memset(self, 0, sizeof *self);
    self->epoch = epoch;
    self->context = frame_context();
    snprintf(self->endpoint, sizeof self->endpoint, "tcp://127.0.0.1:%u", port_free());
    TEST_TRUE(arena_init(&self->arena, codec_arena_bytes(LIMIT_REPLY_BYTES)));
    as_broker_bind(self);
}

/* As a crash, for those at the other end. */
static inline void as_broker_crash(struct as_broker *self) {
    zmq_close(self->sock);
    self->sock = NULL;
}

static inline void as_broker_close(struct as_broker *self) {
    if (self->sock)
        zmq_close(self->sock);
    zmq_ctx_term(self->context);
    arena_done(&self->arena);
    wire_out_done(&self->out);
}

static inline void as_broker_send(struct as_broker *self, struct header header, struct view body) {
    zmq_msg_t msg;
    TEST_TRUE(frame_body(&msg, body));
    frame_send_router(self->sock, &self->peer, &header, &msg);
}

static inline void as_broker_plain(struct as_broker *self, uint8_t type, uint64_t id) {
    as_broker_send(self, (struct header){.type = type, .id = id, .epoch = self->epoch},
                   view_make(NULL, 0));
}

static inline void as_broker_note(struct as_broker *self, const struct header *header,
                                  struct view body) {
    uint8_t type = header->type;
    TEST_TRUE(type < AS_BROKER_TYPES);
    self->last[type] = *header;
    self->n[type]++;
    self->at_us[type] = clock_us();
    self->window = header->credit;
    if (header->credit < self->window_min)
        self->window_min = header->credit;
    if (type == WIRE_HEARTBEAT) {
        arena_reset(&self->arena);
        TEST_EQ(session_heartbeat_decode(body, &self->arena, &self->beat, NULL), STATUS_OK);
        self->beat.redis = view_make(NULL, 0);
        if (!self->no_pong)
            as_broker_send(
                self,
                (struct header){.type = WIRE_PONG, .credit = self->demand, .epoch = self->epoch},
                view_make(NULL, 0));
    }
    if (header->id >= AS_BROKER_TICKETS)
        return;
    if (type == WIRE_RESULT) {
        self->results[header->id]++;
        self->status[header->id] = header->status;
        self->work_us[header->id] = header->budget_us;
    }
    if (type == WIRE_NACK)
        self->nacks[header->id]++;
}

/* Takes what is there, waiting at most ms for the first; false: nothing came. */
static inline bool as_broker_take(struct as_broker *self, uint32_t ms) {
    zmq_pollitem_t item = {.socket = self->sock, .events = ZMQ_POLLIN};
    bool any = false;
    zmq_poll(&item, 1, ms);
    for (;;) {
        struct frame_peer peer;
        struct header header;
        zmq_msg_t body;
        enum header_verdict verdict;
        enum frame_result got = frame_recv_router(self->sock, &peer, &header, &body, &verdict);
        if (got != FRAME_OK) {
            TEST_TRUE(got == FRAME_NONE); /* a worker sends nothing that is not a message */
            return any;
        }
        self->peer = peer;
        as_broker_note(self, &header, frame_view(&body));
        zmq_msg_close(&body);
        any = true;
    }
}

static inline void as_broker_read(struct as_broker *self, uint32_t ms) {
    for (uint64_t end_us = clock_us() + ms * UINT64_C(1000); clock_us() < end_us;)
        as_broker_take(self, 5);
}

/* Until one more of the type has come. */
static inline void as_broker_wait(struct as_broker *self, uint8_t type, uint32_t ms) {
    uint32_t before = self->n[type];
    for (uint64_t end_us = clock_us() + ms * UINT64_C(1000); self->n[type] == before;) {
        if (clock_us() > end_us)
            TEST_FAIL("no %s within %u ms", wire_type_name(type), ms);
        as_broker_take(self, 5);
    }
}

/* Until the ticket has its RESULT or NACK. */
static inline void as_broker_answered(struct as_broker *self, uint32_t ticket, uint32_t ms) {
    for (uint64_t end_us = clock_us() + ms * UINT64_C(1000);
         !self->results[ticket] && !self->nacks[ticket];) {
        if (clock_us() > end_us)
            TEST_FAIL("no answer to %u within %u ms", ticket, ms);
        as_broker_take(self, 5);
    }
}

static inline void as_broker_welcome(struct as_broker *self, uint32_t heartbeat_ms) {
    const struct wire_service_number number = {AS_BROKER_SERVICE, view_of("m"), WIRE_TASK_EMBED};
    struct wire_ready_ok ok = {.protocol = 1,
                               .broker = self->epoch,
                               .heartbeat_ms = heartbeat_ms,
                               .silence_ms = 60000,
                               .services = &number,
                               .n_services = 1};
    TEST_EQ(session_ready_ok_encode(&ok, &self->out), STATUS_OK);
    as_broker_send(
        self, (struct header){.type = WIRE_READY_OK, .epoch = self->epoch, .credit = self->demand},
        wire_out_view(&self->out));
}

/* A DISPATCH of n texts that begin alike. */
static inline void as_broker_embed_many(struct as_broker *self, uint64_t ticket, const char *begin,
                                        uint32_t n) {
    char text[LIMIT_REQUEST_TEXTS][96];
    struct view texts[LIMIT_REQUEST_TEXTS];
    for (uint32_t i = 0; i < n; i++) {
        if (n == 1)
            snprintf(text[i], sizeof text[i], "%s", begin);
        else
            snprintf(text[i], sizeof text[i], "%s %llu %u", begin, (unsigned long long)ticket, i);
        texts[i] = view_of(text[i]);
    }
    struct wire_embed_request in = {.texts = texts, .n_texts = n};
    TEST_EQ(codec_embed_request_encode(&in, &self->out), STATUS_OK);
    as_broker_send(self,
                   (struct header){.type = WIRE_DISPATCH,
                                   .id = ticket,
                                   .epoch = self->epoch,
                                   .service = AS_BROKER_SERVICE,
                                   .lane = WIRE_LANE_NORMAL},
                   wire_out_view(&self->out));
}

static inline void as_broker_embed(struct as_broker *self, uint64_t ticket, const char *text) {
    as_broker_embed_many(self, ticket, text, 1);
}

#endif
