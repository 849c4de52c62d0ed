/* load.h - calls at a wanted pace, and what became of them.
 *
 *   closed loop  N callers, each sends its next call when the last one is answered. Shows
 *                throughput; hides waiting, since a slow service is asked less often.
 *   open loop    calls arrive at their time whether the service keeps up or not (Poisson, or the
 *                times of a trace). Latency counts from the intended time, so that a late start
 *                is waiting.
 *
 * The generator runs on the caller's thread, answers are counted on the library's: neither waits
 * for the other. Calls of the warm-up are sent but not counted. */
#ifndef EMBER_BENCH_LOAD_H
#define EMBER_BENCH_LOAD_H

#include <ember/ember.h>

#include "latency.h"
#include "series.h"
#include "texts.h"

#include <signal.h>

enum {
    LOAD_STATUSES = 17,
    LOAD_SOURCES = 4,
    LOAD_TEXTS_MAX = 1024,
    LOAD_OUTSTANDING_MAX = 32768,
};

struct load_cfg {
    bool open;
    uint32_t concurrency; /* closed */
    double rate;          /* open: calls a second; 0: the times of the trace */
    uint32_t texts_per_call;
    uint64_t warm_up_us, duration_us;
    uint64_t requests; /* 0: no limit but the duration */
    uint64_t seed;
    uint32_t timeout_ms;
    bool retry; /* let the library try again when refused */
    enum ember_cache cache;
    enum ember_lane lane;
    enum ember_task task;      /* of made texts; a trace says so itself */
    const char *const *labels; /* of made texts; none: the model's own */
    uint32_t n_labels;
    bool progress;                     /* a line on standard error, now and then */
    series_t *series;                  /* what happened when; NULL: nobody wants to know */
    uint64_t series_at_us;             /* where the measured time begins in it */
    const volatile sig_atomic_t *stop; /* not 0: start no more calls; NULL: nobody says so */
};

struct load_report {
    uint64_t calls, texts; /* answered with OK; of rerank the documents */
    uint64_t failed;
    uint64_t by_status[LOAD_STATUSES];
    uint64_t by_source[LOAD_SOURCES]; /* texts */
    uint64_t tokens;
    uint64_t late;  /* open: started more than 1 ms after their time, by the generator's fault */
    double lag_us;  /* open: how late they were, all together */
    double seconds; /* the measured time */
    struct latency all; /* of calls answered with OK */
    struct latency by_class[TEXTS_CLASSES_MAX];
    char first_error[EMBER_MESSAGE_MAX];
};

/* Runs the load to its end; *out is large: not for the stack. */
enum status load_run(ember_t *ember, texts_t *texts, const struct load_cfg *cfg,
                     struct load_report *out, struct err *err);

/* Adds what another run of the same texts saw. */
void load_merge(struct load_report *self, const struct load_report *other);

#endif
