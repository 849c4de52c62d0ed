/* scale_core.h - the broker's core with many peers and no sockets: scale_bench's first half. */
#ifndef EMBER_BENCH_SCALE_CORE_H
#define EMBER_BENCH_SCALE_CORE_H

#include <stdint.h>

/* Measures and prints. */
void scale_core(uint32_t workers, uint32_t clients, uint32_t in_flight);

#endif
