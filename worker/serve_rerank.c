/* serve_rerank.c - Rerank: a unit for the query with each document; each has its own entry in the
 * cache, so that a document that comes again with the same query costs a look-up whatever stands
 * beside it. Documents are put in order by their logits, which still differ where scores are all
 * 1. */
#include "request.h"

#include "engine/classify.h"

static bool validate(const struct model *model, struct request *request) {
    if (request->rerank.in.truncate != WIRE_TRUNCATE_LEFT)
        return true;
    serve_fail(request, STATUS_INVALID_ARGUMENT, 0,
               "truncate: model '%s' reads pairs of texts, which are cut on the right only",
               model->name);
    return false;
}

enum begin rerank_begin(serve_t *self, struct request *request, struct view body) {
    const struct engine_info *info = request_model(self, request)->info;
    struct wire_rerank_request *in = &request->rerank.in;
    uint32_t item = 0;
    struct err err;
    enum status st = codec_rerank_request_decode(body, &request->decoded, in, &item, &err);
    if (st != STATUS_OK) {
        serve_fail(request, st, item, "%s", err.text);
        return BEGIN_WRONG;
    }
    uint32_t n = in->n_documents, asked = in->max_tokens, most = info->max_positions;
    request->side = (enum engine_side)in->truncate;
    request->cache = in->cache;
    request->max_tokens = !asked ? info->max_tokens : asked < most ? asked : most;
    if (!validate(request_model(self, request), request) ||
        !serve_affordable(self, request,
                          serve_estimate(self, request, &in->query, 1, in->documents, n, 0)))
        return BEGIN_WRONG;
    /* Logits, and for the reply indices, scores, and logits in their order. */
    size_t bytes = serve_facts_bytes(n, n) + 3 * arena_need(n, sizeof(float)) +
                   arena_need(n, sizeof(uint32_t));
    if (!serve_reserve(self, request, bytes))
        return BEGIN_FULL;
    serve_take_facts(request, n, n);
    request->rerank.logits = serve_array(request, float, n);
    for (uint32_t i = 0; i < n; i++) {
        struct unit *unit = &request->units[i];
        unit->kind = UNIT_RANK;
        unit->pair = ENGINE_PAIR_LONGEST_FIRST;
        unit->text = in->query;
        unit->second = in->documents[i];
    }
    return BEGIN_OK;
}

void rerank_start(serve_t *self, struct request *request) {
    for (uint32_t i = 0; i < request->n_texts && request->failed == STATUS_OK; i++)
        serve_start(self, &request->units[i]);
}

void rerank_take(serve_t *self, struct unit *unit, const struct unit_answer *answer) {
    struct request *request = unit->request;
    if (serve_note(self, request, unit->index, answer))
        request->rerank.logits[unit->index] = answer->entry->numbers[0];
}

void rerank_reply(serve_t *self, struct request *request) {
    const struct wire_rerank_request *in = &request->rerank.in;
    uint32_t n = request->n_texts, top = in->top_k && in->top_k < n ? in->top_k : n;
    uint32_t *order = serve_array(request, uint32_t, n);
    float *score = serve_array(request, float, n);
    classify_order(request->rerank.logits, n, order);
    float *logit = serve_array(request, float, n);
    for (uint32_t k = 0; k < top; k++) {
        logit[k] = request->rerank.logits[order[k]];
        score[k] = classify_sigmoid(logit[k]);
    }
    struct wire_rerank_reply reply = {.index = order,
                                      .score = score,
                                      .n = top,
                                      .facts = serve_facts(self, request),
                                      .logit = logit};
    serve_send(self, request, codec_rerank_reply_encode(&reply, &self->out));
}
