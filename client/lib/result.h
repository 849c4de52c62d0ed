/* result.h - the answers of a call's requests, put together in the order of its texts.
 *
 *     request 0: texts 0..63 ---+
 *     request 1: texts 64..127 -+--> one ember_result_t; they may come in any order
 *     request 2: texts 128..150-+
 *
 * Rows, tokens and sources go straight to their place; scores and token ids, whose number differs
 * from text to text, stay in one block of memory per answer.
 *
 * Threads: written by the library's thread until the call ends, immutable afterwards. */
#ifndef EMBER_CLIENT_RESULT_H
#define EMBER_CLIENT_RESULT_H

#include <ember/ember.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/view.h"
#include "wire/codec.h"

/* An empty result for n texts; NULL without memory. */
ember_result_t *result_new(enum wire_task task, uint32_t n);

/* Takes in the reply to texts [first, first + n). STATUS_INTERNAL when it does not fit what was
 * asked, STATUS_ABORTED when it comes from another model than the replies before it,
 * STATUS_RESOURCE_EXHAUSTED without memory. `arena` is scratch. */
enum status result_add(ember_result_t *self, uint32_t first, uint32_t n, struct view body,
                       struct arena *arena, struct err *err);

uint32_t result_worker_us(const ember_result_t *self); /* of the last reply; 0: not told */

/* Rerank, when all replies are in: the documents of all of them in one order, the best top_k of
 * them (0: all). */
void result_rank(ember_result_t *self, uint32_t top_k);

void result_set_call(ember_result_t *self, uint32_t call_us, uint32_t requests, uint32_t resent);

#endif
