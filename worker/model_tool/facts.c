/* facts.c - one list of facts, two ways to write it. */
#include "facts.h"

#include "json/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { QUOTED_MAX = 1024 };

struct facts facts_begin(bool json) {
    if (json)
        putchar('{');
    return (struct facts){.json = json};
}

void facts_end(struct facts *self) {
    if (self->json)
        puts("\n}");
}

void facts_key(struct facts *self, const char *key) {
    if (self->json)
        printf("%s\n  \"%s\": ", self->more ? "," : "", key);
    else
        printf("%-14s ", key);
    self->more = true;
}

void facts_quote(struct view text) {
    char quoted[QUOTED_MAX];
    if (json_quote(text, quoted, sizeof quoted) >= sizeof quoted)
        memcpy(quoted + sizeof quoted - 6, "...\"", 5);
    fputs(quoted, stdout);
}

void facts_text(struct facts *self, const char *key, const char *text) {
    facts_key(self, key);
    if (self->json)
        facts_quote(view_of(text));
    else
        puts(text);
}

static void end_of_number(const struct facts *self, const char *unit) {
    if (!self->json)
        printf("%s%s\n", *unit ? " " : "", unit);
}

void facts_count(struct facts *self, const char *key, uint64_t x, const char *unit) {
    facts_key(self, key);
    printf("%" PRIu64, x);
    end_of_number(self, unit);
}

void facts_number(struct facts *self, const char *key, double x, int digits, const char *unit) {
    facts_key(self, key);
    if (isfinite(x))
        printf("%.*f", digits, x);
    else
        fputs(self->json ? "null" : "none", stdout);
    end_of_number(self, unit);
}

void facts_bytes(struct facts *self, const char *key, uint64_t x) {
    facts_key(self, key);
    if (self->json)
        printf("%" PRIu64, x);
    else
        printf("%.1f MB\n", (double)x / 1e6);
}

void facts_bool(struct facts *self, const char *key, bool x) {
    facts_key(self, key);
    fputs(self->json ? (x ? "true" : "false") : (x ? "yes\n" : "no\n"), stdout);
}
