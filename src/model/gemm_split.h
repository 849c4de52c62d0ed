/* gemm_split.h - how rows and columns are cut into tiles. Included after one vec_*.h. */
#ifndef EMBER_MODEL_GEMM_SPLIT_H
#define EMBER_MODEL_GEMM_SPLIT_H

#include <stdint.h>

#if defined(__clang__)
#define UNROLLED _Pragma("clang loop unroll(full)")
#else
#define UNROLLED _Pragma("GCC unroll 16")
#endif

/* `total` cut into the fewest parts of at most `most`, sizes differing by one at most, larger
 * first. */
struct tile_split {
    uint32_t parts, size, larger; /* the first `larger` parts have size + 1 */
};

static inline struct tile_split tile_split(uint32_t total, uint32_t most) {
    const uint32_t parts = (total + most - 1) / most;
    return (struct tile_split){parts, total / parts, total % parts};
}
static inline uint32_t tile_part_size(const struct tile_split *split, uint32_t i) {
    return split->size + (i < split->larger ? 1 : 0);
}
static inline uint32_t tile_part_start(const struct tile_split *split, uint32_t i) {
    return i * split->size + (i < split->larger ? i : split->larger);
}

static inline uint32_t tile_vecs(uint32_t columns) {
    return (columns + VEC_LANES - 1) / VEC_LANES;
}

#endif
