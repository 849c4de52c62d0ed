/* value_test.c - a value is read back bit for bit, and any byte of it that changes makes it a
 * miss. */
#include "cache/value.h"
#include "support/test.h"

#include <math.h>

static key_maker_t *maker;
static struct key_model model;

static struct cache_key emb_key(uint32_t dim) {
    struct err err;
    struct cache_key key;
    if (key_model_init(&model, "m", "0123abcd", dim, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
    key_emb(maker, &model, view_of(""), view_of("hello"), false, &key);
    return key;
}

static struct key_labels labels;

static struct cache_key cls_key(const struct view *of, uint32_t n) {
    struct err err;
    struct cache_key key;
    if (key_labels_init(&labels, of, n, false, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
    key_cls(maker, &model, view_of(""), view_of("hello"), &labels, view_of(""), 0, &key);
    return key;
}

static char value[LIMIT_CACHE_VALUE_BYTES];

static void test_header(void **state) {
    (void)state;
    struct cache_key key = emb_key(4);
    static const float numbers[4] = {1, -2.5f, 1e-38f, 3.25f};
    struct cache_entry entry = {CACHE_EMB, true, 9, 4, numbers}, back;
    size_t bytes = value_write(&key, &entry, NULL, value, sizeof value);
    TEST_EQ(bytes, VALUE_HEADER_BYTES + 16);
    /* The SHA-256 of "hello" begins with 2cf24dba5fb0a30e26e83b2a; the crc is zlib's over the
     * line up to " crc=" and the 16 bytes behind it. */
    static const char want[] =
        "ember1 emb dim=4 type=f32 tokens=9 truncated=1 sha=2cf24dba5fb0a30e26e83b2a crc=";
    TEST_MEM_EQ(value, want, sizeof want - 1);
    TEST_EQ(value[VALUE_HEADER_BYTES - 1], '\n');
    TEST_EQ(value[VALUE_HEADER_BYTES - 2], ' ');
    TEST_MEM_EQ(value + VALUE_HEADER_BYTES, numbers, sizeof numbers);
    float read[4];
    TEST_EQ(value_parse(view_make(value, bytes), &key, read, &back), VALUE_OK);
    TEST_MEM_EQ(read, numbers, sizeof numbers);
    TEST_TRUE(back.numbers == read && back.n == 4 && back.tokens == 9 && back.truncated);
    struct value_facts facts;
    TEST_EQ(value_facts(view_make(value, bytes), &facts), VALUE_OK);
    TEST_EQ(facts.payload.bytes, 16);
}

/* Each byte of an entry in turn, changed in each bit: nothing may pass, least of all another
 * answer. */
static void every_byte_counts(const struct cache_key *key, size_t bytes) {
    float read[VALUE_NUMBERS_MAX];
    struct cache_entry back;
    static char row[32];
    for (size_t i = 0; i < bytes; i++)
        for (int bit = 0; bit < 8; bit++) {
            snprintf(row, sizeof row, "byte %zu bit %d", i, bit);
            TEST_ROW(row);
            value[i] = (char)(value[i] ^ (1 << bit));
            TEST_TRUE(value_parse(view_make(value, bytes), key, read, &back) != VALUE_OK);
            value[i] = (char)(value[i] ^ (1 << bit));
        }
    for (size_t n = 0; n < bytes; n++) {
        snprintf(row, sizeof row, "cut to %zu", n);
        TEST_ROW(row);
        char *exact = malloc(n ? n : 1); /* under ASan a read past the end is seen */
        memcpy(exact, value, n);
        TEST_TRUE(value_parse(view_make(exact, n), key, read, &back) != VALUE_OK);
        free(exact);
    }
}

static void test_damage(void **state) {
    (void)state;
    struct cache_key key = emb_key(3);
    static const float numbers[3] = {1, 2, 3}, scores[2] = {0.25f, 0.75f};
    struct cache_entry entry = {CACHE_EMB, false, 9, 3, numbers};
    size_t bytes = value_write(&key, &entry, NULL, value, sizeof value);
    TEST_TRUE(bytes > 0);
    every_byte_counts(&key, bytes);
    struct view of[] = {view_of("bad"), view_of("\"good\"\n")};
    key = cls_key(of, 2);
    entry = (struct cache_entry){CACHE_CLS, false, 9, 2, scores};
    bytes = value_write(&key, &entry, &labels, value, sizeof value);
    TEST_TRUE(bytes > 0);
    every_byte_counts(&key, bytes);
}

static void test_scores(void **state) {
    (void)state;
    (void)emb_key(4);
    struct view of[] = {view_of("投诉"), view_of("a\"b\\c\n\x01"), view_make("nul\0l", 5),
                        view_of("咨询")};
    struct cache_key key = cls_key(of, 4);
    const float caller[4] = {0.91f, 1.0f / 3, nextafterf(1, 0), 1.1754942e-38f};
    float sorted[4], read[4], back[4];
    key_labels_to_entry(&labels, caller, sorted);
    struct cache_entry entry = {CACHE_CLS, false, 17, 4, sorted}, out;
    size_t bytes = value_write(&key, &entry, &labels, value, sizeof value);
    TEST_TRUE(bytes > VALUE_HEADER_BYTES);
    static const char want[] = "{\"a\\\"b\\\\c\\n\\u0001\":0.333333343,\"nul\\u0000l\":0.99999994,"
                               "\"咨询\":1.17549421e-38,\"投诉\":0.910000026}";
    TEST_EQ(bytes, VALUE_HEADER_BYTES + sizeof want - 1);
    TEST_MEM_EQ(value + VALUE_HEADER_BYTES, want, sizeof want - 1);
    TEST_EQ(value_parse(view_make(value, bytes), &key, read, &out), VALUE_OK);
    key_labels_from_entry(&labels, out.numbers, back);
    TEST_MEM_EQ(back, caller, sizeof caller);
}

/* A logit is told with the digits that bring it back, and as JSON for people. */
static void test_rank(void **state) {
    (void)state;
    static const struct {
        float logit;
        const char *json;
    } rows[] = {
        {1.5f, "{\"logit\":1.5}"},
        {-11.0f / 3, "{\"logit\":-3.66666675}"},
        {1.1754942e-38f, "{\"logit\":1.17549421e-38}"},
        {-3.4028235e38f, "{\"logit\":-3.40282347e+38}"},
        {0, "{\"logit\":0}"},
    };
    (void)emb_key(1);
    struct cache_key key;
    key_rank(maker, &model, view_of("q"), view_of("d"), &key);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].json);
        struct cache_entry entry = {CACHE_RANK, i % 2, 31, 1, &rows[i].logit}, back;
        float read;
        size_t bytes = value_write(&key, &entry, NULL, value, sizeof value);
        TEST_EQ(bytes, VALUE_HEADER_BYTES + strlen(rows[i].json));
        TEST_MEM_EQ(value,
                    i % 2 ? "ember1 rank tokens=31 truncated=1 sha="
                          : "ember1 rank tokens=31 truncated=0 sha=",
                    38);
        TEST_MEM_EQ(value + VALUE_HEADER_BYTES, rows[i].json, strlen(rows[i].json));
        TEST_EQ(value_parse(view_make(value, bytes), &key, &read, &back), VALUE_OK);
        TEST_MEM_EQ(&read, &rows[i].logit, sizeof read);
        TEST_TRUE(back.kind == CACHE_RANK && back.n == 1 && back.tokens == 31);
        TEST_EQ(back.truncated, i % 2);
        every_byte_counts(&key, bytes);
        TEST_EQ(value_write(&key, &entry, NULL, value, bytes - 1), 0);
    }
}

/* Writes a value by hand: header text, payload, right crc. */
static size_t by_hand(const char *facts, const void *payload, size_t payload_bytes) {
    uint32_t crc = 0xffffffffu;
    size_t bytes = strlen(facts);
    memset(value, ' ', VALUE_HEADER_BYTES);
    memcpy(value, facts, bytes);
    memcpy(value + VALUE_HEADER_BYTES, payload, payload_bytes);
    for (size_t i = 0; i < bytes + payload_bytes; i++) { /* bit by bit, as RFC 1952 defines it */
        crc ^= (unsigned char)(i < bytes ? facts[i] : value[VALUE_HEADER_BYTES + i - bytes]);
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    char tail[16];
    snprintf(tail, sizeof tail, " crc=%08x", ~crc);
    memcpy(value + bytes, tail, strlen(tail));
    value[VALUE_HEADER_BYTES - 1] = '\n';
    return VALUE_HEADER_BYTES + payload_bytes;
}

static void test_by_hand(void **state) {
    (void)state;
#define SHA  "sha=2cf24dba5fb0a30e26e83b2a"
#define NAN4 "\0\0\xc0\x7f"
    static const struct {
        const char *name, *facts, *payload;
        size_t payload_bytes;
        enum value_fault want;
    } rows[] = {
        {"fine", "ember1 emb dim=1 type=f32 tokens=9 truncated=0 " SHA, "\0\0\x80\x3f", 4,
         VALUE_OK},
        {"other text",
         "ember1 emb dim=1 type=f32 tokens=9 truncated=0 sha=2cf24dba5fb0a30e26e83b2b",
         "\0\0\x80\x3f", 4, VALUE_OTHER_TEXT},
        {"other dim", "ember1 emb dim=2 type=f32 tokens=9 truncated=0 " SHA,
         "\0\0\x80\x3f\0\0\x80\x3f", 8, VALUE_SHAPE},
        {"other kind", "ember1 cls labels=1 tokens=9 truncated=0 " SHA, "{\"a\":1}", 7,
         VALUE_SHAPE},
        {"next version", "ember2 emb dim=1 type=f32 tokens=9 truncated=0 " SHA, "\0\0\x80\x3f", 4,
         VALUE_MALFORMED},
        {"another type", "ember1 emb dim=1 type=f16 tokens=9 truncated=0 " SHA, "\0\0\x80\x3f", 4,
         VALUE_MALFORMED},
        {"leading zero", "ember1 emb dim=01 type=f32 tokens=9 truncated=0 " SHA, "\0\0\x80\x3f", 4,
         VALUE_MALFORMED},
        {"two blanks", "ember1 emb dim=1  type=f32 tokens=9 truncated=0 " SHA, "\0\0\x80\x3f", 4,
         VALUE_MALFORMED},
        {"no dim", "ember1 emb dim=0 type=f32 tokens=9 truncated=0 " SHA, "", 0, VALUE_MALFORMED},
        {"huge dim", "ember1 emb dim=4294967297 type=f32 tokens=9 truncated=0 " SHA, "\0\0\x80\x3f",
         4, VALUE_MALFORMED},
        {"dim beyond the limit", "ember1 emb dim=2049 type=f32 tokens=9 truncated=0 " SHA,
         "\0\0\x80\x3f", 4, VALUE_MALFORMED},
        {"short of a number", "ember1 emb dim=2 type=f32 tokens=9 truncated=0 " SHA, "\0\0\x80\x3f",
         4, VALUE_MALFORMED},
        {"truncated is 2", "ember1 emb dim=1 type=f32 tokens=9 truncated=2 " SHA, "\0\0\x80\x3f", 4,
         VALUE_MALFORMED},
        {"no tokens", "ember1 emb dim=1 type=f32 tokens= truncated=0 " SHA, "\0\0\x80\x3f", 4,
         VALUE_MALFORMED},
        {"upper-case hex",
         "ember1 emb dim=1 type=f32 tokens=9 truncated=0 sha=2CF24DBA5FB0A30E26E83B2A",
         "\0\0\x80\x3f", 4, VALUE_MALFORMED},
        {"NaN", "ember1 emb dim=1 type=f32 tokens=9 truncated=0 " SHA, NAN4, 4, VALUE_MALFORMED},
        {"old format", "EMB1 d=1 t=f32 m=minilm@1a2b3c4d", "\0\0\x80\x3f", 4, VALUE_MALFORMED},
    };
    struct cache_key key = emb_key(1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        float read[VALUE_NUMBERS_MAX];
        struct cache_entry out = {.n = 77};
        size_t bytes = by_hand(rows[i].facts, rows[i].payload, rows[i].payload_bytes);
        TEST_EQ(value_parse(view_make(value, bytes), &key, read, &out), rows[i].want);
        TEST_EQ(out.n, rows[i].want == VALUE_OK ? 1 : 77);
    }
}

static void test_json_by_hand(void **state) {
    (void)state;
    static const struct {
        const char *name, *json;
        enum value_fault want;
    } rows[] = {
        {"fine", "{\"a\":0.25,\"b\":0.75}", VALUE_OK},
        {"other label", "{\"a\":0.25,\"c\":0.75}", VALUE_SHAPE},
        {"labels swapped", "{\"b\":0.25,\"a\":0.75}", VALUE_SHAPE},
        {"one too few", "{\"a\":0.25}", VALUE_MALFORMED},
        {"one too many", "{\"a\":0.25,\"b\":0.75,\"c\":0}", VALUE_MALFORMED},
        {"blanks", "{\"a\": 0.25,\"b\":0.75}", VALUE_MALFORMED},
        {"something behind", "{\"a\":0.25,\"b\":0.75} ", VALUE_MALFORMED},
        {"not a number", "{\"a\":nan,\"b\":0.75}", VALUE_MALFORMED},
        {"infinite", "{\"a\":1e999,\"b\":0.75}", VALUE_MALFORMED},
        {"more than all", "{\"a\":1.00000012,\"b\":0}", VALUE_MALFORMED},
        {"exactly all", "{\"a\":1,\"b\":0}", VALUE_OK},
        {"less than none", "{\"a\":-1e-9,\"b\":0.75}", VALUE_MALFORMED},
        {"hex number", "{\"a\":0x1,\"b\":0.75}", VALUE_MALFORMED},
        {"no number", "{\"a\":,\"b\":0.75}", VALUE_MALFORMED},
        {"two numbers in one", "{\"a\":1-1,\"b\":0.75}", VALUE_MALFORMED},
        {"endless number", "{\"a\":0.0000000000000000000000000000000000001,\"b\":0.75}",
         VALUE_MALFORMED},
        {"open string", "{\"a\":0.25,\"b", VALUE_MALFORMED},
        {"open escape", "{\"a\":0.25,\"b\\", VALUE_MALFORMED},
        {"unknown escape", "{\"\\q\":0.25,\"b\":0.75}", VALUE_MALFORMED},
        {"short \\u", "{\"\\u00", VALUE_MALFORMED},
        {"empty", "", VALUE_MALFORMED},
        {"an array", "[0.25,0.75]", VALUE_MALFORMED},
    };
    (void)emb_key(1);
    struct view of[] = {view_of("a"), view_of("b")};
    struct cache_key key = cls_key(of, 2);
    /* SHA-256 of "hello::a,b" */
    char facts[VALUE_HEADER_BYTES], hex[25];
    for (size_t i = 0; i < 12; i++)
        snprintf(hex + 2 * i, 3, "%02x", key.sha[i]);
    snprintf(facts, sizeof facts, "ember1 cls labels=2 tokens=9 truncated=0 sha=%s", hex);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        float read[2];
        struct cache_entry out;
        size_t bytes = by_hand(facts, rows[i].json, strlen(rows[i].json));
        TEST_EQ(value_parse(view_make(value, bytes), &key, read, &out), rows[i].want);
    }
}

static void test_logit_by_hand(void **state) {
    (void)state;
    static const struct {
        const char *name, *json;
        enum value_fault want;
    } rows[] = {
        {"fine", "{\"logit\":0.25}", VALUE_OK},
        {"a score", "{\"score\":0.25}", VALUE_MALFORMED},
        {"two", "{\"logit\":0.25,\"logit\":0.25}", VALUE_MALFORMED},
        {"something behind", "{\"logit\":0.25}\n", VALUE_MALFORMED},
        {"infinite", "{\"logit\":1e999}", VALUE_MALFORMED},
        {"nothing", "", VALUE_MALFORMED},
        {"a vector", "\0\0\x80\x3f", VALUE_MALFORMED},
    };
    (void)emb_key(1);
    struct cache_key key, scores;
    key_rank(maker, &model, view_of("q"), view_of("d"), &key);
    char facts[VALUE_HEADER_BYTES], hex[25];
    for (size_t i = 0; i < 12; i++)
        snprintf(hex + 2 * i, 3, "%02x", key.sha[i]);
    snprintf(facts, sizeof facts, "ember1 rank tokens=9 truncated=0 sha=%s", hex);
    float read;
    struct cache_entry out;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        size_t bytes = by_hand(facts, rows[i].json, strlen(rows[i].json));
        TEST_EQ(value_parse(view_make(value, bytes), &key, &read, &out), rows[i].want);
    }
    TEST_ROW("for another kind of key");
    size_t bytes = by_hand(facts, rows[0].json, strlen(rows[0].json));
    struct view of[] = {view_of("logit")};
    scores = cls_key(of, 1);
    TEST_EQ(value_parse(view_make(value, bytes), &scores, &read, &out), VALUE_SHAPE);
    TEST_ROW("more than a logit in the header");
    snprintf(facts, sizeof facts, "ember1 rank logits=1 tokens=9 truncated=0 sha=%s", hex);
    bytes = by_hand(facts, rows[0].json, strlen(rows[0].json));
    TEST_EQ(value_parse(view_make(value, bytes), &key, &read, &out), VALUE_MALFORMED);
}

static void test_not_written(void **state) {
    (void)state;
    static float numbers[LIMIT_DIM];
    struct cache_key wide = emb_key(LIMIT_DIM), narrow = emb_key(2);
    struct cache_entry entry = {CACHE_EMB, false, 99999, LIMIT_DIM, numbers};
    TEST_EQ(value_write(&wide, &entry, NULL, value, sizeof value), 96 + 4 * LIMIT_DIM);
    float read[LIMIT_DIM];
    struct cache_entry out;
    TEST_EQ(value_parse(view_make(value, 96 + 4 * LIMIT_DIM), &wide, read, &out), VALUE_OK);
    TEST_EQ(out.tokens, 99999);
    TEST_EQ(value_write(&wide, &entry, NULL, value, 95 + 4 * LIMIT_DIM), 0);
    entry.tokens = 100000; /* the line would be a byte too long */
    TEST_EQ(value_write(&wide, &entry, NULL, value, sizeof value), 0);
    entry.tokens = 1;
    TEST_EQ(value_write(&narrow, &entry, NULL, value, sizeof value), 0);
    numbers[LIMIT_DIM - 1] = NAN;
    TEST_EQ(value_write(&wide, &entry, NULL, value, sizeof value), 0);
    numbers[LIMIT_DIM - 1] = INFINITY;
    TEST_EQ(value_write(&wide, &entry, NULL, value, sizeof value), 0);
    numbers[LIMIT_DIM - 1] = 0;

    /* 64 labels of 1,024 control characters need six times that in JSON: no value takes them. */
    static char text[64][LIMIT_LABEL_BYTES];
    struct view of[64];
    for (int i = 0; i < 64; i++) {
        memset(text[i], 1, sizeof text[i]);
        text[i][0] = (char)('0' + i);
        of[i] = view_make(text[i], sizeof text[i]);
    }
    struct cache_key key = cls_key(of, 64);
    entry = (struct cache_entry){CACHE_CLS, false, 9, 64, numbers};
    TEST_EQ(value_write(&key, &entry, &labels, value, sizeof value), 0);
    for (int i = 0; i < 64; i++)
        memset(text[i] + 1, 'x', sizeof text[i] - 1);
    key = cls_key(of, 64);
    TEST_TRUE(value_write(&key, &entry, &labels, value, sizeof value) > 65536);
    TEST_EQ(value_write(&key, &entry, NULL, value, sizeof value), 0);
    entry.tokens = LIMIT_TOKENS; /* the most of both still fits the line */
    TEST_TRUE(value_write(&key, &entry, &labels, value, sizeof value) > 65536);
}

int main(void) {
    struct err err;
    if (key_maker_new(&maker, &err) != STATUS_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header),       cmocka_unit_test(test_damage),
        cmocka_unit_test(test_scores),       cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_json_by_hand), cmocka_unit_test(test_not_written),
        cmocka_unit_test(test_rank),         cmocka_unit_test(test_logit_by_hand),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    key_maker_destroy(&maker);
    return failed;
}
