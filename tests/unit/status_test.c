#include "support/test.h"

#include "base/status.h"

static void test_names(void **state) {
    (void)state;
    TEST_STR_EQ(status_name(STATUS_OK), "OK");
    TEST_STR_EQ(status_name(STATUS_UNKNOWN_OUTCOME), "UNKNOWN_OUTCOME");
    TEST_STR_EQ(status_name(STATUS_UNAUTHENTICATED), "UNAUTHENTICATED");
    TEST_STR_EQ(status_name((enum status)99), "INVALID");
    TEST_STR_EQ(status_name((enum status) - 1), "INVALID");
    for (int i = 0; i < 256; i++) {
        enum status status = STATUS_OK;
        bool known = status_from_code((uint8_t)i, &status);
        TEST_EQ(known, i <= STATUS_UNAUTHENTICATED);
        TEST_EQ(status, known ? i : 0);
        TEST_EQ(strcmp(status_name((enum status)i), "INVALID") != 0, known);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
