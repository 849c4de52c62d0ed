/* text_list.c - copies of texts in an array, and a hash table of open addressing over it. */
#include "text_list.h"

#include "base/hash.h"

#include <stdlib.h>

enum { FIRST_ROOM = 64 };

static uint32_t *slot_of(const struct text_list *self, struct view text) {
    uint32_t mask = self->n_slots - 1;
    uint32_t i = (uint32_t)hash_bytes(text.data, text.bytes, 0) & mask;
    while (self->slots[i] && !view_equal(self->at[self->slots[i] - 1], text))
        i = (i + 1) & mask;
    return &self->slots[i];
}

uint32_t text_list_find(const struct text_list *self, struct view text) {
    return self->n ? *slot_of(self, text) - 1 : UINT32_MAX; /* 0 - 1 is UINT32_MAX */
}

static bool grow(struct text_list *self) {
    uint32_t room = self->room ? self->room * 2 : FIRST_ROOM;
    struct view *at = realloc(self->at, room * sizeof *at);
    if (!at)
        return false;
    self->at = at;
    uint32_t *slots = calloc((size_t)room * 2, sizeof *slots);
    if (!slots)
        return false; /* the wider `at` does no harm */
    free(self->slots);
    self->slots = slots;
    self->n_slots = room * 2;
    self->room = room;
    for (uint32_t i = 0; i < self->n; i++)
        *slot_of(self, self->at[i]) = i + 1;
    return true;
}

enum status text_list_add(struct text_list *self, struct view text, uint32_t *index, bool *fresh,
                          struct err *err) {
    uint32_t found = text_list_find(self, text);
    if (fresh)
        *fresh = found == UINT32_MAX;
    if (found != UINT32_MAX) {
        *index = found;
        return STATUS_OK;
    }
    if (self->n == TEXT_LIST_MAX)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "more than %d texts", TEXT_LIST_MAX);
    char *copy = malloc(text.bytes + 1);
    if (!copy || (self->n == self->room && !grow(self))) {
        free(copy);
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for %u texts", self->n + 1);
    }
    if (text.bytes)
        memcpy(copy, text.data, text.bytes);
    copy[text.bytes] = '\0';
    *index = self->n;
    self->at[self->n++] = view_make(copy, text.bytes);
    *slot_of(self, text) = self->n;
    return STATUS_OK;
}

void text_list_done(struct text_list *self) {
    for (uint32_t i = 0; i < self->n; i++)
        free((char *)(uintptr_t)self->at[i].data);
    free(self->at);
    free(self->slots);
    *self = (struct text_list){0};
}
