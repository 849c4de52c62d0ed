/* clock.h - the only place that asks the operating system for the time.
 * Decisions take time as an argument; loops read it once per wake-up. */
#ifndef EMBER_BASE_CLOCK_H
#define EMBER_BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_us(void);        /* monotonic, microseconds since an arbitrary start, never 0 */
uint64_t clock_ns(void);        /* the same in nanoseconds */
uint64_t clock_thread_ns(void); /* processor time that the calling thread has had */
uint64_t clock_wall_us(void);   /* microseconds since 1970, for people; may jump */

#endif
