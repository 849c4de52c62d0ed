/* curve_reload_test.c - certificates that come, go and are broken while the real programs run. */
#include "support/curve_rig.h"

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_key),        cmocka_unit_test(test_revoked),
        cmocka_unit_test(test_revoked_worker), cmocka_unit_test(test_sighup),
        cmocka_unit_test(test_broken),         cmocka_unit_test(test_refuses_to_start),
        cmocka_unit_test(curve_logs),
    };
    return proc_report(cmocka_run_group_tests(tests, curve_start, curve_stop));
}
