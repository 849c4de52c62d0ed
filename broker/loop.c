/* loop.c - carries frames between two ROUTER sockets and the core. See loop.h for the picture.
 *
 * One wake-up: signals, then what workers sent (it frees credit), then what clients sent, at most
 * LIMIT_DRAIN messages each, then deadlines, then one core_dispatch() that sees the whole burst.
 *
 * Bodies stay with their slot until the core drops it: a dispatch sends zmq_msg_copy(), which
 * counts a reference, so that a request whose worker dies is sent again without anybody having
 * copied it.
 *
 * A worker's death: libzmq tells that some connection closed (socket monitor), not whose. So all
 * workers are pinged every millisecond for SWEEP_US, or until one is found gone: mandatory sends to
 * a closed connection fail once the socket has seen it close. Without the monitor it would take
 * three beats. */
#include "loop.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/thread.h"
#include "figures.h"
#include "greet.h"
#include "overview.h"
#include "peers.h"
#include "wire/frame.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    SWEEP_US = 20 * 1000,
    SWEEP_EVERY_US = 1000,
    SWEEP_WORKER_US = 4,            /* workers share of the interval: a sweep of many is rarer */
    CLIENT_SWEEP_EVERY_US = 250000, /* clients come and go all the time */
    STRIKES_MAX = 3,                /* malformed messages until a session is ended */
    OVERVIEW_US = 50 * 1000,        /* a status report is this old at most */
    LOG_EVERY_US = 1000 * 1000,
    MONITORS_US = 100 * 1000, /* read at least this often */
    WORKER_SENDS = 65536,     /* messages queued for one worker: above any credit window */
};

struct loop {
    struct loop_cfg cfg;
    core_t *core;
    figures_t *figures;
    struct greet greet;
    struct wire_out overview;
    struct view advertise[CFG_LIST_MAX];
    void *context, *front, *back, *front_monitor, *back_monitor;
    struct peers clients, workers;
    zmq_msg_t *bodies;   /* [core.max_tickets], always initialised */
    zmq_msg_t *incoming; /* body of the RESULT being handled, NULL once it is sent */
    int front_monitor_fd, back_monitor_fd;
    uint64_t monitors_us;
    uint64_t now_us, started_us, publish_us, overview_us;
    uint64_t sweep_until_us, sweep_next_us, client_sweep_us, client_swept_us;
    uint32_t lost_connections; /* of workers, that no sweep has found yet */
    struct figures_frames frames;
    struct log_limit log_malformed, log_refused;
    _Atomic int stops; /* signals and calls of loop_stop() */
    bool aborted;
    char clients_endpoint[256], workers_endpoint[256];
};

/* ---------------------------------------------------------------- what the core wants done */

static enum core_sent sent(enum frame_result result) {
    return result == FRAME_OK ? CORE_SENT : result == FRAME_NONE ? CORE_FULL : CORE_GONE;
}

static enum core_sent op_to_worker(void *arg, uint32_t worker, const struct header *header,
                                   uint32_t slot) {
    loop_t *self = arg;
    if (slot == CORE_NONE)
        return sent(frame_send_router(self->back, &self->workers.ids[worker], header, NULL));
    zmq_msg_t body;
    zmq_msg_init(&body);
    zmq_msg_copy(&body, &self->bodies[slot]);
    return sent(frame_send_router(self->back, &self->workers.ids[worker], header, &body));
}

/* Sends a copy of `bytes` behind the header. */
static enum core_sent send_bytes(void *socket, const struct frame_peer *to,
                                 const struct header *header, struct view bytes) {
    zmq_msg_t body;
    frame_body(&body, bytes); /* without memory: an empty body, the status still tells */
    return sent(frame_send_router(socket, to, header, &body));
}

static enum core_sent op_to_client(void *arg, uint32_t client, const struct header *header,
                                   const struct core_error *error) {
    loop_t *self = arg;
    const struct frame_peer *to = &self->clients.ids[client];
    if (header->type == WIRE_GOAWAY)
        return send_bytes(self->front, to, header, greet_goaway(&self->greet, "stopping"));
    if (error)
        return send_bytes(self->front, to, header, greet_error(&self->greet, error));
    return sent(frame_send_router(self->front, to, header, NULL));
}

static enum core_sent op_forward(void *arg, uint32_t client, const struct header *header) {
    loop_t *self = arg;
    CHECK(self->incoming);
    zmq_msg_t *body = self->incoming;
    self->incoming = NULL;
    return sent(frame_send_router(self->front, &self->clients.ids[client], header, body));
}

static struct view op_body(void *arg, uint32_t slot) {
    loop_t *self = arg;
    return frame_view(&self->bodies[slot]);
}

static void op_drop(void *arg, uint32_t slot) {
    loop_t *self = arg;
    zmq_msg_close(&self->bodies[slot]);
    zmq_msg_init(&self->bodies[slot]);
}

static void op_client_closed(void *arg, uint32_t client, const char *why) {
    loop_t *self = arg;
    peers_unbind(&self->clients, client);
    log_debug("client-closed", "client=%u why=\"%s\" clients=%u", client, why,
              core_clients(self->core) - 1);
}

static void op_worker_closed(void *arg, uint32_t worker, const char *why) {
    loop_t *self = arg;
    const struct fleet_worker *w = &core_fleet(self->core)->workers[worker];
    char host[2 * sizeof w->host + 3];
    peers_unbind(&self->workers, worker);
    if (self->lost_connections)
        self->lost_connections--;
    log_line(w->state == FLEET_DRAINING ? LOG_INFO : LOG_WARN, "worker-closed",
             "worker=%s host=%s why=\"%s\" dispatched=%llu workers=%u", w->name,
             log_quoted(w->host, host, sizeof host), why, (unsigned long long)w->dispatched,
             core_fleet(self->core)->n_workers - 1);
}

/* ---------------------------------------------------------------- sessions */

static void refuse(loop_t *self, void *socket, const struct frame_peer *to, uint8_t type,
                   const struct header *asked, const struct err *err) {
    struct header header = {
        .type = type, .status = (uint8_t)err->status, .id = asked->id, .epoch = asked->epoch};
    struct core_error error = {.text = err->text};
    send_bytes(socket, to, &header, greet_error(&self->greet, &error));
    uint32_t held;
    if (log_allow(&self->log_refused, self->now_us, LOG_EVERY_US, &held)) {
        char quoted[ERR_TEXT_MAX];
        log_warn("session-refused", "type=%s status=%s held=%u msg=%s", wire_type_name(type),
                 status_name(err->status), held, log_quoted(err->text, quoted, sizeof quoted));
    }
}

static void on_hello(loop_t *self, const struct frame_peer *from, uint32_t client,
                     const struct header *header, struct view body) {
    struct wire_hello hello;
    struct err err = {.status = STATUS_OK};
    bool is_new = client == CORE_NONE;
    err.status = greet_read_hello(&self->greet, body, &hello, &err);
    if (err.status == STATUS_OK) {
        struct core_who who = {.sticky = hello.client};
        err.status = core_hello(self->core, &client, header->epoch, hash_entropy64(), &who,
                                self->now_us, &err);
    }
    if (err.status == STATUS_UNAVAILABLE) {
        struct header goaway = {.type = WIRE_GOAWAY, .epoch = header->epoch};
        send_bytes(self->front, from, &goaway, greet_goaway(&self->greet, err.text));
        return;
    }
    if (err.status != STATUS_OK) {
        refuse(self, self->front, from, WIRE_WELCOME, header, &err);
        return;
    }
    if (is_new)
        peers_bind(&self->clients, from, client);
    struct header welcome = {
        .type = WIRE_WELCOME, .id = header->id, .epoch = core_session(self->core, client)};
    struct view out = greet_welcome(&self->greet, self->core, client, &hello, self->now_us);
    if (send_bytes(self->front, from, &welcome, out) == CORE_GONE)
        core_client_lost(self->core, client, "disconnected", self->now_us);
}

static void log_ready(const loop_t *self, uint32_t worker, uint16_t credit) {
    const struct fleet *fleet = core_fleet(self->core);
    const struct fleet_worker *w = &fleet->workers[worker];
    char host[2 * sizeof w->host + 3], version[2 * sizeof w->version + 3];
    log_info("worker-ready",
             "worker=%s host=%s version=%s threads=%u credit=%u models=%u first=%s workers=%u",
             w->name, log_quoted(w->host, host, sizeof host),
             log_quoted(w->version, version, sizeof version), w->threads, credit, w->n_models,
             w->n_models ? w->models[0].name : "", fleet->n_workers);
}

static void on_ready(loop_t *self, const struct frame_peer *from, uint32_t worker,
                     const struct header *header, struct view body) {
    struct wire_ready ready;
    struct err err = {.status = STATUS_OK};
    err.status = greet_read_ready(&self->greet, body, &ready, &err);
    if (err.status != STATUS_OK) {
        refuse(self, self->back, from, WIRE_READY_OK, header, &err);
        return;
    }
    uint64_t uuid = worker == CORE_NONE ? 0 : core_fleet(self->core)->workers[worker].uuid;
    bool again = worker != CORE_NONE && uuid == ready.uuid;
    err.status = core_ready(self->core, &worker, &ready, header->credit, self->now_us, &err);
    if (err.status != STATUS_OK) {
        refuse(self, self->back, from, WIRE_READY_OK, header, &err);
        return;
    }
    if (peers_find(&self->workers, from) == PEERS_NONE) { /* new, or the older one was retired */
        peers_bind(&self->workers, from, worker);
        again = false;
    }
    if (!again)
        log_ready(self, worker, header->credit);
    struct header ok = {.type = WIRE_READY_OK, .id = header->id, .epoch = core_cfg(self->core)->id};
    struct view out = greet_ready_ok(&self->greet, self->core, worker);
    if (send_bytes(self->back, from, &ok, out) == CORE_GONE)
        core_worker_lost(self->core, worker, "disconnected", self->now_us);
}

/* ---------------------------------------------------------------- frames */

static void stranger(loop_t *self, void *socket, const struct frame_peer *from,
                     const struct header *header) {
    self->frames.unknown_peers++;
    struct header who = {.type = WIRE_WHO_ARE_YOU, .id = header->id, .epoch = header->epoch};
    frame_send_router(socket, from, &who, NULL);
}

static void malformed(loop_t *self, struct peers *peers, const struct frame_peer *from,
                      enum header_verdict verdict) {
    self->frames.malformed++;
    bool is_worker = peers == &self->workers;
    uint32_t number = peers_find(peers, from), held;
    if (log_allow(&self->log_malformed, self->now_us, LOG_EVERY_US, &held))
        log_warn("malformed", "from=%s why=%s held=%u", is_worker ? "worker" : "client",
                 header_verdict_name(verdict), held);
    if (number == PEERS_NONE || ++peers->strikes[number] < STRIKES_MAX)
        return;
    if (is_worker)
        core_worker_lost(self->core, number, "malformed messages", self->now_us);
    else
        core_client_lost(self->core, number, "malformed messages", self->now_us);
}

static void answer_status(loop_t *self, uint32_t client, const struct header *header) {
    bool fresh = self->overview.bytes && self->now_us - self->overview_us < OVERVIEW_US;
    enum status status = STATUS_OK;
    if (!fresh)
        status = overview_encode(self->core, self->cfg.name, self->started_us, self->now_us,
                                 &self->overview);
    if (status == STATUS_OK)
        self->overview_us = fresh ? self->overview_us : self->now_us;
    else
        self->overview.bytes = 0;
    struct header reply = {
        .type = WIRE_REPLY, .status = (uint8_t)status, .id = header->id, .epoch = header->epoch};
    if (send_bytes(self->front, &self->clients.ids[client], &reply,
                   wire_out_view(&self->overview)) == CORE_GONE)
        core_client_lost(self->core, client, "disconnected", self->now_us);
}

static void on_client_frame(loop_t *self, const struct frame_peer *from,
                            const struct header *header, zmq_msg_t *body) {
    uint32_t client = peers_find(&self->clients, from);
    if (header->type == WIRE_HELLO) {
        on_hello(self, from, client, header, frame_view(body));
    } else if (client == PEERS_NONE) {
        stranger(self, self->front, from, header);
    } else if (!core_client_heard(self->core, client, header, self->now_us)) {
        return;
    } else if (header->type != WIRE_REQUEST) {
        core_client_frame(self->core, client, header, self->now_us);
    } else if (header->service == 0) {
        answer_status(self, client, header);
    } else {
        uint32_t slot = core_request(self->core, client, header, frame_view(body), self->now_us);
        if (slot != CORE_NONE)
            zmq_msg_move(&self->bodies[slot], body);
    }
}

static void on_worker_frame(loop_t *self, const struct frame_peer *from,
                            const struct header *header, zmq_msg_t *body) {
    uint32_t worker = peers_find(&self->workers, from);
    if (header->type == WIRE_READY) {
        on_ready(self, from, worker, header, frame_view(body));
        return;
    }
    if (worker == PEERS_NONE) {
        stranger(self, self->back, from, header);
        return;
    }
    if (!core_worker_heard(self->core, worker, header, self->now_us))
        return;
    if (header->type == WIRE_HEARTBEAT && zmq_msg_size(body)) {
        struct wire_heartbeat heartbeat;
        if (greet_read_heartbeat(&self->greet, frame_view(body), &heartbeat, NULL) == STATUS_OK)
            core_heartbeat(self->core, worker, &heartbeat);
    }
    self->incoming = body;
    core_worker_frame(self->core, worker, header, self->now_us);
    self->incoming = NULL;
}

/* Up to LIMIT_DRAIN messages of one socket. */
static void drain(loop_t *self, void *socket) {
    bool is_front = socket == self->front;
    for (int i = 0; i < LIMIT_DRAIN; i++) {
        struct frame_peer from;
        struct header header;
        zmq_msg_t body;
        enum header_verdict verdict;
        enum frame_result result = frame_recv_router(socket, &from, &header, &body, &verdict);
        if (result == FRAME_BAD) {
            malformed(self, is_front ? &self->clients : &self->workers, &from, verdict);
            continue;
        }
        if (result != FRAME_OK)
            return;
        if (is_front)
            on_client_frame(self, &from, &header, &body);
        else
            on_worker_frame(self, &from, &header, &body);
        zmq_msg_close(&body); /* empty when it was kept or sent */
    }
}

/* ---------------------------------------------------------------- disconnects */

/* How many DISCONNECTED events are waiting; that is all the monitor is asked for. */
static uint32_t read_monitor(void *monitor) {
    uint32_t n = 0;
    for (;;) {
        zmq_msg_t frame;
        zmq_msg_init(&frame);
        int got = zmq_msg_recv(&frame, monitor, ZMQ_DONTWAIT);
        bool more = got >= 0 && zmq_msg_more(&frame);
        zmq_msg_close(&frame);
        if (got < 0)
            return n;
        n += more; /* an event is two frames: numbers, then the address */
    }
}

static void sweep(loop_t *self) {
    uint64_t now = self->now_us;
    if (self->lost_connections && now >= self->sweep_next_us) {
        core_sweep_workers(self->core, now);
        uint64_t every = (uint64_t)core_fleet(self->core)->n_workers * SWEEP_WORKER_US;
        self->sweep_next_us = now + (every > SWEEP_EVERY_US ? every : SWEEP_EVERY_US);
        if (now >= self->sweep_until_us)
            self->lost_connections = 0; /* whoever it was, it had no session */
    }
    if (self->client_sweep_us && now >= self->client_sweep_us) {
        core_sweep_clients(self->core, now);
        self->client_sweep_us = 0;
        self->client_swept_us = now;
    }
}

static void on_disconnects(loop_t *self) {
    self->monitors_us = self->now_us + MONITORS_US;
    uint32_t lost = read_monitor(self->back_monitor);
    if (lost) {
        self->lost_connections += lost;
        self->sweep_until_us = self->now_us + SWEEP_US;
        self->sweep_next_us = self->now_us;
    }
    if (read_monitor(self->front_monitor) && !self->client_sweep_us) {
        uint64_t soon = self->now_us + SWEEP_US;
        uint64_t rare = self->client_swept_us + CLIENT_SWEEP_EVERY_US +
                        (uint64_t)core_clients(self->core) * SWEEP_WORKER_US * 50;
        self->client_sweep_us = soon > rare ? soon : rare;
    }
}

/* ---------------------------------------------------------------- running */

static void on_signals(loop_t *self, bool readable) {
    int number;
    while (readable && (number = thread_signal_read(self->cfg.signals_fd)))
        if (number != SIGHUP)
            atomic_fetch_add(&self->stops, 1);
        else if (self->cfg.on_hup)
            self->cfg.on_hup(self);
    int stops = atomic_load(&self->stops);
    if (stops && !core_draining(self->core)) {
        log_info("draining", "queued=%u in_flight=%u", core_queued(self->core),
                 core_in_flight(self->core));
        core_drain(self->core, self->now_us);
    }
    if (stops > 1) {
        log_warn("aborted", "queued=%u in_flight=%u", core_queued(self->core),
                 core_in_flight(self->core));
        self->aborted = true;
    }
}

static long poll_ms(const loop_t *self) {
    uint64_t next = core_next_us(self->core);
    if (self->figures && self->publish_us < next)
        next = self->publish_us;
    if (self->lost_connections && self->sweep_next_us < next)
        next = self->sweep_next_us;
    if (self->client_sweep_us && self->client_sweep_us < next)
        next = self->client_sweep_us;
    uint64_t now = clock_us();
    return next <= now ? 0 : (long)((next - now + 999) / 1000);
}

void loop_run(loop_t *self) {
    while (!self->aborted && !core_drained(self->core)) {
        zmq_pollitem_t items[] = {
            {self->back, 0, ZMQ_POLLIN, 0},
            {self->front, 0, ZMQ_POLLIN, 0},
            {NULL, self->back_monitor_fd, ZMQ_POLLIN, 0},
            {NULL, self->front_monitor_fd, ZMQ_POLLIN, 0},
            {NULL, self->cfg.signals_fd, ZMQ_POLLIN, 0},
        };
        int n = self->cfg.signals_fd >= 0 ? 5 : 4;
        if (zmq_poll(items, n, poll_ms(self)) < 0 && errno != EINTR)
            break;
        self->now_us = clock_us();
        on_signals(self, n == 5 && items[4].revents);
        if (items[2].revents || items[3].revents || self->now_us >= self->monitors_us)
            on_disconnects(self);
        if (items[0].revents)
            drain(self, self->back);
        if (items[1].revents)
            drain(self, self->front);
        sweep(self);
        core_tick(self->core, self->now_us);
        core_dispatch(self->core, self->now_us);
        if (self->figures && self->now_us >= self->publish_us) {
            figures_publish(self->figures, self->core, &self->frames, self->now_us);
            self->publish_us = self->now_us + FIGURES_PUBLISH_US;
        }
    }
}

void loop_set_routes(loop_t *self, const struct routes *routes) {
    core_set_routes(self->core, routes);
}

void loop_stop(loop_t *self) {
    atomic_fetch_add(&self->stops, 1); /* seen within a beat */
}

/* ---------------------------------------------------------------- start and end */

static enum status bind_all(void *socket, const struct cfg_list *endpoints, const char *side,
                            char *first, size_t first_bytes, struct err *err) {
    if (!endpoints->n)
        return err_set(err, STATUS_INVALID_ARGUMENT, "%s: no endpoint", side);
    for (uint32_t i = 0; i < endpoints->n; i++) {
        if (zmq_bind(socket, endpoints->item[i]) != 0)
            return err_set(err, STATUS_UNAVAILABLE, "%s: cannot bind '%s': %s", side,
                           endpoints->item[i], zmq_strerror(errno));
        if (i == 0)
            zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, first, &first_bytes);
    }
    return STATUS_OK;
}

/* A monitor is polled by its descriptor: as a socket it would cost two system calls a wake-up,
 * though nearly none has news. The descriptor is edge-triggered; read_monitor() reads until there
 * is nothing. */
static void *open_monitor(loop_t *self, void *socket, const char *endpoint, int *fd) {
    size_t fd_bytes = sizeof *fd;
    void *monitor = zmq_socket(self->context, ZMQ_PAIR);
    int zero = 0;
    if (monitor && zmq_setsockopt(monitor, ZMQ_LINGER, &zero, sizeof zero) == 0 &&
        zmq_socket_monitor(socket, endpoint, ZMQ_EVENT_DISCONNECTED) == 0 &&
        zmq_connect(monitor, endpoint) == 0 && zmq_getsockopt(monitor, ZMQ_FD, fd, &fd_bytes) == 0)
        return monitor;
    if (monitor)
        zmq_close(monitor);
    return NULL;
}

static enum status open_sockets(loop_t *self, struct err *err) {
    self->context = frame_context();
    if (!self->context)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no libzmq context");
    int per_client = 2 * (int)self->cfg.core.max_client_tickets;
    self->front = frame_socket(self->context, FRAME_CLIENT_SIDE, per_client, NULL, err);
    self->back = self->front
                     ? frame_socket(self->context, FRAME_WORKER_SIDE, WORKER_SENDS, NULL, err)
                     : NULL;
    if (!self->back)
        return STATUS_INTERNAL;
    self->front_monitor =
        open_monitor(self, self->front, "inproc://clients", &self->front_monitor_fd);
    self->back_monitor = open_monitor(self, self->back, "inproc://workers", &self->back_monitor_fd);
    if (!self->front_monitor || !self->back_monitor)
        return err_set(err, STATUS_INTERNAL, "watch a socket: %s", zmq_strerror(errno));
    enum status status = bind_all(self->front, &self->cfg.clients, "clients",
                                  self->clients_endpoint, sizeof self->clients_endpoint, err);
    if (status != STATUS_OK)
        return status;
    return bind_all(self->back, &self->cfg.workers, "workers", self->workers_endpoint,
                    sizeof self->workers_endpoint, err);
}

static enum status take_memory(loop_t *self, struct err *err) {
    const struct core_cfg *core = &self->cfg.core;
    self->bodies = calloc(core->max_tickets, sizeof *self->bodies);
    for (uint32_t i = 0; self->bodies && i < core->max_tickets; i++)
        zmq_msg_init(&self->bodies[i]);
    for (uint32_t i = 0; i < self->cfg.advertise.n; i++)
        self->advertise[i] = view_of(self->cfg.advertise.item[i]);
    struct greet_cfg greet = {
        .name = self->cfg.name, .advertise = self->advertise, .n_advertise = self->cfg.advertise.n};
    if (self->bodies && peers_init(&self->clients, core->max_clients, hash_entropy64()) &&
        peers_init(&self->workers, core->max_workers, hash_entropy64()) &&
        greet_init(&self->greet, &greet))
        return STATUS_OK;
    return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
}

static enum status start_core(loop_t *self, struct err *err) {
    struct core_ops ops = {.to_worker = op_to_worker,
                           .to_client = op_to_client,
                           .forward = op_forward,
                           .body = op_body,
                           .drop = op_drop,
                           .client_closed = op_client_closed,
                           .worker_closed = op_worker_closed,
                           .arg = self};
    self->cfg.core.id = hash_entropy64();
    self->cfg.core.seed = hash_entropy64();
    self->now_us = self->started_us = clock_us();
    enum status status = core_new(&self->cfg.core, &ops, self->now_us, &self->core, err);
    if (status == STATUS_OK)
        core_set_routes(self->core, &self->cfg.routes);
    return status;
}

enum status loop_new(const struct loop_cfg *cfg, loop_t **out, struct err *err) {
    loop_t *self = calloc(1, sizeof *self);
    if (!self)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    self->cfg = *cfg;
    bool http = cfg->http && cfg->http[0] && strcmp(cfg->http, "off") != 0;
    enum status status = take_memory(self, err);
    if (status == STATUS_OK)
        status = open_sockets(self, err);
    if (status == STATUS_OK)
        status = start_core(self, err);
    if (status == STATUS_OK && http)
        status = figures_start(cfg->http, self->core, self->now_us, &self->figures, err);
    if (status != STATUS_OK)
        loop_destroy(&self);
    else
        *out = self;
    return status;
}

static void close_socket(void *socket) {
    if (socket)
        zmq_close(socket);
}

void loop_destroy(loop_t **out) {
    loop_t *self = *out;
    *out = NULL;
    if (!self)
        return;
    figures_stop(&self->figures);
    core_destroy(&self->core);
    for (uint32_t i = 0; self->bodies && i < self->cfg.core.max_tickets; i++)
        zmq_msg_close(&self->bodies[i]);
    free(self->bodies);
    if (self->front)
        zmq_socket_monitor(self->front, NULL, 0);
    if (self->back)
        zmq_socket_monitor(self->back, NULL, 0);
    close_socket(self->front_monitor);
    close_socket(self->back_monitor);
    close_socket(self->front);
    close_socket(self->back);
    if (self->context)
        zmq_ctx_term(self->context); /* waits for LINGER, a second at most */
    greet_done(&self->greet);
    wire_out_done(&self->overview);
    peers_done(&self->clients);
    peers_done(&self->workers);
    free(self);
}

const char *loop_clients_endpoint(const loop_t *self) {
    return self->clients_endpoint;
}

const char *loop_workers_endpoint(const loop_t *self) {
    return self->workers_endpoint;
}

uint16_t loop_http_port(const loop_t *self) {
    return self->figures ? figures_port(self->figures) : 0;
}
