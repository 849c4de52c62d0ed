/* fidelity.h - how far the answers of one precision are from those of another, over the same
 * texts.
 *
 * Threads: pure functions. */
#ifndef EMBER_MODEL_TOOL_FIDELITY_H
#define EMBER_MODEL_TOOL_FIDELITY_H

#include "engine/engine.h"
#include "eval_metrics.h"

/* Vectors a and b, [n, dim] each, of the same texts. */
struct fidelity_vectors {
    struct eval_spread cosine; /* of a text's two vectors */
    double score_change;       /* largest change of the cosine between two different texts */
    double neighbours;         /* share of texts whose most similar other text is the same */
};
/* Time grows with n squared: the last two are over the first FIDELITY_PAIRED texts. False without
 * memory. With n < 2 the last two are NaN. */
enum { FIDELITY_PAIRED = 1000 };
bool fidelity_vectors(const float *a, const float *b, uint32_t n, uint32_t dim,
                      struct fidelity_vectors *out);

/* Logits a and b, [n, info->dim] each, of the same texts or pairs. */
struct fidelity_logits {
    double logit_change; /* largest */
    double score_change; /* largest, of what a reply says: softmax, sigmoid, entailment */
    double labels;       /* share with the same largest logit; NaN with a single one */
    double spearman;     /* of the scores of a reranker; NaN with other heads */
};
bool fidelity_logits(const struct engine_info *info, const float *a, const float *b, uint32_t n,
                     struct fidelity_logits *out);

#endif
