/* static.h - models without layers: a text's vector is the mean of its tokens' vectors.
 *
 *     model2vec        "embeddings" [rows, d], maybe "weights" [V] and "mapping" [V]
 *     StaticEmbedding  "embedding.weight" [V, d]         (sentence-transformers)
 *
 *     out = 1/n sum over the n tokens of weights[id] embeddings[mapping[id]]; no tokens: zeros
 *
 * without "mapping" the row is the id, without "weights" the factor is 1 (files that share rows
 * between tokens have both). How texts become tokens is for text/tokenizer.h: options.bare, and
 * options.drop_unknown = static_drops_unknown(). model2vec leaves [UNK] out, reads 512 tokens and,
 * before that, 512 times tokenizer_median_piece() code points; StaticEmbedding keeps [UNK] and
 * reads all.
 *
 * Sources: model2vec (Tulkens, van Dongen 2024) and sentence-transformers, as published in 2025.
 *
 * Threads: immutable after static_load(). Memory: a table of F32, F16 or BF16 is used where it lies
 * in the mapped file; any other is widened. static_forward() allocates nothing. */
#ifndef EMBER_MODEL_STATIC_H
#define EMBER_MODEL_STATIC_H

#include "base/err.h"
#include "model/shape.h"
#include "model/weights.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct static_model static_model_t;

/* shape->vocab_rows tokens (rows of "mapping" where there is one) and shape->hidden numbers.
 * `weights` must outlive the model. All numbers are looked at once.
 *   STATUS_NOT_FOUND           no table
 *   STATUS_DATA_LOSS           another shape, NaN or infinity, a mapping out of the table
 *   STATUS_UNIMPLEMENTED       a table that is not of F32, F16, BF16 or F64 (but of int8); a
 *                              mapping that is not of I32 or I64
 *   STATUS_RESOURCE_EXHAUSTED  no memory */
enum status static_load(const struct model_shape *shape, const weights_t *weights,
                        static_model_t **out, struct err *err);
void static_destroy(static_model_t **self); /* NULL is fine */

/* Whether tokens [UNK] have to be left out, as model2vec does and StaticEmbedding does not: tells
 * it from the tensors' names, before anything is loaded. */
bool static_drops_unknown(const weights_t *weights);

/* ids: [start[n_seqs]] tokens end to end, each below shape->vocab_rows; sequence i is start[i] ..
 * start[i + 1] and may be empty. out: [n_seqs, hidden], not normalised. */
void static_forward(const static_model_t *self, const int32_t *ids, const uint32_t *start,
                    uint32_t n_seqs, float *out);

/* Bytes of the table and what belongs to it, mapped or not. */
size_t static_weight_bytes(const static_model_t *self);

#endif
