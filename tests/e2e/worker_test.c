/* worker_test.c - ember-worker-fake as a process; this test is its broker and speaks raw frames. */
#include "base/clock.h"
#include "base/hash.h"
#include "engine/engine_fake.h"
#include "engine/vector.h"
#include "support/port.h"
#include "support/test.h"
#include "wire/frame.h"
#include "wire/session.h"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

enum { DIM = 24, WAIT_US = 5 * 1000 * 1000, BROKER = 4711 };
enum { EMBED = 1, CLASSIFY = 2, TOKENIZE = 3, RERANK = 4 };

static void *context, *sock;
static pid_t worker;
static struct frame_peer peer;
static struct arena arena;
static struct wire_out out;
static char endpoint[128];
static struct sockaddr_in http;

/* The whole answer to GET path. */
static const char *get(const char *path) {
    static char answer[256 * 1024];
    char request[128];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    TEST_TRUE(fd >= 0 && connect(fd, (struct sockaddr *)&http, sizeof http) == 0);
    snprintf(request, sizeof request, "GET %s HTTP/1.0\r\n\r\n", path);
    TEST_EQ(write(fd, request, strlen(request)), (ssize_t)strlen(request));
    size_t n = 0;
    for (ssize_t got;
         n < sizeof answer - 1 && (got = read(fd, answer + n, sizeof answer - 1 - n)) > 0;)
        n += (size_t)got;
    answer[n] = 0;
    close(fd);
    return answer;
}

static void start_worker(const char *engine, const char *drain_timeout) {
    char broker[160], spec[64], patience[64], listen_on[64];
    unsigned port = port_free();
    http = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    http.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    snprintf(listen_on, sizeof listen_on, "--http=127.0.0.1:%u", port);
    snprintf(broker, sizeof broker, "--broker=%s", endpoint);
    snprintf(spec, sizeof spec, "--model=m=fake:dim=%d,%s", DIM, engine);
    snprintf(patience, sizeof patience, "--drain-timeout=%s", drain_timeout);
    char *argv[] = {(char *)(uintptr_t)EMBER_BINARY_DIR "/worker/ember-worker-fake",
                    spec,
                    broker,
                    (char *)(uintptr_t) "--redis=off",
                    listen_on,
                    patience,
                    (char *)(uintptr_t) "--threads=2",
                    (char *)(uintptr_t) "--log-level=warn",
                    (char *)(uintptr_t) "--name=w1",
                    NULL};
    TEST_EQ(posix_spawn(&worker, argv[0], NULL, NULL, argv, environ), 0);
}

/* The next frame of a type; others but signs of life are a mistake. */
static zmq_msg_t expect(uint8_t type, struct header *header) {
    uint64_t end_us = clock_us() + WAIT_US;
    while (clock_us() < end_us) {
        zmq_pollitem_t item = {.socket = sock, .events = ZMQ_POLLIN};
        zmq_poll(&item, 1, 100);
        zmq_msg_t body;
        enum header_verdict verdict;
        if (frame_recv_router(sock, &peer, header, &body, &verdict) != FRAME_OK)
            continue;
        if (header->type == type)
            return body;
        bool alive = header->type == WIRE_HEARTBEAT || header->type == WIRE_PING;
        if (!alive && header->type != WIRE_READY)
            TEST_FAIL("got %s, want %s", wire_type_name(header->type), wire_type_name(type));
        zmq_msg_close(&body);
    }
    TEST_FAIL("no %s came", wire_type_name(type));
    return (zmq_msg_t){0};
}

static void send_body(struct header header, struct view body) {
    header.epoch = BROKER;
    zmq_msg_t msg;
    TEST_TRUE(frame_body(&msg, body));
    TEST_EQ(frame_send_router(sock, &peer, &header, &msg), FRAME_OK);
}

static void welcome(void) {
    struct header header;
    zmq_msg_t body = expect(WIRE_READY, &header);
    struct wire_ready ready;
    struct err err;
    arena_reset(&arena);
    TEST_EQ(session_ready_decode(frame_view(&body), &arena, &ready, &err), STATUS_OK);
    TEST_TRUE(view_equal(ready.name, view_of("w1")));
    TEST_EQ(ready.n_models, 1);
    TEST_EQ(ready.models[0].dim, DIM);
    TEST_EQ(header.credit, 128);
    zmq_msg_close(&body);
    const struct wire_service_number numbers[] = {{EMBED, view_of("m"), WIRE_TASK_EMBED},
                                                  {CLASSIFY, view_of("m"), WIRE_TASK_CLASSIFY},
                                                  {TOKENIZE, view_of("m"), WIRE_TASK_TOKENIZE},
                                                  {RERANK, view_of("m"), WIRE_TASK_RERANK}};
    struct wire_ready_ok ok = {.protocol = 1,
                               .broker = BROKER,
                               .heartbeat_ms = 100,
                               .silence_ms = 60000,
                               .services = numbers,
                               .n_services = 4};
    TEST_EQ(session_ready_ok_encode(&ok, &out), STATUS_OK);
    send_body((struct header){.type = WIRE_READY_OK}, wire_out_view(&out));
}

static void dispatch(uint64_t ticket, uint16_t service, uint32_t budget_us) {
    send_body((struct header){.type = WIRE_DISPATCH,
                              .id = ticket,
                              .service = service,
                              .lane = WIRE_LANE_NORMAL,
                              .budget_us = budget_us},
              wire_out_view(&out));
}

static void dispatch_embed(uint64_t ticket, const struct view *texts, uint32_t n) {
    struct wire_embed_request in = {.texts = texts, .n_texts = n};
    TEST_EQ(codec_embed_request_encode(&in, &out), STATUS_OK);
    dispatch(ticket, EMBED, 0);
}

static struct wire_embed_reply embed_reply(uint64_t ticket, zmq_msg_t *body) {
    struct header header;
    *body = expect(WIRE_RESULT, &header);
    TEST_EQ(header.status, STATUS_OK);
    TEST_TRUE(header.id == ticket);
    TEST_TRUE(header.epoch == BROKER);
    struct wire_embed_reply reply;
    struct err err;
    arena_reset(&arena);
    TEST_EQ(codec_embed_reply_decode(frame_view(body), &arena, &reply, &err), STATUS_OK);
    return reply;
}

/* What the engine says of a text, finished as the model's default wants. */
static void want_vector(struct view text, float *row) {
    engine_t *engine = NULL;
    engine_seat_t *seat = NULL;
    TEST_EQ(engine_fake_open("dim=24", &engine, NULL), STATUS_OK);
    TEST_EQ(engine_seat_new(engine, 512, 8, &seat, NULL), STATUS_OK);
    float full[DIM];
    struct engine_item item = {.text = text, .out = full};
    struct engine_times times = {0};
    engine_run(engine, seat, &item, 1, &times);
    TEST_EQ(item.status, STATUS_OK);
    vector_finish(full, DIM, 0, engine_info(engine)->normalize, row);
    engine_seat_destroy(&seat);
    engine_destroy(&engine);
}

/* One request of three texts, two of them alike. */
static void check_embed(uint64_t ticket, enum wire_source first, enum wire_source again) {
    const struct view texts[] = {view_of("one"), view_of("two"), view_of("one")};
    dispatch_embed(ticket, texts, 3);
    zmq_msg_t body;
    struct wire_embed_reply reply = embed_reply(ticket, &body);
    TEST_EQ(reply.dim, DIM);
    TEST_EQ(reply.vectors.bytes, 3 * DIM * 4);
    for (uint32_t i = 0; i < 3; i++) {
        float want[DIM], got[DIM];
        want_vector(texts[i], want);
        memcpy(got, reply.vectors.data + i * sizeof got, sizeof got);
        for (uint32_t k = 0; k < DIM; k++)
            TEST_NEAR(got[k], want[k], 1e-6);
        TEST_EQ(reply.facts.tokens[i], 5); /* bytes, one in front and one behind */
    }
    TEST_EQ(reply.facts.source[0], first);
    TEST_EQ(reply.facts.source[2], again);
    TEST_TRUE(view_equal(reply.facts.worker, view_of("w1")));
    zmq_msg_close(&body);
}

static void test_embed(void **state) {
    (void)state;
    TEST_ROW("from the model");
    check_embed(100, WIRE_SOURCE_MODEL, WIRE_SOURCE_SHARED);
    TEST_ROW("from memory");
    check_embed(101, WIRE_SOURCE_MEMORY, WIRE_SOURCE_MEMORY);
}

static void test_classify(void **state) {
    (void)state;
    const struct view texts[] = {view_of("good morning"), view_of("praise")};
    const struct view labels[] = {view_of("complaint"), view_of("praise"), view_of("advice")};
    struct wire_classify_request in = {
        .texts = texts, .n_texts = 2, .labels = labels, .n_labels = 3, .top_k = 2};
    for (int round = 0; round < 2; round++) {
        TEST_ROW(round ? "from memory" : "from the model");
        TEST_EQ(codec_classify_request_encode(&in, &out), STATUS_OK);
        dispatch(200, CLASSIFY, 0);
        struct header header;
        zmq_msg_t body = expect(WIRE_RESULT, &header);
        TEST_EQ(header.status, STATUS_OK);
        struct wire_classify_reply reply;
        arena_reset(&arena);
        TEST_EQ(codec_classify_reply_decode(frame_view(&body), &arena, &reply, NULL), STATUS_OK);
        TEST_EQ(reply.n_results, 2);
        TEST_EQ(reply.results[1].n, 2);
        TEST_EQ(reply.results[1].label[0], 1); /* the text is the label itself */
        TEST_TRUE(reply.results[1].score[0] > 0.9F);
        TEST_EQ(reply.facts.source[0], round ? WIRE_SOURCE_MEMORY : WIRE_SOURCE_MODEL);
        zmq_msg_close(&body);
    }
}

static void test_tokenize(void **state) {
    (void)state;
    const struct view texts[] = {view_of("ab")};
    struct wire_tokenize_request in = {.texts = texts, .n_texts = 1};
    TEST_EQ(codec_tokenize_request_encode(&in, &out), STATUS_OK);
    dispatch(300, TOKENIZE, 0);
    struct header header;
    zmq_msg_t body = expect(WIRE_RESULT, &header);
    TEST_EQ(header.status, STATUS_OK);
    struct wire_tokenize_reply reply;
    arena_reset(&arena);
    TEST_EQ(codec_tokenize_reply_decode(frame_view(&body), &arena, &reply, NULL), STATUS_OK);
    TEST_EQ(reply.results[0].n_ids, 4);
    TEST_EQ(reply.results[0].ids[0], 256);
    TEST_EQ(reply.results[0].ids[1], 'a');
    TEST_EQ(reply.results[0].ids[3], 257);
    zmq_msg_close(&body);
}

static void test_errors(void **state) {
    (void)state;
    const struct view texts[] = {view_of("x")};
    const struct {
        const char *name;
        uint16_t service;
        struct wire_embed_request in;
        uint8_t type;
        enum status status;
        const char *text;
    } rows[] = {
        {"more dimensions than there are",
         EMBED,
         {.texts = texts, .n_texts = 1, .dimensions = 99},
         WIRE_RESULT,
         STATUS_INVALID_ARGUMENT,
         "dimensions"},
        {"no such prompt",
         EMBED,
         {.texts = texts, .n_texts = 1, .prompt_name = view_of("nobody")},
         WIRE_RESULT,
         STATUS_INVALID_ARGUMENT,
         "prompt"},
        {"a task nobody does",
         RERANK,
         {.texts = texts, .n_texts = 1},
         WIRE_RESULT,
         STATUS_UNIMPLEMENTED,
         "rerank"},
        {"a number nobody gave", 99, {.texts = texts, .n_texts = 1}, WIRE_NACK, 0, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        TEST_EQ(codec_embed_request_encode(&rows[i].in, &out), STATUS_OK);
        dispatch(400 + i, rows[i].service, 0);
        struct header header;
        zmq_msg_t body = expect(rows[i].type, &header);
        TEST_TRUE(header.id == 400 + i);
        if (rows[i].text) {
            TEST_EQ(header.status, rows[i].status);
            struct wire_error error;
            arena_reset(&arena);
            TEST_EQ(codec_error_decode(frame_view(&body), &arena, &error, NULL), STATUS_OK);
            char message[512] = "";
            memcpy(message, error.message.data, error.message.bytes);
            TEST_HAS(message, rows[i].text);
        }
        zmq_msg_close(&body);
    }
}

static void test_http(void **state) {
    (void)state;
    static const char last[] = "ember_worker_requests_total{outcome=\"error\"} 3\n";
    for (int i = 0; i < 100 && !strstr(get("/readyz"), " 200 "); i++)
        usleep(50 * 1000); /* the loop tells about itself ten times a second */
    TEST_HAS(get("/healthz"), " 200 ");
    TEST_HAS(get("/livez"), " 200 ");
    TEST_HAS(get("/readyz"), " 200 ");
    const char *page = get("/metrics");
    for (int i = 0; i < 100 && !strstr(page, last); i++) {
        usleep(50 * 1000);
        page = get("/metrics");
    }
    TEST_HAS(page,
             "ember_worker_texts_total{source=\"memory\"} 5\n"); /* 3 embedded, 2 classified */
    TEST_HAS(page, "ember_worker_texts_total{source=\"shared\"} 2\n");
    TEST_HAS(page, last);
    TEST_HAS(page, "ember_worker_brokers_live 1\n");
    TEST_HAS(page, "\nember_worker_credit 128\n"); /* two runners */
    TEST_HAS(page, "\nember_worker_credit_used 0\n");
    TEST_HAS(page, "\nember_worker_batch_size_texts_bucket{le=\"1\"} ");
    TEST_TRUE(!strstr(page, "\nember_worker_busy_seconds_total 0\n"));
    TEST_HAS(page, "\nprocess_resident_memory_bytes ");
    TEST_HAS(page, "ember_worker_request_duration_seconds_bucket{le=\"+Inf\"} 5\n");
    TEST_HAS(page, "ember_cache_redis_up{state=\"off\"} 0\n");
    TEST_HAS(page, "model=\"m\"");
}

/* A new broker behind the same address: the worker says who it is and goes on. */
static void test_who_are_you(void **state) {
    (void)state;
    send_body((struct header){.type = WIRE_WHO_ARE_YOU}, view_make(NULL, 0));
    welcome();
    check_embed(450, WIRE_SOURCE_MEMORY, WIRE_SOURCE_MEMORY);
}

/* What came while a worker is leaving. */
struct leaving {
    bool pong, result, drain, nack, bye;
};

/* Reads until *flag is set. */
static void until(struct leaving *seen, const bool *flag) {
    for (uint64_t end_us = clock_us() + WAIT_US; !*flag;) {
        if (clock_us() > end_us)
            TEST_FAIL("pong %d result %d drain %d nack %d bye %d", seen->pong, seen->result,
                      seen->drain, seen->nack, seen->bye);
        zmq_pollitem_t item = {.socket = sock, .events = ZMQ_POLLIN};
        zmq_poll(&item, 1, 100);
        struct header header;
        zmq_msg_t body;
        enum header_verdict verdict;
        if (frame_recv_router(sock, &peer, &header, &body, &verdict) != FRAME_OK)
            continue;
        zmq_msg_close(&body);
        seen->pong |= header.type == WIRE_PONG && header.id == 7;
        seen->result |= header.type == WIRE_RESULT && header.id == 500 && header.status == 0;
        seen->nack |= header.type == WIRE_NACK && header.id == 501;
        if (header.type == WIRE_DRAIN) {
            seen->drain = true;
            TEST_EQ(header.credit, 0);
        }
        if (header.type == WIRE_BYE) {
            seen->bye = true;
            TEST_TRUE(seen->drain && seen->result); /* finished first */
        }
    }
}

static int exit_status(void) {
    int status = -1;
    TEST_TRUE(waitpid(worker, &status, 0) == worker);
    worker = 0;
    TEST_TRUE(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* What is in hand is finished before the worker leaves; what comes later goes back. */
static void test_drain(void **state) {
    (void)state;
    struct view texts[40];
    char names[40][16];
    for (int i = 0; i < 40; i++) {
        snprintf(names[i], sizeof names[i], "slow text %d", i);
        texts[i] = view_of(names[i]);
    }
    struct leaving seen = {0};
    dispatch_embed(500, texts, 40);
    send_body((struct header){.type = WIRE_PING, .id = 7}, view_make(NULL, 0));
    until(&seen, &seen.pong); /* so the request has been read */
    kill(worker, SIGTERM);
    until(&seen, &seen.drain);
    dispatch_embed(501, texts, 1);
    until(&seen, &seen.nack);
    until(&seen, &seen.bye);
    send_body((struct header){.type = WIRE_BYE_OK}, view_make(NULL, 0));
    TEST_EQ(exit_status(), 0);
}

/* Patience is over: what was not started goes to other workers, what runs is finished, and the
 * worker leaves in order. */
static void test_give_back(void **state) {
    (void)state;
    start_worker("sleep_us=200000", "50ms");
    welcome();
    struct view texts[8]; /* a batch of four for each runner: 0.8 s */
    char names[8][80];
    for (int i = 0; i < 8; i++) {
        snprintf(names[i], sizeof names[i],
                 "%d: a text of which not many more go into a batch with it", i);
        texts[i] = view_of(names[i]);
    }
    struct leaving seen = {0};
    dispatch_embed(500, texts, 8);
    send_body((struct header){.type = WIRE_PING, .id = 7}, view_make(NULL, 0));
    until(&seen, &seen.pong);
    usleep(50 * 1000); /* so the runners have it, and the next one waits */
    seen.pong = false;
    dispatch_embed(501, &(struct view){.data = "later", .bytes = 5}, 1);
    send_body((struct header){.type = WIRE_PING, .id = 7}, view_make(NULL, 0));
    until(&seen, &seen.pong);
    kill(worker, SIGTERM);
    until(&seen, &seen.nack);
    until(&seen, &seen.bye);
    send_body((struct header){.type = WIRE_BYE_OK}, view_make(NULL, 0));
    TEST_EQ(exit_status(), 0);
}

static void test_second_signal(void **state) {
    (void)state;
    start_worker("sleep_us=100000", "60s");
    welcome();
    const struct view texts[] = {view_of("x"), view_of("y"), view_of("z"), view_of("another")};
    struct leaving seen = {0};
    dispatch_embed(600, texts, 4);
    send_body((struct header){.type = WIRE_PING, .id = 7}, view_make(NULL, 0));
    until(&seen, &seen.pong);
    kill(worker, SIGTERM);
    until(&seen, &seen.drain);
    kill(worker, SIGTERM);
    TEST_EQ(exit_status(), 1);
}

static int setup(void **state) {
    (void)state;
    context = frame_context();
    sock = frame_socket(context, FRAME_WORKER_SIDE, 1000, NULL, NULL);
    size_t bytes = sizeof endpoint;
    if (!sock || zmq_bind(sock, "tcp://127.0.0.1:*") != 0 ||
        zmq_getsockopt(sock, ZMQ_LAST_ENDPOINT, endpoint, &bytes) != 0)
        return -1;
    if (!arena_init(&arena, codec_arena_bytes(LIMIT_REPLY_BYTES)))
        return -1;
    start_worker("us=200", "10s");
    welcome();
    return 0;
}

static int teardown(void **state) {
    (void)state;
    if (worker) {
        kill(worker, SIGKILL);
        waitpid(worker, NULL, 0);
    }
    arena_done(&arena);
    wire_out_done(&out);
    zmq_close(sock);
    zmq_ctx_term(context);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_embed),         cmocka_unit_test(test_classify),
        cmocka_unit_test(test_tokenize),      cmocka_unit_test(test_errors),
        cmocka_unit_test(test_http),          cmocka_unit_test(test_who_are_you),
        cmocka_unit_test(test_drain),         cmocka_unit_test(test_give_back),
        cmocka_unit_test(test_second_signal),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
