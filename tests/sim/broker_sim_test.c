/* broker_sim_test.c - the broker's core among simulated clients, workers and a network that
 * misbehaves.
 *
 *     clients ◄── delay, loss at disconnect ──► core ◄── delay, loss, freezes, restarts ──► workers
 *
 * One seed decides everything, so a failure replays:  broker_sim_test --seed 17 --steps 200000
 * After every step core_check() walks the tables. Beyond that the simulation asserts what a client
 * sees:
 *   - one answer per call, for a call it made, on the session it made it on;
 *   - an OK answer carries the result of that very call's payload;
 *   - DEADLINE_EXCEEDED comes at the deadline, neither before nor more than a tick after it;
 *   - nobody is given more than its window, nor a fourth execution of one request;
 *   - a body is refused only after two workers died that had it;
 *   - second executions keep to their budget;
 *   - once faults stop and callers are done, nothing is left: no ticket, no body.
 * Messages of one connection keep their order; those of different connections do not. */
#include "broker_sim.h"

#include "base/check.h"

struct sim s;

static void start(uint64_t seed) {
    memset(&s, 0, sizeof s);
    s.seed = seed;
    s.random = hash_mix(seed);
    s.now_us = 1000 * MS;
    struct core_cfg cfg = {.max_clients = CLIENTS + 1,
                           .max_workers = WORKERS + 4,
                           .max_services = 16,
                           .max_tickets = TICKETS,
                           .max_queued = TICKETS / 2,
                           .max_queued_bytes = 40000,
                           .max_queued_cost = seed % 2 ? 600 : 0,
                           .max_client_tickets = TICKETS / 4,
                           .max_client_bytes = 30000,
                           .queue_target_us = 100 * MS,
                           .heartbeat_us = BEAT_US,
                           .no_worker_grace_us = 1000 * MS,
                           .drain_us = 500 * MS,
                           .hedge = seed % 2,
                           .coalesce = seed % 4 != 0,
                           .id = hash_next(&s.random) | 1,
                           .seed = seed};
    if (seed % 3 == 0)
        snprintf(cfg.default_model, sizeof cfg.default_model, "c");
    CHECK(core_new(&cfg, &sim_ops, s.now_us, &s.core, NULL) == STATUS_OK);
    static const struct {
        const char *model;
        enum wire_task task;
    } wants[] = {{"a", WIRE_TASK_EMBED}, {"b", WIRE_TASK_EMBED},   {"c", WIRE_TASK_EMBED},
                 {"", WIRE_TASK_EMBED},  {"", WIRE_TASK_CLASSIFY}, {"never", WIRE_TASK_EMBED}};
    for (size_t i = 0; i < sizeof wants / sizeof *wants; i++)
        s.services[i] = core_number(s.core, view_of(wants[i].model), wants[i].task);
    for (uint32_t i = 0; i < CONNS; i++) {
        s.conns[i].number = CORE_NONE;
        s.conns[i].uuid = hash_next(&s.random) | 1;
        s.conns[i].retry_us = s.now_us + below(300 * MS);
        s.conns[i].credit = (uint16_t)(1 + below(60));
    }
}

static void deliver(const struct message *m) {
    struct conn *c = &s.conns[m->conn];
    if (m->life != c->life)
        return;
    if (m->to_core)
        arrive(m);
    else if (m->conn < CLIENTS)
        client_receives(m->conn, m);
    else if (s.now_us < c->frozen_until_us) { /* waits in its socket */
        struct message later = *m;
        later.at_us = c->frozen_until_us;
        post(later);
    } else
        worker_receives(m->conn, m);
}

/* One step: to the next message or tick, at most a millisecond on. */
static void step(void) {
    uint64_t next = s.now_us + MS;
    if (s.n_heap && s.heap[0].at_us < next)
        next = s.heap[0].at_us;
    if (core_next_us(s.core) < next)
        next = core_next_us(s.core);
    if (next > s.now_us)
        s.now_us = next;
    if (!s.healed && chance(1) && chance(40)) { /* the broker's host stops for a while */
        s.now_us += below(3000 * MS);
        s.jump_us = s.now_us;
    }
    for (int i = 0; i < 16 && s.n_heap && s.heap[0].at_us <= s.now_us; i++) {
        struct message m = fetch();
        deliver(&m);
        core_check(s.core);
    }
    for (uint32_t i = 0; i < CONNS; i++) {
        if (i < CLIENTS)
            client_step(i);
        else
            worker_step(i);
    }
    core_tick(s.core, s.now_us);
    core_check(s.core);
    core_dispatch(s.core, s.now_us);
    core_check(s.core);
    if (!s.healed && chance(2))
        core_sweep_workers(s.core, s.now_us);
    if (!s.healed && chance(2))
        core_sweep_clients(s.core, s.now_us);
}

static void check_all_answered(void) {
    for (uint32_t i = 0; i < CLIENTS; i++)
        for (uint32_t k = 0; k < CALLS; k++)
            EXPECT(!s.conns[i].calls[k].open || !s.conns[i].epoch);
    for (uint32_t i = 0; i < TICKETS; i++)
        EXPECT(!s.bodies[i]);
    EXPECT(core_queued(s.core) == 0 && core_in_flight(s.core) == 0);
}

static void run(uint64_t seed, uint64_t steps, bool drain) {
    start(seed);
    for (uint64_t i = 0; i < steps; i++)
        step();
    s.healed = true;
    if (drain)
        core_drain(s.core, s.now_us);
    uint64_t until = s.now_us + 6000 * MS; /* the longest budget, and the longest freeze */
    while (s.now_us < until)
        step();
    check_all_answered();
    const struct core_stats *stats = core_stats(s.core);
    s.recovered = stats->recovered;
    s.hedged = stats->hedged;
    s.coalesced = stats->coalesced;
    s.poisoned = stats->poisoned;
    EXPECT(s.recovered + s.hedged <= stats->received / 10 + 10 * (s.now_us / (1000 * MS) + 10));
    EXPECT(!drain || core_drained(s.core));
    core_destroy(&s.core);
}

static uint64_t argument(int argc, char **argv, const char *name, uint64_t fallback) {
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return strtoull(argv[i + 1], NULL, 10);
    return fallback;
}

int main(int argc, char **argv) {
#ifdef EMBER_SANITIZED
    enum { SEEDS = 10 };
#else
    enum { SEEDS = 40 };
#endif
    uint64_t seed = argument(argc, argv, "--seed", 1);
    uint64_t steps = argument(argc, argv, "--steps", 25000);
    uint64_t seeds = argument(argc, argv, "--seeds", argc > 1 ? 1 : SEEDS);
    uint64_t ok = 0, all = 0, faults = 0, moved = 0;
    uint64_t recovered = 0, hedged = 0, coalesced = 0, poisoned = 0;
    uint64_t outcomes[STATUS_UNAUTHENTICATED + 1] = {0};
    for (uint64_t i = 0; i < seeds; i++) {
        run(seed + i, steps, (seed + i) % 2 == 0);
        for (int k = 0; k <= STATUS_UNAUTHENTICATED; k++) {
            outcomes[k] += s.outcomes[k];
            all += s.outcomes[k];
        }
        faults += s.faults;
        moved += s.moved;
        recovered += s.recovered;
        hedged += s.hedged;
        coalesced += s.coalesced;
        poisoned += s.poisoned;
    }
    ok = outcomes[STATUS_OK];
    printf("%llu steps of %llu seeds: %llu calls answered, %llu disconnects, %llu repeats\n",
           (unsigned long long)(steps * seeds), (unsigned long long)seeds, (unsigned long long)all,
           (unsigned long long)faults, (unsigned long long)moved);
    printf("  %llu recovered, %llu hedged, %llu coalesced, %llu poisoned\n",
           (unsigned long long)recovered, (unsigned long long)hedged, (unsigned long long)coalesced,
           (unsigned long long)poisoned);
    for (int k = 0; k <= STATUS_UNAUTHENTICATED; k++)
        if (outcomes[k])
            printf("  %-20s %llu\n", status_name((enum status)k), (unsigned long long)outcomes[k]);
    /* A simulation that never gets to the interesting part would prove nothing. */
    bool covers = seeds < 8 || (ok > all / 10 && outcomes[STATUS_DEADLINE_EXCEEDED] &&
                                outcomes[STATUS_RESOURCE_EXHAUSTED] && outcomes[STATUS_CANCELLED] &&
                                outcomes[STATUS_INTERNAL] && outcomes[STATUS_NOT_FOUND] &&
                                outcomes[STATUS_UNAVAILABLE] && moved && recovered && hedged &&
                                coalesced && poisoned);
    if (!covers)
        fprintf(stderr, "the runs do not cover what they should\n");
    return covers ? 0 : 1;
}
