/* metrics_test.c - what the programs tell about a request: on their pages, and, when it was slow,
 * in their logs. */
#include "support/pages.h"

#define TRACE "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

static ember_t *client;

static void embed(const char *text, const char *trace) {
    struct ember_embed_options options = EMBER_EMBED_OPTIONS_INIT;
    options.model = "m";
    options.traceparent = trace;
    ember_result_t *result = NULL;
    struct ember_error error;
    TEST_EQ(ember_embed(client, &text, 1, &options, &result, &error), EMBER_OK);
    ember_result_destroy(&result);
}

static int start(void **state) {
    (void)state;
    pages_start();
    struct ember_error error;
    return ember_open(pages_rig.endpoints, NULL, &client, &error) == EMBER_OK ? 0 : -1;
}

static int stop(void **state) {
    ember_close(&client);
    pages_stop();
    return proc_stop_all(state);
}

static void test_pages(void **state) {
    (void)state;
    static const char *const of_broker[] = {
        ("\nember_service_requests_total{model=\"m\",task=\"embed\",lane=\"normal\","
         "status=\"OK\"} 3\n"),
        "\nember_request_duration_seconds_bucket{le=\"0.15\"} ",
        "\nember_slo_requests_total{lane=\"normal\",within=\"true\"} ",
        "\nember_refusals_total{reason=\"queue_full\"} 0\n",
        "\nember_workers_desired 1\n",
        "\nember_workers_load 0.0",
        "\nember_workers_runners 1\n",
        "\nember_workers_credit 64\n",
        "\nember_workers_credit_used 0\n",
        "\nember_cost_dollars_per_1000_requests ",
        "\nprocess_open_fds ",
    };
    static const char *const of_worker[] = {
        "\nember_worker_texts_total{source=\"model\"} 2\n",
        "\nember_worker_texts_total{source=\"memory\"} 1\n",
        "\nember_worker_batch_size_texts_count 2\n",
        "\nember_worker_credit 64\n",
        "\nprocess_resident_memory_bytes ",
    };
    embed("one", NULL);
    embed("two", NULL);
    embed("one", NULL);
    pages_wait(PAGES_BROKER, "\nember_requests_total{status=\"OK\"} 3\n");
    pages_wait(PAGES_WORKER, "\nember_worker_requests_total{outcome=\"ok\"} 3\n");
    pages_wait(PAGES_BROKER, "\nember_cost_dollars_per_1000_requests ");
    pages_until(PAGES_BROKER, false, "\nember_cost_dollars_total 0\n"); /* a dollar a second */
    const char *page = pages_get(PAGES_BROKER, "/metrics");
    for (size_t i = 0; i < sizeof of_broker / sizeof *of_broker; i++)
        TEST_HAS(page, of_broker[i]);
    TEST_TRUE(!strstr(page, "\nember_engine_seconds_total 0\n"));
    page = pages_get(PAGES_WORKER, "/metrics");
    for (size_t i = 0; i < sizeof of_worker / sizeof *of_worker; i++)
        TEST_HAS(page, of_worker[i]);
    TEST_TRUE(!strstr(page, "\nember_worker_busy_seconds_total 0\n"));
    for (int whose = PAGES_BROKER; whose <= PAGES_WORKER; whose++) {
        TEST_HAS(pages_get((enum pages_of)whose, "/livez"), " 200 ");
        TEST_HAS(pages_get((enum pages_of)whose, "/healthz"), " 200 ");
        TEST_HAS(pages_get((enum pages_of)whose, "/readyz"), " 200 ");
    }
}

/* Whoever looks at a page finds each of its names in docs/OPERATING.md. */
static void test_documented(void **state) {
    (void)state;
    static char manual[512 * 1024];
    FILE *f = fopen(EMBER_SOURCE_DIR "/docs/OPERATING.md", "re");
    TEST_TRUE(f);
    size_t n = fread(manual, 1, sizeof manual - 1, f);
    TEST_TRUE(n < sizeof manual - 1);
    manual[n] = '\0';
    fclose(f);
    uint32_t names = 0;
    for (int whose = PAGES_BROKER; whose <= PAGES_WORKER; whose++) {
        const char *at = pages_get((enum pages_of)whose, "/metrics");
        for (; (at = strstr(at, "\n# TYPE ")) != NULL; at++, names++) {
            char name[128];
            const char *word = at + strlen("\n# TYPE ");
            snprintf(name, sizeof name, "`%.*s`", (int)strcspn(word, " "), word);
            TEST_ROW(name);
            TEST_TRUE(strstr(manual, name));
        }
    }
    TEST_TRUE(names > 90);
}

/* The line about the last slow request in a log, from its event on. */
static const char *slow_line(const struct proc *proc, const char *mark) {
    static char log[64 * 1024];
    FILE *f = fopen(proc->log, "re");
    TEST_TRUE(f);
    size_t n = fread(log, 1, sizeof log - 1, f);
    fclose(f);
    log[n] = '\0';
    TEST_TRUE(!strstr(log, "attack at dawn"));
    char *last = NULL;
    for (char *at = log; (at = strstr(at, mark)); at++)
        last = at;
    TEST_TRUE(last);
    last[strcspn(last, "\n")] = '\0';
    return last;
}

static void copy_word(const char *line, const char *mark, char *out, size_t out_bytes) {
    const char *at = strstr(line, mark);
    TEST_TRUE(at);
    at += strlen(mark);
    snprintf(out, out_bytes, "%.*s", (int)strspn(at, "0123456789abcdef"), at);
}

static void test_slow(void **state) {
    (void)state;
    usleep(150 * 1000); /* ten lines a second */
    size_t from = proc_log_bytes(&pages_rig.worker[0]);
    embed("attack at dawn", TRACE);
    TEST_TRUE(proc_wait_log_from(&pages_rig.worker[0], from, "trace=" TRACE " held=", 2000));
    char here[32], there[32];
    const char *line = slow_line(&pages_rig.worker[0], "event=slow-request");
    copy_word(line, "execution=", here, sizeof here);
    TEST_HAS(line, " model=m task=embed lane=normal status=OK texts=1 ");
    TEST_TRUE(proc_wait_log(&pages_rig.broker[0], here, 2000));
    line = slow_line(&pages_rig.broker[0], "\"event\":\"slow-request\"");
    copy_word(line, "\"execution\":\"", there, sizeof there);
    TEST_STR_EQ(there, here);
    TEST_HAS(line, "\"worker\":\"worker1\"");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_documented),
        cmocka_unit_test(test_slow),
    };
    return proc_report(cmocka_run_group_tests(tests, start, stop));
}
