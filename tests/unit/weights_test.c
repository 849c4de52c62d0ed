/* weights_test.c - widening of every 16-bit number there is, views with strides, and indexes of
 * shards. */
#include "model/weights.h"

#include "base/limits.h"
#include "support/golden.h"

static weights_t *table; /* what a test adds its tensors to */

static int open_table(void **state) {
    (void)state;
    table = weights_new();
    return table ? 0 : -1;
}

static int close_table(void **state) {
    (void)state;
    weights_destroy(&table);
    return 0;
}

static void add(const char *name, enum weights_type type, const void *data, uint64_t rows,
                uint64_t cols) {
    struct tensor t = {.type = type, .rank = 2, .shape = {rows, cols}, .data = data};
    t.bytes = (size_t)(rows * cols) * weights_type_bytes(type);
    weights_set_dense(&t);
    TEST_EQ(weights_add(table, view_of(name), &t, NULL), STATUS_OK);
}

/* The value of a 16-bit float, from its definition: sign, exponent, fraction. */
static double half_value(uint32_t h, int exponent_bits) {
    int fraction_bits = 15 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
    int exponent = (int)(h >> fraction_bits & ((1u << exponent_bits) - 1));
    double fraction = (double)(h & ((1u << fraction_bits) - 1)) / (double)(1u << fraction_bits);
    double x = exponent ? ldexp(1 + fraction, exponent - bias) : ldexp(fraction, 1 - bias);
    return h & 0x8000 ? -x : x;
}

static void check_all_halves(enum weights_type type, int exponent_bits) {
    static uint16_t halves[65536];
    static float out[65536];
    uint32_t n = 0, top = ((1u << exponent_bits) - 1) << (15 - exponent_bits);
    for (uint32_t h = 0; h < 65536; h++)
        if ((h & top) != top)
            halves[n++] = (uint16_t)h;
    add("all", type, halves, 1, n);
    TEST_EQ(weights_seal(table, NULL), STATUS_OK);
    TEST_EQ(weights_read(table, "all", 1, n, out, NULL), STATUS_OK);
    for (uint32_t i = 0; i < n; i++) {
        double want = half_value(halves[i], exponent_bits);
        if ((double)out[i] != want || !!signbit(out[i]) != (halves[i] >> 15))
            TEST_FAIL("0x%04x: %.9g, want %.9g", halves[i], (double)out[i], want);
    }
}

static void test_all_f16(void **state) {
    (void)state;
    TEST_ROW("f16");
    check_all_halves(WEIGHTS_F16, 5);
}

static void test_all_bf16(void **state) {
    (void)state;
    TEST_ROW("bf16");
    check_all_halves(WEIGHTS_BF16, 8);
}

static void test_f32_and_f64(void **state) {
    (void)state;
    TEST_ROW("unaligned");
    float f32[3] = {1.5f, -0x1p-149f, 3.25e38f}, out[3];
    double f64[3] = {0.1, -1e300 * 0, 1e-60};
    char data[64];
    memcpy(data + 1, f32, sizeof f32);
    memcpy(data + 17, f64, sizeof f64);
    add("f32", WEIGHTS_F32, data + 1, 3, 1);
    add("f64", WEIGHTS_F64, data + 17, 1, 3);
    TEST_EQ(weights_seal(table, NULL), STATUS_OK);
    TEST_EQ(weights_read(table, "f32", 3, 1, out, NULL), STATUS_OK);
    TEST_MEM_EQ(out, f32, sizeof f32);
    TEST_EQ(weights_read(table, "f64", 1, 3, out, NULL), STATUS_OK);
    TEST_TRUE(out[0] == 0.1f && out[1] == 0 && out[2] == 0);
}

static void test_not_finite(void **state) {
    (void)state;
    static const float nan_in_front[] = {NAN, 1, 1, 1, 1, 1, 1, 1, 1};
    static const float inf_behind[] = {1, 1, 1, 1, 1, 1, 1, 1, -INFINITY};
    static const uint16_t f16_nan[] = {0, 0, 0x7c01}, f16_inf[] = {0, 0xfc00, 0};
    static const uint16_t bf16_nan[] = {0x7fc0, 0, 0}, bf16_inf[] = {0, 0, 0xff80};
    static const double beyond[] = {0, 1e39, 0}, f64_nan[] = {0, 0, NAN};
    static const struct {
        const char *name;
        enum weights_type type;
        const void *data;
        uint64_t n;
    } rows[] = {
        {"f32 nan", WEIGHTS_F32, nan_in_front, 9}, {"f32 inf", WEIGHTS_F32, inf_behind, 9},
        {"f16 nan", WEIGHTS_F16, f16_nan, 3},      {"f16 inf", WEIGHTS_F16, f16_inf, 3},
        {"bf16 nan", WEIGHTS_BF16, bf16_nan, 3},   {"bf16 inf", WEIGHTS_BF16, bf16_inf, 3},
        {"f64 nan", WEIGHTS_F64, f64_nan, 3},      {"f64 beyond float32", WEIGHTS_F64, beyond, 3},
    };
    enum { ROWS = sizeof rows / sizeof *rows };
    for (size_t i = 0; i < ROWS; i++)
        add(rows[i].name, rows[i].type, rows[i].data, 1, rows[i].n);
    TEST_EQ(weights_seal(table, NULL), STATUS_OK);
    for (size_t i = 0; i < ROWS; i++) {
        TEST_ROW(rows[i].name);
        float out[9];
        struct err err = {0};
        TEST_EQ(weights_read(table, rows[i].name, 1, rows[i].n, out, &err), STATUS_DATA_LOSS);
        TEST_HAS(err.text, rows[i].name);
        TEST_EQ(weights_read(table, rows[i].name, 1, rows[i].n, NULL, NULL), STATUS_OK);
    }
}

static void test_shapes(void **state) {
    (void)state;
    static const float data[6];
    struct tensor t = {.type = WEIGHTS_F32, .rank = 1, .shape = {6}, .data = data, .bytes = 24};
    weights_set_dense(&t);
    TEST_EQ(weights_add(table, view_of("line"), &t, NULL), STATUS_OK);
    t.rank = 0;
    t.bytes = 4;
    TEST_EQ(weights_add(table, view_of("scalar"), &t, NULL), STATUS_OK);
    add("matrix", WEIGHTS_F32, data, 2, 3);
    add("whole", WEIGHTS_I64, data, 1, 3);
    add("strange", WEIGHTS_OTHER, data, 1, 3);
    TEST_EQ(weights_seal(table, NULL), STATUS_OK);
    static const struct {
        const char *name, *tensor;
        uint64_t rows, cols;
        enum status want;
    } rows[] = {
        {"a matrix", "matrix", 2, 3, STATUS_OK},
        {"transposed", "matrix", 3, 2, STATUS_DATA_LOSS},
        {"flat", "matrix", 1, 6, STATUS_DATA_LOSS},
        {"a line", "line", 1, 6, STATUS_OK},
        {"a line as a column", "line", 6, 1, STATUS_DATA_LOSS},
        {"a line, shorter", "line", 1, 5, STATUS_DATA_LOSS},
        {"a scalar", "scalar", 1, 1, STATUS_DATA_LOSS},
        {"absent", "matri", 2, 3, STATUS_NOT_FOUND},
        {"whole numbers", "whole", 1, 3, STATUS_UNIMPLEMENTED},
        {"another type", "strange", 1, 3, STATUS_UNIMPLEMENTED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        float out[6];
        struct err err = {0};
        enum status st = weights_read(table, rows[i].tensor, rows[i].rows, rows[i].cols, out, &err);
        TEST_STR_EQ(status_name(st), status_name(rows[i].want));
        if (st != STATUS_OK)
            TEST_HAS(err.text, rows[i].tensor);
        TEST_EQ(weights_read(table, rows[i].tensor, rows[i].rows, rows[i].cols, NULL, NULL), st);
    }
}

static void test_strides(void **state) {
    (void)state;
    static const float data[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    static const uint16_t ones_and_twos[] = {0x3c00, 0x4000, 0x3c00, 0x4000};
    static const struct {
        const char *name;
        uint64_t shape[2], stride[2];
        float want[6];
    } rows[] = {
        {"transposed", {3, 2}, {1, 6}, {0, 6, 1, 7, 2, 8}},
        {"every second column", {2, 3}, {6, 2}, {0, 2, 4, 6, 8, 10}},
        {"one row for all", {2, 3}, {0, 1}, {0, 1, 2, 0, 1, 2}},
        {"dense in other words", {2, 3}, {3, 1}, {0, 1, 2, 3, 4, 5}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tensor t = {.type = WEIGHTS_F32,
                           .rank = 2,
                           .shape = {rows[i].shape[0], rows[i].shape[1]},
                           .stride = {rows[i].stride[0], rows[i].stride[1]},
                           .data = data,
                           .bytes = sizeof data};
        TEST_EQ(weights_add(table, view_of(rows[i].name), &t, NULL), STATUS_OK);
    }
    struct tensor half = {.type = WEIGHTS_F16, .rank = 1, .shape = {2}, .stride = {2}};
    half.data = ones_and_twos + 1;
    half.bytes = 6;
    TEST_EQ(weights_add(table, view_of("halves"), &half, NULL), STATUS_OK);
    TEST_EQ(weights_seal(table, NULL), STATUS_OK);
    float out[6];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        TEST_EQ(weights_read(table, rows[i].name, rows[i].shape[0], rows[i].shape[1], out, NULL),
                STATUS_OK);
        for (int k = 0; k < 6; k++)
            TEST_NEAR(out[k], rows[i].want[k], 0);
    }
    TEST_ROW("halves");
    TEST_EQ(weights_read(table, "halves", 1, 2, out, NULL), STATUS_OK);
    TEST_TRUE(out[0] == 2 && out[1] == 2);
}

static void test_table(void **state) {
    (void)state;
    TEST_ROW("order and duplicates");
    static const float data[1];
    char name[32];
    for (int i = 0; i < 1000; i++) { /* 0, 501, 2, 503 ...: each number once, not in order */
        snprintf(name, sizeof name, "t%03d", i % 2 ? (i + 500) % 1000 : i);
        add(name, WEIGHTS_F32, data, 1, 1);
    }
    TEST_EQ(weights_seal(table, NULL), STATUS_OK);
    TEST_EQ(weights_count(table), 1000);
    for (uint32_t i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "t%03u", i);
        TEST_STR_EQ(weights_at(table, i)->name, name);
        TEST_TRUE(weights_find(table, name) == weights_at(table, i));
    }
    TEST_TRUE(weights_find(table, "t1000") == NULL);
    TEST_TRUE(weights_find(table, "") == NULL);
    add("t500", WEIGHTS_F32, data, 1, 1);
    struct err err = {0};
    TEST_EQ(weights_seal(table, &err), STATUS_DATA_LOSS);
    TEST_HAS(err.text, "'t500' stands twice");
    char longer[LIMIT_TENSOR_NAME_BYTES + 1];
    memset(longer, 'x', sizeof longer);
    struct tensor t = {0};
    TEST_EQ(weights_add(table, view_make(longer, sizeof longer), &t, NULL),
            STATUS_RESOURCE_EXHAUSTED);
    TEST_EQ(weights_add(table, view_make(longer, sizeof longer - 1), &t, NULL), STATUS_OK);
}

/* A safetensors file of one number called `tensor`. */
static void write_one(const struct golden_dir *dir, const char *file, const char *tensor, float x) {
    char bytes[256];
    uint64_t n = (uint64_t)snprintf(
        bytes + 8, sizeof bytes - 8,
        "{\"%s\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", tensor);
    memcpy(bytes, &n, 8);
    memcpy(bytes + 8 + n, &x, 4);
    golden_write(dir, file, bytes, 8 + n + 4);
}

static void test_index(void **state) {
    (void)state;
    static const struct {
        const char *name, *index;
        enum status want;
        const char *part;
    } rows[] = {
        {"two files", "{\"weight_map\":{\"a\":\"one\",\"b\":\"two\"}}", STATUS_OK, ""},
        {"a file of which the map says less", "{\"weight_map\":{\"a\":\"one\"}}", STATUS_OK, ""},
        {"in the other file", "{\"weight_map\":{\"a\":\"two\",\"b\":\"one\"}}", STATUS_DATA_LOSS,
         "tensor 'b' is not in 'one'"},
        {"in no file", "{\"weight_map\":{\"c\":\"one\"}}", STATUS_DATA_LOSS,
         "tensor 'c' is not in 'one'"},
        {"in two files", "{\"weight_map\":{\"a\":\"one\",\"x\":\"again\"}}", STATUS_DATA_LOSS,
         "'a' stands twice"},
        {"no such file", "{\"weight_map\":{\"a\":\"three\"}}", STATUS_NOT_FOUND, "three"},
        {"a folder above", "{\"weight_map\":{\"a\":\"../one\"}}", STATUS_PERMISSION_DENIED,
         "../one"},
        {"this folder", "{\"weight_map\":{\"a\":\".\"}}", STATUS_PERMISSION_DENIED, "inside"},
        {"an absolute path", "{\"weight_map\":{\"a\":\"/etc/passwd\"}}", STATUS_PERMISSION_DENIED,
         "/etc/passwd"},
        {"an empty name", "{\"weight_map\":{\"a\":\"\"}}", STATUS_PERMISSION_DENIED, "inside"},
        {"a number", "{\"weight_map\":{\"a\":1}}", STATUS_DATA_LOSS, "no text"},
        {"a list", "{\"weight_map\":[\"one\"]}", STATUS_DATA_LOSS, "weight_map"},
        {"an empty map", "{\"weight_map\":{}}", STATUS_DATA_LOSS, "weight_map"},
        {"not JSON", "{", STATUS_DATA_LOSS, "index.json"},
    };
    struct golden_dir dir;
    golden_make(&dir);
    write_one(&dir, "one", "a", 1);
    write_one(&dir, "two", "b", 2);
    write_one(&dir, "again", "a", 3);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        golden_write(&dir, "model.safetensors.index.json", rows[i].index, strlen(rows[i].index));
        weights_t *weights = NULL;
        struct err err = {0};
        enum status st = weights_open(dir.path, &weights, &err);
        TEST_STR_EQ(status_name(st), status_name(rows[i].want));
        TEST_HAS(err.text, rows[i].part);
        if (st != STATUS_OK)
            TEST_HAS(err.text, dir.path);
        float a;
        if (st == STATUS_OK) {
            TEST_EQ(weights_read(weights, "a", 1, 1, &a, NULL), STATUS_OK);
            TEST_NEAR(a, 1, 0);
            TEST_STR_EQ(weights_file_name(weights, 0), "model.safetensors.index.json");
            TEST_EQ(weights_file_bytes(weights, 0).bytes, strlen(rows[i].index));
            TEST_EQ(weights_files(weights), weights_count(weights) + 1);
        }
        weights_destroy(&weights);
    }
    golden_remove(&dir);
}

/* The first form that is there is taken. */
static void test_choice(void **state) {
    (void)state;
    TEST_ROW("choice");
    struct golden_dir dir;
    golden_make(&dir);
    weights_t *weights = NULL;
    struct err err = {0};
    TEST_EQ(weights_open(dir.path, &weights, &err), STATUS_NOT_FOUND);
    TEST_HAS(err.text, dir.path);
    golden_write(&dir, "pytorch_model.bin", "", 0);
    TEST_EQ(weights_open(dir.path, &weights, &err), STATUS_DATA_LOSS);
    TEST_HAS(err.text, "pytorch_model.bin");
    write_one(&dir, "model.safetensors", "a", 1);
    TEST_EQ(weights_open(dir.path, &weights, &err), STATUS_OK);
    TEST_EQ(weights_files(weights), 1);
    struct err missing = {0};
    TEST_EQ(weights_read(weights, "b", 1, 1, NULL, &missing), STATUS_NOT_FOUND);
    TEST_HAS(missing.text, "model.safetensors");
    weights_destroy(&weights);
    golden_remove(&dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all_f16, open_table, close_table),
        cmocka_unit_test_setup_teardown(test_all_bf16, open_table, close_table),
        cmocka_unit_test_setup_teardown(test_f32_and_f64, open_table, close_table),
        cmocka_unit_test_setup_teardown(test_not_finite, open_table, close_table),
        cmocka_unit_test_setup_teardown(test_shapes, open_table, close_table),
        cmocka_unit_test_setup_teardown(test_strides, open_table, close_table),
        cmocka_unit_test_setup_teardown(test_table, open_table, close_table),
        cmocka_unit_test(test_index),
        cmocka_unit_test(test_choice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
