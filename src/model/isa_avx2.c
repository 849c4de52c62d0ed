/* isa_avx2.c - products and row kernels for AVX2 with FMA: the shared text of gemm_packed.h and
 * kernels_rows.h, compiled over vec_avx2.h. */
#include "model/vec_avx2.h"

#include "model/gemm_packed.h"
#include "model/isa.h"
#include "model/kernels_rows.h"

const struct kernels kernels_avx2 = ROWS_KERNELS("avx2");
const struct gemm_kernel gemm_avx2 = PACKED_KERNEL("avx2");
