/* fuzz_broker.c - the broker's core under any sequence of frames, failures and waiting: what a loop
 * would hand it, from peers that say whatever the input says. core_check() walks the tables after
 * each step; beyond that, what a body of the loop's needs holds here:
 *   - a slot is taken when it is free, dropped when it is taken, and free at the end;
 *   - a RESULT's body is sent only while it is being handled;
 *   - once all is over (every deadline past, the broker drained), nothing waits.
 *
 * An input is steps: the first byte of each says what happens, the next ones with whom and how. */
#include "fuzz/bytes.h"

#include "base/check.h"
#include "core.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    CLIENTS = 4, /* connections of each side; the core has room for fewer */
    WORKERS = 4,
    TICKETS = 16,
    TOLD = 8, /* tickets remembered, to answer them */
    STEPS_MAX = 400,
    BEAT_US = 100 * 1000,
};

struct conn {
    uint32_t number; /* at the core, or CORE_NONE */
    uint8_t sends;   /* enum core_sent of what goes to it */
};

static struct fuzz {
    struct bytes in;
    core_t *core;
    uint64_t now_us, session;
    struct conn clients[CLIENTS], workers[WORKERS];
    uint32_t client_conn[CLIENTS], worker_conn[WORKERS];
    uint8_t body[TICKETS][256];
    size_t body_bytes[TICKETS];
    bool taken[TICKETS], handling;
    uint64_t told[TOLD];
    uint32_t n_told;
} f;

static const char *const names[] = {"m", "n", "a", ""}; /* "a" is a route once there is one */

/* ------------------------------------------------------------------------------ what it wants */

static enum core_sent to_worker(void *arg, uint32_t worker, const struct header *header,
                                uint32_t slot) {
    (void)arg;
    CHECK(worker < WORKERS);
    const struct conn *conn = &f.workers[f.worker_conn[worker]];
    CHECK(slot == CORE_NONE || (slot < TICKETS && f.taken[slot] && header->type == WIRE_DISPATCH));
    if (header->type == WIRE_DISPATCH)
        f.told[f.n_told++ % TOLD] = header->id;
    return conn->number == worker ? (enum core_sent)conn->sends : CORE_GONE;
}

static enum core_sent send_client(uint32_t client) {
    CHECK(client < CLIENTS);
    const struct conn *conn = &f.clients[f.client_conn[client]];
    return conn->number == client ? (enum core_sent)conn->sends : CORE_GONE;
}

static enum core_sent to_client(void *arg, uint32_t client, const struct header *header,
                                const struct core_error *error) {
    (void)arg;
    CHECK(header->type != WIRE_REPLY || (header->status != STATUS_OK && error && error->text));
    return send_client(client);
}

static enum core_sent forward(void *arg, uint32_t client, const struct header *header) {
    (void)arg;
    CHECK(f.handling && header->type == WIRE_REPLY);
    return send_client(client);
}

static struct view body_of(void *arg, uint32_t slot) {
    (void)arg;
    CHECK(slot < TICKETS && f.taken[slot]);
    return view_make(f.body[slot], f.body_bytes[slot]);
}

static void drop(void *arg, uint32_t slot) {
    (void)arg;
    CHECK(slot < TICKETS && f.taken[slot]);
    f.taken[slot] = false;
}

static void client_closed(void *arg, uint32_t client, const char *why) {
    (void)arg;
    CHECK(client < CLIENTS && why);
    struct conn *conn = &f.clients[f.client_conn[client]];
    if (conn->number == client)
        conn->number = CORE_NONE;
}

static void worker_closed(void *arg, uint32_t worker, const char *why) {
    (void)arg;
    CHECK(worker < WORKERS && why);
    struct conn *conn = &f.workers[f.worker_conn[worker]];
    if (conn->number == worker)
        conn->number = CORE_NONE;
}

/* ------------------------------------------------------------------------------ what happens */

static uint64_t any_epoch(uint64_t right) {
    switch (bytes_below(&f.in, 8)) {
    case 0:
        return 0;
    case 1:
        return bytes_take(&f.in, 8);
    default:
        return right;
    }
}

static uint64_t any_ticket(void) {
    if (bytes_below(&f.in, 8) == 0)
        return bytes_take(&f.in, 8);
    return f.told[bytes_below(&f.in, TOLD)] + (bytes_below(&f.in, 16) == 0 ? 1U << 31 : 0);
}

static void hello(void) {
    uint32_t at = bytes_below(&f.in, CLIENTS);
    struct conn *conn = &f.clients[at];
    uint8_t how = bytes_u8(&f.in);
    struct core_who who = {.account = how & 3,
                           .max_requests = how >> 2 & 3,
                           .max_bytes = (uint64_t)(how >> 4 & 3) * 100,
                           .max_cost = how >> 6 ? 3 : 0,
                           .weight = how & 7,
                           .sticky = how};
    uint64_t right = conn->number == CORE_NONE ? 0 : core_session(f.core, conn->number);
    uint32_t number = conn->number;
    if (core_hello(f.core, &number, any_epoch(right), ++f.session, how == 255 ? NULL : &who,
                   f.now_us, NULL) != STATUS_OK)
        return;
    CHECK(number < CLIENTS);
    conn->number = number;
    f.client_conn[number] = at;
    core_number(f.core, view_of(names[how & 3]), (enum wire_task)(1 + (how >> 2 & 3)));
}

static void request(struct conn *conn, struct header *header) {
    uint8_t body[256];
    size_t bytes = bytes_u8(&f.in);
    memset(body, bytes_u8(&f.in), sizeof body);
    if (header->service == 0)
        return;         /* the loop answers that itself */
    if (bytes == 255) { /* as a loop that is short of memory does */
        core_refuse(f.core, conn->number, header, CORE_REASON_MEMORY, 100, "not now", f.now_us);
        return;
    }
    uint32_t slot = core_request(f.core, conn->number, header, view_make(body, bytes), f.now_us);
    if (slot == CORE_NONE)
        return;
    CHECK(slot < TICKETS && !f.taken[slot]);
    f.taken[slot] = true;
    f.body_bytes[slot] = bytes;
    memcpy(f.body[slot], body, bytes);
}

static void client_frame(bool is_request) {
    struct conn *conn = &f.clients[bytes_below(&f.in, CLIENTS)];
    if (conn->number == CORE_NONE)
        return;
    struct header header = {.type = is_request ? WIRE_REQUEST : bytes_u8(&f.in),
                            .flags = bytes_u8(&f.in),
                            .lane = bytes_u8(&f.in),
                            .attempt = bytes_u8(&f.in),
                            .id = bytes_u8(&f.in),
                            .epoch = any_epoch(core_session(f.core, conn->number)),
                            .budget_us = (uint32_t)bytes_take(&f.in, 2) * 256,
                            .service = (uint16_t)bytes_below(&f.in, 12)};
    if (bytes_below(&f.in, 16) == 1) {
        header.id = bytes_take(&f.in, 8);
        header.budget_us = (uint32_t)bytes_take(&f.in, 4);
        header.service = (uint16_t)bytes_take(&f.in, 2);
    }
    if (!bytes_header(&header) || header.type == WIRE_HELLO ||
        !core_client_heard(f.core, conn->number, &header, f.now_us))
        return;
    if (header.type == WIRE_REQUEST)
        request(conn, &header);
    else
        core_client_frame(f.core, conn->number, &header, f.now_us);
}

static void ready(void) {
    uint32_t at = bytes_below(&f.in, WORKERS);
    struct conn *conn = &f.workers[at];
    uint8_t how = bytes_u8(&f.in), tasks = bytes_u8(&f.in);
    struct wire_model models[3];
    memset(models, 0, sizeof models);
    uint32_t n_models = 1 + how % 3;
    for (uint32_t i = 0; i < n_models; i++) {
        models[i].name = view_of(names[i]); /* the codec lets no two be alike */
        models[i].tasks = (uint32_t)(tasks >> 2 * i & 15) << 1;
        models[i].fingerprint = view_of(how & 16 ? "f" : "g");
    }
    struct wire_ready ready = {.uuid = how >> 5,
                               .name = view_of("w"),
                               .tier = view_of(how & 8 ? "fast" : "standard"),
                               .hourly_cost = how & 4 ? 1.5 : 0,
                               .threads = how & 3,
                               .models = models,
                               .n_models = n_models};
    uint16_t credit = (uint16_t)bytes_take(&f.in, 2);
    uint32_t number = conn->number;
    enum status st = core_ready(f.core, &number, &ready, credit, f.now_us, NULL);
    CHECK((st == STATUS_OK) == (number != CORE_NONE));
    if (st != STATUS_OK)
        return;
    CHECK(number < WORKERS);
    conn->number = number;
    f.worker_conn[number] = at;
}

static void worker_frame(bool is_result) {
    struct conn *conn = &f.workers[bytes_below(&f.in, WORKERS)];
    if (conn->number == CORE_NONE)
        return;
    struct header header = {.type = is_result ? WIRE_RESULT : bytes_u8(&f.in),
                            .flags = bytes_u8(&f.in),
                            .status = bytes_u8(&f.in) % 32,
                            .credit = (uint16_t)bytes_take(&f.in, 2),
                            .id = any_ticket(),
                            .epoch = any_epoch(core_cfg(f.core)->id),
                            .budget_us = (uint32_t)bytes_take(&f.in, 3)};
    if (!bytes_header(&header) || header.type == WIRE_READY ||
        !core_worker_heard(f.core, conn->number, &header, f.now_us))
        return;
    if (header.type == WIRE_HEARTBEAT) {
        struct wire_heartbeat beat = {.queued = bytes_u8(&f.in),
                                      .running = bytes_u8(&f.in),
                                      .oldest_us = (uint32_t)bytes_take(&f.in, 4),
                                      .service_us = (uint32_t)bytes_take(&f.in, 4),
                                      .completed = bytes_take(&f.in, 2)};
        core_heartbeat(f.core, conn->number, &beat);
    }
    f.handling = true;
    core_worker_frame(f.core, conn->number, &header, f.now_us);
    f.handling = false;
}

static void lose(bool is_client) {
    struct conn *conn = is_client ? &f.clients[bytes_below(&f.in, CLIENTS)]
                                  : &f.workers[bytes_below(&f.in, WORKERS)];
    if (conn->number == CORE_NONE)
        return;
    if (is_client)
        core_client_lost(f.core, conn->number, "lost", f.now_us);
    else
        core_worker_lost(f.core, conn->number, "lost", f.now_us);
}

static void tune(void) {
    static const char *const lists[] = {"a = m:1, n:2", "a = n", "m = m:9, n:1", "a = b, c:0"};
    uint8_t how = bytes_u8(&f.in);
    struct routes routes = {0};
    if (how & 1 && routes_add(&routes, lists[how >> 1 & 3], NULL) != STATUS_OK)
        abort();
    core_set_routes(f.core, &routes);
}

static void pass(void) {
    f.now_us += bytes_take(&f.in, 2) * 16;
    core_tick(f.core, f.now_us);
    core_dispatch(f.core, f.now_us);
    CHECK(core_next_us(f.core) > 0);
}

static void step(void) {
    uint8_t what = bytes_u8(&f.in);
    switch (what % 16) {
    case 0:
        hello();
        break;
    case 1:
    case 2:
    case 3:
        client_frame(true);
        break;
    case 4:
        client_frame(false);
        break;
    case 5:
        ready();
        break;
    case 6:
    case 7:
        worker_frame(true);
        break;
    case 8:
        worker_frame(false);
        break;
    case 9:
        lose(what & 16);
        break;
    case 10:
        f.clients[bytes_below(&f.in, CLIENTS)].sends = (uint8_t)bytes_below(&f.in, 3);
        break;
    case 11:
        f.workers[bytes_below(&f.in, WORKERS)].sends = (uint8_t)bytes_below(&f.in, 3);
        break;
    case 12:
        if (what & 16)
            core_sweep_workers(f.core, f.now_us);
        else
            core_sweep_clients(f.core, f.now_us);
        break;
    case 13:
        if (what == 0xdd)
            core_drain(f.core, f.now_us);
        else
            tune();
        break;
    default:
        pass();
    }
}

/* ------------------------------------------------------------------------------ the whole */

static void start(size_t size) {
    struct core_ops ops = {.to_worker = to_worker,
                           .to_client = to_client,
                           .forward = forward,
                           .body = body_of,
                           .drop = drop,
                           .client_closed = client_closed,
                           .worker_closed = worker_closed};
    struct core_cfg cfg = {.max_clients = CLIENTS - 1,
                           .max_workers = WORKERS - 1,
                           .max_services = 12,
                           .max_tickets = TICKETS,
                           .max_queued = TICKETS / 2,
                           .max_queued_bytes = 1024,
                           .max_client_tickets = TICKETS / 4,
                           .heartbeat_us = BEAT_US,
                           .no_worker_grace_us = 3 * BEAT_US,
                           .drain_us = 5 * BEAT_US,
                           .hedge = size & 1, /* so that one corpus does for all */
                           .coalesce = size & 2,
                           .max_queued_cost = size & 4 ? 20 : 0,
                           .max_client_bytes = size & 4 ? 600 : 0,
                           .max_client_cost = size & 4 ? 10 : 0,
                           .queue_target_us = size & 8 ? BEAT_US : 0,
                           .id = 99,
                           .seed = 1};
    f.now_us = 1;
    CHECK(core_new(&cfg, &ops, f.now_us, &f.core, NULL) == STATUS_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    memset(&f, 0, sizeof f);
    f.in = (struct bytes){data, size};
    for (uint32_t i = 0; i < CLIENTS; i++)
        f.clients[i].number = CORE_NONE;
    for (uint32_t i = 0; i < WORKERS; i++)
        f.workers[i].number = CORE_NONE;
    start(size);
    for (uint32_t i = 0; i < STEPS_MAX && f.in.left; i++) {
        step();
        core_check(f.core);
    }
    core_drain(f.core, f.now_us);
    core_check(f.core);
    for (uint32_t i = 0; i < 20; i++) {
        f.now_us += BEAT_US;
        core_tick(f.core, f.now_us);
        core_dispatch(f.core, f.now_us);
        core_check(f.core);
    }
    CHECK(core_drained(f.core));
    for (uint32_t i = 0; i < TICKETS; i++)
        CHECK(!f.taken[i]);
    core_destroy(&f.core);
    return 0;
}
