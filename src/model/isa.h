/* isa.h - the tables that gemm.c and kernels.c choose from; nobody else needs them. */
#ifndef EMBER_MODEL_ISA_H
#define EMBER_MODEL_ISA_H

#include "model/gemm.h"
#include "model/kernels.h"

/* The largest of all instruction sets: scratch is sized for these, kernels_rows.h asserts them. */
enum { ISA_LANES_MAX = 16, ISA_TILE_ROWS_MAX = 8 };

#if defined(__x86_64__)
extern const struct kernels kernels_avx512, kernels_avx2;
extern const struct gemm_kernel gemm_avx512, gemm_avx2;
extern const struct gemm_kernel gemm_bf16_avx512, gemm_bf16_avx2;
extern const struct gemm_kernel gemm_i8_avx512, gemm_i8_avxvnni, gemm_i8_avx2;
#endif
extern const struct kernels kernels_portable;
extern const struct gemm_kernel gemm_portable, gemm_openblas;
extern const struct gemm_kernel gemm_bf16_portable, gemm_i8_portable;

#endif
