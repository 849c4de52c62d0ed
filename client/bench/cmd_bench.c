/* cmd_bench.c - `ember bench`: settings, and which kind of run they ask for. */
#include "price_row.h"
#include "replace.h"
#include "runs.h"
#include "stats.h"

#include "base/hash.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct cfg_row rows[] = {
    CLI_COMMON_ROWS(struct bench_settings),
    CFG_HEADING("Load"),
    CFG_U32("concurrency", struct bench_settings, concurrency, "8", 1, 4096, "N",
            "closed loop: callers that wait for their answers"),
    CFG_F64("rate", struct bench_settings, rate, "0", 0, 1e6, "R",
            "open loop: R calls a second, Poisson; latency counts from the\n"
            "intended time"),
    CFG_TEXT("trace", struct bench_settings, trace, "", "FILE",
             "calls of a trace (JSON lines); at its own times unless --rate\nor --closed is given"),
    CFG_BOOL("closed", struct bench_settings, closed, "ignore the times of the trace"),
    CFG_DURATION("duration", struct bench_settings, duration_us, "10s", 1e3, 86400e6,
                 "measured time"),
    CFG_DURATION("warm-up", struct bench_settings, warm_up_us, "1s", 0, 3600e6,
                 "before it, not counted"),
    CFG_U32("requests", struct bench_settings, requests, "0", 0, 4e9, "N",
            "stop after N calls, warm-up included; 0: only the time counts"),
    CFG_HEADING("Search"),
    CFG_BOOL("find-rate", struct bench_settings, find_rate,
             "find the highest rate (open loop) whose P95 stays within\n"
             "--slo-p95 without errors: doubling from --rate (0: half of what\n"
             "one caller reaches), then bisection to 5 %; a rate is decided\n"
             "by two equal probes of at most three"),
    CFG_DURATION("slo-p95", struct bench_settings, slo_p95_us, "150ms", 1, 600e6,
                 "the limit of --find-rate"),
    CFG_F64("rate-max", struct bench_settings, rate_max, "1000000", 0.5, 1e6, "R",
            "the highest rate that is asked, for services that others use"),
    CFG_DURATION("probe", struct bench_settings, probe_us, "0s", 0, 3600e6,
                 "measured time of each probe; 0: as P95 needs, 400 calls and\n"
                 "20 times the limit, 2s to 60s"),
    CFG_F64("workers-for", struct bench_settings, workers_for, "0", 0, 1e9, "R",
            "with --find-rate: how many such workers R calls a second need,\n"
            "and what a million calls cost"),
    CFG_F64("hourly-cost", struct bench_settings, hourly_cost, "0", 0, 1e6, "COST",
            "of one worker, in any unit; 0: what the workers say themselves\n"
            "(their --hourly-cost)"),
    CFG_TEXT("instance", struct bench_settings, instance, "", "NAME",
             "what one worker runs on, for the row of a price table (see\n"
             "ember cost) that --find-rate ends with; default: the workers'\n"
             "host"),
    CFG_HEADING("Loads that change, loads that last"),
    CFG_TEXT("ramp", struct bench_settings, ramp, "", "FROM:TO:STEPS",
             "open loop at one rate after the other, --duration each"),
    CFG_DURATION("soak", struct bench_settings, soak_us, "0s", 0, 30 * 86400e6,
                 "steady load for so long (--rate or --concurrency), with\n"
                 "percentiles per interval, and whether P95 drifts; SIGINT ends\n"
                 "it early with a report"),
    CFG_TEXT("compare", struct bench_settings, compare, "", "A B",
             "two models, or two brokers (with ://), in turns of --duration;\n"
             "tells the difference and whether it is more than noise"),
    CFG_U32("rounds", struct bench_settings, rounds, "7", 1, STATS_TURNS, "N",
            "turns of each; fewer than 6 are never sure"),
    CFG_HEADING("Texts, when there is no trace"),
    CFG_CHOICE("task", struct bench_settings, task, "embed", "embed|classify|rerank",
               "what is asked; rerank: the query is a text of its own"),
    CFG_TEXT("labels", struct bench_settings, labels, "", "A,B,C",
             "of classify; none: those the model was trained with"),
    CFG_TEXT("lengths", struct bench_settings, lengths, "zh:4,20,50", "LIST",
             "characters (zh:) or words (en:), in equal shares"),
    CFG_TEXT("mix", struct bench_settings, mix, "", "KIND=WEIGHT,...",
             "calls of several kinds: embed or classify, a length (short: 8\n"
             "characters, long: 400, zh:N, en:N), or both with a slash, as\n"
             "in embed/short=70,embed/long=10,classify/zh:20=20"),
    CFG_F64("unique", struct bench_settings, unique, "1", 0, 1, "SHARE",
            "texts that were not sent before; the others are among the last\n4096 and can come "
            "from the cache. The first 1000 are always new"),
    CFG_U32("texts-per-call", struct bench_settings, texts_per_call, "1", 1, 1024, "N",
            "texts, or documents, in one call"),
    CFG_U32("request-texts", struct bench_settings, request_texts, "0", 0, 64, "N",
            "cut calls into requests of at most N texts; 0: the library's choice"),
    CFG_U32("seed", struct bench_settings, seed, "1", 0, 4e9, "N",
            "same seed, same texts and times"),
    CFG_HEADING("Calls"),
    CFG_CHOICE("cache", struct bench_settings, cache, "use", "use|bypass|refresh", "of each call"),
    CFG_CHOICE("lane", struct bench_settings, lane, "normal", "normal|high|bulk", "of each call"),
    CFG_BOOL("retry", struct bench_settings, retry,
             "let the library repeat what is refused, instead of counting it"),
    CFG_HEADING("Report"),
    CFG_TEXT("report-json", struct bench_settings, report_json, "", "FILE",
             "write all of it there, too, as one JSON object"),
    CFG_TEXT("report-html", struct bench_settings, report_html, "", "FILE",
             "and as a page with plots that needs no other file"),
    CFG_DURATION("fail-p95", struct bench_settings, fail_p95_us, "0s", 0, 3600e6,
                 "exit status 6 when P95 is above; 0: not judged"),
    CFG_TEXT("fail-errors", struct bench_settings, fail_errors, "", "PERCENT",
             "exit status 6 when more calls failed: 0.1%, or 0 for none"),
};

static const struct cfg cfg = {
    .program = "ember bench",
    .synopsis = "[OPTION]... [--compare A B]",
    .about = "Sends a load and reports latency, throughput, cache hits and errors.",
    .epilog =
        "Examples:\n"
        "  ember bench --concurrency 50 --lengths zh:4,20,50\n"
        "  ember bench --rate 300 --duration 60s --report-html run.html\n"
        "  ember bench --task classify --labels 投诉,咨询,建议 --concurrency 4\n"
        "  ember bench --task rerank --texts-per-call 20 --model reranker\n"
        "  ember bench --find-rate --slo-p95 150ms --lengths zh:20\n"
        "  ember bench --rate 200 --mix short=80,long=5,classify=15 --labels 投诉,咨询\n"
        "  ember bench --find-rate --workers-for 2000 --hourly-cost 0.12\n"
        "  ember bench --find-rate --instance amber-4 --hourly-cost 0.17\n"
        "  ember bench --ramp 50:400:8 --duration 20s\n"
        "  ember bench --soak 8h --rate 100\n"
        "  ember bench --compare minilm-f32 minilm-i8 --concurrency 4\n"
        "  ember bench --rate 100 --fail-p95 150ms --fail-errors 0.1% --report-json run.json\n"
        "  ember bench --trace trace.jsonl\n\n" CLI_EXIT_HELP
        "\nOf bench also: 6 a limit was missed: no rate holds --slo-p95, or --fail-p95 or\n"
        "--fail-errors was exceeded: by the whole load, by a step of --ramp, by B of --compare.",
    .rows = rows,
    .n_rows = sizeof rows / sizeof *rows,
};

const enum ember_task bench_tasks[] = {EMBER_TASK_EMBED, EMBER_TASK_CLASSIFY, EMBER_TASK_RERANK};
const char *const bench_task_names[] = {"embed", "classify", "rerank"};

static bool split_labels(struct bench_settings *s) {
    s->n_labels = 0;
    for (char *p = s->labels; *p;) {
        size_t n = strcspn(p, ",");
        char *next = p + n + (p[n] == ',');
        if (n == 0 || s->n_labels == TEXTS_LABELS_MAX)
            return false;
        p[n] = '\0';
        s->list[s->n_labels++] = p;
        p = next;
    }
    return true;
}

struct load_cfg bench_load(const struct bench_settings *s, bool open) {
    return (struct load_cfg){.open = open,
                             .concurrency = s->concurrency,
                             .rate = s->rate,
                             .texts_per_call = s->trace[0] ? 1 : s->texts_per_call,
                             .warm_up_us = s->warm_up_us,
                             .duration_us = s->duration_us,
                             .requests = s->requests,
                             .seed = hash_mix(s->seed + 1),
                             .retry = s->retry,
                             .cache = (enum ember_cache)s->cache,
                             .lane = (enum ember_lane)s->lane,
                             .task = s->trace[0] ? EMBER_TASK_EMBED : bench_tasks[s->task],
                             .labels = s->list,
                             .n_labels = s->n_labels,
                             .progress = isatty(STDERR_FILENO)};
}

static void put_json(FILE *out, const void *arg) {
    outcome_json(out, arg);
}

static void put_html(FILE *out, const void *arg) {
    outcome_html(out, arg);
}

static enum status write_reports(const struct outcome *report, struct err *err) {
    const struct bench_settings *s = report->settings;
    enum status st = STATUS_OK;
    if (s->report_json[0])
        st = replace_file(s->report_json, put_json, report, err);
    if (st == STATUS_OK && s->report_html[0])
        st = replace_file(s->report_html, put_html, report, err);
    return st;
}

/* A sentence that belongs to the exit status: where no table shows it, on standard error. */
static void tell_missed(const struct cli *cli, struct outcome *report, const char *what,
                        const char *text) {
    outcome_note(report, "Missed%s: %s", what, text);
    if (!report->shown)
        fprintf(stderr, "ember: %s: missed%s: %s\n", cli->command, what, text);
}

static bool judge(const struct cli *cli, struct outcome *report, const char *what, uint64_t calls,
                  uint64_t failed, uint64_t p95_us) {
    const struct bench_settings *s = report->settings;
    unsigned missed = judge_missed(&s->limits, calls, failed, p95_us);
    char text[128];
    if (missed & JUDGE_P95 && calls == 0)
        tell_missed(cli, report, what, "no call was answered, so that --fail-p95 is not kept");
    if (missed & JUDGE_P95 && calls > 0) {
        snprintf(text, sizeof text, "P95 is %.2f ms, --fail-p95 allows %g ms", (double)p95_us / 1e3,
                 (double)s->fail_p95_us / 1e3);
        tell_missed(cli, report, what, text);
    }
    if (missed & JUDGE_ERRORS) {
        snprintf(text, sizeof text, "%llu of %llu calls failed, --fail-errors allows %s",
                 (unsigned long long)failed, (unsigned long long)(calls + failed), s->fail_errors);
        tell_missed(cli, report, what, text);
    }
    return missed != 0;
}

/* Of a ramp each step counts; else the whole. */
static bool judge_all(const struct cli *cli, struct outcome *report) {
    const struct load_report *r = &report->whole;
    bool missed = false;
    if (!report->settings->ramp[0])
        return judge(cli, report, "", r->calls, r->failed, latency_quantile_us(&r->all, 0.95));
    for (uint32_t i = 0; i < report->n_rows; i++) {
        const struct outcome_row *row = &report->rows[i];
        char what[OUTCOME_LABEL_BYTES + 8];
        snprintf(what, sizeof what, " at %s", row->label);
        missed |= judge(cli, report, what, row->calls, row->failed, row->quantile_us[OUTCOME_P95]);
    }
    return missed;
}

/* The kinds of run, each asked for by an option of its own. */
static const struct {
    const char *name;
    runs_fn *run;
} modes[] = {{"load", runs_load},
             {"find-rate", runs_find},
             {"ramp", runs_ramp},
             {"soak", runs_soak},
             {"compare", runs_compare}};
enum { LOAD, FIND_RATE, RAMP, SOAK, COMPARE };

static unsigned mode_of(const struct bench_settings *s) {
    if (s->compare[0])
        return COMPARE;
    return s->find_rate ? FIND_RATE : s->ramp[0] ? RAMP : s->soak_us ? SOAK : LOAD;
}

/* After a run that came to its end: verdict, output, files. */
static int finish(const struct cli *cli, struct outcome *report, int code) {
    struct err err;
    if (judge_all(cli, report))
        code = CLI_MISSED;
    outcome_fact(report, "exit_status", code);
    if (!report->shown)
        outcome_print(report);
    return write_reports(report, &err) == STATUS_OK ? code : cli_fail_err(cli, &err);
}

static int run(struct cli *cli, const struct bench_settings *s, texts_t *texts) {
    struct err err;
    struct ember_error error;
    unsigned mode = mode_of(s);
    bool open =
        mode == FIND_RATE || mode == RAMP || s->rate > 0 || (texts_timed(texts) && !s->closed);
    uint64_t interval_us = (s->soak_us ? s->soak_us : s->duration_us) / RUNS_INTERVALS;
    if (interval_us > RUNS_INTERVAL_MOST_US)
        interval_us = RUNS_INTERVAL_MOST_US;
    int code;
    cli->request_texts = s->request_texts;
    bool opens = mode != COMPARE; /* whose sides have clients of their own */
    if (opens && !cli_open(cli, &code))
        return code;
    struct outcome *report = outcome_new(s, texts, modes[mode].name, open, interval_us);
    if (!report || (opens && ember_ping(cli->ember, 0, NULL, &error) != EMBER_OK))
        code = report ? cli_fail(cli, &error, 0) : CLI_FAILED;
    else if (modes[mode].run(cli, texts, report, &code, &err) != STATUS_OK)
        code = cli_fail_err(cli, &err);
    else
        code = finish(cli, report, code);
    ember_close(&cli->ember);
    outcome_destroy(&report);
    return code;
}

/* What goes together; CLI_OK, or the exit status after a message. */
static int check(struct cli *cli, struct bench_settings *s) {
    if (!split_labels(s) || (s->n_labels && s->task != 1 && !s->mix[0]))
        return cli_usage(cli, "--labels A,B,C goes with --task classify or --mix");
    if (s->mix[0] && (s->trace[0] || s->task != 0))
        return cli_usage(cli, "--mix says what each call is: it goes without --trace and --task");
    if (s->trace[0] && s->task != 0)
        return cli_usage(cli, "a trace says what each call is: --task goes without --trace");
    if ((s->find_rate != 0) + (s->ramp[0] != 0) + (s->soak_us != 0) + (s->compare[0] != 0) > 1)
        return cli_usage(cli, "--find-rate, --ramp, --soak and --compare are one or the other");
    if (s->workers_for > 0 && !s->find_rate)
        return cli_usage(cli, "--workers-for goes with --find-rate");
    if (s->instance[0] && (!s->find_rate || !price_row_is_name(s->instance)))
        return cli_usage(cli, "--instance NAME goes with --find-rate: a word of at most %d letters",
                         LIMIT_NAME_BYTES);
    s->limits.p95_us = s->fail_p95_us;
    if (!judge_share(s->fail_errors, &s->limits.errors))
        return cli_usage(cli, "fail-errors: '%s' is no share such as 0.1%%", s->fail_errors);
    if (s->compare[0] && (!s->compare_with || s->trace[0]))
        return cli_usage(cli, "--compare A B takes two models or brokers, and no --trace");
    if ((s->find_rate || s->ramp[0]) && (s->trace[0] || s->closed))
        return cli_usage(cli, "--find-rate and --ramp go without --trace and --closed");
    if (s->ramp[0] && !spec_ramp(s->ramp, &s->ramp_steps))
        return cli_usage(cli, "ramp: '%s' is not FROM:TO:STEPS with 2 to %d steps", s->ramp,
                         SPEC_STEPS_MAX);
    return CLI_OK;
}

enum status bench_texts(const struct bench_settings *s, uint64_t seed, texts_t **out,
                        struct err *err) {
    struct texts_made made = {.lengths = s->lengths,
                              .mix = s->mix,
                              .unique = s->unique,
                              .seed = seed,
                              .labels = s->list,
                              .n_labels = s->n_labels};
    return s->trace[0] ? texts_trace(s->trace, out, err) : texts_generate(&made, out, err);
}

int cmd_bench(int argc, char **argv) {
    struct bench_settings s;
    struct cli cli = {.command = "bench", .common = &s.common};
    struct err err;
    int code, n_words;
    texts_t *texts = NULL;
    if (!cli_load(&cli, &cfg, argc, argv, &n_words, &s, &code))
        return code;
    s.compare_with = n_words == 1 && s.compare[0] ? argv[1] : NULL;
    if (n_words > 0 && !s.compare_with)
        return cli_usage(&cli, "'%s' is no option", argv[1]);
    if ((code = check(&cli, &s)) != CLI_OK)
        return code;
    if (bench_texts(&s, hash_mix(s.seed), &texts, &err) != STATUS_OK)
        return cli_fail_err(&cli, &err);
    code = run(&cli, &s, texts);
    texts_destroy(&texts);
    return cli_done(&cli, code);
}
