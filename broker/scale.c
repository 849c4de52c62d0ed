/* scale.c - see scale.h.
 *
 * What is asked for decides, not how busy workers are: a fleet that works off what has gathered is
 * as busy as one that is too small, so that with "busy" each wave ended in up to twice the workers
 * it needed. The share of credit windows in use says even less: it is small until a fleet is
 * full, and then it is one. */
#include "scale.h"

#include <math.h>
#include <string.h>

void scale_init(struct scale *self, const struct scale_cfg *cfg, uint64_t now_us) {
    *self = (struct scale){.cfg = *cfg, .start_us = now_us, .looked_us = now_us};
    self->cfg.target = cfg->target > 0 ? cfg->target : 1;
    self->cfg.brokers = cfg->brokers ? cfg->brokers : 1;
    self->slot_us = cfg->stabilization_us / (SCALE_SLOTS - 1);
}

/* A mean that forgets: 1/e of a step is missing after SCALE_SMOOTH_US. */
static void smooth(struct scale *self, const struct scale_sample *sample, uint64_t now_us) {
    double us = (double)(now_us - self->looked_us);
    double rate = (sample->offered_us - self->offered_us) / us;
    self->rate += (rate - self->rate) * -expm1(-us / SCALE_SMOOTH_US);
    self->offered_us = sample->offered_us;
    self->looked_us = now_us;
}

static uint32_t part(uint32_t workers, uint32_t brokers) {
    return (workers + brokers - 1) / brokers;
}

static uint32_t need(struct scale *self, const struct scale_sample *sample, bool asked,
                     uint64_t now_us) {
    const struct scale_cfg *cfg = &self->cfg;
    double live = sample->live, there = live + sample->suspect;
    double wanted = ceil(live * self->load / cfg->target - 0.01) + sample->suspect;
    if (!sample->live && asked)
        wanted += 1; /* from nothing: somebody has to come and be seen */
    wanted = there >= 1 ? fmin(wanted, 2 * there) : wanted;
    self->found = self->known && self->found < sample->live ? self->found : sample->live;
    if (now_us - self->start_us < cfg->stabilization_us)
        wanted = fmax(wanted, part(self->found, cfg->brokers));
    wanted = fmax(wanted, part(cfg->min, cfg->brokers));
    return (uint32_t)fmin(wanted, cfg->max);
}

/* The highest wish of the window, this one included. */
static uint32_t hold(struct scale *self, uint32_t wish, uint64_t now_us) {
    if (!self->slot_us)
        return wish;
    uint64_t slot = (now_us - self->start_us) / self->slot_us;
    if (slot - self->slot >= SCALE_SLOTS)
        memset(self->highest, 0, sizeof self->highest);
    else
        while (self->slot < slot)
            self->highest[++self->slot % SCALE_SLOTS] = 0;
    self->slot = slot;
    uint32_t *latest = &self->highest[slot % SCALE_SLOTS];
    *latest = wish > *latest ? wish : *latest;
    for (uint32_t i = 0; i < SCALE_SLOTS; i++)
        wish = self->highest[i] > wish ? self->highest[i] : wish;
    return wish;
}

uint32_t scale_look(struct scale *self, const struct scale_sample *sample, uint64_t now_us) {
    if (now_us <= self->looked_us)
        return self->wish;
    bool asked = sample->received != self->received;
    self->received = sample->received;
    smooth(self, sample, now_us);
    double busy = self->rate + sample->waiting_us / SCALE_BACKLOG_US;
    self->load = sample->runners ? busy / sample->runners : 0;
    self->wish = hold(self, need(self, sample, asked, now_us), now_us);
    uint64_t age_us = now_us - self->start_us;
    self->known = age_us >= SCALE_QUIET_US || age_us >= self->cfg.stabilization_us;
    return self->wish;
}
