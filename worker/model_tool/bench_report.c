/* bench_report.c - one line a row. */
#include "bench_report.h"

#include "base/limits.h"
#include "facts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum status bench_report_baseline(struct bench_report *self, const char *path, struct err *err) {
    enum status st = json_load(path, LIMIT_JSON_BYTES, &self->baseline, err);
    if (st == STATUS_OK && json_size(json_get(self->baseline, "rows")) == 0) {
        json_destroy(&self->baseline);
        st = err_set(err, STATUS_DATA_LOSS, "'%s' has no \"rows\"", path);
    }
    return st;
}

void bench_report_done(struct bench_report *self) {
    json_destroy(&self->baseline);
}

double bench_report_find(const json_t *baseline, const char *row, const char *precision) {
    const json_t *rows = json_get(baseline, "rows");
    double least = NAN, ms;
    for (const json_t *r = rows ? json_first(rows) : NULL; r; r = json_next(r)) {
        const char *name = json_text(json_get(r, "row"));
        const char *its = json_text(json_get(r, "precision"));
        if (!name || strcmp(name, row) != 0 || (its && strcmp(its, precision) != 0))
            continue;
        if (json_f64(json_get(r, "ms"), &ms) && ms > 0 && !(least <= ms))
            least = ms;
    }
    return least;
}

/* ---- JSON */

static void put_number(const char *key, double x, int digits) {
    if (isfinite(x))
        printf(", \"%s\": %.*f", key, digits, x);
    else
        printf(", \"%s\": null", key);
}

static void put_vector(const float *x, uint32_t n) {
    printf(", \"vector\": [");
    for (uint32_t i = 0; i < n; i++)
        printf("%s%.9g", i ? "," : "", (double)x[i]);
    putchar(']');
}

static void json_begin(const char *model, const struct model_shape *shape,
                       const struct bench_machine *machine) {
    printf("{\n  \"machine\": {\"cpu\": ");
    facts_quote(view_of(machine->cpu));
    printf(", \"cpus\": %u", machine->cpus);
    put_number("f32_gflops", machine->f32_gflops, 1);
    put_number("bf16_gflops", machine->bf16_gflops, 1);
    put_number("i8_gops", machine->i8_gops, 1);
    put_number("memory_gbytes_per_second", machine->read, 1);
    put_number("last_cache_bytes", machine->near_bytes, 0);
    printf("},\n  \"model\": {\"name\": ");
    facts_quote(view_of(model));
    printf(", \"layers\": %u, \"hidden\": %u, \"heads\": %u, \"inner\": %u, \"vocab_rows\": %u},\n"
           "  \"rows\": [",
           shape->layers, shape->hidden, shape->heads, shape->inner, shape->vocab_rows);
}

static void json_row(const struct bench_row *row, double base_ms) {
    const struct bench_passes *passes = row->passes;
    const struct gemm_kernel *kernel = row->encoder->gemm;
    printf("{\"row\": \"%s\", \"texts\": %u, \"tokens\": %u, \"precision\": \"%s\", "
           "\"kernel\": \"%s\", \"passes\": %u",
           row->name, row->batch->texts, row->batch->tokens, gemm_precision_name(kernel->precision),
           kernel->name, passes->n);
    put_number("ms", passes->median_ns / 1e6, 4);
    put_number("ms_min", passes->min_ns / 1e6, 4);
    put_number("floor_ms", passes->floor_ns / 1e6, 4);
    put_number("times_floor", passes->ratio, 4);
    put_number("times_floor_least", passes->ratio_least, 4);
    put_number("tokens_per_second", row->batch->tokens / passes->median_ns * 1e9, 0);
    if (row->threads > 1) {
        printf(", \"threads\": %u", row->threads);
        put_number("threads_tokens_per_second", row->turns->all, 0);
        put_number("threads_times_one", row->turns->all / row->turns->one, 3);
    }
    if (row->team > 1) {
        printf(", \"team\": %u", row->team);
        put_number("team_ms", row->shared->shared_ns / 1e6, 4);
        put_number("team_ms_min", row->shared->shared_least_ns / 1e6, 4);
        put_number("team_times_faster", row->shared->alone_ns / row->shared->shared_ns, 3);
    }
    if (base_ms > 0)
        put_number("baseline_ms", base_ms, 4);
    if (row->vector)
        put_vector(row->vector, model_outputs(encoder_shape(row->encoder)));
    putchar('}');
}

/* ---- a table */

static void table_begin(const struct bench_report *self, const char *model,
                        const struct model_shape *shape, const struct bench_machine *machine) {
    printf("# %s: %u layers, %u wide, %u heads, %u inner\n", model, shape->layers, shape->hidden,
           shape->heads, shape->inner);
    printf("# %u x %s, last cache %.0f MB; one core: %.0f GFLOP/s fp32, %.0f bf16, %.0f GOP/s "
           "int8; memory %.0f GB/s\n",
           machine->cpus, machine->cpu, machine->near_bytes / 1048576, machine->f32_gflops,
           machine->bf16_gflops, machine->i8_gops, machine->read);
    printf("%-5s %-12s %9s %10s %10s %10s %8s %8s %10s", "", "kernel", "row", "ms", "least",
           "floor", "x floor", "least", "tokens/s");
    printf("%s\n", self->baseline ? "   baseline   faster" : "");
}

static void table_profile(const struct encoder_profile *profile) {
    static const char *const names[ENCODER_PARTS] = {"embed", "qkv",  "attention", "out",
                                                     "ffn1",  "ffn2", "norm",      "pool"};
    double sum = 0;
    for (int i = 0; i < ENCODER_PARTS; i++)
        sum += (double)profile->spent_ns[i];
    for (int i = 0; i < ENCODER_PARTS; i++)
        printf("    %-10s %9.3f ms %5.1f %%\n", names[i], (double)profile->spent_ns[i] / 1e6,
               100 * (double)profile->spent_ns[i] / sum);
}

static void table_row(const struct bench_report *self, const struct bench_row *row,
                      double base_ms) {
    const struct bench_passes *passes = row->passes;
    const struct gemm_kernel *kernel = row->encoder->gemm;
    const double ms = passes->median_ns / 1e6;
    printf("%-5s %-12s %9s %10.3f %10.3f", gemm_precision_name(kernel->precision), kernel->name,
           row->name, ms, passes->min_ns / 1e6);
    if (isfinite(passes->ratio))
        printf(" %10.3f %8.3f %8.3f", passes->floor_ns / 1e6, passes->ratio, passes->ratio_least);
    else
        printf(" %10s %8s %8s", "-", "-", "-");
    printf(" %10.0f", row->batch->tokens / passes->median_ns * 1e9);
    if (base_ms > 0)
        printf(" %10.3f %7.2fx", base_ms, base_ms / ms);
    putchar('\n');
    if (row->threads > 1)
        printf("    %u threads %.0f tokens/s, one %.0f: %.2f x\n", row->threads, row->turns->all,
               row->turns->one, row->turns->all / row->turns->one);
    if (row->team > 1)
        printf("    alone %.3f ms, shared by %u threads %.3f: %.2f x (least %.3f, %.3f)\n",
               row->shared->alone_ns / 1e6, row->team, row->shared->shared_ns / 1e6,
               row->shared->alone_ns / row->shared->shared_ns, row->shared->alone_least_ns / 1e6,
               row->shared->shared_least_ns / 1e6);
    if (self->profiled)
        table_profile(&passes->profile);
}

/* ---- */

void bench_report_begin(struct bench_report *self, const char *model,
                        const struct model_shape *shape, const struct bench_machine *machine) {
    if (self->json)
        json_begin(model, shape, machine);
    else
        table_begin(self, model, shape, machine);
    fflush(stdout);
}

void bench_report_kernel(const struct bench_report *self, const encoder_t *encoder,
                         double ready_ms) {
    if (!self->json)
        printf("# %s %s, rows by %s: %.1f MB of weights, ready in %.0f ms\n",
               gemm_precision_name(encoder->gemm->precision), encoder->gemm->name,
               encoder->kernels->name, (double)encoder_weight_bytes(encoder) / 1e6, ready_ms);
}

void bench_report_row(struct bench_report *self, const struct bench_row *row) {
    const char *precision = gemm_precision_name(row->encoder->gemm->precision);
    const double base_ms =
        self->baseline ? bench_report_find(self->baseline, row->name, precision) : NAN;
    if (self->json) {
        printf("%s\n    ", self->more ? "," : "");
        json_row(row, base_ms);
    } else {
        table_row(self, row, base_ms);
    }
    self->more = true;
    fflush(stdout);
}

void bench_report_end(const struct bench_report *self) {
    if (self->json)
        puts("\n  ]\n}");
}
