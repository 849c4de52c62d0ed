/* prices.c - see prices.h. */
#include "prices.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS = 5, NUMBER_BYTES = 40, SHOWN_BYTES = 40 };

static const char *const precisions[] = {"f32", "bf16", "i8"};
static const char *const word_names[WORDS] = {"instance", "hourly", "model", "precision", "rate"};

struct where { /* for messages */
    const char *what;
    uint32_t line;
    struct err *err;
};

static enum status bad(const struct where *at, struct view word, const char *must) {
    int shown = (int)(word.bytes < SHOWN_BYTES ? word.bytes : SHOWN_BYTES);
    return err_set(at->err, STATUS_INVALID_ARGUMENT, "%s, line %u: '%.*s' is no %s", at->what,
                   at->line, shown, word.data, must);
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

/* Up to WORDS words of a line; the number of all that there are before a comment. */
static uint32_t split(struct view line, struct view words[WORDS]) {
    uint32_t n = 0;
    for (size_t i = 0; i < line.bytes;) {
        while (i < line.bytes && is_blank(line.data[i]))
            i++;
        size_t start = i;
        while (i < line.bytes && !is_blank(line.data[i]))
            i++;
        if (i == start || line.data[start] == '#')
            break;
        if (n < WORDS)
            words[n] = view_make(line.data + start, i - start);
        n++;
    }
    return n;
}

/* ASCII that can be seen: names go to terminals. */
static enum status take_name(const struct where *at, struct view word, const char *must,
                             char out[LIMIT_NAME_BYTES + 1]) {
    if (word.bytes > LIMIT_NAME_BYTES)
        return err_set(at->err, STATUS_INVALID_ARGUMENT,
                       "%s, line %u: the %s has more than %d bytes", at->what, at->line, must,
                       LIMIT_NAME_BYTES);
    memset(out, 0, LIMIT_NAME_BYTES + 1);
    memcpy(out, word.data, word.bytes);
    return STATUS_OK;
}

static enum status take_number(const struct where *at, struct view word, double min, double max,
                               const char *must, double *out) {
    char text[NUMBER_BYTES] = "", *end = text;
    bool digits = word.bytes < sizeof text &&
                  (word.data[0] == '.' || (word.data[0] >= '0' && word.data[0] <= '9'));
    if (digits) { /* no sign, no nan, no inf, no 0x */
        memcpy(text, word.data, word.bytes);
        digits = strspn(text, "0123456789.eE+-") == word.bytes;
    }
    double x = digits ? strtod(text, &end) : NAN;
    if (end == text || *end || !(x >= min && x <= max))
        return bad(at, word, must);
    *out = x;
    return STATUS_OK;
}

static enum status take_precision(const struct where *at, struct view word,
                                  char out[PRICES_PRECISION_BYTES]) {
    for (size_t i = 0; i < sizeof precisions / sizeof *precisions; i++)
        if (view_equal(word, view_of(precisions[i]))) {
            memset(out, 0, PRICES_PRECISION_BYTES);
            memcpy(out, precisions[i], word.bytes);
            return STATUS_OK;
        }
    return bad(at, word, "precision (f32, bf16, i8)");
}

/* It agrees with the rows before it. */
static enum status check_row(const struct where *at, const struct prices *self,
                             const struct price *row) {
    for (uint32_t i = 0; i < self->n; i++) {
        const struct price *other = &self->row[i];
        if (strcmp(other->instance, row->instance) != 0)
            continue;
        if (other->hourly != row->hourly)
            return err_set(at->err, STATUS_INVALID_ARGUMENT,
                           "%s, line %u: '%s' costs %g here and %g in line %u", at->what, at->line,
                           row->instance, row->hourly, other->hourly, other->line);
        if (strcmp(other->model, row->model) == 0 && strcmp(other->precision, row->precision) == 0)
            return err_set(at->err, STATUS_INVALID_ARGUMENT,
                           "%s, line %u: '%s' with model '%s' in %s stands in line %u already",
                           at->what, at->line, row->instance, row->model, row->precision,
                           other->line);
    }
    return STATUS_OK;
}

static enum status take_row(const struct where *at, const struct view words[WORDS],
                            struct prices *self) {
    if (self->n == LIMIT_PRICES_ROWS)
        return err_set(at->err, STATUS_RESOURCE_EXHAUSTED, "%s, line %u: more than %d rows",
                       at->what, at->line, LIMIT_PRICES_ROWS);
    struct price row = {.line = at->line};
    enum status st = take_name(at, words[0], "instance", row.instance);
    if (st == STATUS_OK)
        st = take_number(at, words[1], 0, PRICES_HOURLY_MAX, "hourly cost (0 to 1e6)", &row.hourly);
    if (st == STATUS_OK)
        st = take_name(at, words[2], "model", row.model);
    if (st == STATUS_OK)
        st = take_precision(at, words[3], row.precision);
    if (st == STATUS_OK)
        st = take_number(at, words[4], PRICES_RATE_MIN, PRICES_RATE_MAX,
                         "rate (calls a second, 1e-6 to 1e9)", &row.rate);
    if (st == STATUS_OK)
        st = check_row(at, self, &row);
    if (st == STATUS_OK)
        self->row[self->n++] = row;
    return st;
}

static enum status take_line(const struct where *at, struct view line, struct prices *self) {
    struct view words[WORDS];
    uint32_t n = split(line, words);
    if (n == 0)
        return STATUS_OK;
    for (uint32_t i = 0; i < n && i < WORDS; i++)
        for (size_t k = 0; k < words[i].bytes; k++)
            if (words[i].data[k] < '!' || words[i].data[k] > '~')
                return err_set(at->err, STATUS_INVALID_ARGUMENT,
                               "%s, line %u: the %s has a character beyond printable ASCII",
                               at->what, at->line, word_names[i]);
    if (n != WORDS)
        return err_set(at->err, STATUS_INVALID_ARGUMENT,
                       "%s, line %u: %u words instead of `instance hourly model precision rate`",
                       at->what, at->line, n);
    return take_row(at, words, self);
}

enum status prices_parse(struct view text, const char *what, struct prices *out, struct err *err) {
    struct where at = {.what = what, .err = err};
    out->n = 0;
    if (text.bytes > LIMIT_PRICES_BYTES)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "%s: more than %d bytes", what,
                       LIMIT_PRICES_BYTES);
    for (size_t i = 0; i < text.bytes;) {
        const char *end = memchr(text.data + i, '\n', text.bytes - i);
        size_t bytes = end ? (size_t)(end - (text.data + i)) : text.bytes - i;
        at.line++;
        enum status st = take_line(&at, view_make(text.data + i, bytes), out);
        if (st != STATUS_OK)
            return st;
        i += bytes + 1;
    }
    if (out->n == 0)
        return err_set(err, STATUS_INVALID_ARGUMENT, "%s: no row", what);
    return STATUS_OK;
}

const struct price *prices_find(const struct prices *self, const char *instance, const char *model,
                                const char *precision) {
    const struct price *any = NULL;
    for (uint32_t i = 0; i < self->n; i++) {
        const struct price *row = &self->row[i];
        if (strcmp(row->instance, instance) != 0 || strcmp(row->precision, precision) != 0)
            continue;
        if (strcmp(row->model, model) == 0)
            return row;
        if (strcmp(row->model, "*") == 0)
            any = row;
    }
    return any;
}

const struct price *prices_instance(const struct prices *self, const char *instance) {
    for (uint32_t i = 0; i < self->n; i++)
        if (strcmp(self->row[i].instance, instance) == 0)
            return &self->row[i];
    return NULL;
}

const char *prices_only(const struct prices *self) {
    for (uint32_t i = 1; i < self->n; i++)
        if (strcmp(self->row[i].instance, self->row[0].instance) != 0)
            return NULL;
    return self->n ? self->row[0].instance : NULL;
}

const char *prices_list(const struct prices *self, char *out, size_t bytes) {
    size_t used = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < self->n; i++) {
        if (prices_instance(self, self->row[i].instance) != &self->row[i])
            continue; /* it was named */
        int n = snprintf(out + used, bytes - used, "%s%s", used ? ", " : "", self->row[i].instance);
        if (n < 0 || (size_t)n >= bytes - used)
            break;
        used += (size_t)n;
    }
    return out;
}
