/* texts.c - see texts.h. A trace is read whole before the first call, so that reading takes no time
 * from the measurement. */
#include "texts.h"

#include "base/hash.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "json/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    KNOWN_LEAST = 1000, /* so that repeats are not of one text alone */
    SLOT_TRIES = 16,    /* for a text of a rare kind that was sent before */
    ANY_KIND = TEXTS_CLASSES_MAX,
};

struct length {
    bool chinese;
    uint32_t n;
};

struct kind {
    bool classify;
    uint32_t weight, n_lengths;
    struct length length[TEXTS_CLASSES_MAX];
};

struct texts {
    char class[TEXTS_CLASSES_MAX][TEXTS_CLASS_BYTES];
    uint32_t n_classes;
    /* made */
    struct kind kind[TEXTS_CLASSES_MAX]; /* by class */
    uint32_t weights;                    /* of all kinds */
    bool mixed;
    const char *const *own_labels;
    uint32_t n_own_labels;
    double unique;
    uint64_t random;
    char *pool[TEXTS_POOL];
    uint32_t pool_class[TEXTS_POOL];
    uint64_t made;
    /* traced */
    struct texts_item *items;
    json_t **lines; /* hold the items' texts */
    const char ***labels;
    size_t n, room, at;
    bool timed;
};

static enum status no_memory(struct err *err) {
    return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for the texts");
}

/* The class of that name, added if need be; the last one takes what is too many. */
static uint32_t class_index(texts_t *self, const char *name) {
    for (uint32_t i = 0; i < self->n_classes; i++)
        if (strncmp(self->class[i], name, TEXTS_CLASS_BYTES - 1) == 0)
            return i;
    if (self->n_classes == TEXTS_CLASSES_MAX)
        return TEXTS_CLASSES_MAX - 1;
    snprintf(self->class[self->n_classes], TEXTS_CLASS_BYTES, "%s", name);
    return self->n_classes++;
}

/* ---- made */

static const char characters[] =
    "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下"
    "过子说产种面而方后多定行学法所民得经十三之进着等部度家电力里如水化高自二理起小物现实加量都"
    "两体制机当使点从业本去把性好应开它合还因由其些然前外天政四日那社义事平形相全表间样与关各重";
static const char *const words[] = {
    "the",    "order",   "refund",  "when",   "parcel", "account", "please", "my",     "not",
    "arrive", "payment", "card",    "open",   "why",    "change",  "help",   "a",      "delivery",
    "price",  "is",      "address", "cancel", "where",  "invoice", "return", "broken", "service",
    "call",   "update",  "wrong",   "size",   "today",  "screen",  "and",    "how",    "ticket"};

static char *make_text(texts_t *self, const struct length *length) {
    char *out = malloc((size_t)length->n * 12 + 1), *p = out;
    for (uint32_t i = 0; out && i < length->n; i++) {
        if (length->chinese) {
            uint32_t k = hash_below(&self->random, (uint32_t)(sizeof characters - 1) / 3);
            memcpy(p, characters + (size_t)k * 3, 3);
            p += 3;
        } else {
            const char *word = words[hash_below(&self->random, sizeof words / sizeof *words)];
            p += snprintf(p, 12, "%s%s", i ? " " : "", word);
        }
    }
    if (out)
        *p = '\0';
    return out;
}

static uint32_t draw_kind(texts_t *self) {
    uint32_t at = hash_below(&self->random, self->weights), kind = 0;
    while (at >= self->kind[kind].weight)
        at -= self->kind[kind++].weight;
    return kind;
}

/* A slot of the pool with a text that was sent before, of that kind if there is one; TEXTS_POOL:
 * none was found. Not one of those that new texts take next: an item lives on while its call takes
 * more of them. */
static uint32_t draw_slot(texts_t *self, uint32_t kind) {
    uint64_t ahead = self->made + TEXTS_AHEAD;
    uint32_t skip = ahead > TEXTS_POOL ? (uint32_t)(ahead % TEXTS_POOL) : 0;
    uint32_t among = ahead > TEXTS_POOL ? TEXTS_POOL - TEXTS_AHEAD : (uint32_t)self->made;
    for (int i = 0; i < SLOT_TRIES; i++) {
        uint32_t slot = (skip + hash_below(&self->random, among)) % TEXTS_POOL;
        if (kind == ANY_KIND || self->pool_class[slot] == kind)
            return slot;
    }
    return TEXTS_POOL;
}

static bool next_made(texts_t *self, uint32_t kind, struct texts_item *out) {
    double draw = (double)(hash_next(&self->random) >> 11) / 9007199254740992.0;
    uint32_t slot = TEXTS_POOL;
    if (self->made >= KNOWN_LEAST && draw >= self->unique)
        slot = draw_slot(self, kind);
    if (slot == TEXTS_POOL) {
        slot = (uint32_t)(self->made % TEXTS_POOL);
        uint32_t class = kind == ANY_KIND ? draw_kind(self) : kind;
        const struct kind *k = &self->kind[class];
        uint32_t length = k->n_lengths > 1 ? hash_below(&self->random, k->n_lengths) : 0;
        char *text = make_text(self, &k->length[length]);
        if (!text)
            return false;
        free(self->pool[slot]);
        self->pool[slot] = text;
        self->pool_class[slot] = class;
        self->made++;
    }
    uint32_t class = self->pool_class[slot];
    *out = (struct texts_item){.text = self->pool[slot], .at_s = -1, .class = class};
    if (self->kind[class].classify) {
        out->classify = true;
        out->labels = self->own_labels;
        out->n_labels = self->n_own_labels;
    }
    return true;
}

/* "zh:4" and "20" behind it: one length, up to `end`. */
static bool read_length(const char *text, const char *end, bool *chinese, struct length *out) {
    if (strncmp(text, "zh:", 3) == 0 || strncmp(text, "en:", 3) == 0) {
        *chinese = *text == 'z';
        text += 3;
    }
    char *stop;
    unsigned long n = strtoul(text, &stop, 10);
    *out = (struct length){*chinese, (uint32_t)n};
    return stop > text && stop == end && n >= 1 && n <= 2000;
}

static bool read_lengths(const char *text, struct length *out, uint32_t *n) {
    bool chinese = true;
    for (*n = 0; *text; text += *text == ',') {
        const char *end = text + strcspn(text, ",");
        if (*n == TEXTS_CLASSES_MAX || !read_length(text, end, &chinese, &out[*n]))
            return false;
        (*n)++;
        text = end;
    }
    return *n > 0;
}

static bool is_word(const char *text, const char *end, const char *word) {
    return (size_t)(end - text) == strlen(word) && memcmp(text, word, strlen(word)) == 0;
}

/* TASK, LENGTH or TASK/LENGTH, up to `end`. */
static bool read_kind(const char *text, const char *end, struct kind *out) {
    size_t task = strcspn(text, "/=");
    out->classify = is_word(text, text + task, "classify");
    if (out->classify || is_word(text, text + task, "embed")) {
        text += task;
        if (text == end)
            return true;
        text++; /* the slash */
    }
    bool chinese = true;
    out->n_lengths = 1;
    if (is_word(text, end, "short"))
        out->length[0] = (struct length){true, TEXTS_SHORT};
    else if (is_word(text, end, "long"))
        out->length[0] = (struct length){true, TEXTS_LONG};
    else
        return read_length(text, end, &chinese, &out->length[0]);
    return true;
}

/* "embed/short=70,classify=30" */
static bool read_mix(texts_t *self, const char *text, const struct kind *usual) {
    self->mixed = true;
    for (; *text; text += *text == ',') {
        const char *equals = text + strcspn(text, "=,");
        struct kind kind = *usual;
        char name[TEXTS_CLASS_BYTES], *stop;
        if (*equals != '=' || self->n_classes == TEXTS_CLASSES_MAX ||
            !read_kind(text, equals, &kind))
            return false;
        unsigned long weight = strtoul(equals + 1, &stop, 10);
        if (stop == equals + 1 || (*stop != ',' && *stop) || weight < 1 ||
            weight > TEXTS_WEIGHT_MAX || equals[1] == '-')
            return false;
        snprintf(name, sizeof name, "%.*s", (int)(equals - text), text);
        uint32_t before = self->n_classes, class = class_index(self, name);
        if (class < before) /* said twice */
            return false;
        kind.weight = (uint32_t)weight;
        self->kind[class] = kind;
        self->weights += kind.weight;
        text = stop;
    }
    return self->n_classes > 0;
}

static void add_lengths(texts_t *self, const struct kind *usual) {
    for (uint32_t i = 0; i < usual->n_lengths; i++) {
        char name[TEXTS_CLASS_BYTES];
        struct length length = usual->length[i];
        snprintf(name, sizeof name, "%s:%u", length.chinese ? "zh" : "en", length.n);
        self->kind[class_index(self, name)] =
            (struct kind){.weight = 1, .n_lengths = 1, .length = {length}};
    }
    self->weights = self->n_classes;
}

enum status texts_generate(const struct texts_made *made, texts_t **out, struct err *err) {
    texts_t *self = calloc(1, sizeof *self);
    if (!self)
        return no_memory(err);
    self->unique = made->unique;
    self->random = made->seed;
    self->own_labels = made->labels;
    self->n_own_labels = made->n_labels;
    struct kind usual = {0};
    enum status st = STATUS_OK;
    if (!read_lengths(made->lengths, usual.length, &usual.n_lengths))
        st = err_set(err, STATUS_INVALID_ARGUMENT,
                     "lengths: '%s' is not a list such as zh:4,20,50 or en:12", made->lengths);
    else if (!made->mix[0])
        add_lengths(self, &usual);
    else if (!read_mix(self, made->mix, &usual))
        st = err_set(err, STATUS_INVALID_ARGUMENT,
                     "mix: '%s' is not a list such as embed/short=70,embed/zh:300=10,classify=20",
                     made->mix);
    if (st == STATUS_OK)
        *out = self;
    else
        texts_destroy(&self);
    return st;
}

/* ---- traced */

static bool grow(texts_t *self) {
    if (self->n < self->room)
        return true;
    size_t room = self->room ? self->room * 2 : 1024;
    struct texts_item *items = realloc(self->items, room * sizeof *items);
    if (items)
        self->items = items;
    json_t **lines = realloc(self->lines, room * sizeof *lines);
    if (lines)
        self->lines = lines;
    const char ***labels = realloc(self->labels, room * sizeof *labels);
    if (labels)
        self->labels = labels;
    if (!items || !lines || !labels)
        return false;
    self->room = room;
    return true;
}

static const char **read_labels(const json_t *list, uint32_t *n) {
    *n = json_size(list);
    const char **out = *n && *n <= TEXTS_LABELS_MAX ? calloc(*n, sizeof *out) : NULL;
    uint32_t i = 0;
    for (const json_t *at = json_first(list); out && at; at = json_next(at))
        out[i++] = json_text(at) ? json_text(at) : "";
    if (!out)
        *n = 0;
    return out;
}

static enum status read_item(texts_t *self, json_t *line, struct err *err) {
    const char *op = json_text(json_get(line, "op"));
    const char *text = json_text(json_get(line, "text"));
    const char *class = json_text(json_get(line, "class"));
    if (!text || (op && strcmp(op, "embed") != 0 && strcmp(op, "classify") != 0))
        return err_set(err, STATUS_INVALID_ARGUMENT, "no \"text\", or an \"op\" that is not known");
    struct texts_item item = {.text = text, .at_s = -1};
    item.classify = op && strcmp(op, "classify") == 0;
    char name[TEXTS_CLASS_BYTES];
    snprintf(name, sizeof name, "%s/%s", item.classify ? "classify" : "embed", class ? class : "-");
    item.class = class_index(self, name);
    item.template_text = json_text(json_get(line, "template"));
    json_bool(json_get(line, "multi_label"), &item.multi_label);
    self->timed &= json_f64(json_get(line, "t"), &item.at_s);
    self->labels[self->n] = read_labels(json_get(line, "labels"), &item.n_labels);
    item.labels = self->labels[self->n];
    self->items[self->n] = item;
    self->lines[self->n++] = line;
    return STATUS_OK;
}

static enum status read_trace(texts_t *self, FILE *f, const char *path, struct err *err) {
    char *line = NULL;
    size_t room = 0;
    ssize_t bytes;
    enum status st = STATUS_OK;
    for (unsigned long number = 1; st == STATUS_OK && (bytes = getline(&line, &room, f)) > 0;
         number++) {
        json_t *json = NULL;
        st = grow(self) ? json_parse(view_make(line, (size_t)bytes), 2 * LIMIT_TEXT_BYTES, "line",
                                     &json, err)
                        : no_memory(err);
        if (st == STATUS_OK)
            st = read_item(self, json, err);
        if (st != STATUS_OK) {
            json_destroy(&json);
            err_prefix(err, st, "%s:%lu", path, number);
        }
    }
    free(line);
    if (st == STATUS_OK && self->n == 0)
        st = err_set(err, STATUS_INVALID_ARGUMENT, "%s is empty", path);
    return st;
}

enum status texts_trace(const char *path, texts_t **out, struct err *err) {
    FILE *f = fopen(path, "re");
    if (!f)
        return err_errno(err, STATUS_INVALID_ARGUMENT, "%s", path);
    texts_t *self = calloc(1, sizeof *self);
    enum status st = self ? STATUS_OK : no_memory(err);
    if (st == STATUS_OK) {
        self->timed = true;
        st = read_trace(self, f, path, err);
    }
    fclose(f);
    if (st == STATUS_OK)
        *out = self;
    else
        texts_destroy(&self);
    return st;
}

/* ---- both */

void texts_destroy(texts_t **self) {
    texts_t *t = *self;
    *self = NULL;
    if (!t)
        return;
    for (size_t i = 0; i < TEXTS_POOL; i++)
        free(t->pool[i]);
    for (size_t i = 0; i < t->n; i++) {
        json_destroy(&t->lines[i]);
        free(t->labels[i]);
    }
    free(t->items);
    free(t->lines);
    free(t->labels);
    free(t);
}

bool texts_next(texts_t *self, struct texts_item *out) {
    if (!self->items)
        return next_made(self, ANY_KIND, out);
    if (self->at == self->n)
        return false;
    *out = self->items[self->at++];
    return true;
}

bool texts_more(texts_t *self, const struct texts_item *first, struct texts_item *out) {
    return self->mixed ? next_made(self, first->class, out) : texts_next(self, out);
}

uint32_t texts_classes(const texts_t *self) {
    return self->n_classes;
}

const char *texts_class(const texts_t *self, uint32_t class) {
    return class < self->n_classes ? self->class[class] : "";
}

bool texts_timed(const texts_t *self) {
    return self->items && self->timed;
}
