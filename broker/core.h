/* core.h - what the broker decides, without sockets or clock.
 *
 *     loop (or a simulation)                     core
 *       a frame, the time  ───────────────────►  core_request() core_worker_frame() ...
 *       send this, drop that  ◄───────────────   struct core_ops
 *
 * The core knows peers by small numbers that it hands out itself: core_hello() names a client,
 * core_ready() a worker, and client_closed()/worker_closed() say that a number is free again. The
 * routing ids behind them belong to the loop and never leave it. Bodies belong to the loop, too:
 * the core names them by the slot of their ticket.
 *
 * Each request that core_request() takes or refuses is answered exactly once through to_client() or
 * forward(), or its client is gone:
 *     received = replied + queued + in flight + following an equal one + dropped.
 *
 * Time is in microseconds of any monotonic clock and never runs backwards between calls.
 * Threads: owner only. Memory: all tables are taken in core_new(); READY may lengthen a list. */
#ifndef EMBER_BROKER_CORE_H
#define EMBER_BROKER_CORE_H

#include "base/err.h"
#include "fleet.h"
#include "metrics/histogram.h"
#include "routes.h"
#include "wire/header.h"

#define CORE_NONE UINT32_MAX

/* What a request takes of a worker's credit window: CORE_COST_BASE + body bytes / CORE_COST_BYTES.
 * A short text costs 2 or 3; a text of 256 word pieces (some 1,200 bytes) about 20. A worker's
 * window is in the same unit. It is absolute: each message of a worker carries the whole window, so
 * nothing can leak. */
enum { CORE_COST_BASE = 1, CORE_COST_BYTES = 64 };

static inline uint32_t core_cost(size_t body_bytes) {
    return CORE_COST_BASE + (uint32_t)(body_bytes / CORE_COST_BYTES);
}

enum core_sent {
    CORE_SENT,
    CORE_FULL, /* the peer's queue is full */
    CORE_GONE, /* the peer is not connected */
};

struct core_error { /* what an Error body will say */
    const char *text;
    uint32_t retry_after_ms; /* 0: no advice */
    bool may_have_run;
};

/* A request that took long, when it is answered or has run out of time. */
struct core_slow {
    uint32_t client;
    uint64_t session, id; /* the client's, and its request's number there */
    uint32_t service;
    uint8_t lane;
    enum status status;
    uint32_t attempts;
    uint64_t execution; /* the last one, as its worker was told; 0: it shared one, or had none */
    uint32_t worker;    /* of it, maybe gone; CORE_NONE: another has its place, or there was none */
    uint64_t waited_us; /* until it was sent for the first time, or its end */
    uint64_t total_us;
};

/* What the core wants done. Sends tell how it went and never call back into the core. */
struct core_ops {
    /* `slot` names the body to send along (kept: it may be sent again), CORE_NONE: no body. */
    enum core_sent (*to_worker)(void *arg, uint32_t worker, const struct header *header,
                                uint32_t slot);
    /* `error` is the body, NULL: no body. */
    enum core_sent (*to_client)(void *arg, uint32_t client, const struct header *header,
                                const struct core_error *error);
    /* A reply whose body is that of the RESULT being handled; called once for each client that
     * waits for it. */
    enum core_sent (*forward)(void *arg, uint32_t client, const struct header *header);
    /* The one that is kept, to compare it; NULL: nothing is coalesced or refused for what it
     * did. */
    struct view (*body)(void *arg, uint32_t slot);
    void (*drop)(void *arg, uint32_t slot); /* the body of this slot is not needed any more */
    void (*client_closed)(void *arg, uint32_t client, const char *why);
    void (*worker_closed)(void *arg, uint32_t worker, const char *why); /* still in core_fleet() */
    /* For the log, as are the next two; NULL: none. `why` NULL: trusted again. Of a body that is
     * refused from now on only a hash is told. */
    void (*suspected)(void *arg, uint32_t worker, const char *why);
    void (*quarantined)(void *arg, uint32_t slot, uint64_t hash);
    void (*slow)(void *arg, const struct core_slow *slow);
    void *arg;
};

struct core_cfg {
    uint32_t max_clients, max_workers, max_services, max_tickets;
    uint32_t max_queued;         /* requests waiting for a worker */
    uint64_t max_queued_bytes;   /* their bodies */
    uint64_t max_queued_cost;    /* weighted by what a service's cost takes; 0: no limit */
    uint32_t max_client_tickets; /* requests of one account, waiting or in flight */
    uint64_t max_client_bytes;   /* of their bodies; 0: no limit, here and below */
    uint64_t max_client_cost;    /* of them, weighted as above */
    uint32_t max_key_sessions;   /* sessions of one account that is a key; 0: no limit */
    uint64_t queue_target_us;    /* an account that waits longer, see line.h; 0: for ever */
    uint64_t heartbeat_us; /* workers speak this often; silence of CORE_SILENT_BEATS is death */
    uint64_t
        no_worker_grace_us; /* a request waits this long for a worker of its model to come (back) */
    uint64_t drain_us;      /* time for what is in flight when the broker is told to stop */
    uint64_t slo_us;        /* an answer is to take no longer, see tally.c; 0: none is judged */
    uint64_t slow_us;       /* what takes longer is told to ops.slow(); 0: nothing is */
    bool hedge;             /* second executions of what is merely slow */
    bool coalesce;          /* equal requests share an execution */
    char default_model[LIMIT_NAME_BYTES + 1]; /* "": the only model of a task, if there is one */
    uint64_t id;                              /* random, of this start of the broker; not 0 */
    uint64_t seed;                            /* of choices */
};

/* Who a client is, as far as its connection proves it (CURVE). Clients of one account share its
 * limits and its turn: a program gains nothing by connecting twice. */
struct core_who {
    uint64_t account;      /* 0: each session is an account of its own */
    uint32_t max_requests; /* waiting or in flight; 0: as in core_cfg, here and below */
    uint64_t max_bytes;    /* of their bodies */
    uint32_t max_cost;     /* of them, see core_cost() */
    uint32_t weight;       /* share among accounts that wait in the same lane; 0: 1 */
    uint64_t sticky;       /* decides its model of a route; 0: the session */
};

enum { CORE_SILENT_BEATS = 3, CORE_CLIENT_SILENT_US = 60 * 1000 * 1000 };

/* Why a request was refused, at the door or after it had waited. */
enum core_reason {
    CORE_REASON_STOPPING,
    CORE_REASON_INVALID,      /* no sane time, no such lane or service number */
    CORE_REASON_TOO_LARGE,    /* its body */
    CORE_REASON_NO_WORKER,    /* none serves the model, or does that with it */
    CORE_REASON_POISONED,     /* workers died of its body */
    CORE_REASON_CLIENT_LIMIT, /* its client has as much in hand as it may */
    CORE_REASON_UNREAD,       /* its client leaves replies unread */
    CORE_REASON_MEMORY,       /* the broker is short of it */
    CORE_REASON_QUEUE_FULL,
    CORE_REASON_NO_TIME,    /* an answer would take longer than it has */
    CORE_REASON_PUSHED_OUT, /* it waited; its client had the largest backlog of a full broker */
    CORE_REASON_TOO_LATE,   /* it waited; too little time was left to try */
    CORE_REASONS
};
const char *core_reason_name(enum core_reason reason); /* "queue_full" ... */

struct core_stats {    /* since the start */
    uint64_t received; /* requests, answered repeats of one in flight apart */
    uint64_t replied[STATUS_UNAUTHENTICATED + 1]; /* by status */
    uint64_t dropped;                             /* requests whose client went away first */
    uint64_t attached;   /* repeats of a request that was in flight: not executed twice */
    uint64_t dispatched; /* executions started */
    uint64_t requeued;   /* executions lost with their worker */
    uint64_t nacked;     /* given back unstarted */
    uint64_t late;       /* results nobody waits for */
    uint64_t refused;    /* at the door: RESOURCE_EXHAUSTED */
    uint64_t shed;       /* after they had waited: pushed out, or without a chance to be in time */
    uint64_t workers_lost;
    uint64_t suspected;              /* workers that were not trusted any more */
    uint64_t hedged;                 /* second executions to overtake a slow first */
    uint64_t recovered;              /* second executions of what looked stuck */
    uint64_t retries_denied;         /* either, but for the budget */
    uint64_t poisoned;               /* requests that workers died of, now refused */
    uint64_t coalesced;              /* requests answered by the execution of an equal one */
    uint64_t strangers;              /* frames of unknown or wrong epoch */
    uint64_t unexpected;             /* well-formed frames that make no sense there */
    uint64_t replies_cut;            /* replies a client did not take */
    uint64_t slow;                   /* requests that took slow_us or longer */
    uint64_t refusals[CORE_REASONS]; /* refused and shed are among them */
    uint64_t slo[WIRE_LANES][2];     /* answers that count: [1] within the service level */
    uint64_t engine_us;              /* engine work that results told */
    struct histogram queue_us;       /* admission to first dispatch */
    struct histogram total_us;       /* admission to reply, of executed requests */
};

typedef struct core core_t;

/* STATUS_RESOURCE_EXHAUSTED without memory. `ops` is copied. */
enum status core_new(const struct core_cfg *cfg, const struct core_ops *ops, uint64_t now_us,
                     core_t **out, struct err *err);
void core_destroy(core_t **self); /* drops bodies, sends nothing; NULL is fine */

/* ---- clients */

/* HELLO. *client is CORE_NONE for a connection without a session and is set to its new number; or
 * the session's number: with the session's epoch in `epoch` it goes on, otherwise it starts anew
 * and what was in flight is dropped. `session` is random, not 0, and becomes the epoch of a new
 * session. `who` is copied; NULL: nobody in particular.
 * STATUS_RESOURCE_EXHAUSTED: too many clients. STATUS_UNAVAILABLE: draining. */
enum status core_hello(core_t *self, uint32_t *client, uint64_t epoch, uint64_t session,
                       const struct core_who *who, uint64_t now_us, struct err *err);
uint64_t core_session(const core_t *self, uint32_t client); /* the epoch, for WELCOME */

/* How many requests its account may have waiting or in flight. */
uint32_t core_max_requests(const core_t *self, uint32_t client);

/* From now on; requests that wait already stay where they are. Copied; checked before. */
void core_set_routes(core_t *self, const struct routes *routes);

/* A service's number for WELCOME, given if need be; 0 when there is no room for more. */
uint32_t core_number(core_t *self, struct view model, enum wire_task task);

/* To be called for each frame of a session but HELLO. False: the epoch is not the session's,
 * WHO_ARE_YOU was sent, ignore the frame. */
bool core_client_heard(core_t *self, uint32_t client, const struct header *header, uint64_t now_us);

/* A REQUEST for a service other than 0. Returns the slot under which the loop keeps the body until
 * drop(), or CORE_NONE: refused and answered, or a repeat of one in flight. The body's bytes are
 * looked at only to find an equal one that waits or runs already. */
uint32_t core_request(core_t *self, uint32_t client, const struct header *header, struct view body,
                      uint64_t now_us);

/* A REQUEST that the loop does not want to take now: counted, and answered RESOURCE_EXHAUSTED
 * unless it repeats one that is in flight. */
void core_refuse(core_t *self, uint32_t client, const struct header *header,
                 enum core_reason reason, uint32_t retry_after_ms, const char *why,
                 uint64_t now_us);

/* Any other frame of a client. */
void core_client_frame(core_t *self, uint32_t client, const struct header *header, uint64_t now_us);

/* The connection is gone, or the loop does not want it any more. */
void core_client_lost(core_t *self, uint32_t client, const char *why, uint64_t now_us);

/* ---- workers */

/* READY. *worker is CORE_NONE for an unknown connection and is set; the same uuid on the same
 * connection only refreshes the credit; the same uuid on another connection retires that session,
 * as does another uuid on this one. STATUS_RESOURCE_EXHAUSTED as fleet_join(); *worker is then
 * CORE_NONE. */
enum status core_ready(core_t *self, uint32_t *worker, const struct wire_ready *ready,
                       uint16_t credit, uint64_t now_us, struct err *err);

/* As core_client_heard(), for each frame of a worker but READY; takes the credit window. */
bool core_worker_heard(core_t *self, uint32_t worker, const struct header *header, uint64_t now_us);

/* RESULT, NACK, HEARTBEAT, PING, PONG, DRAIN, BYE. The body of a RESULT is forwarded during the
 * call. */
void core_worker_frame(core_t *self, uint32_t worker, const struct header *header, uint64_t now_us);

void core_heartbeat(core_t *self, uint32_t worker, const struct wire_heartbeat *heartbeat);
void core_worker_lost(core_t *self, uint32_t worker, const char *why, uint64_t now_us);

/* PING every worker, to find those whose connection is gone (see loop.c). */
void core_sweep_workers(core_t *self, uint64_t now_us);
void core_sweep_clients(core_t *self, uint64_t now_us); /* those with requests in flight */

/* ---- time */

void core_tick(core_t *self, uint64_t now_us);     /* deadlines, silence; call at core_next_us() */
void core_dispatch(core_t *self, uint64_t now_us); /* call once per wake-up, after the frames */
uint64_t core_next_us(const core_t *self);

/* Take nothing new; see core_drained(). */
void core_drain(core_t *self, uint64_t now_us);
bool core_draining(const core_t *self);
bool core_drained(const core_t *self); /* draining, and nothing is left */

/* ---- looking */

const struct core_cfg *core_cfg(const core_t *self);
const struct core_stats *core_stats(const core_t *self);
const struct fleet *core_fleet(const core_t *self);
const struct routes *core_routes(const core_t *self);
uint32_t core_clients(const core_t *self);
uint32_t core_queued(const core_t *self);
uint64_t core_queued_bytes(const core_t *self);
uint32_t core_following(const core_t *self); /* requests that wait for an equal one in flight */
uint16_t core_demand(const core_t *self, uint32_t worker); /* for PONG and READY_OK */
uint32_t core_in_flight(const core_t *self);
uint64_t core_replied(const core_t *self);

struct core_service_view {
    uint32_t queued, in_flight;
    uint32_t lanes[WIRE_LANES]; /* queued, by lane */
    uint64_t answered;
    uint64_t engine_us;     /* engine work that results told */
    uint64_t refused, shed; /* as in core_stats */
    uint64_t oldest_us;     /* age of the oldest waiter */
    double rate;            /* cost per second it is held to be capable of; 0: not known */
    double weight;          /* what its cost takes, beside the mean of all services */
};
struct core_service_view core_service(const core_t *self, uint32_t number, uint64_t now_us);

/* Answers for a service, those it was refused for included. */
struct core_replies {
    uint64_t n[WIRE_LANES][STATUS_UNAUTHENTICATED + 1];
};
const struct core_replies *core_replies(const core_t *self, uint32_t number);

/* What is asked of the workers, for scale.h. Work is engine time, in us of one runner. */
struct core_load {
    uint32_t live, suspect; /* workers */
    uint32_t runners;       /* of the live */
    uint64_t window, used;  /* of the live: cost they may have, and have */
    double offered_us;      /* work of all that was let in, or refused for want of room, ever */
    double waiting_us;      /* work that waits */
};
struct core_load core_load(const core_t *self);
double core_hourly_cost(const core_t *self); /* of the connected workers, as they state it */

/* What `number` stands for now, for this client: itself, or the model behind an empty name or a
 * route; 0 when nothing does. */
uint32_t core_serves(const core_t *self, uint32_t number, uint32_t client, uint64_t now_us);

/* For tests: walks every table and aborts with a message when an invariant does not hold. */
void core_check(const core_t *self);

#endif
