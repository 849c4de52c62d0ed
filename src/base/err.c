/* err.c - formats error text; control characters and bytes that are not UTF-8 (a hostile file name
 * may hold any, and a cut may leave half a character) become '?'. */
#include "base/err.h"

#include "base/utf8.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void make_one_line(char *text) {
    const char *end = text + strlen(text);
    unsigned n;
    for (char *p = text; p < end; p += n) {
        uint32_t cp = utf8_next(p, end, &n);
        if (cp < 0x20 || cp == 0x7f || (cp == 0xfffd && n == 1)) /* a real U+FFFD has three bytes */
            *p = '?';
    }
}

enum status err_set(struct err *err, enum status status, const char *format, ...) {
    if (!err)
        return status;
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    make_one_line(err->text);
    err->status = status;
    return status;
}

enum status err_errno(struct err *err, enum status status, const char *format, ...) {
    int code = errno;
    if (!err)
        return status;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    char buffer[128];
    if (n >= 0 && (size_t)n < sizeof err->text)
        snprintf(err->text + n, sizeof err->text - (size_t)n, ": %s",
                 strerror_r(code, buffer, sizeof buffer));
    make_one_line(err->text);
    err->status = status;
    return status;
}

enum status err_prefix(struct err *err, enum status status, const char *format, ...) {
    if (!err)
        return status;
    char tail[ERR_TEXT_MAX];
    memcpy(tail, err->text, sizeof tail);
    tail[sizeof tail - 1] = '\0';
    va_list args;
    va_start(args, format);
    int n = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof err->text)
        snprintf(err->text + n, sizeof err->text - (size_t)n, ": %s", tail);
    make_one_line(err->text);
    err->status = status;
    return status;
}
