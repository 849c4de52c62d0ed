#include "support/test.h"

#include "base/err.h"

#include <errno.h>

static void test_text(void **state) {
    (void)state;
    struct err err = {0};
    TEST_EQ(err_set(&err, STATUS_DATA_LOSS, "tensor '%s' ends at %d", "a\nb", 7), STATUS_DATA_LOSS);
    TEST_EQ(err.status, STATUS_DATA_LOSS);
    TEST_STR_EQ(err.text, "tensor 'a?b' ends at 7"); /* one line, whatever a file is called */
    TEST_EQ(err_prefix(&err, STATUS_DATA_LOSS, "weights '%s'", "m.bin"), STATUS_DATA_LOSS);
    TEST_STR_EQ(err.text, "weights 'm.bin': tensor 'a?b' ends at 7");
    err_set(&err, STATUS_DATA_LOSS, "'%s', '%.4s'", "\xff\xe4\xb8",
            "中文"); /* broken, and cut in two */
    TEST_STR_EQ(err.text, "'\?\?\?', '中?'");
    err_set(&err, STATUS_DATA_LOSS, "中文 \xef\xbf\xbd");
    TEST_STR_EQ(err.text, "中文 \xef\xbf\xbd");
    errno = ENOENT;
    TEST_EQ(err_errno(&err, STATUS_NOT_FOUND, "open '%s'", "x"), STATUS_NOT_FOUND);
    TEST_STR_EQ(err.text, "open 'x': No such file or directory");
    TEST_EQ(err_set(NULL, STATUS_INTERNAL, "nobody listens"), STATUS_INTERNAL);
    TEST_EQ(err_prefix(NULL, STATUS_INTERNAL, "x"), STATUS_INTERNAL);
    TEST_EQ(err_errno(NULL, STATUS_INTERNAL, "x"), STATUS_INTERNAL);
}

static void test_cut(void **state) {
    (void)state;
    char long_text[2 * ERR_TEXT_MAX];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    struct err err;
    err_set(&err, STATUS_INTERNAL, "%s", long_text);
    TEST_EQ(strlen(err.text), ERR_TEXT_MAX - 1);
    err_prefix(&err, STATUS_INTERNAL, "%s", long_text);
    TEST_EQ(strlen(err.text), ERR_TEXT_MAX - 1);
    err_errno(&err, STATUS_INTERNAL, "%s", long_text);
    TEST_EQ(strlen(err.text), ERR_TEXT_MAX - 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_text), cmocka_unit_test(test_cut)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
