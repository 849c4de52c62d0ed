/* encoder_parts.h - the inside of encoder_t, shared by encoder.c (forward), encoder_load.c (files
 * to memory), their tests and the benchmark. Everybody else uses encoder.h. */
#ifndef EMBER_MODEL_ENCODER_PARTS_H
#define EMBER_MODEL_ENCODER_PARTS_H

#include "model/encoder.h"
#include "model/kernels.h"

struct encoder_norm {
    const float *weight, *bias; /* [H] each */
};

struct encoder_layer {
    struct gemm_weights qkv;          /* [3H, H]: query with 1/sqrt(d) inside, key, value */
    struct gemm_weights out;          /* [H, H] */
    struct gemm_weights ffn1;         /* [I, H] */
    struct gemm_weights ffn2;         /* [H, I] */
    struct encoder_norm norm1, norm2; /* after attention, after the feed-forward part */
};

struct encoder {
    struct model_shape shape;
    const struct gemm_kernel *gemm;
    const struct kernels *kernels;
    enum kernel_act act;
    struct arena memory;    /* everything below points into it */
    const float *words;     /* [vocab_rows, H] */
    const float *positions; /* [positions, H] */
    const float *types;     /* [types, H] */
    struct encoder_norm norm;
    struct encoder_layer *layers; /* [L] */
};

/* Where weights come from: a file, or numbers made up by a test or a benchmark. */
struct encoder_source {
    const void *from;
    bool (*has)(const void *from, const char *name);
    /* As weights_read(). */
    enum status (*read)(const void *from, const char *name, uint64_t rows, uint64_t cols,
                        float *out, struct err *err);
};

/* encoder_load() over any source. */
enum status encoder_load_from(const struct model_shape *shape, const struct encoder_source *source,
                              const struct gemm_kernel *kernel, encoder_t **out, struct err *err);

/* Where the time of a forward pass goes, for the benchmark. */
enum encoder_part {
    ENCODER_EMBED,
    ENCODER_QKV,
    ENCODER_ATTENTION,
    ENCODER_OUT,
    ENCODER_FFN1,
    ENCODER_FFN2,
    ENCODER_NORM,
    ENCODER_POOL,
    ENCODER_PARTS
};

struct encoder_profile {
    uint64_t last_ns;
    uint64_t spent_ns[ENCODER_PARTS];
};

/* encoder_forward(); adds to profile->spent_ns unless profile is NULL. */
void encoder_forward_profiled(const encoder_t *self, const int32_t *ids, const int32_t *types,
                              const uint32_t *start, uint32_t n_seqs, struct arena *arena,
                              float *out, struct encoder_profile *profile);

#endif
