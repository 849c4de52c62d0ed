/* curve_test.c - keys, with the real programs: who gets in where, what each role may, and what
 * happens when certificates come, go or are broken while everything runs.
 *
 * One broker and one worker serve all tests; "web" and "other" are clients, "boss" an operator. All
 * texts hold MARK, and at the end no log of any process holds it, or a secret key. */
#include "support/keys.h"
#include "support/proc.h"

#include "base/clock.h"
#include "wire/codec.h"
#include "wire/session.h"

#include <dirent.h>
#include <ember/ember.h>

#define MARK "GEHEIM-4711"

enum {
    SOON_MS = 5000,
    RELOAD_MS = 3000, /* a certificate that comes or goes counts by then */
    NEVER_MS = 400,
    BROKER_MB = 256,
    FLOOD = 100,
};

static struct keys keys;
static struct cert web, other, boss, worker, stranger;
static char web_at[KEYS_PATH], other_at[KEYS_PATH], boss_at[KEYS_PATH], worker_at[KEYS_PATH];
static char stranger_at[KEYS_PATH], server_at[KEYS_PATH], wrong_server_at[KEYS_PATH];
static char clients[64], workers[64];
static struct proc broker, worker_proc, tool;
static void *context;

/* ---- the programs */

static void start_broker(void) {
    proc_start(&broker, "broker",
               (const char *[]){PROC_BROKER, "--clients", clients, "--workers", workers, "--http",
                                "off", "--log-level", "debug", "--curve-dir", keys.dir, NULL});
    TEST_TRUE(proc_wait_log(&broker, "event=started", SOON_MS * PROC_SLOW));
}

static void start_worker(const char *key) {
    proc_start(&worker_proc, "worker",
               (const char *[]){PROC_WORKER_FAKE,
                                "--name",
                                "w1",
                                "--threads",
                                "1",
                                "--http",
                                "off",
                                "--redis",
                                "off",
                                "--weights-cache",
                                "off",
                                "--model",
                                "m=fake:dim=8,slow=slow:300000,nan=nan",
                                "--broker",
                                workers,
                                "--curve-key",
                                key,
                                "--curve-server-key",
                                server_at,
                                NULL});
}

static int setup(void **state) {
    (void)state;
    struct cert wrong = {.role = CERT_SERVER};
    char text[CERT_FILE_BYTES];
    keys_make(&keys);
    web = other = boss = worker = stranger = (struct cert){.role = CERT_ANY};
    keys_add(&keys, "clients", "web", &web);
    keys_add(&keys, "clients", "other", &other);
    keys_add(&keys, "operators", "boss", &boss);
    keys_add(&keys, "workers", "w1", &worker);
    TEST_TRUE(cert_make_keys(&stranger) && cert_make_keys(&wrong));
    keys_secret(&keys, "web", &web, web_at);
    keys_secret(&keys, "other", &other, other_at);
    keys_secret(&keys, "boss", &boss, boss_at);
    keys_secret(&keys, "w1", &worker, worker_at);
    keys_secret(&keys, "stranger", &stranger, stranger_at);
    snprintf(server_at, sizeof server_at, "%s/server.key", keys.dir);
    snprintf(wrong_server_at, sizeof wrong_server_at, "%s/wrong.key", keys.dir);
    keys_write(wrong_server_at, text, cert_print(&wrong, false, text), 0644);
    snprintf(clients, sizeof clients, "tcp://127.0.0.1:%u", port_free());
    snprintf(workers, sizeof workers, "tcp://127.0.0.1:%u", port_free());
    context = frame_context();
    start_broker();
    start_worker(worker_at);
    TEST_TRUE(proc_wait_log(&broker, "event=worker-ready", SOON_MS * PROC_SLOW));
    return 0;
}

static int teardown(void **state) {
    (void)state;
    zmq_ctx_term(context);
    proc_stop_all(NULL);
    keys_remove(&keys);
    return 0;
}

/* ---- calls */

static ember_t *open_with(const char *endpoint, const char *key, const char *server_key) {
    struct ember_options options = EMBER_OPTIONS_INIT;
    struct ember_error error;
    ember_t *ember = NULL;
    options.key_file = key;
    options.server_key_file = server_key;
    options.timeout_ms = 10 * SOON_MS * PROC_SLOW; /* long: an answer before it is no time-out */
    if (ember_open(endpoint, &options, &ember, &error) != EMBER_OK)
        TEST_FAIL("open: %s", error.message);
    return ember;
}

static enum ember_status embed(ember_t *ember, const char *text, struct ember_error *error) {
    ember_result_t *result = NULL;
    error->message[0] = '\0';
    enum ember_status status = ember_embed(ember, &(const char *){text}, 1, NULL, &result, error);
    ember_result_destroy(&result);
    return status;
}

static enum ember_status once(const char *endpoint, const char *key, const char *server_key,
                              struct ember_error *error) {
    ember_t *ember = open_with(endpoint, key, server_key);
    enum ember_status status = embed(ember, MARK " once", error);
    ember_close(&ember);
    return status;
}

static void expect_ok(ember_t *ember) {
    struct ember_error error;
    if (embed(ember, MARK " ok", &error) != EMBER_OK)
        TEST_FAIL("%s: %s", ember_status_name(error.status), error.message);
}

static enum ember_status ask_status(ember_t *ember, uint32_t *n_workers) {
    ember_report_t *report = NULL;
    struct ember_error error;
    enum ember_status status = ember_report(ember, 0, &report, &error);
    for (*n_workers = 0; report && ember_report_worker(report, *n_workers);)
        ++*n_workers;
    ember_report_destroy(&report);
    return status;
}

static void expect_workers(uint32_t want, uint32_t ms) {
    ember_t *ember = open_with(clients, boss_at, server_at);
    uint32_t n = UINT32_MAX;
    for (uint64_t end_us = clock_us() + ms * 1000ull; clock_us() < end_us; usleep(20000)) {
        TEST_EQ(ask_status(ember, &n), EMBER_OK);
        if (n == want)
            break;
    }
    ember_close(&ember);
    TEST_EQ(n, want);
}

/* ---- tests */

static int run_tool(const char *const *argv) {
    proc_start(&tool, "tool", argv);
    TEST_TRUE(proc_wait(&tool, 2 * SOON_MS * PROC_SLOW));
    return tool.status;
}

static void test_right_keys(void **state) {
    (void)state;
    uint32_t n;
    ember_t *a = open_with(clients, web_at, server_at), *b = open_with(clients, boss_at, server_at);
    expect_ok(a);
    expect_ok(b);
    TEST_EQ(ask_status(a, &n), EMBER_PERMISSION_DENIED);
    TEST_EQ(ask_status(b, &n), EMBER_OK);
    TEST_EQ(n, 1);
    expect_ok(a); /* being told no harms no session */
    ember_close(&a);
    ember_close(&b);
    TEST_ROW("the tool");
    TEST_EQ(
        run_tool((const char *[]){PROC_CLI, "embed", "--broker", clients, "--key", web_at,
                                  "--server-key", server_at, "--output", "raw", "a text", NULL}),
        0);
    TEST_EQ(run_tool((const char *[]){PROC_CLI, "status", "--broker", clients, "--key", boss_at,
                                      "--server-key", server_at, NULL}),
            0);
    TEST_EQ(run_tool((const char *[]){PROC_CLI, "status", "--broker", clients, "--key", web_at,
                                      "--server-key", server_at, NULL}),
            1);
    TEST_TRUE(proc_wait_log(&tool, "PERMISSION_DENIED", SOON_MS));
    TEST_EQ(run_tool((const char *[]){PROC_CLI, "bench", "--broker", clients, "--key", web_at,
                                      "--server-key", server_at, "--requests", "10", "--warm-up",
                                      "0s", NULL}),
            0);
}

/* Told as what it is, and long before the deadline. */
static void test_wrong_keys(void **state) {
    (void)state;
    static struct proc plain;
    char plain_clients[64], plain_workers[64];
    snprintf(plain_clients, sizeof plain_clients, "tcp://127.0.0.1:%u", port_free());
    snprintf(plain_workers, sizeof plain_workers, "tcp://127.0.0.1:%u", port_free());
    proc_start(&plain, "plain",
               (const char *[]){PROC_BROKER, "--clients", plain_clients, "--workers", plain_workers,
                                "--http", "off", NULL});
    TEST_TRUE(proc_wait_log(&plain, "event=started", SOON_MS * PROC_SLOW));
    const struct {
        const char *row, *endpoint, *key, *server_key, *says;
    } rows[] = {
        {"no key", clients, NULL, NULL, "it wants a key"},
        {"unknown key", clients, stranger_at, server_at, "does not admit our key"},
        {"a worker's key", clients, worker_at, server_at, "does not admit our key"},
        {"client key on the worker port", workers, web_at, server_at, "does not admit our key"},
        {"operator key on the worker port", workers, boss_at, server_at, "does not admit our key"},
        {"another broker's key", clients, web_at, wrong_server_at, "server key"},
        {"a key for a plain broker", plain_clients, web_at, server_at, "uses no keys"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].row);
        struct ember_error error;
        uint64_t from_us = clock_us();
        TEST_EQ(once(rows[i].endpoint, rows[i].key, rows[i].server_key, &error),
                EMBER_UNAUTHENTICATED);
        TEST_TRUE(clock_us() - from_us < SOON_MS * 1000ull * PROC_SLOW);
        TEST_HAS(error.message, rows[i].says);
        TEST_EQ(error.may_have_run, 0);
    }
    proc_kill(&plain);
    TEST_ROW("files that make no client");
    static const struct {
        const char *key, *server_key;
        enum ember_status want;
    } bad[] = {
        {"/nowhere", server_at, EMBER_UNAVAILABLE},
        {web_at, NULL, EMBER_INVALID_ARGUMENT},
        {NULL, server_at, EMBER_INVALID_ARGUMENT},
        {server_at, server_at, EMBER_INVALID_ARGUMENT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ember_options options = EMBER_OPTIONS_INIT;
        ember_t *ember = NULL;
        options.key_file = bad[i].key;
        options.server_key_file = bad[i].server_key;
        TEST_EQ(ember_open(clients, &options, &ember, NULL), bad[i].want);
        TEST_TRUE(!ember);
    }
    expect_workers(1, SOON_MS);
}

/* A worker without the right key is told why in its log and never registered. */
static void test_wrong_worker(void **state) {
    (void)state;
    static struct proc impostor;
    static const struct {
        const char *row, *key, *server_key, *says;
    } rows[] = {
        {"a client's key", web_at, server_at, "does not admit our key"},
        {"another broker's key", worker_at, wrong_server_at, "server key"},
        {"no key", NULL, NULL, "it wants a key"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].row);
        const char *argv[] = {PROC_WORKER_FAKE,
                              "--name",
                              "impostor",
                              "--http",
                              "off",
                              "--redis",
                              "off",
                              "--weights-cache",
                              "off",
                              "--model",
                              "m=fake:dim=8",
                              "--broker",
                              workers,
                              rows[i].key ? "--curve-key" : NULL,
                              rows[i].key,
                              "--curve-server-key",
                              rows[i].server_key,
                              NULL};
        proc_start(&impostor, "impostor", argv);
        TEST_TRUE(proc_wait_log(&impostor, rows[i].says, SOON_MS * PROC_SLOW));
        proc_kill(&impostor);
    }
    expect_workers(1, SOON_MS);
    TEST_ROW("its key is admitted later");
    char late_at[KEYS_PATH];
    struct cert late = {.role = CERT_WORKER};
    TEST_TRUE(cert_make_keys(&late));
    keys_secret(&keys, "late", &late, late_at);
    proc_start(&impostor, "impostor",
               (const char *[]){PROC_WORKER_FAKE, "--name", "late", "--http", "off", "--redis",
                                "off", "--weights-cache", "off", "--model", "m=fake:dim=8",
                                "--broker", workers, "--curve-key", late_at, "--curve-server-key",
                                server_at, NULL});
    TEST_TRUE(proc_wait_log(&impostor, "does not admit our key", SOON_MS * PROC_SLOW));
    keys_put(&keys, "workers", "late", &late);
    TEST_TRUE(proc_wait_log(&impostor, "event=broker-serving", RELOAD_MS * PROC_SLOW));
    proc_kill(&impostor);
    keys_take_away(&keys, "workers", "late");
    expect_workers(1, SOON_MS);
}

/* ---- peers played by hand, with keys */

struct peer {
    void *socket;
    uint64_t epoch;
    uint16_t service;
    struct header header; /* of the last message heard */
    struct arena arena;
};

static void peer_dial(struct peer *self, const char *endpoint, const struct cert *cert) {
    struct err err;
    struct frame_curve curve = keys_curve(cert, &keys.server);
    memset(self, 0, sizeof *self);
    self->socket = frame_socket(context, FRAME_CLIENT, 64, &curve, &err);
    TEST_TRUE(self->socket && zmq_connect(self->socket, endpoint) == 0);
}

static void peer_close(struct peer *self) {
    zmq_close(self->socket);
    arena_done(&self->arena);
}

static bool peer_try(struct peer *self, struct header header, struct view body, uint32_t ms) {
    uint64_t end_us = clock_us() + ms * 1000ull;
    do {
        zmq_msg_t msg;
        TEST_TRUE(frame_body(&msg, body));
        if (frame_send_dealer(self->socket, &header, &msg) == FRAME_OK)
            return true;
        usleep(2000);
    } while (clock_us() < end_us);
    return false;
}

static void peer_say(struct peer *self, struct header header, struct view body) {
    TEST_TRUE(peer_try(self, header, body, SOON_MS * PROC_SLOW));
}

/* Waits for a message of this type; its body goes to the arena, to be read from *body. */
static bool peer_hear(struct peer *self, uint8_t type, struct view *body, uint32_t ms) {
    for (uint64_t end_us = clock_us() + ms * 1000ull; clock_us() < end_us;) {
        zmq_msg_t msg;
        enum header_verdict verdict;
        if (frame_recv_dealer(self->socket, &self->header, &msg, &verdict) != FRAME_OK) {
            usleep(1000);
            continue;
        }
        bool found = self->header.type == type;
        if (found && body) {
            arena_done(&self->arena);
            TEST_TRUE(arena_init(&self->arena, 64 + zmq_msg_size(&msg)));
            char *copy = arena_take(&self->arena, zmq_msg_size(&msg) + 1);
            memcpy(copy, zmq_msg_data(&msg), zmq_msg_size(&msg));
            *body = view_make(copy, zmq_msg_size(&msg));
        }
        zmq_msg_close(&msg);
        if (found)
            return true;
    }
    return false;
}

static void peer_say_hello(struct peer *self) {
    struct wire_service_name want = {.model = view_of("m"), .task = WIRE_TASK_EMBED};
    struct wire_hello hello = {.protocol_min = WIRE_PROTOCOL,
                               .protocol_max = WIRE_PROTOCOL,
                               .name = view_of("by-hand"),
                               .version = view_of("0"),
                               .want = &want,
                               .n_want = 1};
    struct wire_out out = {0};
    TEST_EQ(session_hello_encode(&hello, &out), STATUS_OK);
    peer_say(self, (struct header){.type = WIRE_HELLO}, wire_out_view(&out));
    wire_out_done(&out);
}

static void peer_hello(struct peer *self) {
    struct wire_welcome welcome;
    struct arena arena;
    struct view body;
    peer_say_hello(self);
    TEST_TRUE(peer_hear(self, WIRE_WELCOME, &body, SOON_MS * PROC_SLOW));
    TEST_EQ(self->header.status, 0);
    TEST_TRUE(arena_init(&arena, session_arena_bytes(body.bytes)));
    TEST_EQ(session_welcome_decode(body, &arena, &welcome, NULL), STATUS_OK);
    self->epoch = welcome.session;
    self->service = (uint16_t)welcome.services[0].number;
    arena_done(&arena);
}

static void peer_request(struct peer *self, uint64_t epoch, uint64_t id, const char *text) {
    struct view texts[] = {view_of(text)};
    struct wire_embed_request ask = {.texts = texts, .n_texts = 1};
    struct wire_out out = {0};
    TEST_EQ(codec_embed_request_encode(&ask, &out), STATUS_OK);
    peer_say(self,
             (struct header){.type = WIRE_REQUEST,
                             .lane = WIRE_LANE_NORMAL,
                             .attempt = 1,
                             .id = id,
                             .epoch = epoch,
                             .budget_us = SOON_MS * 1000u * PROC_SLOW,
                             .service = self->service},
             wire_out_view(&out));
    wire_out_done(&out);
}

/* An admitted client that knows another's session number and request ids can neither take its
 * answers nor end its requests. */
static void test_others_sessions(void **state) {
    (void)state;
    struct peer victim, thief;
    peer_dial(&victim, clients, &web);
    peer_dial(&thief, clients, &other);
    peer_hello(&victim);
    peer_hello(&thief);
    TEST_TRUE(victim.epoch != thief.epoch);
    peer_request(&victim, victim.epoch, 7, "slow " MARK);
    peer_request(&thief, victim.epoch, 7, "slow " MARK); /* the same, as a repeat would look */
    TEST_TRUE(peer_hear(&thief, WIRE_WHO_ARE_YOU, NULL, SOON_MS * PROC_SLOW));
    peer_say(&thief, (struct header){.type = WIRE_CANCEL, .id = 7, .epoch = victim.epoch},
             view_make(NULL, 0));
    TEST_TRUE(peer_hear(&thief, WIRE_WHO_ARE_YOU, NULL, SOON_MS * PROC_SLOW));
    peer_say(&thief, (struct header){.type = WIRE_CANCEL, .id = 7, .epoch = thief.epoch},
             view_make(NULL, 0));
    peer_say(&thief, (struct header){.type = WIRE_BYE, .epoch = victim.epoch}, view_make(NULL, 0));
    TEST_TRUE(peer_hear(&victim, WIRE_REPLY, NULL, SOON_MS * PROC_SLOW));
    TEST_EQ(victim.header.id, 7);
    TEST_EQ(victim.header.status, 0);
    TEST_TRUE(!peer_hear(&thief, WIRE_REPLY, NULL, NEVER_MS));
    peer_request(&victim, victim.epoch, 8, MARK);
    TEST_TRUE(peer_hear(&victim, WIRE_REPLY, NULL, SOON_MS * PROC_SLOW));
    peer_close(&victim);
    peer_close(&thief);
}

/* Two connections of one key have its limit together; another key is not concerned. */
static void test_limits(void **state) {
    (void)state;
    struct cert small = {.role = CERT_CLIENT, .max_requests = 2};
    struct peer one, two, big;
    uint32_t good = 0;
    size_t from = proc_log_bytes(&broker);
    keys_add(&keys, "clients", "small", &small);
    proc_signal(&broker, SIGHUP);
    TEST_TRUE(proc_wait_log_from(&broker, from, "event=keys-loaded", RELOAD_MS * PROC_SLOW));
    peer_dial(&one, clients, &small);
    peer_dial(&two, clients, &small);
    peer_dial(&big, clients, &other);
    peer_hello(&one);
    peer_hello(&two);
    peer_hello(&big);
    peer_request(&one, one.epoch, 1, "slow 1 " MARK);
    peer_request(&one, one.epoch, 2, "slow 2 " MARK);
    TEST_TRUE(!peer_hear(&one, WIRE_REPLY, NULL, 50)); /* both are there before the others */
    peer_request(&two, two.epoch, 1, "slow 3 " MARK);
    TEST_TRUE(peer_hear(&two, WIRE_REPLY, NULL, SOON_MS * PROC_SLOW));
    TEST_EQ(two.header.status, STATUS_RESOURCE_EXHAUSTED);
    peer_request(&big, big.epoch, 1, MARK);
    for (int i = 0; i < 2; i++) {
        TEST_TRUE(peer_hear(&one, WIRE_REPLY, NULL, SOON_MS * PROC_SLOW));
        good += one.header.status == STATUS_OK;
    }
    TEST_EQ(good, 2);
    TEST_TRUE(peer_hear(&big, WIRE_REPLY, NULL, SOON_MS * PROC_SLOW));
    TEST_EQ(big.header.status, STATUS_OK);
    peer_request(&two, two.epoch, 2, MARK); /* and there is room again */
    TEST_TRUE(peer_hear(&two, WIRE_REPLY, NULL, SOON_MS * PROC_SLOW));
    TEST_EQ(two.header.status, STATUS_OK);
    peer_close(&one);
    peer_close(&two);
    peer_close(&big);
    keys_take_away(&keys, "clients", "small");
}

/* What workers say and what a broker says, said by a client: none of it registers a worker, stops,
 * drains or re-routes anything. */
static void test_types_of_others(void **state) {
    (void)state;
    static const uint8_t types[] = {WIRE_READY,  WIRE_READY_OK,  WIRE_DISPATCH, WIRE_RESULT,
                                    WIRE_NACK,   WIRE_HEARTBEAT, WIRE_DRAIN,    WIRE_BYE_OK,
                                    WIRE_GOAWAY, WIRE_WELCOME,   WIRE_REPLY,    WIRE_WHO_ARE_YOU};
    struct wire_model model = {.name = view_of("m"),
                               .fingerprint = view_of("00"),
                               .precision = view_of("f32"),
                               .kernel = view_of("none"),
                               .dim = 8,
                               .max_tokens = 64,
                               .tasks = 1U << WIRE_TASK_EMBED};
    struct wire_ready ready = {.protocol_min = WIRE_PROTOCOL,
                               .protocol_max = WIRE_PROTOCOL,
                               .uuid = 666,
                               .name = view_of("evil"),
                               .host = view_of("h"),
                               .version = view_of("0"),
                               .tier = view_of("standard"),
                               .models = &model,
                               .n_models = 1};
    struct wire_out out = {0};
    struct peer evil;
    ember_t *ember = open_with(clients, other_at, server_at);
    TEST_EQ(session_ready_encode(&ready, &out), STATUS_OK);
    peer_dial(&evil, clients, &web);
    for (int session = 0; session < 2; session++) {
        if (session)
            peer_hello(&evil);
        for (size_t i = 0; i < sizeof types; i++)
            for (uint64_t id = 0; id < 4; id++)
                peer_say(&evil,
                         (struct header){
                             .type = types[i], .credit = 1000, .id = id, .epoch = evil.epoch},
                         types[i] == WIRE_READY ? wire_out_view(&out) : view_make(NULL, 0));
        expect_ok(ember);
        expect_workers(1, SOON_MS);
    }
    peer_request(&evil, evil.epoch, 1, MARK); /* it has harmed not even itself */
    TEST_TRUE(peer_hear(&evil, WIRE_REPLY, NULL, SOON_MS * PROC_SLOW));
    wire_out_done(&out);
    peer_close(&evil);
    TEST_ROW("on the worker port it is not even heard");
    peer_dial(&evil, workers, &web);
    TEST_TRUE(!peer_try(&evil, (struct header){.type = WIRE_READY}, view_make(NULL, 0), NEVER_MS));
    peer_close(&evil);
    expect_ok(ember);
    ember_close(&ember);
}

/* ---- certificates come and go */

static void test_new_key(void **state) {
    (void)state;
    struct ember_error error;
    TEST_EQ(once(clients, stranger_at, server_at, &error), EMBER_UNAUTHENTICATED);
    keys_put(&keys, "clients", "stranger", &stranger);
    enum ember_status status = EMBER_UNAUTHENTICATED;
    uint64_t end_us = clock_us() + RELOAD_MS * 1000ull * PROC_SLOW;
    while (status == EMBER_UNAUTHENTICATED && clock_us() < end_us)
        status = once(clients, stranger_at, server_at, &error);
    TEST_EQ(status, EMBER_OK);
    keys_take_away(&keys, "clients", "stranger");
}

static void wait_for(ember_t *ember, enum ember_status want) {
    struct ember_error error;
    enum ember_status status;
    uint64_t end_us = clock_us() + RELOAD_MS * 1000ull * PROC_SLOW;
    while ((status = embed(ember, MARK " again", &error)) != want && clock_us() < end_us)
        usleep(10000);
    if (status != want)
        TEST_FAIL("%s: %s", ember_status_name(status), error.message);
}

static void test_revoked(void **state) {
    (void)state;
    ember_t *gone = open_with(clients, web_at, server_at);
    ember_t *stays = open_with(clients, other_at, server_at);
    struct peer by_hand;
    struct view body;
    peer_dial(&by_hand, clients, &web);
    peer_hello(&by_hand);
    expect_ok(gone);
    expect_ok(stays);
    keys_take_away(&keys, "clients", "web");
    wait_for(gone, EMBER_UNAUTHENTICATED);
    TEST_ROW("a connection that stays has no session, and gets none");
    TEST_TRUE(peer_hear(&by_hand, WIRE_WELCOME, &body, SOON_MS * PROC_SLOW));
    TEST_EQ(by_hand.header.status, STATUS_UNAUTHENTICATED);
    peer_request(&by_hand, by_hand.epoch, 1, MARK);
    TEST_TRUE(!peer_hear(&by_hand, WIRE_REPLY, NULL, NEVER_MS));
    peer_say_hello(&by_hand);
    TEST_TRUE(peer_hear(&by_hand, WIRE_WELCOME, &body, SOON_MS * PROC_SLOW));
    TEST_EQ(by_hand.header.status, STATUS_UNAUTHENTICATED);
    TEST_ROW("others are not touched");
    expect_ok(stays);
    TEST_ROW("and back");
    keys_put(&keys, "clients", "web", &web);
    wait_for(gone, EMBER_OK);
    peer_close(&by_hand);
    ember_close(&gone);
    ember_close(&stays);
}

static void test_revoked_worker(void **state) {
    (void)state;
    size_t from = proc_log_bytes(&broker);
    keys_take_away(&keys, "workers", "w1");
    TEST_TRUE(proc_wait_log_from(&broker, from, "event=worker-closed", RELOAD_MS * PROC_SLOW));
    expect_workers(0, SOON_MS);
    keys_put(&keys, "workers", "w1", &worker);
    expect_workers(1, 2 * SOON_MS * PROC_SLOW);
}

static void test_sighup(void **state) {
    (void)state;
    size_t from = proc_log_bytes(&broker);
    proc_signal(&broker, SIGHUP);
    TEST_TRUE(proc_wait_log_from(&broker, from, "event=keys-loaded", SOON_MS * PROC_SLOW));
}

/* A bad file admits nobody, is named, and harms nobody else; a directory that cannot be read admits
 * nobody new and cuts nobody off. */
static void test_broken(void **state) {
    (void)state;
    char path[KEYS_PATH], folder[KEYS_PATH], away[KEYS_PATH];
    ember_t *ember = open_with(clients, web_at, server_at);
    expect_ok(ember);
    size_t from = proc_log_bytes(&broker);
    keys_path(&keys, "clients", "half", path);
    keys_write(path, "curve\n    public-key = \"", 24, 0644);
    TEST_TRUE(proc_wait_log_from(&broker, from, "event=key-file-refused", RELOAD_MS * PROC_SLOW));
    TEST_TRUE(proc_wait_log_from(&broker, from, "half.key", SOON_MS));
    expect_ok(ember);
    from = proc_log_bytes(&broker);
    keys_put(&keys, "workers", "both", &other);
    TEST_TRUE(proc_wait_log_from(&broker, from, "one key is both", RELOAD_MS * PROC_SLOW));
    expect_ok(ember);
    keys_take_away(&keys, "workers", "both");
    keys_take_away(&keys, "clients", "half");
    from = proc_log_bytes(&broker);
    snprintf(folder, sizeof folder, "%s/clients", keys.dir);
    snprintf(away, sizeof away, "%s/away", keys.dir);
    TEST_TRUE(rename(folder, away) == 0);
    TEST_TRUE(proc_wait_log_from(&broker, from, "event=keys-unreadable", RELOAD_MS * PROC_SLOW));
    expect_ok(ember);
    struct peer late;
    peer_dial(&late, clients, &other);
    TEST_TRUE(!peer_try(&late, (struct header){.type = WIRE_PING}, view_make(NULL, 0), NEVER_MS));
    from = proc_log_bytes(&broker);
    TEST_TRUE(rename(away, folder) == 0);
    TEST_TRUE(proc_wait_log_from(&broker, from, "event=keys-loaded", RELOAD_MS * PROC_SLOW));
    peer_hello(&late);
    peer_close(&late);
    expect_ok(ember);
    ember_close(&ember);
}

static void test_refuses_to_start(void **state) {
    (void)state;
    static struct proc twin;
    static const struct {
        const char *row, *folder, *name;
        bool duplicate;
        const char *says;
    } rows[] = {
        {"a bad file", "clients", "bad", false, "bad.key"},
        {"a key in two roles", "operators", "twice", true, "one key is both"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].row);
        char path[KEYS_PATH];
        keys_path(&keys, rows[i].folder, rows[i].name, path);
        if (rows[i].duplicate)
            keys_put(&keys, rows[i].folder, rows[i].name, &web);
        else
            keys_write(path, "x", 1, 0644);
        proc_start(&twin, "twin",
                   (const char *[]){PROC_BROKER, "--clients", "tcp://127.0.0.1:*", "--workers",
                                    "tcp://127.0.0.1:*", "--http", "off", "--curve-dir", keys.dir,
                                    NULL});
        TEST_TRUE(proc_wait(&twin, SOON_MS * PROC_SLOW));
        TEST_EQ(twin.status, 2);
        TEST_TRUE(proc_wait_log(&twin, rows[i].says, SOON_MS));
        keys_take_away(&keys, rows[i].folder, rows[i].name);
    }
    TEST_ROW("no directory");
    proc_start(&twin, "twin",
               (const char *[]){PROC_BROKER, "--clients", "tcp://127.0.0.1:*", "--workers",
                                "tcp://127.0.0.1:*", "--http", "off", "--curve-dir", "/nowhere",
                                NULL});
    TEST_TRUE(proc_wait(&twin, SOON_MS * PROC_SLOW));
    TEST_EQ(twin.status, 1);
    TEST_ROW("a port for others without keys is warned of");
    proc_start(&twin, "twin",
               (const char *[]){PROC_BROKER, "--clients", "tcp://0.0.0.0:*", "--workers",
                                "tcp://127.0.0.1:*", "--http", "off", NULL});
    TEST_TRUE(proc_wait_log(&twin, "event=open-port endpoint=\"tcp://0.0.0.0", SOON_MS));
    proc_kill(&twin);
}

/* Strangers knock all the time: who is in is served, and the broker's memory stays bounded. */
static void test_flood(void **state) {
    (void)state;
    static void *sockets[FLOOD];
    struct err err;
    struct frame_curve unknown = keys_curve(&stranger, &keys.server);
    ember_t *ember = open_with(clients, web_at, server_at);
    for (int i = 0; i < FLOOD; i++) {
        sockets[i] = frame_socket(context, FRAME_CLIENT, 8, i % 3 ? &unknown : NULL, &err);
        TEST_TRUE(sockets[i] && zmq_connect(sockets[i], i % 2 ? clients : workers) == 0);
    }
    for (uint64_t end_us = clock_us() + 1500 * 1000; clock_us() < end_us;)
        expect_ok(ember);
    for (int i = 0; i < FLOOD; i++)
        zmq_close(sockets[i]);
    expect_ok(ember);
    ember_close(&ember);
    TEST_TRUE(proc_running(&broker));
    if (proc_peak_bytes(&broker) > (size_t)BROKER_MB * PROC_SLOW << 20)
        TEST_FAIL("the broker had %zu bytes", proc_peak_bytes(&broker));
}

/* What is wrong with a text is said without the text. */
static void test_errors_without_texts(void **state) {
    (void)state;
    static char too_long[70000];
    memset(too_long, 'x', sizeof too_long - 1);
    memcpy(too_long, MARK, sizeof MARK - 1);
    static const struct {
        const char *row, *text, *labels[2], *template;
        enum ember_status want;
    } rows[] = {
        {"not UTF-8", MARK "\xff", {NULL}, NULL, EMBER_INVALID_ARGUMENT},
        {"too long", too_long, {NULL}, NULL, EMBER_INVALID_ARGUMENT},
        {"broken output", "nan " MARK, {NULL}, NULL, EMBER_INTERNAL},
        {"labels alike", MARK, {MARK, MARK}, NULL, EMBER_INVALID_ARGUMENT},
        {"label that is not UTF-8", MARK, {MARK "\xfe", "b"}, NULL, EMBER_INVALID_ARGUMENT},
        {"template without place", MARK, {MARK "1", "b"}, MARK, EMBER_INVALID_ARGUMENT},
    };
    ember_t *ember = open_with(clients, web_at, server_at);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].row);
        struct ember_classify_options options = EMBER_CLASSIFY_OPTIONS_INIT;
        struct ember_error error = {.message = ""};
        ember_result_t *result = NULL;
        options.hypothesis_template = rows[i].template;
        enum ember_status status = rows[i].labels[0]
                                       ? ember_classify(ember, &rows[i].text, 1, rows[i].labels, 2,
                                                        &options, &result, &error)
                                       : embed(ember, rows[i].text, &error);
        TEST_EQ(status, rows[i].want);
        TEST_TRUE(error.message[0] && !strstr(error.message, MARK));
    }
    ember_close(&ember);
}

/* Last: what everybody printed. */
static void test_logs(void **state) {
    (void)state;
    const struct cert *all[] = {&web, &other, &boss, &worker, &stranger, &keys.server};
    DIR *dir = opendir(proc_dir());
    uint32_t n = 0;
    TEST_TRUE(dir != NULL);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char path[512];
        snprintf(path, sizeof path, "%s/%.255s", proc_dir(), entry->d_name);
        FILE *f = entry->d_name[0] == '.' ? NULL : fopen(path, "re");
        if (!f)
            continue;
        n++;
        char line[8192], key[CERT_KEY_TEXT];
        while (fgets(line, sizeof line, f)) {
            if (strstr(line, MARK))
                TEST_FAIL("%s: %s", entry->d_name, line);
            for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
                cert_key_text(all[i]->secret_key, key);
                if (strstr(line, key))
                    TEST_FAIL("%s: a secret key", entry->d_name);
            }
        }
        fclose(f);
    }
    closedir(dir);
    TEST_TRUE(n >= 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right_keys),     cmocka_unit_test(test_wrong_keys),
        cmocka_unit_test(test_wrong_worker),   cmocka_unit_test(test_others_sessions),
        cmocka_unit_test(test_limits),         cmocka_unit_test(test_types_of_others),
        cmocka_unit_test(test_new_key),        cmocka_unit_test(test_revoked),
        cmocka_unit_test(test_revoked_worker), cmocka_unit_test(test_sighup),
        cmocka_unit_test(test_broken),         cmocka_unit_test(test_refuses_to_start),
        cmocka_unit_test(test_flood),          cmocka_unit_test(test_errors_without_texts),
        cmocka_unit_test(test_logs),
    };
    return proc_report(cmocka_run_group_tests(tests, setup, teardown));
}
