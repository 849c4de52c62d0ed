/* peak.h - what this core can do at most, measured beside the thing that is judged by it:
 * multiply-adds that never leave the registers, and memory read once. The best of many short
 * tries, because the machine may be shared and its clock moves.
 *
 * Threads: pure functions of the core they run on. */
#ifndef EMBER_MODEL_TOOL_PEAK_H
#define EMBER_MODEL_TOOL_PEAK_H

#include "model/gemm.h"

#include <stdint.h>

/* Multiply-adds from registers: which loop this CPU runs, and what one instruction does. */
struct peak_loop {
    uint64_t (*run)(uint64_t steps); /* nanoseconds of `steps` rounds; NULL: not known */
    double flops;                    /* of one instruction, a multiply-add being two */
};

enum { PEAK_INSTRUCTIONS = 12 }; /* of a round */

/* The best instruction of this precision on this CPU; run is NULL where it has none. */
struct peak_loop peak_loop_of(enum gemm_precision precision);

/* GFLOP/s of a loop on one core; 0 where it is not known. Takes about 50 microseconds, so that it
 * can be asked again and again while the clock moves. */
double peak_of(const struct peak_loop *loop);

/* GB/s of memory that no cache holds, read once from front to back and asked for ahead; 0 without
 * the memory for it. Takes some 50 milliseconds. */
double peak_read(void);

/* Bytes of the last-level cache that the first CPU sees; 0 where the system does not say. */
double peak_last_cache(void);

#endif
