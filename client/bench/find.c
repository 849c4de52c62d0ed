/* find.c - see find.h. One caller alone goes first: when even it waits too long, no rate holds, and
 * otherwise half of its pace is a rate to begin with that asks for little. */
#include "find.h"

#include "search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BEHIND_SHARE 0.25 /* of the limit: a generator that is later than that on average */

struct find {
    ember_t *ember;
    texts_t *texts;
    struct outcome *report;
    const struct bench_settings *settings;
    struct search search;
    struct load_report *seen[SEARCH_RATES_MAX]; /* the good probes of search.rates[i] */
    struct load_report *probe;                  /* the last one */
};

static bool runs_behind(const struct find *self) {
    const struct load_report *p = self->probe;
    double calls = (double)(p->calls + p->failed);
    return p->lag_us > BEHIND_SHARE * (double)self->settings->slo_p95_us * calls;
}

/* Nothing is answered, and not because of load: a lower rate would not help. */
static bool is_hopeless(const struct load_report *p) {
    return p->calls == 0 && p->failed > 0 && p->by_status[EMBER_RESOURCE_EXHAUSTED] == 0 &&
           p->by_status[EMBER_DEADLINE_EXCEEDED] == 0;
}

static const char *verdict_of(const struct find *self, const struct search_seen *seen, bool good) {
    if (good)
        return "holds";
    if (seen->behind)
        return "generator too slow";
    if (seen->failed)
        return "calls failed";
    return seen->calls && seen->p95_us > self->settings->slo_p95_us ? "too slow" : "no calls";
}

static enum status run_probe(struct find *self, double rate, uint64_t us, struct err *err) {
    struct load_cfg load = bench_load(self->settings, rate > 0);
    load.rate = rate;
    load.concurrency = 1;
    load.requests = 0;
    if (!load.open)
        load.warm_up_us = 0; /* the first call may be the only one there is time for */
    load.duration_us = self->settings->probe_us ? self->settings->probe_us : us;
    load.seed += self->report->n_rows; /* other times for each probe */
    enum status st = outcome_run(self->report, self->ember, self->texts, &load, self->probe, err);
    if (st == STATUS_OK && is_hopeless(self->probe))
        st = err_set(err, STATUS_UNAVAILABLE, "no call is answered: %s", self->probe->first_error);
    return st;
}

/* The rate to begin with, 0: not even one caller is served in time. */
static enum status ask_alone(struct find *self, double *start, struct err *err) {
    enum status st = run_probe(self, 0, SEARCH_PROBE_LEAST_US, err);
    if (st != STATUS_OK)
        return st;
    const struct load_report *p = self->probe;
    bool slow = p->calls && latency_quantile_us(&p->all, 0.5) > self->settings->slo_p95_us;
    outcome_row(self->report, "one caller alone", 0, p, slow ? "too slow" : "");
    double mean_us = latency_mean_us(&p->all);
    *start = self->settings->rate;
    if (slow)
        *start = 0;
    else if (*start <= 0)
        *start = mean_us > 0 ? 0.5e6 / mean_us : 1;
    return STATUS_OK;
}

static uint32_t index_of(const struct search *search, double rate) {
    uint32_t i = 0;
    while (i < search->n && search->rates[i].rate != rate)
        i++;
    return i;
}

static enum status ask_rate(struct find *self, double rate, struct err *err) {
    enum status st = run_probe(self, rate, search_probe_us(rate, self->settings->slo_p95_us), err);
    if (st != STATUS_OK)
        return st;
    struct search_seen seen = {.calls = self->probe->calls,
                               .failed = self->probe->failed,
                               .p95_us = latency_quantile_us(&self->probe->all, 0.95),
                               .behind = runs_behind(self)};
    bool good = search_tell(&self->search, rate, &seen);
    char label[OUTCOME_LABEL_BYTES];
    snprintf(label, sizeof label, "%.4g calls/s", rate);
    outcome_row(self->report, label, rate, self->probe, verdict_of(self, &seen, good));
    uint32_t i = index_of(&self->search, rate);
    if (!self->seen[i] && !(self->seen[i] = calloc(1, sizeof **self->seen)))
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for the probes");
    if (good)
        load_merge(self->seen[i], self->probe);
    return STATUS_OK;
}

/* The lowest rate that did not hold, NULL: none. */
static const struct search_rate *refused(const struct search *search) {
    const struct search_rate *worst = NULL;
    for (uint32_t i = 0; i < search->n; i++)
        if (search->rates[i].bad >= SEARCH_VOTES && (!worst || search->rates[i].rate < worst->rate))
            worst = &search->rates[i];
    return worst;
}

static void tell_found(struct find *self, enum search_step step, double rate) {
    struct outcome *r = self->report;
    uint32_t i = index_of(&self->search, rate);
    const struct search_rate *at = &self->search.rates[i], *worst = refused(&self->search);
    load_merge(&r->whole, self->seen[i]);
    const struct latency *l = &r->whole.all;
    outcome_fact(r, "holds", 1);
    outcome_fact(r, "found_rate", rate);
    outcome_fact(r, "refused_rate", worst ? worst->rate : NAN);
    outcome_note(r,
                 "Found: %.4g calls/s hold P95 within %g ms: P50 %.2f, P95 %.2f, P99 %.2f ms of "
                 "%llu calls in %u of %u probes%s.",
                 rate, (double)self->settings->slo_p95_us / 1e3,
                 (double)latency_quantile_us(l, 0.5) / 1e3,
                 (double)latency_quantile_us(l, 0.95) / 1e3,
                 (double)latency_quantile_us(l, 0.99) / 1e3, (unsigned long long)r->whole.calls,
                 at->good, at->good + at->bad, at->bad ? ": this is the edge" : "");
    if (step == SEARCH_FOUND)
        outcome_note(r, "%.4g calls/s did not hold.", worst->rate);
    else if (worst)
        outcome_note(r, "It may hold more: the load generator was too slow for %.4g calls/s.",
                     worst->rate);
    else
        outcome_note(r, "It may hold more: nothing higher was asked.");
}

static void tell_nowhere(struct find *self) {
    struct outcome *r = self->report;
    outcome_fact(r, "holds", 0);
    outcome_fact(r, "found_rate", NAN);
    const struct search_rate *worst = refused(&self->search);
    outcome_fact(r, "refused_rate", worst ? worst->rate : NAN);
    load_merge(&r->whole, self->probe);
    if (worst)
        outcome_note(r, "No rate holds P95 within %g ms without errors: %.4g calls/s did not.",
                     (double)self->settings->slo_p95_us / 1e3, worst->rate);
    else
        outcome_note(r,
                     "No rate holds P95 within %g ms: half of the calls of one caller alone take "
                     "longer.",
                     (double)self->settings->slo_p95_us / 1e3);
    if (r->whole.failed)
        outcome_note(r, "First error: %s", r->whole.first_error);
}

enum status find_rate(ember_t *ember, texts_t *texts, struct outcome *report, struct found *out,
                      struct err *err) {
    struct find self = {
        .ember = ember, .texts = texts, .report = report, .settings = report->settings};
    double rate = 0;
    enum search_step step = SEARCH_NOWHERE;
    self.probe = malloc(sizeof *self.probe);
    enum status st = self.probe ? ask_alone(&self, &rate, err)
                                : err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    if (st == STATUS_OK && rate > 0) {
        search_init(&self.search, rate, self.settings->rate_max, self.settings->slo_p95_us);
        while (st == STATUS_OK && (step = search_next(&self.search, &rate)) == SEARCH_PROBE)
            st = ask_rate(&self, rate, err);
    }
    *out = (struct found){.holds = st == STATUS_OK && step != SEARCH_NOWHERE,
                          .ceiling = step == SEARCH_CEILING,
                          .rate = rate};
    if (out->holds)
        tell_found(&self, step, rate);
    else if (st == STATUS_OK)
        tell_nowhere(&self);
    for (uint32_t i = 0; i < SEARCH_RATES_MAX; i++)
        free(self.seen[i]);
    free(self.probe);
    return st;
}
