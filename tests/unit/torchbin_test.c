/* torchbin_test.c - archives with a pickle and records that agree, or do not. */
#include "model/torchbin.h"

#include "support/pickle_text.h"
#include "support/zip_maker.h"

#define TEXT(s) s, sizeof(s) - 1

static const float six[] = {0, 1, 2, 3, 4, 5};

/* "a": 2 x 3 floats of storage 0; "t": its transpose; both show the same record. */
#define TRANSPOSED PK_TENSOR(PK_STORAGE(PK_FLOATS, "K\6"), "K\0", "K\3K\2\x86", "K\1K\3\x86")
static const char two_views[] =
    PK_PROTO PK_ORDERED "(" PK_KEY("a") PK_MATRIX PK_KEY("t") TRANSPOSED "u.";

static enum status read_and_seal(const char *data, size_t bytes, weights_t *into, struct err *err) {
    enum status st = torchbin_read(view_make(data, bytes), into, err);
    return st == STATUS_OK ? weights_seal(into, err) : st;
}

static void test_values(void **state) {
    (void)state;
    TEST_ROW("values");
    static struct zip_maker z;
    z = (struct zip_maker){0};
    zip_add(&z, "m/data.pkl", two_views, sizeof two_views - 1);
    zip_add(&z, "m/byteorder", "little", 6);
    zip_add(&z, "m/data/0", six, sizeof six);
    zip_finish(&z);
    weights_t *into = weights_new();
    struct err err = {0};
    if (read_and_seal(z.data, z.bytes, into, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
    float out[6];
    TEST_EQ(weights_count(into), 2);
    TEST_TRUE(weights_find(into, "a")->dense);
    TEST_TRUE(!weights_find(into, "t")->dense);
    TEST_EQ(weights_read(into, "a", 2, 3, out, NULL), STATUS_OK);
    TEST_MEM_EQ(out, six, sizeof six);
    TEST_EQ(weights_read(into, "t", 3, 2, out, NULL), STATUS_OK);
    for (int r = 0; r < 3; r++)
        for (int c = 0; c < 2; c++)
            TEST_NEAR(out[r * 2 + c], six[c * 3 + r], 0);
    weights_destroy(&into);
}

struct record {
    const char *name, *data;
    size_t bytes;
};

static void test_archives(void **state) {
    (void)state;
    static const char pickle[] = PK_PROTO "}" PK_KEY("a") PK_MATRIX "s.";
    static const char evil[] = "cos\nsystem\n.";
    static const char twice[] = PK_PROTO "}(" PK_KEY("a") PK_MATRIX PK_KEY("a") PK_MATRIX "u.";
    static const char numbers[24];
    static const struct {
        const char *name;
        struct record records[4];
        enum status want;
        const char *part;
    } rows[] = {
        {"good", {{"m/data.pkl", TEXT(pickle)}, {"m/data/0", numbers, 24}}, STATUS_OK, ""},
        {"records nobody asks for",
         {{"m/data.pkl", TEXT(pickle)},
          {"m/data/0", numbers, 24},
          {"m/data/1", "x", 1},
          {"x", "y", 1}},
         STATUS_OK,
         ""},
        {"no pickle", {{"m/data/0", numbers, 24}}, STATUS_DATA_LOSS, "0 records"},
        {"no folder",
         {{"data.pkl", TEXT(pickle)}, {"data/0", numbers, 24}},
         STATUS_DATA_LOSS,
         "0 records"},
        {"a folder without name", {{"/data.pkl", TEXT(pickle)}}, STATUS_DATA_LOSS, "0 records"},
        {"two folders",
         {{"m/data.pkl", TEXT(pickle)}, {"n/data.pkl", TEXT(pickle)}},
         STATUS_DATA_LOSS,
         "2 records"},
        {"another folder",
         {{"m/data.pkl", TEXT(pickle)}, {"n/data/0", numbers, 24}},
         STATUS_DATA_LOSS,
         "no record 'm/data/0'"},
        {"a record too short",
         {{"m/data.pkl", TEXT(pickle)}, {"m/data/0", numbers, 23}},
         STATUS_DATA_LOSS,
         "23"},
        {"a record too long",
         {{"m/data.pkl", TEXT(pickle)}, {"m/data/0", two_views, 25}},
         STATUS_DATA_LOSS,
         "25"},
        {"a record of one number more",
         {{"m/data.pkl", TEXT(pickle)}, {"m/data/0", two_views, 28}},
         STATUS_DATA_LOSS,
         "28"},
        {"big-endian",
         {{"m/data.pkl", TEXT(pickle)}, {"m/byteorder", "big", 3}, {"m/data/0", numbers, 24}},
         STATUS_UNIMPLEMENTED,
         "byte order"},
        {"a command", {{"m/data.pkl", TEXT(evil)}}, STATUS_PERMISSION_DENIED, "os.system"},
        {"a name twice",
         {{"m/data.pkl", TEXT(twice)}, {"m/data/0", numbers, 24}},
         STATUS_DATA_LOSS,
         "'a' stands twice"},
    };
    static struct zip_maker z;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        z = (struct zip_maker){0};
        for (const struct record *r = rows[i].records; r < rows[i].records + 4 && r->name; r++)
            zip_add(&z, r->name, r->data, r->bytes);
        zip_finish(&z);
        weights_t *into = weights_new();
        struct err err = {0};
        enum status st = read_and_seal(z.data, z.bytes, into, &err);
        TEST_STR_EQ(status_name(st), status_name(rows[i].want));
        TEST_HAS(err.text, rows[i].part);
        weights_destroy(&into);
    }
}

/* Many names for the same bytes: a small file that would be large in memory. */
static void test_amplification(void **state) {
    (void)state;
    TEST_ROW("amplification");
    enum { NAMES = 100 };
    static char pickle[NAMES * 256];
    static const char head[] = PK_PROTO "}" PK_KEY("a")
        PK_TENSOR(PK_STORAGE(PK_FLOATS, "M\x00\x08"), "K\0", "M\x00\x08\x85", "K\1\x85") "q\0s";
    size_t n = sizeof head - 1;
    memcpy(pickle, head, n);
    for (int i = 0; i < NAMES; i++) {
        char piece[] = "X\2\0\0\0..h\0s";
        piece[5] = (char)('0' + i / 10);
        piece[6] = (char)('0' + i % 10);
        memcpy(pickle + n, piece, sizeof piece - 1);
        n += sizeof piece - 1;
    }
    pickle[n++] = '.';
    static float zeros[2048];
    static struct zip_maker z;
    z = (struct zip_maker){0};
    zip_add(&z, "m/data.pkl", pickle, n);
    zip_add(&z, "m/data/0", zeros, sizeof zeros);
    zip_finish(&z);
    weights_t *into = weights_new();
    struct err err = {0};
    TEST_EQ(read_and_seal(z.data, z.bytes, into, &err), STATUS_RESOURCE_EXHAUSTED);
    TEST_HAS(err.text, "4 times");
    weights_destroy(&into);
}

static void test_other_files(void **state) {
    (void)state;
    static const struct {
        const char *name, *text;
        size_t bytes;
        enum status want;
    } rows[] = {
        {"empty", TEXT(""), STATUS_DATA_LOSS},
        {"an error page", TEXT("<!DOCTYPE html><html>"), STATUS_DATA_LOSS},
        {"before torch 1.6", TEXT("\x80\2\x8a\x0al\xfc\x9c"), STATUS_UNIMPLEMENTED},
        {"an empty zip", TEXT("PK\5\6\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), STATUS_DATA_LOSS},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        weights_t *into = weights_new();
        TEST_STR_EQ(status_name(read_and_seal(rows[i].text, rows[i].bytes, into, NULL)),
                    status_name(rows[i].want));
        weights_destroy(&into);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_archives),
        cmocka_unit_test(test_amplification),
        cmocka_unit_test(test_other_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
