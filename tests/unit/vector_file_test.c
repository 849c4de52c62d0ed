/* vector_file_test.c - both forms byte by byte, and files that are complete or not there. */
#include "vector_file.h"

#include "support/test.h"

#include <sys/stat.h>
#include <unistd.h>

static char path[64], part[80];

static int set_up(void **state) {
    (void)state;
    snprintf(path, sizeof path, "/tmp/ember-vectors-%d", (int)getpid());
    snprintf(part, sizeof part, "%s.part", path);
    return 0;
}

/* Reads the file and removes it. */
static size_t take(char *out, size_t bytes) {
    FILE *f = fopen(path, "re");
    TEST_TRUE(f != NULL);
    size_t n = fread(out, 1, bytes - 1, f);
    out[n] = '\0';
    fclose(f);
    remove(path);
    return n;
}

static void test_numpy(void **state) {
    (void)state;
    static const float x[2][3] = {{1, -2, 0.5f}, {0, 3e-8f, 1}};
    struct vector_file file;
    char got[400];
    for (unsigned n = 0; n <= 2; n++) {
        TEST_EQ(vector_file_open(path, VECTOR_NPY, 3, &file, NULL), STATUS_OK);
        for (unsigned i = 0; i < n; i++)
            vector_file_add(&file, x[i]);
        TEST_TRUE(vector_file_good(&file));
        TEST_TRUE(access(path, F_OK) != 0 && access(part, F_OK) == 0);
        TEST_EQ(vector_file_close(&file, NULL), STATUS_OK);
        TEST_TRUE(access(part, F_OK) != 0);
        TEST_EQ(take(got, sizeof got), VECTOR_NPY_HEAD + n * sizeof x[0]);
        char words[100], head[VECTOR_NPY_HEAD];
        snprintf(words, sizeof words,
                 "{'descr': '<f4', 'fortran_order': False, 'shape': (%u, 3), }", n);
        snprintf(head, sizeof head, "%-*s\n", VECTOR_NPY_HEAD - 11, words);
        TEST_TRUE(memcmp(got, "\x93NUMPY\x01\x00\x76\x00", 10) == 0);
        TEST_EQ(strlen(head), VECTOR_NPY_HEAD - 10);
        TEST_TRUE(memcmp(got + 10, head, strlen(head)) == 0);
        TEST_TRUE(memcmp(got + VECTOR_NPY_HEAD, x, n * sizeof x[0]) == 0); /* little-endian here */
    }
}

static void test_json_lines(void **state) {
    (void)state;
    static const float x[2] = {0.1f, -3};
    struct vector_file file;
    char got[200];
    TEST_EQ(vector_file_open(path, VECTOR_JSONL, 2, &file, NULL), STATUS_OK);
    vector_file_add(&file, x);
    vector_file_add(&file, x);
    TEST_EQ(vector_file_close(&file, NULL), STATUS_OK);
    take(got, sizeof got);
    TEST_STR_EQ(got, "{\"i\":0,\"dim\":2,\"vector\":[0.100000001,-3]}\n"
                     "{\"i\":1,\"dim\":2,\"vector\":[0.100000001,-3]}\n");
}

static void test_not_at_all(void **state) {
    (void)state;
    static const float x[2] = {1, 2};
    struct vector_file file;
    struct err err;
    TEST_EQ(vector_file_open("", VECTOR_NPY, 2, &file, &err), STATUS_INVALID_ARGUMENT);
    vector_file_abort(&file);
    TEST_EQ(vector_file_open("/nowhere/x", VECTOR_NPY, 2, &file, &err), STATUS_UNAVAILABLE);
    vector_file_abort(&file);
    TEST_EQ(vector_file_open(path, VECTOR_NPY, 2, &file, &err), STATUS_OK);
    vector_file_add(&file, x);
    vector_file_abort(&file);
    vector_file_abort(&file); /* twice is fine */
    TEST_TRUE(access(path, F_OK) != 0 && access(part, F_OK) != 0);
    TEST_ROW("what is no file is not replaced");
    TEST_EQ(vector_file_open("/dev/null", VECTOR_NPY, 2, &file, &err), STATUS_INVALID_ARGUMENT);
    vector_file_abort(&file);
    TEST_EQ(vector_file_open("/dev/null", VECTOR_JSONL, 2, &file, &err), STATUS_OK);
    vector_file_add(&file, x);
    TEST_EQ(vector_file_close(&file, &err), STATUS_OK);
    TEST_EQ(vector_file_open("/dev/full", VECTOR_JSONL, 2, &file, &err), STATUS_OK);
    vector_file_add(&file, x);
    TEST_EQ(vector_file_close(&file, &err), STATUS_UNAVAILABLE);
    TEST_TRUE(access("/dev/null.part", F_OK) != 0 && access("/dev/full", F_OK) == 0);
    TEST_ROW("a link is followed");
    char link[96];
    snprintf(link, sizeof link, "%s.link", path);
    TEST_EQ(vector_file_open(path, VECTOR_NPY, 2, &file, &err), STATUS_OK);
    TEST_EQ(vector_file_close(&file, &err), STATUS_OK);
    TEST_TRUE(symlink(path, link) == 0);
    TEST_EQ(vector_file_open(link, VECTOR_NPY, 2, &file, &err), STATUS_OK);
    vector_file_add(&file, x);
    TEST_EQ(vector_file_close(&file, &err), STATUS_OK);
    struct stat there;
    TEST_TRUE(lstat(link, &there) == 0 && S_ISLNK(there.st_mode));
    TEST_TRUE(stat(path, &there) == 0 && there.st_size == VECTOR_NPY_HEAD + (off_t)sizeof x);
    remove(link);
    remove(path);
    TEST_ROW("a disk that is full");
    TEST_TRUE(symlink("/dev/full", part) == 0);
    TEST_EQ(vector_file_open(path, VECTOR_NPY, 2, &file, &err), STATUS_OK);
    vector_file_add(&file, x);
    TEST_EQ(vector_file_close(&file, &err), STATUS_UNAVAILABLE);
    TEST_HAS(err.text, "No space left");
    TEST_TRUE(access(path, F_OK) != 0 && access(part, F_OK) != 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numpy),
        cmocka_unit_test(test_json_lines),
        cmocka_unit_test(test_not_at_all),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
