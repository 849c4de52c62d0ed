/* serve_classify.c - Classify: what all ways of scoring labels have in common.
 *
 *     per text:  cls entry in the cache? ---- yes: its scores
 *                        | no
 *                way->start(): units --> numbers --> way->score() --> cls entry
 *
 * Which way is the model's choice (request.h, struct classify_way): a model of vectors scores the
 * request's labels by cosine (serve_cosine.c); one that was trained for entailment reads each text
 * with each label's hypothesis, one with labels of its own reads each text, or pair of texts, once
 * (both serve_logits.c).
 *
 * A result with a limit of its own (max_tokens) is nobody else's: it is neither looked up nor kept,
 * because an entry tells what it took, not what it would take. */
#include "request.h"

#include "base/check.h"
#include "engine/classify.h"

#include <stdio.h>

static struct view default_template(const serve_t *self, const struct request *request,
                                    uint32_t label) {
    return classify_template(engine_zero_shot(request_model(self, request)->engine),
                             request->classify.in.labels[label]);
}

/* The template of a label: the request's, or the model's. */
static struct view template_of(const serve_t *self, const struct request *request, uint32_t label) {
    struct view asked = request->classify.in.hypothesis_template;
    return asked.bytes ? asked : default_template(self, request, label);
}

static void make_key(serve_t *self, const struct request *request, uint32_t i,
                     struct cache_key *out) {
    const struct request_classify *c = &request->classify;
    const struct key_model *model = &request_model(self, request)->key;
    if (c->in.seconds) {
        key_pair(self->keys, model, request->prefix, c->in.texts[i], c->in.seconds[i], c->labels,
                 out);
        return;
    }
    uint32_t flags =
        (c->in.multi_label ? KEY_MULTI : 0) | (request->side == ENGINE_CUT_LEFT ? KEY_CUT_LEFT : 0);
    key_cls(self->keys, model, request->prefix, c->in.texts[i], c->labels,
            c->other_template ? c->in.hypothesis_template : view_make(NULL, 0), flags, out);
}

/* Whether results of this request may come from the cache, or go there. */
static bool is_common(const serve_t *self, const struct request *request) {
    return self->cfg.cache.self &&
           request->max_tokens == request_model(self, request)->info->max_tokens;
}

/* ---------------------------------------------------------------- beginning */

/* Says why the labels, or their absence, do not go with this model; false when they do. */
static bool is_misfit(const struct model *model, struct request *request) {
    const struct wire_classify_request *in = &request->classify.in;
    bool own = model->info->head == ENGINE_HEAD_LABELS;
    if (own && in->n_labels)
        serve_fail(request, STATUS_INVALID_ARGUMENT, 0,
                   "model '%s' has %u labels of its own: the request must name none", model->name,
                   model->info->n_labels);
    else if (!own && in->seconds)
        serve_fail(request, STATUS_INVALID_ARGUMENT, 0,
                   "model '%s' scores labels of a text, not pairs of texts", model->name);
    else if (!own && !in->n_labels)
        serve_fail(request, STATUS_INVALID_ARGUMENT, 0,
                   "model '%s' has no labels of its own: the request must name some", model->name);
    else
        return false;
    return true;
}

/* Labels and pairs within the limits, and nothing asked that this model's way cannot do. */
static bool validate(const serve_t *self, const struct model *model, struct request *request) {
    const struct wire_classify_request *in = &request->classify.in;
    const struct serve_limits *limits = &self->cfg.limits;
    bool nli = model->info->head == ENGINE_HEAD_NLI;
    if (is_misfit(model, request))
        return false;
    if (in->n_labels > limits->labels)
        serve_fail(request, STATUS_INVALID_ARGUMENT, 0, "%u labels, at most %u are taken",
                   in->n_labels, limits->labels);
    else if (nli && in->n_texts * in->n_labels > limits->pairs)
        serve_fail(request, STATUS_INVALID_ARGUMENT, 0,
                   "%u texts with %u labels are %u pairs, at most %u are taken in one request",
                   in->n_texts, in->n_labels, in->n_texts * in->n_labels, limits->pairs);
    else if ((nli || in->seconds) && in->truncate == WIRE_TRUNCATE_LEFT)
        serve_fail(request, STATUS_INVALID_ARGUMENT, 0,
                   "truncate: model '%s' reads pairs of texts, which are cut on the right only",
                   model->name);
    return request->failed == STATUS_OK;
}

/* What a template adds to a label, at most. */
static uint32_t template_tokens(const serve_t *self, const struct request *request) {
    const engine_t *engine = request_model(self, request)->engine;
    uint32_t most = request->max_tokens;
    uint32_t bare = engine_estimate_upto(engine, view_of("{}"), most), largest = bare;
    struct view last = view_make(NULL, 0);
    for (uint32_t i = 0; i < request->classify.in.n_labels; i++) {
        struct view text = template_of(self, request, i);
        if (text.data == last.data)
            continue;
        uint32_t tokens = engine_estimate_upto(engine, text, most);
        largest = tokens > largest ? tokens : largest;
        last = text;
    }
    return largest - bare; /* a template holds {} */
}

static uint64_t estimate(const serve_t *self, const struct request *request) {
    const struct request_classify *c = &request->classify;
    const struct view *texts = c->in.texts;
    uint32_t n = c->in.n_texts;
    uint64_t tokens = 0;
    uint32_t more = template_tokens(self, request);
    if (request_model(self, request)->info->head == ENGINE_HEAD_NLI)
        return serve_estimate(self, request, texts, n, c->in.labels, c->in.n_labels, more);
    for (uint32_t i = 0; c->in.seconds && i < n; i++)
        tokens += serve_estimate(self, request, &texts[i], 1, &c->in.seconds[i], 1, 0);
    if (tokens)
        return tokens;
    return serve_estimate(self, request, texts, n, NULL, 0, 0) +
           serve_estimate(self, request, c->in.labels, c->in.n_labels, NULL, 0, more);
}

static size_t hypothesis_bytes(const serve_t *self, const struct request *request,
                               uint32_t label) { /* two more than it takes */
    return template_of(self, request, label).bytes + request->classify.in.labels[label].bytes;
}

static size_t work_bytes(const serve_t *self, const struct request *request, uint32_t n_units,
                         uint32_t dim) {
    const struct request_classify *c = &request->classify;
    size_t t = c->in.n_texts, l = c->n_labels, bytes = serve_facts_bytes(c->in.n_texts, n_units);
    bytes += arena_need((size_t)n_units * dim, sizeof(float));
    bytes += arena_need(t * l, sizeof(float)) + arena_need(t, 1);
    bytes += arena_need(t, sizeof(struct wire_scores)) + arena_need(l, sizeof(uint32_t)) +
             arena_need(l, sizeof(float));
    bytes += arena_need(t * l, sizeof(uint32_t)) + arena_need(t * l, sizeof(float));
    if (c->in.n_labels == 0)
        return bytes;
    bytes += arena_need(1, sizeof(struct key_labels)) + arena_need(l, sizeof(struct view));
    for (uint32_t i = 0; i < c->in.n_labels; i++)
        bytes += arena_need(hypothesis_bytes(self, request, i), 1);
    return bytes;
}

/* The request's labels as keys want them, and as hypotheses. */
static enum status make_labels(const serve_t *self, struct request *request, struct err *err) {
    struct request_classify *c = &request->classify;
    struct key_labels *labels = arena_array(&request->work, struct key_labels, 1);
    CHECK(labels); /* reserved */
    enum status st = key_labels_init(labels, c->in.labels, c->in.n_labels, false, err);
    if (st != STATUS_OK)
        return st;
    c->labels = labels;
    c->hypotheses = serve_array(request, struct view, c->in.n_labels);
    for (uint32_t i = 0; i < c->in.n_labels; i++) {
        size_t room = hypothesis_bytes(self, request, i);
        char *text = serve_array(request, char, room);
        struct view pattern = template_of(self, request, i);
        size_t n = classify_hypothesis(pattern, c->in.labels[i], text, room);
        CHECK(n > 0); /* the codec, or zero_shot_read(), saw {}, and there is no empty label */
        c->other_template |= !view_equal(pattern, default_template(self, request, i));
        c->hypotheses[i] = view_make(text, n);
    }
    return STATUS_OK;
}

static enum begin make(serve_t *self, struct request *request, uint32_t dim) {
    struct request_classify *c = &request->classify;
    uint32_t n_units = c->way->units(request);
    struct err err;
    if (!serve_reserve(self, request, work_bytes(self, request, n_units, dim)))
        return BEGIN_FULL;
    if (c->in.n_labels && make_labels(self, request, &err) != STATUS_OK) {
        serve_fail(request, err.status, 0, "%s", err.text);
        return BEGIN_WRONG;
    }
    serve_take_facts(request, c->in.n_texts, n_units);
    c->numbers = arena_array(&request->work, float, (size_t)n_units *dim);
    CHECK(c->numbers);
    c->scores = serve_array(request, float, (size_t)c->in.n_texts * c->n_labels);
    c->scored = serve_array(request, uint8_t, c->in.n_texts);
    c->way->make(self, request);
    return BEGIN_OK;
}

enum begin classify_begin(serve_t *self, struct request *request, struct view body) {
    const struct model *model = request_model(self, request);
    const struct engine_info *info = model->info;
    struct request_classify *c = &request->classify;
    uint32_t item = 0;
    struct err err;
    enum status st = codec_classify_request_decode(body, &request->decoded, &c->in, &item, &err);
    if (st != STATUS_OK) {
        serve_fail(request, st, item, "%s", err.text);
        return BEGIN_WRONG;
    }
    request->side = (enum engine_side)c->in.truncate;
    request->cache = c->in.cache;
    uint32_t asked = c->in.max_tokens, most = info->max_positions;
    request->max_tokens = !asked ? info->max_tokens : asked < most ? asked : most;
    request->prefix = model->prompt;
    if (!validate(self, model, request) ||
        !serve_affordable(self, request, estimate(self, request)))
        return BEGIN_WRONG;
    bool own = c->in.n_labels == 0;
    c->way = info->head == ENGINE_HEAD_NONE ? &classify_by_cosine : &classify_by_logits;
    c->n_labels = own ? info->n_labels : c->in.n_labels;
    c->names = own ? model->names : c->in.labels;
    c->labels = &model->labels;
    c->per_text = info->head == ENGINE_HEAD_NLI ? c->n_labels : 1;
    return make(self, request, info->dim);
}

/* ---------------------------------------------------------------- answers */

void classify_answer(serve_t *self, struct request *request, uint32_t i,
                     const struct unit_answer *answer) {
    struct request_classify *c = &request->classify;
    if (!answer->entry) {
        c->way->start(self, request, i);
        return;
    }
    if (!serve_note(self, request, i, answer))
        return;
    key_labels_from_entry(c->labels, answer->entry->numbers, c->scores + (size_t)i * c->n_labels);
    c->scored[i] = true;
}

void classify_start(serve_t *self, struct request *request) {
    const struct serve_cache *cache = &self->cfg.cache;
    bool look = request->cache == WIRE_CACHE_USE && is_common(self, request);
    for (uint32_t i = 0; i < request->n_texts && request->failed == STATUS_OK; i++) {
        struct cache_key key;
        struct cache_entry entry;
        if (look)
            make_key(self, request, i, &key);
        if (look && cache->get_now(cache->self, &key, &entry))
            classify_answer(self, request, i, &(struct unit_answer){&entry, WIRE_SOURCE_MEMORY});
        else if (look && cache->want(cache->self, &key, serve_request_token(self, request, i),
                                     self->now_us))
            request->pending++;
        else
            request->classify.way->start(self, request, i);
    }
}

void classify_take(serve_t *self, struct unit *unit, const struct unit_answer *answer) {
    struct request *request = unit->request;
    uint32_t dim = answer->entry->n;
    memcpy(request->classify.numbers + (size_t)unit->index * dim, answer->entry->numbers,
           dim * sizeof(float));
    request->classify.way->take(self, unit, answer);
}

uint32_t classify_name(const struct unit *unit, char *out, size_t out_bytes) {
    const struct request *request = unit->request;
    const struct request_classify *c = &request->classify;
    uint32_t text = unit->index / c->per_text, label = unit->index % c->per_text;
    if (c->way == &classify_by_cosine && unit->index >= request->n_texts) {
        snprintf(out, out_bytes, "label %u", unit->index - request->n_texts + 1);
        return 0;
    }
    if (c->in.n_labels && c->way == &classify_by_logits)
        snprintf(out, out_bytes, "text %u with label %u", text + 1, label + 1);
    else
        snprintf(out, out_bytes, "text %u%s", text + 1, c->in.seconds ? " with its second" : "");
    return text + 1;
}

/* ---------------------------------------------------------------- the reply */

/* Scores of text i, and the entry that remembers them; `sorted` is scratch. */
static void score(serve_t *self, struct request *request, uint32_t i, float *sorted) {
    const struct request_classify *c = &request->classify;
    if (!c->way->score(self, request, i) || request->cache == WIRE_CACHE_BYPASS ||
        !is_common(self, request))
        return;
    struct cache_key key;
    make_key(self, request, i, &key);
    key_labels_to_entry(c->labels, c->scores + (size_t)i * c->n_labels, sorted);
    struct cache_entry entry = {.kind = CACHE_CLS,
                                .truncated = request->truncated[i],
                                .tokens = request->tokens[i],
                                .n = c->n_labels,
                                .numbers = sorted};
    self->cfg.cache.put(self->cfg.cache.self, &key, &entry, c->labels);
}

void classify_reply(serve_t *self, struct request *request) {
    struct request_classify *c = &request->classify;
    uint32_t n = c->n_labels, top = c->in.top_k && c->in.top_k < n ? c->in.top_k : n;
    struct wire_scores *results = serve_array(request, struct wire_scores, request->n_texts);
    uint32_t *order = serve_array(request, uint32_t, n);
    float *sorted = serve_array(request, float, n);
    uint32_t *label = serve_array(request, uint32_t, (size_t)request->n_texts * n);
    float *best = serve_array(request, float, (size_t)request->n_texts *n);
    for (uint32_t i = 0; i < request->n_texts; i++) {
        if (!c->scored[i])
            score(self, request, i, sorted);
        classify_order(c->scores + (size_t)i * n, n, order);
        results[i] = (struct wire_scores){
            .label = label + (size_t)i * n, .score = best + (size_t)i * n, .n = top};
        for (uint32_t k = 0; k < top; k++) {
            label[(size_t)i * n + k] = order[k];
            best[(size_t)i * n + k] = c->scores[(size_t)i * n + order[k]];
        }
    }
    struct wire_classify_reply reply = {.labels = c->names,
                                        .n_labels = n,
                                        .results = results,
                                        .n_results = request->n_texts,
                                        .facts = serve_facts(self, request)};
    serve_send(self, request, codec_classify_reply_encode(&reply, &self->out));
}
