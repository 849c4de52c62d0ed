/* loop.h - the one thread that owns sockets, cache, requests and time.
 *
 *     brokers (DEALER each) --.                          .--> runners (link.h)
 *     Redis ------------------+--> poll, read, serve.h --+
 *     signals, runners done --'                          '--> RESULTs, READYs, HEARTBEATs
 *
 * Threads: loop_run() is the owner's; loop_report() may be called from any thread. */
#ifndef EMBER_WORKER_LOOP_H
#define EMBER_WORKER_LOOP_H

#include "cache/cache.h"
#include "link.h"
#include "models.h"
#include "serve.h"
#include "settings.h"

typedef struct loop loop_t;

struct loop_cfg {
    const struct settings *settings;
    const struct models *models;
    link_t *link;       /* runners are at its other end */
    uint32_t n_batches; /* the rings of the link have room for these */
    uint32_t items_max; /* of one batch, as the runners' seats have it */
    int signals_fd;
};

/* Sockets, cache, tables; connects to the brokers. STATUS_INVALID_ARGUMENT names a bad endpoint or
 * Redis URL, RESOURCE_EXHAUSTED what there is no memory for. */
enum status loop_new(const struct loop_cfg *cfg, loop_t **out, struct err *err);
/* After the runners have been joined. NULL is fine. */
void loop_destroy(loop_t **self);

enum loop_end {
    LOOP_DRAINED, /* everything is answered, and the brokers know that we leave */
    LOOP_CUT,     /* told twice, or out of patience */
    LOOP_STUCK,   /* a batch has been running for twice --stuck-ms: its runner will not come back */
};

/* Serves until it is told to stop and everything is answered, or that cannot be. */
enum loop_end loop_run(loop_t *self);
/* Sends what is on its way and closes the sockets, within about a second: for an end without
 * loop_destroy(), which needs all runners back. */
void loop_hang_up(loop_t *self);

/* What the loop last published about itself; any thread. */
struct loop_report {
    const struct serve_stats *serve; /* counters, live */
    struct cache_stats cache;
    uint32_t brokers, brokers_live;
    uint32_t credit, credit_used;       /* cost brokers may have here now, and have */
    uint64_t results_lost;              /* answers whose broker was gone */
    uint64_t refused;                   /* dispatches that no window allowed */
    uint64_t beat_us;                   /* when the loop last turned */
    uint32_t batch_tokens;              /* of one batch; fewer than set while memory is short */
    uint64_t memory_used, memory_limit; /* bytes, as memory.h counts; limit 0: none */
    uint64_t running_us;                /* of the batch that runs longest; 0: none runs */
    uint32_t stuck;                     /* batches that run for longer than --stuck-ms */
    bool draining;
};
void loop_report(loop_t *self, struct loop_report *out);

#endif
