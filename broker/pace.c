/* pace.c - see pace.h.
 *
 * What a service can do is only seen while it is asked for more: while requests waited all the
 * time from one look to the next. Of such times cost and microseconds are summed up and fade within
 * some seconds, so that the first is as good as it can be and later ones are steady. A time in
 * which more got done than the rate says counts, too, pressed or not: so much was done.
 * Results other than OK do not count, for expired ones come fast. After FORGET_US without need of
 * it the rate is forgotten: by then much may have changed. */
#include "pace.h"

#include <math.h>

#define FADE_US     (1.0 * 1000 * 1000)
#define FADE_FEW_US (4.0 * 1000 * 1000) /* where results are rare, or the rate would be a saw */
#define FEW         8
#define FORGET_US   (5.0 * 1000 * 1000)
#define LEARN       0.0625 /* weight of one result in a moving mean */
#define CLAMP       16.0   /* one result counts as so many times the mean at most */

static void learn(double *mean, double value) {
    if (*mean <= 0)
        *mean = value;
    else
        *mean += LEARN * (fmin(value, CLAMP * *mean) - *mean);
}

void pace_result(struct pace *self, uint32_t cost, uint32_t engine_us, uint64_t held_us) {
    self->cost += cost;
    self->results++;
    learn(&self->held_us, (double)held_us);
    if (engine_us)
        learn(&self->unit_us, (double)engine_us / cost);
}

void pace_look(struct pace *self, uint32_t waiting, uint32_t members, double us) {
    double done = (double)(self->cost - self->cost_before);
    double results = (double)(self->results - self->results_before);
    bool pressed = waiting && !self->was_empty;
    self->cost_before = self->cost;
    self->results_before = self->results;
    bool counts = pressed || (self->rate > 0 && done > self->rate * us);
    if (self->members && members && members != self->members) {
        self->done *= (double)members / self->members; /* as if they had been so many before */
        self->members = members;
    }
    if (counts) {
        double keep = exp(-us / (self->seen < FEW ? FADE_FEW_US : FADE_US));
        self->done = self->done * keep + done;
        self->seen = self->seen * keep + results;
        self->pressed_us = self->pressed_us * keep + us;
        self->rate = self->done / self->pressed_us;
        self->members = members;
    }
    self->calm_us = counts || self->was_refused ? 0 : self->calm_us + us;
    if (self->calm_us > FORGET_US)
        self->done = self->seen = self->pressed_us = self->rate = self->calm_us = 0;
    self->was_refused = false;
    self->was_empty = waiting == 0;
}

double pace_rate(const struct pace *self, uint32_t members) {
    return self->members ? self->rate * members / self->members : self->rate;
}

void pace_weigh(struct pace *self, double mean_us) {
    double weight = self->unit_us > 0 && mean_us > 0 ? self->unit_us / mean_us : 1;
    weight = PACE_WEIGHT_ONE * fmin(fmax(weight, 0), PACE_WEIGHT_MAX / PACE_WEIGHT_ONE);
    self->weight16 = weight < PACE_WEIGHT_MIN ? PACE_WEIGHT_MIN : (uint32_t)weight;
}
