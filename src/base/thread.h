/* thread.h - thread names, the "owner only" check, signal masks. */
#ifndef EMBER_BASE_THREAD_H
#define EMBER_BASE_THREAD_H

#include "base/err.h"

#include <pthread.h>
#include <stdbool.h>

struct thread_owner {
    pthread_t thread;
};

static inline struct thread_owner thread_owner_here(void) {
    return (struct thread_owner){pthread_self()};
}

/* True on the thread that called thread_owner_here(). */
static inline bool thread_is(struct thread_owner owner) {
    return pthread_equal(owner.thread, pthread_self()) != 0;
}

/* Start `run(arg)` on a thread named `name` (at most 15 bytes are kept) with all signals
 * blocked. */
enum status thread_start(pthread_t *out, const char *name, void *(*run)(void *), void *arg,
                         struct err *err);

/* Block SIGINT, SIGTERM, SIGHUP and SIGPIPE in the calling thread and those it starts, and return a
 * descriptor (signalfd) that reads SIGINT, SIGTERM and SIGHUP; -1 with errno on failure.
 * Call it once, before the first thread, libzmq's included, starts, on the thread that will poll
 * and read it. Threads that libraries started while they were loaded do no harm: a signal that
 * one of them is given is handed on to the caller. */
int thread_signals_fd(void);

/* One signal number from that descriptor, 0 when none is waiting. */
int thread_signal_read(int fd);

/* Number of CPUs this process may run on (affinity and cgroup v2 quota), at least 1. */
unsigned thread_cpus(void);

#endif
