/* ember.c - the functions of ember.h: what a caller says is checked here, at the door, and turned
 * into a call. A waiting function is its starting sibling, a wait and a take. */
#include <ember/ember.h>

#include "call.h"
#include "client.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "wire/keypair.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    TIMEOUT_DEFAULT_MS = 10000,
    CALL_WINDOW_DEFAULT = 32,
    LATENCY_LIMIT_DEFAULT_MS = 50,
    REQUEST_TEXTS_DEFAULT = 32, /* half a full request: two workers share 64 texts */
    GRACE_US =
        40 * 1000, /* a waiter leaves this long after the deadline, should the loop be held up */
};
#define MEMORY_DEFAULT (UINT64_C(256) << 20)

struct ember {
    struct client *client;
    char model[LIMIT_NAME_BYTES + 1];
    uint32_t timeout_ms, request_texts;
    uint64_t spare_bytes; /* as in struct call_spec */
};

/* What every task's options begin with. */
struct common {
    const char *model;
    uint32_t timeout_ms, flags;
    enum ember_lane lane;
    const char *traceparent;
    ember_done_fn *done;
    void *arg;
};

const char *ember_version(void) {
    return EMBER_VERSION;
}

const char *ember_head_name(enum ember_head head) {
    return wire_head_name((enum wire_head)head);
}

const char *ember_status_name(enum ember_status status) {
    return status_name((enum status)status);
}

static enum ember_status fail(struct ember_error *error, const struct err *err, int64_t item) {
    error_from(error, err, item);
    return (enum ember_status)err->status;
}

/* Options as large as the caller's header knows them; what it does not know is zero. */
static void read_options(void *out, size_t out_bytes, const void *options) {
    memset(out, 0, out_bytes);
    if (!options)
        return;
    size_t bytes;
    memcpy(&bytes, options, sizeof bytes);
    memcpy(out, options, bytes < out_bytes ? bytes : out_bytes);
}
#define READ_OPTIONS(out, options) read_options((out), sizeof *(out), (options))

static struct view view_or_empty(const char *text) {
    return text ? view_of(text) : view_make("", 0);
}

static enum status check_name(const char *name, const char *what, struct err *err) {
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t bytes = name ? strlen(name) : 0;
    if (bytes > LIMIT_NAME_BYTES || (bytes && strspn(name, allowed) != bytes))
        return err_set(err, STATUS_INVALID_ARGUMENT,
                       "a %s has at most %d of the characters A-Z a-z 0-9 . _ -", what,
                       LIMIT_NAME_BYTES);
    return STATUS_OK;
}

/* ------------------------------------------------------------------------------ open and close */

/* "tcp://host:port#cost=0.2": what stands behind # is ours. */
static enum status read_endpoint(struct view text, struct client_endpoint *out, struct err *err) {
    static const char word[] = "#cost=";
    const char *mark = text.bytes ? memchr(text.data, '#', text.bytes) : NULL;
    size_t n = mark ? (size_t)(mark - text.data) : text.bytes;
    bool known =
        n > 6 && (memcmp(text.data, "tcp://", 6) == 0 || memcmp(text.data, "ipc://", 6) == 0);
    if (!known || n >= sizeof out->text)
        return err_set(err, STATUS_INVALID_ARGUMENT,
                       "'%.*s' is no endpoint; write tcp://HOST:PORT or ipc://PATH",
                       (int)text.bytes, text.data);
    memcpy(out->text, text.data, n);
    out->cost = 1;
    if (!mark)
        return STATUS_OK;
    char number[32] = "", *end = number;
    size_t rest = text.bytes - n;
    bool fits = rest > strlen(word) && rest - strlen(word) < sizeof number &&
                memcmp(mark, word, strlen(word)) == 0;
    if (fits) {
        memcpy(number, mark + strlen(word), rest - strlen(word));
        out->cost = strtod(number, &end);
    }
    if (!fits || *end || !(out->cost >= 0 && out->cost <= 1e9))
        return err_set(err, STATUS_INVALID_ARGUMENT,
                       "'%.*s': behind # stands cost=NUMBER, 0 or more", (int)text.bytes,
                       text.data);
    return STATUS_OK;
}

static enum status read_endpoints(const char *list, struct client_cfg *cfg, struct err *err) {
    for (const char *p = list ? list : ""; *p;) {
        size_t n = strcspn(p, ",");
        const char *next = p + n + (p[n] == ',');
        while (n && *p == ' ')
            p++, n--;
        while (n && p[n - 1] == ' ')
            n--;
        struct client_endpoint endpoint = {.cost = 0};
        if (read_endpoint(view_make(p, n), &endpoint, err) != STATUS_OK)
            return err->status;
        if (cfg->n_endpoints == LIMIT_BROKERS)
            return err_set(err, STATUS_INVALID_ARGUMENT, "more than %d endpoints", LIMIT_BROKERS);
        cfg->endpoints[cfg->n_endpoints++] = endpoint;
        p = next;
    }
    if (!cfg->n_endpoints)
        return err_set(err, STATUS_INVALID_ARGUMENT, "no endpoint; write tcp://HOST:PORT");
    return STATUS_OK;
}

static void copy_text(char *out, size_t out_bytes, const char *text) {
    size_t n = strnlen(text, out_bytes - 1);
    memcpy(out, text, n);
    out[n] = '\0';
}

static enum status read_client_options(const struct ember_options *o, struct ember *self,
                                       struct client_cfg *cfg, struct err *err) {
    enum status st = check_name(o->model, "model name", err);
    if (st == STATUS_OK && o->timeout_ms > LIMIT_DEADLINE_MS)
        st = err_set(err, STATUS_INVALID_ARGUMENT, "timeout_ms is at most %d", LIMIT_DEADLINE_MS);
    if (st == STATUS_OK && o->request_texts > LIMIT_REQUEST_TEXTS)
        st = err_set(err, STATUS_INVALID_ARGUMENT, "request_texts is at most %d",
                     LIMIT_REQUEST_TEXTS);
    if (st == STATUS_OK && (unsigned)o->policy > EMBER_POLICY_CHEAPEST)
        st = err_set(err, STATUS_INVALID_ARGUMENT, "policy %d is not known", (int)o->policy);
    const char *name = o->name && o->name[0] ? o->name : program_invocation_short_name;
    if (st == STATUS_OK && !utf8_valid(view_of(name)))
        st = err_set(err, STATUS_INVALID_ARGUMENT, "the client's name is not UTF-8");
    if (st != STATUS_OK)
        return st;
    copy_text(self->model, sizeof self->model, o->model ? o->model : "");
    copy_text(cfg->name, 128, name);
    cfg->name[utf8_valid_prefix(view_of(cfg->name))] = '\0'; /* a character may have been cut */
    self->timeout_ms = o->timeout_ms ? o->timeout_ms : TIMEOUT_DEFAULT_MS;
    self->request_texts = o->request_texts ? o->request_texts : REQUEST_TEXTS_DEFAULT;
    bool has_key = o->key_file && o->key_file[0];
    if (has_key != (o->server_key_file && o->server_key_file[0]))
        return err_set(err, STATUS_INVALID_ARGUMENT, "key_file and server_key_file go together");
    if (has_key) {
        st = keypair_load(o->key_file, o->server_key_file, CERT_CLIENT, &cfg->keys, err);
        if (st != STATUS_OK)
            return st;
        cfg->has_keys = true;
    }
    cfg->give_up_us = (uint64_t)o->give_up_ms * 1000;
    cfg->call_window = o->call_window ? o->call_window : CALL_WINDOW_DEFAULT;
    cfg->memory_max = o->memory_max ? o->memory_max : MEMORY_DEFAULT;
    self->spare_bytes = cfg->memory_max;
    cfg->pool.policy = (enum pool_policy)o->policy;
    cfg->pool.latency_limit_us =
        (uint64_t)(o->latency_limit_ms ? o->latency_limit_ms : LATENCY_LIMIT_DEFAULT_MS) * 1000;
    cfg->pool.attempt_us = (uint64_t)o->attempt_ms * 1000;
    cfg->pool.discover = !o->no_discovery;
    return STATUS_OK;
}

enum ember_status ember_open(const char *endpoints, const struct ember_options *options,
                             ember_t **out, struct ember_error *error) {
    struct ember_options o;
    READ_OPTIONS(&o, options);
    struct err err;
    struct client_cfg *cfg = calloc(1, sizeof *cfg);
    ember_t *self = calloc(1, sizeof *self);
    enum status st = STATUS_OK;
    if (!cfg || !self)
        st = err_set(&err, STATUS_RESOURCE_EXHAUSTED, "no memory for a client");
    if (st == STATUS_OK)
        st = read_endpoints(endpoints, cfg, &err);
    if (st == STATUS_OK)
        st = read_client_options(&o, self, cfg, &err);
    if (st == STATUS_OK)
        st = client_new(cfg, &self->client, &err);
    if (cfg)
        explicit_bzero(&cfg->keys, sizeof cfg->keys);
    free(cfg);
    if (st != STATUS_OK) {
        free(self);
        return fail(error, &err, -1);
    }
    *out = self;
    return EMBER_OK;
}

void ember_close(ember_t **self) {
    if (*self) {
        client_stop((*self)->client);
        client_unref((*self)->client);
        free(*self);
    }
    *self = NULL;
}

/* ------------------------------------------------------------------------------------ starting */

static enum status check_common(const struct common *c, struct err *err) {
    enum status st = check_name(c->model, "model name", err);
    if (st == STATUS_OK && c->timeout_ms > LIMIT_DEADLINE_MS)
        st = err_set(err, STATUS_INVALID_ARGUMENT, "timeout_ms is at most %d", LIMIT_DEADLINE_MS);
    if (st == STATUS_OK && (unsigned)c->lane > EMBER_LANE_BULK)
        st = err_set(err, STATUS_INVALID_ARGUMENT, "lane %d is not known", (int)c->lane);
    if (st == STATUS_OK && c->traceparent && strlen(c->traceparent) > LIMIT_TRACEPARENT_BYTES)
        st = err_set(err, STATUS_INVALID_ARGUMENT, "traceparent has at most %d bytes",
                     LIMIT_TRACEPARENT_BYTES);
    return st;
}

static enum status check_count(size_t n, struct err *err) {
    if (n == 0 || n > LIMIT_CALL_TEXTS)
        return err_set(err, STATUS_INVALID_ARGUMENT, "%zu texts; a call takes 1 to %d", n,
                       LIMIT_CALL_TEXTS);
    return STATUS_OK;
}

static enum status check_word(unsigned value, unsigned most, const char *what, struct err *err) {
    if (value > most)
        return err_set(err, STATUS_INVALID_ARGUMENT, "%s %u is not known", what, value);
    return STATUS_OK;
}

static void aim(ember_call_t *call, const ember_t *self, const char *model, uint32_t timeout_ms) {
    copy_text(call->model, sizeof call->model, model && model[0] ? model : self->model);
    call->started_us = clock_us();
    call->deadline_us =
        call->started_us + (uint64_t)(timeout_ms ? timeout_ms : self->timeout_ms) * 1000;
}

/* Hands a call to the loop; out NULL: nobody keeps a handle. */
static enum status launch(ember_t *self, ember_call_t *call, ember_call_t **out, struct err *err) {
    enum status st = client_start(self->client, call, err);
    if (st == STATUS_OK && out)
        *out = call;
    else
        call_unref(call);
    return st;
}

static enum ember_status start_task(ember_t *self, struct call_spec *spec, const struct common *c,
                                    ember_call_t **out, struct ember_error *error) {
    static const enum wire_lane lanes[] = {WIRE_LANE_NORMAL, WIRE_LANE_HIGH, WIRE_LANE_BULK};
    struct err err;
    int64_t item = -1;
    ember_call_t *call;
    spec->request_texts = self->request_texts;
    spec->spare_bytes = self->spare_bytes;
    enum status st = check_common(c, &err);
    if (st == STATUS_OK)
        st = check_count(spec->n, &err);
    if (st == STATUS_OK)
        st = call_new(spec, &call, &item, &err);
    if (st != STATUS_OK)
        return fail(error, &err, item);
    aim(call, self, c->model, c->timeout_ms);
    call->lane = lanes[c->lane];
    call->flags = c->flags;
    call->done = c->done;
    call->arg = c->arg;
    st = launch(self, call, out, &err);
    return st == STATUS_OK ? EMBER_OK : fail(error, &err, -1);
}

#define COMMON(o, done, arg)                                                                       \
    { (o).model, (o).timeout_ms, (o).flags, (o).lane, (o).traceparent, (done), (arg) }

enum ember_status ember_embed_start(ember_t *self, const char *const *texts, size_t n,
                                    const struct ember_embed_options *options, ember_done_fn *done,
                                    void *arg, ember_call_t **call, struct ember_error *error) {
    struct ember_embed_options o;
    READ_OPTIONS(&o, options);
    struct err err;
    enum status st = check_word((unsigned)o.truncate, WIRE_TRUNCATE_OFF, "truncate", &err);
    if (st == STATUS_OK)
        st = check_word((unsigned)o.cache, WIRE_CACHE_REFRESH, "cache", &err);
    if (st == STATUS_OK)
        st = check_word((unsigned)o.normalize, WIRE_NORMALIZE_YES, "normalize", &err);
    if (st == STATUS_OK)
        st = check_word((unsigned)o.encoding, WIRE_ENCODING_BIT, "encoding", &err);
    if (st == STATUS_OK)
        st = check_name(o.prompt_name, "prompt name", &err);
    if (st == STATUS_OK && o.prompt_prefix && strlen(o.prompt_prefix) > LIMIT_TEXT_BYTES)
        st = err_set(&err, STATUS_INVALID_ARGUMENT, "prompt_prefix has at most %d bytes",
                     LIMIT_TEXT_BYTES);
    if (st != STATUS_OK)
        return fail(error, &err, -1);
    struct call_spec spec = {.task = WIRE_TASK_EMBED,
                             .texts = texts,
                             .text_bytes = o.text_bytes,
                             .n = n,
                             .embed = {.normalize = (enum wire_normalize)o.normalize,
                                       .dimensions = o.dimensions,
                                       .encoding = (enum wire_encoding)o.encoding,
                                       .prompt_name = view_or_empty(o.prompt_name),
                                       .prompt_prefix = view_or_empty(o.prompt_prefix),
                                       .truncate = (enum wire_truncate)o.truncate,
                                       .cache = (enum wire_cache)o.cache,
                                       .max_tokens = o.max_tokens,
                                       .traceparent = view_or_empty(o.traceparent)}};
    struct common common = COMMON(o, done, arg);
    return start_task(self, &spec, &common, call, error);
}

static enum status read_labels(const char *const *labels, size_t n, struct view *out,
                               struct err *err) {
    if (n > LIMIT_REQUEST_LABELS)
        return err_set(err, STATUS_INVALID_ARGUMENT, "%zu labels; a call takes at most %d", n,
                       LIMIT_REQUEST_LABELS);
    for (size_t i = 0; i < n; i++) {
        out[i] = view_or_empty(labels[i]);
        if (out[i].bytes == 0 || out[i].bytes > LIMIT_LABEL_BYTES || !utf8_valid(out[i]))
            return err_set(err, STATUS_INVALID_ARGUMENT,
                           "label %zu is empty, longer than %d bytes or not UTF-8", i,
                           LIMIT_LABEL_BYTES);
        for (size_t k = 0; k < i; k++)
            if (view_equal(out[i], out[k]))
                return err_set(err, STATUS_INVALID_ARGUMENT, "labels %zu and %zu are the same", k,
                               i);
    }
    return STATUS_OK;
}

enum ember_status ember_classify_start(ember_t *self, const char *const *texts, size_t n,
                                       const char *const *labels, size_t n_labels,
                                       const struct ember_classify_options *options,
                                       ember_done_fn *done, void *arg, ember_call_t **call,
                                       struct ember_error *error) {
    struct ember_classify_options o;
    READ_OPTIONS(&o, options);
    struct err err;
    struct view views[LIMIT_REQUEST_LABELS];
    struct view template_text = view_or_empty(o.hypothesis_template);
    enum status st = check_word((unsigned)o.truncate, WIRE_TRUNCATE_OFF, "truncate", &err);
    if (st == STATUS_OK)
        st = check_word((unsigned)o.cache, WIRE_CACHE_REFRESH, "cache", &err);
    if (st == STATUS_OK && o.seconds && n_labels)
        st = err_set(&err, STATUS_INVALID_ARGUMENT,
                     "labels and seconds exclude each other: a label is the second text of its "
                     "pair");
    if (st == STATUS_OK)
        st = read_labels(labels, n_labels, views, &err);
    if (st == STATUS_OK && template_text.bytes > LIMIT_TEMPLATE_BYTES)
        st = err_set(&err, STATUS_INVALID_ARGUMENT, "hypothesis_template has at most %d bytes",
                     LIMIT_TEMPLATE_BYTES);
    if (st != STATUS_OK)
        return fail(error, &err, -1);
    struct call_spec spec = {.task = WIRE_TASK_CLASSIFY,
                             .texts = texts,
                             .text_bytes = o.text_bytes,
                             .seconds = o.seconds,
                             .second_bytes = o.second_bytes,
                             .n = n,
                             .classify = {.labels = views,
                                          .n_labels = (uint32_t)n_labels,
                                          .hypothesis_template = template_text,
                                          .multi_label = o.multi_label != 0,
                                          .top_k = o.top_k,
                                          .truncate = (enum wire_truncate)o.truncate,
                                          .cache = (enum wire_cache)o.cache,
                                          .traceparent = view_or_empty(o.traceparent),
                                          .max_tokens = o.max_tokens}};
    struct common common = COMMON(o, done, arg);
    return start_task(self, &spec, &common, call, error);
}

enum ember_status ember_rerank_start(ember_t *self, const char *query, const char *const *documents,
                                     size_t n, const struct ember_rerank_options *options,
                                     ember_done_fn *done, void *arg, ember_call_t **call,
                                     struct ember_error *error) {
    struct ember_rerank_options o;
    READ_OPTIONS(&o, options);
    struct err err;
    struct view query_text = view_or_empty(query);
    enum status st = check_word((unsigned)o.truncate, WIRE_TRUNCATE_OFF, "truncate", &err);
    if (st == STATUS_OK)
        st = check_word((unsigned)o.cache, WIRE_CACHE_REFRESH, "cache", &err);
    if (st == STATUS_OK && (query_text.bytes > LIMIT_TEXT_BYTES || !utf8_valid(query_text)))
        st = err_set(&err, STATUS_INVALID_ARGUMENT,
                     "the query has more than %d bytes or is not UTF-8", LIMIT_TEXT_BYTES);
    if (st != STATUS_OK)
        return fail(error, &err, -1);
    struct call_spec spec = {.task = WIRE_TASK_RERANK,
                             .texts = documents,
                             .text_bytes = o.text_bytes,
                             .n = n,
                             .rerank = {.query = query_text,
                                        .top_k = o.top_k,
                                        .truncate = (enum wire_truncate)o.truncate,
                                        .cache = (enum wire_cache)o.cache,
                                        .traceparent = view_or_empty(o.traceparent),
                                        .max_tokens = o.max_tokens}};
    struct common common = COMMON(o, done, arg);
    return start_task(self, &spec, &common, call, error);
}

enum ember_status ember_tokenize_start(ember_t *self, const char *const *texts, size_t n,
                                       const struct ember_tokenize_options *options,
                                       ember_done_fn *done, void *arg, ember_call_t **call,
                                       struct ember_error *error) {
    struct ember_tokenize_options o;
    READ_OPTIONS(&o, options);
    struct err err;
    if (check_word((unsigned)o.truncate, WIRE_TRUNCATE_OFF, "truncate", &err) != STATUS_OK)
        return fail(error, &err, -1);
    struct call_spec spec = {.task = WIRE_TASK_TOKENIZE,
                             .texts = texts,
                             .text_bytes = o.text_bytes,
                             .n = n,
                             .tokenize = {.truncate = (enum wire_truncate)o.truncate,
                                          .pieces = o.pieces != 0,
                                          .traceparent = view_or_empty(o.traceparent)}};
    struct common common = COMMON(o, done, arg);
    return start_task(self, &spec, &common, call, error);
}

/* ------------------------------------------------------------------------------------- waiting */

static bool wait_until(ember_call_t *call, uint64_t until_us) {
    struct timespec at = {.tv_sec = (time_t)(until_us / 1000000),
                          .tv_nsec = (long)(until_us % 1000000) * 1000};
    pthread_mutex_lock(&call->lock);
    while (!call->ended)
        if (pthread_cond_timedwait(&call->changed, &call->lock, &at) == ETIMEDOUT)
            break;
    bool ended = call->ended;
    pthread_mutex_unlock(&call->lock);
    return ended;
}

/* Waits for the end. Should the loop be held up (a callback that blocks), the caller still
 * leaves. */
static enum ember_status await_end(ember_call_t *call, struct ember_error *error) {
    if (!wait_until(call, call->deadline_us + GRACE_US)) {
        ember_call_cancel(call);
        error_set(error, STATUS_DEADLINE_EXCEEDED, -1,
                  "the client's thread is held up: a callback blocks, or this host is overloaded");
        if (error)
            error->may_have_run = 1;
        return EMBER_DEADLINE_EXCEEDED;
    }
    if (call->error.status != EMBER_OK && error)
        *error = call->error;
    return call->error.status;
}

int ember_call_wait(ember_call_t *call, uint32_t wait_ms) {
    return wait_until(call, clock_us() + (uint64_t)wait_ms * 1000);
}

enum ember_status ember_call_take(ember_call_t *call, ember_result_t **out,
                                  struct ember_error *error) {
    enum ember_status status = await_end(call, error);
    if (status != EMBER_OK)
        return status;
    pthread_mutex_lock(&call->lock);
    bool taken = call->taken;
    call->taken = true;
    pthread_mutex_unlock(&call->lock);
    if (taken) {
        error_set(error, STATUS_FAILED_PRECONDITION, -1, "the result is taken already");
        return EMBER_FAILED_PRECONDITION;
    }
    *out = call->result;
    call->result = NULL;
    return EMBER_OK;
}

void ember_call_cancel(ember_call_t *call) {
    pthread_mutex_lock(&call->lock);
    bool ended = call->ended;
    pthread_mutex_unlock(&call->lock);
    if (!ended)
        client_cancel(call);
}

void ember_call_destroy(ember_call_t **call) {
    if (*call) {
        if (!(*call)->done)
            ember_call_cancel(*call);
        call_unref(*call);
    }
    *call = NULL;
}

enum ember_status ember_embed(ember_t *self, const char *const *texts, size_t n,
                              const struct ember_embed_options *options, ember_result_t **out,
                              struct ember_error *error) {
    ember_call_t *call;
    enum ember_status status = ember_embed_start(self, texts, n, options, NULL, NULL, &call, error);
    if (status != EMBER_OK)
        return status;
    status = ember_call_take(call, out, error);
    ember_call_destroy(&call);
    return status;
}

enum ember_status ember_classify(ember_t *self, const char *const *texts, size_t n,
                                 const char *const *labels, size_t n_labels,
                                 const struct ember_classify_options *options, ember_result_t **out,
                                 struct ember_error *error) {
    ember_call_t *call;
    enum ember_status status =
        ember_classify_start(self, texts, n, labels, n_labels, options, NULL, NULL, &call, error);
    if (status != EMBER_OK)
        return status;
    status = ember_call_take(call, out, error);
    ember_call_destroy(&call);
    return status;
}

enum ember_status ember_rerank(ember_t *self, const char *query, const char *const *documents,
                               size_t n, const struct ember_rerank_options *options,
                               ember_result_t **out, struct ember_error *error) {
    ember_call_t *call;
    enum ember_status status =
        ember_rerank_start(self, query, documents, n, options, NULL, NULL, &call, error);
    if (status != EMBER_OK)
        return status;
    status = ember_call_take(call, out, error);
    ember_call_destroy(&call);
    return status;
}

enum ember_status ember_tokenize(ember_t *self, const char *const *texts, size_t n,
                                 const struct ember_tokenize_options *options, ember_result_t **out,
                                 struct ember_error *error) {
    ember_call_t *call;
    enum ember_status status =
        ember_tokenize_start(self, texts, n, options, NULL, NULL, &call, error);
    if (status != EMBER_OK)
        return status;
    status = ember_call_take(call, out, error);
    ember_call_destroy(&call);
    return status;
}

/* ------------------------------------------------------------------------------------- looking */

/* Runs a call without a body to its end; *out is the call, for what it brought. */
static enum ember_status ask(ember_t *self, enum call_kind kind, const char *model,
                             enum wire_task task, uint32_t timeout_ms, ember_call_t **out,
                             struct ember_error *error) {
    struct err err;
    ember_call_t *call;
    enum status st = check_name(model, "model name", &err);
    if (st == STATUS_OK && timeout_ms > LIMIT_DEADLINE_MS)
        st = err_set(&err, STATUS_INVALID_ARGUMENT, "timeout_ms is at most %d", LIMIT_DEADLINE_MS);
    if (st == STATUS_OK)
        st = call_new_plain(kind, &call, &err);
    if (st != STATUS_OK)
        return fail(error, &err, -1);
    call->task = task;
    aim(call, self, model, timeout_ms);
    st = launch(self, call, &call, &err);
    if (st != STATUS_OK)
        return fail(error, &err, -1);
    enum ember_status status = await_end(call, error);
    if (status != EMBER_OK)
        ember_call_destroy(&call);
    else
        *out = call;
    return status;
}

enum ember_status ember_ping(ember_t *self, uint32_t timeout_ms, uint32_t *round_trip_us,
                             struct ember_error *error) {
    ember_call_t *call;
    enum ember_status status = ask(self, CALL_PING, NULL, WIRE_TASK_NONE, timeout_ms, &call, error);
    if (status != EMBER_OK)
        return status;
    if (round_trip_us)
        *round_trip_us = call->round_trip_us;
    ember_call_destroy(&call);
    return EMBER_OK;
}

enum ember_status ember_describe(ember_t *self, const char *model, enum ember_task task,
                                 uint32_t timeout_ms, struct ember_model *out,
                                 struct ember_error *error) {
    ember_call_t *call;
    if (task < EMBER_TASK_EMBED || task > EMBER_TASK_TOKENIZE) {
        error_set(error, STATUS_INVALID_ARGUMENT, -1, "task %d is not known", (int)task);
        return EMBER_INVALID_ARGUMENT;
    }
    enum ember_status status =
        ask(self, CALL_DESCRIBE, model, (enum wire_task)task, timeout_ms, &call, error);
    if (status != EMBER_OK)
        return status;
    size_t bytes = out->size < sizeof call->described ? out->size : sizeof call->described;
    call->described.size = out->size;
    memcpy(out, &call->described, bytes);
    ember_call_destroy(&call);
    return EMBER_OK;
}

_Static_assert((int)EMBER_POLICY_LEAST_LATENCY == (int)POOL_LEAST_LATENCY &&
                   (int)EMBER_POLICY_CHEAPEST == (int)POOL_CHEAPEST &&
                   sizeof((struct ember_broker_view *)0)->endpoint == POOL_ENDPOINT_BYTES &&
                   sizeof((struct ember_broker_view *)0)->why == POOL_WHY_BYTES,
               "the header says what the pool has");

enum ember_status ember_view_broker(ember_t *self, size_t i, struct ember_broker_view *out,
                                    struct ember_error *error) {
    struct err err;
    ember_call_t *call;
    enum status st = call_new_plain(CALL_VIEW, &call, &err);
    if (st == STATUS_OK) {
        call->view_of = i < UINT32_MAX ? (uint32_t)i : UINT32_MAX;
        aim(call, self, NULL, 0);
        st = launch(self, call, &call, &err);
    }
    if (st != STATUS_OK)
        return fail(error, &err, -1);
    enum ember_status status = await_end(call, error);
    if (status == EMBER_OK && !call->view_there) {
        error_set(error, STATUS_OUT_OF_RANGE, -1, "no broker %zu is known", i);
        status = EMBER_OUT_OF_RANGE;
    }
    if (status == EMBER_OK) {
        size_t bytes = out->size < sizeof call->view ? out->size : sizeof call->view;
        call->view.size = out->size;
        memcpy(out, &call->view, bytes);
    }
    ember_call_destroy(&call);
    return status;
}

enum ember_status ember_report(ember_t *self, uint32_t timeout_ms, ember_report_t **out,
                               struct ember_error *error) {
    ember_call_t *call;
    enum ember_status status =
        ask(self, CALL_STATUS, NULL, WIRE_TASK_NONE, timeout_ms, &call, error);
    if (status != EMBER_OK)
        return status;
    *out = call->report;
    call->report = NULL;
    ember_call_destroy(&call);
    return EMBER_OK;
}
