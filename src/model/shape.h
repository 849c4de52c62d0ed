/* shape.h - what a model is, read from its files: sizes, variants, pooling. Never #defined. */
#ifndef EMBER_MODEL_SHAPE_H
#define EMBER_MODEL_SHAPE_H

#include <stdbool.h>
#include <stdint.h>

enum model_family {
    MODEL_BERT,  /* absolute positions, post layer norm; also StructBERT, bge, gte (BERT-shaped) */
    MODEL_NOMIC, /* rotary positions, gated feed-forward part, no biases */
    MODEL_DISTILBERT, /* BERT without segments and pooler */
    MODEL_STATIC,     /* one vector per token, averaged; layers, heads, inner and types are 0.
                       * vocab_rows counts token ids (tensor "mapping", else "embeddings") */
};

/* What stands behind the encoder. With a head the model gives logits instead of a vector. */
enum model_head {
    MODEL_HEAD_NONE,   /* the pooled vector */
    MODEL_HEAD_LABELS, /* logits of the labels that the model was trained with */
    MODEL_HEAD_NLI,    /* logits of entailment and its like, for pairs: zero-shot */
    MODEL_HEAD_SCORE,  /* one logit, for pairs: reranker */
};

enum model_act {
    MODEL_GELU,     /* x/2 (1 + erf(x / sqrt 2)), the exact form (Hendrycks, Gimpel 2016) */
    MODEL_GELU_NEW, /* its tanh approximation */
    MODEL_RELU,
    MODEL_SILU,
};

enum model_pooling { MODEL_POOL_MEAN, MODEL_POOL_CLS };

struct model_shape {
    enum model_family family;
    enum model_act act;
    enum model_pooling pooling;
    bool normalize;      /* modules.json ends with a Normalize module */
    uint32_t layers;     /* L */
    uint32_t hidden;     /* H, numbers of a token's state and of the vector */
    uint32_t heads;      /* A, divides H */
    uint32_t inner;      /* I, width inside the feed-forward part */
    uint32_t vocab_rows; /* rows of the word table, at least the vocabulary's pieces */
    uint32_t positions;  /* P, rows of the position table; without a table: what is allowed */
    uint32_t types;      /* rows of the segment table; 0: the family has none */
    uint32_t max_tokens; /* longest sequence, special tokens included: the smallest of all limits */
    float eps;           /* of every layer norm */

    bool gated;          /* feed-forward part is act(x Wg) * (x Wu) (SwiGLU, Shazeer 2020) */
    float rotary_base;   /* of rotary positions (Su et al. 2021); 0: a position table */
    float rotary_factor; /* dynamic scaling beyond rotary_trained tokens; 0: none */
    uint32_t rotary_trained;

    enum model_head head;   /* with one, pooling is CLS: all heads stand on the first token */
    uint32_t classes;       /* logits; 0 without a head */
    bool sigmoid;           /* scores of classes stand alone; otherwise softmax */
    uint32_t entailment;    /* with MODEL_HEAD_NLI: their indexes */
    uint32_t contradiction; /* (or "not entailment") */
};

/* Numbers that a forward pass gives for a sequence. */
static inline uint32_t model_outputs(const struct model_shape *shape) {
    return shape->head == MODEL_HEAD_NONE ? shape->hidden : shape->classes;
}

#endif
