/* figures.c - a copy of the core's figures, and the pages made of it. See figures.h.
 *
 * A page of many services takes milliseconds to write; the core waits for none of it: what is shown
 * is a copy, and the lock that the core takes is held only while that is made.
 *
 * Healthy means: the loop turns, which it does at least every FIGURES_PUBLISH_US. Ready means:
 * healthy, serving, and at least one worker is connected, so that a balancer in front of
 * several brokers sends nobody to one that would let him wait. */
#include "figures.h"

#include "base/clock.h"
#include "metrics/expose.h"
#include "metrics/process.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct service_copy {
    char model[LIMIT_NAME_BYTES + 1];
    enum wire_task task;
    uint32_t workers;
    struct core_service_view view;
    struct core_replies replies;
};

struct snapshot {
    struct core_stats stats;
    struct figures_frames frames;
    uint32_t clients, queued, in_flight, following, workers, n_services;
    uint32_t by_state[FLEET_DRAINING + 1];
    uint64_t queued_bytes, oldest_us, uptime_us, beat_us;
    double hourly_cost;
    uint64_t slo_us;
    bool draining;
    struct service_copy services[LIMIT_SERVICES]; /* the last: copied as far as there are some */
};

struct figures {
    expose_t *server;
    pthread_mutex_t lock;
    uint64_t started_us;
    struct snapshot now; /* under lock */
    pthread_mutex_t page_lock;
    struct snapshot shown; /* under page_lock: what the page at hand is made of */
};

void figures_publish(figures_t *self, const core_t *core, const struct figures_frames *frames,
                     uint64_t now_us) {
    const struct fleet *fleet = core_fleet(core);
    pthread_mutex_lock(&self->lock);
    struct snapshot *s = &self->now;
    s->stats = *core_stats(core);
    s->frames = *frames;
    s->clients = core_clients(core);
    s->queued = core_queued(core);
    s->in_flight = core_in_flight(core);
    s->following = core_following(core);
    s->queued_bytes = core_queued_bytes(core);
    s->draining = core_draining(core);
    s->slo_us = core_cfg(core)->slo_us;
    s->beat_us = now_us;
    s->uptime_us = now_us - self->started_us;
    s->workers = fleet->n_workers;
    memset(s->by_state, 0, sizeof s->by_state);
    for (uint32_t i = 0; i < fleet->high_workers; i++) {
        s->by_state[fleet->workers[i].state]++;
    }
    s->hourly_cost = core_hourly_cost(core);
    s->n_services = 0;
    s->oldest_us = 0;
    for (uint32_t i = 1; i < fleet->n_services; i++) {
        const struct fleet_service *from = &fleet->services[i];
        struct core_service_view view = core_service(core, i, now_us);
        s->oldest_us = view.oldest_us > s->oldest_us ? view.oldest_us : s->oldest_us;
        if (!from->seen)
            continue;
        struct service_copy *copy = &s->services[s->n_services++];
        memcpy(copy->model, from->model, sizeof copy->model);
        copy->task = from->task;
        copy->workers = from->n_members;
        copy->view = view;
        copy->replies = *core_replies(core, i);
    }
    pthread_mutex_unlock(&self->lock);
}

static void simple(struct expose_text *out, const char *name, const char *type, const char *help,
                   uint64_t value) {
    expose_family(out, name, type, help);
    expose_u64(out, name, NULL, value);
}

static void requests(const struct snapshot *s, struct expose_text *out) {
    const struct core_stats *stats = &s->stats;
    simple(out, "ember_requests_received_total", "counter", "Requests received.", stats->received);
    expose_family(out, "ember_requests_total", "counter", "Requests answered, by status.");
    for (int i = 0; i <= STATUS_UNAUTHENTICATED; i++) {
        const char *name = status_name((enum status)i);
        if (strcmp(name, "INVALID") == 0)
            continue;
        char labels[64];
        snprintf(labels, sizeof labels, "status=\"%s\"", name);
        expose_u64(out, "ember_requests_total", labels, stats->replied[i]);
    }
    simple(out, "ember_requests_dropped_total", "counter",
           "Requests whose client went away before the answer.", stats->dropped);
    simple(out, "ember_requests_attached_total", "counter",
           "Repeats of a request that was in flight; not executed twice.", stats->attached);
    simple(out, "ember_dispatches_total", "counter", "Executions started.", stats->dispatched);
    simple(out, "ember_requeues_total", "counter", "Executions lost with their worker.",
           stats->requeued);
    simple(out, "ember_nacks_total", "counter", "Requests given back by a worker, unstarted.",
           stats->nacked);
    simple(out, "ember_late_results_total", "counter", "Results that nobody waited for any more.",
           stats->late);
    simple(out, "ember_recoveries_total", "counter",
           "Second executions of requests whose first looked stuck.", stats->recovered);
    simple(out, "ember_hedges_total", "counter", "Second executions to overtake a slow first.",
           stats->hedged);
    simple(out, "ember_retries_denied_total", "counter",
           "Second executions that the budget did not allow.", stats->retries_denied);
    simple(out, "ember_poisoned_total", "counter",
           "Requests that workers died of; their bodies are refused for a minute.",
           stats->poisoned);
    simple(out, "ember_refused_total", "counter",
           "Requests refused at the door for want of room or time.", stats->refused);
    simple(out, "ember_shed_total", "counter",
           "Requests that had waited: pushed out, or without a chance to be in time.", stats->shed);
    simple(out, "ember_coalesced_total", "counter",
           "Requests answered by the execution of an equal one.", stats->coalesced);
    simple(out, "ember_replies_cut_total", "counter", "Replies a client did not take.",
           stats->replies_cut);
    simple(out, "ember_slow_requests_total", "counter",
           "Requests that took --slow-ms or longer; 0 while that is off.", stats->slow);
    expose_family(out, "ember_queue_duration_seconds", "histogram",
                  "Time from admission to the first dispatch.");
    expose_histogram(out, "ember_queue_duration_seconds", NULL, &stats->queue_us);
    expose_family(out, "ember_request_duration_seconds", "histogram",
                  "Time from admission to the answer of a worker, seen by the broker.");
    expose_histogram(out, "ember_request_duration_seconds", NULL, &stats->total_us);
}

static void peers(const struct snapshot *s, struct expose_text *out) {
    simple(out, "ember_clients", "gauge", "Sessions of clients.", s->clients);
    expose_family(out, "ember_workers", "gauge", "Workers, by state.");
    for (int i = FLEET_LIVE; i <= FLEET_DRAINING; i++) {
        char labels[64];
        snprintf(labels, sizeof labels, "state=\"%s\"", fleet_state_name((enum fleet_state)i));
        expose_u64(out, "ember_workers", labels, s->by_state[i]);
    }
    expose_family(out, "ember_workers_hourly_cost", "gauge",
                  "Cost of an hour of the connected workers, as they state it.");
    expose_f64(out, "ember_workers_hourly_cost", NULL, s->hourly_cost);
    simple(out, "ember_workers_lost_total", "counter", "Workers that left without saying goodbye.",
           s->stats.workers_lost);
    simple(out, "ember_workers_suspected_total", "counter",
           "Times a worker was not trusted any more.", s->stats.suspected);
    simple(out, "ember_clients_cut_total", "counter",
           "Clients given up for the replies they left unread.", s->frames.cut);
    simple(out, "ember_unread_bytes", "gauge", "Sent to clients and not known to be read.",
           s->frames.unread_bytes);
    simple(out, "ember_memory_bytes", "gauge", "Memory taken.", s->frames.memory_bytes);
    simple(out, "ember_memory_limit_bytes", "gauge", "Of the setting or cgroup; 0: none.",
           s->frames.memory_limit);
    simple(out, "ember_frames_malformed_total", "counter", "Messages that are not ours.",
           s->frames.malformed);
    simple(out, "ember_frames_unknown_peer_total", "counter",
           "Messages of connections without a session.", s->frames.unknown_peers);
    simple(out, "ember_frames_unknown_epoch_total", "counter",
           "Messages of a session or broker start that is over.", s->stats.strangers);
    simple(out, "ember_frames_unexpected_total", "counter",
           "Well-formed messages that make no sense where they came.", s->stats.unexpected);
}

static void load(const struct snapshot *s, struct expose_text *out) {
    const struct figures_frames *f = &s->frames;
    if (f->has_load) {
        simple(out, "ember_workers_desired", "gauge",
               "Workers wanted for what is asked; the sum of all brokers of the same workers.",
               f->desired);
        expose_family(out, "ember_workers_load", "gauge",
                      "Work asked for and waiting; 1: as much as all runners can do.");
        expose_f64(out, "ember_workers_load", NULL, f->load);
    }
    simple(out, "ember_workers_runners", "gauge", "Threads that compute, of live workers.",
           f->core_load.runners);
    simple(out, "ember_workers_credit", "gauge",
           "Cost that live workers would have at once from this broker.", f->core_load.window);
    simple(out, "ember_workers_credit_used", "gauge", "Cost that they have.", f->core_load.used);
    expose_family(out, "ember_engine_seconds_total", "counter",
                  "Time of runners that answered requests took, as workers tell.");
    expose_f64(out, "ember_engine_seconds_total", NULL, (double)s->stats.engine_us / 1e6);
    expose_family(out, "ember_cost_dollars_total", "counter",
                  "Hourly cost of the connected workers over time, in the currency they state it.");
    expose_f64(out, "ember_cost_dollars_total", NULL, f->cost);
    if (!f->has_cost_per_1000)
        return;
    expose_family(out, "ember_cost_dollars_per_1000_requests", "gauge",
                  "Cost of the last five minutes by a thousand OK answers.");
    expose_f64(out, "ember_cost_dollars_per_1000_requests", NULL, f->cost_per_1000);
}

static void keys(const struct snapshot *s, struct expose_text *out) {
    const struct guard_counts *k = &s->frames.keys;
    if (!s->frames.has_keys)
        return;
    simple(out, "ember_keys", "gauge", "Keys that are admitted.", k->keys);
    simple(out, "ember_keys_refused_files", "gauge", "Certificates that are not understood.",
           k->bad);
    simple(out, "ember_keys_unreadable", "gauge",
           "1: the certificates cannot be read, nobody new is admitted.", k->closed);
    simple(out, "ember_handshakes_admitted_total", "counter", "Connections with a key that counts.",
           k->admitted);
    simple(out, "ember_handshakes_refused_total", "counter", "Connections with another key.",
           k->refused);
}

static void per_service(const struct snapshot *s, struct expose_text *out, const char *name,
                        const char *type, const char *help,
                        double (*value)(const struct service_copy *)) {
    expose_family(out, name, type, help);
    for (uint32_t i = 0; i < s->n_services; i++) {
        const struct service_copy *c = &s->services[i];
        char model[EXPOSE_LABEL_BYTES], labels[EXPOSE_LABEL_BYTES + 64];
        snprintf(labels, sizeof labels, "model=\"%s\",task=\"%s\"",
                 expose_label(view_of(c->model), model), wire_task_name(c->task));
        expose_f64(out, name, labels, value(c));
    }
}

static double get_queued(const struct service_copy *c) {
    return c->view.queued;
}
static double get_in_flight(const struct service_copy *c) {
    return c->view.in_flight;
}
static double get_workers(const struct service_copy *c) {
    return c->workers;
}
static double get_answered(const struct service_copy *c) {
    return (double)c->view.answered;
}
static double get_engine(const struct service_copy *c) {
    return (double)c->view.engine_us / 1e6;
}
static double get_oldest(const struct service_copy *c) {
    return (double)c->view.oldest_us / 1e6;
}

static double get_refused(const struct service_copy *c) {
    return (double)c->view.refused;
}
static double get_shed(const struct service_copy *c) {
    return (double)c->view.shed;
}
static double get_rate(const struct service_copy *c) {
    return c->view.rate;
}
static double get_weight(const struct service_copy *c) {
    return c->view.weight;
}

static void per_reason(const struct snapshot *s, struct expose_text *out) {
    expose_family(out, "ember_refusals_total", "counter",
                  "Requests refused at the door or after they had waited, by reason.");
    for (int i = 0; i < CORE_REASONS; i++) {
        char label[64];
        snprintf(label, sizeof label, "reason=\"%s\"", core_reason_name((enum core_reason)i));
        expose_u64(out, "ember_refusals_total", label, s->stats.refusals[i]);
    }
}

/* OK is always there; other statuses once there are some. */
static void per_answer(const struct snapshot *s, struct expose_text *out) {
    expose_family(out, "ember_service_requests_total", "counter",
                  "Requests answered or refused, of models that workers serve or served.");
    for (uint32_t i = 0; i < s->n_services; i++) {
        const struct service_copy *c = &s->services[i];
        char model[EXPOSE_LABEL_BYTES], labels[EXPOSE_LABEL_BYTES + 128];
        expose_label(view_of(c->model), model);
        for (int n = 0; n < WIRE_LANES * (STATUS_UNAUTHENTICATED + 1); n++) {
            int lane = n / (STATUS_UNAUTHENTICATED + 1), status = n % (STATUS_UNAUTHENTICATED + 1);
            uint64_t value = c->replies.n[lane][status];
            if (!value && status != STATUS_OK)
                continue;
            snprintf(labels, sizeof labels, "model=\"%s\",task=\"%s\",lane=\"%s\",status=\"%s\"",
                     model, wire_task_name(c->task), wire_lane_name((uint8_t)lane),
                     status_name((enum status)status));
            expose_u64(out, "ember_service_requests_total", labels, value);
        }
    }
}

static void service_level(const struct snapshot *s, struct expose_text *out) {
    if (!s->slo_us)
        return;
    expose_family(out, "ember_slo_seconds", "gauge", "What an answer may take (--slo-ms).");
    expose_f64(out, "ember_slo_seconds", NULL, (double)s->slo_us / 1e6);
    expose_family(out, "ember_slo_requests_total", "counter",
                  "Answers and failures of the service: OK within the time, or not.");
    for (int lane = 0; lane < WIRE_LANES; lane++)
        for (int within = 1; within >= 0; within--) {
            char label[64];
            snprintf(label, sizeof label, "lane=\"%s\",within=\"%s\"",
                     wire_lane_name((uint8_t)lane), within ? "true" : "false");
            expose_u64(out, "ember_slo_requests_total", label, s->stats.slo[lane][within]);
        }
}

static void per_lane(const struct snapshot *s, struct expose_text *out) {
    uint64_t queued[WIRE_LANES] = {0};
    for (uint32_t i = 0; i < s->n_services; i++)
        for (int lane = 0; lane < WIRE_LANES; lane++)
            queued[lane] += s->services[i].view.lanes[lane];
    expose_family(out, "ember_lane_queue_size", "gauge", "Requests waiting, by lane.");
    for (int lane = 0; lane < WIRE_LANES; lane++) {
        char label[32];
        snprintf(label, sizeof label, "lane=\"%s\"", wire_lane_name((uint8_t)lane));
        expose_u64(out, "ember_lane_queue_size", label, queued[lane]);
    }
}

void figures_page(figures_t *self, struct expose_text *out) {
    pthread_mutex_lock(&self->page_lock);
    pthread_mutex_lock(&self->lock);
    memcpy(&self->shown, &self->now,
           offsetof(struct snapshot, services) +
               self->now.n_services * sizeof self->now.services[0]);
    pthread_mutex_unlock(&self->lock);
    const struct snapshot *s = &self->shown;
    requests(s, out);
    per_reason(s, out);
    per_answer(s, out);
    service_level(s, out);
    peers(s, out);
    load(s, out);
    keys(s, out);
    simple(out, "ember_queue_size", "gauge", "Requests waiting for a worker.", s->queued);
    simple(out, "ember_queue_bytes", "gauge", "Their bodies.", s->queued_bytes);
    simple(out, "ember_in_flight", "gauge", "Requests at workers.", s->in_flight);
    simple(out, "ember_following", "gauge", "Requests that wait for an equal one at a worker.",
           s->following);
    expose_family(out, "ember_queue_oldest_seconds", "gauge", "Age of the oldest waiter.");
    expose_f64(out, "ember_queue_oldest_seconds", NULL, (double)s->oldest_us / 1e6);
    per_service(s, out, "ember_service_queue_size", "gauge", "Requests waiting.", get_queued);
    per_service(s, out, "ember_service_in_flight", "gauge", "Requests at workers.", get_in_flight);
    per_service(s, out, "ember_service_workers", "gauge", "Workers that serve it.", get_workers);
    per_service(s, out, "ember_service_answered_total", "counter", "Results.", get_answered);
    per_service(s, out, "ember_service_engine_seconds_total", "counter",
                "Time of runners that its requests took, as workers tell.", get_engine);
    per_service(s, out, "ember_service_oldest_seconds", "gauge", "Age of the oldest waiter.",
                get_oldest);
    per_service(s, out, "ember_service_refused_total", "counter",
                "Requests refused at the door for want of room or time.", get_refused);
    per_service(s, out, "ember_service_shed_total", "counter",
                "Requests pushed out, or without a chance to be in time.", get_shed);
    per_service(s, out, "ember_service_rate", "gauge",
                "Cost per second it is held to be capable of; 0: not known.", get_rate);
    per_service(s, out, "ember_service_weight", "gauge",
                "Engine work a unit of its cost takes, beside the mean of all services.",
                get_weight);
    per_lane(s, out);
    expose_family(out, "ember_uptime_seconds", "gauge", "Since the start of this process.");
    expose_f64(out, "ember_uptime_seconds", NULL, (double)s->uptime_us / 1e6);
    expose_family(out, "ember_build_info", "gauge", "Always 1; the label tells the version.");
    expose_u64(out, "ember_build_info", "program=\"ember-broker\",version=\"" EMBER_VERSION "\"",
               1);
    process_expose(out);
    pthread_mutex_unlock(&self->page_lock);
}

static void on_metrics(void *arg, struct expose_text *out) {
    figures_page(arg, out);
}

bool figures_healthy(figures_t *self, uint64_t now_us, struct expose_text *why) {
    pthread_mutex_lock(&self->lock);
    uint64_t beat_us = self->now.beat_us;
    pthread_mutex_unlock(&self->lock);
    bool healthy = now_us < beat_us + FIGURES_BEAT_US;
    if (!healthy)
        expose_printf(why, "the loop has not turned for %.1f s\n",
                      (double)(now_us - beat_us) / 1e6);
    return healthy;
}

static bool on_health(void *arg, struct expose_text *why) {
    return figures_healthy(arg, clock_us(), why);
}

static bool on_ready(void *arg, struct expose_text *why) {
    figures_t *self = arg;
    if (!on_health(self, why))
        return false;
    pthread_mutex_lock(&self->lock);
    bool draining = self->now.draining;
    uint32_t live = self->now.by_state[FLEET_LIVE];
    pthread_mutex_unlock(&self->lock);
    if (draining)
        expose_printf(why, "stopping\n");
    else if (!live)
        expose_printf(why, "no worker is connected\n");
    return !draining && live;
}

enum status figures_start(const char *listen, const core_t *core, uint64_t now_us, figures_t **out,
                          struct err *err) {
    figures_t *self = calloc(1, sizeof *self);
    if (!self)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    pthread_mutex_init(&self->lock, NULL);
    pthread_mutex_init(&self->page_lock, NULL);
    self->started_us = now_us;
    figures_publish(self, core, &(struct figures_frames){0}, now_us);
    struct expose_cfg cfg = {.listen = listen,
                             .metrics = on_metrics,
                             .health = on_health,
                             .ready = on_ready,
                             .arg = self};
    enum status status = expose_start(&cfg, &self->server, err);
    if (status != STATUS_OK)
        figures_stop(&self);
    else
        *out = self;
    return status;
}

void figures_stop(figures_t **self) {
    if (!*self)
        return;
    expose_stop(&(*self)->server);
    pthread_mutex_destroy(&(*self)->page_lock);
    pthread_mutex_destroy(&(*self)->lock);
    free(*self);
    *self = NULL;
}

uint16_t figures_port(const figures_t *self) {
    return expose_port(self->server);
}
