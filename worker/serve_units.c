/* serve_units.c - a unit's way to its vector or logits: memory, a flight that is under way,
 * Redis, the batcher.
 *
 *     start --> memory hit: answered at once
 *           --> a flight with the same key: joined
 *           --> new flight: LOOKUP (Redis) --> QUEUED (batcher) --> RUNNING --> landed
 *                                |
 *                                '--> hit: landed
 *
 * A flight lands once: all who wait get the answer, then it is gone. It is DONE while it lands, so
 * that a request which goes at its answer, and takes other units off the same list, does not end it
 * twice. */
#include "request.h"

#define REQUEST_TOKEN (UINT64_C(1) << 63)

/* Whose texts come first: those of a higher lane, then of a smaller request. */
static bool more_urgent(const struct request *a, const struct request *b) {
    return a->lane != b->lane ? a->lane < b->lane : a->n_units < b->n_units;
}

/* The line of the most urgent request that waits for it. */
static struct batcher_line *line_for(const struct flight *flight) {
    struct request *best = NULL;
    for (struct link *l = queue_head(&flight->waiters); l; l = queue_next(&flight->waiters, l)) {
        struct request *request = QUEUE_ITEM(l, struct unit, link)->request;
        if (!best || more_urgent(request, best))
            best = request;
    }
    return &best->line;
}

void serve_leave(serve_t *self, struct unit *unit) {
    struct flight *flight = unit->flight;
    if (!flight)
        return;
    queue_remove(&flight->waiters, &unit->link);
    unit->flight = NULL;
    if (!queue_empty(&flight->waiters)) {
        if (flight->state == FLIGHT_QUEUED && flight->entry.line == &unit->request->line)
            batcher_move(&self->batcher, line_for(flight), &flight->entry);
        return;
    }
    if (flight->state == FLIGHT_RUNNING && flight->batch)
        batch_drop(flight->batch, flight->at, true);
    if (flight->state != FLIGHT_QUEUED)
        return;
    batcher_remove(&self->batcher, &flight->entry);
    flights_remove(&self->flights, flight);
}

bool serve_uncut(struct request *request, uint32_t i, const struct cache_entry *entry) {
    if (!entry->truncated || request->side != ENGINE_CUT_OFF)
        return true;
    serve_fail(request, STATUS_INVALID_ARGUMENT, i + 1,
               "the text has more than the %u tokens allowed, and truncation is off",
               request->max_tokens);
    return false;
}

void serve_count(serve_t *self, const struct request *request, uint32_t i) {
    struct serve_stats *stats = &self->stats;
    struct counter *by_source[] = {[WIRE_SOURCE_MODEL] = &stats->misses,
                                   [WIRE_SOURCE_SHARED] = &stats->shared,
                                   [WIRE_SOURCE_MEMORY] = &stats->hits_memory,
                                   [WIRE_SOURCE_REDIS] = &stats->hits_redis};
    counter_add(by_source[request->source[i]], 1);
    counter_add(&stats->texts, 1);
}

bool serve_note(serve_t *self, struct request *request, uint32_t i,
                const struct unit_answer *answer_) {
    const struct cache_entry *entry = answer_->entry;
    if (!serve_uncut(request, i, entry))
        return false;
    request->tokens[i] = entry->tokens;
    request->truncated[i] = entry->truncated;
    request->source[i] = (uint8_t)answer_->source;
    serve_count(self, request, i);
    return true;
}

uint8_t serve_dearer(uint8_t a, uint8_t b) {
    static const uint8_t cost[] = {[WIRE_SOURCE_MODEL] = 3,
                                   [WIRE_SOURCE_SHARED] = 2,
                                   [WIRE_SOURCE_REDIS] = 1,
                                   [WIRE_SOURCE_MEMORY] = 0};
    return cost[a] >= cost[b] ? a : b;
}

/* The unit's answer is there; the request may have failed afterwards, serve_settle() is the
 * caller's. */
static void take(serve_t *self, struct unit *unit, const struct unit_answer *answer_) {
    struct request *request = unit->request;
    request->pending--;
    if (request->task == WIRE_TASK_EMBED)
        embed_take(self, unit, answer_);
    else if (request->task == WIRE_TASK_RERANK)
        rerank_take(self, unit, answer_);
    else
        classify_take(self, unit, answer_);
}

/* A cached result, which is of the published limit, serves a request with a limit of its own only
 * when the limit would change nothing. */
static bool entry_fits(uint32_t max_tokens, uint32_t model_max, const struct cache_entry *entry) {
    return max_tokens == model_max || (!entry->truncated && entry->tokens <= max_tokens);
}

void serve_enqueue(serve_t *self, struct flight *flight) {
    const engine_t *engine = self->cfg.models->model[flight->model].engine;
    const struct unit *first = QUEUE_ITEM(queue_head(&flight->waiters), struct unit, link);
    struct view prefix = first->request->prefix;
    uint32_t most = flight->max_tokens;
    uint32_t tokens = engine_estimate_upto(engine, first->text, most) +
                      (prefix.bytes ? engine_estimate_upto(engine, prefix, most) : 0) +
                      (first->pair ? engine_estimate_upto(engine, first->second, most) : 0);
    if (tokens > most)
        tokens = most;
    flight->entry = (struct batcher_entry){
        .queued_us = self->now_us,
        .tokens = tokens ? tokens : 1,
        .bytes = (uint32_t)(prefix.bytes + first->text.bytes + first->second.bytes)};
    flight->state = FLIGHT_QUEUED;
    batcher_add(&self->batcher, line_for(flight), &flight->entry);
}

void serve_enqueue_again(serve_t *self, struct flight *flight) {
    flight->state = FLIGHT_QUEUED;
    batcher_put_back(&self->batcher, line_for(flight), &flight->entry);
}

static void join(serve_t *self, struct flight *flight, struct unit *unit) {
    queue_push(&flight->waiters, &unit->link);
    unit->flight = flight;
    if (flight->state == FLIGHT_QUEUED) {
        const struct request *owner = QUEUE_ITEM(flight->entry.line, struct request, line);
        if (more_urgent(unit->request, owner))
            batcher_move(&self->batcher, &unit->request->line, &flight->entry);
    }
    if (flight->state == FLIGHT_RUNNING) /* perhaps in time; otherwise it is queued once more */
        batch_drop(flight->batch, flight->at, false);
}

/* What the unit waits for, by name: under the same name others wait for the same. */
static void name_unit(serve_t *self, const struct unit *unit, struct cache_key *out) {
    const struct request *request = unit->request;
    const struct model *model = request_model(self, request);
    bool left = request->side == ENGINE_CUT_LEFT;
    if (unit->kind == UNIT_VECTOR)
        key_emb(self->keys, &model->key, request->prefix, unit->text, left, out);
    else if (unit->kind == UNIT_RANK)
        key_rank(self->keys, &model->key, unit->text, unit->second, out);
    else if (unit->pair)
        key_pair(self->keys, &model->key, request->prefix, unit->text, unit->second, NULL, out);
    else
        key_cls(self->keys, &model->key, request->prefix, unit->text, &model->labels,
                view_make(NULL, 0), left ? KEY_CUT_LEFT : 0, out);
}

void serve_start(serve_t *self, struct unit *unit) {
    struct request *request = unit->request;
    const struct model *model = request_model(self, request);
    const struct serve_cache *cache = &self->cfg.cache;
    bool entry_alone = unit->kind != UNIT_LOGITS;
    bool use = request->cache == WIRE_CACHE_USE, look = use && entry_alone && cache->self;
    bool keep = request->cache != WIRE_CACHE_BYPASS && entry_alone;
    struct cache_key key;
    request->pending++;
    if (use || keep)
        name_unit(self, unit, &key);
    struct cache_entry entry;
    if (look && cache->get_now(cache->self, &key, &entry) &&
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
    flight = flights_add(&self->flights, use || keep ? &key : NULL, request->side,
                         request->max_tokens, use);
    if (!flight) {
        request->pending--;
        serve_fail(request, STATUS_RESOURCE_EXHAUSTED, 0, "too many texts in this worker");
        return;
    }
    flight->model = (uint8_t)request->model;
    flight->kind = unit->kind;
    flight->keep = keep;
    join(self, flight, unit);
    if (look && cache->want(cache->self, &key, flights_token(&self->flights, flight), self->now_us))
        flight->state = FLIGHT_LOOKUP;
    else
        serve_enqueue(self, flight);
}

void serve_land(serve_t *self, struct flight *flight, const struct cache_entry *entry,
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
        request->times.cache_us = serve_us32(self->now_us - request->arrived_us);
    }
    if (entry && entry_fits(flight->max_tokens, model_max, entry))
        serve_land(self, flight, entry, source, source);
    else if (queue_empty(&flight->waiters))
        flights_remove(&self->flights, flight);
    else
        serve_enqueue(self, flight);
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
    request->times.cache_us = serve_us32(self->now_us - request->arrived_us);
    request->pending--;
    classify_answer(self, request, (uint32_t)token & 0xffff, &(struct unit_answer){entry, from});
    serve_settle(self, request);
}
