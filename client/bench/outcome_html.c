/* outcome_html.c - an outcome as one page that stands alone: what was found, plots, tables. It
 * loads nothing, runs nothing, and follows the reader's choice of light or dark. */
#include "chart.h"
#include "outcome.h"
#include "stats.h"

#include "base/clock.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CURVE_POINTS = 60, CURVE_DECADES = 5 };
#define LAST_SHARE 0.25 /* of its length: a last interval that is shorter has no throughput */

static const char style[] =
    ":root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--dim:#5b6470;--grid:#e3e7ec;"
    "--c0:#1d5fd0;--c1:#b45309;--c2:#b3185f;--c3:#5b6470;--bad:#b42318}\n"
    "@media (prefers-color-scheme:dark){:root{--bg:#14171b;--fg:#e6e9ed;--dim:#9aa4b0;"
    "--grid:#2b3138;--c0:#7ab0ff;--c1:#f5b04c;--c2:#ff86b7;--c3:#9aa4b0;--bad:#ff8a7a}}\n"
    "body{margin:0 auto;max-width:60rem;padding:1.5rem;background:var(--bg);color:var(--fg);"
    "font:15px/1.5 system-ui,sans-serif}h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}\n"
    "figure{margin:1.5rem 0}figcaption{font-weight:600}svg{width:100%;height:auto}\n"
    ".tick{font-size:12px;fill:var(--dim)}.grid{stroke:var(--grid)}"
    ".limit{stroke:var(--bad);stroke-dasharray:6 4}.line{fill:none;stroke-width:2}\n"
    ".line-0{stroke:var(--c0)}.line-1{stroke:var(--c1);stroke-dasharray:8 3}"
    ".line-2{stroke:var(--c2);stroke-dasharray:3 3}.line-3{stroke:var(--c3)}\n"
    ".dot-0{fill:var(--c0)}.dot-1{fill:var(--c1)}.dot-2{fill:var(--c2)}.dot-3{fill:var(--c3)}\n"
    ".wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    "th,td{padding:.2rem .7rem;border-bottom:1px solid var(--grid);text-align:right}"
    "th:first-child,td:first-child{text-align:left}th{color:var(--dim);font-weight:600}\n";

static void put_cell(FILE *out, const char *text) {
    fputs("<td>", out);
    chart_text(out, text);
    fputs("</td>", out);
}

static void put_head(FILE *out, const char *first, const char *const *more) {
    fprintf(out, "<div class=\"wide\"><table><thead><tr><th>%s</th>", first);
    for (; *more; more++)
        fprintf(out, "<th>%s</th>", *more);
    for (int i = 0; i < OUTCOME_QUANTILES; i++)
        fprintf(out, "<th>%s</th>", outcome_quantile_names[i]);
    fputs("<th>max</th><th>mean</th>", out);
}

static void put_class(FILE *out, const char *name, const struct latency *l) {
    fputs("<tr>", out);
    put_cell(out, name);
    fprintf(out, "<td>%llu</td>", (unsigned long long)l->n);
    for (int i = 0; i < OUTCOME_QUANTILES; i++)
        fprintf(out, "<td>%.2f</td>", (double)latency_quantile_us(l, outcome_quantiles[i]) / 1e3);
    fprintf(out, "<td>%.2f</td><td>%.2f</td></tr>\n", (double)l->max_us / 1e3,
            latency_mean_us(l) / 1e3);
}

static void put_classes(FILE *out, const struct outcome *self) {
    fputs("<h2>Latency, ms</h2>\n", out);
    put_head(out, "calls", (const char *const[]){"n", NULL});
    fputs("</tr></thead><tbody>\n", out);
    put_class(out, "all", &self->whole.all);
    for (uint32_t i = 0; i < texts_classes(self->texts); i++)
        if (self->whole.by_class[i].n)
            put_class(out, texts_class(self->texts, i), &self->whole.by_class[i]);
    fputs("</tbody></table></div>\n", out);
}

static void put_rows(FILE *out, const struct outcome *self) {
    if (self->n_rows == 0)
        return;
    fputs("<h2>Runs, latency in ms</h2>\n", out);
    put_head(out, "run", (const char *const[]){"calls/s", "calls", "failed", NULL});
    fputs("<th></th></tr></thead><tbody>\n", out);
    for (uint32_t i = 0; i < self->n_rows; i++) {
        const struct outcome_row *r = &self->rows[i];
        fputs("<tr>", out);
        put_cell(out, r->label);
        fprintf(out, "<td>%.1f</td><td>%llu</td><td>%llu</td>",
                (double)r->calls / (r->seconds > 0 ? r->seconds : 1), (unsigned long long)r->calls,
                (unsigned long long)r->failed);
        for (int k = 0; k < OUTCOME_QUANTILES; k++)
            fprintf(out, "<td>%.2f</td>", (double)r->quantile_us[k] / 1e3);
        fprintf(out, "<td>%.2f</td><td>%.2f</td>", (double)r->max_us / 1e3, r->mean_us / 1e3);
        put_cell(out, r->verdict);
        fputs("</tr>\n", out);
    }
    fputs("</tbody></table></div>\n", out);
}

static double limit_ms(const struct outcome *self) {
    const struct bench_settings *s = self->settings;
    uint64_t us = s->find_rate ? s->slo_p95_us : s->fail_p95_us;
    return (double)us / 1e3;
}

/* Latency and calls over the time of all runs, one after the other. */
static void put_series(FILE *out, const struct outcome *self) {
    double x[SERIES_MAX], y[5][SERIES_MAX],
        length_s = (double)series_interval_us(self->series) / 1e6;
    uint32_t n = series_count(self->series);
    for (uint32_t i = 0; i < n; i++) {
        const struct series_interval *at = series_at(self->series, i);
        const struct latency *l = &at->latency;
        x[i] = length_s * i;
        y[0][i] = l->n ? (double)latency_quantile_us(l, 0.5) / 1e3 : NAN;
        y[1][i] = l->n ? (double)latency_quantile_us(l, 0.95) / 1e3 : NAN;
        y[2][i] = l->n ? (double)latency_quantile_us(l, 0.99) / 1e3 : NAN;
        double covered_s = fmin(length_s, (double)self->series_at_us / 1e6 - x[i]);
        bool enough = covered_s > LAST_SHARE * length_s;
        y[3][i] = enough ? (double)at->ended / covered_s : NAN;
        y[4][i] = enough ? (double)at->failed / covered_s : NAN;
    }
    chart_put(out, &(struct chart){.title = "Latency over time",
                                   .x_name = "seconds of measured time",
                                   .y_name = "ms",
                                   .x = x,
                                   .n = n,
                                   .lines = {{"p50", y[0]}, {"p95", y[1]}, {"p99", y[2]}},
                                   .n_lines = 3,
                                   .limit = limit_ms(self)});
    chart_put(out, &(struct chart){.title = "Throughput",
                                   .x_name = "seconds of measured time",
                                   .y_name = "calls/s",
                                   .x = x,
                                   .n = n,
                                   .lines = {{"answered", y[3]}, {"failed", y[4]}},
                                   .n_lines = 2});
}

/* Latency by percentile; each decade of x is one nine more. */
static void put_curve(FILE *out, const struct outcome *self) {
    static const struct chart_tick ticks[] = {{0, "0 %"},     {0.30103, "50 %"}, {1, "90 %"},
                                              {2, "99 %"},    {3, "99.9 %"},     {4, "99.99 %"},
                                              {5, "99.999 %"}};
    const struct latency *l = &self->whole.all;
    double x[CURVE_POINTS], y[CURVE_POINTS];
    double end = fmin(log10(fmax((double)l->n, 2)), CURVE_DECADES);
    for (int i = 0; i < CURVE_POINTS; i++) {
        x[i] = end * i / (CURVE_POINTS - 1);
        y[i] = l->n ? (double)latency_quantile_us(l, 1 - pow(10, -x[i])) / 1e3 : NAN;
    }
    chart_put(out, &(struct chart){.title = "Latency by percentile",
                                   .x_name = "share of calls that were not slower",
                                   .y_name = "ms",
                                   .x = x,
                                   .n = CURVE_POINTS,
                                   .lines = {{"all", y}},
                                   .n_lines = 1,
                                   .limit = limit_ms(self),
                                   .ticks = ticks,
                                   .n_ticks = sizeof ticks / sizeof *ticks});
}

static int by_rate(const void *a, const void *b) {
    const struct outcome_row *x = *(const struct outcome_row *const *)a;
    const struct outcome_row *y = *(const struct outcome_row *const *)b;
    return (x->rate > y->rate) - (x->rate < y->rate);
}

/* The median over the rows of one rate, in ms. */
static double median_ms(const struct outcome_row *const *rows, uint32_t n, int quantile) {
    double ms[OUTCOME_ROWS_MAX];
    uint32_t answered = 0;
    for (uint32_t i = 0; i < n; i++)
        if (rows[i]->calls)
            ms[answered++] = (double)rows[i]->quantile_us[quantile] / 1e3;
    return stats_median(ms, answered);
}

/* Of a search or a ramp: what each rate costs. */
static void put_rates(FILE *out, const struct outcome *self) {
    const struct outcome_row *rows[OUTCOME_ROWS_MAX];
    double x[OUTCOME_ROWS_MAX], y[3][OUTCOME_ROWS_MAX];
    static const int which[3] = {OUTCOME_P50, OUTCOME_P95, OUTCOME_P99};
    uint32_t n = 0, rates = 0;
    for (uint32_t i = 0; i < self->n_rows; i++)
        if (self->rows[i].rate > 0)
            rows[n++] = &self->rows[i];
    qsort(rows, n, sizeof *rows, by_rate);
    for (uint32_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && !(rows[end]->rate > rows[i]->rate); end++)
            continue;
        x[rates] = rows[i]->rate;
        for (int k = 0; k < 3; k++)
            y[k][rates] = median_ms(&rows[i], end - i, which[k]);
        rates++;
    }
    if (rates < 2)
        return;
    chart_put(out, &(struct chart){.title = "Latency by rate, medians of its runs",
                                   .x_name = "calls/s asked",
                                   .y_name = "ms",
                                   .x = x,
                                   .n = rates,
                                   .lines = {{"p50", y[0]}, {"p95", y[1]}, {"p99", y[2]}},
                                   .n_lines = 3,
                                   .limit = limit_ms(self)});
}

static void put_setting(FILE *out, const char *name, const char *value) {
    if (!value[0])
        return;
    fprintf(out, "<tr><td>%s</td>", name);
    put_cell(out, value);
    fputs("</tr>\n", out);
}

static void put_settings(FILE *out, const struct outcome *self) {
    const struct bench_settings *s = self->settings;
    char text[128];
    fputs("<h2>Settings</h2>\n<div class=\"wide\"><table><tbody>\n", out);
    put_setting(out, "broker", s->common.broker);
    put_setting(out, "model", s->common.model);
    put_setting(out, "compare", s->compare);
    put_setting(out, "with", s->compare_with ? s->compare_with : "");
    put_setting(out, "task", s->trace[0] || s->mix[0] ? "" : bench_task_names[s->task]);
    put_setting(out, "trace", s->trace);
    put_setting(out, "mix", s->mix);
    put_setting(out, "lengths", s->trace[0] ? "" : s->lengths);
    for (uint32_t i = 0; i < s->n_labels; i++)
        put_setting(out, "label", s->list[i]);
    snprintf(text, sizeof text, "%u a call, %g unique, seed %u", s->texts_per_call, s->unique,
             s->seed);
    put_setting(out, "texts", text);
    snprintf(text, sizeof text, "%g s, not counted", (double)s->warm_up_us / 1e6);
    put_setting(out, "warm-up", text);
    put_setting(out, "version", ember_version());
    fputs("</tbody></table></div>\n", out);
}

static void put_summary(FILE *out, const struct outcome *self) {
    const struct load_report *r = &self->whole;
    double seconds = r->seconds > 0 ? r->seconds : 1;
    fputs("<p>", out);
    outcome_describe(out, self);
    fprintf(out, ": %.1f s, %llu calls, %.1f calls/s, %.1f texts/s, %llu failed.</p>\n", r->seconds,
            (unsigned long long)r->calls, (double)r->calls / seconds, (double)r->texts / seconds,
            (unsigned long long)r->failed);
    if (r->failed) {
        fputs("<p>First error: ", out);
        chart_text(out, r->first_error);
        fputs("</p>\n", out);
    }
    fputs(self->n_notes ? "<ul>\n" : "", out);
    for (uint32_t i = 0; i < self->n_notes; i++) {
        fputs("<li>", out);
        chart_text(out, self->notes[i]);
        fputs("</li>\n", out);
    }
    fputs(self->n_notes ? "</ul>\n" : "", out);
}

void outcome_html(FILE *out, const struct outcome *self) {
    char when[64] = "";
    time_t now = (time_t)(clock_wall_us() / 1000000);
    struct tm parts;
    if (gmtime_r(&now, &parts))
        strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S UTC", &parts);
    fprintf(out,
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
            "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
            "<title>ember bench: %s</title>\n<style>\n%s</style></head>\n<body>\n"
            "<h1>ember bench: %s</h1>\n<p>%s</p>\n",
            self->mode, style, self->mode, when);
    put_summary(out, self);
    put_rates(out, self);
    put_series(out, self);
    put_curve(out, self);
    put_classes(out, self);
    put_rows(out, self);
    put_settings(out, self);
    fputs("</body></html>\n", out);
}
