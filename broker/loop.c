/* loop.c - carries frames between two ROUTER sockets and the core. See loop.h for the picture.
 *
 * One wake-up: signals, then what workers sent (it frees credit), then what clients sent, at most
 * LIMIT_DRAIN messages each, then deadlines, then one core_dispatch() that sees the whole burst.
 *
 * A worker's death: libzmq tells that some connection closed (socket monitor), not whose. So all
 * workers are pinged every millisecond for SWEEP_US, or until one is found gone: mandatory sends to
 * a closed connection fail once the socket has seen it close. Without the monitor it would take
 * three beats. */
#include "loop_state.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/thread.h"
#include "wire/wait.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum {
    SWEEP_US = 20 * 1000,
    SWEEP_EVERY_US = 1000,
    SWEEP_WORKER_US = 4,            /* workers share of the interval: a sweep of many is rarer */
    CLIENT_SWEEP_EVERY_US = 250000, /* clients come and go all the time */
    MONITORS_US = 100 * 1000,       /* read at least this often */
    MEMORY_US = 250 * 1000,         /* between looks at it */
    TRIM_US = 10 * 1000 * 1000,
    MEMORY_HIGH = 90,
    MEMORY_LOW = 75,      /* percent of the limit */
    WORKER_SENDS = 65536, /* messages queued for one worker: above any credit window */
};

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

/* Above its limit a broker takes nothing new until it is well below again: what is there gets
 * answered, and the process lives. */
static void look_at_memory(loop_t *self) {
    if (self->now_us < self->memory_next_us)
        return;
    self->memory_next_us = self->now_us + MEMORY_US;
    uint64_t used = memory_used(&self->memory), limit = self->memory.limit;
    self->frames.memory_bytes = used;
    self->frames.memory_limit = limit;
    if (!limit)
        return;
    bool was_short = self->short_of_memory;
    self->short_of_memory = used > limit / 100 * (was_short ? MEMORY_LOW : MEMORY_HIGH);
    if (self->short_of_memory && self->now_us >= self->trim_next_us) {
        malloc_trim(0); /* what closed connections left stays with malloc otherwise */
        self->trim_next_us = self->now_us + TRIM_US;
    }
    if (self->short_of_memory != was_short)
        log_line(was_short ? LOG_INFO : LOG_ERROR, was_short ? "memory-fine" : "memory-short",
                 "used_mb=%.1f limit_mb=%.1f from=%s clients=%u", (double)used / 1e6,
                 (double)limit / 1e6, memory_source_name(self->memory.source),
                 core_clients(self->core));
}

/* What the workers have to do and what they cost. */
static void look_at_load(loop_t *self) {
    if (self->now_us < self->load_next_us)
        return;
    self->load_next_us = self->now_us + SCALE_EVERY_US;
    struct figures_frames *frames = &self->frames;
    const struct core_stats *stats = core_stats(self->core);
    frames->core_load = core_load(self->core);
    const struct core_load *load = &frames->core_load;
    struct scale_sample sample = {.live = load->live,
                                  .suspect = load->suspect,
                                  .runners = load->runners,
                                  .offered_us = load->offered_us,
                                  .waiting_us = load->waiting_us,
                                  .received = stats->received};
    frames->desired = scale_look(&self->scale, &sample, self->now_us);
    frames->load = self->scale.load;
    frames->has_load = self->scale.known;
    bill_look(&self->bill, core_hourly_cost(self->core), stats->replied[STATUS_OK], self->now_us);
    frames->cost = self->bill.spent;
    frames->has_cost_per_1000 = bill_per_1000(&self->bill, &frames->cost_per_1000);
}

static void publish(loop_t *self) {
    look_at_load(self);
    if (!self->figures || self->now_us < self->publish_us)
        return;
    self->frames.unread_bytes = self->unread.total;
    self->frames.has_keys = self->guard != NULL;
    if (self->guard)
        guard_counts(self->guard, &self->frames.keys);
    figures_publish(self->figures, self->core, &self->frames, self->now_us);
    self->publish_us = self->now_us + FIGURES_PUBLISH_US;
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
        if (wait_for(items, n, poll_ms(self)) < 0 && errno != EINTR)
            break;
        self->now_us = clock_us();
        on_signals(self, n == 5 && items[4].revents);
        if (items[2].revents || items[3].revents || self->now_us >= self->monitors_us)
            on_disconnects(self);
        if (items[0].revents)
            inbound_drain(self, self->back);
        if (items[1].revents)
            inbound_drain(self, self->front);
        sweep(self);
        if (gate_changed(&self->gate))
            inbound_end_revoked(self);
        look_at_memory(self);
        core_tick(self->core, self->now_us);
        core_dispatch(self->core, self->now_us);
        publish(self);
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

static void warn_of_open_ports(const struct cfg_list *endpoints) {
    char quoted[2 * CFG_TEXT_MAX];
    for (uint32_t i = 0; i < endpoints->n; i++)
        if (!guard_is_local(endpoints->item[i]))
            log_warn("open-port",
                     "endpoint=%s msg=\"no --curve-dir: whoever reaches it is served\"",
                     log_quoted(endpoints->item[i], quoted, sizeof quoted));
}

void loop_reload_keys(loop_t *self) {
    if (self->guard)
        guard_reload(self->guard);
}

static enum status open_sockets(loop_t *self, struct err *err) {
    self->context = frame_context();
    if (!self->context)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no libzmq context");
    const char *dir = self->cfg.curve_dir;
    enum status status =
        dir && dir[0] ? guard_start(self->context, dir, &self->guard, err) : STATUS_OK;
    if (status != STATUS_OK)
        return status;
    int per_client = 2 * (int)self->cfg.core.max_client_tickets;
    self->front = frame_socket(self->context, FRAME_CLIENT_SIDE, per_client,
                               self->guard ? guard_clients(self->guard) : NULL, err);
    self->back = self->front ? frame_socket(self->context, FRAME_WORKER_SIDE, WORKER_SENDS,
                                            self->guard ? guard_workers(self->guard) : NULL, err)
                             : NULL;
    if (self->guard)
        guard_forget_secret(self->guard);
    if (!self->back)
        return err ? err->status : STATUS_RESOURCE_EXHAUSTED;
    self->front_monitor =
        open_monitor(self, self->front, "inproc://clients", &self->front_monitor_fd);
    self->back_monitor = open_monitor(self, self->back, "inproc://workers", &self->back_monitor_fd);
    if (!self->front_monitor || !self->back_monitor)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "watch a socket: %s", zmq_strerror(errno));
    if (!self->guard) {
        warn_of_open_ports(&self->cfg.clients);
        warn_of_open_ports(&self->cfg.workers);
    }
    status = bind_all(self->front, &self->cfg.clients, "clients", self->clients_endpoint,
                      sizeof self->clients_endpoint, err);
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
    memory_init(&self->memory, self->cfg.memory_limit, "");
    if (self->bodies &&
        unread_init(&self->unread, core->max_clients, self->cfg.max_unread,
                    UNREAD_CLIENTS * self->cfg.max_unread, hash_entropy64()) &&
        peers_init(&self->clients, core->max_clients, hash_entropy64()) &&
        peers_init(&self->workers, core->max_workers, hash_entropy64()) &&
        greet_init(&self->greet, &greet))
        return STATUS_OK;
    return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
}

static bool is_wildcard(const char *endpoint) {
    return strstr(endpoint, "://*:") || strstr(endpoint, "://0.0.0.0:") ||
           strstr(endpoint, "://[::]:");
}

/* This one, and those it names; it may name itself, so that the list can be the same everywhere. A
 * broker that listens on every address does not know which name is its own, and takes it to be
 * among them: one broker too few makes the wishes of all too large, one too many too small. */
static uint32_t count_brokers(const struct loop_cfg *cfg) {
    bool itself = false;
    for (uint32_t i = 0; i < cfg->advertise.n; i++)
        for (uint32_t k = 0; k < cfg->clients.n; k++)
            itself |= strcmp(cfg->advertise.item[i], cfg->clients.item[k]) == 0 ||
                      is_wildcard(cfg->clients.item[k]);
    return cfg->advertise.n + !itself;
}

static enum status start_core(loop_t *self, struct err *err) {
    struct core_ops ops = outbound_ops(self);
    self->cfg.core.id = hash_entropy64();
    self->cfg.core.seed = hash_entropy64();
    self->now_us = self->started_us = clock_us();
    self->cfg.scale.brokers = count_brokers(&self->cfg);
    scale_init(&self->scale, &self->cfg.scale, self->now_us);
    bill_init(&self->bill, self->now_us);
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
    if (status == STATUS_OK &&
        !gate_init(&self->gate, self->guard, cfg->core.max_clients, cfg->core.max_workers))
        status = err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
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
    guard_stop(&self->guard); /* after the sockets that ask it, before their context ends */
    gate_done(&self->gate);
    if (self->context)
        zmq_ctx_term(self->context); /* waits for LINGER, a second at most */
    greet_done(&self->greet);
    unread_done(&self->unread);
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
