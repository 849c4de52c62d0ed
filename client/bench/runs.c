/* runs.c - see runs.h. */
#include "runs.h"

#include "find.h"
#include "plan.h"
#include "price_row.h"
#include "stats.h"

#include <math.h>
#include <signal.h>
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

/* Who serves the calls: *model is its own name, and how many workers; 0: not known. */
static uint32_t workers_now(const struct cli *cli, const struct bench_settings *s,
                            struct ember_model *model) {
    *model = (struct ember_model)EMBER_MODEL_INIT;
    enum ember_task task = bench_tasks[s->task];
    enum ember_status st = ember_describe(cli->ember, NULL, task, 0, model, NULL);
    if (s->mix[0] && (st != EMBER_OK || model->workers == 0))
        st = ember_describe(cli->ember, NULL, EMBER_TASK_CLASSIFY, 0, model, NULL);
    return st == EMBER_OK ? model->workers : 0;
}

/* What a worker of that model says it costs, on average; 0: none says so, or we may not ask. */
static double own_cost(const struct cli *cli, const char *model) {
    ember_report_t *status = NULL;
    if (ember_report(cli->ember, 0, &status, NULL) != EMBER_OK)
        return 0;
    double sum = 0;
    uint32_t n = 0;
    const struct ember_worker_info *w;
    for (size_t i = 0; (w = ember_report_worker(status, i)); i++)
        for (size_t k = 0; k < w->n_models; k++)
            if (strcmp(w->models[k].name, model) == 0) {
                sum += w->hourly_cost;
                n++;
                break;
            }
    ember_report_destroy(&status);
    return n ? sum / n : 0;
}

/* What a search found, as workers and money. */
struct told {
    struct ember_model model;
    uint32_t workers;
    double hourly; /* of one; 0: not known */
};

static void tell_plan(struct outcome *report, const struct told *told, const struct found *found) {
    const struct bench_settings *s = report->settings;
    uint32_t workers = told->workers;
    struct plan plan = plan_workers(found->rate, workers, s->workers_for, told->hourly);
    outcome_fact(report, "workers", workers);
    outcome_fact(report, "rate_per_worker", plan.per_worker);
    outcome_fact(report, "workers_needed", plan.workers);
    outcome_fact(report, "cost_per_hour", plan.per_hour);
    outcome_fact(report, "cost_per_million_calls", plan.per_million);
    outcome_note(report,
                 "Workers for %g calls/s: %.0f%s, as %u of %s hold %.4g, %.4g each; one more lets "
                 "one fail.",
                 s->workers_for, plan.workers, found->ceiling ? " at most" : "", workers,
                 told->model.name, found->rate, plan.per_worker);
    if (told->hourly > 0)
        outcome_note(report, "Cost: %.4g an hour, %.4g for a million calls at that rate.",
                     plan.per_hour, plan.per_million);
    else
        outcome_note(report, "Cost: not known; no worker tells its own, so give --hourly-cost.");
}

static void tell_workers(const struct cli *cli, struct outcome *report, uint32_t before,
                         const struct found *found) {
    const struct bench_settings *s = report->settings;
    struct told told;
    told.workers = workers_now(cli, s, &told.model);
    if (told.workers == 0 || before != told.workers) {
        if (s->workers_for > 0)
            outcome_note(report,
                         "Workers for %g calls/s: not known, as %u served at first and %u now.",
                         s->workers_for, before, told.workers);
        return; /* nor is it known what one holds */
    }
    told.hourly = s->hourly_cost > 0 ? s->hourly_cost : own_cost(cli, told.model.name);
    if (s->workers_for > 0)
        tell_plan(report, &told, found);
    price_row_tell(cli, report, told.model.name, told.workers, found, told.hourly);
}

enum status runs_find(struct cli *cli, texts_t *texts, struct outcome *report, int *code,
                      struct err *err) {
    struct found found;
    struct ember_model model;
    uint32_t before = workers_now(cli, report->settings, &model);
    enum status st = find_rate(cli->ember, texts, report, &found, err);
    *code = found.holds ? CLI_OK : CLI_MISSED;
    if (st == STATUS_OK && found.holds)
        tell_workers(cli, report, before, &found);
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
                 "drift: %.3g %%).",
                 trend.start / 1e3, end / 1e3, 100 * (end / trend.start - 1),
                 trend.sure ? "more than" : "no more than", 100 * trend.chance);
}

static void add_intervals(struct outcome *report, struct load_report *row) {
    double length_s = (double)series_interval_us(report->series) / 1e6;
    for (uint32_t i = 0; i < series_count(report->series); i++) {
        const struct series_interval *at = series_at(report->series, i);
        double left_s = report->whole.seconds - length_s * i;
        if (i && left_s < length_s / 4)
            break; /* what a moment holds says nothing; the whole counts it */
        memset(row, 0, sizeof *row);
        row->all = at->latency;
        row->calls = at->latency.n;
        row->failed = at->failed;
        row->seconds = fmin(length_s, left_s);
        char label[OUTCOME_LABEL_BYTES];
        snprintf(label, sizeof label, "from %.4g s", length_s * i);
        outcome_row(report, label, report->settings->rate, row, "");
    }
}

static volatile sig_atomic_t stopped; /* a signal handler has nothing but this */

static void on_signal(int signal_number) {
    (void)signal_number;
    stopped = 1;
}

/* Hours of figures are not lost when somebody has seen enough: the first SIGINT or SIGTERM ends the
 * load, the second one the program. */
static void stop_on_signal(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

enum status runs_soak(struct cli *cli, texts_t *texts, struct outcome *report, int *code,
                      struct err *err) {
    struct load_cfg load = bench_load(report->settings, report->open);
    load.duration_us = report->settings->soak_us;
    load.stop = &stopped;
    stop_on_signal();
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
