/* search.c - see search.h. The worst rate known is the lowest bad one; the best is the highest good
 * one below it: what was good above a bad rate was luck. */
#include "search.h"

#include "base/check.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

static bool is_bad(const struct search_rate *r) {
    return r->bad >= SEARCH_VOTES;
}

static bool is_sure(const struct search_rate *r) {
    return r->good >= SEARCH_VOTES;
}

static bool is_good(const struct search_rate *r) {
    return is_sure(r) || (r->clear && r->bad == 0);
}

static const struct search_rate *worst_of(const struct search *self) {
    const struct search_rate *worst = NULL;
    for (uint32_t i = 0; i < self->n; i++)
        if (is_bad(&self->rates[i]) && (!worst || self->rates[i].rate < worst->rate))
            worst = &self->rates[i];
    return worst;
}

static const struct search_rate *best_of(const struct search *self,
                                         const struct search_rate *worst) {
    const struct search_rate *best = NULL;
    for (uint32_t i = 0; i < self->n; i++) {
        const struct search_rate *r = &self->rates[i];
        if (is_good(r) && (!worst || r->rate < worst->rate) && (!best || r->rate > best->rate))
            best = r;
    }
    return best;
}

static const struct search_rate *undecided_of(const struct search *self) {
    for (uint32_t i = 0; i < self->n; i++)
        if (!is_good(&self->rates[i]) && !is_bad(&self->rates[i]))
            return &self->rates[i];
    return NULL;
}

void search_init(struct search *self, double start, double rate_max, uint64_t slo_us) {
    memset(self, 0, sizeof *self);
    self->start = fmin(fmax(start, SEARCH_RATE_LEAST), rate_max);
    self->rate_max = rate_max;
    self->slo_us = slo_us;
}

/* The rate to ask between what is known, 0: nothing is left to ask. */
static double new_rate(const struct search *self, const struct search_rate *best,
                       const struct search_rate *worst) {
    if (self->n == SEARCH_RATES_MAX)
        return 0;
    if (!best && !worst)
        return self->start;
    if (!worst)
        return best->rate < self->rate_max ? fmin(best->rate * 2, self->rate_max) : 0;
    if (!best)
        return worst->rate > SEARCH_RATE_LEAST ? fmax(worst->rate / 2, SEARCH_RATE_LEAST) : 0;
    return worst->rate > best->rate * (1 + SEARCH_PRECISION) ? sqrt(best->rate * worst->rate) : 0;
}

enum search_step search_next(const struct search *self, double *rate) {
    const struct search_rate *again = undecided_of(self), *worst = worst_of(self),
                             *best = best_of(self, worst);
    if (again) {
        *rate = again->rate;
        return SEARCH_PROBE;
    }
    double next = new_rate(self, best, worst);
    if (next > 0) {
        *rate = next;
        return SEARCH_PROBE;
    }
    if (!best)
        return SEARCH_NOWHERE;
    *rate = best->rate;
    if (!is_sure(best))
        return SEARCH_PROBE;
    return !worst || worst->behind ? SEARCH_CEILING : SEARCH_FOUND;
}

bool search_tell(struct search *self, double rate, const struct search_seen *seen) {
    uint32_t i = 0;
    while (i < self->n && self->rates[i].rate != rate)
        i++;
    CHECK(i < SEARCH_RATES_MAX);
    struct search_rate *r = &self->rates[i];
    if (i == self->n) {
        *r = (struct search_rate){.rate = rate};
        self->n++;
    }
    bool good =
        seen->calls > 0 && seen->failed == 0 && !seen->behind && seen->p95_us <= self->slo_us;
    if (good) {
        r->good++;
        r->clear |= (double)seen->p95_us <= SEARCH_CLEAR * (double)self->slo_us;
    } else {
        r->bad++;
        r->behind |= seen->behind;
    }
    return good;
}

uint64_t search_probe_us(double rate, uint64_t slo_us) {
    double us = fmax(SEARCH_CALLS * 1e6 / rate, (double)slo_us / SEARCH_PRECISION);
    return (uint64_t)fmin(fmax(us, SEARCH_PROBE_LEAST_US), SEARCH_PROBE_MOST_US);
}
