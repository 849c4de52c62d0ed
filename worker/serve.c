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
#include "engine/classify.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define REQUEST_TOKEN (UINT64_C(1) << 63)

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
static void release(serve_t *self, struct request *request) {
    keep_or_free(self, &request->decoded);
    keep_or_free(self, &request->work);
    request->generation++;
    queue_push_front(&self->idle, &request->link);
}

size_t serve_facts_bytes(uint32_t n_texts) {
    return arena_need(n_texts, sizeof(struct unit)) + arena_need(n_texts, sizeof(uint32_t)) +
           2 * arena_need(n_texts, 1);
}

void serve_take_facts(struct request *request, const struct view *texts, uint32_t n_texts) {
    request->n_texts = n_texts;
    request->units = serve_array(request, struct unit, n_texts);
    request->tokens = serve_array(request, uint32_t, n_texts);
    request->truncated = serve_array(request, uint8_t, n_texts);
    request->source = serve_array(request, uint8_t, n_texts);
    for (uint32_t i = 0; i < n_texts; i++)
        request->units[i] = (struct unit){.request = request, .text = texts[i], .index = i};
}

/* ---------------------------------------------------------------- answering */

/* The unit no longer waits. A flight that nobody needs leaves the queue; one that Redis or a runner
 * has comes back by itself. */
static void leave(serve_t *self, struct unit *unit) {
    struct flight *flight = unit->flight;
    if (!flight)
        return;
    queue_remove(&flight->waiters, &unit->link);
    unit->flight = NULL;
    if (queue_empty(&flight->waiters) && flight->state == FLIGHT_QUEUED) {
        batcher_remove(&self->batcher, &flight->entry);
        flights_remove(&self->flights, flight);
    }
}

static void finish(serve_t *self, struct request *request) {
    for (uint32_t i = 0; i < request->n_texts; i++)
        leave(self, &request->units[i]);
    if (request->task == WIRE_TASK_CLASSIFY && request->classify.label_units)
        for (uint32_t i = 0; i < request->classify.in.n_labels; i++)
            leave(self, &request->classify.label_units[i]);
    if (request->task == WIRE_TASK_TOKENIZE && queue_has(&request->tokenize.link))
        queue_remove(&self->jobs, &request->tokenize.link);
    self->n_units -= request->n_units;
    queue_remove(&self->active, &request->link);
    if (request->on_runner) {
        request->answered = true;
        queue_push(&self->parked, &request->link);
    } else {
        release(self, request);
    }
}

static void answer(serve_t *self, struct request *request, bool nack, enum status status,
                   struct view body) {
    struct serve_reply reply = {
        .origin = request->origin, .nack = nack, .status = status, .body = body};
    self->cfg.reply(self->cfg.reply_arg, &reply);
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
    uint64_t took = self->now_us - request->arrived_us, mean = counter_get(&self->stats.service_us);
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
    else
        tokenize_reply(self, request);
}

static void expire(serve_t *self, struct request *request) {
    counter_add(&self->stats.expired, 1);
    answer_error(self, request, STATUS_DEADLINE_EXCEEDED, 0,
                 "the deadline passed before the model could answer");
}

static uint32_t us32(uint64_t us) {
    return us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

struct wire_facts serve_facts(const serve_t *self, struct request *request) {
    const struct model *model = request_model(self, request);
    request->times.total_us = us32(self->now_us - request->arrived_us);
    return (struct wire_facts){.n = request->n_texts,
                               .tokens = request->tokens,
                               .truncated = request->truncated,
                               .source = request->source,
                               .model = view_of(model->name),
                               .fingerprint = view_of(model->info->fingerprint),
                               .worker = view_of(self->cfg.worker),
                               .times = request->times};
}

/* ---------------------------------------------------------------- units and flights */

bool serve_note(serve_t *self, struct request *request, uint32_t i,
                const struct unit_answer *answer_) {
    const struct cache_entry *entry = answer_->entry;
    if (entry->truncated && request->side == ENGINE_CUT_OFF) {
        serve_fail(request, STATUS_INVALID_ARGUMENT, i + 1,
                   "text %u has more than the %u tokens allowed, and truncation is off", i + 1,
                   request->max_tokens);
        return false;
    }
    struct serve_stats *stats = &self->stats;
    struct counter *by_source[] = {[WIRE_SOURCE_MODEL] = &stats->misses,
                                   [WIRE_SOURCE_SHARED] = &stats->shared,
                                   [WIRE_SOURCE_MEMORY] = &stats->hits_memory,
                                   [WIRE_SOURCE_REDIS] = &stats->hits_redis};
    counter_add(by_source[answer_->source], 1);
    counter_add(&stats->texts, 1);
    request->tokens[i] = entry->tokens;
    request->truncated[i] = entry->truncated;
    request->source[i] = (uint8_t)answer_->source;
    return true;
}

/* The unit's answer is there; the request may have failed afterwards, serve_settle() is the
 * caller's. */
static void take(serve_t *self, struct unit *unit, const struct unit_answer *answer_) {
    struct request *request = unit->request;
    request->pending--;
    if (request->task == WIRE_TASK_EMBED)
        embed_take(self, unit, answer_);
    else
        classify_take(self, unit, answer_);
}

/* A cached result serves a request with a limit of its own only when the limit would change
 * nothing. */
static bool entry_fits(uint32_t max_tokens, uint32_t model_max, const struct cache_entry *entry) {
    return max_tokens >= model_max || (!entry->truncated && entry->tokens <= max_tokens);
}

/* Into the batcher; the flight has waiters. */
static void enqueue(serve_t *self, struct flight *flight) {
    const struct model *model = &self->cfg.models->model[flight->model];
    uint8_t lane = WIRE_LANE_BULK;
    for (struct link *l = queue_head(&flight->waiters); l; l = queue_next(&flight->waiters, l)) {
        const struct request *request = QUEUE_ITEM(l, struct unit, link)->request;
        if (request->lane < lane)
            lane = request->lane;
    }
    const struct unit *first = QUEUE_ITEM(queue_head(&flight->waiters), struct unit, link);
    struct view prefix = first->request->prefix;
    uint32_t tokens = engine_estimate(model->engine, first->text) +
                      (prefix.bytes ? engine_estimate(model->engine, prefix) : 0);
    if (tokens > flight->max_tokens)
        tokens = flight->max_tokens;
    flight->entry = (struct batcher_entry){.queued_us = self->now_us,
                                           .tokens = tokens ? tokens : 1,
                                           .bytes = (uint32_t)(prefix.bytes + first->text.bytes),
                                           .model = flight->model,
                                           .lane = lane};
    flight->state = FLIGHT_QUEUED;
    batcher_add(&self->batcher, &flight->entry);
}

static void join(serve_t *self, struct flight *flight, struct unit *unit) {
    queue_push(&flight->waiters, &unit->link);
    unit->flight = flight;
    if (flight->state == FLIGHT_QUEUED && unit->request->lane == WIRE_LANE_HIGH)
        batcher_promote(&self->batcher, &flight->entry);
}

void serve_start(serve_t *self, struct unit *unit) {
    struct request *request = unit->request;
    const struct model *model = request_model(self, request);
    const struct serve_cache *cache = &self->cfg.cache;
    bool use = request->cache == WIRE_CACHE_USE, keep = request->cache != WIRE_CACHE_BYPASS;
    struct cache_key key;
    request->pending++;
    if (keep)
        key_emb(self->keys, &model->key, request->prefix, unit->text,
                request->side == ENGINE_CUT_LEFT, &key);
    struct cache_entry entry;
    if (use && cache->self && cache->get_now(cache->self, &key, &entry) &&
        entry_fits(request->max_tokens, model->info->max_tokens, &entry)) {
        take(self, unit, &(struct unit_answer){&entry, WIRE_SOURCE_MEMORY});
        return;
    }
    struct flight *flight =
        use ? flights_find(&self->flights, &key, request->side, request->max_tokens) : NULL;
    if (flight) {
        join(self, flight, unit);
        return;
    }
    flight =
        flights_add(&self->flights, keep ? &key : NULL, request->side, request->max_tokens, use);
    if (!flight) {
        request->pending--;
        serve_fail(request, STATUS_RESOURCE_EXHAUSTED, 0, "too many texts in this worker");
        return;
    }
    flight->model = (uint8_t)request->model;
    flight->keep = keep;
    join(self, flight, unit);
    if (use && cache->self &&
        cache->want(cache->self, &key, flights_token(&self->flights, flight), self->now_us))
        flight->state = FLIGHT_LOOKUP;
    else
        enqueue(self, flight);
}

/* Hand an answer to all waiters; the flight is gone afterwards. */
static void land(serve_t *self, struct flight *flight, const struct cache_entry *entry,
                 enum wire_source first, enum wire_source others) {
    flight->state = FLIGHT_DONE;
    enum wire_source source = first;
    for (struct link *l; (l = queue_pop(&flight->waiters)); source = others) {
        struct unit *unit = QUEUE_ITEM(l, struct unit, link);
        unit->flight = NULL;
        take(self, unit, &(struct unit_answer){entry, source});
        serve_settle(self, unit->request);
    }
    flights_remove(&self->flights, flight);
}

static void flight_answer(serve_t *self, struct flight *flight, const struct cache_entry *entry,
                          enum wire_source source) {
    uint32_t model_max = self->cfg.models->model[flight->model].info->max_tokens;
    for (struct link *l = queue_head(&flight->waiters); l; l = queue_next(&flight->waiters, l)) {
        struct request *request = QUEUE_ITEM(l, struct unit, link)->request;
        request->times.cache_us = us32(self->now_us - request->arrived_us);
    }
    if (entry && entry_fits(flight->max_tokens, model_max, entry))
        land(self, flight, entry, source, source);
    else if (queue_empty(&flight->waiters))
        flights_remove(&self->flights, flight);
    else
        enqueue(self, flight);
}

uint64_t serve_request_token(const serve_t *self, const struct request *request, uint32_t index) {
    return REQUEST_TOKEN | (uint64_t)(request->generation & 0x7fffffff) << 32 |
           (uint64_t)(request - self->requests) << 16 | index;
}

void serve_cache_answer(void *arg, uint64_t token, const struct cache_entry *entry,
                        enum cache_source source) {
    serve_t *self = arg;
    enum wire_source from = source == CACHE_MEMORY ? WIRE_SOURCE_MEMORY : WIRE_SOURCE_REDIS;
    if (!(token & REQUEST_TOKEN)) {
        struct flight *flight = flights_by_token(&self->flights, token);
        if (flight && flight->state == FLIGHT_LOOKUP)
            flight_answer(self, flight, entry, from);
        return;
    }
    uint32_t slot = (uint32_t)(token >> 16) & 0xffff;
    if (slot >= self->cfg.requests_max)
        return;
    struct request *request = &self->requests[slot];
    if (token != serve_request_token(self, request, (uint32_t)token & 0xffff))
        return; /* it was answered meanwhile */
    request->times.cache_us = us32(self->now_us - request->arrived_us);
    request->pending--;
    classify_answer(self, request, (uint32_t)token & 0xffff, &(struct unit_answer){entry, from});
    serve_settle(self, request);
}

/* ---------------------------------------------------------------- batches */

/* Drops waiters whose time is over: they are answered now, not after a batch they no longer need.
 * */
static void expire_waiters(serve_t *self, struct flight *flight) {
    struct link *l = queue_head(&flight->waiters);
    while (l) {
        struct request *request = QUEUE_ITEM(l, struct unit, link)->request;
        if (request->deadline_us <= self->now_us) {
            expire(self, request); /* may take several units off this list */
            l = queue_head(&flight->waiters);
        } else {
            l = queue_next(&flight->waiters, l);
        }
    }
}

static void place(serve_t *self, struct flight *flight, struct batch *batch) {
    expire_waiters(self, flight);
    if (queue_empty(&flight->waiters)) {
        flights_remove(&self->flights, flight);
        return;
    }
    const struct unit *first = QUEUE_ITEM(queue_head(&flight->waiters), struct unit, link);
    struct engine_item *item =
        batch_add(batch, flights_slot(&self->flights, flight), first->request->prefix, first->text,
                  self->cfg.models->model[flight->model].info->dim);
    item->side = flight->side;
    item->max_tokens = flight->max_tokens;
}

static bool fill_job(serve_t *self, struct batch *batch) {
    struct link *l = queue_pop(&self->jobs);
    if (!l)
        return false;
    struct request *request = QUEUE_ITEM(l, struct request, tokenize.link);
    batch_reset(batch, request_model(self, request)->engine, request->model);
    tokenize_fill(request, &batch->job);
    batch->job.token = (uint64_t)(request - self->requests);
    batch->tokens = &batch->job;
    request->on_runner = true;
    return true;
}

static bool fill_texts(serve_t *self, struct batch *batch, uint32_t free_runners) {
    for (;;) {
        uint32_t n = batcher_pick(&self->batcher, free_runners, self->now_us, self->picked);
        if (n == 0)
            return false;
        uint32_t model = self->picked[0]->model;
        batch_reset(batch, self->cfg.models->model[model].engine, model);
        for (uint32_t i = 0; i < n; i++)
            QUEUE_ITEM(self->picked[i], struct flight, entry)->state = FLIGHT_RUNNING;
        for (uint32_t i = 0; i < n; i++)
            place(self, QUEUE_ITEM(self->picked[i], struct flight, entry), batch);
        if (batch->n > 0)
            return true;
    }
}

bool serve_fill(serve_t *self, struct batch *batch, uint32_t free_runners) {
    if (!fill_job(self, batch) && !fill_texts(self, batch, free_runners))
        return false;
    batch->number = ++self->batch_number;
    batch->formed_us = self->now_us;
    self->running += batch->n;
    self->batches_out++;
    return true;
}

bool serve_saturated(const serve_t *self) {
    return batcher_full(&self->batcher);
}

static void note_batch(const struct batch *batch, const struct flight *flight) {
    uint64_t queued = batch->started_us > flight->entry.queued_us
                          ? batch->started_us - flight->entry.queued_us
                          : 0;
    for (struct link *l = queue_head(&flight->waiters); l; l = queue_next(&flight->waiters, l)) {
        struct request *request = QUEUE_ITEM(l, struct unit, link)->request;
        if (queued > request->times.queue_us)
            request->times.queue_us = us32(queued);
        if (request->last_batch == batch->number)
            continue;
        request->last_batch = batch->number;
        request->times.tokenize_us += us32(batch->times.tokenize_us);
        request->times.infer_us += us32(batch->times.infer_us);
    }
}

/* The model gave no vector: all that wait for this text fail. */
static void crash(serve_t *self, struct flight *flight, const struct engine_item *item) {
    flight->state = FLIGHT_DONE;
    for (struct link *l; (l = queue_pop(&flight->waiters));) {
        struct unit *unit = QUEUE_ITEM(l, struct unit, link);
        struct request *request = unit->request;
        bool text = unit->index < request->n_texts;
        unit->flight = NULL;
        request->pending--;
        if (item->status == STATUS_OUT_OF_RANGE)
            serve_fail(request, STATUS_INVALID_ARGUMENT, text ? unit->index + 1 : 0,
                       "%s %u has %u tokens, %u are allowed, and truncation is off",
                       text ? "text" : "label",
                       text ? unit->index + 1 : unit->index - request->n_texts + 1,
                       item->tokens_full, flight->max_tokens);
        else
            serve_fail(request, STATUS_INTERNAL, text ? unit->index + 1 : 0,
                       "the model gave no usable vector for this text");
        serve_settle(self, request);
    }
    flights_remove(&self->flights, flight);
}

static void done_item(serve_t *self, const struct batch *batch, uint32_t i) {
    const struct engine_item *item = &batch->items[i];
    struct flight *flight = &self->flights.flight[batch->flights[i]];
    const struct engine_info *info = self->cfg.models->model[batch->model].info;
    CHECK(flight->state == FLIGHT_RUNNING);
    histogram_add(&self->stats.queue_us, batch->started_us > flight->entry.queued_us
                                             ? batch->started_us - flight->entry.queued_us
                                             : 0);
    note_batch(batch, flight);
    if (item->status != STATUS_OK) {
        crash(self, flight, item);
        return;
    }
    counter_add(&self->stats.tokens, item->tokens);
    struct cache_entry entry = {.kind = CACHE_EMB,
                                .truncated = item->tokens_full > item->tokens,
                                .tokens = item->tokens,
                                .n = info->dim,
                                .numbers = item->vector};
    if (flight->keep && self->cfg.cache.self &&
        (flight->max_tokens >= info->max_tokens || !entry.truncated))
        self->cfg.cache.put(self->cfg.cache.self, &flight->key, &entry, NULL);
    land(self, flight, &entry, WIRE_SOURCE_MODEL, WIRE_SOURCE_SHARED);
}

static void done_job(serve_t *self, const struct batch *batch) {
    struct request *request = &self->requests[batch->job.token];
    request->on_runner = false;
    if (request->answered) {
        queue_remove(&self->parked, &request->link);
        release(self, request);
        return;
    }
    request->times.tokenize_us = us32(batch->times.tokenize_us);
    request->times.queue_us = us32(batch->started_us - request->arrived_us);
    request->pending--;
    serve_settle(self, request);
}

void serve_done(serve_t *self, struct batch *batch) {
    CHECK(self->batches_out > 0);
    self->batches_out--;
    self->running -= batch->n;
    counter_add(&self->stats.batches, 1);
    histogram_add(&self->stats.tokenize_us, batch->times.tokenize_us);
    if (batch->tokens) {
        done_job(self, batch);
        return;
    }
    histogram_add(&self->stats.infer_us, batch->times.infer_us);
    for (uint32_t i = 0; i < batch->n; i++)
        done_item(self, batch, i);
}

/* ---------------------------------------------------------------- requests come and go */

static enum begin begin(serve_t *self, struct request *request, struct view body) {
    const struct model *model = request_model(self, request);
    if (!serve_reserve_body(self, request, body.bytes))
        return BEGIN_FULL;
    switch (request->task) {
    case WIRE_TASK_EMBED:
        return embed_begin(self, request, body);
    case WIRE_TASK_CLASSIFY:
        return classify_begin(self, request, body);
    case WIRE_TASK_TOKENIZE:
        return tokenize_begin(self, request, body);
    default:
        serve_fail(request, STATUS_UNIMPLEMENTED, 0, "model '%s' does not %s", model->name,
                   wire_task_name(request->task));
        return BEGIN_WRONG;
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
    queue_push(&self->active, &request->link);
    return request;
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
    request->deadline_us =
        self->now_us + (budget_us ? budget_us : (uint64_t)LIMIT_DEADLINE_MS * 1000);
    enum begin verdict = begin(self, request, body);
    if (verdict == BEGIN_FULL || self->n_units + request->n_units > self->cfg.items_max) {
        request->n_units = 0;
        finish(self, request);
        nack(self, origin);
        return;
    }
    self->n_units += request->n_units;
    if (verdict == BEGIN_OK && task == WIRE_TASK_EMBED)
        embed_start(self, request);
    else if (verdict == BEGIN_OK && task == WIRE_TASK_CLASSIFY)
        classify_start(self, request);
    else if (verdict == BEGIN_OK)
        tokenize_start(self, request);
    serve_settle(self, request);
}

void serve_cancel(serve_t *self, uint32_t broker, uint64_t ticket) {
    for (struct link *l = queue_head(&self->active); l; l = queue_next(&self->active, l)) {
        struct request *request = QUEUE_ITEM(l, struct request, link);
        if (request->origin.broker != broker || request->origin.ticket != ticket)
            continue;
        counter_add(&self->stats.cancelled, 1);
        answer_error(self, request, STATUS_CANCELLED, 0, "cancelled");
        return;
    }
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

void serve_drain(serve_t *self) {
    self->draining = true;
}

uint32_t serve_give_back(serve_t *self) {
    uint32_t n = 0;
    for (struct link *l; (l = queue_head(&self->active)); n++) {
        struct request *request = QUEUE_ITEM(l, struct request, link);
        counter_add(&self->stats.nacks, 1);
        answer(self, request, true, STATUS_UNAVAILABLE, view_make(NULL, 0));
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
            expire(self, request);
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

enum status serve_new(const struct serve_cfg *cfg, serve_t **out, struct err *err) {
    CHECK(cfg->requests_max >= 1 && cfg->requests_max <= 65536);
    CHECK(cfg->items_max >= LIMIT_REQUEST_TEXTS + LIMIT_REQUEST_LABELS);
    serve_t *self = calloc(1, sizeof *self);
    if (!self)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for requests");
    self->cfg = *cfg;
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
                            !self->picked || !self->row))
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
    uint32_t n_units = 0, n_waiting = 0;
    for (const struct link *l = queue_head(&self->active); l; l = queue_next(&self->active, l)) {
        const struct request *request = QUEUE_ITEM(l, const struct request, link);
        uint32_t n = waiting(request->units, request->n_texts);
        if (request->task == WIRE_TASK_CLASSIFY)
            n += waiting(request->classify.label_units, request->classify.in.n_labels);
        CHECK(n <= request->pending && request->pending > 0 && request->failed == STATUS_OK);
        CHECK(request->task != WIRE_TASK_EMBED || n == request->pending);
        n_waiting += n;
        n_units += request->n_units;
    }
    CHECK(n_units == self->n_units);
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
