/* figures.h - the broker's metrics and health over HTTP.
 *
 *     loop ── figures_publish() every 250 ms ──► snapshot, locked ──► server thread, on a scrape
 *
 * Threads: figures_publish() belongs to the loop; the server reads the copy, never the core. */
#ifndef EMBER_BROKER_FIGURES_H
#define EMBER_BROKER_FIGURES_H

#include "core.h"
#include "guard.h"

enum { FIGURES_PUBLISH_US = 250 * 1000, FIGURES_BEAT_US = 5 * 1000 * 1000 };

struct figures_frames { /* what the loop counts itself */
    uint64_t malformed, unknown_peers;
    uint64_t cut;                        /* clients given up for what they left unread */
    uint64_t unread_bytes;               /* now, of all clients */
    uint64_t memory_bytes, memory_limit; /* 0: not known, none */
    bool has_load;                       /* the next three mean something */
    double load;                         /* of the workers, see scale.h */
    uint32_t desired;                    /* workers */
    struct core_load core_load;          /* what both were made from */
    double cost;                         /* of the workers since the start */
    bool has_cost_per_1000;
    double cost_per_1000; /* answers of the last minutes */
    bool has_keys;        /* --curve-dir; without, the rest is not told */
    struct guard_counts keys;
};

typedef struct figures figures_t;

/* Errors as expose_start(). */
enum status figures_start(const char *listen, const core_t *core, uint64_t now_us, figures_t **out,
                          struct err *err);
void figures_stop(figures_t **self); /* NULL is fine */

void figures_publish(figures_t *self, const core_t *core, const struct figures_frames *frames,
                     uint64_t now_us);

/* For tests: the page, health (not when the loop has not turned for FIGURES_BEAT_US), and the port
 * in use. */
struct expose_text;
bool figures_healthy(figures_t *self, uint64_t now_us, struct expose_text *why);
void figures_page(figures_t *self, struct expose_text *out);
uint16_t figures_port(const figures_t *self);

#endif
