/* arena.c - bump memory. [handed out ....|free ..........]   used moves right, reset moves it
 * home. */
#include "base/arena.h"

#include "base/check.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif

#ifdef ARENA_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n)   ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

bool arena_init(struct arena *self, size_t size) {
    *self = (struct arena){0};
    size = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    self->base = aligned_alloc(ARENA_ALIGN, size ? size : ARENA_ALIGN);
    if (!self->base)
        return false;
    self->size = size;
    ASAN_POISON_MEMORY_REGION(self->base, size);
    return true;
}

void arena_done(struct arena *self) {
    if (self->base)
        ASAN_UNPOISON_MEMORY_REGION(self->base, self->size);
    free(self->base);
    *self = (struct arena){0};
}

void arena_reset(struct arena *self) {
    arena_rewind(self, 0);
}

void arena_rewind(struct arena *self, size_t mark) {
    CHECK(mark <= self->used);
    self->used = mark;
    if (self->base)
        ASAN_POISON_MEMORY_REGION(self->base + mark, self->size - mark);
}

void arena_release(struct arena *self) {
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t begin = ((uintptr_t)self->base + self->used + page - 1) / page * page;
    const uintptr_t end = ((uintptr_t)self->base + self->size) / page * page;
    if (self->base && end > begin) /* advice: when it is refused the pages stay */
        (void)madvise((void *)begin, end - begin, MADV_DONTNEED);
}

void *arena_take(struct arena *self, size_t bytes) {
    if (bytes > SIZE_MAX - ARENA_ALIGN)
        return NULL;
    size_t rounded = (bytes + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (rounded > self->size - self->used)
        return NULL;
    char *p = self->base + self->used;
    self->used += rounded;
    if (self->used > self->peak)
        self->peak = self->used;
    ASAN_UNPOISON_MEMORY_REGION(p, bytes);
    return p;
}

size_t arena_need(size_t n, size_t size) {
    if (size && n > (SIZE_MAX - ARENA_ALIGN) / size)
        return SIZE_MAX;
    return (n * size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
}

void *arena_take_array(struct arena *self, size_t n, size_t size) {
    size_t need = arena_need(n, size);
    return need == SIZE_MAX ? NULL : arena_take(self, n * size);
}
