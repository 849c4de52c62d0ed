/* session.c - bodies of session and status messages. Rare messages: clarity before speed. */
#include "wire/session.h"

#include "wire/codec_pb.h"

#include <math.h>

enum { OTHER_TEXT_MAX = 255 };

_Static_assert((int)WIRE_HELLO_WANT_MAX <= (int)LIMIT_SERVICES,
               "a Hello may ask for what can exist");

size_t session_arena_bytes(size_t body_bytes) {
    return 16 * 1024 + 24 * body_bytes;
}

/* ---------------------------------------------------------------- HELLO */

enum status session_hello_encode(const struct wire_hello *in, struct wire_out *out) {
    Ember__Hello m = EMBER__HELLO__INIT;
    Ember__ServiceName names[WIRE_HELLO_WANT_MAX], *list[WIRE_HELLO_WANT_MAX];
    if (in->n_want > WIRE_HELLO_WANT_MAX)
        return STATUS_INTERNAL;
    for (uint32_t i = 0; i < in->n_want; i++) {
        ember__service_name__init(&names[i]);
        names[i].model = pb_data(in->want[i].model);
        names[i].task = (Ember__Task)in->want[i].task;
        list[i] = &names[i];
    }
    m.protocol_min = in->protocol_min;
    m.protocol_max = in->protocol_max;
    m.name = pb_data(in->name);
    m.version = pb_data(in->version);
    m.n_want = in->n_want;
    m.want = list;
    m.client = in->client;
    return pb_pack(&m, out);
}

enum status pb_check_task(int task, struct err *err) {
    if (task <= WIRE_TASK_NONE || task >= WIRE_TASKS)
        return err_set(err, STATUS_INVALID_ARGUMENT, "task %d is not known", task);
    return STATUS_OK;
}

enum status session_hello_decode(struct view body, struct arena *arena, struct wire_hello *out,
                                 struct err *err) {
    static const struct pb_count counts[] = {{5, WIRE_HELLO_WANT_MAX, "services"}};
    Ember__Hello *m;
    enum status st = pb_unpack(&ember__hello__descriptor, body, counts, 1, arena, (void **)&m, err);
    if (st == STATUS_OK)
        st = pb_check_text(pb_view(m->name), OTHER_TEXT_MAX, "name", err);
    if (st == STATUS_OK)
        st = pb_check_text(pb_view(m->version), OTHER_TEXT_MAX, "version", err);
    struct wire_service_name *want = NULL;
    if (st == STATUS_OK && !(want = pb_array(arena, struct wire_service_name, m->n_want, err)))
        st = STATUS_INVALID_ARGUMENT;
    for (size_t i = 0; st == STATUS_OK && i < m->n_want; i++) {
        want[i] = (struct wire_service_name){pb_view(m->want[i]->model),
                                             (enum wire_task)m->want[i]->task};
        st = pb_check_name(want[i].model, true, "model", err);
        if (st == STATUS_OK)
            st = pb_check_task((int)m->want[i]->task, err);
    }
    if (st == STATUS_OK)
        *out = (struct wire_hello){
            m->protocol_min,     m->protocol_max, pb_view(m->name), pb_view(m->version), want,
            (uint32_t)m->n_want, m->client};
    return st;
}

/* ---------------------------------------------------------------- WELCOME, GOAWAY */

enum status session_welcome_encode(const struct wire_welcome *in, struct wire_out *out) {
    Ember__Welcome m = EMBER__WELCOME__INIT;
    Ember__Limits limits = EMBER__LIMITS__INIT;
    Ember__Service services[WIRE_HELLO_WANT_MAX], *list[WIRE_HELLO_WANT_MAX];
    ProtobufCBinaryData brokers[LIMIT_BROKERS];
    if (in->n_services > WIRE_HELLO_WANT_MAX || in->n_brokers > LIMIT_BROKERS)
        return STATUS_INTERNAL;
    for (uint32_t i = 0; i < in->n_services; i++) {
        const struct wire_service *from = &in->services[i];
        Ember__Service *to = list[i] = &services[i];
        ember__service__init(to);
        to->number = from->number;
        to->model = pb_data(from->model);
        to->task = (Ember__Task)from->task;
        to->workers = from->workers;
        to->serves = pb_data(from->serves);
        to->fingerprint = pb_data(from->fingerprint);
        to->dim = from->dim;
        to->max_tokens = from->max_tokens;
        to->head = (Ember__Head)from->head;
        to->labels = from->labels;
    }
    for (uint32_t i = 0; i < in->n_brokers; i++)
        brokers[i] = pb_data(in->brokers[i]);
    limits.request_bytes = in->limits.request_bytes;
    limits.reply_bytes = in->limits.reply_bytes;
    limits.texts = in->limits.texts;
    limits.labels = in->limits.labels;
    limits.text_bytes = in->limits.text_bytes;
    limits.in_flight = in->limits.in_flight;
    limits.deadline_ms = in->limits.deadline_ms;
    limits.pairs = in->limits.pairs;
    limits.tokens = in->limits.tokens;
    m.protocol = in->protocol;
    m.session = in->session;
    m.broker = in->broker;
    m.broker_name = pb_data(in->broker_name);
    m.version = pb_data(in->version);
    m.heartbeat_ms = in->heartbeat_ms;
    m.limits = &limits;
    m.n_services = in->n_services;
    m.services = list;
    m.n_brokers = in->n_brokers;
    m.brokers = brokers;
    return pb_pack(&m, out);
}

/* A head of a later version is none that we know what to do with. */
static enum wire_head pb_head(Ember__Head head) {
    return (unsigned)head < WIRE_HEADS ? (enum wire_head)head : WIRE_HEAD_NONE;
}

static enum status decode_service(const Ember__Service *in, struct wire_service *out,
                                  struct err *err) {
    *out = (struct wire_service){in->number,  pb_view(in->model),  (enum wire_task)in->task,
                                 in->workers, pb_view(in->serves), pb_view(in->fingerprint),
                                 in->dim,     in->max_tokens,      pb_head(in->head),
                                 in->labels};
    enum status st = pb_check_name(out->model, true, "model", err);
    if (st == STATUS_OK)
        st = pb_check_name(out->serves, true, "model", err);
    if (st == STATUS_OK)
        st = pb_check_name(out->fingerprint, true, "fingerprint", err);
    if (st == STATUS_OK)
        st = pb_check_task((int)in->task, err);
    if (st == STATUS_OK && (in->number == 0 || in->number > UINT16_MAX))
        st = err_set(err, STATUS_INVALID_ARGUMENT, "service number %u", in->number);
    return st;
}

static struct wire_limits decode_limits(const Ember__Limits *in) {
    struct wire_limits out = {LIMIT_REQUEST_BYTES,  LIMIT_REPLY_BYTES,   LIMIT_REQUEST_TEXTS,
                              LIMIT_REQUEST_LABELS, LIMIT_TEXT_BYTES,    LIMIT_CLIENT_TICKETS,
                              LIMIT_DEADLINE_MS,    LIMIT_REQUEST_PAIRS, LIMIT_REQUEST_TOKENS};
    if (in)
        out = (struct wire_limits){in->request_bytes, in->reply_bytes, in->texts,
                                   in->labels,        in->text_bytes,  in->in_flight,
                                   in->deadline_ms,   in->pairs,       in->tokens};
    return out;
}

enum status session_welcome_decode(struct view body, struct arena *arena, struct wire_welcome *out,
                                   struct err *err) {
    static const struct pb_count counts[] = {{8, WIRE_HELLO_WANT_MAX, "services"},
                                             {9, LIMIT_BROKERS, "brokers"}};
    Ember__Welcome *m;
    enum status st =
        pb_unpack(&ember__welcome__descriptor, body, counts, 2, arena, (void **)&m, err);
    if (st != STATUS_OK)
        return st;
    struct wire_service *services = pb_array(arena, struct wire_service, m->n_services, err);
    struct view *brokers = pb_array(arena, struct view, m->n_brokers, err);
    if (!services || !brokers)
        return STATUS_INVALID_ARGUMENT;
    for (size_t i = 0; st == STATUS_OK && i < m->n_services; i++)
        st = decode_service(m->services[i], &services[i], err);
    for (size_t i = 0; st == STATUS_OK && i < m->n_brokers; i++) {
        brokers[i] = pb_view(m->brokers[i]);
        st = pb_check_text(brokers[i], OTHER_TEXT_MAX, "broker", err);
    }
    if (st == STATUS_OK)
        st = pb_check_text(pb_view(m->broker_name), OTHER_TEXT_MAX, "broker_name", err);
    if (st == STATUS_OK)
        st = pb_check_text(pb_view(m->version), OTHER_TEXT_MAX, "version", err);
    if (st != STATUS_OK)
        return st;
    *out = (struct wire_welcome){
        .protocol = m->protocol,
        .session = m->session,
        .broker = m->broker,
        .broker_name = pb_view(m->broker_name),
        .version = pb_view(m->version),
        .heartbeat_ms = m->heartbeat_ms,
        .limits = decode_limits(m->limits),
        .services = services,
        .n_services = (uint32_t)m->n_services,
        .brokers = brokers,
        .n_brokers = (uint32_t)m->n_brokers,
    };
    return STATUS_OK;
}

enum status session_goaway_encode(struct view reason, struct wire_out *out) {
    Ember__Goaway m = EMBER__GOAWAY__INIT;
    m.reason = pb_data(reason);
    return pb_pack(&m, out);
}

enum status session_goaway_decode(struct view body, struct arena *arena, struct view *reason,
                                  struct err *err) {
    Ember__Goaway *m;
    enum status st = pb_unpack(&ember__goaway__descriptor, body, NULL, 0, arena, (void **)&m, err);
    if (st == STATUS_OK)
        st = pb_check_text(pb_view(m->reason), OTHER_TEXT_MAX, "reason", err);
    if (st == STATUS_OK)
        *reason = pb_view(m->reason);
    return st;
}

/* ---------------------------------------------------------------- models */

void pb_fill_model(struct pb_model *room, const struct wire_model *in) {
    ember__model__init(&room->m);
    room->m.name = pb_data(in->name);
    room->m.fingerprint = pb_data(in->fingerprint);
    room->m.precision = pb_data(in->precision);
    room->m.kernel = pb_data(in->kernel);
    room->m.dim = in->dim;
    room->m.max_tokens = in->max_tokens;
    room->m.head = (Ember__Head)in->head;
    room->m.labels = in->labels;
    room->m.tasks = room->tasks;
    for (int t = WIRE_TASK_EMBED; t < WIRE_TASKS; t++)
        if (in->tasks & 1u << t)
            room->tasks[room->m.n_tasks++] = (Ember__Task)t;
}

static enum status decode_model(const Ember__Model *in, struct wire_model *out, struct err *err) {
    *out = (struct wire_model){.name = pb_view(in->name),
                               .fingerprint = pb_view(in->fingerprint),
                               .precision = pb_view(in->precision),
                               .kernel = pb_view(in->kernel),
                               .dim = in->dim,
                               .max_tokens = in->max_tokens,
                               .head = pb_head(in->head),
                               .labels = in->labels};
    enum status st = pb_check_name(out->name, false, "model", err);
    if (st == STATUS_OK)
        st = pb_check_name(out->fingerprint, true, "fingerprint", err);
    if (st == STATUS_OK)
        st = pb_check_name(out->precision, true, "precision", err);
    if (st == STATUS_OK)
        st = pb_check_text(out->kernel, OTHER_TEXT_MAX, "kernel", err);
    for (size_t i = 0; st == STATUS_OK && i < in->n_tasks;
         i++) /* tasks of a later version: passed over */
        if (pb_check_task((int)in->tasks[i], NULL) == STATUS_OK)
            out->tasks |= 1u << in->tasks[i];
    return st;
}

enum status pb_decode_models(Ember__Model **in, size_t n, struct arena *arena,
                             const struct wire_model **out, struct err *err) {
    if (n > LIMIT_MODELS)
        return err_set(err, STATUS_INVALID_ARGUMENT, "more than %d models", LIMIT_MODELS);
    struct wire_model *models = pb_array(arena, struct wire_model, n, err);
    enum status st = models ? STATUS_OK : STATUS_INVALID_ARGUMENT;
    for (size_t i = 0; st == STATUS_OK && i < n; i++) {
        st = decode_model(in[i], &models[i], err);
        for (size_t k = 0; st == STATUS_OK && k < i; k++)
            if (view_equal(models[i].name, models[k].name))
                st = err_set(err, STATUS_INVALID_ARGUMENT, "two models of one name");
    }
    if (st == STATUS_OK)
        *out = models;
    return st;
}

/* ---------------------------------------------------------------- READY, READY_OK */

enum status session_ready_encode(const struct wire_ready *in, struct wire_out *out) {
    Ember__Ready m = EMBER__READY__INIT;
    struct pb_model rooms[LIMIT_MODELS];
    Ember__Model *list[LIMIT_MODELS];
    if (in->n_models > LIMIT_MODELS)
        return STATUS_INTERNAL;
    for (uint32_t i = 0; i < in->n_models; i++) {
        pb_fill_model(&rooms[i], &in->models[i]);
        list[i] = &rooms[i].m;
    }
    m.protocol_min = in->protocol_min;
    m.protocol_max = in->protocol_max;
    m.uuid = in->uuid;
    m.name = pb_data(in->name);
    m.host = pb_data(in->host);
    m.version = pb_data(in->version);
    m.tier = pb_data(in->tier);
    m.hourly_cost = in->hourly_cost;
    m.threads = in->threads;
    m.pid = in->pid;
    m.n_models = in->n_models;
    m.models = list;
    return pb_pack(&m, out);
}

enum status session_ready_decode(struct view body, struct arena *arena, struct wire_ready *out,
                                 struct err *err) {
    static const struct pb_count counts[] = {{11, LIMIT_MODELS, "models"}};
    Ember__Ready *m;
    enum status st = pb_unpack(&ember__ready__descriptor, body, counts, 1, arena, (void **)&m, err);
    const struct wire_model *models = NULL;
    if (st == STATUS_OK)
        st = pb_check_name(pb_view(m->name), false, "name", err);
    if (st == STATUS_OK)
        st = pb_check_name(pb_view(m->tier), true, "tier", err);
    if (st == STATUS_OK)
        st = pb_check_text(pb_view(m->host), OTHER_TEXT_MAX, "host", err);
    if (st == STATUS_OK)
        st = pb_check_text(pb_view(m->version), OTHER_TEXT_MAX, "version", err);
    if (st == STATUS_OK && !(isfinite(m->hourly_cost) && m->hourly_cost >= 0))
        st = err_set(err, STATUS_INVALID_ARGUMENT, "hourly_cost is not a cost");
    if (st == STATUS_OK && m->n_models == 0)
        st = err_set(err, STATUS_INVALID_ARGUMENT, "no models");
    if (st == STATUS_OK)
        st = pb_decode_models(m->models, m->n_models, arena, &models, err);
    if (st != STATUS_OK)
        return st;
    *out = (struct wire_ready){
        .protocol_min = m->protocol_min,
        .protocol_max = m->protocol_max,
        .uuid = m->uuid,
        .name = pb_view(m->name),
        .host = pb_view(m->host),
        .version = pb_view(m->version),
        .tier = pb_view(m->tier),
        .hourly_cost = m->hourly_cost,
        .threads = m->threads,
        .pid = m->pid,
        .models = models,
        .n_models = (uint32_t)m->n_models,
    };
    return STATUS_OK;
}

enum { READY_SERVICES_MAX = LIMIT_MODELS * WIRE_TASKS };

enum status session_ready_ok_encode(const struct wire_ready_ok *in, struct wire_out *out) {
    Ember__ReadyOk m = EMBER__READY_OK__INIT;
    Ember__ServiceNumber numbers[READY_SERVICES_MAX], *list[READY_SERVICES_MAX];
    if (in->n_services > READY_SERVICES_MAX)
        return STATUS_INTERNAL;
    for (uint32_t i = 0; i < in->n_services; i++) {
        ember__service_number__init(&numbers[i]);
        numbers[i].number = in->services[i].number;
        numbers[i].model = pb_data(in->services[i].model);
        numbers[i].task = (Ember__Task)in->services[i].task;
        list[i] = &numbers[i];
    }
    m.protocol = in->protocol;
    m.broker = in->broker;
    m.heartbeat_ms = in->heartbeat_ms;
    m.silence_ms = in->silence_ms;
    m.n_services = in->n_services;
    m.services = list;
    return pb_pack(&m, out);
}

enum status session_ready_ok_decode(struct view body, struct arena *arena,
                                    struct wire_ready_ok *out, struct err *err) {
    static const struct pb_count counts[] = {{5, READY_SERVICES_MAX, "services"}};
    Ember__ReadyOk *m;
    enum status st =
        pb_unpack(&ember__ready_ok__descriptor, body, counts, 1, arena, (void **)&m, err);
    struct wire_service_number *numbers = NULL;
    if (st == STATUS_OK &&
        !(numbers = pb_array(arena, struct wire_service_number, m->n_services, err)))
        st = STATUS_INVALID_ARGUMENT;
    for (size_t i = 0; st == STATUS_OK && i < m->n_services; i++) {
        const Ember__ServiceNumber *in = m->services[i];
        numbers[i] =
            (struct wire_service_number){in->number, pb_view(in->model), (enum wire_task)in->task};
        st = pb_check_name(numbers[i].model, false, "model", err);
        if (st == STATUS_OK)
            st = pb_check_task((int)in->task, err);
        if (st == STATUS_OK && (in->number == 0 || in->number > UINT16_MAX))
            st = err_set(err, STATUS_INVALID_ARGUMENT, "service number %u", in->number);
    }
    if (st == STATUS_OK)
        *out = (struct wire_ready_ok){m->protocol,   m->broker, m->heartbeat_ms,
                                      m->silence_ms, numbers,   (uint32_t)m->n_services};
    return st;
}

/* ---------------------------------------------------------------- HEARTBEAT */

void pb_fill_heartbeat(Ember__Heartbeat *m, const struct wire_heartbeat *in) {
    ember__heartbeat__init(m);
    m->queued = in->queued;
    m->running = in->running;
    m->completed = in->completed;
    m->oldest_us = in->oldest_us;
    m->service_us = in->service_us;
    m->texts = in->texts;
    m->tokens = in->tokens;
    m->hits_memory = in->hits_memory;
    m->hits_redis = in->hits_redis;
    m->misses = in->misses;
    m->shared = in->shared;
    m->errors = in->errors;
    m->rss_bytes = in->rss_bytes;
    m->redis = pb_data(in->redis);
    m->running_us = in->running_us;
    m->stuck = in->stuck;
}

enum status session_heartbeat_encode(const struct wire_heartbeat *in, struct wire_out *out) {
    Ember__Heartbeat m;
    pb_fill_heartbeat(&m, in);
    return pb_pack(&m, out);
}

enum status pb_read_heartbeat(const Ember__Heartbeat *m, struct wire_heartbeat *out,
                              struct err *err) {
    *out = (struct wire_heartbeat){
        .queued = m->queued,
        .running = m->running,
        .oldest_us = m->oldest_us,
        .service_us = m->service_us,
        .completed = m->completed,
        .texts = m->texts,
        .tokens = m->tokens,
        .hits_memory = m->hits_memory,
        .hits_redis = m->hits_redis,
        .misses = m->misses,
        .shared = m->shared,
        .errors = m->errors,
        .rss_bytes = m->rss_bytes,
        .redis = pb_view(m->redis),
        .running_us = m->running_us,
        .stuck = m->stuck,
    };
    return pb_check_name(out->redis, true, "redis", err);
}

enum status session_heartbeat_decode(struct view body, struct arena *arena,
                                     struct wire_heartbeat *out, struct err *err) {
    Ember__Heartbeat *m;
    enum status st =
        pb_unpack(&ember__heartbeat__descriptor, body, NULL, 0, arena, (void **)&m, err);
    return st == STATUS_OK ? pb_read_heartbeat(m, out, err) : st;
}
