/* isa_bf16_avx2.c - bfloat16 weights for AVX2 with FMA. */
#include "model/vec_avx2.h"

#include "model/bf16_widen.h"
#include "model/isa.h"

#include "model/gemm_bf16.h"

const struct gemm_kernel gemm_bf16_avx2 = DOT_KERNEL("avx2", GEMM_BF16, 1);
