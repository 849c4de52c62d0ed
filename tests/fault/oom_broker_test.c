/* oom_broker_test.c - the broker with each of its allocations failing in turn: its core over
 * made-up peers, its start, and the whole of it between a real client and a worker played by
 * hand. */
#include "support/body.h"
#include "support/oom.h"
#include "support/test.h"

#include "base/clock.h"
#include "core.h"
#include "loop.h"
#include "wire/frame.h"
#include "wire/session.h"

#include <ember/ember.h>

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

enum { SECOND_US = 1000000 };

static struct core_cfg core_settings(void) {
    return (struct core_cfg){.max_clients = 8,
                             .max_workers = 4,
                             .max_services = 16,
                             .max_tickets = 32,
                             .max_queued = 16,
                             .max_queued_bytes = 1 << 20,
                             .max_client_tickets = 8,
                             .heartbeat_us = SECOND_US,
                             .no_worker_grace_us = 300 * 1000,
                             .drain_us = 500 * 1000};
}

/* ------------------------------------------------------------------------------ the core alone */

struct told { /* what the core asked for */
    uint32_t dispatches, replies, forwards, drops;
    uint64_t ticket;
};

static enum core_sent to_worker(void *arg, uint32_t worker, const struct header *header,
                                uint32_t slot) {
    struct told *told = arg;
    (void)worker;
    if (slot != CORE_NONE) {
        told->dispatches++;
        told->ticket = header->id;
    }
    return CORE_SENT;
}

static enum core_sent to_client(void *arg, uint32_t client, const struct header *header,
                                const struct core_error *error) {
    (void)client;
    (void)error;
    ((struct told *)arg)->replies += header->type == WIRE_REPLY;
    return CORE_SENT;
}

static enum core_sent forward(void *arg, uint32_t client, const struct header *header) {
    (void)client;
    (void)header;
    ((struct told *)arg)->forwards++;
    return CORE_SENT;
}

static struct view kept_body(void *arg, uint32_t slot) {
    (void)arg;
    (void)slot;
    return BODY(100);
}

static void drop(void *arg, uint32_t slot) {
    (void)slot;
    ((struct told *)arg)->drops++;
}

static void closed(void *arg, uint32_t number, const char *why) {
    (void)arg;
    (void)number;
    (void)why;
}

static enum status join(core_t *core, uint32_t *worker, uint64_t uuid, const char *model,
                        uint64_t now_us) {
    struct wire_model models[] = {
        {.name = view_of(model), .dim = 2, .tasks = 1U << WIRE_TASK_EMBED},
        {.name = view_of("shared"), .dim = 2, .tasks = 1U << WIRE_TASK_EMBED}};
    struct wire_ready ready = {.uuid = uuid, .name = view_of("w"), .models = models, .n_models = 2};
    struct err err;
    *worker = CORE_NONE;
    enum status st = core_ready(core, worker, &ready, 100, now_us, &err);
    if (st != STATUS_OK)
        TEST_EQ(*worker, CORE_NONE);
    core_check(core);
    return st;
}

/* Five workers for four places, two requests, one of them answered; one worker is lost. */
static enum status talk(core_t *core, struct told *told) {
    uint64_t now_us = SECOND_US;
    uint32_t client = CORE_NONE, worker[4], other;
    struct core_who who = {.sticky = 1};
    enum status st = core_hello(core, &client, 0, 77, &who, now_us, NULL);
    if (st != STATUS_OK)
        return st;
    uint32_t number = core_number(core, view_of("shared"), WIRE_TASK_EMBED);
    static const char *const models[] = {"m0", "m1", "m2", "m3"};
    for (uint32_t i = 0; st == STATUS_OK && i < 4; i++)
        st = join(core, &worker[i], i + 1, models[i], now_us);
    if (st != STATUS_OK)
        return st;
    TEST_EQ(join(core, &other, 9, "m9", now_us), STATUS_RESOURCE_EXHAUSTED);
    for (uint64_t id = 1; id <= 2; id++) {
        struct header request = {.type = WIRE_REQUEST,
                                 .lane = WIRE_LANE_NORMAL,
                                 .id = id,
                                 .epoch = core_session(core, client),
                                 .budget_us = SECOND_US,
                                 .service = (uint16_t)number};
        TEST_TRUE(core_client_heard(core, client, &request, now_us));
        core_request(core, client, &request, BODY(100), now_us);
    }
    core_dispatch(core, now_us);
    core_check(core);
    if (told->dispatches) {
        struct header result = {
            .type = WIRE_RESULT, .id = told->ticket, .epoch = core_cfg(core)->id, .credit = 100};
        for (uint32_t i = 0; i < 4; i++)
            if (core_worker_heard(core, worker[i], &result, now_us))
                core_worker_frame(core, worker[i], &result, now_us);
    }
    core_worker_lost(core, worker[0], "told to go", now_us);
    core_check(core);
    core_tick(core, now_us + 2 * SECOND_US); /* whatever is left is late by now */
    core_check(core);
    return told->replies + told->forwards == 2 ? STATUS_OK : STATUS_INTERNAL;
}

static enum status core_life(void *arg) {
    (void)arg;
    struct told told = {0};
    struct core_ops ops = {.to_worker = to_worker,
                           .to_client = to_client,
                           .forward = forward,
                           .body = kept_body,
                           .drop = drop,
                           .client_closed = closed,
                           .worker_closed = closed,
                           .arg = &told};
    struct core_cfg cfg = core_settings();
    cfg.id = cfg.seed = 5;
    core_t *core = NULL;
    struct err err;
    enum status st = core_new(&cfg, &ops, SECOND_US, &core, &err);
    TEST_TRUE((st == STATUS_OK) == (core != NULL));
    if (st == STATUS_OK)
        st = talk(core, &told);
    core_destroy(&core);
    return st;
}

static void test_core(void **state) {
    (void)state;
    unsigned n = oom_each("core", core_life, NULL);
    TEST_TRUE(n >= 10);
}

/* ------------------------------------------------------------------------------ the start */

static struct loop_cfg settings(const char *http) {
    static char clients[64], workers[64];
    snprintf(clients, sizeof clients, "ipc://@ember-oom-%d-c", (int)getpid());
    snprintf(workers, sizeof workers, "ipc://@ember-oom-%d-w", (int)getpid());
    struct loop_cfg cfg = {.core = core_settings(),
                           .clients = {.n = 1},
                           .workers = {.n = 1},
                           .max_unread = 64 << 20,
                           .name = "b1",
                           .http = http,
                           .signals_fd = -1};
    snprintf(cfg.clients.item[0], sizeof cfg.clients.item[0], "%s", clients);
    snprintf(cfg.workers.item[0], sizeof cfg.workers.item[0], "%s", workers);
    return cfg;
}

/* The former owner of the name may still be closing. */
static enum status open_loop(const struct loop_cfg *cfg, loop_t **out) {
    struct err err;
    enum status st = STATUS_OK;
    for (int tries = 0; tries < 100; tries++) {
        *out = NULL;
        st = loop_new(cfg, out, &err);
        if (st != STATUS_UNAVAILABLE)
            break;
        usleep(2000);
    }
    if (st != STATUS_OK)
        TEST_TRUE(err.text[0] && err.status == st);
    return st;
}

static enum status start(void *arg) {
    struct loop_cfg cfg = settings(arg);
    loop_t *loop = NULL;
    enum status st = open_loop(&cfg, &loop);
    TEST_TRUE((st == STATUS_OK) == (loop != NULL));
    loop_destroy(&loop);
    return st;
}

static void test_start(void **state) {
    (void)state;
    unsigned n = oom_each("start", start, (void *)(uintptr_t) "off");
    TEST_TRUE(n >= 20);
    TEST_TRUE(oom_each("start with figures", start, (void *)(uintptr_t) "127.0.0.1:0") > n);
}

/* ------------------------------------------------------------------------------ the whole */

struct hand { /* a worker played by hand, which says READY until it is taken */
    char endpoint[128];
    atomic_int stopping, taken;
    void *context, *socket;
    struct wire_out out;
};

static void say(struct hand *self, struct header header, bool has_body) {
    zmq_msg_t body;
    TEST_TRUE(frame_body(&body, has_body ? wire_out_view(&self->out) : view_make(NULL, 0)));
    frame_send_dealer(self->socket, &header, &body);
}

static void say_ready(struct hand *self) {
    struct wire_model m = {.name = view_of("m"),
                           .fingerprint = view_of("00"),
                           .dim = 2,
                           .max_tokens = 16,
                           .tasks = 1U << WIRE_TASK_EMBED};
    struct wire_ready r = {.protocol_min = 1,
                           .protocol_max = 1,
                           .uuid = 1,
                           .name = view_of("w"),
                           .host = view_of("h"),
                           .models = &m,
                           .n_models = 1};
    TEST_EQ(session_ready_encode(&r, &self->out), STATUS_OK);
    say(self, (struct header){.type = WIRE_READY, .credit = 100}, true);
}

static void answer(struct hand *self, const struct header *dispatch) {
    static const float row[] = {1, 2};
    static const uint32_t tokens[] = {3};
    static const uint8_t zero[] = {0};
    struct wire_embed_reply reply = {.dim = 2,
                                     .vectors = view_make(row, sizeof row),
                                     .facts = {.n = 1,
                                               .tokens = tokens,
                                               .truncated = zero,
                                               .source = zero,
                                               .model = view_of("m"),
                                               .fingerprint = view_of("00"),
                                               .worker = view_of("w")}};
    TEST_EQ(codec_embed_reply_encode(&reply, &self->out), STATUS_OK);
    say(self,
        (struct header){
            .type = WIRE_RESULT, .credit = 100, .id = dispatch->id, .epoch = dispatch->epoch},
        true);
}

static void *play(void *arg) {
    struct hand *self = arg;
    uint64_t ready_us = 0, epoch = 0;
    uint32_t in_a_row = 0;
    while (!self->stopping) {
        uint64_t now_us = clock_us();
        if (!self->taken && now_us >= ready_us) {
            say_ready(self);
            ready_us = now_us + 5000;
        }
        zmq_pollitem_t item = {self->socket, 0, ZMQ_POLLIN, 0};
        zmq_poll(&item, 1, 2);
        struct header header;
        zmq_msg_t body;
        enum header_verdict verdict;
        while (frame_recv_dealer(self->socket, &in_a_row, &header, &body, &verdict) == FRAME_OK) {
            zmq_msg_close(&body);
            if (header.type == WIRE_READY_OK && header.status == STATUS_OK) {
                self->taken = 1;
                epoch = header.epoch;
            } else if (header.type == WIRE_WHO_ARE_YOU) {
                self->taken = 0;
            } else if (header.type == WIRE_DISPATCH) {
                answer(self, &header);
            } else if (header.type == WIRE_PING) {
                say(self, (struct header){.type = WIRE_PONG, .epoch = epoch, .credit = 100}, false);
            }
        }
    }
    return NULL;
}

static void *run_broker(void *arg) {
    loop_run(arg);
    return NULL;
}

/* What a client is told while the broker has no memory. */
static enum status converse(const char *endpoint) {
    struct ember_options options = EMBER_OPTIONS_INIT;
    struct ember_error error = {.status = EMBER_OK};
    struct ember_embed_options patience = EMBER_EMBED_OPTIONS_INIT;
    options.timeout_ms = 3000;
    options.model = "m";
    patience.flags = EMBER_NO_RETRY;
    ember_t *e = NULL;
    TEST_EQ(ember_open(endpoint, &options, &e, &error), EMBER_OK);
    const char *text = "a text that is longer than what a message keeps inline";
    ember_result_t *result = NULL;
    enum ember_status st = ember_embed(e, &text, 1, &patience, &result, &error);
    if (st == EMBER_OK)
        TEST_EQ(ember_result_floats(result, 0)[1], 2);
    ember_result_destroy(&result);
    ember_report_t *report = NULL;
    if (st == EMBER_OK)
        st = ember_report(e, 0, &report, &error);
    if (st == EMBER_OK) { /* an empty one would be a wrong answer */
        TEST_STR_EQ(ember_report_broker(report)->name, "b1");
        TEST_TRUE(ember_report_worker(report, 0) != NULL);
    }
    ember_report_destroy(&report);
    if (st != EMBER_OK && st != EMBER_RESOURCE_EXHAUSTED)
        fprintf(stderr, "%s: %s\n", ember_status_name(st), error.message);
    unsigned failed = oom_disarm(); /* and afterwards all is well */
    TEST_EQ(ember_embed(e, &text, 1, NULL, &result, &error), EMBER_OK);
    ember_result_destroy(&result);
    ember_close(&e);
    (void)failed;
    return (enum status)st;
}

static enum status conversation(void *arg) {
    (void)arg;
    struct loop_cfg cfg = settings("off");
    loop_t *loop = NULL;
    pthread_t broker, worker;
    enum status st = open_loop(&cfg, &loop);
    if (st != STATUS_OK)
        return st;
    if (pthread_create(&broker, NULL, run_broker, loop) != 0) {
        loop_destroy(&loop);
        return STATUS_RESOURCE_EXHAUSTED;
    }
    oom_exempt(true);
    static struct hand hand;
    struct err err;
    memset(&hand, 0, sizeof hand);
    hand.context = frame_context();
    hand.socket = frame_socket(hand.context, FRAME_WORKER, 64, NULL, &err);
    TEST_TRUE(hand.socket);
    TEST_EQ(zmq_connect(hand.socket, loop_workers_endpoint(loop)), 0);
    TEST_EQ(pthread_create(&worker, NULL, play, &hand), 0);
    st = converse(loop_clients_endpoint(loop));
    hand.stopping = 1;
    pthread_join(worker, NULL);
    zmq_close(hand.socket);
    zmq_ctx_term(hand.context);
    wire_out_done(&hand.out);
    oom_exempt(false);
    loop_stop(loop);
    pthread_join(broker, NULL);
    loop_destroy(&loop);
    return st;
}

static void test_conversation(void **state) {
    (void)state;
    struct oom_cfg cfg = {.name = "conversation", .run = conversation, .once = true};
    TEST_TRUE(oom_run(&cfg) >= 30);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_core),
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_conversation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
