/* parallel.h - a loop over many equal pieces of work, on several threads, with a line of progress.
 *
 *     [0 ............................................................ total)
 *      chunk  chunk  chunk ...      whichever thread is free takes the next
 *
 * Threads: parallel_run() may be called from one thread at a time. */
#ifndef EMBER_MODEL_TOOL_PARALLEL_H
#define EMBER_MODEL_TOOL_PARALLEL_H

#include "base/err.h"

#include <stdint.h>

struct parallel {
    uint32_t total, chunk; /* pieces in all, and at once: chunk >= 1 */
    uint32_t threads;      /* 1 to LIMIT_THREADS; the caller's own is one of them */
    const char *progress; /* what stderr calls the work, where it is a terminal; NULL for silence */
    /* Does pieces first .. first + n; `thread` < threads tells whose scratch to use. */
    void (*work)(void *arg, uint32_t thread, uint32_t first, uint32_t n);
    void *arg;
};

/* Returns when all of it is done. An error when no thread could be started; part of the work may
 * then be done. */
enum status parallel_run(const struct parallel *job, struct err *err);

/* `wanted` threads, or all CPUs of this process when it is 0. */
uint32_t parallel_threads(uint32_t wanted);

#endif
