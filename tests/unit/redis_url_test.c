/* redis_url_test.c - URLs people write, and what must be refused without repeating a password. */
#include "cache/redis_url.h"
#include "support/test.h"

static void test_parse(void **state) {
    (void)state;
    static const struct {
        const char *url, *host, *port, *user, *password;
        uint32_t db;
    } rows[] = {
        {"redis://h", "h", "6379", "", "", 0},
        {"redis://h/", "h", "6379", "", "", 0},
        {"redis://cache.example.org:7000/3", "cache.example.org", "7000", "", "", 3},
        {"redis://:pw@h", "h", "6379", "", "pw", 0},
        {"redis://u:p%40s%3as@h:1/15", "h", "1", "u", "p@s:s", 15},
        {"redis://u:p@ss@h", "h", "6379", "u", "p@ss", 0},
        {"redis://[::1]:65535", "::1", "65535", "", "", 0},
        {"redis://[fe80::1]/2", "fe80::1", "6379", "", "", 2},
        {"unix:///run/redis.sock", "/run/redis.sock", "", "", "", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].url);
        struct redis_url url;
        struct err err = {0};
        if (redis_url_parse(rows[i].url, &url, &err) != STATUS_OK)
            TEST_FAIL("%s", err.text);
        TEST_STR_EQ(url.host, rows[i].host);
        TEST_STR_EQ(url.port, rows[i].port);
        TEST_STR_EQ(url.user, rows[i].user);
        TEST_STR_EQ(url.password, rows[i].password);
        TEST_EQ(url.db, rows[i].db);
        TEST_EQ(url.is_unix, rows[i].host[0] == '/');
    }
}

static void test_refused(void **state) {
    (void)state;
    static const char *const rows[] = {
        "",
        "h",
        "h:6379",
        "http://secret",
        "rediss://secret",
        "redis://",
        "redis://:secret@",
        "redis://secret@h",
        "redis://u:@h",
        "redis://:secret%4@h",
        "redis://:secret%00@h",
        "redis://:secret%zz@h",
        "redis://h:0",
        "redis://h:65536",
        "redis://h:secret",
        "redis://h:",
        "redis://h:1 ",
        "redis://h/secret",
        "redis://h/1/2",
        "redis://h/65536",
        "redis://[::1",
        "redis://[::1]x",
        "redis://[]:1",
        "unix://secret",
        "unix:/secret",
        "redis://h:6379999999",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i]);
        struct redis_url url = {.db = 99};
        struct err err = {0};
        TEST_EQ(redis_url_parse(rows[i], &url, &err), STATUS_INVALID_ARGUMENT);
        TEST_EQ(url.db, 99);
        TEST_TRUE(err.text[0] && !strstr(err.text, "secret"));
    }
    char url[600] = "redis://:";
    memset(url + 9, 'x', 300);
    memcpy(url + 309, "@h", 3);
    struct redis_url out;
    struct err err;
    TEST_EQ(redis_url_parse(url, &out, &err), STATUS_INVALID_ARGUMENT);
    memcpy(url, "redis://h", 9); /* a host of 301 bytes */
    url[309] = '\0';
    TEST_EQ(redis_url_parse(url, &out, &err), STATUS_INVALID_ARGUMENT);
    memcpy(url, "unix:////", 9);
    TEST_EQ(redis_url_parse(url, &out, &err), STATUS_INVALID_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_parse),
                                       cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
