/* shape.h - what a model is, read from its files: sizes, variants, pooling. Never #defined. */
#ifndef EMBER_MODEL_SHAPE_H
#define EMBER_MODEL_SHAPE_H

#include <stdbool.h>
#include <stdint.h>

enum model_family {
    MODEL_BERT, /* absolute positions, post layer norm; also StructBERT, bge, gte (BERT-shaped) */
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
    uint32_t positions;  /* P, rows of the position table */
    uint32_t types;      /* rows of the segment table */
    uint32_t max_tokens; /* longest sequence, special tokens included: the smallest of all limits */
    float eps;           /* of every layer norm */
};

#endif
