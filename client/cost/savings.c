/* savings.c - see savings.h. */
#include "savings.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct saving unknown(const char *format, ...) __attribute__((format(printf, 1, 2)));

static struct saving unknown(const char *format, ...) {
    struct saving out = {.saved = NAN, .original = NAN, .present = NAN};
    va_list args;
    va_start(args, format);
    vsnprintf(out.why, sizeof out.why, format, args);
    va_end(args);
    return out;
}

/* `left` is present / original, `present` an hourly cost. */
static struct saving known(double left, double present) {
    struct saving out = {.saved = 1 - left, .original = NAN, .present = present};
    if (left > 0)
        out.original = present / left;
    else
        snprintf(out.why, sizeof out.why, "nothing was computed: what it would cost is not known");
    return out;
}

/* ---- caches */

static void save_caches(const struct cost *cost, struct savings *out) {
    uint64_t texts = 0;
    for (int i = 0; i < COST_SOURCES; i++)
        texts += cost->texts[i];
    out->coalesced = NAN;
    for (int i = 0; i < COST_SOURCES; i++)
        out->source[i] = NAN;
    if (cost->answered == 0) {
        out->caches = unknown("nothing was asked");
        return;
    }
    if (texts == 0) {
        out->caches = unknown("no worker told of a text");
        return;
    }
    out->coalesced = (double)cost->coalesced / (double)cost->answered;
    for (int i = 0; i < COST_SOURCES; i++)
        out->source[i] = (1 - out->coalesced) * (double)cost->texts[i] / (double)texts;
    out->caches = known(out->source[COST_COMPUTED], cost->hourly);
}

/* ---- precision */

static struct saving save_model(const struct cost *cost, const struct prices *prices,
                                const char *instance, const struct cost_model *m, double *ratio) {
    *ratio = NAN;
    if (m->mixed)
        return unknown("%s is served in several precisions", m->name);
    if (!prices)
        return unknown("no price table: give --prices");
    if (!instance)
        return unknown("the price table has several instances: name that of the workers with "
                       "--instance");
    const char *missing = m->precision;
    const struct price *served = prices_find(prices, instance, m->name, m->precision), *exact;
    exact = prices_find(prices, instance, m->name, "f32");
    if (served && exact) {
        *ratio = served->rate / exact->rate;
        if (!(m->engine > 0))
            return unknown("%s computed nothing", m->name);
        return known(1 / *ratio, cost->hourly * m->engine / cost->engine);
    }
    if (served)
        missing = "f32";
    return unknown("no %s row of %s for %s in the price table", missing, m->name, instance);
}

static void save_precision(const struct cost *cost, const struct prices *prices,
                           const char *instance, struct savings *out) {
    double original = cost->engine;
    uint32_t known_models = 0, asked = 0;
    for (uint32_t i = 0; i < cost->n_models; i++) {
        const struct cost_model *m = &cost->models[i];
        if (!m->precision[0] || (strcmp(m->precision, "f32") == 0 && !m->mixed))
            continue;
        struct saving_model *row = &out->models[out->n_models++];
        row->model = m;
        row->saving = save_model(cost, prices, instance, m, &row->ratio);
        asked += m->engine > 0;
        if (isnan(row->saving.saved))
            continue;
        known_models++;
        original += m->engine * (row->ratio - 1);
    }
    if (cost->answered == 0)
        out->precision = unknown("nothing was asked");
    else if (!(cost->engine > 0))
        out->precision = unknown("nothing was computed");
    else if (asked == 0 || known_models)
        out->precision = known(cost->engine / original, cost->hourly);
    else
        for (uint32_t i = 0; i < out->n_models; i++) /* the reason of one that computes */
            if (out->models[i].model->engine > 0)
                out->precision = out->models[i].saving;
}

/* ---- routes */

static const struct cost_service *service_of(const struct cost *cost, const char *model,
                                             const char *task) {
    for (uint32_t i = 0; i < cost->n_services; i++)
        if (strcmp(cost->services[i].model, model) == 0 &&
            strcmp(cost->services[i].task, task) == 0)
            return &cost->services[i];
    return NULL;
}

/* "alias=model:90,model:10", as brokers report it. */
static void read_route(const char *text, struct saving_route *out) {
    size_t n = strcspn(text, "=");
    snprintf(out->alias, sizeof out->alias, "%.*s", (int)n, text);
    for (const char *p = text + n + (text[n] == '='); *p && out->n < SAVINGS_TARGETS;) {
        struct saving_target *t = &out->target[out->n++];
        n = strcspn(p, ":,");
        snprintf(t->model, sizeof t->model, "%.*s", (int)n, p);
        p += n;
        t->weight = *p == ':' ? (uint32_t)strtoul(p + 1, NULL, 10) : 1;
        p += strcspn(p, ",");
        p += *p == ',';
    }
}

/* What its models took, for each that answered; false: none did, of this task. */
static bool fill_route(const struct cost *cost, struct saving_route *route) {
    bool any = false;
    for (uint32_t i = 0; i < route->n; i++) {
        struct saving_target *t = &route->target[i];
        const struct cost_service *s = service_of(cost, t->model, route->task);
        t->answered = s ? s->answered : 0;
        t->unit_ms = t->per_1000 = NAN;
        if (!t->answered)
            continue;
        any = true;
        t->unit_ms = s->engine / s->per_s * 1e3;
        if (cost->engine > 0)
            t->per_1000 = cost->hourly / 3600 / cost->engine * t->unit_ms;
    }
    return any;
}

static double dearest(const struct saving_route *route) {
    double most = 0;
    for (uint32_t i = 0; i < route->n; i++)
        most = fmax(most, route->target[i].unit_ms); /* NAN counts for nothing */
    return most;
}

static void save_route(const struct cost *cost, struct saving_route *route) {
    double mixture = 0, alone = 0, most = dearest(route);
    uint32_t answering = 0;
    for (uint32_t i = 0; i < route->n; i++) {
        const struct saving_target *t = &route->target[i];
        if (!t->answered)
            continue;
        const struct cost_service *s = service_of(cost, t->model, route->task);
        answering++;
        mixture += s->engine;
        alone += s->per_s * most / 1e3;
    }
    if (!(most > 0))
        route->saving = unknown("its models computed nothing");
    else if (answering < 2 && route->n > 1)
        route->saving = unknown("only one of its models answered");
    else
        route->saving = known(mixture / alone, cost->hourly * mixture / cost->engine);
}

/* Work per second if each model's requests had gone to the dearest of its routes; a model of two
 * routes counts once. */
static double without_routes(const struct cost *cost, const struct savings *self) {
    double sum = 0;
    for (uint32_t i = 0; i < cost->n_services; i++) {
        const struct cost_service *s = &cost->services[i];
        double work = s->engine;
        for (uint32_t k = 0; k < self->n_routes; k++) {
            const struct saving_route *r = &self->route[k];
            if (isnan(r->saving.saved) || strcmp(r->task, s->task) != 0)
                continue;
            for (uint32_t j = 0; j < r->n; j++)
                if (strcmp(r->target[j].model, s->model) == 0)
                    work = fmax(work, s->per_s * dearest(r) / 1e3);
        }
        sum += work;
    }
    return sum;
}

static void save_routes(const struct cost *cost, struct savings *out) {
    static const char *const tasks[SAVINGS_TASKS] = {"embed", "classify", "rerank"};
    bool any = false;
    for (uint32_t i = 0; i < cost->n_routes; i++)
        for (int k = 0; k < SAVINGS_TASKS; k++) {
            struct saving_route *route = &out->route[out->n_routes];
            *route = (struct saving_route){.task = tasks[k]};
            read_route(cost->routes[i], route);
            if (!fill_route(cost, route))
                continue;
            save_route(cost, route);
            any |= !isnan(route->saving.saved);
            out->n_routes++;
        }
    if (cost->n_routes == 0)
        out->routes = unknown("no broker has a route");
    else if (out->n_routes == 0)
        out->routes = unknown("no model of a route answered");
    else if (!any)
        out->routes = out->route[0].saving;
    else
        out->routes = known(cost->engine / without_routes(cost, out), cost->hourly);
}

void savings_make(const struct cost *cost, const struct prices *prices, const char *instance,
                  struct savings *out) {
    memset(out, 0, sizeof *out);
    save_caches(cost, out);
    save_precision(cost, prices, instance, out);
    save_routes(cost, out);
    const struct saving *parts[] = {&out->caches, &out->precision, &out->routes};
    double left = NAN;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!isnan(parts[i]->saved))
            left = (isnan(left) ? 1 : left) * (1 - parts[i]->saved);
    out->all = isnan(left) ? unknown("nothing of it is known") : known(left, cost->hourly);
}
