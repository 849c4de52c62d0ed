/* outbound.c - what goes out: sends that the core wants, and answers of the loop itself.
 *
 * Bodies stay with their slot until the core drops it: a dispatch sends zmq_msg_copy(), which
 * counts a reference, so that a request whose worker dies is sent again without anybody having
 * copied it. The body of a RESULT is sent likewise, to as many as wait for it. */
#include "loop_state.h"

#include "base/check.h"

#include <string.h>

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

/* Without memory for a body the status tells: an empty one would be read as an answer. */
static struct header with_body(const struct header *header, struct view bytes, zmq_msg_t *body) {
    struct header out = *header;
    if ((!frame_body(body, bytes) || !bytes.bytes) && out.status == STATUS_OK &&
        out.type != WIRE_GOAWAY)
        out.status = STATUS_RESOURCE_EXHAUSTED;
    return out;
}

enum core_sent outbound_bytes(void *socket, const struct frame_peer *to,
                              const struct header *header, struct view bytes) {
    zmq_msg_t body;
    struct header out = with_body(header, bytes, &body);
    return sent(frame_send_router(socket, to, &out, &body));
}

/* ---------------------------------------------------------------- to clients */

/* A client that does not read: its session ends, and its connection gets no other, since what
 * libzmq holds for it goes only when the connection does. */
static void give_up(loop_t *self, uint32_t client) {
    uint32_t held;
    self->banned[self->n_banned++ % BANNED_MAX] = self->clients.ids[client];
    self->frames.cut++;
    if (log_allow(&self->log_cut, self->now_us, LOG_EVERY_US, &held))
        log_warn("client-cut", "client=%u unread_bytes=%llu all_unread_bytes=%llu held=%u", client,
                 (unsigned long long)unread_bytes(&self->unread, client),
                 (unsigned long long)self->unread.total, held);
}

bool outbound_banned(const loop_t *self, const struct frame_peer *peer) {
    uint32_t n = self->n_banned < BANNED_MAX ? self->n_banned : BANNED_MAX;
    for (uint32_t i = 0; i < n; i++)
        if (memcmp(self->banned[i].id, peer->id, sizeof peer->id) == 0)
            return true;
    return false;
}

/* All that goes to a client with a session. The body is consumed. */
static enum core_sent to_client(loop_t *self, uint32_t client, const struct header *header,
                                zmq_msg_t *body) {
    const struct frame_peer *to = &self->clients.ids[client];
    if (!unread_send(&self->unread, client, body ? zmq_msg_size(body) : 0)) {
        if (body)
            zmq_msg_close(body);
        give_up(self, client);
        return CORE_GONE;
    }
    enum core_sent result = sent(frame_send_router(self->front, to, header, body));
    uint64_t question = result == CORE_SENT ? unread_question(&self->unread, client) : 0;
    if (question) {
        struct header ping = {.type = WIRE_PING, .id = question, .epoch = header->epoch};
        frame_send_router(self->front, to, &ping, NULL);
    }
    return result;
}

enum core_sent outbound_client(loop_t *self, uint32_t client, const struct header *header,
                               struct view bytes) {
    zmq_msg_t body;
    struct header out = with_body(header, bytes, &body);
    return to_client(self, client, &out, &body);
}

static enum core_sent op_to_client(void *arg, uint32_t client, const struct header *header,
                                   const struct core_error *error) {
    loop_t *self = arg;
    if (header->type == WIRE_GOAWAY)
        return outbound_client(self, client, header, greet_goaway(&self->greet, "stopping"));
    if (error)
        return outbound_client(self, client, header, greet_error(&self->greet, error));
    return to_client(self, client, header, NULL);
}

static enum core_sent op_forward(void *arg, uint32_t client, const struct header *header) {
    loop_t *self = arg;
    CHECK(self->incoming);
    zmq_msg_t body;
    zmq_msg_init(&body);
    zmq_msg_copy(&body, self->incoming);
    return to_client(self, client, header, &body);
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

/* ---------------------------------------------------------------- sessions that end */

static void op_client_closed(void *arg, uint32_t client, const char *why) {
    loop_t *self = arg;
    peers_unbind(&self->clients, client);
    unread_end(&self->unread, client);
    gate_leave(&self->gate, GATE_CLIENTS, client);
    log_debug("client-closed", "client=%u why=\"%s\" clients=%u", client, why,
              core_clients(self->core) - 1);
}

static void op_worker_closed(void *arg, uint32_t worker, const char *why) {
    loop_t *self = arg;
    const struct fleet_worker *w = &core_fleet(self->core)->workers[worker];
    char host[2 * sizeof w->host + 3];
    peers_unbind(&self->workers, worker);
    gate_leave(&self->gate, GATE_WORKERS, worker);
    if (self->lost_connections)
        self->lost_connections--;
    log_line(w->state == FLEET_DRAINING ? LOG_INFO : LOG_WARN, "worker-closed",
             "worker=%s host=%s why=\"%s\" dispatched=%llu workers=%u", w->name,
             log_quoted(w->host, host, sizeof host), why, (unsigned long long)w->dispatched,
             core_fleet(self->core)->n_workers - 1);
}

static void op_suspected(void *arg, uint32_t worker, const char *why) {
    loop_t *self = arg;
    const struct fleet_worker *w = &core_fleet(self->core)->workers[worker];
    char host[2 * sizeof w->host + 3];
    log_line(why ? LOG_WARN : LOG_INFO, why ? "worker-suspect" : "worker-trusted",
             "worker=%s host=%s why=\"%s\" in_flight=%u", w->name,
             log_quoted(w->host, host, sizeof host), why ? why : "it gets on",
             core_fleet(self->core)->loads[worker].n);
}

static void op_quarantined(void *arg, uint32_t slot, uint64_t hash) {
    loop_t *self = arg;
    log_warn("quarantined", "body=%016llx bytes=%zu why=\"workers died of it\"",
             (unsigned long long)hash, zmq_msg_size(&self->bodies[slot]));
}

/* What a request was about is in its worker's log, under the same number of the execution. */
static void op_slow(void *arg, const struct core_slow *slow) {
    loop_t *self = arg;
    uint32_t held;
    if (!log_allow(&self->log_slow, self->now_us, LOG_SLOW_US, &held))
        return;
    const struct fleet *fleet = core_fleet(self->core);
    const struct fleet_service *service = &fleet->services[slow->service];
    log_warn("slow-request",
             "client=%u session=%016llx id=%llu model=%s task=%s lane=%s status=%s attempts=%u "
             "worker=%s execution=%016llx waited_ms=%.1f worker_ms=%.1f total_ms=%.1f held=%u",
             slow->client, (unsigned long long)slow->session, (unsigned long long)slow->id,
             service->model[0] ? service->model : "-", wire_task_name(service->task),
             wire_lane_name(slow->lane), status_name(slow->status), slow->attempts,
             slow->worker == CORE_NONE ? "-" : fleet->workers[slow->worker].name,
             (unsigned long long)slow->execution, (double)slow->waited_us / 1e3,
             (double)(slow->total_us - slow->waited_us) / 1e3, (double)slow->total_us / 1e3, held);
}

void outbound_refuse(loop_t *self, void *socket, const struct frame_peer *to, uint8_t type,
                     const struct header *asked, const struct err *err) {
    struct header header = {
        .type = type, .status = (uint8_t)err->status, .id = asked->id, .epoch = asked->epoch};
    struct core_error error = {.text = err->text};
    outbound_bytes(socket, to, &header, greet_error(&self->greet, &error));
    uint32_t held;
    if (log_allow(&self->log_refused, self->now_us, LOG_EVERY_US, &held)) {
        char quoted[ERR_TEXT_MAX];
        log_warn("session-refused", "type=%s status=%s held=%u msg=%s", wire_type_name(type),
                 status_name(err->status), held, log_quoted(err->text, quoted, sizeof quoted));
    }
}

struct core_ops outbound_ops(loop_t *self) {
    return (struct core_ops){.to_worker = op_to_worker,
                             .to_client = op_to_client,
                             .forward = op_forward,
                             .body = op_body,
                             .drop = op_drop,
                             .client_closed = op_client_closed,
                             .worker_closed = op_worker_closed,
                             .suspected = op_suspected,
                             .quarantined = op_quarantined,
                             .slow = op_slow,
                             .arg = self};
}
