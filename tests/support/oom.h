/* oom.h - lets the n-th allocation of our own code fail, and finds what is not freed.
 *
 *     static enum status scenario(void *arg) { ... STATUS_OK when its answer was right ... }
 *     oom_each("embed", scenario, arg);      n = 1, 2, ... until the scenario runs with none failed
 *
 * Counted are malloc, calloc, realloc, aligned_alloc, posix_memalign, strdup, zmq_msg_init_size
 * (where it allocates), zmq_ctx_new, zmq_socket and pthread_create, in whatever is linked
 * statically into the test: --wrap (ember_oom_test in cmake/test.cmake) catches the calls of our
 * objects and none of libzmq's or libc's own, since how they take a failure is their choice.
 *
 * Each n is run twice: once the n-th fails alone, once all fail from the n-th to the end of the
 * scenario. Either way the scenario ends in time, gives the right answer or a status that stands
 * for it, and leaves nothing behind.
 *
 * Threads: counted is every thread but those that called oom_exempt(true), and those they
 * started: the other side of a conversation. oom_each() itself belongs to one thread. */
#ifndef EMBER_TEST_OOM_H
#define EMBER_TEST_OOM_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Runs to the end of it; returns what there is to hold against what was expected. */
typedef enum status oom_scenario(void *arg);

struct oom_cfg {
    const char *name;
    oom_scenario *run;
    void *arg;
    bool keeps;         /* its object lives on: what it holds more afterwards is no leak */
    bool once;          /* a single failure only: with all failing nobody could answer in time */
    enum status others; /* a second status that may stand for a failure; STATUS_OK: none */
};

/* Returns how many allocations the scenario makes. The test fails, with the place of the
 * allocation, on another status than OK, RESOURCE_EXHAUSTED and `others`, and on a leak. */
unsigned oom_run(const struct oom_cfg *cfg);

static inline unsigned oom_each(const char *name, oom_scenario *run, void *arg) {
    return oom_run(&(struct oom_cfg){.name = name, .run = run, .arg = arg});
}

/* By hand: fail `n` allocations from the `first` on (1: the next one). */
void oom_arm(unsigned first, unsigned n);
unsigned oom_disarm(void); /* how many failed */
unsigned oom_live(void);   /* blocks that are not freed, of counted threads */

/* This thread, and those it starts from now on, are not counted. */
void oom_exempt(bool exempt);

#endif
