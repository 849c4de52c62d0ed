/* serve_bench.c - what a cached text costs the worker: decode, key, memory cache, finish, encode,
 * reply.
 *
 *     serve_bench [ROUNDS]
 *
 * One thread, no sockets; vectors of 384 numbers, texts of 40 bytes, all of them in the memory
 * cache. */
#include "base/check.h"
#include "base/clock.h"
#include "engine/engine_fake.h"
#include "runner.h"
#include "serve.h"

#include <stdio.h>
#include <stdlib.h>

enum { TEXTS = 64, POOL = 4096, TEXT_BYTES = 42 };

struct bench {
    struct models models;
    cache_t *cache;
    serve_t *serve;
    struct batch batch;
    engine_seat_t *seat;
    char text[POOL][TEXT_BYTES + 1];
    uint64_t answers, bytes;
};

static void on_reply(void *arg, const struct serve_reply *reply) {
    struct bench *self = arg;
    CHECK(!reply->nack && reply->status == STATUS_OK);
    self->answers++;
    self->bytes += reply->body.bytes;
}

static void on_answer(void *arg, uint64_t token, const struct cache_entry *entry,
                      enum cache_source source) {
    serve_cache_answer(((struct bench *)arg)->serve, token, entry, source);
}

static void set_up(struct bench *self) {
    struct model *model = &self->models.model[0];
    struct err err;
    CHECK(engine_fake_open("dim=384", &model->engine, &err) == STATUS_OK);
    snprintf(model->name, sizeof model->name, "bench");
    CHECK(models_fill(model, &err) == STATUS_OK);
    CHECK(engine_seat_new(model->engine, 512, TEXTS, &self->seat, &err) == STATUS_OK);
    self->models.n = 1;
    self->models.dim_max = 384;
    struct cache_cfg cache = {.memory_bytes = 64 << 20};
    CHECK(cache_new(&cache, on_answer, self, &self->cache, &err) == STATUS_OK);
    struct serve_cfg cfg = {
        .models = &self->models,
        .cache = {self->cache, cache_get_now, cache_want, cache_put},
        .batcher = {.tokens_max = 512, .items_max = TEXTS, .bytes_max = 256 * 1024},
        .requests_max = 256,
        .items_max = 8192,
        .bytes_max = 256 << 20,
        .worker = "bench",
        .reply = on_reply,
        .reply_arg = self};
    CHECK(serve_new(&cfg, &self->serve, &err) == STATUS_OK);
    CHECK(batch_init(&self->batch, TEXTS, 256 * 1024, 384));
    for (uint32_t i = 0; i < POOL; i++)
        snprintf(self->text[i], sizeof self->text[i], "text %05u ..............................",
                 i);
}

static void dispatch(struct bench *self, struct view body) {
    struct serve_origin origin = {.ticket = self->answers};
    serve_at(self->serve, clock_us());
    serve_dispatch(self->serve, &origin, 0, WIRE_TASK_EMBED, WIRE_LANE_NORMAL, 1000 * 1000, body);
    while (serve_fill(self->serve, &self->batch, 1)) {
        runner_batch(self->seat, &self->batch);
        serve_done(self->serve, &self->batch);
    }
}

/* Time of one request in nanoseconds, the best of nine blocks: what the machine's noise left
 * alone. */
static double measure(struct bench *self, uint32_t n_texts, enum wire_encoding encoding,
                      uint32_t rounds) {
    static struct wire_out body[POOL];
    uint32_t n_bodies = POOL / n_texts;
    for (uint32_t b = 0; b < n_bodies; b++) {
        struct view texts[TEXTS];
        for (uint32_t i = 0; i < n_texts; i++)
            texts[i] = view_of(self->text[b * n_texts + i]);
        struct wire_embed_request in = {.texts = texts, .n_texts = n_texts, .encoding = encoding};
        CHECK(codec_embed_request_encode(&in, &body[b]) == STATUS_OK);
        dispatch(self, wire_out_view(&body[b])); /* into the cache, at the latest now */
    }
    double best = 1e18;
    for (uint32_t block = 0; block < 9; block++) {
        uint64_t start_ns = clock_ns();
        for (uint32_t r = 0; r < rounds / n_texts; r++)
            dispatch(self, wire_out_view(&body[r % n_bodies]));
        double ns = (double)(clock_ns() - start_ns) / (rounds / n_texts);
        best = ns < best ? ns : best;
    }
    for (uint32_t b = 0; b < n_bodies; b++)
        wire_out_done(&body[b]);
    return best;
}

int main(int argc, char **argv) {
    uint32_t rounds = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 65536;
    struct bench *self = calloc(1, sizeof *self);
    CHECK(self && rounds >= TEXTS);
    set_up(self);
    static const uint32_t sizes[] = {1, 8, 32, 64};
    static const char *const names[] = {"f32", "f16", "i8", "bit"};
    printf("texts  encoding  us/request  us/text\n");
    for (uint32_t e = 0; e < 4; e++)
        for (uint32_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            double ns = measure(self, sizes[i], (enum wire_encoding)e, rounds);
            printf("%5u  %8s  %10.2f  %7.2f\n", sizes[i], names[e], ns / 1e3, ns / 1e3 / sizes[i]);
        }
    serve_destroy(&self->serve);
    cache_destroy(&self->cache);
    batch_done(&self->batch);
    engine_seat_destroy(&self->seat);
    engine_destroy(&self->models.model[0].engine);
    free(self);
    return 0;
}
