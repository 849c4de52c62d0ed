/* report.c - the broker's report about itself, its workers and services (session.h, status). Its
 * size goes with the fleet, so its protobuf form is built on the heap; nobody asks for it in a
 * hurry. */
#include "wire/codec_pb.h"

#include <math.h>
#include <stdlib.h>

enum { REPORT_TEXT_MAX = 255, ROUTE_TEXT_MAX = 1023 };

struct worker_room {
    Ember__WorkerStatus m;
    Ember__Heartbeat last;
    struct pb_model models[LIMIT_MODELS];
    Ember__Model *list[LIMIT_MODELS];
};

struct report_room {
    Ember__WorkerStatus **workers;
    struct worker_room *worker;
    Ember__ServiceStatus **services, *service;
    Ember__Counter **counters, *counter;
    ProtobufCBinaryData routes[WIRE_ROUTES_MAX];
};

static bool room_init(struct report_room *self, const struct wire_status_reply *in) {
    self->workers = calloc(in->n_workers + 1u, sizeof *self->workers);
    self->worker = calloc(in->n_workers + 1u, sizeof *self->worker);
    self->services = calloc(in->n_services + 1u, sizeof *self->services);
    self->service = calloc(in->n_services + 1u, sizeof *self->service);
    self->counters = calloc(in->n_counters + 1u, sizeof *self->counters);
    self->counter = calloc(in->n_counters + 1u, sizeof *self->counter);
    return self->workers && self->worker && self->services && self->service && self->counters &&
           self->counter;
}

static void room_done(struct report_room *self) {
    free(self->workers);
    free(self->worker);
    free(self->services);
    free(self->service);
    free(self->counters);
    free(self->counter);
}

static void fill_worker(struct worker_room *room, const struct wire_worker_status *in) {
    Ember__WorkerStatus *m = &room->m;
    ember__worker_status__init(m);
    m->name = pb_data(in->name);
    m->host = pb_data(in->host);
    m->version = pb_data(in->version);
    m->state = pb_data(in->state);
    m->tier = pb_data(in->tier);
    m->hourly_cost = in->hourly_cost;
    m->threads = in->threads;
    m->credit = in->credit;
    m->in_flight = in->in_flight;
    m->silent_ms = in->silent_ms;
    m->dispatched = in->dispatched;
    for (uint32_t i = 0; i < in->n_models && i < LIMIT_MODELS; i++) {
        pb_fill_model(&room->models[i], &in->models[i]);
        room->list[m->n_models++] = &room->models[i].m;
    }
    m->models = room->list;
    pb_fill_heartbeat(&room->last, &in->last);
    m->last = &room->last;
}

static void fill_service(Ember__ServiceStatus *m, const struct wire_service_status *in) {
    ember__service_status__init(m);
    m->number = in->number;
    m->model = pb_data(in->model);
    m->task = (Ember__Task)in->task;
    m->workers = in->workers;
    m->queued = in->queued;
    m->in_flight = in->in_flight;
    m->answered = in->answered;
    m->oldest_us = in->oldest_us;
    m->engine_us = in->engine_us;
}

static void fill_fleet(Ember__FleetStatus *m, const struct wire_fleet_status *in) {
    ember__fleet_status__init(m);
    m->live = in->live;
    m->suspect = in->suspect;
    m->runners = in->runners;
    m->known = in->known;
    m->desired = in->desired;
    m->load = in->load;
    m->hourly_cost = in->hourly_cost;
    m->cost = in->cost;
}

static void fill_lists(Ember__StatusReply *m, struct report_room *room,
                       const struct wire_status_reply *in) {
    for (uint32_t i = 0; i < in->n_workers; i++) {
        fill_worker(&room->worker[i], &in->workers[i]);
        room->workers[i] = &room->worker[i].m;
    }
    for (uint32_t i = 0; i < in->n_services; i++) {
        fill_service(&room->service[i], &in->services[i]);
        room->services[i] = &room->service[i];
    }
    for (uint32_t i = 0; i < in->n_counters; i++) {
        ember__counter__init(&room->counter[i]);
        room->counter[i].name = pb_data(in->counters[i].name);
        room->counter[i].value = in->counters[i].value;
        room->counters[i] = &room->counter[i];
    }
    m->n_workers = in->n_workers;
    m->workers = room->workers;
    m->n_services = in->n_services;
    m->services = room->services;
    m->n_counters = in->n_counters;
    m->counters = room->counters;
    for (uint32_t i = 0; i < in->n_routes; i++)
        room->routes[i] = pb_data(in->routes[i]);
    m->n_routes = in->n_routes;
    m->routes = room->routes;
}

enum status session_status_encode(const struct wire_status_reply *in, struct wire_out *out) {
    Ember__StatusReply m = EMBER__STATUS_REPLY__INIT;
    Ember__FleetStatus fleet;
    struct report_room room;
    enum status st = STATUS_RESOURCE_EXHAUSTED;
    if (room_init(&room, in)) {
        m.broker_name = pb_data(in->broker_name);
        m.broker = in->broker;
        m.version = pb_data(in->version);
        m.uptime_ms = in->uptime_ms;
        m.state = pb_data(in->state);
        m.clients = in->clients;
        m.queued = in->queued;
        m.in_flight = in->in_flight;
        fill_fleet(&fleet, &in->fleet);
        m.fleet = &fleet;
        fill_lists(&m, &room, in);
        st = pb_pack(&m, out);
    }
    room_done(&room);
    return st;
}

static enum status decode_worker(const Ember__WorkerStatus *in, struct arena *arena,
                                 struct wire_worker_status *out, struct err *err) {
    *out = (struct wire_worker_status){
        .name = pb_view(in->name),
        .host = pb_view(in->host),
        .version = pb_view(in->version),
        .state = pb_view(in->state),
        .tier = pb_view(in->tier),
        .hourly_cost = in->hourly_cost,
        .threads = in->threads,
        .credit = in->credit,
        .in_flight = in->in_flight,
        .silent_ms = in->silent_ms,
        .dispatched = in->dispatched,
        .n_models = (uint32_t)in->n_models,
    };
    enum status st = pb_check_name(out->name, false, "worker", err);
    if (st == STATUS_OK)
        st = pb_check_text(out->host, REPORT_TEXT_MAX, "host", err);
    if (st == STATUS_OK)
        st = pb_check_text(out->version, REPORT_TEXT_MAX, "version", err);
    if (st == STATUS_OK)
        st = pb_check_name(out->state, true, "state", err);
    if (st == STATUS_OK)
        st = pb_check_name(out->tier, true, "tier", err);
    if (st == STATUS_OK)
        st = pb_decode_models(in->models, in->n_models, arena, &out->models, err);
    if (st == STATUS_OK && in->last)
        st = pb_read_heartbeat(in->last, &out->last, err);
    return st;
}

static enum status decode_service_status(const Ember__ServiceStatus *in,
                                         struct wire_service_status *out, struct err *err) {
    *out = (struct wire_service_status){
        .number = in->number,
        .model = pb_view(in->model),
        .task = (enum wire_task)in->task,
        .workers = in->workers,
        .queued = in->queued,
        .in_flight = in->in_flight,
        .answered = in->answered,
        .oldest_us = in->oldest_us,
        .engine_us = in->engine_us,
    };
    enum status st = pb_check_name(out->model, true, "model", err);
    return st == STATUS_OK ? pb_check_task((int)in->task, err) : st;
}

static bool is_amount(double x) {
    return isfinite(x) && x >= 0;
}

static enum status decode_fleet(const Ember__FleetStatus *in, struct wire_fleet_status *out,
                                struct err *err) {
    if (!is_amount(in->load) || !is_amount(in->hourly_cost) || !is_amount(in->cost))
        return err_set(err, STATUS_INVALID_ARGUMENT, "fleet: a load or a cost is no amount");
    *out = (struct wire_fleet_status){.live = in->live,
                                      .suspect = in->suspect,
                                      .runners = in->runners,
                                      .known = in->known,
                                      .desired = in->desired,
                                      .load = in->load,
                                      .hourly_cost = in->hourly_cost,
                                      .cost = in->cost};
    return STATUS_OK;
}

struct report_lists {
    struct wire_worker_status *workers;
    struct wire_service_status *services;
    struct wire_counter *counters;
    struct view *routes;
};

static enum status decode_lists(const Ember__StatusReply *m, struct arena *arena,
                                struct report_lists *out, struct err *err) {
    out->workers = pb_array(arena, struct wire_worker_status, m->n_workers, err);
    out->services = pb_array(arena, struct wire_service_status, m->n_services, err);
    out->counters = pb_array(arena, struct wire_counter, m->n_counters, err);
    out->routes = pb_array(arena, struct view, m->n_routes, err);
    if (!out->workers || !out->services || !out->counters || !out->routes)
        return STATUS_INVALID_ARGUMENT;
    enum status st = STATUS_OK;
    for (size_t i = 0; st == STATUS_OK && i < m->n_workers; i++)
        st = decode_worker(m->workers[i], arena, &out->workers[i], err);
    for (size_t i = 0; st == STATUS_OK && i < m->n_services; i++)
        st = decode_service_status(m->services[i], &out->services[i], err);
    for (size_t i = 0; st == STATUS_OK && i < m->n_counters; i++) {
        out->counters[i] =
            (struct wire_counter){pb_view(m->counters[i]->name), m->counters[i]->value};
        st = pb_check_name(out->counters[i].name, false, "counter", err);
    }
    for (size_t i = 0; st == STATUS_OK && i < m->n_routes; i++) {
        out->routes[i] = pb_view(m->routes[i]);
        st = pb_check_text(out->routes[i], ROUTE_TEXT_MAX, "route", err);
    }
    return st;
}

enum status session_status_decode(struct view body, struct arena *arena,
                                  struct wire_status_reply *out, struct err *err) {
    static const struct pb_count counts[] = {{9, LIMIT_WORKERS, "workers"},
                                             {10, LIMIT_SERVICES, "services"},
                                             {11, 1024, "counters"},
                                             {12, WIRE_ROUTES_MAX, "routes"}};
    Ember__StatusReply *m;
    struct report_lists lists;
    struct wire_fleet_status fleet = {0};
    enum status st =
        pb_unpack(&ember__status_reply__descriptor, body, counts, 4, arena, (void **)&m, err);
    if (st == STATUS_OK)
        st = pb_check_text(pb_view(m->broker_name), REPORT_TEXT_MAX, "broker_name", err);
    if (st == STATUS_OK)
        st = pb_check_text(pb_view(m->version), REPORT_TEXT_MAX, "version", err);
    if (st == STATUS_OK)
        st = pb_check_name(pb_view(m->state), true, "state", err);
    if (st == STATUS_OK)
        st = decode_lists(m, arena, &lists, err);
    if (st == STATUS_OK && m->fleet)
        st = decode_fleet(m->fleet, &fleet, err);
    if (st != STATUS_OK)
        return st;
    *out = (struct wire_status_reply){
        .broker_name = pb_view(m->broker_name),
        .version = pb_view(m->version),
        .state = pb_view(m->state),
        .broker = m->broker,
        .uptime_ms = m->uptime_ms,
        .clients = m->clients,
        .queued = m->queued,
        .in_flight = m->in_flight,
        .workers = lists.workers,
        .n_workers = (uint32_t)m->n_workers,
        .services = lists.services,
        .n_services = (uint32_t)m->n_services,
        .counters = lists.counters,
        .n_counters = (uint32_t)m->n_counters,
        .routes = lists.routes,
        .n_routes = (uint32_t)m->n_routes,
        .fleet = fleet,
    };
    return STATUS_OK;
}
