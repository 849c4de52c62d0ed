/* clock_step.c - a wall clock that a test may put forward or back, for itself and for programs
 * that it starts with this in LD_PRELOAD. CLOCK_REALTIME alone: the monotonic clock of a machine
 * cannot be stepped either.
 *
 * The step stands in a file that all of them map; its name is in CLOCK_STEP_FILE. Without one,
 * nothing is changed. Waits until a wall time are made by the kernel, which knows of no step: a
 * program that waits so (pthread_cond_timedwait with the default clock) waits an hour too long or
 * not at all, as it would on a machine whose clock is stepped while it computes how long. */
#include "support/clock_step.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#pragma GCC visibility push(default)

static volatile long *step_s;

static void map_step(const char *path) {
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *map = mmap(NULL, sizeof *step_s, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map != MAP_FAILED)
        step_s = map;
}

__attribute__((constructor)) static void begin(void) {
    map_step(getenv("CLOCK_STEP_FILE"));
}

void clock_step(const char *path, long seconds) {
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0 && pwrite(fd, &seconds, sizeof seconds, 0) == (ssize_t)sizeof seconds)
        close(fd);
    else
        abort();
    if (!step_s)
        map_step(path);
}

int clock_gettime(clockid_t clock, struct timespec *out) {
    int rc = (int)syscall(SYS_clock_gettime, clock, out);
    if (rc == 0 && step_s && clock == CLOCK_REALTIME)
        out->tv_sec += *step_s;
    return rc;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    *out = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}
