/* admin.h - the broker's metrics and health over HTTP.
 *
 *     loop ── admin_publish() every 250 ms ──► snapshot, locked ──► server thread, on a scrape
 *
 * Threads: admin_publish() belongs to the loop; the server reads the copy, never the core. */
#ifndef EMBER_BROKER_ADMIN_H
#define EMBER_BROKER_ADMIN_H

#include "core.h"

enum { ADMIN_PUBLISH_US = 250 * 1000 };

struct admin_frames { /* what the loop counts itself */
    uint64_t malformed, unknown_peers;
};

typedef struct admin admin_t;

/* Errors as expose_start(). */
enum status admin_start(const char *listen, const core_t *core, uint64_t now_us, admin_t **out,
                        struct err *err);
void admin_stop(admin_t **self); /* NULL is fine */

void admin_publish(admin_t *self, const core_t *core, const struct admin_frames *frames,
                   uint64_t now_us);

/* For tests: the page, and the port in use. */
struct expose_text;
void admin_page(admin_t *self, struct expose_text *out);
uint16_t admin_port(const admin_t *self);

#endif
