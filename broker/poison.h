/* poison.h - bodies that are refused for a while, because workers died of them.
 *
 * What is kept is a hash of body and service under a seed that nobody outside knows, so that no
 * text lies in memory longer than its request, and nobody can make a body that is mistaken for one
 * of these. The table has POISON_MAX places; when it is full the one that would be forgotten first
 * makes room. Who decides that a body is poison: probation.c.
 *
 * Threads: owner only. */
#ifndef EMBER_BROKER_POISON_H
#define EMBER_BROKER_POISON_H

#include "base/view.h"

#include <stdbool.h>
#include <stdint.h>

enum { POISON_MAX = 64, POISON_US = 60 * 1000 * 1000 };

struct poison { /* all zero: empty */
    struct {
        uint64_t hash, until_us;
    } items[POISON_MAX];
    uint32_t n;
};

/* Of what a request asks for: equal bodies for one service have one hash. */
uint64_t poison_hash(struct view body, uint16_t service, uint64_t seed);

void poison_add(struct poison *self, uint64_t hash, uint64_t now_us);

/* Microseconds for which this is still refused, 0: it is not. Forgets what is over. */
uint64_t poison_left_us(struct poison *self, uint64_t hash, uint64_t now_us);

#endif
