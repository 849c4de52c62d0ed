/* pool.h - the brokers a client knows: whom to be connected to, whom to ask, and how much may be
 * asked twice. Pure: no sockets, no clock; time and randomness come in, actions go out.
 *
 *      given at open --.                    .--> pool_next(): OPEN, HELLO, PING, CLOSE of a broker
 *                       >-- brokers, each --<
 *      WELCOME lists --'    with a dial     '--> pool_pick(): the broker for a request
 *
 * Who is known. The endpoints given at open, always; and what the WELCOME of one of *those* lists,
 * as long as the latest WELCOME of at least one of them lists it, up to POOL_MAX in all: given ones
 * never make room. What a discovered broker lists is not followed. A discovered endpoint that turns
 * out to be a broker we are connected to (same `broker` number in WELCOME) is left alone.
 *
 * Who is used. A broker takes requests while it is up, has not said GOAWAY, and has fewer requests
 * in flight than its WELCOME allows. Among those the policy decides:
 *
 *   order          the first. A broker that came back is the first again after it has been up for
 *                  `steady` (2 s, doubled by each loss within a minute of use, up to 64 s).
 *                  Connected to: it, those before it that are to come back, and the next; one more
 *                  for a second when all of these know no such model.
 *   least latency  the smaller of (in flight + 1) x recent time of a reply; of three or more
 *                  brokers two are drawn and compared. Connected to: all.
 *   cheapest       the one of least cost whose latency is within the limit; when none is, the one
 *                  of least latency. Connected to: all. It changes at once when the used one is
 *                  lost; otherwise to a cheaper one only when that has been within 80 % of the
 *                  limit for `hold` (5 s, doubled by each return that did not last a minute, up to
 *                  80 s), and to a faster one only when that takes at most 80 % of the time.
 *
 * Latency of a broker is the median of its last POOL_SAMPLES samples: PING to PONG, HELLO to
 * WELCOME, and request to reply without the time the worker says it took; so it holds the network
 * and the broker's queue. "Recent time of a reply" is a moving average of whole replies, and when
 * nothing was sent for a while it fades to the latency, so that a broker that was slow is tried
 * again.
 *
 * A broker that answers "not now" (no worker, no such model) is passed over for 100 ms, doubled by
 * each such answer in a row up to 2 s, while another one is there. Without this it would look like
 * the fastest of all.
 *
 * A broker that takes requests and answers none, though it greets and answers PING, is stuck:
 * after five attempts in a row that timed out, with no answer for some time (pool_trust.c). It
 * gets no new requests but one a second, as a probe, until it answers one; what is out there
 * alone goes to another broker at once. When all brokers are stuck, the one that answered last is
 * used.
 *
 * Retry budget: 10 % of the requests sent plus 10 a second, at most POOL_BUDGET saved up. It pays
 * for second copies of slow requests and for RESOURCE_EXHAUSTED taken elsewhere: what could
 * double an overload. Requests of a lost broker, or of one that is stuck, are sent again without
 * it, since nothing runs twice then but what the broker had in its hands, and refusals that say
 * "not executed" cost nothing. Who takes them has answered something lately, or has less than
 * four in flight.
 *
 * Brokers are named by their place, 0..POOL_MAX-1, which stays theirs until CLOSE of a forgotten
 * one. Threads: owner only. Memory: none beyond the struct. */
#ifndef EMBER_CLIENT_POOL_H
#define EMBER_CLIENT_POOL_H

#include "dial.h"

#include "base/limits.h"
#include "base/status.h"
#include "base/view.h"

enum {
    POOL_MAX = LIMIT_BROKERS,
    POOL_NONE = POOL_MAX,
    POOL_ENDPOINT_BYTES = 256,
    POOL_WHY_BYTES = 120,
    POOL_SAMPLES = 8,
    POOL_BUDGET_START = 10,
    POOL_BUDGET = 100,  /* sendings saved up at most */
    POOL_WINDOW = 4096, /* requests in flight on one broker; it may allow fewer */
};

enum { POOL_START_GRACE_US = 200 * 1000, POOL_HOLD_FIRST_US = 5 * 1000 * 1000 };

enum pool_policy { POOL_ORDER, POOL_LEAST_LATENCY, POOL_CHEAPEST };

struct pool_cfg {
    enum pool_policy policy;
    uint64_t latency_limit_us; /* cheapest */
    uint64_t attempt_us;       /* before a second broker is asked; 0: max(100 ms, time left / 3) */
    bool discover;             /* follow WELCOME.brokers */
};

struct pool_broker {                    /* fields are read, not written */
    char endpoint[POOL_ENDPOINT_BYTES]; /* "": the place is free */
    double cost;
    bool given;      /* at open; otherwise discovered */
    bool forgotten;  /* nobody lists it any more */
    bool denied;     /* it and we do not agree on keys, the last time */
    bool leaving;    /* GOAWAY */
    bool close_due;  /* pool_next() has to say CLOSE */
    uint8_t twin_of; /* another name of this broker of ours; POOL_NONE: it is not */
    uint8_t lists;   /* bits: places that the latest WELCOME from here lists */
    struct dial dial;
    uint64_t id; /* `broker` of its WELCOME; 0: none yet */
    uint32_t window, outstanding;
    uint64_t leave_us;    /* leaving: when it is closed, whatever it owes */
    uint64_t unwanted_us; /* since when the policy has no use for the connection; 0: it has */
    uint64_t up_since_us; /* of the present or last time up */
    uint64_t steady_us;
    uint64_t hello_us;                         /* HELLO without WELCOME so far; 0: none */
    uint32_t samples[POOL_SAMPLES], n_samples; /* latency, us; n_samples counts all */
    uint32_t latency_us;                       /* median of those; 0: none yet */
    uint32_t reply_us;                         /* moving average; 0: none yet */
    uint64_t reply_at_us, replies;
    uint64_t shy_until_us;    /* "not now" answers */
    uint32_t shy;             /* of them in a row */
    bool stuck;               /* takes requests and answers none */
    uint32_t timeouts;        /* attempts that timed out there since its last answer */
    uint64_t silent_us;       /* sending of the first of these */
    uint64_t waiting_us;      /* since when something is in flight there */
    uint64_t answered_us;     /* last answer to a request, good or not; 0: none yet */
    uint64_t probe_us;        /* stuck: when the next request may go there */
    uint64_t good_since_us;   /* cheapest: within 80 % of the limit; 0: it is not */
    char why[POOL_WHY_BYTES]; /* what was wrong the last time; "": nothing */
};

struct pool {
    struct pool_cfg cfg;
    struct pool_broker brokers[POOL_MAX];
    uint32_t n;                 /* places in use lie below it */
    uint32_t current;           /* order, cheapest: who is used; POOL_NONE: nobody yet */
    uint64_t hold_us, moved_us; /* cheapest: of the last return to a cheaper one */
    uint64_t further_us;        /* order: until then one more is connected */
    uint64_t denied_us;         /* when a broker last did not agree on keys */
    uint64_t start_us, up_us;   /* up: last time any broker was, or the start */
    uint64_t budget;            /* thousandths of a sending */
    uint64_t budget_at_us;
    uint64_t random;
    uint64_t taken, spent; /* requests counted into the budget, sendings paid from it */
};

enum pool_want {
    POOL_NOTHING,
    POOL_OPEN,  /* a fresh socket to broker `at`; then pool_opened(), or pool_failed() */
    POOL_HELLO, /* as soon as the socket takes it; then pool_greeted(). While it does not, ask
                   pool_next() with `busy` to get at the other brokers */
    POOL_PING,  /* with now_us for an id; then pool_asked() */
    POOL_CLOSE, /* close the socket: what was in flight there is lost (pending_lost()); say BYE
                   first when pool_up() says that it is our choice. Then pool_closed() */
};

void pool_init(struct pool *self, const struct pool_cfg *cfg, uint64_t seed, uint64_t now_us);
/* One of the given endpoints, before the first pool_next(). A second time: ignored. False: full. */
bool pool_give(struct pool *self, const char *endpoint, double cost);

/* What to do now, for broker *at; call until POOL_NOTHING. `busy`: bits of brokers whose HELLO
 * waits for the socket. pool_wake_us(): when to ask next, UINT64_MAX: never. */
enum pool_want pool_next(struct pool *self, uint32_t busy, uint32_t *at, uint64_t now_us);
uint64_t pool_wake_us(const struct pool *self, uint64_t now_us);

void pool_opened(struct pool *self, uint32_t at, uint64_t now_us);
void pool_greeted(struct pool *self, uint32_t at, uint64_t now_us);
void pool_asked(struct pool *self, uint32_t at, uint64_t now_us);
void pool_closed(struct pool *self, uint32_t at, uint64_t now_us);

/* ---- what brokers say */

void pool_heard(struct pool *self, uint32_t at, uint64_t now_us); /* any sound message */
/* PONG, instead of pool_heard(). `asked_us`: its id, which is the time of the PING it answers. */
void pool_pong(struct pool *self, uint32_t at, uint64_t asked_us, uint64_t now_us);

struct pool_welcome {
    uint64_t session, id, heartbeat_us;
    uint32_t in_flight; /* 0: any */
    const struct view *brokers;
    uint32_t n_brokers;
};
void pool_welcome(struct pool *self, uint32_t at, const struct pool_welcome *welcome,
                  uint64_t now_us);
void pool_unknown(struct pool *self, uint32_t at, uint64_t now_us); /* WHO_ARE_YOU */
void pool_goaway(struct pool *self, uint32_t at, uint64_t now_us);
/* Refused, dropped, unintelligible; `why` is copied. pool_next() says CLOSE. */
void pool_failed(struct pool *self, uint32_t at, const char *why, uint64_t now_us);
/* The same because of keys. pool_all_denied(): every broker there is did so the last time, so that
 * waiting is of no use. */
void pool_denied(struct pool *self, uint32_t at, const char *why, uint64_t now_us);
bool pool_all_denied(const struct pool *self);

/* ---- requests; pending.c calls these */

bool pool_up(const struct pool *self, uint32_t at);     /* there is a session */
bool pool_usable(const struct pool *self, uint32_t at); /* and it takes new requests */
bool pool_any_up(const struct pool *self);

bool pool_used(const struct pool *self, uint32_t at, uint64_t now_us); /* new requests go there */

/* The broker for a request that must not go to those of `avoid` (bits); POOL_NONE: none now. */
uint32_t pool_pick(struct pool *self, uint32_t avoid, uint64_t now_us);
/* Whether pool_pick() would find one, room in its window aside. */
bool pool_elsewhere(const struct pool *self, uint32_t avoid);

/* All connected ones know no such model: one more is wanted, for a second. False: there is none. */
bool pool_further(struct pool *self, uint64_t now_us);

uint64_t pool_attempt_us(const struct pool *self, uint64_t left_us);

void pool_sent(struct pool *self, uint32_t at, uint64_t now_us);
/* It is not in flight there any more, whatever the reason. */
void pool_ended(struct pool *self, uint32_t at);
/* A good reply, and how long the worker had it (0: not known). */
void pool_replied(struct pool *self, uint32_t at, uint64_t sent_us, uint64_t worker_us,
                  uint64_t now_us);
/* "Not now": no worker, no such model (retry_after_us 0), or too busy. */
void pool_refused(struct pool *self, uint32_t at, uint64_t retry_after_us, uint64_t now_us);

/* ---- who does what he is asked: pool_trust.c */

/* No answer in the attempt's time to what was sent then; an answer of any kind. */
void pool_timed_out(struct pool *self, uint32_t at, uint64_t sent_us);
void pool_answered(struct pool *self, uint32_t at, uint64_t now_us);
/* It has answered nothing for some time, nor since then. */
bool pool_silent(const struct pool *self, uint32_t at, uint64_t sent_us, uint64_t now_us);
/* True: some broker is stuck from now on. pool_judge_us(): when to call that, UINT64_MAX: never. */
bool pool_judge(struct pool *self, uint64_t now_us);
uint64_t pool_judge_us(const struct pool *self);
/* It may be sent what is recovered from elsewhere without the retry budget. */
bool pool_trusted(const struct pool *self, uint32_t at, uint64_t now_us);
/* A stuck broker that is due a new request; POOL_NONE: none is. It has had it then. */
uint32_t pool_probe(struct pool *self, uint32_t avoid, uint64_t now_us);
/* What is sent there is a probe: it is stuck, and there are others. */
bool pool_probing(const struct pool *self, uint32_t at);

void pool_count(struct pool *self, uint64_t now_us); /* a request is sent for the first time */
bool pool_may_spend(const struct pool *self, uint64_t now_us);
void pool_spend(struct pool *self, uint64_t now_us);
uint64_t pool_spend_us(const struct pool *self, uint64_t now_us); /* when it will be possible */

/* ---- between pool.c (who is known and connected) and pool_pick.c (who is chosen) */

static inline bool pool_known(const struct pool_broker *b) { /* its place is taken */
    return b->endpoint[0] != '\0';
}

static inline bool pool_candidate(const struct pool_broker *b) { /* worth a connection */
    return pool_known(b) && !b->forgotten && b->twin_of == POOL_NONE;
}

void pool_sample(struct pool_broker *b, uint64_t us); /* of its latency */
/* A connection that is lost, or of no use: how long the next one has to last. */
void pool_less_steady(struct pool_broker *b, uint64_t now_us);
/* Bits: usable, not avoided, and not stuck unless all that are usable are. */
uint32_t pool_choice(const struct pool *self, uint32_t avoid);
/* Of brokers that are all stuck the one that answered last, if any did; any others: all. */
uint32_t pool_least_bad(const struct pool *self, uint32_t set);

/* ---- for people */

/* "tcp://a:1 (nobody listens there), tcp://b:2 (silent for 1500 ms)" */
void pool_trouble(const struct pool *self, char *out, size_t bytes);
const char *pool_state_name(const struct pool *self, uint32_t at); /* "up" "leaving" "down" ... */

#endif
