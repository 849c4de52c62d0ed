/* comings_test.c - clients, workers and brokers come and go many times; nobody keeps a descriptor
 * or memory of it. */
#include "support/rig.h"

#include "base/clock.h"

#include <dirent.h>

enum { DIM = 32, CLIENTS = 100, WORKERS = 10, BROKERS = 20, SOON_MS = 5000, GROWTH_MB = 8 };

static struct rig rig;

static uint32_t descriptors(pid_t pid) {
    char path[64];
    uint32_t n = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    while (dir && readdir(dir))
        n++;
    if (dir)
        closedir(dir);
    return n;
}

/* Falls to n within a few seconds: the other side closes in its own time. */
static void check_descriptors(const char *whose, pid_t pid, uint32_t n) {
    uint64_t end_us = clock_us() + SOON_MS * 1000ull * PROC_SLOW;
    while (descriptors(pid) > n && clock_us() < end_us)
        usleep(20000);
    if (descriptors(pid) > n)
        TEST_FAIL("%s has %u descriptors, at first %u", whose, descriptors(pid), n);
}

static size_t resident_bytes(pid_t pid) {
    char path[64];
    unsigned long total = 0, resident = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *f = fopen(path, "re");
    TEST_TRUE(f);
    TEST_EQ(fscanf(f, "%lu %lu", &total, &resident), 2);
    fclose(f);
    return (size_t)resident * (size_t)sysconf(_SC_PAGESIZE);
}

static void check_memory(const char *whose, pid_t pid, size_t before) {
    size_t now = resident_bytes(pid);
    if (PROC_SLOW > 1)
        return; /* a sanitizer keeps what is freed, and looks for leaks itself */
    if (now > before + ((size_t)GROWTH_MB << 20))
        TEST_FAIL("%s grew from %zu to %zu kB", whose, before >> 10, now >> 10);
}

static void one_call(ember_t *client) {
    struct ember_embed_options options = EMBER_EMBED_OPTIONS_INIT;
    struct ember_error error;
    ember_result_t *result = NULL;
    options.model = "m";
    options.timeout_ms = 2 * SOON_MS * PROC_SLOW;
    if (ember_embed(client, (const char *[]){"text"}, 1, &options, &result, &error) != EMBER_OK)
        TEST_FAIL("a call: %s", error.message);
    ember_result_destroy(&result);
}

static void test_comings_and_goings(void **state) {
    (void)state;
    TEST_ROW("comings and goings");
    rig_init(&rig, &(struct rig_cfg){.brokers = 1, .workers = 2, .models = {"m=fake:dim=32"}});
    TEST_TRUE(rig_start(&rig));
    ember_t *client = NULL;
    TEST_EQ(ember_open(rig.endpoints, NULL, &client, NULL), EMBER_OK);
    one_call(client);
    usleep(500000);
    uint32_t broker = descriptors(rig.broker[0].pid), worker = descriptors(rig.worker[0].pid);
    uint32_t own = descriptors(getpid());
    size_t broker_bytes = resident_bytes(rig.broker[0].pid), own_bytes = resident_bytes(getpid());
    size_t worker_bytes = resident_bytes(rig.worker[0].pid);
    for (int i = 0; i < CLIENTS; i++) {
        ember_t *other = NULL;
        TEST_EQ(ember_open(rig.endpoints, NULL, &other, NULL), EMBER_OK);
        one_call(other);
        ember_close(&other);
    }
    check_descriptors("the broker, behind clients,", rig.broker[0].pid, broker);
    check_descriptors("the caller, behind clients,", getpid(), own);
    for (int i = 0; i < WORKERS; i++) {
        proc_kill(&rig.worker[1]);
        rig_wait_workers(&rig, 1, SOON_MS * PROC_SLOW);
        rig_start_worker(&rig, 1);
        rig_wait_workers(&rig, 2, SOON_MS * PROC_SLOW);
    }
    check_descriptors("the broker, behind workers,", rig.broker[0].pid, broker);
    check_memory("the broker, behind clients and workers,", rig.broker[0].pid, broker_bytes);
    for (int i = 0; i < BROKERS; i++) {
        proc_kill(&rig.broker[0]);
        rig_start_broker(&rig, 0);
        one_call(client);
    }
    rig_wait_workers(&rig, 2, SOON_MS * PROC_SLOW);
    check_descriptors("the worker, behind brokers,", rig.worker[0].pid, worker);
    check_descriptors("the caller, behind brokers,", getpid(), own);
    check_memory("the worker, behind brokers,", rig.worker[0].pid, worker_bytes);
    check_memory("the caller, behind all,", getpid(), own_bytes);
    ember_close(&client);
}

static int stop(void **state) {
    rig_stop(&rig);
    return proc_stop_all(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_comings_and_goings, stop),
    };
    return proc_report(cmocka_run_group_tests(tests, NULL, NULL));
}
