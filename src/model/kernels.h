/* kernels.h - everything of a transformer that is not a product with weights: layer norm,
 * activations, softmax, attention, sums of rows. One table of functions per instruction set.
 *
 *     const struct kernels *kernels = kernels_choose();
 *     kernels->layer_norm(x, hidden, n_tokens, hidden, weight, bias, eps);
 *
 * All arrays are row-major float32, `ld` numbers from row to row. Lengths are arbitrary: nothing
 * has to be a multiple of a vector, nothing past a row's length is read or written, alignment is
 * not needed. All tables give the same results up to rounding.
 *
 * Threads: immutable, no state. Memory: allocates nothing. */
#ifndef EMBER_MODEL_KERNELS_H
#define EMBER_MODEL_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum kernel_act {
    KERNEL_ACT_NONE,
    KERNEL_ACT_GELU,     /* x/2 (1 + erf(x / sqrt 2)), the exact form; absolute error below 5e-7 */
    KERNEL_ACT_GELU_NEW, /* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
    KERNEL_ACT_RELU,
    KERNEL_ACT_SILU, /* x / (1 + e^-x) */
};

/* Attention of one head over one sequence: out = softmax(q k^T) v, row by row. The scale
 * 1/sqrt(dim) is expected inside q already. */
struct kernel_attention {
    const float *q, *k, *v; /* [n, dim] each, `ld` from row to row */
    size_t ld;
    uint32_t n;         /* tokens of the sequence, all of them are keys */
    uint32_t n_queries; /* only the first n_queries rows are asked for; at most n */
    uint32_t dim;       /* numbers of a head */
    float *out;         /* [n_queries, dim], ld_out from row to row; may be q itself */
    size_t ld_out;
    bool more;      /* the next call is for the next head: q, k, v + dim; only for speed */
    float *scratch; /* kernels_attention_scratch(n, dim) numbers, aligned to 64 bytes */
};

typedef void kernel_attention_fn(const struct kernel_attention *call);

struct kernels {
    const char *name;     /* "avx512", "avx2", "portable" */
    bool (*usable)(void); /* this CPU and system can run it */

    /* x[i] = (x[i] - mean) / sqrt(variance + eps) * weight + bias over each of `rows` rows of n
     * numbers (Ba, Kiros, Hinton 2016); the variance is divided by n. bias may be NULL for none. */
    void (*layer_norm)(float *x, size_t ld, uint32_t rows, uint32_t n, const float *weight,
                       const float *bias, float eps);

    /* x = act(x + bias); bias [n] or NULL. */
    void (*bias_act)(float *x, size_t ld, uint32_t rows, uint32_t n, const float *bias,
                     enum kernel_act act);

    /* Gated activation (GLU, Shazeer 2020; SwiGLU with KERNEL_ACT_SILU): a row holds 2n numbers,
     * [up, n | gate, n]; its first n become up * act(gate), its last n stay as they were. */
    void (*gate)(float *x, size_t ld, uint32_t rows, uint32_t n, enum kernel_act act);

    /* Rotary positions (Su et al. 2021) in the form with halves instead of neighbours, in place. A
     * row holds heads * dim numbers, dim even; row p is the token at position p of one sequence.
     * In each head, for j < dim/2:
     *     (x[j], x[j + dim/2]) = (x[j] cos - x[j + dim/2] sin, x[j + dim/2] cos + x[j] sin)
     * with cos = cos_[p, j] and sin = sin_[p, j]; both tables are [rows, dim/2] end to end. */
    void (*rotate)(float *x, size_t ld, uint32_t rows, uint32_t heads, uint32_t dim,
                   const float *cos_, const float *sin_);

    /* Each row becomes e^(x - max) / sum. */
    void (*softmax)(float *x, size_t ld, uint32_t rows, uint32_t n);

    /* out[n] = half[n], numbers in half precision (IEEE 754 binary16), none NaN or infinite. */
    void (*widen)(float *out, const uint16_t *half, uint32_t n);

    /* out[n] = a[n] + b[n] + c[n]; out may be one of them. */
    void (*sum3)(float *out, const float *a, const float *b, const float *c, uint32_t n);

    /* out[n] = mean of `rows` rows */
    void (*mean)(float *out, const float *x, size_t ld, uint32_t rows, uint32_t n);

    kernel_attention_fn *attention;
};

/* Attention for models whose weights are narrower than float32: q, k, v and the softmax's weights
 * are rounded to bfloat16 where this CPU multiplies those faster, sums are float32; elsewhere
 * self->attention. */
kernel_attention_fn *kernels_attention_narrow(const struct kernels *self);

/* Numbers of scratch that attention over at most n tokens needs, with whichever table. */
size_t kernels_attention_scratch(uint32_t n, uint32_t dim);

const struct kernels *kernels_choose(void);              /* the fastest for this CPU; never NULL */
const struct kernels *kernels_by_name(const char *name); /* NULL: unknown, or not for this CPU */
const struct kernels *const *kernels_list(void);         /* all of this build; NULL ends the list */

#endif
