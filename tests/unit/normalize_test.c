/* normalize_test.c - what becomes of single code points: by hand, by the reference's own map of all
 * of them, and by a digest of everything, so that a change is seen where the map is absent too. */
#include "support/test.h"

#include "base/hash.h"
#include "text/normalize.h"

static const struct normalizer_options PLAIN = {0};
static const struct normalizer_options CASED = {.clean = true, .ideograph = true};
static const struct normalizer_options LOWER = {
    .clean = true, .ideograph = true, .strip = true, .lowercase = true};

static struct normalizer plain, cased, lowered;

static int set_up(void **state) {
    (void)state;
    return normalizer_init(&plain, PLAIN) && normalizer_init(&cased, CASED) &&
                   normalizer_init(&lowered, LOWER)
               ? 0
               : -1;
}

static int tear_down(void **state) {
    (void)state;
    normalizer_done(&plain);
    normalizer_done(&cased);
    normalizer_done(&lowered);
    normalizer_done(&lowered); /* twice is fine */
    return 0;
}

/* The items of a code point in words: "DROP", "SPACE", "KEEP", "CJK", or code points; an ideograph
 * that turns into another stands between spaces, as the reference writes it. */
static void describe(const struct normalizer *n, uint32_t cp, char *out, size_t room) {
    struct normal_item items[NORMAL_ITEMS_MAX];
    unsigned count = normalizer_expand(n, cp, items);
    bool ideograph = count == 1 && items[0].kind == NORMAL_ALONE &&
                     normal_rule_kind(normalizer_rule(&plain, items[0].cp)) == NORMAL_WORD;
    size_t at = 0;
    out[0] = '\0';
    for (unsigned i = 0; i < count; i++) {
        if (items[i].kind == NORMAL_FENCE)
            continue;
        if (items[i].kind == NORMAL_SPACE) {
            snprintf(out, room, "SPACE");
            return;
        }
        if (count == 1 && items[i].cp == cp) {
            snprintf(out, room, ideograph ? "CJK" : "KEEP");
            return;
        }
        at += (size_t)snprintf(out + at, room - at, ideograph ? "%s0020 %04X 0020" : "%s%04X",
                               at ? " " : "", items[i].cp);
    }
    if (at == 0)
        snprintf(out, room, "DROP");
}

static void test_by_hand(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t cp;
        const char *lower, *cased;
    } rows[] = {
        {"small letter", 'e', "KEEP", "KEEP"},
        {"capital", 'E', "0065", "KEEP"},
        {"accent goes with the case", 0xc9, "0065", "KEEP"},
        {"combining acute", 0x301, "DROP", "KEEP"},
        {"dotted capital I", 0x130, "0069", "KEEP"},
        {"sigma, no final form", 0x3a3, "03C3", "KEEP"},
        {"sharp s stays", 0xdf, "KEEP", "KEEP"},
        {"full-width A", 0xff21, "FF41", "KEEP"},
        {"ideograph", 0x4e2d, "CJK", "CJK"},
        {"compatibility ideograph", 0xf900, "0020 8C48 0020", "CJK"},
        {"extension B", 0x20000, "CJK", "CJK"},
        {"extension E where the reference has none", 0x2b820, "KEEP", "KEEP"},
        {"kana is no ideograph", 0x3042, "KEEP", "KEEP"},
        {"Hangul falls apart", 0xac01, "1100 1161 11A8", "KEEP"},
        {"no-break space", 0xa0, "SPACE", "SPACE"},
        {"tab", '\t', "SPACE", "SPACE"},
        {"vertical tab is a control character", 0xb, "DROP", "DROP"},
        {"NUL", 0, "DROP", "DROP"},
        {"replacement character", 0xfffd, "DROP", "DROP"},
        {"zero width joiner", 0x200d, "DROP", "DROP"},
        {"private use", 0xe000, "DROP", "DROP"},
        {"private use to the end", 0x10fffd, "DROP", "DROP"},
        {"noncharacter stays", 0x10ffff, "KEEP", "KEEP"},
        {"unassigned stays", 0x378, "KEEP", "KEEP"},
        {"emoji", 0x1f600, "KEEP", "KEEP"},
        {"a mark after Unicode 8 stays", 0x8d4, "KEEP", "KEEP"},
        {"a capital after Unicode 15", 0xa7dc, "019B", "KEEP"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char got[128];
        TEST_ROW(rows[i].name);
        describe(&lowered, rows[i].cp, got, sizeof got);
        TEST_STR_EQ(got, rows[i].lower);
        describe(&cased, rows[i].cp, got, sizeof got);
        TEST_STR_EQ(got, rows[i].cased);
    }
}

static void test_classes(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t cp;
        enum normal_kind kind;
    } rows[] = {
        {"letter", 'a', NORMAL_WORD},
        {"ASCII symbol counts as punctuation", '$', NORMAL_ALONE},
        {"tilde", '~', NORMAL_ALONE},
        {"other symbols do not", 0x20ac, NORMAL_WORD},
        {"ideographic full stop", 0x3002, NORMAL_ALONE},
        {"ideographic space", 0x3000, NORMAL_SPACE},
        {"line separator", 0x2028, NORMAL_SPACE},
        {"ideograph without isolation", 0x4e2d, NORMAL_WORD},
        {"control character without cleaning", 1, NORMAL_WORD},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        TEST_EQ(normal_rule_kind(normalizer_rule(&plain, rows[i].cp)), rows[i].kind);
    }
}

/* Marks in order, a fence where a mark of class 0 was dropped, and lower-casing alone. */
static void test_items(void **state) {
    (void)state;
    struct normal_item items[NORMAL_ITEMS_MAX];
    TEST_EQ(normalizer_expand(&lowered, 0x302e, items), 1); /* Hangul tone mark: Mc, class 224 */
    TEST_EQ(items[0].order, 224);
    TEST_EQ(normal_rule_kind(normalizer_rule(&lowered, 0x302e)), NORMAL_SLOW);
    TEST_EQ(normalizer_expand(&lowered, 0x941, items), 1); /* Devanagari vowel: Mn, class 0 */
    TEST_EQ(items[0].kind, NORMAL_FENCE);
    TEST_EQ(normal_rule_kind(normalizer_rule(&lowered, 0x941)), NORMAL_FENCE);
    TEST_EQ(normal_rule_kind(normalizer_rule(&lowered, 0x301)), NORMAL_DROP);
    TEST_EQ(normalizer_order(0x301), 230);
    TEST_EQ(normalizer_order(0x898), 0); /* new in Unicode 14: a starter to the reference */

    struct normalizer only_lower;
    TEST_TRUE(normalizer_init(&only_lower, (struct normalizer_options){.lowercase = true}));
    TEST_EQ(normalizer_expand(&only_lower, 0x130, items), 2);
    TEST_EQ(items[0].cp, 'i');
    TEST_EQ(items[1].cp, 0x307);
    TEST_EQ(items[1].order, 0);
    TEST_EQ(normalizer_expand(&only_lower, 0xc9, items), 1);
    TEST_EQ(items[0].cp, 0xe9);
    normalizer_done(&only_lower);
}

/* The table says what the definition says, for every code point. */
static void test_rules_equal_items(void **state) {
    (void)state;
    const struct normalizer *all[] = {&plain, &cased, &lowered};
    for (size_t k = 0; k < 3; k++)
        for (uint32_t cp = 0; cp < 0x110000; cp++) {
            struct normal_item items[NORMAL_ITEMS_MAX];
            unsigned n = normalizer_expand(all[k], cp, items);
            normal_rule_t rule = normalizer_rule(all[k], cp);
            enum normal_kind kind = normal_rule_kind(rule);
            bool slow = n > 1 || (n == 1 && items[0].order);
            if (kind != (slow ? NORMAL_SLOW : n ? items[0].kind : NORMAL_DROP))
                TEST_FAIL("U+%04X: kind %d", cp, (int)kind);
            if ((kind == NORMAL_WORD || kind == NORMAL_ALONE) &&
                normal_rule_cp(rule, cp) != items[0].cp)
                TEST_FAIL("U+%04X becomes U+%04X", cp, normal_rule_cp(rule, cp));
        }
}

static uint64_t digest(const struct normalizer *n) {
    uint64_t hash = 0;
    for (uint32_t cp = 0; cp < 0x110000; cp++) {
        if (cp >= 0xd800 && cp < 0xe000)
            continue;
        struct normal_item items[NORMAL_ITEMS_MAX];
        unsigned count = normalizer_expand(n, cp, items);
        hash = hash_mix(hash ^ count);
        for (unsigned i = 0; i < count; i++)
            hash = hash_mix(hash ^ ((uint64_t)items[i].kind << 40 | (uint64_t)items[i].order << 32 |
                                    items[i].cp));
    }
    return hash;
}

/* Taken when test_reference_map() passed. Another Unicode version beneath knows other new code
 * points. */
static void test_digest(void **state) {
    (void)state;
    if (strncmp(normalizer_unicode(), "15.0", 4) != 0)
        skip();
    char got[80];
    snprintf(got, sizeof got, "%016llx %016llx %016llx", (unsigned long long)digest(&plain),
             (unsigned long long)digest(&cased), (unsigned long long)digest(&lowered));
    TEST_STR_EQ(got, "31f43f44d4085182 8d9907ff2b24e84f c0ea5556e3c70cdf");
}

struct map_row {
    char pretok[8], lower[64], cased[64];
};

static void check_map(uint32_t first, uint32_t last, const struct map_row *want) {
    static const char *const NAMES[] = {
        [NORMAL_WORD] = "word", [NORMAL_ALONE] = "punct", [NORMAL_SPACE] = "space"};
    for (uint32_t cp = first; cp <= last; cp++) {
        char name[16], got[128];
        if (cp >= 0xd800 && cp < 0xe000)
            continue;
        snprintf(name, sizeof name, "U+%04X", cp);
        TEST_ROW(name);
        TEST_STR_EQ(NAMES[normal_rule_kind(normalizer_rule(&plain, cp))], want->pretok);
        describe(&lowered, cp, got, sizeof got);
        TEST_STR_EQ(got, want->lower);
        describe(&cased, cp, got, sizeof got);
        TEST_STR_EQ(got, want->cased);
    }
}

static void test_reference_map(void **state) {
    (void)state;
    const char *dir = test_reference_dir();
    if (!dir)
        skip();
    char path[4096], line[256];
    snprintf(path, sizeof path, "%s/tokenizer/bert_charmap.tsv", dir);
    FILE *f = fopen(path, "re");
    TEST_TRUE(f != NULL);
    uint32_t next = 0;
    const struct map_row unlisted = {"word", "KEEP", "KEEP"};
    while (fgets(line, sizeof line, f)) {
        uint32_t first, last;
        struct map_row row;
        if (sscanf(line, "%x\t%x\t%7[^\t]\t%63[^\t]\t%63[^\t\n]", &first, &last, row.pretok,
                   row.lower, row.cased) != 5)
            continue; /* the heading */
        if (first > next)
            check_map(next, first - 1, &unlisted);
        if (first == ' ') /* a space that stays a space is no change to the reference */
            row = (struct map_row){"space", "SPACE", "SPACE"};
        check_map(first, last, &row);
        next = last + 1;
    }
    check_map(next, 0x10ffff, &unlisted);
    fclose(f);
    TEST_TRUE(next > 0x10000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),       cmocka_unit_test(test_classes),
        cmocka_unit_test(test_items),         cmocka_unit_test(test_rules_equal_items),
        cmocka_unit_test(test_reference_map), cmocka_unit_test(test_digest),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
