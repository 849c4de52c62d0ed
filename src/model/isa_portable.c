/* isa_portable.c - products and row kernels for any CPU: the shared text of gemm_packed.h and
 * kernels_rows.h, compiled over vec_portable.h. */
#include "model/vec_portable.h"

#include "model/gemm_packed.h"
#include "model/isa.h"
#include "model/kernels_rows.h"

const struct kernels kernels_portable = ROWS_KERNELS("portable");
const struct gemm_kernel gemm_portable = PACKED_KERNEL("portable");
