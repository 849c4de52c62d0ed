/* texts.h - what a load is made of: texts of wanted lengths, or the lines of a trace.
 *
 *     --lengths zh:4,20,50      Chinese texts of 4, 20 and 50 characters, a third each
 *     --lengths zh:4,en:12      and English ones of 12 words
 *     --unique 0.3              three of ten texts are new, the others were sent before; the first
 *                               1000 are always new
 *
 *     --mix embed/short=70,embed/zh:300=10,classify=20
 *                               kinds of calls and their weights: a task, a length or both. A kind
 *                               without a length takes those of --lengths, one without a task is
 *                               an embed
 *
 * A trace has one JSON object a line: {"op":"embed","text":"..."} or {"op":"classify","text":"...",
 * "labels":[...],"template":"...","multi_label":true}, with "t" the time of its arrival in seconds
 * and "class" a name for its row in the report.
 *
 * Threads: owner only. */
#ifndef EMBER_BENCH_TEXTS_H
#define EMBER_BENCH_TEXTS_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    TEXTS_LABELS_MAX = 64,
    TEXTS_CLASSES_MAX = 16,
    TEXTS_CLASS_BYTES = 32,
    TEXTS_SHORT = 8,  /* characters of `short` */
    TEXTS_LONG = 400, /* and of `long` */
    TEXTS_WEIGHT_MAX = 1000000,
};

struct texts_item {
    const char *text;
    bool classify;
    const char *const *labels;
    uint32_t n_labels;
    const char *template_text; /* NULL: the model's */
    bool multi_label;
    double at_s;    /* arrival in the trace; < 0: not told */
    uint32_t class; /* index for texts_class() */
};

typedef struct texts texts_t;

/* How texts are made. */
struct texts_made {
    const char *lengths; /* "zh:4,20,50" */
    const char *mix;     /* "embed/short=70,classify=30"; "": each length is a kind of its own */
    double unique;
    uint64_t seed;
    const char *const *labels; /* of a mix's classify calls; none: the model's own */
    uint32_t n_labels;
};

/* The labels are borrowed as long as the texts are there. */
enum status texts_generate(const struct texts_made *made, texts_t **out, struct err *err);
enum status texts_trace(const char *path, texts_t **out, struct err *err);
void texts_destroy(texts_t **self);

/* The next item, valid until TEXTS_AHEAD more were taken; false: the trace is at its end. */
enum { TEXTS_POOL = 4096, TEXTS_AHEAD = 2048 };
bool texts_next(texts_t *self, struct texts_item *out);

/* One more for a call that began with `first`: of a mix, the same kind of text. */
bool texts_more(texts_t *self, const struct texts_item *first, struct texts_item *out);

uint32_t texts_classes(const texts_t *self);
const char *texts_class(const texts_t *self, uint32_t class);
bool texts_timed(const texts_t *self); /* a trace whose items all have a time */

#endif
