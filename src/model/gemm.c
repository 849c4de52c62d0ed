/* gemm.c - which matrix product this CPU gets.
 *
 * Why kernels of our own and not oneDNN: measured (2.6.3, the one Debian 12 has), its packed
 * products reach 92 to 97 % of the registers' peak, as ours do, but it is a library of 40 MB that
 * writes its code at run time, which hardened systems forbid, its packed weights are not bytes
 * that a file could hold, and scales per row of A, an activation and a residual would each be a
 * pass over C. */
#include "model/gemm.h"

#include "base/limits.h"
#include "model/isa.h"

#include <string.h>

_Static_assert((int)LIMIT_HIDDEN <= (int)GEMM_I8_K_MAX, "sums of int8 products fit int32");

/* In order of preference. The packed kernels lead because short texts have few rows, where OpenBLAS
 * spends its time on packing weights again; without AVX2 its hand-written loops are ahead of what
 * compilers make of portable C. */
static const struct gemm_kernel *const lists[GEMM_PRECISIONS][6] = {
    [GEMM_F32] =
        {
#if defined(__x86_64__)
            &gemm_avx512,
            &gemm_avx2,
#endif
            &gemm_openblas,
            &gemm_portable,
        },
    [GEMM_BF16] =
        {
#if defined(__x86_64__)
            &gemm_bf16_avx512,
            &gemm_bf16_avx2,
#endif
            &gemm_bf16_portable,
        },
    [GEMM_I8] =
        {
#if defined(__x86_64__)
            &gemm_i8_avx512,
            &gemm_i8_avxvnni,
            &gemm_i8_avx2,
#endif
            &gemm_i8_portable,
        },
};

static const char *const precision_names[GEMM_PRECISIONS] = {
    [GEMM_F32] = "f32",
    [GEMM_BF16] = "bf16",
    [GEMM_I8] = "i8",
};

const struct gemm_kernel *const *gemm_list(enum gemm_precision precision) {
    return lists[precision];
}

const struct gemm_kernel *gemm_choose(enum gemm_precision precision) {
    const struct gemm_kernel *const *list = lists[precision];
    while (!(*list)->usable()) /* the portable one always is */
        list++;
    return *list;
}

const struct gemm_kernel *gemm_by_name(enum gemm_precision precision, const char *name) {
    for (const struct gemm_kernel *const *list = lists[precision]; *list; list++)
        if (strcmp((*list)->name, name) == 0)
            return (*list)->usable() ? *list : NULL;
    return NULL;
}

const char *gemm_precision_name(enum gemm_precision precision) {
    return precision_names[precision];
}

bool gemm_precision_parse(const char *name, enum gemm_precision *out) {
    for (int i = 0; i < GEMM_PRECISIONS; i++)
        if (strcmp(precision_names[i], name) == 0) {
            *out = (enum gemm_precision)i;
            return true;
        }
    return false;
}
