/* guard_test.c - the answer to every sort of question libzmq could ask, then libzmq itself asking:
 * which handshakes succeed on which port, and what a changed directory changes. */
#include "guard.h"

#include "base/clock.h"
#include "base/log.h"
#include "support/keys.h"

enum { SOON_MS = 10000, NEVER_MS = 300 };

static struct keys keys;
static struct cert client, worker, operator_, stranger;
static void *context;
static guard_t *guard;

static int setup(void **state) {
    (void)state;
    log_set_level(LOG_ERROR);
    keys_make(&keys);
    client = worker = operator_ = stranger = (struct cert){.role = CERT_ANY};
    client.max_requests = 5;
    keys_add(&keys, "clients", "client", &client);
    keys_add(&keys, "workers", "worker", &worker);
    keys_add(&keys, "operators", "operator", &operator_);
    TEST_TRUE(cert_make_keys(&stranger));
    context = frame_context();
    return 0;
}

static int teardown(void **state) {
    (void)state;
    guard_stop(&guard);
    zmq_ctx_term(context);
    keys_remove(&keys);
    return 0;
}

static void start(void) {
    struct err err;
    if (guard_start(context, keys.dir, &guard, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
}

static void test_judge(void **state) {
    (void)state;
    keyring_t *ring = NULL;
    TEST_EQ(keyring_load(keys.dir, 1, NULL, NULL, &ring, NULL), STATUS_OK);
    static const struct {
        const char *row;
        uint32_t n;
        const char *version, *domain, *mechanism;
        const struct cert *who;
        uint32_t key_bytes;
        bool closed;
        const char *code;
    } rows[] = {
        {"client", 7, "1.0", "ember.clients", "CURVE", &client, 32, false, "200"},
        {"operator", 7, "1.0", "ember.clients", "CURVE", &operator_, 32, false, "200"},
        {"worker", 7, "1.0", "ember.workers", "CURVE", &worker, 32, false, "200"},
        {"worker on the client port", 7, "1.0", "ember.clients", "CURVE", &worker, 32, false,
         "400"},
        {"client on the worker port", 7, "1.0", "ember.workers", "CURVE", &client, 32, false,
         "400"},
        {"operator on the worker port", 7, "1.0", "ember.workers", "CURVE", &operator_, 32, false,
         "400"},
        {"stranger", 7, "1.0", "ember.clients", "CURVE", &stranger, 32, false, "400"},
        {"plain", 6, "1.0", "ember.clients", "NULL", &client, 0, false, "500"},
        {"plain with a key", 7, "1.0", "ember.clients", "NULL", &client, 32, false, "400"},
        {"a password", 7, "1.0", "ember.clients", "PLAIN", &client, 32, false, "400"},
        {"short key", 7, "1.0", "ember.clients", "CURVE", &client, 31, false, "400"},
        {"no key", 7, "1.0", "ember.clients", "CURVE", &client, 0, false, "400"},
        {"no domain", 7, "1.0", "", "CURVE", &client, 32, false, "500"},
        {"another domain", 7, "1.0", "ember.clients2", "CURVE", &client, 32, false, "500"},
        {"another version", 7, "2.0", "ember.clients", "CURVE", &client, 32, false, "500"},
        {"too many frames", 8, "1.0", "ember.clients", "CURVE", &client, 32, false, "500"},
        {"nothing", 0, "1.0", "ember.clients", "CURVE", &client, 32, false, "500"},
        {"directory lost", 7, "1.0", "ember.clients", "CURVE", &client, 32, true, "300"},
        {"directory lost, wrong domain", 7, "1.0", "x", "CURVE", &client, 32, true, "500"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].row);
        struct guard_request request = {
            .n = rows[i].n,
            .frames = {view_of(rows[i].version), view_of("1"), view_of(rows[i].domain),
                       view_of("10.0.0.1"), view_of(""), view_of(rows[i].mechanism),
                       view_make(rows[i].who->public_key, rows[i].key_bytes)}};
        struct guard_answer a = guard_judge(&request, rows[i].closed ? NULL : ring);
        TEST_STR_EQ(a.code, rows[i].code);
        char key[CERT_KEY_TEXT];
        cert_key_text(rows[i].who->public_key, key);
        TEST_STR_EQ(a.user, strcmp(a.code, "200") == 0 ? key : "");
    }
    keyring_destroy(&ring);
}

static void test_refuses_to_start(void **state) {
    (void)state;
    static const struct {
        const char *row, *path, *text;
        mode_t mode;
        enum status want;
    } rows[] = {
        {"bad certificate", "clients/x.key", "x", 0644, STATUS_INVALID_ARGUMENT},
        {"no own key", "server.key_secret", NULL, 0, STATUS_UNAVAILABLE},
        {"own key bad", "server.key_secret", "curve\n", 0600, STATUS_DATA_LOSS},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].row);
        char path[KEYS_PATH];
        struct err err = {.text = ""};
        snprintf(path, sizeof path, "%s/%s", keys.dir, rows[i].path);
        if (rows[i].text)
            keys_write(path, rows[i].text, strlen(rows[i].text), rows[i].mode);
        else
            unlink(path);
        TEST_EQ(guard_start(context, keys.dir, &guard, &err), rows[i].want);
        TEST_HAS(err.text, rows[i].path);
        TEST_TRUE(!guard);
        unlink(path);
        keys_secret(&keys, "server", &keys.server, path);
    }
    TEST_ROW("own key readable by others");
    char path[KEYS_PATH];
    struct err err;
    keys_secret(&keys, "server", &keys.server, path);
    TEST_TRUE(chmod(path, 0644) == 0);
    TEST_EQ(guard_start(context, keys.dir, &guard, &err), STATUS_PERMISSION_DENIED);
    TEST_TRUE(chmod(path, 0600) == 0);
    TEST_ROW("own key is a client's");
    struct cert wrong = {.role = CERT_CLIENT};
    TEST_TRUE(cert_make_keys(&wrong));
    keys_secret(&keys, "server", &wrong, path);
    TEST_EQ(guard_start(context, keys.dir, &guard, &err), STATUS_INVALID_ARGUMENT);
    keys_secret(&keys, "server", &keys.server, path);
    TEST_ROW("a key in two roles");
    keys_put(&keys, "workers", "both", &client);
    TEST_EQ(guard_start(context, keys.dir, &guard, &err), STATUS_INVALID_ARGUMENT);
    TEST_HAS(err.text, "one key is both");
    keys_take_away(&keys, "workers", "both");
    TEST_ROW("no directory");
    TEST_EQ(guard_start(context, "/nowhere", &guard, &err), STATUS_UNAVAILABLE);
    start(); /* and with all of it right it does start */
}

/* ---- libzmq asks */

static void *listen_on(const struct frame_curve *curve, enum frame_role role, char *endpoint,
                       size_t bytes) {
    struct err err;
    int zero = 0;
    void *router = frame_socket(context, role, 100, curve, &err);
    TEST_TRUE(router);
    zmq_setsockopt(router, ZMQ_LINGER, &zero, sizeof zero);
    TEST_EQ(zmq_bind(router, "tcp://127.0.0.1:*"), 0);
    TEST_EQ(zmq_getsockopt(router, ZMQ_LAST_ENDPOINT, endpoint, &bytes), 0);
    return router;
}

static bool hear(void *router, uint32_t ms, char user[CERT_KEY_TEXT]) {
    struct frame_peer from;
    struct header header;
    zmq_msg_t body;
    enum header_verdict verdict;
    for (uint64_t end_us = clock_us() + ms * 1000ull; clock_us() < end_us; usleep(1000))
        if (frame_recv_router(router, &from, &header, &body, &verdict) == FRAME_OK) {
            const char *text = frame_user(&body);
            snprintf(user, CERT_KEY_TEXT, "%s", text ? text : "");
            zmq_msg_close(&body);
            return true;
        }
    return false;
}

/* Does a message of a peer with these keys arrive? `curve` NULL: a plain peer. */
static bool arrives(void *router, const char *endpoint, const struct frame_curve *curve,
                    uint32_t ms, char user[CERT_KEY_TEXT]) {
    struct err err;
    struct header header = {.type = WIRE_PING};
    void *dealer = frame_socket(context, FRAME_CLIENT, 10, curve, &err);
    TEST_TRUE(dealer);
    TEST_EQ(zmq_connect(dealer, endpoint), 0);
    bool came = false;
    for (uint64_t end_us = clock_us() + ms * 1000ull; !came && clock_us() < end_us;) {
        if (frame_send_dealer(dealer, &header, NULL) == FRAME_OK)
            came = hear(router, ms, user);
        else
            usleep(2000);
    }
    zmq_close(dealer);
    return came;
}

static void test_ports(void **state) {
    (void)state;
    start();
    char front_at[64], back_at[64];
    void *front = listen_on(guard_clients(guard), FRAME_CLIENT_SIDE, front_at, sizeof front_at);
    void *back = listen_on(guard_workers(guard), FRAME_WORKER_SIDE, back_at, sizeof back_at);
    static const struct {
        const char *row;
        const struct cert *who, *server;
        bool at_front, at_back;
    } rows[] = {
        {"client", &client, &keys.server, true, false},
        {"operator", &operator_, &keys.server, true, false},
        {"worker", &worker, &keys.server, false, true},
        {"stranger", &stranger, &keys.server, false, false},
        {"client that means another broker", &client, &stranger, false, false},
        {"plain", NULL, NULL, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].row);
        struct frame_curve curve;
        if (rows[i].who)
            curve = keys_curve(rows[i].who, rows[i].server);
        for (int side = 0; side < 2; side++) {
            bool want = side == 0 ? rows[i].at_front : rows[i].at_back;
            char user[CERT_KEY_TEXT] = "", key[CERT_KEY_TEXT];
            TEST_EQ(arrives(side == 0 ? front : back, side == 0 ? front_at : back_at,
                            rows[i].who ? &curve : NULL, want ? SOON_MS : NEVER_MS, user),
                    want);
            if (!want)
                continue;
            cert_key_text(rows[i].who->public_key, key);
            TEST_STR_EQ(user, key);
            struct keyring_entry e;
            TEST_TRUE(guard_find(guard, user, &e));
            TEST_STR_EQ(e.name, rows[i].row);
            TEST_EQ(e.who.max_requests, rows[i].who == &client ? 5 : 0);
        }
    }
    struct guard_counts counts;
    static const uint8_t nothing[CERT_KEY_BYTES];
    guard_forget_secret(guard);
    TEST_MEM_EQ(guard_clients(guard)->secret_key, nothing, sizeof nothing);
    TEST_MEM_EQ(guard_workers(guard)->secret_key, nothing, sizeof nothing);
    guard_counts(guard, &counts);
    TEST_EQ(counts.keys, 3);
    TEST_TRUE(counts.admitted >= 3 && counts.refused >= 4);
    zmq_close(front);
    zmq_close(back);
}

static void wait_for(uint64_t version) {
    uint64_t end_us = clock_us() + SOON_MS * 1000ull;
    while (guard_version(guard) == version && clock_us() < end_us)
        usleep(2000);
    TEST_TRUE(guard_version(guard) != version);
}

static bool knows(const struct cert *cert) {
    struct keyring_entry e;
    return guard_find_key(guard, cert->public_key, &e);
}

static void test_reload(void **state) {
    (void)state;
    struct guard_counts counts;
    char path[KEYS_PATH];
    start();
    TEST_ROW("a new key is seen without being told");
    uint64_t version = guard_version(guard);
    keys_put(&keys, "clients", "stranger", &stranger);
    wait_for(version);
    TEST_TRUE(knows(&stranger) && knows(&client));
    TEST_ROW("a bad file admits nobody and harms nobody");
    version = guard_version(guard);
    keys_path(&keys, "clients", "bad", path);
    keys_write(path, "x", 1, 0644);
    guard_reload(guard);
    wait_for(version);
    guard_counts(guard, &counts);
    TEST_EQ(counts.bad, 1);
    TEST_TRUE(knows(&stranger) && knows(&client));
    TEST_ROW("a removed key");
    version = guard_version(guard);
    keys_take_away(&keys, "clients", "stranger");
    guard_reload(guard);
    wait_for(version);
    TEST_TRUE(!knows(&stranger) && knows(&client));
    TEST_ROW("a good file that turns bad");
    version = guard_version(guard);
    keys_path(&keys, "clients", "client", path);
    keys_write(path, "", 0, 0644);
    guard_reload(guard);
    wait_for(version);
    TEST_TRUE(!knows(&client) && knows(&worker));
    keys_put(&keys, "clients", "client", &client);
    version = guard_version(guard);
    guard_reload(guard);
    wait_for(version);
    TEST_TRUE(knows(&client));
}

static void wait_closed(bool want) {
    struct guard_counts counts;
    uint64_t end_us = clock_us() + SOON_MS * 1000ull;
    do {
        usleep(2000);
        guard_counts(guard, &counts);
    } while (counts.closed != want && clock_us() < end_us);
    TEST_EQ(counts.closed, want);
}

static void test_directory_lost(void **state) {
    (void)state;
    start();
    char at[64], user[CERT_KEY_TEXT] = "", path[KEYS_PATH], away[KEYS_PATH];
    void *front = listen_on(guard_clients(guard), FRAME_CLIENT_SIDE, at, sizeof at);
    struct frame_curve curve = keys_curve(&client, &keys.server);
    snprintf(path, sizeof path, "%s/workers", keys.dir);
    snprintf(away, sizeof away, "%s/away", keys.dir);
    TEST_TRUE(rename(path, away) == 0);
    log_set_level((enum log_level)(LOG_ERROR + 1)); /* what it says is expected */
    guard_reload(guard);
    wait_closed(true);
    TEST_TRUE(!arrives(front, at, &curve, NEVER_MS, user));
    TEST_TRUE(knows(&client)); /* who is connected stays */
    TEST_TRUE(rename(away, path) == 0);
    wait_closed(false);
    log_set_level(LOG_ERROR);
    TEST_TRUE(arrives(front, at, &curve, SOON_MS, user));
    zmq_close(front);
}

/* Without a guard nobody is let in: the socket itself refuses. */
static void test_no_handler(void **state) {
    (void)state;
    start();
    struct frame_curve server = *guard_clients(guard);
    guard_stop(&guard);
    char at[64], user[CERT_KEY_TEXT] = "";
    void *front = listen_on(&server, FRAME_CLIENT_SIDE, at, sizeof at);
    struct frame_curve curve = keys_curve(&client, &keys.server);
    TEST_TRUE(!arrives(front, at, &curve, NEVER_MS, user));
    zmq_close(front);
}

static void test_local(void **state) {
    (void)state;
    static const struct {
        const char *endpoint;
        bool local;
    } rows[] = {
        {"tcp://127.0.0.1:5555", true}, {"tcp://localhost:5555", true},
        {"tcp://[::1]:5555", true},     {"ipc:///run/ember.sock", true},
        {"tcp://*:5555", false},        {"tcp://0.0.0.0:5555", false},
        {"tcp://10.0.0.1:5555", false}, {"tcp://eth0:5555", false},
        {"tcp://[::]:5555", false},     {"tcp://localhost.example.org:5555", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].endpoint);
        TEST_EQ(guard_is_local(rows[i].endpoint), rows[i].local);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_judge, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refuses_to_start, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ports, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reload, setup, teardown),
        cmocka_unit_test_setup_teardown(test_directory_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_handler, setup, teardown),
        cmocka_unit_test(test_local),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
