/* cost_text.c - `ember cost` for people. What is not known is said to be, with its reason. */
#include "cost_print.h"
#include "screen.h"

#include <math.h>
#include <string.h>

enum { NUMBER = 32, NAME_COLUMNS = 20, DECIMALS = 12 };

/* "1234", "12.34", "0.1234", "0.00123": three digits or more; "-" when it is not known. */
static const char *money(double x, char out[NUMBER]) {
    int decimals = x >= 1 ? 2 : 4;
    if (x >= 1000 || x <= 0)
        decimals = 0;
    else if (x > 0 && x < 0.01)
        decimals = 2 - (int)floor(log10(x));
    if (isfinite(x))
        snprintf(out, NUMBER, "%.*f", decimals < DECIMALS ? decimals : DECIMALS, x);
    else
        snprintf(out, NUMBER, "-");
    return out;
}

static const char *percent(double share, char out[NUMBER]) {
    if (isfinite(share))
        snprintf(out, NUMBER, "%.1f %%", fabs(share) < 5e-4 ? 0 : 100 * share);
    else
        snprintf(out, NUMBER, "-");
    return out;
}

/* ---- now */

static void print_cost(const struct cost_answer *self) {
    const struct cost *c = &self->cost;
    char hourly[NUMBER], per_1000[NUMBER], per_million[NUMBER];
    if (isnan(c->hourly)) {
        puts("  cost                not known: no worker states its own; give --hourly-cost, or "
             "the instance's price with --prices");
        return;
    }
    printf("  cost                %s an hour", money(c->hourly, hourly));
    if (c->unstated && !c->uncounted)
        printf(", of which %u worker%s at %g each, which state none", c->unstated,
               c->unstated == 1 ? "" : "s", self->hourly_else);
    else if (c->unstated)
        printf(", and %u worker%s that state%s none and are not counted: give --hourly-cost",
               c->unstated, c->unstated == 1 ? "" : "s", c->unstated == 1 ? "s" : "");
    putchar('\n');
    if (c->answered == 0)
        return;
    printf("  1,000 requests      %s\n", money(c->per_1000, per_1000));
    printf("  1,000,000 texts     %s\n", money(c->per_million_texts, per_million));
}

static void print_fleet(const struct cost *c) {
    printf("  workers             %u live, %u suspect", c->live, c->suspect);
    if (isnan(c->desired))
        puts("; how many are wished for is not known yet");
    else
        printf("; %.0f wished for, load %.2f\n", c->desired, c->load);
    if (c->unlisted)
        printf("  not listed          %u worker%s: what they state counts, their texts do not\n",
               c->unlisted, c->unlisted == 1 ? "" : "s");
    if (c->runners)
        printf("  runners busy        %.2f of %u (%.1f %%)\n", c->engine, c->runners,
               100 * c->busy);
}

static void print_models(const struct cost *c) {
    char per_1000[NUMBER], share[NUMBER];
    if (c->answered == 0)
        return;
    printf("\n  %-20s  precision  workers  requests/s  engine s/s    share  1,000 requests\n",
           "model");
    for (uint32_t i = 0; i < c->n_models; i++) {
        const struct cost_model *m = &c->models[i];
        double part = c->engine > 0 ? m->engine / c->engine : NAN;
        fputs("  ", stdout);
        screen_print(stdout, view_of(m->name[0] ? m->name : "(default)"), NAME_COLUMNS);
        printf("  %-9s  %7u  %10.1f  %10.4f  %7s  %14s\n",
               m->mixed          ? "several"
               : m->precision[0] ? m->precision
                                 : "-",
               m->workers, m->per_s, m->engine, percent(part, share),
               money(cost_per_1000(c->hourly * part, m->per_s), per_1000));
    }
}

static void print_now(const struct cost_answer *self) {
    const struct cost *c = &self->cost;
    printf("%u broker%s, ", c->brokers, c->brokers == 1 ? "" : "s");
    if (self->since_start)
        printf("since the start of each (%.0f s at most)", c->seconds);
    else
        printf("%.1f s", c->seconds);
    if (self->n_silent)
        printf("; %u gave no report, so that what it does is missing", self->n_silent);
    puts("\n\nnow");
    if (c->answered == 0)
        puts("  nothing was asked");
    else
        printf("  requests answered   %.1f a second\n", c->per_s);
    if (c->answered && !isnan(c->texts_per_s))
        printf("  texts               %.1f a second\n", c->texts_per_s);
    print_fleet(c);
    print_cost(self);
    print_models(c);
}

/* ---- saved */

static void print_saving(const char *name, const struct saving *s) {
    char saved[NUMBER], original[NUMBER], present[NUMBER];
    if (isnan(s->saved)) {
        printf("  %-28s  not known: %s\n", name, s->why);
        return;
    }
    printf("  %-28s  %9s  %12s  %12s", name, percent(s->saved, saved), money(s->original, original),
           money(s->present, present));
    printf(s->why[0] ? "  %s\n" : "%s\n", s->why);
}

static void print_sources(const struct savings *s) {
    static const struct {
        enum cost_source source;
        const char *name;
    } all[] = {{COST_MEMORY, "memory"}, {COST_REDIS, "Redis"}, {COST_SHARED, "shared in flight"}};
    char part[NUMBER];
    fputs("    ", stdout);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        printf("%s %s, ", all[i].name, percent(s->source[all[i].source], part));
    printf("equal requests %s\n", percent(s->coalesced, part));
}

static void print_route(const struct saving_route *r) {
    char name[NUMBER + LIMIT_NAME_BYTES], cost[NUMBER];
    snprintf(name, sizeof name, "  %s, %s", r->alias, r->task);
    print_saving(name, &r->saving);
    for (uint32_t i = 0; i < r->n; i++) {
        const struct saving_target *t = &r->target[i];
        printf("      %s:%u  ", t->model, t->weight);
        if (t->answered)
            printf("%llu answers, %.3f ms of a runner each, 1,000 cost %s\n",
                   (unsigned long long)t->answered, t->unit_ms, money(t->per_1000, cost));
        else
            puts("not known: no answers");
    }
}

static void print_saved(const struct savings *s) {
    printf("\n%-30s  %9s  %12s  %12s\n", "saved, of work", "", "original/h", "now/h");
    print_saving("by caches", &s->caches);
    if (!isnan(s->caches.saved))
        print_sources(s);
    print_saving("by precision", &s->precision);
    for (uint32_t i = 0; i < s->n_models; i++) {
        char name[NUMBER + LIMIT_NAME_BYTES];
        const struct cost_model *m = s->models[i].model;
        snprintf(name, sizeof name, "  %s in %s", m->name, m->precision);
        print_saving(name, &s->models[i].saving);
    }
    print_saving("by routes", &s->routes);
    for (uint32_t i = 0; i < s->n_routes; i++)
        print_route(&s->route[i]);
    print_saving("all together", &s->all);
}

/* ---- cheaper */

static void print_candidate(const struct candidate *c) {
    char hourly[NUMBER], per_1000[NUMBER], saved[NUMBER];
    fputs("  ", stdout);
    screen_print(stdout, view_of(c->instance[0] ? c->instance : "(as it is)"), NAME_COLUMNS);
    printf("  %-9s  ", c->precision);
    if (isnan(c->workers))
        printf("%7s", "-");
    else
        printf("%7.0f", c->workers);
    printf("  %10s  %14s  %8s", money(c->hourly, hourly), money(c->per_1000, per_1000),
           percent(c->saved, saved));
    if (c->why[0])
        printf("  not known: %s", c->why);
    else if (c->present)
        fputs("  this fleet in its right size", stdout);
    else if (c->changes_answers)
        fputs("  answers change a little: see ember-model eval", stdout);
    putchar('\n');
}

static void print_best(const struct cost *cost, const struct candidate *best) {
    char hourly[NUMBER], less[NUMBER], saved[NUMBER];
    if (!best) {
        puts("Cheapest: not known.");
        return;
    }
    printf("Cheapest: %.0f x %s, precision %s, for %s an hour", best->workers,
           best->instance[0] ? best->instance : "the present worker", best->precision,
           money(best->hourly, hourly));
    if (isnan(best->saved))
        puts("; what it saves is not known.");
    else if (best->saved > 0)
        printf("; it saves %s an hour, %s.\n", money(cost->hourly - best->hourly, less),
               percent(best->saved, saved));
    else
        puts("; nothing is cheaper than now.");
}

/* Where the table and the workers say different things of the present instance. */
static void print_difference(const struct cost_answer *self) {
    char table[NUMBER], now[NUMBER];
    double mean = cost_of_worker(&self->cost);
    if (fabs(mean - self->cheaper.hourly) > 0.01 * mean)
        printf("  a worker costs %s an hour by the table, and %s now: what is saved is against "
               "now\n",
               money(self->cheaper.hourly, table), money(mean, now));
}

static void print_cheaper(const struct cost_answer *self) {
    const struct cheaper *c = &self->cheaper;
    const struct cheaper_ask *ask = &self->ask;
    puts("\ncheaper");
    if (c->why[0]) {
        printf("  not known: %s\n", c->why);
        return;
    }
    printf("  %.2f workers like the present are needed: %s %.3f x %u live / %g; %u at least\n",
           c->needed, c->by_busy ? "busy" : "load", c->by_busy ? self->cost.busy : self->cost.load,
           self->cost.live, ask->target, ask->min_workers);
    if (c->by_busy)
        puts("  the brokers do not know a load yet: what waits is left out");
    print_difference(self);
    if (!ask->prices)
        puts("  other instances and precisions: not known without --prices");
    else if (!ask->instance)
        puts("  other instances and precisions: not known; name what the workers run on with "
             "--instance");
    printf("\n  %-20s  precision  workers     an hour  1,000 requests     saved\n", "instance");
    for (uint32_t i = 0; i < c->n; i++)
        print_candidate(&c->row[i]);
    print_best(&self->cost, c->best);
}

void cost_print_text(const struct cost_answer *self) {
    print_now(self);
    print_saved(&self->savings);
    print_cheaper(self);
}
