/* log.c - see log.h. */
#include "base/log.h"

#include "base/clock.h"
#include "base/log_json.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES = 1024, JSON_BYTES = 4 * LINE_BYTES };

static _Atomic int threshold = LOG_INFO;
static _Atomic int line_format = LOG_LOGFMT;
static const char *const names[] = {"debug", "info", "warn", "error"};

void log_set_level(enum log_level level) {
    atomic_store(&threshold, (int)level);
}

void log_set_format(enum log_format format) {
    atomic_store(&line_format, (int)format);
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
    int m = snprintf(line + n, size - n, ".%03uZ", (unsigned)(us / 1000 % 1000));
    return m > 0 ? n + (size_t)m : n;
}

static size_t as_logfmt(enum log_level level, const char *event, struct view pairs, char *line) {
    size_t n = put_time(line, LINE_BYTES);
    int m = snprintf(line + n, LINE_BYTES - n, " %s event=%s %.*s", names[level], event,
                     (int)pairs.bytes, pairs.data);
    n += m > 0 ? (size_t)m : 0;
    return n < LINE_BYTES - 1 ? n : LINE_BYTES - 1;
}

static size_t as_json(enum log_level level, const char *event, struct view pairs, char *line) {
    size_t n = (size_t)snprintf(line, JSON_BYTES, "{\"time\":\"");
    n += put_time(line + n, JSON_BYTES - n);
    n += (size_t)snprintf(line + n, JSON_BYTES - n, "\",\"level\":\"%s\",\"event\":\"%s\"",
                          names[level], event);
    size_t more = log_json(pairs, line + n + 1, JSON_BYTES - n - 3);
    if (more)
        line[n++] = ',';
    n += more;
    line[n++] = '}';
    return n;
}

void log_line(enum log_level level, const char *event, const char *format, ...) {
    if ((int)level < atomic_load_explicit(&threshold, memory_order_relaxed))
        return;
    char pairs[LINE_BYTES], line[JSON_BYTES];
    va_list args;
    va_start(args, format);
    int m = vsnprintf(pairs, sizeof pairs, format, args);
    va_end(args);
    size_t n = m < 0 ? 0 : (size_t)m < sizeof pairs ? (size_t)m : sizeof pairs - 1;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)pairs[i] < 0x20)
            pairs[i] = '?';
    bool json = atomic_load_explicit(&line_format, memory_order_relaxed) == LOG_JSON;
    n = (json ? as_json : as_logfmt)(level, event, view_make(pairs, n), line);
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
