/* encoder_parts.h - the inside of encoder_t, shared by encoder.c (forward), encoder_image.c (where
 * what lies), encoder_load.c (files to memory), whoever keeps prepared weights in a file, their
 * tests and the benchmark. Everybody else uses encoder.h.
 *
 *     struct encoder      the plan: sizes and pointers, private to a process
 *        |  |  |
 *        v  v  v
 *     image               prepared weights: bytes without pointers, alike in every process, so
 *                         they may as well lie in a mapped file
 *
 * What lies where in an image is decided by (shape, kernel) alone. */
#ifndef EMBER_MODEL_ENCODER_PARTS_H
#define EMBER_MODEL_ENCODER_PARTS_H

#include "model/encoder.h"
#include "model/kernels.h"

enum { ENCODER_IMAGE_ALIGN = 64 }; /* bytes, of an image's address */

/* Version of the image's layout: whatever alters encoder_lay_out() or what encoder_image_fill()
 * writes must alter this number, as packed matrices have struct gemm_kernel's `layout`. */
enum { ENCODER_IMAGE_LAYOUT = 1 };

struct encoder_norm {
    const float *weight, *bias; /* [H] each */
};

struct encoder_layer {
    struct gemm_weights qkv;          /* [3H, H]: query with 1/sqrt(d) inside, key, value */
    struct gemm_weights out;          /* [H, H] */
    struct gemm_weights ffn1;         /* [I, H], or, gated, [2I, H]: what passes, its gate */
    struct gemm_weights ffn2;         /* [H, I] */
    struct encoder_norm norm1, norm2; /* after attention, after the feed-forward part */
};

struct encoder {
    struct model_shape shape;
    const struct gemm_kernel *gemm;
    const struct gemm_kernel *head_gemm; /* float32 whatever `gemm` is */
    const struct kernels *kernels;
    kernel_attention_fn *attention; /* theirs, for this precision */
    enum kernel_act act;
    const void *image; /* everything below points into it, but for layers and zeros */
    size_t image_bytes;
    void *owned;  /* the image where it is ours, else NULL */
    float *zeros; /* [H] the row of a table that a family does not have */

    const float *words;         /* [vocab_rows, H], or NULL and instead: */
    const uint16_t *half_words; /* the same in half precision (IEEE 754 binary16) */
    const float *positions;     /* [positions, H], or NULL */
    const float *types;         /* [types, H], or NULL */
    const float *cosines;       /* [max_tokens, d/2] of rotary positions, or NULL */
    const float *sines;
    struct encoder_norm norm;
    struct gemm_weights head_inner; /* [H, H]: pooler or pre_classifier, with a head */
    struct gemm_weights classifier; /* [classes, H] */
    struct encoder_layer *layers;   /* [L] */
};

/* Where weights come from: a file, or numbers made up by a test or a benchmark. */
struct encoder_source {
    const void *from;
    bool (*has)(const void *from, const char *name);
    /* Rows of a matrix, 1 of a vector, 0 when absent. NULL where `read` takes any sizes. */
    uint64_t (*rows)(const void *from, const char *name);
    /* Rows first .. first + n of a tensor [rows, cols], as weights_read_rows(). */
    enum status (*read)(const void *from, const char *name, uint64_t rows, uint64_t cols,
                        uint64_t first, uint64_t n, float *out, struct err *err);
};

struct encoder_source encoder_source_of(const weights_t *weights); /* borrows it */

/* encoder_load() over any source. */
enum status encoder_load_from(const struct model_shape *shape, const struct encoder_source *source,
                              const struct gemm_kernel *kernel, encoder_t **out, struct err *err);

/* ---- images. In this order:
 *
 *     encoder_complete(&shape, &source, &err)
 *     encoder_image_bytes(&shape, kernel)      memory or a file of that size, mapped to be written
 *     encoder_image_fill(&shape, kernel, &source, image, &err)
 *     encoder_over(&shape, kernel, image, &encoder, &err)       here and in any other process */

/* Put sizes that only the tensors tell (inner of gated models, classes of a head that the
 * configuration does not name) into *shape. STATUS_UNIMPLEMENTED for what is no encoder here. */
enum status encoder_complete(struct model_shape *shape, const struct encoder_source *source,
                             struct err *err);

size_t encoder_image_bytes(const struct model_shape *shape, const struct gemm_kernel *kernel);

/* The layout in which the kernel of the head's products reads its part of the image; 0 without a
 * head. */
uint32_t encoder_head_layout(const struct model_shape *shape, const struct gemm_kernel *kernel);

/* Read and prepare all weights into the encoder_image_bytes() bytes at `image`. The same bytes
 * come out every time, gaps included, when they were zeros before. Errors as encoder_load(). */
enum status encoder_image_fill(const struct model_shape *shape, const struct gemm_kernel *kernel,
                               const struct encoder_source *source, void *image, struct err *err);

/* An encoder over an image that somebody else holds; it is only read, and borrowed until
 * encoder_destroy(). Its values are not checked again. */
enum status encoder_over(const struct model_shape *shape, const struct gemm_kernel *kernel,
                         const void *image, encoder_t **out, struct err *err);

/* Point everything in *self into its image, by self->shape, gemm and head_gemm; returns the bytes
 * that an image has. self->layers may be NULL: then only the sum is of use. */
size_t encoder_lay_out(struct encoder *self);

/* ---- what a forward pass does, for the benchmark and for tests */

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

    /* Unless NULL, called after every step with its rows (of a block at a time behind attention):
     * "embeddings.sum", "embeddings.out", and of each layer "query" (over sqrt(d), rotary positions
     * inside), "key", "value", "context", "attention.out", "intermediate" or "gated", "out"; then
     * "pooler.out". */
    void (*see)(void *arg, const char *step, uint32_t layer, const float *x, size_t ld,
                uint32_t rows, uint32_t n);
    void *arg;
};

/* encoder_forward(); adds to profile->spent_ns unless profile is NULL. */
void encoder_forward_profiled(const encoder_t *self, const int32_t *ids, const int32_t *types,
                              const uint32_t *start, uint32_t n_seqs, struct arena *arena,
                              float *out, struct encoder_profile *profile);

#endif
