/* outputs.c - items in chunks of a request's size, a seat per thread. */
#include "outputs.h"

#include "base/clock.h"
#include "base/limits.h"
#include "parallel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEAT_TOKENS = 2048, CHUNK = 32 };

struct run {
    struct outputs *self;
    const struct view *texts, *seconds;
    float *out; /* [n, dim] */
    struct seat {
        engine_seat_t *engine;
        char *text; /* [CHUNK * LIMIT_TEXT_BYTES] texts with their prefix; NULL without one */
        uint64_t tokens;
        uint32_t truncated, bad; /* bad: 1 + the first item without an answer */
    } seats[LIMIT_THREADS];
};

/* prefix + text, in the k-th place of the seat. */
static struct view with_prefix(const struct run *run, struct seat *seat, uint32_t k,
                               struct view text) {
    const struct view prefix = run->self->prefix;
    if (!seat->text)
        return text;
    char *place = seat->text + (size_t)k * LIMIT_TEXT_BYTES;
    memcpy(place, prefix.data, prefix.bytes);
    if (text.bytes)
        memcpy(place + prefix.bytes, text.data, text.bytes);
    return view_make(place, prefix.bytes + text.bytes);
}

static void work(void *arg, uint32_t thread, uint32_t first, uint32_t n) {
    struct run *run = arg;
    struct seat *seat = &run->seats[thread];
    const engine_t *engine = run->self->engine;
    const uint32_t dim = engine_info(engine)->dim;
    struct engine_item items[CHUNK] = {0};
    for (uint32_t k = 0; k < n; k++) {
        items[k].text = with_prefix(run, seat, k, run->texts[first + k]);
        items[k].out = run->out + (size_t)(first + k) * dim;
        if (run->seconds) {
            items[k].second = run->seconds[first + k];
            items[k].pair = ENGINE_PAIR_ONLY_FIRST;
        }
    }
    engine_run(engine, seat->engine, items, n, NULL);
    for (uint32_t k = 0; k < n; k++) {
        seat->tokens += items[k].tokens;
        seat->truncated += items[k].tokens_full > items[k].tokens;
        if (items[k].status != STATUS_OK && !seat->bad)
            seat->bad = first + k + 1;
    }
}

static enum status sit_down(struct run *run, struct err *err) {
    struct outputs *self = run->self;
    for (uint32_t t = 0; t < self->threads; t++) {
        struct seat *seat = &run->seats[t];
        enum status st = engine_seat_new(self->engine, SEAT_TOKENS, CHUNK, &seat->engine, err);
        if (st != STATUS_OK)
            return st;
        if (self->prefix.bytes && !(seat->text = malloc((size_t)CHUNK * LIMIT_TEXT_BYTES)))
            return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for prompts");
    }
    return STATUS_OK;
}

/* Sums up and frees; an item without an answer is an error. */
static enum status stand_up(struct run *run, enum status st, struct err *err) {
    struct outputs *self = run->self;
    for (uint32_t t = 0; t < self->threads; t++) {
        struct seat *seat = &run->seats[t];
        self->tokens += seat->tokens;
        self->truncated += seat->truncated;
        if (seat->bad && !self->bad)
            self->bad = seat->bad;
        if (st == STATUS_OK && seat->bad)
            st = err_set(err, STATUS_INTERNAL, "the model gave no numbers for text %u", seat->bad);
        engine_seat_destroy(&seat->engine);
        free(seat->text);
    }
    return st;
}

enum status outputs_prompt(const engine_t *engine, const char *name, struct view *out,
                           struct err *err) {
    if (engine_prompt(engine, *name ? name : NULL, out))
        return STATUS_OK;
    if (*name)
        return err_set(err, STATUS_INVALID_ARGUMENT, "the model publishes no prompt '%s'", name);
    *out = view_of("");
    return STATUS_OK;
}

static enum status fits(const struct outputs *self, const struct view *texts, uint32_t n,
                        struct err *err) {
    for (uint32_t i = 0; i < n; i++)
        if (texts[i].bytes + self->prefix.bytes > LIMIT_TEXT_BYTES)
            return err_set(err, STATUS_RESOURCE_EXHAUSTED,
                           "text %u has %zu bytes with its prompt, at most %d are taken", i + 1,
                           texts[i].bytes + self->prefix.bytes, LIMIT_TEXT_BYTES);
    return STATUS_OK;
}

enum status outputs_of(struct outputs *self, const struct view *texts, const struct view *seconds,
                       uint32_t n, float **out, struct err *err) {
    self->bad = 0;
    enum status st = fits(self, texts, n, err);
    if (st != STATUS_OK)
        return st;
    struct run *run = calloc(1, sizeof *run);
    float *rows = malloc(((size_t)n * engine_info(self->engine)->dim + 1) * sizeof *rows);
    if (!run || !rows) {
        free(run);
        free(rows);
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for %u vectors", n);
    }
    *run = (struct run){.self = self, .texts = texts, .seconds = seconds, .out = rows};
    st = sit_down(run, err);
    const uint64_t begin_us = clock_us();
    if (st == STATUS_OK)
        st = parallel_run(&(struct parallel){.total = n,
                                             .chunk = CHUNK,
                                             .threads = self->threads,
                                             .progress = self->progress,
                                             .work = work,
                                             .arg = run},
                          err);
    self->seconds += (double)(clock_us() - begin_us) / 1e6;
    st = stand_up(run, st, err);
    free(run);
    if (st == STATUS_OK)
        *out = rows;
    else
        free(rows);
    return st;
}
