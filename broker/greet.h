/* greet.h - the bodies a broker opens and writes itself: HELLO, READY, HEARTBEAT, WELCOME,
 * READY_OK, errors.
 *
 * Threads: owner only. Memory: one arena for what is read, one buffer for what is written; a body
 * lives until the next call that writes one. */
#ifndef EMBER_BROKER_GREET_H
#define EMBER_BROKER_GREET_H

#include "core.h"
#include "wire/session.h"

#include <stdbool.h>

enum { GREET_BODY_BYTES = 64 * 1024 }; /* the largest HELLO, READY or HEARTBEAT */

struct greet_cfg {
    const char *name;             /* of this broker */
    const struct view *advertise; /* other brokers */
    uint32_t n_advertise;
};

struct greet {
    struct greet_cfg cfg;
    struct arena arena;
    struct wire_out out;
};

bool greet_init(struct greet *self, const struct greet_cfg *cfg); /* false: no memory */
void greet_done(struct greet *self);

/* Read a HELLO or READY. Errors as the codec's; STATUS_UNIMPLEMENTED: no common protocol version.
 * *out points into the arena until the next greet_read_*(). */
enum status greet_read_hello(struct greet *self, struct view body, struct wire_hello *out,
                             struct err *err);
enum status greet_read_ready(struct greet *self, struct view body, struct wire_ready *out,
                             struct err *err);
enum status greet_read_heartbeat(struct greet *self, struct view body, struct wire_heartbeat *out,
                                 struct err *err);

/* Write a body; an empty view without memory. */
struct view greet_welcome(struct greet *self, core_t *core, uint32_t client,
                          const struct wire_hello *hello, uint64_t now_us);
struct view greet_ready_ok(struct greet *self, const core_t *core, uint32_t worker);
struct view greet_error(struct greet *self, const struct core_error *error);
struct view greet_goaway(struct greet *self, const char *reason);

#endif
