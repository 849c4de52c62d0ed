/* cmd_cache.c - `ember cache key|get|stat|purge`: the shared cache explained to a person.
 *
 *     key    what an answer is called in Redis, and the command that makes the same name by hand
 *     get    what stands there
 *     stat   how much there is, by model
 *     purge  away with it */
#include "cli.h"
#include "screen.h"

#include "cache/cache_people.h"
#include "cache/key.h"
#include "cache/value.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LABELS_MAX = 64, INPUT_MAX = 2 * LIMIT_TEXT_BYTES + 4 * LABELS_MAX * LIMIT_LABEL_BYTES };

struct settings {
    struct cli_common common;
    char redis[512];
    char fingerprint[80];
    char prefix[512];
    char labels[4096];
    char template_text[512];
    char query[8192], second[8192];
    bool classify, multi_label, cut_left, all;
};

static const struct cfg_row key_rows[] = {
    CLI_COMMON_ROWS(struct settings),
    CFG_HEADING("Cache"),
    CFG_TEXT("redis", struct settings, redis, "redis://127.0.0.1:6379", "URL",
             "redis://[user:password@]host:port[/db] or unix:///path"),
    CFG_TEXT("fingerprint", struct settings, fingerprint, "", "HEX",
             "of the model named by --model, instead of asking the broker"),
    CFG_HEADING("The request"),
    CFG_TEXT("prefix", struct settings, prefix, "", "TEXT", "the prompt in front of the text"),
    CFG_BOOL("classify", struct settings, classify, "scores instead of a vector"),
    CFG_TEXT("labels", struct settings, labels, "", "A,B,C", "scores of these labels"),
    CFG_BOOL("multi-label", struct settings, multi_label, "labels were scored one by one"),
    CFG_TEXT("template", struct settings, template_text, "", "TEXT",
             "hypothesis template; the model's default, or {}, is not part of a key"),
    CFG_TEXT("second", struct settings, second, "", "TEXT",
             "scores of the model's own labels for the pair of the text and\nthis one"),
    CFG_TEXT("query", struct settings, query, "", "TEXT",
             "the text is a document that was ranked for this query"),
    CFG_BOOL("cut-left", struct settings, cut_left, "long texts were cut on the left"),
};

static const struct cfg_row redis_rows[] = {
    CFG_HEADING("Cache"),
    CFG_TEXT("redis", struct settings, redis, "redis://127.0.0.1:6379", "URL",
             "redis://[user:password@]host:port[/db] or unix:///path"),
    CFG_DURATION("timeout", struct settings, common.timeout_us, "10s", 1e3, 600e6,
                 "for each answer"),
    CFG_CHOICE("output", struct settings, common.output, "table", "table|json|raw",
               "for people, one JSON object, or `name value` lines"),
};

static const struct cfg_row purge_rows[] = {
    CFG_HEADING("Cache"),
    CFG_TEXT("redis", struct settings, redis, "redis://127.0.0.1:6379", "URL",
             "redis://[user:password@]host:port[/db] or unix:///path"),
    CFG_DURATION("timeout", struct settings, common.timeout_us, "10s", 1e3, 600e6,
                 "for each answer"),
    CFG_TEXT("model", struct settings, common.model, "", "NAME",
             "remove entries of this model: name or name@fingerprint"),
    CFG_BOOL("all", struct settings, all, "remove the entries of all models"),
};

#define CACHE_CFG(name, words, what, table)                                                        \
    {                                                                                              \
        .program = "ember cache " name, .synopsis = "[OPTION]..." words, .about = what,            \
        .epilog = CLI_EXIT_HELP, .rows = table, .n_rows = sizeof table / sizeof *table             \
    }

static const struct cfg key_cfg =
    CACHE_CFG("key", " TEXT", "Prints the Redis key of a text's vector, scores or rank.", key_rows);
static const struct cfg get_cfg =
    CACHE_CFG("get", " TEXT|KEY", "Shows the entry of a text, or of a key.", key_rows);
static const struct cfg stat_cfg =
    CACHE_CFG("stat", "", "Counts entries and memory by model.", redis_rows);
static const struct cfg purge_cfg = CACHE_CFG(
    "purge", "", "Removes entries. Answers stay right, they are computed again.", purge_rows);

/* ---- key */

struct naming {
    struct key_model model;
    struct view label[LABELS_MAX];
    uint32_t n_labels;
    struct key_labels labels;
    enum ember_task task;
    struct cache_key key;
};

/* The model's name and fingerprint: given, or asked for. */
static bool find_model(struct cli *cli, const struct settings *s, struct naming *out, int *code) {
    struct ember_model model = EMBER_MODEL_INIT;
    struct ember_error error;
    struct err err;
    if (s->fingerprint[0]) {
        if (!s->common.model[0]) {
            *code = cli_usage(cli, "--fingerprint needs --model");
            return false;
        }
        snprintf(model.name, sizeof model.name, "%.64s", s->common.model);
        snprintf(model.fingerprint, sizeof model.fingerprint, "%.64s", s->fingerprint);
        model.dim = 1; /* not part of the name */
    } else {
        if (!cli_open(cli, code))
            return false;
        if (ember_describe(cli->ember, NULL, out->task, 0, &model, &error) != EMBER_OK) {
            *code = cli_fail(cli, &error, 0);
            return false;
        }
    }
    if (!model.name[0] || !model.fingerprint[0]) {
        fprintf(stderr,
                "ember: %s: NOT_FOUND: no worker serves the model now; give --model and "
                "--fingerprint\n",
                cli->command);
        *code = CLI_NOT_FOUND;
        return false;
    }
    model.fingerprint[8] = '\0';
    if (key_model_init(&out->model, model.name, model.fingerprint, model.dim ? model.dim : 1,
                       &err) == STATUS_OK)
        return true;
    *code = cli_fail_err(cli, &err);
    return false;
}

static bool read_labels(struct cli *cli, struct settings *s, struct naming *out, int *code) {
    struct err err;
    for (char *p = s->labels; *p && out->n_labels < LABELS_MAX;) {
        size_t n = strcspn(p, ",");
        char *next = p + n + (p[n] == ',');
        while (n && *p == ' ')
            p++, n--;
        while (n && p[n - 1] == ' ')
            n--;
        out->label[out->n_labels++] = view_make(p, n);
        p = next;
    }
    bool own = out->n_labels == 0;
    if (own)
        out->label[out->n_labels++] = view_of("-"); /* stands for the model's own, which are not
                                                       part of the digest input */
    if (key_labels_init(&out->labels, out->label, out->n_labels, own, &err) == STATUS_OK)
        return true;
    *code = cli_fail_err(cli, &err);
    return false;
}

/* An option that would not alter the key of such an entry; NULL: there is none. */
static const char *idle_option(const struct settings *s, enum ember_task task) {
    bool pair = s->second[0] || task == EMBER_TASK_RERANK;
    if (!s->labels[0] && s->template_text[0])
        return "template";
    if (!s->labels[0] && s->multi_label)
        return "multi-label";
    if (pair && s->cut_left)
        return "cut-left";
    return task == EMBER_TASK_RERANK && s->prefix[0] ? "prefix" : NULL;
}

/* What is asked about; false when it is two things at once, or one with an option of another. */
static bool read_task(struct cli *cli, struct settings *s, struct naming *out, int *code) {
    bool classify = s->classify || s->labels[0] || s->second[0];
    out->task = classify ? EMBER_TASK_CLASSIFY : s->query[0] ? EMBER_TASK_RERANK : EMBER_TASK_EMBED;
    if ((classify && s->query[0]) || (s->second[0] && s->labels[0])) {
        *code = cli_usage(cli, "--query, --labels and --second exclude each other");
        return false;
    }
    const char *idle = idle_option(s, out->task);
    if (idle) {
        *code = cli_usage(cli, "--%s is no part of the key of %s", idle,
                          s->query[0]    ? "a rank"
                          : s->second[0] ? "a pair"
                          : classify     ? "a model's own labels"
                                         : "a vector");
        return false;
    }
    if (strcmp(s->template_text, "{}") == 0)
        s->template_text[0] = '\0'; /* the default, which the key does not name */
    return true;
}

static bool name_entry(struct cli *cli, struct settings *s, struct view text, struct naming *out,
                       int *code) {
    struct err err;
    key_maker_t *maker = NULL;
    if (!read_task(cli, s, out, code))
        return false;
    bool classify = out->task == EMBER_TASK_CLASSIFY;
    if (classify && !read_labels(cli, s, out, code))
        return false;
    if (!find_model(cli, s, out, code))
        return false;
    if (key_maker_new(&maker, &err) != STATUS_OK) {
        *code = cli_fail_err(cli, &err);
        return false;
    }
    struct view prefix = view_of(s->prefix);
    unsigned flags = (s->multi_label ? KEY_MULTI : 0u) | (s->cut_left ? KEY_CUT_LEFT : 0u);
    if (s->second[0])
        key_pair(maker, &out->model, prefix, text, view_of(s->second), &out->labels, &out->key);
    else if (s->query[0])
        key_rank(maker, &out->model, view_of(s->query), text, &out->key);
    else if (classify)
        key_cls(maker, &out->model, prefix, text, &out->labels, view_of(s->template_text), flags,
                &out->key);
    else
        key_emb(maker, &out->model, prefix, text, s->cut_left, &out->key);
    key_maker_destroy(&maker);
    return true;
}

static void put_quoted(struct view text, bool escape) {
    for (size_t i = 0; i < text.bytes; i++) {
        char c = text.data[i];
        if (escape && (c == '\\' || c == ',' || c == ':'))
            putchar('\\');
        if (c == '\'')
            fputs("'\\''", stdout); /* how a shell writes ' inside quotes */
        else
            putchar(c);
    }
}

/* The command that makes the digest by hand. */
static void print_command(const struct settings *s, const struct naming *n, struct view text) {
    bool classify = n->task == EMBER_TASK_CLASSIFY;
    printf("printf '%%s' '");
    if (n->task == EMBER_TASK_RERANK) {
        put_quoted(view_of(s->query), false);
        printf("::");
        put_quoted(text, true);
        puts("' | md5sum");
        return;
    }
    put_quoted(view_of(s->prefix), false);
    put_quoted(text, false);
    if (classify)
        printf("::");
    put_quoted(view_of(s->second), true);
    for (uint32_t i = 0; classify && !n->labels.own_head && i < n->n_labels; i++) {
        if (i)
            putchar(',');
        put_quoted(n->label[n->labels.order[i]], true);
    }
    if (classify && s->template_text[0]) {
        printf("::");
        put_quoted(view_of(s->template_text), true);
    }
    puts("' | md5sum");
}

static int run_key(struct cli *cli, int argc, char **argv) {
    struct settings s;
    static struct naming n;
    int n_words, code;
    if (!cli_load(cli, &key_cfg, argc, argv, &n_words, &s, &code))
        return code;
    cli->common = &s.common;
    if (n_words != 1)
        return cli_usage(cli, "one text is needed");
    struct view text = view_of(argv[1]);
    if (name_entry(cli, &s, text, &n, &code)) {
        struct view name = view_make(n.key.name, n.key.name_bytes);
        if (s.common.output == CLI_JSON) {
            printf("{\"key\":");
            screen_json_text(stdout, name);
            puts("}");
        } else {
            screen_print(stdout, name, 0);
            putchar('\n');
        }
        if (s.common.output == CLI_TABLE)
            print_command(&s, &n, text);
        code = CLI_OK;
    }
    ember_close(&cli->ember);
    return code;
}

/* ---- get */

static bool open_redis(struct cli *cli, const struct settings *s, cache_people_t **out, int *code) {
    struct err err;
    signal(SIGPIPE, SIG_IGN);
    if (cache_people_open(s->redis, (uint32_t)((s->common.timeout_us + 999) / 1000), out, &err) ==
        STATUS_OK)
        return true;
    *code = cli_fail_err(cli, &err);
    return false;
}

static const char *payload_name(const struct value_facts *f) {
    return f->kind == CACHE_EMB ? "vector" : f->kind == CACHE_CLS ? "scores" : "rank";
}

static void print_payload(const struct value_facts *f) {
    if (f->kind != CACHE_EMB) {
        fwrite(f->payload.data, 1, f->payload.bytes, stdout);
        return;
    }
    static float numbers[LIMIT_DIM];
    size_t n = f->n < LIMIT_DIM ? f->n : LIMIT_DIM;
    memcpy(numbers, f->payload.data, n * sizeof *numbers);
    screen_json_floats(stdout, numbers, n);
}

/* The number behind "logit": of what print_payload() prints. */
static bool find_logit(struct view payload, double *out) {
    char text[64] = "", *end;
    memcpy(text, payload.data, payload.bytes < sizeof text ? payload.bytes : sizeof text - 1);
    const char *at = strstr(text, "\"logit\":");
    if (!at)
        return false;
    *out = strtod(at + 8, &end);
    return *end == '}';
}

static void print_entry(const struct settings *s, struct view key, struct view value,
                        int64_t ttl_s) {
    struct value_facts facts;
    enum value_fault fault = value_facts(value, &facts);
    if (s->common.output == CLI_RAW) {
        fwrite(value.data, 1, value.bytes, stdout);
        return;
    }
    if (s->common.output == CLI_JSON) {
        printf("{\"key\":");
        screen_json_text(stdout, key);
        printf(",\"bytes\":%zu,\"ttl_s\":%lld,\"sound\":%s", value.bytes, (long long)ttl_s,
               fault == VALUE_OK ? "true" : "false");
        if (fault == VALUE_OK) {
            printf(",\"tokens\":%u,\"truncated\":%s,\"%s\":", facts.tokens,
                   facts.truncated ? "true" : "false", payload_name(&facts));
            print_payload(&facts);
        }
        puts("}");
        return;
    }
    printf("key     %.*s\n", (int)key.bytes, key.data);
    printf("value   %zu bytes, lives %lld s more\n", value.bytes, (long long)ttl_s);
    if (fault != VALUE_OK) {
        printf("broken  %s: workers read it as a miss\n", value_fault_name(fault));
        return;
    }
    printf("header  %.*s\n", VALUE_HEADER_BYTES - 1, value.data);
    printf("%-6s  ", payload_name(&facts));
    print_payload(&facts);
    putchar('\n');
    double logit;
    if (facts.kind == CACHE_RANK && find_logit(facts.payload, &logit))
        printf("score   %.9g = 1 / (1 + e^-logit)\n", 1 / (1 + exp(-logit)));
}

static int run_get(struct cli *cli, int argc, char **argv) {
    struct settings s;
    static struct naming n;
    static char value[LIMIT_CACHE_VALUE_BYTES];
    int n_words, code;
    if (!cli_load(cli, &get_cfg, argc, argv, &n_words, &s, &code))
        return code;
    cli->common = &s.common;
    if (n_words != 1)
        return cli_usage(cli, "one text or key is needed");
    struct view key = view_of(argv[1]);
    if (strncmp(argv[1], "ember:", 6) != 0) {
        bool named = name_entry(cli, &s, key, &n, &code);
        ember_close(&cli->ember);
        if (!named)
            return code;
        key = view_make(n.key.name, n.key.name_bytes);
    }
    cache_people_t *redis = NULL;
    if (!open_redis(cli, &s, &redis, &code))
        return code;
    struct err err;
    size_t bytes;
    int64_t ttl_s;
    if (cache_people_get(redis, key, value, sizeof value, &bytes, &ttl_s, &err) == STATUS_OK)
        print_entry(&s, key, view_make(value, bytes), ttl_s);
    else
        code = cli_fail_err(cli, &err);
    cache_people_close(&redis);
    return code;
}

/* ---- stat and purge */

static bool tell_progress(void *arg, uint64_t seen, uint64_t removed) {
    (void)arg;
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r%llu keys seen, %llu removed ", (unsigned long long)seen,
                (unsigned long long)removed);
    return true;
}

static void end_progress(void) {
    if (isatty(STDERR_FILENO))
        fputc('\n', stderr);
}

static double megabytes(uint64_t bytes) {
    return (double)bytes / 1048576;
}

static void print_stat(const struct settings *s, const struct cache_people_stat *st) {
    uint64_t asked = st->hits + st->misses;
    double share = asked ? 100.0 * (double)st->hits / (double)asked : 0;
    if (s->common.output == CLI_TABLE) {
        char limit[32] = "any amount";
        if (st->max_bytes)
            snprintf(limit, sizeof limit, "%.1f", megabytes(st->max_bytes));
        printf("redis %s: %.1f MB used of %s, policy %s; %.1f%% of look-ups hit, %llu evicted\n",
               st->version, megabytes(st->used_bytes), limit, st->policy, share,
               (unsigned long long)st->evicted);
        printf("%llu entries of ours, %.1f MB; %llu other keys\n", (unsigned long long)st->keys,
               megabytes(st->bytes), (unsigned long long)st->others);
    } else if (s->common.output == CLI_JSON) {
        printf("{\"used_bytes\":%llu,\"max_bytes\":%llu,\"hits\":%llu,\"misses\":%llu,"
               "\"evicted\":%llu,\"keys\":%llu,\"bytes\":%llu,\"others\":%llu,\"groups\":[",
               (unsigned long long)st->used_bytes, (unsigned long long)st->max_bytes,
               (unsigned long long)st->hits, (unsigned long long)st->misses,
               (unsigned long long)st->evicted, (unsigned long long)st->keys,
               (unsigned long long)st->bytes, (unsigned long long)st->others);
    }
    for (uint32_t i = 0; i < st->n_groups; i++) {
        const struct cache_people_group *g = &st->groups[i];
        if (s->common.output == CLI_JSON)
            printf("%s{\"model\":\"%s\",\"kind\":\"%s\",\"keys\":%llu,\"bytes\":%llu}",
                   i ? "," : "", g->model, g->kind, (unsigned long long)g->keys,
                   (unsigned long long)g->bytes);
        else if (s->common.output == CLI_RAW)
            printf("%s %s %llu %llu\n", g->model, g->kind, (unsigned long long)g->keys,
                   (unsigned long long)g->bytes);
        else
            printf("  %-40s  %-12s  %10llu entries  %8.1f MB\n", g->model, g->kind,
                   (unsigned long long)g->keys, megabytes(g->bytes));
    }
    if (s->common.output == CLI_JSON)
        puts("]}");
}

static int run_stat(struct cli *cli, int argc, char **argv) {
    struct settings s;
    int code;
    if (!cli_load(cli, &stat_cfg, argc, argv, NULL, &s, &code))
        return code;
    cache_people_t *redis = NULL;
    if (!open_redis(cli, &s, &redis, &code))
        return code;
    static struct cache_people_stat st;
    struct err err;
    enum status status = cache_people_stat(redis, tell_progress, NULL, &st, &err);
    end_progress();
    if (status == STATUS_OK)
        print_stat(&s, &st);
    else
        code = cli_fail_err(cli, &err);
    cache_people_close(&redis);
    return code;
}

static int run_purge(struct cli *cli, int argc, char **argv) {
    struct settings s;
    int code;
    if (!cli_load(cli, &purge_cfg, argc, argv, NULL, &s, &code))
        return code;
    if (s.all == (s.common.model[0] != '\0'))
        return cli_usage(cli, "either --model NAME or --all");
    cache_people_t *redis = NULL;
    if (!open_redis(cli, &s, &redis, &code))
        return code;
    struct err err;
    uint64_t removed = 0;
    enum status status = cache_people_purge(redis, s.all ? NULL : s.common.model, tell_progress,
                                            NULL, &removed, &err);
    end_progress();
    printf("%llu entries removed\n", (unsigned long long)removed);
    if (status != STATUS_OK)
        code = cli_fail_err(cli, &err);
    cache_people_close(&redis);
    return code;
}

int cmd_cache(int argc, char **argv) {
    static const struct {
        const char *name, *command;
        int (*run)(struct cli *, int, char **);
    } verbs[] = {{"key", "cache key", run_key},
                 {"get", "cache get", run_get},
                 {"stat", "cache stat", run_stat},
                 {"purge", "cache purge", run_purge}};
    for (size_t i = 0; argc > 1 && i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(argv[1], verbs[i].name) == 0) {
            struct cli cli = {.command = verbs[i].command};
            return cli_done(&cli, verbs[i].run(&cli, argc - 1, argv + 1));
        }
    bool help = argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
    fputs("Usage: ember cache key|get|stat|purge [OPTION]...\n"
          "  key    the Redis key of a text, and how to make it by hand\n"
          "  get    what stands there\n"
          "  stat   entries and memory by model\n"
          "  purge  remove entries\n"
          "Each has its own --help.\n",
          help ? stdout : stderr);
    return help ? CLI_OK : CLI_USAGE;
}
