/* serve_logits.c - labels by a model with a head.
 *
 *     entailment:      units of a text: with hypothesis 0 | with hypothesis 1 | ...   --> scores
 *     labels of its own:  one unit a text, or a pair of texts                         --> scores
 *
 * All units of a text start at once, and those of all texts that the cache does not know in the
 * same turn of the loop, so that the batcher packs them together. They are no entries of the
 * cache by themselves (the scores of their text are), but who asks for the same pair while one is
 * under way shares it. A text of a pair is cut, its label's hypothesis only when it does not fit
 * alone; of two texts the longer.
 *
 * Facts of a text: tokens are the sum over its units, for so many the model has read; truncated
 * when any of them was; source is the dearest. */
#include "request.h"

#include "engine/classify.h"

static uint32_t units(const struct request *request) {
    return request->classify.in.n_texts * request->classify.per_text;
}

static void make(serve_t *self, struct request *request) {
    const struct request_classify *c = &request->classify;
    bool nli = request_model(self, request)->info->head == ENGINE_HEAD_NLI;
    for (uint32_t i = 0; i < request->n_units; i++) {
        struct unit *unit = &request->units[i];
        uint32_t text = i / c->per_text;
        unit->kind = UNIT_LOGITS;
        unit->text = c->in.texts[text];
        if (nli) {
            unit->second = c->hypotheses[i % c->per_text];
            unit->pair = ENGINE_PAIR_ONLY_FIRST;
        } else if (c->in.seconds) {
            unit->second = c->in.seconds[text];
            unit->pair = ENGINE_PAIR_LONGEST_FIRST;
        }
    }
}

static void start(serve_t *self, struct request *request, uint32_t i) {
    uint32_t per_text = request->classify.per_text;
    request->source[i] = WIRE_SOURCE_MEMORY; /* the cheapest: each unit may only make it dearer */
    for (uint32_t k = 0; k < per_text && request->failed == STATUS_OK; k++)
        serve_start(self, &request->units[i * per_text + k]);
}

static void take(serve_t *self, struct unit *unit, const struct unit_answer *answer) {
    (void)self;
    struct request *request = unit->request;
    uint32_t i = unit->index / request->classify.per_text;
    if (!serve_uncut(request, i, answer->entry))
        return;
    request->tokens[i] += answer->entry->tokens;
    request->truncated[i] |= answer->entry->truncated;
    request->source[i] = serve_dearer(request->source[i], (uint8_t)answer->source);
}

static bool score(serve_t *self, struct request *request, uint32_t i) {
    struct request_classify *c = &request->classify;
    const struct engine_info *info = request_model(self, request)->info;
    const float *logits = c->numbers + (size_t)i * c->per_text * info->dim;
    float *scores = c->scores + (size_t)i * c->n_labels;
    if (info->head == ENGINE_HEAD_NLI)
        classify_nli(logits, c->n_labels, info->dim, info->entailment, info->contradiction,
                     c->in.multi_label, scores);
    else
        classify_head(logits, c->n_labels, info->sigmoid, scores);
    serve_count(self, request, i);
    return true;
}

const struct classify_way classify_by_logits = {
    .units = units, .make = make, .start = start, .take = take, .score = score};
