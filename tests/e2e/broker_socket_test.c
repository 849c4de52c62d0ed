/* broker_socket_test.c - the broker over real sockets, with clients and workers played by hand:
 * one request's way, peers that die, come back and leave, and the broker's own end. What strangers
 * do to it is in broker_strangers_test.c. */
#include "support/broker_rig.h"
#include "support/port.h"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

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
    TEST_TRUE(took_us < 2500 * 1000); /* three silent beats would be 3 s */
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
    request(&c, 1, 500 * 1000, "x");
    expect(&w, WIRE_DISPATCH);
    uint64_t ticket = w.header.id;
    expect_reply(&c, 1, STATUS_DEADLINE_EXCEEDED);
    uint64_t took_us = clock_us() - sent_us;
    TEST_TRUE(took_us >= 500 * 1000);
    TEST_TRUE(took_us < 3 * SECOND_US);
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
    cfg.core.drain_us = 10 * SECOND_US;
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
    char endpoint[64];
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port_free())};
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%u", ntohs(in.sin_port));
    pid_t pid = start_program(endpoint);
    for (bool listens = false; !listens; usleep(1000)) { /* it takes signals before it binds */
        TEST_EQ(waitpid(pid, NULL, WNOHANG), 0);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        listens = connect(fd, (struct sockaddr *)&in, sizeof in) == 0;
        close(fd);
    }
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
