/* text_rows_test.c - lines and JSON rows, with the line numbers that messages name. */
#include "text_rows.h"

#include "base/limits.h"
#include "support/test.h"

#include <unistd.h>

static char path[64];

static void write_file(const char *text, size_t bytes, bool json) {
    snprintf(path, sizeof path, "/tmp/ember-rows-%d%s", (int)getpid(), json ? ".jsonl" : ".txt");
    FILE *f = fopen(path, "we");
    TEST_TRUE(f && fwrite(text, 1, bytes, f) == bytes);
    fclose(f);
}

static void test_texts(void **state) {
    (void)state;
    static const struct {
        const char *name, *text;
        bool json;
        const char *want; /* "text@line|" of each */
        const char *error;
    } rows[] = {
        {"nothing", "", false, "", NULL},
        {"lines", "a\nb c\n", false, "a@1|b c@2|", NULL},
        {"an empty line is a text", "a\n\n b\n", false, "a@1|@2| b@3|", NULL},
        {"line ends of all kinds", "a\r\nb\r\r\nc", false, "a@1|b@2|c@3|", NULL},
        {"another line end is text", "a\xe2\x80\xa8z\n", false, "a\xe2\x80\xa8z@1|", NULL},
        {"JSON in a file of lines", "{\"text\": 1}\n", false, "{\"text\": 1}@1|", NULL},
        {"not UTF-8", "a\nb\xc3\n", false, "a@1|", ":2: the text is not UTF-8 at byte 1"},
        {"rows", "{\"text\": \"a\\nb\"}\n{\"id\": 3, \"text\": \"\"}", true, "a\nb@1|@2|", NULL},
        {"empty lines between rows", "\n{\"text\": \"a\"}\r\n\n\n{\"text\": \"b\"}", true,
         "a@2|b@5|", NULL},
        {"no JSON", "{\"text\": \"a\"}\nb\n", true, "a@1|", ":2: not JSON"},
        {"no object", "[]", true, "", ":1: not a JSON object"},
        {"no text", "{\"text\": \"a\"}\n\n{}", true, "a@1|", ":3: \"text\" is missing"},
        {"no string", "{\"text\": null}", true, "", ":1: \"text\" is no string"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char got[200] = "";
        size_t n = 0;
        struct text_rows file;
        struct view text;
        struct err err;
        TEST_ROW(rows[i].name);
        write_file(rows[i].text, strlen(rows[i].text), rows[i].json);
        enum status st = text_rows_open(path, &file, &err);
        while (st == STATUS_OK && (st = text_rows_next(&file, &text, &err)) == STATUS_OK &&
               !file.end)
            n += (size_t)snprintf(got + n, sizeof got - n, "%.*s@%u|", (int)text.bytes, text.data,
                                  file.line);
        TEST_EQ(st, rows[i].error ? STATUS_DATA_LOSS : STATUS_OK);
        TEST_STR_EQ(got, rows[i].want);
        if (rows[i].error)
            TEST_HAS(err.text, rows[i].error);
        else
            TEST_EQ(file.read, file.bytes);
        text_rows_close(&file);
    }
    remove(path);
}

/* U+0000 belongs to a text, in a line as in an escape. */
static void test_nul(void **state) {
    (void)state;
    static const struct {
        bool json;
        char text[24];
        size_t bytes;
    } rows[] = {{false, "a\0b\n", 4}, {true, "{\"text\": \"a\\u0000b\"}\n", 20}};
    for (size_t i = 0; i < 2; i++) {
        struct text_rows file;
        struct view text = {0};
        write_file(rows[i].text, rows[i].bytes, rows[i].json);
        TEST_EQ(text_rows_open(path, &file, NULL), STATUS_OK);
        TEST_EQ(text_rows_next(&file, &text, NULL), STATUS_OK);
        TEST_TRUE(view_equal(text, view_make("a\0b", 3)));
        text_rows_close(&file);
        remove(path);
    }
}

static void test_long(void **state) {
    (void)state;
    static char text[LIMIT_TEXT_BYTES + 1];
    memset(text, 'x', sizeof text);
    for (size_t more = 0; more < 2; more++) {
        struct text_rows file;
        struct view got = {0};
        struct err err;
        write_file(text, LIMIT_TEXT_BYTES + more, false);
        TEST_EQ(text_rows_open(path, &file, NULL), STATUS_OK);
        TEST_EQ(text_rows_next(&file, &got, &err), more ? STATUS_DATA_LOSS : STATUS_OK);
        if (more)
            TEST_HAS(err.text, ":1: the text has 65537 bytes, at most 65536 are taken");
        else
            TEST_EQ(got.bytes, LIMIT_TEXT_BYTES);
        text_rows_close(&file);
        remove(path);
    }
}

static void test_files(void **state) {
    (void)state;
    struct text_rows file;
    struct err err;
    TEST_EQ(text_rows_open("/nowhere/x", &file, &err), STATUS_NOT_FOUND);
    text_rows_close(&file);
    TEST_EQ(text_rows_open("/tmp", &file, &err), STATUS_UNAVAILABLE);
    text_rows_close(&file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_nul),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
