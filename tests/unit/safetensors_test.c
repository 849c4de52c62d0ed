/* safetensors_test.c - headers written by hand, one mistake per row. */
#include "model/safetensors.h"

#include "base/limits.h"
#include "support/test.h"

/* [length][header][data_bytes zeros] in a buffer of exactly that size, so that ASan sees a byte
 * too far. */
static char *make(const char *header, size_t header_bytes, size_t data_bytes, size_t *bytes) {
    uint64_t n = header_bytes;
    *bytes = 8 + header_bytes + data_bytes;
    char *file = calloc(1, *bytes);
    TEST_TRUE(file != NULL);
    memcpy(file, &n, 8);
    memcpy(file + 8, header, header_bytes);
    return file;
}

static enum status read_and_seal(struct view file, weights_t *into, struct err *err) {
    enum status st = safetensors_read(file, into, err);
    return st == STATUS_OK ? weights_seal(into, err) : st;
}

#define A "\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}"
#define ENTRY(dtype, shape, offsets)                                                               \
    "{\"a\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static void test_headers(void **state) {
    (void)state;
    static const struct {
        const char *name, *header;
        size_t data_bytes;
        enum status want;
        const char *part; /* of the message */
        uint32_t n;       /* tensors */
    } rows[] = {
        {"one tensor", "{" A "}", 24, STATUS_OK, "", 1},
        {"no tensor", "{}", 0, STATUS_OK, "", 0},
        {"blanks everywhere",
         " { \"a\" :\t{ \"dtype\" : \"F32\" ,\"shape\":[ 2 , 3 ] ,\n"
         "\"data_offsets\" : [ 0 , 24 ] } } \r\n",
         24, STATUS_OK, "", 1},
        {"fields in another order",
         "{\"a\":{\"data_offsets\":[0,4],\"shape\":[1],\"dtype\":\"F32\"}}", 4, STATUS_OK, "", 1},
        {"metadata", "{\"__metadata__\":{\"format\":\"pt\",\"x\":\"\\u00e9\"}," A "}", 24,
         STATUS_OK, "", 1},
        {"scalar", ENTRY("F64", "[]", "[0,8]"), 8, STATUS_OK, "", 1},
        {"empty tensor", ENTRY("F32", "[0,5]", "[0,0]"), 0, STATUS_OK, "", 1},
        {"empty tensor of sizes that overflow",
         ENTRY("F32", "[18446744073709551615,18446744073709551615,0]", "[0,0]"), 0, STATUS_OK, "",
         1},
        {"a type of the future", ENTRY("F3_E1M1", "[7]", "[0,5]"), 5, STATUS_OK, "", 1},
        {"two tensors, the later one first",
         "{\"b\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[24,28]}," A "}", 28, STATUS_OK,
         "", 2},
        {"nothing", "", 0, STATUS_DATA_LOSS, "want '{'", 0},
        {"array", "[]", 0, STATUS_DATA_LOSS, "want '{'", 0},
        {"cut", "{" A, 24, STATUS_DATA_LOSS, "want '}'", 0},
        {"comma at the end", "{" A ",}", 24, STATUS_DATA_LOSS, "want '\"'", 0},
        {"something behind", "{" A "} {}", 24, STATUS_DATA_LOSS, "follows", 0},
        {"name twice", "{" A ",\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[24,24]}}",
         24, STATUS_DATA_LOSS, "'a' stands twice", 0},
        {"the same name with an escape",
         "{" A ",\"\\u0061\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[24,24]}}", 24,
         STATUS_DATA_LOSS, "'a' stands twice", 0},
        {"metadata twice", "{\"__metadata__\":{},\"__metadata__\":{}}", 0, STATUS_DATA_LOSS,
         "__metadata__", 0},
        {"metadata of numbers", "{\"__metadata__\":{\"a\":1}}", 0, STATUS_DATA_LOSS, "want '\"'",
         0},
        {"field twice", "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[0]}}", 0,
         STATUS_DATA_LOSS, "twice", 0},
        {"field missing", "{\"a\":{\"dtype\":\"F32\",\"shape\":[0]}}", 0, STATUS_DATA_LOSS, "lacks",
         0},
        {"field of another name", "{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"offset\":[0,0]}}", 0,
         STATUS_DATA_LOSS, "field other than", 0},
        {"a longer field name", "{\"a\":{\"data_offsets_and_more\":[0,0]}}", 0, STATUS_DATA_LOSS,
         "field other than", 0},
        {"offsets backwards", ENTRY("F32", "[0]", "[4,0]"), 4, STATUS_DATA_LOSS, "bytes 4 to 0", 0},
        {"offsets beyond", ENTRY("F32", "[2]", "[0,8]"), 4, STATUS_DATA_LOSS, "which has 4", 0},
        {"three offsets", ENTRY("F32", "[0]", "[0,0,0]"), 0, STATUS_DATA_LOSS, "want ']'", 0},
        {"offset with a fraction", ENTRY("F32", "[0]", "[0.0,0]"), 0, STATUS_DATA_LOSS, "want ','",
         0},
        {"offset with a sign", ENTRY("F32", "[0]", "[-0,0]"), 0, STATUS_DATA_LOSS, "not negative",
         0},
        {"offset with a zero in front", ENTRY("F32", "[0]", "[00,0]"), 0, STATUS_DATA_LOSS,
         "whole number", 0},
        {"offset 2^64", ENTRY("F32", "[0]", "[18446744073709551616,0]"), 0, STATUS_DATA_LOSS,
         "64 bits", 0},
        {"elements wrap to the right size", ENTRY("F32", "[4611686018427387905]", "[0,4]"), 4,
         STATUS_DATA_LOSS, "another number", 0},
        {"elements overflow", ENTRY("F32", "[4294967296,4294967296,2]", "[0,4]"), 4,
         STATUS_DATA_LOSS, "another number", 0},
        {"too small for its shape", ENTRY("F32", "[3]", "[0,8]"), 8, STATUS_DATA_LOSS,
         "another number", 0},
        {"nine dimensions", ENTRY("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4,
         STATUS_RESOURCE_EXHAUSTED, "dimensions", 0},
        {"rest", "{" A "}", 25, STATUS_DATA_LOSS, "which has 25", 0},
        {"gap in front", ENTRY("F32", "[1]", "[4,8]"), 8, STATUS_DATA_LOSS, "gap", 0},
        {"overlap", "{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[20,28]}}", 28,
         STATUS_DATA_LOSS, "overlap", 0},
        {"bytes that are not UTF-8", "{\"\xff\":{}}", 0, STATUS_DATA_LOSS, "UTF-8", 0},
        {"NUL in a name", "{\"\\u0000\":{}}", 0, STATUS_DATA_LOSS, "escape", 0},
        {"half a pair of surrogates", "{\"\\ud83d\":{}}", 0, STATUS_DATA_LOSS, "escape", 0},
        {"low surrogate alone", "{\"\\udc00\":{}}", 0, STATUS_DATA_LOSS, "escape", 0},
        {"no such escape", "{\"\\x\":{}}", 0, STATUS_DATA_LOSS, "escape", 0},
        {"ends in an escape", "{\"\\", 0, STATUS_DATA_LOSS, "escape", 0},
        {"line feed in a name", "{\"\n\":{}}", 0, STATUS_DATA_LOSS, "control", 0},
        {"name without end", "{\"abc", 0, STATUS_DATA_LOSS, "without end", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        size_t bytes;
        char *file = make(rows[i].header, strlen(rows[i].header), rows[i].data_bytes, &bytes);
        weights_t *into = weights_new();
        struct err err = {0};
        enum status st = read_and_seal(view_make(file, bytes), into, &err);
        TEST_STR_EQ(status_name(st), status_name(rows[i].want));
        TEST_HAS(err.text, rows[i].part);
        if (st == STATUS_OK)
            TEST_EQ(weights_count(into), rows[i].n);
        weights_destroy(&into);
        free(file);
    }
}

static void test_contents(void **state) {
    (void)state;
    static const char header[] = "{\"\\ud83d\\ude00/\\/\\n\":{\"dtype\":\"BF16\",\"shape\":[2,1,3],"
                                 "\"data_offsets\":[4,16]},"
                                 "\"i\":{\"dtype\":\"I32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
    size_t bytes;
    char *file = make(header, sizeof header - 1, 16, &bytes);
    weights_t *into = weights_new();
    TEST_ROW("contents");
    TEST_EQ(read_and_seal(view_make(file, bytes), into, NULL), STATUS_OK);
    const struct tensor *t = weights_find(into, "\xf0\x9f\x98\x80//\n");
    TEST_TRUE(t != NULL);
    TEST_EQ(t->type, WEIGHTS_BF16);
    TEST_EQ(t->rank, 3);
    TEST_EQ(t->shape[0], 2);
    TEST_EQ(t->shape[2], 3);
    TEST_EQ(t->stride[0], 3);
    TEST_EQ(t->stride[2], 1);
    TEST_EQ(t->bytes, 12);
    TEST_TRUE(t->dense);
    TEST_EQ((const char *)t->data - file, (long long)bytes - 12);
    TEST_EQ(weights_find(into, "i")->type, WEIGHTS_I32);
    weights_destroy(&into);
    free(file);
}

/* What stands in front of the header: its length, and nothing else is believed. */
static void test_lengths(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint64_t length;
        size_t bytes;
        enum status want;
    } rows[] = {
        {"empty file", 0, 0, STATUS_DATA_LOSS},
        {"seven bytes", 2, 7, STATUS_DATA_LOSS},
        {"no header", 0, 8, STATUS_DATA_LOSS},
        {"one byte short", 2, 9, STATUS_DATA_LOSS},
        {"length 2^64-1", UINT64_MAX, 10, STATUS_RESOURCE_EXHAUSTED},
        {"just beyond the limit", LIMIT_ST_HEADER_BYTES + 1, 10, STATUS_RESOURCE_EXHAUSTED},
        {"at the limit, but cut", LIMIT_ST_HEADER_BYTES, 10, STATUS_DATA_LOSS},
        {"fits", 2, 10, STATUS_OK},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        char whole[16] = {0};
        memcpy(whole, &rows[i].length, 8);
        memcpy(whole + 8, "{}", 2);
        char *file = malloc(rows[i].bytes + 1);
        TEST_TRUE(file != NULL);
        memcpy(file, whole, rows[i].bytes);
        weights_t *into = weights_new();
        enum status st = safetensors_read(view_make(file, rows[i].bytes), into, NULL);
        TEST_STR_EQ(status_name(st), status_name(rows[i].want));
        weights_destroy(&into);
        free(file);
    }
}

/* A header of many tensors, and one of the full 100 MB that is hostile: both end, soon and
 * small. */
static void test_limits(void **state) {
    (void)state;
    TEST_ROW("more tensors than the limit");
    size_t max = 64 * ((size_t)LIMIT_TENSORS + 1), n = 1, bytes;
    char *header = malloc(max);
    TEST_TRUE(header != NULL);
    header[0] = '{';
    for (int i = 0; i <= LIMIT_TENSORS; i++)
        n += (size_t)snprintf(header + n, max - n,
                              "%s\"%d\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}",
                              i ? "," : "", i);
    header[n++] = '}';
    char *file = make(header, n, 0, &bytes);
    weights_t *into = weights_new();
    struct err err = {0};
    TEST_EQ(safetensors_read(view_make(file, bytes), into, &err), STATUS_RESOURCE_EXHAUSTED);
    TEST_HAS(err.text, "65536 tensors");
    weights_destroy(&into);
    free(file);

    TEST_ROW("a name beyond the limit");
    n = (size_t)snprintf(header, max, "{\"%*s", LIMIT_TENSOR_NAME_BYTES + 1, "");
    n += (size_t)snprintf(header + n, max - n,
                          "\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}");
    file = make(header, n, 0, &bytes);
    into = weights_new();
    TEST_EQ(safetensors_read(view_make(file, bytes), into, &err), STATUS_RESOURCE_EXHAUSTED);
    weights_destroy(&into);
    free(file);
    free(header);

    TEST_ROW("100 MB of metadata");
    file = malloc(8 + (size_t)LIMIT_ST_HEADER_BYTES);
    TEST_TRUE(file != NULL);
    uint64_t length = LIMIT_ST_HEADER_BYTES;
    memcpy(file, &length, 8);
    memcpy(file + 8, "{\"__metadata__\":{", 17);
    for (size_t at = 25; at < 8 + length; at++)
        file[at] = "\"\":\"\","[(at - 25) % 6];
    into = weights_new();
    TEST_EQ(safetensors_read(view_make(file, 8 + length), into, &err), STATUS_DATA_LOSS);
    weights_destroy(&into);
    free(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_contents),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
