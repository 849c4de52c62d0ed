/* kernels_test.c - every table of row kernels that this CPU can run, against double precision. */
#include "model/kernels.h"

#include "support/guarded.h"

static const uint32_t lengths[] = {1, 2, 3, 4, 5, 8, 12, 15, 16, 17, 31, 32, 33, 60, 96, 150, 384};
enum { N_LENGTHS = sizeof lengths / sizeof *lengths };

typedef void (*check_fn)(const struct kernels *kernels);

static void each_table(check_fn check) {
    for (const struct kernels *const *kernels = kernels_list(); *kernels; kernels++) {
        TEST_ROW((*kernels)->name);
        if ((*kernels)->usable())
            check(*kernels);
    }
}

/* Rows of n numbers, ld apart, as far as the guard page. */
struct rows {
    struct guarded mem;
    float *x;
    size_t ld;
    uint32_t rows, n;
};

static struct rows rows_make(uint32_t rows, uint32_t n, float scale) {
    struct rows self = {.ld = n + 3, .rows = rows, .n = n};
    const size_t total = (rows - 1) * self.ld + n;
    self.x = guarded_floats(&self.mem, total);
    random_floats(self.x, total, scale, n + rows);
    return self;
}

enum { NORM_ROWS = 6 }; /* some side by side, some alone */

static void layer_norm_one(const struct kernels *kernels, uint32_t n, float offset,
                           bool with_bias) {
    struct rows rows = rows_make(NORM_ROWS, n, 2.0f), weight = rows_make(1, n, 1.0f),
                bias = rows_make(1, n, 1.0f);
    double want[NORM_ROWS][384];
    for (uint32_t r = 0; r < NORM_ROWS; r++) {
        double mean = 0, variance = 0;
        for (uint32_t i = 0; i < n; i++) {
            rows.x[r * rows.ld + i] += offset;
            mean += (double)rows.x[r * rows.ld + i] / n;
        }
        for (uint32_t i = 0; i < n; i++)
            variance += pow((double)rows.x[r * rows.ld + i] - mean, 2) / n;
        for (uint32_t i = 0; i < n; i++)
            want[r][i] = ((double)rows.x[r * rows.ld + i] - mean) / sqrt(variance + 1e-5) *
                             (double)weight.x[i] +
                         (with_bias ? (double)bias.x[i] : 0.0);
    }
    kernels->layer_norm(rows.x, rows.ld, NORM_ROWS, n, weight.x, with_bias ? bias.x : NULL, 1e-5f);
    /* A mean of `offset` is known to about 1e-7 of itself; in a row of one number only that is
     * left, divided by sqrt(eps). */
    const double tolerance = 2e-6 + 2e-7 * (double)offset * (n < 3 ? 320.0 : 10.0);
    for (uint32_t r = 0; r < NORM_ROWS; r++)
        for (uint32_t i = 0; i < n; i++)
            TEST_NEAR(rows.x[r * rows.ld + i], want[r][i], tolerance);
    guarded_done(&rows.mem);
    guarded_done(&weight.mem);
    guarded_done(&bias.mem);
}

static void check_layer_norm(const struct kernels *kernels) {
    for (uint32_t i = 0; i < N_LENGTHS; i++) {
        layer_norm_one(kernels, lengths[i], 0.0f, true);
        layer_norm_one(kernels, lengths[i], 0.0f, false);
        layer_norm_one(kernels, lengths[i], 30.0f,
                       true); /* where sum(x^2) - n mean^2 would cancel */
    }
}

static double act_of(double x, enum kernel_act act) {
    switch (act) {
    case KERNEL_ACT_GELU:
        return 0.5 * x * erfc(-x / sqrt(2.0));
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

/* The promise of kernels.h, over a fine grid and far out on both sides. */
static void check_acts(const struct kernels *kernels) {
    static const struct {
        enum kernel_act act;
        double absolute, relative;
    } rows[] = {
        {KERNEL_ACT_NONE, 0, 0}, {KERNEL_ACT_GELU, 5e-7, 1.2e-7}, {KERNEL_ACT_GELU_NEW, 5e-7, 5e-7},
        {KERNEL_ACT_RELU, 0, 0}, {KERNEL_ACT_SILU, 5e-7, 5e-7},
    };
    enum { GRID = 60000 };
    static float x[GRID], y[GRID];
    for (uint32_t i = 0; i < GRID; i++)
        x[i] = (float)((int)i - GRID / 2) * (i % 10 ? 3e-4f : 3e-3f);
    x[0] = -3e4f;
    x[1] = 3e4f;
    x[2] = -1e-30f;
    x[3] = 0.0f;
    for (size_t a = 0; a < sizeof rows / sizeof *rows; a++) {
        memcpy(y, x, sizeof y);
        kernels->bias_act(y, GRID, 1, GRID, NULL, rows[a].act);
        for (uint32_t i = 0; i < GRID; i++) {
            const double want = act_of((double)x[i], rows[a].act);
            if (!(fabs((double)y[i] - want) <= rows[a].absolute + rows[a].relative * fabs(want)))
                TEST_FAIL("act %d of %.9g: %.9g, want %.9g", (int)rows[a].act, (double)x[i],
                          (double)y[i], want);
        }
    }
}

/* Whoever looks at the result must see that something is broken. */
static void check_nan(const struct kernels *kernels) {
    for (int act = KERNEL_ACT_NONE; act <= KERNEL_ACT_SILU; act++) {
        float x[20] = {0};
        x[3] = x[19] = NAN;
        kernels->bias_act(x, 20, 1, 20, NULL, (enum kernel_act)act);
        TEST_TRUE(isnan(x[3]) && isnan(x[19]) && !isnan(x[4]));
    }
    for (uint32_t at = 0; at < 20; at += 19) {
        float x[20] = {0};
        x[at] = NAN;
        kernels->softmax(x, 20, 1, 20);
        TEST_TRUE(isnan(x[0]) && isnan(x[19]));
    }
}

static void check_bias(const struct kernels *kernels) {
    for (uint32_t l = 0; l < N_LENGTHS; l++) {
        struct rows rows = rows_make(2, lengths[l], 1.0f), bias = rows_make(1, lengths[l], 1.0f);
        float before[2 * (384 + 3)];
        memcpy(before, rows.x, (rows.ld + rows.n) * sizeof(float));
        kernels->bias_act(rows.x, rows.ld, 2, rows.n, bias.x, KERNEL_ACT_RELU);
        for (uint32_t r = 0; r < 2; r++)
            for (uint32_t i = 0; i < rows.n; i++) {
                const float sum = before[r * rows.ld + i] + bias.x[i];
                TEST_NEAR(rows.x[r * rows.ld + i], sum > 0 ? sum : 0, 0);
            }
        TEST_MEM_EQ(rows.x + rows.n, before + rows.n, (rows.ld - rows.n) * sizeof(float));
        guarded_done(&rows.mem);
        guarded_done(&bias.mem);
    }
}

static void gate_one(const struct kernels *kernels, uint32_t n, enum kernel_act act) {
    struct rows rows = rows_make(3, 2 * n, 3.0f);
    float before[3 * (2 * 384 + 3)];
    memcpy(before, rows.x, (2 * rows.ld + rows.n) * sizeof(float));
    kernels->gate(rows.x, rows.ld, 3, n, act);
    for (uint32_t r = 0; r < 3; r++) {
        const float *x = rows.x + r * rows.ld, *was = before + r * rows.ld;
        for (uint32_t i = 0; i < n; i++)
            TEST_NEAR(x[i], (double)was[i] * act_of((double)was[n + i], act), 3e-6);
        TEST_MEM_EQ(x + n, was + n, (r < 2 ? rows.ld - n : n) * sizeof(float));
    }
    guarded_done(&rows.mem);
}

static void check_gate(const struct kernels *kernels) {
    for (uint32_t i = 0; i < N_LENGTHS; i++)
        for (int act = KERNEL_ACT_NONE; act <= KERNEL_ACT_SILU; act++)
            gate_one(kernels, lengths[i], (enum kernel_act)act);
}

static void rotate_one(const struct kernels *kernels, uint32_t heads, uint32_t dim) {
    enum { ROWS = 5 };
    const uint32_t half = dim / 2;
    struct rows rows = rows_make(ROWS, heads * dim, 2.0f);
    struct guarded cos_mem, sin_mem;
    float *cos_ = guarded_floats(&cos_mem, (size_t)ROWS * half);
    float *sin_ = guarded_floats(&sin_mem, (size_t)ROWS * half);
    for (uint32_t i = 0; i < ROWS * half; i++) {
        cos_[i] = (float)cos(0.37 * (double)i);
        sin_[i] = (float)sin(0.37 * (double)i);
    }
    float before[ROWS * (384 + 3)];
    const size_t total = (ROWS - 1) * rows.ld + rows.n;
    memcpy(before, rows.x, total * sizeof(float));
    kernels->rotate(rows.x, rows.ld, ROWS, heads, dim, cos_, sin_);
    for (uint32_t r = 0; r < ROWS; r++) {
        for (uint32_t head = 0; head < heads; head++)
            for (uint32_t j = 0; j < half; j++) {
                const size_t at = r * rows.ld + head * dim + j;
                const double u = (double)before[at], w = (double)before[at + half];
                const double c = (double)cos_[r * half + j], s = (double)sin_[r * half + j];
                TEST_NEAR(rows.x[at], u * c - w * s, 1e-6);
                TEST_NEAR(rows.x[at + half], w * c + u * s, 1e-6);
            }
        if (r + 1 < ROWS) /* what lies between two rows is not ours */
            TEST_MEM_EQ(rows.x + r * rows.ld + rows.n, before + r * rows.ld + rows.n,
                        (rows.ld - rows.n) * sizeof(float));
    }
    guarded_done(&rows.mem);
    guarded_done(&cos_mem);
    guarded_done(&sin_mem);
}

static void check_rotate(const struct kernels *kernels) {
    static const uint32_t dims[] = {2, 4, 6, 12, 16, 30, 32, 34, 64, 80, 96, 128};
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++)
        for (uint32_t heads = 1; heads <= 3; heads++)
            rotate_one(kernels, heads, dims[i]);
}

static void softmax_one(const struct kernels *kernels, uint32_t n, float scale) {
    struct rows rows = rows_make(2, n, scale);
    double want[2][384];
    for (uint32_t r = 0; r < 2; r++) {
        double top = -1e300, sum = 0;
        for (uint32_t i = 0; i < n; i++)
            top = fmax(top, (double)rows.x[r * rows.ld + i]);
        for (uint32_t i = 0; i < n; i++)
            sum += want[r][i] = exp((double)rows.x[r * rows.ld + i] - top);
        for (uint32_t i = 0; i < n; i++)
            want[r][i] /= sum;
    }
    /* x - max is rounded to 2^-24 of its size, which e^x makes a relative error. */
    const double relative = 5e-7 + 1.2e-7 * (double)scale;
    kernels->softmax(rows.x, rows.ld, 2, n);
    for (uint32_t r = 0; r < 2; r++)
        for (uint32_t i = 0; i < n; i++)
            TEST_NEAR(rows.x[r * rows.ld + i], want[r][i], relative * want[r][i] + 1e-36);
    guarded_done(&rows.mem);
}

static void check_softmax(const struct kernels *kernels) {
    for (uint32_t i = 0; i < N_LENGTHS; i++) {
        softmax_one(kernels, lengths[i], 3.0f);
        softmax_one(kernels, lengths[i], 40.0f); /* most of them vanish beside the largest */
    }
}

static void check_sums(const struct kernels *kernels) {
    for (uint32_t l = 0; l < N_LENGTHS; l++) {
        const uint32_t n = lengths[l];
        struct rows in = rows_make(3, n, 1.0f), out = rows_make(1, n, 0.0f);
        const float *a = in.x, *b = a + in.ld, *c = b + in.ld;
        kernels->sum3(out.x, a, b, c, n);
        for (uint32_t i = 0; i < n; i++)
            TEST_NEAR(out.x[i], (double)a[i] + (double)b[i] + (double)c[i], 4e-7);
        kernels->mean(out.x, in.x, in.ld, 3, n);
        for (uint32_t i = 0; i < n; i++)
            TEST_NEAR(out.x[i], ((double)a[i] + (double)b[i] + (double)c[i]) / 3, 2e-7);
        guarded_done(&in.mem);
        guarded_done(&out.mem);
    }
}

enum { ATTENTION_MAX = 1100 };

/* What is under test, and how far it may be off where scores are small: with numbers rounded to
 * bfloat16 (2^-9 of themselves) a score that is a sum of 96 products of size 1 is off by some
 * hundredths, and so are the weights. */
struct attention_case {
    kernel_attention_fn *run;
    double tolerance;
};

/* want[n_queries, dim] in double precision. Scores reach 10 here and are sums of up to 96 rounded
 * products: they are off by up to 3e-6, and so are the weights; 5e-6 is the tolerance below. */
static void attention_slow(const struct kernel_attention *call, double *want) {
    double score[ATTENTION_MAX];
    for (size_t q = 0; q < call->n_queries; q++) {
        double top = -1e300, sum = 0;
        for (size_t k = 0; k < call->n; k++) {
            score[k] = 0;
            for (size_t d = 0; d < call->dim; d++)
                score[k] += (double)call->q[q * call->ld + d] * (double)call->k[k * call->ld + d];
            top = fmax(top, score[k]);
        }
        for (size_t k = 0; k < call->n; k++)
            sum += score[k] = exp(score[k] - top);
        for (size_t d = 0; d < call->dim; d++) {
            double x = 0;
            for (size_t k = 0; k < call->n; k++)
                x += score[k] * (double)call->v[k * call->ld + d];
            want[q * call->dim + d] = x / sum;
        }
    }
}

/* Every second query is `size` times as large: with 60 powers of some scores pass the end of what a
 * float holds, on either side, and the careful way is taken beside the usual one. Their scores are
 * off by that much more. */
static void attention_one(const struct attention_case *with, uint32_t n, uint32_t dim,
                          uint32_t n_queries, bool in_place, float size) {
    static double want[ATTENTION_MAX * 96];
    const size_t ld = 3 * (size_t)dim + 1; /* as q, k, v side by side, v last at the guard page */
    struct guarded qkv_mem, out_mem, scratch_mem;
    float *qkv = guarded_floats(&qkv_mem, (n - 1) * ld + 3 * (size_t)dim);
    float *out = guarded_floats(&out_mem, n_queries * (size_t)dim);
    scratch_mem = guarded_make(kernels_attention_scratch(n, dim) * sizeof(float), 64);
    random_floats(qkv, (n - 1) * ld + 3 * (size_t)dim, 1.0f, n * dim);
    for (size_t i = 0; i < n; i += 2)
        for (size_t j = 0; j < dim; j++)
            qkv[i * ld + j] *= size;
    struct kernel_attention call = {.q = qkv,
                                    .k = qkv + dim,
                                    .v = qkv + 2 * dim,
                                    .ld = ld,
                                    .n = n,
                                    .n_queries = n_queries,
                                    .dim = dim,
                                    .out = in_place ? qkv : out,
                                    .ld_out = in_place ? ld : dim,
                                    .more = n % 2,
                                    .scratch = scratch_mem.data};
    attention_slow(&call, want);
    const float next = n > 1 ? qkv[ld - 1] : 0.0f;
    with->run(&call);
    for (size_t q = 0; q < n_queries; q++)
        for (size_t d = 0; d < dim; d++)
            if (!(fabs((double)call.out[q * call.ld_out + d] - want[q * dim + d]) <=
                  with->tolerance * (double)(q % 2 ? 1.0f : size)))
                TEST_FAIL("n %u dim %u: out[%zu, %zu] = %.9g, want %.9g", n, dim, q, d,
                          (double)call.out[q * call.ld_out + d], want[q * dim + d]);
    if (n > 1)
        TEST_NEAR(qkv[ld - 1], next, 0);
    guarded_done(&qkv_mem);
    guarded_done(&out_mem);
    guarded_done(&scratch_mem);
}

static void check_attention(const struct attention_case *with, float large) {
    static const uint32_t dims[] = {1, 5, 8, 12, 16, 20, 32, 48, 64, 80, 96};
    static const uint32_t tokens[] = {1,  2,  3,  4,  7,  8,  9,  15, 16,  17,  24,
                                      31, 33, 47, 48, 49, 64, 65, 97, 128, 200, 300};
    for (size_t d = 0; d < sizeof dims / sizeof *dims; d++)
        for (size_t t = 0; t < sizeof tokens / sizeof *tokens; t++)
            attention_one(with, tokens[t], dims[d], tokens[t], t % 2, (t + d) % 3 ? 1.0f : large);
    attention_one(with, 40, 32, 1, true, 1.0f);
    attention_one(with, 40, 12, 9, false, 1.0f);
    /* More keys than one block holds. */
    attention_one(with, 512, 16, 512, true, 1.0f);
    attention_one(with, 513, 32, 513, true, large);
    attention_one(with, 520, 20, 11, false, large);
    attention_one(with, 1025, 64, 1, true, 1.0f);
    attention_one(with, 1099, 32, 1099, true, large);
}

/* All scores of a row the same and far from 0: the mean of V, whichever way that is found. With a
 * score of 78 the sum of powers is below 2^120, but not that of powers times V. */
static void check_attention_ends(const struct attention_case *with) {
    enum { N = 20, DIM = 16 };
    static const struct {
        float score, v;
    } rows[] = {{0, 1},     {29, 1},    {55, 1},    {-55, 1},   {64, 1},    {70, 1},    {80, 1},
                {84, 1},    {-84, 1},   {100, 1},   {-100, 1},  {5000, 1},  {-5000, 1}, {1e30f, 1},
                {55, 1e4f}, {66, 1e9f}, {78, 1e5f}, {80, 1e4f}, {-55, 1e4f}};
    float qkv[N][3][DIM], scratch[4096] __attribute__((aligned(64)));
    TEST_TRUE(kernels_attention_scratch(N, DIM) <= 4096);
    for (size_t s = 0; s < sizeof rows / sizeof *rows; s++) {
        random_floats(&qkv[0][0][0], N * 3 * DIM, rows[s].v, 5);
        double want = 0;
        for (size_t i = 0; i < N; i++) {
            memset(qkv[i][0], 0, sizeof qkv[i][0]);
            memset(qkv[i][1], 0, sizeof qkv[i][1]);
            qkv[i][0][3] = rows[s].score;
            qkv[i][1][3] = 1;
            want += (double)qkv[i][2][7] / N;
        }
        const struct kernel_attention call = {.q = qkv[0][0],
                                              .k = qkv[0][1],
                                              .v = qkv[0][2],
                                              .ld = 3 * (size_t)DIM,
                                              .n = N,
                                              .n_queries = N,
                                              .dim = DIM,
                                              .out = qkv[0][0],
                                              .ld_out = 3 * (size_t)DIM,
                                              .scratch = scratch};
        with->run(&call);
        for (size_t i = 0; i < N; i++)
            TEST_NEAR(qkv[i][0][7], want, with->tolerance / 5 * (double)rows[s].v);
    }
}

/* A query that is not a number spoils its own row and no other; a key spoils all. */
static void check_attention_nan(const struct attention_case *with) {
    enum { N = 530, DIM = 16 };
    static float qkv[N][3][DIM], out[N][DIM];
    struct guarded scratch = guarded_make(kernels_attention_scratch(N, DIM) * sizeof(float), 64);
    for (uint32_t n = 10; n <= N; n += N - 10)
        for (int what = 0; what < 2; what++) {
            random_floats(&qkv[0][0][0], (size_t)n * 3 * DIM, 1.0f, n);
            qkv[5][what][2] = NAN;
            with->run(&(struct kernel_attention){.q = qkv[0][0],
                                                 .k = qkv[0][1],
                                                 .v = qkv[0][2],
                                                 .ld = 3 * (size_t)DIM,
                                                 .n = n,
                                                 .n_queries = n,
                                                 .dim = DIM,
                                                 .out = out[0],
                                                 .ld_out = DIM,
                                                 .scratch = scratch.data});
            for (uint32_t i = 0; i < n; i++)
                TEST_EQ(isnan(out[i][0]) && isnan(out[i][DIM - 1]), what == 1 || i == 5);
        }
    guarded_done(&scratch);
}

static void check_attentions(const struct kernels *kernels) {
    const struct attention_case wide = {kernels->attention, 5e-6};
    check_attention(&wide, 60.0f);
    check_attention_ends(&wide);
    check_attention_nan(&wide);
    const struct attention_case narrow = {kernels_attention_narrow(kernels), 0.06};
    if (narrow.run != wide.run) {
        check_attention(&narrow, 1.0f);
        check_attention_ends(&narrow);
        check_attention_nan(&narrow);
    }
}

static void test_layer_norm(void **state) {
    (void)state;
    each_table(check_layer_norm);
}
static void test_acts(void **state) {
    (void)state;
    each_table(check_acts);
}
static void test_nan(void **state) {
    (void)state;
    each_table(check_nan);
}
static void test_bias(void **state) {
    (void)state;
    each_table(check_bias);
}
static void test_gate(void **state) {
    (void)state;
    each_table(check_gate);
}
static void test_rotate(void **state) {
    (void)state;
    each_table(check_rotate);
}
static void test_softmax(void **state) {
    (void)state;
    each_table(check_softmax);
}
static void test_sums(void **state) {
    (void)state;
    each_table(check_sums);
}
static void test_attention(void **state) {
    (void)state;
    each_table(check_attentions);
}

static void test_choice(void **state) {
    (void)state;
    TEST_TRUE(kernels_choose()->usable());
    TEST_TRUE(kernels_by_name(kernels_choose()->name) == kernels_choose());
    TEST_TRUE(kernels_by_name("portable"));
    TEST_TRUE(!kernels_by_name("none"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layer_norm), cmocka_unit_test(test_acts),
        cmocka_unit_test(test_bias),       cmocka_unit_test(test_nan),
        cmocka_unit_test(test_gate),       cmocka_unit_test(test_rotate),
        cmocka_unit_test(test_softmax),    cmocka_unit_test(test_sums),
        cmocka_unit_test(test_attention),  cmocka_unit_test(test_choice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
