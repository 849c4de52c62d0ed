/* encoder.h - the transformer encoder: token ids in, one vector or one row of logits per sequence
 * out. One forward pass serves all families with a layer norm behind each block: BERT (Devlin et
 * al. 2018), DistilBERT (Sanh et al. 2019), NomicBERT (Nussbaum et al. 2024).
 *
 * Sequences of a batch are packed end to end, [seq 0 | seq 1 | ...]; padding does not exist.
 *
 * Threads: immutable after encoder_load(); each running thread brings its own struct arena.
 * Memory: encoder_forward() allocates nothing, all scratch is the arena's. */
#ifndef EMBER_MODEL_ENCODER_H
#define EMBER_MODEL_ENCODER_H

#include "base/arena.h"
#include "base/err.h"
#include "base/team.h"
#include "model/gemm.h"
#include "model/shape.h"
#include "model/weights.h"

typedef struct encoder encoder_t;

/* Read and prepare (pack) all weights. Names may carry the prefix of their family ("bert.",
 * "distilbert."); layer norms may be called gamma/beta. `kernel` chooses the matrix product
 * (gemm_choose() for the best of this CPU) and with it the precision: with any but GEMM_F32 the
 * word table is kept in half precision, while norms, other tables and a head stay float32. Two
 * sizes are taken from the tensors: shape->inner of a gated model (published configurations may
 * say it before rounding), and shape->classes where that is 0 with a head.
 *   STATUS_NOT_FOUND           a tensor is missing
 *   STATUS_DATA_LOSS           it has another shape, or holds NaN or infinity
 *   STATUS_OUT_OF_RANGE        a number of the word table is beyond half precision
 *   STATUS_UNIMPLEMENTED       MODEL_STATIC, or a head, gates or positions its family has not
 *   STATUS_RESOURCE_EXHAUSTED  no memory
 * `weights` may be destroyed afterwards. */
enum status encoder_load(const struct model_shape *shape, const weights_t *weights,
                         const struct gemm_kernel *kernel, encoder_t **out, struct err *err);
void encoder_destroy(encoder_t **self); /* NULL is fine */

/* Bytes of arena that a batch of at most n_tokens tokens in n_seqs sequences needs, however long
 * the single sequences are (each at most shape->max_tokens). */
size_t encoder_scratch_bytes(const encoder_t *self, uint32_t n_tokens, uint32_t n_seqs);

/* ids, types: [start[n_seqs]] tokens end to end; sequence i is start[i] .. start[i + 1]. Each has
 * at least one token and at most shape->max_tokens; ids < vocab_rows, types < shape->types where
 * the family has segments. out: [n_seqs, model_outputs(shape)]: the pooled vectors
 * (shape->pooling), not normalised, or, with a head, its logits. The arena is left as it was
 * found. A result does not depend on what else is in the batch, to the last bit; with OpenBLAS it
 * does within float32 rounding. */
void encoder_forward(const encoder_t *self, const int32_t *ids, const int32_t *types,
                     const uint32_t *start, uint32_t n_seqs, struct arena *arena, float *out);

/* The same, shared with threads that help (base/team.h): between team_begin() and team_end(), while
 * helpers are in encoder_help(). The numbers are those of encoder_forward(). */
void encoder_forward_team(const encoder_t *self, const int32_t *ids, const int32_t *types,
                          const uint32_t *start, uint32_t n_seqs, struct arena *arena, float *out,
                          struct team *team);

/* A helper's side, as team_help(). n_tokens: the most that the leader's batch may have; the arena
 * has encoder_scratch_bytes() of them and is left as it was found. */
void encoder_help(const encoder_t *self, uint32_t n_tokens, struct arena *arena, struct team *team,
                  bool (*leave)(void *arg), void *leave_arg);

/* What was loaded, with the sizes that only the tensors tell (inner of gated models, classes of a
 * head whose labels have no names). Lives as long as the encoder. */
const struct model_shape *encoder_shape(const encoder_t *self);

/* Bytes of prepared weights held. */
size_t encoder_weight_bytes(const encoder_t *self);

#endif
