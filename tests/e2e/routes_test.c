/* routes_test.c - one name for two models: who gets which, that it stays so over a restart of the
 * broker, and that SIGHUP changes it while the broker runs. */
#include "support/rig.h"

enum { CLIENTS = 40, SOON_MS = 5000, DIM_A = 16, DIM_B = 24 };

static struct rig rig;
static ember_t *clients[CLIENTS];
static char conf[256];

static void write_conf(const char *routes) {
    FILE *f = fopen(conf, "we");
    TEST_TRUE(f != NULL);
    fputs(routes, f);
    TEST_EQ(fclose(f), 0);
}

/* The dimension of the model that answered; `model` may be NULL, the default. */
static uint32_t dim_of(ember_t *client, const char *model) {
    struct ember_embed_options options = EMBER_EMBED_OPTIONS_INIT;
    ember_result_t *result = NULL;
    struct ember_error error;
    options.model = model;
    options.timeout_ms = SOON_MS * PROC_SLOW;
    if (ember_embed(client, &(const char *){"a text"}, 1, &options, &result, &error) != EMBER_OK)
        TEST_FAIL("embed: %s", error.message);
    uint32_t dim = ember_result_dim(result);
    TEST_STR_EQ(ember_result_model(result), dim == DIM_A ? "a" : "b");
    ember_result_destroy(&result);
    return dim;
}

static uint32_t count_b(const char *model) {
    uint32_t n = 0;
    for (int i = 0; i < CLIENTS; i++)
        n += dim_of(clients[i], model) == DIM_B;
    return n;
}

static void reload(const char *routes, const char *log_line) {
    write_conf(routes);
    size_t from = proc_log_bytes(&rig.broker[0]);
    proc_signal(&rig.broker[0], SIGHUP);
    TEST_TRUE(proc_wait_log_from(&rig.broker[0], from, log_line, SOON_MS * PROC_SLOW));
}

static void start(const char *routes) {
    snprintf(conf, sizeof conf, "%s/broker.conf", proc_dir());
    write_conf(routes);
    rig_init(&rig,
             &(struct rig_cfg){.brokers = 1,
                               .workers = 1,
                               .models = {"a=fake:dim=16", "b=fake:dim=24"},
                               .broker_extra = {"--config", conf, "--no-worker-grace", "1s"}});
    TEST_TRUE(rig_start(&rig));
    for (int i = 0; i < CLIENTS; i++)
        TEST_EQ(ember_open(rig.endpoints, NULL, &clients[i], NULL), EMBER_OK);
}

static int stop(void **state) {
    for (int i = 0; i < CLIENTS; i++)
        ember_close(&clients[i]);
    rig_stop(&rig);
    return proc_stop_all(state);
}

static void test_shares(void **state) {
    (void)state;
    start("route = chat = a:50, b:50\ndefault-model = chat\n");
    bool has_b[CLIENTS];
    uint32_t n = 0;
    for (int i = 0; i < CLIENTS; i++) {
        has_b[i] = dim_of(clients[i], "chat") == DIM_B;
        TEST_EQ(dim_of(clients[i], NULL), has_b[i] ? DIM_B : DIM_A); /* the default is the route */
        n += has_b[i];
    }
    TEST_TRUE(n >= 4 && n <= CLIENTS - 4);   /* 20 +- 3.2: five deviations */
    TEST_EQ(dim_of(clients[0], "a"), DIM_A); /* models keep their own names */

    proc_kill(&rig.broker[0]);
    rig_start_broker(&rig, 0);
    rig_wait_workers(&rig, 1, SOON_MS * PROC_SLOW);
    for (int i = 0; i < CLIENTS; i++)
        TEST_EQ(dim_of(clients[i], "chat"), has_b[i] ? DIM_B : DIM_A);
}

static void test_reload(void **state) {
    (void)state;
    start("route = chat = a\n");
    TEST_EQ(count_b("chat"), 0);
    reload("route = chat = a:0, b:1\n", "event=reloaded");
    TEST_EQ(count_b("chat"), CLIENTS);
    reload("route = chat = a:0, b:0\n", "event=reload-failed");
    TEST_EQ(count_b("chat"), CLIENTS);
    reload("route = chat = a\nmax-queued = 7\n", "waits_for_restart=\"max-queued\"");
    TEST_EQ(count_b("chat"), 0);
    /* A model without workers hands its clients to the next one. */
    reload("route = chat = gone:99, b:1\n", "event=reloaded");
    TEST_EQ(count_b("chat"), CLIENTS);
    reload("", "event=reloaded");
    struct ember_embed_options options = EMBER_EMBED_OPTIONS_INIT;
    ember_result_t *result = NULL;
    struct ember_error error;
    options.model = "chat";
    TEST_EQ(ember_embed(clients[0], &(const char *){"x"}, 1, &options, &result, &error),
            EMBER_NOT_FOUND);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_shares, stop),
        cmocka_unit_test_teardown(test_reload, stop),
    };
    return proc_report(cmocka_run_group_tests(tests, NULL, NULL));
}
