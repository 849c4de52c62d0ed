/* whole_broker.c - a broker's loop without sockets: frames to the core, what the core wants to the
 * network. It does what inbound.c and outbound.c do; greetings are the real bytes of greet.c. */
#include "whole.h"

#include "base/check.h"
#include "base/hash.h"
#include "greet.h"

#include <string.h>

enum { CONNS = 2 * PEERS + 8, SWEEPS = 4, SWEEP_US = 1 * MS };

struct peer_conn { /* which connection a number of the core stands for */
    uint32_t link, life;
    bool bound;
};

static struct broker {
    uint64_t lame_until_us; /* swallows requests */
    core_t *core;
    struct greet greet;
    struct net_body *bodies[TICKETS];
    struct net_body *incoming;
    struct peer_conn clients[CONNS], workers[CONNS];
    uint32_t sweeps; /* of workers, still to come */
    bool sweep_clients;
    uint32_t drop_until_done;
} brokers[BROKERS];

const core_t *broker_core(uint32_t i) {
    return brokers[i].core;
}

static uint32_t index_of(const struct broker *self) {
    return (uint32_t)(self - brokers);
}

static uint32_t find(const struct peer_conn *conns, uint32_t link, uint32_t life) {
    for (uint32_t i = 0; i < CONNS; i++)
        if (conns[i].bound && conns[i].link == link && conns[i].life == life)
            return i;
    return CORE_NONE;
}

/* ---------------------------------------------------------------- what the core wants done */

static enum core_sent send_conn(const struct peer_conn *conn, const struct header *header,
                                struct net_body *body) {
    const struct net_link *l = &s.net.links[conn->link];
    CHECK(conn->bound);
    if (l->up && l->life == conn->life) {
        net_send(&s.net, conn->link, false, header, body, s.now_us);
        return CORE_SENT;
    }
    return s.now_us < l->lag_until_us ? CORE_SENT : CORE_GONE;
}

static enum core_sent send_bytes(const struct peer_conn *conn, const struct header *header,
                                 struct view bytes) {
    struct net_body *body = net_body_new(bytes);
    enum core_sent sent = send_conn(conn, header, body);
    net_body_unref(body);
    return sent;
}

static enum core_sent op_to_worker(void *arg, uint32_t worker, const struct header *header,
                                   uint32_t slot) {
    struct broker *self = arg;
    if (slot == CORE_NONE)
        return send_conn(&self->workers[worker], header, NULL);
    EXPECT(header->type == WIRE_DISPATCH && self->bodies[slot]);
    EXPECT(header->attempt >= 1 && header->attempt <= LIMIT_ATTEMPTS);
    EXPECT(header->budget_us > 0);
    const struct fleet_load *load = &core_fleet(self->core)->loads[worker];
    EXPECT((load->open || core_fleet(self->core)->workers[worker].kept) && load->credit);
    EXPECT(!load->n || load->cost + core_cost(self->bodies[slot]->bytes) <= load->credit);
    s.totals.dispatches++;
    s.totals.moved += header->attempt > 1;
    s.totals.hedges += (header->flags & WIRE_FLAG_HEDGED) != 0;
    if (!s.healed && chance(2))
        return CORE_FULL;
    return send_conn(&self->workers[worker], header, self->bodies[slot]);
}

static enum core_sent op_to_client(void *arg, uint32_t client, const struct header *header,
                                   const struct core_error *error) {
    struct broker *self = arg;
    struct peer_conn *conn = &self->clients[client];
    EXPECT(header->type != WIRE_REPLY || (error && error->text[0] && header->status));
    if (header->type == WIRE_GOAWAY)
        return send_bytes(conn, header, greet_goaway(&self->greet, "stopping"));
    return error ? send_bytes(conn, header, greet_error(&self->greet, error))
                 : send_conn(conn, header, NULL);
}

static enum core_sent op_forward(void *arg, uint32_t client, const struct header *header) {
    struct broker *self = arg;
    EXPECT(self->incoming);
    return send_conn(&self->clients[client], header, self->incoming);
}

static struct view op_body(void *arg, uint32_t slot) {
    struct broker *self = arg;
    EXPECT(self->bodies[slot]);
    return net_body_view(self->bodies[slot]);
}

static void op_drop(void *arg, uint32_t slot) {
    struct broker *self = arg;
    net_body_unref(self->bodies[slot]);
    self->bodies[slot] = NULL;
}

static void op_client_closed(void *arg, uint32_t client, const char *why) {
    struct broker *self = arg;
    EXPECT(why && self->clients[client].bound);
    self->clients[client].bound = false;
}

static void op_worker_closed(void *arg, uint32_t worker, const char *why) {
    struct broker *self = arg;
    EXPECT(why && self->workers[worker].bound);
    TRACE("broker %u: worker %u closed: %s", index_of(self), self->workers[worker].link / BROKERS,
          why);
    self->workers[worker].bound = false;
}

/* ---------------------------------------------------------------- greetings */

static void on_hello(struct broker *self, const struct net_message *m, uint64_t now_us) {
    struct wire_hello hello;
    struct err err = {.status = STATUS_OK};
    struct peer_conn fresh = {.link = m->link, .life = m->life, .bound = true};
    uint32_t client = find(self->clients, m->link, m->life);
    bool is_new = client == CORE_NONE;
    EXPECT(greet_read_hello(&self->greet, net_body_view(m->body), &hello, &err) == STATUS_OK);
    struct core_who who = {.sticky = hello.client};
    enum status status = core_hello(self->core, &client, m->header.epoch, hash_next(&s.random) | 1,
                                    &who, now_us, &err);
    struct header header = {.type = status == STATUS_UNAVAILABLE ? WIRE_GOAWAY : WIRE_WELCOME,
                            .status = (uint8_t)(status == STATUS_UNAVAILABLE ? 0 : status),
                            .id = m->header.id,
                            .epoch = m->header.epoch};
    if (status == STATUS_UNAVAILABLE) {
        send_bytes(&fresh, &header, greet_goaway(&self->greet, err.text));
    } else if (status != STATUS_OK) {
        struct core_error error = {.text = err.text};
        send_bytes(&fresh, &header, greet_error(&self->greet, &error));
    } else {
        if (is_new) {
            EXPECT(!self->clients[client].bound);
            self->clients[client] = fresh;
        }
        header.epoch = core_session(self->core, client);
        struct view out = greet_welcome(&self->greet, self->core, client, &hello, now_us);
        if (send_bytes(&fresh, &header, out) == CORE_GONE)
            core_client_lost(self->core, client, "disconnected", now_us);
    }
}

static void on_ready(struct broker *self, const struct net_message *m, uint64_t now_us) {
    struct wire_ready ready;
    struct err err = {.status = STATUS_OK};
    struct peer_conn fresh = {.link = m->link, .life = m->life, .bound = true};
    uint32_t worker = find(self->workers, m->link, m->life);
    EXPECT(greet_read_ready(&self->greet, net_body_view(m->body), &ready, &err) == STATUS_OK);
    enum status status = core_ready(self->core, &worker, &ready, m->header.credit, now_us, &err);
    struct header header = {.type = WIRE_READY_OK, .status = (uint8_t)status, .id = m->header.id};
    if (status != STATUS_OK) {
        struct core_error error = {.text = err.text};
        send_bytes(&fresh, &header, greet_error(&self->greet, &error));
        return;
    }
    if (find(self->workers, m->link, m->life) == CORE_NONE) {
        EXPECT(!self->workers[worker].bound);
        self->workers[worker] = fresh;
    }
    header.epoch = core_cfg(self->core)->id;
    header.credit = core_demand(self->core, worker);
    if (send_bytes(&fresh, &header, greet_ready_ok(&self->greet, self->core, worker)) == CORE_GONE)
        core_worker_lost(self->core, worker, "disconnected", now_us);
}

/* ---------------------------------------------------------------- frames */

static void on_client_frame(struct broker *self, const struct net_message *m, uint64_t now_us) {
    uint32_t client = find(self->clients, m->link, m->life);
    if (m->header.type == WIRE_HELLO) {
        on_hello(self, m, now_us);
    } else if (client == CORE_NONE) {
        struct peer_conn from = {.link = m->link, .life = m->life, .bound = true};
        struct header who = {
            .type = WIRE_WHO_ARE_YOU, .id = m->header.id, .epoch = m->header.epoch};
        send_conn(&from, &who, NULL);
    } else if (!core_client_heard(self->core, client, &m->header, now_us)) {
        return;
    } else if (m->header.type == WIRE_REQUEST && s.now_us < self->lame_until_us && !s.healed) {
        s.totals.swallowed++;
    } else if (m->header.type == WIRE_REQUEST) {
        uint32_t slot =
            core_request(self->core, client, &m->header, net_body_view(m->body), now_us);
        if (slot != CORE_NONE) {
            EXPECT(slot < TICKETS && !self->bodies[slot]);
            self->bodies[slot] = net_body_ref(m->body);
        }
    } else {
        core_client_frame(self->core, client, &m->header, now_us);
    }
}

static void on_worker_frame(struct broker *self, const struct net_message *m, uint64_t now_us) {
    uint32_t worker = find(self->workers, m->link, m->life);
    if (m->header.type == WIRE_READY) {
        on_ready(self, m, now_us);
        return;
    }
    if (worker == CORE_NONE) {
        struct peer_conn from = {.link = m->link, .life = m->life, .bound = true};
        struct header who = {
            .type = WIRE_WHO_ARE_YOU, .id = m->header.id, .epoch = m->header.epoch};
        send_conn(&from, &who, NULL);
        return;
    }
    if (!core_worker_heard(self->core, worker, &m->header, now_us))
        return;
    struct wire_heartbeat beat;
    if (m->header.type == WIRE_HEARTBEAT && m->body &&
        greet_read_heartbeat(&self->greet, net_body_view(m->body), &beat, NULL) == STATUS_OK)
        core_heartbeat(self->core, worker, &beat);
    self->incoming = m->body;
    core_worker_frame(self->core, worker, &m->header, now_us);
    self->incoming = NULL;
}

void broker_swallow(uint32_t i, uint64_t us) {
    TRACE("broker %u: swallows requests", i);
    brokers[i].lame_until_us = s.now_us + us;
}

void broker_message(uint32_t i, const struct net_message *m) {
    struct broker *self = &brokers[i];
    struct process *p = &s.broker[i];
    bool from_client = m->link / BROKERS < CLIENTS;
    wake_by(p, s.now_us + below(100));
    if (m->kind == NET_CUT && from_client) {
        self->sweep_clients = true;
    } else if (m->kind == NET_CUT) { /* now and then the monitor's news does not help */
        self->sweeps = chance(900) ? SWEEPS : 0;
    } else {
        TRACE("broker %u <- %s %u: %s id %llx", i, from_client ? "client" : "worker",
              m->link / BROKERS - (from_client ? 0 : CLIENTS), wire_type_name(m->header.type),
              (unsigned long long)m->header.id);
        if (from_client)
            on_client_frame(self, m, clock_of(p));
        else
            on_worker_frame(self, m, clock_of(p));
    }
    core_check(self->core);
}

/* ---------------------------------------------------------------- time */

void broker_turn(uint32_t i) {
    struct broker *self = &brokers[i];
    struct process *p = &s.broker[i];
    uint64_t now = clock_of(p);
    if (self->sweeps) {
        self->sweeps--;
        core_sweep_workers(self->core, now);
    }
    if (self->sweep_clients) {
        self->sweep_clients = false;
        core_sweep_clients(self->core, now);
    }
    core_tick(self->core, now);
    core_check(self->core);
    core_dispatch(self->core, now);
    core_check(self->core);
    if (core_drained(self->core)) {
        TRACE("broker %u: drained", i);
        broker_kill(i);
        p->restart_us = s.now_us + (s.healed ? 50 : below(2500)) * (uint64_t)MS;
        return;
    }
    uint64_t next = real_of(p, core_next_us(self->core));
    if (self->sweeps && s.now_us + SWEEP_US < next)
        next = s.now_us + SWEEP_US;
    p->wake_us = next > s.now_us ? next : s.now_us + 1;
}

/* ---------------------------------------------------------------- life */

void broker_start(uint32_t i) {
    struct broker *self = &brokers[i];
    struct process *p = &s.broker[i];
    static const struct view others[] = {{.data = "tcp://b0", .bytes = 8},
                                         {.data = "tcp://b1", .bytes = 8},
                                         {.data = "tcp://b2", .bytes = 8}};
    *self = (struct broker){0};
    struct greet_cfg greet = {.name = "b", .advertise = others, .n_advertise = s.n_brokers};
    CHECK(greet_init(&self->greet, &greet));
    struct core_cfg cfg = {.max_clients = CONNS,
                           .max_workers = CONNS,
                           .max_services = 16,
                           .max_tickets = TICKETS,
                           .max_queued = TICKETS * 2 / 3,
                           .max_queued_bytes = 20000,
                           .max_client_tickets = TICKETS / 2,
                           .heartbeat_us = BEAT_US,
                           .no_worker_grace_us = 1 * SECOND,
                           .drain_us = 500 * MS,
                           .hedge = chance(500),
                           .coalesce = chance(800),
                           .queue_target_us = chance(500) ? 100 * MS : 0,
                           .id = hash_next(&s.random) | 1,
                           .seed = hash_next(&s.random)};
    snprintf(cfg.default_model, sizeof cfg.default_model, "m");
    struct core_ops ops = {.to_worker = op_to_worker,
                           .to_client = op_to_client,
                           .forward = op_forward,
                           .body = op_body,
                           .drop = op_drop,
                           .client_closed = op_client_closed,
                           .worker_closed = op_worker_closed,
                           .arg = self};
    *p = (struct process){.alive = true,
                          .offset_us = (uint64_t)below(1000) * SECOND,
                          .wake_us = s.now_us,
                          .resumed_us = s.now_us};
    CHECK(core_new(&cfg, &ops, clock_of(p), &self->core, NULL) == STATUS_OK);
    TRACE("broker %u: started", i);
}

void broker_kill(uint32_t i) {
    struct broker *self = &brokers[i];
    struct process *p = &s.broker[i];
    for (uint32_t peer = 0; peer < PEERS; peer++)
        if (s.net.links[link_of(peer, i)].up)
            net_break(&s.net, link_of(peer, i), true, s.now_us);
    core_destroy(&self->core);
    for (uint32_t k = 0; k < TICKETS; k++)
        EXPECT(!self->bodies[k]);
    greet_done(&self->greet);
    p->alive = false;
    p->wake_us = UINT64_MAX;
    p->restart_us = s.now_us + (s.healed ? 50 : below(3000)) * (uint64_t)MS;
}

void broker_drain(uint32_t i) {
    core_drain(brokers[i].core, clock_of(&s.broker[i]));
    core_check(brokers[i].core);
    wake_by(&s.broker[i], s.now_us);
}

void broker_check_calm(uint32_t i) {
    struct broker *self = &brokers[i];
    const struct fleet *fleet = core_fleet(self->core);
    EXPECT(core_queued(self->core) == 0 && core_in_flight(self->core) == 0);
    for (uint32_t k = 0; k < TICKETS; k++)
        EXPECT(!self->bodies[k]);
    uint32_t live = 0;
    for (uint32_t k = 0; k < fleet->high_workers; k++)
        live += fleet->workers[k].state == FLEET_LIVE;
    EXPECT(live == WORKERS && fleet->n_workers == WORKERS);
}
