/* request.h - a request in the worker, and what the files of serve share. Nothing else includes it.
 *
 *     request --units--> unit 0 "first text"      --> flight (see flight.h), or answered already
 *                        unit 1 "second text"     -->   "
 *                        unit 2 hypothesis of a label (Classify by cosine)
 *                     or one for each text with each label, for each query with each document
 *
 * A request's memory is two arenas: `decoded` holds what the codec read, `work` everything that is
 * made from it (units, facts, rows). Both go when it is answered.
 *
 * `pending` counts units and look-ups that have no answer yet; a request is answered when it is 0,
 * or as soon as it has failed. While tasks start or hand out units nothing is answered;
 * serve_settle() does. */
#ifndef EMBER_WORKER_REQUEST_H
#define EMBER_WORKER_REQUEST_H

#include "flight.h"
#include "serve.h"

#include "base/arena.h"

struct request;

struct unit {
    struct link link; /* in flight->waiters */
    struct request *request;
    struct flight *flight;    /* NULL: not asked, or answered */
    struct view text, second; /* second: of a pair */
    uint32_t index;           /* in request->units */
    uint8_t kind;             /* enum unit_kind */
    uint8_t pair;             /* enum engine_pair */
};

struct classify_way; /* see below: by cosine, or by logits */

/* Of a Classify request. */
struct request_classify {
    struct wire_classify_request in;
    const struct classify_way *way;
    uint32_t n_labels;               /* of the request, or the model's own */
    const struct view *names;        /* [n_labels] */
    const struct key_labels *labels; /* the same for keys */
    bool other_template;             /* its hypotheses are not those that the model would make */
    struct view *hypotheses;         /* [n_labels] of the request's labels */
    uint32_t per_text;               /* units of a text, when logits are wanted */
    float *numbers;                  /* [n_units, dim] what units brought */
    float *scores;                   /* [n_texts, n_labels], in the order of names */
    uint8_t *scored;                 /* [n_texts] known from the cache */
    uint8_t label_source;            /* by cosine: the dearest source of all label vectors */
    bool labels_started;
    bool label_cut; /* a hypothesis was longer than the model's limit */
};

struct request_rerank {
    struct wire_rerank_request in;
    float *logits; /* [n_texts] of the query with each document */
};

struct request_tokenize {
    struct wire_tokenize_request in;
    uint32_t max_ids;
    int32_t *ids;
    uint32_t *n_ids, *n_full;
    struct link link; /* in serve.jobs while it waits for a runner */
};

struct request {
    struct link link; /* in serve.active, in order of arrival, or in serve.idle */
    struct arena decoded, work;
    struct batcher_line line;    /* its texts that wait for a batch */
    struct request *ticket_next; /* in its bucket of tickets */
    struct serve_origin origin;
    uint32_t generation;
    uint32_t model; /* index */
    enum wire_task task;
    uint8_t lane;
    bool on_runner; /* a runner writes into its memory */
    bool answered;  /* while on_runner: it goes when the runner is done */
    uint64_t arrived_us, deadline_us;

    enum engine_side side;
    enum wire_cache cache;
    uint32_t max_tokens; /* effective */
    struct view prefix;

    uint32_t n_texts, n_units, pending;
    struct unit *units; /* [n_units] */
    uint32_t *tokens;   /* [n_texts] facts, as the reply has them */
    uint8_t *truncated;
    uint8_t *source;
    struct wire_times times;
    uint64_t last_batch; /* whose times were added last */
    uint64_t work_ns;    /* engine work done for it */

    enum status failed; /* OK: not (yet) */
    uint32_t failed_item;
    struct err failed_err;

    union {
        struct {
            struct wire_embed_request in;
            uint32_t dim; /* of a row */
            bool normalize;
            size_t row_bytes;
            uint8_t *rows;
        } embed;
        struct request_classify classify;
        struct request_rerank rerank;
        struct request_tokenize tokenize;
    };
};

struct serve {
    struct serve_cfg cfg;
    uint64_t now_us, next_scan_us;
    struct request *requests;             /* [requests_max] */
    struct queue active, idle, parked;    /* parked: answered, on a runner */
    struct queue jobs;                    /* tokenise requests that wait for a runner */
    uint32_t n_units;                     /* of all active requests */
    uint32_t broker_units[LIMIT_BROKERS]; /* of those of each broker */
    struct request **ticket_bucket;       /* [n_ticket_buckets], a power of two */
    uint32_t n_ticket_buckets;
    uint64_t ticket_seed;
    size_t bytes; /* arenas of all requests */
    struct flights flights;
    struct batcher batcher;
    key_maker_t *keys;
    struct batcher_entry **picked; /* [items_max of a batch] */
    struct wire_out out;
    float *row; /* [dim_max] */
    uint32_t running, batches_out;
    uint64_t batch_number;
    bool draining;
    struct serve_stats stats;
};

/* A unit's answer. entry->numbers is the full vector, or the logits. */
struct unit_answer {
    const struct cache_entry *entry;
    enum wire_source source;
};

/* ---- serve.c, for the tasks */

/* Empties request->decoded and makes room in it for a body; false: no room now. */
bool serve_reserve_body(serve_t *self, struct request *request, size_t body_bytes);
/* Empties request->work and makes room for `bytes`; false: no room now. */
bool serve_reserve(serve_t *self, struct request *request, size_t bytes);
/* n zeroed items of a type from what was reserved. */
#define serve_array(request, type, n) ((type *)serve_take((request), (n), sizeof(type)))
void *serve_take(struct request *request, size_t n, size_t size);
/* Facts of n_texts texts and n_units units: what they need, and taking them. Units are numbered,
 * zero otherwise. */
size_t serve_facts_bytes(uint32_t n_texts, uint32_t n_units);
void serve_take_facts(struct request *request, uint32_t n_texts, uint32_t n_units);

/* Tokens, estimated, of each text with each of the seconds, or alone when there are none (m 0), and
 * with `more` tokens each time; each as far as it is read. */
uint64_t serve_estimate(const serve_t *self, const struct request *request,
                        const struct view *texts, uint32_t n, const struct view *seconds,
                        uint32_t m, uint32_t more);
/* False, and the request has failed, when they are more than a request may have. */
bool serve_affordable(const serve_t *self, struct request *request, uint64_t tokens);

/* The first failure counts. `item`: 1 + index of the text at fault, or 0. */
void serve_fail(struct request *request, enum status status, uint32_t item, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Answers the request when it has failed or nothing is pending; it may be gone afterwards. */
void serve_settle(serve_t *self, struct request *request);
/* Sends what was encoded into self->out, or an error when that failed; the request is gone. */
void serve_send(serve_t *self, struct request *request, enum status encoded);

/* False (and the request has failed) when text i was cut and must not be. */
bool serve_uncut(struct request *request, uint32_t i, const struct cache_entry *entry);
/* Text i is answered from its source in the facts: counted. */
void serve_count(serve_t *self, const struct request *request, uint32_t i);
/* Facts of text i from its one answer, counted; false as serve_uncut(). */
bool serve_note(serve_t *self, struct request *request, uint32_t i,
                const struct unit_answer *answer);
/* Which of two sources cost more: `memory` never hides that the model ran. */
uint8_t serve_dearer(uint8_t a, uint8_t b);
struct wire_facts serve_facts(const serve_t *self, struct request *request);
/* The slot goes back to the idle ones. */
void serve_release(serve_t *self, struct request *request);
/* Answers DEADLINE_EXCEEDED. */
void serve_expire(serve_t *self, struct request *request);

/* ---- serve_tickets.c: active requests by broker and ticket */

bool serve_tickets_init(serve_t *self); /* false without memory */
struct request *serve_ticket_find(const serve_t *self, uint32_t broker, uint64_t ticket);
void serve_ticket_add(serve_t *self, struct request *request);
void serve_ticket_remove(serve_t *self, struct request *request);

/* ---- serve_units.c */

/* Ask for what the unit waits for: its answer may come from within. */
void serve_start(serve_t *self, struct unit *unit);
/* The unit no longer waits. A flight that nobody needs leaves the queue; from a batch that no
 * runner has begun it is dropped; one that Redis or a runner has comes back by itself. */
void serve_leave(serve_t *self, struct unit *unit);
/* Into the batcher, in the line of the most urgent of its waiters; it has some. */
void serve_enqueue(serve_t *self, struct flight *flight);
/* The same for one that a batch gives back: before all that wait. */
void serve_enqueue_again(serve_t *self, struct flight *flight);
/* Hand an answer to all waiters; the flight is gone afterwards. The first waiter is told `first` as
 * the source, all others `others`. */
void serve_land(serve_t *self, struct flight *flight, const struct cache_entry *entry,
                enum wire_source first, enum wire_source others);
/* A token for cache.want() whose answer goes to classify_answer(). */
uint64_t serve_request_token(const serve_t *self, const struct request *request, uint32_t index);

static inline uint32_t serve_us32(uint64_t us) {
    return us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

static inline const struct model *request_model(const serve_t *self,
                                                const struct request *request) {
    return &self->cfg.models->model[request->model];
}

/* ---- one file a task: begin decodes and validates, start asks for units, take keeps a unit's
 * answer, reply sends what was collected. */

enum begin {
    BEGIN_OK,
    BEGIN_FULL,  /* no room now: NACK */
    BEGIN_WRONG, /* serve_fail() told why */
};

enum begin embed_begin(serve_t *self, struct request *request, struct view body);
void embed_start(serve_t *self, struct request *request);
void embed_take(serve_t *self, struct unit *unit, const struct unit_answer *answer);
void embed_reply(serve_t *self, struct request *request);

enum begin classify_begin(serve_t *self, struct request *request, struct view body);
void classify_start(serve_t *self, struct request *request);
void classify_take(serve_t *self, struct unit *unit, const struct unit_answer *answer);
/* The look-up of text `index`; entry NULL: not there. */
void classify_answer(serve_t *self, struct request *request, uint32_t index,
                     const struct unit_answer *answer);
void classify_reply(serve_t *self, struct request *request);
/* "text 2 with label 3", for messages; returns 1 + the text's index, or 0. */
uint32_t classify_name(const struct unit *unit, char *out, size_t out_bytes);

/* How a text comes to its scores: serve_cosine.c, serve_logits.c. The functions are called in this
 * order, `start` for each text that the cache does not know, `take` for each answer to a unit whose
 * numbers are kept already, `score` when all are there. */
struct classify_way {
    uint32_t (*units)(const struct request *request);
    void (*make)(serve_t *self, struct request *request);
    void (*start)(serve_t *self, struct request *request, uint32_t i);
    void (*take)(serve_t *self, struct unit *unit, const struct unit_answer *answer);
    /* Scores of text i, and its facts; false: they are not to be kept. */
    bool (*score)(serve_t *self, struct request *request, uint32_t i);
};
extern const struct classify_way classify_by_cosine, classify_by_logits;

enum begin rerank_begin(serve_t *self, struct request *request, struct view body);
void rerank_start(serve_t *self, struct request *request);
void rerank_take(serve_t *self, struct unit *unit, const struct unit_answer *answer);
void rerank_reply(serve_t *self, struct request *request);

enum begin tokenize_begin(serve_t *self, struct request *request, struct view body);
void tokenize_start(serve_t *self, struct request *request);
void tokenize_fill(const struct request *request, struct batch_tokens *out);
void tokenize_reply(serve_t *self, struct request *request);

#endif
