/* whole_worker.c - a worker's loop without sockets and threads: frames to upstream, shares and
 * serve, as worker/brokers.c carries them; runners that take simulated time and compute with the
 * fake engine when it is over. */
#include "whole.h"

#include "base/check.h"
#include "base/hash.h"
#include "runner.h"
#include "serve.h"
#include "shares.h"
#include "upstream.h"

#include <string.h>

enum {
    RUNNERS = 2,
    ITEMS = 12,
    CREDIT = 48,
    REQUESTS = 4 * CREDIT,
    NEWS_US = 20 * MS,
    DRAIN_US = 1 * SECOND,
    LAST_WORDS_US = 1500 * MS, /* after that a draining worker ends, whoever still waits */
    REMEMBERED = 16,
};

struct run {
    struct batch batch;
    bool busy;
    uint64_t started_us, due_us; /* of the worker's clock */
};

static struct worker {
    serve_t *serve;
    struct shares shares;
    struct upstream upstream[BROKERS];
    uint64_t beat_us[BROKERS], redial_us[BROKERS]; /* redial: simulated time; 0: not due */
    uint64_t uuid;
    struct run run[RUNNERS];
    uint32_t slow; /* times as long as others */
    uint64_t refused, stop_us;
    bool draining, gave_back, dying;
    uint32_t broken;                /* bits: links whose sends fail, to be redialled */
    struct header last[REMEMBERED]; /* results, to be told twice */
    struct net_body *last_body[REMEMBERED];
    uint32_t last_broker[REMEMBERED], n_last;
    struct arena arena;
    struct wire_out out;
} workers[WORKERS];

static uint32_t index_of(const struct worker *self) {
    return (uint32_t)(self - workers);
}

static struct process *process_of(const struct worker *self) {
    return &s.worker[index_of(self)];
}

static uint32_t link_to(const struct worker *self, uint32_t broker) {
    return link_of(CLIENTS + index_of(self), broker);
}

/* ---------------------------------------------------------------- sending */

static bool send_frame(struct worker *self, uint32_t broker, struct header *header,
                       struct view bytes) {
    struct net_body *body = net_body_new(bytes);
    header->epoch = self->upstream[broker].epoch;
    header->credit = self->draining ? 0 : shares_window(&self->shares, broker);
    bool sent = net_send(&s.net, link_to(self, broker), true, header, body, s.now_us);
    if (sent && header->type == WIRE_RESULT) {
        uint32_t at = self->n_last++ % REMEMBERED;
        net_body_unref(self->last_body[at]);
        self->last[at] = *header;
        self->last_body[at] = net_body_ref(body);
        self->last_broker[at] = broker;
    }
    net_body_unref(body);
    return sent;
}

static void send_plain(struct worker *self, uint32_t broker, uint8_t type, uint64_t id) {
    struct header header = {.type = type, .id = id};
    send_frame(self, broker, &header, view_make(NULL, 0));
}

static void on_reply(void *arg, const struct serve_reply *reply) {
    struct worker *self = arg;
    const struct serve_origin *origin = &reply->origin;
    struct header header = {.type = reply->nack ? WIRE_NACK : WIRE_RESULT,
                            .status = (uint8_t)reply->status,
                            .id = origin->ticket,
                            .service = origin->service,
                            .budget_us = reply->work_us};
    shares_release(&self->shares, origin->broker, origin->cost);
    send_frame(self, origin->broker, &header, reply->body);
}

static bool send_ready(struct worker *self, uint32_t broker) {
    struct wire_model models[2];
    for (uint32_t m = 0; m < s.models.n; m++) {
        const struct model *model = &s.models.model[m];
        models[m] = (struct wire_model){.name = view_of(model->name),
                                        .fingerprint = view_of("f"),
                                        .precision = view_of("f32"),
                                        .kernel = view_of("k"),
                                        .dim = model->info->dim,
                                        .max_tokens = model->info->max_tokens,
                                        .tasks = model->tasks,
                                        .head = models_head(model->info)};
    }
    struct wire_ready ready = {.protocol_min = WIRE_PROTOCOL,
                               .protocol_max = WIRE_PROTOCOL,
                               .uuid = self->uuid,
                               .name = view_of("w"),
                               .host = view_of("h"),
                               .version = view_of("0"),
                               .tier = view_of("standard"),
                               .threads = RUNNERS,
                               .pid = 1,
                               .models = models,
                               .n_models = s.models.n};
    CHECK(session_ready_encode(&ready, &self->out) == STATUS_OK);
    struct header header = {.type = WIRE_READY};
    return send_frame(self, broker, &header, wire_out_view(&self->out));
}

static void send_heartbeat(struct worker *self, uint32_t broker) {
    serve_publish(self->serve);
    const struct serve_stats *st = serve_stats(self->serve);
    struct wire_heartbeat beat = {.queued = (uint32_t)counter_get(&st->queued),
                                  .running = (uint32_t)counter_get(&st->running),
                                  .oldest_us = (uint32_t)counter_get(&st->oldest_us),
                                  .service_us = (uint32_t)counter_get(&st->service_us),
                                  .completed =
                                      counter_get(&st->answered) + counter_get(&st->errors),
                                  .redis = view_of("off")};
    self->beat_us[broker] = clock_of(process_of(self));
    CHECK(session_heartbeat_encode(&beat, &self->out) == STATUS_OK);
    struct header header = {.type = WIRE_HEARTBEAT};
    send_frame(self, broker, &header, wire_out_view(&self->out));
}

/* ---------------------------------------------------------------- receiving */

static int model_index(void *arg, struct view name) {
    (void)arg;
    for (uint32_t i = 0; i < s.models.n; i++)
        if (view_equal(view_of(s.models.model[i].name), name))
            return (int)i;
    return -1;
}

static void on_ready_ok(struct worker *self, uint32_t broker, const struct net_message *m,
                        uint64_t now_us) {
    struct upstream *upstream = &self->upstream[broker];
    struct wire_ready_ok ok;
    if (m->header.status != STATUS_OK)
        return;
    arena_reset(&self->arena);
    EXPECT(session_ready_ok_decode(net_body_view(m->body), &self->arena, &ok, NULL) == STATUS_OK);
    bool was_live = upstream_live(upstream);
    if (upstream_ready_ok(upstream, &ok, model_index, self, now_us)) {
        serve_forget(self->serve, broker);
        shares_forget(&self->shares, broker);
    }
    if (!was_live && upstream_live(upstream))
        shares_join(&self->shares, broker, m->header.credit);
}

static void on_dispatch(struct worker *self, uint32_t broker, const struct net_message *m) {
    struct upstream *upstream = &self->upstream[broker];
    if (m->header.epoch != upstream->epoch)
        return;
    const struct upstream_service *service = upstream_service(upstream, m->header.service);
    uint32_t cost = shares_cost(m->body->bytes);
    bool fits = shares_fits(&self->shares, broker, cost);
    if (!service || !fits) {
        struct header nack = {.type = WIRE_NACK, .id = m->header.id, .service = m->header.service};
        self->refused += !fits;
        EXPECT(fits); /* no honest broker passes the windows it was told */
        send_frame(self, broker, &nack, view_make(NULL, 0));
        return;
    }
    struct serve_origin origin = {
        .ticket = m->header.id, .broker = broker, .cost = cost, .service = m->header.service};
    shares_hold(&self->shares, broker, cost);
    serve_dispatch(self->serve, &origin, service->model, (enum wire_task)service->task,
                   m->header.lane, m->header.budget_us, net_body_view(m->body));
}

static void on_frame(struct worker *self, uint32_t broker, const struct net_message *m,
                     uint64_t now_us) {
    struct upstream *upstream = &self->upstream[broker];
    upstream_heard(upstream, now_us);
    if (m->header.type == WIRE_DISPATCH)
        on_dispatch(self, broker, m);
    else if (m->header.type == WIRE_CANCEL && m->header.epoch == upstream->epoch)
        serve_cancel(self->serve, broker, m->header.id);
    else if (m->header.type == WIRE_READY_OK)
        on_ready_ok(self, broker, m, now_us);
    else if (m->header.type == WIRE_WHO_ARE_YOU)
        upstream_who_are_you(upstream, now_us);
    else if (m->header.type == WIRE_PING)
        send_plain(self, broker, WIRE_PONG, m->header.id);
    else if (m->header.type == WIRE_PONG && m->header.epoch == upstream->epoch)
        shares_demand(&self->shares, broker, m->header.credit);
    else if (m->header.type == WIRE_BYE_OK)
        upstream_bye_ok(upstream);
}

static uint64_t soon(void) {
    return s.now_us + (s.healed ? 50 : 50 + below(900)) * (uint64_t)MS;
}

void worker_message(uint32_t i, uint32_t broker, const struct net_message *m) {
    struct worker *self = &workers[i];
    struct process *p = &s.worker[i];
    wake_by(p, s.now_us + below(50));
    serve_at(self->serve, clock_of(p));
    if (m->kind == NET_OPEN) {
        if (s.broker[broker].alive && net_opened(&s.net, m, s.now_us))
            upstream_connected(&self->upstream[broker], clock_of(p));
        else if (m->life == s.net.links[m->link].life)
            self->redial_us[broker] = soon();
    } else if (m->kind == NET_REFUSED) {
        self->redial_us[broker] = soon();
    } else if (m->kind == NET_CUT) {
        upstream_cut(&self->upstream[broker], clock_of(p));
        self->redial_us[broker] = soon();
    } else {
        TRACE("worker %u <- broker %u: %s id %llx", i, broker, wire_type_name(m->header.type),
              (unsigned long long)m->header.id);
        on_frame(self, broker, m, clock_of(p));
    }
}

/* ---------------------------------------------------------------- runners */

static void start_run(struct worker *self, struct run *run, uint64_t now_us) {
    uint64_t us = 0;
    for (uint32_t i = 0; i < run->batch.n; i++) {
        uint32_t n = text_number(run->batch.items[i].text);
        us += text_is_slow(n) ? 200 * MS : 300 + (uint64_t)below(700);
    }
    run->busy = true;
    run->started_us = now_us;
    run->due_us = now_us + us * self->slow;
}

/* False: it was poison. */
static bool end_run(struct worker *self, struct run *run, uint64_t now_us) {
    struct batch *batch = &run->batch;
    for (uint32_t i = 0; i < batch->n; i++) {
        uint32_t n = text_number(batch->items[i].text);
        if (text_is_poison(n) && !s.healed) {
            s.killed[n] = (uint8_t)(s.killed[n] + (s.killed[n] < UINT8_MAX));
            s.totals.poisoned++;
            TRACE("worker %u: killed by text %u", index_of(self), n);
            return false;
        }
    }
    for (uint32_t i = 0; i < batch->n; i++) {
        uint32_t n = text_number(batch->items[i].text);
        s.executed[n] = (uint8_t)(s.executed[n] + (s.executed[n] < UINT8_MAX));
        s.totals.executions++;
    }
    runner_batch(s.seat[batch->model], batch);
    batch->started_us = run->started_us; /* the simulation's clock, not the machine's */
    batch->finished_us = now_us;
    batch->times.tokenize_us = 0;
    batch->times.infer_us = now_us - run->started_us;
    run->busy = false;
    serve_done(self->serve, batch);
    return true;
}

static void pump(struct worker *self, uint64_t now_us) {
    for (uint32_t i = 0; i < RUNNERS; i++) {
        uint32_t n_free = 0;
        for (uint32_t k = 0; k < RUNNERS; k++)
            n_free += !self->run[k].busy;
        if (!self->run[i].busy && serve_fill(self->serve, &self->run[i].batch, n_free))
            start_run(self, &self->run[i], now_us);
    }
}

/* ---------------------------------------------------------------- time */

static void tick_broker(struct worker *self, uint32_t broker, bool idle, uint64_t now_us) {
    struct upstream *upstream = &self->upstream[broker];
    bool lost;
    uint8_t type;
    while ((type = upstream_tick(upstream, now_us, self->draining, idle, &lost))) {
        if (type == WIRE_READY && !send_ready(self, broker))
            upstream_unsent(upstream, now_us);
        else if (type == WIRE_READY)
            continue;
        else if (type == WIRE_HEARTBEAT)
            send_heartbeat(self, broker);
        else
            send_plain(self, broker, type, 0);
    }
}

static void tick_brokers(struct worker *self, uint64_t now_us) {
    bool idle = serve_idle(self->serve) || self->gave_back;
    for (uint32_t i = 0; i < s.n_brokers; i++) {
        tick_broker(self, i, idle, now_us);
        if (self->shares.share[i].live && !upstream_live(&self->upstream[i]))
            shares_lost(&self->shares, i);
    }
    for (uint32_t i = 0; i < s.n_brokers && !self->draining; i++)
        if (shares_news(&self->shares, i))
            upstream_beat(&self->upstream[i], self->beat_us[i] + NEWS_US);
}

static void redial(struct worker *self) {
    for (uint32_t i = 0; i < s.n_brokers; i++) {
        uint32_t link = link_to(self, i);
        if (!self->redial_us[i] || s.now_us < self->redial_us[i] || s.net.links[link].up)
            continue;
        self->redial_us[i] = 0;
        net_dial(&s.net, link, s.broker[i].alive, s.now_us);
    }
}

static bool all_gone(const struct worker *self) {
    for (uint32_t i = 0; i < s.n_brokers; i++)
        if (self->upstream[i].state != UPSTREAM_GONE)
            return false;
    return true;
}

static uint64_t next_us(const struct worker *self, uint64_t now_us) {
    const struct process *p = process_of(self);
    uint64_t next = serve_deadline_us(self->serve);
    for (uint32_t i = 0; i < RUNNERS; i++) {
        uint64_t due = self->run[i].busy ? self->run[i].due_us : next;
        if (!self->run[i].busy && serve_batch_deadline_us(self->serve) != UINT64_MAX)
            due = serve_batch_deadline_us(self->serve) + 1;
        next = due < next ? due : next;
    }
    for (uint32_t i = 0; i < s.n_brokers; i++) {
        uint64_t due = upstream_deadline_us(&self->upstream[i]);
        next = due < next ? due : next;
    }
    if (self->draining && !self->gave_back && self->stop_us < next)
        next = self->stop_us;
    if (self->draining && self->stop_us + LAST_WORDS_US < next)
        next = self->stop_us + LAST_WORDS_US;
    uint64_t at = real_of(p, next > now_us ? next : now_us + 1);
    for (uint32_t i = 0; i < s.n_brokers; i++)
        if (self->redial_us[i] && self->redial_us[i] < at)
            at = self->redial_us[i];
    return at > s.now_us ? at : s.now_us + 1;
}

void worker_turn(uint32_t i) {
    struct worker *self = &workers[i];
    struct process *p = &s.worker[i];
    uint64_t now = clock_of(p);
    serve_at(self->serve, now);
    for (uint32_t k = 0; k < RUNNERS; k++)
        if (self->run[k].busy && self->run[k].due_us <= now && !end_run(self, &self->run[k], now)) {
            worker_kill(i);
            return;
        }
    if (self->draining && !self->gave_back && now >= self->stop_us) {
        self->gave_back = true;
        serve_give_back(self->serve);
    }
    serve_tick(self->serve);
    redial(self);
    pump(self, now);
    tick_brokers(self, now);
    if (chance(50))
        serve_check(self->serve);
    uint64_t held = 0;
    for (uint32_t k = 0; k < s.n_brokers; k++)
        held += self->shares.share[k].held;
    EXPECT(held <= (uint64_t)s.n_brokers * (CREDIT + SHARES_SLACK + shares_cost(4096)));
    if (self->draining && (all_gone(self) || now >= self->stop_us + LAST_WORDS_US)) {
        TRACE("worker %u: drained", i);
        worker_kill(i);
        return;
    }
    p->wake_us = next_us(self, now);
}

/* ---------------------------------------------------------------- life */

void worker_start(uint32_t i) {
    struct worker *self = &workers[i];
    struct process *p = &s.worker[i];
    *self = (struct worker){.uuid = hash_next(&s.random) | 1, .slow = 1};
    if (!s.healed && chance(200))
        self->slow = 2 + below(20);
    *p = (struct process){.alive = true,
                          .offset_us = (uint64_t)below(1000) * SECOND,
                          .wake_us = s.now_us,
                          .resumed_us = s.now_us};
    struct serve_cfg cfg = {
        .models = &s.models,
        .batcher = {.tokens_max = 1024, .items_max = ITEMS, .bytes_max = 2 * LIMIT_TEXT_BYTES},
        .requests_max = REQUESTS,
        .items_max = 4 * (LIMIT_REQUEST_TEXTS + LIMIT_REQUEST_LABELS),
        .bytes_max = 64 << 20,
        .limits = {.pairs = 64},
        .worker = "w",
        .reply = on_reply,
        .reply_arg = self};
    CHECK(serve_new(&cfg, &self->serve, NULL) == STATUS_OK);
    CHECK(arena_init(&self->arena, session_arena_bytes(8192)));
    for (uint32_t k = 0; k < RUNNERS; k++)
        CHECK(batch_init(&self->run[k].batch, ITEMS, 2 * LIMIT_TEXT_BYTES, DIM));
    shares_init(&self->shares, CREDIT, RUNNERS, s.n_brokers);
    serve_at(self->serve, clock_of(p));
    for (uint32_t k = 0; k < s.n_brokers; k++) {
        upstream_init(&self->upstream[k], clock_of(p));
        self->redial_us[k] = s.now_us;
    }
    TRACE("worker %u: started, %u times as slow", i, self->slow);
}

void worker_kill(uint32_t i) {
    struct worker *self = &workers[i];
    struct process *p = &s.worker[i];
    for (uint32_t k = 0; k < s.n_brokers; k++)
        net_break(&s.net, link_to(self, k), false, s.now_us);
    serve_destroy(&self->serve);
    for (uint32_t k = 0; k < RUNNERS; k++)
        batch_done(&self->run[k].batch);
    for (uint32_t k = 0; k < REMEMBERED; k++)
        net_body_unref(self->last_body[k]);
    memset(self->last_body, 0, sizeof self->last_body);
    arena_done(&self->arena);
    wire_out_done(&self->out);
    p->alive = false;
    p->wake_us = UINT64_MAX;
    p->restart_us = s.now_us + (s.healed ? 50 : below(2000)) * (uint64_t)MS;
}

void worker_drain(uint32_t i) {
    struct worker *self = &workers[i];
    if (self->draining)
        return;
    self->draining = true;
    self->stop_us = clock_of(&s.worker[i]) + DRAIN_US;
    serve_at(self->serve, clock_of(&s.worker[i]));
    serve_drain(self->serve);
    wake_by(&s.worker[i], s.now_us);
}

/* An old result again, with the epoch of now: the ticket it names may be somebody else's. */
void worker_lie(uint32_t i) {
    struct worker *self = &workers[i];
    if (!self->n_last)
        return;
    uint32_t at = below(self->n_last < REMEMBERED ? self->n_last : REMEMBERED);
    uint32_t broker = self->last_broker[at];
    struct header header = self->last[at];
    header.credit = self->draining ? 0 : shares_window(&self->shares, broker);
    net_send(&s.net, link_to(self, broker), true, &header, self->last_body[at], s.now_us);
    s.totals.lies++;
}

void worker_check_calm(uint32_t i) {
    struct worker *self = &workers[i];
    EXPECT(s.worker[i].alive && serve_idle(self->serve));
    for (uint32_t k = 0; k < s.n_brokers; k++) {
        EXPECT(upstream_live(&self->upstream[k]));
        EXPECT(self->shares.share[k].held == 0);
    }
}
