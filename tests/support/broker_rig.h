/* broker_rig.h - a broker in a thread of the test, on real sockets, with clients and workers that
 * are played by hand: frame by frame, so that they can also be late, wrong or hostile.
 *
 *     struct loop_cfg cfg = settings();
 *     struct broker b = broker_start(&cfg);
 *     struct peer c, w;
 *     client_dial(&c, &b, "m");            dialled and welcomed
 *     worker_dial(&w, &b, 1, "m");
 *     works(&c, &w, 7);                    a whole round trip
 *     zmq_close(c.socket); ... broker_stop(&b);
 *
 * main() sets `context` before the tests; hear() and expect() answer PING by themselves. */
#ifndef EMBER_TEST_BROKER_RIG_H
#define EMBER_TEST_BROKER_RIG_H

#include "support/test.h"

#include "base/clock.h"
#include "loop.h"
#include "wire/frame.h"
#include "wire/session.h"

#include <pthread.h>
#include <unistd.h>

enum { PATIENCE_MS = 5000, QUIET_MS = 150, SECOND_US = 1000000, BODY_MAX = 16384 };

static void *context;

/* ---------------------------------------------------------------- the broker under test */

struct broker {
    loop_t *loop;
    pthread_t thread;
};

static inline void *run_broker(void *arg) {
    loop_run(arg);
    return NULL;
}

static inline struct loop_cfg settings(void) {
    struct loop_cfg cfg = {.core = {.max_clients = 64,
                                    .max_workers = 16,
                                    .max_services = 64,
                                    .max_tickets = 256,
                                    .max_queued = 128,
                                    .max_queued_bytes = 1 << 20,
                                    .max_client_tickets = 32,
                                    .heartbeat_us = SECOND_US,
                                    .no_worker_grace_us = 300 * 1000,
                                    .drain_us = 500 * 1000},
                           .clients = {.n = 1, .item = {"tcp://127.0.0.1:*"}},
                           .workers = {.n = 1, .item = {"tcp://127.0.0.1:*"}},
                           .advertise = {.n = 1, .item = {"tcp://10.0.0.2:5555"}},
                           .max_unread = 64 << 20,
                           .name = "b1",
                           .http = "127.0.0.1:0",
                           .signals_fd = -1};
    return cfg;
}

static inline struct broker broker_start(const struct loop_cfg *cfg) {
    struct broker b;
    struct err err;
    if (loop_new(cfg, &b.loop, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
    TEST_EQ(pthread_create(&b.thread, NULL, run_broker, b.loop), 0);
    return b;
}

static inline void broker_stop(struct broker *b) {
    loop_stop(b->loop);
    pthread_join(b->thread, NULL);
    loop_destroy(&b->loop);
}

/* ---------------------------------------------------------------- peers played by hand */

struct peer {
    void *socket;
    uint32_t in_a_row; /* see frame_recv_dealer() */
    uint64_t epoch;
    uint16_t service;
    struct header header; /* of the last message received */
    char body[BODY_MAX];
    size_t body_bytes;
};

static inline void dial(struct peer *p, const char *endpoint, enum frame_role role) {
    struct err err;
    memset(p, 0, sizeof *p);
    p->socket = frame_socket(context, role, 64, NULL, &err);
    TEST_TRUE(p->socket);
    int linger = 200;
    zmq_setsockopt(p->socket, ZMQ_LINGER, &linger, sizeof linger);
    TEST_EQ(zmq_connect(p->socket, endpoint), 0);
}

static inline void say(struct peer *p, struct header header, struct view body) {
    for (int i = 0; i < PATIENCE_MS; i++) { /* ZMQ_IMMEDIATE: wait for the connection */
        zmq_msg_t msg;
        TEST_TRUE(frame_body(&msg, body));
        enum frame_result result = frame_send_dealer(p->socket, &header, &msg);
        if (result == FRAME_OK)
            return;
        usleep(1000);
    }
    TEST_FAIL("could not send a %s", wire_type_name(header.type));
}

/* Waits for one message; false after `ms`. PING is answered and passed over. */
static inline bool hear(struct peer *p, int ms) {
    uint64_t until = clock_us() + (uint64_t)ms * 1000;
    for (;;) {
        zmq_msg_t body;
        enum header_verdict verdict;
        enum frame_result result =
            frame_recv_dealer(p->socket, &p->in_a_row, &p->header, &body, &verdict);
        if (result == FRAME_NONE) {
            if (clock_us() >= until)
                return false;
            zmq_pollitem_t item = {p->socket, 0, ZMQ_POLLIN, 0};
            zmq_poll(&item, 1, 20);
            continue;
        }
        TEST_EQ(result, FRAME_OK);
        p->body_bytes = zmq_msg_size(&body);
        TEST_TRUE(p->body_bytes <= BODY_MAX);
        memcpy(p->body, zmq_msg_data(&body), p->body_bytes);
        zmq_msg_close(&body);
        if (p->header.type != WIRE_PING)
            return true;
        say(p,
            (struct header){
                .type = WIRE_PONG, .id = p->header.id, .epoch = p->epoch, .credit = 100},
            view_make(NULL, 0));
    }
}

static inline void expect(struct peer *p, uint8_t type) {
    if (!hear(p, PATIENCE_MS))
        TEST_FAIL("no %s came", wire_type_name(type));
    TEST_STR_EQ(wire_type_name(p->header.type), wire_type_name(type));
}

static inline void expect_reply(struct peer *p, uint64_t id, enum status status) {
    expect(p, WIRE_REPLY);
    TEST_EQ(p->header.id, id);
    TEST_STR_EQ(status_name((enum status)p->header.status), status_name(status));
    TEST_EQ(p->header.epoch, p->epoch);
}

static inline void hello(struct peer *p, const char *model) {
    struct wire_service_name want = {.model = view_of(model), .task = WIRE_TASK_EMBED};
    struct wire_hello h = {.protocol_min = 1,
                           .protocol_max = 1,
                           .name = view_of("test"),
                           .version = view_of("0"),
                           .want = &want,
                           .n_want = 1};
    struct wire_out out = {0};
    TEST_EQ(session_hello_encode(&h, &out), STATUS_OK);
    say(p, (struct header){.type = WIRE_HELLO}, wire_out_view(&out));
    wire_out_done(&out);
    expect(p, WIRE_WELCOME);
    TEST_EQ(p->header.status, STATUS_OK);
    struct arena arena;
    TEST_TRUE(arena_init(&arena, session_arena_bytes(BODY_MAX)));
    struct wire_welcome w;
    TEST_EQ(session_welcome_decode(view_make(p->body, p->body_bytes), &arena, &w, NULL), STATUS_OK);
    TEST_EQ(w.session, p->header.epoch);
    TEST_EQ(w.n_services, 1);
    TEST_EQ(w.limits.in_flight, 32);
    TEST_EQ(w.n_brokers, 1);
    p->epoch = w.session;
    p->service = (uint16_t)w.services[0].number;
    arena_done(&arena);
}

static inline void client_dial(struct peer *p, const struct broker *b, const char *model) {
    dial(p, loop_clients_endpoint(b->loop), FRAME_CLIENT);
    hello(p, model);
}

static inline void ready(struct peer *p, uint64_t uuid, const char *model, uint16_t credit) {
    struct wire_model m = {.name = view_of(model),
                           .fingerprint = view_of("00"),
                           .precision = view_of("f32"),
                           .kernel = view_of("fake"),
                           .dim = 4,
                           .max_tokens = 16,
                           .tasks = 1U << WIRE_TASK_EMBED};
    struct wire_ready r = {.protocol_min = 1,
                           .protocol_max = 1,
                           .uuid = uuid,
                           .name = view_of("w"),
                           .host = view_of("h"),
                           .version = view_of("0"),
                           .tier = view_of("standard"),
                           .threads = 1,
                           .models = &m,
                           .n_models = 1};
    struct wire_out out = {0};
    TEST_EQ(session_ready_encode(&r, &out), STATUS_OK);
    say(p, (struct header){.type = WIRE_READY, .credit = credit}, wire_out_view(&out));
    wire_out_done(&out);
    expect(p, WIRE_READY_OK);
    TEST_EQ(p->header.status, STATUS_OK);
    p->epoch = p->header.epoch;
}

static inline void worker_dial(struct peer *p, const struct broker *b, uint64_t uuid,
                               const char *model) {
    dial(p, loop_workers_endpoint(b->loop), FRAME_WORKER);
    ready(p, uuid, model, 100);
}

static inline void request(struct peer *p, uint64_t id, uint32_t budget_us, const char *body) {
    say(p,
        (struct header){.type = WIRE_REQUEST,
                        .lane = WIRE_LANE_NORMAL,
                        .id = id,
                        .epoch = p->epoch,
                        .budget_us = budget_us,
                        .service = p->service},
        view_of(body));
}

static inline void result(struct peer *p, uint64_t ticket, uint64_t epoch, const char *body) {
    say(p, (struct header){.type = WIRE_RESULT, .credit = 100, .id = ticket, .epoch = epoch},
        view_of(body));
}

static inline bool body_is(const struct peer *p, const char *text) {
    return view_equal(view_make(p->body, p->body_bytes), view_of(text));
}

/* A whole round trip, to show that the broker still serves others. */
static inline void works(struct peer *client, struct peer *worker, uint64_t id) {
    request(client, id, SECOND_US, "ping");
    expect(worker, WIRE_DISPATCH);
    result(worker, worker->header.id, worker->epoch, "pong");
    expect_reply(client, id, STATUS_OK);
    TEST_TRUE(body_is(client, "pong"));
}

#endif
