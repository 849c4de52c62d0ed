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

/* How weights are kept and products formed; A and C are float32 always. */
enum gemm_precision { GEMM_F32 };

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
    const char *name; /* "avx512", "avx2", "openblas", "portable" */
    enum gemm_precision precision;
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

/* The fastest kernel of this precision for this CPU; never NULL for GEMM_F32. */
const struct gemm_kernel *gemm_choose(enum gemm_precision precision);

/* The kernel called `name`, or NULL when it does not exist or this CPU cannot run it. */
const struct gemm_kernel *gemm_by_name(const char *name);

/* All kernels of this build in order of preference, usable here or not; NULL ends the list. */
const struct gemm_kernel *const *gemm_list(void);

static inline void gemm_run(const struct gemm_weights *weights, const struct gemm_call *call) {
    weights->kernel->run(weights, call);
}

#endif
