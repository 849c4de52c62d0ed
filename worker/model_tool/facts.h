/* facts.h - what a subcommand found out, as lines for people or as members of one JSON object.
 *
 *     struct facts facts = facts_begin(json);
 *     facts_text(&facts, "family", "bert");        family         bert
 *     facts_end(&facts);                       or  {"family": "bert"}
 *
 * Threads: owner only; writes to stdout. */
#ifndef EMBER_MODEL_TOOL_FACTS_H
#define EMBER_MODEL_TOOL_FACTS_H

#include "base/view.h"

#include <stdbool.h>
#include <stdint.h>

struct facts {
    bool json;
    bool more; /* JSON: a comma comes first */
};

struct facts facts_begin(bool json);
void facts_end(struct facts *self); /* closes the object */

/* The name alone; the caller prints the value behind it, for people with its line's end. */
void facts_key(struct facts *self, const char *key);

/* `unit` is for people alone, "" for none. */
void facts_text(struct facts *self, const char *key, const char *text);
void facts_count(struct facts *self, const char *key, uint64_t x, const char *unit);
void facts_bytes(struct facts *self, const char *key, uint64_t x); /* people read MB */
void facts_bool(struct facts *self, const char *key, bool x);

/* A number with `digits` behind the point; NaN and infinity are null in JSON, "none" for people. */
void facts_number(struct facts *self, const char *key, double x, int digits, const char *unit);

/* `text` as a JSON string on stdout, cut when it is very long. */
void facts_quote(struct view text);

#endif
