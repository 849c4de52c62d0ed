/* tokenizer_test.c - a vocabulary small enough that every id below can be checked by eye. */
#include "support/test.h"

#include "base/utf8.h"
#include "text/tokenizer.h"

#include <sys/stat.h>
#include <unistd.h>

/* clang-format off */
#define PIECES \
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nrefund\n##s\n,\nplease\n中\n##国\n国\ne\n" \
    "##e\nE\nun\n##aff\n##able\n$\n\xe1\x84\x80\n##\xe1\x85\xa1\n##\xe1\x86\xa8\n" \
    "𠀀\n##\xe3\x80\xae\n[\n]\ncls\n"
enum {
    PAD, UNK, CLS, SEP, MASK, REFUND, PLURAL, COMMA, PLEASE, ZHONG, GUO_TAIL, GUO, E_, E_TAIL,
    E_BIG, UN, AFF, ABLE, DOLLAR, JAMO_G, JAMO_A, JAMO_GK, EXT_B, TONE, OPEN, CLOSE, CLS_WORD,
    N_PIECES
};
/* clang-format on */

static tokenizer_t *tok, *cased;

static int set_up(void **state) {
    (void)state;
    struct err err;
    return tokenizer_from_vocab(view_of(PIECES), true, &tok, &err) == STATUS_OK &&
                   tokenizer_from_vocab(view_of(PIECES), false, &cased, &err) == STATUS_OK
               ? 0
               : -1;
}

static int tear_down(void **state) {
    (void)state;
    tokenizer_destroy(&tok);
    tokenizer_destroy(&cased);
    tokenizer_destroy(&cased);
    return 0;
}

static void expect_ids(const int32_t *got, uint32_t n, const int32_t *want, uint32_t want_n) {
    for (uint32_t i = 0; i < n || i < want_n; i++)
        if (i >= n || i >= want_n || got[i] != want[i])
            TEST_FAIL("%u ids, want %u; id %u is %d, want %d", n, want_n, i, i < n ? got[i] : -1,
                      i < want_n ? want[i] : -1);
}

static void test_encode(void **state) {
    (void)state;
    static const struct {
        const char *name, *text;
        uint32_t n;
        int32_t ids[8];
    } rows[] = {
        {"empty", "", 0, {0}},
        {"only white space", " \t\r\n\xc2\xa0\xe3\x80\x80", 0, {0}},
        {"header's example", "Refunds, please", 4, {REFUND, PLURAL, COMMA, PLEASE}},
        {"pieces", "unaffable", 3, {UN, AFF, ABLE}},
        {"one bad piece spoils the word", "unaffablx refund", 2, {UNK, REFUND}},
        {"ideographs stand alone", "中国国", 3, {ZHONG, GUO, GUO}},
        {"ideograph in a word", "refund中refund", 3, {REFUND, ZHONG, REFUND}},
        {"ideograph beyond the BMP", "e\xf0\xa0\x80\x80", 2, {E_, EXT_B}},
        {"unknown one beyond the BMP", "\xf0\xa0\x80\x81", 1, {UNK}},
        {"ASCII symbol", "e$e", 3, {E_, DOLLAR, E_}},
        {"unknown punctuation", "e!e", 3, {E_, UNK, E_}},
        {"accents", "É e\xcc\x81\xcc\x82", 2, {E_, E_}},
        {"accent between letters",
         "e\xcc\x81"
         "e",
         2,
         {E_, E_TAIL}},
        {"Hangul in three jamo", "각", 3, {JAMO_G, JAMO_A, JAMO_GK}},
        {"zero width characters vanish",
         "un\xe2\x80\x8b"
         "aff\xef\xbb\xbf"
         "able",
         3,
         {UN, AFF, ABLE}},
        {"special tokens", "e[SEP]e", 3, {E_, SEP, E_}},
        {"special inside a word", "un[MASK]affable", 3, {UN, MASK, UNK}},
        {"not quite special", "[cls]", 3, {OPEN, CLS_WORD, CLOSE}},
        {"special cut short", "[SEP", 2, {OPEN, UNK}},
        {"special twice", "[[SEP]]", 3, {OPEN, SEP, CLOSE}},
        {"broken UTF-8 vanishes",
         "un\xff\xfe"
         "aff\xe4\xb8"
         "able\x80",
         3,
         {UN, AFF, ABLE}},
        {"surrogate and overlong", "e\xed\xa0\x80\xc0\x80", 1, {E_}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int32_t ids[16], want[10] = {CLS};
        uint32_t full = 0;
        TEST_ROW(rows[i].name);
        memcpy(want + 1, rows[i].ids, rows[i].n * sizeof *want);
        want[rows[i].n + 1] = SEP;
        uint32_t n =
            tokenizer_encode(tok, view_of(rows[i].text), 16, TOKENIZER_CUT_RIGHT, ids, &full);
        expect_ids(ids, n, want, rows[i].n + 2);
        TEST_EQ(full, n);
    }
}

static void test_cased(void **state) {
    (void)state;
    int32_t ids[16];
    static const int32_t want[] = {CLS, E_BIG, UNK, UNK, SEP};
    uint32_t n =
        tokenizer_encode(cased, view_of("E É e\xcc\x81"), 16, TOKENIZER_CUT_RIGHT, ids, NULL);
    expect_ids(ids, n, want, 5);
    TEST_TRUE(tokenizer_lowercase(tok) && !tokenizer_lowercase(cased));
}

/* NFD orders marks by class, and a dropped mark of class 0 keeps them apart. It takes marks that
 * accent stripping leaves: U+302E and U+302F of class 224, U+1D16D of class 226. */
static void test_mark_order(void **state) {
    (void)state;
    tokenizer_t *marks = NULL;
    TEST_EQ(tokenizer_from_vocab(view_of("[UNK]\n[CLS]\n[SEP]\n"
                                         "e\xe3\x80\xae\xf0\x9d\x85\xad\n"
                                         "e\xf0\x9d\x85\xad\xe3\x80\xae\n"
                                         "e\xe3\x80\xaf\xe3\x80\xae\n"),
                                 true, &marks, NULL),
            STATUS_OK);
    static const struct {
        const char *name, *text;
        int32_t id;
    } rows[] = {
        {"in order", "e\xe3\x80\xae\xf0\x9d\x85\xad", 3},
        {"out of order", "e\xf0\x9d\x85\xad\xe3\x80\xae", 3},
        {"a fence between", "e\xf0\x9d\x85\xad\xe0\xa5\x81\xe3\x80\xae", 4},
        {"two fences in one code point", "e\xf0\x9d\x85\xad\xf0\x91\x84\xae\xe3\x80\xae", 4},
        {"marks of one class stay as written", "e\xe3\x80\xaf\xe3\x80\xae", 5},
        {"a dropped accent is no fence", "e\xf0\x9d\x85\xad\xcc\x81\xe3\x80\xae", 3},
        {"a dropped control character is none", "e\xf0\x9d\x85\xad\xe2\x80\x8b\xe3\x80\xae", 3},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int32_t ids[8], want[] = {1, rows[i].id, 2};
        TEST_ROW(rows[i].name);
        uint32_t n =
            tokenizer_encode(marks, view_of(rows[i].text), 8, TOKENIZER_CUT_RIGHT, ids, NULL);
        expect_ids(ids, n, want, 3);
    }
    tokenizer_destroy(&marks);
}

static void test_long_words(void **state) {
    (void)state;
    tokenizer_t *t = NULL;
    TEST_EQ(tokenizer_from_vocab(view_of("[UNK]\n[CLS]\n[SEP]\na\n##a\n"), true, &t, NULL),
            STATUS_OK);
    char word[4000];
    int32_t ids[256];
    memset(word, 'a', sizeof word);
    TEST_EQ(tokenizer_encode(t, view_make(word, 100), 256, TOKENIZER_CUT_RIGHT, ids, NULL), 102);
    TEST_EQ(tokenizer_encode(t, view_make(word, 101), 256, TOKENIZER_CUT_RIGHT, ids, NULL), 3);
    TEST_EQ(ids[1], 0);
    word[200] = ' '; /* an unknown word, then one that ends the text */
    TEST_EQ(tokenizer_encode(t, view_make(word, 301), 256, TOKENIZER_CUT_RIGHT, ids, NULL), 103);
    /* Marks without end are one word too, put in order or not. */
    for (size_t i = 0; i + 7 <= sizeof word; i += 7)
        memcpy(word + i, "\xf0\x9d\x85\xad\xe3\x80\xae", 7);
    TEST_EQ(tokenizer_encode(t, view_make(word, 3997), 256, TOKENIZER_CUT_RIGHT, ids, NULL), 3);
    tokenizer_destroy(&t);
}

static void test_cut(void **state) {
    (void)state;
    struct view text =
        view_of("e $ refunds , 中"); /* seven with both special ones: e $ r ##s , 中 */
    static const struct {
        const char *name;
        uint32_t max;
        enum tokenizer_side side;
        uint32_t n;
        int32_t ids[8];
    } rows[] = {
        {"fits", 8, TOKENIZER_CUT_RIGHT, 8, {CLS, E_, DOLLAR, REFUND, PLURAL, COMMA, ZHONG, SEP}},
        {"one over", 7, TOKENIZER_CUT_RIGHT, 7, {CLS, E_, DOLLAR, REFUND, PLURAL, COMMA, SEP}},
        {"inside a word", 5, TOKENIZER_CUT_RIGHT, 5, {CLS, E_, DOLLAR, REFUND, SEP}},
        {"one over, left",
         7,
         TOKENIZER_CUT_LEFT,
         7,
         {CLS, DOLLAR, REFUND, PLURAL, COMMA, ZHONG, SEP}},
        {"inside a word, left", 5, TOKENIZER_CUT_LEFT, 5, {CLS, PLURAL, COMMA, ZHONG, SEP}},
        {"one token, left", 3, TOKENIZER_CUT_LEFT, 3, {CLS, ZHONG, SEP}},
        {"no token, left", 2, TOKENIZER_CUT_LEFT, 2, {CLS, SEP}},
        {"no token, right", 2, TOKENIZER_CUT_RIGHT, 2, {CLS, SEP}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t full = 0;
        int32_t ids[8];
        TEST_ROW(rows[i].name);
        ids[rows[i].max < 8 ? rows[i].max : 7] = -7;
        expect_ids(ids, tokenizer_encode(tok, text, rows[i].max, rows[i].side, ids, &full),
                   rows[i].ids, rows[i].n);
        TEST_EQ(full, 8);
        expect_ids(ids, tokenizer_encode(tok, text, rows[i].max, rows[i].side, ids, NULL),
                   rows[i].ids, rows[i].n);
        if (rows[i].max < 8)
            TEST_EQ(ids[rows[i].max], -7); /* nothing behind the room */
    }
}

/* a and b words of one token each, cut to `max`: how many of each stay. */
static void test_pair_shares(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t a, b, max;
        enum tokenizer_pair_cut cut;
        uint32_t want_a, want_b;
    } rows[] = {
        {"fits", 3, 4, 10, TOKENIZER_LONGEST_FIRST, 3, 4},
        {"both empty", 0, 0, 3, TOKENIZER_LONGEST_FIRST, 0, 0},
        {"second empty", 5, 0, 6, TOKENIZER_LONGEST_FIRST, 3, 0},
        {"first empty", 0, 5, 6, TOKENIZER_LONGEST_FIRST, 0, 3},
        {"longer first", 9, 2, 10, TOKENIZER_LONGEST_FIRST, 5, 2},
        {"longer second", 2, 9, 10, TOKENIZER_LONGEST_FIRST, 2, 5},
        {"equal, odd room: the second gets it", 9, 9, 10, TOKENIZER_LONGEST_FIRST, 3, 4},
        {"first longer, odd room", 10, 9, 10, TOKENIZER_LONGEST_FIRST, 4, 3},
        {"second longer, odd room", 9, 10, 10, TOKENIZER_LONGEST_FIRST, 3, 4},
        {"shorter takes over half", 5, 9, 10, TOKENIZER_LONGEST_FIRST, 3, 4},
        {"no room", 4, 4, 3, TOKENIZER_LONGEST_FIRST, 0, 0},
        {"only first", 9, 3, 10, TOKENIZER_ONLY_FIRST, 4, 3},
        {"only first, fits", 3, 3, 10, TOKENIZER_ONLY_FIRST, 3, 3},
        {"only first, second fills it", 9, 7, 10, TOKENIZER_ONLY_FIRST, 0, 7},
        {"only first, second too long", 9, 9, 10, TOKENIZER_ONLY_FIRST, 0, 7},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int32_t ids[16], types[16], want[16], want_types[16] = {0};
        uint32_t full = 0, n = 0;
        TEST_ROW(rows[i].name);
        want[n++] = CLS;
        for (uint32_t k = 0; k < rows[i].want_a; k++)
            want[n++] = E_;
        want[n++] = SEP;
        for (uint32_t k = 0; k <= rows[i].want_b; k++) {
            want[n] = k < rows[i].want_b ? ZHONG : SEP;
            want_types[n++] = 1;
        }
        struct view a = view_make("e e e e e e e e e e ", rows[i].a * 2);
        struct view b = view_make("中中中中中中中中中中", rows[i].b * 3);
        uint32_t got =
            tokenizer_encode_pair(tok, a, b, rows[i].max, rows[i].cut, ids, types, &full);
        expect_ids(ids, got, want, n);
        expect_ids(types, got, want_types, n);
        TEST_EQ(full, rows[i].a + rows[i].b + 3);
    }
}

static void test_pieces(void **state) {
    (void)state;
    TEST_EQ(tokenizer_vocab_size(tok), N_PIECES);
    TEST_TRUE(view_equal(tokenizer_piece(tok, PLURAL), view_of("##s")));
    TEST_TRUE(view_equal(tokenizer_piece(tok, SEP), view_of("[SEP]")));
    TEST_EQ(tokenizer_piece(tok, N_PIECES).bytes, 0);
    TEST_EQ(tokenizer_piece(tok, -1).bytes, 0);
}

static void test_estimate(void **state) {
    (void)state;
    TEST_EQ(tokenizer_estimate(view_of("")), 2);
    TEST_EQ(tokenizer_estimate(view_of("我的余额是多少？")), 10);
    uint32_t english = tokenizer_estimate(view_of("I happened to forget my password"));
    TEST_TRUE(english >= 6 && english <= 10); /* 8 */
}

/* A tokenizer.json around these parts; NULL leaves the usual one. */
static void make_json(char *out, size_t room, const char *added, const char *normalizer,
                      const char *split, const char *post, const char *model) {
    snprintf(
        out, room,
        "{\"added_tokens\": %s, \"normalizer\": %s, \"pre_tokenizer\": %s, \"post_processor\": %s, "
        "\"model\": %s}",
        added ? added : "[]", normalizer ? normalizer : "{\"type\": \"BertNormalizer\"}",
        split ? split : "{\"type\": \"BertPreTokenizer\"}", post ? post : "null",
        model ? model
              : "{\"type\": \"WordPiece\", \"vocab\": {\"[UNK]\": 9, \"[CLS]\": 1, \"[SEP]\": "
                "3, \"e\": 4, \"E\": 5, \"##e\": 6, \"中\": 7, \"\xc3\xa9\": 8}}");
}

#define ADDED(content, more)                                                                       \
    "[{\"id\": 20, \"content\": \"" content "\", \"special\": true" more "}]"
#define TEMPLATE(b, last)                                                                          \
    "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"e\", "          \
    "\"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, {\"SpecialToken\": "       \
    "{\"id\": \"E\", \"type_id\": 0}}], \"pair\": [{\"SpecialToken\": {\"id\": \"e\", "            \
    "\"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, {\"SpecialToken\": "       \
    "{\"id\": \"E\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"B\", \"type_id\": " b             \
    "}}, {\"SpecialToken\": {\"id\": \"" last "\", \"type_id\": " b "}}]}"

static void test_json(void **state) {
    (void)state;
    static const struct {
        const char *name, *added, *normalizer, *split, *post, *model;
        enum status status;
        const char *message; /* or, when it loads, ids of "E é 中中<x>" as text */
    } rows[] = {
        {"plain", NULL, NULL, NULL, NULL, NULL, STATUS_OK, "1 4 4 7 7 9 9 9 3"},
        {"cased", NULL, "{\"type\": \"BertNormalizer\", \"lowercase\": false}", NULL, NULL, NULL,
         STATUS_OK, "1 5 8 7 7 9 9 9 3"},
        {"lower-cased with accents", NULL,
         "{\"type\": \"BertNormalizer\", \"strip_accents\": false}", NULL, NULL, NULL, STATUS_OK,
         "1 4 8 7 7 9 9 9 3"},
        {"cased without accents", NULL,
         "{\"type\": \"BertNormalizer\", \"strip_accents\": true, \"lowercase\": false}", NULL,
         NULL, NULL, STATUS_OK, "1 5 4 7 7 9 9 9 3"},
        {"null is as the case", NULL,
         "{\"type\": \"BertNormalizer\", \"strip_accents\": null, \"lowercase\": false}", NULL,
         NULL, NULL, STATUS_OK, "1 5 8 7 7 9 9 9 3"},
        {"ideographs not isolated", NULL,
         "{\"type\": \"BertNormalizer\", \"handle_chinese_chars\": false}", NULL, NULL, NULL,
         STATUS_OK, "1 4 4 9 9 9 9 3"},
        {"no normalizer", NULL, "null", NULL, NULL, NULL, STATUS_OK, "1 5 8 9 9 9 9 3"},
        {"another normalizer", NULL, "{\"type\": \"NFKC\"}", NULL, NULL, NULL, STATUS_UNIMPLEMENTED,
         "NFKC"},
        {"a setting of the wrong type", NULL, "{\"type\": \"BertNormalizer\", \"lowercase\": 1}",
         NULL, NULL, NULL, STATUS_DATA_LOSS, "lowercase"},
        {"another split", NULL, NULL, "{\"type\": \"Metaspace\"}", NULL, NULL, STATUS_UNIMPLEMENTED,
         "Metaspace"},
        {"no split", NULL, NULL, "null", NULL, NULL, STATUS_UNIMPLEMENTED, "pre_tokenizer"},
        {"an added token", ADDED("<x>", ""), NULL, NULL, NULL, NULL, STATUS_OK, "1 4 4 7 7 20 3"},
        {"an added token of words", ADDED("<x>", ", \"single_word\": true"), NULL, NULL, NULL, NULL,
         STATUS_UNIMPLEMENTED, "single_word"},
        {"one in normalized text", ADDED("<x>", ", \"normalized\": true"), NULL, NULL, NULL, NULL,
         STATUS_UNIMPLEMENTED, "normalized"},
        {"an added token with another id", ADDED("[SEP]", ""), NULL, NULL, NULL, NULL,
         STATUS_DATA_LOSS, "[SEP]"},
        {"an added token on a taken id", "[{\"id\": 4, \"content\": \"f\", \"special\": true}]",
         NULL, NULL, NULL, NULL, STATUS_DATA_LOSS, "'f'"},
        {"an added token with a large id",
         "[{\"id\": 4294967300, \"content\": \"f\", \"special\": true}]", NULL, NULL, NULL, NULL,
         STATUS_RESOURCE_EXHAUSTED, "'f'"},
        {"an added token without text", ADDED("", ""), NULL, NULL, NULL, NULL, STATUS_DATA_LOSS,
         "content"},
        {"named by BertProcessing", NULL, NULL, NULL,
         "{\"type\": \"BertProcessing\", \"sep\": [\"E\", 5], \"cls\": [\"e\", 4]}", NULL,
         STATUS_OK, "4 4 4 7 7 9 9 9 5"},
        {"named by a template", NULL, NULL, NULL, TEMPLATE("1", "E"), NULL, STATUS_OK,
         "4 4 4 7 7 9 9 9 5"},
        {"another template", NULL, NULL, NULL, TEMPLATE("1", "e"), NULL, STATUS_UNIMPLEMENTED,
         "post_processor"},
        {"segments beyond 1", NULL, NULL, NULL, TEMPLATE("2", "E"), NULL, STATUS_UNIMPLEMENTED,
         "post_processor"},
        {"another post-processor", NULL, NULL, NULL, "{\"type\": \"ByteLevel\"}", NULL,
         STATUS_UNIMPLEMENTED, "ByteLevel"},
        {"Unigram", NULL, NULL, NULL, NULL, "{\"type\": \"Unigram\", \"vocab\": [[\"a\", 0.1]]}",
         STATUS_UNIMPLEMENTED, "Unigram"},
        {"BPE without a type", NULL, NULL, NULL, NULL, "{\"vocab\": {}, \"merges\": []}",
         STATUS_UNIMPLEMENTED, "model"},
        {"no model", NULL, NULL, NULL, NULL, "null", STATUS_DATA_LOSS, "model"},
        {"no vocabulary", NULL, NULL, NULL, NULL, "{\"type\": \"WordPiece\"}", STATUS_DATA_LOSS,
         "vocabulary"},
        {"a special piece is missing", NULL, NULL, NULL, NULL,
         "{\"type\": \"WordPiece\", \"vocab\": {\"[UNK]\": 0, \"[CLS]\": 1}}", STATUS_DATA_LOSS,
         "[SEP]"},
        {"another prefix, another unknown, shorter words", NULL, NULL, NULL, NULL,
         "{\"type\": \"WordPiece\", \"continuing_subword_prefix\": \"\", \"unk_token\": \"oh\", "
         "\"max_input_chars_per_word\": 1, \"vocab\": {\"oh\": 0, \"[CLS]\": 1, \"[SEP]\": 2, "
         "\"e\": 3}}",
         STATUS_OK, "1 3 3 0 0 0 0 0 2"},
        {"no characters in a word", NULL, NULL, NULL, NULL,
         "{\"type\": \"WordPiece\", \"max_input_chars_per_word\": 0, \"vocab\": {}}",
         STATUS_DATA_LOSS, "max_input_chars_per_word"},
        {"too many", NULL, NULL, NULL, NULL,
         "{\"type\": \"WordPiece\", \"max_input_chars_per_word\": 100000, \"vocab\": {}}",
         STATUS_RESOURCE_EXHAUSTED, "max_input_chars_per_word"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char json[4096];
        TEST_ROW(rows[i].name);
        make_json(json, sizeof json, rows[i].added, rows[i].normalizer, rows[i].split, rows[i].post,
                  rows[i].model);
        tokenizer_t *t = NULL;
        struct err err = {0};
        enum status st = tokenizer_from_json(view_of(json), &t, &err);
        if (st != rows[i].status)
            TEST_FAIL("%s (%s), want %s", status_name(st), err.text, status_name(rows[i].status));
        if (st != STATUS_OK) {
            TEST_TRUE(t == NULL);
            TEST_HAS(err.text, rows[i].message);
            continue;
        }
        int32_t ids[16];
        char got[128] = "";
        uint32_t n =
            tokenizer_encode(t, view_of("E é 中中<x>"), 16, TOKENIZER_CUT_RIGHT, ids, NULL);
        for (uint32_t k = 0; k < n; k++)
            snprintf(got + strlen(got), sizeof got - strlen(got), k ? " %d" : "%d", ids[k]);
        TEST_STR_EQ(got, rows[i].message);
        tokenizer_destroy(&t);
    }
}

/* Models that average token vectors: no marks around a text, and the files need not name any. */
static void test_bare(void **state) {
    (void)state;
    static const char JSON[] =
        "{\"normalizer\": {\"type\": \"BertNormalizer\"}, \"pre_tokenizer\": {\"type\": "
        "\"BertPreTokenizer\"}, \"post_processor\": {\"type\": \"ByteLevel\"}, "
        "\"model\": {\"type\": \"WordPiece\", \"unk_token\": \"[UNK]\", \"vocab\": "
        "{\"[UNK]\": 0, \"a\": 1, \"b\": 2, \"##b\": 3, \"long\": 4}}}";
    static const struct {
        const char *name, *text;
        bool drop;
        uint32_t max;
        enum tokenizer_side side;
        uint32_t n_full, n;
        int32_t ids[8];
    } rows[] = {
        {"empty", "", false, 1, TOKENIZER_CUT_RIGHT, 0, 0, {0}},
        {"words", "a ab x long", false, 8, TOKENIZER_CUT_RIGHT, 5, 5, {1, 1, 3, 0, 4}},
        {"unknown ones dropped", "a ab x long", true, 8, TOKENIZER_CUT_RIGHT, 4, 4, {1, 1, 3, 4}},
        {"before the cut", "x x a x b a", true, 2, TOKENIZER_CUT_RIGHT, 3, 2, {1, 2}},
        {"one token", "b a", false, 1, TOKENIZER_CUT_RIGHT, 2, 1, {2}},
        {"the last ones", "a b a b b", false, 3, TOKENIZER_CUT_LEFT, 5, 3, {1, 2, 2}},
        {"the last known ones", "a x b x x", true, 1, TOKENIZER_CUT_LEFT, 2, 1, {2}},
        {"nothing known", "x y [UNK]", true, 4, TOKENIZER_CUT_RIGHT, 0, 0, {0}},
    };
    tokenizer_t *t[2] = {NULL, NULL};
    struct err err = {0};
    TEST_EQ(tokenizer_from_json(view_of(JSON), &t[0], &err), STATUS_UNIMPLEMENTED);
    for (int drop = 0; drop < 2; drop++)
        TEST_EQ(tokenizer_from_json_with(
                    view_of(JSON), &(struct tokenizer_options){.bare = true, .drop_unknown = drop},
                    &t[drop], &err),
                STATUS_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        int32_t ids[8];
        uint32_t n_full = 77;
        const tokenizer_t *one = t[rows[i].drop];
        uint32_t n =
            tokenizer_encode(one, view_of(rows[i].text), rows[i].max, rows[i].side, ids, &n_full);
        expect_ids(ids, n, rows[i].ids, rows[i].n);
        TEST_EQ(n_full, rows[i].n_full);
    }
    int32_t ids[8], types[8];
    uint32_t n = tokenizer_encode_pair(t[0], view_of("a b a"), view_of("x b"), 4,
                                       TOKENIZER_ONLY_FIRST, ids, types, NULL);
    expect_ids(ids, n, (int32_t[]){1, 2, 0, 2}, 4);
    expect_ids(types, n, (int32_t[]){0, 0, 1, 1}, 4);
    tokenizer_destroy(&t[0]);
    tokenizer_destroy(&t[1]);
}

static void test_median_piece(void **state) {
    (void)state;
    static const struct {
        const char *name, *vocab;
        uint32_t want;
    } rows[] = {
        {"odd number", "\"[UNK]\": 0, \"a\": 1, \"##bc\": 2", 4},
        {"even number, halves go down", "\"[UNK]\": 0, \"ab\": 1, \"c\": 2, \"defgh\": 9", 3},
        {"code points, not bytes", "\"[UNK]\": 0, \"\xe4\xb8\xad\xe4\xb8\xad\": 1, \"e\": 2", 2},
        {"one", "\"[UNK]\": 0", 5},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        char json[512];
        tokenizer_t *t = NULL;
        struct err err = {0};
        snprintf(json, sizeof json,
                 "{\"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"}, \"model\": {\"type\": "
                 "\"WordPiece\", \"vocab\": {%s}}}",
                 rows[i].vocab);
        TEST_EQ(tokenizer_from_json_with(view_of(json), &(struct tokenizer_options){.bare = true},
                                         &t, &err),
                STATUS_OK);
        TEST_EQ(tokenizer_median_piece(t), rows[i].want);
        tokenizer_destroy(&t);
    }
}

static void write_file(const char *folder, const char *name, const char *text) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!text) {
        unlink(path);
        return;
    }
    FILE *f = fopen(path, "we");
    TEST_TRUE(f != NULL);
    fputs(text, f);
    fclose(f);
}

static void test_folders(void **state) {
    (void)state;
    static const char JSON[] =
        "{\"normalizer\": {\"type\": \"BertNormalizer\"}, \"pre_tokenizer\": {\"type\": "
        "\"BertPreTokenizer\"}, \"model\": {\"type\": \"WordPiece\", \"vocab\": "
        "{\"[UNK]\": 30, \"[CLS]\": 31, \"[SEP]\": 32, \"e\": 33}}}";
    static const struct {
        const char *name, *json, *vocab, *config;
        enum status status;
        const char *message;
        int32_t id; /* of the word "E" */
    } rows[] = {
        {"nothing", NULL, NULL, NULL, STATUS_NOT_FOUND, "neither", 0},
        {"vocab.txt alone lower-cases", NULL, PIECES, NULL, STATUS_OK, "", E_},
        {"it is told not to", NULL, PIECES, "{\"do_lower_case\": false}", STATUS_OK, "", E_BIG},
        {"tokenizer.json goes first", JSON, PIECES, "{\"do_lower_case\": false}", STATUS_OK, "",
         33},
        {"and is not passed over", "{", PIECES, NULL, STATUS_DATA_LOSS, "tokenizer.json", 0},
        {"other names", NULL, PIECES, "{\"unk_token\": {\"content\": \"refund\"}}", STATUS_OK, "",
         E_},
        {"a name that is not there", NULL, PIECES, "{\"cls_token\": \"<s>\"}", STATUS_DATA_LOSS,
         "<s>", 0},
        {"another class", NULL, PIECES, "{\"tokenizer_class\": \"BertJapaneseTokenizer\"}",
         STATUS_UNIMPLEMENTED, "BertJapaneseTokenizer", 0},
        {"DistilBERT's class", NULL, PIECES, "{\"tokenizer_class\": \"DistilBertTokenizer\"}",
         STATUS_OK, "", E_},
        {"added by the configuration", NULL, PIECES,
         "{\"added_tokens_decoder\": {\"77\": {\"content\": \"E\", \"special\": true}}}",
         STATUS_DATA_LOSS, "'E'", 0},
        {"its key is no id", NULL, PIECES,
         "{\"added_tokens_decoder\": {\"x\": {\"content\": \"E\", \"special\": true}}}",
         STATUS_DATA_LOSS, "id of an added token", 0},
        {"a broken configuration", NULL, PIECES, "{", STATUS_DATA_LOSS, "tokenizer_config.json", 0},
    };
    char folder[] = "/tmp/ember-tokenizer-XXXXXX";
    TEST_TRUE(mkdtemp(folder) != NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        write_file(folder, "tokenizer.json", rows[i].json);
        write_file(folder, "vocab.txt", rows[i].vocab);
        write_file(folder, "tokenizer_config.json", rows[i].config);
        tokenizer_t *t = NULL;
        struct err err = {0};
        enum status st = tokenizer_load(folder, &t, &err);
        if (st != rows[i].status)
            TEST_FAIL("%s (%s), want %s", status_name(st), err.text, status_name(rows[i].status));
        if (st != STATUS_OK) {
            TEST_HAS(err.text, rows[i].message);
            continue;
        }
        int32_t ids[4];
        TEST_EQ(tokenizer_encode(t, view_of("E"), 4, TOKENIZER_CUT_RIGHT, ids, NULL), 3);
        TEST_EQ(ids[1], rows[i].id);
        tokenizer_destroy(&t);
    }
    write_file(folder, "tokenizer.json", NULL);
    write_file(folder, "vocab.txt", NULL);
    write_file(folder, "tokenizer_config.json", NULL);
    rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encode),       cmocka_unit_test(test_cased),
        cmocka_unit_test(test_mark_order),   cmocka_unit_test(test_long_words),
        cmocka_unit_test(test_cut),          cmocka_unit_test(test_pair_shares),
        cmocka_unit_test(test_pieces),       cmocka_unit_test(test_estimate),
        cmocka_unit_test(test_json),         cmocka_unit_test(test_bare),
        cmocka_unit_test(test_median_piece), cmocka_unit_test(test_folders),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
