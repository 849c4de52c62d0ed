/* redis_proc.h - a real redis-server of our own in a temporary folder, on a unix socket; it dies
 * with the test. And a client of a few lines that knows no library.
 *
 *     struct redis_proc redis;
 *     if (!redis_start(&redis, false)) return TEST_SKIPPED;      no redis-server here
 *     redis_ask(&redis, reply, sizeof reply, "SET", "key", "value", NULL);
 *     redis_stop(&redis); */
#ifndef EMBER_TEST_REDIS_PROC_H
#define EMBER_TEST_REDIS_PROC_H

#include "support/port.h"
#include "support/test.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REDIS_ARGS_MAX = 16 };

struct redis_proc {
    pid_t pid;
    char dir[64], socket[96], url[128];
    char port[8]; /* of TCP, besides the socket; "0": none */
};

static inline int redis_connect(const struct redis_proc *self) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", self->socket);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return -1;
    }
    struct timeval patience = {5, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

static inline size_t redis_read_line(int fd, char *out, size_t out_bytes) {
    size_t n = 0;
    while (n + 1 < out_bytes && recv(fd, out + n, 1, 0) == 1)
        if (out[n++] == '\n')
            break;
    out[n] = '\0';
    return n;
}

/* Args up to NULL; each with its length in `bytes`, or strlen when bytes is NULL. The reply's
 * text (of a bulk its content, else its line with the mark in front) and a NUL go to reply;
 * returns its bytes. */
static inline size_t redis_ask_v(const struct redis_proc *self, char *reply, size_t reply_bytes,
                                 const char *const *args, const size_t *bytes, size_t n) {
    int fd = redis_connect(self);
    if (fd < 0)
        TEST_FAIL("redis at %s: %s", self->socket, strerror(errno));
    char line[64];
    snprintf(line, sizeof line, "*%zu\r\n", n);
    (void)!write(fd, line, strlen(line));
    for (size_t i = 0; i < n; i++) {
        size_t arg_bytes = bytes ? bytes[i] : strlen(args[i]);
        snprintf(line, sizeof line, "$%zu\r\n", arg_bytes);
        (void)!write(fd, line, strlen(line));
        (void)!write(fd, args[i], arg_bytes);
        (void)!write(fd, "\r\n", 2);
    }
    size_t got = redis_read_line(fd, line, sizeof line);
    if (line[0] == '$' && line[1] != '-') {
        size_t want = strtoul(line + 1, NULL, 10);
        TEST_TRUE(want < reply_bytes);
        for (got = 0; got < want;) {
            ssize_t k = recv(fd, reply + got, want - got, 0);
            if (k <= 0)
                TEST_FAIL("redis sent %zu of %zu bytes", got, want);
            got += (size_t)k;
        }
    } else {
        while (got && (line[got - 1] == '\n' || line[got - 1] == '\r'))
            got--;
        memcpy(reply, line, got);
    }
    reply[got] = '\0';
    close(fd);
    return got;
}

static inline size_t redis_ask(const struct redis_proc *self, char *reply, size_t reply_bytes,
                               ...) {
    const char *args[REDIS_ARGS_MAX];
    size_t n = 0;
    va_list list;
    va_start(list, reply_bytes);
    while (n < REDIS_ARGS_MAX && (args[n] = va_arg(list, const char *)) != NULL)
        n++;
    va_end(list);
    return redis_ask_v(self, reply, reply_bytes, args, NULL, n);
}

static inline void redis_kill(struct redis_proc *self, int signal_number) {
    kill(self->pid, signal_number);
    if (signal_number == SIGKILL) {
        waitpid(self->pid, NULL, 0);
        self->pid = 0;
        unlink(self->socket);
    }
}

/* Start it again in its folder. `extra`: further arguments up to NULL, or NULL. False when there
 * is no redis-server on this machine. */
static inline bool redis_start_again(struct redis_proc *self, const char *const *extra) {
    const char *argv[REDIS_ARGS_MAX + 16] = {
        "redis-server", "--port",    self->port,  "--unixsocket", self->socket, "--dir",
        self->dir,      "--save",    "",          "--appendonly", "no",         "--bind",
        "127.0.0.1",    "--logfile", "redis.log",
    };
    size_t n = 15;
    for (size_t i = 0; extra && extra[i]; i++)
        argv[n++] = extra[i];
    pid_t parent = getpid();
    self->pid = fork();
    if (self->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent)
            execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    for (int i = 0; i < 1000; i++) {
        int status;
        if (waitpid(self->pid, &status, WNOHANG) == self->pid) {
            self->pid = 0;
            if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
                return false;
            TEST_FAIL("redis-server ended with status %d", status);
        }
        int fd = redis_connect(self);
        if (fd >= 0) {
            close(fd);
            return true;
        }
        usleep(10000);
    }
    TEST_FAIL("redis-server does not answer at %s", self->socket);
    return false;
}

static inline bool redis_start(struct redis_proc *self, bool with_tcp) {
    *self = (struct redis_proc){0};
    snprintf(self->port, sizeof self->port, "%u", with_tcp ? port_free() : 0);
    snprintf(self->dir, sizeof self->dir, "/tmp/ember-redis-XXXXXX");
    if (!mkdtemp(self->dir))
        TEST_FAIL("mkdtemp: %s", strerror(errno));
    snprintf(self->socket, sizeof self->socket, "%s/s", self->dir);
    snprintf(self->url, sizeof self->url, "unix://%s", self->socket);
    if (redis_start_again(self, NULL))
        return true;
    rmdir(self->dir);
    return false;
}

static inline void redis_stop(struct redis_proc *self) {
    char path[128];
    if (self->pid)
        redis_kill(self, SIGKILL);
    snprintf(path, sizeof path, "%s/redis.log", self->dir);
    unlink(path);
    rmdir(self->dir);
}

#endif
