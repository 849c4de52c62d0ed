/* core_bench.c - what a request costs the broker's core alone, without sockets.
 *
 *     core_bench [--clients 16] [--workers 16] [--in-flight 64] [--bytes 200] [--rounds 7]
 *     valgrind --tool=callgrind build/release/broker/core_bench --rounds 1
 *
 * Clients keep `in-flight` requests going, workers answer all they were given after each burst of
 * BURST messages. What is beyond the windows waits in the core. Times are the least of the rounds;
 * instructions per request are callgrind's total over the requests it prints. */
#include "core.h"

#include "base/check.h"
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REQUESTS = 200000, BURST = 32, SENT_MAX = 1 << 16, WINDOW = 64, EPOCH = 7 };

static core_t *core;
static uint64_t now_us = 1000000;
static struct {
    uint64_t id;
    uint32_t worker;
} sent[SENT_MAX];
static uint32_t n_sent, n_done, answered;
static uint32_t last_client;

static enum core_sent to_worker(void *arg, uint32_t worker, const struct header *header,
                                uint32_t slot) {
    (void)arg, (void)slot;
    if (header->type == WIRE_DISPATCH) {
        sent[n_sent % SENT_MAX].id = header->id;
        sent[n_sent++ % SENT_MAX].worker = worker;
    }
    return CORE_SENT;
}

static enum core_sent to_client(void *arg, uint32_t client, const struct header *header,
                                const struct core_error *error) {
    (void)arg, (void)client, (void)header;
    CHECK(!error); /* nothing is refused here */
    return CORE_SENT;
}

static enum core_sent forward(void *arg, uint32_t client, const struct header *header) {
    (void)arg, (void)header;
    answered++;
    last_client = client;
    return CORE_SENT;
}

static struct view body(void *arg, uint32_t slot) {
    (void)arg, (void)slot;
    return view_make("", 0);
}

static void drop(void *arg, uint32_t slot) {
    (void)arg, (void)slot;
}

static void closed(void *arg, uint32_t number, const char *why) {
    (void)arg, (void)number, (void)why;
    CHECK(false);
}

static void begin(uint32_t clients, uint32_t workers) {
    struct core_cfg cfg = {.max_clients = clients,
                           .max_workers = workers,
                           .max_services = 8,
                           .max_tickets = LIMIT_TICKETS,
                           .max_queued = LIMIT_TICKETS,
                           .max_queued_bytes = 1 << 30,
                           .max_client_tickets = LIMIT_TICKETS,
                           .heartbeat_us = 60 * 1000 * 1000,
                           .no_worker_grace_us = 5000000,
                           .drain_us = 1000000,
                           .id = EPOCH,
                           .seed = 1};
    struct core_ops ops = {.to_worker = to_worker,
                           .to_client = to_client,
                           .forward = forward,
                           .body = body,
                           .drop = drop,
                           .client_closed = closed,
                           .worker_closed = closed};
    CHECK(core_new(&cfg, &ops, now_us, &core, NULL) == STATUS_OK);
    struct wire_model model = {.name = view_of("m"), .tasks = 1U << WIRE_TASK_EMBED};
    for (uint32_t i = 0; i < clients; i++) {
        uint32_t client = CORE_NONE;
        CHECK(core_hello(core, &client, 0, EPOCH, NULL, now_us, NULL) == STATUS_OK && client == i);
    }
    for (uint32_t i = 0; i < workers; i++) {
        struct wire_ready ready = {.uuid = i + 1,
                                   .name = view_of("w"),
                                   .models = &model,
                                   .n_models = 1,
                                   .threads = LIMIT_THREADS};
        uint32_t worker = CORE_NONE;
        CHECK(core_ready(core, &worker, &ready, WINDOW, now_us, NULL) == STATUS_OK);
    }
}

static void request(uint32_t client, uint64_t id, struct view bytes) {
    struct header header = {.type = WIRE_REQUEST,
                            .lane = WIRE_LANE_NORMAL,
                            .attempt = 1,
                            .flags = WIRE_FLAG_ALONE,
                            .id = id,
                            .epoch = EPOCH,
                            .budget_us = 600 * 1000 * 1000,
                            .service = 1};
    core_client_heard(core, client, &header, now_us);
    core_request(core, client, &header, bytes, now_us);
}

static void result(void) {
    uint32_t i = n_done++ % SENT_MAX;
    struct header header = {
        .type = WIRE_RESULT, .credit = WINDOW, .id = sent[i].id, .epoch = EPOCH, .budget_us = 1000};
    core_worker_heard(core, sent[i].worker, &header, now_us);
    core_worker_frame(core, sent[i].worker, &header, now_us);
}

static double run(uint32_t clients, uint32_t in_flight, struct view bytes) {
    uint64_t id = 0, from_us = clock_us();
    answered = n_sent = n_done = 0;
    for (uint32_t i = 0; i < in_flight; i++)
        request(i % clients, ++id, bytes);
    core_dispatch(core, now_us);
    while (answered < REQUESTS) {
        now_us += 50;
        for (int i = 0; i < BURST && n_done < n_sent; i++) {
            result();
            if (id < REQUESTS)
                request(last_client, ++id, bytes);
        }
        core_dispatch(core, now_us);
    }
    return (double)(clock_us() - from_us) * 1e3 / REQUESTS;
}

static uint32_t argument(int argc, char **argv, const char *name, uint32_t fallback) {
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return (uint32_t)strtoul(argv[i + 1], NULL, 10);
    return fallback;
}

int main(int argc, char **argv) {
    uint32_t clients = argument(argc, argv, "--clients", 16);
    uint32_t workers = argument(argc, argv, "--workers", 16);
    uint32_t in_flight = argument(argc, argv, "--in-flight", 64);
    uint32_t bytes = argument(argc, argv, "--bytes", 200);
    uint32_t rounds = argument(argc, argv, "--rounds", 7);
    static char text[LIMIT_REQUEST_BYTES];
    if (!clients || !workers || !in_flight || in_flight > SENT_MAX / 2 || bytes > sizeof text)
        return 2;
    double least = 0;
    begin(clients, workers);
    for (uint32_t i = 0; i < rounds; i++) {
        double ns = run(clients, in_flight, view_make(text, bytes));
        least = i == 0 || ns < least ? ns : least;
    }
    printf("core: %u clients, %u workers, %u in flight, %u bytes: %.0f ns a request (%u requests "
           "in all)\n",
           clients, workers, in_flight, bytes, least, rounds * REQUESTS);
    core_destroy(&core);
    return 0;
}
