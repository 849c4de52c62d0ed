/* broker_socket_test.c - the broker over real sockets, with clients and workers played by hand:
 * sessions, one request's way, and everything a stranger or a fault can do to it. */
#include "support/test.h"

#include "base/clock.h"
#include "loop.h"
#include "wire/frame.h"
#include "wire/session.h"

#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { PATIENCE_MS = 5000, QUIET_MS = 150, SECOND_US = 1000000, BODY_MAX = 16384 };

static void *context;

/* ---------------------------------------------------------------- the broker under test */

struct broker {
    loop_t *loop;
    pthread_t thread;
};

static void *run_broker(void *arg) {
    loop_run(arg);
    return NULL;
}

static struct loop_cfg settings(void) {
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

static struct broker broker_start(const struct loop_cfg *cfg) {
    struct broker b;
    struct err err;
    if (loop_new(cfg, &b.loop, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
    TEST_EQ(pthread_create(&b.thread, NULL, run_broker, b.loop), 0);
    return b;
}

static void broker_stop(struct broker *b) {
    loop_stop(b->loop);
    pthread_join(b->thread, NULL);
    loop_destroy(&b->loop);
}

/* ---------------------------------------------------------------- peers played by hand */

struct peer {
    void *socket;
    uint64_t epoch;
    uint16_t service;
    struct header header; /* of the last message received */
    char body[BODY_MAX];
    size_t body_bytes;
};

static void dial(struct peer *p, const char *endpoint, enum frame_role role) {
    struct err err;
    memset(p, 0, sizeof *p);
    p->socket = frame_socket(context, role, 64, NULL, &err);
    TEST_TRUE(p->socket);
    int linger = 200;
    zmq_setsockopt(p->socket, ZMQ_LINGER, &linger, sizeof linger);
    TEST_EQ(zmq_connect(p->socket, endpoint), 0);
}

static void say(struct peer *p, struct header header, struct view body) {
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
static bool hear(struct peer *p, int ms) {
    uint64_t until = clock_us() + (uint64_t)ms * 1000;
    for (;;) {
        zmq_msg_t body;
        enum header_verdict verdict;
        enum frame_result result = frame_recv_dealer(p->socket, &p->header, &body, &verdict);
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

static void expect(struct peer *p, uint8_t type) {
    if (!hear(p, PATIENCE_MS))
        TEST_FAIL("no %s came", wire_type_name(type));
    TEST_STR_EQ(wire_type_name(p->header.type), wire_type_name(type));
}

static void expect_reply(struct peer *p, uint64_t id, enum status status) {
    expect(p, WIRE_REPLY);
    TEST_EQ(p->header.id, id);
    TEST_STR_EQ(status_name((enum status)p->header.status), status_name(status));
    TEST_EQ(p->header.epoch, p->epoch);
}

static void hello(struct peer *p, const char *model) {
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

static void client_dial(struct peer *p, const struct broker *b, const char *model) {
    dial(p, loop_clients_endpoint(b->loop), FRAME_CLIENT);
    hello(p, model);
}

static void ready(struct peer *p, uint64_t uuid, const char *model, uint16_t credit) {
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

static void worker_dial(struct peer *p, const struct broker *b, uint64_t uuid, const char *model) {
    dial(p, loop_workers_endpoint(b->loop), FRAME_WORKER);
    ready(p, uuid, model, 100);
}

static void request(struct peer *p, uint64_t id, uint32_t budget_us, const char *body) {
    say(p,
        (struct header){.type = WIRE_REQUEST,
                        .lane = WIRE_LANE_NORMAL,
                        .id = id,
                        .epoch = p->epoch,
                        .budget_us = budget_us,
                        .service = p->service},
        view_of(body));
}

static void result(struct peer *p, uint64_t ticket, uint64_t epoch, const char *body) {
    say(p, (struct header){.type = WIRE_RESULT, .credit = 100, .id = ticket, .epoch = epoch},
        view_of(body));
}

static bool body_is(const struct peer *p, const char *text) {
    return view_equal(view_make(p->body, p->body_bytes), view_of(text));
}

/* A whole round trip, to show that the broker still serves others. */
static void works(struct peer *client, struct peer *worker, uint64_t id) {
    request(client, id, SECOND_US, "ping");
    expect(worker, WIRE_DISPATCH);
    result(worker, worker->header.id, worker->epoch, "pong");
    expect_reply(client, id, STATUS_OK);
    TEST_TRUE(body_is(client, "pong"));
}

/* ---------------------------------------------------------------- tests */

static void test_round_trip(void **state) {
    (void)state;
    struct loop_cfg cfg = settings();
    struct broker b = broker_start(&cfg);
    struct peer c, w;
    client_dial(&c, &b, "m");
    worker_dial(&w, &b, 1, "m");
    request(&c, 7, SECOND_US, "a body the broker never opens");
    expect(&w, WIRE_DISPATCH);
    TEST_TRUE(body_is(&w, "a body the broker never opens"));
    TEST_EQ(w.header.attempt, 1);
    TEST_EQ(w.header.lane, WIRE_LANE_NORMAL);
    TEST_TRUE(w.header.budget_us > 0 && w.header.budget_us <= SECOND_US);
    TEST_TRUE(w.header.id != 7);
    result(&w, w.header.id, w.epoch, "an answer");
    expect_reply(&c, 7, STATUS_OK);
    TEST_TRUE(body_is(&c, "an answer"));

    say(&c, (struct header){.type = WIRE_PING, .epoch = c.epoch}, view_of(""));
    expect(&c, WIRE_PONG);
    say(&w, (struct header){.type = WIRE_PING, .epoch = w.epoch, .credit = 9}, view_of(""));
    expect(&w, WIRE_PONG);

    say(&c, (struct header){.type = WIRE_REQUEST, .id = 8, .epoch = c.epoch, .budget_us = 1000000},
        view_of(""));
    expect_reply(&c, 8, STATUS_OK);
    struct arena arena;
    TEST_TRUE(arena_init(&arena, session_arena_bytes(64 * 1024)));
    struct wire_status_reply s;
    TEST_EQ(session_status_decode(view_make(c.body, c.body_bytes), &arena, &s, NULL), STATUS_OK);
    TEST_EQ(s.n_workers, 1);
    TEST_EQ(s.workers[0].credit, 9);
    TEST_EQ(s.workers[0].dispatched, 1);
    TEST_EQ(s.clients, 1);
    arena_done(&arena);
    zmq_close(c.socket);
    zmq_close(w.socket);
    broker_stop(&b);
}

static void test_request_waits_for_a_worker(void **state) {
    (void)state;
    struct loop_cfg cfg = settings();
    cfg.core.no_worker_grace_us = 2 * SECOND_US;
    struct broker b = broker_start(&cfg);
    struct peer named, any, w;
    client_dial(&named, &b, "m");
    client_dial(&any, &b, "");
    request(&named, 1, 3 * SECOND_US, "one");
    request(&any, 2, 3 * SECOND_US, "two");
    usleep(50000);
    worker_dial(&w, &b, 1, "m");
    for (int i = 0; i < 2; i++) {
        expect(&w, WIRE_DISPATCH);
        result(&w, w.header.id, w.epoch, "done");
    }
    expect_reply(&named, 1, STATUS_OK);
    expect_reply(&any, 2, STATUS_OK);
    zmq_close(named.socket);
    zmq_close(any.socket);
    zmq_close(w.socket);
    broker_stop(&b);
}

static void test_nobody_serves(void **state) {
    (void)state;
    struct loop_cfg cfg = settings();
    struct broker b = broker_start(&cfg);
    struct peer c, w;
    client_dial(&c, &b, "nope");
    worker_dial(&w, &b, 1, "m");
    request(&c, 1, 5 * SECOND_US, "x"); /* waits for the grace after the start, then: */
    expect_reply(&c, 1, STATUS_NOT_FOUND);
    struct arena arena;
    TEST_TRUE(arena_init(&arena, session_arena_bytes(BODY_MAX)));
    struct wire_error e;
    TEST_EQ(codec_error_decode(view_make(c.body, c.body_bytes), &arena, &e, NULL), STATUS_OK);
    char text[256];
    snprintf(text, sizeof text, "%.*s", (int)e.message.bytes, e.message.data);
    TEST_HAS(text, "no worker serves model 'nope' (task embed)");
    TEST_HAS(text, "known: m");
    arena_done(&arena);
    zmq_close(c.socket);
    zmq_close(w.socket);
    broker_stop(&b);
}

static void test_strangers(void **state) {
    (void)state;
    struct loop_cfg cfg = settings();
    struct broker b = broker_start(&cfg);
    struct peer c, w, other, stranger;
    client_dial(&c, &b, "m");
    worker_dial(&w, &b, 1, "m");
    TEST_ROW("a request without a session");
    dial(&stranger, loop_clients_endpoint(b.loop), FRAME_CLIENT);
    stranger.service = c.service;
    request(&stranger, 1, SECOND_US, "x");
    expect(&stranger, WIRE_WHO_ARE_YOU);
    zmq_close(stranger.socket);

    TEST_ROW("a request with another session's epoch");
    uint64_t mine = c.epoch;
    c.epoch ^= 1;
    request(&c, 2, SECOND_US, "x");
    expect(&c, WIRE_WHO_ARE_YOU);
    c.epoch = mine;

    TEST_ROW("results that do not count");
    request(&c, 3, 2 * SECOND_US, "x");
    expect(&w, WIRE_DISPATCH);
    uint64_t ticket = w.header.id;
    result(&w, ticket, w.epoch ^ 1, "of another start of the broker");
    expect(&w, WIRE_WHO_ARE_YOU);
    result(&w, ticket + (UINT64_C(1) << 32), w.epoch, "of another generation");
    result(&w, ticket + 1, w.epoch, "of another slot");
    result(&w, UINT64_MAX, w.epoch, "of no slot at all");
    worker_dial(&other, &b, 2, "m");
    result(&other, ticket, other.epoch, "of another worker");
    dial(&stranger, loop_workers_endpoint(b.loop), FRAME_WORKER);
    result(&stranger, ticket, w.epoch, "of nobody");
    expect(&stranger, WIRE_WHO_ARE_YOU);
    TEST_TRUE(!hear(&c, QUIET_MS));
    result(&w, ticket, w.epoch, "the one");
    expect_reply(&c, 3, STATUS_OK);
    TEST_TRUE(body_is(&c, "the one"));
    result(&w, ticket, w.epoch, "again");
    TEST_TRUE(!hear(&c, QUIET_MS));
    zmq_close(stranger.socket);
    zmq_close(other.socket);
    zmq_close(c.socket);
    zmq_close(w.socket);
    broker_stop(&b);
}

static void send_parts(void *socket, int n, const void *data, size_t bytes) {
    for (int i = 0; i < n; i++)
        TEST_TRUE(zmq_send(socket, data, bytes, i + 1 < n ? ZMQ_SNDMORE : 0) >= 0);
}

static void test_garbage(void **state) {
    (void)state;
    struct loop_cfg cfg = settings();
    struct broker b = broker_start(&cfg);
    struct peer c, w, bad;
    client_dial(&c, &b, "m");
    worker_dial(&w, &b, 1, "m");
    static const struct {
        const char *name;
        int parts;
        size_t bytes;
    } rows[] = {
        {"one empty frame", 1, 0},  {"one frame", 1, 32}, {"short header", 2, 31},
        {"long header", 2, 33},     {"noise", 2, 32},     {"three frames", 3, 32},
        {"many frames", 200, 1000},
    };
    char noise[1000];
    memset(noise, 0xa5, sizeof noise);
    for (int side = 0; side < 2; side++)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            TEST_ROW(rows[i].name);
            if (side == 0)
                client_dial(&bad, &b, "m");
            else
                dial(&bad, loop_workers_endpoint(b.loop), FRAME_WORKER);
            if (side == 1)
                ready(&bad, 77, "other", 1);
            send_parts(bad.socket, rows[i].parts, noise, rows[i].bytes);
            works(&c, &w, 100 + i);
            send_parts(bad.socket, rows[i].parts, noise, rows[i].bytes);
            send_parts(bad.socket, rows[i].parts, noise, rows[i].bytes);
            say(&bad, (struct header){.type = WIRE_PING, .epoch = bad.epoch}, view_of(""));
            expect(&bad, WIRE_WHO_ARE_YOU); /* three strikes ended the session */
            zmq_close(bad.socket);
        }
    TEST_ROW("bodies of sessions that are none");
    dial(&bad, loop_clients_endpoint(b.loop), FRAME_CLIENT);
    say(&bad, (struct header){.type = WIRE_HELLO}, view_make(noise, sizeof noise));
    expect(&bad, WIRE_WELCOME);
    TEST_EQ(bad.header.status, STATUS_INVALID_ARGUMENT);
    zmq_close(bad.socket);
    dial(&bad, loop_workers_endpoint(b.loop), FRAME_WORKER);
    say(&bad, (struct header){.type = WIRE_READY}, view_make(noise, sizeof noise));
    expect(&bad, WIRE_READY_OK);
    TEST_EQ(bad.header.status, STATUS_INVALID_ARGUMENT);
    zmq_close(bad.socket);
    works(&c, &w, 300);
    zmq_close(c.socket);
    zmq_close(w.socket);
    broker_stop(&b);
}

static void test_oversize(void **state) {
    (void)state;
    struct loop_cfg cfg = settings();
    struct broker b = broker_start(&cfg);
    struct peer c, w, bad;
    client_dial(&c, &b, "m");
    worker_dial(&w, &b, 1, "m");
    client_dial(&bad, &b, "m");
    char *big = calloc(1, LIMIT_REQUEST_BYTES + 1);
    say(&bad,
        (struct header){.type = WIRE_REQUEST,
                        .id = 1,
                        .epoch = bad.epoch,
                        .budget_us = SECOND_US,
                        .service = bad.service},
        view_make(big, LIMIT_REQUEST_BYTES + 1));
    TEST_TRUE(!hear(&bad, QUIET_MS)); /* the connection was cut; the library dials again */
    TEST_TRUE(!hear(&w, QUIET_MS));
    works(&c, &w, 1);
    free(big);
    zmq_close(bad.socket);
    zmq_close(c.socket);
    zmq_close(w.socket);
    broker_stop(&b);
}

static void test_chosen_routing_id(void **state) {
    (void)state;
    struct loop_cfg cfg = settings();
    struct broker b = broker_start(&cfg);
    struct peer c, w, bad;
    client_dial(&c, &b, "m");
    worker_dial(&w, &b, 1, "m");
    struct err err;
    memset(&bad, 0, sizeof bad);
    bad.socket = frame_socket(context, FRAME_CLIENT, 64, NULL, &err);
    zmq_setsockopt(bad.socket, ZMQ_ROUTING_ID, "evil!", 5);
    TEST_EQ(zmq_connect(bad.socket, loop_clients_endpoint(b.loop)), 0);
    say(&bad, (struct header){.type = WIRE_HELLO}, view_of(""));
    TEST_TRUE(!hear(&bad, QUIET_MS));
    works(&c, &w, 1);
    zmq_close(bad.socket);
    zmq_close(c.socket);
    zmq_close(w.socket);
    broker_stop(&b);
}

/* The worker answers what it was just given. */
static void say_large(struct peer *w, const char *bytes, size_t n) {
    say(w,
        (struct header){.type = WIRE_RESULT, .id = w->header.id, .epoch = w->epoch, .credit = 100},
        view_make(bytes, n));
}

/* One that asks and asks, and reads nothing: it is cut off, its connection gets no other session,
 * and others notice nothing. One that reads is never cut off, however much it is told. */
static void test_never_reads(void **state) {
    (void)state;
    struct loop_cfg cfg = settings();
    cfg.max_unread = 1 << 20;
    struct broker b = broker_start(&cfg);
    struct peer c, w, bad;
    client_dial(&c, &b, "m");
    worker_dial(&w, &b, 1, "m");
    client_dial(&bad, &b, "m");
    static char large[BODY_MAX];
    memset(large, 'x', sizeof large);
    uint32_t refused = 0, answered = 0;
    for (uint64_t i = 0; i < 60 && refused < 4; i++) {
        request(&bad, i, 5 * SECOND_US, "x");
        if (!hear(&w, QUIET_MS)) {
            refused++;
            continue; /* not dispatched: refused, or a stranger by now */
        }
        TEST_EQ(w.header.type, WIRE_DISPATCH);
        say_large(&w, large, sizeof large);
        answered++;
    }
    TEST_TRUE(answered * sizeof large <= 1 << 20);
    TEST_TRUE(answered * sizeof large >= 1 << 18);
    TEST_EQ(refused, 4);
    for (uint64_t i = 0; i < 200; i++) { /* 3 MB in all */
        request(&c, i, 5 * SECOND_US, "x");
        expect(&w, WIRE_DISPATCH);
        say_large(&w, large, sizeof large);
        expect_reply(&c, i, STATUS_OK);
    }
    /* Status reports are counted, too: these end its session, and HELLO does not begin another. */
    for (int i = 0; i < 4000; i++)
        say(&bad,
            (struct header){
                .type = WIRE_REQUEST, .id = 1000, .epoch = bad.epoch, .budget_us = SECOND_US},
            view_of(""));
    say(&bad, (struct header){.type = WIRE_HELLO}, view_of(""));
    for (bool more = true; more;) { /* what was sent before is there */
        more = hear(&bad, QUIET_MS);
        if (more && bad.header.type == WIRE_WELCOME)
            TEST_EQ(bad.header.epoch, bad.epoch);
    }
    request(&bad, 2000, SECOND_US, "x");
    expect(&bad, WIRE_WHO_ARE_YOU);
    works(&c, &w, 100);
    zmq_close(bad.socket);
    zmq_close(c.socket);
    zmq_close(w.socket);
    broker_stop(&b);
}

static void test_worker_dies(void **state) {
    (void)state;
    struct loop_cfg cfg = settings();
    struct broker b = broker_start(&cfg);
    struct peer c, w[2];
    client_dial(&c, &b, "m");
    worker_dial(&w[0], &b, 1, "m");
    for (uint64_t i = 0; i < 8; i++)
        request(&c, i, 5 * SECOND_US, "x");
    for (int i = 0; i < 8; i++)
        expect(&w[0], WIRE_DISPATCH);
    worker_dial(&w[1], &b, 2, "m");
    uint64_t died_us = clock_us();
    zmq_close(w[0].socket);
    for (uint64_t i = 0; i < 8; i++) {
        expect(&w[1], WIRE_DISPATCH);
        TEST_EQ(w[1].header.attempt, 2);
        TEST_TRUE(w[1].header.flags & WIRE_FLAG_RETRY);
        result(&w[1], w[1].header.id, w[1].epoch, "saved");
        expect_reply(&c, i, STATUS_OK); /* in their old order */
    }
    uint64_t took_us = clock_us() - died_us;
    printf("eight requests moved and answered %llu us after their worker died\n",
           (unsigned long long)took_us);
    TEST_TRUE(took_us < SECOND_US); /* three silent beats would be 3 s */
    zmq_close(c.socket);
    zmq_close(w[1].socket);
    broker_stop(&b);
}

static void test_worker_comes_back_elsewhere(void **state) {
    (void)state;
    struct loop_cfg cfg = settings();
    struct broker b = broker_start(&cfg);
    struct peer c, w, again;
    client_dial(&c, &b, "m");
    worker_dial(&w, &b, 1, "m");
    request(&c, 1, 5 * SECOND_US, "x");
    expect(&w, WIRE_DISPATCH);
    uint64_t ticket = w.header.id;
    worker_dial(&again, &b, 1, "m"); /* the same uuid: the older session is over */
    expect(&again, WIRE_DISPATCH);
    result(&w, ticket, w.epoch, "late");
    expect(&w, WIRE_WHO_ARE_YOU);
    result(&again, again.header.id, again.epoch, "done");
    expect_reply(&c, 1, STATUS_OK);
    TEST_TRUE(body_is(&c, "done"));
    zmq_close(c.socket);
    zmq_close(w.socket);
    zmq_close(again.socket);
    broker_stop(&b);
}

static void test_deadline_and_cancel(void **state) {
    (void)state;
    struct loop_cfg cfg = settings();
    struct broker b = broker_start(&cfg);
    struct peer c, w;
    client_dial(&c, &b, "m");
    worker_dial(&w, &b, 1, "m");
    uint64_t sent_us = clock_us();
    request(&c, 1, 100 * 1000, "x");
    expect(&w, WIRE_DISPATCH);
    uint64_t ticket = w.header.id;
    expect_reply(&c, 1, STATUS_DEADLINE_EXCEEDED);
    uint64_t took_us = clock_us() - sent_us;
    TEST_TRUE(took_us >= 100 * 1000);
    TEST_TRUE(took_us < 400 * 1000);
    expect(&w, WIRE_CANCEL);
    TEST_EQ(w.header.id, ticket);

    request(&c, 2, SECOND_US, "x");
    expect(&w, WIRE_DISPATCH);
    ticket = w.header.id;
    say(&c, (struct header){.type = WIRE_CANCEL, .id = 2, .epoch = c.epoch}, view_of(""));
    expect_reply(&c, 2, STATUS_CANCELLED);
    expect(&w, WIRE_CANCEL);
    TEST_EQ(w.header.id, ticket);
    result(&w, ticket, w.epoch, "late");
    TEST_TRUE(!hear(&c, QUIET_MS));

    request(&c, 3, 0, "x");
    expect_reply(&c, 3, STATUS_INVALID_ARGUMENT);
    works(&c, &w, 4);
    zmq_close(c.socket);
    zmq_close(w.socket);
    broker_stop(&b);
}

static void test_client_leaves(void **state) {
    (void)state;
    struct loop_cfg cfg = settings();
    struct broker b = broker_start(&cfg);
    struct peer c, w;
    client_dial(&c, &b, "m");
    worker_dial(&w, &b, 1, "m");
    request(&c, 1, 10 * SECOND_US, "x");
    expect(&w, WIRE_DISPATCH);
    uint64_t ticket = w.header.id;
    zmq_close(c.socket);
    expect(&w, WIRE_CANCEL);
    TEST_EQ(w.header.id, ticket);
    zmq_close(w.socket);
    broker_stop(&b);
}

static void test_drain(void **state) {
    (void)state;
    struct loop_cfg cfg = settings();
    struct broker b = broker_start(&cfg);
    struct peer c, w;
    client_dial(&c, &b, "m");
    worker_dial(&w, &b, 1, "m");
    ready(&w, 1, "m", 1); /* room for one */
    request(&c, 1, 5 * SECOND_US, "is executed");
    request(&c, 2, 5 * SECOND_US, "waits");
    expect(&w, WIRE_DISPATCH);
    usleep(20000);
    loop_stop(b.loop);
    expect(&c, WIRE_GOAWAY);
    expect_reply(&c, 2, STATUS_UNAVAILABLE);
    request(&c, 3, SECOND_US, "comes late");
    expect_reply(&c, 3, STATUS_UNAVAILABLE);
    result(&w, w.header.id, w.epoch, "done");
    expect_reply(&c, 1, STATUS_OK);
    pthread_join(b.thread, NULL);
    loop_destroy(&b.loop);
    zmq_close(c.socket);
    zmq_close(w.socket);
}

static pid_t start_program(const char *clients) {
    static char program[] = EMBER_BINARY_DIR "/broker/ember-broker";
    char endpoint[128];
    snprintf(endpoint, sizeof endpoint, "%s", clients);
    char *argv[] = {program,
                    (char *)"--http",
                    (char *)"off",
                    (char *)"--clients",
                    endpoint,
                    (char *)"--workers",
                    (char *)"tcp://127.0.0.1:*",
                    (char *)"--log-level",
                    (char *)"error",
                    NULL};
    pid_t pid;
    TEST_EQ(posix_spawn(&pid, program, NULL, NULL, argv, environ), 0);
    return pid;
}

static int exit_code(pid_t pid) {
    int status;
    TEST_EQ(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_program(void **state) {
    (void)state;
    pid_t pid = start_program("tcp://127.0.0.1:*");
    usleep(300000);
    kill(pid, SIGTERM);
    TEST_EQ(exit_code(pid), 0);
    struct loop_cfg cfg = settings();
    struct broker b = broker_start(&cfg);
    TEST_EQ(exit_code(start_program(loop_clients_endpoint(b.loop))), 1); /* the port is taken */
    broker_stop(&b);
}

int main(void) {
    context = frame_context();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_request_waits_for_a_worker),
        cmocka_unit_test(test_nobody_serves),
        cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_oversize),
        cmocka_unit_test(test_chosen_routing_id),
        cmocka_unit_test(test_never_reads),
        cmocka_unit_test(test_worker_dies),
        cmocka_unit_test(test_worker_comes_back_elsewhere),
        cmocka_unit_test(test_deadline_and_cancel),
        cmocka_unit_test(test_client_leaves),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_program),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (!failed) /* a failed test leaves sockets open, and this would wait for them */
        zmq_ctx_term(context);
    return failed;
}
