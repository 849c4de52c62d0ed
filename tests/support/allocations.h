/* allocations.h - counts the allocations of our code, and lets one of them fail. For tests that are
 * linked with --wrap for malloc, calloc, realloc, aligned_alloc and posix_memalign; what libraries
 * allocate inside is not seen. */
#ifndef EMBER_TEST_ALLOCATIONS_H
#define EMBER_TEST_ALLOCATIONS_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

static bool counting;
static unsigned allocations; /* while counting */
static unsigned fail_at;     /* the allocation that fails while counting, from 1; 0: none */

static bool may_allocate(void) {
    allocations += counting;
    return !counting || allocations != fail_at;
}

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t n, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_aligned_alloc(size_t align, size_t bytes);
int __real_posix_memalign(void **out, size_t align, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_aligned_alloc(size_t align, size_t bytes);
int __wrap_posix_memalign(void **out, size_t align, size_t bytes);

void *__wrap_malloc(size_t bytes) {
    return may_allocate() ? __real_malloc(bytes) : NULL;
}

void *__wrap_calloc(size_t n, size_t bytes) {
    return may_allocate() ? __real_calloc(n, bytes) : NULL;
}

void *__wrap_realloc(void *old, size_t bytes) {
    return may_allocate() ? __real_realloc(old, bytes) : NULL;
}

void *__wrap_aligned_alloc(size_t align, size_t bytes) {
    return may_allocate() ? __real_aligned_alloc(align, bytes) : NULL;
}

int __wrap_posix_memalign(void **out, size_t align, size_t bytes) {
    return may_allocate() ? __real_posix_memalign(out, align, bytes) : ENOMEM;
}

#endif
