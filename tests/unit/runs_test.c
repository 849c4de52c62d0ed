/* runs_test.c - executions of the broker's core: second ones, suspect workers, requests that
 * workers die of, equal requests. One rule, one example; chance and mass are in tests/sim. */
#include "support/test.h"

#include "core.h"

enum { MS = 1000, S = 1000 * MS, LOG = 512, START = 10 * S, CREDIT = 40, TICKETS = 256 };

/* What the core did, in order: "w0 DISPATCH a" (first letter of the body, "+" when another runs
 * elsewhere), "c0 REPLY 7 OK". */
static char did[LOG][160];
static uint32_t n_did;
static char last_text[512];
static core_t *core;
static uint64_t now;
static struct sent {
    uint32_t worker;
    struct header header;
} sent[LOG]; /* dispatches */
static uint32_t n_sent;
static char bodies[TICKETS][64];
static bool in_flight[TICKETS];
static uint16_t demand;
static uint32_t n_clients;

static enum core_sent to_worker(void *arg, uint32_t worker, const struct header *h, uint32_t slot) {
    (void)arg;
    if (h->type == WIRE_PONG)
        demand = h->credit;
    if (h->type == WIRE_PING || h->type == WIRE_PONG || n_did == LOG || n_sent == LOG)
        return CORE_SENT;
    if (h->type != WIRE_DISPATCH) {
        snprintf(did[n_did++], sizeof did[0], "w%u %s", worker, wire_type_name(h->type));
        return CORE_SENT;
    }
    sent[n_sent++] = (struct sent){worker, *h};
    snprintf(did[n_did++], sizeof did[0], "w%u DISPATCH %c%s", worker, bodies[slot][0],
             h->flags & WIRE_FLAG_HEDGED ? "+" : "");
    return CORE_SENT;
}

static enum core_sent to_client(void *arg, uint32_t client, const struct header *h,
                                const struct core_error *error) {
    (void)arg;
    if (error)
        snprintf(last_text, sizeof last_text, "%s", error->text);
    if (h->type == WIRE_REPLY && n_did < LOG)
        snprintf(did[n_did++], sizeof did[0], "c%u REPLY %llu %s", client,
                 (unsigned long long)h->id, status_name((enum status)h->status));
    return CORE_SENT;
}

static enum core_sent forward(void *arg, uint32_t client, const struct header *h) {
    return to_client(arg, client, h, NULL);
}

static struct view body(void *arg, uint32_t slot) {
    (void)arg;
    return view_of(bodies[slot]);
}

static void drop(void *arg, uint32_t slot) {
    (void)arg;
    in_flight[slot] = false;
}

static void client_closed(void *arg, uint32_t client, const char *why) {
    (void)arg;
    (void)client;
    (void)why;
}

static void worker_closed(void *arg, uint32_t worker, const char *why) {
    (void)arg;
    (void)worker;
    (void)why;
}

static void suspected(void *arg, uint32_t worker, const char *why) {
    (void)arg;
    if (n_did < LOG)
        snprintf(did[n_did++], sizeof did[0], "w%u %s", worker, why ? "suspect" : "trusted");
}

static void begin(bool hedge, bool coalesce) {
    core_destroy(&core);
    struct core_cfg cfg = {.max_clients = 8,
                           .max_workers = 8,
                           .max_services = 8,
                           .max_tickets = TICKETS,
                           .max_queued = TICKETS,
                           .max_queued_bytes = 1 << 20,
                           .max_client_tickets = TICKETS,
                           .heartbeat_us = 500 * MS,
                           .no_worker_grace_us = 5 * S,
                           .drain_us = 20 * S,
                           .hedge = hedge,
                           .coalesce = coalesce,
                           .id = 77,
                           .seed = 1};
    struct core_ops ops = {.to_worker = to_worker,
                           .to_client = to_client,
                           .forward = forward,
                           .body = body,
                           .drop = drop,
                           .suspected = suspected,
                           .client_closed = client_closed,
                           .worker_closed = worker_closed};
    now = START;
    n_did = n_sent = n_clients = 0;
    TEST_EQ(core_new(&cfg, &ops, now, &core, NULL), STATUS_OK);
}

static uint32_t client(void) {
    uint32_t c = CORE_NONE;
    TEST_EQ(core_hello(core, &c, 0, 500, NULL, now, NULL), STATUS_OK);
    n_clients++;
    return c;
}

static uint32_t worker(uint64_t uuid) {
    struct wire_model m = {.name = view_of("m"),
                           .tasks = 1U << WIRE_TASK_EMBED | 1U << WIRE_TASK_TOKENIZE};
    struct wire_ready ready = {.uuid = uuid, .name = view_of("w"), .models = &m, .n_models = 1};
    uint32_t w = CORE_NONE;
    TEST_EQ(core_ready(core, &w, &ready, CREDIT, now, NULL), STATUS_OK);
    return w;
}

struct ask {
    const char *body;
    uint32_t budget_us;
    uint8_t lane, flags;
    enum wire_task task;
};

/* Asked with all of it said; those below say what is usual. */
static void ask_for(uint32_t c, uint64_t id, struct ask a) {
    enum wire_task task = a.task ? a.task : WIRE_TASK_EMBED;
    struct header h = {.type = WIRE_REQUEST,
                       .flags = a.flags,
                       .lane = a.lane,
                       .id = id,
                       .epoch = 500,
                       .budget_us = a.budget_us ? a.budget_us : 60 * S,
                       .service = (uint16_t)core_number(core, view_of("m"), task)};
    uint32_t slot = core_request(core, c, &h, view_of(a.body), now);
    if (slot != CORE_NONE) {
        TEST_TRUE(!in_flight[slot]);
        snprintf(bodies[slot], sizeof bodies[0], "%s", a.body);
        in_flight[slot] = true;
    }
    core_check(core);
}

static void ask(uint32_t c, uint64_t id, const char *text) {
    ask_for(c, id, (struct ask){.body = text, .lane = WIRE_LANE_NORMAL});
}

static void says(uint32_t w, uint8_t type, uint8_t status, uint64_t id) {
    struct header h = {.type = type, .status = status, .id = id, .epoch = 77, .credit = CREDIT};
    if (core_worker_heard(core, w, &h, now))
        core_worker_frame(core, w, &h, now);
    core_check(core);
}

static void answers(uint32_t dispatch, enum status status) {
    says(sent[dispatch].worker, WIRE_RESULT, (uint8_t)status, sent[dispatch].header.id);
}

static void cancel(uint32_t c, uint64_t id) {
    struct header h = {.type = WIRE_CANCEL, .id = id, .epoch = 500};
    core_client_frame(core, c, &h, now);
    core_check(core);
}

static void dispatch(void) {
    core_dispatch(core, now);
    core_check(core);
}

static void everybody_speaks(void) {
    struct header pong = {.type = WIRE_PONG, .epoch = 500};
    for (uint32_t w = 0; w < core_fleet(core)->high_workers; w++)
        if (core_fleet(core)->workers[w].state != FLEET_FREE)
            says(w, WIRE_HEARTBEAT, 0, 0);
    for (uint32_t c = 0; c < n_clients; c++)
        if (core_session(core, c))
            core_client_heard(core, c, &pong, now);
}

static void go(uint64_t us) { /* time passes */
    for (uint64_t until = now + us, beat = now; now < until;) {
        uint64_t next = core_next_us(core);
        now = next > now && next < until ? next : until;
        for (; beat <= now; beat += 400 * MS)
            everybody_speaks();
        core_tick(core, now);
        core_dispatch(core, now);
        core_check(core);
    }
}

static void forget(void) {
    n_did = n_sent = 0;
}

static void expect(const char *want) {
    char got[LOG * 40] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < n_did; i++)
        used += (size_t)snprintf(got + used, sizeof got - used, "%s%s", used ? "; " : "", did[i]);
    n_did = 0;
    TEST_STR_EQ(got, want);
}

/* So many requests, each answered after `us`: the service's times are known then. */
static void learn(uint32_t c, uint32_t n, uint64_t us) {
    for (uint32_t i = 0; i < n; i++) {
        forget();
        ask(c, 100000 + i, "x");
        dispatch();
        now += us;
        answers(0, STATUS_OK);
    }
    go(1 * MS);
    forget();
}

/* ---------------------------------------------------------------- suspects */

/* Two workers that answer in 5 ms; w0 gets a, w1 gets b and answers it. */
static uint32_t two_workers(void) {
    uint32_t c = client();
    worker(1);
    worker(2);
    learn(c, 128, 5 * MS);
    ask(c, 1, "a");
    dispatch();
    ask(c, 2, "b");
    dispatch();
    expect("w0 DISPATCH a; w1 DISPATCH b");
    now += 5 * MS;
    answers(1, STATUS_OK);
    expect("c0 REPLY 2 OK");
    return c;
}

static void test_stuck_worker(void **state) {
    (void)state;
    begin(false, false);
    uint32_t c = two_workers();
    go(40 * MS);
    expect(""); /* less than 50 ms, however fast others are */
    go(60 * MS);
    expect("w0 suspect; w1 DISPATCH a+");
    ask(c, 3, "c");
    dispatch();
    expect("w1 DISPATCH c"); /* nothing new for the suspect */
    answers(2, STATUS_OK);
    expect("w0 CANCEL; c0 REPLY 1 OK");
    answers(0, STATUS_OK); /* too late */
    expect("");
    TEST_EQ(core_stats(core)->late, 1);
    TEST_EQ(core_stats(core)->recovered, 1);

    TEST_ROW("the late answer earns it a probe; three good ones, and it is trusted");
    answers(3, STATUS_OK);
    forget();
    go(200 * MS);
    for (uint64_t i = 0; i < 3; i++) {
        TEST_EQ(core_fleet(core)->loads[0].credit, i ? CREDIT / 2 : CREDIT);
        while (!n_sent || sent[n_sent - 1].worker != 0) {
            ask(c, 10 + n_sent + 20 * i, "d");
            dispatch();
        }
        for (uint32_t k = 0; k < n_sent; k++)
            answers(k, STATUS_OK);
        TEST_EQ(core_fleet(core)->workers[0].state, i < 2 ? FLEET_SUSPECT : FLEET_LIVE);
        forget();
    }
    TEST_EQ(core_fleet(core)->loads[0].credit, CREDIT);
}

static void test_first_answer_counts(void **state) {
    (void)state;
    static const struct {
        const char *name;
        enum status first, second;
        const char *want;
    } rows[] = {
        {"the suspect was only slow", STATUS_OK, STATUS_OK, "w1 CANCEL; c0 REPLY 1 OK; "},
        {"a broken answer waits for the other", STATUS_INTERNAL, STATUS_OK, "c0 REPLY 1 OK; "},
        {"what is wrong is wrong anywhere", STATUS_INVALID_ARGUMENT, STATUS_OK,
         "w1 CANCEL; c0 REPLY 1 INVALID_ARGUMENT; "},
        {"both are broken", STATUS_INTERNAL, STATUS_INTERNAL, "c0 REPLY 1 INTERNAL; "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        begin(false, false);
        two_workers();
        go(100 * MS);
        expect("w0 suspect; w1 DISPATCH a+");
        answers(0, rows[i].first);
        answers(2, rows[i].second);
        snprintf(did[n_did++], sizeof did[0], "end");
        char want[128];
        snprintf(want, sizeof want, "%send", rows[i].want);
        expect(want);
    }
}

static void test_no_suspects(void **state) {
    (void)state;
    TEST_ROW("the only worker");
    begin(false, false);
    uint32_t c = client();
    worker(1);
    learn(c, 128, 5 * MS);
    ask(c, 1, "a");
    dispatch();
    forget();
    go(900 * MS);
    expect("");

    TEST_ROW("nobody gets on");
    begin(false, false);
    c = client();
    worker(1);
    worker(2);
    learn(c, 128, 5 * MS);
    ask(c, 1, "a");
    ask(c, 2, "b");
    dispatch();
    forget();
    go(900 * MS);
    TEST_EQ(core_stats(core)->suspected, 0);

    TEST_ROW("this process was stopped");
    begin(false, false);
    two_workers();
    now += 700 * MS;
    core_tick(core, now);
    answers(0, STATUS_OK); /* had been lying in the socket */
    expect("c0 REPLY 1 OK");

    TEST_ROW("nothing is known of the service's times");
    begin(false, false);
    c = client();
    worker(1);
    worker(2);
    ask(c, 1, "a");
    ask(c, 2, "b");
    dispatch();
    answers(1, STATUS_OK);
    forget();
    go(900 * MS);
    expect("");

    TEST_ROW("a worker with much to do");
    begin(false, false);
    c = client();
    worker(1);
    worker(2);
    learn(c, 128, 20 * MS); /* 9 with the base: 2.2 ms each */
    for (uint64_t i = 0; i < 40; i++)
        ask(c, i, "a");
    dispatch();
    go(30 * MS);
    for (uint32_t i = 0; i < n_sent; i++)
        if (sent[i].worker == 1)
            answers(i, STATUS_OK);
    forget();
    go(60 * MS); /* beyond 4 x 20 ms, but not for the last of 20 */
    uint32_t redone = 0;
    for (uint32_t i = 0; i < n_did; i++)
        redone += strstr(did[i], "+") != NULL;
    TEST_TRUE(redone < 10);
}

static void test_a_third_at_most(void **state) {
    (void)state;
    begin(false, false);
    uint32_t c = client();
    for (uint64_t i = 1; i <= 5; i++)
        worker(i);
    learn(c, 128, 5 * MS);
    for (uint64_t i = 0; i < 5; i++) {
        ask(c, 1 + i, "a");
        dispatch();
    }
    go(5 * MS);
    answers(4, STATUS_OK);
    go(200 * MS);
    TEST_EQ(core_stats(core)->suspected, 1); /* two of five would be more than a third */
}

static void test_failures_in_a_row(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t workers, bad_first, good, bad_then;
        bool suspect;
    } rows[] = {
        {"four", 2, 4, 0, 0, false},
        {"five", 2, 5, 0, 0, true},
        {"a good one between", 2, 3, 1, 4, false},
        {"nobody else there", 1, 9, 0, 0, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        begin(false, false);
        uint32_t c = client(), n = 0;
        for (uint64_t k = 1; k <= rows[i].workers; k++)
            worker(k);
        for (uint64_t id = 1; n < rows[i].bad_first + rows[i].good + rows[i].bad_then; id++) {
            forget();
            ask(c, id, "a");
            dispatch();
            bool good = sent[0].worker != 0 ||
                        (n >= rows[i].bad_first && n < rows[i].bad_first + rows[i].good);
            n += sent[0].worker == 0;
            answers(0, good ? STATUS_OK : STATUS_INTERNAL);
        }
        TEST_EQ(core_fleet(core)->workers[0].state == FLEET_SUSPECT, rows[i].suspect);
    }
}

static void test_probe(void **state) {
    (void)state;
    begin(false, false);
    uint32_t c = two_workers();
    go(100 * MS);
    answers(2, STATUS_OK);
    forget();
    go(9 * S);
    TEST_TRUE(!core_fleet(core)->loads[0].open);
    go(2 * S);
    TEST_TRUE(core_fleet(core)->loads[0].open);
    for (uint64_t i = 0; i < 6; i++)
        ask(c, 10 + i, "p");
    dispatch();
    uint32_t probes = 0, probe = 0;
    for (uint32_t i = 0; i < n_sent; i++)
        if (sent[i].worker == 0) {
            probes++;
            probe = i;
        }
    TEST_EQ(probes, 1);
    answers(probe, STATUS_INTERNAL);
    TEST_TRUE(!core_fleet(core)->loads[0].open); /* ten seconds more */

    TEST_ROW("the other one leaves: whom to trust, if not it");
    core_worker_lost(core, 1, "test", now);
    go(300 * MS);
    TEST_EQ(core_fleet(core)->workers[0].state, FLEET_LIVE);
}

/* ---------------------------------------------------------------- overtaking */

static void test_hedge(void **state) {
    (void)state;
    static const struct {
        const char *name;
        bool hedge, busy, waits;
        uint32_t spent;
        bool want;
    } rows[] = {
        {"slower than 95 of 100", true, false, false, 0, true},
        {"not asked for", false, false, false, 0, false},
        {"the other is more than half busy", true, true, false, 0, false},
        {"somebody waits", true, true, true, 0, false},
        {"the budget is spent", true, false, false, 200, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        begin(rows[i].hedge, false);
        uint32_t c = client();
        for (uint32_t k = 0; k < rows[i].spent; k += CREDIT) { /* on workers that die */
            uint32_t w = worker(100 + k);
            for (uint64_t id = 0; id < CREDIT; id++)
                ask(c, 5000 + id, "z");
            dispatch();
            core_worker_lost(core, w, "test", now);
            for (uint64_t id = 0; id < CREDIT; id++)
                cancel(c, 5000 + id);
        }
        worker(1);
        worker(2);
        learn(c, 512, 5 * MS);
        go(3 * MS);
        forget();
        for (uint64_t k = 0; rows[i].busy && k < (rows[i].waits ? 90 : 60); k++)
            ask(c, 1000 + k, "f");
        ask(c, 1, "a");
        dispatch();
        forget();
        go(20 * MS);
        uint32_t hedges = 0;
        for (uint32_t k = 0; k < n_did; k++)
            hedges += strstr(did[k], "+") != NULL;
        TEST_EQ(hedges != 0, rows[i].want);
        TEST_EQ(core_stats(core)->hedged, hedges);
        TEST_EQ(core_stats(core)->retries_denied > 0, rows[i].spent > 0);
    }
}

static void test_hedged_once(void **state) {
    (void)state;
    begin(true, false);
    uint32_t c = client();
    for (uint64_t i = 1; i <= 3; i++)
        worker(i);
    learn(c, 512, 5 * MS);
    ask(c, 1, "a");
    dispatch();
    go(15 * MS);
    TEST_EQ(n_sent, 2);
    TEST_TRUE(sent[0].worker != sent[1].worker);
    TEST_EQ(sent[1].header.attempt, 2);
    TEST_TRUE(sent[1].header.flags & WIRE_FLAG_RETRY);
    says(sent[1].worker, WIRE_NACK, 0, sent[1].header.id);
    go(20 * MS);
    TEST_EQ(n_sent, 2);
    forget();
    cancel(c, 1); /* both would be told; one is left */
    TEST_EQ(n_did, 2);
}

/* ---------------------------------------------------------------- what workers die of */

static void test_poison(void **state) {
    (void)state;
    begin(false, false);
    uint32_t c = client();
    worker(1);
    worker(2);
    ask(c, 1, "poison");
    dispatch();
    expect("w0 DISPATCH p");
    core_worker_lost(core, 0, "test", now);
    dispatch();
    expect("w1 DISPATCH p");
    core_worker_lost(core, 1, "test", now);
    expect("c0 REPLY 1 INTERNAL");
    TEST_STR_EQ(last_text, "2 workers died with the request in flight; it is refused for 60 s");
    worker(3);
    ask(c, 2, "poison");
    expect("c0 REPLY 2 INTERNAL");
    TEST_STR_EQ(last_text, "workers died of requests like this one; it is refused for 60 s");
    ask(c, 3, "posion");
    ask_for(c, 4, (struct ask){.body = "poison", .task = WIRE_TASK_TOKENIZE});
    dispatch();
    expect("w1 DISPATCH p; w1 DISPATCH p"); /* other bytes, another service */
    answers(2, STATUS_OK);
    answers(3, STATUS_OK);
    forget();
    go(59 * S);
    ask(c, 5, "poison");
    expect("c0 REPLY 5 INTERNAL");
    go(2 * S);
    ask(c, 6, "poison");
    dispatch();
    expect("w1 DISPATCH p");
    TEST_EQ(core_stats(core)->poisoned, 1);
}

/* Three requests at two workers that die: each is then tried by itself. */
static void test_bystanders(void **state) {
    (void)state;
    begin(false, false);
    uint32_t c = client();
    worker(1);
    ask(c, 1, "a");
    ask(c, 2, "poison");
    ask(c, 3, "c");
    dispatch();
    core_worker_lost(core, 0, "test", now);
    expect("w0 DISPATCH a; w0 DISPATCH p; w0 DISPATCH c");
    worker(2);
    dispatch();
    expect("w0 DISPATCH a; w0 DISPATCH p; w0 DISPATCH c"); /* at once, all together */
    core_worker_lost(core, 0, "test", now);
    uint32_t w = worker(3);
    ask(c, 4, "d");
    dispatch();
    expect("w0 DISPATCH c"); /* alone: d waits */
    answers(6, STATUS_OK);
    dispatch();
    expect("c0 REPLY 3 OK; w0 DISPATCH p");
    core_worker_lost(core, w, "test", now);
    expect("c0 REPLY 2 INTERNAL");
    worker(4);
    dispatch();
    expect("w0 DISPATCH a");
    answers(8, STATUS_OK);
    dispatch();
    expect("c0 REPLY 1 OK; w0 DISPATCH d");
    TEST_EQ(core_stats(core)->poisoned, 1);
}

static void test_held_requests_can_go(void **state) {
    (void)state;
    begin(false, false);
    uint32_t c = client(), d = client();
    worker(1);
    ask_for(c, 1, (struct ask){.body = "a", .budget_us = 3 * S});
    ask(c, 2, "b");
    ask(d, 3, "d");
    dispatch();
    core_worker_lost(core, 0, "test", now);
    worker(2);
    dispatch();
    core_worker_lost(core, 0, "test", now);
    forget();
    TEST_EQ(core_queued(core), 3);
    cancel(c, 2);
    expect("c0 REPLY 2 CANCELLED");
    core_client_lost(core, d, "test", now);
    go(4 * S);
    expect("c0 REPLY 1 DEADLINE_EXCEEDED");
    TEST_EQ(core_queued(core), 0);
}

/* ---------------------------------------------------------------- equal requests */

static void test_equal_requests(void **state) {
    (void)state;
    static const struct {
        const char *name;
        struct ask second;
        bool coalesce, shared;
    } rows[] = {
        {"equal", {.body = "a"}, true, true},
        {"in another lane", {.body = "a", .lane = WIRE_LANE_BULK}, true, true},
        {"with less time", {.body = "a", .budget_us = S}, true, true},
        {"other bytes", {.body = "b"}, true, false},
        {"longer", {.body = "aa"}, true, false},
        {"another service", {.body = "a", .task = WIRE_TASK_TOKENIZE}, true, false},
        {"wants its own", {.body = "a", .flags = WIRE_FLAG_ALONE}, true, false},
        {"switched off", {.body = "a"}, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int late = 0; late < 2; late++) { /* while the first waits, or is in flight */
            TEST_ROW(rows[i].name);
            begin(false, rows[i].coalesce);
            uint32_t c = client(), d = client();
            worker(1);
            ask(c, 1, "a");
            if (late)
                dispatch();
            ask_for(d, 2, rows[i].second);
            dispatch();
            TEST_EQ(n_sent, rows[i].shared ? 1 : 2);
            TEST_EQ(core_following(core), rows[i].shared);
            for (uint32_t k = 0; k < n_sent; k++)
                answers(k, STATUS_OK);
            TEST_EQ(core_stats(core)->replied[STATUS_OK], 2);
            TEST_EQ(core_stats(core)->coalesced, rows[i].shared);
        }
}

static void test_the_first_goes(void **state) {
    (void)state;
    enum { CANCEL, DEADLINE, LOST };
    static const char *const want[] = {
        [CANCEL] = "c0 REPLY 1 CANCELLED; c1 REPLY 2 OK; c2 REPLY 3 OK",
        [DEADLINE] = "c0 REPLY 1 DEADLINE_EXCEEDED; c1 REPLY 2 OK; c2 REPLY 3 OK",
        [LOST] = "c1 REPLY 2 OK; c2 REPLY 3 OK"};
    for (int how = CANCEL; how <= LOST; how++)
        for (int late = 0; late < 2; late++) {
            TEST_ROW(want[how]);
            begin(false, true);
            uint32_t a = client(), b = client(), c = client();
            worker(1);
            ask_for(a, 1, (struct ask){.body = "a", .budget_us = 100 * MS});
            if (late)
                dispatch();
            ask(b, 2, "a");
            ask(c, 3, "a");
            dispatch();
            TEST_EQ(n_sent, 1);
            TEST_EQ(sent[0].header.budget_us, late ? 100 * MS : 60 * S);
            forget();
            if (how == CANCEL)
                cancel(a, 1);
            else if (how == LOST)
                core_client_lost(core, a, "test", now);
            else
                go(102 * MS);
            n_sent = 1;
            answers(0, STATUS_OK);                               /* of the execution that went on */
            bool swapped = strstr(did[n_did - 1], "c1") != NULL; /* whoever leads is last */
            if (swapped) {
                char last[160];
                memcpy(last, did[n_did - 1], sizeof last);
                memcpy(did[n_did - 1], did[n_did - 2], sizeof last);
                memcpy(did[n_did - 2], last, sizeof last);
            }
            expect(want[how]);
        }
}

/* What only one execution says is not the answer of others. */
static void test_answers_that_are_not_shared(void **state) {
    (void)state;
    begin(false, true);
    uint32_t c = client(), d = client();
    worker(1);
    ask_for(c, 1, (struct ask){.body = "a", .budget_us = 50 * MS});
    dispatch();
    ask(d, 2, "a");
    answers(0, STATUS_RESOURCE_EXHAUSTED);
    dispatch();
    expect("w0 DISPATCH a; c0 REPLY 1 RESOURCE_EXHAUSTED; w0 DISPATCH a");
    ask_for(c, 3, (struct ask){.body = "a", .budget_us = 50 * MS});
    answers(1, STATUS_INTERNAL);
    expect("c0 REPLY 3 INTERNAL; c1 REPLY 2 INTERNAL");

    TEST_ROW("the worker was told the time of the first, who is gone");
    ask_for(c, 4, (struct ask){.body = "b", .budget_us = 50 * MS});
    dispatch();
    ask(d, 5, "b");
    go(51 * MS);
    answers(2, STATUS_DEADLINE_EXCEEDED);
    dispatch();
    answers(3, STATUS_OK);
    expect("w0 DISPATCH b; c0 REPLY 4 DEADLINE_EXCEEDED; w0 DISPATCH b; c1 REPLY 5 OK");
}

static void test_each_in_its_own_place(void **state) {
    (void)state;
    begin(false, true);
    uint32_t c = client(), d = client();
    for (uint64_t i = 0; i < 3; i++)
        ask_for(c, 1 + i,
                (struct ask){.body = i == 2 ? "same"
                                     : i    ? "y"
                                            : "x",
                             .lane = WIRE_LANE_BULK});
    ask_for(d, 9, (struct ask){.body = "same", .lane = WIRE_LANE_HIGH});
    worker(1);
    dispatch();
    expect("w0 DISPATCH s; w0 DISPATCH x; w0 DISPATCH y"); /* HIGH went first, BULK came along */
    answers(0, STATUS_OK);
    expect("c0 REPLY 3 OK; c1 REPLY 9 OK");

    TEST_ROW("given back, and lost: all wait again");
    ask_for(c, 20, (struct ask){.body = "t", .lane = WIRE_LANE_BULK});
    dispatch();
    ask_for(d, 21, (struct ask){.body = "t", .lane = WIRE_LANE_HIGH});
    TEST_EQ(core_following(core), 1);
    says(0, WIRE_NACK, 0, sent[3].header.id);
    TEST_EQ(core_following(core), 0);
    TEST_EQ(core_queued(core), 2);
    core_worker_lost(core, 0, "test", now);
    n_did = 0;
    worker(2);
    dispatch();
    TEST_EQ(sent[4].header.lane, WIRE_LANE_HIGH);
    TEST_EQ(core_following(core), 1);
}

static void test_poison_in_company(void **state) {
    (void)state;
    begin(false, true);
    uint32_t c = client(), d = client();
    worker(1);
    worker(2);
    ask(c, 1, "poison");
    ask(d, 2, "poison");
    dispatch();
    core_worker_lost(core, sent[0].worker, "test", now);
    dispatch();
    core_worker_lost(core, sent[1].worker, "test", now);
    TEST_EQ(n_sent, 2); /* the twin's copy kills nobody else */
    TEST_EQ(core_stats(core)->replied[STATUS_INTERNAL], 2);
}

static void test_groups_are_bounded(void **state) {
    (void)state;
    begin(false, true);
    uint32_t c = client();
    worker(1);
    for (uint64_t i = 0; i < 200; i++)
        ask(c, i, "a");
    dispatch();
    TEST_EQ(n_sent, 4); /* 64 + 64 + 64 + 8 */
    for (uint32_t i = 0; i < 4; i++)
        answers(i, STATUS_OK);
    TEST_EQ(core_stats(core)->replied[STATUS_OK], 200);
    TEST_EQ(core_stats(core)->coalesced, 196);
}

static void test_drain_with_company(void **state) {
    (void)state;
    begin(false, true);
    uint32_t c = client(), d = client();
    worker(1);
    ask(c, 1, "a");
    dispatch();
    ask(d, 2, "a");
    ask(d, 3, "waits");
    forget();
    core_drain(core, now);
    core_check(core);
    expect("c1 REPLY 3 UNAVAILABLE");
    TEST_TRUE(!core_drained(core));
    go(21 * S);
    TEST_TRUE(core_drained(core));
    TEST_EQ(core_stats(core)->replied[STATUS_UNKNOWN_OUTCOME], 2); /* both ran, in a way */
}

static void test_demand(void **state) {
    (void)state;
    begin(false, true);
    uint32_t c = client(), w = worker(1);
    says(w, WIRE_HEARTBEAT, 0, 0);
    TEST_EQ(demand, 0);
    for (uint64_t i = 0; i < 60; i++) {
        char text[8];
        snprintf(text, sizeof text, "%u", (unsigned)i);
        ask(c, i, text);
    }
    says(w, WIRE_HEARTBEAT, 0, 0);
    TEST_EQ(demand, 60);
    dispatch();        /* 40 go */
    ask(c, 100, "59"); /* costs nobody anything */
    says(w, WIRE_PING, 0, 0);
    TEST_TRUE(demand == 60 || demand == 61);
    TEST_EQ(core_demand(core, w), demand);
}

/* ---------------------------------------------------------------- time that is over */

/* Deadlines are looked at by ticks of the wheel: some are over by a part of one, unseen yet. */
static void test_no_time_left(void **state) {
    (void)state;
    TEST_ROW("a second execution");
    for (uint32_t over = 0; over < 20; over++) {
        begin(true, false);
        uint32_t c = client();
        worker(1);
        worker(2);
        learn(c, 512, 5 * MS);
        now += 500;
        ask_for(c, 1, (struct ask){.body = "a", .budget_us = 9500 + 50 * over});
        dispatch();
        for (int i = 0; i < 120; i++) {
            now += 100;
            core_tick(core, now);
            dispatch();
        }
        for (uint32_t i = 0; i < n_sent; i++)
            TEST_TRUE(sent[i].header.budget_us <= S);
    }
    TEST_ROW("a request that is held");
    begin(false, false);
    uint32_t c = client();
    ask_for(c, 1, (struct ask){.body = "a", .budget_us = 100 * MS + 300});
    ask_for(c, 2, (struct ask){.body = "b", .budget_us = 100 * MS + 300});
    for (uint64_t i = 0; i < 2; i++) {
        worker(1 + i);
        dispatch();
        core_worker_lost(core, 0, "test", now);
    }
    TEST_EQ(core_queued(core), 2);
    forget();
    now += 100 * MS + 500;
    core_tick(core, now);
    worker(3);
    dispatch();
    TEST_EQ(n_sent, 0);
    expect("c0 REPLY 2 DEADLINE_EXCEEDED; c0 REPLY 1 DEADLINE_EXCEEDED");
}

static void test_a_model_named_twice(void **state) {
    (void)state;
    begin(false, false);
    struct wire_model m[2];
    for (int i = 0; i < 2; i++)
        m[i] = (struct wire_model){.name = view_of("m"), .tasks = 1U << WIRE_TASK_EMBED};
    struct wire_ready ready = {.uuid = 5, .name = view_of("w"), .models = m, .n_models = 2};
    uint32_t w = CORE_NONE, c = client();
    TEST_EQ(core_ready(core, &w, &ready, CREDIT, now, NULL), STATUS_OK);
    core_check(core);
    ask(c, 1, "a");
    dispatch();
    core_worker_lost(core, w, "test", now);
    core_check(core);
}

/* A request that only looks stuck, with nobody else to give it to, costs nothing. */
static void test_nowhere_else(void **state) {
    (void)state;
    begin(false, false);
    uint32_t c = client();
    worker(1);
    learn(c, 128, 5 * MS);
    ask(c, 1, "slow");
    dispatch();
    for (uint64_t i = 0; i < 400; i++) {
        ask(c, 10 + i, "x");
        dispatch();
        go(5 * MS);
        answers(n_sent - 1, STATUS_OK);
        n_sent = 1;
        n_did = 0;
    }
    TEST_EQ(core_stats(core)->recovered, 0);
    TEST_EQ(core_stats(core)->retries_denied, 0);
}

/* Whoever of a group is sent, what its workers went through is forgotten by none. */
static void test_a_group_remembers(void **state) {
    (void)state;
    TEST_ROW("it ran once; that another was given back unstarted does not undo it");
    begin(false, true);
    uint32_t c = client(), d = client();
    worker(1);
    ask_for(c, 1, (struct ask){.body = "a", .lane = WIRE_LANE_BULK});
    dispatch();
    core_worker_lost(core, 0, "test", now);
    worker(2);
    ask_for(d, 2, (struct ask){.body = "a", .lane = WIRE_LANE_HIGH});
    dispatch();
    TEST_EQ(sent[1].header.lane, WIRE_LANE_HIGH);
    says(0, WIRE_NACK, 0, sent[1].header.id);
    forget();
    core_worker_lost(core, 0, "test", now);
    go(6 * S); /* nobody comes back */
    TEST_EQ(core_stats(core)->replied[STATUS_UNKNOWN_OUTCOME], 1);

    TEST_ROW("two workers died of the body, whoever it was sent for");
    begin(false, true);
    c = client();
    d = client();
    worker(1);
    ask_for(c, 1, (struct ask){.body = "poison", .lane = WIRE_LANE_BULK});
    dispatch();
    core_worker_lost(core, 0, "test", now);
    worker(2);
    ask_for(d, 2, (struct ask){.body = "poison", .lane = WIRE_LANE_HIGH});
    dispatch();
    core_worker_lost(core, 0, "test", now);
    TEST_EQ(core_stats(core)->poisoned, 1);
    TEST_EQ(core_stats(core)->replied[STATUS_INTERNAL], 2);
}

/* The worker that was to be emptied for what is held does not get on: another one is. */
static void test_the_kept_worker_is_stuck(void **state) {
    (void)state;
    begin(false, false);
    uint32_t c = client(), w = worker(1);
    learn(c, 128, 5 * MS);
    ask(c, 1, "a");
    ask(c, 2, "b");
    dispatch();
    core_worker_lost(core, w, "test", now);
    w = worker(2);
    dispatch();
    uint32_t other = worker(3), kept = worker(4);
    ask(c, 3, "z");
    ask(c, 4, "y");
    dispatch();
    core_worker_lost(core, w, "test", now);
    dispatch();
    if (!core_fleet(core)->workers[kept].kept)
        kept = other;
    TEST_TRUE(core_fleet(core)->workers[kept].kept);
    TEST_EQ(core_queued(core), 2);
    for (uint32_t i = n_sent - 2; i < n_sent; i++)
        if (sent[i].worker != kept)
            answers(i, STATUS_OK);
    forget();
    for (uint64_t i = 0; i < 60; i++) { /* it says that it lives, and answers nothing */
        ask(c, 20 + i, "n");
        dispatch();
        go(5 * MS);
        for (; n_sent > 0; n_sent--)
            if (sent[n_sent - 1].worker != kept)
                answers(n_sent - 1, STATUS_OK);
        n_did = 0;
    }
    go(100 * MS);
    TEST_EQ(core_queued(core), 0);
    TEST_EQ(core_fleet(core)->workers[kept].state, FLEET_SUSPECT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stuck_worker),
        cmocka_unit_test(test_first_answer_counts),
        cmocka_unit_test(test_no_suspects),
        cmocka_unit_test(test_a_third_at_most),
        cmocka_unit_test(test_failures_in_a_row),
        cmocka_unit_test(test_probe),
        cmocka_unit_test(test_hedge),
        cmocka_unit_test(test_hedged_once),
        cmocka_unit_test(test_poison),
        cmocka_unit_test(test_bystanders),
        cmocka_unit_test(test_held_requests_can_go),
        cmocka_unit_test(test_the_kept_worker_is_stuck),
        cmocka_unit_test(test_equal_requests),
        cmocka_unit_test(test_the_first_goes),
        cmocka_unit_test(test_answers_that_are_not_shared),
        cmocka_unit_test(test_each_in_its_own_place),
        cmocka_unit_test(test_poison_in_company),
        cmocka_unit_test(test_groups_are_bounded),
        cmocka_unit_test(test_drain_with_company),
        cmocka_unit_test(test_demand),
        cmocka_unit_test(test_no_time_left),
        cmocka_unit_test(test_a_model_named_twice),
        cmocka_unit_test(test_nowhere_else),
        cmocka_unit_test(test_a_group_remembers),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    core_destroy(&core);
    return failed;
}
