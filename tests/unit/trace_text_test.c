/* trace_text_test.c - which trace contexts may stand in a log. */
#include "support/test.h"

#include "trace_text.h"

static void test_forms(void **state) {
    (void)state;
    static const struct {
        const char *name, *trace;
        bool told;
    } rows[] = {
        {"as published", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true},
        {"none", "", false},
        {"cut", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0", false},
        {"large letters", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false},
        {"a text of the same length", "my-password-is-hunter2-and-nobody-should-ever-read-this",
         false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        char out[LIMIT_TRACEPARENT_BYTES + 1];
        TEST_STR_EQ(trace_text(view_of(rows[i].trace), out), rows[i].told ? rows[i].trace : "-");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_forms)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
