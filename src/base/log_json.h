/* log_json.h - the pairs of a log line as members of a JSON object.
 *
 *     worker=w1 n=2 msg="a \"b\""   ->   "worker":"w1","n":2,"msg":"a \"b\""
 *
 * A value that is a JSON number of at most LOG_JSON_NUMBER characters, and has no quotes, is one; a
 * word alone is true. What is not UTF-8 becomes U+FFFD, control characters '?'. A pair that does
 * not fit is left out, and all that follow, so that what is there can be read. Pure. */
#ifndef EMBER_BASE_LOG_JSON_H
#define EMBER_BASE_LOG_JSON_H

#include "base/view.h"

enum { LOG_JSON_NUMBER = 15 }; /* longer ones are hashes or do not fit a double */

/* Returns the bytes written, without a NUL; at most out_bytes. */
size_t log_json(struct view pairs, char *out, size_t out_bytes);

#endif
