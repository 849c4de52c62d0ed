/* overload_sim_test.c - the broker's core under more than its workers can do: how much of what they
 * do is of use, how many of those let in are answered in time, and who pays.
 *
 *     arrivals (open loop, seeded) ──► core ──► workers: runners, first in first out, known speed
 *
 * Time is simulated, so figures are the same on every machine. Capacity is known: runners / time of
 * a unit of cost. Goodput is the cost answered OK in time, beside capacity, from the first
 * microsecond on: what is lost while the broker learns counts. */
#include "base/check.h"
#include "base/hash.h"
#include "core.h"
#include "support/body.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CLIENTS = 8,
    WORKERS = 8,
    RUNNERS = 4,
    TICKETS = 16384,
    CALLS = 1 << 20,
    STEP_US = 100,
    TRIP_US = 200, /* to a worker, and back */
    EPOCH = 7,
    S = 1000000,
};

struct row {
    const char *name;
    uint32_t workers, runners, us_per_cost, window; /* a window is in cost, of one worker */
    uint32_t cost_min, cost_max;
    uint32_t budget_ms[2]; /* of even and odd calls */
    double load;           /* times capacity */
    double greedy;         /* share of the load that is client 0's */
    double seconds;
    double change_at_s;              /* half of the workers die */
    double goodput, in_time, others; /* least: share of capacity, of those let in, of other clients'
                                        calls while those ask for less than their share; 0: any */
};

static const struct row rows[] = {
    {"3 x, short deadlines", 2, 2, 500, 64, 2, 6, {150, 150}, 3, 0, 5, 0, 0.95, 0.99, 0},
    {"3 x, as short as four windows' turns",
     1,
     1,
     1000,
     20,
     2,
     4,
     {80, 80},
     3,
     0,
     5,
     0,
     0.9,
     0.95,
     0},
    {"3 x, long deadlines", 2, 2, 500, 64, 2, 6, {2000, 2000}, 3, 0, 10, 0, 0.95, 0.99, 0},
    {"3 x, long and short", 2, 2, 500, 64, 2, 6, {150, 3000}, 3, 0, 10, 0, 0.95, 0.99, 0},
    {"3 x, small and large", 2, 2, 300, 400, 1, 120, {500, 500}, 3, 0, 10, 0, 0.95, 0.99, 0},
    {"10 x", 2, 2, 500, 64, 2, 6, {150, 150}, 10, 0, 5, 0, 0.95, 0.99, 0},
    {"slow model", 2, 1, 20000, 40, 2, 6, {3000, 3000}, 3, 0, 30, 0, 0.95, 0.98, 0},
    {"half of the workers die", 4, 2, 500, 64, 2, 6, {150, 150}, 3, 0, 6, 3, 0.93, 0.97, 0},
    {"one client asks for it all", 2, 2, 500, 64, 2, 6, {300, 300}, 3, 0.9, 5, 0, 0.95, 0.99, 0.98},
    {"below capacity", 2, 2, 500, 64, 2, 6, {150, 150}, 0.7, 0, 5, 0, 0.65, 0.995, 0},
};

struct call {
    uint64_t sent_us;
    uint32_t budget_us, cost, client;
    bool let_in;
};

struct job {
    uint64_t ticket, start_us;
    uint32_t call, worker;
    bool cancelled;
};

static struct {
    const struct row *row;
    core_t *core;
    uint64_t random, now_us;
    struct call calls[CALLS];
    uint32_t n_calls, asking; /* the call being asked for; CALLS: none */
    uint32_t slot_call[TICKETS];
    struct job queue[WORKERS][TICKETS]; /* rings */
    uint32_t head[WORKERS], tail[WORKERS];
    struct {
        struct job job;
        uint64_t due_us;
        bool busy;
    } runner[WORKERS][RUNNERS];
    bool dead[WORKERS];
    uint64_t good_cost, good, let_in, refused, late, shed, others, others_good, advice_ms;
    uint32_t slowest_us;
} s;

static enum core_sent to_worker(void *arg, uint32_t worker, const struct header *header,
                                uint32_t slot) {
    (void)arg;
    if (header->type != WIRE_DISPATCH) /* a cancelled one is worked on all the same */
        return s.dead[worker] ? CORE_GONE : CORE_SENT;
    struct job job = {.ticket = header->id,
                      .start_us = s.now_us + TRIP_US,
                      .call = s.slot_call[slot],
                      .worker = worker};
    s.queue[worker][s.tail[worker]++ % TICKETS] = job;
    return s.dead[worker] ? CORE_GONE : CORE_SENT;
}

static void ended(uint64_t id, bool good) {
    struct call *call = &s.calls[id];
    uint64_t took_us = s.now_us - call->sent_us;
    good = good && took_us <= call->budget_us + 1000;
    s.good += good;
    s.good_cost += good ? call->cost : 0;
    if (call->client)
        s.others_good += good;
    if (good && took_us > s.slowest_us)
        s.slowest_us = (uint32_t)took_us;
}

static enum core_sent to_client(void *arg, uint32_t client, const struct header *header,
                                const struct core_error *error) {
    (void)arg, (void)client;
    if (header->type != WIRE_REPLY)
        return CORE_SENT;
    if (header->id == s.asking)
        s.calls[header->id].let_in = false;
    else if (header->status == STATUS_RESOURCE_EXHAUSTED)
        s.shed++;
    else
        s.late++;
    if (header->status == STATUS_RESOURCE_EXHAUSTED)
        CHECK(error && error->retry_after_ms > 0);
    s.advice_ms += error ? error->retry_after_ms : 0;
    ended(header->id, false);
    return CORE_SENT;
}

static enum core_sent forward(void *arg, uint32_t client, const struct header *header) {
    (void)arg, (void)client;
    ended(header->id, header->status == STATUS_OK);
    return CORE_SENT;
}

static struct view body(void *arg, uint32_t slot) {
    (void)arg, (void)slot;
    return view_of("");
}

static void drop(void *arg, uint32_t slot) {
    (void)arg, (void)slot;
}

static void closed(void *arg, uint32_t number, const char *why) {
    (void)arg, (void)number, (void)why;
}

static double uniform(void) {
    return (double)(hash_next(&s.random) >> 11) / 9007199254740992.0;
}

static void arrive(void) {
    const struct row *row = s.row;
    CHECK(s.n_calls < CALLS);
    uint32_t id = s.n_calls++;
    struct call *call = &s.calls[id];
    bool greedy = row->greedy > 0 && uniform() < row->greedy;
    uint32_t cost = row->cost_min + hash_below(&s.random, row->cost_max - row->cost_min + 1);
    *call = (struct call){.sent_us = s.now_us,
                          .budget_us = row->budget_ms[id % 2] * 1000,
                          .cost = cost,
                          .client = greedy ? 0 : 1 + hash_below(&s.random, CLIENTS - 1),
                          .let_in = true};
    struct header header = {.type = WIRE_REQUEST,
                            .flags = WIRE_FLAG_ALONE,
                            .lane = WIRE_LANE_NORMAL,
                            .attempt = 1,
                            .id = id,
                            .epoch = EPOCH,
                            .budget_us = call->budget_us,
                            .service = 1};
    s.others += call->client != 0;
    s.asking = id;
    uint32_t slot = core_request(s.core, call->client, &header,
                                 BODY((size_t)(cost - 1) * CORE_COST_BYTES), s.now_us);
    s.asking = CALLS;
    if (slot != CORE_NONE)
        s.slot_call[slot] = id;
    s.let_in += call->let_in;
    s.refused += !call->let_in;
}

static void answer(uint32_t worker, const struct job *job, uint32_t took_us) {
    struct header header = {.type = WIRE_RESULT,
                            .status = STATUS_OK,
                            .credit = (uint16_t)s.row->window,
                            .id = job->ticket,
                            .epoch = EPOCH,
                            .budget_us = took_us};
    if (core_worker_heard(s.core, worker, &header, s.now_us))
        core_worker_frame(s.core, worker, &header, s.now_us);
}

static void work(uint32_t worker) {
    for (uint32_t r = 0; r < s.row->runners; r++) {
        if (s.runner[worker][r].busy && s.runner[worker][r].due_us <= s.now_us) {
            struct job job = s.runner[worker][r].job;
            s.runner[worker][r].busy = false;
            answer(worker, &job, s.calls[job.call].cost * s.row->us_per_cost);
        }
        if (s.runner[worker][r].busy || s.head[worker] == s.tail[worker])
            continue;
        struct job job = s.queue[worker][s.head[worker] % TICKETS];
        if (job.start_us > s.now_us)
            continue;
        s.head[worker]++;
        double us = s.calls[job.call].cost * s.row->us_per_cost * (0.8 + 0.4 * uniform());
        s.runner[worker][r].job = job;
        s.runner[worker][r].due_us = s.now_us + (uint64_t)us;
        s.runner[worker][r].busy = true;
    }
}

static void heartbeat(uint32_t worker) {
    struct header header = {
        .type = WIRE_HEARTBEAT, .credit = (uint16_t)s.row->window, .epoch = EPOCH};
    if (core_worker_heard(s.core, worker, &header, s.now_us))
        core_worker_frame(s.core, worker, &header, s.now_us);
}

static void begin(const struct row *row) {
    memset(&s, 0, sizeof s);
    s.row = row;
    s.random = 1;
    s.now_us = S;
    s.asking = CALLS;
    struct core_cfg cfg = {.max_clients = CLIENTS,
                           .max_workers = WORKERS,
                           .max_services = 4,
                           .max_tickets = TICKETS,
                           .max_queued = TICKETS,
                           .max_queued_bytes = 1U << 30,
                           .max_client_tickets = TICKETS,
                           .queue_target_us = 100 * 1000,
                           .heartbeat_us = 500 * 1000,
                           .no_worker_grace_us = 5 * S,
                           .drain_us = S,
                           .id = EPOCH,
                           .seed = 1};
    struct core_ops ops = {.to_worker = to_worker,
                           .to_client = to_client,
                           .forward = forward,
                           .body = body,
                           .drop = drop,
                           .client_closed = closed,
                           .worker_closed = closed};
    CHECK(core_new(&cfg, &ops, s.now_us, &s.core, NULL) == STATUS_OK);
    struct wire_model model = {.name = view_of("m"), .tasks = 1U << WIRE_TASK_EMBED};
    for (uint32_t i = 0; i < CLIENTS; i++) {
        uint32_t client = CORE_NONE;
        CHECK(core_hello(s.core, &client, 0, EPOCH, NULL, s.now_us, NULL) == STATUS_OK);
    }
    for (uint32_t i = 0; i < row->workers; i++) {
        struct wire_ready ready = {.uuid = i + 1,
                                   .name = view_of("w"),
                                   .models = &model,
                                   .n_models = 1,
                                   .threads = row->runners};
        uint32_t worker = CORE_NONE;
        CHECK(core_ready(s.core, &worker, &ready, (uint16_t)row->window, s.now_us, NULL) ==
              STATUS_OK);
    }
}

static bool run(const struct row *row) {
    begin(row);
    double capacity = (double)row->workers * row->runners / row->us_per_cost; /* cost per us */
    double mean = (row->cost_min + row->cost_max) / 2.0, rate = row->load * capacity / mean;
    double next_us = S, could = 0;
    uint64_t until_us = S + (uint64_t)(row->seconds * S), change_us = UINT64_MAX, beat_us = 0;
    if (row->change_at_s > 0)
        change_us = S + (uint64_t)(row->change_at_s * S);
    while (s.now_us < until_us) {
        s.now_us += STEP_US;
        could += STEP_US * capacity;
        if (s.now_us >= change_us) {
            change_us = UINT64_MAX;
            capacity /= 2;
            for (uint32_t i = 0; i < row->workers / 2; i++) {
                s.dead[i] = true;
                core_worker_lost(s.core, i, "test", s.now_us);
            }
        }
        for (uint32_t i = 0; i < row->workers; i++)
            if (!s.dead[i])
                work(i);
        while (next_us <= (double)s.now_us) {
            arrive();
            next_us -= log(1 - uniform()) / rate;
        }
        for (uint32_t i = 0; i < row->workers && s.now_us >= beat_us; i++)
            if (!s.dead[i])
                heartbeat(i);
        beat_us = s.now_us >= beat_us ? s.now_us + 250 * 1000 : beat_us;
        for (uint32_t i = 0; i < CLIENTS; i++) { /* or they would be silent */
            struct header pong = {.type = WIRE_PONG, .epoch = EPOCH};
            core_client_heard(s.core, i, &pong, s.now_us);
        }
        core_tick(s.core, s.now_us);
        core_dispatch(s.core, s.now_us);
    }
    core_check(s.core);
    uint64_t open = core_queued(s.core) + core_in_flight(s.core);
    double goodput = (double)s.good_cost / could;
    double in_time = (double)s.good / (double)(s.let_in - open);
    double others = s.others ? (double)s.others_good / (double)s.others : 1;
    bool ok = goodput >= row->goodput && in_time >= row->in_time && others >= row->others;
    printf("%-36s goodput %.3f, of %6llu let in %.4f in time (%llu late, %llu shed), slowest "
           "%.0f ms, others %.3f, mean advice %.0f ms%s\n",
           row->name, goodput, (unsigned long long)s.let_in, in_time, (unsigned long long)s.late,
           (unsigned long long)s.shed, s.slowest_us / 1e3, others,
           (double)s.advice_ms / (double)(s.refused + s.late + s.shed + 1),
           ok ? "" : "   <-- NOT WHAT IT SHOULD BE");
    core_destroy(&s.core);
    return ok;
}

int main(void) {
    bool ok = true;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        ok &= run(&rows[i]);
    return ok ? 0 : 1;
}
