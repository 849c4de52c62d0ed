/* brokers.c - what goes over each connection, and when.
 *
 * A connection that breaks is told by libzmq's monitor, as is one that stands again. Without it a
 * broker that was restarted would be greeted only when our next heartbeat had met WHO_ARE_YOU: half
 * a second in which it has no worker.
 *
 * The credit window is absolute and in every header we send (shares.h). When a broker's demand
 * changes, those whose window is far off are sent a heartbeat at once, at most one each NEWS_US. */
#include "brokers.h"

#include "base/check.h"
#include "base/hash.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    BAD_LOG_US = 10 * 1000 * 1000, /* of what a broker says wrong */
    NEWS_LOG_US = 40 * 1000, /* less than redialling takes: only a broker that plays loses lines */
    NEWS_US = 20 * 1000,
    REDIAL_US = 500 * 1000,
};

/* ---------------------------------------------------------------- sending */

static bool send_frame(struct brokers *self, uint32_t i, struct header *header, struct view body) {
    struct broker *broker = &self->broker[i];
    zmq_msg_t msg;
    if (!frame_body(&msg, body)) { /* no memory */
        if (header->type != WIRE_RESULT)
            return false;
        if (header->status == STATUS_OK)
            header->type = WIRE_NACK; /* another worker may have some */
    }
    header->epoch = broker->upstream.epoch;
    header->credit = self->draining ? 0 : shares_window(&self->shares, i);
    return frame_send_dealer(broker->socket, header, &msg) == FRAME_OK;
}

void brokers_reply(struct brokers *self, const struct serve_reply *reply) {
    const struct serve_origin *origin = &reply->origin;
    struct header header = {.type = reply->nack ? WIRE_NACK : WIRE_RESULT,
                            .status = (uint8_t)reply->status,
                            .id = origin->ticket,
                            .service = origin->service,
                            .budget_us = reply->work_us};
    shares_release(&self->shares, origin->broker, origin->cost);
    if (!send_frame(self, origin->broker, &header, reply->body))
        self->results_lost++; /* its broker is gone, and the client asks again elsewhere */
}

/* False when there is no connection. */
static bool send_ready(struct brokers *self, uint32_t i) {
    struct wire_model models[LIMIT_MODELS];
    for (uint32_t m = 0; m < self->cfg.models->n; m++) {
        const struct model *model = &self->cfg.models->model[m];
        models[m] = (struct wire_model){.name = view_of(model->name),
                                        .fingerprint = view_of(model->info->fingerprint),
                                        .precision = view_of(model->info->precision),
                                        .kernel = view_of(model->info->kernel),
                                        .dim = model->info->dim,
                                        .max_tokens = model->info->max_tokens,
                                        .tasks = model->tasks,
                                        .head = models_head(model->info),
                                        .labels = model->info->n_labels};
    }
    const struct settings *settings = self->cfg.settings;
    struct wire_ready ready = {.protocol_min = WIRE_PROTOCOL,
                               .protocol_max = WIRE_PROTOCOL,
                               .uuid = self->uuid,
                               .name = view_of(settings->name),
                               .host = view_of(self->host),
                               .version = view_of(EMBER_VERSION),
                               .tier = view_of(settings_tier(settings)),
                               .hourly_cost = settings->hourly_cost,
                               .threads = settings->threads,
                               .pid = (uint32_t)getpid(),
                               .models = models,
                               .n_models = self->cfg.models->n};
    if (session_ready_encode(&ready, &self->out) != STATUS_OK)
        return true; /* no memory: the next greeting may have some */
    struct header header = {.type = WIRE_READY};
    return send_frame(self, i, &header, wire_out_view(&self->out));
}

static void send_heartbeat(struct brokers *self, uint32_t i) {
    struct wire_heartbeat beat = {0};
    self->cfg.beat(self->cfg.beat_arg, &beat);
    self->broker[i].beat_us = self->now_us;
    if (session_heartbeat_encode(&beat, &self->out) != STATUS_OK)
        return;
    struct header header = {.type = WIRE_HEARTBEAT};
    send_frame(self, i, &header, wire_out_view(&self->out));
}

static void send_plain(struct brokers *self, uint32_t i, uint8_t type, uint64_t id) {
    struct header header = {.type = type, .id = id};
    send_frame(self, i, &header, view_make(NULL, 0));
}

/* ---------------------------------------------------------------- receiving */

static int model_index(void *arg, struct view name) {
    const struct models *models = ((struct brokers *)arg)->cfg.models;
    for (uint32_t i = 0; i < models->n; i++)
        if (view_equal(view_of(models->model[i].name), name))
            return (int)i;
    return -1;
}

/* READY_OK with a status is none: the broker has no room, or speaks another protocol. The greeting
 * goes on, so this may come four times a second. */
static void on_refused(struct brokers *self, struct broker *broker, uint8_t code,
                       struct view body) {
    struct wire_error told = {0};
    enum status status;
    uint32_t held;
    char quoted[ERR_TEXT_MAX];
    struct err why = {.status = STATUS_OK};
    if (!log_allow(&broker->bad, self->now_us, BAD_LOG_US, &held))
        return;
    if (!status_from_code(code, &status))
        status = STATUS_INTERNAL;
    if (codec_error_decode(body, &self->arena, &told, &why) == STATUS_OK)
        err_set(&why, status, "%.*s", (int)told.message.bytes,
                told.message.bytes ? told.message.data : "");
    log_warn("broker-refused", "broker=%s status=%s msg=%s more=%u", broker->endpoint,
             status_name(status), log_quoted(why.text, quoted, sizeof quoted), held);
}

/* What broker i dispatched means nothing to it any more. */
static void forget(struct brokers *self, uint32_t i) {
    serve_forget(self->cfg.serve, i);
    shares_forget(&self->shares, i);
}

static void on_ready_ok(struct brokers *self, uint32_t i, const struct header *header,
                        struct view body) {
    struct broker *broker = &self->broker[i];
    struct wire_ready_ok ok;
    struct err err;
    uint32_t held;
    arena_reset(&self->arena);
    if (header->status != 0) {
        on_refused(self, broker, header->status, body);
        return;
    }
    if (session_ready_ok_decode(body, &self->arena, &ok, &err) != STATUS_OK) {
        if (log_allow(&broker->bad, self->now_us, BAD_LOG_US, &held))
            log_warn("broker-bad-ready-ok", "broker=%s msg=\"%s\" more=%u", broker->endpoint,
                     err.text, held);
        return;
    }
    bool was_live = upstream_live(&broker->upstream);
    if (upstream_ready_ok(&broker->upstream, &ok, model_index, self, self->now_us))
        forget(self, i);
    if (was_live || !upstream_live(&broker->upstream))
        return;
    shares_join(&self->shares, i, header->credit);
    if (log_allow(&broker->news, self->now_us, NEWS_LOG_US, &held))
        log_info("broker-serving", "broker=%s services=%u credit=%u more=%u", broker->endpoint,
                 broker->upstream.n_services, shares_target(&self->shares, i), held);
}

static void refuse(struct brokers *self, uint32_t i, const struct header *header) {
    struct header answer = {.type = WIRE_NACK, .id = header->id, .service = header->service};
    send_frame(self, i, &answer, view_make(NULL, 0));
}

static void on_dispatch(struct brokers *self, uint32_t i, const struct header *header,
                        struct view body) {
    struct broker *broker = &self->broker[i];
    if (header->epoch != broker->upstream.epoch)
        return; /* of a former broker: its ticket means nothing now */
    const struct upstream_service *service = upstream_service(&broker->upstream, header->service);
    uint32_t cost = shares_cost(body.bytes), held;
    if (!service) {
        refuse(self, i, header);
        return;
    }
    if (serve_has(self->cfg.serve, i, header->id)) { /* its one answer is on the way */
        self->refused++;
        if (log_allow(&broker->bad, self->now_us, BAD_LOG_US, &held))
            log_warn("broker-repeats-ticket", "broker=%s more=%u", broker->endpoint, held);
        return;
    }
    if (!shares_fits(&self->shares, i, cost)) {
        self->refused++;
        if (log_allow(&broker->bad, self->now_us, BAD_LOG_US, &held))
            log_warn("broker-beyond-window", "broker=%s cost=%u held=%llu credit=%u more=%u",
                     broker->endpoint, cost, (unsigned long long)self->shares.share[i].held,
                     self->shares.credit, held);
        refuse(self, i, header);
        return;
    }
    struct serve_origin origin = {
        .ticket = header->id, .broker = i, .cost = cost, .service = header->service};
    shares_hold(&self->shares, i, cost);
    serve_dispatch(self->cfg.serve, &origin, service->model, (enum wire_task)service->task,
                   header->lane, header->budget_us, body);
}

static void on_frame(struct brokers *self, uint32_t i, const struct header *header,
                     struct view body) {
    struct broker *broker = &self->broker[i];
    upstream_heard(&broker->upstream, self->now_us);
    switch (header->type) {
    case WIRE_DISPATCH:
        on_dispatch(self, i, header, body);
        break;
    case WIRE_CANCEL:
        if (header->epoch == broker->upstream.epoch)
            serve_cancel(self->cfg.serve, i, header->id);
        break;
    case WIRE_READY_OK:
        on_ready_ok(self, i, header, body);
        break;
    case WIRE_WHO_ARE_YOU:
        upstream_who_are_you(&broker->upstream, self->now_us);
        break;
    case WIRE_PING:
        send_plain(self, i, WIRE_PONG, header->id);
        break;
    case WIRE_PONG:
        if (header->epoch == broker->upstream.epoch)
            shares_demand(&self->shares, i, header->credit);
        break;
    case WIRE_BYE_OK:
        upstream_bye_ok(&broker->upstream);
        break;
    default: /* not for workers */
        break;
    }
}

static void drain_socket(struct brokers *self, uint32_t i) {
    struct broker *broker = &self->broker[i];
    for (uint32_t n = 0; n < LIMIT_DRAIN; n++) {
        struct header header;
        enum header_verdict verdict;
        zmq_msg_t body;
        enum frame_result got =
            frame_recv_dealer(broker->socket, &broker->in_a_row, &header, &body, &verdict);
        if (got == FRAME_NONE || got == FRAME_GONE)
            return;
        if (got == FRAME_BAD) {
            uint32_t held;
            if (log_allow(&broker->bad, self->now_us, BAD_LOG_US, &held))
                log_warn("broker-bad-frame", "broker=%s why=%s more=%u", broker->endpoint,
                         header_verdict_name(verdict), held);
            continue;
        }
        on_frame(self, i, &header, frame_view(&body));
        zmq_msg_close(&body);
    }
}

static void read_monitor(struct brokers *self, uint32_t i) {
    struct broker *broker = &self->broker[i];
    enum monitor_event event;
    while ((event = monitor_next(broker->monitor, self->has_keys)) != MONITOR_NOTHING) {
        bool was_live = upstream_live(&broker->upstream);
        uint32_t held;
        if (event == MONITOR_UP)
            upstream_connected(&broker->upstream, self->now_us);
        else if (event == MONITOR_DOWN)
            upstream_cut(&broker->upstream, self->now_us);
        else if (event != MONITOR_REFUSED) {
            broker->redial_us = self->now_us + REDIAL_US;
            if (log_allow(&broker->keys, self->now_us, BAD_LOG_US, &held))
                log_warn("broker-handshake", "broker=%s msg=\"%s\" more=%u", broker->endpoint,
                         monitor_why(event, self->has_keys), held);
        }
        if (was_live && !upstream_live(&broker->upstream))
            log_warn("broker-disconnected", "broker=%s", broker->endpoint);
    }
}

uint32_t brokers_poll(const struct brokers *self, zmq_pollitem_t *items) {
    for (uint32_t i = 0; i < self->n; i++) {
        items[2 * i] = (zmq_pollitem_t){.socket = self->broker[i].socket, .events = ZMQ_POLLIN};
        items[2 * i + 1] = (zmq_pollitem_t){.fd = self->broker[i].monitor_fd, .events = ZMQ_POLLIN};
    }
    return 2 * self->n;
}

void brokers_read(struct brokers *self, const zmq_pollitem_t *items, uint64_t now_us) {
    self->now_us = now_us;
    for (uint32_t i = 0; i < self->n; i++) {
        /* What came before the connection broke is older than the news of it. */
        if (items[2 * i].revents & ZMQ_POLLIN)
            drain_socket(self, i);
        if (items[2 * i + 1].revents & ZMQ_POLLIN)
            read_monitor(self, i);
    }
}

/* ---------------------------------------------------------------- time */

/* libzmq gives up a connection whose handshake failed; the broker's keys may change. */
static void redial(struct brokers *self, struct broker *broker) {
    if (!broker->redial_us || self->now_us < broker->redial_us)
        return;
    broker->redial_us = 0;
    zmq_disconnect(broker->socket, broker->endpoint);
    if (zmq_connect(broker->socket, broker->endpoint) != 0)
        broker->redial_us = self->now_us + REDIAL_US;
}

static void tick_one(struct brokers *self, uint32_t i, bool idle) {
    struct broker *broker = &self->broker[i];
    redial(self, broker);
    struct upstream *upstream = &broker->upstream;
    bool lost;
    uint8_t type;
    while ((type = upstream_tick(upstream, self->now_us, self->draining, idle, &lost))) {
        if (lost)
            log_warn("broker-silent", "broker=%s silence_ms=%llu", broker->endpoint,
                     (unsigned long long)(upstream->silence_us / 1000));
        if (type == WIRE_READY && !send_ready(self, i))
            upstream_unsent(upstream, self->now_us);
        else if (type == WIRE_READY)
            continue;
        else if (type == WIRE_HEARTBEAT)
            send_heartbeat(self, i);
        else
            send_plain(self, i, type, 0);
    }
}

void brokers_tick(struct brokers *self, bool idle, uint64_t now_us) {
    self->now_us = now_us;
    for (uint32_t i = 0; i < self->n; i++) {
        tick_one(self, i, idle);
        if (self->shares.share[i].live && !upstream_live(&self->broker[i].upstream))
            shares_lost(&self->shares, i);
    }
    /* After all of them: who gives room is told first, who gets it in the next round. */
    for (uint32_t i = 0; i < self->n && !self->draining; i++)
        if (shares_news(&self->shares, i))
            upstream_beat(&self->broker[i].upstream, self->broker[i].beat_us + NEWS_US);
}

uint64_t brokers_deadline_us(const struct brokers *self) {
    uint64_t best = UINT64_MAX;
    for (uint32_t i = 0; i < self->n; i++) {
        uint64_t due = upstream_deadline_us(&self->broker[i].upstream);
        uint64_t redial_us = self->broker[i].redial_us;
        best = due < best ? due : best;
        best = redial_us && redial_us < best ? redial_us : best;
    }
    return best;
}

void brokers_drain(struct brokers *self) {
    self->draining = true;
}

void brokers_beat(struct brokers *self) {
    for (uint32_t i = 0; i < self->n; i++)
        upstream_beat(&self->broker[i].upstream, 0);
}

void brokers_credit(struct brokers *self, uint32_t credit) {
    shares_credit(&self->shares, credit);
    brokers_beat(self);
}

uint32_t brokers_held(const struct brokers *self) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < self->n; i++)
        sum += self->shares.share[i].held;
    return (uint32_t)sum;
}

uint32_t brokers_live(const struct brokers *self) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < self->n; i++)
        n += upstream_live(&self->broker[i].upstream);
    return n;
}

bool brokers_gone(const struct brokers *self) {
    for (uint32_t i = 0; i < self->n; i++)
        if (self->broker[i].upstream.state != UPSTREAM_GONE)
            return false;
    return true;
}

/* ---------------------------------------------------------------- life */

static bool open_monitor(struct brokers *self, uint32_t i) {
    struct broker *broker = &self->broker[i];
    char name[32];
    snprintf(name, sizeof name, "inproc://broker-%u", i);
    broker->monitor = monitor_open(self->context, broker->socket, name, &broker->monitor_fd);
    return broker->monitor != NULL;
}

static enum status read_keys(struct brokers *self, struct frame_curve *out, struct err *err) {
    const struct settings *settings = self->cfg.settings;
    self->has_keys = settings->curve_key[0] != '\0';
    return self->has_keys ? keypair_load(settings->curve_key, settings->curve_server_key,
                                         CERT_WORKER, out, err)
                          : STATUS_OK;
}

static enum status connect_one(struct brokers *self, uint32_t i, const struct frame_curve *keys,
                               uint64_t now_us, struct err *err) {
    const struct settings *settings = self->cfg.settings;
    struct broker *broker = &self->broker[i];
    broker->endpoint = settings->brokers.item[i];
    broker->socket = frame_socket(self->context, FRAME_WORKER, 2 * (int)settings->credit + 64,
                                  self->has_keys ? keys : NULL, err);
    if (!broker->socket)
        return STATUS_RESOURCE_EXHAUSTED;
    self->n++;
    if (!open_monitor(self, i))
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "watch a socket: %s",
                       zmq_strerror(zmq_errno()));
    if (zmq_connect(broker->socket, broker->endpoint) != 0)
        return err_set(err, STATUS_INVALID_ARGUMENT, "broker: cannot connect to '%s': %s",
                       broker->endpoint, zmq_strerror(zmq_errno()));
    upstream_init(&broker->upstream, now_us);
    return STATUS_OK;
}

enum status brokers_init(struct brokers *self, const struct brokers_cfg *cfg, uint64_t now_us,
                         struct err *err) {
    memset(self, 0, sizeof *self);
    self->cfg = *cfg;
    self->now_us = now_us;
    self->uuid = hash_entropy64();
    if (gethostname(self->host, sizeof self->host - 1) != 0 ||
        !models_name_ok(self->host, strlen(self->host)))
        snprintf(self->host, sizeof self->host, "unknown");
    shares_init(&self->shares, cfg->settings->credit, cfg->settings->threads,
                cfg->settings->brokers.n);
    if (!arena_init(&self->arena, codec_arena_bytes(LIMIT_REQUEST_BYTES)))
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    self->context = frame_context();
    if (!self->context)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for sockets");
    struct frame_curve keys;
    enum status st = read_keys(self, &keys, err);
    for (uint32_t i = 0; i < cfg->settings->brokers.n && st == STATUS_OK; i++)
        st = connect_one(self, i, &keys, now_us, err);
    explicit_bzero(&keys, sizeof keys);
    return st;
}

void brokers_done(struct brokers *self) {
    for (uint32_t i = 0; i < self->n; i++) {
        zmq_socket_monitor(self->broker[i].socket, NULL, 0);
        if (self->broker[i].monitor)
            zmq_close(self->broker[i].monitor);
        zmq_close(self->broker[i].socket);
    }
    if (self->context)
        zmq_ctx_term(self->context); /* waits for what was sent, at most LINGER */
    arena_done(&self->arena);
    wire_out_done(&self->out);
    memset(self, 0, sizeof *self);
}
