/* text_list.h - texts that are kept: a growing list, with a look-up of equal ones.
 *
 * Threads: owner only. */
#ifndef EMBER_MODEL_TOOL_TEXT_LIST_H
#define EMBER_MODEL_TOOL_TEXT_LIST_H

#include "base/err.h"
#include "base/view.h"

#include <stdint.h>

enum { TEXT_LIST_MAX = 4 * 1000 * 1000 }; /* texts of one list */

struct text_list {    /* zeros: empty */
    struct view *at;  /* [n], each with a NUL behind it, owned by the list */
    uint32_t n, room; /* texts there are, and that `at` has room for */
    uint32_t *slots;  /* [n_slots] 0: free, else 1 + index of a text found by its hash */
    uint32_t n_slots; /* a power of two, at least twice as many as texts */
};

/* The index of a text equal to `text`, which is copied to the end when there is none yet. *fresh
 * (may be NULL) tells which. STATUS_RESOURCE_EXHAUSTED: no memory, or TEXT_LIST_MAX texts. */
enum status text_list_add(struct text_list *self, struct view text, uint32_t *index, bool *fresh,
                          struct err *err);

/* As text_list_add() without adding: the index, or UINT32_MAX. */
uint32_t text_list_find(const struct text_list *self, struct view text);

void text_list_done(struct text_list *self); /* frees all; the list is empty then */

#endif
