/* bert_parts.h - the inside of bert_t, shared by bert.c (forward), bert_load.c (files to memory),
 * their tests and the benchmark. Everybody else uses bert.h. */
#ifndef EMBER_MODEL_BERT_PARTS_H
#define EMBER_MODEL_BERT_PARTS_H

#include "model/bert.h"
#include "model/kernels.h"

struct bert_norm {
    const float *weight, *bias; /* [H] each */
};

struct bert_layer {
    struct gemm_weights qkv;       /* [3H, H]: query with 1/sqrt(d) inside, key, value */
    struct gemm_weights out;       /* [H, H] */
    struct gemm_weights ffn1;      /* [I, H] */
    struct gemm_weights ffn2;      /* [H, I] */
    struct bert_norm norm1, norm2; /* after attention, after the feed-forward part */
};

struct bert {
    struct model_shape shape;
    const struct gemm_kernel *gemm;
    const struct kernels *kernels;
    enum kernel_act act;
    struct arena memory;    /* everything below points into it */
    const float *words;     /* [vocab_rows, H] */
    const float *positions; /* [positions, H] */
    const float *types;     /* [types, H] */
    struct bert_norm norm;
    struct bert_layer *layers; /* [L] */
};

/* Where weights come from: a file, or numbers made up by a test or a benchmark. */
struct bert_source {
    const void *from;
    bool (*has)(const void *from, const char *name);
    /* As weights_read(). */
    enum status (*read)(const void *from, const char *name, uint64_t rows, uint64_t cols,
                        float *out, struct err *err);
};

/* bert_load() over any source. */
enum status bert_load_from(const struct model_shape *shape, const struct bert_source *source,
                           const struct gemm_kernel *kernel, bert_t **out, struct err *err);

/* Where the time of a forward pass goes, for the benchmark. */
enum bert_part {
    BERT_EMBED,
    BERT_QKV,
    BERT_ATTENTION,
    BERT_OUT,
    BERT_FFN1,
    BERT_FFN2,
    BERT_NORM,
    BERT_POOL,
    BERT_PARTS
};

struct bert_profile {
    uint64_t last_ns;
    uint64_t spent_ns[BERT_PARTS];
};

/* bert_forward(); adds to profile->spent_ns unless profile is NULL. */
void bert_forward_profiled(const bert_t *self, const int32_t *ids, const int32_t *types,
                           const uint32_t *start, uint32_t n_seqs, struct arena *arena, float *out,
                           struct bert_profile *profile);

#endif
