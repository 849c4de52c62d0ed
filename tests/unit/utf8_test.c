#include "support/test.h"

#include "base/utf8.h"

static void test_valid_prefix(void **state) {
    (void)state;
    static const struct {
        const char *name, *text;
        size_t bytes, valid;
    } rows[] = {
        {"empty", "", 0, 0},
        {"ascii", "hello, world!", 13, 13},
        {"chinese", "退款", 6, 6},
        {"four bytes", "\xf0\x9f\x98\x80", 4, 4},
        {"largest", "\xf4\x8f\xbf\xbf", 4, 4},
        {"beyond the largest", "\xf4\x90\x80\x80", 4, 0},
        {"NUL is a character", "a\0b", 3, 3},
        {"overlong NUL", "a\xc0\x80", 3, 1},
        {"overlong three", "\xe0\x9f\xbf", 3, 0},
        {"overlong four", "\xf0\x8f\xbf\xbf", 4, 0},
        {"surrogate", "ab\xed\xa0\x80", 5, 2},
        {"last before surrogates", "\xed\x9f\xbf", 3, 3},
        {"lone continuation", "\x80", 1, 0},
        {"cut short", "abc\xe9\x80", 5, 3},
        {"f5", "\xf5\x80\x80\x80", 4, 0},
        {"bad after eight good", "12345678\xff", 9, 8},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        char *copy = malloc(rows[i].bytes + 1); /* exactly sized: ASan sees a read past the end */
        memcpy(copy, rows[i].text, rows[i].bytes);
        copy = realloc(copy, rows[i].bytes ? rows[i].bytes : 1);
        TEST_EQ(utf8_valid_prefix(view_make(copy, rows[i].bytes)), rows[i].valid);
        TEST_EQ(utf8_valid(view_make(copy, rows[i].bytes)), rows[i].valid == rows[i].bytes);
        free(copy);
    }
}

static void test_put_and_next(void **state) { /* every scalar value there and back */
    (void)state;
    for (uint32_t cp = 0; cp <= 0x10ffff; cp++) {
        if (cp >= 0xd800 && cp <= 0xdfff)
            continue;
        char bytes[4];
        unsigned n = utf8_put(cp, bytes), m = 0;
        if (utf8_next(bytes, bytes + n, &m) != cp || m != n || !utf8_valid(view_make(bytes, n)))
            TEST_FAIL("U+%04X", cp);
        if (n > 1 && (utf8_next(bytes, bytes + n - 1, &m) != 0xfffd || m != 1))
            TEST_FAIL("U+%04X cut short", cp);
    }
}

static void test_ideographs(void **state) {
    (void)state;
    static const struct {
        uint32_t cp;
        bool want;
    } rows[] = {
        {'a', false},      {0x33ff, false}, {0x3400, true},  {0x4dbf, true},  {0x4dc0, false},
        {0x4e00, true},    {0x9fff, true},  {0xa000, false}, {0xac00, false}, {0xf900, true},
        {0xfaff, true},    {0x3042, false}, {0x20000, true}, {0x2b81f, true}, {0x2b820, false},
        {0x2b920, true},   {0x2ceaf, true}, {0x2f800, true}, {0x2fa1f, true}, {0x2fa20, false},
        {0x10ffff, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        TEST_EQ(utf8_is_ideograph(rows[i].cp), rows[i].want);
}

static void test_count(void **state) {
    (void)state;
    TEST_EQ(utf8_count(view_of("a退\xf0\x9f\x98\x80")), 3);
    TEST_EQ(utf8_count(view_of("")), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid_prefix), cmocka_unit_test(test_put_and_next),
        cmocka_unit_test(test_ideographs), cmocka_unit_test(test_count)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
