/* cmd_cost.c - `ember cost`: asks every broker for a report, waits, asks again, and hands both to
 * the arithmetic of client/cost. */
#include "cli.h"
#include "cost_print.h"
#include "known.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct settings {
    struct cli_common common;
    uint64_t window_us;
    double hourly_cost, target;
    char prices[512], instance[LIMIT_NAME_BYTES + 1];
    uint32_t min_workers;
};

static const struct cfg_row rows[] = {
    CLI_COMMON_ROWS(struct settings),
    CFG_HEADING("Cost"),
    CFG_DURATION("window", struct settings, window_us, "10s", 0, 3600e6,
                 "time between two reports of the brokers, which the figures are\n"
                 "of; 0: since the start of each broker, from one report"),
    CFG_F64("hourly-cost", struct settings, hourly_cost, "0", 0, 1e6, "COST",
            "of each worker that states none itself; 0: the price of the\n"
            "instance, if --prices has it"),
    CFG_TEXT("prices", struct settings, prices, "", "FILE",
             "price table: `instance hourly model precision rate` lines"),
    CFG_TEXT("instance", struct settings, instance, "", "NAME",
             "what a worker runs on now; default: the only one of the table"),
    CFG_F64("target", struct settings, target, "0.7", 0.05, 1, "LOAD",
            "what a worker is to be used, as the brokers' --scale-target"),
    CFG_U32("min-workers", struct settings, min_workers, "1", 1, LIMIT_WORKERS, "N",
            "of every fleet that is proposed; 2 let one fail"),
};

static const struct cfg cfg = {
    .program = "ember cost",
    .synopsis = "[OPTION]...",
    .about = "Tells what requests cost now, what caches, precisions and routes save, and which\n"
             "fleet would be cheaper. Nothing is asked of the workers, nothing is changed.",
    .epilog =
        "Now. Requests and engine time of all brokers are added, each worker counts once:\n"
        "  per 1,000 requests = hourly cost of the connected workers / requests an hour x 1000\n"
        "  busy               = engine seconds per second / runners\n\n"
        "Saved = 1 - present / original, of work and of a cost in proportion to work:\n"
        "  caches     present / original = (1 - coalesced requests) x computed texts; a cached\n"
        "             text would have taken what a computed one takes on average\n"
        "  precision  engine time in i8 or bf16 would be x rate(served) / rate(f32), by the table\n"
        "  routes     against all requests of a route's models at the dearest of them, by engine\n"
        "             time per answered request\n"
        "  together   1 - the product of what is known\n\n"
        "Cheaper. needed = load x live workers / target, shared to models by engine time:\n"
        "  workers of a candidate = ceil(sum of needed(model) x rate(now) / rate(candidate))\n\n"
        "A price table has a row a line, # begins a comment. The rate is calls a second at which\n"
        "one instance holds the service level, as `ember bench --find-rate` prints it; model * is\n"
        "any without a row of its own; hourly 0 is not known:\n"
        "  # instance  hourly  model   precision  rate\n"
        "  amber-4     0.17    minilm  i8         412\n"
        "  amber-4     0.17    minilm  f32        128\n"
        "  birch-8     0.31    *       i8         900\n\n"
        "Example:\n"
        "  ember cost --prices prices.txt --instance amber-4 --min-workers 2\n\n"
        "--output raw prints `name value` lines and leaves out what is not known. With keys, an\n"
        "operator's is needed.\n" CLI_EXIT_HELP,
    .rows = rows,
    .n_rows = sizeof rows / sizeof *rows,
};

/* ---- the price table */

static enum status read_prices(const char *path, struct prices *out, struct err *err) {
    static char text[LIMIT_PRICES_BYTES + 1]; /* one more than is allowed */
    FILE *f = fopen(path, "re");
    if (!f)
        return err_errno(err, STATUS_UNAVAILABLE, "open '%s'", path);
    size_t n = fread(text, 1, sizeof text, f);
    enum status st = ferror(f) ? err_errno(err, STATUS_UNAVAILABLE, "read '%s'", path) : STATUS_OK;
    fclose(f);
    return st == STATUS_OK ? prices_parse(view_make(text, n), path, out, err) : st;
}

/* The table and what the workers run on; false: *code is the exit status. */
static bool take_prices(const struct cli *cli, const struct settings *s, struct prices *prices,
                        struct cheaper_ask *ask, int *code) {
    struct err err;
    char list[200];
    *ask = (struct cheaper_ask){.target = s->target, .min_workers = s->min_workers};
    if (s->instance[0])
        ask->instance = s->instance;
    if (!s->prices[0])
        return true;
    if (read_prices(s->prices, prices, &err) != STATUS_OK) {
        cli_fail_err(cli, &err);
        *code = CLI_USAGE;
        return false;
    }
    ask->prices = prices;
    if (!ask->instance)
        ask->instance = prices_only(prices);
    else if (!prices_instance(prices, ask->instance)) {
        *code = cli_usage(cli, "instance: '%s' is not in %s; there are: %s", ask->instance,
                          s->prices, prices_list(prices, list, sizeof list));
        return false;
    }
    return true;
}

/* ---- reports */

/* A report as plain lists, in memory of its own. */
struct taken {
    ember_report_t *report;
    struct ember_worker_info *workers;
    struct ember_service_info *services;
    const char **routes;
};

struct round { /* of every broker */
    struct taken taken[COST_BROKERS_MAX];
    struct cost_snapshot snapshot;
};

static void drop(struct taken *self) {
    free(self->workers);
    free(self->services);
    free(self->routes);
    ember_report_destroy(&self->report);
    *self = (struct taken){.report = NULL};
}

static void drop_round(struct round *self) {
    for (uint32_t i = 0; i < COST_BROKERS_MAX; i++)
        drop(&self->taken[i]);
}

static uint64_t counter(const ember_report_t *report, const char *name) {
    const struct ember_counter_info *c;
    for (size_t i = 0; (c = ember_report_counter(report, i)); i++)
        if (strcmp(c->name, name) == 0)
            return c->value;
    return 0;
}

static bool list(struct taken *self, struct cost_view *out) {
    const ember_report_t *r = self->report;
    *out = (struct cost_view){.broker = *ember_report_broker(r),
                              .fleet = *ember_report_fleet(r),
                              .coalesced = counter(r, "coalesced")};
    while (ember_report_worker(r, out->n_workers))
        out->n_workers++;
    while (ember_report_service(r, out->n_services))
        out->n_services++;
    while (ember_report_route(r, out->n_routes))
        out->n_routes++;
    self->workers = calloc(out->n_workers + 1, sizeof *self->workers);
    self->services = calloc(out->n_services + 1, sizeof *self->services);
    self->routes = calloc(out->n_routes + 1, sizeof *self->routes);
    if (!self->workers || !self->services || !self->routes)
        return false;
    for (size_t i = 0; i < out->n_workers; i++)
        self->workers[i] = *ember_report_worker(r, i);
    for (size_t i = 0; i < out->n_services; i++)
        self->services[i] = *ember_report_service(r, i);
    for (size_t i = 0; i < out->n_routes; i++)
        self->routes[i] = ember_report_route(r, i);
    out->workers = self->workers;
    out->services = self->services;
    out->routes = self->routes;
    return true;
}

struct asked { /* brokers, each with a client of its own */
    ember_t *one[COST_BROKERS_MAX];
    char endpoint[COST_BROKERS_MAX][256];
    uint32_t n;
};

static void open_all(const struct cli *cli, const struct known *known, struct asked *out,
                     int *code) {
    out->n = 0;
    for (size_t i = 0; i < known->n && out->n < COST_BROKERS_MAX; i++) {
        const struct ember_broker_view *v = &known->list[i];
        if (known_is_same(v))
            continue;
        int failed = CLI_OK;
        ember_t *one = cli_open_one(cli, v->endpoint, &failed);
        *code = *code == CLI_OK ? failed : *code;
        if (!one)
            continue;
        snprintf(out->endpoint[out->n], sizeof out->endpoint[0], "%s", v->endpoint);
        out->one[out->n++] = one;
    }
}

/* Those that do not answer are named on standard error, once, and left out. */
static void ask_all(const struct cli *cli, struct asked *asked, struct round *out, int *code) {
    for (uint32_t i = 0; i < asked->n; i++) {
        struct taken *taken = &out->taken[i];
        struct ember_error error = {.status = EMBER_RESOURCE_EXHAUSTED, .item = -1};
        snprintf(error.message, sizeof error.message, "no memory for the report");
        if (!asked->one[i])
            continue;
        struct cost_view *view = &out->snapshot.view[out->snapshot.n];
        if (ember_report(asked->one[i], 0, &taken->report, &error) == EMBER_OK &&
            list(taken, view)) {
            view->broker.endpoint = asked->endpoint[i]; /* the same in both rounds */
            out->snapshot.n++;
            continue;
        }
        int failed = cli_fail(cli, &error, 0);
        *code = *code == CLI_OK ? failed : *code;
        ember_close(&asked->one[i]);
    }
}

/* ---- the command */

static void show(const struct settings *s, const struct cost_answer *answer) {
    if (s->common.output == CLI_TABLE)
        cost_print_text(answer);
    else if (s->common.output == CLI_JSON)
        cost_print_json(answer);
    else
        cost_print_raw(answer);
}

static void conclude(const struct settings *s, const struct cost_snapshot *before,
                     const struct cost_snapshot *after, struct cost_answer *out) {
    const struct cheaper_ask *ask = &out->ask;
    const struct price *here =
        ask->prices && ask->instance ? prices_instance(ask->prices, ask->instance) : NULL;
    out->hourly_else = s->hourly_cost > 0 ? s->hourly_cost : here ? here->hourly : 0;
    out->since_start = !before;
    cost_make(before, after, out->hourly_else, &out->cost);
    savings_make(&out->cost, ask->prices, ask->instance, &out->savings);
    cheaper_make(&out->cost, ask, &out->cheaper);
}

static int look(const struct cli *cli, const struct settings *s, struct cost_answer *answer) {
    static struct round before, after; /* large */
    static struct known known;
    static struct asked asked;
    int code = CLI_OK;
    known_look_settled(cli->ember, &known);
    open_all(cli, &known, &asked, &code);
    if (s->window_us) {
        ask_all(cli, &asked, &before, &code);
        if (before.snapshot.n)
            usleep((useconds_t)s->window_us);
    }
    ask_all(cli, &asked, &after, &code);
    answer->n_silent = asked.n - after.snapshot.n;
    if (after.snapshot.n) {
        conclude(s, s->window_us ? &before.snapshot : NULL, &after.snapshot, answer);
        show(s, answer);
    }
    drop_round(&before);
    drop_round(&after);
    for (uint32_t i = 0; i < asked.n; i++)
        ember_close(&asked.one[i]);
    return code;
}

int cmd_cost(int argc, char **argv) {
    struct settings s;
    struct cli cli = {.command = "cost", .common = &s.common};
    static struct prices prices;
    static struct cost_answer answer; /* large, as are its parts */
    struct ember_error error;
    int code;
    if (!cli_load(&cli, &cfg, argc, argv, NULL, &s, &code) ||
        !take_prices(&cli, &s, &prices, &answer.ask, &code) || !cli_open(&cli, &code))
        return code;
    if (ember_ping(cli.ember, 0, NULL, &error) != EMBER_OK)
        code = cli_fail(&cli, &error, 0);
    else
        code = look(&cli, &s, &answer);
    ember_close(&cli.ember);
    return cli_done(&cli, code);
}
