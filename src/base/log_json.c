/* log_json.c - see log_json.h. */
#include "base/log_json.h"

#include "base/utf8.h"

#include <stdbool.h>
#include <string.h>

struct writer {
    char *out;
    size_t n, room;
    bool full;
};

static void put(struct writer *self, const char *bytes, size_t n) {
    self->full |= n > self->room - self->n;
    if (self->full)
        return;
    memcpy(self->out + self->n, bytes, n);
    self->n += n;
}

/* One character of a string; p < end. Returns where the next one begins. */
static const char *put_char(struct writer *self, const char *p, const char *end) {
    char bytes[4];
    unsigned n;
    uint32_t cp = utf8_next(p, end, &n);
    if (cp == '"' || cp == '\\')
        put(self, "\\", 1);
    put(self, bytes, utf8_put(cp < 0x20 || cp == 0x7f ? '?' : cp, bytes));
    return p + n;
}

/* Between quotes: a backslash stands before what is meant. Returns what is behind the string. */
static const char *put_quoted(struct writer *self, const char *p, const char *end) {
    put(self, "\"", 1);
    while (p < end && *p != '"') {
        if (*p == '\\' && p + 1 < end)
            p++;
        p = put_char(self, p, end);
    }
    put(self, "\"", 1);
    return p < end ? p + 1 : end;
}

static size_t digits(const char *p, const char *end) {
    const char *from = p;
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return (size_t)(p - from);
}

/* As JSON has numbers, without exponents. */
static bool is_number(const char *p, const char *end) {
    if (end - p > LOG_JSON_NUMBER)
        return false;
    p += p < end && *p == '-';
    size_t whole = digits(p, end);
    if (!whole || (whole > 1 && *p == '0'))
        return false;
    p += whole;
    if (p < end && *p == '.') {
        size_t part = digits(++p, end);
        if (!part)
            return false;
        p += part;
    }
    return p == end;
}

static void put_word(struct writer *self, const char *p, const char *end) {
    put(self, "\"", 1);
    while (p < end)
        p = put_char(self, p, end);
    put(self, "\"", 1);
}

static const char *put_pair(struct writer *self, const char *p, const char *end) {
    const char *key = p;
    while (p < end && *p != '=' && *p != ' ')
        p++;
    put_word(self, key, p);
    put(self, ":", 1);
    if (p == end || *p == ' ') {
        put(self, "true", 4);
        return p;
    }
    const char *value = ++p;
    if (p < end && *p == '"')
        return put_quoted(self, p + 1, end);
    while (p < end && *p != ' ')
        p++;
    if (is_number(value, p))
        put(self, value, (size_t)(p - value));
    else
        put_word(self, value, p);
    return p;
}

size_t log_json(struct view pairs, char *out, size_t out_bytes) {
    struct writer w = {.out = out, .room = out_bytes};
    const char *p = pairs.data, *end = pairs.data + pairs.bytes;
    size_t whole = 0;
    while (p < end) {
        if (*p == ' ') {
            p++;
            continue;
        }
        if (whole)
            put(&w, ",", 1);
        p = put_pair(&w, p, end);
        if (w.full)
            break;
        whole = w.n;
    }
    return whole;
}
