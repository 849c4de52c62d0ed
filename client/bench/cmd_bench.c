/* cmd_bench.c - `ember bench`: settings, and the report for people and for programs. */
#include "cli.h"
#include "load.h"
#include "screen.h"

#include "base/hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

struct settings {
    struct cli_common common;
    uint32_t concurrency, texts_per_call, task, cache, lane, requests, seed, request_texts;
    double rate, unique;
    uint64_t duration_us, warm_up_us;
    char trace[512], lengths[256], labels[1024], json[512];
    bool closed, retry;
    const char *list[TEXTS_LABELS_MAX];
    uint32_t n_labels;
};

static const struct cfg_row rows[] = {
    CLI_COMMON_ROWS(struct settings),
    CFG_HEADING("Load"),
    CFG_U32("concurrency", struct settings, concurrency, "8", 1, 4096, "N",
            "closed loop: callers that wait for their answers"),
    CFG_F64("rate", struct settings, rate, "0", 0, 1e6, "R",
            "open loop: R calls a second, Poisson; latency counts from the\n"
            "intended time"),
    CFG_TEXT("trace", struct settings, trace, "", "FILE",
             "calls of a trace (JSON lines); at its own times unless --rate\nor --closed is given"),
    CFG_BOOL("closed", struct settings, closed, "ignore the times of the trace"),
    CFG_DURATION("duration", struct settings, duration_us, "10s", 1e3, 86400e6, "measured time"),
    CFG_DURATION("warm-up", struct settings, warm_up_us, "1s", 0, 3600e6, "before it, not counted"),
    CFG_U32("requests", struct settings, requests, "0", 0, 4e9, "N",
            "stop after N calls, warm-up included; 0: only the time counts"),
    CFG_HEADING("Texts, when there is no trace"),
    CFG_CHOICE("task", struct settings, task, "embed", "embed|classify|rerank",
               "what is asked; rerank: the query is a text of its own"),
    CFG_TEXT("labels", struct settings, labels, "", "A,B,C",
             "of classify; none: those the model was trained with"),
    CFG_TEXT("lengths", struct settings, lengths, "zh:4,20,50", "LIST",
             "characters (zh:) or words (en:), in equal shares"),
    CFG_F64("unique", struct settings, unique, "1", 0, 1, "SHARE",
            "texts that were not sent before; the others are among the last\n4096 and can come "
            "from the cache. The first 1000 are always new"),
    CFG_U32("texts-per-call", struct settings, texts_per_call, "1", 1, 1024, "N",
            "texts, or documents, in one call"),
    CFG_U32("request-texts", struct settings, request_texts, "0", 0, 64, "N",
            "cut calls into requests of at most N texts; 0: the library's choice"),
    CFG_U32("seed", struct settings, seed, "1", 0, 4e9, "N", "same seed, same texts and times"),
    CFG_HEADING("Calls"),
    CFG_CHOICE("cache", struct settings, cache, "use", "use|bypass|refresh", "of each call"),
    CFG_CHOICE("lane", struct settings, lane, "normal", "normal|high|bulk", "of each call"),
    CFG_BOOL("retry", struct settings, retry,
             "let the library repeat what is refused, instead of counting it"),
    CFG_HEADING("Report"),
    CFG_TEXT("json", struct settings, json, "", "FILE", "write the report there, too"),
};

static const struct cfg cfg = {
    .program = "ember bench",
    .synopsis = "[OPTION]...",
    .about = "Sends a load and reports latency, throughput, cache hits and errors.",
    .epilog = "Examples:\n"
              "  ember bench --concurrency 50 --lengths zh:4,20,50\n"
              "  ember bench --rate 300 --duration 60s --json run.json\n"
              "  ember bench --task classify --labels 投诉,咨询,建议 --concurrency 4\n"
              "  ember bench --task rerank --texts-per-call 20 --model reranker\n"
              "  ember bench --trace trace.jsonl\n\n" CLI_EXIT_HELP,
    .rows = rows,
    .n_rows = sizeof rows / sizeof *rows,
};

static const enum ember_task tasks[] = {EMBER_TASK_EMBED, EMBER_TASK_CLASSIFY, EMBER_TASK_RERANK};
static const char *const task_names[] = {"embed", "classify", "rerank"};

static const double quantiles[] = {0.5, 0.9, 0.95, 0.99, 0.999};
static const char *const quantile_names[] = {"p50", "p90", "p95", "p99", "p99.9"};
enum { QUANTILES = 5 };

static void print_latency(const char *name, const struct latency *l) {
    printf("  %-18s %9llu", name, (unsigned long long)l->n);
    for (int i = 0; i < QUANTILES; i++)
        printf(" %8.2f", (double)latency_quantile_us(l, quantiles[i]) / 1e3);
    printf(" %8.2f %8.2f\n", (double)l->max_us / 1e3, latency_mean_us(l) / 1e3);
}

static void describe_load(FILE *out, const struct settings *s, bool open) {
    if (open && s->rate > 0)
        fprintf(out, "open loop, %g calls/s", s->rate);
    else if (open)
        fprintf(out, "open loop, times of the trace");
    else
        fprintf(out, "closed loop, %u callers", s->concurrency);
}

static void print_table(const struct settings *s, const struct load_report *r, const texts_t *texts,
                        bool open) {
    double seconds = r->seconds > 0 ? r->seconds : 1;
    describe_load(stdout, s, open);
    printf(": %.1f s, %.1f calls/s, %.1f texts/s, %.0f tokens/s, %llu failed\n", r->seconds,
           (double)r->calls / seconds, (double)r->texts / seconds, (double)r->tokens / seconds,
           (unsigned long long)r->failed);
    printf("  %-18s %9s", "latency, ms", "calls");
    for (int i = 0; i < QUANTILES; i++)
        printf(" %8s", quantile_names[i]);
    puts("      max     mean");
    print_latency("all", &r->all);
    for (uint32_t i = 0; i < texts_classes(texts) && texts_classes(texts) > 1; i++)
        if (r->by_class[i].n)
            print_latency(texts_class(texts, i), &r->by_class[i]);
    printf("  texts from        ");
    for (int i = 0; i < 4; i++)
        printf(" %s %.1f%%", ember_source_name((enum ember_source)i),
               r->texts ? 100.0 * (double)r->by_source[i] / (double)r->texts : 0);
    putchar('\n');
    for (int i = 1; i < LOAD_STATUSES; i++)
        if (r->by_status[i])
            printf("  %-18s %9llu\n", ember_status_name((enum ember_status)i),
                   (unsigned long long)r->by_status[i]);
    if (r->failed)
        printf("  first error: %s\n", r->first_error);
    if (r->late)
        printf("  %llu calls started late: the load generator is too slow for this rate\n",
               (unsigned long long)r->late);
}

static void json_latency(FILE *out, const struct latency *l) {
    fprintf(out, "{\"n\":%llu,\"mean_us\":%.1f,\"max_us\":%llu", (unsigned long long)l->n,
            latency_mean_us(l), (unsigned long long)l->max_us);
    for (int i = 0; i < QUANTILES; i++)
        fprintf(out, ",\"%s_us\":%llu", quantile_names[i],
                (unsigned long long)latency_quantile_us(l, quantiles[i]));
    fputc('}', out);
}

static void json_settings(FILE *out, const struct settings *s, bool open) {
    struct utsname host;
    fputs("{\"load\":\"", out);
    describe_load(out, s, open);
    fprintf(out, "\",\"task\":\"%s\",\"labels\":%u", s->trace[0] ? "trace" : task_names[s->task],
            s->n_labels);
    fprintf(out,
            ",\"rate\":%g,\"concurrency\":%u,\"texts_per_call\":%u,\"unique\":%g,\"seed\":%u,"
            "\"warm_up_s\":%g,\"lengths\":",
            s->rate, s->concurrency, s->texts_per_call, s->unique, s->seed,
            (double)s->warm_up_us / 1e6);
    screen_json_text(out, view_of(s->lengths));
    fputs(",\"trace\":", out);
    screen_json_text(out, view_of(s->trace));
    fputs(",\"broker\":", out);
    screen_json_text(out, view_of(s->common.broker));
    fprintf(out, ",\"version\":\"%s\",\"machine\":", ember_version());
    screen_json_text(out, view_of(uname(&host) == 0 ? host.machine : ""));
    fputc('}', out);
}

static void print_json(FILE *out, const struct settings *s, const struct load_report *r,
                       const texts_t *texts, bool open) {
    double seconds = r->seconds > 0 ? r->seconds : 1;
    fputs("{\"settings\":", out);
    json_settings(out, s, open);
    fprintf(out,
            ",\"seconds\":%.3f,\"calls\":%llu,\"texts\":%llu,\"tokens\":%llu,\"failed\":%llu,"
            "\"late\":%llu,\"calls_per_s\":%.2f,\"texts_per_s\":%.2f,\"latency\":",
            r->seconds, (unsigned long long)r->calls, (unsigned long long)r->texts,
            (unsigned long long)r->tokens, (unsigned long long)r->failed,
            (unsigned long long)r->late, (double)r->calls / seconds, (double)r->texts / seconds);
    json_latency(out, &r->all);
    fputs(",\"classes\":{", out);
    for (uint32_t i = 0; i < texts_classes(texts); i++) {
        fputs(i ? "," : "", out);
        screen_json_text(out, view_of(texts_class(texts, i)));
        fputc(':', out);
        json_latency(out, &r->by_class[i]);
    }
    fputs("},\"sources\":{", out);
    for (int i = 0; i < 4; i++)
        fprintf(out, "%s\"%s\":%llu", i ? "," : "", ember_source_name((enum ember_source)i),
                (unsigned long long)r->by_source[i]);
    fputs("},\"statuses\":{", out);
    bool any = false;
    for (int i = 0; i < LOAD_STATUSES; i++)
        if (r->by_status[i]) {
            fprintf(out, "%s\"%s\":%llu", any ? "," : "", ember_status_name((enum ember_status)i),
                    (unsigned long long)r->by_status[i]);
            any = true;
        }
    fputs("}}\n", out);
}

static bool split_labels(struct settings *s) {
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

static int report(struct cli *cli, const struct settings *s, const struct load_report *r,
                  const texts_t *texts, bool open) {
    if (s->common.output == CLI_JSON)
        print_json(stdout, s, r, texts, open);
    else if (s->common.output == CLI_TABLE)
        print_table(s, r, texts, open);
    else
        for (int i = 0; i < QUANTILES; i++)
            printf("%s_us %llu\n", quantile_names[i],
                   (unsigned long long)latency_quantile_us(&r->all, quantiles[i]));
    if (!s->json[0])
        return r->calls ? CLI_OK : CLI_FAILED;
    FILE *f = fopen(s->json, "we");
    if (f)
        print_json(f, s, r, texts, open);
    if (!f || fclose(f) != 0) {
        fprintf(stderr, "ember: %s: %s: %s\n", cli->command, s->json, strerror(errno));
        return CLI_FAILED;
    }
    return r->calls ? CLI_OK : CLI_FAILED;
}

static int run(struct cli *cli, const struct settings *s, texts_t *texts) {
    struct err err;
    struct ember_error error;
    bool open = s->rate > 0 || (texts_timed(texts) && !s->closed);
    struct load_cfg load = {.open = open,
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
                            .task = s->trace[0] ? EMBER_TASK_EMBED : tasks[s->task],
                            .labels = s->list,
                            .n_labels = s->n_labels,
                            .progress = isatty(STDERR_FILENO)};
    int code;
    cli->request_texts = s->request_texts;
    if (!cli_open(cli, &code))
        return code;
    struct load_report *r = malloc(sizeof *r);
    if (!r || ember_ping(cli->ember, 0, NULL, &error) != EMBER_OK)
        code = r ? cli_fail(cli, &error, 0) : CLI_FAILED;
    else if (load_run(cli->ember, texts, &load, r, &err) != STATUS_OK)
        code = cli_fail_err(cli, &err);
    else
        code = report(cli, s, r, texts, open);
    ember_close(&cli->ember);
    free(r);
    return code;
}

int cmd_bench(int argc, char **argv) {
    struct settings s;
    struct cli cli = {.command = "bench", .common = &s.common};
    struct err err;
    int code;
    texts_t *texts = NULL;
    if (!cli_load(&cli, &cfg, argc, argv, NULL, &s, &code))
        return code;
    if (!split_labels(&s) || (s.n_labels && s.task != 1))
        return cli_usage(&cli, "--labels A,B,C goes with --task classify");
    if (s.trace[0] && s.task != 0)
        return cli_usage(&cli, "a trace says what each call is: --task goes without --trace");
    enum status st = s.trace[0]
                         ? texts_trace(s.trace, &texts, &err)
                         : texts_generate(s.lengths, s.unique, hash_mix(s.seed), &texts, &err);
    if (st != STATUS_OK)
        return cli_fail_err(&cli, &err);
    code = run(&cli, &s, texts);
    texts_destroy(&texts);
    return cli_done(&cli, code);
}
