/* vector_test.c - finishing and encoding of vectors: every row can be checked by hand. */
#include "engine/vector.h"

#include "base/hash.h"
#include "support/test.h"

static void test_finish(void **state) {
    (void)state;
    /* Matryoshka of {1, 2, 3, 4}: mean 2.5, variance 1.25; (x - 2.5) / sqrt(1.25001). */
    static const struct {
        const char *name;
        float full[4];
        uint32_t dims;
        bool normalize;
        uint32_t want_n;
        float want[4];
    } rows[] = {
        {"as it is", {1, 2, 3, 4}, 0, false, 4, {1, 2, 3, 4}},
        {"length 1", {3, 0, 0, 4}, 0, true, 4, {0.6f, 0, 0, 0.8f}},
        {"zero stays zero", {0}, 0, true, 4, {0}},
        {"negative", {0, -2, 0, 0}, 0, true, 4, {0, -1, 0, 0}},
        {"cut", {1, 2, 3, 4}, 2, false, 2, {-1.34163542f, -0.44721181f}},
        {"cut to length 1", {1, 2, 3, 4}, 2, true, 2, {-0.9486833f, -0.3162278f}},
        {"all dimensions are normed too",
         {1, 2, 3, 4},
         4,
         false,
         4,
         {-1.34163542f, -0.44721181f, 0.44721181f, 1.34163542f}},
        {"a constant vector is its mean", {5, 5, 5, 5}, 3, true, 3, {0}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        float out[4] = {99, 99, 99, 99};
        vector_finish(rows[i].full, 4, rows[i].dims, rows[i].normalize, out);
        for (uint32_t j = 0; j < 4; j++)
            TEST_NEAR(out[j], j < rows[i].want_n ? rows[i].want[j] : 99, 1e-6);
    }
}

static void test_tiny_and_huge(void **state) {
    (void)state;
    /* Squares of these leave float's range; the length must not. */
    const float tiny[2] = {3e-30f, 4e-30f}, huge[2] = {3e30f, 4e30f};
    float out[2];
    vector_finish(tiny, 2, 0, true, out);
    TEST_NEAR(out[0], 0.6, 1e-6);
    vector_finish(huge, 2, 0, true, out);
    TEST_NEAR(out[1], 0.8, 1e-6);
}

static void test_half(void **state) {
    (void)state;
    static const struct {
        const char *name;
        float x;
        uint16_t want;
    } rows[] = {
        {"0", 0.0f, 0x0000},
        {"-0", -0.0f, 0x8000},
        {"1", 1.0f, 0x3c00},
        {"-2", -2.0f, 0xc000},
        {"a third", 1.0f / 3, 0x3555},
        {"largest", 65504.0f, 0x7bff},
        {"rounds down to the largest", 65519.0f, 0x7bff},
        {"rounds up to infinity", 65520.0f, 0x7c00},
        {"beyond", 1e30f, 0x7c00},
        {"infinity", -INFINITY, 0xfc00},
        {"smallest normal", 0x1p-14f, 0x0400},
        {"largest subnormal", 0x3ffp-24f, 0x03ff},
        {"subnormal carries into normal", 0x7ffp-25f, 0x0400},
        {"smallest subnormal", 0x1p-24f, 0x0001},
        {"half of it: to even, 0", 0x1p-25f, 0x0000},
        {"a little more than half", 0x1.000002p-25f, 0x0001},
        {"one and a half: to even, 2", 0x3p-25f, 0x0002},
        {"far below", -1e-20f, 0x8000},
        {"tie to even, down", 1.0f + 0x1p-11f, 0x3c00},
        {"tie to even, up", 1.0f + 0x3p-11f, 0x3c02},
        {"above the tie", 1.0f + 0x1.002p-11f, 0x3c01},
        {"rounding carries into the exponent", 0x1.fffffep0f, 0x4000},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        uint16_t half;
        uint8_t bytes[2];
        vector_encode(&rows[i].x, 1, VECTOR_F16, bytes);
        memcpy(&half, bytes, 2);
        TEST_EQ(half, rows[i].want);
    }
}

static void test_half_round_trip(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) { /* every half is a float; back it must be itself */
        uint8_t in[2] = {(uint8_t)h, (uint8_t)(h >> 8)}, out[2];
        float x;
        vector_decode(in, 1, VECTOR_F16, &x);
        if (isnan(x)) {
            TEST_TRUE((h & 0x7fff) > 0x7c00);
            continue;
        }
        vector_encode(&x, 1, VECTOR_F16, out);
        if (memcmp(in, out, 2) != 0)
            TEST_FAIL("half %04x reads as %a and becomes %02x%02x", h, (double)x, out[1], out[0]);
    }
    uint64_t seed = 7;
    for (int i = 0; i < 100000; i++) { /* nearest: no other half is closer */
        float x = ((float)hash_below(&seed, 1 << 20) - 524288) / 300000, back;
        uint8_t row[2];
        vector_encode(&x, 1, VECTOR_F16, row);
        vector_decode(row, 1, VECTOR_F16, &back);
        TEST_TRUE(fabsf(back - x) <= fmaxf(fabsf(x) * 0x1p-11f, 0x1p-25f));
    }
}

static void test_i8(void **state) {
    (void)state;
    const float x[5] = {1.0f, -1.0f, 0.5f, -0.25f, 0.0f};
    static const int8_t want[5] = {127, -127, 64, -32, 0}; /* 63.5 to even, -31.75 */
    uint8_t row[9];
    TEST_EQ(vector_row_bytes(VECTOR_I8, 5), 9);
    vector_encode(x, 5, VECTOR_I8, row);
    float scale, back[5];
    memcpy(&scale, row, 4);
    TEST_NEAR(scale, 1.0 / 127, 1e-9);
    TEST_MEM_EQ(row + 4, want, 5);
    vector_decode(row, 5, VECTOR_I8, back);
    for (int i = 0; i < 5; i++)
        TEST_NEAR(back[i], x[i], 0.5 / 127 + 1e-7);
    const float zero[3] = {0}, tiny[2] = {1e-39f, -1e-39f};
    vector_encode(zero, 3, VECTOR_I8, row);
    vector_decode(row, 3, VECTOR_I8, back);
    TEST_NEAR(back[0], 0, 0);
    vector_encode(tiny, 2, VECTOR_I8, row); /* 127 / 1e-39 is no float */
    TEST_EQ((int8_t)row[4], 127);
    TEST_EQ((int8_t)row[5], -127);
}

static void test_bits(void **state) {
    (void)state;
    const float x[10] = {1, -1, 0, 2, -0.0f, 1, 1, 1, -1, 3};
    uint8_t row[2] = {0xff, 0xff};
    TEST_EQ(vector_row_bytes(VECTOR_BIT, 10), 2);
    TEST_EQ(vector_row_bytes(VECTOR_BIT, 8), 1);
    TEST_EQ(vector_row_bytes(VECTOR_BIT, 0), 0);
    vector_encode(x, 10, VECTOR_BIT, row);
    TEST_EQ(row[0], 0x97); /* 1001 0111 */
    TEST_EQ(row[1], 0x40); /* 01, filled with zeros */
    float back[10];
    vector_decode(row, 10, VECTOR_BIT, back);
    for (int i = 0; i < 10; i++)
        TEST_NEAR(back[i], x[i] > 0 ? 1 : -1, 0);
}

static void test_f32(void **state) {
    (void)state;
    const float x[3] = {1.5f, -0.0f, 3e-40f};
    uint8_t row[13];
    float back[3];
    TEST_EQ(vector_row_bytes(VECTOR_F32, 3), 12);
    TEST_EQ(vector_row_bytes(VECTOR_F16, 3), 6);
    vector_encode(x, 3, VECTOR_F32, row + 1); /* an odd address is fine */
    static const uint8_t one_and_a_half[4] = {0, 0, 0xc0, 0x3f};
    TEST_MEM_EQ(row + 1, one_and_a_half, 4);
    vector_decode(row + 1, 3, VECTOR_F32, back);
    TEST_MEM_EQ(back, x, sizeof x);
}

static void test_cosine(void **state) {
    (void)state;
    const float a[3] = {1, 0, 0}, b[3] = {0, 2, 0}, c[3] = {-3, 0, 0}, zero[3] = {0};
    TEST_NEAR(vector_cosine(a, a, 3), 1, 0);
    TEST_NEAR(vector_cosine(a, b, 3), 0, 0);
    TEST_NEAR(vector_cosine(a, c, 3), -1, 0);
    TEST_NEAR(vector_cosine(a, zero, 3), 0, 0);
    TEST_NEAR(vector_cosine(zero, zero, 0), 0, 0);
    uint64_t seed = 3;
    for (uint32_t n = 1; n <= 70; n++) { /* whole lanes, remainders, both; against double */
        float x[70], y[70];
        double xy = 0, xx = 0, yy = 0;
        for (uint32_t i = 0; i < n; i++) {
            x[i] = (float)hash_below(&seed, 2001) / 1000 - 1;
            y[i] = (float)hash_below(&seed, 2001) / 1000 - 1;
            xy += (double)x[i] * (double)y[i];
            xx += (double)x[i] * (double)x[i];
            yy += (double)y[i] * (double)y[i];
        }
        TEST_NEAR(vector_cosine(x, y, n), xy / sqrt(xx * yy), 2e-6);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finish), cmocka_unit_test(test_tiny_and_huge),
        cmocka_unit_test(test_half),   cmocka_unit_test(test_half_round_trip),
        cmocka_unit_test(test_i8),     cmocka_unit_test(test_bits),
        cmocka_unit_test(test_f32),    cmocka_unit_test(test_cosine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
