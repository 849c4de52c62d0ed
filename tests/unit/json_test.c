#include "support/test.h"

#include "json/json.h"

#include "base/limits.h"

#include <unistd.h>

static void test_values(void **state) {
    (void)state;
    json_t *root = NULL;
    struct err err = {0};
    struct view text =
        view_of(" {\"n\": 12, \"f\": 1.5, \"neg\": -1, \"s\": \"退款\\u0041\", \"b\": true,"
                " \"z\": null, \"a\": [1, 2, 3], \"big\": 9007199254740993} \n");
    TEST_EQ(json_parse(text, 1000, "t", &root, &err), STATUS_OK);
    uint64_t n = 0;
    double f = 0;
    bool b = false;
    TEST_TRUE(json_u64(json_get(root, "n"), &n) && n == 12);
    TEST_TRUE(!json_u64(json_get(root, "f"), &n) && !json_u64(json_get(root, "neg"), &n));
    TEST_TRUE(!json_u64(json_get(root, "absent"), &n) && !json_u64(json_get(root, "s"), &n));
    TEST_TRUE(json_f64(json_get(root, "f"), &f) && f == 1.5);
    TEST_STR_EQ(json_text(json_get(root, "s")), "退款A");
    TEST_TRUE(json_text(json_get(root, "n")) == NULL);
    TEST_TRUE(json_bool(json_get(root, "b"), &b) && b);
    TEST_TRUE(json_is_null(json_get(root, "z")));
    const json_t *a = json_get(root, "a");
    TEST_TRUE(json_is_array(a) && !json_is_object(a));
    TEST_EQ(json_size(a), 3);
    uint64_t sum = 0;
    for (const json_t *v = json_first(a); v; v = json_next(v)) {
        TEST_TRUE(json_u64(v, &n));
        sum += n;
    }
    TEST_EQ(sum, 6);
    TEST_TRUE(json_get(a, "x") == NULL && json_get(NULL, "x") == NULL);
    json_destroy(&root);
    TEST_TRUE(root == NULL);
    json_destroy(&root);
}

static void test_refused(void **state) {
    (void)state;
    char deep[2 * LIMIT_JSON_DEPTH + 8] = {0};
    memset(deep, '[', LIMIT_JSON_DEPTH + 1);
    memset(deep + LIMIT_JSON_DEPTH + 1, ']', LIMIT_JSON_DEPTH + 1);
    const struct {
        const char *name, *text;
        enum status status;
        const char *message;
    } rows[] = {
        {"empty", "", STATUS_DATA_LOSS, "not JSON"},
        {"cut", "{\"a\": 1", STATUS_DATA_LOSS, "not JSON"},
        {"tail", "{} x", STATUS_DATA_LOSS, "something follows"},
        {"not UTF-8", "{\"a\": \"\xff\"}", STATUS_DATA_LOSS, "byte 7 is not UTF-8"},
        {"twice", "{\"a\": 1, \"b\": {\"c\": 1, \"c\": 2}}", STATUS_DATA_LOSS, "'c' stands twice"},
        {"deep", deep, STATUS_RESOURCE_EXHAUSTED, "nested deeper"},
        {"lone surrogate", "{\"a\": \"\\ud800\"}", STATUS_DATA_LOSS, "not JSON"},
        {"large",
         "[1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,"
         "4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,"
         "8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0]",
         STATUS_RESOURCE_EXHAUSTED, "at most 200"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        json_t *root = NULL;
        struct err err = {0};
        TEST_EQ(json_parse(view_of(rows[i].text), 200, "t", &root, &err), rows[i].status);
        TEST_HAS(err.text, rows[i].message);
        TEST_TRUE(root == NULL);
    }
}

static void test_load(void **state) {
    (void)state;
    char path[] = "/tmp/ember-json-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, "{\"x\": 3}", 8) == 8);
    close(fd);
    json_t *root = NULL;
    struct err err = {0};
    TEST_EQ(json_load(path, 100, &root, &err), STATUS_OK);
    json_destroy(&root);
    TEST_EQ(json_load(path, 5, &root, &err), STATUS_RESOURCE_EXHAUSTED);
    unlink(path);
    TEST_EQ(json_load(path, 100, &root, &err), STATUS_NOT_FOUND);
    TEST_HAS(err.text, path);
    TEST_EQ(json_load("/", 100, &root, &err), STATUS_UNAVAILABLE);
}

static void test_quote(void **state) {
    (void)state;
    char out[64];
    size_t n = json_quote(view_make("a\"\\\n\x01退\x7f", 9), out, sizeof out);
    TEST_STR_EQ(out, "\"a\\\"\\\\\\n\\u0001退\\u007f\"");
    TEST_EQ(n, strlen(out));
    TEST_EQ(json_quote(view_of("abc"), out, 3), 5); /* what it needs, as snprintf */
    TEST_STR_EQ(out, "\"a");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values),
                                       cmocka_unit_test(test_refused), cmocka_unit_test(test_load),
                                       cmocka_unit_test(test_quote)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
