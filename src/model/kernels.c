/* kernels.c - which table of row kernels this CPU gets. */
#include "model/kernels.h"

#include "model/isa.h"

#include <string.h>

/* Fastest first. */
static const struct kernels *const list[] = {
#if defined(__x86_64__)
    &kernels_avx512,
    &kernels_avx2,
#endif
    &kernels_portable,
    NULL,
};

const struct kernels *const *kernels_list(void) {
    return list;
}

const struct kernels *kernels_choose(void) {
    uint32_t i = 0;
    while (!list[i]->usable()) /* the portable one always is */
        i++;
    return list[i];
}

const struct kernels *kernels_by_name(const char *name) {
    for (uint32_t i = 0; list[i]; i++)
        if (strcmp(list[i]->name, name) == 0)
            return list[i]->usable() ? list[i] : NULL;
    return NULL;
}

/* K^T padded to whole vectors of keys, V to whole vectors of a head, and the scores of one tile of
 * queries. */
size_t kernels_attention_scratch(uint32_t n, uint32_t dim) {
    const size_t lanes = ISA_LANES_MAX;
    const size_t keys = (n + lanes - 1) / lanes * lanes;
    const size_t wide = (dim + lanes - 1) / lanes * lanes;
    return keys * dim + wide * n + keys * ISA_TILE_ROWS_MAX;
}
