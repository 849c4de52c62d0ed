/* isa_avx512.c - products and row kernels for AVX-512: the shared text of gemm_packed.h and
 * kernels_rows.h, compiled over vec_avx512.h. */
#include "model/vec_avx512.h"

#include "model/gemm_packed.h"
#include "model/isa.h"
#include "model/kernels_rows.h"

const struct kernels kernels_avx512 = ROWS_KERNELS("avx512");
const struct gemm_kernel gemm_avx512 = PACKED_KERNEL("avx512");
