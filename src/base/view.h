/* view.h - a borrowed run of bytes: pointer and length, never owned, not NUL-terminated. */
#ifndef EMBER_BASE_VIEW_H
#define EMBER_BASE_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct view {
    const char *data; /* may be NULL when bytes is 0 */
    size_t bytes;
};

static inline struct view view_make(const void *data, size_t bytes) {
    return (struct view){(const char *)data, bytes};
}

static inline struct view view_of(const char *text) {
    return (struct view){text, strlen(text)};
}

static inline bool view_equal(struct view a, struct view b) {
    return a.bytes == b.bytes && (a.bytes == 0 || memcmp(a.data, b.data, a.bytes) == 0);
}

#endif
