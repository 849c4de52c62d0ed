/* proc.h - the real programs as child processes of a test: start, watch, freeze, kill.
 *
 *     static struct proc broker;
 *     proc_start(&broker, "broker", (const char *[]){PROC_BROKER, "--http=off", NULL});
 *     TEST_TRUE(proc_wait_log(&broker, "event=started", 5000));
 *     proc_kill(&broker);                             or proc_signal(), proc_wait()
 *     ...
 *     int main(void) { return proc_report(cmocka_run_group_tests(tests, NULL, NULL)); }
 *
 * What a child prints goes to a file of its name in a temporary folder; proc_report() prints the
 * end of each when a test failed. A child dies with the thread that started it, however that
 * ends, so start them from the main thread. EMBER_* variables of the caller do not reach the
 * children.
 *
 * Threads: one thread, but proc_dir() and the fields may be read by others. */
#ifndef EMBER_TEST_PROC_H
#define EMBER_TEST_PROC_H

#include "support/port.h"
#include "support/test.h"

#include <signal.h>
#include <sys/types.h>

#define PROC_BROKER      EMBER_BINARY_DIR "/broker/ember-broker"
#define PROC_WORKER      EMBER_BINARY_DIR "/worker/ember-worker"
#define PROC_WORKER_FAKE EMBER_BINARY_DIR "/worker/ember-worker-fake"
#define PROC_CLI         EMBER_BINARY_DIR "/client/cli/ember"

/* How much slower a build with a sanitizer may be: times waiting times, never promised ones. */
#ifdef EMBER_SANITIZED
enum { PROC_SLOW = 4 };
#else
enum { PROC_SLOW = 1 };
#endif

enum { PROC_NAME_MAX = 32 };

struct proc {
    pid_t pid;  /* 0: not running, as far as we know */
    int status; /* how it ended: its exit status, or minus the signal that killed it */
    char name[PROC_NAME_MAX];
    char log[128]; /* file with all that it and its predecessors of this name printed */
};

/* The temporary folder of this test program, made at the first call. */
const char *proc_dir(void);

/* Starts argv[0] (argv ends with NULL; looked up in PATH without a slash) with stdin from
 * /dev/null. `name` names it in messages. *self may be one that has ended; its log goes on. */
void proc_start(struct proc *self, const char *name, const char *const *argv);

bool proc_running(struct proc *self); /* notices an end */
void proc_signal(struct proc *self, int signal_number);
void proc_kill(
    struct proc *self); /* SIGKILL, gone when this returns; nothing when it is not running */
/* Waits for its end, at most ms; false when it still runs. */
bool proc_wait(struct proc *self, uint32_t ms);
/* SIGTERM, then the end with exit status 0 within ms, or the test fails. */
void proc_drain(struct proc *self, uint32_t ms);

/* Bytes in its log now. */
size_t proc_log_bytes(const struct proc *self);
/* True once `text` stands in its log behind byte `from`; false after ms or when it ends without. */
bool proc_wait_log_from(struct proc *self, size_t from, const char *text, uint32_t ms);
/* Of the last start. */
bool proc_wait_log(struct proc *self, const char *text, uint32_t ms);

/* Kills whatever still runs, frozen ones included: for teardown. */
int proc_stop_all(void **state);

/* The last line of main(): a failed assertion or a sanitizer's finding in a log counts as a
 * failure, too. Prints the ends of all logs and keeps the folder when there was any, removes it
 * otherwise. */
int proc_report(int failed);

/* Peak resident memory of a running process in bytes, 0 when unknown. */
size_t proc_peak_bytes(const struct proc *self);

#endif
