/* options.c - the table of settings, and what they mean to the loop. */
#include "options.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define S struct options
/* clang-format off */
static const struct cfg_row rows[] = {
    CFG_HEADING("Addresses"),
    CFG_LIST("clients", S, clients, "tcp://127.0.0.1:5555", "ENDPOINT",
             "where clients connect; may be repeated"),
    CFG_LIST("workers", S, workers, "tcp://127.0.0.1:5556", "ENDPOINT",
             "where workers connect; may be repeated"),
    CFG_TEXT("http", S, http, "127.0.0.1:9464", "HOST:PORT",
             "metrics and health over HTTP; \"off\": none"),
    CFG_LIST("advertise", S, advertise, NULL, "ENDPOINT",
             "another broker of the same workers, told to clients; may be repeated"),
    CFG_TEXT("name", S, name, NULL, "NAME", "of this broker, for people; default: the host's"),
    CFG_TEXT("curve-dir", S, curve_dir, NULL, "DIR",
             "certificates: encrypts both ports and admits the keys in clients/, workers/\n"
             "and operators/ alone; looked at every second and at SIGHUP; empty: no keys"),
    CFG_HEADING("Requests"),
    CFG_TEXT("default-model", S, default_model, NULL, "MODEL",
             "for requests that name none; default: the only model of a task"),
    CFG_LIST("route", S, route_texts, NULL, "ALIAS=MODEL:WEIGHT,...",
             "a name that stands for several models, each with a share of the clients;\n"
             "may be repeated, changed by SIGHUP"),
    CFG_U32("max-queued", S, max_queued, "16384", 1, LIMIT_TICKETS, "N",
            "requests that may wait for a worker"),
    CFG_SIZE("max-queued-bytes", S, max_queued_bytes, "256M", 1 << 20, 64.0 * (1 << 30),
             "their bodies together"),
    CFG_U32("max-in-flight-per-client", S, max_client, "1024", 1, LIMIT_CLIENT_TICKETS, "N",
            "requests of one client, waiting or at a worker; with keys: of all programs of one"),
    CFG_U32("max-queued-cost", S, max_queued_cost, "4000000", 0, 4e9, "COST",
            "what waits, in cost: 1 + bytes / 64 of a body, times what its service's cost takes\n"
            "beside the mean of all services; 0: no limit"),
    CFG_SIZE("max-bytes-per-client", S, max_client_bytes, "64M", 0, 64.0 * (1 << 30),
             "bodies of one client, waiting or at a worker; 0: no limit"),
    CFG_U32("max-cost-per-client", S, max_client_cost, "1000000", 0, 4e9, "COST",
            "the same, in cost; 0: no limit"),
    CFG_U32("max-sessions-per-key", S, max_key_sessions, "4096", 0, LIMIT_PEERS, "N",
            "connections with one client key; 0: no limit"),
    CFG_SIZE("max-unread-bytes", S, max_unread, "64M", 1 << 20, 64.0 * (1 << 30),
             "replies one client may leave unread: beyond a quarter of it new requests are\n"
             "refused, beyond all of it the client is cut off"),
    CFG_SIZE("memory-limit", S, memory_limit, "0", 0, 1e15,
             "of this process: above 90 % nothing new is taken; 0: the cgroup's limit, if any"),
    CFG_CHOICE("coalesce", S, coalesce, "on", "off|on",
               "equal requests that wait or run at the same time share an execution"),
    CFG_CHOICE("hedge", S, hedge, "off", "off|on",
               "a request slower than 95 of 100 is given to an idle worker, too; with those that\n"
               "a worker seems stuck with at most 10 % of requests, and 10 a second"),
    CFG_U32("slo-ms", S, slo_ms, "150", 0, 3600 * 1000, "MS",
            "what an answer may take, for ember_slo_requests_total; 0: none is judged"),
    CFG_U32("slow-ms", S, slow_ms, "0", 0, 3600 * 1000, "MS",
            "a request that takes as long is a line in the log, at most ten a second; 0: none"),
    CFG_HEADING("Times"),
    CFG_DURATION("queue-target", S, queue_target_us, "100ms", 0, 3600e6,
                 "a client whose oldest request has waited longer, and 7/8 of its time, is\n"
                 "served newest first; 0: never"),
    CFG_DURATION("heartbeat", S, heartbeat_us, "500ms", 10e3, 60e6,
                 "workers speak this often; three silent ones mean death"),
    CFG_DURATION("no-worker-grace", S, grace_us, "5s", 0, 3600e6,
                 "a request waits this long for a worker of its model to come (back)"),
    CFG_DURATION("drain-timeout", S, drain_us, "20s", 0, 3600e6,
                 "time for requests at workers after SIGTERM"),
    CFG_HEADING("Scaling: ember_workers_desired, for whoever starts and stops workers"),
    CFG_F64("scale-target", S, scale_target, "0.7", 0.05, 1, "SHARE",
            "of the time that runners are to be busy"),
    CFG_U32("scale-min", S, scale_min, "1", 0, LIMIT_WORKERS, "N",
            "the least number of workers to wish for, all brokers together"),
    CFG_U32("scale-max", S, scale_max, "4096", 1, LIMIT_WORKERS, "N", "the greatest"),
    CFG_DURATION("scale-stabilization", S, scale_stabilization_us, "5m", 0, 86400e6,
                 "the wish is the highest of so long, so that a wave stops no workers that the\n"
                 "next one needs; 0: that of now"),
    CFG_HEADING("Other"),
    CFG_CHOICE("log-level", S, log_level, "info", "debug|info|warn|error", "what is logged"),
    CFG_CHOICE("log-format", S, log_format, "logfmt", "logfmt|json",
               "a line of key=value pairs, or a JSON object"),
};
/* clang-format on */
#undef S

static const struct cfg program = {
    .program = "ember-broker",
    .synopsis = "[OPTION]...",
    .about =
        "Spreads requests of clients over workers. Without --curve-dir whoever reaches the two\n"
        "ports can send requests or pose as a worker. By default they are open to this host\n"
        "only.",
    .epilog =
        "SIGTERM or SIGINT: take nothing new, finish what workers hold, exit; a second one\n"
        "exits at once. SIGHUP: read the settings and certificates again, and take over routes,\n"
        "what is logged and keys.\n"
        "Exit codes: 0 stopped, 1 cannot start, 2 a bad setting.",
    .rows = rows,
    .n_rows = sizeof rows / sizeof *rows,
};

static const char name_bytes[] =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

/* Names travel to clients, who refuse what is none. */
static bool is_name(const char *text) {
    return text[strspn(text, name_bytes)] == '\0';
}

static void take_host_name(char *out, size_t bytes) {
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    size_t n = 0;
    for (const char *p = host; *p && n + 1 < bytes; p++)
        if (strchr(name_bytes, *p))
            out[n++] = *p;
    out[n] = '\0';
    if (!n)
        snprintf(out, bytes, "broker");
}

void options_to_loop(const struct options *s, struct loop_cfg *out) {
    *out = (struct loop_cfg){
        .core = {.max_clients = LIMIT_PEERS,
                 .max_workers = LIMIT_WORKERS,
                 .max_services = LIMIT_SERVICES,
                 .max_tickets = LIMIT_TICKETS,
                 .max_queued = s->max_queued,
                 .max_queued_bytes = s->max_queued_bytes,
                 .max_queued_cost = s->max_queued_cost,
                 .max_client_tickets = s->max_client,
                 .max_client_bytes = s->max_client_bytes,
                 .max_client_cost = s->max_client_cost,
                 .max_key_sessions = s->max_key_sessions,
                 .queue_target_us = s->queue_target_us,
                 .heartbeat_us = s->heartbeat_us,
                 .no_worker_grace_us = s->grace_us,
                 .drain_us = s->drain_us,
                 .slo_us = (uint64_t)s->slo_ms * 1000,
                 .slow_us = (uint64_t)s->slow_ms * 1000,
                 .hedge = s->hedge,
                 .coalesce = s->coalesce},
        .clients = s->clients,
        .workers = s->workers,
        .advertise = s->advertise,
        .routes = s->routes,
        .max_unread = s->max_unread,
        .memory_limit = s->memory_limit,
        .scale = {.target = s->scale_target,
                  .min = s->scale_min,
                  .max = s->scale_max,
                  .stabilization_us = s->scale_stabilization_us},
        .name = s->name,
        .http = s->http,
        .curve_dir = s->curve_dir,
    };
    memcpy(out->core.default_model, s->default_model, sizeof out->core.default_model);
}

static enum status check(struct options *s, struct err *err) {
    if (!is_name(s->name) || !is_name(s->default_model))
        return err_set(err, STATUS_INVALID_ARGUMENT,
                       "%s: a name is made of letters, digits, '.', '_' and '-'",
                       is_name(s->name) ? "default-model" : "name");
    if (s->scale_min > s->scale_max)
        return err_set(err, STATUS_INVALID_ARGUMENT, "scale-min: %u is more than scale-max, %u",
                       s->scale_min, s->scale_max);
    s->routes.n = 0;
    enum status status = STATUS_OK;
    for (uint32_t i = 0; status == STATUS_OK && i < s->route_texts.n; i++)
        status = routes_add(&s->routes, s->route_texts.item[i], err);
    if (status == STATUS_OK)
        status = routes_check(&s->routes, err);
    return status == STATUS_OK ? status : err_prefix(err, status, "route");
}

enum status options_load(int argc, char **argv, struct options *out, enum cfg_action *action,
                         struct err *err) {
    memset(out, 0, sizeof *out);
    enum status status = cfg_load(&program, argc, argv, NULL, out, action, err);
    if (status == STATUS_OK && *action == CFG_RUN)
        status = check(out, err);
    if (status == STATUS_OK && !out->name[0])
        take_host_name(out->name, sizeof out->name);
    return status;
}

/* Rows whose fields options_reload() takes over. */
static bool is_live(const struct cfg_row *row) {
    return row->offset == offsetof(struct options, route_texts) ||
           row->offset == offsetof(struct options, log_level) ||
           row->offset == offsetof(struct options, log_format);
}

enum status options_reload(int argc, char **argv, struct options *self, char *waits,
                           size_t waits_bytes, struct err *err) {
    static struct options fresh;
    enum cfg_action action;
    enum status status = options_load(argc, argv, &fresh, &action, err);
    if (status != STATUS_OK)
        return status;
    size_t used = 0;
    waits[0] = '\0';
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct cfg_row *row = &rows[i];
        if (row->kind == CFG_KIND_HEADING || is_live(row) ||
            memcmp((char *)self + row->offset, (char *)&fresh + row->offset, row->bytes) == 0)
            continue;
        int n = snprintf(waits + used, waits_bytes - used, "%s%s", used ? ", " : "", row->name);
        used = n > 0 && used + (size_t)n < waits_bytes ? used + (size_t)n : waits_bytes - 1;
    }
    self->route_texts = fresh.route_texts;
    self->routes = fresh.routes;
    self->log_level = fresh.log_level;
    self->log_format = fresh.log_format;
    return STATUS_OK;
}
