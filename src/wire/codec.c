/* codec.c - bodies of the tasks; those that give scores are in codec_score.c. Each decode: count,
 * unpack into the arena, check every field, fill the struct. Each encode: point a protobuf
 * message at the struct's own arrays and pack it. */
#include "wire/codec.h"

#include "wire/codec_pb.h"

#include <stdio.h>
#include <stdlib.h>

const char *wire_task_name(enum wire_task task) {
    static const char *const names[] = {"none", "embed", "classify", "rerank", "tokenize"};
    return (unsigned)task < WIRE_TASKS ? names[task] : "unknown";
}

const char *wire_source_name(enum wire_source source) {
    static const char *const names[] = {"model", "shared", "memory", "redis"};
    return (unsigned)source < 4 ? names[source] : "unknown";
}

const char *wire_head_name(enum wire_head head) {
    static const char *const names[] = {"none", "labels", "nli", "score"};
    return (unsigned)head < WIRE_HEADS ? names[head] : "unknown";
}

size_t wire_row_bytes(enum wire_encoding encoding, uint32_t dim) {
    switch (encoding) {
    case WIRE_ENCODING_F16:
        return (size_t)dim * 2;
    case WIRE_ENCODING_I8:
        return (size_t)dim + 4;
    case WIRE_ENCODING_BIT:
        return ((size_t)dim + 7) / 8;
    case WIRE_ENCODING_F32:
        break;
    }
    return (size_t)dim * 4;
}

/* ---------------------------------------------------------------- shared parts */

enum status pb_decode_texts(const ProtobufCBinaryData *data, size_t n, const char *what,
                            struct arena *arena, const struct view **out, uint32_t *item,
                            struct err *err) {
    if (n == 0)
        return err_set(err, STATUS_INVALID_ARGUMENT, "no %s", what);
    struct view *views = pb_array(arena, struct view, n, err);
    if (!views)
        return STATUS_INVALID_ARGUMENT;
    for (size_t i = 0; i < n; i++) {
        views[i] = pb_view(data[i]);
        char name[64];
        snprintf(name, sizeof name, "%.16s %zu", what, i);
        enum status st = pb_check_text(views[i], LIMIT_TEXT_BYTES, name, err);
        if (st != STATUS_OK) {
            *item = (uint32_t)i + 1;
            return st;
        }
    }
    *out = views;
    return STATUS_OK;
}

enum status pb_check_traceparent(struct view trace, struct err *err) {
    bool ok = trace.bytes <= LIMIT_TRACEPARENT_BYTES;
    for (size_t i = 0; ok && i < trace.bytes; i++)
        ok = trace.data[i] > 0x20 && trace.data[i] < 0x7f;
    return ok ? STATUS_OK
              : err_set(err, STATUS_INVALID_ARGUMENT, "traceparent is not a W3C trace context");
}

bool pb_point_at(ProtobufCBinaryData *to, const struct view *views, uint32_t n, uint32_t room) {
    if (n > room)
        return false;
    for (uint32_t i = 0; i < n; i++)
        to[i] = pb_data(views[i]);
    return true;
}

bool pb_fill_facts(struct pb_facts *room, const struct wire_facts *in) {
    if (in->n > LIMIT_REQUEST_TEXTS)
        return false;
    ember__times__init(&room->times);
    ember__facts__init(&room->facts);
    room->times.cache_us = in->times.cache_us;
    room->times.queue_us = in->times.queue_us;
    room->times.tokenize_us = in->times.tokenize_us;
    room->times.infer_us = in->times.infer_us;
    room->times.total_us = in->times.total_us;
    for (uint32_t i = 0; i < in->n; i++) {
        room->truncated[i] = in->truncated[i] != 0;
        room->source[i] = (Ember__Source)in->source[i];
    }
    room->facts.n_tokens = room->facts.n_truncated = room->facts.n_source = in->n;
    room->facts.tokens = (uint32_t *)(uintptr_t)in->tokens;
    room->facts.truncated = room->truncated;
    room->facts.source = room->source;
    room->facts.model = pb_data(in->model);
    room->facts.fingerprint = pb_data(in->fingerprint);
    room->facts.worker = pb_data(in->worker);
    room->facts.times = &room->times;
    return true;
}

enum status pb_decode_facts(const Ember__Facts *in, struct arena *arena, struct wire_facts *out,
                            struct err *err) {
    if (!in || in->n_tokens != in->n_truncated || in->n_tokens != in->n_source ||
        in->n_tokens > LIMIT_REQUEST_TEXTS)
        return err_set(err, STATUS_INVALID_ARGUMENT, "the reply's facts do not fit its texts");
    *out = (struct wire_facts){.n = (uint32_t)in->n_tokens,
                               .tokens = in->tokens,
                               .model = pb_view(in->model),
                               .fingerprint = pb_view(in->fingerprint),
                               .worker = pb_view(in->worker)};
    uint8_t *flags = pb_array(arena, uint8_t, 2 * in->n_tokens + 1, err);
    if (!flags)
        return STATUS_INVALID_ARGUMENT;
    for (size_t i = 0; i < in->n_tokens; i++) {
        flags[i] = in->truncated[i] != 0;
        unsigned source = (unsigned)in->source[i];
        flags[in->n_tokens + i] = source <= WIRE_SOURCE_REDIS ? (uint8_t)source : WIRE_SOURCE_MODEL;
    }
    out->truncated = flags;
    out->source = flags + in->n_tokens;
    enum status st = pb_check_text(out->model, 255, "model", err);
    if (st == STATUS_OK)
        st = pb_check_text(out->fingerprint, 255, "fingerprint", err);
    if (st == STATUS_OK)
        st = pb_check_text(out->worker, 255, "worker", err);
    if (st == STATUS_OK && in->times)
        out->times =
            (struct wire_times){in->times->cache_us, in->times->queue_us, in->times->tokenize_us,
                                in->times->infer_us, in->times->total_us};
    return st;
}

/* ---------------------------------------------------------------- Error */

enum status codec_error_encode(const struct wire_error *in, struct wire_out *out) {
    Ember__Error m = EMBER__ERROR__INIT;
    m.message = pb_data(in->message);
    m.item = in->item;
    m.retry_after_ms = in->retry_after_ms;
    m.may_have_run = in->may_have_run;
    return pb_pack(&m, out);
}

enum status codec_error_decode(struct view body, struct arena *arena, struct wire_error *out,
                               struct err *err) {
    Ember__Error *m;
    enum status st = pb_unpack(&ember__error__descriptor, body, NULL, 0, arena, (void **)&m, err);
    if (st == STATUS_OK)
        st = pb_check_text(pb_view(m->message), 4096, "message", err);
    if (st == STATUS_OK)
        *out = (struct wire_error){pb_view(m->message), m->item, m->retry_after_ms,
                                   m->may_have_run != 0};
    return st;
}

/* ---------------------------------------------------------------- Embed */

enum status codec_embed_request_encode(const struct wire_embed_request *in, struct wire_out *out) {
    Ember__EmbedRequest m = EMBER__EMBED_REQUEST__INIT;
    ProtobufCBinaryData texts[LIMIT_REQUEST_TEXTS];
    if (!pb_point_at(texts, in->texts, in->n_texts, LIMIT_REQUEST_TEXTS))
        return STATUS_INTERNAL;
    m.n_texts = in->n_texts;
    m.texts = texts;
    m.normalize = (Ember__Normalize)in->normalize;
    m.dimensions = in->dimensions;
    m.encoding = (Ember__Encoding)in->encoding;
    m.prompt_name = pb_data(in->prompt_name);
    m.prompt_prefix = pb_data(in->prompt_prefix);
    m.truncate = (Ember__Truncate)in->truncate;
    m.cache = (Ember__CacheUse)in->cache;
    m.max_tokens = in->max_tokens;
    m.traceparent = pb_data(in->traceparent);
    return pb_pack(&m, out);
}

static enum status check_embed(const Ember__EmbedRequest *m, struct err *err) {
    enum status st = pb_check_enum((int)m->normalize, 3, "normalize", err);
    if (st == STATUS_OK)
        st = pb_check_enum((int)m->encoding, 4, "encoding", err);
    if (st == STATUS_OK)
        st = pb_check_enum((int)m->truncate, 3, "truncate", err);
    if (st == STATUS_OK)
        st = pb_check_enum((int)m->cache, 3, "cache", err);
    if (st == STATUS_OK && m->dimensions > LIMIT_DIM)
        st = err_set(err, STATUS_INVALID_ARGUMENT, "dimensions %u, at most %d are possible",
                     m->dimensions, LIMIT_DIM);
    if (st == STATUS_OK && m->max_tokens == 1)
        st = err_set(err, STATUS_INVALID_ARGUMENT, "max_tokens must be at least 2");
    if (st == STATUS_OK && m->prompt_name.len && m->prompt_prefix.len)
        st = err_set(err, STATUS_INVALID_ARGUMENT,
                     "prompt_name and prompt_prefix exclude each other");
    if (st == STATUS_OK)
        st = pb_check_name(pb_view(m->prompt_name), true, "prompt_name", err);
    if (st == STATUS_OK)
        st = pb_check_text(pb_view(m->prompt_prefix), LIMIT_TEXT_BYTES, "prompt_prefix", err);
    return st == STATUS_OK ? pb_check_traceparent(pb_view(m->traceparent), err) : st;
}

enum status codec_embed_request_decode(struct view body, struct arena *arena,
                                       struct wire_embed_request *out, uint32_t *item,
                                       struct err *err) {
    static const struct pb_count counts[] = {{1, LIMIT_REQUEST_TEXTS, "texts"}};
    *item = 0;
    Ember__EmbedRequest *m;
    enum status st =
        pb_unpack(&ember__embed_request__descriptor, body, counts, 1, arena, (void **)&m, err);
    const struct view *texts = NULL;
    if (st == STATUS_OK)
        st = check_embed(m, err);
    if (st == STATUS_OK)
        st = pb_decode_texts(m->texts, m->n_texts, "texts", arena, &texts, item, err);
    if (st != STATUS_OK)
        return st;
    *out = (struct wire_embed_request){
        .texts = texts,
        .n_texts = (uint32_t)m->n_texts,
        .normalize = (enum wire_normalize)m->normalize,
        .dimensions = m->dimensions,
        .encoding = (enum wire_encoding)m->encoding,
        .prompt_name = pb_view(m->prompt_name),
        .prompt_prefix = pb_view(m->prompt_prefix),
        .truncate = (enum wire_truncate)m->truncate,
        .cache = (enum wire_cache)m->cache,
        .max_tokens = m->max_tokens,
        .traceparent = pb_view(m->traceparent),
    };
    return STATUS_OK;
}

enum status codec_embed_reply_encode(const struct wire_embed_reply *in, struct wire_out *out) {
    Ember__EmbedReply m = EMBER__EMBED_REPLY__INIT;
    struct pb_facts facts;
    if (!pb_fill_facts(&facts, &in->facts))
        return STATUS_INTERNAL;
    m.dim = in->dim;
    m.encoding = (Ember__Encoding)in->encoding;
    m.vectors = pb_data(in->vectors);
    m.facts = &facts.facts;
    return pb_pack(&m, out);
}

enum status codec_embed_reply_decode(struct view body, struct arena *arena,
                                     struct wire_embed_reply *out, struct err *err) {
    Ember__EmbedReply *m;
    enum status st =
        pb_unpack(&ember__embed_reply__descriptor, body, NULL, 0, arena, (void **)&m, err);
    struct wire_facts facts;
    if (st == STATUS_OK)
        st = pb_check_enum((int)m->encoding, 4, "encoding", err);
    if (st == STATUS_OK)
        st = pb_decode_facts(m->facts, arena, &facts, err);
    if (st != STATUS_OK)
        return st;
    if (m->dim == 0 || m->dim > LIMIT_DIM ||
        m->vectors.len != facts.n * wire_row_bytes((enum wire_encoding)m->encoding, m->dim))
        return err_set(err, STATUS_INVALID_ARGUMENT, "the reply's vectors do not fit its texts");
    *out = (struct wire_embed_reply){m->dim, (enum wire_encoding)m->encoding, pb_view(m->vectors),
                                     facts};
    return STATUS_OK;
}

/* ---------------------------------------------------------------- Tokenize */

enum status codec_tokenize_request_encode(const struct wire_tokenize_request *in,
                                          struct wire_out *out) {
    Ember__TokenizeRequest m = EMBER__TOKENIZE_REQUEST__INIT;
    ProtobufCBinaryData texts[LIMIT_REQUEST_TEXTS];
    if (!pb_point_at(texts, in->texts, in->n_texts, LIMIT_REQUEST_TEXTS))
        return STATUS_INTERNAL;
    m.n_texts = in->n_texts;
    m.texts = texts;
    m.truncate = (Ember__Truncate)in->truncate;
    m.pieces = in->pieces;
    m.traceparent = pb_data(in->traceparent);
    return pb_pack(&m, out);
}

enum status codec_tokenize_request_decode(struct view body, struct arena *arena,
                                          struct wire_tokenize_request *out, uint32_t *item,
                                          struct err *err) {
    static const struct pb_count counts[] = {{1, LIMIT_REQUEST_TEXTS, "texts"}};
    *item = 0;
    Ember__TokenizeRequest *m;
    enum status st =
        pb_unpack(&ember__tokenize_request__descriptor, body, counts, 1, arena, (void **)&m, err);
    const struct view *texts = NULL;
    if (st == STATUS_OK)
        st = pb_check_enum((int)m->truncate, 3, "truncate", err);
    if (st == STATUS_OK)
        st = pb_check_traceparent(pb_view(m->traceparent), err);
    if (st == STATUS_OK)
        st = pb_decode_texts(m->texts, m->n_texts, "texts", arena, &texts, item, err);
    if (st == STATUS_OK)
        *out = (struct wire_tokenize_request){texts, (uint32_t)m->n_texts,
                                              (enum wire_truncate)m->truncate, m->pieces != 0,
                                              pb_view(m->traceparent)};
    return st;
}

/* Pieces of all results in one allocation: Tokenize is for people who look, not a hot path. */
static ProtobufCBinaryData *all_pieces(const struct wire_tokenize_reply *in) {
    size_t n = 1;
    for (uint32_t i = 0; i < in->n_results; i++)
        n += in->results[i].pieces ? in->results[i].n_ids : 0;
    ProtobufCBinaryData *data = malloc(n * sizeof *data), *at = data;
    for (uint32_t i = 0; data && i < in->n_results; i++)
        for (uint32_t k = 0; in->results[i].pieces && k < in->results[i].n_ids; k++)
            *at++ = pb_data(in->results[i].pieces[k]);
    return data;
}

enum status codec_tokenize_reply_encode(const struct wire_tokenize_reply *in,
                                        struct wire_out *out) {
    Ember__TokenizeReply m = EMBER__TOKENIZE_REPLY__INIT;
    Ember__Tokens tokens[LIMIT_REQUEST_TEXTS], *list[LIMIT_REQUEST_TEXTS];
    struct pb_facts facts;
    if (in->n_results > LIMIT_REQUEST_TEXTS || !pb_fill_facts(&facts, &in->facts))
        return STATUS_INTERNAL;
    ProtobufCBinaryData *pieces = all_pieces(in), *at = pieces;
    if (!pieces)
        return STATUS_RESOURCE_EXHAUSTED;
    for (uint32_t i = 0; i < in->n_results; i++) {
        const struct wire_tokens *result = &in->results[i];
        ember__tokens__init(&tokens[i]);
        tokens[i].n_ids = result->n_ids;
        tokens[i].ids = (uint32_t *)(uintptr_t)result->ids;
        tokens[i].n_pieces = result->pieces ? result->n_ids : 0;
        tokens[i].pieces = at;
        at += tokens[i].n_pieces;
        tokens[i].full = result->full;
        list[i] = &tokens[i];
    }
    m.n_results = in->n_results;
    m.results = list;
    m.facts = &facts.facts;
    enum status st = pb_pack(&m, out);
    free(pieces);
    return st;
}

static enum status decode_tokens(const Ember__Tokens *in, struct arena *arena,
                                 struct wire_tokens *out, struct err *err) {
    *out = (struct wire_tokens){in->ids, (uint32_t)in->n_ids, NULL, in->full};
    if (in->n_ids > LIMIT_TOKENS || (in->n_pieces && in->n_pieces != in->n_ids))
        return err_set(err, STATUS_INVALID_ARGUMENT, "the reply's pieces do not fit its ids");
    if (in->n_pieces == 0)
        return STATUS_OK;
    struct view *pieces = pb_array(arena, struct view, in->n_pieces, err);
    if (!pieces)
        return STATUS_INVALID_ARGUMENT;
    for (size_t i = 0; i < in->n_pieces; i++)
        pieces[i] = pb_view(in->pieces[i]);
    out->pieces = pieces;
    return STATUS_OK;
}

enum status codec_tokenize_reply_decode(struct view body, struct arena *arena,
                                        struct wire_tokenize_reply *out, struct err *err) {
    static const struct pb_count counts[] = {{1, LIMIT_REQUEST_TEXTS, "results"}};
    Ember__TokenizeReply *m;
    enum status st =
        pb_unpack(&ember__tokenize_reply__descriptor, body, counts, 1, arena, (void **)&m, err);
    struct wire_facts facts;
    struct wire_tokens *results = NULL;
    if (st == STATUS_OK)
        st = pb_decode_facts(m->facts, arena, &facts, err);
    if (st == STATUS_OK && facts.n != m->n_results)
        st = err_set(err, STATUS_INVALID_ARGUMENT, "the reply's facts do not fit its results");
    if (st == STATUS_OK && !(results = pb_array(arena, struct wire_tokens, m->n_results, err)))
        st = STATUS_INVALID_ARGUMENT;
    for (size_t i = 0; st == STATUS_OK && i < m->n_results; i++)
        st = decode_tokens(m->results[i], arena, &results[i], err);
    if (st == STATUS_OK)
        *out = (struct wire_tokenize_reply){results, (uint32_t)m->n_results, facts};
    return st;
}
