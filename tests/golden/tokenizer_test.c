/* tokenizer_test.c - ids as the reference gives them: of our own small models, of three published
 * vocabularies where the reference data is, and refusals of every damaged vocabulary.
 *
 * The lines were made by Hugging Face's Rust tokenizers 0.23.2; a line is text, perhaps a second
 * text, a length and a rule for cutting, and must give the same ids, segments and full length. Each
 * one is also held against what the header promises: cut on the left, without a full length, ids in
 * range.
 *
 *     golden_tokenizer_test bench      nanoseconds per text instead */
#include "support/test.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "text/tokenizer.h"
#include "json/json.h"

#include <unistd.h>

#define GOLDEN EMBER_SOURCE_DIR "/tests/data/golden"

static const char *dir; /* reference data, or NULL */

enum { TOKENS_MAX = 65536 };

static int32_t ids[TOKENS_MAX], types[TOKENS_MAX], all[TOKENS_MAX];

static char *read_all(const char *folder, const char *name, size_t *bytes) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
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

/* json_text() ends at a NUL, which some texts hold. So the escape \u0000 is read as U+F8F0, which
 * no line has, and turned back in the string that comes out. */
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
static unsigned each_line(const char *folder, const char *name,
                          void (*each)(const json_t *row, void *arg), void *arg) {
    size_t bytes;
    char *data = read_all(folder, name, &bytes);
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

static tokenizer_t *load(const char *folder, const char *model) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, model);
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
    if (!dir)
        skip();
    static const struct {
        const char *file, *model;
        unsigned lines;
    } sets[] = {
        {"tokenizer/en.jsonl", "models/all-MiniLM-L6-v2", 2926},
        {"tokenizer/zh.jsonl", "models/bert-base-chinese-lower", 2921},
        {"tokenizer/zh_cased.jsonl", "models/bert-base-chinese", 2927},
    };
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        tokenizer_t *tok = load(dir, sets[i].model);
        TEST_EQ(each_line(dir, sets[i].file, check_row, tok), sets[i].lines);
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
    if (!dir)
        skip();
    tokenizer_t *toks[] = {load(dir, "models/all-MiniLM-L6-v2"),
                           load(dir, "models/bert-base-chinese-lower"),
                           load(dir, "models/bert-base-chinese")};
    TEST_EQ(each_line(dir, "tokenizer/doubtful.jsonl", check_doubtful, toks), 150);
    for (int i = 0; i < 3; i++)
        tokenizer_destroy(&toks[i]);
}

/* What the door must refuse before a text comes here, and what the tokenizer does with it all the
 * same. */
static void check_bytes(const json_t *row, void *arg) {
    const tokenizer_t *tok = arg;
    const char *hex = json_text(json_get(row, "hex"));
    char bytes[256];
    size_t n = strlen(hex) / 2;
    TEST_TRUE(n <= sizeof bytes);
    for (size_t i = 0; i < n; i++) {
        unsigned byte;
        TEST_EQ(sscanf(hex + 2 * i, "%2x", &byte), 1);
        bytes[i] = (char)byte;
    }
    bool ok = strcmp(json_text(json_get(row, "expect")), "ok") == 0;
    TEST_EQ(utf8_valid(view_make(bytes, n)), ok);
    uint32_t full;
    TEST_EQ(tokenizer_encode(tok, view_make(bytes, n), 4, TOKENIZER_CUT_LEFT, ids, &full),
            full < 4 ? full : 4);
}

static void test_invalid_utf8(void **state) {
    (void)state;
    if (!dir)
        skip();
    tokenizer_t *tok = load(dir, "models/bert-base-chinese");
    TEST_EQ(each_line(dir, "tokenizer/invalid_utf8.jsonl", check_bytes, tok), 52);
    tokenizer_destroy(&tok);
}

struct small_model {
    const char *id, *cases;
    uint32_t limit; /* tokens, where a case names none */
    tokenizer_t *tok;
    unsigned n;
};

static void check_case(const json_t *row, void *arg) {
    struct small_model *model = arg;
    const json_t *m = json_first(json_get(row, "model"));
    while (m && strcmp(json_text(m), model->id) != 0)
        m = json_next(m);
    if (!m)
        return;
    TEST_ROW(json_text(json_get(row, "id")));
    uint64_t max = model->limit, want_full;
    json_u64(json_get(row, "max_length"), &max);
    const json_t *want = json_first(json_get(row, "ids"));
    const json_t *n_full = json_first(json_get(row, "n_full"));
    for (const json_t *text = json_first(json_get(row, "texts")); text; text = json_next(text)) {
        uint32_t full;
        struct view view = view_of(json_text(text));
        uint32_t n =
            tokenizer_encode(model->tok, view, (uint32_t)max, TOKENIZER_CUT_RIGHT, ids, &full);
        expect(want, ids, n, "ids");
        TEST_TRUE(json_u64(n_full, &want_full));
        TEST_EQ(full, want_full);
        check_cuts(model->tok, view, (uint32_t)max);
        want = json_next(want);
        n_full = json_next(n_full);
        model->n++;
    }
}

static void test_small_models(void **state) {
    (void)state;
    struct small_model models[] = {{"bert-mean/f32", "bert-mean/cases.jsonl", 256, NULL, 0},
                                   {"bert-cls-zh/hf", "bert-cls-zh/cases.jsonl", 512, NULL, 0}};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        models[i].tok = load(GOLDEN, models[i].id);
        each_line(GOLDEN, models[i].cases, check_case, &models[i]);
        TEST_TRUE(models[i].n > 20);
        tokenizer_destroy(&models[i].tok);
    }
}

static void put_file(const char *folder, const char *name, struct view text) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "we");
    TEST_TRUE(f && fwrite(text.data, 1, text.bytes, f) == text.bytes);
    fclose(f);
}

static void remove_file(const char *folder, const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
}

/* One damage of golden/corrupt to the vocabulary files, by the name it has there. */
static void check_damage(const json_t *row, void *arg) {
    static const struct {
        const char *id;
        enum status status;
        const char *message;
    } rows[] = {
        {"voc-absent", STATUS_NOT_FOUND, "vocab.txt"},
        {"voc-empty", STATUS_DATA_LOSS, "[UNK]"},
        {"voc-no-unk", STATUS_DATA_LOSS, "[UNK]"},
        {"voc-no-cls", STATUS_DATA_LOSS, "[CLS]"},
        {"voc-dup-special", STATUS_DATA_LOSS, "[SEP]"},
        {"voc-too-long", STATUS_OK, ""}, /* whoever has the table compares tokenizer_vocab_size() */
        {"tok-cut", STATUS_DATA_LOSS, "tokenizer.json"},
        {"tok-bpe", STATUS_UNIMPLEMENTED, "BPE"},
    };
    unsigned *done = arg;
    const char *id = json_text(json_get(row, "id"));
    size_t i = 0, bytes;
    while (i < sizeof rows / sizeof *rows && strcmp(rows[i].id, id) != 0)
        i++;
    if (i == sizeof rows / sizeof *rows)
        return;
    TEST_ROW(id);
    char folder[] = "/tmp/ember-tokenizer-XXXXXX";
    TEST_TRUE(mkdtemp(folder) != NULL);
    char *vocab = read_all(GOLDEN "/formats/base", "vocab.txt", &bytes);
    put_file(folder, "vocab.txt", view_make(vocab, bytes));
    free(vocab);
    const char *text = json_text(json_get(json_get(row, "text"), "vocab.txt"));
    if (text)
        put_file(folder, "vocab.txt", view_of(text));
    if (json_get(row, "remove"))
        remove_file(folder, "vocab.txt");
    const char *put = json_text(json_get(json_get(row, "put"), "tokenizer.json"));
    if (put) {
        char *json = read_all(GOLDEN "/corrupt", put, &bytes);
        put_file(folder, "tokenizer.json", view_make(json, bytes));
        free(json);
    }
    tokenizer_t *tok = NULL;
    struct err err = {0};
    enum status st = tokenizer_load(folder, &tok, &err);
    if (st != rows[i].status)
        TEST_FAIL("%s (%s), want %s", status_name(st), err.text, status_name(rows[i].status));
    TEST_HAS(err.text, rows[i].message);
    if (tok)
        TEST_EQ(tokenizer_vocab_size(tok), 66);
    tokenizer_destroy(&tok);
    remove_file(folder, "vocab.txt");
    remove_file(folder, "tokenizer.json");
    rmdir(folder);
    (*done)++;
}

static void test_damaged(void **state) {
    (void)state;
    unsigned done = 0;
    each_line(GOLDEN "/corrupt", "/index.jsonl", check_damage, &done);
    TEST_EQ(done, 8);
}

static void bench_text(const tokenizer_t *tok, const char *name, const char *text) {
    enum { ROUNDS = 20000, BEST_OF = 7 };
    uint64_t best = UINT64_MAX;
    uint32_t n = 0;
    for (int k = 0; k < BEST_OF; k++) {
        uint64_t start = clock_ns();
        for (int i = 0; i < ROUNDS; i++)
            n = tokenizer_encode(tok, view_of(text), 512, TOKENIZER_CUT_RIGHT, ids, &n);
        uint64_t spent = clock_ns() - start;
        best = spent < best ? spent : best;
    }
    printf("%-28s %3u tokens %6.0f ns\n", name, n, (double)best / ROUNDS);
}

struct bench_set {
    const tokenizer_t *tok;
    const char *kind;
    uint64_t ns, bytes, tokens, texts;
};

/* Many different texts once each: caches are as cold as in a worker. */
static void bench_row(const json_t *row, void *arg) {
    struct bench_set *set = arg;
    if (strcmp(json_text(json_get(row, "cat")), set->kind) != 0)
        return;
    struct view text = view_of(json_text(json_get(row, "text")));
    uint32_t full;
    uint64_t start = clock_ns();
    tokenizer_encode(set->tok, text, 512, TOKENIZER_CUT_RIGHT, ids, &full);
    set->ns += clock_ns() - start;
    set->bytes += text.bytes;
    set->tokens += full;
    set->texts++;
}

static int bench(void) {
    if (!dir)
        return TEST_SKIPPED;
    static const struct {
        const char *kind, *file, *model, *text;
    } rows[] = {
        {"en_ordinary", "tokenizer/en.jsonl", "models/all-MiniLM-L6-v2",
         "I was charged two times for the restaurant I visited this week, please help me."},
        {"zh_ordinary", "tokenizer/zh.jsonl", "models/bert-base-chinese-lower",
         "我的余额提示系统繁忙，请问什么时候能修好"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t start = clock_ns();
        tokenizer_t *tok = load(dir, rows[i].model);
        printf("%-28s %.1f ms\n", rows[i].model, (double)(clock_ns() - start) / 1e6);
        bench_text(tok, rows[i].kind, rows[i].text);
        struct bench_set set = {.tok = tok, .kind = rows[i].kind};
        each_line(dir, rows[i].file, bench_row, &set);
        printf("%-28s %3.0f tokens %6.0f ns per text, %.1f ns per token\n", "  once each, mean",
               (double)set.tokens / (double)set.texts, (double)set.ns / (double)set.texts,
               (double)set.ns / (double)set.tokens);
        tokenizer_destroy(&tok);
    }
    return 0;
}

int main(int argc, char **argv) {
    dir = test_reference_dir();
    if (argc > 1 && strcmp(argv[1], "bench") == 0)
        return bench();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_models),    cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_reference_lines), cmocka_unit_test(test_old_tables),
        cmocka_unit_test(test_invalid_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
