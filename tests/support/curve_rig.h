/* curve_rig.h - a broker and a worker with keys, as real processes, for tests of keys: a client
 * "web", another "other", an operator "boss", the worker "w1", and a stranger's key that is not
 * admitted. Peers can be played by hand on sockets of their own.
 *
 * All texts hold MARK; curve_logs() is to be the last test. Threads: one. */
#ifndef EMBER_TEST_CURVE_RIG_H
#define EMBER_TEST_CURVE_RIG_H

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
};

static struct keys keys;
static struct cert web, other, boss, worker, stranger;
static char web_at[KEYS_PATH], other_at[KEYS_PATH], boss_at[KEYS_PATH], worker_at[KEYS_PATH];
static char stranger_at[KEYS_PATH], server_at[KEYS_PATH], wrong_server_at[KEYS_PATH];
static char clients[64], workers[64];
static struct proc broker, worker_proc, tool;
static void *context;

/* ---- the programs */

static inline void start_broker(void) {
    proc_start(&broker, "broker",
               (const char *[]){PROC_BROKER, "--clients", clients, "--workers", workers, "--http",
                                "off", "--log-level", "debug", "--curve-dir", keys.dir, NULL});
    TEST_TRUE(proc_wait_log(&broker, "event=started", SOON_MS * PROC_SLOW));
}

static inline void start_worker(const char *key) {
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
                                "m=fake:dim=8,slow=slow:1000000,nan=nan",
                                "--broker",
                                workers,
                                "--curve-key",
                                key,
                                "--curve-server-key",
                                server_at,
                                NULL});
}

static inline int curve_start(void **state) {
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

static inline int curve_stop(void **state) {
    (void)state;
    zmq_ctx_term(context);
    proc_stop_all(NULL);
    keys_remove(&keys);
    return 0;
}

/* ---- calls */

static inline ember_t *open_with(const char *endpoint, const char *key, const char *server_key) {
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

static inline enum ember_status embed(ember_t *ember, const char *text, struct ember_error *error) {
    ember_result_t *result = NULL;
    error->message[0] = '\0';
    enum ember_status status = ember_embed(ember, &(const char *){text}, 1, NULL, &result, error);
    ember_result_destroy(&result);
    return status;
}

static inline enum ember_status once(const char *endpoint, const char *key, const char *server_key,
                                     struct ember_error *error) {
    ember_t *ember = open_with(endpoint, key, server_key);
    enum ember_status status = embed(ember, MARK " once", error);
    ember_close(&ember);
    return status;
}

static inline void expect_ok(ember_t *ember) {
    struct ember_error error;
    if (embed(ember, MARK " ok", &error) != EMBER_OK)
        TEST_FAIL("%s: %s", ember_status_name(error.status), error.message);
}

static inline enum ember_status ask_status(ember_t *ember, uint32_t *n_workers) {
    ember_report_t *report = NULL;
    struct ember_error error;
    enum ember_status status = ember_report(ember, 0, &report, &error);
    for (*n_workers = 0; report && ember_report_worker(report, *n_workers);)
        ++*n_workers;
    ember_report_destroy(&report);
    return status;
}

static inline void expect_workers(uint32_t want, uint32_t ms) {
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

static inline int run_tool(const char *const *argv) {
    proc_start(&tool, "tool", argv);
    TEST_TRUE(proc_wait(&tool, 2 * SOON_MS * PROC_SLOW));
    return tool.status;
}

/* ---- peers played by hand, with keys */

struct peer {
    void *socket;
    uint32_t in_a_row; /* see frame_recv_dealer() */
    uint64_t epoch;
    uint16_t service;
    struct header header; /* of the last message heard */
    struct arena arena;
};

static inline void peer_dial(struct peer *self, const char *endpoint, const struct cert *cert) {
    struct err err;
    struct frame_curve curve = keys_curve(cert, &keys.server);
    memset(self, 0, sizeof *self);
    self->socket = frame_socket(context, FRAME_CLIENT, 64, &curve, &err);
    TEST_TRUE(self->socket && zmq_connect(self->socket, endpoint) == 0);
}

static inline void peer_close(struct peer *self) {
    zmq_close(self->socket);
    arena_done(&self->arena);
}

static inline bool peer_try(struct peer *self, struct header header, struct view body,
                            uint32_t ms) {
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

static inline void peer_say(struct peer *self, struct header header, struct view body) {
    TEST_TRUE(peer_try(self, header, body, SOON_MS * PROC_SLOW));
}

/* Waits for a message of this type; its body goes to the arena, to be read from *body. */
static inline bool peer_hear(struct peer *self, uint8_t type, struct view *body, uint32_t ms) {
    for (uint64_t end_us = clock_us() + ms * 1000ull; clock_us() < end_us;) {
        zmq_msg_t msg;
        enum header_verdict verdict;
        if (frame_recv_dealer(self->socket, &self->in_a_row, &self->header, &msg, &verdict) !=
            FRAME_OK) {
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

static inline void peer_say_hello(struct peer *self) {
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

static inline void peer_hello(struct peer *self) {
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

static inline void peer_request(struct peer *self, uint64_t epoch, uint64_t id, const char *text) {
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

/* Last: what everybody printed. */
static inline void curve_logs(void **state) {
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

#endif
