/* gemm_narrow_test.c - int8 and bfloat16 products: every kernel that this CPU can run.
 *
 * What is compared is not float32 with a wide tolerance: A and W are rounded here as gemm.h says,
 * in plain code, their products are summed in double precision, and a kernel may differ by the
 * rounding of its last few steps. So an int8 sum that is off by one is found. How far rounding
 * itself may move a result is a test of its own, with a bound that follows from the formats.
 *
 * A, C, scratch and packed weights end at a page that may not be touched. */
#include "model/gemm.h"

#include "support/guarded.h"

static const float untouched = -77.0f;

struct problem {
    uint32_t m, n, k;
    enum kernel_act act;
    bool bias, residual, in_place;
};

/* A matrix as a kernel sees it: number[i, k] * scale[i]. */
struct seen {
    double *number, *scale;
};

static float bf16_round(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t below = bits & 0xffff, keep = bits >> 16;
    const bool up = below > 0x8000 || (below == 0x8000 && (keep & 1));
    bits = (keep + up) << 16;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static struct seen seen_make(enum gemm_precision precision, const float *x, size_t ld,
                             uint32_t rows, uint32_t k) {
    struct seen self = {calloc((size_t)rows * k, sizeof(double)), calloc(rows, sizeof(double))};
    TEST_TRUE(self.number && self.scale);
    for (uint32_t i = 0; i < rows; i++) {
        float top = 0;
        for (uint32_t j = 0; j < k; j++)
            top = fmaxf(top, fabsf(x[i * ld + j]));
        const float inverse = top > 0x1p-120f ? 127.0f / top : 0.0f;
        self.scale[i] = precision != GEMM_I8 ? 1.0 : inverse > 0 ? (double)(top / 127.0f) : 0.0;
        for (uint32_t j = 0; j < k; j++) {
            const float one = x[i * ld + j], scaled = one * inverse;
            self.number[(size_t)i * k + j] =
                precision == GEMM_I8 ? nearbyint((double)scaled) : (double)bf16_round(one);
        }
    }
    return self;
}

static void seen_done(struct seen *self) {
    free(self->number);
    free(self->scale);
}

/* What an activation may add: GELU is a parabola (gemm_dot.h). */
static double act_tolerance(enum kernel_act act) {
    return act == KERNEL_ACT_NONE ? 0 : act == KERNEL_ACT_GELU ? 7e-5 : 1e-6;
}

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

/* ---- one product ----------------------------------------------------------------------------- */

struct data {
    struct guarded a_mem, w_mem, bias_mem, packed_mem, c_mem, residual_mem, scratch_mem;
    float *a, *w, *bias, *c, *residual;
    size_t lda, ldc, ldr;
};

static struct data data_make(const struct problem *p, const struct gemm_kernel *kernel) {
    struct data d = {.lda = p->k + 3, .ldc = p->n + 5, .ldr = p->n + 2};
    d.a = guarded_floats(&d.a_mem, (p->m - 1) * d.lda + p->k);
    d.w = guarded_floats(&d.w_mem, (size_t)p->n * p->k);
    d.bias = guarded_floats(&d.bias_mem, p->n);
    d.c = guarded_floats(&d.c_mem, (p->m - 1) * d.ldc + p->n);
    d.residual = guarded_floats(&d.residual_mem, (p->m - 1) * d.ldr + p->n);
    d.packed_mem = guarded_make(kernel->packed_bytes(p->n, p->k), GEMM_ALIGN);
    d.scratch_mem = guarded_make(kernel->scratch_bytes(p->k, p->m), GEMM_ALIGN);
    random_floats(d.a, (p->m - 1) * d.lda + p->k, 2.0f, p->m);
    random_floats(d.w, (size_t)p->n * p->k, 0.3f, p->n);
    random_floats(d.bias, p->n, 1.0f, p->k);
    random_floats(d.residual, (p->m - 1) * d.ldr + p->n, 1.0f, 5);
    for (size_t i = 0; i < (p->m - 1) * d.ldc + p->n; i++)
        d.c[i] = untouched;
    for (size_t i = 0; p->in_place && i < p->m; i++)
        memcpy(d.c + i * d.ldc, d.residual + i * d.ldr, p->n * sizeof(float));
    return d;
}

static void data_done(struct data *d) {
    struct guarded *all[] = {&d->a_mem, &d->w_mem,        &d->bias_mem,   &d->packed_mem,
                             &d->c_mem, &d->residual_mem, &d->scratch_mem};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        guarded_done(all[i]);
}

static void data_run(struct data *d, const struct problem *p, const struct gemm_kernel *kernel) {
    kernel->pack(d->w, p->bias ? d->bias : NULL, p->n, p->k, d->packed_mem.data);
    const struct gemm_weights weights = {kernel, p->n, p->k, d->packed_mem.data};
    const float *residual = p->in_place ? d->c : d->residual;
    gemm_run(&weights, &(struct gemm_call){.a = d->a,
                                           .lda = d->lda,
                                           .m = p->m,
                                           .c = d->c,
                                           .ldc = d->ldc,
                                           .act = p->act,
                                           .residual = p->residual ? residual : NULL,
                                           .ld_residual = p->in_place ? d->ldc : d->ldr,
                                           .scratch = d->scratch_mem.data});
}

/* int8: the sum is exact, so what is left is its way to float, two products and two additions, six
 * roundings in all with that of scale[row]. bf16: products of two are exact in float, sums of k of
 * them round as those of gemm_test.c do. */
static double tolerance(enum gemm_precision precision, uint32_t k, double sum, double size) {
    return precision == GEMM_I8 ? 6.1e-8 * 6 * (fabs(sum) + 2)
                                : 6e-8 * (2.0 * sqrt((double)k) + 8.0) * (size + 1);
}

static void data_check(const struct data *d, const struct problem *p,
                       const struct gemm_kernel *kernel) {
    struct seen a = seen_make(kernel->precision, d->a, d->lda, p->m, p->k);
    struct seen w = seen_make(kernel->precision, d->w, p->k, p->n, p->k);
    for (uint32_t i = 0; i < p->m; i++) {
        for (uint32_t j = 0; j < p->n; j++) {
            double sum = 0, size = 0;
            for (uint32_t k = 0; k < p->k; k++) {
                const double x = a.number[(size_t)i * p->k + k] * w.number[(size_t)j * p->k + k];
                sum += x;
                size += fabs(x);
            }
            sum *= a.scale[i] * w.scale[j];
            double want = act_of(sum + (p->bias ? (double)d->bias[j] : 0.0), p->act);
            if (p->residual)
                want += (double)d->residual[i * d->ldr + j];
            const double got = (double)d->c[i * d->ldc + j];
            const double off = 1.2 * tolerance(kernel->precision, p->k, sum, size);
            if (!(fabs(got - want) <= off + act_tolerance(p->act)))
                TEST_FAIL("%s %s m %u n %u k %u act %d bias %d residual %d: C[%u, %u] = %.9g, want "
                          "%.9g",
                          gemm_precision_name(kernel->precision), kernel->name, p->m, p->n, p->k,
                          (int)p->act, p->bias, p->residual, i, j, got, want);
        }
        for (size_t j = p->n; j < d->ldc && i + 1 < p->m; j++)
            TEST_NEAR(d->c[i * d->ldc + j], untouched, 0);
    }
    seen_done(&a);
    seen_done(&w);
}

/* ---- all kernels ----------------------------------------------------------------------------- */

enum { KERNELS_MAX = 16 };
static const struct gemm_kernel *kernels[KERNELS_MAX]; /* those that run here */
static uint32_t n_kernels;

static int find_kernels(void **state) {
    (void)state;
    static const enum gemm_precision precisions[] = {GEMM_BF16, GEMM_I8};
    for (size_t i = 0; i < 2; i++)
        for (const struct gemm_kernel *const *k = gemm_list(precisions[i]); *k; k++) {
            if ((*k)->usable())
                kernels[n_kernels++] = *k;
            else
                printf("%s %s: not on this CPU, skipped\n", gemm_precision_name(precisions[i]),
                       (*k)->name);
        }
    return 0;
}

static void solve_all(const struct problem *p) {
    for (uint32_t i = 0; i < n_kernels; i++) {
        struct data d = data_make(p, kernels[i]);
        data_run(&d, p, kernels[i]);
        data_check(&d, p, kernels[i]);
        data_done(&d);
    }
}

/* Every number of rows up to several tiles, against widths around the vectors and panels of all
 * instruction sets. */
static void test_rows(void **state) {
    (void)state;
    static const uint32_t widths[] = {1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 47, 48, 49, 60, 96, 97};
    for (uint32_t m = 1; m <= 34; m++)
        for (size_t i = m % 3; i < sizeof widths / sizeof *widths; i += 3)
            solve_all(&(struct problem){.m = m, .n = widths[i], .k = 29 + m % 7, .bias = true});
}

static void test_depths(void **state) {
    (void)state;
    static const uint32_t depths[] = {1,  2,  3,  4,  5,  6,  7,  8,   9,   15,  16,  17,  31,
                                      32, 33, 60, 63, 64, 65, 97, 150, 255, 384, 511, 1000};
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

/* GELU that a tile leaves to the next: one panel and several, a last one that is not whole, more
 * rows than there are steps of k. */
static void test_deferred(void **state) {
    (void)state;
    static const uint32_t widths[] = {48, 96, 144, 150, 240}, depths[] = {3, 20, 64, 131};
    for (uint32_t m = 1; m <= 26; m++)
        for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
            solve_all(&(struct problem){.m = m,
                                        .n = widths[i],
                                        .k = depths[(m + i) % 4],
                                        .act = KERNEL_ACT_GELU,
                                        .bias = true});
}

/* The products of models people run, and enough rows for more than one block of the cache. */
static void test_large(void **state) {
    (void)state;
    static const struct problem rows[] = {
        {.m = 33, .n = 384, .k = 384, .bias = true, .residual = true, .in_place = true},
        {.m = 20, .n = 150, .k = 1536, .bias = true, .act = KERNEL_ACT_GELU},
        {.m = 30, .n = 96, .k = 3072, .bias = true, .residual = true},
        {.m = 1900, .n = 35, .k = 131, .bias = true},
        {.m = 1, .n = 1152, .k = 384, .bias = true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        solve_all(&rows[i]);
}

/* To the bit: int8 because sums are exact, bf16 because every sum runs over k in order. */
static void test_same_in_any_batch(void **state) {
    (void)state;
    const struct problem p = {.m = 19, .n = 50, .k = 77, .act = KERNEL_ACT_GELU, .bias = true};
    for (uint32_t i = 0; i < n_kernels; i++) {
        struct data d = data_make(&p, kernels[i]);
        data_run(&d, &p, kernels[i]);
        const struct gemm_weights weights = {kernels[i], p.n, p.k, d.packed_mem.data};
        for (uint32_t row = 0; row < p.m; row++) {
            float one[50];
            gemm_run(&weights, &(struct gemm_call){.a = d.a + row * d.lda,
                                                   .lda = d.lda,
                                                   .m = 1,
                                                   .c = one,
                                                   .ldc = p.n,
                                                   .act = p.act,
                                                   .scratch = d.scratch_mem.data});
            TEST_MEM_EQ(one, d.c + row * d.ldc, sizeof one);
        }
        data_done(&d);
    }
}

/* ---- what rounding costs --------------------------------------------------------------------- */

/* int8: each number is off by at most half its scale, a product by |a| sw/2 + |w| sa/2 + sa sw/4.
 * bf16: by 2^-9 of itself each, so a product by less than 2^-8 |a w| + 2^-18 |a w|. */
static double rounding_bound(enum gemm_precision precision, const struct data *d,
                             const struct problem *p, uint32_t i, uint32_t j) {
    double top_a = 0, top_w = 0, size_a = 0, size_w = 0, size = 0;
    for (uint32_t k = 0; k < p->k; k++) {
        const double a = fabs((double)d->a[i * d->lda + k]);
        const double w = fabs((double)d->w[(size_t)j * p->k + k]);
        top_a = fmax(top_a, a);
        top_w = fmax(top_w, w);
        size_a += a;
        size_w += w;
        size += a * w;
    }
    if (precision == GEMM_BF16)
        return size * (0x1p-8 + 0x1p-18);
    return size_a * top_w / 254 + size_w * top_a / 254 + p->k * top_a * top_w / (254.0 * 254);
}

static void test_against_float(void **state) {
    (void)state;
    const struct problem p = {.m = 12, .n = 60, .k = 384};
    for (uint32_t x = 0; x < n_kernels; x++) {
        struct data d = data_make(&p, kernels[x]);
        data_run(&d, &p, kernels[x]);
        double worst = 0, errors = 0, squares = 0;
        for (uint32_t i = 0; i < p.m; i++)
            for (uint32_t j = 0; j < p.n; j++) {
                double want = 0;
                for (uint32_t k = 0; k < p.k; k++)
                    want += (double)d.a[i * d.lda + k] * (double)d.w[(size_t)j * p.k + k];
                const double off = (double)d.c[i * d.ldc + j] - want;
                worst =
                    fmax(worst, fabs(off) / rounding_bound(kernels[x]->precision, &d, &p, i, j));
                errors += off * off;
                squares += want * want;
            }
        const double relative = sqrt(errors / squares);
        printf("%s %s: relative error %.1e, worst %.2f of its bound\n",
               gemm_precision_name(kernels[x]->precision), kernels[x]->name, relative, worst);
        TEST_TRUE(worst <= 1.0);
        TEST_TRUE(relative < 0.01);
        data_done(&d);
    }
}

/* ---- numbers at the edges -------------------------------------------------------------------- */

static void fill_row(struct data *d, const struct problem *p, uint32_t row, float size, float odd) {
    for (uint32_t k = 0; k < p->k; k++)
        d->a[row * d->lda + k] = size;
    d->a[row * d->lda + p->k - 1] = odd;
}

/* A NaN that is infinity when its lower half is cut off. */
static float low_nan(void) {
    const uint32_t bits = 0x7f800001u;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

enum { ZERO, MINUS_ZERO, HUGE_, LARGEST, TINY, NEARLY, NAN_, LOW_NAN, INF, MINUS_INF, PLAIN, ROWS };

static void edge_rows(struct data *d, const struct problem *p) {
    fill_row(d, p, ZERO, 0.0f, 0.0f);
    fill_row(d, p, MINUS_ZERO, -0.0f, -0.0f);
    fill_row(d, p, HUGE_, 1e30f, -2e30f);
    fill_row(d, p, LARGEST, 0x1p127f, -0x1p127f); /* bf16 has it, and any greater float may not */
    fill_row(d, p, TINY, 1e-40f, -3e-40f);
    fill_row(d, p, NEARLY, 0x1p-121f, -0x1p-119f);
    fill_row(d, p, NAN_, 0.5f, NAN);
    fill_row(d, p, LOW_NAN, 0.5f, low_nan());
    fill_row(d, p, INF, 0.5f, INFINITY);
    fill_row(d, p, MINUS_INF, 0.5f, -INFINITY);
    fill_row(d, p, PLAIN, 0.5f, -1.0f);
}

/* NaN must be NaN afterwards whatever the activation; infinity must not become an ordinary number
 * in int8, where it would spoil the scale. In bf16 it does what it does in float32. */
static void test_edges(void **state) {
    (void)state;
    static const enum kernel_act acts[] = {KERNEL_ACT_NONE, KERNEL_ACT_GELU, KERNEL_ACT_GELU_NEW,
                                           KERNEL_ACT_RELU, KERNEL_ACT_SILU};
    for (uint32_t x = 0; x < n_kernels; x++)
        for (size_t act = 0; act < sizeof acts / sizeof *acts; act++) {
            const struct problem p = {.m = ROWS, .n = 37, .k = 45, .act = acts[act], .bias = true};
            struct data d = data_make(&p, kernels[x]);
            for (size_t i = 0; i < p.n; i++) /* sums that do not cancel */
                for (size_t k = 0; k < p.k; k++)
                    d.w[i * p.k + k] = 0.001f * (float)(1 + (i + k) % 3);
            edge_rows(&d, &p);
            data_run(&d, &p, kernels[x]);
            const bool i8 = kernels[x]->precision == GEMM_I8;
            for (uint32_t j = 0; j < p.n; j++) {
                const double plain = act_of((double)d.bias[j], p.act);
                static const int nothing[] = {ZERO, MINUS_ZERO, TINY, NEARLY};
                for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++)
                    TEST_NEAR(d.c[(size_t)nothing[i] * d.ldc + j], plain,
                              1e-6 + act_tolerance(p.act));
                TEST_TRUE(isnan(d.c[NAN_ * d.ldc + j]));
                TEST_TRUE(isnan(d.c[LOW_NAN * d.ldc + j]));
                TEST_TRUE(isnan(d.c[INF * d.ldc + j]) || (!i8 && isinf(d.c[INF * d.ldc + j])));
                TEST_TRUE(!i8 || isnan(d.c[MINUS_INF * d.ldc + j]));
                TEST_TRUE(isfinite(d.c[PLAIN * d.ldc + j]));
                if (p.act == KERNEL_ACT_NONE) {
                    TEST_TRUE(d.c[HUGE_ * d.ldc + j] > 1e28f && d.c[HUGE_ * d.ldc + j] < 1e32f);
                    TEST_TRUE(d.c[LARGEST * d.ldc + j] > 0x1p120f);
                    TEST_TRUE(isfinite(d.c[LARGEST * d.ldc + j]));
                    TEST_TRUE(!i8 || isnan(d.c[MINUS_INF * d.ldc + j]));
                }
            }
            data_done(&d);
        }
}

/* NaN and infinity in weights: every row of that column, no other column. */
static void test_broken_weights(void **state) {
    (void)state;
    const struct problem p = {.m = 5, .n = 20, .k = 33};
    for (uint32_t x = 0; x < n_kernels; x++) {
        struct data d = data_make(&p, kernels[x]);
        d.w[3 * p.k + 7] = NAN;
        d.w[11 * p.k + 8] = low_nan();
        d.w[17 * p.k + 32] = INFINITY;
        data_run(&d, &p, kernels[x]);
        for (uint32_t i = 0; i < p.m; i++)
            for (uint32_t j = 0; j < p.n; j++) {
                const float c = d.c[i * d.ldc + j];
                TEST_TRUE(j == 3 || j == 11 ? isnan(c) : j == 17 ? !isfinite(c) : isfinite(c));
            }
        data_done(&d);
    }
}

/* The longest int8 sum, with numbers that take it, and what is added on the way, to the end of
 * int32 on both sides. */
static void test_longest_sum(void **state) {
    (void)state;
    const struct problem p = {.m = 2, .n = 2, .k = GEMM_I8_K_MAX};
    for (uint32_t x = 0; x < n_kernels; x++) {
        if (kernels[x]->precision != GEMM_I8)
            continue;
        struct data d = data_make(&p, kernels[x]);
        for (uint32_t row = 0; row < 2; row++)
            for (uint32_t k = 0; k < p.k; k++) {
                d.a[row * d.lda + k] = row ? -1.0f : 1.0f;
                d.w[row * p.k + k] = row ? -1.0f : 1.0f;
            }
        data_run(&d, &p, kernels[x]);
        for (uint32_t i = 0; i < 2; i++)
            for (uint32_t j = 0; j < 2; j++)
                TEST_NEAR(d.c[i * d.ldc + j], i == j ? p.k : -(double)p.k, 0.1);
        data_done(&d);
    }
}

/* ---- packed bytes and names ------------------------------------------------------------------ */

/* They may lie in a file: every byte is written, and the same numbers give the same bytes. */
static void test_packed_bytes(void **state) {
    (void)state;
    const struct problem p = {.m = 1, .n = 37, .k = 45, .bias = true};
    for (uint32_t x = 0; x < n_kernels; x++) {
        const size_t bytes = kernels[x]->packed_bytes(p.n, p.k);
        TEST_EQ(bytes % GEMM_ALIGN, 0);
        struct data d = data_make(&p, kernels[x]), e = data_make(&p, kernels[x]);
        memset(d.packed_mem.data, 0x11, bytes);
        memset(e.packed_mem.data, 0xee, bytes);
        kernels[x]->pack(d.w, d.bias, p.n, p.k, d.packed_mem.data);
        kernels[x]->pack(e.w, e.bias, p.n, p.k, e.packed_mem.data);
        TEST_MEM_EQ(d.packed_mem.data, e.packed_mem.data, bytes);
        data_done(&d);
        data_done(&e);
    }
}

static void test_choice(void **state) {
    (void)state;
    static const char *const names[GEMM_PRECISIONS] = {"f32", "bf16", "i8"};
    for (int i = 0; i < GEMM_PRECISIONS; i++) {
        const enum gemm_precision precision = (enum gemm_precision)i;
        enum gemm_precision parsed = GEMM_F32;
        TEST_STR_EQ(gemm_precision_name(precision), names[i]);
        TEST_TRUE(gemm_precision_parse(names[i], &parsed));
        TEST_EQ(parsed, precision);
        const struct gemm_kernel *chosen = gemm_choose(precision);
        TEST_EQ(chosen->precision, precision);
        TEST_TRUE(chosen->usable());
        TEST_TRUE(gemm_by_name(precision, chosen->name) == chosen);
        TEST_TRUE(gemm_by_name(precision, "portable"));
        TEST_TRUE(!gemm_by_name(precision, "abacus"));
        for (const struct gemm_kernel *const *k = gemm_list(precision); *k; k++) {
            TEST_EQ((*k)->precision, precision);
            TEST_TRUE((*k)->layout >= 1);
            TEST_TRUE(gemm_by_name(precision, (*k)->name) == ((*k)->usable() ? *k : NULL));
        }
    }
    enum gemm_precision parsed;
    TEST_TRUE(!gemm_precision_parse("int8", &parsed));
    TEST_TRUE(!gemm_precision_parse("", &parsed));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),           cmocka_unit_test(test_depths),
        cmocka_unit_test(test_epilogues),      cmocka_unit_test(test_deferred),
        cmocka_unit_test(test_large),          cmocka_unit_test(test_same_in_any_batch),
        cmocka_unit_test(test_against_float),  cmocka_unit_test(test_edges),
        cmocka_unit_test(test_broken_weights), cmocka_unit_test(test_longest_sum),
        cmocka_unit_test(test_packed_bytes),   cmocka_unit_test(test_choice),
    };
    return cmocka_run_group_tests(tests, find_kernels, NULL);
}
