/* wheel.h - deadlines of up to n items, one each, to the millisecond.
 *
 *     bucket   0    1    2   ...  4095        bucket = deadline in ms, rounded up, mod 4096
 *              |         |
 *              items     items, also those of later turns of the wheel
 *
 * Adding and removing touch one list; an item that is due in a later turn is looked at once a turn.
 * An item never fires early and at most a millisecond late. Items are numbers 0..n-1 of the owner's
 * table.
 *
 * Threads: owner only. Memory: all of it is taken in wheel_init(). */
#ifndef EMBER_BROKER_WHEEL_H
#define EMBER_BROKER_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

enum { WHEEL_BUCKETS = 4096, WHEEL_TICK_US = 1000 };
#define WHEEL_NONE UINT32_MAX

struct wheel_item {
    uint64_t due_us;
    uint32_t next, prev;
    uint32_t list; /* bucket, WHEEL_BUCKETS for "due", WHEEL_NONE for none */
};

struct wheel {
    struct wheel_item *items;
    uint32_t n_items;
    uint32_t n;                        /* items that wait */
    uint64_t tick;                     /* next tick to be looked at */
    uint32_t head[WHEEL_BUCKETS + 1];  /* the last one: due, not yet popped */
    uint64_t used[WHEEL_BUCKETS / 64]; /* a bit per bucket that is not empty */
};

bool wheel_init(struct wheel *self, uint32_t n_items, uint64_t now_us); /* false: no memory */
void wheel_done(struct wheel *self);

void wheel_add(struct wheel *self, uint32_t item, uint64_t due_us); /* the item does not wait yet */
void wheel_remove(struct wheel *self, uint32_t item);               /* fine when it does not wait */

/* An item whose time has come, taken off the wheel; WHEEL_NONE when there is none. */
uint32_t wheel_pop(struct wheel *self, uint64_t now_us);

/* Not later than the next due item is due, rounded up to a tick; UINT64_MAX when none waits. */
uint64_t wheel_next_us(const struct wheel *self);

#endif
