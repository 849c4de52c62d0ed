/* keypair_test.c - which two files make a client or worker, and what is said of those that do
 * not. */
#include "wire/keypair.h"

#include "support/keys.h"

static void test_files(void **state) {
    (void)state;
    struct keys keys;
    keys_make(&keys);
    struct cert client = {.role = CERT_CLIENT}, worker = {.role = CERT_WORKER},
                boss = {.role = CERT_OPERATOR}, plain = {.role = CERT_ANY};
    char client_at[KEYS_PATH], worker_at[KEYS_PATH], boss_at[KEYS_PATH], plain_at[KEYS_PATH];
    char public_at[KEYS_PATH], server_at[KEYS_PATH], secret_at[KEYS_PATH];
    keys_add(&keys, "clients", "client", &client);
    keys_path(&keys, "clients", "client", public_at);
    TEST_TRUE(cert_make_keys(&worker) && cert_make_keys(&boss) && cert_make_keys(&plain));
    keys_secret(&keys, "client", &client, client_at);
    keys_secret(&keys, "worker", &worker, worker_at);
    keys_secret(&keys, "boss", &boss, boss_at);
    keys_secret(&keys, "plain", &plain, plain_at);
    snprintf(server_at, sizeof server_at, "%s/server.key", keys.dir);
    snprintf(secret_at, sizeof secret_at, "%s/server.key_secret", keys.dir);
    const struct {
        const char *row, *own, *server;
        enum cert_role role;
        enum status want;
        const char *says;
    } rows[] = {
        {"client", client_at, server_at, CERT_CLIENT, STATUS_OK, ""},
        {"operator as client", boss_at, server_at, CERT_CLIENT, STATUS_OK, ""},
        {"worker", worker_at, server_at, CERT_WORKER, STATUS_OK, ""},
        {"no role said", plain_at, server_at, CERT_WORKER, STATUS_OK, ""},
        {"worker as client", worker_at, server_at, CERT_CLIENT, STATUS_INVALID_ARGUMENT,
         "certificate of a worker"},
        {"client as worker", client_at, server_at, CERT_WORKER, STATUS_INVALID_ARGUMENT,
         "certificate of a client"},
        {"public half", public_at, server_at, CERT_CLIENT, STATUS_INVALID_ARGUMENT,
         "no secret key"},
        {"secret of the broker", client_at, secret_at, CERT_CLIENT, STATUS_INVALID_ARGUMENT,
         "has a secret key"},
        {"swapped", server_at, client_at, CERT_CLIENT, STATUS_INVALID_ARGUMENT, "no secret key"},
        {"a client for the broker", client_at, public_at, CERT_CLIENT, STATUS_INVALID_ARGUMENT,
         "not of a server"},
        {"not there", "/nowhere", server_at, CERT_CLIENT, STATUS_UNAVAILABLE, "/nowhere"},
        {"no server key", client_at, "/nowhere", CERT_CLIENT, STATUS_UNAVAILABLE, "/nowhere"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].row);
        struct frame_curve curve;
        struct err err = {.text = ""};
        TEST_EQ(keypair_load(rows[i].own, rows[i].server, rows[i].role, &curve, &err),
                rows[i].want);
        TEST_HAS(err.text, rows[i].says);
        if (rows[i].want != STATUS_OK)
            continue;
        TEST_MEM_EQ(curve.server_key, keys.server.public_key, CERT_KEY_BYTES);
        TEST_TRUE(memcmp(curve.public_key, curve.server_key, CERT_KEY_BYTES) != 0);
    }
    keys_remove(&keys);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
