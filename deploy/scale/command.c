/* command.c - see command.h. */
#include "command.h"

#include "base/check.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { SAID_BYTES = 4096, SAID_FIRST = 160, DRAIN_READS = 64 };

struct running {
    struct command *command;
    pid_t pid;             /* 0: not, or not any more */
    int exit_fd, out, err; /* -1: closed */
    char said[SAID_BYTES]; /* the beginning of what it wrote on standard error */
    uint32_t said_bytes;
    bool too_long, late;
};

static void close_fd(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void fail(struct command *command, const char *what, int error) {
    command->ok = false;
    snprintf(command->trouble, sizeof command->trouble, "%s: %s", what, strerror(error));
}

/* Returns 0 or an errno. */
static int spawn(struct running *self, int out, int err) {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none;
    sigemptyset(&none);
    int error = posix_spawn_file_actions_init(&files);
    if (error)
        return error;
    error = posix_spawnattr_init(&attr);
    if (!error) {
        error = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
        if (!error)
            error = posix_spawn_file_actions_adddup2(&files, out, 1);
        if (!error)
            error = posix_spawn_file_actions_adddup2(&files, err, 2);
        posix_spawnattr_setsigmask(&attr, &none);
        posix_spawnattr_setpgroup(&attr, 0);
        posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
        char *const *words = self->command->words;
        if (!error)
            error = posix_spawnp(&self->pid, words[0], &files, &attr, words, environ);
        posix_spawnattr_destroy(&attr);
    }
    posix_spawn_file_actions_destroy(&files);
    return error;
}

static void start(struct running *self, struct command *command) {
    *self = (struct running){.command = command, .exit_fd = -1, .out = -1, .err = -1};
    command->ok = true;
    command->bytes = 0;
    command->trouble[0] = '\0';
    int out[2] = {-1, -1}, err[2] = {-1, -1};
    int error = 0;
    if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0)
        error = errno;
    if (!error)
        error = spawn(self, out[1], err[1]);
    if (!error) {
        self->exit_fd = pidfd_open(self->pid, 0);
        error = self->exit_fd < 0 ? errno : 0;
    }
    close_fd(&out[1]);
    close_fd(&err[1]);
    self->out = out[0];
    self->err = err[0];
    if (self->out >= 0 && self->err >= 0) {
        fcntl(self->out, F_SETFL, O_NONBLOCK);
        fcntl(self->err, F_SETFL, O_NONBLOCK);
    }
    if (error) {
        fail(command, command->words[0], error);
        if (self->pid > 0) {
            kill(-self->pid, SIGKILL);
            waitpid(self->pid, NULL, 0);
        }
        self->pid = 0;
        close_fd(&self->out);
        close_fd(&self->err);
    }
}

/* What a pipe has now, or the first of it; what there is no room for is thrown away. */
static void drain(int *fd, char *to, uint32_t room, uint32_t *bytes, bool *too_long) {
    char rest[4096];
    for (int i = 0; *fd >= 0 && i < DRAIN_READS; i++) {
        bool full = *bytes == room;
        ssize_t n = full ? read(*fd, rest, sizeof rest) : read(*fd, to + *bytes, room - *bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0 || (n < 0 && errno != EAGAIN))
            close_fd(fd);
        if (n <= 0)
            return;
        if (full)
            *too_long = true;
        else
            *bytes += (uint32_t)n;
    }
}

static void drain_both(struct running *self) {
    bool ignored;
    drain(&self->out, self->command->out, COMMAND_OUT_BYTES, &self->command->bytes,
          &self->too_long);
    drain(&self->err, self->said, SAID_BYTES, &self->said_bytes, &ignored);
}

/* The first line that it wrote on standard error, which is ssh's if there is one, and the last. */
static void quote(struct running *self) {
    const char *end = self->said + self->said_bytes;
    const char *first = memchr(self->said, '\n', self->said_bytes);
    const char *last = memrchr(self->said, '\n', self->said_bytes);
    int bytes = (int)((first ? first : end) - self->said);
    char *to = self->command->trouble;
    size_t room = sizeof self->command->trouble;
    if (last)
        snprintf(to, room, "%.*s ... %.*s", bytes < SAID_FIRST ? bytes : SAID_FIRST, self->said,
                 (int)(end - last - 1), last + 1);
    else
        snprintf(to, room, "%.*s", bytes, self->said);
}

/* Whether it did, and if not what is known of it. */
static void judge(struct running *self, int status) {
    struct command *command = self->command;
    size_t room = sizeof command->trouble;
    while (self->said_bytes && self->said[self->said_bytes - 1] == '\n')
        self->said_bytes--;
    command->ok = !self->late && !self->too_long && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (command->ok)
        return;
    if (self->late)
        snprintf(command->trouble, room, "no answer in time");
    else if (self->too_long)
        snprintf(command->trouble, room, "it says more than %d bytes", COMMAND_OUT_BYTES);
    else if (self->said_bytes)
        quote(self);
    else if (WIFSIGNALED(status))
        snprintf(command->trouble, room, "ended by signal %d", WTERMSIG(status));
    else
        snprintf(command->trouble, room, "exit status %d", WEXITSTATUS(status));
}

static void reap(struct running *self) {
    int status = 0;
    pid_t ended = waitpid(self->pid, &status, WNOHANG);
    if (ended == 0 || (ended < 0 && errno == EINTR))
        return;
    drain_both(self);
    judge(self, ended == self->pid ? status : 0xff00);
    self->pid = 0;
    close_fd(&self->exit_fd);
    close_fd(&self->out);
    close_fd(&self->err);
}

static uint32_t poll_set(struct running *running, uint32_t n, struct pollfd *fds) {
    uint32_t used = 0;
    for (uint32_t i = 0; i < n; i++)
        if (running[i].pid) {
            fds[used++] = (struct pollfd){running[i].exit_fd, POLLIN, 0};
            fds[used++] = (struct pollfd){running[i].out, POLLIN, 0};
            fds[used++] = (struct pollfd){running[i].err, POLLIN, 0};
        }
    return used;
}

static void kill_late(struct running *running, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        if (running[i].pid) {
            running[i].late = true;
            kill(-running[i].pid, SIGKILL);
        }
}

void command_run(struct command *commands, uint32_t n, uint64_t timeout_us) {
    static struct running running[COMMANDS_AT_ONCE];
    struct pollfd fds[3 * COMMANDS_AT_ONCE];
    CHECK(n <= COMMANDS_AT_ONCE);
    for (uint32_t i = 0; i < n; i++)
        start(&running[i], &commands[i]);
    uint64_t end_us = clock_us() + timeout_us, now_us;
    uint32_t used;
    bool killed = false;
    while ((used = poll_set(running, n, fds))) {
        now_us = clock_us();
        if (now_us >= end_us && !killed) {
            kill_late(running, n);
            killed = true;
        }
        int ms = killed ? 100 : (int)((end_us - now_us + 999) / 1000);
        if (poll(fds, used, ms) < 0 && errno != EINTR)
            usleep(10 * 1000);
        for (uint32_t i = 0; i < n; i++)
            if (running[i].pid) {
                drain_both(&running[i]);
                reap(&running[i]);
            }
    }
}
