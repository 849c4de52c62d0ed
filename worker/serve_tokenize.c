/* serve_tokenize.c - Tokenize: the whole request is one job for a runner, because a request of long
 * texts takes milliseconds that the loop does not have. Texts are tokenised as they are, without a
 * prompt. */
#include "request.h"

#include <string.h>

/* Room for the ids of one text: no piece is shorter than a character of the normalised text, and
 * normalising does not make more than two characters of a byte. */
static uint32_t room_of(const struct wire_tokenize_request *in, uint32_t max_tokens) {
    size_t longest = 0;
    for (uint32_t i = 0; i < in->n_texts; i++)
        if (in->texts[i].bytes > longest)
            longest = in->texts[i].bytes;
    return 2 * longest + 8 < max_tokens ? (uint32_t)(2 * longest + 8) : max_tokens;
}

static size_t work_bytes(const struct wire_tokenize_request *in, uint32_t max_ids) {
    size_t n = in->n_texts, bytes = serve_facts_bytes(in->n_texts, in->n_texts);
    bytes += arena_need(n * max_ids, sizeof(int32_t)) + 2 * arena_need(n, sizeof(uint32_t));
    bytes += arena_need(n, sizeof(struct wire_tokens));
    return in->pieces ? bytes + arena_need(n * max_ids, sizeof(struct view)) : bytes;
}

enum begin tokenize_begin(serve_t *self, struct request *request, struct view body) {
    struct request_tokenize *job = &request->tokenize;
    uint32_t item = 0;
    struct err err;
    enum status st = codec_tokenize_request_decode(body, &request->decoded, &job->in, &item, &err);
    if (st != STATUS_OK) {
        serve_fail(request, st, item, "%s", err.text);
        return BEGIN_WRONG;
    }
    request->max_tokens = request_model(self, request)->info->max_tokens;
    request->side = (enum engine_side)job->in.truncate;
    job->max_ids = room_of(&job->in, request->max_tokens);
    if (!serve_reserve(self, request, work_bytes(&job->in, job->max_ids)))
        return BEGIN_FULL;
    serve_take_facts(request, job->in.n_texts, job->in.n_texts);
    job->ids = arena_array(&request->work, int32_t, (size_t)request->n_texts * job->max_ids);
    job->n_ids = serve_array(request, uint32_t, request->n_texts);
    job->n_full = serve_array(request, uint32_t, request->n_texts);
    return BEGIN_OK;
}

void tokenize_start(serve_t *self, struct request *request) {
    request->pending++;
    queue_push(&self->jobs, &request->tokenize.link);
}

void tokenize_fill(const struct request *request, struct batch_tokens *out) {
    const struct request_tokenize *job = &request->tokenize;
    *out = (struct batch_tokens){.texts = job->in.texts,
                                 .n = job->in.n_texts,
                                 .side = request->side,
                                 .max_ids = job->max_ids,
                                 .ids = job->ids,
                                 .n_ids = job->n_ids,
                                 .n_full = job->n_full};
}

void tokenize_reply(serve_t *self, struct request *request) {
    const struct request_tokenize *job = &request->tokenize;
    const engine_t *engine = request_model(self, request)->engine;
    struct wire_tokens *results = serve_array(request, struct wire_tokens, request->n_texts);
    struct view *pieces = job->in.pieces ? arena_array(&request->work, struct view,
                                                       (size_t)request->n_texts * job->max_ids)
                                         : NULL;
    for (uint32_t i = 0; i < request->n_texts; i++) {
        struct cache_entry entry = {.tokens = job->n_ids[i],
                                    .truncated = job->n_full[i] > job->n_ids[i]};
        if (!serve_note(self, request, i, &(struct unit_answer){&entry, WIRE_SOURCE_MODEL})) {
            serve_settle(self, request);
            return;
        }
        const int32_t *ids = job->ids + (size_t)i * job->max_ids;
        results[i] = (struct wire_tokens){
            .ids = (const uint32_t *)ids, .n_ids = job->n_ids[i], .full = job->n_full[i]};
        if (!pieces)
            continue;
        struct view *row = pieces + (size_t)i * job->max_ids;
        for (uint32_t t = 0; t < job->n_ids[i]; t++)
            row[t] = engine_piece(engine, ids[t]);
        results[i].pieces = row;
    }
    struct wire_tokenize_reply reply = {
        .results = results, .n_results = request->n_texts, .facts = serve_facts(self, request)};
    serve_send(self, request, codec_tokenize_reply_encode(&reply, &self->out));
}
