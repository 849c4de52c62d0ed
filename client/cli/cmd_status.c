/* cmd_status.c - `ember status` and `ember ping`: who is there. */
#include "cli.h"
#include "screen.h"

#include <unistd.h>

/* ---- status */

struct settings {
    struct cli_common common;
};

static const struct cfg_row rows[] = {CLI_COMMON_ROWS(struct settings)};

static const struct cfg cfg = {
    .program = "ember status",
    .synopsis = "[OPTION]...",
    .about = "Shows the broker, its workers and its services.",
    .epilog = "--output raw prints the broker's counters, one `name value` a line.\n" CLI_EXIT_HELP,
    .rows = rows,
    .n_rows = sizeof rows / sizeof *rows,
};

static double hit_share(const struct ember_worker_info *w) {
    double hits = (double)(w->hits_memory + w->hits_redis + w->shared);
    double all = hits + (double)w->misses;
    return all > 0 ? 100 * hits / all : 0;
}

static void print_worker(const struct ember_worker_info *w) {
    screen_print(stdout, view_of(w->name), 20);
    printf("  %-8s  %-8s  %3u  %4u/%-5u  %10llu  %6.1f%%  %7.2f  %-5s  %5llu  ", w->state, w->tier,
           w->threads, w->in_flight, w->credit, (unsigned long long)w->texts, hit_share(w),
           w->service_us / 1e3, w->redis[0] ? w->redis : "-",
           (unsigned long long)(w->rss_bytes >> 20));
    for (size_t i = 0; i < w->n_models; i++)
        printf("%s%s@%.8s", i ? "," : "", w->models[i].name, w->models[i].fingerprint);
    putchar('\n');
}

static void print_table(const ember_report_t *r) {
    const struct ember_broker_info *b = ember_report_broker(r);
    const struct ember_worker_info *w;
    const struct ember_service_info *s;
    printf("broker %s %s at %s: %s, up %.1f h, %u clients, %u queued, %u in flight\n", b->name,
           b->version, b->endpoint, b->state, (double)b->uptime_ms / 3.6e6, b->clients, b->queued,
           b->in_flight);
    if (!ember_report_worker(r, 0))
        puts("no workers");
    else
        puts("\nworker                state     tier      thr  flight/cred       texts     hits"
             "  mean ms  redis     MB  models");
    for (size_t i = 0; (w = ember_report_worker(r, i)); i++)
        print_worker(w);
    if (ember_report_service(r, 0))
        puts("\nmodel                 task      workers  queued  in flight  oldest ms    answered");
    for (size_t i = 0; (s = ember_report_service(r, i)); i++) {
        screen_print(stdout, view_of(s->model[0] ? s->model : "(default)"), 20);
        printf("  %-8s  %7u  %6u  %9u  %9.1f  %10llu\n", s->task, s->workers, s->queued,
               s->in_flight, s->oldest_us / 1e3, (unsigned long long)s->answered);
    }
    const char *route;
    for (size_t i = 0; (route = ember_report_route(r, i)); i++)
        printf("%sroute %s\n", i ? "" : "\n", route);
}

static void json_word(const char *before, const char *name, const char *value) {
    printf("%s\"%s\":", before, name);
    screen_json_text(stdout, view_of(value));
}

static void json_number(const char *name, uint64_t value) {
    printf(",\"%s\":%llu", name, (unsigned long long)value);
}

static void print_tasks(uint32_t tasks) {
    static const char *const names[] = {"", "embed", "classify", "rerank", "tokenize"};
    const char *before = ",\"tasks\":[";
    for (unsigned t = EMBER_TASK_EMBED; t <= EMBER_TASK_TOKENIZE; t++)
        if (tasks & 1u << t) {
            printf("%s\"%s\"", before, names[t]);
            before = ",";
        }
    fputs(*before == ',' && before[1] ? ",\"tasks\":[]" : "]", stdout);
}

static void json_worker(const struct ember_worker_info *w) {
    json_word("{", "name", w->name);
    json_word(",", "host", w->host);
    json_word(",", "version", w->version);
    json_word(",", "state", w->state);
    json_word(",", "tier", w->tier);
    json_word(",", "redis", w->redis);
    printf(",\"hourly_cost\":%.9g", w->hourly_cost);
    json_number("threads", w->threads);
    json_number("credit", w->credit);
    json_number("in_flight", w->in_flight);
    json_number("silent_ms", w->silent_ms);
    json_number("queued", w->queued);
    json_number("running", w->running);
    json_number("oldest_us", w->oldest_us);
    json_number("service_us", w->service_us);
    json_number("dispatched", w->dispatched);
    json_number("completed", w->completed);
    json_number("texts", w->texts);
    json_number("tokens", w->tokens);
    json_number("hits_memory", w->hits_memory);
    json_number("hits_redis", w->hits_redis);
    json_number("misses", w->misses);
    json_number("shared", w->shared);
    json_number("errors", w->errors);
    json_number("rss_bytes", w->rss_bytes);
    printf(",\"models\":[");
    for (size_t i = 0; i < w->n_models; i++) {
        const struct ember_model_info *m = &w->models[i];
        json_word(i ? ",{" : "{", "name", m->name);
        json_word(",", "fingerprint", m->fingerprint);
        json_word(",", "precision", m->precision);
        json_word(",", "kernel", m->kernel);
        json_number("dim", m->dim);
        json_number("max_tokens", m->max_tokens);
        print_tasks(m->tasks);
        json_word(",", "head", ember_head_name(m->head));
        json_number("labels", m->labels);
        putchar('}');
    }
    printf("]}");
}

static void print_json(const ember_report_t *r) {
    const struct ember_broker_info *b = ember_report_broker(r);
    const struct ember_worker_info *w;
    const struct ember_service_info *s;
    const struct ember_counter_info *c;
    json_word("{\"broker\":{", "name", b->name);
    json_word(",", "version", b->version);
    json_word(",", "state", b->state);
    json_word(",", "endpoint", b->endpoint);
    json_number("uptime_ms", b->uptime_ms);
    json_number("clients", b->clients);
    json_number("queued", b->queued);
    json_number("in_flight", b->in_flight);
    printf("},\"workers\":[");
    for (size_t i = 0; (w = ember_report_worker(r, i)); i++) {
        if (i)
            putchar(',');
        json_worker(w);
    }
    printf("],\"services\":[");
    for (size_t i = 0; (s = ember_report_service(r, i)); i++) {
        json_word(i ? ",{" : "{", "model", s->model);
        json_word(",", "task", s->task);
        json_number("workers", s->workers);
        json_number("queued", s->queued);
        json_number("in_flight", s->in_flight);
        json_number("oldest_us", s->oldest_us);
        json_number("answered", s->answered);
        putchar('}');
    }
    printf("],\"routes\":[");
    const char *route;
    for (size_t i = 0; (route = ember_report_route(r, i)); i++) {
        if (i)
            putchar(',');
        screen_json_text(stdout, view_of(route));
    }
    printf("],\"counters\":{");
    for (size_t i = 0; (c = ember_report_counter(r, i)); i++) {
        if (i)
            putchar(',');
        screen_json_text(stdout, view_of(c->name));
        printf(":%llu", (unsigned long long)c->value);
    }
    puts("}}");
}

int cmd_status(int argc, char **argv) {
    struct settings s;
    struct cli cli = {.command = "status", .common = &s.common};
    int code;
    if (!cli_load(&cli, &cfg, argc, argv, NULL, &s, &code) || !cli_open(&cli, &code))
        return code;
    ember_report_t *r = NULL;
    struct ember_error error;
    const struct ember_counter_info *c;
    if (ember_report(cli.ember, 0, &r, &error) != EMBER_OK)
        code = cli_fail(&cli, &error, 0);
    else if (s.common.output == CLI_TABLE)
        print_table(r);
    else if (s.common.output == CLI_JSON)
        print_json(r);
    else
        for (size_t i = 0; (c = ember_report_counter(r, i)); i++)
            printf("%s %llu\n", c->name, (unsigned long long)c->value);
    ember_report_destroy(&r);
    ember_close(&cli.ember);
    return cli_done(&cli, code);
}

/* ---- ping */

struct ping_settings {
    struct cli_common common;
    uint32_t count;
    uint64_t interval_us;
};

static const struct cfg_row ping_rows[] = {
    CLI_COMMON_ROWS(struct ping_settings),
    CFG_HEADING("Pings"),
    CFG_U32("count", struct ping_settings, count, "1", 1, 1000000, "N", "how many"),
    CFG_DURATION("interval", struct ping_settings, interval_us, "1s", 0, 3600e6, "between two"),
};

static const struct cfg ping_cfg = {
    .program = "ember ping",
    .synopsis = "[OPTION]...",
    .about = "Asks the broker whether it is there; no worker is involved.",
    .epilog = CLI_EXIT_HELP,
    .rows = ping_rows,
    .n_rows = sizeof ping_rows / sizeof *ping_rows,
};

int cmd_ping(int argc, char **argv) {
    struct ping_settings s;
    struct cli cli = {.command = "ping", .common = &s.common};
    int code;
    if (!cli_load(&cli, &ping_cfg, argc, argv, NULL, &s, &code) || !cli_open(&cli, &code))
        return code;
    for (uint32_t i = 0; code == CLI_OK && i < s.count; i++) {
        struct ember_error error;
        uint32_t us;
        if (i)
            usleep((useconds_t)s.interval_us);
        if (ember_ping(cli.ember, 0, &us, &error) != EMBER_OK)
            code = cli_fail(&cli, &error, 0);
        else if (s.common.output == CLI_JSON)
            printf("{\"round_trip_us\":%u}\n", us);
        else if (s.common.output == CLI_RAW)
            printf("%u\n", us);
        else
            printf("answer from %s in %.3f ms\n", s.common.broker, us / 1e3);
        fflush(stdout);
    }
    ember_close(&cli.ember);
    return cli_done(&cli, code);
}
