/* codec_score.c - bodies of the tasks that give scores: Classify and Rerank. */
#include "wire/codec_pb.h"

#include <math.h>
#include <stdio.h>

/* ---------------------------------------------------------------- Classify */

enum status codec_classify_request_encode(const struct wire_classify_request *in,
                                          struct wire_out *out) {
    Ember__ClassifyRequest m = EMBER__CLASSIFY_REQUEST__INIT;
    ProtobufCBinaryData texts[LIMIT_REQUEST_TEXTS], seconds[LIMIT_REQUEST_TEXTS];
    ProtobufCBinaryData labels[LIMIT_REQUEST_LABELS];
    if (!pb_point_at(texts, in->texts, in->n_texts, LIMIT_REQUEST_TEXTS) ||
        !pb_point_at(labels, in->labels, in->n_labels, LIMIT_REQUEST_LABELS))
        return STATUS_INTERNAL;
    m.n_texts = in->n_texts;
    m.texts = texts;
    if (in->seconds) {
        pb_point_at(seconds, in->seconds, in->n_texts, LIMIT_REQUEST_TEXTS);
        m.n_seconds = in->n_texts;
        m.seconds = seconds;
    }
    m.n_labels = in->n_labels;
    m.labels = labels;
    m.hypothesis_template = pb_data(in->hypothesis_template);
    m.multi_label = in->multi_label;
    m.top_k = in->top_k;
    m.truncate = (Ember__Truncate)in->truncate;
    m.cache = (Ember__CacheUse)in->cache;
    m.traceparent = pb_data(in->traceparent);
    m.max_tokens = in->max_tokens;
    return pb_pack(&m, out);
}

static enum status check_template(struct view text, struct err *err) {
    if (text.bytes == 0)
        return STATUS_OK;
    enum status st = pb_check_text(text, LIMIT_TEMPLATE_BYTES, "hypothesis_template", err);
    unsigned n = 0;
    for (size_t i = 0; i + 1 < text.bytes; i++)
        n += text.data[i] == '{' && text.data[i + 1] == '}';
    if (st == STATUS_OK && n != 1)
        st = err_set(err, STATUS_INVALID_ARGUMENT,
                     "hypothesis_template must hold {} once, it has %u", n);
    return st;
}

/* What a request says about labels: short, not empty, no two alike. */
static enum status decode_labels(const ProtobufCBinaryData *data, size_t n, struct arena *arena,
                                 const struct view **out, struct err *err) {
    struct view *views = pb_array(arena, struct view, n, err);
    if (!views)
        return STATUS_INVALID_ARGUMENT;
    for (size_t i = 0; i < n; i++) {
        views[i] = pb_view(data[i]);
        char name[64];
        snprintf(name, sizeof name, "label %zu", i);
        enum status st = pb_check_text(views[i], LIMIT_LABEL_BYTES, name, err);
        if (st == STATUS_OK && views[i].bytes == 0)
            st = err_set(err, STATUS_INVALID_ARGUMENT, "%s is empty", name);
        for (size_t k = 0; k < i && st == STATUS_OK; k++)
            if (view_equal(views[i], views[k]))
                st = err_set(err, STATUS_INVALID_ARGUMENT, "labels %zu and %zu are the same", k, i);
        if (st != STATUS_OK)
            return st;
    }
    *out = views;
    return STATUS_OK;
}

static enum status check_max_tokens(uint32_t max_tokens, struct err *err) {
    return max_tokens == 1 ? err_set(err, STATUS_INVALID_ARGUMENT, "max_tokens must be at least 2")
                           : STATUS_OK;
}

/* Labels, or pairs, or neither; and what goes with labels only. */
static enum status check_forms(const Ember__ClassifyRequest *m, struct err *err) {
    if (m->n_seconds && m->n_seconds != m->n_texts)
        return err_set(err, STATUS_INVALID_ARGUMENT,
                       "%zu texts and %zu seconds: a pair needs one of each", m->n_texts,
                       m->n_seconds);
    if (m->n_labels)
        return m->n_seconds ? err_set(err, STATUS_INVALID_ARGUMENT,
                                      "labels and seconds exclude each other: a label is the "
                                      "second text of its pair")
                            : STATUS_OK;
    if (m->hypothesis_template.len || m->multi_label)
        return err_set(err, STATUS_INVALID_ARGUMENT, "%s goes with labels, and there are none",
                       m->multi_label ? "multi_label" : "hypothesis_template");
    return STATUS_OK;
}

static enum status check_classify(const Ember__ClassifyRequest *m, struct err *err) {
    enum status st = pb_check_enum((int)m->truncate, 3, "truncate", err);
    if (st == STATUS_OK)
        st = pb_check_enum((int)m->cache, 3, "cache", err);
    if (st == STATUS_OK)
        st = check_template(pb_view(m->hypothesis_template), err);
    if (st == STATUS_OK)
        st = check_max_tokens(m->max_tokens, err);
    if (st == STATUS_OK)
        st = pb_check_traceparent(pb_view(m->traceparent), err);
    return st == STATUS_OK ? check_forms(m, err) : st;
}

enum status codec_classify_request_decode(struct view body, struct arena *arena,
                                          struct wire_classify_request *out, uint32_t *item,
                                          struct err *err) {
    static const struct pb_count counts[] = {{1, LIMIT_REQUEST_TEXTS, "texts"},
                                             {2, LIMIT_REQUEST_LABELS, "labels"},
                                             {9, LIMIT_REQUEST_TEXTS, "seconds"}};
    *item = 0;
    Ember__ClassifyRequest *m;
    enum status st =
        pb_unpack(&ember__classify_request__descriptor, body, counts, 3, arena, (void **)&m, err);
    const struct view *texts = NULL, *labels = NULL, *seconds = NULL;
    if (st == STATUS_OK)
        st = check_classify(m, err);
    if (st == STATUS_OK)
        st = decode_labels(m->labels, m->n_labels, arena, &labels, err);
    if (st == STATUS_OK)
        st = pb_decode_texts(m->texts, m->n_texts, "texts", arena, &texts, item, err);
    if (st == STATUS_OK && m->n_seconds)
        st = pb_decode_texts(m->seconds, m->n_seconds, "seconds", arena, &seconds, item, err);
    if (st != STATUS_OK)
        return st;
    *out = (struct wire_classify_request){
        .texts = texts,
        .n_texts = (uint32_t)m->n_texts,
        .labels = labels,
        .n_labels = (uint32_t)m->n_labels,
        .hypothesis_template = pb_view(m->hypothesis_template),
        .multi_label = m->multi_label != 0,
        .top_k = m->top_k,
        .truncate = (enum wire_truncate)m->truncate,
        .cache = (enum wire_cache)m->cache,
        .traceparent = pb_view(m->traceparent),
        .seconds = seconds,
        .max_tokens = m->max_tokens,
    };
    return STATUS_OK;
}

enum status codec_classify_reply_encode(const struct wire_classify_reply *in,
                                        struct wire_out *out) {
    Ember__ClassifyReply m = EMBER__CLASSIFY_REPLY__INIT;
    ProtobufCBinaryData labels[LIMIT_LABELS];
    Ember__Scores scores[LIMIT_REQUEST_TEXTS], *list[LIMIT_REQUEST_TEXTS];
    struct pb_facts facts;
    if (!pb_point_at(labels, in->labels, in->n_labels, LIMIT_LABELS) ||
        in->n_results > LIMIT_REQUEST_TEXTS || !pb_fill_facts(&facts, &in->facts))
        return STATUS_INTERNAL;
    for (uint32_t i = 0; i < in->n_results; i++) {
        ember__scores__init(&scores[i]);
        scores[i].n_label = scores[i].n_score = in->results[i].n;
        scores[i].label = (uint32_t *)(uintptr_t)in->results[i].label;
        scores[i].score = (float *)(uintptr_t)in->results[i].score;
        list[i] = &scores[i];
    }
    m.n_labels = in->n_labels;
    m.labels = labels;
    m.n_results = in->n_results;
    m.results = list;
    m.facts = &facts.facts;
    return pb_pack(&m, out);
}

/* Names of a reply: a model's own may be alike, and are many. */
static enum status decode_names(const ProtobufCBinaryData *data, size_t n, struct arena *arena,
                                const struct view **out, struct err *err) {
    struct view *views = pb_array(arena, struct view, n, err);
    enum status st = views ? STATUS_OK : STATUS_INVALID_ARGUMENT;
    for (size_t i = 0; st == STATUS_OK && i < n; i++) {
        views[i] = pb_view(data[i]);
        st = pb_check_text(views[i], LIMIT_LABEL_BYTES, "a label", err);
    }
    *out = views;
    return st;
}

static enum status decode_scores(const Ember__Scores *in, uint32_t n_labels,
                                 struct wire_scores *out, struct err *err) {
    bool ok = in->n_label == in->n_score && in->n_label <= n_labels;
    for (size_t i = 0; ok && i < in->n_label; i++)
        ok = in->label[i] < n_labels && in->score[i] >= 0 && in->score[i] <= 1;
    if (!ok)
        return err_set(err, STATUS_INVALID_ARGUMENT, "the reply's scores do not fit its labels");
    *out = (struct wire_scores){in->label, in->score, (uint32_t)in->n_label};
    return STATUS_OK;
}

enum status codec_classify_reply_decode(struct view body, struct arena *arena,
                                        struct wire_classify_reply *out, struct err *err) {
    static const struct pb_count counts[] = {{1, LIMIT_LABELS, "labels"},
                                             {2, LIMIT_REQUEST_TEXTS, "results"}};
    Ember__ClassifyReply *m;
    enum status st =
        pb_unpack(&ember__classify_reply__descriptor, body, counts, 2, arena, (void **)&m, err);
    const struct view *labels = NULL;
    struct wire_facts facts;
    struct wire_scores *results = NULL;
    if (st == STATUS_OK)
        st = decode_names(m->labels, m->n_labels, arena, &labels, err);
    if (st == STATUS_OK)
        st = pb_decode_facts(m->facts, arena, &facts, err);
    if (st == STATUS_OK && !(results = pb_array(arena, struct wire_scores, m->n_results, err)))
        st = STATUS_INVALID_ARGUMENT;
    if (st == STATUS_OK && facts.n != m->n_results)
        st = err_set(err, STATUS_INVALID_ARGUMENT, "the reply's facts do not fit its results");
    for (size_t i = 0; st == STATUS_OK && i < m->n_results; i++)
        st = decode_scores(m->results[i], (uint32_t)m->n_labels, &results[i], err);
    if (st == STATUS_OK)
        *out = (struct wire_classify_reply){labels, (uint32_t)m->n_labels, results,
                                            (uint32_t)m->n_results, facts};
    return st;
}

/* ---------------------------------------------------------------- Rerank */

enum status codec_rerank_request_encode(const struct wire_rerank_request *in,
                                        struct wire_out *out) {
    Ember__RerankRequest m = EMBER__RERANK_REQUEST__INIT;
    ProtobufCBinaryData documents[LIMIT_REQUEST_TEXTS];
    if (!pb_point_at(documents, in->documents, in->n_documents, LIMIT_REQUEST_TEXTS))
        return STATUS_INTERNAL;
    m.query = pb_data(in->query);
    m.n_documents = in->n_documents;
    m.documents = documents;
    m.top_k = in->top_k;
    m.cache = (Ember__CacheUse)in->cache;
    m.traceparent = pb_data(in->traceparent);
    m.truncate = (Ember__Truncate)in->truncate;
    m.max_tokens = in->max_tokens;
    return pb_pack(&m, out);
}

enum status codec_rerank_request_decode(struct view body, struct arena *arena,
                                        struct wire_rerank_request *out, uint32_t *item,
                                        struct err *err) {
    static const struct pb_count counts[] = {{2, LIMIT_REQUEST_TEXTS, "documents"}};
    *item = 0;
    Ember__RerankRequest *m;
    enum status st =
        pb_unpack(&ember__rerank_request__descriptor, body, counts, 1, arena, (void **)&m, err);
    const struct view *documents = NULL;
    if (st == STATUS_OK)
        st = pb_check_enum((int)m->cache, 3, "cache", err);
    if (st == STATUS_OK)
        st = pb_check_enum((int)m->truncate, 3, "truncate", err);
    if (st == STATUS_OK)
        st = check_max_tokens(m->max_tokens, err);
    if (st == STATUS_OK)
        st = pb_check_text(pb_view(m->query), LIMIT_TEXT_BYTES, "query", err);
    if (st == STATUS_OK)
        st = pb_check_traceparent(pb_view(m->traceparent), err);
    if (st == STATUS_OK)
        st = pb_decode_texts(m->documents, m->n_documents, "documents", arena, &documents, item,
                             err);
    if (st != STATUS_OK)
        return st;
    *out = (struct wire_rerank_request){
        .query = pb_view(m->query),
        .documents = documents,
        .n_documents = (uint32_t)m->n_documents,
        .top_k = m->top_k,
        .cache = (enum wire_cache)m->cache,
        .traceparent = pb_view(m->traceparent),
        .truncate = (enum wire_truncate)m->truncate,
        .max_tokens = m->max_tokens,
    };
    return STATUS_OK;
}

enum status codec_rerank_reply_encode(const struct wire_rerank_reply *in, struct wire_out *out) {
    Ember__RerankReply m = EMBER__RERANK_REPLY__INIT;
    struct pb_facts facts;
    if (in->n > in->facts.n || !pb_fill_facts(&facts, &in->facts))
        return STATUS_INTERNAL;
    m.n_index = m.n_score = in->n;
    m.index = (uint32_t *)(uintptr_t)in->index;
    m.score = (float *)(uintptr_t)in->score;
    m.n_logit = in->logit ? in->n : 0;
    m.logit = (float *)(uintptr_t)in->logit;
    m.facts = &facts.facts;
    return pb_pack(&m, out);
}

enum status codec_rerank_reply_decode(struct view body, struct arena *arena,
                                      struct wire_rerank_reply *out, struct err *err) {
    Ember__RerankReply *m;
    enum status st =
        pb_unpack(&ember__rerank_reply__descriptor, body, NULL, 0, arena, (void **)&m, err);
    struct wire_facts facts;
    if (st == STATUS_OK)
        st = pb_decode_facts(m->facts, arena, &facts, err);
    if (st != STATUS_OK)
        return st;
    bool seen[LIMIT_REQUEST_TEXTS] = {false}, ok = m->n_index == m->n_score &&
                                                   m->n_index <= facts.n &&
                                                   (m->n_logit == 0 || m->n_logit == m->n_index);
    for (size_t i = 0; ok && i < m->n_logit; i++)
        ok = !isnan(m->logit[i]);
    for (size_t i = 0; ok && i < m->n_index; i++) {
        ok = m->index[i] < facts.n && !seen[m->index[i]] && m->score[i] >= 0 && m->score[i] <= 1;
        if (ok)
            seen[m->index[i]] = true;
    }
    if (!ok)
        return err_set(err, STATUS_INVALID_ARGUMENT, "the reply's scores do not fit its documents");
    *out = (struct wire_rerank_reply){m->index, m->score, (uint32_t)m->n_index, facts,
                                      m->n_logit ? m->logit : NULL};
    return STATUS_OK;
}
