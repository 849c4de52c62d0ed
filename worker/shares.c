/* shares.c - floors, then the rest by weight.
 *
 * Invariants, checked in tests after each step:
 *   - targets of live brokers add up to the credit, each is at least the floor;
 *   - windows told add up to the credit at most, but for those who were told 1 because nothing was
 *     left;
 *   - a broker that is not live has been told nothing.
 *
 * Why a window grows only into what others were told to give up: otherwise two brokers could both
 * fill the same room until the next heartbeat, and a shift of load would double what is in hand.
 * The price is a message to the one that gives, which shares_news() asks for. */
#include "shares.h"

#include "base/check.h"

#include <string.h>

#define WINDOW_MAX UINT16_MAX /* the header's field */

void shares_init(struct shares *self, uint32_t credit, uint32_t threads, uint32_t n) {
    CHECK(n >= 1 && n <= LIMIT_BROKERS && threads >= 1);
    memset(self, 0, sizeof *self);
    self->threads = threads;
    self->n = n;
    shares_credit(self, credit > n ? credit : n);
}

void shares_credit(struct shares *self, uint32_t credit) {
    self->credit = credit < self->n && credit ? self->n : credit;
    if (self->credit > self->most)
        self->most = self->credit;
}

void shares_join(struct shares *self, uint32_t i, uint32_t demand) {
    struct share *share = &self->share[i];
    share->live = true;
    share->smooth = (demand < UINT16_MAX ? demand : UINT16_MAX) * SHARES_SMOOTH;
}

void shares_demand(struct shares *self, uint32_t i, uint32_t demand) {
    struct share *share = &self->share[i];
    uint32_t now = (demand < UINT16_MAX ? demand : UINT16_MAX) * SHARES_SMOOTH;
    if (share->live)
        share->smooth = share->smooth / 2 + now / 2;
}

void shares_lost(struct shares *self, uint32_t i) {
    struct share *share = &self->share[i];
    share->live = false;
    share->smooth = share->told = 0;
}

void shares_hold(struct shares *self, uint32_t i, uint32_t cost) {
    self->share[i].held += cost;
}

void shares_release(struct shares *self, uint32_t i, uint32_t cost) {
    CHECK(self->share[i].held >= cost);
    self->share[i].held -= cost;
}

void shares_forget(struct shares *self, uint32_t i) {
    self->share[i].held = 0;
}

bool shares_fits(const struct shares *self, uint32_t i, uint32_t cost) {
    uint64_t held = self->share[i].held;
    if (self->credit == 0)
        return false;
    return held == 0 || held + cost <= (uint64_t)self->most + SHARES_SLACK;
}

void shares_split(uint32_t total, uint32_t floor, const uint64_t *weight, uint32_t n,
                  uint32_t *out) {
    uint64_t sum = 0, rest = total > n * floor ? total - n * floor : 0, left = rest;
    uint64_t remainder[LIMIT_BROKERS];
    CHECK(n <= LIMIT_BROKERS);
    for (uint32_t i = 0; i < n; i++)
        sum += weight[i];
    for (uint32_t i = 0; i < n; i++) {
        uint64_t part = sum ? rest * weight[i] : rest, by = sum ? sum : n;
        out[i] = floor + (uint32_t)(part / by);
        remainder[i] = part % by;
        left -= part / by;
    }
    for (; left > 0; left--) { /* fewer than n units */
        uint32_t best = 0;
        for (uint32_t i = 1; i < n; i++)
            if (remainder[i] > remainder[best])
                best = i;
        out[best]++;
        remainder[best] = 0;
    }
}

/* Demand of broker i, in the unit of `smooth`. */
static uint64_t weight_of(const struct share *share) {
    uint64_t held = share->held * SHARES_SMOOTH;
    return share->smooth > held ? share->smooth : held;
}

uint32_t shares_target(const struct shares *self, uint32_t i) {
    uint64_t weight[LIMIT_BROKERS];
    uint32_t out[LIMIT_BROKERS], n = 0, at = 0, live = 0;
    for (uint32_t k = 0; k < self->n; k++)
        live += self->share[k].live;
    for (uint32_t k = 0; k < self->n; k++) {
        if (k == i)
            at = n;
        /* While none is live all are about to be, and each is greeted with its part. */
        if (k == i || self->share[k].live || live == 0)
            weight[n++] = self->share[k].live ? weight_of(&self->share[k]) : 0;
    }
    uint32_t runner = self->credit / self->threads, most = self->credit / (4 * n);
    uint32_t floor = runner < most ? runner : most;
    if (floor == 0 && self->credit > 0)
        floor = 1;
    shares_split(self->credit, floor, weight, n, out);
    return out[at];
}

/* What broker i would be told now. */
static uint32_t window_of(const struct shares *self, uint32_t i) {
    uint32_t target = shares_target(self, i), taken = 0;
    for (uint32_t k = 0; k < self->n; k++)
        taken += k == i ? 0 : self->share[k].told;
    uint32_t left = self->credit > taken ? self->credit - taken : 0;
    uint32_t window = target < left ? target : left;
    if (window == 0 && self->credit > 0)
        window = 1;
    return window < WINDOW_MAX ? window : WINDOW_MAX;
}

uint16_t shares_window(struct shares *self, uint32_t i) {
    uint32_t window = window_of(self, i);
    if (self->share[i].live)
        self->share[i].told = window;
    return (uint16_t)window;
}

bool shares_news(const struct shares *self, uint32_t i) {
    const struct share *share = &self->share[i];
    if (!share->live)
        return false;
    uint32_t window = window_of(self, i), told = share->told;
    uint32_t off = window > told ? window - told : told - window;
    return off > 0 && off >= told / SHARES_NEWS_PART;
}
