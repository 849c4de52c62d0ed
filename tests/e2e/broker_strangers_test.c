/* broker_strangers_test.c - what must not get in: frames without a session or of another, garbage,
 * bodies too long, a routing id of one's own choice, a client that never reads. Each time others
 * are served on. */
#include "support/broker_rig.h"

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

int main(void) {
    context = frame_context();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strangers),   cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_oversize),    cmocka_unit_test(test_chosen_routing_id),
        cmocka_unit_test(test_never_reads),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (!failed) /* a failed test leaves sockets open, and this would wait for them */
        zmq_ctx_term(context);
    return failed;
}
