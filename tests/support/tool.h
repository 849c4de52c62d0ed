/* tool.h - ember-model as a process: what it says, and its exit status. */
#ifndef EMBER_TEST_TOOL_H
#define EMBER_TEST_TOOL_H

#include "support/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define TOOL_PATH EMBER_BINARY_DIR "/worker/model_tool/ember-model"

enum { TOOL_OUTPUT_MAX = 64 * 1024, TOOL_WORDS_MAX = 24 };

static char tool_output[TOOL_OUTPUT_MAX]; /* of the last run, both streams */

/* Reads all that `fd` gives into tool_output[]. */
static inline void tool_read(int fd) {
    size_t n = 0;
    for (ssize_t got; n < sizeof tool_output - 1;) {
        got = read(fd, tool_output + n, sizeof tool_output - 1 - n);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    tool_output[n] = '\0';
}

/* Runs the tool with these words, split at blanks; returns its exit status. */
__attribute__((format(printf, 1, 2))) static inline int tool_run(const char *format, ...) {
    char words[3000], *argv[TOOL_WORDS_MAX + 2] = {(char[]){TOOL_PATH}}, *next = words;
    int fds[2], status = 0, n = 1;
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof words, format, args);
    va_end(args);
    for (char *word; n <= TOOL_WORDS_MAX && (word = strsep(&next, " "));)
        if (*word)
            argv[n++] = word;
    TEST_TRUE(pipe2(fds, O_CLOEXEC) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDOUT_FILENO);
        dup2(fds[1], STDERR_FILENO);
        execv(TOOL_PATH, argv);
        _exit(127);
    }
    close(fds[1]);
    tool_read(fds[0]);
    close(fds[0]);
    TEST_TRUE(pid > 0 && waitpid(pid, &status, 0) == pid);
    if (!WIFEXITED(status))
        TEST_FAIL("%s\nended with %d", tool_output, status);
    return WEXITSTATUS(status);
}

static inline void tool_expect(int got, int want, const char *has) {
    if (got != want || !strstr(tool_output, has))
        TEST_FAIL("exit status %d, want %d and \"%s\" in:\n%s", got, want, has, tool_output);
}

/* The number behind a key of the lines for people. */
static inline double tool_figure(const char *key) {
    char line[64];
    snprintf(line, sizeof line, "\n%s ", key);
    const char *at = strstr(tool_output, line);
    if (!at)
        TEST_FAIL("no '%s' in:\n%s", key, tool_output);
    return strtod(at + strlen(line), NULL);
}

#endif
