/* engine_fake.c - bytes for tokens, hashes for vectors, a clock in place of arithmetic, and faults
 * on texts that ask for them. */
#include "engine/engine_fake.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/hash.h"
#include "engine/engine_ops.h"
#include "model/zero_shot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    FAKE_CLS = 256,
    FAKE_SEP = 257,
    FAKE_VOCAB = 258,
    FAKE_NAME_BYTES = 24,
    FAKE_PREFIX_BYTES = 31
};

#define FAKE_US_MAX  10e6   /* ten seconds a text */
#define FAKE_HANG_US 3600e6 /* at most, when a time is given */

/* A fault meets the texts that begin with its prefix. */
enum fault { FAULT_NAN, FAULT_SLOW, FAULT_HANG, FAULT_CRASH, FAULTS };

struct fault_spec {
    char prefix[FAKE_PREFIX_BYTES + 1]; /* empty: no such fault */
    uint64_t us;                        /* slow, hang; of a hang 0: for ever */
};

struct fake {
    struct engine base;
    uint64_t spin_us, sleep_us;
    bool nan, zero_shot;
    struct fault_spec fault[FAULTS];
    char bytes[256];                /* the pieces: byte i is at i */
    char (*names)[FAKE_NAME_BYTES]; /* [n_labels] */
};

struct fake_seat {
    struct engine_seat base;
};

static const struct fake *fake_of(const engine_t *self) {
    return (const struct fake *)(const void *)self;
}

static void fake_destroy(engine_t *self) {
    free(fake_of(self)->names);
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

static void nap(uint64_t us) {
    struct timespec t = {(time_t)(us / 1000000), (long)(us % 1000000 * 1000)};
    while (nanosleep(&t, &t) != 0)
        ;
}

static void spend(const struct fake *self) {
    if (self->sleep_us)
        nap(self->sleep_us);
    if (self->spin_us)
        for (uint64_t end = clock_us() + self->spin_us; clock_us() < end;)
            ;
}

/* The bytes of both texts that a pair of max_tokens keeps: what is too much goes byte by byte from
 * the first text, or from the longer of both (the first when they are alike), down to nothing. */
static void cut_pair(enum engine_pair pair, uint32_t max_tokens, struct view *a, struct view *b) {
    size_t room = max_tokens > 3 ? max_tokens - 3 : 0;
    while (a->bytes + b->bytes > room) {
        bool first = pair == ENGINE_PAIR_ONLY_FIRST ? a->bytes > 0 : a->bytes >= b->bytes;
        (first ? a : b)->bytes--;
    }
}

static bool has_nan(struct view text) {
    return text.bytes && memmem(text.data, text.bytes, "NaN", 3);
}

static bool begins(struct view text, const char *prefix) {
    size_t bytes = strlen(prefix);
    return text.bytes >= bytes && memcmp(text.data, prefix, bytes) == 0;
}

/* Either text of a pair may ask for the fault. */
static bool meets(const struct fake *self, enum fault fault, const struct engine_item *item) {
    const char *prefix = self->fault[fault].prefix;
    return prefix[0] && (begins(item->text, prefix) ||
                         (item->pair != ENGINE_SINGLE && begins(item->second, prefix)));
}

static void suffer(const struct fake *self, const struct engine_item *item) {
    if (meets(self, FAULT_CRASH, item)) {
        fprintf(stderr, "fake engine: told to crash\n");
        abort();
    }
    if (meets(self, FAULT_SLOW, item))
        nap(self->fault[FAULT_SLOW].us);
    if (meets(self, FAULT_HANG, item))
        do
            nap(self->fault[FAULT_HANG].us ? self->fault[FAULT_HANG].us : 1000000);
        while (self->fault[FAULT_HANG].us == 0);
}

static void run_item(const struct fake *self, struct engine_item *item) {
    bool paired = item->pair != ENGINE_SINGLE;
    uint32_t limit = engine_item_limit(&self->base, item), specials = paired ? 3 : 2;
    struct view a = item->text, b = paired ? item->second : view_of("");
    item->tokens_full = (uint32_t)(a.bytes + b.bytes) + specials;
    item->tokens = 0;
    item->status = STATUS_OUT_OF_RANGE;
    if (item->side == ENGINE_CUT_OFF && item->tokens_full > limit)
        return;
    if (paired)
        cut_pair(item->pair, limit, &a, &b);
    else
        a = kept(a, item->side, limit);
    item->tokens = (uint32_t)(a.bytes + b.bytes) + specials;
    spend(self);
    suffer(self, item);
    bool broken = (self->nan && (has_nan(a) || has_nan(b))) || meets(self, FAULT_NAN, item);
    item->status = broken ? STATUS_INTERNAL : STATUS_OK;
    uint64_t state = hash_bytes(a.data, a.bytes, 1);
    if (paired)
        state = hash_bytes(b.data, b.bytes, state);
    for (uint32_t j = 0; j < self->base.info.dim; j++) /* uniform in [-1, 1), logits in [-4, 4) */
        item->out[j] = (float)(int32_t)(hash_next(&state) >> 32) *
                       (self->base.info.head == ENGINE_HEAD_NONE ? 0x1p-31f : 0x1p-29f);
}

static void fake_run(const engine_t *engine, engine_seat_t *seat, struct engine_item *items,
                     uint32_t n, struct engine_times *times) {
    (void)seat;
    uint64_t start_us = clock_us();
    for (uint32_t i = 0; i < n; i++)
        run_item(fake_of(engine), &items[i]);
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

const struct zero_shot engine_fake_zero_shot = {.template_text = "<{}>",
                                                .template_han = "\"{}\"",
                                                .temperature = 0.5f,
                                                .multi = true,
                                                .midpoint = 0.1f,
                                                .multi_temperature = 0.25f};

static const struct zero_shot *fake_settings(const engine_t *self) {
    return fake_of(self)->zero_shot ? &engine_fake_zero_shot : NULL;
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

static struct view fake_label(const engine_t *self, uint32_t i) {
    return view_of(fake_of(self)->names[i]);
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
    .zero_shot = fake_settings,
    .label = fake_label,
    .piece = fake_piece,
    .estimate = fake_estimate,
};

struct spec {
    double dim, tokens, us, sleep_us, nan, labels, sigmoid, zero_shot;
    enum engine_head head;
    struct fault_spec fault[FAULTS];
};

static const char *const head_names[] = {"none", "labels", "nli", "score"};
enum { HEADS = sizeof head_names / sizeof *head_names, NLI_LABELS = 3 };
static const char *const nli_names[NLI_LABELS] = {"contradiction", "neutral", "entailment"};

static bool word_is(const char *word, size_t bytes, const char *want) {
    return strlen(want) == bytes && memcmp(word, want, bytes) == 0;
}

/* "head=nli"; false for any other word or value. */
static bool read_head(const char *item, size_t bytes, size_t name_bytes, struct spec *out) {
    if (!word_is(item, name_bytes, "head") || name_bytes == bytes)
        return false;
    for (unsigned i = 0; i < HEADS; i++)
        if (word_is(item + name_bytes + 1, bytes - name_bytes - 1, head_names[i])) {
            out->head = (enum engine_head)i;
            return true;
        }
    return false;
}

static bool read_number(const char *item, size_t bytes, size_t name_bytes, struct spec *out) {
    const struct {
        const char *name;
        double *field, min, max;
    } rows[] = {
        {"dim", &out->dim, 1, LIMIT_DIM}, {"tokens", &out->tokens, 2, LIMIT_TOKENS},
        {"us", &out->us, 0, FAKE_US_MAX}, {"sleep_us", &out->sleep_us, 0, FAKE_US_MAX},
        {"nan", &out->nan, 0, 1},         {"labels", &out->labels, 1, LIMIT_LABELS},
        {"sigmoid", &out->sigmoid, 0, 1}, {"zero_shot", &out->zero_shot, 0, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows && name_bytes < bytes; i++) {
        if (!word_is(item, name_bytes, rows[i].name))
            continue;
        char *end;
        double x = strtod(item + name_bytes + 1, &end);
        if (end != item + bytes || end == item + name_bytes + 1 || !(x >= rows[i].min) ||
            !(x <= rows[i].max))
            return false;
        *rows[i].field = x;
        return true;
    }
    return false;
}

/* "slow=PREFIX:US", "hang=PREFIX[:US]", "crash=PREFIX", "nan=PREFIX". */
static bool read_fault(const char *item, size_t bytes, size_t name_bytes, struct spec *out) {
    static const struct {
        const char *name;
        enum fault fault;
        double us_max; /* 0: takes no time */
        bool must;     /* a time must be there */
    } rows[] = {{"nan", FAULT_NAN, 0, false},
                {"slow", FAULT_SLOW, FAKE_US_MAX, true},
                {"hang", FAULT_HANG, FAKE_HANG_US, false},
                {"crash", FAULT_CRASH, 0, false}};
    for (size_t i = 0; i < FAULTS && name_bytes < bytes; i++) {
        if (!word_is(item, name_bytes, rows[i].name))
            continue;
        const char *value = item + name_bytes + 1, *colon;
        size_t value_bytes = bytes - name_bytes - 1, prefix_bytes = value_bytes;
        struct fault_spec *fault = &out->fault[rows[i].fault];
        if (rows[i].us_max > 0 && (colon = memchr(value, ':', value_bytes))) {
            char *end;
            double us = strtod(colon + 1, &end);
            if (end != value + value_bytes || end == colon + 1 ||
                !(us >= 1 && us <= rows[i].us_max))
                return false;
            fault->us = (uint64_t)us;
            prefix_bytes = (size_t)(colon - value);
        }
        if (prefix_bytes < 1 || prefix_bytes > FAKE_PREFIX_BYTES || (rows[i].must && !fault->us))
            return false;
        memcpy(fault->prefix, value, prefix_bytes);
        fault->prefix[prefix_bytes] = 0;
        return true;
    }
    return false;
}

static enum status read_spec(const char *text, struct spec *out, struct err *err) {
    for (const char *p = text; *p;) {
        size_t bytes = strcspn(p, ","), name = strcspn(p, "=,");
        if (!read_head(p, bytes, name, out) && !read_number(p, bytes, name, out) &&
            !read_fault(p, bytes, name, out))
            return err_set(err, STATUS_INVALID_ARGUMENT, "fake engine: '%.*s' in \"%s\"",
                           (int)bytes, p, text);
        p += bytes + (p[bytes] == ',');
    }
    return STATUS_OK;
}

/* What the model does, and the names of its labels. */
static bool fill_head(struct fake *self, const struct spec *spec) {
    static const uint32_t tasks[HEADS] = {
        [ENGINE_HEAD_NONE] = ENGINE_TASK_EMBED | ENGINE_TASK_CLASSIFY,
        [ENGINE_HEAD_LABELS] = ENGINE_TASK_CLASSIFY,
        [ENGINE_HEAD_NLI] = ENGINE_TASK_CLASSIFY,
        [ENGINE_HEAD_SCORE] = ENGINE_TASK_RERANK,
    };
    struct engine_info *info = &self->base.info;
    info->head = spec->head;
    info->tasks = tasks[spec->head] | ENGINE_TASK_TOKENIZE;
    info->normalize = spec->head == ENGINE_HEAD_NONE;
    if (spec->head == ENGINE_HEAD_NONE)
        return true;
    info->n_labels = spec->head == ENGINE_HEAD_LABELS ? (uint32_t)spec->labels
                     : spec->head == ENGINE_HEAD_NLI  ? NLI_LABELS
                                                      : 1;
    info->dim = info->n_labels;
    info->sigmoid = spec->head == ENGINE_HEAD_SCORE || spec->sigmoid >= 1;
    info->entailment = spec->head == ENGINE_HEAD_NLI ? NLI_LABELS - 1 : 0;
    self->names = calloc(info->n_labels, sizeof *self->names);
    for (uint32_t i = 0; self->names && i < info->n_labels; i++)
        if (spec->head == ENGINE_HEAD_NLI)
            snprintf(self->names[i], sizeof self->names[i], "%s", nli_names[i]);
        else
            snprintf(self->names[i], sizeof self->names[i], "label %u", i);
    return self->names != NULL;
}

enum status engine_fake_open(const char *spec_text, engine_t **out, struct err *err) {
    struct spec spec = {.dim = 384, .tokens = 512, .labels = 4};
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
    };
    if (!fill_head(self, &spec)) {
        fake_destroy(&self->base);
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for a fake engine");
    }
    struct engine_info *info = &self->base.info;
    /* What alters an answer: the dimensions, and what is made of them. */
    uint64_t state = 0x66616b65 + info->dim + ((uint64_t)spec.head << 32) +
                     (spec.head && info->sigmoid ? UINT64_C(1) << 40 : 0) +
                     (spec.zero_shot >= 1 ? UINT64_C(1) << 41 : 0);
    for (int i = 0; i < 4; i++)
        snprintf(info->fingerprint + 16 * i, 17, "%016llx", (unsigned long long)hash_next(&state));
    memcpy(info->fingerprint8, info->fingerprint, 8);
    self->spin_us = (uint64_t)spec.us;
    self->sleep_us = (uint64_t)spec.sleep_us;
    self->nan = spec.nan >= 1;
    self->zero_shot = spec.zero_shot >= 1;
    memcpy(self->fault, spec.fault, sizeof self->fault);
    for (int i = 0; i < 256; i++)
        self->bytes[i] = (char)i;
    *out = &self->base;
    return STATUS_OK;
}
