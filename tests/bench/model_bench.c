/* model_bench.c - time of one forward pass over random weights: texts x tokens, one thread.
 *
 *     model_bench [--shape minilm|base|small] [--precision f32|bf16|i8] [--kernel NAME|all]
 *                 [--pool mean|cls] [--profile] [--threads N] [--team N] [--mixed] [b,s ...]
 *
 * The floor is the arithmetic of all matrix products at the registers' peak, or the weights read
 * once from memory where that takes longer and they are more than twice what the last cache
 * holds. With int8 attention counts at the peak of float32, with bf16 the floor is half that of
 * float32. The peak is measured again around each pass, because the clock moves (peak.h). Times
 * of one thread are the processor's, which leaves out what other programs took in between. `x
 * floor` is the median of passes on a quiet machine, and the tenth part that was least disturbed
 * otherwise; both are printed.
 *
 * --profile  each part of a pass in the run where it was fastest.
 * --team     N threads share one pass; beside it the pass of one thread
 * --threads  N threads run passes of their own at the same time; throughput of all beside that of
 *            one thread alone, in turns within the same run, best turn of each.
 * --mixed    one more case: 256 texts with 8,420 tokens in all, lengths as mixed_lengths() draws
 *            them, packed as they arrive. */
#include "base/check.h"
#include "base/clock.h"
#include "bench/peak.h"
#include "model/encoder_random.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { RUNS_MAX = 3000, RUNS_MIN = 7, CASES_MAX = 64, THREADS_MAX = 64, MIXED_TEXTS = 256 };

static const struct {
    const char *name;
    struct model_shape shape;
} shapes[] = {
    {"minilm",
     {.layers = 6,
      .hidden = 384,
      .heads = 12,
      .inner = 1536,
      .vocab_rows = 30522,
      .positions = 512,
      .types = 2,
      .max_tokens = 512,
      .eps = 1e-12f}},
    {"base",
     {.layers = 12,
      .hidden = 768,
      .heads = 12,
      .inner = 3072,
      .vocab_rows = 21128,
      .positions = 512,
      .types = 2,
      .max_tokens = 512,
      .eps = 1e-12f}},
    {"small",
     {.layers = 4,
      .hidden = 512,
      .heads = 8,
      .inner = 2048,
      .vocab_rows = 21128,
      .positions = 512,
      .types = 2,
      .max_tokens = 512,
      .eps = 1e-12f}},
};

struct options {
    struct model_shape shape;
    enum gemm_precision precision;
    const char *shape_name, *kernel;
    bool profile, mixed;
    uint32_t threads, team;
    uint32_t n_cases, texts[CASES_MAX], tokens[CASES_MAX];
};

static int usage(void) {
    fprintf(stderr,
            "usage: model_bench [--shape minilm|base|small] [--precision f32|bf16|i8] "
            "[--kernel NAME|all] [--pool mean|cls] [--profile] [--threads N] [--team N] [--mixed] "
            "[b,s ...]\n");
    return 2;
}

static bool parse_shape(const char *name, struct options *out) {
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (strcmp(shapes[i].name, name) == 0) {
            const enum model_pooling pooling = out->shape.pooling;
            out->shape = shapes[i].shape;
            out->shape.pooling = pooling;
            out->shape_name = name;
            return true;
        }
    return false;
}

static bool parse_case(const char *text, struct options *out) {
    unsigned b, s;
    if (out->n_cases == CASES_MAX || sscanf(text, "%u,%u", &b, &s) != 2 || b < 1 || b > 1024 ||
        s < 1 || s > 512)
        return false;
    out->texts[out->n_cases] = b;
    out->tokens[out->n_cases++] = s;
    return true;
}

static bool parse(int argc, char **argv, struct options *out) {
    static const char *const usual[] = {"1,8",  "1,16",  "1,32",  "1,128", "1,512",
                                        "8,32", "8,512", "32,32", "32,128"};
    *out = (struct options){.kernel = "best"};
    parse_shape("minilm", out);
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--profile") == 0) {
            out->profile = true;
        } else if (strcmp(argv[i], "--mixed") == 0) {
            out->mixed = true;
        } else if (strcmp(argv[i], "--team") == 0) {
            if (sscanf(value, "%u", &out->team) != 1 || out->team < 2 || out->team > THREADS_MAX)
                return false;
            i++;
        } else if (strcmp(argv[i], "--threads") == 0) {
            if (sscanf(value, "%u", &out->threads) != 1 || out->threads < 1 ||
                out->threads > THREADS_MAX)
                return false;
            i++;
        } else if (strcmp(argv[i], "--kernel") == 0) {
            out->kernel = value;
            i++;
        } else if (strcmp(argv[i], "--precision") == 0) {
            if (!gemm_precision_parse(value, &out->precision))
                return false;
            i++;
        } else if (strcmp(argv[i], "--pool") == 0) {
            out->shape.pooling = strcmp(value, "cls") == 0 ? MODEL_POOL_CLS : MODEL_POOL_MEAN;
            i++;
        } else if (strcmp(argv[i], "--shape") == 0) {
            if (!parse_shape(value, out))
                return false;
            i++;
        } else if (!parse_case(argv[i], out)) {
            return false;
        }
    }
    if (!out->n_cases && !out->mixed)
        for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
            parse_case(usual[i], out);
    return true;
}

/* ---- batches */

struct batch {
    uint32_t texts, tokens; /* tokens of all texts */
    uint32_t *start;        /* [texts + 1] */
    int32_t *ids, *types;   /* [tokens] */
};

static struct batch batch_make(const struct model_shape *shape, const uint32_t *lengths,
                               uint32_t texts) {
    struct batch self = {.texts = texts, .start = calloc(texts + 1, sizeof *self.start)};
    CHECK(self.start);
    for (uint32_t i = 0; i < texts; i++)
        self.start[i + 1] = self.tokens += lengths[i];
    self.ids = calloc(self.tokens, sizeof *self.ids);
    self.types = calloc(self.tokens, sizeof *self.types);
    CHECK(self.ids && self.types);
    for (uint32_t i = 0; i < self.tokens; i++)
        self.ids[i] = (int32_t)((i * 2654435761u) % shape->vocab_rows);
    return self;
}

static void batch_done(struct batch *self) {
    free(self->start);
    free(self->ids);
    free(self->types);
}

/* Many short texts and a long tail: 4 + 12 u + 80 u^3 for u uniform in 0 .. 1, and each 32nd has
 * 128 tokens. */
static void mixed_lengths(uint32_t lengths[MIXED_TEXTS]) {
    uint32_t seed = 12345;
    for (uint32_t i = 0; i < MIXED_TEXTS; i++) {
        seed = seed * 1664525u + 1013904223u;
        const double u = (double)(seed >> 8) / 16777216.0;
        lengths[i] = i % 32 ? 4 + (uint32_t)(80 * u * u * u + 12 * u) : 128;
    }
}

/* ---- the floor */

struct floor {
    struct peak_loop f32, products; /* loops of float32, and of the precision that is measured */
    double f32_gflops, products_gflops, read; /* what the machine can do, GFLOP/s and GB/s */
    double near_bytes;                        /* of the last cache */
};

static struct floor floor_make(enum gemm_precision precision) {
    return (struct floor){.f32 = peak_loop_of(GEMM_F32),
                          .products = peak_loop_of(precision == GEMM_I8 ? GEMM_I8 : GEMM_F32),
                          .read = peak_read(),
                          .near_bytes = peak_last_cache()};
}

static void floor_measure(struct floor *self) {
    self->f32_gflops = self->products_gflops = peak_of(&self->f32);
    if (self->products.run != self->f32.run)
        self->products_gflops = peak_of(&self->products);
}

/* Multiply-adds, times two, of all products with weights and of attention. */
struct flops {
    double products, attention;
};

static struct flops batch_flops(const struct model_shape *shape, const struct batch *batch) {
    const double h = shape->hidden, inner = shape->inner;
    struct flops sum = {0};
    for (uint32_t i = 0; i < batch->texts; i++) {
        const double tokens = batch->start[i + 1] - batch->start[i];
        sum.products += shape->layers * tokens * 2 * (4 * h * h + 2 * h * inner);
        sum.attention += shape->layers * tokens * 4 * tokens * h;
    }
    return sum;
}

static double floor_ns(const struct floor *self, const encoder_t *encoder,
                       const struct batch *batch) {
    static const double number_bytes[GEMM_PRECISIONS] = {4, 2, 1};
    const struct model_shape *shape = &encoder->shape;
    const enum gemm_precision precision = encoder->gemm->precision;
    const double h = shape->hidden, inner = shape->inner;
    const double bytes = number_bytes[precision] * shape->layers * (4 * h * h + 2 * h * inner);
    const double read_ns = bytes > 2 * self->near_bytes ? bytes / self->read : 0;
    const struct flops flops = batch_flops(shape, batch);
    double ns = flops.products / self->products_gflops + flops.attention / self->f32_gflops;
    if (precision == GEMM_BF16)
        ns /= 2;
    return read_ns > ns ? read_ns : ns;
}

/* ---- one thread */

static int by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_profile(const struct encoder_profile *profile) {
    static const char *const names[ENCODER_PARTS] = {"embed", "qkv",  "attention", "out",
                                                     "ffn1",  "ffn2", "norm",      "pool"};
    double sum = 0;
    for (uint32_t i = 0; i < ENCODER_PARTS; i++)
        sum += (double)profile->spent_ns[i];
    for (uint32_t i = 0; i < ENCODER_PARTS; i++)
        printf("    %-10s %8.3f ms %5.1f %%\n", names[i], (double)profile->spent_ns[i] / 1e6,
               100 * (double)profile->spent_ns[i] / sum);
}

/* Times of many passes, and how they compare with what the core could have done just then. */
struct passes {
    uint32_t n;
    double ns[RUNS_MAX], ratio[RUNS_MAX];
    struct encoder_profile best; /* part by part */
};

static double processor_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void passes_run(struct passes *self, const encoder_t *encoder, const struct floor *floor,
                       const struct batch *batch, bool profiled) {
    float *out = calloc((size_t)batch->texts * encoder->shape.hidden, sizeof *out);
    struct arena arena;
    CHECK(out && arena_init(&arena, encoder_scratch_bytes(encoder, batch->tokens, batch->texts)));
    *self = (struct passes){0};
    for (int i = 0; i < ENCODER_PARTS; i++)
        self->best.spent_ns[i] = UINT64_MAX;
    encoder_forward(encoder, batch->ids, batch->types, batch->start, batch->texts, &arena, out);
    const uint64_t begin_ns = clock_ns();
    struct floor now = *floor;
    floor_measure(&now);
    for (; self->n < RUNS_MAX; self->n++) {
        if (self->n >= RUNS_MIN && clock_ns() - begin_ns >= 1000000000u)
            break;
        struct encoder_profile profile = {0};
        const double from_ns = processor_ns();
        encoder_forward_profiled(encoder, batch->ids, batch->types, batch->start, batch->texts,
                                 &arena, out, profiled ? &profile : NULL);
        const double ns = processor_ns() - from_ns;
        struct floor around = now;
        floor_measure(&now);
        around.f32_gflops = (around.f32_gflops + now.f32_gflops) / 2;
        around.products_gflops = (around.products_gflops + now.products_gflops) / 2;
        self->ns[self->n] = ns;
        self->ratio[self->n] = ns / floor_ns(&around, encoder, batch);
        for (int i = 0; i < ENCODER_PARTS; i++)
            if (profile.spent_ns[i] < self->best.spent_ns[i])
                self->best.spent_ns[i] = profile.spent_ns[i];
    }
    qsort(self->ns, self->n, sizeof *self->ns, by_size);
    qsort(self->ratio, self->n, sizeof *self->ratio, by_size);
    arena_done(&arena);
    free(out);
}

static void bench(const encoder_t *encoder, const struct options *options,
                  const struct floor *floor, const struct batch *batch, const char *name) {
    static struct passes passes;
    passes_run(&passes, encoder, floor, batch, options->profile);
    const double median_ns = passes.ns[passes.n / 2];
    const struct flops flops = batch_flops(&encoder->shape, batch);
    printf("%-11s %-7s %-9s median %9.3f ms  min %9.3f  x floor %5.3f (least %5.3f)  "
           "%6.1f GFLOP/s  %8.0f tokens/s\n",
           encoder->gemm->name, options->shape_name, name, median_ns / 1e6, passes.ns[0] / 1e6,
           passes.ratio[passes.n / 2], passes.ratio[passes.n / 10],
           (flops.products + flops.attention) / median_ns, batch->tokens / median_ns * 1e9);
    if (options->profile)
        print_profile(&passes.best);
    fflush(stdout);
}

/* ---- several threads */

struct turn {
    const encoder_t *encoder;
    const struct batch *batch;
    uint64_t until_ns;
    atomic_uint passes;
};

static void *turn_thread(void *arg) {
    struct turn *turn = arg;
    const struct batch *batch = turn->batch;
    float *out = calloc((size_t)batch->texts * turn->encoder->shape.hidden, sizeof *out);
    struct arena arena;
    CHECK(out &&
          arena_init(&arena, encoder_scratch_bytes(turn->encoder, batch->tokens, batch->texts)));
    uint32_t passes = 0;
    do {
        encoder_forward(turn->encoder, batch->ids, batch->types, batch->start, batch->texts, &arena,
                        out);
        passes++;
    } while (clock_ns() < turn->until_ns);
    turn->passes += passes;
    arena_done(&arena);
    free(out);
    return NULL;
}

/* Passes per second of n threads together, over some tenths of a second. */
static double turn_run(const encoder_t *encoder, const struct batch *batch, uint32_t n) {
    const uint64_t from_ns = clock_ns();
    struct turn turn = {.encoder = encoder, .batch = batch, .until_ns = from_ns + 200000000u};
    pthread_t threads[THREADS_MAX];
    for (uint32_t i = 0; i < n; i++)
        CHECK(pthread_create(&threads[i], NULL, turn_thread, &turn) == 0);
    for (uint32_t i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    return turn.passes / ((double)(clock_ns() - from_ns) * 1e-9);
}

static void bench_threads(const encoder_t *encoder, uint32_t n, const struct batch *batch,
                          const char *name) {
    enum { TURNS = 8 };
    double one = 0, all = 0;
    for (int i = 0; i < TURNS; i++) {
        const double x = turn_run(encoder, batch, 1), y = turn_run(encoder, batch, n);
        one = x > one ? x : one;
        all = y > all ? y : all;
    }
    printf("    %s: %u threads %.0f tokens/s, one thread %.0f: %.2f x\n", name, n,
           all * batch->tokens, one * batch->tokens, all / one);
    fflush(stdout);
}

/* ---- one pass by several threads */

struct helper {
    const encoder_t *encoder;
    const struct batch *batch;
    struct team *team;
    atomic_bool *stop;
    pthread_t thread;
};

static void *helper_thread(void *arg) {
    struct helper *self = arg;
    struct arena arena;
    CHECK(arena_init(&arena, encoder_scratch_bytes(self->encoder, self->batch->tokens, 1)));
    while (!*self->stop) /* between two passes too: an idle runner sleeps there */
        encoder_help(self->encoder, self->batch->tokens, &arena, self->team, NULL, NULL);
    arena_done(&arena);
    return NULL;
}

static double pass_ns(const encoder_t *encoder, const struct batch *batch, struct arena *arena,
                      float *out, struct team *team) {
    const uint64_t from_ns = clock_ns();
    encoder_forward_team(encoder, batch->ids, batch->types, batch->start, batch->texts, arena, out,
                         team);
    return (double)(clock_ns() - from_ns);
}

/* Passes alone and with n - 1 helpers in turn. */
static void bench_team(const encoder_t *encoder, uint32_t n, const struct batch *batch,
                       const char *name) {
    enum { PASSES = 60 };
    double alone[PASSES], shared[PASSES];
    float *out = calloc((size_t)batch->texts * encoder->shape.hidden, sizeof *out);
    struct arena arena;
    CHECK(out && arena_init(&arena, encoder_scratch_bytes(encoder, batch->tokens, batch->texts)));
    struct team team = {0};
    atomic_bool stop = false;
    struct helper helpers[THREADS_MAX];
    for (uint32_t i = 0; i + 1 < n; i++) {
        helpers[i] = (struct helper){encoder, batch, &team, &stop, 0};
        CHECK(pthread_create(&helpers[i].thread, NULL, helper_thread, &helpers[i]) == 0);
    }
    for (uint32_t i = 0; i < PASSES; i++) {
        alone[i] = pass_ns(encoder, batch, &arena, out, NULL);
        team_begin(&team);
        while (team_helpers(&team) + 1 < n)
            ;
        shared[i] = pass_ns(encoder, batch, &arena, out, &team);
        team_end(&team);
    }
    stop = true;
    for (uint32_t i = 0; i + 1 < n; i++)
        pthread_join(helpers[i].thread, NULL);
    qsort(alone, PASSES, sizeof *alone, by_size);
    qsort(shared, PASSES, sizeof *shared, by_size);
    printf("    %s: alone %.3f ms, shared by %u threads %.3f: %.2f x (least %.3f, %.3f)\n", name,
           alone[PASSES / 2] / 1e6, n, shared[PASSES / 2] / 1e6,
           alone[PASSES / 2] / shared[PASSES / 2], alone[0] / 1e6, shared[0] / 1e6);
    fflush(stdout);
    arena_done(&arena);
    free(out);
}

/* ---- cases */

static void bench_case(const encoder_t *encoder, const struct options *options,
                       const struct floor *floor, const uint32_t *lengths, uint32_t texts,
                       const char *name) {
    struct batch batch = batch_make(&encoder->shape, lengths, texts);
    bench(encoder, options, floor, &batch, name);
    if (options->threads)
        bench_threads(encoder, options->threads, &batch, name);
    if (options->team)
        bench_team(encoder, options->team, &batch, name);
    batch_done(&batch);
}

static bool bench_kernel(const struct options *options, const struct gemm_kernel *kernel) {
    struct err err;
    encoder_t *encoder = NULL;
    const uint64_t from_us = clock_us();
    if (encoder_load_from(&options->shape, &random_source, kernel, &encoder, &err) != STATUS_OK) {
        fprintf(stderr, "%s\n", err.text);
        return false;
    }
    printf("# %s %s %s, rows by %s: %.1f MB of weights, ready in %.0f ms\n", options->shape_name,
           gemm_precision_name(kernel->precision), kernel->name, encoder->kernels->name,
           (double)encoder_weight_bytes(encoder) / 1e6, (double)(clock_us() - from_us) / 1e3);
    struct floor floor = floor_make(kernel->precision);
    floor_measure(&floor);
    printf("# registers %.1f GFLOP/s in float32, %.1f for products, memory %.1f GB/s\n",
           floor.f32_gflops, floor.products_gflops, floor.read);
    uint32_t lengths[1024];
    for (uint32_t i = 0; i < options->n_cases; i++) {
        char name[32];
        snprintf(name, sizeof name, "%u x %u", options->texts[i], options->tokens[i]);
        for (uint32_t k = 0; k < options->texts[i]; k++)
            lengths[k] = options->tokens[i];
        bench_case(encoder, options, &floor, lengths, options->texts[i], name);
    }
    if (options->mixed) {
        mixed_lengths(lengths);
        bench_case(encoder, options, &floor, lengths, MIXED_TEXTS, "mixed");
    }
    encoder_destroy(&encoder);
    return true;
}

int main(int argc, char **argv) {
    struct options options;
    if (!parse(argc, argv, &options))
        return usage();
    if (strcmp(options.kernel, "best") == 0)
        return bench_kernel(&options, gemm_choose(options.precision)) ? 0 : 1;
    bool found = false;
    for (const struct gemm_kernel *const *kernel = gemm_list(options.precision); *kernel; kernel++)
        if ((*kernel)->usable() &&
            (strcmp(options.kernel, "all") == 0 || strcmp(options.kernel, (*kernel)->name) == 0))
            found = bench_kernel(&options, *kernel);
    return found ? 0 : usage();
}
