/* peak.h - what this core can do at most, measured beside the thing that is judged by it: multiply-
 * adds that never leave the registers, and memory read once. The best of many short tries, because
 * the machine may be shared and its clock moves. */
#ifndef EMBER_PEAK_H
#define EMBER_PEAK_H

#include "base/clock.h"
#include "model/gemm.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

/* Twelve sums that do not wait for each other, written in assembly so that no compiler moves them
 * to memory. */
#define PEAK_12(op, r)                                                                             \
    op " %%" r "14,%%" r "15,%%" r "0\n" op " %%" r "14,%%" r "15,%%" r "1\n" op " %%" r "14,%%" r \
       "15,%%" r "2\n" op " %%" r "14,%%" r "15,%%" r "3\n" op " %%" r "14,%%" r "15,%%" r         \
       "4\n" op " %%" r "14,%%" r "15,%%" r "5\n" op " %%" r "14,%%" r "15,%%" r "6\n" op " %%" r  \
       "14,%%" r "15,%%" r "7\n" op " %%" r "14,%%" r "15,%%" r "8\n" op " %%" r "14,%%" r         \
       "15,%%" r "9\n" op " %%" r "14,%%" r "15,%%" r "10\n" op " %%" r "14,%%" r "15,%%" r "11\n"

/* Nanoseconds of `steps` times twelve instructions. */
#define PEAK_DEFINE(name, op, r)                                                                   \
    static inline uint64_t name(uint64_t steps) {                                                  \
        const uint64_t from_ns = clock_ns();                                                       \
        __asm__ volatile("vzeroall\n.p2align 5\n1:\n" PEAK_12(op, r) "dec %0\njnz 1b\n"            \
                                                                     "vzeroupper\n"                \
                         : "+r"(steps)                                                             \
                         :                                                                         \
                         : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",   \
                           "xmm8", "xmm9", "xmm10", "xmm11", "xmm14", "xmm15");                    \
        return clock_ns() - from_ns;                                                               \
    }
PEAK_DEFINE(peak_fma512, "vfmadd231ps", "zmm")
PEAK_DEFINE(peak_fma256, "vfmadd231ps", "ymm")
PEAK_DEFINE(peak_bf16, "vdpbf16ps", "zmm")
PEAK_DEFINE(peak_i8_512, "vpdpbusd", "zmm")
PEAK_DEFINE(peak_i8_256, "%{vex%} vpdpbusd", "ymm")
#endif

/* Multiply-adds from registers: which loop this CPU runs, and what one instruction does. */
struct peak_loop {
    uint64_t (*run)(uint64_t steps); /* NULL: not known */
    double flops;
};

static inline struct peak_loop peak_loop_of(enum gemm_precision precision) {
#if defined(__x86_64__)
    unsigned a = 0, b = 0, c = 0, d = 0;
    switch (precision) {
    case GEMM_F32:
        if (__builtin_cpu_supports("avx512f"))
            return (struct peak_loop){peak_fma512, 32};
        if (__builtin_cpu_supports("fma"))
            return (struct peak_loop){peak_fma256, 16};
        break;
    case GEMM_BF16:
        if (__builtin_cpu_supports("avx512bf16"))
            return (struct peak_loop){peak_bf16, 64};
        break;
    case GEMM_I8:
        if (__builtin_cpu_supports("avx512vnni"))
            return (struct peak_loop){peak_i8_512, 128};
        if (__get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1))
            return (struct peak_loop){peak_i8_256, 64};
        break;
    }
#else
    (void)precision;
#endif
    return (struct peak_loop){NULL, 0};
}

/* GFLOP/s of multiply-adds of this precision on one core, each counted as two; 0 where it is not
 * known. Takes about 50 microseconds, so that it can be asked again and again while the clock
 * moves. */
static inline double peak_of(const struct peak_loop *loop) {
    enum { STEPS = 4000, TRIES = 8 };
    double best = 0;
    for (int i = 0; loop->run && i < TRIES; i++) {
        const double flops = 12.0 * STEPS * loop->flops / (double)loop->run(STEPS);
        best = flops > best ? flops : best;
    }
    return best;
}

/* GB/s of memory that no cache holds, read once from front to back and asked for ahead. */
static inline double peak_read(void) {
    enum { BYTES = 256 << 20, TRIES = 5, AHEAD = 2048 };
    char *memory = malloc(BYTES + AHEAD);
    if (!memory)
        return 0;
    memset(memory, 1, BYTES + AHEAD);
    double best = 0;
    for (int i = 0; i < TRIES; i++) {
        uint64_t sum = 0;
        const uint64_t from_ns = clock_ns();
        for (size_t at = 0; at < BYTES; at += 64) {
            uint64_t word;
            __builtin_prefetch(memory + at + AHEAD);
            memcpy(&word, memory + at, sizeof word);
            sum += word;
        }
        __asm__ volatile("" : : "r"(sum));
        const double rate = (double)BYTES / (double)(clock_ns() - from_ns);
        best = rate > best ? rate : best;
    }
    free(memory);
    return best;
}

/* Bytes of the last cache, 0 where unknown: from the kernel, because what CPUID says of a virtual
 * machine's may be that of the whole host. */
static inline double peak_last_cache(void) {
    double bytes = 0;
    for (int i = 0; i < 8; i++) {
        char path[80];
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", i);
        FILE *f = fopen(path, "re");
        unsigned kib = 0;
        if (!f)
            break;
        if (fscanf(f, "%uK", &kib) == 1 && kib * 1024.0 > bytes)
            bytes = kib * 1024.0;
        fclose(f);
    }
    return bytes;
}

#endif
