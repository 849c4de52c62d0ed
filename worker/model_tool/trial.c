/* trial.c - fork, limits, a page of shared memory for the answer. */
#include "trial.h"

#include "base/clock.h"
#include "engine/engine.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* A child that runs wild must not take the host with it. Not under ASan, whose shadow is larger. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#define DATA_MAX (4ULL << 30)

/* Peak of the address space so far, bytes; 0 when /proc does not tell. */
static uint64_t peak_bytes(void) {
    FILE *f = fopen("/proc/self/status", "re");
    char line[256];
    uint64_t kib = 0;
    while (f && kib == 0 && fgets(line, sizeof line, f))
        if (strncmp(line, "VmPeak:", 7) == 0)
            kib = strtoull(line + 7, NULL, 10);
    if (f)
        fclose(f);
    return kib * 1024;
}

static void child(const struct trial_job *job, struct trial_result *out) {
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    setrlimit(RLIMIT_CPU, &(struct rlimit){TRIAL_SECONDS_KILL, TRIAL_SECONDS_KILL});
    if (!SANITIZED)
        setrlimit(RLIMIT_DATA, &(struct rlimit){DATA_MAX, DATA_MAX});
    alarm(TRIAL_SECONDS_KILL);
    if (chdir(job->work_dir) != 0) {
        out->status = err_errno(&out->err, STATUS_UNAVAILABLE, "enter '%s'", job->work_dir);
        out->ended = true;
        return;
    }
    engine_t *engine = NULL;
    uint64_t before_bytes = peak_bytes(), before_us = clock_us();
    out->status = engine_open(job->model_dir, NULL, &engine, &out->err);
    out->open_us = clock_us() - before_us;
    out->grown_bytes = peak_bytes() - before_bytes;
    if (out->status == STATUS_OK && job->cases) {
        if (job->finite_only)
            out->status = cases_run_finite(job->cases, job->expect, engine, &out->cases, &out->err);
        else
            out->status = cases_run(job->cases, job->expect, engine, &out->cases, &out->err);
    }
    engine_destroy(&engine);
    out->ended = true;
}

static void say_how_it_ended(int wait_status, struct trial_result *out) {
    if (WIFSIGNALED(wait_status))
        err_set(&out->err, STATUS_INTERNAL, "the child died of signal %d (%s)",
                WTERMSIG(wait_status), strsignal(WTERMSIG(wait_status)));
    else
        err_set(&out->err, STATUS_INTERNAL, "the child ended with status %d",
                WEXITSTATUS(wait_status));
}

enum status trial_run(const struct trial_job *job, struct trial_result *out, struct err *err) {
    struct trial_result *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return err_errno(err, STATUS_UNAVAILABLE, "shared memory for a child");
    fflush(NULL); /* or the child would print it again */
    pid_t pid = fork();
    if (pid == 0) {
        child(job, shared);
        _exit(0);
    }
    enum status st = STATUS_OK;
    int wait_status = 0;
    if (pid < 0)
        st = err_errno(err, STATUS_UNAVAILABLE, "start a child");
    while (pid > 0 && waitpid(pid, &wait_status, 0) < 0 && errno == EINTR)
        ;
    if (st == STATUS_OK) {
        *out = *shared;
        out->ended = out->ended && WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0;
        if (!out->ended)
            say_how_it_ended(wait_status, out);
    }
    munmap(shared, sizeof *shared);
    return st;
}
