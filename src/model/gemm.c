/* gemm.c - which matrix product this CPU gets. */
#include "model/gemm.h"

#include "model/isa.h"

#include <string.h>

/* In order of preference. The packed kernels lead because short texts have few rows, where OpenBLAS
 * spends its time on packing weights again; without AVX2 its hand-written loops are ahead of what
 * compilers make of portable C. */
static const struct gemm_kernel *const list[] = {
#if defined(__x86_64__)
    &gemm_avx512,   &gemm_avx2,
#endif
    &gemm_openblas, &gemm_portable, NULL,
};

const struct gemm_kernel *const *gemm_list(void) {
    return list;
}

const struct gemm_kernel *gemm_choose(enum gemm_precision precision) {
    for (uint32_t i = 0; list[i]; i++)
        if (list[i]->precision == precision && list[i]->usable())
            return list[i];
    return NULL;
}

const struct gemm_kernel *gemm_by_name(const char *name) {
    for (uint32_t i = 0; list[i]; i++)
        if (strcmp(list[i]->name, name) == 0)
            return list[i]->usable() ? list[i] : NULL;
    return NULL;
}
