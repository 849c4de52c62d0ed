/* eval_rows.c - jsonl.h with the checks that every task makes. */
#include "eval_rows.h"

#include "base/limits.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum status eval_rows_open(const char *path, uint32_t limit, struct eval_rows *self,
                           struct err *err) {
    *self = (struct eval_rows){.limit = limit ? limit : UINT32_MAX};
    return jsonl_open(path, &self->file, err);
}

void eval_rows_close(struct eval_rows *self) {
    json_destroy(&self->row);
    jsonl_close(&self->file);
}

enum status eval_rows_bad(const struct eval_rows *self, struct err *err, const char *format, ...) {
    char text[ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return err_set(err, STATUS_DATA_LOSS, "%s:%u: %s", self->file.path, self->file.line, text);
}

enum status eval_rows_next(struct eval_rows *self, struct err *err) {
    json_destroy(&self->row);
    if (self->n == self->limit)
        return STATUS_OK;
    enum status st = jsonl_next(&self->file, &self->row, err);
    if (st == STATUS_OK && self->row && self->n == EVAL_ROWS_MAX)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "'%s' has more than %d rows; see --limit",
                       self->file.path, EVAL_ROWS_MAX);
    if (st == STATUS_OK && !self->row && self->n == 0)
        return err_set(err, STATUS_DATA_LOSS, "'%s' has no rows", self->file.path);
    self->n += st == STATUS_OK && self->row;
    return st;
}

enum status eval_rows_text(struct eval_rows *self, const char *key, const char *other,
                           struct view *out, struct err *err) {
    const json_t *value = json_get(self->row, key);
    if (!value && other)
        value = json_get(self->row, other);
    if (!value)
        return eval_rows_bad(self, err, "\"%s\"%s%s%s is missing", key, other ? " or \"" : "",
                             other ? other : "", other ? "\"" : "");
    if (!jsonl_text(&self->file, value, out))
        return eval_rows_bad(self, err, "\"%s\" is no string", key);
    if (out->bytes > LIMIT_TEXT_BYTES)
        return eval_rows_bad(self, err, "\"%s\" has %zu bytes, at most %d are taken", key,
                             out->bytes, LIMIT_TEXT_BYTES);
    return STATUS_OK;
}

enum status eval_rows_number(struct eval_rows *self, const char *key, double *out,
                             struct err *err) {
    const json_t *value = json_get(self->row, key);
    if (!value)
        return eval_rows_bad(self, err, "\"%s\" is missing", key);
    if (!json_f64(value, out) || !isfinite(*out))
        return eval_rows_bad(self, err, "\"%s\" is no number", key);
    return STATUS_OK;
}

enum status eval_rows_id(struct eval_rows *self, const char *key, char *out, size_t bytes,
                         struct err *err) {
    const json_t *value = json_get(self->row, key);
    const char *text = json_text(value);
    uint64_t number;
    int n = 0;
    *out = '\0';
    if (text)
        n = snprintf(out, bytes, "%s", text);
    else if (value && json_u64(value, &number))
        n = snprintf(out, bytes, "%" PRIu64, number);
    else if (value && !json_is_null(value))
        return eval_rows_bad(self, err, "\"%s\" is neither a string nor a whole number", key);
    if (n < 0 || (size_t)n >= bytes)
        return eval_rows_bad(self, err, "\"%s\" has more than %zu bytes", key, bytes - 1);
    return STATUS_OK;
}

bool eval_rows_room(void **array, uint32_t n, size_t bytes) {
    enum { FIRST = 256 };
    if (n >= FIRST && (n & (n - 1)) != 0)
        return true; /* sizes are powers of two: there is room until the next one */
    if (n > 0 && n < FIRST)
        return true;
    void *wider = realloc(*array, (size_t)(n ? n * 2 : FIRST) * bytes);
    if (wider)
        *array = wider;
    return wider != NULL;
}
