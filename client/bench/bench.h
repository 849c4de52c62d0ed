/* bench.h - what the parts of `ember bench` share: its settings, and how a load is made of them.
 *
 * Threads: one. */
#ifndef EMBER_BENCH_BENCH_H
#define EMBER_BENCH_BENCH_H

#include "cli.h"
#include "judge.h"
#include "load.h"
#include "spec.h"

#include "base/limits.h"

struct bench_settings {
    struct cli_common common;
    uint32_t concurrency, texts_per_call, task, cache, lane, requests, seed, request_texts;
    double rate, rate_max, unique;
    uint64_t duration_us, warm_up_us;
    char trace[512], lengths[256], labels[1024], mix[512];
    bool closed, retry;
    bool find_rate;
    char ramp[64];
    struct spec_ramp ramp_steps; /* what it says */
    uint64_t soak_us;
    char compare[512];
    const char *compare_with; /* the word behind --compare A */
    uint32_t rounds;
    uint64_t slo_p95_us, probe_us;
    double workers_for, hourly_cost;
    char instance[LIMIT_NAME_BYTES + 1];
    char report_json[512], report_html[512]; /* files */
    uint64_t fail_p95_us;
    char fail_errors[16];
    struct judge_limits limits;         /* what the last two say */
    const char *list[TEXTS_LABELS_MAX]; /* the words of `labels` */
    uint32_t n_labels;
};

extern const enum ember_task bench_tasks[];  /* by bench_settings.task */
extern const char *const bench_task_names[]; /* by bench_settings.task */

/* The texts of these settings, drawn from `seed`. */
enum status bench_texts(const struct bench_settings *s, uint64_t seed, texts_t **out,
                        struct err *err);
struct load_cfg bench_load(const struct bench_settings *s, bool open);

#endif
