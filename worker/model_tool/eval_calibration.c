/* eval_calibration.c - sums over rows, in double: a section search along one number, and Newton's
 * method along two. */
#include "eval_calibration.h"

#include <math.h>
#include <stddef.h>

/* ---- softmax ---- */

struct row_score {
    uint32_t best;     /* the first of the largest */
    double best_score; /* its softmax */
    double loss;       /* -ln(softmax of the truth) */
};

static const float *row_of(const struct calibration_rows *rows, uint32_t i) {
    return rows->x + (size_t)rows->text[i] * rows->n_labels;
}

static struct row_score score_row(const struct calibration_rows *rows, uint32_t i,
                                  double temperature) {
    const float *x = row_of(rows, i);
    struct row_score out = {0};
    double sum = 0;
    for (uint32_t k = 1; k < rows->n_labels; k++)
        if (x[k] > x[out.best])
            out.best = k;
    const double most = (double)x[out.best];
    for (uint32_t k = 0; k < rows->n_labels; k++)
        sum += exp(((double)x[k] - most) / temperature);
    out.best_score = 1 / sum;
    out.loss = log(sum) - ((double)x[rows->truth[i]] - most) / temperature;
    return out;
}

static double log_loss(const struct calibration_rows *rows, double temperature) {
    double sum = 0;
    for (uint32_t i = 0; i < rows->n; i++)
        sum += score_row(rows, i, temperature).loss;
    return sum / rows->n;
}

struct calibration calibration_of(const struct calibration_rows *rows, double temperature) {
    double over[CALIBRATION_BINS] = {0}; /* scores less right guesses */
    struct calibration out = {0};
    for (uint32_t i = 0; i < rows->n; i++) {
        const struct row_score row = score_row(rows, i, temperature);
        int bin = (int)ceil(row.best_score * CALIBRATION_BINS) - 1; /* (0, 1/15], (1/15, 2/15] .. */
        bin = bin < 0 ? 0 : bin < CALIBRATION_BINS ? bin : CALIBRATION_BINS - 1;
        over[bin] += row.best_score - (row.best == rows->truth[i]);
        out.log_loss += row.loss;
    }
    for (int bin = 0; bin < CALIBRATION_BINS; bin++)
        out.ece += fabs(over[bin]);
    out.log_loss /= rows->n;
    out.ece /= rows->n;
    return out;
}

/* Kiefer's golden section (1953) along ln(temperature). */
double calibration_temperature(const struct calibration_rows *rows, double min, double max) {
    enum { STEPS = 40 }; /* 0.618^40: nine digits */
    const double part = (sqrt(5) - 1) / 2;
    double a = log(min), b = log(max);
    double left = b - part * (b - a), right = a + part * (b - a);
    double at_left = log_loss(rows, exp(left)), at_right = log_loss(rows, exp(right));
    for (int i = 0; i < STEPS; i++) {
        if (at_left <= at_right) {
            b = right;
            right = left;
            at_right = at_left;
            left = b - part * (b - a);
            at_left = log_loss(rows, exp(left));
        } else {
            a = left;
            left = right;
            at_left = at_right;
            right = a + part * (b - a);
            at_right = log_loss(rows, exp(right));
        }
    }
    return exp((a + b) / 2);
}

/* ---- labels alone: p = sigmoid(slope x + shift) ---- */

struct fit {
    double loss, by_slope, by_shift;              /* and its derivatives */
    double slope_slope, slope_shift, shift_shift; /* the second ones */
};

/* Targets within 0..1 keep the fit finite where x tells right from wrong without an error. */
static struct fit fit_at(const struct calibration_rows *rows, double slope, double shift) {
    const double yes = rows->n, no = (double)rows->n * (rows->n_labels - 1);
    const double high = (yes + 1) / (yes + 2), low = 1 / (no + 2);
    struct fit out = {.slope_slope = 1e-12, .shift_shift = 1e-12};
    for (uint32_t i = 0; i < rows->n; i++)
        for (uint32_t k = 0; k < rows->n_labels; k++) {
            const double x = (double)row_of(rows, i)[k], z = slope * x + shift;
            const double target = k == rows->truth[i] ? high : low;
            const double e = exp(-fabs(z)), p = z > 0 ? 1 / (1 + e) : e / (1 + e);
            const double off = p - target, weight = p * (1 - p);
            out.loss += log1p(e) + (z > 0 ? (1 - target) * z : -target * z);
            out.by_slope += off * x;
            out.by_shift += off;
            out.slope_slope += weight * x * x;
            out.slope_shift += weight * x;
            out.shift_shift += weight;
        }
    return out;
}

bool calibration_curve(const struct calibration_rows *rows, double *midpoint, double *temperature) {
    enum { STEPS = 100, HALVES = 40 };
    double slope = 0, shift = -log(rows->n_labels - 1.0);
    struct fit fit = fit_at(rows, slope, shift);
    const double enough = 1e-9 * rows->n;
    for (int i = 0; i < STEPS && fabs(fit.by_slope) + fabs(fit.by_shift) > enough; i++) {
        const double det = fit.slope_slope * fit.shift_shift - fit.slope_shift * fit.slope_shift;
        const double by_slope =
            (fit.slope_shift * fit.by_shift - fit.shift_shift * fit.by_slope) / det;
        const double by_shift =
            (fit.slope_shift * fit.by_slope - fit.slope_slope * fit.by_shift) / det;
        double step = 1;
        struct fit next = fit;
        int half = 0;
        for (; half < HALVES; half++, step /= 2) {
            next = fit_at(rows, slope + step * by_slope, shift + step * by_shift);
            if (next.loss < fit.loss)
                break;
        }
        if (half == HALVES)
            break; /* no better to the last digit */
        slope += step * by_slope;
        shift += step * by_shift;
        fit = next;
    }
    if (!(slope > 1e-9))
        return false;
    *midpoint = -shift / slope;
    *temperature = 1 / slope;
    return true;
}
