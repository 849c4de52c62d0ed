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

/* Who reads the descriptor. A thread that was there before we blocked anything (OpenBLAS starts
 * its own while the program is loaded) may be given a signal of the process; it hands it on. */
static pthread_t signal_reader;

static void hand_on(int number) {
    if (!pthread_equal(signal_reader, pthread_self())) /* or it would be handed on for ever */
        pthread_kill(signal_reader, number);           /* blocked there, so it waits to be read */
}

int thread_signals_fd(void) {
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = hand_on, .sa_flags = SA_RESTART};
    sigset_t blocked, read_set;
    sigemptyset(&read_set);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sigaddset(&read_set, numbers[i]);
    blocked = read_set;
    sigaddset(&blocked, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    signal_reader = pthread_self();
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sigaction(numbers[i], &action, NULL);
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
