/* texts_test.c - what a load is made of: lengths, shares, and the lines of a trace. */
#include "support/test.h"
#include "texts.h"

#include "base/hash.h"
#include "base/utf8.h"

#include <unistd.h>

static void test_lengths(void **state) {
    (void)state;
    struct err err;
    texts_t *t = NULL;
    TEST_EQ(texts_generate("zh:4,20,en:3", 1, 7, &t, &err), STATUS_OK);
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
        TEST_EQ(texts_generate(bad[i], 1, 1, &t, &err), STATUS_INVALID_ARGUMENT);
    }
}

static void test_unique_share(void **state) {
    (void)state;
    enum { N = 20000 };
    struct err err;
    static uint64_t seen[N];
    texts_t *t = NULL;
    TEST_EQ(texts_generate("zh:20", 0.25, 7, &t, &err), STATUS_OK);
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lengths),
                                       cmocka_unit_test(test_unique_share),
                                       cmocka_unit_test(test_trace)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
