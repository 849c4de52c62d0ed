/* outputs.h - what a model gives for many texts or pairs, computed on several threads.
 *
 * Threads: one caller; the engine is shared by those that are started. */
#ifndef EMBER_MODEL_TOOL_OUTPUTS_H
#define EMBER_MODEL_TOOL_OUTPUTS_H

#include "base/err.h"
#include "engine/engine.h"
#include "text_list.h"

#include <stdint.h>

struct outputs {
    const engine_t *engine;
    uint32_t threads;     /* at least 1 */
    struct view prefix;   /* goes before the first text of each item */
    const char *progress; /* what stderr calls it; NULL for silence */
    uint64_t tokens;      /* summed up over all calls: tokens that were run ... */
    double seconds;       /* ... and the time of it */
    uint32_t truncated;   /* items that lost tokens */
    uint32_t bad;         /* of the last call: 1 + the item without an answer; 0: there is none */
};

/* Outputs of n texts, and pairs where seconds is not NULL: *out is [n, dim], the caller's to free.
 * Texts are cut on the right at the model's own limit; of a pair the first alone is.
 *   STATUS_INTERNAL            the model gave NaN for one of them; the message says which
 *   STATUS_RESOURCE_EXHAUSTED  no memory, or a text with its prefix beyond LIMIT_TEXT_BYTES */
enum status outputs_of(struct outputs *self, const struct view *texts, const struct view *seconds,
                       uint32_t n, float **out, struct err *err);

/* The prompt of that name; with "" the model's default one, which may be empty.
 * STATUS_INVALID_ARGUMENT: the model publishes none of that name. */
enum status outputs_prompt(const engine_t *engine, const char *name, struct view *out,
                           struct err *err);

#endif
