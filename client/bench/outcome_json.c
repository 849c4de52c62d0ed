/* outcome_json.c - a report as one JSON object on one line. */
#include "outcome.h"
#include "screen.h"

#include <math.h>
#include <sys/utsname.h>

static void put_text(FILE *out, const char *text) {
    screen_json_text(out, view_of(text));
}

static void put_latency(FILE *out, const struct latency *l) {
    fprintf(out, "{\"n\":%llu,\"mean_us\":%.1f,\"max_us\":%llu", (unsigned long long)l->n,
            latency_mean_us(l), (unsigned long long)l->max_us);
    for (int i = 0; i < OUTCOME_QUANTILES; i++)
        fprintf(out, ",\"%s_us\":%llu", outcome_quantile_names[i],
                (unsigned long long)latency_quantile_us(l, outcome_quantiles[i]));
    fputc('}', out);
}

static void put_settings(FILE *out, const struct outcome *self) {
    const struct bench_settings *s = self->settings;
    struct utsname host;
    fputs("{\"load\":\"", out);
    outcome_describe(out, self);
    fprintf(out, "\",\"task\":\"%s\",\"labels\":%u",
            s->trace[0] ? "trace"
            : s->mix[0] ? "mix"
                        : bench_task_names[s->task],
            s->n_labels);
    fprintf(out,
            ",\"rate\":%g,\"concurrency\":%u,\"texts_per_call\":%u,\"unique\":%g,\"seed\":%u,"
            "\"warm_up_s\":%g,\"lengths\":",
            s->rate, s->concurrency, s->texts_per_call, s->unique, s->seed,
            (double)s->warm_up_us / 1e6);
    put_text(out, s->lengths);
    fputs(",\"mix\":", out);
    put_text(out, s->mix);
    fputs(",\"trace\":", out);
    put_text(out, s->trace);
    fputs(",\"model\":", out);
    put_text(out, s->common.model);
    fputs(",\"broker\":", out);
    put_text(out, s->common.broker);
    fprintf(out, ",\"version\":\"%s\",\"machine\":", ember_version());
    put_text(out, uname(&host) == 0 ? host.machine : "");
    fputc('}', out);
}

static void put_rows(FILE *out, const struct outcome *self) {
    for (uint32_t i = 0; i < self->n_rows; i++) {
        const struct outcome_row *r = &self->rows[i];
        fputs(i ? ",{\"label\":" : "{\"label\":", out);
        put_text(out, r->label);
        fputs(",\"verdict\":", out);
        put_text(out, r->verdict);
        fprintf(out,
                ",\"rate\":%.6g,\"seconds\":%.3f,\"calls\":%llu,\"texts\":%llu,\"tokens\":%llu,"
                "\"failed\":%llu,\"late\":%llu,\"mean_us\":%.1f,\"max_us\":%llu",
                r->rate, r->seconds, (unsigned long long)r->calls, (unsigned long long)r->texts,
                (unsigned long long)r->tokens, (unsigned long long)r->failed,
                (unsigned long long)r->late, r->mean_us, (unsigned long long)r->max_us);
        for (int k = 0; k < OUTCOME_QUANTILES; k++)
            fprintf(out, ",\"%s_us\":%llu", outcome_quantile_names[k],
                    (unsigned long long)r->quantile_us[k]);
        fputc('}', out);
    }
}

/* What is known of a search or a comparison, in their own words and as numbers. */
static void put_findings(FILE *out, const struct outcome *self) {
    fputs(",\"rows\":[", out);
    put_rows(out, self);
    fputs("],\"notes\":[", out);
    for (uint32_t i = 0; i < self->n_notes; i++) {
        fputs(i ? "," : "", out);
        put_text(out, self->notes[i]);
    }
    fputs("],\"facts\":{", out);
    for (uint32_t i = 0; i < self->n_facts; i++) {
        fprintf(out, "%s\"%s\":", i ? "," : "", self->facts[i].name);
        if (isfinite(self->facts[i].value))
            fprintf(out, "%.9g", self->facts[i].value);
        else
            fputs("null", out);
    }
    fputc('}', out);
}

static void put_price(FILE *out, const struct outcome_price *row) {
    if (!(row->rate > 0)) {
        fputs(",\"price_row\":null", out);
        return;
    }
    fputs(",\"price_row\":{\"instance\":", out);
    put_text(out, row->instance);
    fprintf(out, ",\"hourly\":%.9g,\"model\":", row->hourly);
    put_text(out, row->model);
    fputs(",\"precision\":", out);
    put_text(out, row->precision);
    fprintf(out, ",\"rate\":%.9g}", row->rate);
}

static void put_series(FILE *out, const series_t *series) {
    double length_s = (double)series_interval_us(series) / 1e6;
    fprintf(out, ",\"interval_s\":%.6g,\"intervals\":[", length_s);
    for (uint32_t i = 0; i < series_count(series); i++) {
        const struct series_interval *at = series_at(series, i);
        fprintf(out,
                "%s{\"at_s\":%.6g,\"calls\":%llu,\"failed\":%llu,\"ended\":%llu,\"p50_us\":%llu,"
                "\"p95_us\":%llu,\"p99_us\":%llu,\"max_us\":%llu}",
                i ? "," : "", length_s * i, (unsigned long long)at->latency.n,
                (unsigned long long)at->failed, (unsigned long long)at->ended,
                (unsigned long long)latency_quantile_us(&at->latency, 0.5),
                (unsigned long long)latency_quantile_us(&at->latency, 0.95),
                (unsigned long long)latency_quantile_us(&at->latency, 0.99),
                (unsigned long long)at->latency.max_us);
    }
    fputc(']', out);
}

static void put_counts(FILE *out, const struct outcome *self) {
    const struct load_report *r = &self->whole;
    fputs(",\"classes\":{", out);
    for (uint32_t i = 0; i < texts_classes(self->texts); i++) {
        fputs(i ? "," : "", out);
        put_text(out, texts_class(self->texts, i));
        fputc(':', out);
        put_latency(out, &r->by_class[i]);
    }
    fputs("},\"sources\":{", out);
    for (int i = 0; i < LOAD_SOURCES; i++)
        fprintf(out, "%s\"%s\":%llu", i ? "," : "", ember_source_name((enum ember_source)i),
                (unsigned long long)r->by_source[i]);
    fputs("},\"statuses\":{", out);
    bool any = false;
    for (int i = 0; i < LOAD_STATUSES; i++)
        if (r->by_status[i]) {
            fprintf(out, "%s\"%s\":%llu", any ? "," : "", ember_status_name((enum ember_status)i),
                    (unsigned long long)r->by_status[i]);
            any = true;
        }
    fputc('}', out);
}

void outcome_json(FILE *out, const struct outcome *self) {
    const struct load_report *r = &self->whole;
    double seconds = r->seconds > 0 ? r->seconds : 1;
    fprintf(out, "{\"mode\":\"%s\",\"settings\":", self->mode);
    put_settings(out, self);
    fprintf(out,
            ",\"seconds\":%.3f,\"calls\":%llu,\"texts\":%llu,\"tokens\":%llu,\"failed\":%llu,"
            "\"late\":%llu,\"calls_per_s\":%.2f,\"texts_per_s\":%.2f,\"latency\":",
            r->seconds, (unsigned long long)r->calls, (unsigned long long)r->texts,
            (unsigned long long)r->tokens, (unsigned long long)r->failed,
            (unsigned long long)r->late, (double)r->calls / seconds, (double)r->texts / seconds);
    put_latency(out, &r->all);
    put_counts(out, self);
    put_findings(out, self);
    if (self->settings->find_rate)
        put_price(out, &self->price);
    put_series(out, self->series);
    fputs("}\n", out);
}
