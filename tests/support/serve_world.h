/* serve_world.h - what serve needs around it in tests: a cache whose answers the test decides,
 * models from the fake engine, and a record of every reply. */
#ifndef EMBER_TEST_SERVE_WORLD_H
#define EMBER_TEST_SERVE_WORLD_H

#include "base/hash.h"
#include "engine/engine_fake.h"
#include "request.h"
#include "runner.h"
#include "support/test.h"

enum {
    WORLD_DIM = 8,
    WORLD_TOKENS = 16,
    WORLD_PAIR_TOKENS = 24, /* of the models that read pairs */
    WORLD_OWN = 5,          /* labels of its own that the last but one has */
    WORLD_ENTRIES = 8192,
    WORLD_WANTS = 4096,
    WORLD_PAIRS = 96, /* of one request */
};

/* Two of vectors, and one of each head. */
enum world_model { WORLD_M0, WORLD_M1, WORLD_NLI, WORLD_LABELS, WORLD_SCORE, WORLD_MODELS };

static const char world_vectors[] = "dim=8,tokens=16,nan=1";
static const char *world_m1 __attribute__((unused)) = world_vectors; /* for tests to replace */

struct world_entry {
    struct cache_key key;
    float numbers[LIMIT_REQUEST_LABELS];
    struct cache_entry entry;
    bool in_memory; /* otherwise only "Redis" has it */
};

struct world_want {
    struct cache_key key;
    uint64_t token;
};

struct world_cache {
    struct world_entry entry[WORLD_ENTRIES];
    uint32_t n;
    struct world_want want[WORLD_WANTS];
    uint32_t n_wants;
    float scratch[LIMIT_REQUEST_LABELS]; /* numbers given out, spoilt by the next call */
    uint64_t seed;
    uint32_t refuse_percent, memory_percent;
    uint64_t gets, puts;
};

struct world {
    struct models models;
    struct world_cache cache;
    serve_t *serve;
    struct batch batch[3];
    bool out[3];   /* a runner has it */
    bool begun[3]; /* and is done with it, unknown to serve */
    engine_seat_t *seat[WORLD_MODELS];
    uint64_t now_us;
    struct wire_out wire;
    struct arena arena;
};

static inline struct world_entry *world_find(struct world_cache *cache,
                                             const struct cache_key *key) {
    for (uint32_t i = 0; i < cache->n; i++)
        if (cache->entry[i].key.name_bytes == key->name_bytes &&
            memcmp(cache->entry[i].key.name, key->name, key->name_bytes) == 0 &&
            memcmp(cache->entry[i].key.sha, key->sha, sizeof key->sha) == 0)
            return &cache->entry[i];
    return NULL;
}

static inline void world_spoil(struct world_cache *cache) {
    for (size_t i = 0; i < sizeof cache->scratch / sizeof *cache->scratch; i++)
        cache->scratch[i] = NAN;
}

static inline struct cache_entry world_lend(struct world_cache *cache, struct world_entry *at) {
    struct cache_entry out = at->entry;
    memcpy(cache->scratch, at->numbers, sizeof cache->scratch);
    out.numbers = cache->scratch;
    return out;
}

static inline bool world_get_now(cache_t *self, const struct cache_key *key,
                                 struct cache_entry *out) {
    struct world_cache *cache = (struct world_cache *)(void *)self;
    cache->gets++;
    world_spoil(cache);
    struct world_entry *at = world_find(cache, key);
    if (!at || !at->in_memory)
        return false;
    *out = world_lend(cache, at);
    return true;
}

static inline bool world_want(cache_t *self, const struct cache_key *key, uint64_t token,
                              uint64_t now_us) {
    struct world_cache *cache = (struct world_cache *)(void *)self;
    (void)now_us;
    world_spoil(cache);
    if (cache->n_wants == WORLD_WANTS || hash_below(&cache->seed, 100) < cache->refuse_percent)
        return false;
    cache->want[cache->n_wants++] = (struct world_want){*key, token};
    return true;
}

static inline void world_put(cache_t *self, const struct cache_key *key,
                             const struct cache_entry *entry, const struct key_labels *labels) {
    struct world_cache *cache = (struct world_cache *)(void *)self;
    TEST_EQ(entry->n, key->n);
    TEST_EQ(entry->kind, key->kind);
    TEST_TRUE((labels != NULL) == (entry->kind == CACHE_CLS));
    cache->puts++;
    struct world_entry *at = world_find(cache, key);
    if (!at && cache->n < WORLD_ENTRIES)
        at = &cache->entry[cache->n++];
    if (!at)
        return;
    at->key = *key;
    at->entry = *entry;
    memcpy(at->numbers, entry->numbers, entry->n * sizeof(float));
    at->in_memory = hash_below(&cache->seed, 100) < cache->memory_percent;
    world_spoil(cache);
}

/* "Redis" answers want i. */
static inline void world_answer(struct world *world, uint32_t i) {
    struct world_cache *cache = &world->cache;
    struct world_want want = cache->want[i];
    cache->want[i] = cache->want[--cache->n_wants];
    struct world_entry *at = world_find(cache, &want.key);
    if (!at) {
        serve_cache_answer(world->serve, want.token, NULL, CACHE_MISS);
        return;
    }
    float numbers[LIMIT_REQUEST_LABELS]; /* valid for the whole call, as the cache promises */
    memcpy(numbers, at->numbers, sizeof numbers);
    struct cache_entry entry = at->entry;
    entry.numbers = numbers;
    serve_cache_answer(world->serve, want.token, &entry, CACHE_REDIS);
}

/* A free runner takes what there is; false: nothing to do, or none is free. */
static inline bool world_fill(struct world *world) {
    uint32_t n_free = 0, at = 0;
    for (uint32_t i = 0; i < 3; i++)
        if (!world->out[i]) {
            n_free++;
            at = i;
        }
    if (n_free == 0 || !serve_fill(world->serve, &world->batch[at], n_free))
        return false;
    return world->out[at] = true;
}

static inline void world_begin(struct world *world, uint32_t i) {
    struct batch *batch = &world->batch[i];
    if (!world->begun[i])
        runner_batch(world->seat[batch->model], batch);
    world->begun[i] = true;
}

/* Back from a runner that has not begun it. */
static inline void world_recall(struct world *world, uint32_t i) {
    serve_recall(world->serve, &world->batch[i]);
    world->out[i] = false;
}

static inline void world_run(struct world *world, uint32_t i) {
    struct batch *batch = &world->batch[i];
    world_begin(world, i);
    batch->started_us = batch->formed_us; /* the test's clock, not the machine's */
    serve_done(world->serve, batch);
    world->out[i] = world->begun[i] = false;
}

/* Everything that is under way comes to its end. */
static inline void world_finish(struct world *world) {
    for (bool busy = true; busy;) {
        busy = world_fill(world);
        for (uint32_t i = 0; i < 3; i++)
            if (world->out[i]) {
                world_run(world, i);
                busy = true;
            }
        while (world->cache.n_wants) {
            world_answer(world, 0);
            busy = true;
        }
    }
}

static inline void world_time(struct world *world, uint64_t us) {
    world->now_us += us;
    serve_at(world->serve, world->now_us);
}

static inline void world_open(struct world *world, struct serve_cfg cfg, serve_reply_fn *reply,
                              void *arg) {
    const struct {
        const char *name, *spec;
    } made[WORLD_MODELS] = {
        {"m0", world_vectors},
        {"m1", world_m1},
        {"nli", "head=nli,tokens=24,nan=1"},
        {"own", "head=labels,labels=5,tokens=16,nan=1"},
        {"score", "head=score,tokens=24,nan=1"},
    };
    for (uint32_t i = 0; i < WORLD_MODELS; i++) {
        struct model *model = &world->models.model[i];
        snprintf(model->name, sizeof model->name, "%s", made[i].name);
        TEST_EQ(engine_fake_open(made[i].spec, &model->engine, NULL), STATUS_OK);
        TEST_EQ(models_fill(model, NULL), STATUS_OK);
        TEST_EQ(engine_seat_new(model->engine, 64, 64, &world->seat[i], NULL), STATUS_OK);
    }
    world->models.n = WORLD_MODELS;
    world->models.dim_max = WORLD_DIM;
    world->cache.seed = 1;
    world->cache.memory_percent = 100;
    world->now_us = 1000 * 1000;
    cfg.models = &world->models;
    cfg.cache = (struct serve_cache){.self = (cache_t *)(void *)&world->cache,
                                     .get_now = world_get_now,
                                     .want = world_want,
                                     .put = world_put};
    cfg.batcher =
        (struct batcher_cfg){.tokens_max = 48, .items_max = 12, .bytes_max = 2 * LIMIT_TEXT_BYTES};
    cfg.limits.pairs = WORLD_PAIRS;
    cfg.worker = "w";
    cfg.reply = reply;
    cfg.reply_arg = arg;
    TEST_EQ(serve_new(&cfg, &world->serve, NULL), STATUS_OK);
    for (uint32_t i = 0; i < 3; i++)
        TEST_TRUE(batch_init(&world->batch[i], 12, 2 * LIMIT_TEXT_BYTES, WORLD_DIM));
    TEST_TRUE(arena_init(&world->arena, codec_arena_bytes(LIMIT_REPLY_BYTES)));
    world_time(world, 0);
}

static inline void world_close(struct world *world) {
    serve_destroy(&world->serve);
    for (uint32_t i = 0; i < 3; i++)
        batch_done(&world->batch[i]);
    for (uint32_t i = 0; i < WORLD_MODELS; i++)
        engine_seat_destroy(&world->seat[i]);
    models_done(&world->models);
    arena_done(&world->arena);
    wire_out_done(&world->wire);
}

/* The logits the engine gives for a text, or for a pair when `pair` says how it is cut. */
static inline struct engine_item world_logits(struct world *world, uint32_t model, struct view text,
                                              struct view second, enum engine_pair pair,
                                              enum engine_side side, uint32_t max_tokens,
                                              float *logits) {
    struct engine_item item = {.text = text,
                               .second = second,
                               .pair = pair,
                               .side = side,
                               .max_tokens = max_tokens,
                               .out = logits};
    engine_run(world->models.model[model].engine, world->seat[model], &item, 1, NULL);
    return item;
}

/* The full vector the engine gives; its status. */
static inline struct engine_item world_vector(struct world *world, uint32_t model, struct view text,
                                              enum engine_side side, uint32_t max_tokens,
                                              float full[WORLD_DIM]) {
    struct engine_item item = {.text = text, .side = side, .max_tokens = max_tokens, .out = full};
    struct engine_times times = {0};
    engine_run(world->models.model[model].engine, world->seat[model], &item, 1, &times);
    return item;
}

#endif
