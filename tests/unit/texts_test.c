/* texts_test.c - what a load is made of: lengths, shares, and the lines of a trace. */
#include "support/test.h"
#include "texts.h"

#include "base/hash.h"
#include "base/utf8.h"

#include <unistd.h>

static enum status generate(const char *lengths, const char *mix, double unique, texts_t **out) {
    static const char *const labels[] = {"a", "b"};
    struct err err;
    struct texts_made made = {.lengths = lengths,
                              .mix = mix,
                              .unique = unique,
                              .seed = 7,
                              .labels = labels,
                              .n_labels = 2};
    return texts_generate(&made, out, &err);
}

static void test_lengths(void **state) {
    (void)state;
    texts_t *t = NULL;
    TEST_EQ(generate("zh:4,20,en:3", "", 1, &t), STATUS_OK);
    TEST_EQ(texts_classes(t), 3);
    TEST_STR_EQ(texts_class(t, 1), "zh:20");
    uint32_t n[3] = {0};
    for (int i = 0; i < 3000; i++) {
        struct texts_item item;
        TEST_TRUE(texts_next(t, &item));
        n[item.class]++;
        struct view text = view_of(item.text);
        TEST_TRUE(utf8_valid(text));
        if (item.class < 2) {
            TEST_EQ(utf8_count(text), item.class ? 20 : 4);
        } else {
            uint32_t blanks = 0;
            for (const char *p = item.text; *p; p++)
                blanks += *p == ' ';
            TEST_EQ(blanks, 2);
        }
    }
    for (int i = 0; i < 3; i++)
        TEST_TRUE(n[i] > 850 && n[i] < 1150);
    texts_destroy(&t);
    static const char *const bad[] = {"", "zh:", "zh:0", "zh:4;5", "fr:4x", "zh:9999", "x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        TEST_ROW(bad[i]);
        TEST_EQ(generate(bad[i], "", 1, &t), STATUS_INVALID_ARGUMENT);
    }
}

/* What a call took first is still there when it took all it may. */
static void test_life(void **state) {
    (void)state;
    texts_t *t = NULL;
    TEST_EQ(generate("zh:20", "", 0.5, &t), STATUS_OK);
    for (int call = 0; call < 40; call++) {
        static struct texts_item item[TEXTS_AHEAD];
        static uint64_t hash[TEXTS_AHEAD];
        for (uint32_t i = 0; i < TEXTS_AHEAD; i++) {
            TEST_TRUE(texts_next(t, &item[i]));
            hash[i] = hash_bytes(item[i].text, strlen(item[i].text), 1);
        }
        for (uint32_t i = 0; i < TEXTS_AHEAD; i++)
            TEST_EQ(hash_bytes(item[i].text, strlen(item[i].text), 1), hash[i]);
    }
    texts_destroy(&t);
}

static void test_unique_share(void **state) {
    (void)state;
    enum { N = 20000 };
    static uint64_t seen[N];
    texts_t *t = NULL;
    TEST_EQ(generate("zh:20", "", 0.25, &t), STATUS_OK);
    uint32_t fresh = 0, n = 0;
    for (int i = 0; i < N; i++) {
        struct texts_item item;
        TEST_TRUE(texts_next(t, &item));
        uint64_t hash = hash_bytes(item.text, strlen(item.text), 1);
        bool known = false;
        for (uint32_t k = 0; k < n && !known; k++)
            known = seen[k] == hash;
        if (!known)
            seen[n++] = hash;
        fresh += !known && i >= 1000;
    }
    TEST_TRUE(fresh > 0.22 * (N - 1000) && fresh < 0.28 * (N - 1000));
    texts_destroy(&t);
}

static void test_mix(void **state) {
    (void)state;
    enum { N = 20000 };
    static const struct {
        const char *name;
        bool classify;
        uint32_t least, most; /* characters */
        double share;
    } want[] = {{"embed/short", false, TEXTS_SHORT, TEXTS_SHORT, 0.5},
                {"long", false, TEXTS_LONG, TEXTS_LONG, 0.05},
                {"classify", true, 4, 20, 0.25},
                {"classify/zh:30", true, 30, 30, 0.2}};
    for (int unique = 0; unique < 2; unique++) {
        texts_t *t = NULL;
        TEST_EQ(generate("zh:4,20", "embed/short=50,long=5,classify=25,classify/zh:30=20",
                         unique ? 1 : 0.2, &t),
                STATUS_OK);
        TEST_EQ(texts_classes(t), 4);
        uint32_t n[4] = {0};
        for (int i = 0; i < N; i++) {
            struct texts_item item, more;
            TEST_TRUE(texts_next(t, &item));
            n[item.class]++;
            uint32_t characters = (uint32_t)utf8_count(view_of(item.text));
            TEST_TRUE(characters >= want[item.class].least && characters <= want[item.class].most);
            TEST_EQ(item.classify, want[item.class].classify);
            TEST_EQ(item.n_labels, item.classify ? 2 : 0);
            TEST_TRUE(texts_more(t, &item, &more));
            TEST_EQ(more.class, item.class);
        }
        for (int i = 0; i < 4; i++) {
            TEST_STR_EQ(texts_class(t, (uint32_t)i), want[i].name);
            TEST_NEAR((double)n[i] / N, want[i].share, 0.03);
        }
        texts_destroy(&t);
    }
    static const char *const bad[] = {"embed",           "embed=0",     "embed=-1",
                                      "embed=x",         "embed=1;a=2", "sing=1",
                                      "embed/tiny=1",    "embed/=1",    "rerank=1",
                                      "embed=1,embed=2", "=1",          ",",
                                      "embed=1000001",   "zh:0=1",      "embed/short/zh:4=1"};
    texts_t *t = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        TEST_ROW(bad[i]);
        TEST_EQ(generate("zh:4", bad[i], 1, &t), STATUS_INVALID_ARGUMENT);
    }
}

static const char *write_trace(const char *text) {
    static char path[64];
    snprintf(path, sizeof path, "/tmp/ember-texts-test-%d", (int)getpid());
    FILE *f = fopen(path, "we");
    fputs(text, f);
    fclose(f);
    return path;
}

static void test_trace(void **state) {
    (void)state;
    struct err err;
    texts_t *t = NULL;
    const char *path = write_trace(
        "{\"i\":0,\"t\":0.5,\"op\":\"embed\",\"lang\":\"zh\",\"class\":\"short\",\"text\":\"退款\"}"
        "\n"
        "{\"t\":1.5,\"op\":\"classify\",\"class\":\"en\",\"text\":\"x\",\"labels\":[\"a\",\"b\"],"
        "\"template\":\"is {}\",\"multi_label\":true}\n");
    TEST_EQ(texts_trace(path, &t, &err), STATUS_OK);
    TEST_TRUE(texts_timed(t));
    struct texts_item item;
    TEST_TRUE(texts_next(t, &item));
    TEST_STR_EQ(item.text, "退款");
    TEST_NEAR(item.at_s, 0.5, 0);
    TEST_TRUE(!item.classify && !item.multi_label && !item.template_text);
    TEST_STR_EQ(texts_class(t, item.class), "embed/short");
    TEST_TRUE(texts_next(t, &item));
    TEST_TRUE(item.classify && item.multi_label);
    TEST_EQ(item.n_labels, 2);
    TEST_STR_EQ(item.labels[1], "b");
    TEST_STR_EQ(item.template_text, "is {}");
    TEST_TRUE(!texts_next(t, &item));
    texts_destroy(&t);
    static const struct {
        const char *text, *says;
    } bad[] = {{"", "is empty"},
               {"{\"text\":\"a\"}\nno json\n", ":2: "},
               {"{\"op\":\"embed\"}\n", ":1: no \"text\""},
               {"{\"op\":\"sing\",\"text\":\"a\"}\n", "\"op\" that is not known"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        TEST_TRUE(texts_trace(write_trace(bad[i].text), &t, &err) != STATUS_OK);
        TEST_HAS(err.text, bad[i].says);
    }
    TEST_EQ(texts_trace(write_trace("{\"text\":\"no time\"}\n"), &t, &err), STATUS_OK);
    TEST_TRUE(!texts_timed(t));
    texts_destroy(&t);
    unlink(path);
    TEST_EQ(texts_trace(path, &t, &err), STATUS_INVALID_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lengths), cmocka_unit_test(test_life),
                                       cmocka_unit_test(test_unique_share),
                                       cmocka_unit_test(test_mix), cmocka_unit_test(test_trace)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
