/* weights_cache_test.c - which directory is meant. */
#include "engine/weights_cache.h"

#include "support/test.h"

static void set(const char *name, const char *value) {
    if (value)
        setenv(name, value, 1);
    else
        unsetenv(name);
}

static void test_dir(void **state) {
    (void)state;
    static const struct {
        const char *name, *setting, *unit, *xdg, *home, *want;
    } rows[] = {
        {"a directory", "/var/tmp/x", "/var/cache/ember", "/xdg", "/home/me", "/var/tmp/x"},
        {"off", "off", "/var/cache/ember", "/xdg", "/home/me", NULL},
        {"a unit", "auto", "/var/cache/ember", "/xdg", "/home/me", "/var/cache/ember"},
        {"a unit with two", "auto", "/var/cache/a:/var/cache/b", "/xdg", "/h", "/var/cache/a"},
        {"a user's own choice", "auto", NULL, "/xdg", "/home/me", "/xdg/ember"},
        {"a home", "auto", NULL, NULL, "/home/me", "/home/me/.cache/ember"},
        {"empty is not set", "auto", "", "", "/home/me", "/home/me/.cache/ember"},
        {"relative paths are not meant", "auto", NULL, "cache", "/h", "/h/.cache/ember"},
        {"nothing", "auto", NULL, NULL, NULL, NULL},
        {"too long", "auto", NULL, NULL, "/a/very/long/home/directory/of/somebody", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        char out[40];
        set("CACHE_DIRECTORY", rows[i].unit);
        set("XDG_CACHE_HOME", rows[i].xdg);
        set("HOME", rows[i].home);
        const char *got = weights_cache_dir(rows[i].setting, out, sizeof out);
        if (rows[i].want)
            TEST_STR_EQ(got, rows[i].want);
        else
            TEST_TRUE(!got);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_dir)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
