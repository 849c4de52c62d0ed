/* bert.h - the BERT encoder (Devlin et al. 2018): token ids in, one vector per sequence out.
 *
 * Sequences of a batch are packed end to end, [seq 0 | seq 1 | ...]; padding does not exist.
 *
 * Threads: immutable after bert_load(); each running thread brings its own struct arena.
 * Memory: bert_forward() allocates nothing, all scratch is the arena's. */
#ifndef EMBER_MODEL_BERT_H
#define EMBER_MODEL_BERT_H

#include "base/arena.h"
#include "base/err.h"
#include "model/gemm.h"
#include "model/shape.h"
#include "model/weights.h"

typedef struct bert bert_t;

/* Read and prepare (pack) all weights. Names may carry the prefix "bert."; layer norms may be
 * called gamma/beta. `kernel` chooses the matrix product (gemm_choose() for the best of this
 * CPU). STATUS_NOT_FOUND a tensor is missing, STATUS_DATA_LOSS it has another shape or holds NaN
 * or infinity, STATUS_RESOURCE_EXHAUSTED no memory. `weights` may be destroyed afterwards. */
enum status bert_load(const struct model_shape *shape, const weights_t *weights,
                      const struct gemm_kernel *kernel, bert_t **out, struct err *err);
void bert_destroy(bert_t **self); /* NULL is fine */

/* Bytes of arena that a batch of at most n_tokens tokens in n_seqs sequences needs, however long
 * the single sequences are (each at most shape->max_tokens). */
size_t bert_scratch_bytes(const bert_t *self, uint32_t n_tokens, uint32_t n_seqs);

/* ids, types: [start[n_seqs]] tokens end to end; sequence i is start[i] .. start[i + 1]. Each has
 * at least one token and at most shape->max_tokens; ids < vocab_rows, types < shape->types. out:
 * [n_seqs, hidden], the pooled vectors (shape->pooling), not normalised. The arena is left as it
 * was found. A result does not depend on what else is in the batch beyond float32 rounding. */
void bert_forward(const bert_t *self, const int32_t *ids, const int32_t *types,
                  const uint32_t *start, uint32_t n_seqs, struct arena *arena, float *out);

/* Bytes of prepared weights held. */
size_t bert_weight_bytes(const bert_t *self);

#endif
