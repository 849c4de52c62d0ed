/* client.h - the thread that owns the sockets; calls go in, their ends come out.
 *
 *     caller's thread                         the loop's thread
 *       client_start() --> inbox, eventfd --> services, pool, pending --> DEALERs --> brokers
 *       waits for the call's end <----------- call_end() <-------------- replies
 *
 * Threads: client_start() and client_cancel() from any; the rest by the owner. Limits: bytes of
 * unfinished calls (memory_max) and their number (CALLS_MAX): more are refused at once. */
#ifndef EMBER_CLIENT_CLIENT_H
#define EMBER_CLIENT_CLIENT_H

#include "call.h"
#include "pool.h"

#include "wire/frame.h"

enum { CLIENT_CALLS_MAX = 65536, CLIENT_NAME_BYTES = 256 };

struct client_cfg {
    struct client_endpoint {
        char text[POOL_ENDPOINT_BYTES];
        double cost;
    } endpoints[POOL_MAX];
    uint32_t n_endpoints; /* at least 1 */
    struct pool_cfg pool;
    char name[CLIENT_NAME_BYTES];
    uint64_t give_up_us; /* 0: never before the deadline */
    uint32_t call_window;
    uint64_t memory_max;
    bool has_keys;
    struct frame_curve keys; /* cleared with the client */
};

struct client; /* counted references: the owner's, and one for each call */

enum status client_new(const struct client_cfg *cfg, struct client **out, struct err *err);
void client_stop(struct client *self); /* ends all calls with CANCELLED, joins the thread */
void client_unref(struct client *self);

/* Takes the call over and begins it. RESOURCE_EXHAUSTED beyond a limit: the call is still the
 * caller's. */
enum status client_start(struct client *self, ember_call_t *call, struct err *err);
void client_cancel(ember_call_t *call);

#endif
