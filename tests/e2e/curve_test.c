/* curve_test.c - keys, with the real programs: who gets in where, what each role may, what a client
 * with a key can do to others, and what the tool writes. */
#include "support/curve_rig.h"

enum { BROKER_MB = 256, FLOOD = 100 };

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
        if (rows[i].key) /* one without may have to try often: conn.c, hung_up_on_us */
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

/* What `ember keygen` writes is what a broker reads, for its owner alone, and never written
 * over. */
static void test_keygen(void **state) {
    (void)state;
    static const struct {
        const char *role, *folder;
        enum cert_role want;
    } rows[] = {{"server", NULL, CERT_SERVER},
                {"client", "clients", CERT_CLIENT},
                {"worker", "workers", CERT_WORKER},
                {"operator", "operators", CERT_OPERATOR}};
    char dir[KEYS_PATH - 64], secret[KEYS_PATH], public[KEYS_PATH];
    snprintf(dir, sizeof dir, "%s/made", keys.dir);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].role);
        const char *argv[] = {PROC_CLI, "keygen", "--role",     rows[i].role, "--dir",
                              dir,      "--name", rows[i].role, NULL};
        snprintf(secret, sizeof secret, "%s/%s.key_secret", dir, rows[i].role);
        snprintf(public, sizeof public, "%s/%s%s%s.key", dir, rows[i].folder ? rows[i].folder : "",
                 rows[i].folder ? "/" : "", rows[i].role);
        struct cert mine, theirs, again;
        struct stat info;
        struct err err = {.text = ""};
        TEST_EQ(run_tool(argv), 0);
        if (cert_load_secret(secret, &mine, &err) != STATUS_OK ||
            cert_load_public(public, &theirs, &err) != STATUS_OK)
            TEST_FAIL("%s", err.text);
        TEST_EQ(mine.role, rows[i].want);
        TEST_EQ(theirs.role, rows[i].want);
        TEST_STR_EQ(theirs.name, rows[i].role);
        TEST_MEM_EQ(mine.public_key, theirs.public_key, CERT_KEY_BYTES);
        TEST_TRUE(stat(secret, &info) == 0 && (info.st_mode & 0777) == 0600);
        TEST_EQ(run_tool(argv), 1);
        TEST_EQ(cert_load_secret(secret, &again, &err), STATUS_OK);
        TEST_MEM_EQ(mine.secret_key, again.secret_key, CERT_KEY_BYTES);
        TEST_TRUE(unlink(secret) == 0); /* the public one is still there: nothing new is left */
        TEST_EQ(run_tool(argv), 1);
        TEST_TRUE(stat(secret, &info) != 0);
    }
    TEST_ROW("a name that leads elsewhere");
    TEST_EQ(run_tool((const char *[]){PROC_CLI, "keygen", "--dir", dir, "--name", "../x", NULL}),
            2);
    TEST_ROW("a client by the name of the brokers' own files");
    TEST_EQ(run_tool((const char *[]){PROC_CLI, "keygen", "--dir", dir, "--name", "server", NULL}),
            2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right_keys),   cmocka_unit_test(test_wrong_keys),
        cmocka_unit_test(test_wrong_worker), cmocka_unit_test(test_others_sessions),
        cmocka_unit_test(test_limits),       cmocka_unit_test(test_types_of_others),
        cmocka_unit_test(test_flood),        cmocka_unit_test(test_errors_without_texts),
        cmocka_unit_test(test_keygen),       cmocka_unit_test(curve_logs),
    };
    return proc_report(cmocka_run_group_tests(tests, curve_start, curve_stop));
}
