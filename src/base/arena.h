/* arena.h - bump memory: sized once, taken in order, given back all at once.
 *
 * Threads: owner only. Memory: arena_init() allocates, nothing after it does. Under ASan the part
 * that is not handed out is poisoned, so that a stale pointer is found. */
#ifndef EMBER_BASE_ARENA_H
#define EMBER_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

enum { ARENA_ALIGN = 64 }; /* a cache line, and the widest vector register */

struct arena {
    char *base;
    size_t size; /* bytes in all */
    size_t used; /* bytes handed out */
    size_t peak; /* most that was ever handed out */
};

/* False when there is no memory; *self is then empty and arena_done() is still fine. */
bool arena_init(struct arena *self, size_t size);
void arena_done(struct arena *self);

/* Forget everything that was handed out. */
void arena_reset(struct arena *self);

/* Forget everything handed out since `mark`, a former value of self->used. */
void arena_rewind(struct arena *self, size_t mark);

/* Gives the pages behind what is handed out back to the system; they come back, as zeros, when
 * they are touched. */
void arena_release(struct arena *self);

/* `bytes` bytes, aligned to ARENA_ALIGN, not cleared; NULL when the arena is full. */
void *arena_take(struct arena *self, size_t bytes);

/* What `n` items of `size` bytes take, with alignment; SIZE_MAX when that overflows. */
size_t arena_need(size_t n, size_t size);

/* n items of a type; NULL when the arena is full or the product overflows. */
#define arena_array(self, type, n) ((type *)arena_take_array((self), (n), sizeof(type)))
void *arena_take_array(struct arena *self, size_t n, size_t size);

#endif
