/* chart.h - a plot as inline SVG, for a page that needs nothing else: no script, no font, no file.
 * Colours are classes (line-0 ... line-3, grid, limit) that the page's style sheet defines.
 *
 * Threads: any; all functions are pure but for what they write. */
#ifndef EMBER_BENCH_CHART_H
#define EMBER_BENCH_CHART_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { CHART_WIDTH = 720, CHART_HEIGHT = 260, CHART_LINES_MAX = 4, CHART_TICKS = 5 };

struct chart_line {
    const char *name;
    const double *y; /* [chart.n]; NAN: a gap */
};

struct chart_tick {
    double x;
    const char *name;
};

struct chart {
    const char *title, *x_name, *y_name;
    const double *x; /* [n], rising, from 0 on */
    uint32_t n;
    struct chart_line lines[CHART_LINES_MAX];
    uint32_t n_lines;
    double limit;                   /* a line across; 0: none */
    const struct chart_tick *ticks; /* of x; NULL: round numbers */
    uint32_t n_ticks;
};

void chart_put(FILE *out, const struct chart *chart);

/* The round number (1, 2 or 5 times a power of ten) of which CHART_TICKS reach `max` at least. */
double chart_step(double max);

void chart_text(FILE *out, const char *text); /* as HTML: escaped, bad UTF-8 as U+FFFD */

#endif
