/* main.c - ember-broker: settings, signals, exit code. */
#include "base/hash.h"
#include "base/log.h"
#include "base/thread.h"
#include "loop.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct settings {
    struct cfg_list clients, workers, advertise;
    char http[CFG_TEXT_MAX], name[LIMIT_NAME_BYTES + 1], default_model[LIMIT_NAME_BYTES + 1];
    uint32_t max_queued, max_client, log_level;
    uint64_t max_queued_bytes, heartbeat_us, grace_us, drain_us;
};

#define S struct settings
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
    CFG_HEADING("Requests"),
    CFG_TEXT("default-model", S, default_model, NULL, "MODEL",
             "for requests that name none; default: the only model of a task"),
    CFG_U32("max-queued", S, max_queued, "16384", 1, LIMIT_TICKETS, "N",
            "requests that may wait for a worker"),
    CFG_SIZE("max-queued-bytes", S, max_queued_bytes, "256M", 1 << 20, 64.0 * (1 << 30),
             "their bodies together"),
    CFG_U32("max-in-flight-per-client", S, max_client, "1024", 1, LIMIT_CLIENT_TICKETS, "N",
            "requests of one connection, waiting or at a worker"),
    CFG_HEADING("Times"),
    CFG_DURATION("heartbeat", S, heartbeat_us, "500ms", 10e3, 60e6,
                 "workers speak this often; three silent ones mean death"),
    CFG_DURATION("no-worker-grace", S, grace_us, "5s", 0, 3600e6,
                 "a request waits this long for a worker of its model to come (back)"),
    CFG_DURATION("drain-timeout", S, drain_us, "20s", 0, 3600e6,
                 "time for requests at workers after SIGTERM"),
    CFG_HEADING("Other"),
    CFG_CHOICE("log-level", S, log_level, "info", "debug|info|warn|error", "what is logged"),
};
/* clang-format on */
#undef S

static const struct cfg program = {
    .program = "ember-broker",
    .synopsis = "[OPTION]...",
    .about = "Spreads requests of clients over workers. There is no authentication yet: whoever\n"
             "reaches the two ports can send requests or pose as a worker. By default they are\n"
             "open to this host only.",
    .epilog = "SIGTERM or SIGINT: take nothing new, finish what workers hold, exit; a second one\n"
              "exits at once. Exit codes: 0 stopped, 1 cannot start, 2 a bad setting.",
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

static void to_loop_cfg(const struct settings *s, struct loop_cfg *out) {
    *out = (struct loop_cfg){
        .core = {.max_clients = LIMIT_PEERS,
                 .max_workers = LIMIT_WORKERS,
                 .max_services = LIMIT_SERVICES,
                 .max_tickets = LIMIT_TICKETS,
                 .max_queued = s->max_queued,
                 .max_queued_bytes = s->max_queued_bytes,
                 .max_client_tickets = s->max_client,
                 .heartbeat_us = s->heartbeat_us,
                 .no_worker_grace_us = s->grace_us,
                 .drain_us = s->drain_us},
        .clients = s->clients,
        .workers = s->workers,
        .advertise = s->advertise,
        .name = s->name,
        .http = s->http,
    };
    memcpy(out->core.default_model, s->default_model, sizeof out->core.default_model);
}

int main(int argc, char **argv) {
    static struct settings settings;
    static struct loop_cfg cfg;
    enum cfg_action action;
    struct err err = {.status = STATUS_OK};
    if (cfg_load(&program, argc, argv, NULL, &settings, &action, &err) != STATUS_OK) {
        fprintf(stderr, "ember-broker: %s\n", err.text);
        return 2;
    }
    if (action == CFG_EXIT)
        return 0;
    if (!is_name(settings.name) || !is_name(settings.default_model)) {
        fprintf(stderr, "ember-broker: %s: a name is made of letters, digits, '.', '_' and '-'\n",
                is_name(settings.name) ? "--default-model" : "--name");
        return 2;
    }
    log_set_level((enum log_level)settings.log_level);
    if (!settings.name[0])
        take_host_name(settings.name, sizeof settings.name);
    to_loop_cfg(&settings, &cfg);
    cfg.signals_fd = thread_signals_fd();
    loop_t *loop = NULL;
    if (cfg.signals_fd < 0 || loop_new(&cfg, &loop, &err) != STATUS_OK) {
        fprintf(stderr, "ember-broker: %s\n", cfg.signals_fd < 0 ? strerror(errno) : err.text);
        return err.status == STATUS_INVALID_ARGUMENT ? 2 : 1;
    }
    log_info("started", "name=%s clients=%s workers=%s http=%s version=%s", settings.name,
             loop_clients_endpoint(loop), loop_workers_endpoint(loop), settings.http,
             EMBER_VERSION);
    loop_run(loop);
    loop_destroy(&loop);
    log_info("stopped", "name=%s", settings.name);
    return 0;
}
