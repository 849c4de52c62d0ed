/* eval_rows.h - the rows of an evaluation file, one JSON object a line, with "path:line" in every
 * message.
 *
 *     struct eval_rows rows;
 *     st = eval_rows_open(path, limit, &rows, err);
 *     while (st == STATUS_OK && (st = eval_rows_next(&rows, err)) == STATUS_OK && rows.row)
 *         st = eval_rows_text(&rows, "text", NULL, &text, err);
 *     eval_rows_close(&rows);
 *
 * Threads: owner only. */
#ifndef EMBER_MODEL_TOOL_EVAL_ROWS_H
#define EMBER_MODEL_TOOL_EVAL_ROWS_H

#include "base/err.h"
#include "base/view.h"
#include "jsonl.h"

#include <stdint.h>

enum { EVAL_ROWS_MAX = 1000 * 1000 };

struct eval_rows {
    struct jsonl file;
    json_t *row;    /* the one read last; NULL behind the end */
    uint32_t n;     /* rows read */
    uint32_t limit; /* of them: the rest of the file is not looked at */
};

/* `limit` 0: all, at most EVAL_ROWS_MAX. Errors as jsonl_open(); eval_rows_close() is fine after
 * any. */
enum status eval_rows_open(const char *path, uint32_t limit, struct eval_rows *self,
                           struct err *err);
void eval_rows_close(struct eval_rows *self);

/* STATUS_DATA_LOSS: the line is no JSON object, or the file ends without any row. */
enum status eval_rows_next(struct eval_rows *self, struct err *err);

/* Members of the row; STATUS_DATA_LOSS when they are missing or of another type. Texts live until
 * the next row and have at most LIMIT_TEXT_BYTES; they may be empty. `other` is a second name that
 * the member may have, or NULL. */
enum status eval_rows_text(struct eval_rows *self, const char *key, const char *other,
                           struct view *out, struct err *err);
enum status eval_rows_number(struct eval_rows *self, const char *key, double *out, struct err *err);

/* A string or a whole number as text in out[bytes]; "" when there is none. */
enum status eval_rows_id(struct eval_rows *self, const char *key, char *out, size_t bytes,
                         struct err *err);

/* STATUS_DATA_LOSS with "path:line: " in front of the formatted text. */
enum status eval_rows_bad(const struct eval_rows *self, struct err *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* *array with room for `n` elements of `bytes` bytes, doubled when n has outgrown it: for arrays
 * that grow a row at a time, *array NULL at first. False without memory. */
bool eval_rows_room(void **array, uint32_t n, size_t bytes);

#endif
