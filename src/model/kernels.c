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

kernel_attention_fn *kernels_attention_narrow(const struct kernels *self) {
#if defined(__x86_64__)
    if (self == &kernels_avx512 && attention_bf16_avx512.usable())
        return attention_bf16_avx512.run;
#endif
    return self->attention;
}

static size_t whole(size_t n) {
    return (n + ISA_LANES_MAX - 1) / ISA_LANES_MAX * ISA_LANES_MAX;
}

struct isa_attention_need isa_attention_need(uint32_t n, uint32_t dim) {
    const uint32_t block = n < ISA_ATTENTION_KEYS ? n : ISA_ATTENTION_KEYS;
    struct isa_attention_need need = {
        .kt = whole(block) * dim,
        .v = whole(dim) * block,
        .sums = whole(n),
        .scores = whole(n),
        .care = whole((size_t)ISA_TILE_ROWS_MAX * dim),
        .o = n > block ? whole((size_t)n * dim) : 0,
        .ld_powers = (whole(block) / ISA_LANES_MAX | 1) * ISA_LANES_MAX,
    };
    need.powers = need.ld_powers * ISA_TILE_ROWS_MAX;
    return need;
}

size_t kernels_attention_scratch(uint32_t n, uint32_t dim) {
    const struct isa_attention_need need = isa_attention_need(n, dim);
    return need.powers + need.kt + need.v + need.sums + need.scores + need.care + need.o;
}
