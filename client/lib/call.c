/* call.c - see call.h. Requests are cut so that texts spread evenly (65 texts: 33 + 32, not 64 +
 * 1: the two halves run at the same time), no body or reply can pass its limit, and no request
 * but that of a single text can be more than a worker takes at once. */
#include "call.h"

#include "client.h"

#include "base/check.h"
#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BODY_SPARE_BYTES = 4096,            /* options and lengths of a request, without long texts */
    TEXT_SPARE_BYTES = 8,               /* tag and length of one text */
    TOKENIZE_REQUEST_BYTES = 64 * 1024, /* its reply is several times larger */
};

/* ---- errors */

void error_set(struct ember_error *out, enum status status, int64_t item, const char *format, ...) {
    if (!out)
        return;
    *out = (struct ember_error){.status = (enum ember_status)status, .item = item};
    va_list args;
    va_start(args, format);
    vsnprintf(out->message, sizeof out->message, format, args);
    va_end(args);
    for (unsigned char *p = (unsigned char *)out->message; *p; p++)
        if (*p < 0x20 || *p == 0x7f)
            *p = '?'; /* the text may be a stranger's and ends up on a terminal */
}

void error_from(struct ember_error *out, const struct err *err, int64_t item) {
    error_set(out, err->status, item, "%s", err->text);
}

/* ---- making */

static struct view text_of(const char *const *texts, const size_t *bytes, size_t i) {
    if (!texts || !texts[i])
        return view_make("", 0);
    return view_make(texts[i], bytes ? bytes[i] : strlen(texts[i]));
}

/* Text i, and the other one of its pair; empty when there are no pairs. */
static struct view text_at(const struct call_spec *spec, size_t i) {
    return text_of(spec->texts, spec->text_bytes, i);
}

static struct view second_at(const struct call_spec *spec, size_t i) {
    return text_of(spec->seconds, spec->second_bytes, i);
}

static enum status check_text(struct view text, struct err *err) {
    if (text.bytes > LIMIT_TEXT_BYTES)
        return err_set(err, STATUS_INVALID_ARGUMENT, "the text has %zu bytes, at most %d are taken",
                       text.bytes, LIMIT_TEXT_BYTES);
    size_t valid = utf8_valid_prefix(text);
    if (valid < text.bytes)
        return err_set(err, STATUS_INVALID_ARGUMENT, "the text is not UTF-8 at byte %zu", valid);
    return STATUS_OK;
}

/* Texts of one request. */
struct texts_of {
    struct view texts[LIMIT_REQUEST_TEXTS], seconds[LIMIT_REQUEST_TEXTS];
};

/* How a call is cut into requests. */
struct cut {
    uint32_t texts_max; /* of one request */
    size_t room;        /* bytes of texts that one request may carry */
    uint32_t times;     /* so often a text may be read: with each label, or once */
    size_t company;     /* bytes that are read with it each time, at most */
};

static size_t room_of(const struct call_spec *spec) {
    size_t room = LIMIT_REQUEST_BYTES - BODY_SPARE_BYTES;
    if (spec->task == WIRE_TASK_EMBED)
        room -= spec->embed.prompt_prefix.bytes;
    if (spec->task == WIRE_TASK_TOKENIZE)
        room = TOKENIZE_REQUEST_BYTES + 2 * TEXT_SPARE_BYTES;
    if (spec->task == WIRE_TASK_RERANK)
        room -= spec->rerank.query.bytes;
    if (spec->task == WIRE_TASK_CLASSIFY) {
        room -= spec->classify.hypothesis_template.bytes;
        for (uint32_t i = 0; i < spec->classify.n_labels; i++)
            room -= spec->classify.labels[i].bytes + TEXT_SPARE_BYTES;
    }
    return room;
}

static struct cut cut_of(const struct call_spec *spec) {
    struct cut cut = {.texts_max = spec->request_texts, .room = room_of(spec), .times = 1};
    if (spec->task == WIRE_TASK_EMBED)
        cut.company = spec->embed.prompt_prefix.bytes;
    if (spec->task == WIRE_TASK_RERANK)
        cut.company = spec->rerank.query.bytes;
    if (spec->task == WIRE_TASK_TOKENIZE)
        cut.times = 0; /* no model reads it */
    if (spec->task == WIRE_TASK_CLASSIFY && spec->classify.n_labels) {
        cut.times = spec->classify.n_labels;
        for (uint32_t i = 0; i < cut.times; i++)
            if (spec->classify.labels[i].bytes > cut.company)
                cut.company = spec->classify.labels[i].bytes;
        cut.company += spec->classify.hypothesis_template.bytes;
        if (LIMIT_REQUEST_PAIRS / cut.times < cut.texts_max)
            cut.texts_max = LIMIT_REQUEST_PAIRS / cut.times;
    }
    size_t requests = (spec->n + cut.texts_max - 1) / cut.texts_max;
    cut.texts_max = (uint32_t)((spec->n + requests - 1) / requests);
    return cut;
}

/* What a text may cost the model at most, in tokens: no token is shorter than a byte, and no
 * sequence longer than LIMIT_TOKENS. */
static uint64_t cost_of(const struct cut *cut, size_t text_bytes) {
    size_t bytes = text_bytes + cut->company + 3;
    return (bytes < LIMIT_TOKENS ? bytes : LIMIT_TOKENS) * (uint64_t)cut->times;
}

/* How many texts from `first` on go into the next request. */
static uint32_t take_texts(const struct call_spec *spec, size_t first, const struct cut *cut,
                           struct texts_of *out) {
    uint32_t n = 0;
    size_t used = 0;
    uint64_t cost = 0;
    while (n < cut->texts_max && first + n < spec->n) {
        struct view text = text_at(spec, first + n), second = second_at(spec, first + n);
        used += text.bytes + second.bytes + 2 * TEXT_SPARE_BYTES;
        cost += cost_of(cut, text.bytes + second.bytes);
        if (n > 0 && (used > cut->room || cost > LIMIT_REQUEST_TOKENS))
            break;
        out->texts[n] = text;
        out->seconds[n++] = second;
    }
    return n;
}

static enum status encode(const struct call_spec *spec, const struct texts_of *from, uint32_t n,
                          struct wire_out *out) {
    const struct view *texts = from->texts;
    switch (spec->task) {
    case WIRE_TASK_EMBED: {
        struct wire_embed_request m = spec->embed;
        m.texts = texts;
        m.n_texts = n;
        return codec_embed_request_encode(&m, out);
    }
    case WIRE_TASK_CLASSIFY: {
        struct wire_classify_request m = spec->classify;
        m.texts = texts;
        m.n_texts = n;
        m.seconds = spec->seconds ? from->seconds : NULL;
        return codec_classify_request_encode(&m, out);
    }
    case WIRE_TASK_RERANK: {
        struct wire_rerank_request m = spec->rerank;
        m.documents = texts;
        m.n_documents = n;
        return codec_rerank_request_encode(&m, out);
    }
    case WIRE_TASK_TOKENIZE: {
        struct wire_tokenize_request m = spec->tokenize;
        m.texts = texts;
        m.n_texts = n;
        return codec_tokenize_request_encode(&m, out);
    }
    default:
        return STATUS_INTERNAL;
    }
}

static bool is_alone(const struct call_spec *spec) {
    switch (spec->task) {
    case WIRE_TASK_EMBED:
        return spec->embed.cache != WIRE_CACHE_USE;
    case WIRE_TASK_CLASSIFY:
        return spec->classify.cache != WIRE_CACHE_USE;
    case WIRE_TASK_RERANK:
        return spec->rerank.cache != WIRE_CACHE_USE;
    default:
        return false;
    }
}

static ember_call_t *call_alloc(enum call_kind kind, uint32_t parts_max) {
    ember_call_t *self = calloc(1, sizeof *self);
    struct part *parts = calloc(parts_max, sizeof *parts);
    if (!self || !parts) {
        free(self);
        free(parts);
        return NULL;
    }
    self->kind = kind;
    self->parts = parts;
    atomic_init(&self->refs, 1);
    pthread_mutex_init(&self->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&self->changed, &attr);
    pthread_condattr_destroy(&attr);
    return self;
}

static enum status no_memory(struct err *err) {
    return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for the call");
}

static enum status add_part(ember_call_t *self, const struct call_spec *spec, uint32_t first,
                            const struct texts_of *texts, uint32_t n, struct err *err) {
    struct wire_out out = {0};
    enum status st = encode(spec, texts, n, &out);
    if (st != STATUS_OK) {
        wire_out_done(&out);
        return st == STATUS_INTERNAL ? err_set(err, st, "a request cannot be encoded")
                                     : no_memory(err);
    }
    uint8_t *body = realloc(out.data, out.bytes ? out.bytes : 1);
    self->parts[self->n_parts++] = (struct part){.call = self,
                                                 .first = first,
                                                 .n = n,
                                                 .body = body ? body : out.data,
                                                 .body_bytes = (uint32_t)out.bytes};
    self->bytes += out.bytes;
    return out.bytes <= LIMIT_REQUEST_BYTES
               ? STATUS_OK
               : err_set(err, STATUS_INVALID_ARGUMENT, "the request has %zu bytes, at most %d fit",
                         out.bytes, LIMIT_REQUEST_BYTES);
}

/* Looks at every text before anything is made of them, and counts the requests they need. */
static enum status count_parts(const struct call_spec *spec, const struct cut *cut, uint32_t *parts,
                               int64_t *item, struct err *err) {
    struct texts_of of;
    uint32_t n_parts = 0;
    for (size_t first = 0; first < spec->n; n_parts++) {
        uint32_t n = take_texts(spec, first, cut, &of);
        for (uint32_t i = 0; i < n; i++)
            if (check_text(of.texts[i], err) != STATUS_OK ||
                check_text(of.seconds[i], err) != STATUS_OK) {
                *item = (int64_t)(first + i);
                return STATUS_INVALID_ARGUMENT;
            }
        first += n;
    }
    *parts = n_parts;
    return STATUS_OK;
}

/* Long company in many requests is far more than the caller's texts: 62,500 times a query of
 * 64 KiB. One request is always taken. */
static enum status check_bytes(const ember_call_t *self, const struct call_spec *spec,
                               uint64_t text_bytes, struct err *err) {
    if (!spec->spare_bytes || self->n_parts < 2 || self->bytes < text_bytes ||
        self->bytes - text_bytes <= spec->spare_bytes)
        return STATUS_OK;
    return err_set(err, STATUS_RESOURCE_EXHAUSTED,
                   "%u requests of the call, with what each repeats, hold %zu bytes for %llu of "
                   "texts: send fewer texts a call",
                   self->n_parts, self->bytes, (unsigned long long)text_bytes);
}

enum status call_new(const struct call_spec *spec, ember_call_t **out, int64_t *item,
                     struct err *err) {
    *item = -1;
    struct cut cut = cut_of(spec);
    uint32_t n_parts;
    enum status st = count_parts(spec, &cut, &n_parts, item, err);
    if (st != STATUS_OK)
        return st;
    ember_call_t *self = call_alloc(CALL_TASK, n_parts);
    if (!self)
        return no_memory(err);
    self->task = spec->task;
    self->alone = is_alone(spec);
    self->n_texts = (uint32_t)spec->n;
    self->top_k = spec->task == WIRE_TASK_RERANK ? spec->rerank.top_k : 0;
    self->result = result_new(spec->task, self->n_texts);
    st = self->result ? STATUS_OK : no_memory(err);
    struct texts_of texts;
    uint64_t text_bytes = 0;
    for (size_t first = 0; st == STATUS_OK && first < spec->n;) {
        uint32_t n = take_texts(spec, first, &cut, &texts);
        st = add_part(self, spec, (uint32_t)first, &texts, n, err);
        for (uint32_t i = 0; i < n; i++)
            text_bytes += texts.texts[i].bytes + texts.seconds[i].bytes;
        if (st == STATUS_OK)
            st = check_bytes(self, spec, text_bytes, err);
        first += n;
    }
    if (st != STATUS_OK) {
        call_unref(self);
        return st;
    }
    *out = self;
    return STATUS_OK;
}

enum status call_new_plain(enum call_kind kind, ember_call_t **out, struct err *err) {
    ember_call_t *self = call_alloc(kind, 1);
    if (!self)
        return no_memory(err);
    self->parts[0].call = self;
    self->n_parts = 1;
    *out = self;
    return STATUS_OK;
}

void call_ref(ember_call_t *self) {
    atomic_fetch_add_explicit(&self->refs, 1, memory_order_relaxed);
}

void call_unref(ember_call_t *self) {
    if (atomic_fetch_sub_explicit(&self->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < self->n_parts; i++)
        free(self->parts[i].body);
    free(self->parts);
    ember_result_destroy(&self->result);
    ember_report_destroy(&self->report);
    pthread_cond_destroy(&self->changed);
    pthread_mutex_destroy(&self->lock);
    if (self->client)
        client_unref(self->client);
    free(self);
}

/* ---- loop */

enum status call_reply(struct part *part, struct view body, struct arena *arena,
                       uint32_t *worker_us, struct err *err) {
    free(part->body);
    part->body = NULL;
    enum status st = result_add(part->call->result, part->first, part->n, body, arena, err);
    *worker_us = result_worker_us(part->call->result);
    return st;
}

void call_error(const struct part *part, enum status status, struct view body, struct arena *arena,
                struct ember_error *out) {
    struct wire_error told;
    if (codec_error_decode(body, arena, &told, NULL) != STATUS_OK)
        told = (struct wire_error){.message = view_of("(the broker gave no reason)")};
    error_set(out, status, -1, "%.*s", (int)told.message.bytes, told.message.data);
    if (told.item > 0 && told.item <= part->n)
        out->item = (int64_t)part->first + told.item - 1;
    out->retry_after_ms = told.retry_after_ms;
    out->may_have_run = told.may_have_run || part->item.sendings > part->item.refusals + 1;
}

static void count_sendings(const ember_call_t *self, uint32_t *resent) {
    *resent = 0;
    for (uint32_t i = 0; i < self->n_parts; i++)
        *resent += self->parts[i].item.sendings > 1;
}

void call_end(ember_call_t *self, const struct ember_error *error, uint64_t now_us) {
    CHECK(!self->ended);
    if (error->status != EMBER_OK) {
        ember_result_destroy(&self->result);
    } else if (self->result) {
        uint32_t resent;
        count_sendings(self, &resent);
        result_set_call(self->result, (uint32_t)(now_us - self->started_us), self->n_parts, resent);
        if (self->task == WIRE_TASK_RERANK)
            result_rank(self->result, self->top_k);
    }
    ember_result_t *result = NULL;
    if (self->done) { /* nobody else will take it */
        result = self->result;
        self->result = NULL;
    }
    pthread_mutex_lock(&self->lock);
    self->error = *error;
    self->ended = true;
    self->taken = self->done != NULL;
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->lock);
    if (self->done)
        self->done(self->arg, error->status, result, error->status == EMBER_OK ? NULL : error);
}
