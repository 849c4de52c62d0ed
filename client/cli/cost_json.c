/* cost_json.c - `ember cost` for programs: one JSON object, in which null is what is not known, or
 * `name value` lines without it. */
#include "cost_print.h"
#include "screen.h"

#include <math.h>

/* ---- JSON. `before` stands in front of a member: "," or "{" or "". */

static void text(const char *before, const char *name, const char *value) {
    printf("%s\"%s\":", before, name);
    screen_json_text(stdout, view_of(value));
}

static void number(const char *before, const char *name, double value) {
    if (isfinite(value))
        printf("%s\"%s\":%.9g", before, name, value);
    else
        printf("%s\"%s\":null", before, name);
}

static void count(const char *before, const char *name, uint64_t value) {
    printf("%s\"%s\":%llu", before, name, (unsigned long long)value);
}

static void truth(const char *before, const char *name, bool value) {
    printf("%s\"%s\":%s", before, name, value ? "true" : "false");
}

static void json_models(const struct cost *c) {
    printf(",\"models\":[");
    for (uint32_t i = 0; i < c->n_models; i++) {
        const struct cost_model *m = &c->models[i];
        double share = c->engine > 0 ? m->engine / c->engine : NAN;
        text(i ? ",{" : "{", "model", m->name);
        text(",", "precision", m->precision);
        truth(",", "several_precisions", m->mixed);
        count(",", "workers", m->workers);
        number(",", "requests_per_s", m->per_s);
        number(",", "engine_s_per_s", m->engine);
        number(",", "share", share);
        number(",", "cost_per_1000_requests", cost_per_1000(c->hourly * share, m->per_s));
        putchar('}');
    }
    printf("],\"services\":[");
    for (uint32_t i = 0; i < c->n_services; i++) {
        const struct cost_service *s = &c->services[i];
        text(i ? ",{" : "{", "model", s->model);
        text(",", "task", s->task);
        count(",", "answered", s->answered);
        number(",", "requests_per_s", s->per_s);
        number(",", "engine_s_per_s", s->engine);
        putchar('}');
    }
    putchar(']');
}

static void json_now(const struct cost_answer *self) {
    const struct cost *c = &self->cost;
    count("\"now\":{", "answered", c->answered);
    number(",", "requests_per_s", c->per_s);
    number(",", "texts_per_s", c->texts_per_s);
    count(",", "texts_computed", c->texts[COST_COMPUTED]);
    count(",", "texts_memory", c->texts[COST_MEMORY]);
    count(",", "texts_redis", c->texts[COST_REDIS]);
    count(",", "texts_shared", c->texts[COST_SHARED]);
    count(",", "requests_coalesced", c->coalesced);
    count(",", "workers_live", c->live);
    count(",", "workers_suspect", c->suspect);
    count(",", "workers_listed", c->listed);
    count(",", "workers_not_listed", c->unlisted);
    count(",", "workers_without_cost", c->unstated);
    count(",", "workers_not_counted", c->uncounted);
    number(",", "workers_wished_for", c->desired);
    number(",", "load", c->load);
    count(",", "runners", c->runners);
    number(",", "engine_s_per_s", c->engine);
    number(",", "busy", c->busy);
    number(",", "cost_per_hour", c->hourly);
    number(",", "cost_of_others", self->hourly_else > 0 ? self->hourly_else : NAN);
    number(",", "cost_per_1000_requests", c->per_1000);
    number(",", "cost_per_million_texts", c->per_million_texts);
    json_models(c);
    putchar('}');
}

/* The members of a saving, in an object that the caller closes. */
static void json_saving(const char *before, const struct saving *s) {
    number(before, "saved", s->saved);
    number(",", "original_per_hour", s->original);
    number(",", "present_per_hour", s->present);
    text(",", "why", s->why);
}

static void json_routes(const struct savings *s) {
    json_saving(",\"routes\":{", &s->routes);
    printf(",\"routes\":[");
    for (uint32_t i = 0; i < s->n_routes; i++) {
        const struct saving_route *r = &s->route[i];
        text(i ? ",{" : "{", "route", r->alias);
        text(",", "task", r->task);
        json_saving(",", &r->saving);
        printf(",\"models\":[");
        for (uint32_t k = 0; k < r->n; k++) {
            const struct saving_target *t = &r->target[k];
            text(k ? ",{" : "{", "model", t->model);
            count(",", "weight", t->weight);
            count(",", "answered", t->answered);
            number(",", "engine_ms_per_request", t->unit_ms);
            number(",", "cost_per_1000_requests", t->per_1000);
            putchar('}');
        }
        printf("]}");
    }
    printf("]}");
}

static void json_saved(const struct savings *s) {
    json_saving(",\"saved\":{\"caches\":{", &s->caches);
    number(",", "memory", s->source[COST_MEMORY]);
    number(",", "redis", s->source[COST_REDIS]);
    number(",", "shared", s->source[COST_SHARED]);
    number(",", "coalesced", s->coalesced);
    json_saving("},\"precision\":{", &s->precision);
    printf(",\"models\":[");
    for (uint32_t i = 0; i < s->n_models; i++) {
        const struct saving_model *m = &s->models[i];
        text(i ? ",{" : "{", "model", m->model->name);
        text(",", "precision", m->model->precision);
        number(",", "rate_ratio", m->ratio);
        json_saving(",", &m->saving);
        putchar('}');
    }
    printf("]}");
    json_routes(s);
    json_saving(",\"all\":{", &s->all);
    printf("}}");
}

static void json_candidate(const char *before, const struct candidate *c) {
    text(before, "instance", c->instance);
    text(",", "precision", c->precision);
    truth(",", "present", c->present);
    truth(",", "changes_answers", c->changes_answers);
    number(",", "workers", c->workers);
    number(",", "cost_per_hour", c->hourly);
    number(",", "cost_per_1000_requests", c->per_1000);
    number(",", "saved", c->saved);
    text(",", "why", c->why);
    putchar('}');
}

static void json_cheaper(const struct cost_answer *self) {
    const struct cheaper *c = &self->cheaper;
    text(",\"cheaper\":{", "why", c->why);
    number(",", "needed", c->needed);
    truth(",", "by_busy", c->by_busy);
    number(",", "target", self->ask.target);
    count(",", "min_workers", self->ask.min_workers);
    text(",", "instance", self->ask.instance ? self->ask.instance : "");
    truth(",", "prices", self->ask.prices != NULL);
    printf(",\"candidates\":[");
    for (uint32_t i = 0; i < c->n; i++)
        json_candidate(i ? ",{" : "{", &c->row[i]);
    printf("],\"cheapest\":");
    if (c->best)
        json_candidate("{", c->best);
    else
        printf("null");
    putchar('}');
}

void cost_print_json(const struct cost_answer *self) {
    number("{", "seconds", self->cost.seconds);
    truth(",", "since_start", self->since_start);
    count(",", "brokers", self->cost.brokers);
    count(",", "brokers_silent", self->n_silent);
    putchar(',');
    json_now(self);
    json_saved(&self->savings);
    json_cheaper(self);
    puts("}");
}

/* ---- raw */

static void raw(const char *name, double value) {
    if (isfinite(value))
        printf("%s %.9g\n", name, value);
}

static void raw_of(const char *name, const char *of, const char *task, double value) {
    if (isfinite(value))
        printf("%s.%s%s%s %.9g\n", name, of, task[0] ? "." : "", task, value);
}

static void raw_saving(const char *name, const struct saving *s) {
    if (isfinite(s->saved))
        printf("saved_%s %.9g\n", name, s->saved);
    if (isfinite(s->original))
        printf("original_per_hour_%s %.9g\n", name, s->original);
}

static void raw_now(const struct cost *c) {
    raw("seconds", c->seconds);
    raw("brokers", c->brokers);
    raw("answered", (double)c->answered);
    raw("requests_per_s", c->per_s);
    raw("texts_per_s", c->texts_per_s);
    raw("workers_live", c->live);
    raw("workers_wished_for", c->desired);
    raw("load", c->load);
    raw("runners", c->runners);
    raw("busy", c->busy);
    raw("cost_per_hour", c->hourly);
    raw("cost_per_1000_requests", c->per_1000);
    raw("cost_per_million_texts", c->per_million_texts);
    for (uint32_t i = 0; i < c->n_models; i++) {
        const struct cost_model *m = &c->models[i];
        raw_of("requests_per_s", m->name, "", m->per_s);
        raw_of("share", m->name, "", c->engine > 0 ? m->engine / c->engine : NAN);
    }
}

static void raw_saved(const struct savings *s) {
    raw_saving("caches", &s->caches);
    raw("saved_caches.memory", s->source[COST_MEMORY]);
    raw("saved_caches.redis", s->source[COST_REDIS]);
    raw("saved_caches.shared", s->source[COST_SHARED]);
    raw("saved_caches.coalesced", s->coalesced);
    raw_saving("precision", &s->precision);
    for (uint32_t i = 0; i < s->n_models; i++)
        raw_of("saved_precision", s->models[i].model->name, "", s->models[i].saving.saved);
    raw_saving("routes", &s->routes);
    for (uint32_t i = 0; i < s->n_routes; i++)
        raw_of("saved_routes", s->route[i].alias, s->route[i].task, s->route[i].saving.saved);
    raw_saving("all", &s->all);
}

void cost_print_raw(const struct cost_answer *self) {
    const struct cheaper *c = &self->cheaper;
    raw_now(&self->cost);
    raw_saved(&self->savings);
    raw("workers_needed", c->needed);
    for (uint32_t i = 0; i < c->n; i++) {
        const struct candidate *row = &c->row[i];
        printf("candidate.%u.instance %s\n", i + 1, row->instance[0] ? row->instance : "-");
        printf("candidate.%u.precision %s\n", i + 1, row->present ? "as-now" : row->precision);
        char name[40];
        snprintf(name, sizeof name, "candidate.%u.workers", i + 1);
        raw(name, row->workers);
        snprintf(name, sizeof name, "candidate.%u.cost_per_hour", i + 1);
        raw(name, row->hourly);
        snprintf(name, sizeof name, "candidate.%u.saved", i + 1);
        raw(name, row->saved);
    }
}
