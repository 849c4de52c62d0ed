/* fuzz_worker.c - a worker under any sequence of frames from brokers that say whatever the input
 * says, as worker/brokers.c takes them, while time passes, batches run, and the cache answers when
 * it likes: upstream, shares and serve together, with the fake engine.
 *
 *   - each request that was taken is answered exactly once, unless its broker was forgotten;
 *   - an answer that says OK can be read by a client;
 *   - what is held of a broker's window is given back with each answer;
 *   - serve_check() and the bounds of shares.h hold after every step.
 *
 * Bodies are well-formed ones with bytes changed, or any bytes. The world outlives an input, since
 * to make one costs more than to use it; it is idle between inputs, its cache empty. */
#include "support/serve_world.h"

#include "fuzz/bytes.h"

#include "base/check.h"
#include "shares.h"
#include "upstream.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BROKERS = 2, HELD = 64, STEPS_MAX = 200, BODIES = 6, BODY_MAX = 1024, CREDIT = 100 };

static struct world world;
static struct fuzz {
    struct bytes in;
    struct upstream upstream[BROKERS];
    struct shares shares;
    uint64_t tickets;
    struct {
        uint32_t broker, cost;
        enum wire_task task;
        bool out;
    } held[HELD]; /* by ticket */
    uint64_t n_held;
} f;

static struct {
    uint8_t data[BODY_MAX];
    size_t bytes;
} bodies[BODIES];

/* ------------------------------------------------------------------------------ answers */

static void check_body(enum wire_task task, const struct serve_reply *reply) {
    union {
        struct wire_embed_reply embed;
        struct wire_classify_reply classify;
        struct wire_rerank_reply rerank;
        struct wire_tokenize_reply tokenize;
        struct wire_error error;
    } m;
    struct arena *arena = &world.arena;
    enum status st;
    arena_reset(arena);
    if (reply->status != STATUS_OK)
        st = codec_error_decode(reply->body, arena, &m.error, NULL);
    else if (task == WIRE_TASK_EMBED)
        st = codec_embed_reply_decode(reply->body, arena, &m.embed, NULL);
    else if (task == WIRE_TASK_CLASSIFY)
        st = codec_classify_reply_decode(reply->body, arena, &m.classify, NULL);
    else if (task == WIRE_TASK_RERANK)
        st = codec_rerank_reply_decode(reply->body, arena, &m.rerank, NULL);
    else
        st = codec_tokenize_reply_decode(reply->body, arena, &m.tokenize, NULL);
    CHECK(st == STATUS_OK);
}

static void on_reply(void *arg, const struct serve_reply *reply) {
    (void)arg;
    uint64_t at = reply->origin.ticket;
    CHECK(at < HELD && f.held[at].out && f.held[at].broker == reply->origin.broker);
    f.held[at].out = false;
    f.n_held--;
    shares_release(&f.shares, reply->origin.broker, reply->origin.cost);
    if (!reply->nack)
        check_body(f.held[at].task, reply);
}

static void forget(uint32_t broker) {
    serve_forget(world.serve, broker);
    shares_forget(&f.shares, broker);
    for (uint32_t i = 0; i < HELD; i++)
        if (f.held[i].out && f.held[i].broker == broker) {
            f.held[i].out = false;
            f.n_held--;
        }
}

/* ------------------------------------------------------------------------------ frames */

static int model_index(void *arg, struct view name) {
    (void)arg;
    for (int i = 0; i < WORLD_MODELS; i++)
        if (view_equal(name, view_of(world.models.model[i].name)))
            return i;
    return -1;
}

/* Numbers 1, 2 ... for every task of the models, some of them odd. */
static void ready_ok(uint32_t broker) {
    uint8_t how = bytes_u8(&f.in);
    struct wire_service_number numbers[WORLD_MODELS * WIRE_TASKS];
    uint32_t n = 0;
    for (uint32_t model = 0; model < WORLD_MODELS; model++)
        for (int task = WIRE_TASK_EMBED; task < WIRE_TASKS; task++) {
            numbers[n] = (struct wire_service_number){
                n + 1, view_of(world.models.model[model].name), (enum wire_task)task};
            n++;
        }
    if (how & 1) {
        numbers[how % n].number = (uint32_t)bytes_take(&f.in, 3);
        numbers[how % n].model = view_of("nobody");
    }
    struct wire_ready_ok ok = {.protocol = 1,
                               .broker = how >> 6,
                               .heartbeat_ms = (uint32_t)bytes_take(&f.in, how & 2 ? 4 : 1),
                               .silence_ms = (uint32_t)bytes_take(&f.in, how & 4 ? 4 : 1),
                               .services = numbers,
                               .n_services = how & 8 ? how % n : n};
    struct upstream *up = &f.upstream[broker];
    bool was_live = upstream_live(up);
    if (upstream_ready_ok(up, &ok, model_index, NULL, world.now_us))
        forget(broker);
    if (!was_live && upstream_live(up))
        shares_join(&f.shares, broker, (uint32_t)bytes_take(&f.in, 2));
}

static struct view any_body(uint8_t out[BODY_MAX]) {
    uint8_t how = bytes_u8(&f.in);
    if (how == 255)
        return bytes_some(&f.in, 255);
    size_t bytes = bodies[how % BODIES].bytes;
    memcpy(out, bodies[how % BODIES].data, bytes);
    for (uint8_t i = how / BODIES % 8; i > 0; i--) {
        size_t at = bytes_below(&f.in, (uint32_t)bytes);
        out[at] = bytes_u8(&f.in);
    }
    if (how >= 192)
        bytes = bytes_below(&f.in, (uint32_t)bytes + 1);
    return view_make(out, bytes);
}

static void dispatch(uint32_t broker) {
    uint8_t memory[BODY_MAX];
    uint16_t number = bytes_u8(&f.in);
    uint8_t lane = bytes_u8(&f.in);
    uint32_t budget_us = (uint32_t)bytes_take(&f.in, 2) * 100;
    struct view body = any_body(memory);
    const struct upstream_service *service = upstream_service(&f.upstream[broker], number);
    uint32_t cost = shares_cost(body.bytes), at = 0;
    if (!service || !shares_fits(&f.shares, broker, cost))
        return;
    CHECK(service->model < WORLD_MODELS && service->task > WIRE_TASK_NONE);
    while (at < HELD && f.held[at].out)
        at++;
    if (at == HELD)
        return;
    struct serve_origin origin = {.ticket = at, .broker = broker, .cost = cost, .service = number};
    f.held[at].broker = broker;
    f.held[at].task = (enum wire_task)service->task;
    f.held[at].out = true;
    f.n_held++;
    shares_hold(&f.shares, broker, cost);
    serve_dispatch(world.serve, &origin, service->model, (enum wire_task)service->task, lane,
                   budget_us, body);
}

static void frame(void) {
    uint8_t what = bytes_u8(&f.in);
    uint32_t broker = what >> 4 & 1;
    struct upstream *up = &f.upstream[broker];
    upstream_heard(up, world.now_us);
    switch (what & 15) {
    case 0:
        ready_ok(broker);
        break;
    case 1:
        serve_cancel(world.serve, broker, bytes_below(&f.in, HELD));
        break;
    case 2:
        upstream_who_are_you(up, world.now_us);
        break;
    case 3:
        shares_demand(&f.shares, broker, (uint32_t)bytes_take(&f.in, 2));
        break;
    case 4:
        upstream_bye_ok(up);
        break;
    case 5:
        upstream_cut(up, world.now_us);
        break;
    case 6:
        upstream_connected(up, world.now_us);
        break;
    default:
        dispatch(broker);
    }
}

/* ------------------------------------------------------------------------------ the rest */

static void tick(void) {
    world_time(&world, bytes_take(&f.in, 2) * 8);
    serve_tick(world.serve);
    for (uint32_t i = 0; i < BROKERS; i++) {
        bool lost;
        for (int n = 0; upstream_tick(&f.upstream[i], world.now_us, false, false, &lost); n++) {
            CHECK(n < 8);
            upstream_unsent(&f.upstream[i], world.now_us);
        }
        if (!upstream_live(&f.upstream[i]))
            shares_lost(&f.shares, i);
        CHECK(shares_window(&f.shares, i) <= CREDIT);
    }
}

static void step(void) {
    uint8_t what = bytes_u8(&f.in);
    switch (what % 8) {
    case 0:
        tick();
        break;
    case 1:
        world_fill(&world);
        break;
    case 2:
        if (world.out[what / 8 % 3])
            world_run(&world, what / 8 % 3);
        break;
    case 3:
        if (world.cache.n_wants)
            world_answer(&world, what % world.cache.n_wants);
        break;
    case 4:
        if (what == 4)
            serve_give_back(world.serve);
        else if (what & 128)
            serve_set_tokens(world.serve, 1 + bytes_u8(&f.in));
        else
            world.cache.refuse_percent = what;
        break;
    default:
        frame();
    }
    serve_check(world.serve);
}

static void fill_bodies(void) {
    static struct view texts[3], labels[2];
    texts[0] = view_of("one text");
    texts[1] = view_of("NaN");
    texts[2] = view_of("and a longer one, cut");
    labels[0] = view_of("a");
    labels[1] = view_of("b");
    struct wire_out *out = &world.wire;
    for (int i = 0; i < BODIES; i++) {
        struct wire_classify_request labelled = {
            .texts = texts, .n_texts = 3, .labels = labels, .n_labels = 2};
        struct wire_classify_request own = {.texts = texts, .n_texts = 2, .seconds = texts};
        struct wire_embed_request embed = {.texts = texts, .n_texts = i ? 1 : 3};
        struct wire_rerank_request rank = {
            .query = texts[0], .documents = texts, .n_documents = 3, .top_k = 2};
        struct wire_tokenize_request tokenize = {.texts = texts, .n_texts = 3, .pieces = true};
        enum status st = i < 2    ? codec_embed_request_encode(&embed, out)
                         : i == 2 ? codec_classify_request_encode(&labelled, out)
                         : i == 3 ? codec_classify_request_encode(&own, out)
                         : i == 4 ? codec_rerank_request_encode(&rank, out)
                                  : codec_tokenize_request_encode(&tokenize, out);
        CHECK(st == STATUS_OK && out->bytes <= BODY_MAX);
        memcpy(bodies[i].data, out->data, out->bytes);
        bodies[i].bytes = out->bytes;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!world.serve) {
        world_open(&world,
                   (struct serve_cfg){.requests_max = 8, .items_max = 160, .bytes_max = 8 << 20},
                   on_reply, NULL);
        fill_bodies();
    }
    memset(&f, 0, sizeof f);
    f.in = (struct bytes){data, size};
    shares_init(&f.shares, CREDIT, 2, BROKERS);
    for (uint32_t i = 0; i < BROKERS; i++)
        upstream_init(&f.upstream[i], world.now_us);
    for (uint32_t i = 0; i < STEPS_MAX && f.in.left; i++)
        step();
    world.cache.refuse_percent = 0;
    world_finish(&world);
    serve_check(world.serve);
    CHECK(f.n_held == 0 && serve_idle(world.serve)); /* each was answered */
    for (uint32_t i = 0; i < BROKERS; i++)
        CHECK(f.shares.share[i].held == 0);
    world.cache.n = 0;
    serve_set_tokens(world.serve, 48);
    return 0;
}
