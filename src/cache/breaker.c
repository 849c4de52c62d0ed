/* breaker.c - see breaker.h; the pattern is Nygard's ("Release It!", 2007). */
#include "cache/breaker.h"

#include "base/hash.h"

struct breaker breaker_make(uint32_t failures_max, uint64_t open_us) {
    return (struct breaker){.failures_max = failures_max, .open_us = open_us};
}

bool breaker_allow(struct breaker *self, uint64_t now_us) {
    if (self->state == BREAKER_OPEN && now_us >= self->until_us) {
        self->state = BREAKER_PROBING;
        return true;
    }
    return self->state == BREAKER_CLOSED;
}

void breaker_ok(struct breaker *self) {
    self->state = BREAKER_CLOSED;
    self->failures = 0;
}

void breaker_failed(struct breaker *self, uint64_t now_us) {
    if (self->failures < UINT32_MAX)
        self->failures++;
    if (self->state == BREAKER_CLOSED && self->failures < self->failures_max)
        return;
    self->state = BREAKER_OPEN;
    self->until_us = now_us + self->open_us;
}

struct backoff backoff_make(uint64_t min_us, uint64_t max_us) {
    return (struct backoff){.min_us = min_us, .max_us = max_us, .next_us = min_us};
}

uint64_t backoff_draw(struct backoff *self, uint64_t *random_state) {
    uint64_t whole = self->next_us, half = whole / 2;
    self->next_us = whole > self->max_us / 2 ? self->max_us : whole * 2;
    return whole - half + hash_below(random_state, (uint32_t)half + 1);
}

void backoff_reset(struct backoff *self) {
    self->next_us = self->min_us;
}

uint32_t ttl_jitter(uint32_t ttl_s, uint64_t *random_state) {
    uint32_t tenth = ttl_s / 10;
    uint32_t ttl = ttl_s - tenth + hash_below(random_state, 2 * tenth + 1);
    return ttl ? ttl : 1;
}
