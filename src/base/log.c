/* log.c - see log.h. */
#include "base/log.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES = 1024 };

static _Atomic int threshold = LOG_INFO;
static const char *const names[] = {"debug", "info", "warn", "error"};

void log_set_level(enum log_level level) {
    atomic_store(&threshold, (int)level);
}

bool log_level_from(const char *name, enum log_level *out) {
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (enum log_level)i;
            return true;
        }
    return false;
}

static size_t put_time(char *line, size_t size) {
    uint64_t us = clock_wall_us();
    time_t s = (time_t)(us / 1000000);
    struct tm tm;
    gmtime_r(&s, &tm);
    size_t n = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &tm);
    int m = snprintf(line + n, size - n, ".%03uZ ", (unsigned)(us / 1000 % 1000));
    return m > 0 ? n + (size_t)m : n;
}

void log_line(enum log_level level, const char *event, const char *format, ...) {
    if ((int)level < atomic_load_explicit(&threshold, memory_order_relaxed))
        return;
    char line[LINE_BYTES];
    size_t n = put_time(line, sizeof line);
    int m = snprintf(line + n, sizeof line - n, "%s event=%s ", names[level], event);
    if (m > 0)
        n += (size_t)m;
    va_list args;
    va_start(args, format);
    m = vsnprintf(line + n, sizeof line - n, format, args);
    va_end(args);
    if (m > 0)
        n += (size_t)m;
    if (n > sizeof line - 1)
        n = sizeof line - 1;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)line[i] < 0x20)
            line[i] = '?';
    line[n++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, n);
    (void)written; /* nobody to tell */
}

bool log_allow(struct log_limit *self, uint64_t now_us, uint64_t every_us, uint32_t *suppressed) {
    if (now_us < self->next_us) {
        self->held++;
        return false;
    }
    *suppressed = self->held;
    self->held = 0;
    self->next_us = now_us + every_us;
    return true;
}

const char *log_quoted(const char *text, char *out, size_t out_bytes) {
    size_t n = 0;
    if (out_bytes < 3) {
        if (out_bytes)
            *out = '\0';
        return out;
    }
    out[n++] = '"';
    for (const char *p = text; *p && n + 3 < out_bytes; p++) {
        if (*p == '"' || *p == '\\')
            out[n++] = '\\';
        out[n++] = (unsigned char)*p < 0x20 ? '?' : *p;
    }
    out[n++] = '"';
    out[n] = '\0';
    return out;
}
