/* screen_test.c - columns of wide text, cutting, and values as JSON. */
#include "screen.h"
#include "support/test.h"

static const char *printed(void (*print)(FILE *, struct view, unsigned), struct view text,
                           unsigned columns) {
    static char out[512];
    FILE *f = fmemopen(out, sizeof out, "w");
    print(f, text, columns);
    fputc('\0', f);
    fclose(f);
    return out;
}

static void json(FILE *f, struct view text, unsigned columns) {
    (void)columns;
    screen_json_text(f, text);
}

static void base64(FILE *f, struct view text, unsigned columns) {
    (void)columns;
    screen_base64(f, text.data, text.bytes);
}

static void test_columns(void **state) {
    (void)state;
    static const struct {
        const char *text;
        unsigned columns;
    } rows[] = {{"", 0},     {"abc", 3}, {"退款", 4}, {"a退b", 4}, {"e\xcc\x81", 1}, {"がぎ", 4},
                {"한국", 4}, {"ｱ", 1},   {"！", 2},   {"😀", 2},    {"\xff", 1},      {"—", 1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].text);
        TEST_EQ(screen_columns(view_of(rows[i].text)), rows[i].columns);
    }
}

static void test_print(void **state) {
    (void)state;
    static const struct {
        const char *text;
        unsigned columns;
        const char *want;
    } rows[] = {
        {"ab", 4, "ab  "},
        {"退款", 5, "退款 "},
        {"退款退款", 4, "退… "}, /* a wide character does not fit into what is left */
        {"退款退款", 5, "退款…"},
        {"abcdef", 4, "abc…"},
        {"a\x1b[31mb\n", 0, "a [31mb "}, /* a text cannot paint the terminal */
        {"a\xffz", 0, "a\xef\xbf\xbdz"},
        {"x\xe2\x80\xaey", 0, "x y"}, /* nor turn the line around */
        {"", 2, "  "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].text);
        TEST_STR_EQ(printed(screen_print, view_of(rows[i].text), rows[i].columns), rows[i].want);
    }
}

static void test_json(void **state) {
    (void)state;
    static const struct {
        const char *text, *want;
    } rows[] = {{"", "\"\""},
                {"a\"b\\c", "\"a\\\"b\\\\c\""},
                {"退\n\t\x01", "\"退\\n\\t\\u0001\""},
                {"\xff", "\"\xef\xbf\xbd\""}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        TEST_STR_EQ(printed(json, view_of(rows[i].text), 0), rows[i].want);
    /* RFC 4648, section 10 */
    static const char *const plain[] = {"", "f", "fo", "foo", "foob", "fooba", "foobar"};
    static const char *const coded[] = {"",         "Zg==",     "Zm8=",    "Zm9v",
                                        "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    for (size_t i = 0; i < 7; i++)
        TEST_STR_EQ(printed(base64, view_of(plain[i]), 0), coded[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_columns), cmocka_unit_test(test_print),
                                       cmocka_unit_test(test_json)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
