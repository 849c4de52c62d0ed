/* bench_report.h - the rows of a benchmark: as a table for people, as JSON for scripts, and beside
 * the rows of an earlier run or of another engine.
 *
 * JSON: {"machine": {...}, "model": {...}, "rows": [{"row": "1 x 8", "texts": 1, "tokens": 8,
 * "precision": "f32", "kernel": "avx512", "ms": 0.85, "ms_min": ..., "floor_ms": ...,
 * "times_floor": ..., "tokens_per_second": ...}, ...]}. A baseline needs "row" and "ms" of each
 * row; "precision" where it is not the same for all.
 *
 * Threads: owner only; writes to stdout. */
#ifndef EMBER_MODEL_TOOL_BENCH_REPORT_H
#define EMBER_MODEL_TOOL_BENCH_REPORT_H

#include "bench_time.h"
#include "json/json.h"

struct bench_row {
    const char *name; /* "8 x 32": texts and tokens of each; "mixed" */
    uint32_t threads; /* of `turns`; 1: they were not asked for */
    const struct bench_batch *batch;
    const encoder_t *encoder;
    const struct bench_passes *passes;
    const struct bench_turns *turns;
    uint32_t team; /* threads of `shared`; 1: they were not asked for */
    const struct bench_shared *shared;
    const float *vector; /* NULL: not asked for */
};

struct bench_report {
    bool json, profiled;
    json_t *baseline; /* or NULL */
    bool more;        /* JSON: a row was printed */
};

/* A file of rows as above; STATUS_DATA_LOSS when it has none. */
enum status bench_report_baseline(struct bench_report *self, const char *path, struct err *err);
void bench_report_done(struct bench_report *self);

struct bench_machine {
    char cpu[96];
    uint32_t cpus;
    double f32_gflops, bf16_gflops, i8_gops; /* 0: not known */
    double read;                             /* GB/s */
    double near_bytes;                       /* of the last-level cache */
};

void bench_report_begin(struct bench_report *self, const char *model,
                        const struct model_shape *shape, const struct bench_machine *machine);
/* A kernel's rows follow. */
void bench_report_kernel(const struct bench_report *self, const encoder_t *encoder,
                         double ready_ms);
void bench_report_row(struct bench_report *self, const struct bench_row *row);
void bench_report_end(const struct bench_report *self);

/* The smallest "ms" of the baseline's rows of this name and precision; NaN when there is none. */
double bench_report_find(const json_t *baseline, const char *row, const char *precision);

#endif
