/* serve_cosine.c - labels by an embedding model: cosine between a text's vector and the vector of
 * each label's hypothesis.
 *
 *     unit of the text ----.
 *     unit of each label --+--> cosines --> scores        (those of the labels once a request)
 *
 * Units are ordinary ones: a label's vector is kept under the `emb` key of its hypothesis, so that
 * after the first request labels cost a look-up each. Texts and hypotheses carry the model's
 * default prompt.
 *
 * The source told for a text that was scored here is the dearest one among its own vector and the
 * labels'. Its tokens are its own. */
#include "request.h"

#include "engine/classify.h"
#include "engine/vector.h"

static uint32_t units(const struct request *request) {
    return request->classify.in.n_texts + request->classify.n_labels;
}

static void make(serve_t *self, struct request *request) {
    (void)self;
    struct request_classify *c = &request->classify;
    for (uint32_t i = 0; i < request->n_units; i++)
        request->units[i].text =
            i < request->n_texts ? c->in.texts[i] : c->hypotheses[i - request->n_texts];
    c->label_source = WIRE_SOURCE_MEMORY;
}

/* No entry for text i: its vector is needed, and with the first such text those of the labels. */
static void start(serve_t *self, struct request *request, uint32_t i) {
    struct request_classify *c = &request->classify;
    bool first = !c->labels_started;
    c->labels_started = true;
    for (uint32_t l = 0; first && l < c->n_labels && request->failed == STATUS_OK; l++)
        serve_start(self, &request->units[request->n_texts + l]);
    if (request->failed == STATUS_OK)
        serve_start(self, &request->units[i]);
}

static void take(serve_t *self, struct unit *unit, const struct unit_answer *answer) {
    struct request *request = unit->request;
    struct request_classify *c = &request->classify;
    if (unit->index < request->n_texts) {
        serve_note(self, request, unit->index, answer);
        return;
    }
    if (answer->entry->truncated && request->side == ENGINE_CUT_OFF)
        serve_fail(request, STATUS_INVALID_ARGUMENT, 0,
                   "label %u is longer than the model's %u tokens, and truncation is off",
                   unit->index - request->n_texts + 1, request->max_tokens);
    c->label_cut |= answer->entry->truncated;
    c->label_source = serve_dearer(c->label_source, (uint8_t)answer->source);
}

static bool score(serve_t *self, struct request *request, uint32_t i) {
    struct request_classify *c = &request->classify;
    uint32_t dim = request_model(self, request)->info->dim, n = c->n_labels;
    float *scores = c->scores + (size_t)i * n;
    const float *text = c->numbers + (size_t)i * dim;
    const float *labels = c->numbers + (size_t)request->n_texts * dim;
    for (uint32_t l = 0; l < n; l++)
        scores[l] = vector_cosine(text, labels + (size_t)l * dim, dim);
    classify_scores(engine_zero_shot(request_model(self, request)->engine), scores, n,
                    c->in.multi_label, scores);
    request->source[i] = serve_dearer(request->source[i], c->label_source);
    return !c->label_cut; /* an entry could not say so to those who forbid it */
}

const struct classify_way classify_by_cosine = {
    .units = units, .make = make, .start = start, .take = take, .score = score};
