/* check_tokenizer.c - token ids of single texts and pairs against recorded ones. */
#include "checks.h"

#include "base/limits.h"
#include "jsonl.h"
#include "text/tokenizer.h"
#include "json/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN_MAX = 10 }; /* failures that are printed; all are counted */

struct encoded {
    int32_t *ids, *types; /* [LIMIT_TOKENS] */
    uint32_t n, n_full;
};

/* False when the row lacks what it needs. */
static bool encode(const tokenizer_t *tokenizer, const struct jsonl *file, const json_t *row,
                   struct encoded *out) {
    struct view a, b;
    uint64_t max = LIMIT_TOKENS;
    if (!jsonl_text(file, json_get(row, "text"), &a))
        return false;
    bool pair = jsonl_text(file, json_get(row, "text_b"), &b);
    json_u64(json_get(row, "max_length"), &max);
    if (max < (pair ? 3 : 2) || max > LIMIT_TOKENS)
        return false;
    if (!pair) {
        out->n = tokenizer_encode(tokenizer, a, (uint32_t)max, TOKENIZER_CUT_RIGHT, out->ids,
                                  &out->n_full);
        memset(out->types, 0, out->n * sizeof *out->types);
        return true;
    }
    const char *cut = json_text(json_get(row, "truncation"));
    out->n = tokenizer_encode_pair(tokenizer, a, b, (uint32_t)max,
                                   cut && strcmp(cut, "only_first") == 0 ? TOKENIZER_ONLY_FIRST
                                                                         : TOKENIZER_LONGEST_FIRST,
                                   out->ids, out->types, &out->n_full);
    return true;
}

/* Index of the first difference, or -1. */
static int64_t differs(const json_t *want, const int32_t *got, uint32_t n) {
    int64_t i = 0;
    for (const json_t *e = json_first(want); e; e = json_next(e), i++) {
        double x;
        if (i == n || !json_f64(e, &x) || x != got[i])
            return i;
    }
    return i == n ? -1 : i;
}

static bool passes(const struct jsonl *file, const json_t *row, const tokenizer_t *tokenizer,
                   struct encoded *room, char *why, size_t why_bytes) {
    const json_t *ids = json_get(row, "ids"), *types = json_get(row, "type_ids");
    uint64_t n_full;
    if (!json_is_array(ids) || !encode(tokenizer, file, row, room)) {
        snprintf(why, why_bytes,
                 "it needs \"text\", \"ids\" and a max_length of 2 (pairs: 3) to %d", LIMIT_TOKENS);
        return false;
    }
    int64_t at = differs(ids, room->ids, room->n);
    if (at >= 0) {
        snprintf(why, why_bytes, "ids differ from token %lld on (%u ids, want %u)", (long long)at,
                 room->n, json_size(ids));
        return false;
    }
    if (json_is_array(types) && differs(types, room->types, room->n) >= 0) {
        snprintf(why, why_bytes, "type_ids differ");
        return false;
    }
    if (json_u64(json_get(row, "n_full"), &n_full) && n_full != room->n_full) {
        snprintf(why, why_bytes, "%u tokens uncut, want %llu", room->n_full,
                 (unsigned long long)n_full);
        return false;
    }
    return true;
}

enum status check_tokenizer(const char *model_dir, const char *cases, struct check_tally *tally,
                            struct err *err) {
    struct jsonl file = {0};
    struct encoded room = {0};
    tokenizer_t *tokenizer = NULL;
    json_t *row = NULL;
    uint32_t lines = 0, failed = 0;
    room.ids = calloc(LIMIT_TOKENS, sizeof *room.ids);
    room.types = calloc(LIMIT_TOKENS, sizeof *room.types);
    enum status st = STATUS_OK;
    if (!room.ids || !room.types)
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    if (st == STATUS_OK)
        st = tokenizer_load(model_dir, &tokenizer, err);
    if (st == STATUS_OK)
        st = jsonl_open(cases, &file, err);
    while (st == STATUS_OK && (st = jsonl_next(&file, &row, err)) == STATUS_OK && row) {
        char why[200];
        lines++;
        if (!passes(&file, row, tokenizer, &room, why, sizeof why) && failed++ < SHOWN_MAX)
            printf("%s:%u: FAIL: %s\n", cases, file.line, why);
        json_destroy(&row);
    }
    if (st == STATUS_OK)
        printf("%-24s %4u lines  %u failed\n", cases, lines, failed);
    tally->ran += lines;
    tally->failed += failed;
    jsonl_close(&file);
    tokenizer_destroy(&tokenizer);
    free(room.ids);
    free(room.types);
    return st;
}
