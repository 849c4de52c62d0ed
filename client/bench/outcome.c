/* outcome.c - see outcome.h: what people read at a terminal. Rows are printed when they come, as a
 * search or a ramp takes minutes. */
#include "outcome.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const double outcome_quantiles[] = {0.5, 0.9, 0.95, 0.99, 0.999};
const char *const outcome_quantile_names[] = {"p50", "p90", "p95", "p99", "p99.9"};

struct outcome *outcome_new(const struct bench_settings *settings, const texts_t *texts,
                            const char *mode, bool open, uint64_t interval_us) {
    struct outcome *self = calloc(1, sizeof *self);
    if (self)
        self->series = series_new(interval_us);
    if (!self || !self->series) {
        outcome_destroy(&self);
        return NULL;
    }
    self->settings = settings;
    self->texts = texts;
    self->mode = mode;
    self->open = open;
    self->shown = settings->common.output == CLI_TABLE;
    return self;
}

void outcome_destroy(struct outcome **self) {
    if (*self)
        series_destroy(&(*self)->series);
    free(*self);
    *self = NULL;
}

enum status outcome_run(struct outcome *self, ember_t *ember, texts_t *texts, struct load_cfg *load,
                        struct load_report *out, struct err *err) {
    load->series = self->series;
    load->series_at_us = self->series_at_us;
    enum status st = load_run(ember, texts, load, out, err);
    if (st == STATUS_OK)
        self->series_at_us += (uint64_t)(out->seconds * 1e6);
    return st;
}

static void print_row(const struct outcome *self, const struct outcome_row *row) {
    if (self->n_rows == 1) {
        printf("  %-24s %9s %9s %7s", "latency, ms", "calls/s", "calls", "failed");
        for (int i = 0; i < OUTCOME_QUANTILES; i++)
            printf(" %8s", outcome_quantile_names[i]);
        puts("      max");
    }
    double seconds = row->seconds > 0 ? row->seconds : 1;
    printf("  %-24s %9.1f %9llu %7llu", row->label, (double)row->calls / seconds,
           (unsigned long long)row->calls, (unsigned long long)row->failed);
    for (int i = 0; i < OUTCOME_QUANTILES; i++)
        printf(" %8.2f", (double)row->quantile_us[i] / 1e3);
    printf(" %8.2f  %s\n", (double)row->max_us / 1e3, row->verdict);
    fflush(stdout);
}

void outcome_row(struct outcome *self, const char *label, double rate,
                 const struct load_report *load, const char *verdict) {
    if (self->n_rows == OUTCOME_ROWS_MAX)
        return;
    struct outcome_row *row = &self->rows[self->n_rows++];
    *row = (struct outcome_row){.verdict = verdict,
                                .rate = rate,
                                .seconds = load->seconds,
                                .mean_us = latency_mean_us(&load->all),
                                .calls = load->calls,
                                .texts = load->texts,
                                .tokens = load->tokens,
                                .failed = load->failed,
                                .late = load->late,
                                .max_us = load->all.max_us};
    snprintf(row->label, sizeof row->label, "%s", label);
    for (int i = 0; i < OUTCOME_QUANTILES; i++)
        row->quantile_us[i] = latency_quantile_us(&load->all, outcome_quantiles[i]);
    if (self->shown)
        print_row(self, row);
}

void outcome_note(struct outcome *self, const char *format, ...) {
    if (self->n_notes == OUTCOME_NOTES_MAX)
        return;
    char *note = self->notes[self->n_notes++];
    va_list args;
    va_start(args, format);
    vsnprintf(note, OUTCOME_NOTE_BYTES, format, args);
    va_end(args);
    if (self->shown) {
        puts(note);
        fflush(stdout);
    }
}

void outcome_fact(struct outcome *self, const char *name, double value) {
    if (self->n_facts < OUTCOME_FACTS_MAX)
        self->facts[self->n_facts++] = (struct outcome_fact){name, value};
}

void outcome_describe(FILE *out, const struct outcome *self) {
    const struct bench_settings *s = self->settings;
    if (s->find_rate)
        fprintf(out, "open loop, rates of a search");
    else if (s->ramp[0])
        fprintf(out, "open loop, %u rates from %g to %g calls/s", s->ramp_steps.steps,
                s->ramp_steps.from, s->ramp_steps.to);
    else if (self->open && s->rate > 0)
        fprintf(out, "open loop, %g calls/s", s->rate);
    else if (self->open)
        fprintf(out, "open loop, times of the trace");
    else
        fprintf(out, "closed loop, %u callers", s->concurrency);
}

static void print_latency(const char *name, const struct latency *l) {
    printf("  %-18s %9llu", name, (unsigned long long)l->n);
    for (int i = 0; i < OUTCOME_QUANTILES; i++)
        printf(" %8.2f", (double)latency_quantile_us(l, outcome_quantiles[i]) / 1e3);
    printf(" %8.2f %8.2f\n", (double)l->max_us / 1e3, latency_mean_us(l) / 1e3);
}

static void print_table(const struct outcome *self) {
    const struct load_report *r = &self->whole;
    double seconds = r->seconds > 0 ? r->seconds : 1;
    outcome_describe(stdout, self);
    printf(": %.1f s, %.1f calls/s, %.1f texts/s, %.0f tokens/s, %llu failed\n", r->seconds,
           (double)r->calls / seconds, (double)r->texts / seconds, (double)r->tokens / seconds,
           (unsigned long long)r->failed);
    printf("  %-18s %9s", "latency, ms", "calls");
    for (int i = 0; i < OUTCOME_QUANTILES; i++)
        printf(" %8s", outcome_quantile_names[i]);
    puts("      max     mean");
    print_latency("all", &r->all);
    uint32_t classes = texts_classes(self->texts);
    for (uint32_t i = 0; i < classes && classes > 1; i++)
        if (r->by_class[i].n)
            print_latency(texts_class(self->texts, i), &r->by_class[i]);
    printf("  texts from        ");
    for (int i = 0; i < LOAD_SOURCES; i++)
        printf(" %s %.1f%%", ember_source_name((enum ember_source)i),
               r->texts ? 100.0 * (double)r->by_source[i] / (double)r->texts : 0);
    putchar('\n');
    for (int i = 1; i < LOAD_STATUSES; i++)
        if (r->by_status[i])
            printf("  %-18s %9llu\n", ember_status_name((enum ember_status)i),
                   (unsigned long long)r->by_status[i]);
    if (r->failed)
        printf("  first error: %s\n", r->first_error);
    if (r->late)
        printf("  %llu calls started late: the load generator is too slow for this rate\n",
               (unsigned long long)r->late);
}

void outcome_print(const struct outcome *self) {
    if (self->settings->common.output == CLI_JSON)
        outcome_json(stdout, self);
    else if (self->settings->common.output == CLI_TABLE)
        print_table(self);
    else
        for (int i = 0; i < OUTCOME_QUANTILES; i++)
            printf("%s_us %llu\n", outcome_quantile_names[i],
                   (unsigned long long)latency_quantile_us(&self->whole.all, outcome_quantiles[i]));
}
