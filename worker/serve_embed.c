/* serve_embed.c - Embed: a unit a text; each answer becomes a finished, encoded row at once, so
 * that a request holds rows as its reply has them and no second copy of vectors. */
#include "request.h"

#include "base/check.h"
#include "engine/vector.h"

#include <stdio.h>
#include <string.h>

_Static_assert((int)WIRE_ENCODING_F32 == VECTOR_F32 && (int)WIRE_ENCODING_F16 == VECTOR_F16 &&
                   (int)WIRE_ENCODING_I8 == VECTOR_I8 && (int)WIRE_ENCODING_BIT == VECTOR_BIT,
               "encodings have the same numbers on the wire and in the engine");
_Static_assert((int)WIRE_TRUNCATE_RIGHT == ENGINE_CUT_RIGHT &&
                   (int)WIRE_TRUNCATE_LEFT == ENGINE_CUT_LEFT &&
                   (int)WIRE_TRUNCATE_OFF == ENGINE_CUT_OFF,
               "so have the sides of a cut");

/* "it has: query, document", cut where it gets long. */
static void list_prompts(const struct model *model, char *out, size_t out_bytes) {
    size_t at = (size_t)snprintf(out, out_bytes, "it has %s", model->info->n_prompts ? "" : "none");
    for (uint32_t i = 0; i < model->info->n_prompts; i++) {
        struct view name, text;
        engine_prompt_at(model->engine, i, &name, &text);
        if (name.bytes + 6 > out_bytes - at) {
            snprintf(out + at, out_bytes - at, " ...");
            return;
        }
        at += (size_t)snprintf(out + at, out_bytes - at, "%s%.*s", i ? ", " : "", (int)name.bytes,
                               name.data);
    }
}

/* Text to put in front: as asked for, else the model's default. */
static bool choose_prefix(const struct model *model, struct request *request) {
    const struct wire_embed_request *in = &request->embed.in;
    request->prefix = in->prompt_prefix.bytes ? in->prompt_prefix : model->prompt;
    if (in->prompt_name.bytes == 0)
        return true;
    char name[LIMIT_NAME_BYTES + 1];
    if (in->prompt_name.bytes < sizeof name) {
        memcpy(name, in->prompt_name.data, in->prompt_name.bytes);
        name[in->prompt_name.bytes] = 0;
        if (engine_prompt(model->engine, name, &request->prefix))
            return true;
    }
    char names[128];
    list_prompts(model, names, sizeof names);
    serve_fail(request, STATUS_INVALID_ARGUMENT, 0, "model '%s' has no prompt of that name; %s",
               model->name, names);
    return false;
}

static bool validate(const struct model *model, struct request *request) {
    const struct wire_embed_request *in = &request->embed.in;
    const struct engine_info *info = model->info;
    if (in->dimensions > info->dim) {
        serve_fail(request, STATUS_INVALID_ARGUMENT, 0,
                   "dimensions: %u asked for, the vectors of model '%s' have %u", in->dimensions,
                   model->name, info->dim);
        return false;
    }
    return choose_prefix(model, request);
}

enum begin embed_begin(serve_t *self, struct request *request, struct view body) {
    const struct model *model = request_model(self, request);
    struct wire_embed_request *in = &request->embed.in;
    uint32_t item = 0;
    struct err err;
    enum status st = codec_embed_request_decode(body, &request->decoded, in, &item, &err);
    if (st != STATUS_OK) {
        serve_fail(request, st, item, "%s", err.text);
        return BEGIN_WRONG;
    }
    if (!validate(model, request))
        return BEGIN_WRONG;
    request->side = (enum engine_side)in->truncate;
    request->cache = in->cache;
    uint32_t most = model->info->max_positions, asked = in->max_tokens;
    request->max_tokens = !asked ? model->info->max_tokens : asked < most ? asked : most;
    request->embed.normalize = in->normalize == WIRE_NORMALIZE_MODEL
                                   ? model->info->normalize
                                   : in->normalize == WIRE_NORMALIZE_YES;
    request->embed.dim = in->dimensions ? in->dimensions : model->info->dim;
    /* No token is shorter than a byte, so most requests need no estimate. */
    if (body.bytes + in->n_texts * request->prefix.bytes > self->cfg.limits.tokens &&
        !serve_affordable(self, request,
                          serve_estimate(self, request, in->texts, in->n_texts, NULL, 0, 0)))
        return BEGIN_WRONG;
    size_t row_bytes = vector_row_bytes((enum vector_encoding)in->encoding, request->embed.dim);
    request->embed.row_bytes = row_bytes;
    if (!serve_reserve(self, request,
                       serve_facts_bytes(in->n_texts, in->n_texts) +
                           arena_need(in->n_texts, row_bytes)))
        return BEGIN_FULL;
    serve_take_facts(request, in->n_texts, in->n_texts);
    for (uint32_t i = 0; i < in->n_texts; i++)
        request->units[i].text = in->texts[i];
    request->embed.rows = arena_take_array(&request->work, in->n_texts, row_bytes);
    CHECK(request->embed.rows); /* reserved; each row is written before the reply */
    return BEGIN_OK;
}

void embed_start(serve_t *self, struct request *request) {
    for (uint32_t i = 0; i < request->n_texts && request->failed == STATUS_OK; i++)
        serve_start(self, &request->units[i]);
}

void embed_take(serve_t *self, struct unit *unit, const struct unit_answer *answer) {
    struct request *request = unit->request;
    if (!serve_note(self, request, unit->index, answer))
        return;
    const struct wire_embed_request *in = &request->embed.in;
    vector_finish(answer->entry->numbers, answer->entry->n, in->dimensions,
                  request->embed.normalize, self->row);
    vector_encode(self->row, request->embed.dim, (enum vector_encoding)in->encoding,
                  request->embed.rows + unit->index * request->embed.row_bytes);
}

void embed_reply(serve_t *self, struct request *request) {
    struct wire_embed_reply reply = {
        .dim = request->embed.dim,
        .encoding = request->embed.in.encoding,
        .vectors = view_make(request->embed.rows, request->n_texts * request->embed.row_bytes),
        .facts = serve_facts(self, request)};
    serve_send(self, request, codec_embed_reply_encode(&reply, &self->out));
}
