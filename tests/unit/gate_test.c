/* gate_test.c - whose key may begin which session, who sees the status, and whose session ends when
 * a certificate goes. */
#include "gate.h"

#include "base/clock.h"
#include "base/log.h"
#include "support/keys.h"

enum { CLIENTS = 4, WORKERS = 2, SOON_MS = 10000 };

static struct keys keys;
static struct cert client, other, worker, boss, stranger;
static void *context;
static guard_t *guard;
static struct gate gate;
static struct core_who who;
static struct err err;

static int setup(void **state) {
    (void)state;
    log_set_level(LOG_ERROR);
    keys_make(&keys);
    client = other = worker = boss = stranger = (struct cert){.role = CERT_ANY};
    client.max_requests = 9;
    client.weight = 3;
    keys_add(&keys, "clients", "client", &client);
    keys_add(&keys, "clients", "other", &other);
    keys_add(&keys, "workers", "worker", &worker);
    keys_add(&keys, "operators", "boss", &boss);
    TEST_TRUE(cert_make_keys(&stranger));
    context = frame_context();
    TEST_EQ(guard_start(context, keys.dir, &guard, &err), STATUS_OK);
    TEST_TRUE(gate_init(&gate, guard, CLIENTS, WORKERS));
    return 0;
}

static int teardown(void **state) {
    (void)state;
    gate_done(&gate);
    guard_stop(&guard);
    zmq_ctx_term(context);
    keys_remove(&keys);
    return 0;
}

static const char *user_of(const struct cert *cert) {
    static char text[CERT_KEY_TEXT];
    cert_key_text(cert->public_key, text);
    return text;
}

static void test_sessions(void **state) {
    (void)state;
    static const struct {
        const char *row;
        const struct cert *cert; /* NULL: no User-Id */
        enum status as_client, as_worker;
    } rows[] = {
        {"client", &client, STATUS_OK, STATUS_UNAUTHENTICATED},
        {"operator", &boss, STATUS_OK, STATUS_UNAUTHENTICATED},
        {"worker", &worker, STATUS_UNAUTHENTICATED, STATUS_OK},
        {"stranger", &stranger, STATUS_UNAUTHENTICATED, STATUS_UNAUTHENTICATED},
        {"nobody", NULL, STATUS_UNAUTHENTICATED, STATUS_UNAUTHENTICATED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].row);
        const char *user = rows[i].cert ? user_of(rows[i].cert) : NULL;
        TEST_EQ(gate_client(&gate, GATE_NONE, user, &who, &err), rows[i].as_client);
        TEST_EQ(gate_worker(&gate, GATE_NONE, user, &err), rows[i].as_worker);
    }
    TEST_ROW("not a key");
    TEST_EQ(gate_client(&gate, GATE_NONE, "root", &who, &err), STATUS_UNAUTHENTICATED);
    TEST_ROW("limits");
    who = (struct core_who){.sticky = 77};
    TEST_EQ(gate_client(&gate, GATE_NONE, user_of(&client), &who, &err), STATUS_OK);
    TEST_EQ(who.max_requests, 9);
    TEST_EQ(who.weight, 3);
    TEST_EQ(who.max_bytes, 0);
    uint64_t sticky = who.sticky;
    TEST_TRUE(sticky != 0 && sticky != 77); /* the key's */
    TEST_EQ(gate_client(&gate, GATE_NONE, user_of(&client), &who, &err), STATUS_OK);
    TEST_TRUE(who.sticky == sticky);
    uint64_t account = who.account;
    TEST_TRUE(account != 0);
    TEST_EQ(gate_client(&gate, GATE_NONE, user_of(&client), &who, &err), STATUS_OK);
    TEST_TRUE(who.account == account); /* two connections of a key are one account */
    TEST_EQ(gate_client(&gate, GATE_NONE, user_of(&other), &who, &err), STATUS_OK);
    TEST_TRUE(who.account != account);
}

static void test_seats(void **state) {
    (void)state;
    TEST_EQ(gate_client(&gate, GATE_NONE, user_of(&client), &who, &err), STATUS_OK);
    gate_seat(&gate, GATE_CLIENTS, 2);
    TEST_EQ(gate_client(&gate, GATE_NONE, user_of(&boss), &who, &err), STATUS_OK);
    gate_seat(&gate, GATE_CLIENTS, 3);
    TEST_EQ(gate_status(&gate, 2, &err), STATUS_PERMISSION_DENIED);
    TEST_EQ(gate_status(&gate, 3, &err), STATUS_OK);
    TEST_ROW("the session of another key");
    TEST_EQ(gate_client(&gate, 2, user_of(&client), &who, &err), STATUS_OK);
    TEST_EQ(gate_client(&gate, 2, user_of(&other), &who, &err), STATUS_UNAUTHENTICATED);
    gate_leave(&gate, GATE_CLIENTS, 2);
    TEST_EQ(gate_client(&gate, 2, user_of(&other), &who, &err), STATUS_OK);
    TEST_ROW("the number of an operator is given again");
    gate_leave(&gate, GATE_CLIENTS, 3);
    TEST_EQ(gate_status(&gate, 3, &err), STATUS_PERMISSION_DENIED);
}

static void reload(void) {
    uint64_t version = guard_version(guard), end_us = clock_us() + SOON_MS * 1000ull;
    guard_reload(guard);
    while (guard_version(guard) == version && clock_us() < end_us)
        usleep(2000);
    TEST_TRUE(guard_version(guard) != version);
}

static void test_revoked(void **state) {
    (void)state;
    TEST_TRUE(!gate_changed(&gate));
    const struct cert *seated[CLIENTS] = {&client, &other, &client, &boss};
    for (uint32_t i = 0; i < CLIENTS; i++) {
        TEST_EQ(gate_client(&gate, GATE_NONE, user_of(seated[i]), &who, &err), STATUS_OK);
        gate_seat(&gate, GATE_CLIENTS, i);
    }
    TEST_EQ(gate_worker(&gate, GATE_NONE, user_of(&worker), &err), STATUS_OK);
    gate_seat(&gate, GATE_WORKERS, 1);
    keys_take_away(&keys, "clients", "client");
    reload();
    TEST_TRUE(gate_changed(&gate));
    TEST_TRUE(!gate_changed(&gate));
    TEST_EQ(gate_revoked(&gate, GATE_CLIENTS, 0), 0);
    TEST_EQ(gate_revoked(&gate, GATE_CLIENTS, 1), 2);
    TEST_EQ(gate_revoked(&gate, GATE_CLIENTS, 3), GATE_NONE);
    TEST_EQ(gate_revoked(&gate, GATE_WORKERS, 0), GATE_NONE);
    TEST_ROW("an operator who becomes a client");
    keys_take_away(&keys, "operators", "boss");
    keys_put(&keys, "clients", "boss", &boss);
    keys_take_away(&keys, "workers", "worker");
    reload();
    TEST_EQ(gate_revoked(&gate, GATE_CLIENTS, 3), 3);
    TEST_EQ(gate_revoked(&gate, GATE_WORKERS, 0), 1);
}

static void test_open(void **state) {
    (void)state;
    struct gate open;
    who = (struct core_who){0};
    TEST_TRUE(gate_init(&open, NULL, CLIENTS, WORKERS));
    TEST_EQ(gate_client(&open, GATE_NONE, NULL, &who, &err), STATUS_OK);
    TEST_EQ(gate_worker(&open, GATE_NONE, NULL, &err), STATUS_OK);
    TEST_EQ(who.account, 0);
    gate_seat(&open, GATE_CLIENTS, 1);
    TEST_EQ(gate_status(&open, 1, &err), STATUS_OK);
    gate_leave(&open, GATE_CLIENTS, 1);
    TEST_TRUE(!gate_changed(&open));
    gate_done(&open);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sessions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_seats, setup, teardown),
        cmocka_unit_test_setup_teardown(test_revoked, setup, teardown),
        cmocka_unit_test(test_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
