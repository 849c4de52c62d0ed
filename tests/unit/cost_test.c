/* cost_test.c - figures of two reports, by hand. */
#include "cost.h"
#include "support/test.h"

static struct cost cost;

static const struct ember_model_info m_i8 = {.name = "m", .precision = "i8"};
static const struct ember_model_info m_f32 = {.name = "m", .precision = "f32"};

static struct ember_worker_info worker(const char *name, double hourly, uint64_t completed,
                                       uint64_t computed, uint64_t memory, uint64_t redis,
                                       uint64_t shared) {
    return (struct ember_worker_info){.name = name,
                                      .host = "h",
                                      .state = "live",
                                      .threads = 2,
                                      .hourly_cost = hourly,
                                      .completed = completed,
                                      .texts = computed + memory + redis + shared,
                                      .misses = computed,
                                      .hits_memory = memory,
                                      .hits_redis = redis,
                                      .shared = shared,
                                      .models = &m_i8,
                                      .n_models = 1};
}

static struct cost_view view(const char *endpoint, uint64_t uptime_s) {
    return (struct cost_view){
        .broker = {.endpoint = endpoint, .uptime_ms = uptime_s * 1000},
        .fleet = {.live = 2, .runners = 4, .known = 1, .desired = 2, .load = 0.25}};
}

static struct cost_snapshot one(struct cost_view v) {
    return (struct cost_snapshot){.view = {v}, .n = 1};
}

/* 10 s: 1000 requests, of 2 texts each, in 8 s of runners; two workers of 0.36 an hour. */
static void test_by_hand(void **state) {
    (void)state;
    struct ember_worker_info old_workers[] = {worker("a", 0.36, 100, 150, 30, 10, 10),
                                              worker("b", 0.36, 0, 0, 0, 0, 0)};
    struct ember_worker_info workers[] = {worker("a", 0.36, 600, 550, 430, 110, 110),
                                          worker("b", 0.36, 500, 400, 500, 50, 50)};
    struct ember_service_info old_s = {
        .model = "m", .task = "embed", .answered = 5000, .engine_us = 1000000};
    struct ember_service_info s = {
        .model = "m", .task = "embed", .answered = 6000, .engine_us = 9000000};
    const char *routes[] = {"alias=m:90,n:10"};
    struct cost_view old = view("tcp://a", 100), now = view("tcp://a", 110);
    old.services = &old_s, old.workers = old_workers, old.n_services = 1, old.n_workers = 2;
    now.services = &s, now.workers = workers, now.n_services = 1, now.n_workers = 2;
    now.routes = routes, now.n_routes = 1, now.coalesced = 20, old.coalesced = 10;
    now.fleet.hourly_cost = 0.72;
    struct cost_snapshot before = one(old), after = one(now);
    cost_make(&before, &after, 0, &cost);
    TEST_NEAR(cost.seconds, 10, 1e-9);
    TEST_EQ(cost.answered, 1000);
    TEST_EQ(cost.coalesced, 10);
    TEST_NEAR(cost.per_s, 100, 1e-9);
    TEST_NEAR(cost.engine, 0.8, 1e-9);
    TEST_NEAR(cost.busy, 0.2, 1e-9); /* of 4 runners */
    TEST_EQ(cost.texts[COST_COMPUTED], 800);
    TEST_EQ(cost.texts[COST_MEMORY], 900);
    TEST_EQ(cost.texts[COST_REDIS], 150);
    TEST_EQ(cost.texts[COST_SHARED], 150);
    TEST_NEAR(cost.texts_per_s, 200, 1e-9);
    TEST_NEAR(cost.hourly, 0.72, 1e-9);
    TEST_NEAR(cost.per_1000, 0.72 / 360, 1e-12);          /* 360,000 requests an hour */
    TEST_NEAR(cost.per_million_texts, 0.72 / 0.72, 1e-9); /* 720,000 texts an hour */
    TEST_EQ(cost.listed, 2);
    TEST_EQ(cost.stated, 2);
    TEST_EQ(cost.n_models, 1);
    TEST_STR_EQ(cost.models[0].precision, "i8");
    TEST_EQ(cost.models[0].workers, 2);
    TEST_TRUE(!cost.models[0].mixed);
    TEST_NEAR(cost.load, 0.25, 0);
    TEST_STR_EQ(cost.routes[0], "alias=m:90,n:10");
}

/* Requests, engine time, wishes and loads are added, workers and their cost are not. */
static void test_two_brokers(void **state) {
    (void)state;
    struct ember_worker_info at_a[] = {worker("x", 1, 10, 10, 0, 0, 0),
                                       worker("y", 0, 10, 10, 0, 0, 0)};
    struct ember_worker_info at_b[] = {worker("y", 0, 10, 10, 0, 0, 0),
                                       worker("x", 1, 12, 12, 0, 0, 0),
                                       worker("z", 2, 0, 0, 0, 0, 0)}; /* only b knows it */
    struct ember_service_info s_a = {.model = "m", .task = "embed", .answered = 100},
                              s_b[] = {{.model = "n", .task = "embed", .answered = 5},
                                       {.model = "m", .task = "embed", .answered = 300}};
    s_a.engine_us = 10000000, s_b[1].engine_us = 20000000;
    struct cost_view a = view("tcp://a", 10), b = view("tcp://b", 100);
    a.workers = at_a, a.n_workers = 2, a.services = &s_a, a.n_services = 1;
    b.workers = at_b, b.n_workers = 3, b.services = s_b, b.n_services = 2;
    a.fleet.hourly_cost = 1, b.fleet.hourly_cost = 3, b.fleet.live = 3, b.fleet.load = 0.5;
    struct cost_snapshot after = {.view = {a, b}, .n = 2};
    cost_make(NULL, &after, 10, &cost);
    TEST_EQ(cost.listed, 3);
    TEST_EQ(cost.stated, 2);
    TEST_EQ(cost.unstated, 1);
    TEST_NEAR(cost.hourly, 13, 1e-9);
    TEST_EQ(cost.uncounted, 0);
    TEST_NEAR(cost_of_worker(&cost), 13.0 / 3, 1e-9);
    TEST_EQ(cost.live, 3);
    TEST_EQ(cost.answered, 405);
    TEST_NEAR(cost.per_s, 10 + 3.05, 1e-9); /* each over its own uptime */
    TEST_NEAR(cost.engine, 1 + 0.2, 1e-9);
    TEST_NEAR(cost.desired, 4, 0);
    TEST_NEAR(cost.load, (0.25 * 2 + 0.5 * 3) / 3, 1e-12);
    TEST_EQ(cost.runners, 6);               /* of x, y and z: neither broker sees more than 4 */
    TEST_EQ(cost.texts[COST_COMPUTED], 20); /* as the first that lists a worker tells */
    TEST_EQ(cost.n_services, 2);
    TEST_EQ(cost.services[0].answered, 400);
    TEST_NEAR(cost.seconds, 100, 1e-9);
    after.view[1].fleet.known = 0;
    cost_make(NULL, &after, 0, &cost);
    TEST_TRUE(isnan(cost.load) && isnan(cost.desired)); /* a part of a sum is no sum */
    TEST_NEAR(cost.hourly, 3, 1e-9);
    TEST_EQ(cost.uncounted, 1);
    TEST_NEAR(cost_of_worker(&cost), 1.5, 1e-9); /* of the two that say */
}

/* Two groups of workers, each with a broker of its own; and one that only one broker suspects. */
static void test_groups(void **state) {
    (void)state;
    struct ember_worker_info at_a[] = {worker("x", 1, 1, 1, 0, 0, 0)};
    struct ember_worker_info at_b[] = {worker("y", 1, 1, 1, 0, 0, 0),
                                       worker("z", 1, 1, 1, 0, 0, 0)};
    struct cost_view a = view("tcp://a", 10), b = view("tcp://b", 10);
    a.workers = at_a, a.n_workers = 1, b.workers = at_b, b.n_workers = 2;
    a.fleet.live = 1, a.fleet.runners = 2, a.fleet.load = b.fleet.load = 0.7;
    struct cost_snapshot after = {.view = {a, b}, .n = 2};
    cost_make(NULL, &after, 0, &cost);
    TEST_EQ(cost.live, 3);
    TEST_EQ(cost.runners, 6);
    TEST_NEAR(cost.load * cost.live, 0.7 * 3, 1e-12); /* and not 1.4 x 2 */
    struct ember_worker_info doubted[] = {at_b[0], at_b[1]};
    doubted[1].state = "suspect";
    after.view[0].workers = at_b, after.view[0].n_workers = 2, after.view[0].fleet.live = 2;
    after.view[1].workers = doubted;
    after.view[1].fleet.live = 1, after.view[1].fleet.suspect = 1;
    cost_make(NULL, &after, 0, &cost);
    TEST_EQ(cost.listed, 2);
    TEST_EQ(cost.unlisted, 0);
}

/* What was started anew between two reports counts from its start, never below zero. */
static void test_restarts(void **state) {
    (void)state;
    struct ember_worker_info old_w = worker("a", 0, 1000, 900, 100, 0, 0);
    struct ember_worker_info w[] = {worker("a", 0, 10, 6, 4, 0, 0),
                                    worker("came-back", 0, 99999, 99999, 0, 0, 0)};
    struct ember_service_info old_s = {
        .model = "m", .task = "embed", .answered = 5000, .engine_us = 70000000};
    struct ember_service_info s = {
        .model = "m", .task = "embed", .answered = 40, .engine_us = 2000000};
    struct cost_view old = view("tcp://a", 100), now = view("tcp://a", 4);
    old.workers = &old_w, old.n_workers = 1, old.services = &old_s, old.n_services = 1;
    now.workers = w, now.n_workers = 2, now.services = &s, now.n_services = 1;
    old.coalesced = 50, now.coalesced = 4;
    struct cost_snapshot before = one(old), after = one(now);
    cost_make(&before, &after, 0, &cost);
    TEST_EQ(cost.answered, 40);
    TEST_EQ(cost.coalesced, 4);
    TEST_NEAR(cost.per_s, 10, 1e-9);
    TEST_NEAR(cost.engine, 0.5, 1e-9);
    TEST_EQ(cost.texts[COST_COMPUTED], 6); /* nobody knows since when the other counts */
    TEST_EQ(cost.texts[COST_MEMORY], 4);
    TEST_EQ(cost.listed, 2);
    TEST_TRUE(isnan(cost.hourly) && isnan(cost.per_1000) && isnan(cost.per_million_texts));

    after.view[0].broker.uptime_ms = 105000; /* the same broker, and yet its service counts less */
    cost_make(&before, &after, 0, &cost);
    TEST_EQ(cost.answered, 40);
    TEST_NEAR(cost.per_s, 8, 1e-9);
}

static void test_nothing_asked(void **state) {
    (void)state;
    struct ember_worker_info w = worker("a", 0.5, 7, 7, 0, 0, 0);
    struct ember_service_info s = {.model = "m", .task = "embed", .answered = 7, .engine_us = 9};
    struct cost_view v = view("tcp://a", 100), later = view("tcp://a", 110);
    v.workers = later.workers = &w, v.n_workers = later.n_workers = 1;
    v.services = later.services = &s, v.n_services = later.n_services = 1;
    struct cost_snapshot before = one(v), after = one(later);
    cost_make(&before, &after, 0, &cost);
    TEST_EQ(cost.answered, 0);
    TEST_NEAR(cost.per_s, 0, 0);
    TEST_NEAR(cost.busy, 0, 0);
    TEST_NEAR(cost.hourly, 0.5, 0);
    TEST_TRUE(isnan(cost.per_1000) && isnan(cost.texts_per_s) && isnan(cost.per_million_texts));
    TEST_EQ(cost.n_models, 1);
    after.n = 0;
    cost_make(&before, &after, 0, &cost);
    TEST_TRUE(isnan(cost.busy) && isnan(cost.hourly));
}

/* Models in two precisions, workers of one name, and more of them than a report lists. */
static void test_odd_fleets(void **state) {
    (void)state;
    struct ember_worker_info w[] = {worker("a", 0, 1, 1, 0, 0, 0), worker("a", 0, 2, 2, 0, 0, 0),
                                    worker("b", 0, 4, 4, 0, 0, 0)};
    w[2].models = &m_f32;
    struct cost_view v = view("tcp://a", 100);
    v.workers = w, v.n_workers = 3, v.fleet.live = 5, v.fleet.suspect = 1, v.fleet.hourly_cost = 9;
    struct cost_snapshot after = one(v);
    cost_make(NULL, &after, 1, &cost);
    TEST_EQ(cost.listed, 3);
    TEST_EQ(cost.unlisted, 3);
    TEST_NEAR(cost.hourly, 12, 0); /* 9 as the broker sees it, and 3 that state none */
    TEST_EQ(cost.texts[COST_COMPUTED], 7);
    TEST_STR_EQ(cost.models[0].precision, "i8");
    TEST_TRUE(cost.models[0].mixed);
    TEST_TRUE(cost_model(&cost, "m") == &cost.models[0] && !cost_model(&cost, "n"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),       cmocka_unit_test(test_two_brokers),
        cmocka_unit_test(test_groups),        cmocka_unit_test(test_restarts),
        cmocka_unit_test(test_nothing_asked), cmocka_unit_test(test_odd_fleets)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
