/* cost.c - see cost.h. */
#include "cost.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* What came between two counts of one program. */
static uint64_t since(uint64_t earlier, uint64_t later) {
    return later >= earlier ? later - earlier : later;
}

/* ---- brokers */

struct span {                          /* a broker, and what to take its figures from */
    const struct cost_view *from, *to; /* from NULL: its start */
    double seconds;
};

static struct span span_of(const struct cost_snapshot *before, const struct cost_view *to) {
    struct span out = {.to = to};
    for (uint32_t i = 0; before && i < before->n; i++) {
        const struct cost_view *v = &before->view[i];
        if (strcmp(v->broker.endpoint, to->broker.endpoint) == 0 &&
            v->broker.uptime_ms <= to->broker.uptime_ms)
            out.from = v;
    }
    uint64_t ms = to->broker.uptime_ms - (out.from ? out.from->broker.uptime_ms : 0);
    out.seconds = ms ? (double)ms / 1e3 : 1e-3;
    return out;
}

static const struct ember_service_info *find_service(const struct cost_view *view,
                                                     const struct ember_service_info *like) {
    for (size_t i = 0; view && i < view->n_services; i++)
        if (strcmp(view->services[i].model, like->model) == 0 &&
            strcmp(view->services[i].task, like->task) == 0)
            return &view->services[i];
    return NULL;
}

static struct cost_service *take_service(struct cost *out, const struct ember_service_info *like) {
    for (uint32_t i = 0; i < out->n_services; i++)
        if (strncmp(out->services[i].model, like->model, LIMIT_NAME_BYTES) == 0 &&
            strcmp(out->services[i].task, like->task) == 0)
            return &out->services[i];
    if (out->n_services == COST_SERVICES_MAX)
        return NULL;
    struct cost_service *new = &out->services[out->n_services++];
    *new = (struct cost_service){.answered = 0};
    snprintf(new->model, sizeof new->model, "%s", like->model);
    snprintf(new->task, sizeof new->task, "%s", like->task);
    return new;
}

static void add_services(const struct span *span, struct cost *out) {
    uint64_t answered_by_it = 0;
    for (size_t i = 0; i < span->to->n_services; i++) {
        const struct ember_service_info *s = &span->to->services[i];
        const struct ember_service_info *old = find_service(span->from, s);
        bool anew = old && (old->answered > s->answered || old->engine_us > s->engine_us);
        uint64_t answered = old && !anew ? s->answered - old->answered : s->answered;
        uint64_t engine_us = old && !anew ? s->engine_us - old->engine_us : s->engine_us;
        struct cost_service *sum = take_service(out, s);
        if (!sum)
            continue;
        sum->answered += answered;
        sum->per_s += (double)answered / span->seconds;
        sum->engine += (double)engine_us / 1e6 / span->seconds;
        answered_by_it += answered;
    }
    uint64_t coalesced = since(span->from ? span->from->coalesced : 0, span->to->coalesced);
    out->answered += answered_by_it;
    out->coalesced += coalesced < answered_by_it ? coalesced : answered_by_it;
}

static void add_fleet(const struct cost_view *view, struct cost *out) {
    const struct ember_fleet_info *f = &view->fleet;
    out->live = f->live > out->live ? f->live : out->live;
    out->suspect = f->suspect > out->suspect ? f->suspect : out->suspect;
    out->runners = f->runners > out->runners ? f->runners : out->runners;
    out->desired += f->known ? (double)f->desired : (double)NAN; /* a part of a sum is no sum */
    out->load += f->known ? f->load * f->live : (double)NAN;     /* work, in workers of its own */
    out->hourly = fmax(out->hourly, f->hourly_cost);
}

static void add_routes(const struct cost_view *view, struct cost *out) {
    for (size_t i = 0; i < view->n_routes; i++) {
        uint32_t k = 0;
        while (k < out->n_routes && strcmp(out->routes[k], view->routes[i]) != 0)
            k++;
        if (k == out->n_routes && k < COST_ROUTES_MAX && strlen(view->routes[i]) < COST_ROUTE_BYTES)
            snprintf(out->routes[out->n_routes++], COST_ROUTE_BYTES, "%s", view->routes[i]);
    }
}

/* ---- workers */

static bool same_worker(const struct ember_worker_info *a, const struct ember_worker_info *b) {
    return strcmp(a->name, b->name) == 0 && strcmp(a->host, b->host) == 0;
}

/* The how-manieth of its name and host it is: two that share them are two workers all the same. */
static uint32_t turn_of(const struct cost_view *view, size_t index) {
    uint32_t n = 0;
    for (size_t i = 0; i < index; i++)
        n += same_worker(&view->workers[i], &view->workers[index]);
    return n;
}

static const struct ember_worker_info *
find_in(const struct cost_view *view, const struct ember_worker_info *like, uint32_t turn) {
    for (size_t i = 0; i < view->n_workers; i++)
        if (same_worker(&view->workers[i], like) && turn-- == 0)
            return &view->workers[i];
    return NULL;
}

/* In the first `n` views of a snapshot. */
static const struct ember_worker_info *find_worker(const struct cost_snapshot *in, uint32_t n,
                                                   const struct ember_worker_info *like,
                                                   uint32_t turn) {
    const struct ember_worker_info *found = NULL;
    for (uint32_t i = 0; !found && i < n; i++)
        found = find_in(&in->view[i], like, turn);
    return found;
}

static struct cost_model *take_model(struct cost *out, const char *name) {
    for (uint32_t i = 0; i < out->n_models; i++)
        if (strncmp(out->models[i].name, name, LIMIT_NAME_BYTES) == 0)
            return &out->models[i];
    if (out->n_models == COST_MODELS_MAX)
        return NULL;
    struct cost_model *new = &out->models[out->n_models++];
    *new = (struct cost_model){.workers = 0};
    snprintf(new->name, sizeof new->name, "%s", name);
    return new;
}

/* Counts of two times; all of a worker that was started anew since. */
static void add_texts(const struct ember_worker_info *old, const struct ember_worker_info *w,
                      struct cost *out, uint64_t *completed) {
    static const struct ember_worker_info none;
    if (old->completed > w->completed || old->misses > w->misses || old->texts > w->texts)
        old = &none;
    out->texts[COST_COMPUTED] += since(old->misses, w->misses);
    out->texts[COST_SHARED] += since(old->shared, w->shared);
    out->texts[COST_MEMORY] += since(old->hits_memory, w->hits_memory);
    out->texts[COST_REDIS] += since(old->hits_redis, w->hits_redis);
    *completed += since(old->completed, w->completed);
}

struct crew { /* sums over workers */
    uint32_t live, runners;
    double stated;
    uint64_t completed;
};

static void add_worker(const struct cost_snapshot *before, const struct ember_worker_info *w,
                       uint32_t turn, struct crew *crew, struct cost *out) {
    static const struct ember_worker_info none;
    const struct ember_worker_info *old = &none;
    out->listed++;
    if (strcmp(w->state, "live") == 0) {
        crew->live++;
        crew->runners += w->threads;
    }
    out->stated += w->hourly_cost > 0;
    crew->stated += w->hourly_cost > 0 ? w->hourly_cost : 0;
    if (before)
        old = find_worker(before, before->n, w, turn);
    if (old)
        add_texts(old, w, out, &crew->completed);
    for (size_t i = 0; i < w->n_models; i++) {
        struct cost_model *model = take_model(out, w->models[i].name);
        if (model)
            model->workers++;
    }
}

static void add_workers(const struct cost_snapshot *before, const struct cost_snapshot *after,
                        struct crew *crew, struct cost *out) {
    for (uint32_t i = 0; i < after->n; i++) {
        const struct cost_view *view = &after->view[i];
        for (size_t k = 0; k < view->n_workers; k++) {
            uint32_t turn = turn_of(view, k);
            if (!find_worker(after, i, &view->workers[k], turn))
                add_worker(before, &view->workers[k], turn, crew, out);
        }
    }
    out->unstated = out->listed - out->stated;
    uint32_t connected = 0; /* at one broker: who is suspect here may be live there */
    for (uint32_t i = 0; i < after->n; i++) {
        const struct ember_fleet_info *f = &after->view[i].fleet;
        uint32_t here = f->live + f->suspect;
        connected = here > connected ? here : connected;
    }
    out->unlisted = connected > out->listed ? connected - out->listed : 0;
}

/* ---- models: what serves them, and what they took */

/* How many workers serve it in this precision. A worker that several brokers list counts at each;
 * these are compared with each other alone. */
static uint32_t votes(const struct cost_snapshot *in, const char *model, const char *precision) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < in->n; i++)
        for (size_t k = 0; k < in->view[i].n_workers; k++) {
            const struct ember_worker_info *w = &in->view[i].workers[k];
            for (size_t m = 0; m < w->n_models; m++)
                n += strcmp(w->models[m].name, model) == 0 &&
                     strcmp(w->models[m].precision, precision) == 0;
        }
    return n;
}

static void choose_precision(const struct cost_snapshot *after, struct cost_model *model) {
    static const char *const all[] = {"f32", "bf16", "i8"};
    uint32_t best = 0, kinds = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        uint32_t n = votes(after, model->name, all[i]);
        kinds += n > 0;
        if (n > best) {
            best = n;
            snprintf(model->precision, sizeof model->precision, "%s", all[i]);
        }
    }
    model->mixed = kinds > 1;
}

static void add_models(const struct cost_snapshot *after, struct cost *out) {
    for (uint32_t i = 0; i < out->n_services; i++) {
        const struct cost_service *s = &out->services[i];
        struct cost_model *model = s->answered || s->engine > 0 ? take_model(out, s->model) : NULL;
        if (!model)
            continue;
        model->per_s += s->per_s;
        model->engine += s->engine;
    }
    for (uint32_t i = 0; i < out->n_models; i++)
        choose_precision(after, &out->models[i]);
}

/* ---- all of it */

double cost_per_1000(double hourly, double per_s) {
    return per_s > 0 ? hourly / 3600 / per_s * 1000 : NAN;
}

/* `stated`: by listed workers; out->hourly: by all that the brokers see. */
static double hourly_of(const struct cost *out, double stated, double hourly_else) {
    double sum = fmax(out->hourly, stated);
    if (hourly_else > 0)
        sum += hourly_else * out->unstated;
    return sum > 0 ? sum : NAN;
}

void cost_make(const struct cost_snapshot *before, const struct cost_snapshot *after,
               double hourly_else, struct cost *out) {
    struct crew crew = {.stated = 0};
    memset(out, 0, sizeof *out);
    out->brokers = after->n;
    for (uint32_t i = 0; i < after->n; i++) {
        struct span span = span_of(before, &after->view[i]);
        out->seconds = fmax(out->seconds, span.seconds);
        add_services(&span, out);
        add_fleet(span.to, out);
        add_routes(span.to, out);
    }
    add_workers(before, after, &crew, out);
    add_models(after, out);
    /* Brokers of different workers: none of them sees all. */
    out->live = crew.live > out->live ? crew.live : out->live;
    out->runners = crew.runners > out->runners ? crew.runners : out->runners;
    out->load = out->live ? out->load / out->live : out->load;
    for (uint32_t i = 0; i < out->n_services; i++) {
        out->per_s += out->services[i].per_s;
        out->engine += out->services[i].engine;
    }
    uint64_t texts = 0;
    for (int i = 0; i < COST_SOURCES; i++)
        texts += out->texts[i];
    out->busy = out->runners ? out->engine / out->runners : NAN;
    out->texts_per_s = crew.completed ? out->per_s * (double)texts / (double)crew.completed : NAN;
    out->uncounted = hourly_else > 0 ? 0 : out->unstated;
    out->hourly = hourly_of(out, crew.stated, hourly_else);
    out->per_1000 = cost_per_1000(out->hourly, out->per_s);
    out->per_million_texts = 1000 * cost_per_1000(out->hourly, out->texts_per_s);
}

double cost_of_worker(const struct cost *self) {
    uint32_t counted = self->listed + self->unlisted - self->uncounted;
    return counted ? self->hourly / counted : NAN;
}

const struct cost_model *cost_model(const struct cost *self, const char *name) {
    for (uint32_t i = 0; i < self->n_models; i++)
        if (strcmp(self->models[i].name, name) == 0)
            return &self->models[i];
    return NULL;
}
