/* jsonl.h - files of one JSON object per line, split at LF only: texts may hold other line ends.
 *
 *     struct jsonl file; json_t *row;
 *     st = jsonl_open(path, &file, err);
 *     while (st == STATUS_OK && (st = jsonl_next(&file, &row, err)) == STATUS_OK && row) {
 *         ...; json_destroy(&row);
 *     }
 *     jsonl_close(&file);
 *
 * Threads: owner only. */
#ifndef EMBER_MODEL_TOOL_JSONL_H
#define EMBER_MODEL_TOOL_JSONL_H

#include "base/err.h"
#include "base/view.h"
#include "json/json.h"

#include <stddef.h>

enum { JSONL_FILE_MAX = 256 * 1024 * 1024 }; /* bytes of one file */

struct jsonl {
    const char *path; /* borrowed, for messages */
    char *data;
    size_t bytes, at;
    unsigned line;   /* of the row that was read last, from 1 */
    const char *nul; /* UTF-8 of what stands for U+0000 in that row, NULL when it has none */
};

/* STATUS_NOT_FOUND, STATUS_UNAVAILABLE, STATUS_RESOURCE_EXHAUSTED. jsonl_close() is fine after
 * any. */
enum status jsonl_open(const char *path, struct jsonl *self, struct err *err);
void jsonl_close(struct jsonl *self);

/* The next row, which the caller destroys; NULL behind the last. Empty lines are passed over.
 * STATUS_DATA_LOSS with "path:line" when a line is no JSON object. */
enum status jsonl_next(struct jsonl *self, json_t **row, struct err *err);

/* The same for a line that the caller read itself, its LF left out; `line` may be written to and is
 * not kept. For files that need not fit into memory: begin with {.path = ...} and count .line. */
enum status jsonl_line(struct jsonl *self, char *line, size_t bytes, json_t **row, struct err *err);

/* The string `value` of the row read last, U+0000 included: json_text() ends at a NUL, so such a
 * row is read with a stand-in, which is put right here, in the string itself: once per value.
 * False when it is no string. The view lives as long as the row. */
bool jsonl_text(const struct jsonl *self, const json_t *value, struct view *out);

#endif
