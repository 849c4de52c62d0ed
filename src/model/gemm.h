/* gemm.h - rows times prepared weights, the one operation that takes nearly all of a model's time:
 *
 *     C[m, n] = act(A[m, k] W^T + bias) + residual       W[n, k] as PyTorch stores a linear layer
 *
 * Weights are packed once, at load, into the order in which a kernel reads them; a call then only
 * streams them. Every kernel takes any m, n, k >= 1; nothing has to be a multiple of anything.
 *
 *     const struct gemm_kernel *kernel = gemm_choose(GEMM_F32);
 *     void *blob = aligned_alloc(GEMM_ALIGN, kernel->packed_bytes(n, k));
 *     kernel->pack(w, bias, n, k, blob);
 *     struct gemm_weights weights = {kernel, n, k, blob};
 *     gemm_run(&weights, &(struct gemm_call){.a = a, .lda = k, .m = m, .c = c, .ldc = n});
 *
 * Threads: kernels and packed weights are immutable, any number of threads may share them.
 * Memory: allocates nothing. Packed weights are bytes without pointers in memory of the caller,
 * so they may as well lie in a mapped file; they fit only the kernel and the n, k they were
 * packed for. */
#ifndef EMBER_MODEL_GEMM_H
#define EMBER_MODEL_GEMM_H

#include "model/kernels.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GEMM_ALIGN = 64 }; /* bytes, of packed weights */

/* How weights are kept and products formed; A and C are float32 always.
 *   GEMM_F32   nothing is lost but float32 rounding;
 *   GEMM_BF16  weights and A rounded to bfloat16 (eight bits), sums in float32;
 *   GEMM_I8    weights rounded to a whole number of scale[column], rows of A to one of scale[row],
 *              both in -127 .. 127, sums exact in int32 and so the same with every kernel.
 * Below float32 KERNEL_ACT_GELU may be off by 7e-5. NaN in a row of A is NaN in all of that row of
 * C whatever the activation; infinity is NaN with GEMM_I8, and what float32 makes of it
 * otherwise. */
enum gemm_precision { GEMM_F32, GEMM_BF16, GEMM_I8 };
enum { GEMM_PRECISIONS = 3 };

/* The largest k of an int8 product: 128 x 127 k fits int32 (gemm_i8.h). */
enum { GEMM_I8_K_MAX = INT32_MAX / (128 * 127) };

struct gemm_kernel;

/* One prepared matrix. `packed` is borrowed for as long as the struct is used. */
struct gemm_weights {
    const struct gemm_kernel *kernel;
    uint32_t n, k; /* outputs, inputs */
    const void *packed;
};

struct gemm_call {
    const float *a; /* [m, k] with lda >= k numbers from row to row; nothing past k is read */
    size_t lda;
    uint32_t m;
    float *c; /* [m, n] with ldc >= n; must not overlap a; nothing past n is written */
    size_t ldc;
    enum kernel_act act;
    const float *residual; /* [m, n], added last; NULL for none; may be c itself */
    size_t ld_residual;
    void *scratch; /* scratch_bytes(k, m) bytes aligned to GEMM_ALIGN; NULL where that is 0 */
};

struct gemm_kernel {
    /* Unique within a precision:
     *   f32   "avx512", "avx2", "openblas", "portable"
     *   bf16  "avx512-bf16", "avx2", "portable"
     *   i8    "avx512-vnni", "avx-vnni", "avx2", "portable" */
    const char *name;
    enum gemm_precision precision;

    /* Version of the packed bytes, which may lie in files: (precision, name, layout, n, k) decide
     * what pack() writes, so whatever alters those bytes must alter this number. Starts at 1. */
    uint32_t layout;
    bool (*usable)(void); /* this CPU and system can run it */

    /* Bytes of packed weights for n outputs and k inputs, bias included. */
    size_t (*packed_bytes)(uint32_t n, uint32_t k);

    /* Write packed_bytes(n, k) bytes at packed, aligned to GEMM_ALIGN. w: [n, k] end to end;
     * bias: [n], or NULL for none. */
    void (*pack)(const float *w, const float *bias, uint32_t n, uint32_t k, void *packed);

    /* Bytes of call->scratch for m rows of k numbers: where activations are converted first. */
    size_t (*scratch_bytes)(uint32_t k, uint32_t m);

    void (*run)(const struct gemm_weights *weights, const struct gemm_call *call);
};

/* The fastest kernel of this precision for this CPU; never NULL. */
const struct gemm_kernel *gemm_choose(enum gemm_precision precision);

/* The kernel of this precision called `name`, or NULL when it does not exist or this CPU cannot run
 * it. */
const struct gemm_kernel *gemm_by_name(enum gemm_precision precision, const char *name);

/* All kernels of this precision in this build in order of preference, usable here or not; NULL ends
 * the list. */
const struct gemm_kernel *const *gemm_list(enum gemm_precision precision);

/* "f32", "bf16", "i8": in settings, file names, log lines. */
const char *gemm_precision_name(enum gemm_precision precision);
bool gemm_precision_parse(const char *name, enum gemm_precision *out); /* false: no such name */

static inline void gemm_run(const struct gemm_weights *weights, const struct gemm_call *call) {
    weights->kernel->run(weights, call);
}

#endif
