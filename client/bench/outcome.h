/* outcome.h - what a bench found: figures, and how they are written for people and programs.
 *
 * An outcome holds one load as a whole and, where several were run (probes, steps, turns), a row
 * for each; notes are sentences for people, facts are numbers with a name for programs.
 *
 * Threads: owner only. Memory: large, one heap object; texts and settings are borrowed until
 * outcome_destroy(). */
#ifndef EMBER_BENCH_OUTCOME_H
#define EMBER_BENCH_OUTCOME_H

#include "bench.h"

enum {
    OUTCOME_QUANTILES = 5, /* of outcome_quantiles[] */
    OUTCOME_P50 = 0,
    OUTCOME_P95 = 2,
    OUTCOME_P99 = 3,
    OUTCOME_ROWS_MAX = 256,
    OUTCOME_NOTES_MAX = 32,
    OUTCOME_NOTE_BYTES = 320,
    OUTCOME_LABEL_BYTES = 48,
    OUTCOME_FACTS_MAX = 32,
};

extern const double outcome_quantiles[];
extern const char *const outcome_quantile_names[];

struct outcome_row {
    char label[OUTCOME_LABEL_BYTES];
    const char *verdict; /* static, "": none */
    double rate;         /* that was asked; 0: closed loop */
    double seconds, mean_us;
    uint64_t calls, texts, tokens, failed, late, max_us;
    uint64_t quantile_us[OUTCOME_QUANTILES];
};

struct outcome_fact {
    const char *name; /* static */
    double value;     /* NAN: not known */
};

struct outcome_price { /* a row for the price table of `ember cost`; rate 0: none */
    char instance[LIMIT_NAME_BYTES + 1], model[LIMIT_NAME_BYTES + 1], precision[8];
    double hourly, rate; /* of one worker; hourly 0: not known */
};

struct outcome {
    const struct bench_settings *settings;
    const texts_t *texts;
    const char *mode; /* static: "load", "find-rate" ... */
    bool open;
    bool shown; /* rows and notes are printed as they come */
    struct load_report whole;
    series_t *series; /* of all runs, one after the other */
    uint64_t series_at_us;
    uint32_t n_rows, n_notes, n_facts;
    struct outcome_row rows[OUTCOME_ROWS_MAX];
    char notes[OUTCOME_NOTES_MAX][OUTCOME_NOTE_BYTES];
    struct outcome_fact facts[OUTCOME_FACTS_MAX];
    struct outcome_price price; /* of --find-rate */
};

struct outcome *outcome_new(const struct bench_settings *settings, const texts_t *texts,
                            const char *mode, bool open,
                            uint64_t interval_us); /* NULL: no memory */
void outcome_destroy(struct outcome **self);

/* load_run(), noted in the series, behind what ran before. */
enum status outcome_run(struct outcome *self, ember_t *ember, texts_t *texts, struct load_cfg *load,
                        struct load_report *out, struct err *err);

/* What there is no more room for is left out. */
void outcome_row(struct outcome *self, const char *label, double rate,
                 const struct load_report *load, const char *verdict);
void outcome_note(struct outcome *self, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void outcome_fact(struct outcome *self, const char *name, double value);

void outcome_describe(FILE *out, const struct outcome *self); /* "open loop, 300 calls/s" */
void outcome_print(const struct outcome *self);               /* of the whole, to standard output */
void outcome_json(FILE *out, const struct outcome *self);
void outcome_html(FILE *out, const struct outcome *self); /* a page that stands alone */

#endif
