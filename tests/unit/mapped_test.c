/* mapped_test.c - files that can be mapped, and things that only look like files. */
#include "model/mapped.h"

#include "support/golden.h"

static void test_open(void **state) {
    (void)state;
    struct golden_dir dir;
    golden_make(&dir);
    golden_write(&dir, "file", "hello", 5);
    golden_write(&dir, "empty", "", 0);
    golden_write(&dir, "folder/file", "", 0);
    char fifo[256];
    snprintf(fifo, sizeof fifo, "%s/fifo", dir.path);
    TEST_TRUE(mkfifo(fifo, 0600) == 0);
    static const struct {
        const char *name;
        enum status want;
        size_t bytes;
    } rows[] = {
        {"file", STATUS_OK, 5},
        {"empty", STATUS_OK, 0},
        {"absent", STATUS_NOT_FOUND, 0},
        {"folder", STATUS_UNAVAILABLE, 0},
        {"fifo", STATUS_UNAVAILABLE, 0}, /* nobody writes to it: waiting would be forever */
        {"file/below", STATUS_UNAVAILABLE, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        char path[256];
        snprintf(path, sizeof path, "%s/%s", dir.path, rows[i].name);
        struct mapped mapped = {0};
        struct err err = {0};
        enum status st = mapped_open(path, &mapped, &err);
        TEST_STR_EQ(status_name(st), status_name(rows[i].want));
        TEST_EQ(mapped.bytes.bytes, rows[i].bytes);
        TEST_EQ(mapped.look.bytes, rows[i].bytes);
        if (st != STATUS_OK)
            TEST_HAS(err.text, path);
        mapped_sequential(&mapped);
        mapped_release(&mapped); /* the bytes are there all the same */
        if (rows[i].bytes)
            TEST_MEM_EQ(mapped.bytes.data, "hello", 5);
        mapped_close(&mapped);
        mapped_close(&mapped);
    }
    golden_remove(&dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_open)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
