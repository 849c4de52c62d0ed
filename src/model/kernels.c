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

/* For vectors of at most WIDEST lanes: K^T padded to whole vectors of keys, V to whole vectors of a
 * head, and the scores of one block of queries. */
size_t kernels_attention_scratch(uint32_t n, uint32_t dim) {
    enum { WIDEST = 16, BLOCK = 8 };
    const size_t keys = ((size_t)n + WIDEST - 1) / WIDEST * WIDEST;
    const size_t wide = ((size_t)dim + WIDEST - 1) / WIDEST * WIDEST;
    return keys * dim + wide * n + keys * BLOCK;
}
