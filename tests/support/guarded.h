/* guarded.h - memory that ends where a page nobody may touch begins, for functions that must not
 * read or write a single number too far. The front is filled with a pattern, so that writes
 * before the start can be found as well. */
#ifndef EMBER_GUARDED_H
#define EMBER_GUARDED_H

#include "support/test.h"

#include <sys/mman.h>
#include <unistd.h>

struct guarded {
    char *map;
    size_t map_bytes;
    void *data; /* what was asked for */
};

/* `bytes` bytes whose start is aligned to `align`; with align dividing bytes the end is exact. */
static inline struct guarded guarded_make(size_t bytes, size_t align) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t body = (bytes + page) / page * page + page;
    struct guarded self = {.map_bytes = body + page};
    self.map =
        mmap(NULL, self.map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    TEST_TRUE(self.map != MAP_FAILED);
    TEST_TRUE(mprotect(self.map + body, page, PROT_NONE) == 0);
    memset(self.map, 0x7b, body);
    self.data = self.map + (body - bytes) / align * align;
    return self;
}

static inline float *guarded_floats(struct guarded *self, size_t n) {
    *self = guarded_make(n * sizeof(float), sizeof(float));
    return self->data;
}

static inline void guarded_done(struct guarded *self) {
    munmap(self->map, self->map_bytes);
}

/* Numbers in -1 .. 1, the same for the same seed. */
static inline float random_float(uint64_t *seed) {
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(*seed >> 33) / (double)(1u << 30) - 1.0);
}

static inline void random_floats(float *x, size_t n, float scale, uint64_t seed) {
    for (size_t i = 0; i < n; i++)
        x[i] = scale * random_float(&seed);
}

#endif
