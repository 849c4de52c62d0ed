/* Session and status bodies: round trips and refusals. */
#include "support/test.h"

#include "wire/session.h"

static struct arena arena;
static struct wire_out out;
static struct err err;

static struct view body(void) {
    arena_reset(&arena);
    return wire_out_view(&out);
}

static int setup(void **state) {
    (void)state;
    return arena_init(&arena, session_arena_bytes(LIMIT_REPLY_BYTES)) ? 0 : 1;
}

static int teardown(void **state) {
    (void)state;
    arena_done(&arena);
    wire_out_done(&out);
    return 0;
}

static bool is(struct view view, const char *text) {
    return view_equal(view, view_of(text));
}

static void test_hello(void **state) {
    (void)state;
    struct wire_service_name want[] = {{view_of("minilm"), WIRE_TASK_EMBED},
                                       {view_of(""), WIRE_TASK_CLASSIFY}};
    struct wire_hello in = {1,    2, view_of("shop-api"), view_of("0.1.0"),
                            want, 2, 0x1234567890abcdef},
                      got;
    TEST_EQ(session_hello_encode(&in, &out), STATUS_OK);
    TEST_EQ(session_hello_decode(body(), &arena, &got, &err), STATUS_OK);
    TEST_EQ(got.protocol_min, 1);
    TEST_EQ(got.protocol_max, 2);
    TEST_TRUE(is(got.name, "shop-api"));
    TEST_EQ(got.n_want, 2);
    TEST_TRUE(is(got.want[0].model, "minilm"));
    TEST_TRUE(got.client == in.client);
    TEST_EQ(got.want[1].task, WIRE_TASK_CLASSIFY);

    static const struct {
        const char *name, *model;
        int task;
        const char *message;
    } rows[] = {
        {"odd model", "a/b", 1, "model may hold"},
        {"long model", "0123456789012345678901234567890123456789012345678901234567890123456789", 1,
         "1 to 64 bytes"},
        {"no task", "m", 0, "task 0"},
        {"unknown task", "m", 5, "task 5"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        want[1] = (struct wire_service_name){view_of(rows[i].model), (enum wire_task)rows[i].task};
        TEST_EQ(session_hello_encode(&in, &out), STATUS_OK);
        TEST_EQ(session_hello_decode(body(), &arena, &got, &err), STATUS_INVALID_ARGUMENT);
        TEST_HAS(err.text, rows[i].message);
    }
}

static void test_welcome(void **state) {
    (void)state;
    struct wire_service service = {.number = 7,
                                   .model = view_of(""),
                                   .task = WIRE_TASK_CLASSIFY,
                                   .workers = 2,
                                   .serves = view_of("intents"),
                                   .fingerprint = view_of("abcd"),
                                   .dim = 384,
                                   .max_tokens = 256,
                                   .head = WIRE_HEAD_LABELS,
                                   .labels = 12};
    struct view broker = view_of("tcp://10.0.0.2:5555");
    struct wire_welcome in = {.protocol = 1,
                              .session = 11,
                              .broker = 12,
                              .broker_name = view_of("b1"),
                              .version = view_of("0.1.0"),
                              .heartbeat_ms = 500,
                              .limits = {1, 2, 3, 4, 5, 6, 7, 8, 9},
                              .services = &service,
                              .n_services = 1,
                              .brokers = &broker,
                              .n_brokers = 1},
                        got;
    TEST_EQ(session_welcome_encode(&in, &out), STATUS_OK);
    TEST_EQ(session_welcome_decode(body(), &arena, &got, &err), STATUS_OK);
    TEST_EQ(got.session, 11);
    TEST_EQ(got.broker, 12);
    TEST_EQ(got.limits.deadline_ms, 7);
    TEST_EQ(got.limits.pairs, 8);
    TEST_EQ(got.limits.tokens, 9);
    TEST_EQ(got.services[0].number, 7);
    TEST_TRUE(is(got.services[0].serves, "intents"));
    TEST_EQ(got.services[0].head, WIRE_HEAD_LABELS);
    TEST_EQ(got.services[0].labels, 12);
    TEST_EQ(got.services[0].dim, 384);
    TEST_TRUE(is(got.brokers[0], "tcp://10.0.0.2:5555"));
    service.number = 0;
    TEST_EQ(session_welcome_encode(&in, &out), STATUS_OK);
    TEST_EQ(session_welcome_decode(body(), &arena, &got, &err), STATUS_INVALID_ARGUMENT);
}

static struct wire_model models[2];

static struct wire_ready ready_sample(void) {
    models[0] = (struct wire_model){.name = view_of("minilm"),
                                    .fingerprint = view_of("ff00"),
                                    .precision = view_of("f32"),
                                    .kernel = view_of("avx512 f32"),
                                    .dim = 384,
                                    .max_tokens = 256,
                                    .tasks = 1u << WIRE_TASK_EMBED | 1u << WIRE_TASK_TOKENIZE};
    models[1] = models[0];
    models[1].name = view_of("nli");
    models[1].tasks = 1u << WIRE_TASK_CLASSIFY;
    models[1].head = WIRE_HEAD_NLI;
    models[1].labels = 3;
    return (struct wire_ready){.protocol_min = 1,
                               .protocol_max = 1,
                               .uuid = 99,
                               .name = view_of("w1"),
                               .host = view_of("host-a"),
                               .version = view_of("0.1.0"),
                               .tier = view_of("standard"),
                               .hourly_cost = 0.25,
                               .threads = 2,
                               .pid = 1234,
                               .models = models,
                               .n_models = 2};
}

static void test_ready(void **state) {
    (void)state;
    struct wire_ready in = ready_sample(), got;
    TEST_EQ(session_ready_encode(&in, &out), STATUS_OK);
    TEST_EQ(session_ready_decode(body(), &arena, &got, &err), STATUS_OK);
    TEST_EQ(got.uuid, 99);
    TEST_NEAR(got.hourly_cost, 0.25, 0);
    TEST_EQ(got.n_models, 2);
    TEST_TRUE(is(got.models[1].name, "nli"));
    TEST_EQ(got.models[1].head, WIRE_HEAD_NLI);
    TEST_EQ(got.models[1].labels, 3);
    TEST_EQ(got.models[0].head, WIRE_HEAD_NONE);
    TEST_EQ(got.models[0].tasks, models[0].tasks);
    TEST_ROW("a head of tomorrow");
    models[1].head = WIRE_HEADS;
    TEST_EQ(session_ready_encode(&in, &out), STATUS_OK);
    TEST_EQ(session_ready_decode(body(), &arena, &got, &err), STATUS_OK);
    TEST_EQ(got.models[1].head, WIRE_HEAD_NONE);
    TEST_ROW("two of one name");
    models[1].name = view_of("minilm");
    TEST_EQ(session_ready_encode(&in, &out), STATUS_OK);
    TEST_EQ(session_ready_decode(body(), &arena, &got, &err), STATUS_INVALID_ARGUMENT);
    TEST_ROW("a cost that is none");
    in = ready_sample();
    in.hourly_cost = NAN;
    TEST_EQ(session_ready_encode(&in, &out), STATUS_OK);
    TEST_EQ(session_ready_decode(body(), &arena, &got, &err), STATUS_INVALID_ARGUMENT);
    TEST_ROW("no models");
    in = ready_sample();
    in.n_models = 0;
    TEST_EQ(session_ready_encode(&in, &out), STATUS_OK);
    TEST_EQ(session_ready_decode(body(), &arena, &got, &err), STATUS_INVALID_ARGUMENT);
    TEST_ROW("no name");
    in = ready_sample();
    in.name = view_of("");
    TEST_EQ(session_ready_encode(&in, &out), STATUS_OK);
    TEST_EQ(session_ready_decode(body(), &arena, &got, &err), STATUS_INVALID_ARGUMENT);
}

static void test_ready_ok_heartbeat_goaway(void **state) {
    (void)state;
    struct wire_service_number number = {3, view_of("minilm"), WIRE_TASK_EMBED};
    struct wire_ready_ok in = {1, 77, 500, 1500, &number, 1}, got;
    TEST_EQ(session_ready_ok_encode(&in, &out), STATUS_OK);
    TEST_EQ(session_ready_ok_decode(body(), &arena, &got, &err), STATUS_OK);
    TEST_EQ(got.broker, 77);
    TEST_EQ(got.silence_ms, 1500);
    TEST_EQ(got.services[0].number, 3);

    struct wire_heartbeat beat = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, view_of("up"), 15, 16},
                          back;
    TEST_EQ(session_heartbeat_encode(&beat, &out), STATUS_OK);
    TEST_EQ(session_heartbeat_decode(body(), &arena, &back, &err), STATUS_OK);
    TEST_EQ(back.queued, 1);
    TEST_EQ(back.service_us, 4);
    TEST_EQ(back.completed, 5);
    TEST_EQ(back.rss_bytes, 13);
    TEST_EQ(back.running_us, 15);
    TEST_EQ(back.stuck, 16);
    TEST_TRUE(is(back.redis, "up"));

    struct view reason;
    TEST_EQ(session_goaway_encode(view_of("draining"), &out), STATUS_OK);
    TEST_EQ(session_goaway_decode(body(), &arena, &reason, &err), STATUS_OK);
    TEST_TRUE(is(reason, "draining"));
    TEST_EQ(session_goaway_encode(view_of("\xff"), &out), STATUS_OK);
    TEST_EQ(session_goaway_decode(body(), &arena, &reason, &err), STATUS_INVALID_ARGUMENT);
}

static void test_status(void **state) {
    (void)state;
    enum { N = 300 };
    struct wire_ready ready = ready_sample();
    static struct wire_worker_status workers[N];
    static char names[N][16];
    for (int i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "w%d", i);
        workers[i] = (struct wire_worker_status){.name = view_of(names[i]),
                                                 .host = view_of("host-a"),
                                                 .state = view_of("live"),
                                                 .threads = 2,
                                                 .credit = 128,
                                                 .in_flight = (uint32_t)i,
                                                 .dispatched = (uint64_t)i << 33,
                                                 .models = ready.models,
                                                 .n_models = 2,
                                                 .last = {.completed = 5, .redis = view_of("off")}};
    }
    struct wire_service_status service = {1, view_of("minilm"), WIRE_TASK_EMBED, 2, 3, 4, 5, 6, 7};
    struct wire_counter counter = {view_of("requests"), 1ull << 40};
    struct view route = view_of("chat=m:90,n:10");
    struct wire_status_reply in = {.broker_name = view_of("b1"),
                                   .version = view_of("0.1.0"),
                                   .state = view_of("serving"),
                                   .broker = 5,
                                   .uptime_ms = 6,
                                   .workers = workers,
                                   .n_workers = N,
                                   .services = &service,
                                   .n_services = 1,
                                   .counters = &counter,
                                   .n_counters = 1,
                                   .routes = &route,
                                   .n_routes = 1,
                                   .fleet = {300, 2, 600, true, 400, 1.25, 30.5, 1e6}},
                             got;
    TEST_EQ(session_status_encode(&in, &out), STATUS_OK);
    struct arena exact; /* what a reader of such a body would set aside is enough */
    assert_true(arena_init(&exact, session_arena_bytes(out.bytes)));
    TEST_EQ(session_status_decode(wire_out_view(&out), &exact, &got, &err), STATUS_OK);
    TEST_EQ(got.n_workers, N);
    TEST_TRUE(is(got.workers[N - 1].name, "w299"));
    TEST_EQ(got.workers[N - 1].dispatched, 299ull << 33);
    TEST_EQ(got.workers[0].n_models, 2);
    TEST_TRUE(is(got.workers[0].last.redis, "off"));
    TEST_EQ(got.services[0].answered, 6);
    TEST_EQ(got.services[0].engine_us, 7);
    TEST_EQ(got.fleet.live, 300);
    TEST_EQ(got.fleet.suspect, 2);
    TEST_EQ(got.fleet.runners, 600);
    TEST_TRUE(got.fleet.known);
    TEST_EQ(got.fleet.desired, 400);
    TEST_TRUE(got.fleet.load == 1.25 && got.fleet.hourly_cost == 30.5 && got.fleet.cost == 1e6);
    TEST_EQ(got.counters[0].value, 1ull << 40);
    TEST_EQ(got.n_routes, 1);
    TEST_TRUE(is(got.routes[0], "chat=m:90,n:10"));
    arena_done(&exact);
    in.fleet.cost = -1;
    TEST_EQ(session_status_encode(&in, &out), STATUS_OK);
    assert_true(arena_init(&exact, session_arena_bytes(out.bytes)));
    TEST_EQ(session_status_decode(wire_out_view(&out), &exact, &got, &err),
            STATUS_INVALID_ARGUMENT);
    TEST_HAS(err.text, "no amount");
    arena_done(&exact);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello),  cmocka_unit_test(test_welcome),
        cmocka_unit_test(test_ready),  cmocka_unit_test(test_ready_ok_heartbeat_goaway),
        cmocka_unit_test(test_status),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
