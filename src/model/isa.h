/* isa.h - the tables that gemm.c and kernels.c choose from; nobody else needs them. */
#ifndef EMBER_MODEL_ISA_H
#define EMBER_MODEL_ISA_H

#include "model/gemm.h"
#include "model/kernels.h"

#if defined(__x86_64__)
extern const struct kernels kernels_avx512, kernels_avx2;
extern const struct gemm_kernel gemm_avx512, gemm_avx2;
#endif
extern const struct kernels kernels_portable;
extern const struct gemm_kernel gemm_portable, gemm_openblas;

#endif
