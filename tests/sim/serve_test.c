/* serve_test.c - thousands of random steps around serve: requests, cancels, late or missing cache
 * answers, batches that end in any order, brokers that vanish. After each step the books must
 * balance; every request has one answer, and every vector in it is the one the model gives for that
 * text and those options.
 *
 *     sim_serve_test [SEED]     one seed, as a failure printed it */
#include "support/serve_world.h"

#include "engine/classify.h"
#include "engine/vector.h"

enum { STEPS = 3000, SEEDS = 100, REQUESTS = STEPS, TEXTS = 6, LABELS = 3, BROKERS = 2 };

struct asked {
    enum wire_task task;
    uint32_t model, broker, n_texts, n_labels;
    uint8_t text[TEXTS], label[LABELS];
    uint8_t second[TEXTS], query; /* words, like text */
    bool pairs;                   /* text with second, for the model's own labels */
    uint32_t top_k;
    enum wire_truncate truncate;
    enum wire_cache cache;
    uint32_t max_tokens, dimensions;
    bool multi, prefix, template_text;
    uint64_t deadline_us;
    bool cancelled, forgotten;
    uint32_t answers;
};

static const char *const words[] = {"a",
                                    "bb",
                                    "ccc",
                                    "dddd",
                                    "a NaN",
                                    "thirteen byte",
                                    "fourteen bytes",
                                    "fifteen bytes..",
                                    "a text that is much too long for the model",
                                    "a text that is too long and starts alike"};
enum { WORDS = sizeof words / sizeof *words, LABEL_WORDS = 4 };

struct sim {
    struct world world;
    struct asked asked[REQUESTS];
    uint32_t n_asked;
    uint64_t seed, random;
};
static struct sim sim;

static uint32_t below(uint32_t n) {
    return hash_below(&sim.random, n);
}

static enum engine_side side_of(const struct asked *r) {
    return (enum engine_side)r->truncate;
}

static struct view text_of(const struct asked *r, uint32_t i, char out[128]) {
    snprintf(out, 128, "%s%s", r->prefix ? "p: " : "", words[r->text[i]]);
    return view_of(out);
}

static uint32_t room_of(const struct asked *r) {
    uint32_t most = sim.world.models.model[r->model].info->max_tokens;
    return r->max_tokens && r->max_tokens < most ? r->max_tokens : most;
}

/* What the model reads for text i: alone, or as so many pairs. */
static uint32_t readings(const struct asked *r) {
    return r->task == WIRE_TASK_CLASSIFY && r->model == WORLD_NLI ? r->n_labels : 1;
}

static bool is_paired(const struct asked *r) {
    return r->pairs || (r->model == WORLD_NLI && r->task == WIRE_TASK_CLASSIFY) ||
           r->task == WIRE_TASK_RERANK;
}

struct reading {
    char first[128], second[128];
    enum engine_pair pair;
};

static struct reading reading_of(const struct asked *r, uint32_t i, uint32_t k) {
    struct reading out = {.second = "", .pair = ENGINE_SINGLE};
    text_of(r, i, out.first);
    if (r->task == WIRE_TASK_RERANK) {
        memcpy(out.second, out.first, sizeof out.second);
        snprintf(out.first, sizeof out.first, "%s", words[r->query]);
        out.pair = ENGINE_PAIR_LONGEST_FIRST;
    } else if (r->pairs) {
        snprintf(out.second, sizeof out.second, "%s", words[r->second[i]]);
        out.pair = ENGINE_PAIR_LONGEST_FIRST;
    } else if (is_paired(r)) {
        snprintf(out.second, sizeof out.second, r->template_text ? "<%s>" : "%s",
                 words[r->label[k]]);
        out.pair = ENGINE_PAIR_ONLY_FIRST;
    }
    return out;
}

static uint32_t whole_of(const struct reading *reading) {
    return (uint32_t)(strlen(reading->first) + strlen(reading->second)) + (reading->pair ? 3 : 2);
}

/* Whether this error may be the answer of request r, now. */
static bool allowed(const struct asked *r, enum status status) {
    bool nan = false, cut = false;
    for (uint32_t i = 0; i < r->n_texts; i++)
        for (uint32_t k = 0; k < readings(r); k++) {
            struct reading reading = reading_of(r, i, k);
            cut |= whole_of(&reading) > room_of(r);
            nan |= strstr(reading.first, "NaN") || strstr(reading.second, "NaN");
        }
    for (uint32_t l = 0; l < r->n_labels; l++) /* by cosine they are read alone */
        cut |= strlen(words[r->label[l]]) + (r->template_text ? 4 : 2) > room_of(r);
    switch (status) {
    case STATUS_INVALID_ARGUMENT:
        return (cut && r->truncate == WIRE_TRUNCATE_OFF) ||
               (is_paired(r) && r->truncate == WIRE_TRUNCATE_LEFT);
    case STATUS_INTERNAL:
        return nan && r->task != WIRE_TASK_TOKENIZE;
    case STATUS_DEADLINE_EXCEEDED:
        return r->deadline_us <= sim.world.now_us;
    case STATUS_CANCELLED:
        return r->cancelled;
    default:
        return false;
    }
}

static void check_facts(const struct asked *r, const struct wire_facts *facts) {
    TEST_EQ(facts->n, r->n_texts);
    for (uint32_t i = 0; i < r->n_texts; i++) {
        uint32_t room = room_of(r), tokens = 0;
        bool cut = false;
        for (uint32_t k = 0; k < readings(r); k++) {
            struct reading reading = reading_of(r, i, k);
            uint32_t whole = whole_of(&reading);
            tokens += whole < room ? whole : room;
            cut |= whole > room;
        }
        TEST_EQ(facts->tokens[i], tokens);
        TEST_EQ(facts->truncated[i], cut);
        TEST_TRUE(r->truncate != WIRE_TRUNCATE_OFF || !facts->truncated[i]);
        if (r->cache != WIRE_CACHE_USE)
            TEST_EQ(facts->source[i], WIRE_SOURCE_MODEL);
    }
}

static void check_embed(const struct asked *r, struct view body) {
    struct wire_embed_reply reply;
    TEST_EQ(codec_embed_reply_decode(body, &sim.world.arena, &reply, NULL), STATUS_OK);
    check_facts(r, &reply.facts);
    uint32_t dim = r->dimensions ? r->dimensions : WORLD_DIM;
    TEST_EQ(reply.vectors.bytes, r->n_texts * dim * sizeof(float));
    for (uint32_t i = 0; i < r->n_texts; i++) {
        char text[128];
        float full[WORLD_DIM], want[WORLD_DIM];
        world_vector(&sim.world, r->model, text_of(r, i, text), side_of(r), r->max_tokens, full);
        vector_finish(full, WORLD_DIM, r->dimensions,
                      sim.world.models.model[r->model].info->normalize, want);
        TEST_MEM_EQ(reply.vectors.data + i * dim * sizeof(float), want, dim * sizeof(float));
    }
}

static void want_cosines(const struct asked *r, uint32_t i, float *scores) {
    char text[128];
    float full[WORLD_DIM], label[WORLD_DIM];
    world_vector(&sim.world, r->model, text_of(r, i, text), side_of(r), r->max_tokens, full);
    for (uint32_t l = 0; l < r->n_labels; l++) {
        char hypothesis[128];
        snprintf(hypothesis, sizeof hypothesis, r->template_text ? "<%s>" : "%s",
                 words[r->label[l]]);
        world_vector(&sim.world, r->model, view_of(hypothesis), side_of(r), r->max_tokens, label);
        scores[l] = vector_cosine(full, label, WORLD_DIM);
    }
    classify_scores(NULL, scores, r->n_labels, r->multi, scores);
}

static void want_logits(const struct asked *r, uint32_t i, uint32_t k, float *logits) {
    struct reading reading = reading_of(r, i, k);
    world_logits(&sim.world, r->model, view_of(reading.first), view_of(reading.second),
                 reading.pair, side_of(r), r->max_tokens, logits);
}

/* Scores of text i; returns how many labels there are. */
static uint32_t want_scores(const struct asked *r, uint32_t i, float scores[WORLD_DIM]) {
    const struct engine_info *info = sim.world.models.model[r->model].info;
    float logits[LABELS * WORLD_DIM];
    if (r->model == WORLD_LABELS) {
        want_logits(r, i, 0, logits);
        classify_head(logits, WORLD_OWN, info->sigmoid, scores);
        return WORLD_OWN;
    }
    if (r->model != WORLD_NLI) {
        want_cosines(r, i, scores);
        return r->n_labels;
    }
    for (uint32_t l = 0; l < r->n_labels; l++)
        want_logits(r, i, l, logits + l * info->dim);
    classify_nli(logits, r->n_labels, info->dim, info->entailment, info->contradiction, r->multi,
                 scores);
    return r->n_labels;
}

static void check_classify(const struct asked *r, struct view body) {
    struct wire_classify_reply reply;
    TEST_EQ(codec_classify_reply_decode(body, &sim.world.arena, &reply, NULL), STATUS_OK);
    check_facts(r, &reply.facts);
    for (uint32_t i = 0; i < r->n_texts; i++) {
        float scores[WORLD_DIM];
        uint32_t n = want_scores(r, i, scores), top = r->top_k && r->top_k < n ? r->top_k : n;
        TEST_EQ(reply.n_labels, n);
        TEST_EQ(reply.results[i].n, top);
        for (uint32_t k = 0; k < top; k++)
            TEST_NEAR(reply.results[i].score[k], scores[reply.results[i].label[k]], 1e-6);
    }
}

static void check_rerank(const struct asked *r, struct view body) {
    struct wire_rerank_reply reply;
    TEST_EQ(codec_rerank_reply_decode(body, &sim.world.arena, &reply, NULL), STATUS_OK);
    check_facts(r, &reply.facts);
    TEST_EQ(reply.n, r->top_k && r->top_k < r->n_texts ? r->top_k : r->n_texts);
    float before = 2;
    for (uint32_t k = 0; k < reply.n; k++) {
        float logit;
        want_logits(r, reply.index[k], 0, &logit);
        TEST_NEAR(reply.score[k], classify_sigmoid(logit), 1e-6);
        TEST_TRUE(reply.score[k] <= before);
        before = reply.score[k];
    }
}

static void check_tokenize(const struct asked *r, struct view body) {
    struct wire_tokenize_reply reply;
    TEST_EQ(codec_tokenize_reply_decode(body, &sim.world.arena, &reply, NULL), STATUS_OK);
    TEST_EQ(reply.n_results, r->n_texts);
    for (uint32_t i = 0; i < r->n_texts; i++)
        TEST_EQ(reply.results[i].full, strlen(words[r->text[i]]) + 2);
}

static void on_reply(void *arg, const struct serve_reply *reply) {
    (void)arg;
    TEST_TRUE(reply->origin.ticket < sim.n_asked);
    struct asked *r = &sim.asked[reply->origin.ticket];
    TEST_EQ(reply->origin.broker, r->broker);
    TEST_EQ(reply->origin.service, 100 + r->model);
    TEST_TRUE(!r->forgotten);
    TEST_EQ(++r->answers, 1);
    arena_reset(&sim.world.arena);
    if (reply->nack)
        return;
    if (reply->status != STATUS_OK) {
        if (!allowed(r, reply->status))
            TEST_FAIL("seed %llu ticket %llu: %s is not true", (unsigned long long)sim.seed,
                      (unsigned long long)reply->origin.ticket, status_name(reply->status));
        return;
    }
    if (r->task == WIRE_TASK_EMBED)
        check_embed(r, reply->body);
    else if (r->task == WIRE_TASK_CLASSIFY)
        check_classify(r, reply->body);
    else if (r->task == WIRE_TASK_RERANK)
        check_rerank(r, reply->body);
    else
        check_tokenize(r, reply->body);
}

static void ask_embed(struct asked *r, const struct view *texts) {
    r->max_tokens = below(4) ? 0 : 3 + below(WORLD_TOKENS);
    r->dimensions = below(4) ? 0 : 1 + below(WORLD_DIM);
    r->prefix = below(4) == 0;
    struct wire_embed_request in = {.texts = texts,
                                    .n_texts = r->n_texts,
                                    .dimensions = r->dimensions,
                                    .prompt_prefix = view_of(r->prefix ? "p: " : ""),
                                    .truncate = r->truncate,
                                    .cache = r->cache,
                                    .max_tokens = r->max_tokens};
    TEST_EQ(codec_embed_request_encode(&in, &sim.world.wire), STATUS_OK);
}

static void ask_rerank(struct asked *r, const struct view *texts) {
    r->query = (uint8_t)below(below(4) ? 4 : WORDS);
    r->max_tokens = below(4) ? 0 : 5 + below(WORLD_PAIR_TOKENS);
    struct wire_rerank_request in = {.query = view_of(words[r->query]),
                                     .documents = texts,
                                     .n_documents = r->n_texts,
                                     .top_k = r->top_k,
                                     .truncate = r->truncate,
                                     .cache = r->cache,
                                     .max_tokens = r->max_tokens};
    TEST_EQ(codec_rerank_request_encode(&in, &sim.world.wire), STATUS_OK);
}

/* Labels of the model's own, for texts or pairs. */
static void ask_own(struct asked *r, const struct view *texts) {
    struct view seconds[TEXTS];
    r->pairs = below(2);
    for (uint32_t i = 0; i < r->n_texts; i++) {
        r->second[i] = (uint8_t)below(4);
        seconds[i] = view_of(words[r->second[i]]);
    }
    struct wire_classify_request in = {.texts = texts,
                                       .n_texts = r->n_texts,
                                       .seconds = r->pairs ? seconds : NULL,
                                       .top_k = r->top_k,
                                       .truncate = r->truncate,
                                       .cache = r->cache,
                                       .max_tokens = r->max_tokens};
    TEST_EQ(codec_classify_request_encode(&in, &sim.world.wire), STATUS_OK);
}

static void ask_classify(struct asked *r, const struct view *texts) {
    struct view labels[LABELS];
    r->max_tokens = below(4) ? 0 : 5 + below(WORLD_PAIR_TOKENS);
    if (r->model == WORLD_LABELS) {
        ask_own(r, texts);
        return;
    }
    r->n_labels = 1 + below(LABELS);
    uint32_t first = below(LABEL_WORDS);
    for (uint32_t i = 0; i < r->n_labels; i++) {
        r->label[i] = (uint8_t)((first + i) % LABEL_WORDS);
        labels[i] = view_of(words[r->label[i]]);
    }
    r->multi = below(2);
    r->template_text = below(2);
    struct wire_classify_request in = {.texts = texts,
                                       .n_texts = r->n_texts,
                                       .labels = labels,
                                       .n_labels = r->n_labels,
                                       .hypothesis_template =
                                           view_of(r->template_text ? "<{}>" : ""),
                                       .multi_label = r->multi,
                                       .top_k = r->top_k,
                                       .truncate = r->truncate,
                                       .cache = r->cache,
                                       .max_tokens = r->max_tokens};
    TEST_EQ(codec_classify_request_encode(&in, &sim.world.wire), STATUS_OK);
}

static void step_ask(void) {
    if (sim.n_asked == REQUESTS)
        return;
    struct asked *r = &sim.asked[sim.n_asked];
    uint32_t model = below(2) ? below(2) : below(WORLD_MODELS);
    enum wire_task task = model == WORLD_SCORE                ? WIRE_TASK_RERANK
                          : model > WORLD_M1 || below(3) == 0 ? WIRE_TASK_CLASSIFY
                                                              : WIRE_TASK_EMBED;
    *r = (struct asked){.task = below(8) ? task : WIRE_TASK_TOKENIZE,
                        .model = model,
                        .broker = below(BROKERS),
                        .n_texts = 1 + below(TEXTS),
                        .top_k = below(2) ? 0 : 1 + below(TEXTS),
                        .truncate = (enum wire_truncate)below(3),
                        .cache = below(3) ? WIRE_CACHE_USE : (enum wire_cache)below(3)};
    struct view texts[TEXTS];
    uint32_t n_words = below(4) ? 4 : WORDS; /* mostly plain ones, so that most requests succeed */
    for (uint32_t i = 0; i < r->n_texts; i++) {
        r->text[i] = (uint8_t)below(n_words);
        texts[i] = view_of(words[r->text[i]]);
    }
    if (r->task == WIRE_TASK_EMBED) {
        ask_embed(r, texts);
    } else if (r->task == WIRE_TASK_CLASSIFY) {
        ask_classify(r, texts);
    } else if (r->task == WIRE_TASK_RERANK) {
        ask_rerank(r, texts);
    } else {
        r->cache = WIRE_CACHE_USE;
        struct wire_tokenize_request in = {
            .texts = texts, .n_texts = r->n_texts, .truncate = r->truncate};
        TEST_EQ(codec_tokenize_request_encode(&in, &sim.world.wire), STATUS_OK);
    }
    uint32_t budget_us = below(4) ? 0 : 1 + below(50 * 1000);
    r->deadline_us = budget_us ? sim.world.now_us + budget_us : UINT64_MAX;
    struct serve_origin origin = {
        .ticket = sim.n_asked++, .broker = r->broker, .service = (uint16_t)(100 + r->model)};
    serve_dispatch(sim.world.serve, &origin, r->model, r->task, (uint8_t)below(WIRE_LANES),
                   budget_us, wire_out_view(&sim.world.wire));
}

static void step_cancel(void) {
    if (sim.n_asked == 0)
        return;
    uint32_t back = below(20);
    uint32_t ticket = sim.n_asked - 1 - (back < sim.n_asked ? back : 0);
    struct asked *r = &sim.asked[ticket];
    if (r->answers == 0)
        r->cancelled = true;
    serve_cancel(sim.world.serve, r->broker, ticket);
    TEST_TRUE(r->answers == 1 || r->forgotten);
}

static void step_forget(void) {
    uint32_t broker = below(BROKERS);
    for (uint32_t i = 0; i < sim.n_asked; i++)
        if (sim.asked[i].broker == broker && sim.asked[i].answers == 0)
            sim.asked[i].forgotten = true;
    serve_forget(sim.world.serve, broker);
}

/* The small request of each model that should go next, and how many batches of its model went
 * without it since. */
static struct urgent {
    const struct batcher_entry *entry;
    uint64_t since_us;
    uint32_t passed;
} urgent[WORLD_MODELS];
enum { PASSED_MAX = 2 }; /* who earned it may go before, but has paid then */

static const struct batcher_entry *most_urgent(const struct batcher_model *model) {
    for (uint32_t l = 0; l < WIRE_LANES; l++) {
        const struct batcher_lane *lane = &model->lanes[l];
        if (!lane->sizes)
            continue;
        if (!(lane->sizes & 1))
            return NULL; /* large ones alone */
        const struct batcher_line *line =
            QUEUE_ITEM(queue_head(&lane->by_size[0]), struct batcher_line, by_size);
        return QUEUE_ITEM(queue_head(&line->entries), struct batcher_entry, link);
    }
    return NULL;
}

/* Whatever large requests wait, a small one is in one of the next batches. */
static void step_fill(void) {
    struct world *world = &sim.world;
    for (uint32_t m = 0; m < WORLD_MODELS; m++) {
        const struct batcher_entry *entry = most_urgent(&world->serve->batcher.models[m]);
        if (entry != urgent[m].entry || (entry && entry->queued_us != urgent[m].since_us))
            urgent[m] = (struct urgent){entry, entry ? entry->queued_us : 0, 0};
    }
    if (!world_fill(world))
        return;
    for (uint32_t i = 0; i < 3; i++) {
        const struct batch *batch = &world->batch[i];
        struct urgent *at = &urgent[batch->model];
        if (!world->out[i] || batch->number != world->serve->batch_number || batch->tokens)
            continue;
        if (at->entry && at->entry->line && ++at->passed > PASSED_MAX)
            TEST_FAIL("a small request of model %u waits behind %u batches", batch->model,
                      at->passed);
    }
}

static void step(void) {
    struct world *world = &sim.world;
    uint32_t dice = below(1000);
    world_time(world, below(3000));
    if (dice < 350)
        step_ask();
    else if (dice < 600 && world->cache.n_wants)
        world_answer(world, below(world->cache.n_wants));
    else if (dice < 750)
        step_fill();
    else if (dice < 900) {
        uint32_t i = below(3);
        if (world->out[i] && below(3) == 0)
            world_begin(world, i); /* what happens now comes too late for it */
        else if (world->out[i] && !world->begun[i] && below(8) == 0)
            world_recall(world, i);
        else if (world->out[i])
            world_run(world, i);
    } else if (dice < 960)
        step_cancel();
    else if (dice < 965)
        step_forget();
    else if (dice < 970 && world->cache.n) /* memory forgets, "Redis" does not */
        world->cache.entry[below(world->cache.n)].in_memory = false;
    else
        serve_tick(world->serve);
    serve_check(world->serve);
}

enum { PATHS = 7 };
static uint64_t paths[PATHS]; /* how often each way out was taken, over all seeds */

static void run_seed(uint64_t seed) {
    memset(&sim, 0, sizeof sim);
    sim.seed = sim.random = seed;
    memset(urgent, 0, sizeof urgent);
    world_open(&sim.world,
               (struct serve_cfg){
                   .requests_max = 24, .items_max = 160, .brokers = BROKERS, .bytes_max = 8 << 20},
               on_reply, NULL);
    sim.world.cache.seed = seed;
    sim.world.cache.refuse_percent = below(60);
    sim.world.cache.memory_percent = below(100);
    for (uint32_t i = 0; i < STEPS; i++)
        step();
    world_finish(&sim.world);
    serve_check(sim.world.serve);
    TEST_TRUE(serve_idle(sim.world.serve));
    TEST_EQ(sim.world.serve->flights.n, 0);
    for (uint32_t i = 0; i < sim.n_asked; i++)
        if (sim.asked[i].answers != (sim.asked[i].forgotten ? 0 : 1))
            TEST_FAIL("seed %llu ticket %u: %u answers", (unsigned long long)seed, i,
                      sim.asked[i].answers);
    const struct serve_stats *stats = serve_stats(sim.world.serve);
    TEST_TRUE(counter_get(&stats->answered) > sim.n_asked / 10);
    const struct counter *const counters[PATHS] = {
        &stats->shared,    &stats->hits_redis, &stats->hits_memory, &stats->expired,
        &stats->cancelled, &stats->nacks,      &stats->dropped};
    for (uint32_t i = 0; i < PATHS; i++)
        paths[i] += counter_get(counters[i]);
    world_close(&sim.world);
}

static uint64_t only_seed;

static void test_simulation(void **state) {
    (void)state;
    static char row[32];
    for (uint64_t seed = only_seed ? only_seed : 1; seed <= (only_seed ? only_seed : SEEDS);
         seed++) {
        snprintf(row, sizeof row, "seed %llu", (unsigned long long)seed);
        TEST_ROW(row);
        run_seed(seed);
    }
    for (uint32_t i = 0; i < PATHS && !only_seed; i++)
        TEST_TRUE(paths[i] > SEEDS); /* a simulation that never gets there proves nothing */
}

int main(int argc, char **argv) {
    if (argc > 1)
        only_seed = strtoull(argv[1], NULL, 10);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_simulation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
