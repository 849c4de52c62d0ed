/* fleet.h - who works: the workers that are connected, the services they serve, and the choice of
 * one.
 *
 *     worker 0  { minilm: embed classify tokenize }  ──►  service 1 (minilm, embed)     members 0 1
 *     worker 1  { minilm: embed   nli: classify  }   ──►  service 2 (minilm, classify)  members 0
 *                                                         service 4 (nli, classify)     members 1
 *
 * A service is a model's name and a task. It has a number, which is what headers carry; numbers are
 * given when a worker brings the service or a client asks for it, and stay for the life of the
 * broker. Number 0 is the broker itself. A model named "" is what clients ask for who take the
 * default.
 *
 * Threads: owner only. Memory: tables are sized in fleet_init(); a join may lengthen a member
 * list. */
#ifndef EMBER_BROKER_FLEET_H
#define EMBER_BROKER_FLEET_H

#include "base/err.h"
#include "base/limits.h"
#include "base/queue.h"
#include "base/view.h"
#include "wire/header.h"
#include "wire/session.h"

#include <stdbool.h>
#include <stdint.h>

#define FLEET_NONE UINT32_MAX

enum {
    FLEET_SCAN = 64,   /* up to so many members, a choice looks at all of them */
    FLEET_ENOUGH = 16, /* beyond: from a random one on, until so many with room were seen */
    FLEET_WORKER_SERVICES = LIMIT_MODELS * (WIRE_TASKS - 1),
    FLEET_WORD_BYTES = 32, /* version, tier, precision, kernel, state of redis */
};

enum fleet_state {
    FLEET_FREE,
    FLEET_LIVE,
    FLEET_SUSPECT,  /* not trusted: gets little or nothing (suspect.c) */
    FLEET_DRAINING, /* said DRAIN: finishes what it has */
};

struct fleet_model {
    char name[LIMIT_NAME_BYTES + 1], fingerprint[LIMIT_NAME_BYTES + 1];
    char precision[FLEET_WORD_BYTES], kernel[FLEET_WORD_BYTES];
    uint32_t dim, max_tokens;
    uint32_t tasks; /* bit 1 << enum wire_task */
    enum wire_head head;
    uint32_t labels;
};

/* What a choice looks at, apart from the rest: a scan over hundreds of workers stays in the
 * cache. */
struct fleet_load {
    uint32_t cost;     /* of what is in flight there */
    uint32_t n;        /* requests in flight there */
    uint32_t used;     /* turn of the last dispatch: smaller is longer ago */
    float pace;        /* cost it does per us when it has enough; 0: not known */
    float us_per_cost; /* its inverse */
    uint16_t credit;   /* the worker's window, in cost */
    uint16_t keeper;   /* the service whose next request it is kept for; 0: none */
    uint8_t keeper_lane;
    uint8_t barred; /* lanes from this one on get nothing but the keeper; WIRE_LANES: none */
    bool open;      /* may be given work */
    bool fast;      /* of tier "fast": for HIGH before others */
};

/* What a choice is for. */
struct fleet_wish {
    uint32_t cost;
    uint8_t lane;
    uint32_t avoid;  /* not this worker; FLEET_NONE: any */
    uint32_t almost; /* out, with FLEET_NONE: one with room, though not enough; or FLEET_NONE */
};

struct fleet_worker {
    enum fleet_state state;
    uint64_t uuid;
    uint64_t heard_us;  /* last message from it */
    uint64_t pinged_us; /* last PING to it */
    uint64_t joined_us;
    uint64_t dispatched;    /* requests, ever */
    struct queue in_flight; /* tickets, oldest dispatch first; the core's */
    char name[LIMIT_NAME_BYTES + 1], host[LIMIT_NAME_BYTES + 1];
    char version[FLEET_WORD_BYTES], tier[FLEET_WORD_BYTES];
    double hourly_cost;
    double held_cost, held_us; /* see fleet_learn() */
    uint32_t threads, pid;
    uint32_t n_models;
    struct fleet_model models[LIMIT_MODELS];
    uint32_t n_services;
    uint16_t services[FLEET_WORKER_SERVICES];
    struct wire_heartbeat last; /* its .redis points at redis[] */
    char redis[FLEET_WORD_BYTES];
    uint64_t answered_us; /* last result from it */
    uint64_t suspect_us;  /* suspect since, or since the last probe */
    uint64_t doubt_us;    /* its oldest execution was too old at that look; 0: it was not */
    uint16_t window;      /* as it says; loads[].credit may be less */
    uint8_t failures;     /* in a row */
    uint8_t good;         /* results in time since it is suspect */
    bool probed;          /* suspect, and given one request to show itself */
    bool stuffed;         /* suspect because its queue was full: until it is heard again */
    bool kept;            /* for one request that workers died of (probation.c) */
    bool left;   /* not dead for all we know: it said goodbye, came back elsewhere, or is silent */
    bool doomed; /* the core's: lost, tickets not yet moved */
    const char *doom; /* why */
};

struct fleet_service {
    char model[LIMIT_NAME_BYTES + 1], fingerprint[LIMIT_NAME_BYTES + 1];
    enum wire_task task;
    uint32_t dim, max_tokens; /* of the worker that joined last, like head and labels */
    enum wire_head head;
    uint32_t labels;
    uint16_t *members;
    uint32_t n_members, room;
    uint32_t n_fast;  /* members[0..n_fast) are of tier "fast" */
    uint32_t threads; /* of all members */
    uint32_t window;  /* of all members, at the last fleet_measure() or change of members */
    float pace;       /* cost per us of all members, as far as known; 0: not at all */
    float per_credit; /* of a worker whose own pace is not known, times its window */
    bool seen;        /* a worker ever served it */
    uint64_t last_us; /* when the last member left; meaningful while n_members == 0 and seen */
};

struct fleet {
    struct fleet_worker *workers;
    struct fleet_load *loads; /* parallel to workers */
    uint32_t max_workers, n_workers,
        high_workers; /* indices at or above high_workers were never used */
    uint32_t *free;
    uint32_t n_free;
    struct fleet_service *services;    /* [0] is the broker itself and stays empty */
    uint32_t max_services, n_services; /* numbers 1..n_services-1 are given */
    uint32_t turn;
    uint64_t random;
};

bool fleet_init(struct fleet *self, uint32_t max_workers, uint32_t max_services, uint64_t seed);
void fleet_done(struct fleet *self);

/* The number of a service, 0 when it has none. */
uint32_t fleet_find(const struct fleet *self, struct view model, enum wire_task task);

/* The same, given if need be; 0 when the table is full. Names that only clients asked for may fill
 * half of the table: strangers can keep out neither workers
 * nor clients that want the default model. */
uint32_t fleet_number(struct fleet *self, struct view model, enum wire_task task, bool by_worker);

/* A worker joins. STATUS_OK: *out is its index, its services have numbers and it is open.
 * STATUS_RESOURCE_EXHAUSTED: too many workers or services; nothing has changed but numbers. */
enum status fleet_join(struct fleet *self, const struct wire_ready *ready, uint16_t credit,
                       uint64_t now_us, uint32_t *out, struct err *err);

void fleet_close(struct fleet *self, uint32_t worker,
                 uint64_t now_us); /* serves nothing any more */
void fleet_leave(struct fleet *self, uint32_t worker,
                 uint64_t now_us); /* closes, frees the index */

uint32_t fleet_by_uuid(const struct fleet *self, uint64_t uuid); /* FLEET_NONE when not there */

/* The member of a service to give a request to, or FLEET_NONE when none has room. Room is: open,
 * not kept for somebody else, a window above 0, and either nothing in flight (so that a request
 * larger than any window still runs) or the cost fits the window. HIGH goes to "fast" workers while
 * one has room, other lanes to the rest; each spills over. Among those the least expected
 * completion: (in flight + this) / pace. A pace that is not known is taken to be in proportion to
 * the window, as windows are to what a worker computes at once. Ties, to a sixteenth, go to the one
 * used longest ago. */
uint32_t fleet_choose(struct fleet *self, uint32_t service, struct fleet_wish *wish);

/* A result of a worker that had `load` cost in flight, this request included, when the request was
 * sent: by Little's law its pace is load / time, on the mean of results weighted by cost. Only
 * what was sent to a worker with half a window says what it can do. */
void fleet_learn(struct fleet *self, uint32_t worker, uint32_t cost, uint32_t load, uint64_t us);

/* Sums up the paces per service; workers that are not asked drift to the mean of their kind, so
 * that one bad minute is not held against them for ever. Several times a second. */
void fleet_measure(struct fleet *self);

const char *fleet_state_name(enum fleet_state state);

#endif
