/* series.c - see series.h. */
#include "series.h"

#include <stdlib.h>
#include <string.h>

struct series {
    uint64_t interval_us;
    uint32_t n;
    struct series_interval at[SERIES_MAX];
};

series_t *series_new(uint64_t interval_us) {
    series_t *self = calloc(1, sizeof *self);
    if (self)
        self->interval_us = interval_us ? interval_us : 1;
    return self;
}

void series_destroy(series_t **self) {
    free(*self);
    *self = NULL;
}

static void halve(series_t *self) {
    for (uint32_t i = 0; i < SERIES_MAX / 2; i++) {
        struct series_interval *to = &self->at[i];
        const struct series_interval *other = &self->at[2 * i + 1];
        if (i > 0)
            memcpy(to, &self->at[2 * i], sizeof *to);
        latency_merge(&to->latency, &other->latency);
        to->failed += other->failed;
        to->ended += other->ended;
    }
    memset(&self->at[SERIES_MAX / 2], 0, SERIES_MAX / 2 * sizeof *self->at);
    self->interval_us *= 2;
    self->n = (self->n + 1) / 2;
}

static struct series_interval *interval_of(series_t *self, uint64_t us) {
    while (us / self->interval_us >= SERIES_MAX)
        halve(self);
    return &self->at[us / self->interval_us];
}

void series_add(series_t *self, uint64_t due_us, uint64_t end_us, bool ok) {
    if (ok)
        interval_of(self, end_us)->ended++; /* first: it may make intervals longer */
    struct series_interval *at = interval_of(self, due_us);
    if (ok)
        latency_add(&at->latency, end_us - due_us);
    else
        at->failed++;
    uint32_t i = (uint32_t)(at - self->at);
    if (i >= self->n)
        self->n = i + 1;
}

uint32_t series_count(const series_t *self) {
    return self->n;
}

uint64_t series_interval_us(const series_t *self) {
    return self->interval_us;
}

const struct series_interval *series_at(const series_t *self, uint32_t i) {
    return i < SERIES_MAX ? &self->at[i] : NULL;
}
