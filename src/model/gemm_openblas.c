/* gemm_openblas.c - the door to OpenBLAS: products where we have no kernel of our own, and a second
 * opinion for tests where we do.
 *
 * Weights are kept transposed, [bias n][W^T: k x n], because OpenBLAS is a fifth faster when it
 * need not turn them. Activation and bias are a pass over C afterwards. */
#include "model/gemm.h"
#include "model/isa.h"

#include <cblas.h>
#include <pthread.h>
#include <string.h>

static bool usable(void) {
    return true;
}

static size_t packed_bytes(uint32_t n, uint32_t k) {
    return (size_t)n * ((size_t)k + 1) * sizeof(float);
}

static void pack(const float *w, const float *bias, uint32_t n, uint32_t k, void *packed) {
    float *out = packed;
    if (bias)
        memcpy(out, bias, n * sizeof *out);
    else
        memset(out, 0, n * sizeof *out);
    out += n;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < k; j++)
            out[(size_t)j * n + i] = w[(size_t)i * k + j];
}

static size_t scratch_bytes(uint32_t k, uint32_t m) {
    (void)k, (void)m;
    return 0;
}

/* A runner is one thread and expects its products to stay on it. */
static void one_thread(void) {
    openblas_set_num_threads(1);
}

static void copy_rows(const struct gemm_call *call, uint32_t n) {
    if (call->residual == call->c)
        return;
    for (uint32_t i = 0; i < call->m; i++)
        memcpy(call->c + i * call->ldc, call->residual + i * call->ld_residual,
               n * sizeof *call->c);
}

static void add_rows(const struct gemm_call *call, uint32_t n) {
    for (uint32_t i = 0; i < call->m; i++)
        for (uint32_t j = 0; j < n; j++)
            call->c[i * call->ldc + j] += call->residual[i * call->ld_residual + j];
}

static void run(const struct gemm_weights *weights, const struct gemm_call *call) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, one_thread);
    const uint32_t n = weights->n, k = weights->k;
    const float *bias = weights->packed, *w = bias + n;
    /* Without an activation the residual can be there first and the product be added to it. */
    const bool start_from_residual = call->residual && call->act == KERNEL_ACT_NONE;
    if (start_from_residual)
        copy_rows(call, n);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)call->m, (int)n, (int)k, 1.0f,
                call->a, (int)call->lda, w, (int)n, start_from_residual ? 1.0f : 0.0f, call->c,
                (int)call->ldc);
    kernels_choose()->bias_act(call->c, call->ldc, call->m, n, bias, call->act);
    if (call->residual && !start_from_residual)
        add_rows(call, n);
}

const struct gemm_kernel gemm_openblas = {
    .name = "openblas",
    .precision = GEMM_F32,
    .layout = 1,
    .usable = usable,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .scratch_bytes = scratch_bytes,
    .run = run,
};
