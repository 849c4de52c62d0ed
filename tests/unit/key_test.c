/* key_test.c - keys that a person could make with md5sum, and inputs that must not meet. */
#include "cache/key.h"
#include "digest/digest.h"
#include "support/test.h"

static key_maker_t *maker;
static struct key_model model;

static void make_model(const char *name) {
    struct err err;
    if (key_model_init(&model, name, "0123abcd", 384, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
}

static const char *name_of(const struct cache_key *key) {
    static char text[LIMIT_CACHE_KEY_BYTES + 1];
    memcpy(text, key->name, key->name_bytes);
    text[key->name_bytes] = '\0';
    return text;
}

/* Digests below are what `printf '%s' INPUT | md5sum` prints. */
static void test_emb(void **state) {
    (void)state;
    static const struct {
        const char *name, *prefix, *text, *want;
        bool left;
    } rows[] = {
        {"plain", "", "hello", "ember:mini-1.0@0123abcd:emb:5d41402abc4b2a76b9719d911017c592",
         false},
        {"cut left", "", "hello",
         "ember:mini-1.0@0123abcd:emb+left:5d41402abc4b2a76b9719d911017c592", true},
        {"prompt and text are joined", "hel", "lo",
         "ember:mini-1.0@0123abcd:emb:5d41402abc4b2a76b9719d911017c592", false},
        {"empty text", "", "", "ember:mini-1.0@0123abcd:emb:d41d8cd98f00b204e9800998ecf8427e",
         false},
    };
    make_model("mini-1.0");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct cache_key key;
        key_emb(maker, &model, view_of(rows[i].prefix), view_of(rows[i].text), rows[i].left, &key);
        TEST_STR_EQ(name_of(&key), rows[i].want);
        TEST_EQ(key.kind, CACHE_EMB);
        TEST_EQ(key.n, 384);
        char input[64];
        snprintf(input, sizeof input, "%s%s", rows[i].prefix, rows[i].text);
        uint8_t sha[32];
        digest_sha256(view_of(input), sha);
        TEST_MEM_EQ(key.sha, sha, sizeof sha);
    }
}

/* Splits "a|b|c"; "" is no label at all. */
static uint32_t split(const char *text, struct view *out) {
    uint32_t n = 0;
    for (const char *at = text; *at; n++) {
        size_t bytes = strcspn(at, "|");
        out[n] = view_make(at, bytes);
        at += bytes + (at[bytes] == '|');
    }
    return n;
}

static void make_cls(const char *text, const char *labels, const char *template_text,
                     uint32_t flags, bool own_head, struct cache_key *out) {
    struct view views[8];
    struct key_labels sorted;
    struct err err;
    if (key_labels_init(&sorted, views, split(labels, views), own_head, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
    key_cls(maker, &model, view_of(""), view_of(text), &sorted, view_of(template_text), flags, out);
}

static void test_cls(void **state) {
    (void)state;
    static const struct {
        const char *name, *text, *labels, *template_text, *input, *variant;
        uint32_t flags;
        bool own_head;
    } rows[] = {
        {"labels in bytewise order", "text", "投诉|咨询|建议", "", "text::咨询,建议,投诉", "cls", 0,
         false},
        {"multi", "text", "a|b", "", "text::a,b", "cls+multi", KEY_MULTI, false},
        {"left", "text", "b|a", "", "text::a,b", "cls+left", KEY_CUT_LEFT, false},
        {"all of it", "t", "b|a", "It is {}.", "t::a,b::It is {}.", "cls+multi+left+tpl",
         KEY_MULTI | KEY_CUT_LEFT, false},
        {"template alone", "t", "a", "{}: yes, \\o/", "t::a::{}\\: yes\\, \\\\o/", "cls+tpl", 0,
         false},
        {"escapes", "t", "a,b|c:d|e\\", "", "t::a\\,b,c\\:d,e\\\\", "cls", 0, false},
        {"only escapes", "t", ":,\\", "", "t::\\:\\,\\\\", "cls", 0, false},
        {"own head", "t", "good|bad", "", "t::", "cls", 0, true},
        {"shorter first", "t", "ab|a", "", "t::a,ab", "cls", 0, false},
        {"high bytes are not negative", "t", "\xff|z", "", "t::z,\xff", "cls", 0, false},
    };
    make_model("m");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct cache_key key;
        make_cls(rows[i].text, rows[i].labels, rows[i].template_text, rows[i].flags,
                 rows[i].own_head, &key);
        uint8_t md5[DIGEST_MD5_BYTES], sha[32];
        char hex[33], want[LIMIT_CACHE_KEY_BYTES];
        digest_md5(view_of(rows[i].input), md5);
        digest_hex(md5, sizeof md5, hex);
        snprintf(want, sizeof want, "ember:m@0123abcd:%s:%s", rows[i].variant, hex);
        TEST_STR_EQ(name_of(&key), want);
        digest_sha256(view_of(rows[i].input), sha);
        TEST_MEM_EQ(key.sha, sha, sizeof sha);
    }
    /* The one the manual tells people to try. */
    struct cache_key key;
    make_cls("text", "建议|咨询|投诉", "", 0, false, &key);
    TEST_STR_EQ(name_of(&key), "ember:m@0123abcd:cls:6c2bb7884d3f2a6782f14980ff0caa67");
}

static void test_pair_and_rank(void **state) {
    (void)state;
    static const struct {
        const char *name, *prefix, *text, *second, *input, *variant;
    } rows[] = {
        {"rank", "", "q", "d", "q::d", "rank"},
        {"document escaped, query as it is", "", "a: b, c\\", "d: e, f\\",
         "a: b, c\\::d\\: e\\, f\\\\", "rank"},
        {"empty query", "", "", "d", "::d", "rank"},
        {"empty document", "", "问题", "", "问题::", "rank"},
        {"pair", "", "t", "s, too", "t::s\\, too", "cls+pair"},
        {"pair behind a prompt", "p: ", "t", "s", "p: t::s", "cls+pair"},
    };
    make_model("m");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct cache_key key;
        struct key_labels own;
        struct view names[] = {view_of("bad"), view_of("good")};
        bool rank = strcmp(rows[i].variant, "rank") == 0;
        TEST_EQ(key_labels_init(&own, names, 2, true, NULL), STATUS_OK);
        if (rank)
            key_rank(maker, &model, view_of(rows[i].text), view_of(rows[i].second), &key);
        else
            key_pair(maker, &model, view_of(rows[i].prefix), view_of(rows[i].text),
                     view_of(rows[i].second), &own, &key);
        uint8_t md5[DIGEST_MD5_BYTES], sha[32];
        char hex[33], want[LIMIT_CACHE_KEY_BYTES];
        digest_md5(view_of(rows[i].input), md5);
        digest_hex(md5, sizeof md5, hex);
        snprintf(want, sizeof want, "ember:m@0123abcd:%s:%s", rows[i].variant, hex);
        TEST_STR_EQ(name_of(&key), want);
        digest_sha256(view_of(rows[i].input), sha);
        TEST_MEM_EQ(key.sha, sha, sizeof sha);
        TEST_EQ(key.kind, rank ? CACHE_RANK : CACHE_CLS);
        TEST_EQ(key.n, rank ? 1 : 2);
        TEST_TRUE(key.labels_check == (rank ? 0 : own.check));
    }
    /* The one the manual tells people to try. */
    struct cache_key key;
    key_rank(maker, &model, view_of("how late is it?"), view_of("The time is 12:30, roughly."),
             &key);
    TEST_STR_EQ(name_of(&key), "ember:m@0123abcd:rank:dce1556d8cd3cb8473e330e2fb22fa62");
    static const char *const apart[][4] = {
        {"a", "b::c", "a::b", "c"}, {"a:", "b", "a", ":b"}, {"a\\", "b", "a", "\\b"},
        {"a::", "b", "a", "::b"},   {"a", "", "a::", ""},   {"", "a", "::a", ""},
    };
    for (size_t i = 0; i < sizeof apart / sizeof *apart; i++) {
        TEST_ROW(apart[i][0]);
        struct cache_key keys[2];
        for (size_t k = 0; k < 2; k++)
            key_rank(maker, &model, view_of(apart[i][2 * k]), view_of(apart[i][2 * k + 1]),
                     &keys[k]);
        TEST_TRUE(memcmp(keys[0].sha, keys[1].sha, sizeof keys[0].sha) != 0);
    }
}

/* Pairs that a careless join would give one digest. */
static void test_apart(void **state) {
    (void)state;
    static const struct {
        const char *name;
        struct {
            const char *text, *labels, *template_text;
        } of[2];
    } rows[] = {
        {"comma in a label", {{"t", "a,b", ""}, {"t", "a|b", ""}}},
        {"separator in the text", {{"t::a", "b", ""}, {"t", "a::b", ""}}},
        {"colon at the end of the text", {{"t:", "a", ""}, {"t", ":a", ""}}},
        {"backslash before a comma", {{"t", "a\\|b", ""}, {"t", "a\\,b", ""}}},
        {"label moved to the text", {{"t::x", "y", ""}, {"t", "x|y", ""}}},
        {"label and template", {{"t", "a::b", "c"}, {"t", "a", "b::c"}}},
        {"text and label with a template", {{"t::a", "b", "c"}, {"t", "a", "b::c"}}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        struct cache_key keys[2];
        for (size_t k = 0; k < 2; k++)
            make_cls(rows[i].of[k].text, rows[i].of[k].labels, rows[i].of[k].template_text, 0,
                     false, &keys[k]);
        TEST_TRUE(memcmp(keys[0].sha, keys[1].sha, sizeof keys[0].sha) != 0);
        TEST_TRUE(!view_equal(view_make(keys[0].name, keys[0].name_bytes),
                              view_make(keys[1].name, keys[1].name_bytes)));
        TEST_TRUE(keys[0].hash != keys[1].hash);
    }
    struct cache_key own, others;
    make_cls("t", "a|b", "", 0, true, &own);
    make_cls("t", "a|c", "", 0, true, &others);
    TEST_TRUE(own.labels_check != others.labels_check);
}

static void test_refused(void **state) {
    (void)state;
    static char long_name[LIMIT_NAME_BYTES + 2];
    memset(long_name, 'x', LIMIT_NAME_BYTES + 1);
    const struct {
        const char *name, *model, *fingerprint;
        uint32_t dim;
        bool fine;
    } models[] = {
        {"fine", "a.B-9_", "00ff00ff", 1, true},
        {"longest", long_name + 1, "00ff00ff", LIMIT_DIM, true},
        {"no name", "", "00ff00ff", 1, false},
        {"too long", long_name, "00ff00ff", 1, false},
        {"star", "a*", "00ff00ff", 1, false},
        {"blank", "a b", "00ff00ff", 1, false},
        {"colon", "a:b", "00ff00ff", 1, false},
        {"line end", "a\n", "00ff00ff", 1, false},
        {"UTF-8", "模型", "00ff00ff", 1, false},
        {"short fingerprint", "a", "00ff00f", 1, false},
        {"long fingerprint", "a", "00ff00ff0", 1, false},
        {"upper-case fingerprint", "a", "00FF00FF", 1, false},
        {"no dim", "a", "00ff00ff", 0, false},
        {"dim", "a", "00ff00ff", LIMIT_DIM + 1, false},
    };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        TEST_ROW(models[i].name);
        struct key_model out;
        struct err err;
        enum status st =
            key_model_init(&out, models[i].model, models[i].fingerprint, models[i].dim, &err);
        TEST_EQ(st, models[i].fine ? STATUS_OK : STATUS_INVALID_ARGUMENT);
    }
    static char long_label[LIMIT_LABEL_BYTES + 1];
    memset(long_label, 'y', sizeof long_label);
    struct view many[KEY_LABELS_MAX + 1];
    static char digits[KEY_LABELS_MAX + 1][8];
    for (uint32_t i = 0; i <= KEY_LABELS_MAX; i++) {
        snprintf(digits[i], sizeof digits[i], "%u", i * 7919 % 100003);
        many[i] = view_of(digits[i]);
    }
    const struct {
        const char *name;
        const struct view *labels;
        uint32_t n;
        bool fine;
    } labels[] = {
        {"none", many, 0, false},
        {"most", many, KEY_LABELS_MAX, true},
        {"too many", many, KEY_LABELS_MAX + 1, false},
        {"an empty one", (struct view[]){view_of("a"), view_of("")}, 2, false},
        {"one twice", (struct view[]){view_of("a"), view_of("b"), view_of("a")}, 3, false},
        {"longest", (struct view[]){view_make(long_label, LIMIT_LABEL_BYTES)}, 1, true},
        {"too long", (struct view[]){view_make(long_label, LIMIT_LABEL_BYTES + 1)}, 1, false},
    };
    for (size_t i = 0; i < sizeof labels / sizeof *labels; i++) {
        TEST_ROW(labels[i].name);
        struct key_labels out;
        struct err err;
        TEST_EQ(key_labels_init(&out, labels[i].labels, labels[i].n, false, &err),
                labels[i].fine ? STATUS_OK : STATUS_INVALID_ARGUMENT);
    }
}

static void test_order(void **state) {
    (void)state;
    struct view labels[] = {view_of("c"), view_of("a"), view_of("b")};
    struct key_labels sorted;
    struct err err;
    TEST_EQ(key_labels_init(&sorted, labels, 3, false, &err), STATUS_OK);
    static const float scores[3] = {0.3f, 0.1f, 0.2f}, want[3] = {0.1f, 0.2f, 0.3f};
    float entry[3], back[3];
    key_labels_to_entry(&sorted, scores, entry);
    TEST_MEM_EQ(entry, want, sizeof entry);
    key_labels_from_entry(&sorted, entry, back);
    TEST_MEM_EQ(back, scores, sizeof back);
}

int main(void) {
    struct err err;
    if (key_maker_new(&maker, &err) != STATUS_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_emb),   cmocka_unit_test(test_cls),
        cmocka_unit_test(test_apart), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_order), cmocka_unit_test(test_pair_and_rank),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    key_maker_destroy(&maker);
    return failed;
}
