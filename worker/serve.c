/* serve.c - requests, their units, and the flights the units wait for.
 *
 *     request: idle -> active -> idle          (-> parked -> idle while a runner uses its memory)
 *     unit:    start -> memory hit: answered
 *                    -> joins a flight with the same key
 *                    -> new flight: LOOKUP (Redis) -> QUEUED (batcher) -> RUNNING -> answered
 *
 * Invariants, checked by serve_check() in tests:
 *   - every slot is in exactly one of idle, active, parked;
 *   - a unit that waits is in its flight's list, and each of a flight's waiters belongs to an
 *     active request;
 *   - request->pending is the number of its units that wait, plus its look-ups and jobs;
 *   - a flight without waiters is in LOOKUP or RUNNING: someone will come back to end it;
 *   - each dispatch is answered once, or forgotten.
 *
 * Why the answer goes out only from serve_settle(), after a whole unit or task step: a request may
 * fail in the middle of starting its units, and would otherwise be freed under the loop that starts
 * them. */
#include "request.h"

#include "base/check.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- memory of requests */

/* Gives back what idle slots keep. */
static void trim(serve_t *self) {
    for (struct link *l = queue_head(&self->idle); l; l = queue_next(&self->idle, l)) {
        struct request *request = QUEUE_ITEM(l, struct request, link);
        self->bytes -= request->decoded.size + request->work.size;
        arena_done(&request->decoded);
        arena_done(&request->work);
    }
}

static bool ensure(serve_t *self, struct arena *arena, size_t bytes) {
    if (arena->size < bytes) {
        size_t size = 16 * 1024;
        while (size < bytes)
            size *= 2;
        self->bytes -= arena->size;
        arena_done(arena);
        if (self->bytes + size > self->cfg.bytes_max)
            trim(self);
        if (self->bytes + size > self->cfg.bytes_max || !arena_init(arena, size))
            return false;
        self->bytes += arena->size;
    }
    arena_reset(arena);
    return true;
}

bool serve_reserve_body(serve_t *self, struct request *request, size_t body_bytes) {
    return ensure(self, &request->decoded, codec_arena_bytes(body_bytes));
}

bool serve_reserve(serve_t *self, struct request *request, size_t bytes) {
    return ensure(self, &request->work, bytes);
}

void *serve_take(struct request *request, size_t n, size_t size) {
    void *p = arena_take_array(&request->work, n, size);
    CHECK(p); /* reserved */
    memset(p, 0, n * size);
    return p;
}

static void keep_or_free(serve_t *self, struct arena *arena) {
    if (arena->size <= SERVE_KEEP_BYTES)
        return;
    self->bytes -= arena->size;
    arena_done(arena);
}

/* To the front: the slot whose memory is still in the CPU's cache is used next. */
void serve_release(serve_t *self, struct request *request) {
    keep_or_free(self, &request->decoded);
    keep_or_free(self, &request->work);
    request->generation++;
    queue_push_front(&self->idle, &request->link);
}

size_t serve_facts_bytes(uint32_t n_texts, uint32_t n_units) {
    return arena_need(n_units, sizeof(struct unit)) + arena_need(n_texts, sizeof(uint32_t)) +
           2 * arena_need(n_texts, 1);
}

void serve_take_facts(struct request *request, uint32_t n_texts, uint32_t n_units) {
    request->n_texts = n_texts;
    request->n_units = n_units;
    request->units = serve_array(request, struct unit, n_units);
    request->tokens = serve_array(request, uint32_t, n_texts);
    request->truncated = serve_array(request, uint8_t, n_texts);
    request->source = serve_array(request, uint8_t, n_texts);
    for (uint32_t i = 0; i < n_units; i++) {
        request->units[i].request = request;
        request->units[i].index = i;
    }
}

uint64_t serve_estimate(const serve_t *self, const struct request *request,
                        const struct view *texts, uint32_t n, const struct view *seconds,
                        uint32_t m, uint32_t more) {
    const engine_t *engine = request_model(self, request)->engine;
    uint32_t most = request->max_tokens;
    uint32_t prefix =
        request->prefix.bytes ? engine_estimate_upto(engine, request->prefix, most) : 0;
    uint32_t second[LIMIT_REQUEST_TEXTS];
    uint64_t sum = 0;
    CHECK(m <= LIMIT_REQUEST_TEXTS && (int)LIMIT_REQUEST_LABELS <= (int)LIMIT_REQUEST_TEXTS);
    for (uint32_t k = 0; k < m; k++)
        second[k] = engine_estimate_upto(engine, seconds[k], most);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t text = prefix + more + engine_estimate_upto(engine, texts[i], most);
        for (uint32_t k = 0; k < (m ? m : 1); k++) {
            uint32_t tokens = text + (m ? second[k] : 0);
            sum += tokens < most ? tokens : most;
        }
    }
    return sum;
}

bool serve_affordable(const serve_t *self, struct request *request, uint64_t tokens) {
    uint32_t most = self->cfg.limits.tokens;
    if (tokens > most)
        serve_fail(request, STATUS_INVALID_ARGUMENT, 0,
                   "the request has about %llu tokens, at most %u are taken: send fewer texts",
                   (unsigned long long)tokens, most);
    return tokens <= most;
}

/* ---------------------------------------------------------------- answering */

static void finish(serve_t *self, struct request *request) {
    for (uint32_t i = 0; i < request->n_units; i++)
        serve_leave(self, &request->units[i]);
    if (request->task == WIRE_TASK_TOKENIZE && queue_has(&request->tokenize.link))
        queue_remove(&self->jobs, &request->tokenize.link);
    self->n_units -= request->n_units;
    self->broker_units[request->origin.broker] -= request->n_units;
    serve_ticket_remove(self, request);
    queue_remove(&self->active, &request->link);
    if (request->on_runner) {
        request->answered = true;
        queue_push(&self->parked, &request->link);
    } else {
        serve_release(self, request);
    }
}

/* What people are told includes our own work in this wake-up, which no decision here looks at. */
static uint64_t age_us(const serve_t *self, const struct request *request) {
    uint64_t now_us = self->cfg.clock ? self->cfg.clock() : self->now_us;
    return now_us - request->arrived_us;
}

static struct view trace_of(const struct request *request) {
    switch (request->task) {
    case WIRE_TASK_EMBED:
        return request->embed.in.traceparent;
    case WIRE_TASK_CLASSIFY:
        return request->classify.in.traceparent;
    case WIRE_TASK_RERANK:
        return request->rerank.in.traceparent;
    case WIRE_TASK_TOKENIZE:
        return request->tokenize.in.traceparent;
    default:
        return view_make(NULL, 0);
    }
}

static void tell_if_slow(serve_t *self, const struct request *request, enum status status) {
    if (!self->cfg.slow_us)
        return;
    uint64_t took_us = age_us(self, request);
    if (took_us < self->cfg.slow_us)
        return;
    counter_add(&self->stats.slow, 1);
    if (!self->cfg.slow)
        return;
    struct serve_slow slow = {.origin = request->origin,
                              .model = request->model,
                              .task = request->task,
                              .lane = request->lane,
                              .status = status,
                              .n_texts = request->n_texts,
                              .times = request->times,
                              .trace = trace_of(request)};
    slow.times.total_us = serve_us32(took_us);
    self->cfg.slow(self->cfg.reply_arg, &slow);
}

static void answer(serve_t *self, struct request *request, bool nack, enum status status,
                   struct view body) {
    struct serve_reply reply = {.origin = request->origin,
                                .nack = nack,
                                .status = status,
                                .work_us = serve_us32((request->work_ns + 999) / 1000),
                                .body = body};
    self->cfg.reply(self->cfg.reply_arg, &reply);
    if (!nack)
        tell_if_slow(self, request, status);
    finish(self, request);
}

static void answer_error(serve_t *self, struct request *request, enum status status, uint32_t item,
                         const char *text) {
    struct wire_error error = {.message = view_of(text), .item = item};
    struct view body = view_make(NULL, 0);
    if (codec_error_encode(&error, &self->out) == STATUS_OK)
        body = wire_out_view(&self->out);
    counter_add(&self->stats.errors, 1);
    answer(self, request, false, status, body);
}

static void nack(serve_t *self, const struct serve_origin *origin) {
    counter_add(&self->stats.nacks, 1);
    struct serve_reply reply = {.origin = *origin, .nack = true, .status = STATUS_UNAVAILABLE};
    self->cfg.reply(self->cfg.reply_arg, &reply);
}

void serve_fail(struct request *request, enum status status, uint32_t item, const char *format,
                ...) {
    if (request->failed != STATUS_OK)
        return;
    char text[ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    request->failed = err_set(&request->failed_err, status, "%s", text);
    request->failed_item = item;
}

void serve_send(serve_t *self, struct request *request, enum status encoded) {
    if (encoded != STATUS_OK) {
        answer_error(self, request, STATUS_RESOURCE_EXHAUSTED, 0,
                     "the reply is too large: send fewer texts");
        return;
    }
    uint64_t took = age_us(self, request), mean = counter_get(&self->stats.service_us);
    counter_set(&self->stats.service_us, mean ? mean - mean / 16 + took / 16 : took);
    histogram_add(&self->stats.request_us, took);
    counter_add(&self->stats.answered, 1);
    answer(self, request, false, STATUS_OK, wire_out_view(&self->out));
}

void serve_settle(serve_t *self, struct request *request) {
    if (request->failed != STATUS_OK)
        answer_error(self, request, request->failed, request->failed_item,
                     request->failed_err.text);
    else if (request->pending > 0)
        return;
    else if (request->task == WIRE_TASK_EMBED)
        embed_reply(self, request);
    else if (request->task == WIRE_TASK_CLASSIFY)
        classify_reply(self, request);
    else if (request->task == WIRE_TASK_RERANK)
        rerank_reply(self, request);
    else
        tokenize_reply(self, request);
}

void serve_expire(serve_t *self, struct request *request) {
    counter_add(&self->stats.expired, 1);
    answer_error(self, request, STATUS_DEADLINE_EXCEEDED, 0,
                 "the deadline passed before the model could answer");
}

struct wire_facts serve_facts(const serve_t *self, struct request *request) {
    const struct model *model = request_model(self, request);
    request->times.total_us = serve_us32(age_us(self, request));
    return (struct wire_facts){.n = request->n_texts,
                               .tokens = request->tokens,
                               .truncated = request->truncated,
                               .source = request->source,
                               .model = view_of(model->name),
                               .fingerprint = view_of(model->info->fingerprint),
                               .worker = view_of(self->cfg.worker),
                               .times = request->times};
}

/* ---------------------------------------------------------------- requests come and go */

static enum begin begin(serve_t *self, struct request *request, struct view body) {
    const struct model *model = request_model(self, request);
    if ((unsigned)request->task >= WIRE_TASKS || !(model->tasks & 1u << request->task)) {
        char can[64];
        models_list_tasks(model->tasks, can, sizeof can);
        serve_fail(request, STATUS_UNIMPLEMENTED, 0, "model '%s' does not %s; it can %s",
                   model->name, wire_task_name(request->task), can);
        return BEGIN_WRONG;
    }
    if (!serve_reserve_body(self, request, body.bytes))
        return BEGIN_FULL;
    switch (request->task) {
    case WIRE_TASK_EMBED:
        return embed_begin(self, request, body);
    case WIRE_TASK_CLASSIFY:
        return classify_begin(self, request, body);
    case WIRE_TASK_RERANK:
        return rerank_begin(self, request, body);
    default:
        return tokenize_begin(self, request, body);
    }
}

static struct request *admit(serve_t *self, const struct serve_origin *origin) {
    struct link *l = self->draining ? NULL : queue_pop(&self->idle);
    if (!l)
        return NULL;
    struct request *request = QUEUE_ITEM(l, struct request, link);
    struct arena decoded = request->decoded, work = request->work;
    uint32_t generation = request->generation;
    memset(request, 0, sizeof *request);
    request->decoded = decoded;
    request->work = work;
    request->generation = generation;
    request->origin = *origin;
    request->arrived_us = self->now_us;
    if (queue_empty(&self->active))
        self->next_scan_us = self->now_us + SERVE_SCAN_US;
    queue_push(&self->active, &request->link);
    serve_ticket_add(self, request);
    return request;
}

/* One broker cannot take all the room from the others. */
static bool has_room(const serve_t *self, uint32_t broker, uint32_t n_units) {
    uint32_t most = self->cfg.items_max;
    uint32_t of_one = self->cfg.brokers > 1 ? most / 4 * 3 : most;
    return self->n_units + n_units <= most && self->broker_units[broker] + n_units <= of_one;
}

bool serve_has(const serve_t *self, uint32_t broker, uint64_t ticket) {
    return serve_ticket_find(self, broker, ticket) != NULL;
}

void serve_dispatch(serve_t *self, const struct serve_origin *origin, uint32_t model,
                    enum wire_task task, uint8_t lane, uint32_t budget_us, struct view body) {
    counter_add(&self->stats.requests, 1);
    struct request *request = admit(self, origin);
    if (!request) {
        nack(self, origin);
        return;
    }
    request->model = model;
    request->task = task;
    request->lane = lane < WIRE_LANES ? lane : WIRE_LANE_BULK;
    batcher_line_init(&request->line, model, request->lane);
    request->deadline_us =
        self->now_us + (budget_us ? budget_us : (uint64_t)LIMIT_DEADLINE_MS * 1000);
    enum begin verdict = begin(self, request, body);
    if (verdict == BEGIN_WRONG)
        request->n_units = 0;
    if (verdict == BEGIN_FULL || !has_room(self, origin->broker, request->n_units)) {
        request->n_units = 0;
        finish(self, request);
        nack(self, origin);
        return;
    }
    self->n_units += request->n_units;
    self->broker_units[origin->broker] += request->n_units;
    if (verdict == BEGIN_OK && task == WIRE_TASK_EMBED)
        embed_start(self, request);
    else if (verdict == BEGIN_OK && task == WIRE_TASK_CLASSIFY)
        classify_start(self, request);
    else if (verdict == BEGIN_OK && task == WIRE_TASK_RERANK)
        rerank_start(self, request);
    else if (verdict == BEGIN_OK)
        tokenize_start(self, request);
    serve_settle(self, request);
}

void serve_cancel(serve_t *self, uint32_t broker, uint64_t ticket) {
    struct request *request = serve_ticket_find(self, broker, ticket);
    if (!request)
        return;
    counter_add(&self->stats.cancelled, 1);
    answer_error(self, request, STATUS_CANCELLED, 0, "cancelled");
}

void serve_forget(serve_t *self, uint32_t broker) {
    struct link *next;
    for (struct link *l = queue_head(&self->active); l; l = next) {
        struct request *request = QUEUE_ITEM(l, struct request, link);
        next = queue_next(&self->active, l);
        if (request->origin.broker == broker)
            finish(self, request);
    }
}

void serve_set_tokens(serve_t *self, uint32_t tokens_max) {
    batcher_set_tokens(&self->batcher, tokens_max);
}

void serve_drain(serve_t *self) {
    self->draining = true;
}

static bool with_runner(const struct request *request) {
    if (request->on_runner)
        return true;
    for (uint32_t i = 0; i < request->n_units; i++)
        if (request->units[i].flight && request->units[i].flight->state == FLIGHT_RUNNING)
            return true;
    return false;
}

uint32_t serve_give_back(serve_t *self) {
    uint32_t n = 0;
    struct link *next;
    for (struct link *l = queue_head(&self->active); l; l = next) {
        struct request *request = QUEUE_ITEM(l, struct request, link);
        next = queue_next(&self->active, l);
        if (with_runner(request))
            continue;
        counter_add(&self->stats.nacks, 1);
        answer(self, request, true, STATUS_UNAVAILABLE, view_make(NULL, 0));
        n++;
    }
    return n;
}

void serve_tick(serve_t *self) {
    if (self->now_us < self->next_scan_us)
        return;
    self->next_scan_us = self->now_us + SERVE_SCAN_US;
    struct link *next;
    for (struct link *l = queue_head(&self->active); l; l = next) {
        struct request *request = QUEUE_ITEM(l, struct request, link);
        next = queue_next(&self->active, l);
        if (request->deadline_us <= self->now_us)
            serve_expire(self, request);
    }
}

uint64_t serve_deadline_us(const serve_t *self) {
    return queue_empty(&self->active) ? UINT64_MAX : self->next_scan_us;
}

uint64_t serve_batch_deadline_us(const serve_t *self) {
    return batcher_deadline_us(&self->batcher, self->now_us);
}

/* ---------------------------------------------------------------- life */

void serve_at(serve_t *self, uint64_t now_us) {
    self->now_us = now_us;
}

bool serve_idle(const serve_t *self) {
    return queue_empty(&self->active) && self->batches_out == 0;
}

const struct serve_stats *serve_stats(const serve_t *self) {
    return &self->stats;
}

void serve_publish(serve_t *self) {
    const struct link *l = queue_head(&self->active);
    uint64_t oldest = l ? self->now_us - QUEUE_ITEM(l, struct request, link)->arrived_us : 0;
    counter_set(&self->stats.oldest_us, oldest);
    counter_set(&self->stats.active, self->active.n);
    counter_set(&self->stats.queued, self->batcher.n);
    counter_set(&self->stats.running, self->running);
}

static void set_limits(struct serve_limits *limits) {
    if (limits->labels == 0 || limits->labels > LIMIT_REQUEST_LABELS)
        limits->labels = LIMIT_REQUEST_LABELS;
    if (limits->pairs == 0 || limits->pairs > LIMIT_REQUEST_PAIRS)
        limits->pairs = LIMIT_REQUEST_PAIRS;
    if (limits->tokens == 0)
        limits->tokens = LIMIT_REQUEST_TOKENS;
}

enum status serve_new(const struct serve_cfg *cfg, serve_t **out, struct err *err) {
    CHECK(cfg->requests_max >= 1 && cfg->requests_max <= 65536);
    serve_t *self = calloc(1, sizeof *self);
    if (!self)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for requests");
    self->cfg = *cfg;
    set_limits(&self->cfg.limits);
    CHECK(cfg->items_max >= LIMIT_REQUEST_TEXTS + LIMIT_REQUEST_LABELS);
    CHECK(cfg->items_max >= self->cfg.limits.pairs && cfg->brokers <= LIMIT_BROKERS);
    queue_init(&self->active);
    queue_init(&self->idle);
    queue_init(&self->parked);
    queue_init(&self->jobs);
    batcher_init(&self->batcher, &cfg->batcher);
    self->requests = calloc(cfg->requests_max, sizeof *self->requests);
    self->picked = calloc(cfg->batcher.items_max, sizeof *self->picked);
    self->row = calloc(cfg->models->dim_max, sizeof *self->row);
    enum status st = key_maker_new(&self->keys, err);
    if (st == STATUS_OK && (!flights_init(&self->flights, 2 * cfg->items_max) || !self->requests ||
                            !self->picked || !self->row || !serve_tickets_init(self)))
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for requests");
    if (st != STATUS_OK) {
        serve_destroy(&self);
        return st;
    }
    for (uint32_t i = 0; i < cfg->requests_max; i++)
        queue_push(&self->idle, &self->requests[i].link);
    *out = self;
    return STATUS_OK;
}

void serve_destroy(serve_t **self_p) {
    serve_t *self = *self_p;
    if (!self)
        return;
    for (uint32_t i = 0; self->requests && i < self->cfg.requests_max; i++) {
        arena_done(&self->requests[i].decoded);
        arena_done(&self->requests[i].work);
    }
    free(self->requests);
    free(self->ticket_bucket);
    free(self->picked);
    free(self->row);
    flights_done(&self->flights);
    key_maker_destroy(&self->keys);
    wire_out_done(&self->out);
    free(self);
    *self_p = NULL;
}

static uint32_t waiting(const struct unit *units, uint32_t n) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < n; i++)
        count += units[i].flight != NULL;
    return count;
}

void serve_check(const serve_t *self) {
    CHECK(self->active.n + self->idle.n + self->parked.n == self->cfg.requests_max);
    uint32_t n_units = 0, n_waiting = 0, of_broker[LIMIT_BROKERS] = {0};
    for (const struct link *l = queue_head(&self->active); l; l = queue_next(&self->active, l)) {
        const struct request *request = QUEUE_ITEM(l, const struct request, link);
        uint32_t n = waiting(request->units, request->n_units);
        CHECK(n <= request->pending && request->pending > 0 && request->failed == STATUS_OK);
        CHECK((request->task != WIRE_TASK_EMBED && request->task != WIRE_TASK_RERANK) ||
              n == request->pending);
        CHECK(serve_ticket_find(self, request->origin.broker, request->origin.ticket) == request);
        n_waiting += n;
        n_units += request->n_units;
        of_broker[request->origin.broker] += request->n_units;
    }
    CHECK(n_units == self->n_units);
    CHECK(memcmp(of_broker, self->broker_units, sizeof of_broker) == 0);
    uint32_t n_flights = 0, n_queued = 0, n_waiters = 0;
    for (uint32_t i = 0; i < self->flights.n_max; i++) {
        const struct flight *flight = &self->flights.flight[i];
        if (flight->state == FLIGHT_FREE)
            continue;
        CHECK(flight->state != FLIGHT_DONE);
        CHECK(flight->state != FLIGHT_QUEUED || flight->waiters.n > 0);
        n_flights++;
        n_queued += flight->state == FLIGHT_QUEUED;
        n_waiters += flight->waiters.n;
    }
    CHECK(n_flights == self->flights.n && n_queued == self->batcher.n && n_waiters == n_waiting);
}
