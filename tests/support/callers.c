/* callers.c - paced calls from several threads over a few shared clients. */
#include "support/callers.h"

#include "base/clock.h"
#include "base/hash.h"
#include "support/test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

enum { THREADS_MAX = 32, CLIENTS_MAX = 8, PATIENCE_MS = 5000 };

struct caller {
    callers_t *all;
    ember_t *client;
    uint32_t index;
    pthread_t thread;
};

struct callers {
    struct callers_cfg cfg;
    history_t *history;
    atomic_bool stop;
    ember_t *client[CLIENTS_MAX];
    struct caller caller[THREADS_MAX];
};

/* What a call that nobody waits for needs when it ends. */
struct pending_end {
    history_t *history;
    uint32_t call;
};

static void on_done(void *arg, enum ember_status status, ember_result_t *result,
                    const struct ember_error *error) {
    struct pending_end *end = arg;
    history_end(end->history, end->call, status, result, error);
    ember_result_destroy(&result);
    free(end);
}

static void call_and_wait(struct caller *self, const struct ember_embed_options *options) {
    history_t *h = self->all->history;
    struct history_texts texts;
    ember_result_t *result = NULL;
    struct ember_error error;
    uint32_t call = history_invoke(h, options->timeout_ms);
    history_texts(h, call, &texts);
    enum ember_status st = ember_embed(self->client, texts.list, texts.n, options, &result, &error);
    history_end(h, call, st, result, &error);
    ember_result_destroy(&result);
}

static void call_only(struct caller *self, const struct ember_embed_options *options) {
    history_t *h = self->all->history;
    struct history_texts texts;
    struct ember_error error;
    struct pending_end *end = malloc(sizeof *end);
    if (!end)
        abort();
    *end = (struct pending_end){h, history_invoke(h, options->timeout_ms)};
    uint32_t call = end->call;
    history_texts(h, call, &texts);
    enum ember_status st =
        ember_embed_start(self->client, texts.list, texts.n, options, on_done, end, NULL, &error);
    if (st != EMBER_OK) { /* no call exists: nobody else will end it */
        history_end(h, call, st, NULL, &error);
        free(end);
    }
}

static void sleep_until(uint64_t then_us) {
    uint64_t now_us = clock_us();
    if (then_us > now_us)
        nanosleep(&(struct timespec){(time_t)((then_us - now_us) / 1000000),
                                     (long)((then_us - now_us) % 1000000 * 1000)},
                  NULL);
}

static void *caller_run(void *arg) {
    struct caller *self = arg;
    const struct callers_cfg *cfg = &self->all->cfg;
    struct ember_embed_options options = EMBER_EMBED_OPTIONS_INIT;
    options.model = cfg->model;
    options.timeout_ms = cfg->timeout_ms;
    options.flags = cfg->flags;
    options.cache = cfg->no_cache ? EMBER_CACHE_BYPASS : EMBER_CACHE_USE;
    double gap_us = 1e6 * cfg->threads / cfg->calls_per_s;
    uint64_t seed = 1000 + self->index, next_us = clock_us();
    bool waits = !cfg->open_loop && self->index % 2 == 0;
    while (!atomic_load(&self->all->stop) && !history_full(self->all->history)) {
        double u = (double)(hash_next(&seed) >> 11) * 0x1p-53;
        next_us += (uint64_t)(-log(1 - u) * gap_us);
        if (waits && next_us < clock_us())
            next_us = clock_us(); /* the time it waited for an answer is not made good */
        sleep_until(next_us);
        if (waits)
            call_and_wait(self, &options);
        else
            call_only(self, &options);
    }
    return NULL;
}

callers_t *callers_start(const struct callers_cfg *cfg, history_t *history) {
    TEST_TRUE(cfg->threads <= THREADS_MAX && cfg->clients >= 1 && cfg->clients <= CLIENTS_MAX);
    callers_t *self = calloc(1, sizeof *self);
    TEST_TRUE(self != NULL);
    self->cfg = *cfg;
    self->history = history;
    for (uint32_t i = 0; i < cfg->clients; i++) {
        struct ember_error error;
        if (cfg->net)
            net_enter(cfg->net, cfg->host + i % 2);
        enum ember_status st = ember_open(cfg->endpoints, NULL, &self->client[i], &error);
        if (cfg->net)
            net_leave(cfg->net);
        if (st != EMBER_OK)
            TEST_FAIL("open: %s", error.message);
    }
    for (uint32_t i = 0; i < cfg->threads; i++) {
        struct caller *caller = &self->caller[i];
        *caller =
            (struct caller){.all = self, .client = self->client[i / 2 % cfg->clients], .index = i};
        TEST_EQ(pthread_create(&caller->thread, NULL, caller_run, caller), 0);
    }
    return self;
}

void callers_stop(callers_t **self) {
    callers_t *c = *self;
    atomic_store(&c->stop, true);
    for (uint32_t i = 0; i < c->cfg.threads; i++)
        pthread_join(c->caller[i].thread, NULL);
    uint64_t end_us = clock_us() + (c->cfg.timeout_ms + PATIENCE_MS) * 1000ull;
    while (history_open(c->history) > 0 && clock_us() < end_us)
        usleep(2000);
    uint32_t lost = history_open(c->history);
    for (uint32_t i = 0; i < c->cfg.clients; i++)
        ember_close(&c->client[i]); /* ends what is left with CANCELLED */
    if (lost)
        TEST_FAIL("%u calls had not ended %d ms after their deadline", lost, PATIENCE_MS);
    free(c);
    *self = NULL;
}
