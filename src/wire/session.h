/* session.h - bodies of session and status messages <-> plain structs: what a broker opens
 * itself. The rules of codec.h hold here too. Names are 1..LIMIT_NAME_BYTES of [A-Za-z0-9._-] (a
 * model name may be empty in a ServiceName: the default model), other text at most 255 bytes of
 * UTF-8. */
#ifndef EMBER_WIRE_SESSION_H
#define EMBER_WIRE_SESSION_H

#include "wire/codec.h"

enum {
    WIRE_PROTOCOL = 1,        /* the one we speak */
    WIRE_HELLO_WANT_MAX = 64, /* services of one Hello */
};

/* What an arena needs to decode any body of body_bytes here: these bodies hold many small parts. */
size_t session_arena_bytes(size_t body_bytes);

struct wire_service_name {
    struct view model;
    enum wire_task task;
};

struct wire_hello {
    uint32_t protocol_min, protocol_max;
    struct view name, version;
    const struct wire_service_name *want;
    uint32_t n_want;
    uint64_t client;
};
enum status session_hello_encode(const struct wire_hello *in, struct wire_out *out);
enum status session_hello_decode(struct view body, struct arena *arena, struct wire_hello *out,
                                 struct err *err);

struct wire_service {
    uint32_t number;
    struct view model;
    enum wire_task task;
    uint32_t workers;
    struct view serves, fingerprint;
    uint32_t dim, max_tokens;
    enum wire_head head;
    uint32_t labels;
};
struct wire_limits {
    uint32_t request_bytes, reply_bytes, texts, labels, text_bytes, in_flight, deadline_ms;
    uint32_t pairs, tokens;
};
struct wire_welcome {
    uint32_t protocol;
    uint64_t session, broker;
    struct view broker_name, version;
    uint32_t heartbeat_ms;
    struct wire_limits limits;
    const struct wire_service *services;
    uint32_t n_services;
    const struct view *brokers;
    uint32_t n_brokers;
};
enum status session_welcome_encode(const struct wire_welcome *in, struct wire_out *out);
enum status session_welcome_decode(struct view body, struct arena *arena, struct wire_welcome *out,
                                   struct err *err);

enum status session_goaway_encode(struct view reason, struct wire_out *out);
enum status session_goaway_decode(struct view body, struct arena *arena, struct view *reason,
                                  struct err *err);

struct wire_model {
    struct view name, fingerprint, precision, kernel;
    uint32_t dim, max_tokens;
    uint32_t tasks; /* bit 1 << enum wire_task */
    enum wire_head head;
    uint32_t labels; /* of the head */
};
struct wire_ready {
    uint32_t protocol_min, protocol_max;
    uint64_t uuid;
    struct view name, host, version, tier;
    double hourly_cost;
    uint32_t threads, pid;
    const struct wire_model *models;
    uint32_t n_models; /* 1..LIMIT_MODELS, names differ */
};
enum status session_ready_encode(const struct wire_ready *in, struct wire_out *out);
enum status session_ready_decode(struct view body, struct arena *arena, struct wire_ready *out,
                                 struct err *err);

struct wire_service_number {
    uint32_t number;
    struct view model;
    enum wire_task task;
};
struct wire_ready_ok {
    uint32_t protocol;
    uint64_t broker;
    uint32_t heartbeat_ms, silence_ms;
    const struct wire_service_number *services;
    uint32_t n_services;
};
enum status session_ready_ok_encode(const struct wire_ready_ok *in, struct wire_out *out);
enum status session_ready_ok_decode(struct view body, struct arena *arena,
                                    struct wire_ready_ok *out, struct err *err);

struct wire_heartbeat { /* see ember.proto */
    uint32_t queued, running, oldest_us, service_us;
    uint64_t completed, texts, tokens, hits_memory, hits_redis, misses, shared, errors, rss_bytes;
    struct view redis;
    uint32_t running_us, stuck;
};
enum status session_heartbeat_encode(const struct wire_heartbeat *in, struct wire_out *out);
enum status session_heartbeat_decode(struct view body, struct arena *arena,
                                     struct wire_heartbeat *out, struct err *err);

struct wire_worker_status {
    struct view name, host, version, state, tier;
    double hourly_cost;
    uint32_t threads, credit, in_flight, silent_ms;
    uint64_t dispatched;
    const struct wire_model *models;
    uint32_t n_models;
    struct wire_heartbeat last;
};
struct wire_service_status {
    uint32_t number;
    struct view model;
    enum wire_task task;
    uint32_t workers, queued, in_flight, oldest_us;
    uint64_t answered, engine_us;
};
struct wire_fleet_status {
    uint32_t live, suspect, runners;
    bool known; /* desired and load mean something */
    uint32_t desired;
    double load, hourly_cost, cost;
};
enum { WIRE_ROUTES_MAX = 64 };

struct wire_counter {
    struct view name;
    uint64_t value;
};
struct wire_status_reply {
    struct view broker_name, version, state;
    uint64_t broker, uptime_ms;
    uint32_t clients, queued, in_flight;
    const struct wire_worker_status *workers;
    uint32_t n_workers;
    const struct wire_service_status *services;
    uint32_t n_services;
    const struct wire_counter *counters;
    uint32_t n_counters;
    const struct view *routes; /* "alias=model:90,model:10" */
    uint32_t n_routes;         /* at most WIRE_ROUTES_MAX */
    struct wire_fleet_status fleet;
};
enum status session_status_encode(const struct wire_status_reply *in, struct wire_out *out);
enum status session_status_decode(struct view body, struct arena *arena,
                                  struct wire_status_reply *out, struct err *err);

#endif
