/* thread.c - see thread.h. */
#include "base/thread.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum status thread_start(pthread_t *out, const char *name, void *(*run)(void *), void *arg,
                         struct err *err) {
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int code = pthread_create(out, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (code != 0)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "start thread '%s': %s", name,
                       strerror(code));
    char kept[16];
    snprintf(kept, sizeof kept, "%s", name);
    pthread_setname_np(*out, kept);
    return STATUS_OK;
}

int thread_signals_fd(void) {
    sigset_t blocked, read_set;
    sigemptyset(&read_set);
    sigaddset(&read_set, SIGINT);
    sigaddset(&read_set, SIGTERM);
    sigaddset(&read_set, SIGHUP);
    blocked = read_set;
    sigaddset(&blocked, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    return signalfd(-1, &read_set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int thread_signal_read(int fd) {
    struct signalfd_siginfo info;
    return read(fd, &info, sizeof info) == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}

static unsigned cgroup_cpus(void) { /* 0: no quota */
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "re");
    if (!f)
        return 0;
    long quota, period;
    int n = fscanf(f, "%ld %ld", &quota, &period);
    fclose(f);
    if (n != 2 || quota <= 0 || period <= 0)
        return 0;
    long cpus = (quota + period - 1) / period;
    return cpus > 0 ? (unsigned)cpus : 1;
}

unsigned thread_cpus(void) {
    cpu_set_t set;
    unsigned n = 1;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        n = (unsigned)CPU_COUNT(&set);
    unsigned quota = cgroup_cpus();
    if (quota && quota < n)
        n = quota;
    return n ? n : 1;
}
