/* process_test.c - what /proc says of a process, and of this one. */
#include "support/test.h"

#include "base/clock.h"
#include "metrics/process.h"

#include <stdlib.h>
#include <unistd.h>

static void test_parse(void **state) {
    (void)state;
    static const struct {
        const char *name, *text;
        bool fine;
        struct process_stat want;
    } rows[] = {
        {"a broker",
         "812 (ember-broker) S 1 812 812 0 -1 4194560 3068 0 12 0 250 75 0 0 20 0 5 0 9123 "
         "413749248 2750 18446744073709551615 1 1 0 0 0 0 0 4096 17410",
         true,
         {325, 9123, 413749248, 2750}},
        {"a name with parentheses",
         "7 (a) b) c) R 1 1 1 0 -1 0 0 0 0 0 1 2 0 0 20 0 1 0 3 4 5 6",
         true,
         {3, 3, 4, 5}},
        {"cut", "7 (a) R 1 1 1 0 -1 0 0 0 0 0 1 2 0 0 20 0 1 0 3 4", false, {0, 0, 0, 0}},
        {"empty", "", false, {0, 0, 0, 0}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct process_stat got = {0, 0, 0, 0};
        TEST_EQ(process_parse(rows[i].text, &got), rows[i].fine);
        TEST_EQ(got.cpu_ticks, rows[i].want.cpu_ticks);
        TEST_EQ(got.start_ticks, rows[i].want.start_ticks);
        TEST_EQ(got.virtual_bytes, rows[i].want.virtual_bytes);
        TEST_EQ(got.resident_pages, rows[i].want.resident_pages);
    }
}

static double value_of(const char *page, const char *name) {
    char line[80];
    snprintf(line, sizeof line, "\n%s ", name);
    const char *at = strstr(page, line);
    TEST_TRUE(at);
    return at ? strtod(at + strlen(line), NULL) : -1;
}

static void test_this_one(void **state) {
    (void)state;
    struct expose_text page = {0};
    process_expose(&page);
    double fds = value_of(page.data, "process_open_fds");
    double started = value_of(page.data, "process_start_time_seconds");
    double now = (double)clock_wall_us() / 1e6;
    TEST_TRUE(fds >= 3);
    TEST_TRUE(value_of(page.data, "process_max_fds") >= fds);
    TEST_TRUE(value_of(page.data, "process_resident_memory_bytes") > 100e3);
    TEST_TRUE(value_of(page.data, "process_virtual_memory_bytes") > 1e6);
    TEST_TRUE(value_of(page.data, "process_cpu_seconds_total") >= 0);
    TEST_TRUE(started > now - 600 && started < now + 2);
    expose_text_done(&page);
    int more = dup(STDIN_FILENO);
    page = (struct expose_text){0};
    process_expose(&page);
    TEST_TRUE(value_of(page.data, "process_open_fds") > fds);
    expose_text_done(&page);
    close(more);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_parse),
                                       cmocka_unit_test(test_this_one)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
