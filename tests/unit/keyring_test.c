/* keyring_test.c - which files of a directory admit which keys, what is refused and under which
 * name, and that a change is seen. */
#include "keyring.h"

#include "base/clock.h"
#include "support/keys.h"

static struct keys keys;
static struct {
    uint32_t n;
    char text[16][ERR_TEXT_MAX];
} told;

static void tell(void *arg, const char *what) {
    (void)arg;
    TEST_TRUE(told.n < 16);
    snprintf(told.text[told.n++], ERR_TEXT_MAX, "%s", what);
}

static keyring_t *load(void) {
    keyring_t *ring = NULL;
    struct err err;
    told.n = 0;
    if (keyring_load(keys.dir, 7, tell, NULL, &ring, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
    return ring;
}

static int setup(void **state) {
    (void)state;
    keys_make(&keys);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    keys_remove(&keys);
    return 0;
}

static void test_roles(void **state) {
    (void)state;
    keyring_t *ring = load();
    TEST_EQ(keyring_count(ring), 0);
    uint8_t nobody[CERT_KEY_BYTES] = {1};
    TEST_TRUE(!keyring_find(ring, nobody));
    keyring_destroy(&ring);
    keyring_destroy(&ring);

    static struct {
        const char *folder, *file, *name, *want;
        enum cert_role said, role;
    } rows[] = {
        {"clients", "web", "", "web", CERT_ANY, CERT_CLIENT},
        {"clients", "a.b", "", "a.b", CERT_ANY, CERT_CLIENT},
        {"clients", "file", "indexer", "indexer", CERT_CLIENT, CERT_CLIENT},
        {"clients", "odd name", "", "unnamed", CERT_ANY, CERT_CLIENT},
        {"operators", "anna", "", "anna", CERT_OPERATOR, CERT_OPERATOR},
        {"workers", "w1", "", "w1", CERT_WORKER, CERT_WORKER},
    };
    enum { N = sizeof rows / sizeof *rows };
    struct cert certs[N];
    for (int i = 0; i < N; i++) {
        certs[i] = (struct cert){.role = rows[i].said,
                                 .max_requests = (uint32_t)i,
                                 .max_bytes = 1000u * (uint32_t)i,
                                 .max_cost = 10u * (uint32_t)i,
                                 .weight = (uint32_t)i};
        snprintf(certs[i].name, sizeof certs[i].name, "%s", rows[i].name);
        keys_add(&keys, rows[i].folder, rows[i].file, &certs[i]);
    }
    char path[KEYS_PATH + 16];
    snprintf(path, sizeof path, "%s/clients/.hidden", keys.dir);
    keys_write(path, "not a certificate", 17, 0644);
    snprintf(path, sizeof path, "%s/clients/web.key~", keys.dir);
    keys_write(path, "not a certificate", 17, 0644);
    ring = load();
    TEST_EQ(told.n, 0);
    TEST_EQ(keyring_count(ring), N);
    for (int i = 0; i < N; i++) {
        TEST_ROW(rows[i].file);
        const struct keyring_entry *e = keyring_find(ring, certs[i].public_key);
        TEST_TRUE(e != NULL);
        TEST_STR_EQ(e->name, rows[i].want);
        TEST_EQ(e->role, rows[i].role);
        TEST_EQ(e->who.max_requests, i);
        TEST_EQ(e->who.max_bytes, 1000 * i);
        TEST_EQ(e->who.max_cost, 10 * i);
        TEST_EQ(e->who.weight, i);
        TEST_TRUE(e->who.account != 0);
        for (int j = 0; j < i; j++)
            TEST_TRUE(keyring_find(ring, certs[j].public_key)->who.account != e->who.account);
    }
    TEST_TRUE(!keyring_find(ring, keys.server.public_key));
    TEST_TRUE(!keyring_find(ring, certs[0].secret_key));
    keyring_destroy(&ring);
}

/* Each bad file is named; the others stay. */
static void test_bad(void **state) {
    (void)state;
    struct cert good = {.role = CERT_ANY}, worker = {.role = CERT_WORKER}, two = good, same = good;
    keys_add(&keys, "clients", "good", &good);
    keys_add(&keys, "clients", "misplaced", &worker);
    keys_add(&keys, "clients", "both", &two);
    keys_put(&keys, "workers", "both", &two);
    keys_add(&keys, "clients", "same-1", &same);
    keys_put(&keys, "clients", "same-2", &same);
    char path[KEYS_PATH], text[CERT_FILE_BYTES];
    keys_path(&keys, "workers", "garbage", path);
    keys_write(path, "\x7f\x45LF", 4, 0644);
    keys_path(&keys, "operators", "secret", path);
    keys_write(path, text, cert_print(&keys.server, true, text), 0600);
    keys_path(&keys, "operators", "lost", path);
    TEST_TRUE(symlink("/nowhere", path) == 0);
    keyring_t *ring = load();
    TEST_EQ(keyring_count(ring), 1);
    TEST_EQ(keyring_bad(ring), 6);
    TEST_TRUE(keyring_find(ring, good.public_key) != NULL);
    TEST_TRUE(!keyring_find(ring, two.public_key) && !keyring_find(ring, same.public_key));
    static const char *const want[] = {"misplaced.key", "garbage.key", "secret.key",
                                       "lost.key",      "'both' and",  "'same-"};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        bool found = false;
        for (uint32_t j = 0; j < told.n; j++)
            found |= strstr(told.text[j], want[i]) != NULL;
        TEST_ROW(want[i]);
        TEST_TRUE(found);
    }
    char key[CERT_KEY_TEXT];
    cert_key_text(keys.server.secret_key, key);
    for (uint32_t j = 0; j < told.n; j++)
        TEST_TRUE(!strstr(told.text[j], key));
    keyring_destroy(&ring);
}

static void test_unreadable(void **state) {
    (void)state;
    static const char *const folders[] = {"clients", "workers", "operators"};
    for (size_t i = 0; i < 3; i++) {
        TEST_ROW(folders[i]);
        char path[KEYS_PATH], away[KEYS_PATH];
        snprintf(path, sizeof path, "%s/%s", keys.dir, folders[i]);
        snprintf(away, sizeof away, "%s/away", keys.dir);
        TEST_TRUE(rename(path, away) == 0);
        keyring_t *ring = NULL;
        struct err err;
        bool settled;
        TEST_EQ(keyring_load(keys.dir, 7, NULL, NULL, &ring, &err), STATUS_UNAVAILABLE);
        TEST_TRUE(!ring);
        TEST_HAS(err.text, folders[i]);
        TEST_EQ(keyring_stamp(keys.dir, clock_wall_us(), &settled), 0);
        TEST_TRUE(rename(away, path) == 0);
    }
}

static void test_stamp(void **state) {
    (void)state;
    bool settled;
    uint64_t soon = clock_wall_us(), later = soon + 3600ull * 1000000;
    uint64_t empty = keyring_stamp(keys.dir, later, &settled);
    TEST_TRUE(empty != 0 && settled);
    struct cert cert = {.role = CERT_ANY};
    keys_add(&keys, "clients", "a", &cert);
    uint64_t one = keyring_stamp(keys.dir, later, &settled);
    TEST_TRUE(one != empty && settled);
    TEST_TRUE(keyring_stamp(keys.dir, soon, &settled) == one && !settled); /* it is young */
    keys_put(&keys, "clients", "a", &cert); /* another file of the same name and text */
    uint64_t again = keyring_stamp(keys.dir, later, &settled);
    TEST_TRUE(again != one);
    keys_take_away(&keys, "clients", "a");
    TEST_EQ(keyring_stamp(keys.dir, later, &settled), empty);
}

static void test_same(void **state) {
    (void)state;
    struct cert cert = {.role = CERT_ANY, .weight = 1};
    keys_add(&keys, "clients", "a", &cert);
    keyring_t *a = load(), *b = load();
    TEST_TRUE(keyring_same(a, b));
    keyring_destroy(&b);
    cert.weight = 2;
    keys_put(&keys, "clients", "a", &cert);
    b = load();
    TEST_TRUE(!keyring_same(a, b));
    keyring_destroy(&b);
    keys_take_away(&keys, "clients", "a");
    b = load();
    TEST_TRUE(!keyring_same(a, b));
    keyring_destroy(&a);
    keyring_destroy(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_roles, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unreadable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stamp, setup, teardown),
        cmocka_unit_test_setup_teardown(test_same, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
