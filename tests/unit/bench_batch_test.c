/* bench_batch_test.c - operations counted by hand, and which floor holds. */
#include "bench_batch.h"

#include "support/test.h"

static const struct model_shape small = {
    .layers = 2, .hidden = 8, .heads = 2, .inner = 32, .vocab_rows = 100, .positions = 512};

static void test_batch(void **state) {
    (void)state;
    static const uint32_t lengths[] = {3, 1, 2};
    struct bench_batch batch;
    TEST_EQ(bench_batch_make(&small, lengths, 3, &batch, NULL), STATUS_OK);
    TEST_EQ(batch.texts, 3);
    TEST_EQ(batch.tokens, 6);
    static const uint32_t start[] = {0, 3, 4, 6};
    TEST_MEM_EQ(batch.start, start, sizeof start);
    TEST_EQ(batch.ids[0], 0);
    TEST_EQ(batch.ids[1], 2654435761u % 100);
    TEST_EQ(batch.ids[2], 1013904226u % 100); /* twice that, modulo 2^32 */
    for (uint32_t i = 0; i < 6; i++)
        TEST_EQ(batch.types[i], 0);

    /* a layer has 4 * 64 + 2 * 8 * 32 = 768 numbers; 2 layers, 6 tokens, 2 operations each */
    struct bench_flops flops = bench_flops(&small, &batch);
    TEST_NEAR(flops.products, 2 * 6 * 2 * 768, 0);
    /* scores and weighted sums: 4 * 8 operations for each of 9 + 1 + 4 pairs of tokens */
    TEST_NEAR(flops.attention, 2 * 4 * 8 * 14, 0);
    struct model_shape gated = small;
    gated.gated = true;
    TEST_NEAR(bench_flops(&gated, &batch).products, 2 * 6 * 2 * (256 + 768), 0);
    bench_batch_done(&batch);
    bench_batch_done(&batch); /* twice is fine */
}

static void test_mixed(void **state) {
    (void)state;
    uint32_t lengths[BENCH_MIXED_TEXTS], sum = 0;
    bench_mixed_lengths(lengths);
    for (uint32_t i = 0; i < BENCH_MIXED_TEXTS; i++) {
        TEST_TRUE(lengths[i] >= 4 && lengths[i] <= 128);
        if (i % 32 == 0)
            TEST_EQ(lengths[i], 128);
        sum += lengths[i];
    }
    TEST_EQ(sum, BENCH_MIXED_TOKENS);
}

static void test_floor(void **state) {
    (void)state;
    static const uint32_t length = 4;
    struct bench_batch batch;
    TEST_EQ(bench_batch_make(&small, &length, 1, &batch, NULL), STATUS_OK);
    /* products 2 * 4 * 2 * 768 = 12288, attention 2 * 4 * 8 * 16 = 1024; weights: 2 * 768
     * numbers */
    static const struct {
        const char *name;
        enum gemm_precision precision;
        double f32, products, read, near, want;
    } rows[] = {
        {"arithmetic", GEMM_F32, 2, 2, 1e9, 0, (12288 + 1024) / 2.0},
        {"attention at its own peak", GEMM_I8, 2, 8, 1e9, 0, 12288 / 8.0 + 1024 / 2.0},
        {"half of float32", GEMM_BF16, 2, 2, 1e9, 0, (12288 + 1024) / 4.0},
        {"weights from memory", GEMM_F32, 1e6, 1e6, 2, 3000, 4 * 1536 / 2.0},
        {"a quarter of them", GEMM_I8, 1e6, 1e6, 2, 700, 1536 / 2.0},
        {"weights near enough", GEMM_F32, 1e6, 1e6, 2, 3072, (12288 + 1024) / 1e6},
        {"memory is not known", GEMM_F32, 2, 2, 0, 0, (12288 + 1024) / 2.0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        const struct bench_floor floor = {.f32_gflops = rows[i].f32,
                                          .products_gflops = rows[i].products,
                                          .read = rows[i].read,
                                          .near_bytes = rows[i].near};
        TEST_NEAR(bench_floor_ns(&floor, rows[i].precision, &small, &batch), rows[i].want, 1e-9);
    }
    const struct bench_floor unknown = {.read = 1};
    TEST_TRUE(isnan(bench_floor_ns(&unknown, GEMM_F32, &small, &batch)));
    bench_batch_done(&batch);
}

/* Registers are not slower than a loop of plain multiply-adds can be, nor faster than any CPU. */
static void test_peaks(void **state) {
    (void)state;
    static const enum gemm_precision all[] = {GEMM_F32, GEMM_BF16, GEMM_I8};
    for (size_t i = 0; i < 3; i++) {
        TEST_ROW(gemm_precision_name(all[i]));
        const struct peak_loop loop = peak_loop_of(all[i]);
        const double gflops = peak_of(&loop);
        if (loop.run)
            TEST_TRUE(gflops > 0.5 && gflops < 1e5);
        else
            TEST_NEAR(gflops, 0, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batch),
        cmocka_unit_test(test_mixed),
        cmocka_unit_test(test_floor),
        cmocka_unit_test(test_peaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
