/* ember.h - text embeddings, label scores and rankings from an EmberMQ broker. The only public
 * header.
 *
 *     ember_t *e = NULL;
 *     ember_result_t *r = NULL;
 *     struct ember_error err;
 *     const char *texts[] = {"where is my parcel?", "我的包裹在哪里"};
 *
 *     if (ember_open("tcp://127.0.0.1:5555", NULL, &e, &err) != EMBER_OK ||
 *         ember_embed(e, texts, 2, NULL, &r, &err) != EMBER_OK)
 *         fprintf(stderr, "%s: %s\n", ember_status_name(err.status), err.message);
 *     else
 *         use(ember_result_floats(r, 0), ember_result_dim(r));
 *     ember_result_destroy(&r);
 *     ember_close(&e);
 *
 * What is promised
 *   - A call never hangs: it ends by its deadline (10 s unless you say otherwise) + 50 ms, also
 *     while no broker can be reached.
 *   - A call ends once, with a result or with one error that says why, which text is at fault and
 *     whether the work may have run. Requests are pure, so repeating one is always harmless.
 *   - While time is left the library itself deals with a broker that restarts, stops answering,
 *     drains or has no worker yet, and with "busy, come back in n ms": it reconnects, goes to the
 *     next endpoint and sends again what was not answered. An answer that comes twice or too late
 *     is dropped.
 *   - Large calls are split into requests that travel at the same time, and put together again in
 *     order. All rows of a result come from one model.
 *
 * Threads: one ember_t serves any number of threads, and should: open one per process. Inside, one
 * thread owns the sockets; callbacks run on it. Results, calls and reports belong to whoever holds
 * them (one thread at a time), apart from what ember_call_* says. After fork() open a new one in
 * the child.
 *
 * Memory: what comes out of an `_t **out` is yours and is given back with its own destroy function;
 * those take NULL and set your pointer to NULL. Texts and options are borrowed for the duration of
 * the function that takes them, also by ember_*_start(). `out` is written on success only, `error`
 * on failure only; `error` may be NULL, and so may every `options`.
 *
 * Versions: options start with their size, and so do ember_model and ember_broker_view, so that a
 * program built against an older header runs with a newer library. Initialise them with their _INIT
 * macro; zero in an option means its default. Structs of a report (ember_*_info) carry no size and
 * may grow with a minor version, for which a program that reads them is compiled again. */
#ifndef EMBER_EMBER_H
#define EMBER_EMBER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define EMBER_API __attribute__((visibility("default")))
#else
#define EMBER_API
#endif

#ifdef __cplusplus
extern "C++" {
template <typename T> inline T ember_init_size() {
    T x = T();
    x.size = sizeof(T);
    return x;
}
}
#define EMBER_INIT_SIZE(type) ember_init_size<type>()
#else
#define EMBER_INIT_SIZE(type)                                                                      \
    { .size = sizeof(type) }
#endif

/* "0.1.0", of the library that runs, which may be newer than this header. */
EMBER_API const char *ember_version(void);

/* -------------------------------------------------------------------------------------- errors */

/* Names, numbers and meanings are gRPC's (https://grpc.io/docs/guides/status-codes), apart from
 * 2. */
enum ember_status {
    EMBER_OK = 0,
    EMBER_CANCELLED = 1,         /* ember_call_cancel(), or the client was closed */
    EMBER_UNKNOWN_OUTCOME = 2,   /* it may have run; repeating is safe */
    EMBER_INVALID_ARGUMENT = 3,  /* can never succeed as it is; see `item` */
    EMBER_DEADLINE_EXCEEDED = 4, /* a broker had it, but no answer came in time */
    EMBER_NOT_FOUND = 5,         /* no such model */
    EMBER_ALREADY_EXISTS = 6,
    EMBER_PERMISSION_DENIED = 7,   /* known, but this is for operators */
    EMBER_RESOURCE_EXHAUSTED = 8,  /* overload or a size limit; see `retry_after_ms` */
    EMBER_FAILED_PRECONDITION = 9, /* for example a result that is taken twice */
    EMBER_ABORTED = 10, /* given up half-way, for example when the model changed meanwhile */
    EMBER_OUT_OF_RANGE = 11,
    EMBER_UNIMPLEMENTED = 12, /* well formed, but not supported */
    EMBER_INTERNAL = 13,      /* a mistake of ours, or broken data */
    EMBER_UNAVAILABLE = 14,   /* nobody there to do it: no broker answers, or it has no worker */
    EMBER_DATA_LOSS = 15,
    EMBER_UNAUTHENTICATED = 16 /* no broker admits our key, or none where one is wanted */
};

EMBER_API const char *ember_status_name(enum ember_status status); /* "UNAVAILABLE" */

enum { EMBER_MESSAGE_MAX = 400 };

struct ember_error {
    enum ember_status status;
    uint32_t retry_after_ms; /* the service's advice; 0: none */
    int64_t item;            /* index of the text at fault in your call; -1: the call as a whole */
    int32_t may_have_run;    /* 0: it was certainly not executed */
    char message[EMBER_MESSAGE_MAX]; /* one line for people, never a text of yours */
};

/* ------------------------------------------------------------------------------ open and close */

typedef struct ember ember_t;

/* How a broker is chosen among those that can be reached. In every policy a request whose broker is
 * lost or says "not now" goes to another one. */
enum ember_policy {
    EMBER_POLICY_ORDER = 0,         /* the first of the list, while it answers */
    EMBER_POLICY_LEAST_LATENCY = 1, /* all, each request to who will answer soonest: by requests in
                                       flight there and recent time of its replies */
    EMBER_POLICY_CHEAPEST = 2       /* the one of least cost whose latency is within
                                       latency_limit_ms; when none is, the fastest */
};

struct ember_options {
    size_t size;
    /* The name of this program, for the broker's operator; default: its file name. */
    const char *name;
    /* The model of calls that name none; default: the broker's default model. */
    const char *model;
    /* The deadline of calls that name none; default 10000, at most 600000. */
    uint32_t timeout_ms;
    /* Fail with UNAVAILABLE once no broker has answered for this long, instead of trying until the
     * deadline; default: until the deadline. */
    uint32_t give_up_ms;
    /* Texts of one request when a call is split; default 32, at most 64. Fewer spread a call over
     * more workers, more save messages. */
    uint32_t request_texts;
    /* Requests of one call that travel at the same time; default 32. */
    uint32_t call_window;
    /* Bytes of texts in all unfinished calls; default 256 MiB. A call beyond it is refused with
     * RESOURCE_EXHAUSTED, unless it is the only one; and one whose requests repeat so much (a long
     * query, labels) that they are larger than its texts by more than this, always. */
    uint64_t memory_max;
    /* Which of several brokers is asked; see enum ember_policy. */
    enum ember_policy policy;
    /* EMBER_POLICY_CHEAPEST: the latency a broker may have; default 50. It is the median of its
     * last few round trips and of replies without the time their worker says it took: network and
     * queue. */
    uint32_t latency_limit_ms;
    /* A request that was not answered for so long is sent to a second broker, too, and the first
     * answer is taken; default: a third of the time it has left, at least 100. */
    uint32_t attempt_ms;
    /* 1: only the brokers of `endpoints`. Otherwise those that they name as serving the same
     * workers are used, too, at most 8 together; a discovered one costs what the one that names
     * it does. */
    int32_t no_discovery;
    /* Encryption (CURVE), for brokers that ask for it: paths of this program's secret certificate
     * and of the brokers' public one, as `ember keygen` writes them; both or none. A broker that
     * does not admit the key ends calls with UNAUTHENTICATED, as soon as no other one does. */
    const char *key_file;
    const char *server_key_file;
};
#define EMBER_OPTIONS_INIT EMBER_INIT_SIZE(struct ember_options)

/* Makes a client. It connects by itself, now and whenever it has to: success does not mean that a
 * broker answers (ember_ping() tells). `endpoints`: one or more, separated by commas, the
 * preferred one first: "tcp://10.0.0.1:5555,tcp://10.0.0.2:5555". Also "ipc:///run/ember.sock".
 * At most 8. What a broker costs, for EMBER_POLICY_CHEAPEST, stands behind it in any unit:
 * "tcp://eu:5555#cost=0.2"; without it 1. It seeds random(3), which libzmq takes its connection
 * ids from and never seeds itself.
 *   EMBER_INVALID_ARGUMENT    an endpoint or option that makes no sense, a certificate of another
 *                             role, one without its secret or with it where none belongs,
 *   EMBER_UNAVAILABLE         a key file cannot be read,
 *   EMBER_PERMISSION_DENIED   others can read the secret one,
 *   EMBER_DATA_LOSS           it is no certificate,
 *   EMBER_RESOURCE_EXHAUSTED  no memory, descriptor or thread. */
EMBER_API enum ember_status ember_open(const char *endpoints, const struct ember_options *options,
                                       ember_t **out, struct ember_error *error);

/* Ends every unfinished call with CANCELLED, callbacks included, and frees the client. Threads that
 * wait in a call return CANCELLED; call handles stay valid and are freed as usual. Nobody may begin
 * a call at the same time or later. Not from a callback. */
EMBER_API void ember_close(ember_t **self);

/* ---------------------------------------------------------------------------- words of options */

enum ember_lane { EMBER_LANE_NORMAL = 0, EMBER_LANE_HIGH = 1, EMBER_LANE_BULK = 2 };

enum ember_encoding {
    EMBER_F32 = 0, /* float, in your machine's order */
    EMBER_F16 = 1, /* IEEE 754 binary16, little-endian */
    EMBER_I8 = 2,  /* a row is one float scale, then round(x / scale) as signed bytes */
    EMBER_BIT = 3  /* 1 bit a number, set when positive, most significant bit first */
};

enum ember_normalize { EMBER_NORMALIZE_MODEL = 0, EMBER_NORMALIZE_NO = 1, EMBER_NORMALIZE_YES = 2 };

enum ember_truncate { /* of a text with more tokens than the model takes */
                      EMBER_TRUNCATE_RIGHT = 0, /* keep the beginning */
                      EMBER_TRUNCATE_LEFT = 1,  /* keep the end; not of texts read in pairs */
                      EMBER_TRUNCATE_OFF = 2    /* refuse the call */
};

enum ember_cache {
    EMBER_CACHE_USE = 0,
    EMBER_CACHE_BYPASS = 1, /* neither read nor written */
    EMBER_CACHE_REFRESH = 2 /* not read, but written */
};

enum { /* flags, or-ed */
       EMBER_NO_RETRY =
           1 /* hand over RESOURCE_EXHAUSTED and UNAVAILABLE at once instead of trying again */
};

/* ----------------------------------------------------------------------------- calls that wait */

typedef struct ember_result ember_result_t;

struct ember_embed_options {
    size_t size;
    const char *model;   /* default: the client's */
    uint32_t timeout_ms; /* default: the client's */
    uint32_t flags;      /* EMBER_NO_RETRY */
    enum ember_lane lane;
    /* Length of each text, for texts with NUL bytes inside or without one at the end; default:
     * strlen() */
    const size_t *text_bytes;
    const char *traceparent; /* W3C trace context to pass on */
    enum ember_truncate truncate;
    enum ember_cache cache;
    enum ember_normalize normalize;
    enum ember_encoding encoding;
    uint32_t dimensions;       /* the first so many, for models trained for it; default: all */
    uint32_t max_tokens;       /* of one text, 2 or more; default: the published limit */
    const char *prompt_name;   /* a prompt published with the model, "query" */
    const char *prompt_prefix; /* or text to put in front of each text; not both */
};
#define EMBER_EMBED_OPTIONS_INIT EMBER_INIT_SIZE(struct ember_embed_options)

/* Vectors of `n` texts (1..1,000,000), UTF-8, at most 64 KiB each. */
EMBER_API enum ember_status ember_embed(ember_t *self, const char *const *texts, size_t n,
                                        const struct ember_embed_options *options,
                                        ember_result_t **out, struct ember_error *error);

struct ember_classify_options {
    size_t size;
    const char *model;
    uint32_t timeout_ms;
    uint32_t flags;
    enum ember_lane lane;
    const size_t *text_bytes;
    const char *traceparent;
    enum ember_truncate truncate;
    enum ember_cache cache;
    const char
        *hypothesis_template; /* holds one {}, "This text is about {}."; default: the model's */
    int32_t multi_label;      /* 1: each label is scored for itself; 0: scores add up to 1 */
    uint32_t top_k;           /* only the best so many labels; default: all */
    /* [n] the other text of each pair, for models that were trained to judge two; without labels */
    const char *const *seconds;
    const size_t *second_bytes; /* their lengths; default: strlen() */
    uint32_t max_tokens;        /* of one text or pair; default: the published limit */
};
#define EMBER_CLASSIFY_OPTIONS_INIT EMBER_INIT_SIZE(struct ember_classify_options)

/* Scores of labels for each of `n` texts, best label first: of 1 to 64 of your own, for models of
 * vectors (by cosine) and of entailment (each text is read with each label), or, with n_labels 0,
 * of those the model was trained with (up to 1024). Template and multi_label go with labels of your
 * own. A model takes one or the other and says so: ember_describe() tells which.
 * Scores by cosine are a softmax at temperature 0.05 unless the model's directory says another:
 * compare them with others of the same fingerprint only. */
EMBER_API enum ember_status ember_classify(ember_t *self, const char *const *texts, size_t n,
                                           const char *const *labels, size_t n_labels,
                                           const struct ember_classify_options *options,
                                           ember_result_t **out, struct ember_error *error);

struct ember_rerank_options {
    size_t size;
    const char *model;
    uint32_t timeout_ms;
    uint32_t flags;
    enum ember_lane lane;
    const size_t *text_bytes; /* of the documents */
    const char *traceparent;
    enum ember_truncate truncate; /* of a query and its document the longer one is cut; not LEFT */
    enum ember_cache cache;
    uint32_t top_k;      /* only the best so many documents; default: all */
    uint32_t max_tokens; /* of a query and its document together; default: the published limit */
};
#define EMBER_RERANK_OPTIONS_INIT EMBER_INIT_SIZE(struct ember_rerank_options)

/* How well each of `n` documents answers the query, by a model trained for that; see
 * ember_result_ranks(). */
EMBER_API enum ember_status ember_rerank(ember_t *self, const char *query,
                                         const char *const *documents, size_t n,
                                         const struct ember_rerank_options *options,
                                         ember_result_t **out, struct ember_error *error);

struct ember_tokenize_options {
    size_t size;
    const char *model;
    uint32_t timeout_ms;
    uint32_t flags;
    enum ember_lane lane;
    const size_t *text_bytes;
    const char *traceparent;
    enum ember_truncate truncate;
    int32_t pieces; /* 1: also the text of each token */
};
#define EMBER_TOKENIZE_OPTIONS_INIT EMBER_INIT_SIZE(struct ember_tokenize_options)

/* The token ids the model would see for each of `n` texts. */
EMBER_API enum ember_status ember_tokenize(ember_t *self, const char *const *texts, size_t n,
                                           const struct ember_tokenize_options *options,
                                           ember_result_t **out, struct ember_error *error);

/* ------------------------------------------------------------------------------------- results */

/* Immutable; any number of threads may read one. Pointers live as long as the result. An index out
 * of range reads as 0, NULL or "". */
EMBER_API void ember_result_destroy(ember_result_t **self);

EMBER_API size_t ember_result_count(const ember_result_t *self); /* texts, or documents */

/* Of ember_embed(). Rows lie one after another without gaps, ember_result_row_bytes() each. */
EMBER_API uint32_t ember_result_dim(const ember_result_t *self);
EMBER_API enum ember_encoding ember_result_encoding(const ember_result_t *self);
EMBER_API size_t ember_result_row_bytes(const ember_result_t *self);
EMBER_API const void *ember_result_row(const ember_result_t *self, size_t i);
EMBER_API const float *ember_result_floats(const ember_result_t *self,
                                           size_t i); /* NULL unless F32 */

/* Of ember_classify(): scores of text i, best first, and what their labels are. */
struct ember_score {
    uint32_t label; /* index into your labels, or into the model's own */
    float score;    /* 0..1 */
};
EMBER_API size_t ember_result_scores(const ember_result_t *self, size_t i,
                                     const struct ember_score **scores);
EMBER_API size_t ember_result_labels(const ember_result_t *self);
EMBER_API const char *ember_result_label(const ember_result_t *self, size_t label);

/* Of ember_rerank(): the documents, best first; as many as top_k allows. What is told of text i
 * (tokens and so on, below) is about documents[i] and its query, all of them. */
struct ember_rank {
    uint32_t index; /* into your documents */
    float score;    /* 0..1 */
};
EMBER_API size_t ember_result_ranks(const ember_result_t *self, const struct ember_rank **ranks);

/* Of ember_tokenize(): ids of text i as cut to the model's limit, the text of the k-th of them when
 * pieces were asked for, and how many there would be without a limit. */
EMBER_API size_t ember_result_ids(const ember_result_t *self, size_t i, const uint32_t **ids);
EMBER_API const char *ember_result_piece(const ember_result_t *self, size_t i, size_t k);
EMBER_API uint32_t ember_result_full(const ember_result_t *self, size_t i);

/* What happened to each text. */
enum ember_source {
    EMBER_SOURCE_MODEL = 0,  /* computed for this call */
    EMBER_SOURCE_SHARED = 1, /* computed for another call that came at the same time */
    EMBER_SOURCE_MEMORY = 2, /* the worker's memory cache */
    EMBER_SOURCE_REDIS = 3   /* the fleet's cache */
};
/* Used, special ones included; of a text that was read with each label: the sum. */
EMBER_API uint32_t ember_result_tokens(const ember_result_t *self, size_t i);
EMBER_API int ember_result_truncated(const ember_result_t *self,
                                     size_t i); /* 1: the text had more */
EMBER_API enum ember_source ember_result_source(const ember_result_t *self, size_t i);
EMBER_API const char *ember_source_name(enum ember_source source); /* "model" "shared" ... */

/* What answered. */
EMBER_API const char *ember_result_model(const ember_result_t *self);
EMBER_API const char *ember_result_fingerprint(const ember_result_t *self); /* SHA-256, hex */
EMBER_API const char *ember_result_worker(const ember_result_t *self, size_t i);

/* Where the time went, in microseconds. Of a split call, the largest of its requests in each stage;
 * stages overlap, so they need not add up. */
struct ember_times {
    uint32_t cache_us, queue_us, tokenize_us, infer_us;
    uint32_t worker_us; /* in the worker, from arrival to reply */
    uint32_t call_us;   /* here, from the start of the call to its end */
    uint32_t requests;  /* the call was split into so many */
    uint32_t resent;    /* requests that were sent more than once */
};
EMBER_API void ember_result_times(const ember_result_t *self, struct ember_times *out);

/* ---------------------------------------------------------------------- calls that do not wait */

typedef struct ember_call ember_call_t;

/* How a call ended. `result` is the callee's to destroy, NULL unless status is EMBER_OK; `error` is
 * borrowed, NULL when it is. Runs on the library's thread, so every other call waits meanwhile:
 * take note, start further calls if you like, but never block and never call a function that
 * waits. */
typedef void ember_done_fn(void *arg, enum ember_status status, ember_result_t *result,
                           const struct ember_error *error);

/* As their namesakes, but return as soon as the texts are copied. An error returned here ends the
 * matter: no call exists and `done` is not called.
 *   done  is called exactly once, on the library's thread, perhaps before the function returns;
 *         NULL: nobody is told, use ember_call_wait().
 *   call  gets a handle for waiting and cancelling, to be freed by the caller; NULL: not wanted. */
EMBER_API enum ember_status ember_embed_start(ember_t *self, const char *const *texts, size_t n,
                                              const struct ember_embed_options *options,
                                              ember_done_fn *done, void *arg, ember_call_t **call,
                                              struct ember_error *error);
EMBER_API enum ember_status ember_classify_start(ember_t *self, const char *const *texts, size_t n,
                                                 const char *const *labels, size_t n_labels,
                                                 const struct ember_classify_options *options,
                                                 ember_done_fn *done, void *arg,
                                                 ember_call_t **call, struct ember_error *error);
EMBER_API enum ember_status ember_rerank_start(ember_t *self, const char *query,
                                               const char *const *documents, size_t n,
                                               const struct ember_rerank_options *options,
                                               ember_done_fn *done, void *arg, ember_call_t **call,
                                               struct ember_error *error);
EMBER_API enum ember_status ember_tokenize_start(ember_t *self, const char *const *texts, size_t n,
                                                 const struct ember_tokenize_options *options,
                                                 ember_done_fn *done, void *arg,
                                                 ember_call_t **call, struct ember_error *error);

/* 1 when the call has ended within `wait_ms` (0: just look), 0 otherwise. Any thread. */
EMBER_API int ember_call_wait(ember_call_t *call, uint32_t wait_ms);

/* Waits for the end, moves the result out (once; a second take is FAILED_PRECONDITION, as is the
 * take of a call that has a callback). */
EMBER_API enum ember_status ember_call_take(ember_call_t *call, ember_result_t **out,
                                            struct ember_error *error);

/* Ends the call with CANCELLED unless it has ended, and tells the broker to drop its requests. Any
 * thread. */
EMBER_API void ember_call_cancel(ember_call_t *call);

/* Frees the handle. A call that has not ended goes on when it has a callback and is cancelled
 * otherwise. */
EMBER_API void ember_call_destroy(ember_call_t **call);

/* ---------------------------------------------------------------------- looking at the service */

/* Round trip to the broker, once there is a session. timeout_ms 0: the client's. */
EMBER_API enum ember_status ember_ping(ember_t *self, uint32_t timeout_ms, uint32_t *round_trip_us,
                                       struct ember_error *error);

enum ember_task {
    EMBER_TASK_EMBED = 1,
    EMBER_TASK_CLASSIFY = 2,
    EMBER_TASK_RERANK = 3,
    EMBER_TASK_TOKENIZE = 4
};

/* What a model gives besides vectors. */
enum ember_head {
    EMBER_HEAD_NONE = 0,   /* nothing: classify scores labels of yours, by cosine */
    EMBER_HEAD_LABELS = 1, /* scores of its own labels: classify takes none of yours */
    EMBER_HEAD_NLI = 2,    /* entailment: classify reads each text with each label of yours */
    EMBER_HEAD_SCORE = 3   /* one score of a query and a document: rerank */
};
EMBER_API const char *ember_head_name(enum ember_head head); /* "none" "labels" "nli" "score" */

/* What stands behind a model name or alias (NULL or "": the client's default). */
struct ember_model {
    size_t size;
    char name[65];        /* the model itself; "" while no worker serves it */
    char fingerprint[65]; /* SHA-256, hex */
    uint32_t dim, max_tokens;
    uint32_t workers; /* that serve it now */
    enum ember_head head;
    uint32_t labels; /* of its own; their names come with results */
};
#define EMBER_MODEL_INIT EMBER_INIT_SIZE(struct ember_model)
EMBER_API enum ember_status ember_describe(ember_t *self, const char *model, enum ember_task task,
                                           uint32_t timeout_ms, struct ember_model *out,
                                           struct ember_error *error);

/* A broker this client knows, as it sees it. */
struct ember_broker_view {
    size_t size;
    char endpoint[256];
    char state[16]; /* "up", "leaving", "opening", "greeting", "down", "off": not needed now,
                            "stuck": it is there and answers no request, "same": another name of
                            one that is used */
    char why[120];  /* what was wrong the last time; "": nothing */
    double cost;
    int32_t discovered;  /* 1: named by another broker, not by `endpoints` */
    int32_t used;        /* 1: new requests go there */
    uint32_t latency_us; /* as in latency_limit_ms; 0: not measured yet */
    uint32_t in_flight;  /* requests it has of this client */
    uint64_t answered;   /* and those it answered with a result */
};
#define EMBER_BROKER_VIEW_INIT EMBER_INIT_SIZE(struct ember_broker_view)

/* The i-th of them, those of `endpoints` first. OUT_OF_RANGE: there are not so many. It asks
 * nobody. */
EMBER_API enum ember_status ember_view_broker(ember_t *self, size_t i,
                                              struct ember_broker_view *out,
                                              struct ember_error *error);

/* The broker's own account of itself, its workers and its services. */
typedef struct ember_report ember_report_t;

struct ember_broker_info {
    const char *name, *version, *state; /* state: "serving", "draining" */
    const char *endpoint;               /* where we reached it */
    uint64_t uptime_ms;
    uint32_t clients, queued, in_flight;
};
struct ember_model_info {
    const char *name, *fingerprint, *precision, *kernel;
    uint32_t dim, max_tokens;
    uint32_t tasks; /* bits 1 << enum ember_task */
    enum ember_head head;
    uint32_t labels; /* of the head */
};
struct ember_worker_info {
    const char *name, *host, *version;
    const char *state; /* "live", "suspect" (given nothing new until it answers), "draining" */
    const char *tier, *redis; /* redis: "off", "up", "down" */
    double hourly_cost;
    uint32_t threads, credit, in_flight, silent_ms;
    uint32_t queued, running, oldest_us, service_us;
    uint64_t dispatched, completed, texts, tokens, hits_memory, hits_redis, misses, shared, errors;
    uint64_t rss_bytes;
    const struct ember_model_info *models;
    size_t n_models;
};
struct ember_service_info {
    const char *model; /* "": the default model */
    const char *task;  /* "embed", "classify" ... */
    uint32_t workers, queued, in_flight, oldest_us;
    uint64_t answered;
    uint64_t engine_us; /* time of runners that its requests took, since the broker's start */
};
struct ember_fleet_info { /* all workers together, also those that the report had no room for */
    uint32_t live, suspect, runners; /* workers; threads that compute, of the live */
    int32_t known;                   /* 1: the next two mean something */
    uint32_t desired;   /* workers wished for by this broker: to be added over all brokers */
    double load;        /* work asked for from it; 1: as much as all runners can do */
    double hourly_cost; /* of the connected workers, as they state it */
    double cost;        /* the same over time, since the broker's start */
};
struct ember_counter_info {
    const char *name;
    uint64_t value;
};

/* timeout_ms 0: the client's. Entries are NULL beyond the last one. */
EMBER_API enum ember_status ember_report(ember_t *self, uint32_t timeout_ms, ember_report_t **out,
                                         struct ember_error *error);
EMBER_API void ember_report_destroy(ember_report_t **self);
EMBER_API const struct ember_broker_info *ember_report_broker(const ember_report_t *self);
EMBER_API const struct ember_worker_info *ember_report_worker(const ember_report_t *self, size_t i);
EMBER_API const struct ember_service_info *ember_report_service(const ember_report_t *self,
                                                                size_t i);
EMBER_API const struct ember_fleet_info *ember_report_fleet(const ember_report_t *self);
/* "alias=model:90,model:10": a name that stands for several models. */
EMBER_API const char *ember_report_route(const ember_report_t *self, size_t i);
EMBER_API const struct ember_counter_info *ember_report_counter(const ember_report_t *self,
                                                                size_t i);

#ifdef __cplusplus
}
#endif
#endif
