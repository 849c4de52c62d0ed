/* err.h - error text in the caller's hands.
 *
 * A function that can fail takes `struct err *` last; NULL is fine everywhere. The text is one line
 * of UTF-8 without control characters, written only on failure, cut at ERR_TEXT_MAX.
 * Threads: a struct err belongs to whoever declared it. */
#ifndef EMBER_BASE_ERR_H
#define EMBER_BASE_ERR_H

#include "base/status.h"

enum { ERR_TEXT_MAX = 400 }; /* bytes, the NUL included */

struct err {
    enum status status;
    char text[ERR_TEXT_MAX];
};

/* Each returns `status`, so that a failing function can `return err_set(...)`. */
enum status err_set(struct err *err, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As err_set(), with ": " and the text of errno behind. */
enum status err_errno(struct err *err, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "<prefix>: " in front of the text that is there. */
enum status err_prefix(struct err *err, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
