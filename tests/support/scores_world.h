/* scores_world.h - a world of worker/serve.h that asks for scores: sends requests to classify and
 * rerank and keeps the last reply. Each test has a world of its own (SCORES_TEST). */
#ifndef EMBER_TEST_SCORES_WORLD_H
#define EMBER_TEST_SCORES_WORLD_H

#include "support/serve_world.h"

#include "engine/classify.h"

static struct world world;

struct seen {
    uint32_t n;
    enum status status;
    uint8_t body[64 * 1024];
    size_t bytes;
};
static struct seen seen;

static inline void on_reply(void *arg, const struct serve_reply *reply) {
    struct seen *to = arg;
    to->n++;
    TEST_TRUE(!reply->nack && reply->body.bytes <= sizeof to->body);
    to->status = reply->status;
    if (reply->body.bytes)
        memcpy(to->body, reply->body.data, reply->body.bytes);
    to->bytes = reply->body.bytes;
}

static inline struct view seen_body(void) {
    arena_reset(&world.arena);
    return view_make(seen.body, seen.bytes);
}

static inline int open_with(struct serve_limits limits) {
    memset(&world, 0, sizeof world);
    memset(&seen, 0, sizeof seen);
    world_open(&world,
               (struct serve_cfg){
                   .requests_max = 4, .items_max = 160, .bytes_max = 8 << 20, .limits = limits},
               on_reply, &seen);
    return 0;
}

static inline int setup(void **state) {
    (void)state;
    return open_with((struct serve_limits){0});
}

static inline int teardown(void **state) {
    (void)state;
    TEST_TRUE(serve_idle(world.serve));
    serve_check(world.serve);
    world_close(&world);
    return 0;
}

static inline void dispatch(enum world_model model, enum wire_task task) {
    static uint64_t ticket;
    struct serve_origin origin = {.ticket = ++ticket, .broker = 1, .service = 9};
    serve_dispatch(world.serve, &origin, model, task, WIRE_LANE_NORMAL, 0,
                   wire_out_view(&world.wire));
}

static inline void classify(enum world_model model, const struct wire_classify_request *in) {
    TEST_EQ(codec_classify_request_encode(in, &world.wire), STATUS_OK);
    dispatch(model, WIRE_TASK_CLASSIFY);
}

static inline void rerank(const struct wire_rerank_request *in) {
    TEST_EQ(codec_rerank_request_encode(in, &world.wire), STATUS_OK);
    dispatch(WORLD_SCORE, WIRE_TASK_RERANK);
}

static inline struct wire_classify_reply seen_classify(void) {
    struct wire_classify_reply reply;
    TEST_EQ(seen.status, STATUS_OK);
    TEST_EQ(codec_classify_reply_decode(seen_body(), &world.arena, &reply, NULL), STATUS_OK);
    return reply;
}

static inline struct wire_rerank_reply seen_rerank(void) {
    struct wire_rerank_reply reply;
    TEST_EQ(seen.status, STATUS_OK);
    TEST_EQ(codec_rerank_reply_decode(seen_body(), &world.arena, &reply, NULL), STATUS_OK);
    return reply;
}

static inline void expect_error(enum status status, uint32_t item, const char *part) {
    struct wire_error error;
    TEST_EQ(codec_error_decode(seen_body(), &world.arena, &error, NULL), STATUS_OK);
    char text[512] = "";
    memcpy(text, error.message.data, error.message.bytes);
    TEST_HAS(text, part);
    TEST_EQ(seen.status, status);
    TEST_EQ(error.item, item);
}

/* All entries are in memory, or only in "Redis". */
static inline void keep_in_memory(bool in_memory) {
    for (uint32_t e = 0; e < world.cache.n; e++)
        world.cache.entry[e].in_memory = in_memory;
}

static inline void check_scores(const struct wire_scores *got, const float *scores, uint32_t n,
                                uint32_t top) {
    uint32_t order[WORLD_OWN];
    classify_order(scores, n, order);
    TEST_EQ(got->n, top);
    for (uint32_t k = 0; k < top; k++) {
        TEST_EQ(got->label[k], order[k]);
        TEST_MEM_EQ(&got->score[k], &scores[order[k]], sizeof(float)); /* bit for bit */
    }
}

#define SCORES_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
