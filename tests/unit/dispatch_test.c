/* dispatch_test.c - who goes first: lanes and what they earn, services on one worker, large
 * requests among small ones, accounts.
 *
 * One or two workers serve models "a" and "b". A test fills lines, then lets workers answer one
 * request after the other, and looks at how much cost each line, or each client, was given. */
#include "core.h"
#include "support/body.h"
#include "support/test.h"

enum {
    WINDOW = 40,
    SENT_MAX = 65536,
    CLIENTS = 4,
    MS = 1000,
    BYTES_MAX = 20000,
    CHECK_EVERY = 997
};

static core_t *core;
static uint64_t now_us, next_id;
static uint32_t clients[CLIENTS], workers[2], services[2];
static struct {
    uint64_t id;
    uint32_t worker;
} sent[SENT_MAX];
static uint32_t n_sent, done;
static uint32_t fails = CORE_NONE;                          /* a worker that answers INTERNAL */
static uint64_t by_lane[2][WIRE_LANES], by_client[CLIENTS]; /* cost given, by service and lane */
static uint32_t n_given[2][WIRE_LANES];
static struct { uint32_t client, cost; } asked[LIMIT_TICKETS]; /* by slot */

static enum core_sent to_worker(void *arg, uint32_t worker, const struct header *header,
                                uint32_t slot) {
    (void)arg;
    if (header->type != WIRE_DISPATCH)
        return CORE_SENT;
    TEST_TRUE(n_sent < SENT_MAX);
    sent[n_sent].id = header->id;
    sent[n_sent++].worker = worker;
    int service = header->service == services[1];
    by_lane[service][header->lane] += asked[slot].cost;
    n_given[service][header->lane]++;
    by_client[asked[slot].client] += asked[slot].cost;
    return CORE_SENT;
}

static enum core_sent to_client(void *arg, uint32_t client, const struct header *header,
                                const struct core_error *error) {
    (void)arg, (void)client, (void)header;
    if (header->type == WIRE_REPLY)
        TEST_FAIL("refused: %s", error ? error->text : "?");
    return CORE_SENT;
}

static enum core_sent forward(void *arg, uint32_t client, const struct header *header) {
    (void)arg, (void)client, (void)header;
    return CORE_SENT;
}

static struct view no_body(void *arg, uint32_t slot) {
    (void)arg, (void)slot;
    return view_of("");
}

static void drop(void *arg, uint32_t slot) {
    (void)arg, (void)slot;
}

static void closed(void *arg, uint32_t number, const char *why) {
    (void)arg, (void)number, (void)why;
}

static uint32_t join(uint64_t uuid) {
    struct wire_model models[2] = {{.name = view_of("a"), .tasks = 1U << WIRE_TASK_EMBED},
                                   {.name = view_of("b"), .tasks = 1U << WIRE_TASK_EMBED}};
    struct wire_ready ready = {
        .uuid = uuid, .name = view_of("w"), .models = models, .n_models = 2, .threads = 1};
    uint32_t worker = CORE_NONE;
    TEST_EQ(core_ready(core, &worker, &ready, WINDOW, now_us, NULL), STATUS_OK);
    return worker;
}

static int teardown(void **state) {
    (void)state;
    core_destroy(&core);
    return 0;
}

static int setup(void **state) {
    (void)state;
    struct core_cfg cfg = {.max_clients = CLIENTS,
                           .max_workers = 4,
                           .max_services = 8,
                           .max_tickets = LIMIT_TICKETS,
                           .max_queued = LIMIT_TICKETS,
                           .max_queued_bytes = 1U << 31,
                           .max_client_tickets = LIMIT_TICKETS,
                           .heartbeat_us = 3600000000,
                           .no_worker_grace_us = 5000000,
                           .drain_us = 1000000,
                           .id = 9,
                           .seed = 1};
    struct core_ops ops = {.to_worker = to_worker,
                           .to_client = to_client,
                           .forward = forward,
                           .body = no_body,
                           .drop = drop,
                           .client_closed = closed,
                           .worker_closed = closed};
    now_us = 1000;
    next_id = n_sent = done = 0;
    memset(by_lane, 0, sizeof by_lane);
    memset(n_given, 0, sizeof n_given);
    memset(by_client, 0, sizeof by_client);
    TEST_EQ(core_new(&cfg, &ops, now_us, &core, NULL), STATUS_OK);
    for (uint32_t i = 0; i < CLIENTS; i++) { /* the last two belong to one account */
        struct core_who who = {.account = i >= 2 ? 77 : 0, .weight = i == 1 ? 3 : 0};
        clients[i] = CORE_NONE;
        TEST_EQ(core_hello(core, &clients[i], 0, 7, &who, now_us, NULL), STATUS_OK);
    }
    workers[0] = join(1);
    services[0] = core_number(core, view_of("a"), WIRE_TASK_EMBED);
    services[1] = core_number(core, view_of("b"), WIRE_TASK_EMBED);
    return 0;
}

static void ask(uint32_t client, int service, uint8_t lane, uint32_t cost, uint32_t n) {
    for (; n > 0; n--) {
        struct header header = {.type = WIRE_REQUEST,
                                .flags = WIRE_FLAG_ALONE,
                                .lane = lane,
                                .attempt = 1,
                                .id = ++next_id,
                                .epoch = 7,
                                .budget_us = 600000000,
                                .service = (uint16_t)services[service]};
        size_t bytes = (size_t)(cost - 1) * CORE_COST_BYTES;
        TEST_TRUE(bytes <= BYTES_MAX);
        uint32_t slot = core_request(core, clients[client], &header, BODY(bytes), now_us);
        TEST_TRUE(slot != CORE_NONE);
        asked[slot].client = client;
        asked[slot].cost = cost;
    }
}

/* Workers answer n requests, the oldest first. */
static void work(uint32_t n) {
    core_dispatch(core, now_us);
    for (; n > 0 && done < n_sent; n--, done++) {
        enum status status = sent[done].worker == fails ? STATUS_INTERNAL : STATUS_OK;
        struct header header = {.type = WIRE_RESULT,
                                .status = (uint8_t)status,
                                .credit = WINDOW,
                                .id = sent[done].id,
                                .epoch = 9};
        now_us += 100;
        TEST_TRUE(core_worker_heard(core, sent[done].worker, &header, now_us));
        core_worker_frame(core, sent[done].worker, &header, now_us);
        core_dispatch(core, now_us);
        if (done % CHECK_EVERY == 0)
            core_check(core);
    }
}

/* What a lane is given of the work while those above it never run dry. */
static void test_lanes_age(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint8_t above, below;
        int service; /* of the one below */
        uint32_t cost_above, cost_below;
        double share; /* of what is above */
    } rows[] = {
        {"normal under high", WIRE_LANE_HIGH, WIRE_LANE_NORMAL, 0, 2, 2, 1 / 8.0},
        {"bulk under high", WIRE_LANE_HIGH, WIRE_LANE_BULK, 0, 2, 2, 1 / 16.0},
        {"bulk under normal", WIRE_LANE_NORMAL, WIRE_LANE_BULK, 0, 2, 2, 1 / 16.0},
        {"of another service on the same worker", WIRE_LANE_HIGH, WIRE_LANE_BULK, 1, 2, 2,
         1 / 16.0},
        {"large ones, that need the worker for themselves", WIRE_LANE_HIGH, WIRE_LANE_BULK, 0, 2,
         200, 1 / 16.0},
        {"large ones of another service", WIRE_LANE_HIGH, WIRE_LANE_NORMAL, 1, 3, 300, 1 / 8.0},
        {"small under large", WIRE_LANE_HIGH, WIRE_LANE_BULK, 0, 100, 3, 1 / 16.0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        ask(0, 0, rows[i].above, rows[i].cost_above, 60000 / rows[i].cost_above);
        ask(1, rows[i].service, rows[i].below, rows[i].cost_below, 9000 / rows[i].cost_below);
        uint64_t above = 0;
        while ((above = by_lane[0][rows[i].above]) < 40000)
            work(1);
        double share = (double)by_lane[rows[i].service][rows[i].below] / (double)above;
        if (share < 0.85 * rows[i].share || share > 1.2 * rows[i].share)
            TEST_FAIL("[%s] share %.4f, want %.4f", rows[i].name, share, rows[i].share);
        teardown(NULL);
        setup(NULL);
    }
}

static void test_high_goes_first(void **state) {
    (void)state;
    ask(0, 0, WIRE_LANE_BULK, 2, 1000);
    work(100);
    ask(1, 0, WIRE_LANE_HIGH, 2, 10);
    uint32_t bulk = n_given[0][WIRE_LANE_BULK];
    work(10);
    TEST_EQ(n_given[0][WIRE_LANE_HIGH], 10); /* each room that came free was theirs */
    TEST_TRUE(n_given[0][WIRE_LANE_BULK] <= bulk + 1);
}

/* Services on one worker share it by cost. */
static void test_services_share(void **state) {
    (void)state;
    static const uint32_t costs[][2] = {{1, 1}, {2, 20}, {30, 3}, {2, 200}};
    for (size_t i = 0; i < sizeof costs / sizeof *costs; i++) {
        ask(0, 0, WIRE_LANE_NORMAL, costs[i][0], 20000 / costs[i][0]);
        ask(1, 1, WIRE_LANE_NORMAL, costs[i][1], 20000 / costs[i][1]);
        while (by_lane[0][WIRE_LANE_NORMAL] + by_lane[1][WIRE_LANE_NORMAL] < 16000)
            work(1);
        double ratio = (double)by_lane[0][WIRE_LANE_NORMAL] / (double)by_lane[1][WIRE_LANE_NORMAL];
        if (ratio < 0.9 || ratio > 1.1)
            TEST_FAIL("costs %u and %u: ratio %.2f", costs[i][0], costs[i][1], ratio);
        teardown(NULL);
        setup(NULL);
    }
}

/* A large request of a higher lane is not starved by small ones of a lower lane that fit beside
 * what runs. */
static void test_small_ones_do_not_overtake_for_ever(void **state) {
    (void)state;
    ask(0, 1, WIRE_LANE_NORMAL, 2, 5000);
    work(100);
    ask(1, 0, WIRE_LANE_HIGH, 100, 1); /* needs the worker for itself */
    work(WINDOW / 2 + 1);
    TEST_EQ(n_given[0][WIRE_LANE_HIGH], 1);
}

/* Beside a kept worker the others go on. */
static void test_one_worker_is_kept(void **state) {
    (void)state;
    workers[1] = join(2);
    ask(0, 0, WIRE_LANE_NORMAL, 100, 40);
    ask(1, 1, WIRE_LANE_NORMAL, 2, 4000);
    work(1000);
    TEST_TRUE(n_given[0][WIRE_LANE_NORMAL] >= 10);
    TEST_TRUE(n_given[1][WIRE_LANE_NORMAL] >= 500);
}

/* Nor does a large request hold up other accounts' small ones in its own line, while a second
 * worker has room for them. The large ones' share is what one worker that empties itself each
 * time gives. */
static void test_large_ones_are_set_aside(void **state) {
    (void)state;
    workers[1] = join(2);
    ask(0, 0, WIRE_LANE_NORMAL, 100, 200);
    ask(2, 0, WIRE_LANE_NORMAL, 2, 8000);
    work(30);
    while (by_client[0] <
           10000) { /* one worker empties itself for a large one, the other does not */
        work(1);
        const struct fleet_load *loads = core_fleet(core)->loads;
        TEST_TRUE(loads[workers[0]].cost >= WINDOW - 2 || loads[workers[1]].cost >= WINDOW - 2);
    }
    double ratio = (double)by_client[0] / (double)by_client[2];
    if (ratio < 0.55 || ratio > 1.25)
        TEST_FAIL("ratio %.2f", ratio);
}

/* Also when it comes after a worker was kept for a large one of the only account there was. */
static void test_a_small_one_comes_late(void **state) {
    (void)state;
    workers[1] = join(2);
    ask(1, 0, WIRE_LANE_NORMAL, 12, 200); /* of three times the weight: it often is its turn */
    for (uint32_t i = 1; i <= 20; i++) {
        work(5);
        ask(0, 0, WIRE_LANE_NORMAL, 2, 1);
        core_dispatch(core, now_us);
        TEST_EQ(by_client[0], 2 * i);
    }
    core_check(core);
    work(300);
    TEST_EQ(core_queued(core) + core_in_flight(core), 0);
}

static void test_a_kept_worker_dies(void **state) {
    (void)state;
    ask(0, 1, WIRE_LANE_NORMAL, 2, 200);
    work(3);
    ask(1, 0, WIRE_LANE_NORMAL, 100, 1);
    work(3);
    core_worker_lost(core, workers[0], "test", now_us);
    core_check(core);
    done = n_sent;
    workers[0] = join(5);
    work(400);
    TEST_EQ(n_given[0][WIRE_LANE_NORMAL], 1);
    TEST_EQ(core_queued(core) + core_in_flight(core), 0);
}

/* A worker that was kept and then is trusted no more is no place to wait for: the flow that was set
 * aside goes to the other one. */
static void test_a_kept_worker_is_suspect(void **state) {
    (void)state;
    workers[1] = join(2);
    ask(2, 0, WIRE_LANE_NORMAL, 2, 8000);
    work(4);
    ask(0, 0, WIRE_LANE_NORMAL, 36, 2);
    const struct fleet_load *loads = core_fleet(core)->loads;
    while (!loads[0].keeper && !loads[1].keeper)
        work(1);
    fails = loads[0].keeper ? 0 : 1;
    uint64_t before = by_client[0];
    while (core_fleet(core)->workers[fails].state != FLEET_SUSPECT)
        work(1);
    TEST_EQ(by_client[0], before);
    work(1000);
    fails = CORE_NONE;
    TEST_EQ(by_client[0], before + 72);
}

/* Weights 1 and 3, and two sessions of one account that have one share together. */
static void test_accounts(void **state) {
    (void)state;
    for (uint32_t i = 0; i < CLIENTS; i++)
        ask(i, 0, WIRE_LANE_NORMAL, 5, 4000);
    uint64_t all = 0;
    while (all < 20000) {
        work(1);
        all = by_client[0] + by_client[1] + by_client[2] + by_client[3];
    }
    double one = (double)all / 5;
    TEST_TRUE((double)by_client[0] > 0.95 * one && (double)by_client[0] < 1.05 * one);
    TEST_TRUE((double)by_client[1] > 2.9 * one && (double)by_client[1] < 3.1 * one);
    double both = (double)(by_client[2] + by_client[3]);
    TEST_TRUE(both > 0.95 * one && both < 1.05 * one);
}

/* 100,000 waiting cost beside a client that asks now and then: it waits for what the worker holds,
 * and a turn. */
static void test_job_beside_a_person(void **state) {
    (void)state;
    ask(0, 0, WIRE_LANE_NORMAL, 50, 2000);
    work(50);
    for (int i = 0; i < 20; i++) {
        uint64_t before = by_client[0];
        ask(1, 0, WIRE_LANE_NORMAL, 3, 1);
        while (by_client[1] < 3 * (uint64_t)(i + 1))
            work(1);
        TEST_TRUE(by_client[0] - before <= WINDOW + 2 * 50);
        work(7);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_lanes_age),
        TEST(test_high_goes_first),
        TEST(test_services_share),
        TEST(test_small_ones_do_not_overtake_for_ever),
        TEST(test_one_worker_is_kept),
        TEST(test_a_kept_worker_dies),
        TEST(test_large_ones_are_set_aside),
        TEST(test_a_kept_worker_is_suspect),
        TEST(test_a_small_one_comes_late),
        TEST(test_accounts),
        TEST(test_job_beside_a_person),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
