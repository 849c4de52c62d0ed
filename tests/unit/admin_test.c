/* admin_test.c - when a worker calls itself healthy and ready; the page itself is asked for in
 * e2e. */
#include "admin.h"
#include "support/test.h"

static void test_health(void **state) {
    (void)state;
    const uint64_t now_us = 100 * 1000 * 1000;
    const struct {
        const char *name;
        struct loop_report report;
        bool healthy, ready;
        const char *why;
    } rows[] = {
        {"serving", {.beat_us = 99500000, .brokers = 2, .brokers_live = 1}, true, true, ""},
        {"no broker", {.beat_us = 99500000, .brokers = 2}, true, false, "none of 2 brokers"},
        {"draining",
         {.beat_us = 99500000, .brokers = 1, .brokers_live = 1, .draining = true},
         true,
         false,
         "draining"},
        {"a runner is stuck",
         {.beat_us = 99500000, .brokers = 1, .brokers_live = 1, .stuck = 1, .running_us = 42000000},
         true,
         false,
         "1 batches do not end, the oldest runs for 42 s"},
        {"the loop is stuck",
         {.beat_us = 90000000, .brokers = 1, .brokers_live = 1},
         false,
         false,
         "10.0 s"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct expose_text why = {0};
        TEST_EQ(admin_healthy(&rows[i].report, now_us, &why), rows[i].healthy);
        expose_text_done(&why);
        why = (struct expose_text){0};
        TEST_EQ(admin_ready(&rows[i].report, now_us, &why), rows[i].ready);
        char text[256] = "";
        if (why.data)
            snprintf(text, sizeof text, "%.*s", (int)why.bytes, why.data);
        TEST_HAS(text, rows[i].why);
        TEST_EQ(text[0] == 0, rows[i].ready);
        expose_text_done(&why);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_health)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
