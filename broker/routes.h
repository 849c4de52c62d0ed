/* routes.h - names that stand for several models, each with a share of the clients.
 *
 *     chat-embed = minilm-v1:90, minilm-v2:10      nine clients of ten are served by minilm-v1
 *
 * Who gets which model follows from the client and the alias alone: a client keeps its model when
 * it reconnects, at every broker that has the same routes, and when a share is changed only as many
 * clients move as it takes (weighted rendezvous hashing: Schindelhauer and Schomaker, "Weighted
 * Distributed Hash Tables", SPAA 2005).
 *
 * Targets are models, never routes: "m = m:90, m2:10" sends a tenth of the clients of m elsewhere.
 *
 * Threads: a struct routes is immutable once parsed. Memory: none of its own. */
#ifndef EMBER_BROKER_ROUTES_H
#define EMBER_BROKER_ROUTES_H

#include "base/err.h"
#include "base/limits.h"
#include "base/view.h"

#include <stdbool.h>
#include <stdint.h>

enum { ROUTES_MAX = 16, ROUTES_TARGETS = 8, ROUTES_WEIGHT_MAX = 1000000 };

struct route_target {
    char model[LIMIT_NAME_BYTES + 1];
    uint32_t weight; /* 0: nobody's first choice, only a stand-in */
};

struct route {
    char alias[LIMIT_NAME_BYTES + 1];
    struct route_target target[ROUTES_TARGETS];
    uint32_t n;
};

struct routes {
    struct route route[ROUTES_MAX];
    uint32_t n;
};

/* Adds "ALIAS = MODEL[:WEIGHT], MODEL[:WEIGHT] ..."; a weight that is not told is 1. '+' may stand
 * for ',': in the environment a comma ends the text.
 * STATUS_INVALID_ARGUMENT says what is wrong; *self may then hold a part of the route. */
enum status routes_add(struct routes *self, const char *text, struct err *err);

/* Each route has a target with a weight. */
enum status routes_check(const struct routes *self, struct err *err);

/* "alias=model:90,model:10", as routes_add() reads it. */
enum { ROUTE_TEXT_BYTES = (ROUTES_TARGETS + 1) * (LIMIT_NAME_BYTES + 10) };
void route_text(const struct route *self, char out[ROUTE_TEXT_BYTES]);

const struct route *routes_find(const struct routes *self, struct view alias); /* NULL: none */

/* The targets in the order in which `who` prefers them: order[0..n-1] are indices of targets. */
void route_order(const struct route *self, uint64_t who, uint8_t order[ROUTES_TARGETS]);

#endif
