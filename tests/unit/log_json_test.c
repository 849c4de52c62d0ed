/* log_json_test.c - log lines as JSON. */
#include "support/test.h"

#include "base/log_json.h"

static void test_pairs(void **state) {
    (void)state;
    static const struct {
        const char *name, *pairs, *want;
    } rows[] = {
        {"nothing", "", ""},
        {"a word", "worker=w1", "\"worker\":\"w1\""},
        {"numbers", "n=2 ms=-0.5 x=1.", "\"n\":2,\"ms\":-0.5,\"x\":\"1.\""},
        {"no numbers",
         "a=007 b=1.2.3 c=- d=", "\"a\":\"007\",\"b\":\"1.2.3\",\"c\":\"-\",\"d\":\"\""},
        {"a hash of digits alone", "h=1234567890123456", "\"h\":\"1234567890123456\""},
        {"a number in quotes is a text", "v=\"2\"", "\"v\":\"2\""},
        {"quotes", "msg=\"a \\\"b\\\" c\\\\\" n=1", "\"msg\":\"a \\\"b\\\" c\\\\\",\"n\":1"},
        {"cut in a string", "n=1 msg=\"a b", "\"n\":1,\"msg\":\"a b\""},
        {"cut behind a backslash", "msg=\"a\\", "\"msg\":\"a\\\\\""},
        {"a word without a value", "stopped n=1", "\"stopped\":true,\"n\":1"},
        {"blanks", "  a=b   c=d ", "\"a\":\"b\",\"c\":\"d\""},
        {"control characters", "a=x\ty", "\"a\":\"x?y\""},
        {"not UTF-8", "a=\xff", "\"a\":\"\xef\xbf\xbd\""},
        {"Han", "a=\xe4\xb8\xad", "\"a\":\"\xe4\xb8\xad\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        char out[256];
        size_t n = log_json(view_of(rows[i].pairs), out, sizeof out - 1);
        out[n] = '\0';
        TEST_STR_EQ(out, rows[i].want);
    }
}

static void test_room(void **state) {
    (void)state;
    const char *pairs = "a=bc d=\"e\\\"f\" g=\xe4\xb8\xad";
    char whole[256];
    size_t bytes = log_json(view_of(pairs), whole, sizeof whole);
    for (size_t room = 0; room <= bytes; room++) {
        char out[64];
        memset(out, '#', sizeof out);
        size_t n = log_json(view_of(pairs), out, room);
        TEST_TRUE(n <= room && out[room] == '#' && memcmp(out, whole, n) == 0);
        TEST_TRUE(n == 0 || n == bytes || whole[n] == ','); /* whole pairs */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pairs), cmocka_unit_test(test_room)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
