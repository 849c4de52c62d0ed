/* runs.c - see runs.h. */
#include "runs.h"

#include "find.h"
#include "stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum status runs_load(struct cli *cli, texts_t *texts, struct outcome *report, int *code,
                      struct err *err) {
    struct load_cfg load = bench_load(report->settings, report->open);
    enum status st = outcome_run(report, cli->ember, texts, &load, &report->whole, err);
    *code = report->whole.calls ? CLI_OK : CLI_FAILED;
    if (st == STATUS_OK && report->shown)
        outcome_print(report);
    return st;
}

enum status runs_find(struct cli *cli, texts_t *texts, struct outcome *report, int *code,
                      struct err *err) {
    bool holds;
    enum status st = find_rate(cli->ember, texts, report, &holds, err);
    *code = holds ? CLI_OK : CLI_MISSED;
    return st;
}

enum status runs_ramp(struct cli *cli, texts_t *texts, struct outcome *report, int *code,
                      struct err *err) {
    const struct spec_ramp *ramp = &report->settings->ramp_steps;
    struct load_report *step = malloc(sizeof *step);
    enum status st = step ? STATUS_OK : err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    for (uint32_t i = 0; st == STATUS_OK && i < ramp->steps; i++) {
        struct load_cfg load = bench_load(report->settings, true);
        load.rate = spec_ramp_rate(ramp, i);
        load.seed += i;
        st = outcome_run(report, cli->ember, texts, &load, step, err);
        if (st != STATUS_OK)
            break;
        char label[OUTCOME_LABEL_BYTES];
        snprintf(label, sizeof label, "%.4g calls/s", load.rate);
        outcome_row(report, label, load.rate, step, step->failed ? "calls failed" : "");
        load_merge(&report->whole, step);
    }
    free(step);
    *code = report->whole.calls ? CLI_OK : CLI_FAILED;
    if (st == STATUS_OK && report->whole.failed)
        outcome_note(report, "First error: %s", report->whole.first_error);
    return st;
}

/* Of P95 over the intervals that have one. */
static void tell_drift(struct outcome *report) {
    double p95_us[SERIES_MAX];
    uint32_t n = 0;
    for (uint32_t i = 0; i < series_count(report->series); i++) {
        const struct latency *l = &series_at(report->series, i)->latency;
        if (l->n >= RUNS_DRIFT_CALLS)
            p95_us[n++] = (double)latency_quantile_us(l, 0.95);
    }
    struct stats_trend trend = stats_trend(p95_us, n);
    if (n < STATS_TREND_MIN) {
        outcome_note(report, "Drift of P95: not known, as only %u intervals have %d calls or more.",
                     n, RUNS_DRIFT_CALLS);
        return;
    }
    double end = trend.start + trend.slope * (n - 1);
    outcome_fact(report, "drift_from_us", trend.start);
    outcome_fact(report, "drift_to_us", end);
    outcome_fact(report, "drift_chance", trend.chance);
    outcome_note(report,
                 "P95 drifts from %.2f to %.2f ms (%+.1f %%): %s noise (chance of that without a "
                 "drift: %.2g %%).",
                 trend.start / 1e3, end / 1e3, 100 * (end / trend.start - 1),
                 trend.sure ? "more than" : "no more than", 100 * trend.chance);
}

static void add_intervals(struct outcome *report, struct load_report *row) {
    double length_s = (double)series_interval_us(report->series) / 1e6;
    for (uint32_t i = 0; i < series_count(report->series); i++) {
        const struct series_interval *at = series_at(report->series, i);
        memset(row, 0, sizeof *row);
        row->all = at->latency;
        row->calls = at->latency.n;
        row->failed = at->failed;
        row->seconds = fmin(length_s, report->whole.seconds - length_s * i);
        char label[OUTCOME_LABEL_BYTES];
        snprintf(label, sizeof label, "from %.4g s", length_s * i);
        outcome_row(report, label, report->settings->rate, row, "");
    }
}

enum status runs_soak(struct cli *cli, texts_t *texts, struct outcome *report, int *code,
                      struct err *err) {
    struct load_cfg load = bench_load(report->settings, report->open);
    load.duration_us = report->settings->soak_us;
    enum status st = outcome_run(report, cli->ember, texts, &load, &report->whole, err);
    struct load_report *row = malloc(sizeof *row);
    if (st == STATUS_OK && !row)
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    *code = report->whole.calls ? CLI_OK : CLI_FAILED;
    if (st == STATUS_OK) {
        add_intervals(report, row);
        tell_drift(report);
    }
    if (st == STATUS_OK && report->shown)
        outcome_print(report);
    free(row);
    return st;
}
