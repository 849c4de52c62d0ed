/* core_state.h - the tables behind core.h, shared by the files that make up the core and nobody
 * else.
 *
 *     admit.c     a request comes in: checked, resolved to a service, given a ticket
 *     room.c      may it wait: limits, its time, and who goes when all is full
 *     dispatch.c  which ticket that waits meets which worker with room
 *     run.c       executions: a ticket is sent to a worker, and the two part again
 *     ticket.c    the life of one ticket, and its one answer
 *     line.c      who waits, and whose turn it is      account.c  who holds how much
 *     learn.c     what results tell of paces (pace.c) and of what requests take
 *     workload.c  how much engine work is asked for
 *     tally.c     answers and refusals counted, and against the service level
 *     coalesce.c  equal requests share an execution
 *     hedge.c     second executions: of what is stuck, or slow
 *     suspect.c   workers that are not trusted for a while
 *     probation.c requests that workers died of
 *     clients.c   sessions of clients        crew.c  sessions of workers
 *     core.c      start, time, drain         core_check.c  the invariants
 *
 *                      ┌──── back to the front: worker lost, NACK, stuck there ─────┐
 *                      ▼                                                             │
 *     admitted ──► line (service, lane) ──► in flight: one run or two at workers ────┤
 *        │             │                        ▲      │                             │
 *        │ equal to    │ an equal one           │      │ RESULT         two died     ▼
 *        │ one in      │ is sent                └──────┼───────────────────────── held: waits
 *        │ flight      ▼                               │                          for a worker
 *        └──────► following ───────────────────────────┤                          of its own
 *                                                      ▼
 *               deadline, cancel, client gone ───────► end
 *
 * A peer whose connection turns out to be gone in the middle of something is only marked
 * ("doomed"); core_settle() ends it when the call is done, so that no table changes under a loop's
 * feet. */
#ifndef EMBER_BROKER_CORE_STATE_H
#define EMBER_BROKER_CORE_STATE_H

#include "account.h"
#include "core.h"
#include "line.h"
#include "pace.h"
#include "poison.h"
#include "retry.h"
#include "tempo.h"
#include "wheel.h"

enum ticket_state {
    TICKET_FREE,
    TICKET_WAITING,   /* in a line; it may have a run that was given up hope of */
    TICKET_HELD,      /* waits for a worker of its own: two have died of it, or beside it */
    TICKET_FOLLOWING, /* waits for the execution of an equal request */
    TICKET_IN_FLIGHT,
};

/* One execution of a ticket by a worker. What workers echo is the number of a run, so that an
 * answer counts only while that very execution has the right to answer. */
struct run {
    struct link place; /* in its worker's list, the oldest first */
    uint64_t sent_us;
    uint64_t deadline_us; /* as the worker was told */
    uint32_t generation;  /* changes with each use of the index */
    uint32_t ticket;      /* slot; CORE_NONE: free */
    uint32_t worker, cost;
    uint32_t load; /* cost in flight there when it was sent, its own included */
};

enum { TICKET_RUNS = 2 }; /* the first one, and one more elsewhere to overtake it */

struct ticket {
    struct link place; /* waiting: in its line; held: in core.held */
    struct link turn;  /* waiting: in its account's flow */
    struct link owned; /* in its client's list */
    uint64_t id;       /* the client's request number */
    uint64_t deadline_us, admitted_us;
    uint64_t sent_us;           /* for the first time; 0: not yet */
    uint64_t execution;         /* number of the last run; 0: none */
    uint64_t uuid;              /* of its worker */
    uint32_t worker;            /* whose place this is, or was */
    uint32_t runs[TICKET_RUNS]; /* live ones, CORE_NONE: none there */
    uint32_t client;
    uint32_t account, flow; /* the client's account; waiting: its flow, see line.h */
    uint32_t body_bytes;
    uint32_t cost, work;  /* see core_cost(), and account.h */
    uint32_t same_bucket; /* next in the table by (client, id) */
    uint16_t asked;       /* service as the client named it */
    uint16_t service;     /* what it was resolved to */
    uint8_t state, lane, flags;
    uint8_t attempts; /* executions started */
    uint8_t deaths;   /* workers that died with it in flight */
    bool alone;       /* its last execution had a worker to itself */
    bool hedged;      /* had its second execution, to overtake the first */
    /* Equal requests, see coalesce.c. */
    uint64_t hash;
    uint32_t leader; /* slot: itself, or the one it waits with; CORE_NONE: stands for itself */
    uint32_t same_hash;
    struct queue twins; /* of a leader */
    struct link twin;
};

struct client {
    uint64_t session; /* 0: free */
    struct core_who who;
    uint32_t account;
    uint64_t heard_us, pinged_us;
    struct queue tickets;
    uint64_t received, replied;
    uint32_t cut; /* replies it did not take */
    bool doomed;
    const char *why;
};

struct service_state { /* parallel to fleet.services */
    struct line lines[WIRE_LANES];
    uint32_t queued, in_flight;
    uint64_t cost_in_flight;
    uint64_t answered;      /* results, ever */
    uint64_t engine_us;     /* engine work that they told */
    uint64_t refused, shed; /* requests at the door, and after they had waited */
    struct pace pace;
    struct tempo tempo;
    double told_us, told_cost; /* see workload.c */
    struct core_replies replies;
};

struct core {
    struct core_cfg cfg;
    struct core_ops ops;
    struct fleet fleet;
    struct routes routes;
    struct wheel wheel;
    struct ticket *tickets;
    uint32_t *free_tickets, n_free_tickets, high_tickets;
    struct run *runs; /* [TICKET_RUNS * max_tickets] */
    uint32_t *free_runs, n_free_runs, high_runs;
    uint32_t *buckets, bucket_mask; /* (client, id) -> slot */
    struct client *clients;
    uint32_t *free_clients, n_free_clients, high_clients, n_clients;
    struct service_state *services;
    struct queue ready[WIRE_LANES]; /* lines */
    struct accounts accounts;
    struct flows flows;
    uint32_t lane_queued[WIRE_LANES], n_due; /* requests that wait; lines that are due */
    uint32_t mean16;                         /* moving mean of dispatched work, in sixteenths */
    double engine_us, engine_cost;           /* of results of late, see learn.c */
    double told_us, told_cost, offered_us;   /* see workload.c */
    uint64_t queued_work, looked_us;
    uint64_t clock[WIRE_LANES]; /* see dispatch.c */
    uint32_t *doomed_clients, n_doomed_clients;
    uint32_t *doomed_workers, n_doomed_workers;
    uint32_t queued, in_flight, following;
    struct queue held;
    uint32_t cell;     /* worker that is kept for one of them at a time; CORE_NONE: none */
    uint32_t *leaders; /* hash of a body -> slot; NULL: requests are not coalesced */
    struct retry retry;
    struct poison poison;
    uint64_t watch_us, watched_us; /* next and last look at executions */
    uint64_t hope_us; /* until then slow executions are held to be our own fault: we were slow */
    uint64_t queued_bytes, replied;
    uint64_t start_us;
    uint64_t next_beat_us, last_beat_us, next_second_us;
    uint64_t trust_us; /* until then silence is held to be our own fault: we were stopped */
    uint64_t drain_until_us;
    bool draining;
    double rate;
    uint64_t answered_before, answered;
    struct core_stats stats;
};

/* core.c */
void core_settle(core_t *self, uint64_t now_us);
bool core_within_grace(const core_t *self, uint32_t service, uint64_t now_us);

/* ticket.c */
static inline uint32_t ticket_slot(const core_t *self, const struct ticket *t) {
    return (uint32_t)(t - self->tickets);
}
struct ticket *ticket_new(core_t *self, uint32_t client, uint64_t id); /* NULL: none left */
struct ticket *ticket_find(core_t *self, uint32_t client, uint64_t id);
void ticket_wait(core_t *self, struct ticket *t, bool front); /* into its line */
void ticket_hold(core_t *self, struct ticket *t);             /* into core.held */
void ticket_follow(core_t *self, struct ticket *t);           /* its leader's runs are its own */
void ticket_back(core_t *self, struct ticket *t);   /* the first in its line, its twins in theirs */
void ticket_fly(core_t *self, struct ticket *t);    /* it has a run */
void ticket_fly_on(core_t *self, struct ticket *t); /* it has one, and waits for no other */
void ticket_stay(core_t *self, struct ticket *t);   /* the same: there will be no second one */
void ticket_leave(core_t *self, struct ticket *t);  /* out of any of these; runs stay */
void ticket_unplace(core_t *self, struct ticket *t); /* the same, and runs end */
void ticket_reply(core_t *self, struct ticket *t, enum status status, const char *text);
void ticket_reply_all(core_t *self, struct ticket *t, enum status status, const char *text);
void ticket_result(core_t *self, struct run *run, uint8_t status, uint64_t now_us);
void ticket_nacked(core_t *self, struct run *run);
void ticket_drop(core_t *self, struct ticket *t); /* its client is gone */
void ticket_unserved(core_t *self, struct ticket *t, enum status status, const char *text);
/* There is no room for it, or no time: RESOURCE_EXHAUSTED with advice when to come again. */
void ticket_shed(core_t *self, struct ticket *t, enum core_reason reason, uint32_t retry_after_ms,
                 const char *text);
static inline uint32_t ticket_runs(const struct ticket *t) {
    return (t->runs[0] != CORE_NONE ? 1U : 0U) + (t->runs[1] != CORE_NONE ? 1U : 0U);
}

/* run.c */
struct run *run_by_number(core_t *self, uint64_t number, uint32_t worker); /* NULL: not live */
/* Sends the ticket to a worker; on CORE_SENT it is in flight. Otherwise it is where it was, and the
 * worker has been closed. */
enum core_sent run_start(core_t *self, struct ticket *t, uint32_t worker, uint64_t now_us);
void run_end(core_t *self, struct run *run);    /* out of every table, its ticket's included */
void run_recall(core_t *self, struct run *run); /* its worker is told, if it is there */
uint32_t run_where(const core_t *self, const struct ticket *t); /* the first; FLEET_NONE: none */

/* suspect.c */
void suspect_begin(core_t *self, uint32_t worker, const char *why, uint64_t now_us);
void suspect_stuffed(core_t *self, uint32_t worker, uint64_t now_us); /* it took no dispatch */
void suspect_failed(core_t *self, uint32_t worker, uint64_t now_us);  /* INTERNAL */
void suspect_answered(core_t *self, uint32_t worker, uint64_t now_us);
void suspect_late(core_t *self, uint32_t worker); /* a result that nobody waits for */
void suspect_heard(core_t *self, uint32_t worker, uint16_t window);
void suspect_look(core_t *self, uint32_t worker, uint64_t now_us);
bool suspect_is_open(const core_t *self, uint32_t worker); /* what loads[].open has to be */
void suspect_open(core_t *self, uint32_t worker);          /* makes it so */

/* hedge.c */
void hedge_watch(core_t *self, uint64_t now_us);
enum { HEDGE_LOOK_US = 10 * 1000 }; /* between two looks while anything is in flight */

/* probation.c */
/* Before its runs end: how many requests there were with an earlier worker that died, too. */
uint32_t probation_deaths(core_t *self, uint32_t worker);
void probation_lost(core_t *self, struct ticket *t, bool died, uint32_t n_twice, uint64_t now_us);
void probation_go(core_t *self, uint64_t now_us);
bool probation_refuses(core_t *self, struct view body, uint16_t service, uint64_t now_us,
                       struct err *err);

/* coalesce.c */
bool coalesce_join(core_t *self, struct ticket *t, struct view body); /* true: it follows */
uint64_t coalesce_deadline_us(const core_t *self, const struct ticket *t);
void coalesce_gather(core_t *self, struct ticket *t);
void coalesce_scatter(core_t *self, struct ticket *t);
bool coalesce_hand_over(core_t *self, struct ticket *t);
void coalesce_leave(core_t *self, struct ticket *t);

/* admit.c */
enum status admit_resolve(const core_t *self, uint32_t asked, uint32_t client, uint64_t now_us,
                          uint32_t *out, struct err *err);
void admit_parked(core_t *self, uint64_t now_us);  /* those that wait for a default model */
void admit_orphans(core_t *self, uint64_t now_us); /* those whose model has no worker any more */

struct refusal {
    enum status status;
    enum core_reason reason;
    uint32_t service; /* as far as it is known: what is asked for, or what that stands for */
    uint32_t retry_ms;
};
void admit_refuse(core_t *self, uint32_t client, const struct header *request,
                  const struct refusal *refusal, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* room.c */
struct room_wish { /* a request that would like to wait */
    uint32_t client, service, bytes, cost, work;
};
/* True: it may, though somebody else may have had to go. False: it is refused and answered. */
bool room_for(core_t *self, const struct room_wish *wish, const struct header *header,
              uint64_t now_us);
/* When `cost` more has been done by a service that does `rate` per us; 0: not known. */
uint32_t room_retry_ms(const core_t *self, double cost, double rate);

/* dispatch.c */
void dispatch_ready(core_t *self, uint32_t service);
void dispatch_opened(core_t *self, uint32_t worker);
void dispatch_all(core_t *self, uint64_t now_us);
void dispatch_emptied(core_t *self, struct line *line); /* its last ticket went */

/* learn.c */
void learn_result(core_t *self, const struct run *run, const struct header *header,
                  uint64_t now_us);
void learn_look(core_t *self, uint64_t now_us);          /* several times a second */
double learn_rate(const core_t *self, uint32_t service); /* cost per us; 0: not known */

/* workload.c */
void workload_offered(core_t *self, uint32_t service, uint32_t cost); /* let in, or refused */
void workload_worked(core_t *self, uint32_t service, uint32_t engine_us);
void workload_answered(core_t *self, uint32_t service, uint32_t cost);

/* tally.c */
void tally_answer(core_t *self, const struct ticket *t, enum status status, uint64_t took_us);
/* Before the answer: told and counted if it took long. */
void tally_slow(core_t *self, const struct ticket *t, enum status status, uint64_t now_us);
void tally_refusal(core_t *self, uint32_t client, uint8_t lane, const struct refusal *refusal);

/* clients.c */
void client_send(core_t *self, uint32_t client, const struct header *header,
                 const struct core_error *error);
void client_doom(core_t *self, uint32_t client, const char *why);
void client_sent(core_t *self, uint32_t client, enum core_sent sent);
void client_end(core_t *self, uint32_t client);
void clients_beat(core_t *self, uint64_t now_us);

/* crew.c */
enum core_sent crew_send(core_t *self, uint32_t worker, uint8_t type, uint64_t id);
void crew_doom(core_t *self, uint32_t worker, const char *why);
void crew_end(core_t *self, uint32_t worker, uint64_t now_us);
void crew_beat(core_t *self, uint64_t now_us);

#endif
