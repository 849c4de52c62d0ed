/* serve_seen.h - one serve in its world (serve_world.h), and what it replied last: for tests that
 * ask one thing after another. */
#ifndef EMBER_TEST_SERVE_SEEN_H
#define EMBER_TEST_SERVE_SEEN_H

#include "support/serve_world.h"

static struct world world;

static enum world_model asked_model; /* WORLD_M0 unless a test says otherwise */

struct seen {
    uint32_t n, nacks;
    struct serve_origin origin;
    enum status status;
    uint32_t work_us, work_us_sum;
    uint8_t body[64 * 1024];
    size_t bytes;
};
static struct seen seen;

static void on_reply(void *arg, const struct serve_reply *reply) {
    struct seen *to = arg;
    to->n++;
    to->nacks += reply->nack;
    to->origin = reply->origin;
    to->status = reply->status;
    to->work_us = reply->work_us;
    to->work_us_sum += reply->work_us;
    TEST_TRUE(reply->body.bytes <= sizeof to->body);
    if (reply->body.bytes)
        memcpy(to->body, reply->body.data, reply->body.bytes);
    to->bytes = reply->body.bytes;
}

enum { SEEN_SLOW_US = 1000 * 1000 };

static struct serve_slow seen_slow; /* the last one; its trace is in seen_trace */
static uint32_t seen_n_slow;
static char seen_trace[LIMIT_TRACEPARENT_BYTES + 1];

static void on_slow(void *arg, const struct serve_slow *slow) {
    (void)arg;
    seen_slow = *slow;
    seen_n_slow++;
    TEST_TRUE(slow->trace.bytes < sizeof seen_trace);
    memset(seen_trace, 0, sizeof seen_trace);
    if (slow->trace.bytes)
        memcpy(seen_trace, slow->trace.data, slow->trace.bytes);
}

static struct view seen_body(void) {
    arena_reset(&world.arena);
    return view_make(seen.body, seen.bytes);
}

static inline int setup(void **state) {
    (void)state;
    memset(&world, 0, sizeof world);
    memset(&seen, 0, sizeof seen);
    asked_model = WORLD_M0;
    seen_n_slow = 0;
    struct serve_cfg cfg = {.requests_max = 4,
                            .items_max = 160,
                            .bytes_max = 8 << 20,
                            .slow = on_slow,
                            .slow_us = SEEN_SLOW_US};
    world_open(&world, cfg, on_reply, &seen);
    return 0;
}

static inline int teardown(void **state) {
    (void)state;
    world_close(&world);
    return 0;
}

static inline void dispatch(uint64_t ticket, enum wire_task task, uint32_t budget_us) {
    struct serve_origin origin = {.ticket = ticket, .broker = 1, .service = 9};
    serve_dispatch(world.serve, &origin, asked_model, task, WIRE_LANE_NORMAL, budget_us,
                   wire_out_view(&world.wire));
}

static inline void embed(uint64_t ticket, const struct wire_embed_request *in) {
    TEST_EQ(codec_embed_request_encode(in, &world.wire), STATUS_OK);
    dispatch(ticket, WIRE_TASK_EMBED, 0);
}

static inline struct wire_embed_reply seen_embed(void) {
    struct wire_embed_reply reply;
    TEST_EQ(seen.status, STATUS_OK);
    TEST_EQ(codec_embed_reply_decode(seen_body(), &world.arena, &reply, NULL), STATUS_OK);
    return reply;
}

static inline void expect_error(enum status status, uint32_t item, const char *part) {
    TEST_EQ(seen.status, status);
    struct wire_error error;
    TEST_EQ(codec_error_decode(seen_body(), &world.arena, &error, NULL), STATUS_OK);
    char text[512] = "";
    memcpy(text, error.message.data, error.message.bytes);
    TEST_HAS(text, part);
    TEST_EQ(error.item, item);
}

static struct view texts_one[1], texts_two[2];

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
