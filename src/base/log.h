/* log.h - one line per event on stderr, for programs, logfmt or JSON; libraries do not log.
 *
 *     log_info("worker-ready", "worker=%s models=%u", name, n);
 *     2026-01-31T12:00:00.123Z info event=worker-ready worker=w1 models=2
 *
 *     {"time":"2026-01-31T12:00:00.123Z","level":"info","event":"worker-ready","worker":"w1",...}
 *
 * A format string is logfmt; JSON is made of it (log_json.h). The event name is stable, for people
 * who grep. Never a user's text. Values with blanks go through log_quoted(). Threads: any; a line
 * is one write(2). */
#ifndef EMBER_BASE_LOG_H
#define EMBER_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

enum log_format { LOG_LOGFMT, LOG_JSON };

void log_set_level(enum log_level level);                   /* default LOG_INFO */
void log_set_format(enum log_format format);                /* default LOG_LOGFMT */
bool log_level_from(const char *name, enum log_level *out); /* "debug" "info" "warn" "error" */

void log_line(enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)

/* Rate limit for events a stranger can cause: true at most once per `every_us`; *suppressed gets
 * how many were held back since the last true. One struct per call site, owner only. */
struct log_limit {
    uint64_t next_us;
    uint32_t held;
};
bool log_allow(struct log_limit *self, uint64_t now_us, uint64_t every_us, uint32_t *suppressed);

/* `text` with '"' and '\' escaped and control characters as '?', between quotes, into out; returns
 * out. */
const char *log_quoted(const char *text, char *out, size_t out_bytes);

#endif
