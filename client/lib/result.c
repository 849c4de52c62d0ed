/* result.c - see result.h. A reply was checked by the codec for itself; here it is held against the
 * question: as many entries as texts, one width, one encoding, one model. Vectors of two models
 * cannot be compared, so a call whose parts were answered by different ones (a roll-out, a split
 * route) is refused, not mixed. */
#include "result.h"

#include <stdlib.h>
#include <string.h>

typedef char name_text[LIMIT_NAME_BYTES + 1];

struct scores_of {
    const struct ember_score *scores;
    uint32_t n;
};

struct ids_of {
    const uint32_t *ids;
    const char *const *pieces;
    uint32_t n, full;
};

/* A document as its reply ranked it. */
struct found {
    struct ember_rank rank;
    float logit; /* 0 when a reply of the call tells none: then none counts */
    uint32_t at; /* place in the order of replies */
    bool there;
};

struct ember_result {
    enum wire_task task;
    uint32_t n;
    name_text model, fingerprint;
    struct ember_times times;
    uint32_t last_worker_us;
    uint32_t *tokens;   /* [n] */
    uint8_t *truncated; /* [n] */
    uint8_t *source;    /* [n] */
    uint32_t *worker;   /* [n] index into workers */
    name_text *workers; /* [n_workers] */
    uint32_t n_workers;
    uint32_t dim; /* embed */
    enum wire_encoding encoding;
    size_t row_bytes;
    uint8_t *rows;            /* [n, row_bytes] */
    struct scores_of *scores; /* [n] classify */
    struct found *found;      /* [n] rerank: what each reply ranks, from its first document on */
    struct ember_rank *ranks; /* [n_ranks] all of that in order */
    uint32_t n_ranks;
    bool no_logits; /* a reply told none */
    char *label_text;
    const char **labels; /* [n_labels] */
    uint32_t n_labels;
    struct ids_of *ids; /* [n] tokenize */
    void **blocks;      /* [n_blocks] what scores and ids point into */
    uint32_t n_blocks;
    bool any; /* a reply is in */
};

ember_result_t *result_new(enum wire_task task, uint32_t n) {
    ember_result_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->task = task;
    self->n = n;
    self->tokens = calloc(n, sizeof *self->tokens);
    self->truncated = calloc(n, 1);
    self->source = calloc(n, 1);
    self->worker = calloc(n, sizeof *self->worker);
    bool ok = self->tokens && self->truncated && self->source && self->worker;
    if (task == WIRE_TASK_CLASSIFY)
        ok = ok && (self->scores = calloc(n, sizeof *self->scores));
    if (task == WIRE_TASK_RERANK)
        ok = ok && (self->found = calloc(n, sizeof *self->found)) &&
             (self->ranks = calloc(n, sizeof *self->ranks));
    if (task == WIRE_TASK_TOKENIZE)
        ok = ok && (self->ids = calloc(n, sizeof *self->ids));
    if (!ok)
        ember_result_destroy(&self);
    return self;
}

void ember_result_destroy(ember_result_t **self) {
    ember_result_t *r = *self;
    *self = NULL;
    if (!r)
        return;
    for (uint32_t i = 0; i < r->n_blocks; i++)
        free(r->blocks[i]);
    free(r->blocks);
    free(r->ids);
    free(r->scores);
    free(r->found);
    free(r->ranks);
    free(r->labels);
    free(r->label_text);
    free(r->rows);
    free(r->workers);
    free(r->worker);
    free(r->source);
    free(r->truncated);
    free(r->tokens);
    free(r);
}

/* ---- putting together */

static enum status no_memory(struct err *err) {
    return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for the result");
}

static enum status misfit(struct err *err, const char *what) {
    return err_set(err, STATUS_INTERNAL, "the service's reply does not fit the request: %s", what);
}

static enum status check_reply(enum status decoded, uint32_t got, uint32_t want, struct err *err) {
    if (decoded != STATUS_OK)
        return err_prefix(err, STATUS_INTERNAL, "the service's reply cannot be read");
    return got == want ? STATUS_OK : misfit(err, "number of texts");
}

static void copy_name(name_text out, struct view text) {
    size_t n = text.bytes < LIMIT_NAME_BYTES ? text.bytes : LIMIT_NAME_BYTES;
    if (n)
        memcpy(out, text.data, n);
    out[n] = '\0';
}

/* A block that lives as long as the result; NULL without memory. */
static void *new_block(ember_result_t *self, size_t bytes) {
    void **blocks = realloc(self->blocks, (self->n_blocks + 1) * sizeof *blocks);
    if (!blocks)
        return NULL;
    self->blocks = blocks;
    void *block = malloc(bytes ? bytes : 1);
    if (block)
        self->blocks[self->n_blocks++] = block;
    return block;
}

static bool find_worker(ember_result_t *self, struct view name, uint32_t *out) {
    name_text text;
    copy_name(text, name);
    for (uint32_t i = self->n_workers; i-- > 0;)
        if (strcmp(self->workers[i], text) == 0) {
            *out = i;
            return true;
        }
    name_text *workers = realloc(self->workers, (self->n_workers + 1) * sizeof *workers);
    if (!workers)
        return false;
    self->workers = workers;
    memcpy(workers[self->n_workers], text, sizeof text);
    *out = self->n_workers++;
    return true;
}

static uint32_t larger(uint32_t a, uint32_t b) {
    return a > b ? a : b;
}

static void add_times(struct ember_times *to, const struct wire_times *from) {
    to->cache_us = larger(to->cache_us, from->cache_us);
    to->queue_us = larger(to->queue_us, from->queue_us);
    to->tokenize_us = larger(to->tokenize_us, from->tokenize_us);
    to->infer_us = larger(to->infer_us, from->infer_us);
    to->worker_us = larger(to->worker_us, from->total_us);
}

static enum status add_facts(ember_result_t *self, uint32_t first, uint32_t n,
                             const struct wire_facts *facts, struct err *err) {
    name_text model, fingerprint;
    copy_name(model, facts->model);
    copy_name(fingerprint, facts->fingerprint);
    if (self->any && (strcmp(fingerprint, self->fingerprint) != 0 || strcmp(model, self->model)))
        return err_set(err, STATUS_ABORTED, "the model changed during the call: '%s' and '%s'",
                       self->model, model);
    uint32_t worker;
    if (!find_worker(self, facts->worker, &worker))
        return no_memory(err);
    memcpy(self->model, model, sizeof model);
    memcpy(self->fingerprint, fingerprint, sizeof fingerprint);
    memcpy(self->tokens + first, facts->tokens, n * sizeof *facts->tokens);
    memcpy(self->truncated + first, facts->truncated, n);
    memcpy(self->source + first, facts->source, n);
    for (uint32_t i = first; i < first + n; i++)
        self->worker[i] = worker;
    add_times(&self->times, &facts->times);
    self->last_worker_us = facts->times.total_us;
    self->any = true;
    return STATUS_OK;
}

static enum status add_embed(ember_result_t *self, uint32_t first, uint32_t n, struct view body,
                             struct arena *arena, struct err *err) {
    struct wire_embed_reply reply = {0};
    enum status st = codec_embed_reply_decode(body, arena, &reply, err);
    st = check_reply(st, reply.facts.n, n, err);
    if (st != STATUS_OK)
        return st;
    if (!self->rows) {
        self->row_bytes = reply.vectors.bytes / n;
        self->dim = reply.dim;
        self->encoding = reply.encoding;
        self->rows = malloc(self->row_bytes * self->n);
        if (!self->rows)
            return no_memory(err);
    }
    if (reply.dim != self->dim || reply.encoding != self->encoding ||
        reply.vectors.bytes != self->row_bytes * n)
        return misfit(err, "width of the vectors");
    memcpy(self->rows + self->row_bytes * first, reply.vectors.data, reply.vectors.bytes);
    return add_facts(self, first, n, &reply.facts, err);
}

static enum status keep_labels(ember_result_t *self, const struct wire_classify_reply *reply,
                               struct err *err) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < reply->n_labels; i++)
        bytes += reply->labels[i].bytes + 1;
    self->label_text = malloc(bytes ? bytes : 1);
    self->labels = calloc(reply->n_labels ? reply->n_labels : 1, sizeof *self->labels);
    if (!self->label_text || !self->labels)
        return no_memory(err);
    char *at = self->label_text;
    for (uint32_t i = 0; i < reply->n_labels; i++) {
        struct view label = reply->labels[i];
        if (label.bytes)
            memcpy(at, label.data, label.bytes);
        self->labels[i] = at;
        at[label.bytes] = '\0';
        at += label.bytes + 1;
    }
    self->n_labels = reply->n_labels;
    return STATUS_OK;
}

static enum status add_classify(ember_result_t *self, uint32_t first, uint32_t n, struct view body,
                                struct arena *arena, struct err *err) {
    struct wire_classify_reply reply = {0};
    enum status st = codec_classify_reply_decode(body, arena, &reply, err);
    st = check_reply(st, reply.facts.n, n, err);
    if (st != STATUS_OK)
        return st;
    if (reply.n_results != n || (self->labels && reply.n_labels != self->n_labels))
        return misfit(err, "number of results or labels");
    if (!self->labels && (st = keep_labels(self, &reply, err)) != STATUS_OK)
        return st;
    size_t total = 0;
    for (uint32_t i = 0; i < n; i++)
        total += reply.results[i].n;
    struct ember_score *at = new_block(self, total * sizeof *at);
    if (!at)
        return no_memory(err);
    for (uint32_t i = 0; i < n; i++) {
        const struct wire_scores *from = &reply.results[i];
        self->scores[first + i] = (struct scores_of){at, from->n};
        for (uint32_t k = 0; k < from->n; k++)
            *at++ = (struct ember_score){from->label[k], from->score[k]};
    }
    return add_facts(self, first, n, &reply.facts, err);
}

static enum status add_rerank(ember_result_t *self, uint32_t first, uint32_t n, struct view body,
                              struct arena *arena, struct err *err) {
    struct wire_rerank_reply reply = {0};
    enum status st = codec_rerank_reply_decode(body, arena, &reply, err);
    st = check_reply(st, reply.facts.n, n, err);
    if (st != STATUS_OK)
        return st;
    for (uint32_t k = 0; k < reply.n; k++)
        self->found[first + k] = (struct found){.rank = {first + reply.index[k], reply.score[k]},
                                                .logit = reply.logit ? reply.logit[k] : 0,
                                                .at = first + k,
                                                .there = true};
    self->no_logits |= !reply.logit;
    return add_facts(self, first, n, &reply.facts, err);
}

/* Best first; among equals the logits, which still differ where scores are all 1, then a reply's
 * own order. */
static int compare_found(const void *a, const void *b) {
    const struct found *x = a, *y = b;
    if (x->there != y->there)
        return x->there ? -1 : 1;
    if (x->rank.score > y->rank.score || x->rank.score < y->rank.score)
        return x->rank.score > y->rank.score ? -1 : 1;
    if (x->logit > y->logit || x->logit < y->logit)
        return x->logit > y->logit ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

void result_rank(ember_result_t *self, uint32_t top_k) {
    uint32_t most = top_k && top_k < self->n ? top_k : self->n;
    for (uint32_t i = 0; self->no_logits && i < self->n; i++)
        self->found[i].logit = 0;
    qsort(self->found, self->n, sizeof *self->found, compare_found);
    while (self->n_ranks < most && self->found[self->n_ranks].there) {
        self->ranks[self->n_ranks] = self->found[self->n_ranks].rank;
        self->n_ranks++;
    }
    free(self->found);
    self->found = NULL;
}

static size_t tokens_bytes(const struct wire_tokens *from) {
    size_t bytes = from->n_ids * sizeof *from->ids;
    for (uint32_t k = 0; from->pieces && k < from->n_ids; k++)
        bytes += sizeof(char *) + from->pieces[k].bytes + 1;
    return bytes + 2 * sizeof(char *); /* room to align */
}

/* Lays one text's tokens out at `at`: pointers first, then ids, then the pieces' bytes. */
static char *keep_tokens(struct ids_of *out, const struct wire_tokens *from, char *at) {
    at += -(uintptr_t)at & (sizeof(char *) - 1);
    const char **pieces = (const char **)(void *)at;
    at += from->pieces ? from->n_ids * sizeof *pieces : 0;
    *out = (struct ids_of){(const uint32_t *)(const void *)at, from->pieces ? pieces : NULL,
                           from->n_ids, from->full};
    if (from->n_ids)
        memcpy(at, from->ids, from->n_ids * sizeof *from->ids);
    at += from->n_ids * sizeof *from->ids;
    for (uint32_t k = 0; from->pieces && k < from->n_ids; k++) {
        if (from->pieces[k].bytes)
            memcpy(at, from->pieces[k].data, from->pieces[k].bytes);
        pieces[k] = at;
        at += from->pieces[k].bytes;
        *at++ = '\0';
    }
    return at;
}

static enum status add_tokenize(ember_result_t *self, uint32_t first, uint32_t n, struct view body,
                                struct arena *arena, struct err *err) {
    struct wire_tokenize_reply reply = {0};
    enum status st = codec_tokenize_reply_decode(body, arena, &reply, err);
    st = check_reply(st, reply.facts.n, n, err);
    if (st != STATUS_OK)
        return st;
    if (reply.n_results != n)
        return misfit(err, "number of texts");
    size_t bytes = 0;
    for (uint32_t i = 0; i < n; i++)
        bytes += tokens_bytes(&reply.results[i]);
    char *at = new_block(self, bytes);
    if (!at)
        return no_memory(err);
    for (uint32_t i = 0; i < n; i++)
        at = keep_tokens(&self->ids[first + i], &reply.results[i], at);
    return add_facts(self, first, n, &reply.facts, err);
}

enum status result_add(ember_result_t *self, uint32_t first, uint32_t n, struct view body,
                       struct arena *arena, struct err *err) {
    switch (self->task) {
    case WIRE_TASK_EMBED:
        return add_embed(self, first, n, body, arena, err);
    case WIRE_TASK_CLASSIFY:
        return add_classify(self, first, n, body, arena, err);
    case WIRE_TASK_RERANK:
        return add_rerank(self, first, n, body, arena, err);
    case WIRE_TASK_TOKENIZE:
        return add_tokenize(self, first, n, body, arena, err);
    default:
        return err_set(err, STATUS_INTERNAL, "no result of this task");
    }
}

uint32_t result_worker_us(const ember_result_t *self) {
    return self->last_worker_us;
}

void result_set_call(ember_result_t *self, uint32_t call_us, uint32_t requests, uint32_t resent) {
    self->times.call_us = call_us;
    self->times.requests = requests;
    self->times.resent = resent;
}

/* ---- reading */

size_t ember_result_count(const ember_result_t *self) {
    return self->n;
}

uint32_t ember_result_dim(const ember_result_t *self) {
    return self->dim;
}

enum ember_encoding ember_result_encoding(const ember_result_t *self) {
    return (enum ember_encoding)self->encoding;
}

size_t ember_result_row_bytes(const ember_result_t *self) {
    return self->row_bytes;
}

const void *ember_result_row(const ember_result_t *self, size_t i) {
    return self->rows && i < self->n ? self->rows + self->row_bytes * i : NULL;
}

const float *ember_result_floats(const ember_result_t *self, size_t i) {
    return self->encoding == WIRE_ENCODING_F32 ? ember_result_row(self, i) : NULL;
}

size_t ember_result_scores(const ember_result_t *self, size_t i,
                           const struct ember_score **scores) {
    bool there = self->scores && i < self->n;
    *scores = there ? self->scores[i].scores : NULL;
    return there ? self->scores[i].n : 0;
}

size_t ember_result_labels(const ember_result_t *self) {
    return self->n_labels;
}

const char *ember_result_label(const ember_result_t *self, size_t label) {
    return label < self->n_labels ? self->labels[label] : "";
}

size_t ember_result_ranks(const ember_result_t *self, const struct ember_rank **ranks) {
    *ranks = self->n_ranks ? self->ranks : NULL;
    return self->n_ranks;
}

size_t ember_result_ids(const ember_result_t *self, size_t i, const uint32_t **ids) {
    bool there = self->ids && i < self->n;
    *ids = there ? self->ids[i].ids : NULL;
    return there ? self->ids[i].n : 0;
}

const char *ember_result_piece(const ember_result_t *self, size_t i, size_t k) {
    bool there = self->ids && i < self->n && self->ids[i].pieces && k < self->ids[i].n;
    return there ? self->ids[i].pieces[k] : "";
}

uint32_t ember_result_full(const ember_result_t *self, size_t i) {
    return self->ids && i < self->n ? self->ids[i].full : 0;
}

uint32_t ember_result_tokens(const ember_result_t *self, size_t i) {
    return i < self->n ? self->tokens[i] : 0;
}

int ember_result_truncated(const ember_result_t *self, size_t i) {
    return i < self->n ? self->truncated[i] : 0;
}

enum ember_source ember_result_source(const ember_result_t *self, size_t i) {
    return i < self->n ? (enum ember_source)self->source[i] : EMBER_SOURCE_MODEL;
}

const char *ember_source_name(enum ember_source source) {
    return wire_source_name((enum wire_source)source);
}

const char *ember_result_model(const ember_result_t *self) {
    return self->model;
}

const char *ember_result_fingerprint(const ember_result_t *self) {
    return self->fingerprint;
}

const char *ember_result_worker(const ember_result_t *self, size_t i) {
    return i < self->n ? self->workers[self->worker[i]] : "";
}

void ember_result_times(const ember_result_t *self, struct ember_times *out) {
    *out = self->times;
}
