/* isa.h - the tables that gemm.c and kernels.c choose from; nobody else needs them. */
#ifndef EMBER_MODEL_ISA_H
#define EMBER_MODEL_ISA_H

#include "model/gemm.h"
#include "model/kernels.h"

/* The largest of all instruction sets: scratch is sized for these, kernels_attention.h asserts
 * them. */
enum { ISA_LANES_MAX = 16, ISA_TILE_ROWS_MAX = 8 };

/* Keys that queries meet at a time: with heads of 64 their K^T and V take a quarter of the second-
 * level cache. */
enum { ISA_ATTENTION_KEYS = 512 };

/* Numbers of scratch that attention over n tokens needs, part by part in this order; each part is a
 * multiple of ISA_LANES_MAX. */
struct isa_attention_need {
    size_t powers, kt, v, sums, scores, care, o;
    size_t ld_powers; /* an odd number of lines, so that rows fall on different ones of the cache */
};
struct isa_attention_need isa_attention_need(uint32_t n, uint32_t dim);

/* Attention that needs more of a CPU than its table of kernels does. */
struct isa_attention {
    bool (*usable)(void);
    kernel_attention_fn *run;
};

#if defined(__x86_64__)
extern const struct isa_attention attention_bf16_avx512;
extern const struct kernels kernels_avx512, kernels_avx2;
extern const struct gemm_kernel gemm_avx512, gemm_avx2;
extern const struct gemm_kernel gemm_bf16_avx512, gemm_bf16_avx2;
extern const struct gemm_kernel gemm_i8_avx512, gemm_i8_avxvnni, gemm_i8_avx2;
#endif
extern const struct kernels kernels_portable;
extern const struct gemm_kernel gemm_portable, gemm_openblas;
extern const struct gemm_kernel gemm_bf16_portable, gemm_i8_portable;

#endif
