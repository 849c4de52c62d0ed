/* text_rows.h - the texts of a file of any length, one after the other: lines, or the member "text"
 * of JSON rows when its name ends in .jsonl.
 *
 *     struct text_rows rows; struct view text;
 *     st = text_rows_open(path, &rows, err);
 *     while (st == STATUS_OK && (st = text_rows_next(&rows, &text, err)) == STATUS_OK && !rows.end)
 *         ...;
 *     text_rows_close(&rows);
 *
 * Lines are read as `ember embed --file` reads them: LF and CR at the end go, and an empty line is
 * an empty text, so that the i-th vector belongs to the i-th line. In JSON rows empty lines are
 * passed over.
 *
 * Threads: owner only. Memory: the longest line. */
#ifndef EMBER_MODEL_TOOL_TEXT_ROWS_H
#define EMBER_MODEL_TOOL_TEXT_ROWS_H

#include "base/err.h"
#include "base/view.h"
#include "jsonl.h"

#include <stdint.h>
#include <stdio.h>

struct text_rows {
    const char *path; /* borrowed, for messages */
    FILE *file;
    uint64_t bytes, read; /* of the file, 0 when it has no end that is known; of them so far */
    bool json, end;       /* end: there was no further text */
    unsigned line;        /* of the text read last, from 1 */
    char *data;           /* that line */
    size_t room;
    struct jsonl jsonl;
    json_t *row;
};

/* `path` "-": lines of standard input. STATUS_NOT_FOUND, STATUS_UNAVAILABLE; text_rows_close() is
 * fine after any. */
enum status text_rows_open(const char *path, struct text_rows *self, struct err *err);
void text_rows_close(struct text_rows *self);

/* The next text, valid UTF-8 of at most LIMIT_TEXT_BYTES, which lives until the next call; or
 * self->end. STATUS_DATA_LOSS with "path:line" when it is none, STATUS_UNAVAILABLE when the file
 * cannot be read. */
enum status text_rows_next(struct text_rows *self, struct view *text, struct err *err);

#endif
