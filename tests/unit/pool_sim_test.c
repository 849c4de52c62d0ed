/* pool_sim_test.c - the client's two machines, pool and pending, against brokers that die,
 * freeze, restart, flap, drain, refuse, are slow, or greet and answer PING and no request, from a
 * seed and in virtual time. What must hold:
 *   - each request ends once, with an answer or at its deadline, never later than a tick after it;
 *   - no request is out on more than two brokers, nor twice on one;
 *   - what the pool counts as outstanding is what is out, and within the broker's window;
 *   - sendings paid from the retry budget stay within it;
 *   - while one broker stays sound, every request with time enough (three attempts and an
 *     execution) is answered, however many others swallow what they are sent;
 *   - the world is never asked to do anything more often than a few times a tick (no busy loop).
 * EMBER_SIM_SEED runs one seed alone, EMBER_SIM_SEEDS so many. */
#include "pending.h"
#include "support/test.h"

#include "base/hash.h"

enum {
    MS = 1000,
    SECOND = 1000 * MS,
    BROKERS = 5, /* four given at most, and one that is discovered */
    REQUESTS = 400,
    WIRE = 4096,
    WINDOW = 20,
    TICK_US = 5 * MS, /* the loop may be late by so much */
    ENOUGH_US = 6 * SECOND,
};

enum kind { TO_BROKER, WELCOME, PONG, OK_REPLY, REFUSAL, GOAWAY, BROKEN };

struct message {
    uint64_t due_us, id, session, conn, life;
    uint32_t at, kind, status;
};

struct request {
    struct pending_item item; /* first */
    uint64_t given_us;
    bool in, ended;
};

struct broker {
    uint64_t life; /* which start of it */
    uint64_t session;
    uint64_t conn; /* the client's connection; 0: none */
    uint64_t down_until_us, frozen_until_us, refuses_until_us, slow_until_us, lame_until_us;
    bool draining;
};

struct sim {
    struct pool pool;
    struct pending pending;
    struct broker brokers[BROKERS];
    struct request requests[REQUESTS];
    struct message wire[WIRE];
    uint32_t n_wire, n_given, sound; /* sound: never at fault; BROKERS: none */
    uint64_t seed, random, now_us, conns, begun;
    uint32_t started, ended, answered, expired, refused, dropped, seconds, failed_over, swallowed,
        unpaid, given_up;
};

static uint32_t below(struct sim *sim, uint32_t n) {
    return hash_below(&sim->random, n);
}

#define MUST(sim, cond)                                                                            \
    do {                                                                                           \
        if (!(cond))                                                                               \
            TEST_FAIL("seed %llu at %llu us: %s", (unsigned long long)(sim)->seed,                 \
                      (unsigned long long)(sim)->now_us, #cond);                                   \
    } while (0)

/* ---- the world */

static uint32_t broker_of(const struct sim *sim, uint32_t place) {
    uint32_t i = 0;
    sscanf(sim->pool.brokers[place].endpoint, "tcp://b%u", &i);
    return i;
}

static void put(struct sim *sim, struct message message, uint64_t after_us) {
    message.due_us = sim->now_us + after_us;
    if (sim->n_wire < WIRE)
        sim->wire[sim->n_wire++] = message;
}

static uint64_t hop_us(struct sim *sim, const struct broker *b) {
    uint64_t slow = sim->now_us < b->slow_until_us ? 200 * MS : 0;
    return 50 + below(sim, 500) + slow;
}

static uint64_t later(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

static bool listens(const struct sim *sim, const struct broker *b) {
    return sim->now_us >= b->down_until_us;
}

/* The connection broke; mostly the client is told, sometimes it is left to find out. */
static void break_conn(struct sim *sim, uint32_t at) {
    struct broker *b = &sim->brokers[at];
    if (b->conn && below(sim, 4))
        put(sim, (struct message){.at = at, .kind = BROKEN, .conn = b->conn}, below(sim, 5 * MS));
    b->life++;
    b->draining = false;
}

static void fault(struct sim *sim) {
    uint32_t at = below(sim, BROKERS);
    struct broker *b = &sim->brokers[at];
    if (at == sim->sound)
        return;
    uint64_t us = 1 + below(sim, below(sim, 2) ? 100 * MS : 4 * SECOND);
    switch (below(sim, 7)) {
    case 0:
        b->down_until_us = sim->now_us + us;
        break_conn(sim, at);
        break;
    case 1:
        b->frozen_until_us = sim->now_us + us;
        break;
    case 2:
        break_conn(sim, at); /* back at once */
        break;
    case 3:
        b->refuses_until_us = sim->now_us + us;
        break;
    case 4:
        b->slow_until_us = sim->now_us + us;
        break;
    case 5:
        b->lame_until_us = later(b->lame_until_us, sim->now_us + us);
        break;
    default:
        b->draining = true;
        if (b->conn)
            put(sim, (struct message){.at = at, .kind = GOAWAY, .conn = b->conn, .life = b->life},
                MS);
        break;
    }
}

/* A request, HELLO or PING at the broker: what it sends back, and when. */
static void at_broker(struct sim *sim, const struct message *m) {
    struct broker *b = &sim->brokers[m->at];
    struct message back = *m;
    bool known = m->life == b->life && b->session && m->session == b->session;
    uint64_t work_us = 0;
    if (m->status == WELCOME) {
        if (!b->session || m->life != b->life)
            b->session = ++sim->conns << 8 | 1;
        back.session = b->session;
        back.kind = b->draining ? GOAWAY : WELCOME;
    } else if (m->status == PONG) {
        back.kind = PONG;
    } else if (!known) {
        return; /* instead of WHO_ARE_YOU: silence is the worse case */
    } else if (sim->now_us < b->lame_until_us) {
        sim->swallowed++;
        return;
    } else if (sim->now_us < b->refuses_until_us || b->draining) {
        static const enum status words[] = {STATUS_UNAVAILABLE, STATUS_RESOURCE_EXHAUSTED,
                                            STATUS_NOT_FOUND, STATUS_UNKNOWN_OUTCOME};
        back.kind = REFUSAL;
        back.status = b->draining ? STATUS_UNAVAILABLE : words[below(sim, 4)];
    } else {
        back.kind = OK_REPLY;
        work_us = 500 + below(sim, 5 * MS) + (below(sim, 50) ? 0 : below(sim, 2 * SECOND));
        if (below(sim, 30) == 0)
            put(sim, back, work_us + 100); /* and once more */
    }
    back.life = b->life;
    put(sim, back, work_us + hop_us(sim, b));
}

/* ---- the client, as client.c would carry */

static void end(struct sim *sim, struct request *r) {
    struct pending_copy copy;
    MUST(sim, r->in && !r->ended);
    MUST(sim, sim->now_us <= r->item.deadline_us + TICK_US);
    while (pending_copy_left(&r->item, &copy))
        MUST(sim, copy.broker < POOL_MAX);
    r->in = false;
    r->ended = true;
    sim->ended++;
}

/* The copy that was given up, if one was: of that item, and on another broker. */
static void cancel(struct sim *sim, uint64_t id, uint32_t not_at) {
    struct pending_copy copy;
    uint64_t of;
    if (!pending_given_up(&sim->pending, &of, &copy))
        return;
    MUST(sim, of == id && copy.broker != not_at);
    sim->given_up++;
}

static void on_reply(struct sim *sim, uint32_t place, const struct message *m) {
    struct pending_item *item = pending_find(&sim->pending, m->id, place, m->session);
    if (!item) {
        sim->dropped++;
        return;
    }
    MUST(sim, m->session == sim->pool.brokers[place].dial.session);
    struct request *r = (struct request *)(void *)item;
    if (m->kind == OK_REPLY) {
        uint64_t sent_us = pending_sent_us(item, place);
        pending_answered(&sim->pending, item, place);
        pool_replied(&sim->pool, place, sent_us, 1 + below(sim, 1000), sim->now_us);
        sim->answered++;
        end(sim, r);
        return;
    }
    sim->refused++;
    uint32_t after_ms = m->status == STATUS_RESOURCE_EXHAUSTED ? 1 + below(sim, 50) : 0;
    enum pending_verdict verdict =
        pending_refused(&sim->pending, item, place, (enum status)m->status, after_ms, sim->now_us);
    cancel(sim, m->id, place);
    if (verdict == PENDING_FINAL) {
        bool early = sim->sound < BROKERS && r->given_us >= ENOUGH_US;
        MUST(sim, !early || m->status == STATUS_NOT_FOUND); /* the sound one would have done it */
        end(sim, r);
    }
}

static void on_welcome(struct sim *sim, uint32_t place, const struct message *m) {
    struct view others = view_of("tcp://b4:1");
    const struct dial *dial = &sim->pool.brokers[place].dial;
    if (dial->state != DIAL_GREETING && dial->state != DIAL_UP)
        return;
    if (dial->session && dial->session != m->session)
        pending_lost(&sim->pending, place, sim->now_us);
    struct pool_welcome w = {.session = m->session,
                             .id = 1000 * (m->at + 1) + m->life,
                             .heartbeat_us = 500 * MS,
                             .in_flight = WINDOW,
                             .brokers = &others,
                             .n_brokers = below(sim, 5) > 0};
    pool_welcome(&sim->pool, place, &w, sim->now_us);
}

static uint32_t place_of(const struct sim *sim, uint32_t broker) {
    for (uint32_t i = 0; i < sim->pool.n; i++)
        if (pool_known(&sim->pool.brokers[i]) && broker_of(sim, i) == broker)
            return i;
    return POOL_NONE;
}

static void deliver(struct sim *sim, const struct message *m) {
    struct broker *b = &sim->brokers[m->at];
    if (m->kind != BROKEN && sim->now_us < b->frozen_until_us) {
        put(sim, *m, b->frozen_until_us - sim->now_us + below(sim, MS));
        return;
    }
    if (m->kind == TO_BROKER) {
        if (listens(sim, b) && m->life == b->life)
            at_broker(sim, m);
        return;
    }
    uint32_t place = place_of(sim, m->at);
    if (m->conn != b->conn || place == POOL_NONE || sim->pool.brokers[place].close_due)
        return;
    if (m->kind == BROKEN) {
        pool_failed(&sim->pool, place, "the connection broke", sim->now_us);
        return;
    }
    if (m->life != b->life)
        return;
    if (m->kind == PONG)
        pool_pong(&sim->pool, place, m->id, sim->now_us);
    else
        pool_heard(&sim->pool, place, sim->now_us);
    if (m->kind == WELCOME)
        on_welcome(sim, place, m);
    else if (m->kind == GOAWAY)
        pool_goaway(&sim->pool, place, sim->now_us);
    else if (m->kind != PONG)
        on_reply(sim, place, m);
}

static void send(struct sim *sim, uint32_t place, uint32_t kind, uint64_t id) {
    uint32_t at = broker_of(sim, place);
    struct broker *b = &sim->brokers[at];
    struct message m = {.at = at,
                        .kind = TO_BROKER,
                        .status = kind, /* the answer that is hoped for */
                        .id = id,
                        .session = sim->pool.brokers[place].dial.session,
                        .conn = b->conn,
                        .life = b->life};
    put(sim, m, hop_us(sim, b));
}

static void follow_pool(struct sim *sim) {
    uint32_t place, stuck = 0, turns = 0;
    for (enum pool_want want;
         (want = pool_next(&sim->pool, stuck, &place, sim->now_us)) != POOL_NOTHING;) {
        MUST(sim, turns++ < 100);
        struct broker *b = &sim->brokers[broker_of(sim, place)];
        if (want == POOL_OPEN) {
            pool_opened(&sim->pool, place, sim->now_us);
            b->conn = ++sim->conns;
            if (!listens(sim, b))
                pool_failed(&sim->pool, place, "nobody listens there", sim->now_us);
            else if (b->life == 0)
                b->life = 1;
        } else if (want == POOL_HELLO) {
            if (below(sim, 4)) {
                send(sim, place, WELCOME, 0);
                pool_greeted(&sim->pool, place, sim->now_us);
            } else {
                stuck |= 1u << place;
            }
        } else if (want == POOL_PING) {
            send(sim, place, PONG, sim->now_us);
            pool_asked(&sim->pool, place, sim->now_us);
        } else {
            b->conn = 0;
            pending_lost(&sim->pending, place, sim->now_us);
            pool_closed(&sim->pool, place, sim->now_us);
        }
    }
}

static void send_ready(struct sim *sim) {
    struct pending_item *item;
    uint32_t place;
    while ((item = pending_next(&sim->pending, &place, sim->now_us))) {
        MUST(sim, pool_usable(&sim->pool, place));
        sim->seconds += item->n_copies >= 1;
        sim->unpaid += item->n_copies >= 1 && !sim->pending.paid;
        sim->failed_over += item->n_copies == 0 && item->sendings > 0;
        if (below(sim, 40) == 0) {
            pending_park(&sim->pending, item, sim->now_us);
            continue;
        }
        pending_sent(&sim->pending, item, place, sim->pool.brokers[place].dial.session,
                     sim->now_us);
        send(sim, place, OK_REPLY, item->id);
        cancel(sim, item->id, place);
    }
}

/* ---- what must hold */

static void check(struct sim *sim) {
    uint32_t out[POOL_MAX] = {0};
    for (uint32_t i = 0; i < sim->pending.n; i++) {
        struct pending_item *item = sim->pending.heap[i];
        MUST(sim, item->heap_at == i && item->wake_us <= item->deadline_us);
        MUST(sim, i == 0 || sim->pending.heap[(i - 1) / 2]->wake_us <= item->wake_us);
        MUST(sim, sim->pending.slots[item->id & 0xffff] == item);
        MUST(sim, item->deadline_us > sim->now_us);
        bool flies = item->state == PENDING_IN_FLIGHT || item->state == PENDING_OVERDUE ||
                     item->state == PENDING_STRANDED;
        MUST(sim, flies ? item->n_copies >= 1 && item->n_copies <= 2 : item->n_copies == 0);
        MUST(sim, item->state != PENDING_OVERDUE || item->n_copies == 1);
        MUST(sim, item->n_copies < 2 || item->copies[0].broker != item->copies[1].broker);
        for (uint32_t k = 0; k < item->n_copies; k++)
            out[item->copies[k].broker]++;
    }
    for (uint32_t i = 0; i < POOL_MAX; i++) {
        MUST(sim, sim->pool.brokers[i].outstanding == out[i]);
        MUST(sim, out[i] <= WINDOW);
        MUST(sim, i >= sim->n_given || sim->pool.brokers[i].given);
    }
    const struct pending *p = &sim->pending;
    MUST(sim, p->ready.n + p->parked.n + p->in_flight.n + p->overdue.n <= p->n);
    MUST(sim, p->n + p->n_free == p->n_slots);
    uint64_t most = POOL_BUDGET_START + sim->pool.taken / 10 + sim->now_us / (100 * MS) + 1;
    MUST(sim, sim->pool.spent <= most);
}

/* ---- time */

static void start_one(struct sim *sim) {
    if (sim->started == REQUESTS)
        return;
    struct request *r = &sim->requests[sim->started++];
    r->given_us = below(sim, 3) ? ENOUGH_US + below(sim, SECOND) : 1 * MS + below(sim, 2 * SECOND);
    r->in = pending_add(&sim->pending, &r->item, below(sim, 20) == 0, sim->now_us + r->given_us);
    MUST(sim, r->in);
    if (r->item.single)
        r->given_us = 0; /* promised nothing but an end */
}

static void deliver_due(struct sim *sim) {
    for (uint32_t i = 0; i < sim->n_wire;) {
        if (sim->wire[i].due_us > sim->now_us) {
            i++;
            continue;
        }
        struct message m = sim->wire[i];
        sim->wire[i] = sim->wire[--sim->n_wire];
        deliver(sim, &m);
    }
}

static uint64_t next_us(struct sim *sim, uint64_t event_us) {
    uint64_t wake = pending_wake_us(&sim->pending, sim->now_us);
    uint64_t pool = pool_wake_us(&sim->pool, sim->now_us);
    wake = pool < wake ? pool : wake;
    wake = event_us < wake ? event_us : wake;
    for (uint32_t i = 0; i < sim->n_wire; i++)
        wake = sim->wire[i].due_us < wake ? sim->wire[i].due_us : wake;
    wake = wake > sim->now_us ? wake : sim->now_us + 1;
    return wake + (below(sim, 50) ? 0 : below(sim, TICK_US)); /* now and then late */
}

static void step(struct sim *sim) {
    deliver_due(sim);
    struct pending_item *item;
    while ((item = pending_expired(&sim->pending, sim->now_us))) {
        struct request *r = (struct request *)(void *)item;
        MUST(sim, item->deadline_us <= sim->now_us);
        MUST(sim, sim->sound == BROKERS || r->given_us < ENOUGH_US);
        sim->expired++;
        end(sim, r);
    }
    if (below(sim, 10) == 0)
        pending_unpark(&sim->pending);
    follow_pool(sim);
    send_ready(sim);
    check(sim);
}

static void run(struct sim *sim, uint64_t seed) {
    sim->seed = sim->random = seed;
    sim->n_given = 1 + below(sim, 4);
    bool sound = below(sim, 2);
    sim->sound = sound ? below(sim, sim->n_given) : BROKERS;
    struct pool_cfg cfg = {.policy = (enum pool_policy)below(sim, 3),
                           .latency_limit_us = 20 * MS,
                           .attempt_us = below(sim, 2) ? 0 : 50 * MS + below(sim, 300 * MS),
                           .discover = below(sim, 2)};
    pool_init(&sim->pool, &cfg, seed, 0);
    pending_init(&sim->pending, &sim->pool, seed);
    for (uint32_t i = 0; i < sim->n_given; i++) {
        char endpoint[32];
        snprintf(endpoint, sizeof endpoint, "tcp://b%u:1", i);
        pool_give(&sim->pool, endpoint, 1 + below(sim, 3));
    }
    for (uint32_t i = 0; i < BROKERS; i++) /* some never do what they are asked */
        if (i != sim->sound && below(sim, 4) == 0)
            sim->brokers[i].lame_until_us = UINT64_MAX;
    uint64_t start_us = 0, fault_us = below(sim, 300 * MS), steps = 0;
    while (sim->ended < REQUESTS) {
        MUST(sim, steps++ < 400000);
        if (sim->now_us >= start_us) {
            for (uint32_t n = 1 + below(sim, 8); n > 0; n--)
                start_one(sim);
            start_us = sim->started < REQUESTS ? sim->now_us + below(sim, 150 * MS) : UINT64_MAX;
        }
        if (sim->now_us >= fault_us) {
            fault(sim);
            fault_us = sim->now_us + below(sim, 600 * MS);
        }
        step(sim);
        sim->now_us = next_us(sim, start_us < fault_us ? start_us : fault_us);
    }
    MUST(sim, sim->pending.n == 0);
    pending_done(&sim->pending);
}

static void test_simulation(void **state) {
    (void)state;
    const char *one = getenv("EMBER_SIM_SEED"), *many = getenv("EMBER_SIM_SEEDS");
    uint64_t first = one ? strtoull(one, NULL, 10) : 1;
    uint64_t n = one ? 1 : many ? strtoull(many, NULL, 10) : 300;
    struct sim sum = {0};
    for (uint64_t seed = first; seed < first + n; seed++) {
        struct sim *sim = calloc(1, sizeof *sim);
        run(sim, seed);
        sum.answered += sim->answered;
        sum.expired += sim->expired;
        sum.refused += sim->refused;
        sum.dropped += sim->dropped;
        sum.seconds += sim->seconds;
        sum.failed_over += sim->failed_over;
        sum.swallowed += sim->swallowed;
        sum.unpaid += sim->unpaid;
        sum.given_up += sim->given_up;
        sum.begun += sim->now_us / SECOND;
        free(sim);
    }
    printf("%llu seeds, %llu s: %u answered, %u expired, %u refusals, %u late answers, %u second "
           "copies (%u unpaid), %u sent again, %u swallowed, %u "
           "given up\n",
           (unsigned long long)n, (unsigned long long)sum.begun, sum.answered, sum.expired,
           sum.refused, sum.dropped, sum.seconds, sum.unpaid, sum.failed_over, sum.swallowed,
           sum.given_up);
    TEST_ROW("each way was taken often");
    if (n >= 100)
        TEST_TRUE(sum.answered > 50 * n && sum.expired > n && sum.refused > 10 * n &&
                  sum.dropped > n && sum.seconds > n && sum.failed_over > 10 * n &&
                  sum.unpaid > n && sum.swallowed > 5 * n);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_simulation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
