/* describe.c - see describe.h. A report is one arena: strings and lists are copied into it once and
 * freed with it. Its size is counted first by a dry run of the same code. */
#include "describe.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

struct ember_report {
    char *memory; /* everything below points into it */
    size_t used, room;
    struct ember_broker_info broker;
    struct ember_fleet_info fleet;
    struct ember_worker_info *workers;
    struct ember_service_info *services;
    struct ember_counter_info *counters;
    const char **routes;
    size_t n_workers, n_services, n_counters, n_routes;
};

/* `bytes` zeroed and aligned; with no memory yet it only counts and returns NULL. */
static void *take(struct ember_report *r, size_t bytes) {
    size_t at = (r->used + 15) & ~(size_t)15;
    r->used = at + bytes;
    return r->memory ? r->memory + at : NULL;
}

static const char *text(struct ember_report *r, struct view from) {
    char *to = take(r, from.bytes + 1);
    if (to && from.bytes)
        memcpy(to, from.data, from.bytes);
    return to;
}

static const struct ember_model_info *models(struct ember_report *r, const struct wire_model *from,
                                             uint32_t n) {
    struct ember_model_info *to = take(r, n * sizeof *to);
    for (uint32_t i = 0; i < n; i++) {
        struct ember_model_info m = {.name = text(r, from[i].name),
                                     .fingerprint = text(r, from[i].fingerprint),
                                     .precision = text(r, from[i].precision),
                                     .kernel = text(r, from[i].kernel),
                                     .dim = from[i].dim,
                                     .max_tokens = from[i].max_tokens,
                                     .tasks = from[i].tasks,
                                     .head = (enum ember_head)from[i].head,
                                     .labels = from[i].labels};
        if (to)
            to[i] = m;
    }
    return to;
}

static struct ember_worker_info worker(struct ember_report *r,
                                       const struct wire_worker_status *from) {
    const struct wire_heartbeat *last = &from->last;
    return (struct ember_worker_info){
        .name = text(r, from->name),
        .host = text(r, from->host),
        .version = text(r, from->version),
        .state = text(r, from->state),
        .tier = text(r, from->tier),
        .redis = text(r, last->redis),
        .hourly_cost = from->hourly_cost,
        .threads = from->threads,
        .credit = from->credit,
        .in_flight = from->in_flight,
        .silent_ms = from->silent_ms,
        .queued = last->queued,
        .running = last->running,
        .oldest_us = last->oldest_us,
        .service_us = last->service_us,
        .dispatched = from->dispatched,
        .completed = last->completed,
        .texts = last->texts,
        .tokens = last->tokens,
        .hits_memory = last->hits_memory,
        .hits_redis = last->hits_redis,
        .misses = last->misses,
        .shared = last->shared,
        .errors = last->errors,
        .rss_bytes = last->rss_bytes,
        .models = models(r, from->models, from->n_models),
        .n_models = from->n_models,
    };
}

static void fill(struct ember_report *r, const struct wire_status_reply *from,
                 const char *endpoint) {
    r->used = 0;
    r->broker = (struct ember_broker_info){.name = text(r, from->broker_name),
                                           .version = text(r, from->version),
                                           .state = text(r, from->state),
                                           .endpoint = text(r, view_of(endpoint)),
                                           .uptime_ms = from->uptime_ms,
                                           .clients = from->clients,
                                           .queued = from->queued,
                                           .in_flight = from->in_flight};
    const struct wire_fleet_status *fleet = &from->fleet;
    r->fleet = (struct ember_fleet_info){.live = fleet->live,
                                         .suspect = fleet->suspect,
                                         .runners = fleet->runners,
                                         .known = fleet->known,
                                         .desired = fleet->desired,
                                         .load = fleet->load,
                                         .hourly_cost = fleet->hourly_cost,
                                         .cost = fleet->cost};
    r->n_workers = from->n_workers;
    r->workers = take(r, from->n_workers * sizeof *r->workers);
    for (uint32_t i = 0; i < from->n_workers; i++) {
        struct ember_worker_info w = worker(r, &from->workers[i]);
        if (r->workers)
            r->workers[i] = w;
    }
    r->n_services = from->n_services;
    r->services = take(r, from->n_services * sizeof *r->services);
    for (uint32_t i = 0; i < from->n_services; i++) {
        const struct wire_service_status *s = &from->services[i];
        struct ember_service_info info = {.model = text(r, s->model),
                                          .task = wire_task_name(s->task),
                                          .workers = s->workers,
                                          .queued = s->queued,
                                          .in_flight = s->in_flight,
                                          .oldest_us = s->oldest_us,
                                          .answered = s->answered,
                                          .engine_us = s->engine_us};
        if (r->services)
            r->services[i] = info;
    }
    r->n_counters = from->n_counters;
    r->counters = take(r, from->n_counters * sizeof *r->counters);
    for (uint32_t i = 0; i < from->n_counters; i++) {
        struct ember_counter_info info = {text(r, from->counters[i].name), from->counters[i].value};
        if (r->counters)
            r->counters[i] = info;
    }
    r->n_routes = from->n_routes;
    r->routes = take(r, from->n_routes * sizeof *r->routes);
    for (uint32_t i = 0; i < from->n_routes; i++) {
        const char *route = text(r, from->routes[i]);
        if (r->routes)
            r->routes[i] = route;
    }
}

enum status describe_report(struct view body, struct arena *arena, const char *endpoint,
                            ember_report_t **out, struct err *err) {
    struct wire_status_reply reply;
    if (session_status_decode(body, arena, &reply, err) != STATUS_OK)
        return err_prefix(err, STATUS_INTERNAL, "the broker's report cannot be read");
    ember_report_t *r = calloc(1, sizeof *r);
    if (r) {
        fill(r, &reply, endpoint);
        r->room = r->used;
        r->memory = calloc(1, r->room + 16);
    }
    if (!r || !r->memory) {
        free(r);
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for the report");
    }
    fill(r, &reply, endpoint);
    CHECK(r->used == r->room);
    *out = r;
    return STATUS_OK;
}

void ember_report_destroy(ember_report_t **self) {
    if (*self) {
        free((*self)->memory);
        free(*self);
    }
    *self = NULL;
}

const struct ember_broker_info *ember_report_broker(const ember_report_t *self) {
    return &self->broker;
}

const struct ember_fleet_info *ember_report_fleet(const ember_report_t *self) {
    return &self->fleet;
}

const struct ember_worker_info *ember_report_worker(const ember_report_t *self, size_t i) {
    return i < self->n_workers ? &self->workers[i] : NULL;
}

const struct ember_service_info *ember_report_service(const ember_report_t *self, size_t i) {
    return i < self->n_services ? &self->services[i] : NULL;
}

const char *ember_report_route(const ember_report_t *self, size_t i) {
    return i < self->n_routes ? self->routes[i] : NULL;
}

const struct ember_counter_info *ember_report_counter(const ember_report_t *self, size_t i) {
    return i < self->n_counters ? &self->counters[i] : NULL;
}

void describe_service(const struct service *service, struct ember_model *out) {
    *out = (struct ember_model)EMBER_MODEL_INIT;
    memcpy(out->name, service->serves, sizeof out->name);
    memcpy(out->fingerprint, service->fingerprint, sizeof out->fingerprint);
    out->dim = service->dim;
    out->max_tokens = service->max_tokens;
    out->workers = service->workers;
    out->head = (enum ember_head)service->head;
    out->labels = service->head == WIRE_HEAD_LABELS ? service->labels : 0;
}
