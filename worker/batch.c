/* batch.c - one batch's memory: items, flights, vectors and text, each sized once. */
#include "batch.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

bool batch_init(struct batch *self, uint32_t items_max, size_t text_max, uint32_t dim_max) {
    memset(self, 0, sizeof *self);
    self->n_max = items_max;
    self->text_max = text_max;
    self->items = calloc(items_max, sizeof *self->items);
    self->flights = calloc(items_max, sizeof *self->flights);
    self->dropped = calloc(items_max, sizeof *self->dropped);
    self->vectors = calloc((size_t)items_max * dim_max, sizeof *self->vectors);
    self->text = malloc(text_max);
    return self->items && self->flights && self->dropped && self->vectors && self->text;
}

void batch_done(struct batch *self) {
    free(self->items);
    free(self->flights);
    free(self->dropped);
    free(self->vectors);
    free(self->text);
    memset(self, 0, sizeof *self);
}

void batch_reset(struct batch *self, const engine_t *engine, uint32_t model) {
    self->engine = engine;
    self->model = model;
    self->n = self->n_run = 0;
    self->text_bytes = 0;
    self->tokens = NULL;
    self->times = (struct engine_times){0};
    self->formed_us = self->finished_us = self->ran_us = 0;
    self->started_us = 0;
}

static char *copy(char *at, struct view text) {
    if (text.bytes)
        memcpy(at, text.data, text.bytes);
    return at + text.bytes;
}

struct engine_item *batch_add(struct batch *self, uint32_t flight, struct view prefix,
                              struct view text, struct view second, uint32_t dim) {
    size_t bytes = prefix.bytes + text.bytes + second.bytes;
    CHECK(self->n < self->n_max && bytes <= self->text_max - self->text_bytes);
    char *at = self->text + self->text_bytes;
    char *behind = copy(copy(at, prefix), text);
    copy(behind, second);
    self->text_bytes += bytes;
    struct engine_item *item = &self->items[self->n];
    *item = (struct engine_item){.text = view_make(at, prefix.bytes + text.bytes),
                                 .second = view_make(behind, second.bytes),
                                 .out = self->vectors + (size_t)self->n * dim};
    batch_drop(self, self->n, false);
    self->flights[self->n++] = flight;
    return item;
}

void batch_begin(struct batch *self) {
    self->n_run = 0;
    for (uint32_t i = 0; i < self->n; i++) {
        if (atomic_load_explicit(&self->dropped[i], memory_order_relaxed)) {
            self->items[i].tokens = 0;
            continue;
        }
        uint32_t to = self->n_run++; /* what stands there is dropped, or the item itself */
        struct engine_item item = self->items[to];
        uint32_t flight = self->flights[to];
        self->items[to] = self->items[i];
        self->flights[to] = self->flights[i];
        self->items[i] = item;
        self->flights[i] = flight;
    }
}
