/* pool_up.h - a pool whose brokers come up when a test says so. */
#ifndef EMBER_TEST_POOL_UP_H
#define EMBER_TEST_POOL_UP_H

#include "pool.h"

#include <stdio.h>

/* Endpoints tcp://b0:1 .. of the same cost, all given. */
static inline void pool_up_init(struct pool *pool, const struct pool_cfg *cfg, uint32_t n,
                                uint64_t now_us) {
    pool_init(pool, cfg, 1, now_us);
    for (uint32_t i = 0; i < n; i++) {
        char endpoint[32];
        snprintf(endpoint, sizeof endpoint, "tcp://b%u:1", i);
        pool_give(pool, endpoint, 1);
    }
}

/* Does what the pool wants, as the brokers in `up` (bits) would have it: those take connections and
 * HELLO, nobody listens at the others. Sessions are 100 + place + 10 for each one before. Returns
 * the bits of the brokers that were to be closed. */
static inline uint32_t pool_up_run(struct pool *pool, uint32_t up, uint64_t *session,
                                   uint64_t now_us) {
    uint32_t at, closed = 0;
    for (enum pool_want want; (want = pool_next(pool, 0, &at, now_us)) != POOL_NOTHING;) {
        bool there = up & 1u << at;
        if (want == POOL_OPEN) {
            pool_opened(pool, at, now_us);
            if (!there)
                pool_failed(pool, at, "nobody listens there", now_us);
        } else if (want == POOL_HELLO) {
            pool_greeted(pool, at, now_us);
            *session += 10;
            struct pool_welcome w = {
                .session = *session + at, .id = 1000 + at, .heartbeat_us = 500 * 1000};
            if (there)
                pool_welcome(pool, at, &w, now_us);
        } else if (want == POOL_PING) {
            pool_asked(pool, at, now_us);
            if (there)
                pool_pong(pool, at, now_us, now_us);
        } else {
            closed |= 1u << at;
            pool_closed(pool, at, now_us);
        }
    }
    return closed;
}

#endif
