/* scale_core.c - see scale_core.h. Sends only remember what a worker was given, so what is
 * measured is the core alone. Times are the least of several rounds: the machine may be shared. */
#include "scale_core.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/hash.h"
#include "core.h"
#include "overview.h"

#include <linux/perf_event.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    BODY_BYTES = 200,
    CREDIT = 8 * (1 + BODY_BYTES / 64),
    BURST = 16, /* requests and results of one wake-up */
    TICKETS = 65536,
    ROUNDS = 7,
    STEPS = 4000, /* wake-ups of a round */
    SECOND = 1000 * 1000,
};

struct given { /* what waits for its result */
    uint64_t id;
    uint32_t worker;
};

static struct scale {
    core_t *core;
    uint64_t now_us, next_id, random;
    uint32_t n_workers, n_clients;
    struct given *given; /* a ring */
    uint32_t head, n_given;
    char body[TICKETS][BODY_BYTES];
    uint16_t service;
} c;

/* ---------------------------------------------------------------- ops */

static enum core_sent to_worker(void *arg, uint32_t worker, const struct header *header,
                                uint32_t slot) {
    (void)arg;
    if (slot == CORE_NONE)
        return CORE_SENT;
    CHECK(c.n_given < TICKETS);
    c.given[(c.head + c.n_given++) % TICKETS] = (struct given){header->id, worker};
    return CORE_SENT;
}

static enum core_sent to_client(void *arg, uint32_t client, const struct header *header,
                                const struct core_error *error) {
    (void)arg, (void)client;
    if (header->type == WIRE_REPLY) { /* all ask for what can be done */
        fprintf(stderr, "refused with %u: %s\n", header->status, error->text);
        abort();
    }
    return CORE_SENT;
}

static enum core_sent forward(void *arg, uint32_t client, const struct header *header) {
    (void)arg, (void)client, (void)header;
    return CORE_SENT;
}

static struct view body(void *arg, uint32_t slot) {
    (void)arg;
    return view_make(c.body[slot], BODY_BYTES);
}

static void drop(void *arg, uint32_t slot) {
    (void)arg, (void)slot;
}

static void closed(void *arg, uint32_t peer, const char *why) {
    (void)arg, (void)peer, (void)why;
}

/* ---------------------------------------------------------------- peers */

static core_t *make(uint32_t workers, uint32_t clients, uint32_t tickets) {
    struct core_cfg cfg = {.max_clients = clients,
                           .max_workers = workers,
                           .max_services = LIMIT_SERVICES,
                           .max_tickets = tickets,
                           .max_queued = tickets,
                           .max_queued_bytes = 1 << 30,
                           .max_client_tickets = 1024,
                           .heartbeat_us = SECOND / 2,
                           .no_worker_grace_us = SECOND,
                           .drain_us = SECOND,
                           .coalesce = true,
                           .id = 1,
                           .seed = 1};
    struct core_ops ops = {.to_worker = to_worker,
                           .to_client = to_client,
                           .forward = forward,
                           .body = body,
                           .drop = drop,
                           .client_closed = closed,
                           .worker_closed = closed};
    core_t *core;
    CHECK(core_new(&cfg, &ops, c.now_us, &core, NULL) == STATUS_OK);
    return core;
}

static void join(core_t *core, uint32_t i) {
    struct wire_model model = {.name = view_of("m"), .tasks = 1U << WIRE_TASK_EMBED, .dim = 384};
    char name[16];
    snprintf(name, sizeof name, "w%u", i);
    struct wire_ready ready = {.uuid = i + 1,
                               .name = view_of(name),
                               .host = view_of("host"),
                               .version = view_of("0"),
                               .tier = view_of("standard"),
                               .models = &model,
                               .n_models = 1};
    uint32_t worker = CORE_NONE;
    CHECK(core_ready(core, &worker, &ready, CREDIT, c.now_us, NULL) == STATUS_OK);
}

/* Heap in use, mapped blocks included. */
static double heap(void) {
    struct mallinfo2 info = mallinfo2();
    return (double)(info.uordblks + info.hblkhd);
}

static double taken(uint32_t workers, uint32_t clients, uint32_t tickets, bool full) {
    double before = heap();
    core_t *core = make(workers, clients, tickets);
    for (uint32_t i = 0; i < workers && full; i++)
        join(core, i);
    for (uint32_t i = 0; i < clients && full; i++) {
        uint32_t client = CORE_NONE;
        CHECK(core_hello(core, &client, 0, i + 1, NULL, c.now_us, NULL) == STATUS_OK);
    }
    double bytes = heap() - before;
    core_destroy(&core);
    return bytes;
}

static void measure_memory(void) {
    double base = taken(1000, 10000, 16384, true);
    printf("  %-44s %10.0f bytes\n", "memory per client",
           (taken(1000, 20000, 16384, true) - base) / 10000);
    printf("  %-44s %10.0f bytes\n", "memory per worker",
           (taken(2000, 10000, 16384, true) - base) / 1000);
    printf("  %-44s %10.0f bytes\n", "memory per ticket",
           (taken(1000, 10000, 32768, true) - base) / 16384);
    printf("  %-44s %10.1f MB\n", "in all, 1,000 workers 10,000 clients 65,536",
           taken(1000, 10000, TICKETS, true) / 1e6);
}

/* ---------------------------------------------------------------- requests */

static void ask(void) {
    uint32_t client = hash_below(&c.random, c.n_clients);
    struct header header = {.type = WIRE_REQUEST,
                            .lane = WIRE_LANE_NORMAL,
                            .id = ++c.next_id,
                            .epoch = core_session(c.core, client),
                            .budget_us = 60 * SECOND,
                            .service = c.service};
    char bytes[BODY_BYTES] = {0};
    memcpy(bytes, &c.next_id, sizeof c.next_id);
    CHECK(core_client_heard(c.core, client, &header, c.now_us));
    uint32_t slot = core_request(c.core, client, &header, view_make(bytes, sizeof bytes), c.now_us);
    CHECK(slot != CORE_NONE);
    memcpy(c.body[slot], bytes, sizeof bytes);
}

static void answer(void) {
    CHECK(c.n_given);
    struct given given = c.given[c.head];
    c.head = (c.head + 1) % TICKETS;
    c.n_given--;
    struct header header = {
        .type = WIRE_RESULT, .id = given.id, .epoch = 1, .credit = CREDIT, .budget_us = 1000};
    if (core_fleet(c.core)->workers[given.worker].state != FLEET_FREE &&
        core_worker_heard(c.core, given.worker, &header, c.now_us))
        core_worker_frame(c.core, given.worker, &header, c.now_us);
}

static void wake_up(uint32_t answers, uint32_t asks) {
    c.now_us += 20;
    for (uint32_t i = 0; i < answers; i++)
        answer();
    for (uint32_t i = 0; i < asks; i++)
        ask();
    core_tick(c.core, c.now_us);
    core_dispatch(c.core, c.now_us);
}

static int open_counter(void) {
    struct perf_event_attr attr = {.type = PERF_TYPE_HARDWARE,
                                   .size = sizeof attr,
                                   .config = PERF_COUNT_HW_INSTRUCTIONS,
                                   .exclude_kernel = 1,
                                   .exclude_hv = 1};
    return (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

static uint64_t read_counter(int fd) {
    uint64_t n = 0;
    return fd >= 0 && read(fd, &n, sizeof n) == (ssize_t)sizeof n ? n : 0;
}

static void measure_requests(uint32_t in_flight) {
    int counter = open_counter();
    double best_ns = 1e9, best_instructions = 1e9;
    for (uint32_t i = 0; i < in_flight; i += BURST)
        wake_up(0, BURST);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint64_t instructions = read_counter(counter), from_ns = clock_ns();
        for (uint32_t i = 0; i < STEPS; i++)
            wake_up(BURST, BURST);
        double n = (double)STEPS * BURST, ns = (double)(clock_ns() - from_ns) / n;
        double did = (double)(read_counter(counter) - instructions) / n;
        best_ns = ns < best_ns ? ns : best_ns;
        best_instructions = did < best_instructions ? did : best_instructions;
    }
    printf("  %-44s %10.0f ns", "a request, from REQUEST to reply", best_ns);
    if (counter >= 0 && best_instructions > 0)
        printf(", %.0f instructions", best_instructions);
    printf("\n");
    while (c.n_given)
        wake_up(c.n_given < BURST ? c.n_given : BURST, 0);
    if (counter >= 0)
        close(counter);
}

/* ---------------------------------------------------------------- the rest */

static void measure_beats(void) {
    double beat_us = 1e9, idle_ns = 1e9, report_us = 1e9;
    struct wire_out out = {0};
    for (uint32_t i = 0; i < 8 * ROUNDS; i++) {
        c.now_us += SECOND / 8;
        uint64_t from = clock_ns();
        core_tick(c.core, c.now_us);
        double us = (double)(clock_ns() - from) / 1e3;
        beat_us = us < beat_us ? us : beat_us;
        from = clock_ns();
        core_tick(c.core, c.now_us);
        core_dispatch(c.core, c.now_us);
        double ns = (double)(clock_ns() - from);
        idle_ns = ns < idle_ns ? ns : idle_ns;
        for (uint32_t k = 0; k < c.n_workers; k++) { /* or they are silent */
            struct header header = {.type = WIRE_HEARTBEAT, .epoch = 1, .credit = CREDIT};
            CHECK(core_worker_heard(c.core, k, &header, c.now_us));
        }
    }
    const struct overview about = {.broker_name = "b"};
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint64_t from = clock_ns();
        CHECK(overview_encode(c.core, &about, c.now_us, &out) == STATUS_OK);
        double us = (double)(clock_ns() - from) / 1e3;
        report_us = us < report_us ? us : report_us;
    }
    printf("  %-44s %10.1f us, eight a second\n", "a beat", beat_us);
    printf("  %-44s %10.0f ns\n", "a wake-up without news", idle_ns);
    printf("  %-44s %10.1f us, %zu bytes\n", "a status report", report_us, out.bytes);
    wire_out_done(&out);
}

static void measure_losses(void) {
    double best_us = 1e9, worst_us = 0;
    uint32_t n = 0;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        for (uint32_t k = 0; k < c.n_workers * 4 / BURST; k++) /* half of every window */
            wake_up(0, BURST);
        n = core_fleet(c.core)->loads[i].n;
        uint32_t before = c.n_given;
        uint64_t from = clock_ns();
        core_worker_lost(c.core, i, "killed", c.now_us);
        core_dispatch(c.core, c.now_us);
        double us = (double)(clock_ns() - from) / 1e3;
        CHECK(c.n_given == before + n);
        best_us = us < best_us ? us : best_us;
        worst_us = us > worst_us ? us : worst_us;
        while (c.n_given) /* some of a worker that is gone; else workers died of them twice */
            answer();
    }
    printf("  %-44s %10.1f us (worst %.1f), %u requests\n", "a worker lost, its window with others",
           best_us, worst_us, n);
}

void scale_core(uint32_t workers, uint32_t clients, uint32_t in_flight) {
    c.now_us = 1000 * SECOND;
    c.random = 1;
    c.given = calloc(TICKETS, sizeof *c.given);
    CHECK(c.given);
    printf("the core alone, %u workers, %u clients, %u in flight\n", workers, clients, in_flight);
    measure_memory();
    c.n_workers = workers;
    c.n_clients = clients;
    c.core = make(workers, clients, TICKETS);
    for (uint32_t i = 0; i < workers; i++)
        join(c.core, i);
    for (uint32_t i = 0; i < clients; i++) {
        uint32_t client = CORE_NONE;
        CHECK(core_hello(c.core, &client, 0, i + 1, NULL, c.now_us, NULL) == STATUS_OK);
        CHECK(client == i);
    }
    c.service = (uint16_t)core_number(c.core, view_of("m"), WIRE_TASK_EMBED);
    measure_requests(in_flight);
    measure_beats();
    measure_losses();
    core_destroy(&c.core);
    free(c.given);
    fflush(stdout);
}
