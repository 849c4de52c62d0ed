/* figures_test.c - the metrics page, and the status report that clients ask for. */
#include "support/body.h"
#include "support/test.h"

#include "figures.h"
#include "metrics/expose.h"
#include "overview.h"

static uint64_t dispatched; /* number of the last execution */

static enum core_sent to_worker(void *arg, uint32_t worker, const struct header *h, uint32_t slot) {
    (void)arg, (void)worker, (void)slot;
    if (h->type == WIRE_DISPATCH)
        dispatched = h->id;
    return CORE_SENT;
}

static enum core_sent to_client(void *arg, uint32_t client, const struct header *h,
                                const struct core_error *error) {
    (void)arg, (void)client, (void)h, (void)error;
    return CORE_SENT;
}

static enum core_sent forward(void *arg, uint32_t client, const struct header *h) {
    (void)arg, (void)client, (void)h;
    return CORE_SENT;
}

static void drop(void *arg, uint32_t slot) {
    (void)arg, (void)slot;
}

static void closed(void *arg, uint32_t number, const char *why) {
    (void)arg, (void)number, (void)why;
}

/* A broker with one worker, one request answered after 160 ms, one at the worker, one refused. */
static core_t *populated(uint64_t now) {
    struct core_cfg cfg = {.max_clients = 4,
                           .max_workers = 4,
                           .max_services = 8,
                           .max_tickets = 8,
                           .max_queued = 8,
                           .max_queued_bytes = 10000,
                           .max_client_tickets = 8,
                           .heartbeat_us = 500000,
                           .no_worker_grace_us = 1000000,
                           .drain_us = 1000000,
                           .slo_us = 150000,
                           .id = 77,
                           .seed = 1};
    struct core_ops ops = {.to_worker = to_worker,
                           .to_client = to_client,
                           .forward = forward,
                           .drop = drop,
                           .client_closed = closed,
                           .worker_closed = closed};
    core_t *core;
    TEST_EQ(core_new(&cfg, &ops, now, &core, NULL), STATUS_OK);
    struct wire_model m = {.name = view_of("minilm"), .tasks = 1U << WIRE_TASK_EMBED, .dim = 384};
    struct wire_ready ready = {
        .uuid = 1, .name = view_of("w1"), .hourly_cost = 0.25, .models = &m, .n_models = 1};
    uint32_t w = CORE_NONE, c = CORE_NONE;
    TEST_EQ(core_ready(core, &w, &ready, 9, now, NULL), STATUS_OK);
    TEST_EQ(core_hello(core, &c, 0, 5, NULL, now, NULL), STATUS_OK);
    struct header request = {.type = WIRE_REQUEST, .epoch = 5, .budget_us = 900000, .service = 1};
    TEST_EQ(core_request(core, c, &request, BODY(10), now), 0);
    core_dispatch(core, now);
    struct header result = {
        .type = WIRE_RESULT, .id = dispatched, .epoch = 77, .credit = 9, .budget_us = 90000};
    TEST_TRUE(core_worker_heard(core, w, &result, now + 160000));
    core_worker_frame(core, w, &result, now + 160000);
    request.id = 1;
    TEST_TRUE(core_request(core, c, &request, BODY(10), now + 160000) != CORE_NONE);
    core_dispatch(core, now + 160000);
    request.id = 2;
    request.budget_us = 0;
    TEST_EQ(core_request(core, c, &request, BODY(10), now + 160000), CORE_NONE);
    core_check(core);
    return core;
}

static void test_page(void **state) {
    (void)state;
    core_t *core = populated(1000000);
    figures_t *figures = NULL;
    struct err err;
    TEST_EQ(figures_start("127.0.0.1:0", core, 1000000, &figures, &err), STATUS_OK);
    struct figures_frames frames = {.malformed = 3,
                                    .has_load = true,
                                    .load = 0.25,
                                    .desired = 7,
                                    .core_load = core_load(core),
                                    .cost = 12345.67890125,
                                    .has_cost_per_1000 = true,
                                    .cost_per_1000 = 0.5};
    figures_publish(figures, core, &frames, 2000000);
    struct expose_text page = {0};
    figures_page(figures, &page);
    static const char *const lines[] = {
        "\nember_requests_received_total 3\n",
        "\nember_requests_total{status=\"OK\"} 1\n",
        "\nember_requests_total{status=\"INVALID_ARGUMENT\"} 1\n",
        "\nember_dispatches_total 2\n",
        "\nember_request_duration_seconds_bucket{le=\"0.15\"} 0\n",
        "\nember_request_duration_seconds_bucket{le=\"0.2\"} 1\n",
        "\nember_request_duration_seconds_sum 0.16\n",
        "\nember_queue_duration_seconds_count 2\n",
        "\nember_workers{state=\"live\"} 1\n",
        "\nember_service_engine_seconds_total{model=\"minilm\",task=\"embed\"} 0.09\n",
        "\nember_workers_hourly_cost 0.25\n",
        "{model=\"minilm\",task=\"embed\",lane=\"high\",status=\"OK\"} 1\n",
        "{model=\"minilm\",task=\"embed\",lane=\"high\",status=\"INVALID_ARGUMENT\"} 1\n",
        "\nember_refusals_total{reason=\"invalid\"} 1\n",
        "\nember_refusals_total{reason=\"queue_full\"} 0\n",
        "\nember_slo_seconds 0.15\n",
        "\nember_slo_requests_total{lane=\"high\",within=\"true\"} 0\n",
        "\nember_slo_requests_total{lane=\"high\",within=\"false\"} 1\n",
        "\nember_workers_desired 7\n",
        "\nember_workers_load 0.25\n",
        "\nember_workers_credit 9\n",
        "\nember_workers_credit_used 1\n",
        "\nember_cost_dollars_total 12345.67890125\n",
        "\nember_cost_dollars_per_1000_requests 0.5\n",
        "\nember_in_flight 1\n",
        "\nember_queue_size 0\n",
        "\nember_clients 1\n",
        "\nember_frames_malformed_total 3\n",
        "\nember_service_workers{model=\"minilm\",task=\"embed\"} 1\n",
        "\nember_service_answered_total{model=\"minilm\",task=\"embed\"} 1\n",
        "\nember_uptime_seconds 1\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        TEST_HAS(page.data, lines[i]);
    TEST_TRUE(!strstr(page.data, "ember_keys")); /* it has none */
    expose_text_done(&page);
    figures_publish(figures, core, &(struct figures_frames){0}, 2100000);
    page = (struct expose_text){0};
    figures_page(figures, &page);
    TEST_TRUE(!strstr(page.data, "ember_workers_desired")); /* it is not known so soon */
    TEST_TRUE(!strstr(page.data, "ember_cost_dollars_per_1000_requests"));
    expose_text_done(&page);
    struct figures_frames with = {.has_keys = true,
                                  .keys = {.keys = 5, .bad = 2, .admitted = 7, .refused = 9}};
    figures_publish(figures, core, &with, 2500000);
    page = (struct expose_text){0};
    figures_page(figures, &page);
    static const char *const of_keys[] = {
        "\nember_keys 5\n", "\nember_keys_refused_files 2\n", "\nember_keys_unreadable 0\n",
        "\nember_handshakes_admitted_total 7\n", "\nember_handshakes_refused_total 9\n"};
    for (size_t i = 0; i < sizeof of_keys / sizeof *of_keys; i++)
        TEST_HAS(page.data, of_keys[i]);
    expose_text_done(&page);
    struct expose_text why = {0};
    TEST_TRUE(figures_healthy(figures, 2500000 + FIGURES_BEAT_US - 1, &why));
    TEST_TRUE(!figures_healthy(figures, 2500000 + FIGURES_BEAT_US + 1000000, &why));
    TEST_HAS(why.data, "6.0 s");
    expose_text_done(&why);
    figures_stop(&figures);
    core_destroy(&core);
}

static void test_overview(void **state) {
    (void)state;
    core_t *core = populated(1000000);
    struct wire_out out = {0};
    struct overview about = {"b1", 1000000, true, 7, 0.25, 1.5};
    TEST_EQ(overview_encode(core, &about, 2000000, &out), STATUS_OK);
    struct arena arena;
    TEST_TRUE(arena_init(&arena, session_arena_bytes(out.bytes)));
    struct wire_status_reply s;
    TEST_EQ(session_status_decode(wire_out_view(&out), &arena, &s, NULL), STATUS_OK);
    TEST_TRUE(view_equal(s.broker_name, view_of("b1")));
    TEST_TRUE(view_equal(s.state, view_of("serving")));
    TEST_EQ(s.uptime_ms, 1000);
    TEST_EQ(s.n_workers, 1);
    TEST_TRUE(view_equal(s.workers[0].name, view_of("w1")));
    TEST_EQ(s.workers[0].in_flight, 1);
    TEST_EQ(s.workers[0].n_models, 1);
    TEST_EQ(s.workers[0].silent_ms, 840);
    TEST_EQ(s.n_services, 1);
    TEST_EQ(s.services[0].answered, 1);
    TEST_EQ(s.services[0].engine_us, 90000);
    TEST_EQ(s.fleet.live, 1);
    TEST_EQ(s.fleet.runners, 1);
    TEST_TRUE(s.fleet.known);
    TEST_EQ(s.fleet.desired, 7);
    TEST_NEAR(s.fleet.load, 0.25, 0);
    TEST_NEAR(s.fleet.hourly_cost, 0.25, 0);
    TEST_NEAR(s.fleet.cost, 1.5, 0);
    uint64_t ok = 0;
    for (uint32_t i = 0; i < s.n_counters; i++)
        if (view_equal(s.counters[i].name, view_of("replied_OK")))
            ok = s.counters[i].value;
    TEST_EQ(ok, 1);
    arena_done(&arena);
    wire_out_done(&out);
    core_destroy(&core);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_page),
        cmocka_unit_test(test_overview),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
