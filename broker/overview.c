/* overview.c - see overview.h. The counters' names are those of the metrics, without the prefix. */
#include "overview.h"

#include <stdio.h>
#include <stdlib.h>

enum { WORKERS_MAX = 512, SERVICES_MAX = 512, COUNTERS_MAX = 64 };

struct room {
    struct wire_worker_status workers[WORKERS_MAX];
    struct wire_model models[WORKERS_MAX][LIMIT_MODELS];
    struct wire_service_status services[SERVICES_MAX];
    struct wire_counter counters[COUNTERS_MAX];
    char names[COUNTERS_MAX][64];
    char routes[ROUTES_MAX][ROUTE_TEXT_BYTES];
    struct view route[ROUTES_MAX];
};

static void fill_worker(const struct fleet *fleet, uint32_t index, uint64_t now_us,
                        struct wire_model *models, struct wire_worker_status *out) {
    const struct fleet_worker *w = &fleet->workers[index];
    *out = (struct wire_worker_status){.name = view_of(w->name),
                                       .host = view_of(w->host),
                                       .version = view_of(w->version),
                                       .state = view_of(fleet_state_name(w->state)),
                                       .tier = view_of(w->tier),
                                       .hourly_cost = w->hourly_cost,
                                       .threads = w->threads,
                                       .credit = fleet->loads[index].credit,
                                       .in_flight = fleet->loads[index].n,
                                       .silent_ms = (uint32_t)((now_us - w->heard_us) / 1000),
                                       .dispatched = w->dispatched,
                                       .models = models,
                                       .n_models = w->n_models,
                                       .last = w->last};
    for (uint32_t i = 0; i < w->n_models; i++) {
        const struct fleet_model *m = &w->models[i];
        models[i] = (struct wire_model){.name = view_of(m->name),
                                        .fingerprint = view_of(m->fingerprint),
                                        .precision = view_of(m->precision),
                                        .kernel = view_of(m->kernel),
                                        .dim = m->dim,
                                        .max_tokens = m->max_tokens,
                                        .tasks = m->tasks,
                                        .head = m->head,
                                        .labels = m->labels};
    }
}

static uint32_t fill_workers(const struct fleet *fleet, uint64_t now_us, struct room *room) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < fleet->high_workers && n < WORKERS_MAX; i++)
        if (fleet->workers[i].state != FLEET_FREE) {
            fill_worker(fleet, i, now_us, room->models[n], &room->workers[n]);
            n++;
        }
    return n;
}

static uint32_t fill_services(const core_t *core, uint64_t now_us, struct room *room) {
    const struct fleet *fleet = core_fleet(core);
    uint32_t n = 0;
    for (uint32_t i = 1; i < fleet->n_services && n < SERVICES_MAX; i++) {
        const struct fleet_service *s = &fleet->services[i];
        struct core_service_view view = core_service(core, i, now_us);
        if (!s->seen && !view.queued)
            continue; /* a name that somebody asked for */
        room->services[n++] = (struct wire_service_status){.number = i,
                                                           .model = view_of(s->model),
                                                           .task = s->task,
                                                           .workers = s->n_members,
                                                           .queued = view.queued,
                                                           .in_flight = view.in_flight,
                                                           .oldest_us = (uint32_t)view.oldest_us,
                                                           .answered = view.answered,
                                                           .engine_us = view.engine_us};
    }
    return n;
}

static uint32_t fill_counters(const core_t *core, struct room *room) {
    const struct core_stats *s = core_stats(core);
    uint32_t n = 0;
    for (int i = 0; i <= STATUS_UNAUTHENTICATED; i++) {
        if (!s->replied[i])
            continue;
        snprintf(room->names[n], sizeof room->names[n], "replied_%s", status_name((enum status)i));
        room->counters[n] = (struct wire_counter){view_of(room->names[n]), s->replied[i]};
        n++;
    }
    const struct wire_counter rest[] = {
        {view_of("received"), s->received},
        {view_of("dropped"), s->dropped},
        {view_of("attached"), s->attached},
        {view_of("dispatched"), s->dispatched},
        {view_of("requeued"), s->requeued},
        {view_of("nacked"), s->nacked},
        {view_of("late"), s->late},
        {view_of("refused"), s->refused},
        {view_of("shed"), s->shed},
        {view_of("workers_lost"), s->workers_lost},
        {view_of("suspected"), s->suspected},
        {view_of("recovered"), s->recovered},
        {view_of("hedged"), s->hedged},
        {view_of("retries_denied"), s->retries_denied},
        {view_of("poisoned"), s->poisoned},
        {view_of("coalesced"), s->coalesced},
        {view_of("following"), core_following(core)},
        {view_of("strangers"), s->strangers},
        {view_of("unexpected"), s->unexpected},
        {view_of("replies_cut"), s->replies_cut},
        {view_of("workers"), core_fleet(core)->n_workers},
    };
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++)
        room->counters[n++] = rest[i];
    return n;
}

static uint32_t fill_routes(const core_t *core, struct room *room) {
    const struct routes *routes = core_routes(core);
    for (uint32_t i = 0; i < routes->n; i++) {
        route_text(&routes->route[i], room->routes[i]);
        room->route[i] = view_of(room->routes[i]);
    }
    return routes->n;
}

static struct wire_fleet_status fleet_status(const core_t *core, const struct overview *about) {
    struct core_load load = core_load(core);
    return (struct wire_fleet_status){.live = load.live,
                                      .suspect = load.suspect,
                                      .runners = load.runners,
                                      .known = about->known,
                                      .desired = about->desired,
                                      .load = about->load,
                                      .hourly_cost = core_hourly_cost(core),
                                      .cost = about->cost};
}

enum status overview_encode(const core_t *core, const struct overview *about, uint64_t now_us,
                            struct wire_out *out) {
    struct room *room = malloc(sizeof *room);
    if (!room)
        return STATUS_RESOURCE_EXHAUSTED;
    struct wire_status_reply reply = {
        .broker_name = view_of(about->broker_name),
        .version = view_of(EMBER_VERSION),
        .state = view_of(core_draining(core) ? "draining" : "serving"),
        .broker = core_cfg(core)->id,
        .uptime_ms = (now_us - about->started_us) / 1000,
        .clients = core_clients(core),
        .queued = core_queued(core),
        .in_flight = core_in_flight(core),
        .workers = room->workers,
        .n_workers = fill_workers(core_fleet(core), now_us, room),
        .services = room->services,
        .n_services = fill_services(core, now_us, room),
        .counters = room->counters,
        .n_counters = fill_counters(core, room),
        .routes = room->route,
        .n_routes = fill_routes(core, room),
        .fleet = fleet_status(core, about),
    };
    enum status status;
    for (;;) {
        status = session_status_encode(&reply, out);
        if (status != STATUS_OK || out->bytes <= LIMIT_REPLY_BYTES || reply.n_workers == 0)
            break;
        reply.n_workers /= 2; /* the fleet still says how many there are */
    }
    free(room);
    return status;
}
