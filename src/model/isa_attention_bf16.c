/* isa_attention_bf16.c - attention with products of bfloat16 for AVX-512 with BF16: the shared
 * text of kernels_attention.h, compiled with words of two numbers. */
#include "model/vec_avx512.h"

#define TILE_STEP(x, w, sum) ((vec_t)_mm512_dpbf16_ps(sum, (__m512bh)(x), (__m512bh)(w)))
#define ATTENTION_PAIRS      1
#include "model/isa.h"
#include "model/kernels_attention.h"

static bool usable(void) {
    return vec_usable() && __builtin_cpu_supports("avx512bf16");
}

const struct isa_attention attention_bf16_avx512 = {usable, rows_attention};
