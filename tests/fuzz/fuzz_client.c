/* fuzz_client.c - what the client library decides (pool, pending, services) under any sequence of
 * frames from brokers that say whatever the input says, of failing sockets and passing time, as
 * client/lib/incoming.c and outgoing.c carry them.
 *
 *   - a request is sent only to a broker with a session, and at most to two at a time;
 *   - an answer is taken only from the broker and session that were asked, and ends the request;
 *   - no request outlives its deadline, whatever happened before;
 *   - what the pool wants comes to an end, and what it counts as outstanding is what is in flight.
 *
 * Three of the endpoints are given; WELCOMEs list more. */
#include "fuzz/bytes.h"

#include "base/check.h"
#include "base/hash.h"
#include "pending.h"
#include "pool.h"
#include "services.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ITEMS = 24, STEPS_MAX = 300, WANTS_MAX = 200, SERVICES_USED = 4 };

static struct fuzz {
    struct bytes in;
    struct pool pool;
    struct pending pending;
    struct services names, services[POOL_MAX];
    bool open[POOL_MAX];
    uint64_t now_us, session;
    struct pending_item items[ITEMS];
    uint32_t service[ITEMS];
    bool there[ITEMS];
} f;

static const char *const endpoints[] = {"tcp://a:1", "tcp://b:1", "tcp://c:1",
                                        "tcp://d:1", "tcp://e:1", "not an endpoint"};

/* ------------------------------------------------------------------------------ requests */

/* It is out: nobody is to answer it any more. */
static void end(struct pending_item *item) {
    struct pending_copy copy;
    uint32_t n = 0;
    while (pending_copy_left(item, &copy)) {
        CHECK(copy.broker < POOL_MAX);
        n++;
    }
    CHECK(n <= PENDING_COPIES && item->state == PENDING_OUT);
    f.there[item - f.items] = false;
}

static void add(void) {
    uint8_t how = bytes_u8(&f.in);
    uint32_t at = how % ITEMS;
    if (f.there[at])
        return;
    CHECK(
        pending_add(&f.pending, &f.items[at], how & 32, f.now_us + 1 + bytes_take(&f.in, 2) * 100));
    f.there[at] = true;
    static const char *const models[SERVICES_USED] = {"", "m", "n", "o"};
    f.service[at] = services_index(&f.names, models[how >> 6], (enum wire_task)(1 + (how & 3)));
    CHECK(f.service[at] != SERVICE_NONE);
}

static void lose(uint32_t at) {
    services_forget(&f.services[at]);
    pending_lost(&f.pending, at, f.now_us);
    pending_unpark(&f.pending);
}

static void send_ready(void) {
    struct pending_item *item;
    uint32_t at;
    for (uint32_t i = 0; i < WANTS_MAX && (item = pending_next(&f.pending, &at, f.now_us)); i++) {
        CHECK(at < POOL_MAX && pool_up(&f.pool, at) && f.open[at]);
        CHECK(f.there[item - f.items] &&
              (item->n_copies < PENDING_COPIES || item->state == PENDING_STRANDED));
        uint8_t how = bytes_u8(&f.in);
        if (how >= 250) { /* the socket is full */
            return;
        }
        if (how >= 245) { /* or closed */
            pool_failed(&f.pool, at, "gone", f.now_us);
            return;
        }
        const struct service *service = &f.services[at].list[f.service[item - f.items]];
        if (f.service[item - f.items] >= f.services[at].n ||
            !services_answered(&f.services[at], service)) {
            services_follow(&f.services[at], &f.names);
            services_asked(&f.services[at]);
            pending_park(&f.pending, item, f.now_us);
        } else {
            pending_sent(&f.pending, item, at, f.pool.brokers[at].dial.session, f.now_us);
        }
    }
}

static void expire(void) {
    struct pending_item *item;
    while ((item = pending_expired(&f.pending, f.now_us))) {
        CHECK(f.now_us >= item->deadline_us);
        end(item);
    }
    for (uint32_t i = 0; i < ITEMS; i++)
        CHECK(!f.there[i] || f.items[i].deadline_us > f.now_us);
}

/* ------------------------------------------------------------------------------ connections */

static void follow_pool(void) {
    uint32_t at, stuck = 0, n = 0;
    for (;; n++) {
        CHECK(n < WANTS_MAX); /* it never wants without end at one time */
        enum pool_want want = pool_next(&f.pool, stuck, &at, f.now_us);
        if (want == POOL_NOTHING)
            break;
        CHECK(at < POOL_MAX && pool_known(&f.pool.brokers[at]));
        uint8_t how = bytes_u8(&f.in);
        if (want == POOL_OPEN) {
            CHECK(!f.open[at]);
            pool_opened(&f.pool, at, f.now_us);
            f.open[at] = true;
            if (how >= 240)
                pool_failed(&f.pool, at, "no socket", f.now_us);
        } else if (want == POOL_HELLO && how >= 240) {
            stuck |= 1U << at;
        } else if (want == POOL_HELLO) {
            services_follow(&f.services[at], &f.names);
            services_asked(&f.services[at]);
            pool_greeted(&f.pool, at, f.now_us);
        } else if (want == POOL_PING) {
            pool_asked(&f.pool, at, f.now_us);
        } else { /* CLOSE, also of one whose socket could not be opened */
            f.open[at] = false;
            lose(at);
            pool_closed(&f.pool, at, f.now_us);
        }
    }
}

static void welcome(uint32_t at) {
    const struct dial *dial = &f.pool.brokers[at].dial;
    uint8_t how = bytes_u8(&f.in), lists = bytes_u8(&f.in);
    if (dial->state != DIAL_GREETING && dial->state != DIAL_UP)
        return;
    struct wire_service_name want[SERVICES_MAX];
    struct wire_service services[SERVICES_MAX];
    uint32_t n = services_want(&f.services[at], want);
    for (uint32_t i = 0; i < n; i++)
        services[i] = (struct wire_service){.number = how & 16 ? (uint32_t)bytes_take(&f.in, 3) : i,
                                            .model = want[i].model,
                                            .task = want[i].task,
                                            .serves = view_of(how & 1 ? "s" : "")};
    struct view brokers[8];
    uint32_t n_brokers = 0;
    for (uint32_t i = 0; i < 8; i++)
        if (lists >> i & 1)
            brokers[n_brokers++] = view_of(endpoints[i % 6]);
    struct wire_welcome in = {.services = services, .n_services = how & 2 ? n / 2 : n};
    uint64_t session = how & 4 && dial->session ? dial->session : ++f.session;
    if (dial->session && dial->session != session)
        pending_lost(&f.pending, at, f.now_us);
    services_welcome(&f.services[at], &in);
    struct pool_welcome told = {.session = session,
                                .id = how >> 5,
                                .heartbeat_us = bytes_take(&f.in, how & 8 ? 4 : 2) * 1000,
                                .in_flight = bytes_u8(&f.in) % 8,
                                .brokers = brokers,
                                .n_brokers = n_brokers};
    pool_welcome(&f.pool, at, &told, f.now_us);
    pending_unpark(&f.pending);
}

/* REPLY with any status to any request, of any session. */
static void reply(uint32_t at) {
    uint8_t how = bytes_u8(&f.in), code = bytes_u8(&f.in);
    struct pending_item *item = &f.items[how % ITEMS];
    uint64_t id = f.there[how % ITEMS] ? item->id : how, epoch = f.pool.brokers[at].dial.session;
    if (how == 255)
        id = bytes_take(&f.in, 8);
    if (how == 254)
        epoch = bytes_take(&f.in, 8);
    struct pending_item *found = pending_find(&f.pending, id, at, epoch);
    if (!found)
        return;
    CHECK(found >= f.items && found < f.items + ITEMS && f.there[found - f.items]);
    CHECK(found->id == id && found->n_copies > 0);
    enum status status;
    if (!status_from_code(code % 32, &status))
        status = STATUS_INTERNAL;
    if (status == STATUS_OK) {
        uint64_t sent_us = pending_sent_us(found, at);
        CHECK(sent_us && sent_us <= f.now_us);
        pending_answered(&f.pending, found, at);
        end(found);
        pool_replied(&f.pool, at, sent_us, bytes_take(&f.in, 4), f.now_us);
    } else if (pending_refused(&f.pending, found, at, status, (uint32_t)bytes_take(&f.in, 2),
                               f.now_us) == PENDING_FINAL) {
        end(found);
    }
}

static void frame(uint8_t what) {
    uint32_t at = bytes_below(&f.in, POOL_MAX);
    if (!f.open[at] || f.pool.brokers[at].close_due)
        return;
    if (what % 8 == 0) {
        uint64_t asked_us = bytes_take(&f.in, 3);
        pool_pong(&f.pool, at, what & 8 ? f.now_us - asked_us : asked_us << 32, f.now_us);
        return;
    }
    pool_heard(&f.pool, at, f.now_us);
    const struct dial *dial = &f.pool.brokers[at].dial;
    switch (what % 8) {
    case 1:
        pool_goaway(&f.pool, at, f.now_us);
        break;
    case 2:
        if (dial->state == DIAL_UP) {
            lose(at);
            pool_unknown(&f.pool, at, f.now_us);
        }
        break;
    case 3:
        pool_failed(&f.pool, at, "it said so", f.now_us);
        break;
    case 4:
    case 5:
        welcome(at);
        break;
    default:
        reply(at);
    }
}

/* ------------------------------------------------------------------------------ the whole */

static void check(void) {
    uint32_t outstanding[POOL_MAX] = {0}, n = 0;
    for (uint32_t i = 0; i < ITEMS; i++) {
        const struct pending_item *item = &f.items[i];
        if (!f.there[i])
            continue;
        n++;
        CHECK(item->state != PENDING_OUT && item->n_copies <= PENDING_COPIES);
        for (uint32_t k = 0; k < item->n_copies; k++)
            outstanding[item->copies[k].broker]++;
    }
    CHECK(n == f.pending.n);
    for (uint32_t i = 0; i < POOL_MAX; i++)
        CHECK(outstanding[i] == f.pool.brokers[i].outstanding);
    char text[512];
    pool_trouble(&f.pool, text, sizeof text);
    CHECK(memchr(text, 0, sizeof text));
}

static void step(void) {
    uint8_t what = bytes_u8(&f.in);
    switch (what % 4) {
    case 0:
        add();
        break;
    case 1: {
        uint64_t most = UINT64_C(1) << 24;
        f.now_us += bytes_take(&f.in, what & 128 ? 3 : 2) * 8 % most;
        break;
    }
    case 2:
        if (what < 16 && f.there[what]) { /* its caller gives up */
            pending_remove(&f.pending, &f.items[what]);
            end(&f.items[what]);
            break;
        } /* fall through */
    default:
        frame(what >> 2);
    }
    expire();
    follow_pool();
    send_ready();
    check();
    CHECK(pending_wake_us(&f.pending, f.now_us) > 0 && pool_wake_us(&f.pool, f.now_us) > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    memset(&f, 0, sizeof f);
    f.in = (struct bytes){data, size};
    f.now_us = UINT64_C(1) << 40;
    uint8_t how = bytes_u8(&f.in);
    struct pool_cfg cfg = {.policy = (enum pool_policy)(how % 3),
                           .latency_limit_us = how & 8 ? 5000 : 0,
                           .attempt_us = how & 16 ? 20000 : 0,
                           .discover = how & 32};
    pool_init(&f.pool, &cfg, 7, f.now_us);
    for (uint32_t i = 0; i < 1 + how / 64U % 3; i++)
        CHECK(pool_give(&f.pool, endpoints[i], i));
    pending_init(&f.pending, &f.pool, 7);
    for (uint32_t i = 0; i < STEPS_MAX && f.in.left; i++)
        step();
    f.now_us += UINT64_C(1) << 32; /* every deadline is over */
    expire();
    check();
    CHECK(f.pending.n == 0);
    pending_done(&f.pending);
    return 0;
}
