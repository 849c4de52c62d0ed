/* whole_client.c - a client's loop without sockets and threads: pool and pending decide, this
 * carries, as client/lib/outgoing.c and incoming.c do. The program on top of it asks at random, and
 * judges each outcome. */
#include "whole.h"

#include "base/check.h"
#include "base/hash.h"
#include "pending.h"
#include "services.h"
#include "wire/codec.h"

#include <string.h>

enum {
    CALLS = 48,
    SLACK_US = 2 * MS, /* an outcome may be so much later than its deadline: a tick */
    SERVICES = 3,
};

struct call {
    struct pending_item item; /* first */
    bool open, probe, poison;
    uint32_t text[TEXTS_MAX], n_texts, service;
    uint64_t deadline_us, asked_us; /* asked: simulated time */
    uint8_t lane, flags;
    uint32_t out; /* bits: brokers that may be working on it, as far as we have told them */
    struct net_body *body;
};

struct place { /* of the pool */
    bool socket;
    struct services services;
};

static struct client {
    struct pool pool;
    struct pending pending;
    struct services names;
    struct place place[POOL_MAX];
    struct call calls[CALLS];
    uint32_t stuck, n_probes, n_probes_ok;
    uint64_t started_us;         /* of its clock */
    uint64_t uuid, next_call_us; /* next call: simulated time */
    struct arena arena;
    struct wire_out out;
} clients[CLIENTS];

static uint32_t index_of(const struct client *self) {
    return (uint32_t)(self - clients);
}

static struct process *process_of(const struct client *self) {
    return &s.client[index_of(self)];
}

static uint32_t broker_at(const struct client *self, uint32_t at) {
    const char *endpoint = self->pool.brokers[at].endpoint; /* tcp://bN */
    EXPECT(strlen(endpoint) == 8);
    return (uint32_t)(endpoint[7] - '0');
}

static uint32_t link_at(const struct client *self, uint32_t at) {
    return link_of(index_of(self), broker_at(self, at));
}

static uint64_t session_at(const struct client *self, uint32_t at) {
    return self->pool.brokers[at].dial.session;
}

static bool send_out(struct client *self, uint32_t at, const struct header *header,
                     struct net_body *body) {
    return self->place[at].socket &&
           net_send(&s.net, link_at(self, at), true, header, body, s.now_us);
}

/* ---------------------------------------------------------------- ends of calls */

static void cancel_copies(struct client *self, struct call *call) {
    struct pending_copy copy;
    while (pending_copy_left(&call->item, &copy)) {
        call->out &= ~(1u << copy.broker);
        if (!pool_up(&self->pool, copy.broker) || session_at(self, copy.broker) != copy.session)
            continue;
        struct header header = {.type = WIRE_CANCEL, .id = call->item.id, .epoch = copy.session};
        send_out(self, copy.broker, &header, NULL);
    }
}

/* The copy that made room for a better one. */
static void cancel_given_up(struct client *self, struct call *call) {
    struct pending_copy copy;
    uint64_t id;
    if (!pending_given_up(&self->pending, &id, &copy))
        return;
    call->out &= ~(1u << copy.broker);
    struct header header = {.type = WIRE_CANCEL, .id = id, .epoch = copy.session};
    if (pool_up(&self->pool, copy.broker) && session_at(self, copy.broker) == copy.session)
        send_out(self, copy.broker, &header, NULL);
}

/* The one outcome. */
static void finish(struct client *self, struct call *call, enum status status) {
    const struct process *p = process_of(self);
    uint64_t now = clock_of(p), resumed = p->resumed_us + p->offset_us;
    uint64_t due = call->deadline_us > resumed ? call->deadline_us : resumed;
    TRACE("client %u: call %llx of text %u: %s", index_of(self), (unsigned long long)call->item.id,
          call->text[0], status_name(status));
    EXPECT(call->open && call->item.state == PENDING_OUT);
    EXPECT(now <= due + SLACK_US);
    bool jumped = s.jumped_us >= call->asked_us; /* somebody's clock: his deadline came early */
    EXPECT(status != STATUS_DEADLINE_EXCEEDED || jumped || now + SLACK_US >= call->deadline_us);
    for (uint32_t i = 0; i < call->n_texts; i++) {
        EXPECT(status != STATUS_OK || s.executed[call->text[i]]);
        EXPECT(status != STATUS_OK || s.healed || !text_is_poison(call->text[i]));
    }
    if (call->probe && status != STATUS_OK)
        fprintf(stderr, "a call in calm times: %s\n", status_name(status));
    EXPECT(!call->probe || status == STATUS_OK);
    self->n_probes_ok += call->probe;
    call->open = false;
    cancel_copies(self, call);
    net_body_unref(call->body);
    call->body = NULL;
    s.totals.outcomes[status]++;
}

/* ---------------------------------------------------------------- connections */

static void lost(struct client *self, uint32_t at) {
    services_forget(&self->place[at].services);
    pending_lost(&self->pending, at, clock_of(process_of(self)));
    pending_unpark(&self->pending);
    for (uint32_t i = 0; i < CALLS; i++)
        self->calls[i].out &= ~(1u << at);
}

static void close_at(struct client *self, uint32_t at, uint64_t now_us) {
    struct header bye = {.type = WIRE_BYE, .epoch = session_at(self, at)};
    if (self->place[at].socket && pool_up(&self->pool, at)) {
        send_out(self, at, &bye, NULL);
        net_close(&s.net, link_at(self, at), s.now_us);
    } else if (self->place[at].socket) {
        net_break(&s.net, link_at(self, at), false, s.now_us);
    }
    self->place[at].socket = false;
    lost(self, at);
    pool_closed(&self->pool, at, now_us);
}

static bool send_hello(struct client *self, uint32_t at) {
    struct services *services = &self->place[at].services;
    struct wire_service_name want[SERVICES_MAX];
    struct wire_hello hello = {.protocol_min = WIRE_PROTOCOL,
                               .protocol_max = WIRE_PROTOCOL,
                               .name = view_of("c"),
                               .version = view_of("0"),
                               .want = want,
                               .client = self->uuid};
    services_follow(services, &self->names);
    hello.n_want = services_want(services, want);
    struct header header = {.type = WIRE_HELLO, .epoch = session_at(self, at)};
    CHECK(session_hello_encode(&hello, &self->out) == STATUS_OK);
    struct net_body *body = net_body_new(wire_out_view(&self->out));
    bool sent = send_out(self, at, &header, body);
    net_body_unref(body);
    if (sent)
        services_asked(services);
    return sent;
}

static void open_at(struct client *self, uint32_t at, uint64_t now_us) {
    uint32_t link = link_at(self, at);
    pool_opened(&self->pool, at, now_us);
    if (s.net.links[link].up)
        net_break(&s.net, link, false, s.now_us);
    self->place[at].socket = true;
    net_dial(&s.net, link, s.broker[broker_at(self, at)].alive, s.now_us);
}

static void follow_pool(struct client *self, uint64_t now_us) {
    uint32_t at;
    enum pool_want want;
    self->stuck = 0;
    for (int i = 0; (want = pool_next(&self->pool, self->stuck, &at, now_us)); i++) {
        EXPECT(i < 100); /* it never ends */
        struct header ping = {.type = WIRE_PING, .id = now_us};
        switch (want) {
        case POOL_OPEN:
            open_at(self, at, now_us);
            break;
        case POOL_HELLO:
            if (send_hello(self, at))
                pool_greeted(&self->pool, at, now_us);
            else
                self->stuck |= 1u << at;
            break;
        case POOL_PING:
            ping.epoch = session_at(self, at);
            send_out(self, at, &ping, NULL);
            pool_asked(&self->pool, at, now_us);
            break;
        case POOL_CLOSE:
            close_at(self, at, now_us);
            break;
        default:
            break;
        }
    }
}

/* ---------------------------------------------------------------- requests */

static bool advance(struct client *self, struct call *call, uint32_t at, uint64_t now_us) {
    struct services *services = &self->place[at].services;
    services_follow(services, &self->names);
    const struct service *service = &services->list[call->service];
    if (!service->asked && !send_hello(self, at))
        return false;
    if (!services_answered(services, service)) {
        pending_park(&self->pending, &call->item, now_us);
        return true;
    }
    EXPECT(service->number); /* the brokers have room for all */
    EXPECT(call->deadline_us > now_us);
    struct header header = {
        .type = WIRE_REQUEST,
        .flags = (uint8_t)(call->flags | (call->item.sendings ? WIRE_FLAG_RETRY : 0)),
        .lane = call->lane,
        .attempt = (uint16_t)(call->item.sendings + 1),
        .id = call->item.id,
        .epoch = session_at(self, at),
        .budget_us = (uint32_t)(call->deadline_us - now_us),
        .service = service->number};
    if (!send_out(self, at, &header, call->body))
        return false;
    pending_sent(&self->pending, &call->item, at, session_at(self, at), now_us);
    cancel_given_up(self, call);
    call->out |= 1u << at;
    EXPECT(__builtin_popcount(call->out) <= 2);
    EXPECT(call->item.n_copies <= PENDING_COPIES);
    return true;
}

static bool send_ready(struct client *self, uint64_t now_us) {
    struct pending_item *item;
    uint32_t at;
    while ((item = pending_next(&self->pending, &at, now_us)))
        if (!advance(self, (struct call *)(void *)item, at, now_us)) {
            pool_failed(&self->pool, at, "the connection is gone", now_us);
            return false;
        }
    return true;
}

static struct net_body *encode(struct client *self, const struct call *call) {
    char room[TEXTS_MAX][TEXT_ROOM];
    struct view texts[TEXTS_MAX];
    for (uint32_t i = 0; i < call->n_texts; i++)
        texts[i] = text_of(call->text[i], room[i]);
    struct wire_embed_request request = {.texts = texts,
                                         .n_texts = call->n_texts,
                                         .normalize = WIRE_NORMALIZE_NO,
                                         .cache = call->flags & WIRE_FLAG_ALONE ? WIRE_CACHE_BYPASS
                                                                                : WIRE_CACHE_USE};
    CHECK(codec_embed_request_encode(&request, &self->out) == STATUS_OK);
    return net_body_new(wire_out_view(&self->out));
}

/* New texts, or for equal bodies those of a little while ago. */
static void choose_texts(struct call *call) {
    bool equal = !call->probe && below(100) < s.equal_percent && s.n_texts > 8;
    call->n_texts = equal || chance(800) ? 1 : 1 + below(TEXTS_MAX);
    for (uint32_t i = 0; i < call->n_texts; i++) {
        EXPECT(s.n_texts < TEXTS);
        call->text[i] = equal ? s.n_texts - 1 - below(6) : s.n_texts++;
        while (s.healed && (text_is_poison(call->text[i]) || text_is_slow(call->text[i])))
            call->text[i] = s.n_texts++;
        call->poison |= text_is_poison(call->text[i]);
    }
}

static bool ask(struct client *self, bool probe) {
    struct process *p = process_of(self);
    struct call *call = NULL;
    for (uint32_t i = 0; i < CALLS && !call; i++)
        if (!self->calls[i].open)
            call = &self->calls[i];
    if (!call)
        return false;
    *call = (struct call){.open = true, .probe = probe, .asked_us = s.now_us};
    choose_texts(call);
    uint32_t budget_us = probe ? 5 * SECOND : 1 + below(chance(100) ? 10 * MS : s.budget_us);
    call->service = probe ? 0 : below(SERVICES);
    call->lane = (uint8_t)below(WIRE_LANES);
    call->flags = chance(100) ? WIRE_FLAG_ALONE : 0;
    call->deadline_us = clock_of(p) + budget_us;
    call->body = encode(self, call);
    EXPECT(pending_add(&self->pending, &call->item, chance(50), call->deadline_us));
    s.totals.calls++;
    return true;
}

static void take_back(struct client *self) {
    struct call *call = &self->calls[below(CALLS)];
    if (!call->open || call->probe)
        return;
    pending_remove(&self->pending, &call->item);
    finish(self, call, STATUS_CANCELLED);
}

/* ---------------------------------------------------------------- answers */

static uint32_t judge(struct client *self, const struct call *call, struct view body) {
    struct wire_embed_reply reply;
    EXPECT(codec_embed_reply_decode(body, &self->arena, &reply, NULL) == STATUS_OK);
    EXPECT(reply.dim == DIM && reply.facts.n == call->n_texts);
    EXPECT(reply.vectors.bytes == call->n_texts * DIM * sizeof(float));
    bool other = view_equal(reply.facts.model, view_of("other"));
    EXPECT(call->service == 2 || other == (call->service == 1));
    for (uint32_t i = 0; i < call->n_texts; i++) {
        char room[TEXT_ROOM];
        float want[DIM];
        struct engine_item item = {.text = text_of(call->text[i], room), .out = want};
        struct engine_times times = {0};
        engine_run(s.models.model[other].engine, s.seat[other], &item, 1, &times);
        EXPECT(memcmp(reply.vectors.data + i * sizeof want, want, sizeof want) == 0);
    }
    return reply.facts.times.total_us;
}

static void on_reply(struct client *self, uint32_t at, const struct net_message *m,
                     uint64_t now_us) {
    struct pending_item *item = pending_find(&self->pending, m->header.id, at, m->header.epoch);
    if (!item)
        return;
    struct call *call = (struct call *)(void *)item;
    enum status status;
    EXPECT(status_from_code(m->header.status, &status));
    EXPECT(call->open);
    call->out &= ~(1u << at);
    struct view body = net_body_view(m->body);
    arena_reset(&self->arena);
    if (status == STATUS_OK) {
        uint64_t sent_us = pending_sent_us(item, at);
        pending_answered(&self->pending, item, at);
        pool_replied(&self->pool, at, sent_us, judge(self, call, body), now_us);
        finish(self, call, STATUS_OK);
        return;
    }
    struct wire_error error = {0};
    if (body.bytes)
        EXPECT(codec_error_decode(body, &self->arena, &error, NULL) == STATUS_OK);
    enum pending_verdict verdict =
        pending_refused(&self->pending, item, at, status, error.retry_after_ms, now_us);
    cancel_given_up(self, call);
    if (verdict == PENDING_TRY_AGAIN)
        return;
    finish(self, call, status);
}

static void on_welcome(struct client *self, uint32_t at, const struct net_message *m,
                       uint64_t now_us) {
    const struct dial *dial = &self->pool.brokers[at].dial;
    struct wire_welcome welcome;
    if (dial->state != DIAL_GREETING && dial->state != DIAL_UP)
        return;
    if (m->header.status != STATUS_OK) {
        pool_failed(&self->pool, at, "refused", now_us);
        return;
    }
    arena_reset(&self->arena);
    EXPECT(session_welcome_decode(net_body_view(m->body), &self->arena, &welcome, NULL) ==
           STATUS_OK);
    if (dial->session && dial->session != welcome.session) {
        pending_lost(&self->pending, at, now_us);
        for (uint32_t i = 0; i < CALLS; i++)
            self->calls[i].out &= ~(1u << at);
    }
    services_welcome(&self->place[at].services, &welcome);
    struct pool_welcome told = {.session = welcome.session,
                                .id = welcome.broker,
                                .heartbeat_us = (uint64_t)welcome.heartbeat_ms * 1000,
                                .in_flight = welcome.limits.in_flight,
                                .brokers = welcome.brokers,
                                .n_brokers = welcome.n_brokers};
    pool_welcome(&self->pool, at, &told, now_us);
    pending_unpark(&self->pending);
}

static void on_unknown(struct client *self, uint32_t at, const struct header *header,
                       uint64_t now_us) {
    const struct dial *dial = &self->pool.brokers[at].dial;
    if (dial->state != DIAL_UP || (header->epoch && header->epoch != dial->session))
        return;
    lost(self, at);
    pool_unknown(&self->pool, at, now_us);
}

static void on_frame(struct client *self, uint32_t at, const struct net_message *m,
                     uint64_t now_us) {
    if (m->header.type == WIRE_PONG)
        pool_pong(&self->pool, at, m->header.id, now_us);
    else
        pool_heard(&self->pool, at, now_us);
    if (m->header.type == WIRE_REPLY)
        on_reply(self, at, m, now_us);
    else if (m->header.type == WIRE_WELCOME)
        on_welcome(self, at, m, now_us);
    else if (m->header.type == WIRE_WHO_ARE_YOU)
        on_unknown(self, at, &m->header, now_us);
    else if (m->header.type == WIRE_GOAWAY)
        pool_goaway(&self->pool, at, now_us);
    else if (m->header.type == WIRE_PING) {
        struct header pong = {.type = WIRE_PONG, .id = m->header.id, .epoch = session_at(self, at)};
        send_out(self, at, &pong, NULL);
    }
}

void client_message(uint32_t i, uint32_t broker, const struct net_message *m) {
    struct client *self = &clients[i];
    struct process *p = &s.client[i];
    uint64_t now = clock_of(p);
    uint32_t at = 0;
    while (at < self->pool.n && !(self->place[at].socket && broker_at(self, at) == broker))
        at++;
    wake_by(p, s.now_us + below(50));
    if (at == self->pool.n || self->pool.brokers[at].close_due)
        return;
    if (m->kind == NET_OPEN) {
        if (m->life == s.net.links[m->link].life &&
            (!s.broker[broker].alive || !net_opened(&s.net, m, s.now_us)))
            pool_failed(&self->pool, at, "nobody listens there", now);
    } else if (m->kind != NET_FRAME) {
        pool_failed(&self->pool, at, "the connection broke", now);
    } else {
        TRACE("client %u <- broker %u: %s id %llx status %u", i, broker,
              wire_type_name(m->header.type), (unsigned long long)m->header.id, m->header.status);
        on_frame(self, at, m, now);
    }
}

/* ---------------------------------------------------------------- time */

/* What it may send twice: a tenth of its requests, ten a second, and what it starts with. */
static void check_budget(const struct client *self, uint64_t now_us) {
    uint64_t allowed = 10 + self->pool.taken / 10 + (now_us - self->started_us) / (100 * MS) + 1;
    EXPECT(self->pool.spent <= allowed);
}

void client_turn(uint32_t i) {
    struct client *self = &clients[i];
    struct process *p = &s.client[i];
    uint64_t now = clock_of(p);
    struct pending_item *item;
    while ((item = pending_expired(&self->pending, now)))
        finish(self, (struct call *)(void *)item, STATUS_DEADLINE_EXCEEDED);
    if (s.calling && s.now_us >= self->next_call_us) {
        for (uint32_t n = 1 + below(s.burst); n; n--)
            ask(self, false);
        if (chance(60))
            take_back(self);
        self->next_call_us = s.now_us + 1 + below(s.pause_us);
    }
    do
        follow_pool(self, now);
    while (!send_ready(self, now));
    check_budget(self, now);
    uint64_t next = pending_wake_us(&self->pending, now), pool = pool_wake_us(&self->pool, now);
    next = real_of(p, pool < next ? pool : next);
    if (s.calling && self->next_call_us < next)
        next = self->next_call_us;
    p->wake_us = next > s.now_us ? next : s.now_us + 1;
}

/* ---------------------------------------------------------------- life */

void client_start(uint32_t i) {
    struct client *self = &clients[i];
    struct process *p = &s.client[i];
    *self = (struct client){.uuid = hash_next(&s.random) | 1};
    *p = (struct process){.alive = true,
                          .offset_us = (uint64_t)(1 + below(1000)) * SECOND,
                          .wake_us = s.now_us,
                          .resumed_us = s.now_us};
    self->started_us = clock_of(p);
    struct pool_cfg cfg = {.policy = (enum pool_policy)below(3),
                           .latency_limit_us = 20 * MS,
                           .attempt_us = chance(500) ? 0 : 20 * MS,
                           .discover = chance(500)};
    pool_init(&self->pool, &cfg, hash_next(&s.random), clock_of(p));
    for (uint32_t k = 0; k < s.n_brokers; k++) {
        char endpoint[20];
        snprintf(endpoint, sizeof endpoint, "tcp://b%u", k);
        if (k == 0 || !cfg.discover) /* the others it finds by itself */
            CHECK(pool_give(&self->pool, endpoint, 1 + k));
    }
    pending_init(&self->pending, &self->pool, hash_next(&s.random));
    static const char *const models[SERVICES] = {"m", "other", ""};
    for (uint32_t k = 0; k < SERVICES; k++)
        CHECK(services_index(&self->names, models[k], WIRE_TASK_EMBED) == k);
    CHECK(arena_init(&self->arena, codec_reply_arena_bytes(LIMIT_REQUEST_BYTES)));
    TRACE("client %u: started, policy %d", i, cfg.policy);
}

void client_kill(uint32_t i) {
    struct client *self = &clients[i];
    struct process *p = &s.client[i];
    for (uint32_t k = 0; k < CALLS; k++) { /* who asked died with it */
        pending_remove(&self->pending, &self->calls[k].item);
        net_body_unref(self->calls[k].body);
        self->calls[k] = (struct call){.open = false};
    }
    pending_done(&self->pending);
    for (uint32_t k = 0; k < s.n_brokers; k++)
        net_break(&s.net, link_of(i, k), false, s.now_us);
    arena_done(&self->arena);
    wire_out_done(&self->out);
    p->alive = false;
    p->wake_us = UINT64_MAX;
    p->restart_us = s.now_us + below(500) * (uint64_t)MS;
}

uint32_t client_open(uint32_t i) {
    uint32_t n = 0;
    for (uint32_t k = 0; k < CALLS; k++)
        n += clients[i].calls[k].open;
    return n;
}

void client_probe(uint32_t i, uint32_t n) {
    clients[i].n_probes = n;
    for (uint32_t k = 0; k < n; k++)
        EXPECT(ask(&clients[i], true));
    wake_by(&s.client[i], s.now_us);
}

void client_check_calm(uint32_t i) {
    EXPECT(client_open(i) == 0 && clients[i].pending.n == 0);
    EXPECT(clients[i].n_probes_ok == clients[i].n_probes);
}
