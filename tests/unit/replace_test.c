/* replace_test.c - a file is replaced whole, or stays as it was. */
#include "replace.h"
#include "support/test.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/ember-replace-XXXXXX";

static void put_text(FILE *out, const void *arg) {
    fputs(arg, out);
}

/* As when the disk is full: from there on nothing is written. */
static void put_too_much(FILE *out, const void *arg) {
    (void)arg;
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    dup2(full, fileno(out));
    close(full);
    fputs("some of it", out);
}

static const char *path_of(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void holds(const char *name, const char *want) {
    char got[64] = "";
    FILE *f = fopen(path_of(name), "re");
    TEST_TRUE(f != NULL);
    TEST_TRUE(fread(got, 1, sizeof got - 1, f) < sizeof got - 1);
    fclose(f);
    TEST_STR_EQ(got, want);
}

static uint32_t files_in_dir(void) {
    uint32_t n = 0;
    DIR *d = opendir(dir);
    TEST_TRUE(d != NULL);
    while (readdir(d))
        n++;
    closedir(d);
    return n - 2; /* . and .. */
}

static void test_replace(void **state) {
    (void)state;
    struct err err;
    TEST_EQ(replace_file(path_of("a"), put_text, "one", &err), STATUS_OK);
    holds("a", "one");
    TEST_EQ(replace_file(path_of("a"), put_text, "two", &err), STATUS_OK);
    holds("a", "two");
    TEST_EQ(replace_file(path_of("a"), put_too_much, NULL, &err), STATUS_UNAVAILABLE);
    TEST_HAS(err.text, "/a: ");
    holds("a", "two");
    TEST_EQ(files_in_dir(), 1);
}

static void test_links(void **state) {
    (void)state;
    struct err err;
    TEST_EQ(symlink("a", path_of("link")), 0);
    TEST_EQ(replace_file(path_of("link"), put_text, "three", &err), STATUS_OK);
    holds("a", "three");
    struct stat link;
    TEST_EQ(lstat(path_of("link"), &link), 0);
    TEST_TRUE(S_ISLNK(link.st_mode));
    TEST_EQ(replace_file("/dev/null", put_text, "x", &err), STATUS_OK);
    TEST_EQ(replace_file("/dev/full", put_text, "x", &err), STATUS_UNAVAILABLE);
    TEST_EQ(replace_file(dir, put_text, "x", &err), STATUS_UNAVAILABLE);
    TEST_EQ(replace_file("/nonexistent/x", put_text, "x", &err), STATUS_UNAVAILABLE);
    TEST_EQ(files_in_dir(), 2);
    unlink(path_of("link"));
    unlink(path_of("a"));
    rmdir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_replace),
                                       cmocka_unit_test(test_links)};
    return mkdtemp(dir) ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
