/* peers.h - whose connection is it: routing ids of one ROUTER socket <-> the core's numbers.
 *
 *     00 6b 8b 45 67  ──►  client 17        client 17  ──►  00 6b 8b 45 67
 *
 * A routing id names one connection; a peer that reconnects has another. The table forgets a number
 * when the core closes it, so a number given again never inherits an older connection.
 *
 * Threads: owner only. Memory: all of it is taken in peers_init(). */
#ifndef EMBER_BROKER_PEERS_H
#define EMBER_BROKER_PEERS_H

#include "wire/frame.h"

#include <stdbool.h>
#include <stdint.h>

#define PEERS_NONE UINT32_MAX

struct peers {
    struct frame_peer *ids; /* by number */
    uint8_t *strikes;       /* by number: malformed messages */
    uint32_t *table;        /* open addressing: numbers, PEERS_NONE when empty */
    uint32_t mask, max;
    uint64_t seed;
};

bool peers_init(struct peers *self, uint32_t max, uint64_t seed); /* false: no memory */
void peers_done(struct peers *self);

uint32_t peers_find(const struct peers *self, const struct frame_peer *id); /* or PEERS_NONE */
void peers_bind(struct peers *self, const struct frame_peer *id, uint32_t number);
void peers_unbind(struct peers *self, uint32_t number); /* a bound number */

#endif
