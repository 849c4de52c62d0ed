/* core_test.c - the broker's decisions, one by one. Chance and mass are the simulation's business
 * (tests/sim/broker_sim_test.c); here each rule is told by an example. */
#include "support/body.h"
#include "support/test.h"

#include "core.h"

enum { MS = 1000, S = 1000 * MS, LOG = 256, START = 10 * S };

/* What the core did, in order, as short lines: "w0 DISPATCH 2" (attempt), "c0 REPLY 7 OK". */
static char did[LOG][256];
static uint32_t n_did;
static char last_text[512];
static uint32_t last_retry_ms;
static enum core_sent worker_takes;
static core_t *core;
static uint64_t now;
static uint64_t tickets[LOG]; /* of dispatches, in order */
static uint32_t n_tickets;
static uint32_t dropped;

static void note(const char *side, uint32_t number, const struct header *h) {
    if (n_did == LOG)
        return;
    char *out = did[n_did++];
    if (h->type == WIRE_REPLY)
        snprintf(out, sizeof did[0], "%s%u REPLY %llu %s", side, number, (unsigned long long)h->id,
                 status_name((enum status)h->status));
    else if (h->type == WIRE_DISPATCH)
        snprintf(out, sizeof did[0], "%s%u DISPATCH %u", side, number, h->attempt);
    else
        snprintf(out, sizeof did[0], "%s%u %s", side, number, wire_type_name(h->type));
}

static enum core_sent to_worker(void *arg, uint32_t worker, const struct header *h, uint32_t slot) {
    (void)arg;
    (void)slot;
    if (h->type == WIRE_DISPATCH && worker_takes != CORE_SENT)
        return worker_takes;
    if (h->type == WIRE_DISPATCH && n_tickets < LOG)
        tickets[n_tickets++] = h->id;
    note("w", worker, h);
    return CORE_SENT;
}

static enum core_sent to_client(void *arg, uint32_t client, const struct header *h,
                                const struct core_error *error) {
    (void)arg;
    if (error) {
        snprintf(last_text, sizeof last_text, "%s", error->text);
        last_retry_ms = error->retry_after_ms;
    }
    note("c", client, h);
    return CORE_SENT;
}

static enum core_sent forward(void *arg, uint32_t client, const struct header *h) {
    (void)arg;
    note("c", client, h);
    return CORE_SENT;
}

static void drop(void *arg, uint32_t slot) {
    (void)arg;
    (void)slot;
    dropped++;
}

static void client_closed(void *arg, uint32_t client, const char *why) {
    (void)arg;
    snprintf(did[n_did++ % LOG], sizeof did[0], "c%u closed: %s", client, why);
}

static void worker_closed(void *arg, uint32_t worker, const char *why) {
    (void)arg;
    snprintf(did[n_did++ % LOG], sizeof did[0], "w%u closed: %s", worker, why);
}

static void begin(const char *default_model) {
    core_destroy(&core);
    struct core_cfg cfg = {.max_clients = 4,
                           .max_workers = 4,
                           .max_services = 32,
                           .max_tickets = 32,
                           .max_queued = 8,
                           .max_queued_bytes = 10000,
                           .max_client_tickets = 12,
                           .max_key_sessions = 2,
                           .heartbeat_us = 500 * MS,
                           .no_worker_grace_us = 5 * S,
                           .drain_us = 20 * S,
                           .id = 77,
                           .seed = 1};
    snprintf(cfg.default_model, sizeof cfg.default_model, "%s", default_model);
    struct core_ops ops = {.to_worker = to_worker,
                           .to_client = to_client,
                           .forward = forward,
                           .drop = drop,
                           .client_closed = client_closed,
                           .worker_closed = worker_closed};
    now = START;
    n_did = n_tickets = dropped = 0;
    worker_takes = CORE_SENT;
    TEST_EQ(core_new(&cfg, &ops, now, &core, NULL), STATUS_OK);
}

static uint32_t client(void) {
    uint32_t c = CORE_NONE;
    TEST_EQ(core_hello(core, &c, 0, 500, NULL, now, NULL), STATUS_OK);
    return c;
}

static uint32_t worker(uint64_t uuid, const char *model, uint16_t credit) {
    struct wire_model m = {.name = view_of(model), .tasks = 1U << WIRE_TASK_EMBED};
    struct wire_ready ready = {.uuid = uuid, .name = view_of("w"), .models = &m, .n_models = 1};
    uint32_t w = CORE_NONE;
    TEST_EQ(core_ready(core, &w, &ready, credit, now, NULL), STATUS_OK);
    return w;
}

static void ask_service(uint32_t c, uint64_t id, const char *model, enum wire_task task,
                        uint8_t lane) {
    struct header h = {.type = WIRE_REQUEST,
                       .lane = lane,
                       .id = id,
                       .epoch = core_session(core, c),
                       .budget_us = 60 * S,
                       .service = (uint16_t)core_number(core, view_of(model), task)};
    core_request(core, c, &h, BODY(10), now);
    core_check(core);
}

static void ask_lane(uint32_t c, uint64_t id, const char *model, uint8_t lane) {
    ask_service(c, id, model, WIRE_TASK_EMBED, lane);
}

static void ask(uint32_t c, uint64_t id, const char *model) {
    ask_lane(c, id, model, WIRE_LANE_NORMAL);
}

static void says(uint32_t w, uint8_t type, uint64_t id, uint16_t credit) {
    struct header h = {.type = type, .id = id, .epoch = 77, .credit = credit};
    if (core_worker_heard(core, w, &h, now))
        core_worker_frame(core, w, &h, now);
    core_check(core);
}

static void go(uint64_t us) { /* time passes, a beat at a time */
    for (uint64_t until = now + us; now < until;) {
        uint64_t next = core_next_us(core);
        now = next > now && next < until ? next : until;
        core_tick(core, now);
        core_dispatch(core, now);
        core_check(core);
    }
}

static void dispatch(void) {
    core_dispatch(core, now);
    core_check(core);
}

/* The lines since the last look, PINGs left out, are exactly these. */
static void expect(const char *want) {
    char got[LOG * 64] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < n_did; i++)
        if (!strstr(did[i], "PING") && !strstr(did[i], "w0 PONG") && !strstr(did[i], "w1 PONG"))
            used +=
                (size_t)snprintf(got + used, sizeof got - used, "%s%s", used ? "; " : "", did[i]);
    n_did = 0;
    TEST_STR_EQ(got, want);
}

static void test_lanes(void **state) {
    (void)state;
    begin("");
    uint32_t c = client(), w = worker(1, "m", 1);
    ask_lane(c, 1, "m", WIRE_LANE_BULK);
    ask_lane(c, 2, "m", WIRE_LANE_NORMAL);
    ask_lane(c, 3, "m", WIRE_LANE_HIGH);
    ask_lane(c, 4, "m", WIRE_LANE_HIGH);
    ask_lane(c, 5, "m", 3);
    expect("c0 REPLY 5 INVALID_ARGUMENT");
    for (uint32_t i = 0; i < 4; i++) {
        dispatch();
        says(w, WIRE_RESULT, tickets[i], 1);
    }
    expect("w0 DISPATCH 1; c0 REPLY 3 OK; w0 DISPATCH 1; c0 REPLY 4 OK; "
           "w0 DISPATCH 1; c0 REPLY 2 OK; w0 DISPATCH 1; c0 REPLY 1 OK");
    TEST_EQ(dropped, 4);
}

static void test_services_share_a_worker_evenly(void **state) {
    (void)state;
    begin("");
    struct wire_model m[2] = {{.name = view_of("a"), .tasks = 1U << WIRE_TASK_EMBED},
                              {.name = view_of("b"), .tasks = 1U << WIRE_TASK_EMBED}};
    struct wire_ready ready = {.uuid = 1, .name = view_of("w"), .models = m, .n_models = 2};
    uint32_t w = CORE_NONE, c = client();
    TEST_EQ(core_ready(core, &w, &ready, 4, now, NULL), STATUS_OK);
    for (uint64_t i = 1; i <= 4; i++)
        ask(c, i, "a");
    ask(c, 5, "b");
    ask(c, 6, "b");
    dispatch();
    for (uint32_t i = 0; i < 4; i++)
        says(w, WIRE_RESULT, tickets[i], 0);
    expect("w0 DISPATCH 1; w0 DISPATCH 1; w0 DISPATCH 1; w0 DISPATCH 1; "
           "c0 REPLY 1 OK; c0 REPLY 5 OK; c0 REPLY 2 OK; c0 REPLY 6 OK");
}

static void test_worker_loss(void **state) {
    (void)state;
    begin("");
    uint32_t c = client();
    worker(1, "m", 9);
    ask(c, 1, "m");
    ask(c, 2, "m");
    dispatch();
    ask(c, 3, "m"); /* stands behind those that come back */
    expect("w0 DISPATCH 1; w0 DISPATCH 1");
    core_worker_lost(core, 0, "test", now);
    uint32_t w = worker(2, "m", 1);
    for (uint32_t i = 2; i < 5; i++) {
        dispatch();
        says(w, WIRE_RESULT, tickets[i], 1);
    }
    expect("w0 closed: test; w0 DISPATCH 2; c0 REPLY 1 OK; w0 DISPATCH 2; c0 REPLY 2 OK; "
           "w0 DISPATCH 1; c0 REPLY 3 OK");
    says(w, WIRE_RESULT, tickets[0], 1); /* of the first attempt */
    expect("");
    TEST_EQ(core_stats(core)->late, 1);

    TEST_ROW("a worker that says goodbye, or comes back elsewhere, did not die");
    ask(c, 9, "m");
    dispatch();
    says(w, WIRE_BYE, 0, 0);
    worker(3, "m", 9);
    dispatch();
    worker(3, "m", 9); /* on another connection */
    dispatch();
    expect("w0 DISPATCH 1; w0 BYE_OK; w0 closed: said goodbye; w0 DISPATCH 2; "
           "w0 closed: came back on another connection; w0 DISPATCH 3");
    core_worker_lost(core, 0, "test", now);
    expect("c0 REPLY 9 INTERNAL; w0 closed: test");
    TEST_STR_EQ(last_text, "the request was in flight on 3 workers that were lost");
    TEST_EQ(core_stats(core)->poisoned, 0);
}

static void test_nack_and_suspect(void **state) {
    (void)state;
    begin("");
    uint32_t c = client(), w = worker(1, "m", 9);
    ask(c, 1, "m");
    dispatch();
    says(w, WIRE_NACK, tickets[0], 9);
    dispatch();
    dispatch();
    expect("w0 DISPATCH 1"); /* not again to the one that refused, until it speaks */
    says(w, WIRE_HEARTBEAT, 0, 9);
    dispatch();
    expect("w0 DISPATCH 1"); /* still the first execution */
    says(w, WIRE_RESULT, tickets[1], 9);
    expect("c0 REPLY 1 OK");

    TEST_ROW("one that has no room, ever so often, is trusted");
    uint32_t spare = worker(2, "m", 0), last = 2;
    ask(c, 7, "m");
    for (uint32_t i = 0; i < 7; i++) {
        says(w, WIRE_HEARTBEAT, 0, 9);
        dispatch();
        expect("w0 DISPATCH 1");
        says(w, WIRE_NACK, tickets[last++], 9);
    }
    TEST_EQ(core_fleet(core)->workers[w].state, FLEET_LIVE);
    says(w, WIRE_HEARTBEAT, 0, 9);
    dispatch();
    says(w, WIRE_RESULT, tickets[last++], 9);
    expect("w0 DISPATCH 1; c0 REPLY 7 OK");
    says(spare, WIRE_BYE, 0, 0);
    dispatch();
    expect("w1 BYE_OK; w1 closed: said goodbye");

    worker_takes = CORE_FULL;
    ask(c, 2, "m");
    dispatch();
    worker_takes = CORE_SENT;
    dispatch();
    expect("");
    TEST_EQ(core_fleet(core)->workers[w].state, FLEET_SUSPECT);
    says(w, WIRE_PONG, 0, 9);
    dispatch();
    expect("w0 DISPATCH 1");
    says(w, WIRE_RESULT, tickets[last], 9);
    expect("c0 REPLY 2 OK");

    worker_takes = CORE_GONE;
    ask(c, 3, "m");
    dispatch();
    expect("w0 closed: disconnected");
    worker_takes = CORE_SENT;
    worker(3, "m", 9);
    dispatch();
    expect("w0 DISPATCH 1");
}

static void test_silence(void **state) {
    (void)state;
    begin("");
    uint32_t c = client(), w = worker(1, "m", 9);
    ask(c, 1, "m");
    dispatch();
    expect("w0 DISPATCH 1");
    go(1400 * MS);
    expect("");
    says(w, WIRE_PONG, 0, 9);
    go(1400 * MS);
    expect("");
    go(300 * MS);
    expect("w0 closed: silent");
    w = worker(2, "m", 9);
    dispatch();
    expect("w0 DISPATCH 2");
    now += 30 * S; /* this process was stopped: nobody could be heard */
    core_tick(core, now);
    go(1 * S);
    expect("");
    go(2 * S);
    expect("w0 closed: silent");
}

static void test_no_worker(void **state) {
    (void)state;
    begin("");
    uint32_t c = client();
    ask(c, 1, "m");
    go(4900 * MS);
    expect("");
    go(300 * MS);
    expect("c0 REPLY 1 NOT_FOUND");
    TEST_STR_EQ(last_text, "no worker serves model 'm' (task embed); known: none");
    worker(1, "m", 9);
    worker(2, "n", 9);
    ask(c, 2, "x");
    expect("c0 REPLY 2 NOT_FOUND");
    TEST_STR_EQ(last_text, "no worker serves model 'x' (task embed); known: m, n");
    ask_service(c, 9, "m", WIRE_TASK_RERANK, WIRE_LANE_NORMAL);
    expect("c0 REPLY 9 UNIMPLEMENTED");
    TEST_STR_EQ(last_text, "model 'm' does not rerank; it can embed");
    core_worker_lost(core, 0, "test", now);
    ask(c, 3, "m");
    says(1, WIRE_HEARTBEAT, 0, 9);
    expect("w0 closed: test");
    for (int i = 0; i < 11; i++) {
        go(500 * MS);
        says(1, WIRE_HEARTBEAT, 0, 9);
    }
    expect("c0 REPLY 3 UNAVAILABLE");
    ask(c, 4, "m");
    expect("c0 REPLY 4 UNAVAILABLE");
    TEST_STR_EQ(last_text, "no worker serves model 'm' (task embed) now");
}

static void test_default_model(void **state) {
    (void)state;
    begin("");
    uint32_t c = client(), w = worker(1, "m", 9);
    ask(c, 1, "");
    dispatch();
    says(w, WIRE_RESULT, tickets[0], 9);
    expect("w0 DISPATCH 1; c0 REPLY 1 OK");
    worker(2, "n", 9);
    ask(c, 2, "");
    expect("c0 REPLY 2 INVALID_ARGUMENT");
    TEST_STR_EQ(last_text, "name a model: there is no default for task embed; known: m, n");

    begin("n");
    c = client();
    ask(c, 1, "");
    worker(1, "m", 9); /* not the one to wait for */
    dispatch();
    expect("");
    w = worker(2, "n", 9);
    dispatch();
    expect("w1 DISPATCH 1");
}

static void test_limits(void **state) {
    (void)state;
    begin("");
    uint32_t a = client(), b = client();
    worker(1, "m", 4);
    for (uint64_t i = 0; i < 12; i++)
        ask(a, i, "m");
    expect("w0 DISPATCH 1; w0 DISPATCH 1; w0 DISPATCH 1; w0 DISPATCH 1");
    ask(a, 12, "m"); /* one client's cap: twelve */
    expect("c0 REPLY 12 RESOURCE_EXHAUSTED");
    TEST_HAS(last_text, "12 requests of this client are in flight");
    TEST_EQ(last_retry_ms, 1000); /* nothing measured yet */
    TEST_ROW("eight wait, all of one client: its newest makes room for another one's");
    ask(b, 1, "m");
    expect("c0 REPLY 11 RESOURCE_EXHAUSTED");
    TEST_HAS(last_text, "most of it for this client");
    TEST_TRUE(last_retry_ms > 0);
    TEST_ROW("but not for one of its own");
    ask(a, 12, "m");
    expect("c0 REPLY 12 RESOURCE_EXHAUSTED");
    TEST_HAS(last_text, "8 requests");
    TEST_ROW("too many bytes, and most of them its own");
    struct header big = {.type = WIRE_REQUEST, .id = 2, .epoch = 500, .budget_us = S, .service = 1};
    TEST_EQ(core_request(core, b, &big, BODY(9999), now), CORE_NONE);
    expect("c1 REPLY 2 RESOURCE_EXHAUSTED");
    TEST_ROW("of its own a lower lane's goes for a higher one");
    ask_lane(a, 13, "m", WIRE_LANE_HIGH);
    expect("c0 REPLY 10 RESOURCE_EXHAUSTED");
    TEST_EQ(core_stats(core)->shed, 2);
}

static void test_retry_after_is_measured(void **state) {
    (void)state;
    begin("");
    uint32_t c = client(), w = worker(1, "m", 1);
    for (uint64_t i = 0; i < 120; i++) { /* 20 a second for six seconds */
        ask(c, i, "m");
        dispatch();
        says(w, WIRE_RESULT, tickets[n_tickets - 1], 1);
        n_did = n_tickets = 0;
        go(50 * MS);
    }
    for (uint64_t i = 1000; i < 1010; i++)
        ask(c, i, "m");
    TEST_HAS(last_text, "8 requests");
    TEST_TRUE(last_retry_ms >= 350 && last_retry_ms <= 500); /* 8 of them at 20 a second: 400 ms */
}

static void test_repeats_and_restarts(void **state) {
    (void)state;
    begin("");
    uint32_t c = client(), w = worker(1, "m", 9);
    ask(c, 1, "m");
    ask(c, 1, "m"); /* the client lost patience: executed once */
    dispatch();
    says(w, WIRE_RESULT, tickets[0], 9);
    expect("w0 DISPATCH 1; c0 REPLY 1 OK");
    TEST_EQ(core_stats(core)->attached, 1);
    ask(c, 2, "m");
    dispatch();
    TEST_EQ(core_hello(core, &c, 0, 501, NULL, now, NULL), STATUS_OK); /* it has forgotten all */
    expect("w0 DISPATCH 1; w0 CANCEL");
    says(w, WIRE_RESULT, tickets[1], 9);
    expect("");
    struct header old = {.type = WIRE_PING, .epoch = 500};
    TEST_TRUE(!core_client_heard(core, c, &old, now));
    expect("c0 WHO_ARE_YOU");
    TEST_EQ(core_stats(core)->dropped, 1);
}

static void test_drain(void **state) {
    (void)state;
    begin("");
    uint32_t c = client();
    worker(1, "m", 1);
    ask(c, 1, "m");
    ask(c, 2, "m");
    dispatch();
    n_did = 0;
    core_drain(core, now);
    expect("c0 GOAWAY; c0 REPLY 2 UNAVAILABLE");
    ask(c, 3, "m");
    expect("c0 REPLY 3 UNAVAILABLE");
    uint32_t late = CORE_NONE;
    TEST_EQ(core_hello(core, &late, 0, 9, NULL, now, NULL), STATUS_UNAVAILABLE);
    TEST_TRUE(!core_drained(core));
    for (int i = 0; i < 41; i++) {
        go(500 * MS);
        says(0, WIRE_HEARTBEAT, 0, 1);
    }
    expect("w0 CANCEL; c0 REPLY 1 UNKNOWN_OUTCOME");
    TEST_TRUE(core_drained(core));
}

static void test_worker_drains(void **state) {
    (void)state;
    begin("");
    uint32_t c = client(), w = worker(1, "m", 9);
    ask(c, 1, "m");
    dispatch();
    says(w, WIRE_DRAIN, 0, 9);
    ask(c, 2, "m");
    dispatch();
    says(w, WIRE_RESULT, tickets[0], 9);
    says(w, WIRE_BYE, 0, 0);
    expect("w0 DISPATCH 1; c0 REPLY 1 OK; w0 BYE_OK; w0 closed: said goodbye");
    TEST_EQ(core_stats(core)->workers_lost, 0);
    worker(2, "m", 9);
    dispatch();
    expect("w0 DISPATCH 1");
}

/* A worker's room counts what is in flight by the broker's books. When the broker itself ends
 * such a request, the next may go: the worker's RESULT may be late or lost and would wake
 * nobody. */
static void test_recall_makes_room(void **state) {
    (void)state;
    enum { CANCEL, DEADLINE, LOST };
    static const char *const want[] = {
        [CANCEL] = "w0 DISPATCH 1; w0 CANCEL; c0 REPLY 1 CANCELLED; w0 DISPATCH 1",
        [DEADLINE] = "w0 DISPATCH 1; w0 CANCEL; c0 REPLY 1 DEADLINE_EXCEEDED; w0 DISPATCH 1",
        [LOST] = "w0 DISPATCH 1; w0 CANCEL; c0 closed: disconnected; w0 DISPATCH 1"};
    for (int how = CANCEL; how <= LOST; how++) {
        TEST_ROW(want[how]);
        begin("");
        uint32_t a = client(), b = client();
        worker(1, "m", 1);
        struct header first = {.type = WIRE_REQUEST,
                               .id = 1,
                               .epoch = 500,
                               .budget_us = 100 * MS,
                               .service =
                                   (uint16_t)core_number(core, view_of("m"), WIRE_TASK_EMBED)};
        core_request(core, a, &first, BODY(10), now);
        ask(b, 2, "m");
        first.type = WIRE_CANCEL;
        dispatch();
        if (how == CANCEL)
            core_client_frame(core, a, &first, now);
        else if (how == LOST)
            core_client_lost(core, a, "disconnected", now);
        else
            core_tick(core, now += 101 * MS);
        dispatch();
        expect(want[how]);
    }
}

/* Names that somebody makes up fill their half of the table and no more. */
static void test_invented_names(void **state) {
    (void)state;
    begin("");
    uint32_t given = 0;
    for (int i = 0; i < 100; i++) {
        char name[16];
        snprintf(name, sizeof name, "made-up-%d", i);
        given += core_number(core, view_of(name), WIRE_TASK_EMBED) != 0;
    }
    TEST_EQ(given, 32 / 2 - 1);
    for (enum wire_task task = WIRE_TASK_NONE + 1; task < WIRE_TASKS; task++)
        TEST_TRUE(core_number(core, view_of(""), task) != 0); /* the default model */
    worker(1, "m", 4);
    ask(client(), 1, "");
    dispatch();
    expect("w0 DISPATCH 1");
}

/* One key cannot take all the places there are. */
static void test_sessions_of_a_key(void **state) {
    (void)state;
    begin("");
    struct core_who who = {.account = 42}, other = {.account = 43};
    uint32_t a = CORE_NONE, b = CORE_NONE, c = CORE_NONE, d = CORE_NONE, e = CORE_NONE;
    struct err err;
    TEST_EQ(core_hello(core, &a, 0, 500, &who, now, &err), STATUS_OK);
    TEST_EQ(core_hello(core, &b, 0, 501, &who, now, &err), STATUS_OK);
    TEST_EQ(core_hello(core, &c, 0, 502, &who, now, &err), STATUS_RESOURCE_EXHAUSTED);
    TEST_HAS(err.text, "of this key");
    TEST_EQ(core_hello(core, &a, 9, 503, &who, now, &err), STATUS_OK); /* begins anew */
    TEST_EQ(core_hello(core, &d, 0, 504, &other, now, &err), STATUS_OK);
    TEST_EQ(core_hello(core, &e, 0, 505, NULL, now, &err), STATUS_OK);
    core_client_lost(core, b, "gone", now);
    TEST_EQ(core_hello(core, &c, 0, 506, &who, now, &err), STATUS_OK);
    core_check(core);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lanes),
        cmocka_unit_test(test_services_share_a_worker_evenly),
        cmocka_unit_test(test_worker_loss),
        cmocka_unit_test(test_nack_and_suspect),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_no_worker),
        cmocka_unit_test(test_default_model),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_retry_after_is_measured),
        cmocka_unit_test(test_repeats_and_restarts),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_worker_drains),
        cmocka_unit_test(test_recall_makes_room),
        cmocka_unit_test(test_invented_names),
        cmocka_unit_test(test_sessions_of_a_key),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    core_destroy(&core);
    return failed;
}
