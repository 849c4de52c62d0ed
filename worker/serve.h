/* serve.h - the life of a request in the worker, from DISPATCH to its one answer.
 *
 *     dispatch --> decode, validate --> memory cache -> in flight already? -> Redis -> batcher
 *                                                                                         |
 *     answer <-- all texts known <-- collected <-- serve_done() <-- runner <-- serve_fill()
 *
 * Knows neither sockets nor clock nor threads: the loop brings frames, cache answers, finished
 * batches and the time, and takes replies from a callback. Every dispatch ends with exactly one
 * call of that callback, unless serve_forget() took it back.
 *
 * Time: serve_at() tells it once per wake-up; everything else happens at that time.
 * Threads: owner only, callbacks included. Memory: bounded by the limits in serve_cfg; a request's
 * own memory is kept with its slot up to SERVE_KEEP_BYTES, so that ordinary requests allocate
 * nothing. */
#ifndef EMBER_WORKER_SERVE_H
#define EMBER_WORKER_SERVE_H

#include "batch.h"
#include "batcher.h"
#include "cache/cache.h"
#include "metrics/histogram.h"
#include "metrics/sizes.h"
#include "models.h"
#include "wire/codec.h"
#include "wire/header.h"

typedef struct serve serve_t;

enum { SERVE_KEEP_BYTES = 256 * 1024, SERVE_SCAN_US = 20 * 1000 };

/* Which dispatch an answer belongs to. */
struct serve_origin {
    uint64_t ticket;
    uint32_t broker;  /* index of the connection, < LIMIT_BROKERS */
    uint32_t cost;    /* in credit; echoed */
    uint16_t service; /* number in the broker's table, echoed */
};

struct serve_reply {
    struct serve_origin origin;
    bool nack; /* not started: give it to another worker; no status, no body */
    enum status status;
    uint32_t work_us; /* engine work the request took: of each batch that computed for it the time,
                         by its part of the tokens. 0: none, or others paid for it */
    struct view body; /* the reply, or an Error; valid for the call */
};
typedef void serve_reply_fn(void *arg, const struct serve_reply *reply);

/* A request that took long, when it is answered. */
struct serve_slow {
    struct serve_origin origin;
    uint32_t model; /* index */
    enum wire_task task;
    uint8_t lane;
    enum status status;
    uint32_t n_texts;
    struct wire_times times; /* as far as it got; total_us is set */
    struct view trace;       /* as the client sent it; valid for the call */
};
typedef void serve_slow_fn(void *arg, const struct serve_slow *slow);

/* The cache, as serve uses it: cache_get_now(), cache_want(), cache_put(). `self` NULL: none. */
struct serve_cache {
    cache_t *self;
    bool (*get_now)(cache_t *self, const struct cache_key *key, struct cache_entry *out);
    bool (*want)(cache_t *self, const struct cache_key *key, uint64_t token, uint64_t now_us);
    void (*put)(cache_t *self, const struct cache_key *key, const struct cache_entry *entry,
                const struct key_labels *labels);
};

/* Of one request; 0: the protocol's. What is beyond is refused with INVALID_ARGUMENT, which says
 * the figure and the limit. */
struct serve_limits {
    uint32_t labels; /* at most LIMIT_REQUEST_LABELS */
    uint32_t pairs;  /* texts x labels, where a model reads pairs; at most LIMIT_REQUEST_PAIRS */
    uint32_t tokens; /* of all its texts or pairs, as engine_estimate() counts */
};

struct serve_cfg {
    const struct models *models; /* outlives serve */
    struct serve_cache cache;
    struct batcher_cfg batcher;
    uint32_t requests_max; /* at most 65536 */
    uint32_t items_max;    /* texts, labels or pairs of all requests together; where there are
                              several brokers, three quarters of it for those of one */
    uint32_t brokers;      /* how many there are, at most LIMIT_BROKERS; 0: one */
    size_t bytes_max;      /* memory of all requests together */
    struct serve_limits limits;
    const char *worker;      /* name in replies; outlives serve */
    uint64_t (*clock)(void); /* asked for the times that replies tell; NULL: that of the wake-up */
    serve_reply_fn *reply;
    serve_slow_fn *slow; /* told of what took slow_us or longer; NULL: nobody is */
    void *reply_arg;     /* of both */
    uint64_t slow_us;    /* 0: nothing is slow */
};

/* Since the start unless it says "now". Written by the owner, read by any thread. */
struct serve_stats {
    struct counter requests, answered, errors, nacks, cancelled, expired;
    struct counter slow;    /* requests that took cfg.slow_us or longer */
    struct counter dropped; /* texts left out of a batch because nobody waited any more */
    struct counter texts, tokens, hits_memory, hits_redis, misses, shared, batches;
    struct counter busy_us;                            /* of runners with a batch, when it ends */
    struct sizes batch_texts, batch_tokens;            /* of those that the model computed */
    struct counter active, queued, running, oldest_us; /* now: see serve_publish() */
    struct counter service_us;                         /* average from arrival to answer, moving */
    struct histogram request_us, queue_us, tokenize_us, infer_us;
};

enum status serve_new(const struct serve_cfg *cfg, serve_t **out, struct err *err);
/* Forgets what is left without answering. NULL is fine. */
void serve_destroy(serve_t **self);

void serve_at(serve_t *self, uint64_t now_us);

/* Whether a request of that broker with that ticket is in hand. */
bool serve_has(const serve_t *self, uint32_t broker, uint64_t ticket);

/* One request; the caller has seen to it that its ticket is not in hand. `body` is borrowed for
 * the call. budget_us 0: no deadline of its own. The answer may come from within the call. */
void serve_dispatch(serve_t *self, const struct serve_origin *origin, uint32_t model,
                    enum wire_task task, uint8_t lane, uint32_t budget_us, struct view body);
/* Answers CANCELLED when the request is still here. */
void serve_cancel(serve_t *self, uint32_t broker, uint64_t ticket);
/* The broker is gone or a new one took its place: drop its requests without an answer. */
void serve_forget(serve_t *self, uint32_t broker);
/* From now on batches have at most that many tokens (one longer text still goes alone). */
void serve_set_tokens(serve_t *self, uint32_t tokens_max);
/* From now on dispatches are answered with NACK. */
void serve_drain(serve_t *self);
/* NACKs what is not answered and has nothing with a runner: no batch with a text of it is out. What
 * may be running is left to end. Returns how many. */
uint32_t serve_give_back(serve_t *self);

/* Next batch into `batch`; false when nothing is to be computed now. */
bool serve_fill(serve_t *self, struct batch *batch, uint32_t free_runners);
/* A batch came back from its runner. */
void serve_done(serve_t *self, struct batch *batch);
/* A batch was taken back before a runner began it: what it holds waits again, in front. */
void serve_recall(serve_t *self, struct batch *batch);
/* Whether full batches are waiting, so that one may be prepared before a runner is free. */
bool serve_saturated(const serve_t *self);
/* Whether something waits that should not wait for this batch, which no runner has begun. */
bool serve_presses(const serve_t *self, const struct batch *batch);

/* cache_answer_fn; arg is the serve_t. */
void serve_cache_answer(void *arg, uint64_t token, const struct cache_entry *entry,
                        enum cache_source source);

/* Expires what is past its deadline; call it when serve_deadline_us() is reached. */
void serve_tick(serve_t *self);
uint64_t serve_deadline_us(const serve_t *self); /* UINT64_MAX: none */
/* From when on serve_fill() may succeed; of use while a runner is free. 0: now, UINT64_MAX: nothing
 * waits. */
uint64_t serve_batch_deadline_us(const serve_t *self);

bool serve_idle(const serve_t *self); /* nothing in hand, no batch out */
const struct serve_stats *serve_stats(const serve_t *self);
void serve_publish(serve_t *self); /* brings the "now" figures up to date */

/* For tests: aborts when the bookkeeping contradicts itself. */
void serve_check(const serve_t *self);

#endif
