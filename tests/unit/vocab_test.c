/* vocab_test.c - pieces in and out: files, JSON, gaps, repetitions, and the longest match. */
#include "support/test.h"

#include "base/limits.h"
#include "text/vocab.h"

static struct view PREFIX = {"##", 2};

static vocab_t *from_lines(const char *text) {
    vocab_t *v = NULL;
    struct err err = {0};
    if (vocab_from_lines(view_of(text), PREFIX, &v, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
    return v;
}

static void test_longest(void **state) {
    (void)state;
    vocab_t *v = from_lines("a\nab\nabcd\n##b\n##bc\n中\n##中文\né\n##\n#");
    static const struct {
        const char *name, *rest;
        bool continuing;
        int32_t id;
        size_t bytes;
    } rows[] = {
        {"one", "a", false, 0, 1},
        {"longest wins", "abcd", false, 2, 4},
        {"back from too long", "abce", false, 1, 2},
        {"beyond the longest piece", "abcdefgh", false, 2, 4},
        {"continuing", "bcd", true, 4, 2},
        {"continuing needs the prefix", "a", true, VOCAB_NONE, 0},
        {"starting does not", "b", false, VOCAB_NONE, 0},
        {"three bytes", "中文", false, 5, 3},
        {"six bytes, continuing", "中文", true, 6, 6},
        {"no half ideograph", "文", true, VOCAB_NONE, 0},
        {"two bytes", "éa", false, 7, 2},
        {"the prefix alone is a piece that starts", "##", false, 8, 2},
        {"a piece with the prefix, spelled out", "##bc", false, 4, 4},
        {"unknown", "z", false, VOCAB_NONE, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t bytes = 0;
        TEST_ROW(rows[i].name);
        TEST_EQ(vocab_longest(v, view_of(rows[i].rest), rows[i].continuing, &bytes), rows[i].id);
        TEST_EQ(bytes, rows[i].bytes);
    }
    TEST_ROW("");
    TEST_EQ(vocab_find(v, view_of("##bc")), 4);
    TEST_EQ(vocab_find(v, view_of("bc")), VOCAB_NONE);
    TEST_EQ(vocab_find(v, view_of("")), VOCAB_NONE);
    TEST_EQ(vocab_find(v, view_of("abcd\0")), 2);
    vocab_destroy(&v);
    TEST_TRUE(v == NULL);
    vocab_destroy(&v);
}

/* Pieces longer than what a match looks at are kept and found, but never matched in part. */
static void test_very_long_pieces(void **state) {
    (void)state;
    char text[VOCAB_MATCH_CHARS + 8];
    memset(text, 'a', sizeof text);
    vocab_t *v = vocab_new(2, sizeof text + 1, PREFIX);
    TEST_TRUE(v && vocab_add(v, 0, view_make(text, sizeof text)) && vocab_add(v, 1, view_of("a")));
    size_t bytes = 0;
    TEST_EQ(vocab_find(v, view_make(text, sizeof text)), 0);
    TEST_EQ(vocab_longest(v, view_make(text, sizeof text), false, &bytes), 1);
    TEST_EQ(bytes, 1);
    vocab_destroy(&v);
}

static void test_lines(void **state) {
    (void)state;
    static const struct {
        const char *name, *text;
        uint32_t size;
        int32_t last; /* id of "last" */
    } rows[] = {
        {"LF at the end", "a\nb\nlast\n", 3, 2},
        {"none at the end", "a\nb\nlast", 3, 2},
        {"CR LF", "a\r\nb\r\nlast\r\n", 3, 2},
        {"an empty line keeps its number", "a\n\n\nlast\n", 4, 3},
        {"U+2028 is a piece, no line end", "a\n\xe2\x80\xa8\nlast\n", 3, 2},
        {"so are U+0085, form feed and a space", "\xc2\x85\n\f\n \nlast", 4, 3},
        {"empty", "", 0, VOCAB_NONE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        vocab_t *v = from_lines(rows[i].text);
        TEST_EQ(vocab_size(v), rows[i].size);
        TEST_EQ(vocab_find(v, view_of("last")), rows[i].last);
        if (rows[i].last >= 0)
            TEST_TRUE(view_equal(vocab_piece(v, rows[i].last), view_of("last")));
        TEST_EQ(vocab_piece(v, (int32_t)rows[i].size).bytes, 0);
        TEST_EQ(vocab_piece(v, -1).bytes, 0);
        vocab_destroy(&v);
    }
}

static void test_bad_lines(void **state) {
    (void)state;
    static const struct {
        const char *name, *text;
        size_t bytes;
        const char *message;
    } rows[] = {
        {"repeated", "a\nb\na\n", 6, "line 3: piece 'a'"},
        {"repeated but for CR", "a\na\r\n", 5, "line 2"},
        {"not UTF-8", "a\n\xff\n", 4, "line 2 is not UTF-8"},
        {"NUL", "a\nb\0c\n", 6, "line 2 holds a NUL"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        vocab_t *v = NULL;
        struct err err = {0};
        TEST_EQ(vocab_from_lines(view_make(rows[i].text, rows[i].bytes), PREFIX, &v, &err),
                STATUS_DATA_LOSS);
        TEST_HAS(err.text, rows[i].message);
        TEST_TRUE(v == NULL);
    }
}

static void test_too_many_lines(void **state) {
    (void)state;
    size_t bytes = (size_t)LIMIT_VOCAB + 1;
    char *text = malloc(bytes);
    TEST_TRUE(text != NULL);
    memset(text, '\n', bytes);
    vocab_t *v = NULL;
    TEST_EQ(vocab_from_lines(view_make(text, bytes), PREFIX, &v, NULL), STATUS_RESOURCE_EXHAUSTED);
    TEST_EQ(vocab_from_lines(view_make(text, bytes - 1), PREFIX, &v, NULL), STATUS_OK);
    TEST_EQ(vocab_size(v), LIMIT_VOCAB);
    vocab_destroy(&v);
    free(text);
}

static void test_json(void **state) {
    (void)state;
    static const struct {
        const char *name, *json;
        enum status status;
        const char *message;
    } rows[] = {
        {"in any order, with a gap", "{\"b\": 7, \"##a\": 0}", STATUS_OK, ""},
        {"empty", "{}", STATUS_OK, ""},
        {"an id twice", "{\"a\": 1, \"b\": 1}", STATUS_DATA_LOSS, "id 1"},
        {"a fraction", "{\"a\": 1.5}", STATUS_DATA_LOSS, "no number"},
        {"a negative id", "{\"a\": -1}", STATUS_DATA_LOSS, "no number"},
        {"a string", "{\"a\": \"1\"}", STATUS_DATA_LOSS, "no number"},
        {"an id beyond reason", "{\"a\": 1000000}", STATUS_RESOURCE_EXHAUSTED, "1000000"},
        {"an id of 2^32", "{\"a\": 4294967296}", STATUS_RESOURCE_EXHAUSTED, "4294967296"},
        {"a list", "[\"a\"]", STATUS_DATA_LOSS, "no object"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        json_t *root = NULL;
        vocab_t *v = NULL;
        struct err err = {0};
        TEST_EQ(json_parse(view_of(rows[i].json), 1024, "map", &root, &err), STATUS_OK);
        TEST_EQ(vocab_from_json(root, PREFIX, &v, &err), rows[i].status);
        TEST_HAS(err.text, rows[i].message);
        if (i == 0) {
            TEST_EQ(vocab_size(v), 8);
            TEST_EQ(vocab_find(v, view_of("b")), 7);
            TEST_EQ(vocab_piece(v, 3).bytes, 0);
        }
        vocab_destroy(&v);
        json_destroy(&root);
    }
}

/* The limit of a match is in code points, not bytes. */
static void test_longest_ideographs(void **state) {
    (void)state;
    char text[VOCAB_MATCH_CHARS * 3];
    for (size_t i = 0; i < sizeof text; i += 3)
        memcpy(text + i, "中", 3);
    vocab_t *v = vocab_new(1, sizeof text, PREFIX);
    TEST_TRUE(v && vocab_add(v, 0, view_make(text, sizeof text)));
    size_t bytes = 0;
    TEST_EQ(vocab_longest(v, view_make(text, sizeof text), false, &bytes), 0);
    TEST_EQ(bytes, sizeof text);
    vocab_destroy(&v);
}

/* These two have the same slot and tag in a small table, so only their bytes tell them apart. */
static void test_collision(void **state) {
    (void)state;
    size_t bytes = 0;
    vocab_t *v = from_lines("0bea5e");
    TEST_EQ(vocab_find(v, view_of("0bea5e")), 0);
    TEST_EQ(vocab_find(v, view_of("2866cc")), VOCAB_NONE);
    TEST_EQ(vocab_longest(v, view_of("2866cc"), false, &bytes), VOCAB_NONE);
    vocab_destroy(&v);
    v = from_lines("0bea5e\n2866cc");
    TEST_EQ(vocab_find(v, view_of("0bea5e")), 0);
    TEST_EQ(vocab_find(v, view_of("2866cc")), 1);
    vocab_destroy(&v);
}

/* Many pieces, so that slots collide and probes go around the end. */
static void test_many(void **state) {
    (void)state;
    enum { N = 50000 };
    vocab_t *v = vocab_new(N, N * 8, PREFIX);
    TEST_TRUE(v != NULL);
    char piece[16];
    for (int32_t i = 0; i < N; i++) {
        int n = snprintf(piece, sizeof piece, i % 2 ? "##%x" : "%x", i);
        TEST_TRUE(vocab_add(v, i, view_make(piece, (size_t)n)));
        TEST_TRUE(!vocab_add(v, i, view_of("x")));
    }
    for (int32_t i = 0; i < N; i++) {
        size_t bytes = 0;
        int n = snprintf(piece, sizeof piece, "%x", i);
        TEST_EQ(vocab_longest(v, view_make(piece, (size_t)n), i % 2, &bytes), i);
        TEST_EQ(bytes, n);
    }
    TEST_EQ(vocab_find(v, view_of("fffff")), VOCAB_NONE);
    vocab_destroy(&v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_longest),
        cmocka_unit_test(test_very_long_pieces),
        cmocka_unit_test(test_longest_ideographs),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_bad_lines),
        cmocka_unit_test(test_too_many_lines),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_collision),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
