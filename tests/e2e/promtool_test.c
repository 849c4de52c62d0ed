/* promtool_test.c - what the programs expose is what Prometheus reads: `promtool check metrics`,
 * which comes with it, parses each page and objects to names that are against its rules. */
#include "support/pages.h"

enum { SKIPPED = 77 };

static void check(enum pages_of whose) {
    char path[200], command[512];
    snprintf(path, sizeof path, "%s/page%d", proc_dir(), (int)whose);
    const char *body = strstr(pages_get(whose, "/metrics"), "\r\n\r\n");
    TEST_TRUE(body);
    FILE *f = fopen(path, "we");
    TEST_TRUE(f && fputs(body + 4, f) >= 0 && fclose(f) == 0);
    snprintf(command, sizeof command, "promtool check metrics <%s >&2", path);
    TEST_EQ(system(command), 0);
    remove(path);
}

static void test_pages(void **state) {
    (void)state;
    pages_start();
    ember_t *client = NULL;
    struct ember_error error;
    TEST_EQ(ember_open(pages_rig.endpoints, NULL, &client, &error), EMBER_OK);
    struct ember_embed_options with = EMBER_EMBED_OPTIONS_INIT;
    const char *text = "a text";
    ember_result_t *result = NULL;
    with.model = "m";
    TEST_EQ(ember_embed(client, &text, 1, &with, &result, &error), EMBER_OK);
    ember_result_destroy(&result);
    ember_close(&client);
    /* All that a page may have is there. */
    pages_wait(PAGES_BROKER, "\nember_workers_desired ");
    pages_wait(PAGES_BROKER, "\nember_cost_dollars_per_1000_requests ");
    check(PAGES_BROKER);
    check(PAGES_WORKER);
    pages_stop();
}

int main(void) {
    if (system("promtool --version >/dev/null 2>&1") != 0) {
        printf("skipped: there is no promtool (Debian package prometheus)\n");
        return SKIPPED;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(test_pages, proc_stop_all)};
    return proc_report(cmocka_run_group_tests(tests, NULL, NULL));
}
