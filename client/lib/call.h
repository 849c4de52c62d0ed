/* call.h - one call of the public API: cut into requests, and its end, which happens once.
 *
 *     texts 0..149 --call_new()--> parts [0..49] [50..99] [100..149], each with its encoded body
 *                                    |  client.c sends them, call_window at a time
 *     result <----- call_reply() ----'  one answer per part, in any order
 *
 * Threads: call_new() and the waiting functions run on the caller's thread, everything marked
 * "loop" on the library's. They share `lock`, which guards the end (ended .. error) and nothing
 * else; the start is handed over through the client's inbox. Memory: counted references: one for
 * the loop until the end, one for a handle. */
#ifndef EMBER_CLIENT_CALL_H
#define EMBER_CLIENT_CALL_H

#include <ember/ember.h>

#include "pending.h"
#include "result.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/limits.h"
#include "wire/codec.h"
#include "wire/header.h"

#include <pthread.h>
#include <stdatomic.h>

enum call_kind { CALL_TASK, CALL_STATUS, CALL_PING, CALL_DESCRIBE, CALL_VIEW };

struct part {                 /* one request */
    struct pending_item item; /* first: pending.c's items are parts */
    struct ember_call *call;
    uint32_t first, n; /* texts of the call */
    uint8_t *body;     /* owned; given back as soon as it is answered */
    uint32_t body_bytes;
};

struct ember_call {
    /* set before the start, constant afterwards */
    enum call_kind kind;
    enum wire_task task;
    enum wire_lane lane;
    uint32_t flags; /* EMBER_NO_RETRY */
    bool alone;     /* no answer of others will do: the cache is not to be used */
    char model[LIMIT_NAME_BYTES + 1];
    uint64_t started_us, deadline_us;
    uint32_t n_texts, n_parts;
    uint32_t top_k;     /* rerank: of the whole call; 0: all */
    struct part *parts; /* [n_parts] */
    size_t bytes;       /* of all bodies */
    ember_done_fn *done;
    void *arg;
    struct client *client; /* holds a reference */

    /* the loop's */
    struct link active;
    uint32_t service;                       /* index into the client's services */
    uint32_t hello;                         /* describe: the HELLO that asks */
    uint32_t next_part, n_open, n_answered; /* parts not yet begun, under way, done */
    ember_result_t *result;
    struct ember_error refusal; /* the last "not now", for when time runs out */

    /* inbox, guarded by the client's lock */
    struct link starting, cancelling;

    atomic_uint refs;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ended;
    bool taken;
    struct ember_error error; /* status EMBER_OK: the result is there */
    ember_report_t *report;
    struct ember_model described;
    uint32_t view_of; /* the i-th broker */
    bool view_there;
    struct ember_broker_view view;
    uint32_t round_trip_us;
};

/* What a task call asks; texts borrowed for call_new(). */
struct call_spec {
    enum wire_task task;
    const char *const *texts;
    const size_t *text_bytes;
    const char *const *seconds; /* [n] of pairs, or NULL */
    const size_t *second_bytes;
    size_t n;
    uint32_t request_texts; /* most texts of one request */
    uint64_t spare_bytes;   /* all requests may be so much larger than the texts; 0: any */
    union {
        struct wire_embed_request embed; /* without texts */
        struct wire_classify_request classify;
        struct wire_rerank_request rerank; /* without documents: those are the texts */
        struct wire_tokenize_request tokenize;
    };
};

/* A call with its requests encoded. INVALID_ARGUMENT with *item when a text is too long or not
 * UTF-8; RESOURCE_EXHAUSTED when what comes with every request (a query, labels) makes them larger
 * than spare_bytes allows. */
enum status call_new(const struct call_spec *spec, ember_call_t **out, int64_t *item,
                     struct err *err);
/* A call of one request without a body: status, ping, describe; or of none: view. */
enum status call_new_plain(enum call_kind kind, ember_call_t **out, struct err *err);

void call_ref(ember_call_t *self);
void call_unref(ember_call_t *self);

/* ---- loop */

/* The reply with STATUS_OK to a part: into the result. Anything but STATUS_OK ends the call.
 * *worker_us: how long its worker had it, 0: not told. */
enum status call_reply(struct part *part, struct view body, struct arena *arena,
                       uint32_t *worker_us, struct err *err);

/* An Error body as the caller shall see it: the item counted in the call's own texts. */
void call_error(const struct part *part, enum status status, struct view body, struct arena *arena,
                struct ember_error *out);

/* The end: tells whoever waits, calls `done`. The loop's reference is still the loop's. */
void call_end(ember_call_t *self, const struct ember_error *error, uint64_t now_us);

/* ---- errors */

void error_set(struct ember_error *out, enum status status, int64_t item, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void error_from(struct ember_error *out, const struct err *err, int64_t item);

#endif
