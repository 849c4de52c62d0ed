/* tokenizer_test.c - every line of the reference's ids, in three vocabularies, and every damaged folder.
 *
 * The lines were made by Hugging Face's Rust tokenizers 0.23.2; a line is text, perhaps a second text, a
 * length and a rule for cutting, and must give the same ids, segments and full length. Each one is
 * also held against what the header promises: cut on the left, without a full length, ids in range. */
#include "support/test.h"

#include "base/limits.h"
#include "base/utf8.h"
#include "text/tokenizer.h"
#include "json/json.h"

static const char *dir;

enum { TOKENS_MAX = 65536 };

static int32_t ids[TOKENS_MAX], types[TOKENS_MAX], all[TOKENS_MAX];

static char *read_all(const char *name, size_t *bytes) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "re");
    TEST_TRUE(f != NULL);
    fseek(f, 0, SEEK_END);
    *bytes = (size_t)ftell(f);
    rewind(f);
    char *data = malloc(*bytes + 1);
    TEST_TRUE(data && fread(data, 1, *bytes, f) == *bytes);
    data[*bytes] = '\0';
    fclose(f);
    return data;
}

/* json_text() ends at a NUL, which some texts hold. So the escape \u0000 is read as U+F8F0, which no
 * line has, and turned back in the string that comes out. */
static void hide_nul(char *line) {
    for (char *p = line; (p = strstr(p, "\\u0000")) != NULL; p += 6)
        memcpy(p, "\\uf8f0", 6);
}

static struct view text_of(const json_t *value, char *buffer, size_t room) {
    const char *from = json_text(value);
    TEST_TRUE(from && strlen(from) < room);
    size_t n = 0;
    while (*from) {
        bool nul = strncmp(from, "\xef\xa3\xb0", 3) == 0;
        buffer[n++] = nul ? '\0' : *from;
        from += nul ? 3 : 1;
    }
    return view_make(buffer, n);
}

/* Calls `each` for every line of a file of JSON objects; returns how many. */
static unsigned each_line(const char *name, void (*each)(const json_t *row, void *arg), void *arg) {
    size_t bytes;
    char *data = read_all(name, &bytes);
    unsigned n = 0;
    for (char *p = data, *lf; (lf = memchr(p, '\n', (size_t)(data + bytes - p))); p = lf + 1, n++) {
        char row[64];
        snprintf(row, sizeof row, "%.40s:%u", strrchr(name, '/') + 1, n + 1);
        TEST_ROW(row);
        json_t *root = NULL;
        struct err err = {0};
        *lf = '\0';
        hide_nul(p);
        if (json_parse(view_make(p, (size_t)(lf - p)), LIMIT_JSON_BYTES, name, &root, &err) !=
            STATUS_OK)
            TEST_FAIL("%s", err.text);
        each(root, arg);
        json_destroy(&root);
    }
    TEST_ROW("");
    free(data);
    return n;
}

static tokenizer_t *load(const char *model) {
    char path[4096];
    snprintf(path, sizeof path, "%s/models/%s", dir, model);
    tokenizer_t *tok = NULL;
    struct err err = {0};
    if (tokenizer_load(path, &tok, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
    return tok;
}

static void expect(const json_t *list, const int32_t *got, uint32_t n, const char *what) {
    uint32_t i = 0;
    bool same = json_size(list) == n;
    for (const json_t *m = json_first(list); m && same; m = json_next(m), i++) {
        uint64_t want = 0;
        same = json_u64(m, &want) && (int32_t)want == got[i];
    }
    if (same)
        return;
    fprintf(stderr, "%s:", what);
    for (i = 0; i < n && i < 40; i++)
        fprintf(stderr, " %d", got[i]);
    fprintf(stderr, "\nwant:");
    i = 0;
    for (const json_t *m = json_first(list); m && i < 40; m = json_next(m), i++) {
        uint64_t want = 0;
        json_u64(m, &want);
        fprintf(stderr, " %d", (int)want);
    }
    TEST_FAIL("%s differ: %u, want %u", what, n, json_size(list));
}

/* Cutting on either side keeps that end of the uncut ids; leaving out n_full changes nothing. */
static void check_cuts(const tokenizer_t *tok, struct view text, uint32_t max) {
    uint32_t full, n_all = tokenizer_encode(tok, text, TOKENS_MAX, TOKENIZER_CUT_RIGHT, all, NULL);
    uint32_t kept = n_all < max ? n_all : max;
    TEST_EQ(tokenizer_encode(tok, text, max, TOKENIZER_CUT_RIGHT, ids, NULL), kept);
    TEST_MEM_EQ(ids, all, (kept - 1) * sizeof *ids);
    TEST_EQ(ids[kept - 1], all[n_all - 1]);
    TEST_EQ(tokenizer_encode(tok, text, max, TOKENIZER_CUT_LEFT, ids, &full), kept);
    TEST_EQ(full, n_all);
    TEST_EQ(ids[0], all[0]);
    TEST_MEM_EQ(ids + 1, all + 1 + (n_all - kept), (kept - 1) * sizeof *ids);
    for (uint32_t i = 0; i < n_all; i++)
        TEST_TRUE(all[i] >= 0 && (uint32_t)all[i] < tokenizer_vocab_size(tok));
}

static void check_row(const json_t *row, void *arg) {
    const tokenizer_t *tok = arg;
    static char text_a[65536], text_b[65536];
    struct view a = text_of(json_get(row, "text"), text_a, sizeof text_a);
    const json_t *second = json_get(row, "text_b");
    uint64_t max, want_full;
    TEST_TRUE(json_u64(json_get(row, "max_length"), &max));
    TEST_TRUE(json_u64(json_get(row, "n_full"), &want_full));
    bool only_first = strcmp(json_text(json_get(row, "truncation")), "only_first") == 0;
    uint32_t n, full = 0;
    if (second) {
        n = tokenizer_encode_pair(tok, a, text_of(second, text_b, sizeof text_b), (uint32_t)max,
                                  only_first ? TOKENIZER_ONLY_FIRST : TOKENIZER_LONGEST_FIRST, ids,
                                  types, &full);
    } else {
        n = tokenizer_encode(tok, a, (uint32_t)max, TOKENIZER_CUT_RIGHT, ids, &full);
        memset(types, 0, n * sizeof *types);
    }
    expect(json_get(row, "ids"), ids, n, "ids");
    expect(json_get(row, "type_ids"), types, n, "type_ids");
    TEST_EQ(full, want_full);
    if (!second)
        check_cuts(tok, a, (uint32_t)max);
}

static void test_reference_lines(void **state) {
    (void)state;
    static const struct {
        const char *file, *model;
        unsigned lines;
    } sets[] = {
        {"tokenizer/en.jsonl", "all-MiniLM-L6-v2", 2926},
        {"tokenizer/zh.jsonl", "bert-base-chinese-lower", 2921},
        {"tokenizer/zh_cased.jsonl", "bert-base-chinese", 2927},
    };
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        tokenizer_t *tok = load(sets[i].model);
        TEST_EQ(each_line(sets[i].file, check_row, tok), sets[i].lines);
        tokenizer_destroy(&tok);
    }
}

/* Not demanded, but true: also where the reference's tables are older than Unicode 15. */
static void check_doubtful(const json_t *row, void *arg) {
    static const char *const NAMES[] = {"ids_en", "ids_zh", "ids_zh_cased"};
    tokenizer_t **toks = arg;
    struct view text = view_of(json_text(json_get(row, "text")));
    for (int i = 0; i < 3; i++) {
        uint32_t n = tokenizer_encode(toks[i], text, 512, TOKENIZER_CUT_RIGHT, ids, NULL);
        expect(json_get(row, NAMES[i]), ids, n, NAMES[i]);
    }
}

static void test_old_tables(void **state) {
    (void)state;
    tokenizer_t *toks[] = {load("all-MiniLM-L6-v2"), load("bert-base-chinese-lower"),
                           load("bert-base-chinese")};
    TEST_EQ(each_line("tokenizer/doubtful.jsonl", check_doubtful, toks), 150);
    for (int i = 0; i < 3; i++)
        tokenizer_destroy(&toks[i]);
}

int main(void) {
    dir = test_reference_dir();
    if (!dir)
        return TEST_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_lines),
        cmocka_unit_test(test_old_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
