/* core_rig.h - the broker's core alone, its clock in the test's hand: what it does is written down,
 * and a test asks, answers, lets time pass and reads the list.
 *
 *     begin(false, false);                 hedging, coalescing; ends the core of the test before
 *     uint32_t c = client();
 *     worker(1);
 *     ask(c, 7, "a");                      a request whose body is "a"
 *     dispatch();
 *     answers(0, STATUS_OK);               the first dispatch since forget()
 *     expect("w0 DISPATCH a; c0 REPLY 7 OK");
 *
 * core_check() follows each step. main() ends with core_destroy(&core). */
#ifndef EMBER_TEST_CORE_RIG_H
#define EMBER_TEST_CORE_RIG_H

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

static inline enum core_sent to_worker(void *arg, uint32_t worker, const struct header *h,
                                       uint32_t slot) {
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

static inline enum core_sent to_client(void *arg, uint32_t client, const struct header *h,
                                       const struct core_error *error) {
    (void)arg;
    if (error)
        snprintf(last_text, sizeof last_text, "%s", error->text);
    if (h->type == WIRE_REPLY && n_did < LOG)
        snprintf(did[n_did++], sizeof did[0], "c%u REPLY %llu %s", client,
                 (unsigned long long)h->id, status_name((enum status)h->status));
    return CORE_SENT;
}

static inline enum core_sent forward(void *arg, uint32_t client, const struct header *h) {
    return to_client(arg, client, h, NULL);
}

static inline struct view body(void *arg, uint32_t slot) {
    (void)arg;
    return view_of(bodies[slot]);
}

static inline void drop(void *arg, uint32_t slot) {
    (void)arg;
    in_flight[slot] = false;
}

static inline void client_closed(void *arg, uint32_t client, const char *why) {
    (void)arg;
    (void)client;
    (void)why;
}

static inline void worker_closed(void *arg, uint32_t worker, const char *why) {
    (void)arg;
    (void)worker;
    (void)why;
}

static inline void suspected(void *arg, uint32_t worker, const char *why) {
    (void)arg;
    if (n_did < LOG)
        snprintf(did[n_did++], sizeof did[0], "w%u %s", worker, why ? "suspect" : "trusted");
}

static struct core_slow last_slow;
static uint32_t n_slow;

static inline void slow(void *arg, const struct core_slow *s) {
    (void)arg;
    last_slow = *s;
    n_slow++;
}

static inline void begin(bool hedge, bool coalesce) {
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
                           .slo_us = 150 * MS,
                           .slow_us = 200 * MS,
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
                           .slow = slow,
                           .client_closed = client_closed,
                           .worker_closed = worker_closed};
    now = START;
    n_did = n_sent = n_clients = n_slow = 0;
    TEST_EQ(core_new(&cfg, &ops, now, &core, NULL), STATUS_OK);
}

static inline uint32_t client(void) {
    uint32_t c = CORE_NONE;
    TEST_EQ(core_hello(core, &c, 0, 500, NULL, now, NULL), STATUS_OK);
    n_clients++;
    return c;
}

static inline uint32_t worker(uint64_t uuid) {
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
static inline void ask_for(uint32_t c, uint64_t id, struct ask a) {
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

static inline void ask(uint32_t c, uint64_t id, const char *text) {
    ask_for(c, id, (struct ask){.body = text, .lane = WIRE_LANE_NORMAL});
}

static inline void says(uint32_t w, uint8_t type, uint8_t status, uint64_t id) {
    struct header h = {.type = type, .status = status, .id = id, .epoch = 77, .credit = CREDIT};
    if (core_worker_heard(core, w, &h, now))
        core_worker_frame(core, w, &h, now);
    core_check(core);
}

static inline void answers(uint32_t dispatch, enum status status) {
    says(sent[dispatch].worker, WIRE_RESULT, (uint8_t)status, sent[dispatch].header.id);
}

static inline void cancel(uint32_t c, uint64_t id) {
    struct header h = {.type = WIRE_CANCEL, .id = id, .epoch = 500};
    core_client_frame(core, c, &h, now);
    core_check(core);
}

static inline void dispatch(void) {
    core_dispatch(core, now);
    core_check(core);
}

static inline void everybody_speaks(void) {
    struct header pong = {.type = WIRE_PONG, .epoch = 500};
    for (uint32_t w = 0; w < core_fleet(core)->high_workers; w++)
        if (core_fleet(core)->workers[w].state != FLEET_FREE)
            says(w, WIRE_HEARTBEAT, 0, 0);
    for (uint32_t c = 0; c < n_clients; c++)
        if (core_session(core, c))
            core_client_heard(core, c, &pong, now);
}

static inline void go(uint64_t us) { /* time passes */
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

static inline void forget(void) {
    n_did = n_sent = 0;
}

static inline void expect(const char *want) {
    char got[LOG * 40] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < n_did; i++)
        used += (size_t)snprintf(got + used, sizeof got - used, "%s%s", used ? "; " : "", did[i]);
    n_did = 0;
    TEST_STR_EQ(got, want);
}

/* So many requests, each answered after `us`: the service's times are known then. */
static inline void learn(uint32_t c, uint32_t n, uint64_t us) {
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

#endif
