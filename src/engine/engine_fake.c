/* engine_fake.c - bytes for tokens, hashes for vectors, and a clock in place of arithmetic. */
#include "engine/engine_fake.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/hash.h"
#include "engine/engine_ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FAKE_CLS = 256, FAKE_SEP = 257, FAKE_VOCAB = 258 };

#define FAKE_US_MAX 10e6 /* ten seconds a text */

struct fake {
    struct engine base;
    uint64_t spin_us, sleep_us;
    bool nan;
    char bytes[256]; /* the pieces: byte i is at i */
};

struct fake_seat {
    struct engine_seat base;
};

static const struct fake *fake_of(const engine_t *self) {
    return (const struct fake *)(const void *)self;
}

static void fake_destroy(engine_t *self) {
    free(self);
}

static bool fake_prompt(const engine_t *self, const char *name, struct view *out) {
    (void)self;
    if (name)
        return false;
    *out = view_of("");
    return true;
}

static void fake_prompt_at(const engine_t *self, uint32_t i, struct view *name, struct view *text) {
    (void)self, (void)i, (void)name, (void)text;
    CHECK(false); /* n_prompts is 0 */
}

static enum status fake_seat_new(const engine_t *self, uint32_t max_tokens, uint32_t max_items,
                                 engine_seat_t **out, struct err *err) {
    (void)self, (void)max_tokens, (void)max_items;
    struct fake_seat *seat = calloc(1, sizeof *seat);
    if (!seat)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for a seat");
    *out = &seat->base;
    return STATUS_OK;
}

static void fake_seat_destroy(engine_seat_t *seat) {
    free(seat);
}

/* The bytes of `text` that a sequence of max_tokens keeps. */
static struct view kept(struct view text, enum engine_side side, uint32_t max_tokens) {
    size_t room = max_tokens - 2;
    if (text.bytes <= room)
        return text;
    return view_make(side == ENGINE_CUT_LEFT ? text.data + text.bytes - room : text.data, room);
}

static void spend(const struct fake *self) {
    if (self->sleep_us) {
        struct timespec t = {(time_t)(self->sleep_us / 1000000),
                             (long)(self->sleep_us % 1000000 * 1000)};
        nanosleep(&t, NULL);
    }
    if (self->spin_us)
        for (uint64_t end = clock_us() + self->spin_us; clock_us() < end;)
            ;
}

static void fake_run(const engine_t *engine, engine_seat_t *seat, struct engine_item *items,
                     uint32_t n, struct engine_times *times) {
    (void)seat;
    const struct fake *self = fake_of(engine);
    uint64_t start_us = clock_us();
    for (uint32_t i = 0; i < n; i++) {
        struct engine_item *item = &items[i];
        uint32_t limit = engine_item_limit(engine, item);
        item->tokens_full = (uint32_t)item->text.bytes + 2;
        item->tokens = 0;
        item->status = STATUS_OUT_OF_RANGE;
        if (item->side == ENGINE_CUT_OFF && item->tokens_full > limit)
            continue;
        struct view used = kept(item->text, item->side, limit);
        item->tokens = (uint32_t)used.bytes + 2;
        spend(self);
        bool broken = self->nan && used.bytes && memmem(used.data, used.bytes, "NaN", 3);
        item->status = broken ? STATUS_INTERNAL : STATUS_OK;
        uint64_t state = hash_bytes(used.data, used.bytes, 1);
        for (uint32_t j = 0; j < engine->info.dim; j++) /* uniform in [-1, 1) */
            item->out[j] = (float)(int32_t)(hash_next(&state) >> 32) * 0x1p-31f;
    }
    times->infer_us += clock_us() - start_us;
}

static uint32_t fake_tokenize(const engine_t *self, struct view text, enum engine_side side,
                              int32_t *ids, uint32_t max_ids, uint32_t *n_full) {
    (void)self;
    struct view used = kept(text, side, max_ids);
    uint32_t n = 0;
    ids[n++] = FAKE_CLS;
    for (size_t i = 0; i < used.bytes; i++)
        ids[n++] = (unsigned char)used.data[i];
    ids[n++] = FAKE_SEP;
    *n_full = (uint32_t)text.bytes + 2;
    return n;
}

static struct view fake_piece(const engine_t *self, int32_t id) {
    if (id == FAKE_CLS)
        return view_of("[CLS]");
    if (id == FAKE_SEP)
        return view_of("[SEP]");
    if (id < 0 || id > 255)
        return view_of("");
    return view_make(fake_of(self)->bytes + id, 1);
}

static uint32_t fake_estimate(const engine_t *self, struct view text) {
    (void)self;
    return (uint32_t)text.bytes + 2;
}

static const struct engine_ops fake_ops = {
    .destroy = fake_destroy,
    .prompt = fake_prompt,
    .prompt_at = fake_prompt_at,
    .seat_new = fake_seat_new,
    .seat_destroy = fake_seat_destroy,
    .run = fake_run,
    .tokenize = fake_tokenize,
    .piece = fake_piece,
    .estimate = fake_estimate,
};

struct spec {
    double dim, tokens, us, sleep_us, nan;
};

static enum status read_spec(const char *text, struct spec *out, struct err *err) {
    const struct {
        const char *name;
        double *field, min, max;
    } rows[] = {
        {"dim", &out->dim, 1, LIMIT_DIM}, {"tokens", &out->tokens, 2, LIMIT_TOKENS},
        {"us", &out->us, 0, FAKE_US_MAX}, {"sleep_us", &out->sleep_us, 0, FAKE_US_MAX},
        {"nan", &out->nan, 0, 1},
    };
    for (const char *p = text; *p;) {
        size_t bytes = strcspn(p, ","), name = strcspn(p, "=,");
        size_t i = 0;
        while (i < sizeof rows / sizeof *rows &&
               (strlen(rows[i].name) != name || memcmp(rows[i].name, p, name) != 0))
            i++;
        char *end = NULL;
        double x = name < bytes ? strtod(p + name + 1, &end) : -1;
        if (i == sizeof rows / sizeof *rows || end != p + bytes || end == p + name + 1 ||
            x < rows[i].min || x > rows[i].max)
            return err_set(err, STATUS_INVALID_ARGUMENT, "fake engine: '%.*s' in \"%s\"",
                           (int)bytes, p, text);
        *rows[i].field = x;
        p += bytes + (p[bytes] == ',');
    }
    return STATUS_OK;
}

enum status engine_fake_open(const char *spec_text, engine_t **out, struct err *err) {
    struct spec spec = {.dim = 384, .tokens = 512};
    enum status st = read_spec(spec_text, &spec, err);
    if (st != STATUS_OK)
        return st;
    struct fake *self = calloc(1, sizeof *self);
    if (!self)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for a fake engine");
    self->base.ops = &fake_ops;
    self->base.info = (struct engine_info){
        .family = "fake",
        .pooling = "mean",
        .kernel = "fake",
        .precision = "f32",
        .dim = (uint32_t)spec.dim,
        .max_tokens = (uint32_t)spec.tokens,
        .max_positions = (uint32_t)spec.tokens,
        .vocab = FAKE_VOCAB,
        .layers = 1,
        .hidden = (uint32_t)spec.dim,
        .heads = 1,
        .inner = (uint32_t)spec.dim,
        .tasks = ENGINE_TASK_EMBED | ENGINE_TASK_CLASSIFY | ENGINE_TASK_TOKENIZE,
        .normalize = true,
    };
    uint64_t state = 0x66616b65 + self->base.info.dim; /* what alters a vector: the dimensions */
    for (int i = 0; i < 4; i++)
        snprintf(self->base.info.fingerprint + 16 * i, 17, "%016llx",
                 (unsigned long long)hash_next(&state));
    memcpy(self->base.info.fingerprint8, self->base.info.fingerprint, 8);
    self->spin_us = (uint64_t)spec.us;
    self->sleep_us = (uint64_t)spec.sleep_us;
    self->nan = spec.nan >= 1;
    for (int i = 0; i < 256; i++)
        self->bytes[i] = (char)i;
    *out = &self->base;
    return STATUS_OK;
}
