/* gemm_test.c - every kernel that this CPU can run, against sums in double precision.
 *
 * A, W and packed weights end at a page that may not be touched, rows lie further apart than they
 * are wide, and what lies between the rows of C must stay as it was. */
#include "model/gemm.h"

#include "support/guarded.h"

static double act_of(double x, enum kernel_act act) {
    switch (act) {
    case KERNEL_ACT_GELU:
        return 0.5 * x * (1.0 + erf(x / sqrt(2.0)));
    case KERNEL_ACT_GELU_NEW:
        return 0.5 * x * (1.0 + tanh(sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
    case KERNEL_ACT_RELU:
        return x > 0 ? x : 0;
    case KERNEL_ACT_SILU:
        return x / (1.0 + exp(-x));
    case KERNEL_ACT_NONE:
        break;
    }
    return x;
}

struct problem {
    uint32_t m, n, k;
    enum kernel_act act;
    bool bias, residual, in_place; /* in_place: the residual is C itself */
};

struct data {
    struct guarded a_mem, w_mem, bias_mem, packed_mem, c_mem, residual_mem;
    float *a, *w, *bias, *c, *residual;
    size_t lda, ldc, ldr;
};

static const float untouched = -77.0f;

static struct data data_make(const struct problem *p, const struct gemm_kernel *kernel) {
    struct data d = {.lda = p->k + 3, .ldc = p->n + 5, .ldr = p->n + 2};
    d.a = guarded_floats(&d.a_mem, (p->m - 1) * d.lda + p->k);
    d.w = guarded_floats(&d.w_mem, (size_t)p->n * p->k);
    d.bias = guarded_floats(&d.bias_mem, p->n);
    d.c = guarded_floats(&d.c_mem, (p->m - 1) * d.ldc + p->n);
    d.residual = guarded_floats(&d.residual_mem, (p->m - 1) * d.ldr + p->n);
    d.packed_mem = guarded_make(kernel->packed_bytes(p->n, p->k), GEMM_ALIGN);
    random_floats(d.a, (p->m - 1) * d.lda + p->k, 1.0f, p->m);
    random_floats(d.w, (size_t)p->n * p->k, 0.3f, p->n);
    random_floats(d.bias, p->n, 1.0f, p->k);
    random_floats(d.residual, (p->m - 1) * d.ldr + p->n, 1.0f, 5);
    for (size_t i = 0; i < (p->m - 1) * d.ldc + p->n; i++)
        d.c[i] = untouched;
    if (p->in_place)
        for (size_t i = 0; i < p->m; i++)
            memcpy(d.c + i * d.ldc, d.residual + i * d.ldr, p->n * sizeof(float));
    return d;
}

static void data_done(struct data *d) {
    guarded_done(&d->a_mem);
    guarded_done(&d->w_mem);
    guarded_done(&d->bias_mem);
    guarded_done(&d->packed_mem);
    guarded_done(&d->c_mem);
    guarded_done(&d->residual_mem);
}

/* Rounding of a float32 sum of k terms grows like sqrt(k) times the size of the terms when errors
 * are independent; 2 sqrt(k) + 8 units leaves room for any order of adding. An activation changes
 * its argument's error by a factor below 1.2 and adds at most 1e-6 of its own. */
static void data_check(const struct data *d, const struct problem *p, const char *name) {
    const double unit = 6e-8 * (2.0 * sqrt((double)p->k) + 8.0);
    for (uint32_t i = 0; i < p->m; i++) {
        for (uint32_t j = 0; j < p->n; j++) {
            double sum = p->bias ? (double)d->bias[j] : 0.0, size = fabs(sum) + 1.0;
            for (uint32_t k = 0; k < p->k; k++) {
                const double x = (double)d->a[i * d->lda + k] * (double)d->w[(size_t)j * p->k + k];
                sum += x;
                size += fabs(x);
            }
            double want = act_of(sum, p->act);
            if (p->residual)
                want += (double)d->residual[i * d->ldr + j];
            const double got = (double)d->c[i * d->ldc + j];
            if (!(fabs(got - want) <= 1.2 * unit * size + 1e-6))
                TEST_FAIL(
                    "%s m %u n %u k %u act %d bias %d residual %d: C[%u, %u] = %.9g, want %.9g",
                    name, p->m, p->n, p->k, (int)p->act, p->bias, p->residual, i, j, got, want);
        }
        for (size_t j = p->n; j < d->ldc && i + 1 < p->m; j++)
            TEST_NEAR(d->c[i * d->ldc + j], untouched, 0);
    }
}

static void solve(const struct problem *p, const struct gemm_kernel *kernel) {
    struct data d = data_make(p, kernel);
    kernel->pack(d.w, p->bias ? d.bias : NULL, p->n, p->k, d.packed_mem.data);
    struct gemm_weights weights = {kernel, p->n, p->k, d.packed_mem.data};
    void *scratch = NULL;
    if (kernel->scratch_bytes(p->k, p->m)) {
        scratch = aligned_alloc(GEMM_ALIGN, (kernel->scratch_bytes(p->k, p->m) + 63) / 64 * 64);
        TEST_TRUE(scratch);
    }
    const float *residual = p->in_place ? d.c : d.residual;
    gemm_run(&weights, &(struct gemm_call){.a = d.a,
                                           .lda = d.lda,
                                           .m = p->m,
                                           .c = d.c,
                                           .ldc = d.ldc,
                                           .act = p->act,
                                           .residual = p->residual ? residual : NULL,
                                           .ld_residual = p->in_place ? d.ldc : d.ldr,
                                           .scratch = scratch});
    data_check(&d, p, kernel->name);
    free(scratch);
    data_done(&d);
}

static void solve_all(const struct problem *p) {
    for (const struct gemm_kernel *const *kernel = gemm_list(GEMM_F32); *kernel; kernel++)
        if ((*kernel)->usable())
            solve(p, *kernel);
}

/* Every number of rows up to several tiles, against widths around the vectors and panels of all
 * instruction sets. */
static void test_rows(void **state) {
    (void)state;
    static const uint32_t widths[] = {1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 47, 48, 49, 60, 96, 97};
    for (uint32_t m = 1; m <= 40; m++)
        for (size_t i = m % 3; i < sizeof widths / sizeof *widths; i += 3)
            solve_all(&(struct problem){.m = m, .n = widths[i], .k = 29 + m % 7, .bias = true});
}

static void test_depths(void **state) {
    (void)state;
    static const uint32_t depths[] = {1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 60, 150, 255, 384, 1000};
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++)
        solve_all(&(struct problem){.m = 9, .n = 21, .k = depths[i], .bias = true});
}

static void test_epilogues(void **state) {
    (void)state;
    static const enum kernel_act acts[] = {KERNEL_ACT_NONE, KERNEL_ACT_GELU, KERNEL_ACT_GELU_NEW,
                                           KERNEL_ACT_RELU, KERNEL_ACT_SILU};
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++)
        for (uint32_t form = 0; form < 8; form++) {
            struct problem p = {.m = 13, .n = 53, .k = 40, .act = acts[i], .bias = form & 1};
            p.residual = form & 2;
            p.in_place = (form & 6) == 6 && acts[i] == KERNEL_ACT_NONE;
            solve_all(&p);
        }
}

/* The products of models people run, and enough rows for more than one block of the cache. */
static void test_large(void **state) {
    (void)state;
    static const struct problem rows[] = {
        {.m = 67, .n = 384, .k = 384, .bias = true, .residual = true, .in_place = true},
        {.m = 90, .n = 150, .k = 1536, .bias = true, .act = KERNEL_ACT_GELU},
        {.m = 30, .n = 96, .k = 3072, .bias = true, .residual = true},
        {.m = 1030, .n = 60, .k = 131, .bias = true},
        {.m = 1, .n = 1152, .k = 384, .bias = true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        solve_all(&rows[i]);
}

/* A row's numbers do not depend on how many rows come with it: batches give one answer. The packed
 * kernels promise it to the bit, since every sum runs over k in order. */
static void test_same_in_any_batch(void **state) {
    (void)state;
    enum { ROWS = 19, N = 50, K = 77 };
    static float a[ROWS * K], w[N * K], all[ROWS * N], one[N];
    random_floats(a, ROWS * K, 1.0f, 1);
    random_floats(w, N * K, 1.0f, 2);
    for (const struct gemm_kernel *const *kernel = gemm_list(GEMM_F32); *kernel; kernel++) {
        if (!(*kernel)->usable() || strcmp((*kernel)->name, "openblas") == 0)
            continue;
        const size_t bytes = ((*kernel)->packed_bytes(N, K) + 63) / 64 * 64;
        void *packed = aligned_alloc(GEMM_ALIGN, bytes);
        TEST_TRUE(packed);
        (*kernel)->pack(w, NULL, N, K, packed);
        struct gemm_weights weights = {*kernel, N, K, packed};
        gemm_run(&weights, &(struct gemm_call){.a = a, .lda = K, .m = ROWS, .c = all, .ldc = N});
        for (uint32_t i = 0; i < ROWS; i++) {
            gemm_run(&weights,
                     &(struct gemm_call){.a = a + i * K, .lda = K, .m = 1, .c = one, .ldc = N});
            TEST_MEM_EQ(one, all + i * N, sizeof one);
        }
        free(packed);
    }
}

static void test_choice(void **state) {
    (void)state;
    const struct gemm_kernel *chosen = gemm_choose(GEMM_F32);
    TEST_TRUE(chosen && chosen->usable());
    TEST_TRUE(gemm_by_name(GEMM_F32, chosen->name) == chosen);
    TEST_TRUE(gemm_by_name(GEMM_F32, "openblas"));
    TEST_TRUE(gemm_by_name(GEMM_F32, "portable"));
    TEST_TRUE(!gemm_by_name(GEMM_F32, ""));
    TEST_TRUE(!gemm_by_name(GEMM_F32, "avx"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_depths),
        cmocka_unit_test(test_epilogues),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_same_in_any_batch),
        cmocka_unit_test(test_choice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
