/* parallel.c - an atomic counter that hands out chunks. The caller works too, and between its
 * chunks it writes how far everybody is. */
#include "parallel.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/thread.h"

#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

enum { PROGRESS_US = 200000, PATIENCE_US = 1000000 };

struct crew {
    const struct parallel *job;
    _Atomic uint32_t next, done; /* pieces handed out, pieces finished */
};

struct member {
    struct crew *crew;
    uint32_t number;
    pthread_t thread;
};

/* False when nothing is left. */
static bool take(struct crew *crew, uint32_t number) {
    const struct parallel *job = crew->job;
    uint32_t first = atomic_load(&crew->next), n;
    do {
        if (first >= job->total)
            return false;
        n = job->total - first < job->chunk ? job->total - first : job->chunk;
    } while (!atomic_compare_exchange_weak(&crew->next, &first, first + n));
    job->work(job->arg, number, first, n);
    atomic_fetch_add(&crew->done, n);
    return true;
}

static void *member_run(void *arg) {
    struct member *self = arg;
    while (take(self->crew, self->number))
        ;
    return NULL;
}

static void lead(struct crew *crew) {
    const struct parallel *job = crew->job;
    const bool tell = job->progress && isatty(STDERR_FILENO);
    const uint64_t begin_us = clock_us();
    uint64_t told_us = 0;
    while (take(crew, 0)) {
        const uint64_t now_us = clock_us();
        if (!tell || now_us - begin_us < PATIENCE_US || now_us - told_us < PROGRESS_US)
            continue;
        told_us = now_us;
        fprintf(stderr, "\r%s: %3.0f%% of %u", job->progress,
                100.0 * atomic_load(&crew->done) / job->total, job->total);
    }
    if (told_us)
        fprintf(stderr, "\r%*s\r", 60, ""); /* the line is no result: it goes */
}

uint32_t parallel_threads(uint32_t wanted) {
    const uint32_t n = wanted ? wanted : thread_cpus();
    return n < LIMIT_THREADS ? n : LIMIT_THREADS;
}

enum status parallel_run(const struct parallel *job, struct err *err) {
    struct crew crew = {.job = job};
    struct member members[LIMIT_THREADS];
    const uint32_t chunks = job->total / job->chunk + 1;
    const uint32_t wanted = job->threads < chunks ? job->threads : chunks;
    enum status st = STATUS_OK;
    uint32_t n = 1;
    while (n < wanted && st == STATUS_OK) {
        members[n] = (struct member){.crew = &crew, .number = n};
        st = thread_start(&members[n].thread, "tool", member_run, &members[n], err);
        n += st == STATUS_OK;
    }
    if (st == STATUS_OK)
        lead(&crew);
    for (uint32_t i = 1; i < n; i++)
        pthread_join(members[i].thread, NULL);
    return st;
}
