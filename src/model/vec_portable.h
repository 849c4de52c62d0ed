/* vec_portable.h - four floats at a time through the vector extensions of gcc and clang: SSE2 on
 * any x86-64, NEON on ARM, plain code elsewhere. What each operation means is said in
 * vec_avx512.h. */
#ifndef EMBER_MODEL_VEC_H
#define EMBER_MODEL_VEC_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define VEC_INLINE static inline __attribute__((always_inline))

enum {
    VEC_LANES = 4,
#if defined(__aarch64__)
    TILE_ROWS = 8, /* a tile's sums: 8 x 2 of 32 registers */
#else
    TILE_ROWS = 6, /* 6 x 2 of 16 registers */
#endif
    TILE_VECS = 2,
};

typedef float vec_t __attribute__((vector_size(16)));
typedef int32_t vec_int_t __attribute__((vector_size(16)));

VEC_INLINE bool vec_usable(void) {
    return true;
}

VEC_INLINE vec_t vec_set(float x) {
    return (vec_t){x, x, x, x};
}
VEC_INLINE vec_t vec_load(const float *p) {
    vec_t x;
    memcpy(&x, p, sizeof x);
    return x;
}
VEC_INLINE void vec_store(float *p, vec_t x) {
    memcpy(p, &x, sizeof x);
}
VEC_INLINE vec_t vec_load_first(const float *p, uint32_t n) {
    return (vec_t){p[0], n > 1 ? p[1] : 0.0f, n > 2 ? p[2] : 0.0f, n > 3 ? p[3] : 0.0f};
}
VEC_INLINE void vec_store_first(float *p, vec_t x, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        p[i] = x[i];
}

/* a where the mask is all ones, b where it is 0. */
VEC_INLINE vec_t vec_pick(vec_int_t mask, vec_t a, vec_t b) {
    return (vec_t)(((vec_int_t)a & mask) | ((vec_int_t)b & ~mask));
}
VEC_INLINE vec_t vec_fill_after(vec_t x, uint32_t n, float fill) {
    const vec_int_t lane = {0, 1, 2, 3};
    const int32_t count = (int32_t)n;
    return vec_pick(lane < (vec_int_t){count, count, count, count}, x, vec_set(fill));
}

VEC_INLINE vec_t vec_fma(vec_t a, vec_t b, vec_t c) {
    return a * b + c; /* one instruction where the target has it */
}
VEC_INLINE vec_t vec_max(vec_t a, vec_t b) {
    return vec_pick(a > b, a, b);
}
VEC_INLINE vec_t vec_min(vec_t a, vec_t b) {
    return vec_pick(a < b, a, b);
}
VEC_INLINE vec_t vec_abs(vec_t x) {
    const int32_t sign = INT32_MAX;
    return (vec_t)((vec_int_t)x & (vec_int_t){sign, sign, sign, sign});
}
/* 1.5 x 2^23 has no room for a fraction, so adding it rounds; |x| must stay below 2^22. */
VEC_INLINE vec_t vec_round(vec_t x) {
    const vec_t big = vec_set(12582912.0f);
    return (x + big) - big;
}
VEC_INLINE vec_t vec_scale(vec_t x, vec_t n) {
    const vec_int_t exponent = __builtin_convertvector(n, vec_int_t) + 127;
    return x * (vec_t)(exponent << 23);
}
VEC_INLINE float vec_sum(vec_t x) {
    return (x[0] + x[1]) + (x[2] + x[3]);
}
VEC_INLINE float vec_top(vec_t x) {
    float a = x[0] > x[1] ? x[0] : x[1], b = x[2] > x[3] ? x[2] : x[3];
    return a > b ? a : b;
}

VEC_INLINE vec_t vec_zip_low(vec_t a, vec_t b) {
    return __builtin_shufflevector(a, b, 0, 4, 1, 5);
}
VEC_INLINE vec_t vec_zip_high(vec_t a, vec_t b) {
    return __builtin_shufflevector(a, b, 2, 6, 3, 7);
}

#endif
