/* serve_classify.c - Classify with an embedding model: cosine between a text and each label's
 * hypothesis.
 *
 *     per text:  cls entry in the cache? ---- yes: its scores
 *                        | no
 *                unit of the text ----.
 *     once:      unit of each label --+--> cosines --> scores --> cls entry
 *
 * Units are ordinary ones: a label's vector is kept under the `emb` key of its hypothesis, so that
 * after the first request labels cost a look-up each. Texts and hypotheses carry the model's
 * default prompt.
 *
 * The source told for a text that was scored here is the dearest one among its own vector and the
 * labels': `memory` never hides that the model ran. */
#include "request.h"

#include "base/check.h"
#include "engine/classify.h"
#include "engine/vector.h"

#include <string.h>

/* Which of two sources cost more. */
static uint8_t dearer(uint8_t a, uint8_t b) {
    static const uint8_t cost[] = {[WIRE_SOURCE_MODEL] = 3,
                                   [WIRE_SOURCE_SHARED] = 2,
                                   [WIRE_SOURCE_REDIS] = 1,
                                   [WIRE_SOURCE_MEMORY] = 0};
    return cost[a] >= cost[b] ? a : b;
}

static bool default_template(const struct request *request) {
    return view_equal(request->classify.template_text, view_of(CLASSIFY_TEMPLATE));
}

static void make_key(serve_t *self, const struct request *request, uint32_t i,
                     struct cache_key *out) {
    const struct request_classify *c = &request->classify;
    uint32_t flags =
        (c->in.multi_label ? KEY_MULTI : 0) | (request->side == ENGINE_CUT_LEFT ? KEY_CUT_LEFT : 0);
    struct view template_text = default_template(request) ? view_make(NULL, 0) : c->template_text;
    key_cls(self->keys, &request_model(self, request)->key, request->prefix, c->in.texts[i],
            &c->labels, template_text, flags, out);
}

static size_t hypothesis_bytes(const struct request_classify *c, uint32_t label) {
    return c->template_text.bytes + c->in.labels[label].bytes; /* two more than it takes */
}

static size_t work_bytes(const struct request_classify *c, uint32_t dim) {
    size_t t = c->in.n_texts, l = c->in.n_labels, bytes = serve_facts_bytes(c->in.n_texts);
    bytes += arena_need(l, sizeof(struct unit));
    bytes += arena_need((t + l) * dim, sizeof(float));
    bytes += arena_need(t * l, sizeof(float)) + arena_need(t, 1);
    bytes += arena_need(t, sizeof(struct wire_scores)) + arena_need(l, sizeof(uint32_t)) +
             arena_need(l, sizeof(float));
    bytes += arena_need(t * l, sizeof(uint32_t)) + arena_need(t * l, sizeof(float));
    for (uint32_t i = 0; i < c->in.n_labels; i++)
        bytes += arena_need(hypothesis_bytes(c, i), 1);
    return bytes;
}

static void take_memory(struct request *request, uint32_t dim) {
    struct request_classify *c = &request->classify;
    serve_take_facts(request, c->in.texts, c->in.n_texts);
    c->label_units = serve_array(request, struct unit, c->in.n_labels);
    for (uint32_t i = 0; i < c->in.n_labels; i++) {
        char *text = serve_array(request, char, hypothesis_bytes(c, i));
        size_t n =
            classify_hypothesis(c->template_text, c->in.labels[i], text, hypothesis_bytes(c, i));
        CHECK(n > 0); /* the codec saw {} and no empty label */
        c->label_units[i] = (struct unit){
            .request = request, .text = view_make(text, n), .index = c->in.n_texts + i};
    }
    c->vectors = arena_array(&request->work, float, (size_t)(c->in.n_texts + c->in.n_labels) * dim);
    c->scores = serve_array(request, float, (size_t)c->in.n_texts * c->in.n_labels);
    c->scored = serve_array(request, uint8_t, c->in.n_texts);
    CHECK(c->vectors);
}

enum begin classify_begin(serve_t *self, struct request *request, struct view body) {
    const struct model *model = request_model(self, request);
    struct request_classify *c = &request->classify;
    uint32_t item = 0;
    struct err err;
    enum status st = codec_classify_request_decode(body, &request->decoded, &c->in, &item, &err);
    if (st == STATUS_OK && c->in.n_labels > 0)
        st = key_labels_init(&c->labels, c->in.labels, c->in.n_labels, false, &err);
    if (st != STATUS_OK) {
        serve_fail(request, st, item, "%s", err.text);
        return BEGIN_WRONG;
    }
    if (c->in.n_labels == 0 || !(model->info->tasks & ENGINE_TASK_EMBED)) {
        serve_fail(request, STATUS_UNIMPLEMENTED, 0, "model '%s' has no %s", model->name,
                   c->in.n_labels ? "vectors to score labels with"
                                  : "classification head: the request must name its labels");
        return BEGIN_WRONG;
    }
    c->template_text =
        c->in.hypothesis_template.bytes ? c->in.hypothesis_template : view_of(CLASSIFY_TEMPLATE);
    c->label_source = WIRE_SOURCE_MEMORY;
    request->side = (enum engine_side)c->in.truncate;
    request->cache = c->in.cache;
    request->max_tokens = model->info->max_tokens;
    request->prefix = model->prompt;
    if (!serve_reserve(self, request, work_bytes(c, model->info->dim)))
        return BEGIN_FULL;
    take_memory(request, model->info->dim);
    request->n_units = c->in.n_texts + c->in.n_labels;
    return BEGIN_OK;
}

/* No entry for text i: its vector is needed, and with the first such text those of the labels. */
static void start_text(serve_t *self, struct request *request, uint32_t i) {
    struct request_classify *c = &request->classify;
    bool first = !c->labels_started;
    c->labels_started = true;
    for (uint32_t l = 0; first && l < c->in.n_labels && request->failed == STATUS_OK; l++)
        serve_start(self, &c->label_units[l]);
    if (request->failed == STATUS_OK)
        serve_start(self, &request->units[i]);
}

void classify_answer(serve_t *self, struct request *request, uint32_t i,
                     const struct unit_answer *answer) {
    struct request_classify *c = &request->classify;
    if (!answer->entry) {
        start_text(self, request, i);
        return;
    }
    if (!serve_note(self, request, i, answer))
        return;
    key_labels_from_entry(&c->labels, answer->entry->numbers,
                          c->scores + (size_t)i * c->in.n_labels);
    c->scored[i] = true;
}

void classify_start(serve_t *self, struct request *request) {
    const struct serve_cache *cache = &self->cfg.cache;
    bool use = request->cache == WIRE_CACHE_USE && cache->self;
    for (uint32_t i = 0; i < request->n_texts && request->failed == STATUS_OK; i++) {
        struct cache_key key;
        struct cache_entry entry;
        if (use)
            make_key(self, request, i, &key);
        if (use && cache->get_now(cache->self, &key, &entry))
            classify_answer(self, request, i, &(struct unit_answer){&entry, WIRE_SOURCE_MEMORY});
        else if (use && cache->want(cache->self, &key, serve_request_token(self, request, i),
                                    self->now_us))
            request->pending++;
        else
            start_text(self, request, i);
    }
}

void classify_take(serve_t *self, struct unit *unit, const struct unit_answer *answer) {
    struct request *request = unit->request;
    struct request_classify *c = &request->classify;
    uint32_t dim = answer->entry->n;
    if (unit->index >= request->n_texts) {
        if (answer->entry->truncated && request->side == ENGINE_CUT_OFF)
            serve_fail(request, STATUS_INVALID_ARGUMENT, 0,
                       "label %u is longer than the model's %u tokens, and truncation is off",
                       unit->index - request->n_texts + 1, request->max_tokens);
        c->label_cut |= answer->entry->truncated;
        c->label_source = dearer(c->label_source, (uint8_t)answer->source);
    } else if (!serve_note(self, request, unit->index, answer)) {
        return;
    }
    memcpy(c->vectors + (size_t)unit->index * dim, answer->entry->numbers, dim * sizeof(float));
}

/* Scores of text i from its vector and the labels', and the entry that remembers them. */
static void score(serve_t *self, struct request *request, uint32_t i, float *sorted) {
    struct request_classify *c = &request->classify;
    uint32_t dim = request_model(self, request)->info->dim, n = c->in.n_labels;
    float *scores = c->scores + (size_t)i * n;
    const float *text = c->vectors + (size_t)i * dim;
    const float *labels = c->vectors + (size_t)request->n_texts * dim;
    for (uint32_t l = 0; l < n; l++)
        scores[l] = vector_cosine(text, labels + (size_t)l * dim, dim);
    classify_scores(scores, n, c->in.multi_label, scores);
    request->source[i] = dearer(request->source[i], c->label_source);
    if (request->cache == WIRE_CACHE_BYPASS || !self->cfg.cache.self)
        return;
    if (c->label_cut) /* an entry could not say so to those who forbid it */
        return;
    struct cache_key key;
    make_key(self, request, i, &key);
    key_labels_to_entry(&c->labels, scores, sorted);
    struct cache_entry entry = {.kind = CACHE_CLS,
                                .truncated = request->truncated[i],
                                .tokens = request->tokens[i],
                                .n = n,
                                .numbers = sorted};
    self->cfg.cache.put(self->cfg.cache.self, &key, &entry, &c->labels);
}

void classify_reply(serve_t *self, struct request *request) {
    struct request_classify *c = &request->classify;
    uint32_t n = c->in.n_labels, top = c->in.top_k && c->in.top_k < n ? c->in.top_k : n;
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
    struct wire_classify_reply reply = {.labels = c->in.labels,
                                        .n_labels = n,
                                        .results = results,
                                        .n_results = request->n_texts,
                                        .facts = serve_facts(self, request)};
    serve_send(self, request, codec_classify_reply_encode(&reply, &self->out));
}
