/* model_bench.c - time of one forward pass over random weights: texts x tokens, one thread.
 *
 *     model_bench [--shape minilm|base|small] [--kernel NAME|all] [--pool mean|cls] [--profile]
 *                 [b,s ...]
 *
 * Figures are the median of the runs of about a second; GFLOP/s counts matrix products and
 * attention alone, so what is missing from the machine's peak is everything: memory, activations,
 * norms. */
#include "base/check.h"
#include "base/clock.h"
#include "support/random_encoder.h"

#include <stdio.h>
#include <stdlib.h>

enum { RUNS_MAX = 3000, RUNS_MIN = 7, CASES_MAX = 64 };

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
    const char *shape_name, *kernel;
    bool profile;
    uint32_t n_cases, texts[CASES_MAX], tokens[CASES_MAX];
};

static int usage(void) {
    fprintf(stderr, "usage: model_bench [--shape minilm|base|small] [--kernel NAME|all] "
                    "[--pool mean|cls] [--profile] [b,s ...]\n");
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
        } else if (strcmp(argv[i], "--kernel") == 0) {
            out->kernel = value;
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
    if (!out->n_cases)
        for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
            parse_case(usual[i], out);
    return true;
}

/* Multiply-adds of all products and of attention, times two. */
static double flops(const struct model_shape *shape, double texts, double tokens) {
    const double h = shape->hidden, inner = shape->inner;
    const double per_token = 2 * (4 * h * h + 2 * h * inner) + 4 * tokens * h;
    return shape->layers * texts * tokens * per_token;
}

static int by_size(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void print_profile(const struct encoder_profile *profile, double runs) {
    static const char *const names[ENCODER_PARTS] = {"embed", "qkv",  "attention", "out",
                                                     "ffn1",  "ffn2", "norm",      "pool"};
    double sum = 0;
    for (uint32_t i = 0; i < ENCODER_PARTS; i++)
        sum += (double)profile->spent_ns[i];
    for (uint32_t i = 0; i < ENCODER_PARTS; i++)
        printf("    %-10s %8.3f ms %5.1f %%\n", names[i], (double)profile->spent_ns[i] / runs / 1e6,
               100 * (double)profile->spent_ns[i] / sum);
}

static void bench(const encoder_t *encoder, const struct options *options, uint32_t b, uint32_t s) {
    const uint32_t total = b * s;
    int32_t *ids = calloc(total, sizeof *ids), *types = calloc(total, sizeof *types);
    uint32_t *start = calloc(b + 1, sizeof *start);
    float *out = calloc((size_t)b * encoder->shape.hidden, sizeof *out);
    struct arena arena;
    CHECK(ids && types && start && out);
    CHECK(arena_init(&arena, encoder_scratch_bytes(encoder, total, b)));
    for (uint32_t i = 0; i < total; i++)
        ids[i] = (int32_t)((i * 2654435761u) % encoder->shape.vocab_rows);
    for (uint32_t i = 0; i <= b; i++)
        start[i] = i * s;

    static uint64_t took_ns[RUNS_MAX];
    struct encoder_profile profile = {0};
    encoder_forward(encoder, ids, types, start, b, &arena, out); /* warm */
    const uint64_t begin_ns = clock_ns();
    uint32_t runs = 0;
    while (runs < RUNS_MAX && (runs < RUNS_MIN || clock_ns() - begin_ns < 1000000000u)) {
        const uint64_t from_ns = clock_ns();
        encoder_forward_profiled(encoder, ids, types, start, b, &arena, out,
                                 options->profile ? &profile : NULL);
        took_ns[runs++] = clock_ns() - from_ns;
    }
    qsort(took_ns, runs, sizeof *took_ns, by_size);
    const double median_ns = (double)took_ns[runs / 2];
    printf("%-9s %-7s %3u x %-4u median %9.3f ms  min %9.3f  %6.1f GFLOP/s  %8.0f tokens/s\n",
           encoder->gemm->name, options->shape_name, b, s, median_ns / 1e6,
           (double)took_ns[0] / 1e6, flops(&encoder->shape, b, s) / median_ns,
           total / median_ns * 1e9);
    if (options->profile)
        print_profile(&profile, runs);
    fflush(stdout);
    arena_done(&arena);
    free(ids);
    free(types);
    free(start);
    free(out);
}

static bool bench_kernel(const struct options *options, const struct gemm_kernel *kernel) {
    struct err err;
    encoder_t *encoder = NULL;
    const uint64_t from_us = clock_us();
    if (encoder_load_from(&options->shape, &random_source, kernel, &encoder, &err) != STATUS_OK) {
        fprintf(stderr, "%s\n", err.text);
        return false;
    }
    printf("# %s %s, rows by %s: %.1f MB of weights, ready in %.0f ms\n", options->shape_name,
           kernel->name, encoder->kernels->name, (double)encoder_weight_bytes(encoder) / 1e6,
           (double)(clock_us() - from_us) / 1e3);
    for (uint32_t i = 0; i < options->n_cases; i++)
        bench(encoder, options, options->texts[i], options->tokens[i]);
    encoder_destroy(&encoder);
    return true;
}

int main(int argc, char **argv) {
    struct options options;
    if (!parse(argc, argv, &options))
        return usage();
    if (strcmp(options.kernel, "best") == 0)
        return bench_kernel(&options, gemm_choose(GEMM_F32)) ? 0 : 1;
    bool found = false;
    for (const struct gemm_kernel *const *kernel = gemm_list(GEMM_F32); *kernel; kernel++)
        if ((*kernel)->usable() &&
            (strcmp(options.kernel, "all") == 0 || strcmp(options.kernel, (*kernel)->name) == 0))
            found = bench_kernel(&options, *kernel);
    return found ? 0 : usage();
}
