/* chart.c - see chart.h. Where things are, in units of the view box:
 *
 *     LEFT                       WIDTH - RIGHT
 *      | y_name                        |  names of the lines
 *      +-------------------------------+ TOP
 *      |                               |
 *      +-------------------------------+ HEIGHT - BOTTOM
 *        ticks, x_name                                      */
#include "chart.h"

#include "base/utf8.h"

#include <math.h>
#include <string.h>

enum { LEFT = 60, RIGHT = 70, TOP = 28, BOTTOM = 40, DOTS_MAX = 100, TEXT_HEIGHT = 14 };

struct frame {
    double x_max, y_max, y_step;
};

void chart_text(FILE *out, const char *text) {
    const char *end = text + strlen(text);
    unsigned bytes;
    for (const char *p = text; p < end; p += bytes) {
        uint32_t cp = utf8_next(p, end, &bytes);
        char utf8[4];
        switch (cp) {
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '&':
            fputs("&amp;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        case '\'':
            fputs("&#39;", out);
            break;
        default:
            if (cp < 0x20 || (cp >= 0x7f && cp < 0xa0))
                cp = ' ';
            fwrite(utf8, 1, utf8_put(cp, utf8), out);
        }
    }
}

double chart_step(double max) {
    if (!(max > 0) || !isfinite(max))
        return 1;
    double power = pow(10, floor(log10(max / CHART_TICKS)));
    static const double factors[] = {1, 2, 5};
    for (int i = 0; i < 3; i++)
        if (factors[i] * power * CHART_TICKS >= max * (1 - 1e-9))
            return factors[i] * power;
    return 10 * power;
}

static double at_x(const struct frame *f, double x) {
    return LEFT + (CHART_WIDTH - LEFT - RIGHT) * x / f->x_max;
}

static double at_y(const struct frame *f, double y) {
    return CHART_HEIGHT - BOTTOM - (CHART_HEIGHT - TOP - BOTTOM) * y / f->y_max;
}

static struct frame frame_of(const struct chart *c) {
    struct frame f = {.x_max = c->n ? c->x[c->n - 1] : 1};
    double max = c->limit;
    for (uint32_t k = 0; k < c->n_lines; k++)
        for (uint32_t i = 0; i < c->n; i++)
            if (c->lines[k].y[i] > max)
                max = c->lines[k].y[i];
    f.y_step = chart_step(max);
    f.y_max = f.y_step * fmax(1, ceil(max / f.y_step - 1e-9));
    if (!(f.x_max > 0))
        f.x_max = 1;
    return f;
}

static void put_x_tick(FILE *out, const struct frame *f, double x, const char *name) {
    fprintf(out, "<text class=\"tick\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">", at_x(f, x),
            CHART_HEIGHT - BOTTOM + 16);
    chart_text(out, name);
    fputs("</text>\n", out);
}

static void put_axes(FILE *out, const struct chart *c, const struct frame *f) {
    for (int i = 0; i * f->y_step <= f->y_max * (1 + 1e-9); i++) {
        double y = at_y(f, i * f->y_step);
        fprintf(out, "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>", LEFT,
                CHART_WIDTH - RIGHT, y, y);
        fprintf(out, "<text class=\"tick\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n",
                LEFT - 6, y + 4, i * f->y_step);
    }
    double step = chart_step(f->x_max);
    for (int i = 0; !c->ticks && i * step <= f->x_max * (1 + 1e-9); i++) {
        char name[32];
        snprintf(name, sizeof name, "%g", i * step);
        put_x_tick(out, f, i * step, name);
    }
    for (uint32_t i = 0; c->ticks && i < c->n_ticks; i++)
        if (c->ticks[i].x <= f->x_max)
            put_x_tick(out, f, c->ticks[i].x, c->ticks[i].name);
    fprintf(out, "<text class=\"tick\" x=\"4\" y=\"%d\">", TOP - TEXT_HEIGHT);
    chart_text(out, c->y_name);
    fprintf(out, "</text><text class=\"tick\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">",
            (CHART_WIDTH - RIGHT + LEFT) / 2, CHART_HEIGHT - 6);
    chart_text(out, c->x_name);
    fputs("</text>\n", out);
    if (c->limit > 0)
        fprintf(out,
                "<line class=\"limit\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>"
                "<text class=\"tick\" x=\"%d\" y=\"%.1f\">limit</text>\n",
                LEFT, CHART_WIDTH - RIGHT, at_y(f, c->limit), at_y(f, c->limit),
                CHART_WIDTH - RIGHT + 4, at_y(f, c->limit) + 4);
}

/* Runs of points between gaps; where there are few, a dot each, which tells its value. */
static void put_line(FILE *out, const struct chart *c, const struct frame *f, uint32_t k) {
    const struct chart_line *line = &c->lines[k];
    bool drawing = false;
    for (uint32_t i = 0; i < c->n; i++) {
        if (!isfinite(line->y[i])) {
            fputs(drawing ? "\"/>\n" : "", out);
            drawing = false;
            continue;
        }
        if (!drawing)
            fprintf(out, "<polyline class=\"line line-%u\" points=\"", k);
        fprintf(out, "%s%.1f,%.1f", drawing ? " " : "", at_x(f, c->x[i]), at_y(f, line->y[i]));
        drawing = true;
    }
    fputs(drawing ? "\"/>\n" : "", out);
    for (uint32_t i = 0; i < c->n && c->n <= DOTS_MAX; i++) {
        if (!isfinite(line->y[i]))
            continue;
        fprintf(out, "<circle class=\"dot-%u\" cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\"><title>", k,
                at_x(f, c->x[i]), at_y(f, line->y[i]));
        chart_text(out, line->name);
        fprintf(out, " %.4g</title></circle>\n", line->y[i]);
    }
}

static void put_legend(FILE *out, const struct chart *c) {
    double x = CHART_WIDTH - RIGHT;
    for (uint32_t k = c->n_lines; k-- > 0;) {
        x -= 8.0 * (double)strlen(c->lines[k].name) + 34;
        fprintf(out,
                "<line class=\"line line-%u\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>"
                "<text class=\"tick\" x=\"%.1f\" y=\"%d\">",
                k, x, x + 20, TOP - TEXT_HEIGHT - 4, TOP - TEXT_HEIGHT - 4, x + 24,
                TOP - TEXT_HEIGHT);
        chart_text(out, c->lines[k].name);
        fputs("</text>\n", out);
    }
}

void chart_put(FILE *out, const struct chart *c) {
    struct frame f = frame_of(c);
    fputs("<figure><figcaption>", out);
    chart_text(out, c->title);
    fprintf(out, "</figcaption>\n<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"",
            CHART_WIDTH, CHART_HEIGHT);
    chart_text(out, c->title);
    fputs("\">\n", out);
    put_axes(out, c, &f);
    for (uint32_t k = 0; k < c->n_lines; k++)
        put_line(out, c, &f, k);
    put_legend(out, c);
    fputs("</svg></figure>\n", out);
}
