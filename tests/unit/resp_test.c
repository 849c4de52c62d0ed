/* resp_test.c - the bytes of a command, and a buffer that is sent in parts. */
#include "cache/resp.h"
#include "support/test.h"

static void test_bytes(void **state) {
    (void)state;
    struct resp_out out;
    TEST_TRUE(resp_out_init(&out, 64));
    TEST_EQ(resp_out_bytes(&out), 0);
    resp_array(&out, 3);
    resp_text(&out, "SET");
    resp_arg(&out, "k\0\r\n", 4); /* a length, not a terminator */
    resp_arg(&out, NULL, 0);
    static const char want[] = "*3\r\n$3\r\nSET\r\n$4\r\nk\0\r\n\r\n$0\r\n\r\n";
    TEST_EQ(resp_out_bytes(&out), sizeof want - 1);
    TEST_MEM_EQ(out.data + out.from, want, sizeof want - 1);
    resp_out_reset(&out);
    TEST_EQ(resp_out_bytes(&out), 0);
    resp_out_done(&out);
    resp_out_done(&out);
}

/* Sent in parts, filled again: what is left stays in order, and 16 bytes are enough for ever. */
static void test_in_parts(void **state) {
    (void)state;
    struct resp_out out;
    char sent[512];
    size_t n_sent = 0;
    TEST_TRUE(resp_out_init(&out, 16));
    for (int i = 0; i < 40; i++) {
        char digit[2] = {(char)('0' + i % 10), 0};
        resp_compact(&out);
        TEST_EQ(out.from, 0);
        resp_text(&out, digit); /* seven bytes */
        size_t part = i % 2 ? 9 : 5;
        TEST_TRUE(part <= resp_out_bytes(&out));
        memcpy(sent + n_sent, out.data + out.from, part);
        out.from += part;
        n_sent += part;
    }
    TEST_EQ(n_sent, 40 * 7);
    TEST_EQ(resp_out_bytes(&out), 0);
    for (int i = 0; i < 40; i++) {
        char want[8];
        snprintf(want, sizeof want, "$1\r\n%d\r\n", i % 10);
        TEST_MEM_EQ(sent + 7 * i, want, 7);
    }
    resp_out_done(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bytes),
                                       cmocka_unit_test(test_in_parts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
