/* admin.h - the worker's metrics and health over HTTP.
 *
 *     loop --loop_report()--> snapshot, locked, and counters --> server thread, when asked
 *
 * Healthy: the loop turned in the last ADMIN_BEAT_US. Ready: healthy, not draining, at least one
 * broker serves it, and every model gives right answers to its known texts (asked at most every
 * ADMIN_CHECK_US, on the server's thread).
 *
 * Threads: the server has one of its own; admin_start() and admin_stop() are the main thread's. */
#ifndef EMBER_WORKER_ADMIN_H
#define EMBER_WORKER_ADMIN_H

#include "loop.h"
#include "metrics/expose.h"

enum { ADMIN_BEAT_US = 5 * 1000 * 1000, ADMIN_CHECK_US = 10 * 1000 * 1000 };

typedef struct admin admin_t;

struct admin_cfg {
    const struct settings *settings;
    const struct models *models;
    engine_seat_t *const *seats; /* one a model, the server thread's from now on */
    loop_t *loop;                /* outlives admin */
};

/* Errors as expose_start(). */
enum status admin_start(const struct admin_cfg *cfg, admin_t **out, struct err *err);
void admin_stop(admin_t **self); /* NULL is fine */

/* The page; also for tests. */
void admin_page(const struct admin_cfg *cfg, struct expose_text *out);
/* Whether a loop with this report is healthy or ready, but for the models; why not goes to
 * `why`. */
bool admin_healthy(const struct loop_report *report, uint64_t now_us, struct expose_text *why);
bool admin_ready(const struct loop_report *report, uint64_t now_us, struct expose_text *why);

#endif
