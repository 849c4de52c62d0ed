/* isa_bf16_portable.c - bfloat16 weights for any CPU. */
#include "model/vec_portable.h"

#include "model/bf16_widen.h"
#include "model/isa.h"

#include "model/gemm_bf16.h"

const struct gemm_kernel gemm_bf16_portable = DOT_KERNEL("portable", GEMM_BF16, 1);
