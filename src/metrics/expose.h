/* expose.h - what a program tells about itself over HTTP: /metrics, /livez, /healthz, /readyz.
 *
 *     GET /metrics   200, Prometheus text (version 0.0.4), written by cfg.metrics
 *     GET /healthz   200 "ok" while the process can answer at all, or 503 with cfg.health's reason
 *     GET /livez     the same, under the name that Kubernetes uses today
 *     GET /readyz    200 "ready", or 503 with cfg.ready's reason
 *
 * Threads: the callbacks run on the server's own thread, one at a time; they read counters or a
 * snapshot behind a lock, never the program's tables. Memory: a page is at most EXPOSE_PAGE_BYTES.
 * There is no authentication: bind it to an address that only operators reach. */
#ifndef EMBER_METRICS_EXPOSE_H
#define EMBER_METRICS_EXPOSE_H

#include "base/err.h"
#include "base/view.h"
#include "metrics/histogram.h"
#include "metrics/sizes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EXPOSE_PAGE_BYTES = 4 * 1024 * 1024, EXPOSE_LABEL_BYTES = 256 };

/* A page being written. What does not fit is left out whole, line by line, and `cut` is set. */
struct expose_text {
    char *data;
    size_t bytes, room;
    bool cut;
};

void expose_text_done(struct expose_text *self);
void expose_printf(struct expose_text *out, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The two comment lines in front of a metric. type: "counter", "gauge" or "histogram". */
void expose_family(struct expose_text *out, const char *name, const char *type, const char *help);

/* One sample. `labels` is NULL or `a="x",b="y"` with values from expose_label(). */
void expose_u64(struct expose_text *out, const char *name, const char *labels, uint64_t value);
void expose_f64(struct expose_text *out, const char *name, const char *labels, double value);

/* All samples of a histogram, in seconds. */
void expose_histogram(struct expose_text *out, const char *name, const char *labels,
                      const struct histogram *histogram);

/* The same of sizes. */
void expose_sizes(struct expose_text *out, const char *name, const char *labels,
                  const struct sizes *sizes);

/* `value` escaped for use between the quotes of a label, cut to fit; returns out. */
const char *expose_label(struct view value, char out[EXPOSE_LABEL_BYTES]);

typedef struct expose expose_t;

struct expose_cfg {
    const char *listen;                                  /* "127.0.0.1:9464", "[::1]:0", ":9464" */
    void (*metrics)(void *arg, struct expose_text *out); /* required */
    bool (*health)(void *arg, struct expose_text *why);  /* NULL: always healthy */
    bool (*ready)(void *arg, struct expose_text *why);   /* NULL: always ready */
    void *arg;                                           /* borrowed until expose_stop() */
};

/* Start serving. On STATUS_OK *out belongs to the caller; otherwise *out is untouched and
 *   STATUS_INVALID_ARGUMENT  the address is not HOST:PORT with a numeric host,
 *   STATUS_UNAVAILABLE       it cannot be bound; the text names it. */
enum status expose_start(const struct expose_cfg *cfg, expose_t **out, struct err *err);
void expose_stop(expose_t **self); /* waits for answers under way; NULL is fine */

/* The port in use, for listeners on port 0. */
uint16_t expose_port(const expose_t *self);

#endif
