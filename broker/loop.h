/* loop.h - the broker's one thread: frames from and to libzmq, signals, time; core.h decides.
 *
 *     clients  ROUTER ─┐                      ┌─► core ─► ops ─┬─► ROUTER clients
 *     workers  ROUTER ─┼─ wait_for ─ one ─────┤                └─► ROUTER workers
 *     monitors, signals┘            wake-up   └─► bodies[slot]
 *
 * Threads: loop_new(), loop_run() and loop_destroy() on one thread, with the signals of
 * thread_signals_fd() blocked before, since libzmq's threads inherit the mask. */
#ifndef EMBER_BROKER_LOOP_H
#define EMBER_BROKER_LOOP_H

#include "base/cfg.h"
#include "core.h"
#include "scale.h"

typedef struct loop loop_t;

struct loop_cfg {
    struct core_cfg core;             /* .id and .seed are set by loop_new() */
    struct cfg_list clients, workers; /* endpoints to bind */
    struct cfg_list advertise;        /* endpoints of other brokers */
    struct routes routes;
    uint64_t max_unread;          /* bytes of replies one client may leave unread */
    uint64_t memory_limit;        /* bytes; 0: what the cgroup says */
    struct scale_cfg scale;       /* .brokers is set by loop_new() */
    void (*on_hup)(loop_t *self); /* SIGHUP, on the loop's thread; NULL: nothing */
    const char *name;
    const char *http;      /* "" or "off": none */
    const char *curve_dir; /* certificates, see guard.h; "": no keys, no encryption */
    int signals_fd;        /* -1: none */
};

/* Bind everything. On failure the text names the endpoint; STATUS_UNAVAILABLE: it cannot be
 * bound. */
enum status loop_new(const struct loop_cfg *cfg, loop_t **out, struct err *err);
void loop_destroy(loop_t **self); /* flushes replies for up to a second; NULL is fine */

/* Until drained after SIGTERM or SIGINT (a second one ends it at once), or loop_stop(). */
void loop_run(loop_t *self);
void loop_reload_keys(loop_t *self); /* look at curve_dir now; any thread */
void loop_set_routes(loop_t *self, const struct routes *routes); /* the loop's thread */
void loop_stop(loop_t *self); /* any thread: drain as after a signal */

/* The endpoint bound first, with the real port; for tests. Borrowed. */
const char *loop_clients_endpoint(const loop_t *self);
const char *loop_workers_endpoint(const loop_t *self);
uint16_t loop_http_port(const loop_t *self); /* 0: none */

#endif
