/* zip_test.c - one archive of three records, damaged at one place per row. */
#include "model/zip.h"

#include "support/zip_maker.h"

/* Places in the archive that build() makes: local headers of 30 bytes, names of 1 byte, extra
 * of 5. */
enum { LOCAL_B = 30 + 6 + 5, END = 22, CENTRAL = 47 };

static void build(struct zip_maker *z, bool zip64) {
    *z = (struct zip_maker){.zip64 = zip64};
    zip_add(z, "a", "hello", 5);
    zip_add(z, "b", "", 0);
    zip_add(z, "c", "world!", 6);
    zip_finish(z);
}

/* The archive in a buffer of exactly its size, opened and its record "a" read. */
static enum status open_and_read(const char *data, size_t bytes, struct err *err) {
    char *exact = malloc(bytes ? bytes : 1);
    TEST_TRUE(exact != NULL);
    memcpy(exact, data, bytes);
    zip_t *zip = NULL;
    struct view view;
    enum status st = zip_open(view_make(exact, bytes), &zip, err);
    if (st == STATUS_OK)
        st = zip_record(zip, view_of("a"), &view, err);
    if (st == STATUS_OK)
        TEST_TRUE(view_equal(view, view_of("hello")));
    zip_close(&zip);
    free(exact);
    return st;
}

static void test_good(void **state) {
    (void)state;
    for (int zip64 = 0; zip64 < 2; zip64++) {
        TEST_ROW(zip64 ? "zip64" : "plain");
        static struct zip_maker z;
        build(&z, zip64);
        zip_t *zip = NULL;
        struct err err = {0};
        if (zip_open(view_make(z.data, z.bytes), &zip, &err) != STATUS_OK)
            TEST_FAIL("%s", err.text);
        TEST_EQ(zip_count(zip), 3);
        TEST_TRUE(view_equal(zip_name(zip, 2), view_of("c")));
        struct view view;
        TEST_EQ(zip_record(zip, view_of("c"), &view, NULL), STATUS_OK);
        TEST_TRUE(view_equal(view, view_of("world!")));
        TEST_EQ(zip_record(zip, view_of("b"), &view, NULL), STATUS_OK);
        TEST_EQ(view.bytes, 0);
        TEST_EQ(zip_record(zip, view_of("d"), &view, &err), STATUS_NOT_FOUND);
        TEST_HAS(err.text, "'d'");
        TEST_EQ(zip_record(zip, view_of(""), &view, NULL), STATUS_NOT_FOUND);
        zip_close(&zip);
        TEST_TRUE(zip == NULL);
    }
}

enum from { FRONT, DIRECTORY, BACK };

static void test_damage(void **state) {
    (void)state;
    static const struct {
        const char *name;
        enum from from;
        int at;
        const char *bytes;
        size_t n;
        enum status want;
        const char *part;
    } rows[] = {
        {"nothing", FRONT, 0, "", 0, STATUS_OK, ""},
        {"no local signature", FRONT, 0, "XK", 2, STATUS_DATA_LOSS, "'a' lies outside"},
        {"another local name", FRONT, 30, "x", 1, STATUS_DATA_LOSS, "another one"},
        {"another local method", FRONT, 8, "\x08", 1, STATUS_DATA_LOSS, "another one"},
        {"a local name that leaves the file", FRONT, 26, "\xff\xff", 2, STATUS_DATA_LOSS,
         "outside"},
        {"other contents", FRONT, 36, "H", 1, STATUS_DATA_LOSS, "checksum"},
        {"no central signature", DIRECTORY, 0, "XK", 2, STATUS_DATA_LOSS, "directory is damaged"},
        {"a central name that leaves the directory", DIRECTORY, 2 * CENTRAL + 28, "\xff\x7f", 2,
         STATUS_DATA_LOSS, "directory is damaged"},
        {"encrypted", DIRECTORY, 8, "\1", 1, STATUS_UNIMPLEMENTED, "encrypted"},
        {"two sizes", DIRECTORY, 20, "\4", 1, STATUS_DATA_LOSS, "two sizes"},
        {"beyond the file", DIRECTORY, 42, "\xff\xff\xff\x7f", 4, STATUS_DATA_LOSS, "outside"},
        {"saturated, but no ZIP64 field", DIRECTORY, 42, "\xff\xff\xff\xff", 4, STATUS_DATA_LOSS,
         "ZIP64"},
        {"two records at one place", DIRECTORY, CENTRAL + 42, "\0", 1, STATUS_DATA_LOSS, "another"},
        {"a name twice", DIRECTORY, CENTRAL + 46, "a", 1, STATUS_DATA_LOSS, "another"},
        {"no end record", BACK, -END, "X", 1, STATUS_DATA_LOSS, "end is missing"},
        {"a comment that is not there", BACK, -2, "\1", 1, STATUS_DATA_LOSS, "end is missing"},
        {"several disks", BACK, -END + 4, "\1", 1, STATUS_UNIMPLEMENTED, "several parts"},
        {"more records than there are", BACK, -END + 10, "\4", 1, STATUS_DATA_LOSS, "fit"},
        {"fewer records than there are", BACK, -END + 10, "\2", 1, STATUS_DATA_LOSS,
         "more entries"},
        {"a directory behind the end", BACK, -END + 16, "\xff\xff\xff\x7f", 4, STATUS_DATA_LOSS,
         "beyond"},
        {"a directory too long", BACK, -END + 12, "\xff\xff\xff\x7f", 4, STATUS_DATA_LOSS,
         "beyond"},
        {"a directory elsewhere", BACK, -END + 16, "\1", 1, STATUS_DATA_LOSS, "directory"},
    };
    static struct zip_maker z;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        build(&z, false);
        size_t from = rows[i].from == FRONT       ? 0
                      : rows[i].from == DIRECTORY ? z.directory_at
                                                  : z.bytes;
        memcpy(z.data + from + rows[i].at, rows[i].bytes, rows[i].n);
        struct err err = {0};
        enum status st = open_and_read(z.data, z.bytes, &err);
        TEST_STR_EQ(status_name(st), status_name(rows[i].want));
        TEST_HAS(err.text, rows[i].part);
    }
}

/* Records that share bytes, and names that stand twice, where the local headers agree with it. */
static void test_overlap_and_twice(void **state) {
    (void)state;
    static struct zip_maker z;
    struct err err = {0};
    TEST_ROW("twice");
    z = (struct zip_maker){0};
    zip_add(&z, "a", "hello", 5);
    zip_add(&z, "a", "hello", 5);
    zip_finish(&z);
    TEST_EQ(open_and_read(z.data, z.bytes, &err), STATUS_DATA_LOSS);
    TEST_HAS(err.text, "'a' stands twice");

    TEST_ROW("overlap");
    z = (struct zip_maker){0};
    zip_add(&z, "a", "hello", 5);
    zip_add(&z, "b", "x", 1);
    z.directory[20] = z.directory[24] = 6; /* "a" takes one byte of the header of "b" */
    zip_finish(&z);
    TEST_EQ(open_and_read(z.data, z.bytes, &err), STATUS_DATA_LOSS);
    TEST_HAS(err.text, "overlap");

    TEST_ROW("compressed");
    z = (struct zip_maker){0};
    zip_add(&z, "a", "hello", 5);
    z.directory[10] = z.data[8] = 8;
    zip_finish(&z);
    TEST_EQ(open_and_read(z.data, z.bytes, &err), STATUS_UNIMPLEMENTED);
    TEST_HAS(err.text, "method 8");
}

static void test_zip64_damage(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int at; /* from the end of the file */
        const char *bytes;
        size_t n;
        const char *part;
    } rows[] = {
        {"end record elsewhere", -END - 20 + 8, "\0\0\0\0", 4, "not where"},
        {"end record behind", -END - 20 + 15, "\x7f", 1, "not where"},
        {"counts disagree", -END + 10, "\2", 1, "disagree"},
        {"count near 2^64", -END - 20 - 56 + 39, "\xff", 1, "disagree"},
        {"directory size near 2^64", -END - 20 - 56 + 47, "\xff", 1, "beyond"},
        {"directory place near 2^64", -END - 20 - 56 + 55, "\xff", 1, "beyond"},
    };
    static struct zip_maker z;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        build(&z, true);
        memcpy(z.data + z.bytes + rows[i].at, rows[i].bytes, rows[i].n);
        struct err err = {0};
        TEST_EQ(open_and_read(z.data, z.bytes, &err), STATUS_DATA_LOSS);
        TEST_HAS(err.text, rows[i].part);
    }
}

/* Cut at every length: never a crash, never a success. */
static void test_every_cut(void **state) {
    (void)state;
    static struct zip_maker z;
    for (int zip64 = 0; zip64 < 2; zip64++) {
        build(&z, zip64);
        for (size_t n = 0; n < z.bytes; n++)
            TEST_EQ(open_and_read(z.data, n, NULL), STATUS_DATA_LOSS);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_overlap_and_twice),
        cmocka_unit_test(test_zip64_damage),
        cmocka_unit_test(test_every_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
