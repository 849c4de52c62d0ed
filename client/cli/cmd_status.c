/* cmd_status.c - `ember status` and `ember ping`: who is there. */
#include "cli.h"
#include "known.h"
#include "screen.h"

#include <string.h>
#include <unistd.h>

/* ---- the brokers this client knows */

static void print_known(const struct known *known) {
    if (known->n < 2)
        return;
    puts("\nknown broker                    state     used  latency ms  in flight    answered"
         "    cost  trouble");
    for (size_t i = 0; i < known->n; i++) {
        const struct ember_broker_view *v = &known->list[i];
        printf("%-30s  %-8s  %-4s  %10.2f  %9u  %10llu  %6g  ", v->endpoint, v->state,
               v->used ? "yes" : "-", v->latency_us / 1e3, v->in_flight,
               (unsigned long long)v->answered, v->cost);
        screen_print(stdout, view_of(v->why), 0);
        puts(v->discovered ? v->why[0] ? " (discovered)" : "(discovered)" : "");
    }
}

static void json_known(const struct known *known) {
    fputs("\"known\":[", stdout);
    for (size_t i = 0; i < known->n; i++) {
        const struct ember_broker_view *v = &known->list[i];
        printf("%s{\"endpoint\":", i ? "," : "");
        screen_json_text(stdout, view_of(v->endpoint));
        printf(",\"state\":\"%s\",\"used\":%s,\"discovered\":%s,\"latency_us\":%u,\"in_flight\":%u,"
               "\"answered\":%llu,\"cost\":%g,\"trouble\":",
               v->state, v->used ? "true" : "false", v->discovered ? "true" : "false",
               v->latency_us, v->in_flight, (unsigned long long)v->answered, v->cost);
        screen_json_text(stdout, view_of(v->why));
        putchar('}');
    }
    putchar(']');
}

/* ---- status */

struct settings {
    struct cli_common common;
    bool all;
};

static const struct cfg_row rows[] = {
    CLI_COMMON_ROWS(struct settings),
    CFG_HEADING("Status"),
    CFG_BOOL("all", struct settings, all, "ask every broker that is known, one after the other"),
};

static const struct cfg cfg = {
    .program = "ember status",
    .synopsis = "[OPTION]...",
    .about = "Shows the broker, its workers and its services.",
    .epilog = "--output raw prints the broker's counters, one `name value` a line; with --all a\n"
              "line `# ENDPOINT` before those of each broker.\n" CLI_EXIT_HELP,
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

/* "42 s", "7.5 min", "3.2 h", "12.0 d" */
static const char *age(uint64_t ms, char *out, size_t bytes) {
    static const struct {
        double s;
        const char *unit;
    } units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}};
    double s = (double)ms / 1e3;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (s >= units[i].s) {
            snprintf(out, bytes, "%.1f %s", s / units[i].s, units[i].unit);
            return out;
        }
    snprintf(out, bytes, "%.0f s", s);
    return out;
}

static void print_table(const ember_report_t *r) {
    char up[32];
    const struct ember_broker_info *b = ember_report_broker(r);
    const struct ember_worker_info *w;
    const struct ember_service_info *s;
    printf("broker %s %s at %s: %s, up %s, %u clients, %u queued, %u in flight\n", b->name,
           b->version, b->endpoint, b->state, age(b->uptime_ms, up, sizeof up), b->clients,
           b->queued, b->in_flight);
    const struct ember_fleet_info *fleet = ember_report_fleet(r);
    if (fleet->known)
        printf("fleet %u live, %u suspect, %u wished for; load %.2f of %u runners\n", fleet->live,
               fleet->suspect, fleet->desired, fleet->load, fleet->runners);
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

static void print_json(const ember_report_t *r, const struct known *known) {
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
    const struct ember_fleet_info *fleet = ember_report_fleet(r);
    printf("},\"fleet\":{\"live\":%u,\"suspect\":%u,\"runners\":%u", fleet->live, fleet->suspect,
           fleet->runners);
    if (fleet->known)
        printf(",\"desired\":%u,\"load\":%.9g", fleet->desired, fleet->load);
    printf(",\"hourly_cost\":%.9g,\"cost\":%.9g},\"workers\":[", fleet->hourly_cost, fleet->cost);
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
        json_number("engine_us", s->engine_us);
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
    putchar('}');
    if (known) {
        putchar(',');
        json_known(known);
    }
    puts("}");
}

/* One broker's report; `known` NULL: nothing about the others. */
static int show(struct cli *cli, ember_t *ember, const struct known *known) {
    ember_report_t *r = NULL;
    struct ember_error error;
    const struct ember_counter_info *c;
    if (ember_report(ember, 0, &r, &error) != EMBER_OK)
        return cli_fail(cli, &error, 0);
    if (cli->common->output == CLI_TABLE)
        print_table(r);
    else if (cli->common->output == CLI_JSON)
        print_json(r, known);
    else
        for (size_t i = 0; (c = ember_report_counter(r, i)); i++)
            printf("%s %llu\n", c->name, (unsigned long long)c->value);
    ember_report_destroy(&r);
    return CLI_OK;
}

static int show_all(struct cli *cli, const struct known *known) {
    int code = CLI_OK;
    for (size_t i = 0; i < known->n; i++) {
        const struct ember_broker_view *v = &known->list[i];
        if (known_is_same(v))
            continue;
        if (cli->common->output == CLI_RAW)
            printf("# %s\n", v->endpoint);
        else if (cli->common->output == CLI_TABLE && i)
            putchar('\n');
        int one_code = CLI_OK;
        ember_t *one = cli_open_one(cli, v->endpoint, &one_code);
        if (one)
            one_code = show(cli, one, NULL);
        ember_close(&one);
        code = code == CLI_OK ? one_code : code;
    }
    return code;
}

int cmd_status(int argc, char **argv) {
    struct settings s;
    struct cli cli = {.command = "status", .common = &s.common};
    struct known known;
    struct ember_error error;
    int code;
    if (!cli_load(&cli, &cfg, argc, argv, NULL, &s, &code) || !cli_open(&cli, &code))
        return code;
    if (ember_ping(cli.ember, 0, NULL, &error) != EMBER_OK) { /* that one there is, at least */
        code = cli_fail(&cli, &error, 0);
    } else {
        known_look_settled(cli.ember, &known);
        code = s.all ? show_all(&cli, &known) : show(&cli, cli.ember, &known);
        if (code == CLI_OK && s.common.output == CLI_TABLE)
            print_known(&known);
    }
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

static const char *asked(const struct known *known, const char *otherwise) {
    for (size_t i = 0; i < known->n; i++)
        if (known->list[i].used)
            return known->list[i].endpoint;
    return otherwise;
}

static void print_ping(const struct ping_settings *s, const struct known *known, uint32_t us) {
    if (s->common.output == CLI_JSON) {
        printf("{\"round_trip_us\":%u,", us);
        json_known(known);
        puts("}");
    } else if (s->common.output == CLI_RAW) {
        printf("%u\n", us);
    } else {
        printf("answer from %s in %.3f ms\n", asked(known, s->common.broker), us / 1e3);
    }
    fflush(stdout);
}

int cmd_ping(int argc, char **argv) {
    struct ping_settings s;
    struct cli cli = {.command = "ping", .common = &s.common};
    struct known known = {.n = 0};
    int code;
    if (!cli_load(&cli, &ping_cfg, argc, argv, NULL, &s, &code) || !cli_open(&cli, &code))
        return code;
    for (uint32_t i = 0; code == CLI_OK && i < s.count; i++) {
        struct ember_error error;
        uint32_t us;
        if (i)
            usleep((useconds_t)s.interval_us);
        if (ember_ping(cli.ember, 0, &us, &error) != EMBER_OK) {
            code = cli_fail(&cli, &error, 0);
        } else {
            known_look_settled(cli.ember, &known);
            print_ping(&s, &known, us);
        }
    }
    if (code == CLI_OK && s.common.output == CLI_TABLE)
        print_known(&known);
    ember_close(&cli.ember);
    return cli_done(&cli, code);
}
