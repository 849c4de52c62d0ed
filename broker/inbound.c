/* inbound.c - what comes in: greetings, requests and results, each handed to the core. */
#include "loop_state.h"

#include "base/hash.h"
#include "overview.h"

enum {
    STRIKES_MAX = 3,         /* malformed messages until a session is ended */
    OVERVIEW_US = 50 * 1000, /* a status report is this old at most */
    RETRY_LATER_MS = 500,
};

/* ---------------------------------------------------------------- sessions */

static void on_hello(loop_t *self, const struct frame_peer *from, uint32_t client,
                     const struct header *header, zmq_msg_t *body) {
    struct wire_hello hello;
    struct err err = {.status = STATUS_OK};
    bool is_new = client == CORE_NONE;
    struct core_who who = {0};
    err.status = gate_client(&self->gate, client, frame_user(body), &who, &err);
    if (err.status == STATUS_OK)
        err.status = greet_read_hello(&self->greet, frame_view(body), &hello, &err);
    if (err.status == STATUS_OK) {
        who.sticky = who.sticky ? who.sticky : hello.client;
        err.status = core_hello(self->core, &client, header->epoch, hash_entropy64(), &who,
                                self->now_us, &err);
    }
    if (err.status == STATUS_UNAVAILABLE) {
        struct header goaway = {.type = WIRE_GOAWAY, .epoch = header->epoch};
        outbound_bytes(self->front, from, &goaway, greet_goaway(&self->greet, err.text));
        return;
    }
    if (err.status != STATUS_OK) {
        outbound_refuse(self, self->front, from, WIRE_WELCOME, header, &err);
        return;
    }
    gate_seat(&self->gate, GATE_CLIENTS, client);
    if (is_new) {
        peers_bind(&self->clients, from, client);
        unread_start(&self->unread, client);
    }
    struct header welcome = {
        .type = WIRE_WELCOME, .id = header->id, .epoch = core_session(self->core, client)};
    struct view out = greet_welcome(&self->greet, self->core, client, &hello, self->now_us);
    if (outbound_client(self, client, &welcome, out) == CORE_GONE)
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
                     const struct header *header, zmq_msg_t *body) {
    struct wire_ready ready;
    struct err err = {.status = STATUS_OK};
    err.status = gate_worker(&self->gate, worker, frame_user(body), &err);
    if (err.status == STATUS_OK)
        err.status = greet_read_ready(&self->greet, frame_view(body), &ready, &err);
    if (err.status != STATUS_OK) {
        outbound_refuse(self, self->back, from, WIRE_READY_OK, header, &err);
        return;
    }
    uint64_t uuid = worker == CORE_NONE ? 0 : core_fleet(self->core)->workers[worker].uuid;
    bool again = worker != CORE_NONE && uuid == ready.uuid;
    err.status = core_ready(self->core, &worker, &ready, header->credit, self->now_us, &err);
    if (err.status != STATUS_OK) {
        outbound_refuse(self, self->back, from, WIRE_READY_OK, header, &err);
        return;
    }
    gate_seat(&self->gate, GATE_WORKERS, worker);
    if (peers_find(&self->workers, from) == PEERS_NONE) { /* new, or the older one was retired */
        peers_bind(&self->workers, from, worker);
        again = false;
    }
    if (!again)
        log_ready(self, worker, header->credit);
    struct header ok = {.type = WIRE_READY_OK,
                        .credit = core_demand(self->core, worker),
                        .id = header->id,
                        .epoch = core_cfg(self->core)->id};
    struct view out = greet_ready_ok(&self->greet, self->core, worker);
    if (outbound_bytes(self->back, from, &ok, out) == CORE_GONE)
        core_worker_lost(self->core, worker, "disconnected", self->now_us);
}

/* Whose key was taken out of the directory is told so, and has no session any more. */
void inbound_end_revoked(loop_t *self) {
    static const char why[] = "its key is not admitted any more";
    struct err err = {.status = STATUS_UNAUTHENTICATED, .text = "this key is not admitted"};
    uint32_t n = 0;
    for (uint32_t i = 0; (i = gate_revoked(&self->gate, GATE_CLIENTS, i)) != GATE_NONE; i++, n++) {
        struct header asked = {.epoch = core_session(self->core, i)};
        outbound_refuse(self, self->front, &self->clients.ids[i], WIRE_WELCOME, &asked, &err);
        core_client_lost(self->core, i, why, self->now_us);
    }
    for (uint32_t i = 0; (i = gate_revoked(&self->gate, GATE_WORKERS, i)) != GATE_NONE; i++, n++) {
        struct header asked = {.epoch = core_cfg(self->core)->id};
        outbound_refuse(self, self->back, &self->workers.ids[i], WIRE_READY_OK, &asked, &err);
        core_worker_lost(self->core, i, why, self->now_us);
    }
    if (n)
        log_warn("sessions-revoked", "sessions=%u", n);
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

static void deny_status(loop_t *self, uint32_t client, const struct header *header,
                        const struct err *err) {
    struct header reply = {.type = WIRE_REPLY,
                           .status = (uint8_t)err->status,
                           .id = header->id,
                           .epoch = header->epoch};
    struct core_error error = {.text = err->text};
    if (outbound_client(self, client, &reply, greet_error(&self->greet, &error)) == CORE_GONE)
        core_client_lost(self->core, client, "disconnected", self->now_us);
}

static void answer_status(loop_t *self, uint32_t client, const struct header *header) {
    struct err err;
    if (gate_status(&self->gate, client, &err) != STATUS_OK) {
        deny_status(self, client, header, &err);
        return;
    }
    bool fresh = self->overview.bytes && self->now_us - self->overview_us < OVERVIEW_US;
    enum status status = STATUS_OK;
    if (!fresh) {
        const struct figures_frames *frames = &self->frames;
        struct overview about = {.broker_name = self->cfg.name,
                                 .started_us = self->started_us,
                                 .known = frames->has_load,
                                 .desired = frames->desired,
                                 .load = frames->load,
                                 .cost = frames->cost};
        status = overview_encode(self->core, &about, self->now_us, &self->overview);
    }
    if (status == STATUS_OK)
        self->overview_us = fresh ? self->overview_us : self->now_us;
    else
        self->overview.bytes = 0;
    struct header reply = {
        .type = WIRE_REPLY, .status = (uint8_t)status, .id = header->id, .epoch = header->epoch};
    if (outbound_client(self, client, &reply, wire_out_view(&self->overview)) == CORE_GONE)
        core_client_lost(self->core, client, "disconnected", self->now_us);
}

static void on_request(loop_t *self, uint32_t client, const struct header *header,
                       zmq_msg_t *body) {
    if (self->short_of_memory) {
        core_refuse(self->core, client, header, CORE_REASON_MEMORY, RETRY_LATER_MS,
                    "this broker is short of memory", self->now_us);
        return;
    }
    if (unread_is_behind(&self->unread, client)) {
        core_refuse(self->core, client, header, CORE_REASON_UNREAD, RETRY_LATER_MS,
                    "this client has many replies to read", self->now_us);
        return;
    }
    uint32_t slot = core_request(self->core, client, header, frame_view(body), self->now_us);
    if (slot != CORE_NONE)
        zmq_msg_move(&self->bodies[slot], body);
}

static void on_client_frame(loop_t *self, const struct frame_peer *from,
                            const struct header *header, zmq_msg_t *body) {
    uint32_t client = peers_find(&self->clients, from);
    if (header->type == WIRE_PONG && client != PEERS_NONE) /* of this session or the one before */
        unread_answer(&self->unread, client, header->id);
    if (header->type == WIRE_HELLO) {
        if (client != PEERS_NONE || !outbound_banned(self, from))
            on_hello(self, from, client, header, body);
    } else if (client == PEERS_NONE) {
        stranger(self, self->front, from, header);
    } else if (!core_client_heard(self->core, client, header, self->now_us)) {
        return;
    } else if (header->type != WIRE_REQUEST) {
        core_client_frame(self->core, client, header, self->now_us);
    } else if (header->service == 0) {
        answer_status(self, client, header);
    } else {
        on_request(self, client, header, body);
    }
}

static void on_worker_frame(loop_t *self, const struct frame_peer *from,
                            const struct header *header, zmq_msg_t *body) {
    uint32_t worker = peers_find(&self->workers, from);
    if (header->type == WIRE_READY) {
        on_ready(self, from, worker, header, body);
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
void inbound_drain(loop_t *self, void *socket) {
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
