/* whole_sim_test.c - brokers, workers and clients together in one process, decided by one seed.
 *
 *     clients                      brokers                     workers
 *     pool.h pending.h  ◄─ net ─►  core.h  greet.h  ◄─ net ─►  upstream.h shares.h serve.h
 *     services.h                                               and a fake engine
 *
 * The decisions are the programs' own; only sockets, threads and clocks are made up. Faults: any
 * process is killed, frozen, drained, or has its clock jump; connections break, stall and deliver
 * slowly; workers are slow, say results twice and die of poisonous texts; clients take calls back,
 * ask in bursts and for the same things. After every event:
 *   - core_check() of each broker it reached;
 *   - a call has one outcome, by its deadline and a tick; never DEADLINE_EXCEEDED before;
 *   - OK carries the vectors of those very texts, each computed at least once;
 *   - a request is out on two brokers at most, and copies stay within the retry budget;
 *   - workers are given no more than the windows they told.
 * Then faults stop: all ends, every worker is live at every broker, and new calls succeed.
 *
 *     whole_sim_test                        the runs of ctest
 *     whole_sim_test --seed 17              one run, as a failure printed it
 *     whole_sim_test --seed 1 --seeds 1000 --steps 100000 [--verbose] */
#include "whole.h"

#include "base/check.h"
#include "base/hash.h"
#include "engine/engine_fake.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct sim s;

enum {
    POISON = 701, /* one text in so many */
    PROBES = 12,
    CALM_US =
        20 * SECOND, /* after the faults: the longest deadline, and all pauses before dialling */
};

void sim_failed(const char *file, int line, const char *what) {
    fflush(stdout);
    fprintf(stderr,
            "%s:%d: %s does not hold at %llu us, step %llu\nreplay: --seed %llu --steps %llu "
            "--verbose\n",
            file, line, what, (unsigned long long)s.now_us, (unsigned long long)s.step,
            (unsigned long long)s.seed, (unsigned long long)s.steps);
    abort();
}

void sim_trace(const char *format, ...) {
    va_list args;
    printf("%10llu ", (unsigned long long)s.now_us);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

/* ---------------------------------------------------------------- texts */

bool text_is_poison(uint32_t n) {
    return n % POISON == POISON - 1;
}

bool text_is_slow(uint32_t n) {
    return n % 61 == 7;
}

struct view text_of(uint32_t n, char out[TEXT_ROOM]) {
    size_t bytes = (size_t)snprintf(out, TEXT_ROOM, "%08x", n);
    size_t more = n % 13 == 3 ? 500 : n % 40;
    memset(out + bytes, '.', more);
    return view_make(out, bytes + more);
}

uint32_t text_number(struct view text) {
    char digits[9] = "";
    CHECK(text.bytes >= 8);
    memcpy(digits, text.data, 8);
    return (uint32_t)strtoul(digits, NULL, 16);
}

/* ---------------------------------------------------------------- events */

static void thaw(struct process *p) {
    if (!p->frozen_until_us)
        return;
    p->resumed_us = s.now_us;
    p->frozen_until_us = 0;
}

static void deliver(const struct net_message *m) {
    uint32_t peer = m->link / BROKERS, broker = m->link % BROKERS;
    bool client = peer < CLIENTS;
    uint32_t i = client ? peer : peer - CLIENTS;
    struct process *p = m->to_broker ? &s.broker[broker] : client ? &s.client[i] : &s.worker[i];
    const struct net_link *l = &s.net.links[m->link];
    bool stale = !m->to_broker && ((m->kind == NET_CUT && m->life + 1 != l->life) ||
                                   (m->kind == NET_REFUSED && m->life != l->life));
    if (!p->alive || stale)
        return;
    if (s.now_us < p->frozen_until_us) { /* waits in its socket */
        net_put_back(&s.net, m, p->frozen_until_us);
        net_body_ref(m->body);
        return;
    }
    thaw(p);
    if (m->to_broker)
        broker_message(broker, m);
    else if (client)
        client_message(i, broker, m);
    else
        worker_message(i, broker, m);
}

static uint64_t due_us(const struct process *p) {
    if (!p->alive)
        return p->restart_us;
    return p->wake_us > p->frozen_until_us ? p->wake_us : p->frozen_until_us;
}

typedef void turn_fn(uint32_t i);

static bool run_due(struct process *p, uint32_t i, turn_fn *start, turn_fn *turn) {
    if (due_us(p) > s.now_us)
        return false;
    thaw(p);
    if (p->alive)
        turn(i);
    else
        start(i);
    return true;
}

static void soonest(const struct process *list, uint32_t n, uint64_t *best) {
    for (uint32_t i = 0; i < n; i++)
        *best = due_us(&list[i]) < *best ? due_us(&list[i]) : *best;
}

/* ---------------------------------------------------------------- faults */

static void freeze(struct process *p, uint64_t us) {
    if (!p->alive || p->frozen_until_us)
        return;
    p->frozen_until_us = s.now_us + us;
    s.totals.freezes++;
}

static void jump(struct process *p, uint64_t us) {
    if (!p->alive || p->frozen_until_us)
        return;
    p->offset_us += us;
    p->wake_us = s.now_us; /* timers fire */
    p->resumed_us = s.now_us;
    s.jumped_us = s.now_us;
    s.totals.jumps++;
}

static struct process *any_process(void) {
    uint32_t i = below(s.n_brokers + CLIENTS + WORKERS);
    if (i < s.n_brokers)
        return &s.broker[i];
    i -= s.n_brokers;
    return i < CLIENTS ? &s.client[i] : &s.worker[i - CLIENTS];
}

static void kill_somebody(uint32_t kind) {
    uint32_t b = below(s.n_brokers), w = below(WORKERS), c = below(CLIENTS);
    s.totals.crashes++;
    if (kind < 3 && s.broker[b].alive) {
        TRACE("broker %u: killed", b);
        broker_kill(b);
    } else if (kind < 8 && s.worker[w].alive) {
        TRACE("worker %u: killed", w);
        worker_kill(w);
    } else if (s.client[c].alive) {
        TRACE("client %u: killed", c);
        client_kill(c);
    }
}

static void fault(void) {
    uint32_t link = link_of(below(PEERS), below(s.n_brokers)), w = below(WORKERS);
    uint32_t b = below(s.n_brokers);
    switch (below(13)) {
    case 0:
    case 1:
    case 2:
        if (s.net.links[link].up) {
            TRACE("link %u: broken", link);
            net_break(&s.net, link, true, s.now_us);
            s.totals.cuts++;
        }
        break;
    case 3:
    case 4:
        s.net.links[link].stall_until_us = s.now_us + below(chance(200) ? 4000 : 300) * MS;
        s.totals.stalls++;
        break;
    case 5:
        kill_somebody(below(10));
        break;
    case 6:
        freeze(any_process(), below(chance(300) ? 6000 : 400) * (uint64_t)MS);
        break;
    case 7:
        jump(any_process(), below(chance(300) ? 60000 : 1500) * (uint64_t)MS);
        break;
    case 8:
        if (s.worker[w].alive && chance(300)) {
            TRACE("worker %u: told to drain", w);
            worker_drain(w);
            s.totals.drains++;
        }
        break;
    case 9:
        if (s.broker[b].alive && chance(150)) {
            TRACE("broker %u: told to drain", b);
            broker_drain(b);
            s.totals.drains++;
        }
        break;
    case 10:
        if (s.broker[b].alive && chance(500))
            broker_swallow(b, below(chance(300) ? 10000 : 500) * (uint64_t)MS);
        break;
    default:
        if (s.worker[w].alive && s.now_us >= s.worker[w].frozen_until_us)
            worker_lie(w);
    }
    s.fault_us = s.now_us + 1 + below(s.fault_pause_us);
}

/* Calm, busy, overload: what programs ask for in the next seconds. */
static void next_phase(void) {
    static const struct {
        uint32_t burst, pause_us, budget_us, equal_percent;
    } phases[] = {
        {2, 60 * MS, 3000 * MS, 10}, {3, 20 * MS, 1500 * MS, 20}, {8, 6 * MS, 200 * MS, 5},
        {5, 12 * MS, 600 * MS, 80},  {2, 30 * MS, 4000 * MS, 30},
    };
    uint32_t i = below(sizeof phases / sizeof *phases);
    s.burst = phases[i].burst;
    s.pause_us = phases[i].pause_us;
    s.budget_us = phases[i].budget_us;
    s.equal_percent = phases[i].equal_percent;
    static const uint32_t pauses[] = {10 * MS, 40 * MS, 200 * MS, 4000 * MS};
    s.fault_pause_us = pauses[below(sizeof pauses / sizeof *pauses)];
    s.phase_until_us = s.now_us + below(3000) * MS;
}

/* ---------------------------------------------------------------- running */

/* One step: everything that is due next. */
static void step(void) {
    uint64_t next = net_next_us(&s.net);
    soonest(s.broker, s.n_brokers, &next);
    soonest(s.client, CLIENTS, &next);
    soonest(s.worker, WORKERS, &next);
    if (!s.healed && s.fault_us < next)
        next = s.fault_us;
    EXPECT(next != UINT64_MAX);
    s.step++;
    s.now_us = next > s.now_us ? next : s.now_us;
    if (!s.healed && s.now_us >= s.phase_until_us)
        next_phase();
    if (!s.healed && s.now_us >= s.fault_us) {
        fault();
        return;
    }
    struct net_message m;
    if (net_next_us(&s.net) <= s.now_us) {
        if (net_take(&s.net, &m)) {
            deliver(&m);
            net_body_unref(m.body);
        }
        return;
    }
    for (uint32_t i = 0; i < s.n_brokers; i++)
        if (run_due(&s.broker[i], i, broker_start, broker_turn))
            return;
    for (uint32_t i = 0; i < WORKERS; i++)
        if (run_due(&s.worker[i], i, worker_start, worker_turn))
            return;
    for (uint32_t i = 0; i < CLIENTS; i++)
        if (run_due(&s.client[i], i, client_start, client_turn))
            return;
}

static void start(uint64_t seed, uint64_t steps, bool verbose) {
    struct models models = s.models;
    engine_seat_t *seat[2] = {s.seat[0], s.seat[1]};
    struct totals totals = s.totals;
    uint32_t n_texts = s.n_texts;
    memset(s.executed, 0, n_texts); /* the rest never was anything else */
    memset(s.killed, 0, n_texts);
    s.seed = seed;
    s.random = hash_mix(seed);
    s.steps = steps;
    s.step = 0;
    s.verbose = verbose;
    s.now_us = 1 * SECOND;
    s.jumped_us = 0;
    s.n_texts = 0;
    s.models = models;
    s.seat[0] = seat[0];
    s.seat[1] = seat[1];
    s.totals = totals;
    s.healed = false;
    s.calling = true;
    s.n_brokers = seed % 8 == 0 ? 1 : seed % 8 == 1 ? 3 : 2;
    s.fault_us = s.now_us + 500 * MS;
    net_init(&s.net, PEERS * BROKERS, &s.random);
    s.net.slow = 20;
    next_phase();
    for (uint32_t i = 0; i < s.n_brokers; i++)
        broker_start(i);
    for (uint32_t i = 0; i < WORKERS; i++)
        worker_start(i);
    for (uint32_t i = 0; i < CLIENTS; i++)
        client_start(i);
}

static void replace_workers(void) {
    for (uint32_t i = 0; i < WORKERS; i++)
        if (s.worker[i].alive)
            worker_kill(i);
}

/* Faults stop; what was killed comes back, and what is slow is replaced. */
static void heal(void) {
    TRACE("healed");
    s.healed = true;
    s.calling = false;
    s.net.slow = 0;
    for (uint32_t i = 0; i < PEERS * BROKERS; i++)
        s.net.links[i].stall_until_us = s.now_us;
    replace_workers();
}

static void run_until(uint64_t until_us) {
    while (s.now_us < until_us)
        step();
}

static void finish(void) {
    for (uint32_t i = 0; i < s.n_brokers; i++)
        if (s.broker[i].alive)
            broker_kill(i);
    for (uint32_t i = 0; i < CLIENTS; i++)
        if (s.client[i].alive)
            client_kill(i);
    for (uint32_t i = 0; i < WORKERS; i++)
        if (s.worker[i].alive)
            worker_kill(i);
    net_done(&s.net);
}

/* While those calls are on their way: it may cost them time, not their success. */
static void one_fault(void) {
    uint32_t kind = below(s.n_brokers > 1 ? 5 : 3), b = below(s.n_brokers), w = below(WORKERS);
    run_until(s.now_us + below(4 * MS));
    uint32_t link = link_of(below(PEERS), b);
    if (kind == 0)
        worker_kill(w);
    else if (kind == 1)
        worker_drain(w);
    else if (kind == 2 && s.net.links[link].up)
        net_break(&s.net, link, true, s.now_us);
    else if (kind == 3)
        broker_kill(b);
    else if (kind == 4)
        broker_drain(b);
}

static void run(uint64_t seed, uint64_t steps, bool verbose) {
    start(seed, steps, verbose);
    while (s.step < steps)
        step();
    heal();
    run_until(s.now_us + CALM_US);
    for (uint32_t i = 0; i < CLIENTS; i++)
        EXPECT(s.client[i].alive && client_open(i) == 0);
    for (uint32_t i = 0; i < s.n_brokers; i++)
        EXPECT(core_fleet(broker_core(i))->n_workers == WORKERS);
    replace_workers(); /* without requests those that are suspect cannot show that they work */
    run_until(s.now_us + 3 * SECOND);
    for (uint32_t i = 0; i < CLIENTS; i++)
        client_probe(i, PROBES);
    one_fault();
    run_until(s.now_us + 6 * SECOND);
    for (uint32_t i = 0; i < CLIENTS; i++)
        client_check_calm(i);
    for (uint32_t i = 0; i < s.n_brokers; i++)
        broker_check_calm(i);
    for (uint32_t i = 0; i < WORKERS; i++)
        worker_check_calm(i);
    finish();
}

/* ---------------------------------------------------------------- the program */

static void open_models(void) {
    static const char *const names[2] = {"m", "other"}, *const dims[2] = {"dim=4,tokens=1000",
                                                                          "dim=4,tokens=999"};
    for (uint32_t i = 0; i < 2; i++) {
        struct model *model = &s.models.model[i];
        snprintf(model->name, sizeof model->name, "%s", names[i]);
        CHECK(engine_fake_open(dims[i], &model->engine, NULL) == STATUS_OK);
        CHECK(models_fill(model, NULL) == STATUS_OK);
        CHECK(engine_seat_new(model->engine, 2048, 64, &s.seat[i], NULL) == STATUS_OK);
    }
    s.models.n = 2;
    s.models.dim_max = DIM;
}

static uint64_t argument(int argc, char **argv, const char *name, uint64_t fallback) {
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return strtoull(argv[i + 1], NULL, 10);
    return fallback;
}

static bool flag(int argc, char **argv, const char *name) {
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return true;
    return false;
}

static unsigned long long ull(uint64_t n) {
    return n;
}

/* A simulation that never gets to the interesting part would prove nothing. */
static bool report(uint64_t seeds, uint64_t steps) {
    const struct totals *t = &s.totals;
    uint64_t answered = 0;
    for (int i = 0; i <= STATUS_UNAUTHENTICATED; i++)
        answered += t->outcomes[i];
    printf("%llu seeds, %llu steps and more: %llu calls, %llu outcomes\n", ull(seeds),
           ull(steps * seeds), ull(t->calls), ull(answered));
    for (int i = 0; i <= STATUS_UNAUTHENTICATED; i++)
        if (t->outcomes[i])
            printf("  %-20s %llu\n", status_name((enum status)i), ull(t->outcomes[i]));
    printf("  cut %llu stalled %llu killed %llu poisoned %llu frozen %llu jumped %llu drained %llu "
           "lies %llu swallowed %llu\n",
           ull(t->cuts), ull(t->stalls), ull(t->crashes), ull(t->poisoned), ull(t->freezes),
           ull(t->jumps), ull(t->drains), ull(t->lies), ull(t->swallowed));
    printf("  dispatched %llu, again %llu, hedged %llu, texts computed %llu\n", ull(t->dispatches),
           ull(t->moved), ull(t->hedges), ull(t->executions));
    return seeds < 8 ||
           (t->outcomes[STATUS_OK] > answered / 10 && t->outcomes[STATUS_DEADLINE_EXCEEDED] &&
            t->outcomes[STATUS_CANCELLED] && t->moved && t->poisoned && t->cuts && t->drains);
}

int main(int argc, char **argv) {
#ifdef EMBER_SANITIZED
    enum { SEEDS = 6 };
#else
    enum { SEEDS = 60 };
#endif
    uint64_t seed = argument(argc, argv, "--seed", 1);
    uint64_t steps = argument(argc, argv, "--steps", 50000);
    uint64_t seeds = argument(argc, argv, "--seeds", argc > 1 ? 1 : SEEDS);
    open_models();
    for (uint64_t i = 0; i < seeds; i++)
        run(seed + i, steps, flag(argc, argv, "--verbose"));
    bool covers = report(seeds, steps);
    if (!covers)
        fprintf(stderr, "the runs do not cover what they should\n");
    for (uint32_t i = 0; i < 2; i++)
        engine_seat_destroy(&s.seat[i]);
    models_done(&s.models);
    return covers ? 0 : 1;
}
