/* json.h - whole JSON documents from files and strangers; the door to cJSON.
 *
 * A document is checked once when it is read: size, nesting, UTF-8, no bytes behind it, no key
 * twice in one object. Afterwards values are borrowed from it. Numbers are doubles: json_u64()
 * takes integers up to 2^53 and refuses everything else. Threads: a document may be read by any
 * number of threads. */
#ifndef EMBER_JSON_H
#define EMBER_JSON_H

#include "base/err.h"
#include "base/view.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct cJSON json_t; /* a value inside a document, or its root */

/* Parse `text`; `what` names it in messages. STATUS_DATA_LOSS when it is malformed,
 * STATUS_RESOURCE_EXHAUSTED beyond `max_bytes`, LIMIT_JSON_DEPTH or memory. */
enum status json_parse(struct view text, size_t max_bytes, const char *what, json_t **out,
                       struct err *err);

/* Read and parse a file; STATUS_NOT_FOUND when it does not exist, STATUS_UNAVAILABLE when it
 * cannot be read. `path` is the name in messages. */
enum status json_load(const char *path, size_t max_bytes, json_t **out, struct err *err);
void json_destroy(json_t **self); /* a root; NULL is fine */

/* Members and elements; NULL when absent or when `self` is NULL or of another type. */
const json_t *json_get(const json_t *self, const char *key);
const json_t *json_first(const json_t *self); /* of an array or object; then json_next() */
const json_t *json_next(const json_t *self);
const char *json_key(const json_t *self); /* of an object's member */
uint32_t json_size(const json_t *self);   /* elements or members */

bool json_is_object(const json_t *self);
bool json_is_array(const json_t *self);
bool json_is_null(const json_t *self);

/* Value with its type checked: false, and *out untouched, when absent or of another type. */
bool json_u64(const json_t *self, uint64_t *out);
bool json_f64(const json_t *self, double *out);
bool json_bool(const json_t *self, bool *out);
const char *json_text(const json_t *self); /* NULL when it is no string */

/* Write `text` as a JSON string, quotes included, into out (at most out_bytes with the NUL).
 * Returns the bytes it needs without the NUL, as snprintf does. */
size_t json_quote(struct view text, char *out, size_t out_bytes);

#endif
