/* cheaper.c - see cheaper.h. */
#include "cheaper.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char as_now[] = "as now";

/* Models that count: those that computed, or, when none did, those that are served. */
static bool in_use(const struct cost *cost, const struct cost_model *m) {
    return cost->engine > 0 ? m->engine > 0 : m->workers > 0;
}

static double part_of(const struct cost *cost, const struct cost_model *m) {
    if (cost->engine > 0)
        return m->engine / cost->engine;
    return 0; /* no work: whatever there is of it, min_workers do it */
}

static double needed_now(const struct cost *cost, double target, bool *by_busy) {
    *by_busy = isnan(cost->load);
    double load = *by_busy ? cost->busy : cost->load;
    return load * cost->live / target;
}

static double whole(double workers, uint32_t least) { /* rounding hires nobody */
    return fmax(least, ceil(workers * (1 - 1e-9)));
}

/* Workers of the candidate; NAN with a reason. */
static double workers_of(const struct cost *cost, const struct cheaper_ask *ask, double needed,
                         struct candidate *c) {
    double sum = 0;
    if (c->present)
        return whole(needed, ask->min_workers);
    for (uint32_t i = 0; i < cost->n_models; i++) {
        const struct cost_model *m = &cost->models[i];
        if (!in_use(cost, m))
            continue;
        if (!m->precision[0]) {
            snprintf(c->why, sizeof c->why, "no listed worker serves %s", m->name);
            return NAN;
        }
        const char *precision = c->precision == as_now ? m->precision : c->precision;
        c->changes_answers |= strcmp(precision, m->precision) != 0 || m->mixed;
        const struct price *now = prices_find(ask->prices, ask->instance, m->name, m->precision);
        const struct price *then = prices_find(ask->prices, c->instance, m->name, precision);
        if (!now || !then) {
            snprintf(c->why, sizeof c->why, "no %s row of %s for %s",
                     now ? precision : m->precision, m->name, now ? c->instance : ask->instance);
            return NAN;
        }
        sum += needed * part_of(cost, m) * now->rate / then->rate;
    }
    return whole(sum, ask->min_workers);
}

/* ---- which candidates there are */

static void fill(const struct cost *cost, const struct cheaper_ask *ask, double needed,
                 double hourly, struct candidate *c) {
    c->workers = workers_of(cost, ask, needed, c);
    c->hourly = c->workers * hourly;
    if (!c->why[0] && isnan(c->hourly))
        snprintf(c->why, sizeof c->why, "what a worker costs is not known");
    c->per_1000 = cost_per_1000(c->hourly, cost->per_s);
    c->saved = cost->uncounted ? NAN : 1 - c->hourly / cost->hourly; /* against all there is */
}

/* The one precision of all models in use; NULL: several. */
static const char *precision_now(const struct cost *cost) {
    const char *one = NULL;
    for (uint32_t i = 0; i < cost->n_models; i++) {
        const struct cost_model *m = &cost->models[i];
        if (!in_use(cost, m))
            continue;
        if (m->mixed || (one && strcmp(one, m->precision) != 0))
            return NULL;
        one = m->precision;
    }
    return one;
}

static void add(const struct cost *cost, const struct cheaper_ask *ask, struct cheaper *out,
                const struct price *price, const char *precision) {
    struct candidate *c = &out->row[out->n++];
    *c = (struct candidate){.instance = price->instance, .precision = precision};
    fill(cost, ask, out->needed, price->hourly > 0 ? price->hourly : NAN, c);
}

static bool is_first(const struct prices *prices, uint32_t index) { /* of this precision */
    const struct price *row = &prices->row[index];
    for (uint32_t i = 0; i < index; i++)
        if (strcmp(prices->row[i].instance, row->instance) == 0 &&
            strcmp(prices->row[i].precision, row->precision) == 0)
            return false;
    return true;
}

static void add_others(const struct cost *cost, const struct cheaper_ask *ask,
                       struct cheaper *out) {
    const struct prices *prices = ask->prices;
    const char *now = precision_now(cost);
    for (uint32_t i = 0; i < prices->n; i++) {
        const struct price *row = &prices->row[i];
        bool here = strcmp(row->instance, ask->instance) == 0;
        if (is_first(prices, i) && !(here && now && strcmp(row->precision, now) == 0))
            add(cost, ask, out, row, row->precision);
        if (!now && !here && prices_instance(prices, row->instance) == row)
            add(cost, ask, out, row, as_now);
    }
}

static int by_cost(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;
    bool x_known = !isnan(x->hourly), y_known = !isnan(y->hourly);
    if (x_known != y_known)
        return x_known ? -1 : 1;
    if (x_known && x->hourly != y->hourly)
        return x->hourly < y->hourly ? -1 : 1;
    if (x->present != y->present) /* what changes least */
        return x->present ? -1 : 1;
    if (x->changes_answers != y->changes_answers)
        return x->changes_answers ? 1 : -1;
    int order = strcmp(x->instance, y->instance);
    return order ? order : strcmp(x->precision, y->precision);
}

/* What one worker costs now: by the table, else by the mean of those that are connected. */
static double hourly_now(const struct cost *cost, const struct cheaper_ask *ask) {
    const struct price *here =
        ask->prices && ask->instance ? prices_instance(ask->prices, ask->instance) : NULL;
    return here && here->hourly > 0 ? here->hourly : cost_of_worker(cost);
}

void cheaper_make(const struct cost *cost, const struct cheaper_ask *ask, struct cheaper *out) {
    memset(out, 0, sizeof *out);
    out->needed = needed_now(cost, ask->target, &out->by_busy);
    out->hourly = hourly_now(cost, ask);
    if (cost->live == 0 || isnan(out->needed)) {
        out->needed = NAN;
        snprintf(out->why, sizeof out->why, "no worker is live: how many are needed is not known");
        return;
    }
    struct candidate *here = &out->row[out->n++];
    *here = (struct candidate){
        .instance = ask->instance ? ask->instance : "", .precision = as_now, .present = true};
    fill(cost, ask, out->needed, out->hourly, here);
    if (ask->prices && ask->instance)
        add_others(cost, ask, out);
    qsort(out->row, out->n, sizeof *out->row, by_cost);
    if (!isnan(out->row[0].hourly))
        out->best = &out->row[0];
}
