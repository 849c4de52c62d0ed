/* text_list_test.c - texts are kept once each, in their order, however many there are. */
#include "text_list.h"

#include "support/test.h"

static void test_equal_texts(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t bytes;
        uint32_t index;
        bool fresh;
    } rows[] = {
        {"a", 1, 0, true},    {"b", 1, 1, true},     {"a", 1, 0, false},
        {"", 0, 2, true},     {"ab", 2, 3, true},    {"a\0b", 3, 4, true},
        {"a\0c", 3, 5, true}, {"a\0b", 3, 4, false}, {"", 0, 2, false},
    };
    struct text_list list = {0};
    struct err err;
    TEST_EQ(text_list_find(&list, view_of("a")), UINT32_MAX);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t index = 99;
        bool fresh = !rows[i].fresh;
        const struct view text = view_make(rows[i].text, rows[i].bytes);
        TEST_EQ(text_list_add(&list, text, &index, &fresh, &err), STATUS_OK);
        TEST_EQ(index, rows[i].index);
        TEST_EQ(fresh, rows[i].fresh);
        TEST_EQ(text_list_find(&list, text), rows[i].index);
        TEST_TRUE(view_equal(list.at[index], text));
        TEST_EQ(list.at[index].data[text.bytes], 0);
    }
    TEST_EQ(list.n, 6);
    TEST_EQ(text_list_find(&list, view_of("abc")), UINT32_MAX);
    text_list_done(&list);
    TEST_EQ(list.n, 0);
    text_list_done(&list); /* twice is fine */
}

static void test_many(void **state) {
    (void)state;
    enum { N = 20000 };
    struct text_list list = {0};
    char text[32];
    uint32_t index = 0;
    for (int round = 0; round < 2; round++)
        for (uint32_t i = 0; i < N; i++) {
            snprintf(text, sizeof text, "text %u", i);
            bool fresh;
            TEST_EQ(text_list_add(&list, view_of(text), &index, &fresh, NULL), STATUS_OK);
            TEST_EQ(index, i);
            TEST_EQ(fresh, round == 0);
        }
    TEST_EQ(list.n, N);
    text_list_done(&list);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_texts),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
