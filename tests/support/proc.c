/* proc.c - fork, exec, wait; a list of all children of this test so that none is forgotten.
 *
 *     proc_start -> fork -> (child) die with parent, log file as stdout and stderr, exec
 *
 * The child of a program with threads may only do what is safe in a signal handler between fork
 * and exec: everything else (names, environment, arguments) is made before. */
#include "support/proc.h"

#include "base/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

extern char **environ;

enum { PROCS_MAX = 64, TAIL_BYTES = 6000, STEP_US = 2000, ENV_MAX = 512 };

static struct proc *all[PROCS_MAX];
static uint32_t n_all;
static size_t log_start[PROCS_MAX]; /* where the log of its last start begins */
static char dir[64];

const char *proc_dir(void) {
    if (!dir[0]) {
        snprintf(dir, sizeof dir, "/tmp/ember-test-XXXXXX");
        if (!mkdtemp(dir))
            TEST_FAIL("mkdtemp: %s", strerror(errno));
    }
    return dir;
}

static uint32_t place_of(struct proc *self) {
    for (uint32_t i = 0; i < n_all; i++)
        if (all[i] == self)
            return i;
    TEST_TRUE(n_all < PROCS_MAX);
    all[n_all] = self;
    return n_all++;
}

/* The caller's environment without EMBER_*: its settings are not what is tested. */
static void clean_environment(char **out) {
    uint32_t n = 0;
    for (char **p = environ; *p && n + 1 < ENV_MAX; p++)
        if (strncmp(*p, "EMBER_", 6) != 0)
            out[n++] = *p;
    out[n] = NULL;
}

static void become(const char *const *argv, char **env, int log, int null, pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(126);
    dup2(null, 0);
    dup2(log, 1);
    dup2(log, 2);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execvpe(argv[0], (char *const *)(uintptr_t)argv, env);
    _exit(127);
}

void proc_start(struct proc *self, const char *name, const char *const *argv) {
    TEST_TRUE(self->pid == 0);
    uint32_t place = place_of(self);
    snprintf(self->name, sizeof self->name, "%s", name);
    snprintf(self->log, sizeof self->log, "%s/%s.log", proc_dir(), name);
    self->status = 0;
    log_start[place] = proc_log_bytes(self);
    static char *env[ENV_MAX];
    clean_environment(env);
    int log = open(self->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (log < 0 || null < 0)
        TEST_FAIL("%s: %s", self->log, strerror(errno));
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        become(argv, env, log, null, parent);
    close(log);
    close(null);
    if (pid < 0)
        TEST_FAIL("fork: %s", strerror(errno));
    self->pid = pid;
}

static void take_status(struct proc *self, int status) {
    self->pid = 0;
    self->status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

bool proc_running(struct proc *self) {
    int status;
    if (self->pid && waitpid(self->pid, &status, WNOHANG) == self->pid)
        take_status(self, status);
    return self->pid != 0;
}

void proc_signal(struct proc *self, int signal_number) {
    if (!proc_running(self))
        TEST_FAIL("%s has ended with status %d", self->name, self->status);
    if (kill(self->pid, signal_number) != 0)
        TEST_FAIL("kill %s: %s", self->name, strerror(errno));
}

void proc_kill(struct proc *self) {
    int status;
    if (!proc_running(self))
        return;
    kill(self->pid, SIGKILL);
    if (waitpid(self->pid, &status, 0) == self->pid)
        take_status(self, status);
}

bool proc_wait(struct proc *self, uint32_t ms) {
    for (uint64_t end_us = clock_us() + ms * 1000ull; proc_running(self); usleep(STEP_US))
        if (clock_us() > end_us)
            return false;
    return true;
}

static bool catches_sigterm(pid_t pid) {
    char path[64], line[256];
    unsigned long long caught = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "SigCgt: %llx", &caught) == 1)
            break;
    if (f)
        fclose(f);
    return caught >> (SIGTERM - 1) & 1;
}

void proc_drain(struct proc *self, uint32_t ms) {
    uint64_t end_us = clock_us() + ms * 1000ull;
    while (proc_running(self) && !catches_sigterm(self->pid) && clock_us() < end_us)
        usleep(STEP_US); /* it has only been started: like every program it would just end */
    proc_signal(self, SIGTERM);
    if (!proc_wait(self, ms))
        TEST_FAIL("%s still runs %u ms after SIGTERM", self->name, ms);
    if (self->status != 0)
        TEST_FAIL("%s ended with status %d after SIGTERM", self->name, self->status);
}

size_t proc_log_bytes(const struct proc *self) {
    struct stat info;
    return stat(self->log, &info) == 0 ? (size_t)info.st_size : 0;
}

/* The log from byte `from` on, at most `most` bytes of its end, and a NUL; the caller frees. */
static char *read_log(const char *path, size_t from, size_t most) {
    FILE *f = fopen(path, "re");
    if (!f)
        return NULL;
    fseek(f, 0, SEEK_END);
    size_t bytes = (size_t)ftell(f);
    if (bytes < from)
        from = bytes;
    if (bytes - from > most)
        from = bytes - most;
    fseek(f, (long)from, SEEK_SET);
    char *text = calloc(1, bytes - from + 1);
    if (text && fread(text, 1, bytes - from, f) != bytes - from)
        text[0] = '\0';
    fclose(f);
    return text;
}

bool proc_wait_log_from(struct proc *self, size_t from, const char *want, uint32_t ms) {
    uint64_t end_us = clock_us() + ms * 1000ull;
    for (;; usleep(STEP_US)) {
        bool running = proc_running(self);
        char *text = read_log(self->log, from, SIZE_MAX);
        bool found = text && strstr(text, want);
        free(text);
        if (found || !running || clock_us() > end_us)
            return found;
    }
}

bool proc_wait_log(struct proc *self, const char *want, uint32_t ms) {
    return proc_wait_log_from(self, log_start[place_of(self)], want, ms);
}

int proc_stop_all(void **state) {
    (void)state;
    for (uint32_t i = 0; i < n_all; i++)
        proc_kill(all[i]);
    return 0;
}

static void print_tail(const char *path) {
    char *text = read_log(path, 0, TAIL_BYTES);
    if (text && *text)
        fprintf(stderr, "---- %s\n%s", path, text);
    free(text);
}

/* A program that met a mistake of ours may have been killed before anybody asked for its status. */
static bool confesses(const char *path) {
    static const char *const words[] = {"CHECK failed",   "Assertion failed", "AddressSanitizer:",
                                        "LeakSanitizer:", "ThreadSanitizer:", "runtime error:"};
    bool found = false;
    char *text = read_log(path, 0, SIZE_MAX);
    for (size_t i = 0; text && i < sizeof words / sizeof *words; i++)
        if (strstr(text, words[i])) {
            fprintf(stderr, "---- '%s' stands in %s\n", words[i], path);
            found = true;
        }
    free(text);
    return found;
}

int proc_report(int failed) {
    proc_stop_all(NULL);
    if (!dir[0])
        return failed;
    for (uint32_t i = 0; i < n_all; i++)
        failed += confesses(all[i]->log);
    DIR *folder = opendir(dir);
    for (struct dirent *entry; folder && (entry = readdir(folder)) != NULL;) {
        char path[512];
        snprintf(path, sizeof path, "%s/%.255s", dir, entry->d_name);
        size_t n = strlen(path);
        if (failed && n > 4 && strcmp(path + n - 4, ".log") == 0)
            print_tail(path);
        else if (!failed && entry->d_name[0] != '.')
            unlink(path);
    }
    if (folder)
        closedir(folder);
    if (failed)
        fprintf(stderr, "---- logs are kept in %s\n", dir);
    else
        rmdir(dir);
    return failed;
}

size_t proc_peak_bytes(const struct proc *self) {
    char path[64], line[256];
    unsigned long kb = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)self->pid);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "VmHWM:", 6) == 0)
            kb = strtoul(line + 6, NULL, 10);
    if (f)
        fclose(f);
    return (size_t)kb * 1024;
}
