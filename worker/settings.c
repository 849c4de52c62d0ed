/* settings.c - the table, and the defaults that depend on the machine. */
#include "settings.h"

#include "models.h"

#include "base/thread.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Two batches a runner, one computing and one waiting, in the broker's unit of 64 bytes of request:
 * 512 tokens are about 2 KiB of text. */
enum { CREDIT_PER_THREAD = 64, CREDIT_MAX = 65535 };

#define ROW(kind, name, field, ...) CFG_##kind(name, struct settings, field, __VA_ARGS__)

/* clang-format off */
static const struct cfg_row rows[] = {
    CFG_HEADING("Models"),
    ROW(LIST, "model", models, NULL, "NAME=DIR",
        "a published model directory and the name clients use for it; repeatable\n"
        "DIR alone is named after its last part"),
    ROW(CHOICE, "precision", precision, "f32", "f32|bf16|i8",
        "numbers the model computes with; i8 is fastest and smallest, f32 exact"),
    ROW(TEXT, "kernel", kernel, "auto", "NAME", "matrix kernel; auto: the best of this CPU"),
    ROW(TEXT, "weights-cache", weights_cache, "auto", "DIR|off",
        "where prepared weights are kept, which all workers of the host share\n"
        "auto: $CACHE_DIRECTORY, else $XDG_CACHE_HOME/ember, else ~/.cache/ember"),

    CFG_HEADING("Broker"),
    ROW(LIST, "broker", brokers, "tcp://127.0.0.1:5556", "ENDPOINT",
        "worker side of a broker; repeatable, all are served at once"),
    ROW(TEXT, "curve-key", curve_key, NULL, "FILE",
        "secret certificate of this worker, NAME.key_secret of ember keygen;\n"
        "empty: no encryption"),
    ROW(TEXT, "curve-server-key", curve_server_key, NULL, "FILE",
        "public certificate of the brokers, server.key; goes with curve-key"),
    ROW(TEXT, "name", name, NULL, "NAME", "of this worker, in replies and status; empty: host-pid"),
    ROW(CHOICE, "tier", tier, "standard", "standard|fast",
        "fast ones are preferred for urgent requests"),
    ROW(F64, "hourly-cost", hourly_cost, "0", 0, 1e9, "N", "of this worker, in any currency"),
    ROW(U32, "credit", credit, "0", 0, CREDIT_MAX, "N",
        "cost units the brokers may have here at once, in all\n"
        "(a request costs 1 and 1 per 64 bytes); 0: 64 per thread"),

    CFG_HEADING("Computing"),
    ROW(U32, "threads", threads, "0", 0, LIMIT_THREADS, "N", "runner threads; 0: one per CPU"),
    ROW(U32, "batch-tokens", batch_tokens, "128", 16, LIMIT_BATCH_TOKENS, "N",
        "tokens of one batch; a longer text goes alone"),
    ROW(U32, "batch-wait-us", batch_wait_us, "0", 0, 1000000, "N",
        "microseconds that a batch which is not full waits for more texts"),
    ROW(CHOICE, "team", team, "on", "on|off",
        "runners that wait for work help another with a long text;\n"
        "off where CPU time beyond the text's own has a price"),
    ROW(U32, "labels-max", labels_max, "64", 1, LIMIT_REQUEST_LABELS, "N",
        "labels of one request"),
    ROW(U32, "request-tokens", request_tokens, "131072", 512, 64 * LIMIT_REQUEST_TOKENS, "N",
        "tokens of one request, estimated; a text counts once per label\n"
        "where the model reads it with each"),
    ROW(SIZE, "memory-limit", memory_limit, "0", 0, 1e15,
        "of this worker, shared weights not counted; above 80 % of it batches get\n"
        "smaller, below 60 % larger again; 0: the limit of its cgroup, if any"),

    CFG_HEADING("Cache"),
    ROW(TEXT, "redis", redis, "redis://127.0.0.1:6379", "URL",
        "cache that workers share: redis://[user:password@]host:port[/db],\n"
        "unix:///path, or off"),
    ROW(DURATION, "cache-ttl", cache_ttl_us, "1h", 1e6, 365 * 86400e6,
        "how long Redis keeps a result"),
    ROW(SIZE, "cache-memory", cache_memory, "64M", 0, 1e12,
        "results kept in this process; 0: none"),

    CFG_HEADING("Operation"),
    ROW(TEXT, "http", http, "127.0.0.1:9465", "HOST:PORT", "metrics and health; off: none"),
    ROW(DURATION, "drain-timeout", drain_timeout_us, "20s", 0, 3600e6,
        "how long to finish what is in hand when told to stop"),
    ROW(U32, "stuck-ms", stuck_ms, "30000", 0, 3600 * 1000, "N",
        "milliseconds after which a batch that still runs is reported to log and brokers;\n"
        "after twice that the worker exits, to be started anew; 0: never"),
    ROW(U32, "slow-ms", slow_ms, "0", 0, 3600 * 1000, "N",
        "milliseconds from which on a request is a line in the log, at most ten a second;\n"
        "0: none"),
    ROW(CHOICE, "log-level", log_level, "info", "debug|info|warn|error",
        "least level that is logged"),
    ROW(CHOICE, "log-format", log_format, "logfmt", "logfmt|json",
        "a line of key=value pairs, or a JSON object"),
};
/* clang-format on */

static const struct cfg cfg = {
    .program = "ember-worker",
    .synopsis = "--model NAME=DIR [OPTION]...",
    .about = "Computes embeddings, label scores and ranks for the brokers it connects to, on this\n"
             "host's CPUs, and shares results with other workers through Redis.",
    .epilog =
        "Example:\n"
        "  ember-worker --model minilm=/models/all-MiniLM-L6-v2 --broker tcp://10.0.0.5:5556\n\n"
        "Signals: TERM or INT drains (finish, then leave); a second one exits at once.\n"
        "Exit status: 0 after a drain, 1 when it cannot start or was cut short, 2 for wrong "
        "settings,\n"
        "3 when a runner did not come back (--stuck-ms).",
    .rows = rows,
    .n_rows = sizeof rows / sizeof *rows,
};

/* "host-pid" with what a name may not have left out. */
static void default_name(char out[LIMIT_NAME_BYTES + 1]) {
    char host[256] = "", clean[LIMIT_NAME_BYTES + 1];
    if (gethostname(host, sizeof host - 1) != 0)
        host[0] = 0;
    size_t n = 0;
    for (const char *p = host; *p && n < 40; p++)
        if (models_name_ok(p, 1))
            clean[n++] = *p;
    clean[n] = 0;
    snprintf(out, LIMIT_NAME_BYTES + 1, "%s%s%ld", clean, n ? "-" : "worker-", (long)getpid());
}

static enum status check(struct settings *s, struct err *err) {
    if (s->models.n == 0)
        return err_set(err, STATUS_INVALID_ARGUMENT, "model: none given (--model NAME=DIR)");
    for (uint32_t i = 0; i < s->models.n; i++) {
        char name[LIMIT_NAME_BYTES + 1];
        const char *dir;
        enum status st = models_split(s->models.item[i], name, &dir, err);
        if (st != STATUS_OK)
            return st;
    }
    if (s->brokers.n == 0 || s->brokers.n > LIMIT_BROKERS)
        return err_set(err, STATUS_INVALID_ARGUMENT, "broker: %u given, 1 to %d are possible",
                       s->brokers.n, LIMIT_BROKERS);
    if (s->name[0] && !models_name_ok(s->name, strlen(s->name)))
        return err_set(err, STATUS_INVALID_ARGUMENT,
                       "name: '%s' has something else than A-Z a-z 0-9 . _ -", s->name);
    if (!s->curve_key[0] != !s->curve_server_key[0])
        return err_set(err, STATUS_INVALID_ARGUMENT, "curve-key and curve-server-key go together");
    if (s->cache_memory > 0 && s->cache_memory < 1024 * 1024)
        return err_set(err, STATUS_INVALID_ARGUMENT, "cache-memory: 0, or at least 1M");
    return STATUS_OK;
}

enum status settings_load(int argc, char **argv, struct settings *out, enum cfg_action *action,
                          struct err *err) {
    memset(out, 0, sizeof *out);
    enum status st = cfg_load(&cfg, argc, argv, NULL, out, action, err);
    if (st != STATUS_OK || *action == CFG_EXIT)
        return st;
    st = check(out, err);
    if (st != STATUS_OK)
        return st;
    if (out->name[0] == 0)
        default_name(out->name);
    if (out->threads == 0)
        out->threads = thread_cpus() < LIMIT_THREADS ? thread_cpus() : LIMIT_THREADS;
    if (out->credit == 0)
        out->credit = out->threads * CREDIT_PER_THREAD;
    return STATUS_OK;
}

const char *settings_tier(const struct settings *self) {
    return self->tier == 1 ? "fast" : "standard";
}
