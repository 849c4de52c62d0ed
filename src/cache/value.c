/* value.c - writes and reads entries. The reader takes the header apart, writes it again from
 * what it understood and compares all 96 bytes: so leading zeros, a second blank or a stray byte
 * cannot pass, and there is one place that knows how a header looks. The JSON of a `cls` is read
 * by a scanner of the few forms the writer uses; a general parser would accept (and allocate)
 * more.
 *
 * Order of the checks, and with it the reason that is counted: form, crc, kind and shape, sha. A
 * damaged value is told as damaged, not as another text. */
#include "cache/value.h"

#include "base/hash.h"
#include "digest/digest.h"
#include "json/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "vectors are stored as they are in memory");

const char *value_fault_name(enum value_fault fault) {
    static const char *const names[VALUE_FAULTS] = {"ok", "malformed", "other-text", "crc",
                                                    "shape"};
    return (unsigned)fault < VALUE_FAULTS ? names[fault] : "invalid";
}

/* The header up to and without " crc=" into out[VALUE_HEADER_BYTES]; its bytes, 0 when it is too
 * long for what must follow. */
static size_t write_facts(enum cache_kind kind, uint32_t n, uint32_t tokens, bool truncated,
                          const uint8_t sha[VALUE_SHA_BYTES], char *out) {
    char hex[2 * VALUE_SHA_BYTES + 1], what[40];
    digest_hex(sha, VALUE_SHA_BYTES, hex);
    if (kind == CACHE_EMB)
        snprintf(what, sizeof what, "emb dim=%u type=f32", n);
    else if (kind == CACHE_CLS)
        snprintf(what, sizeof what, "cls labels=%u", n);
    else
        snprintf(what, sizeof what, "rank");
    int bytes = snprintf(out, VALUE_HEADER_BYTES, "ember1 %s tokens=%u truncated=%d sha=%s", what,
                         tokens, truncated, hex);
    return bytes + 5 + 8 + 1 <= VALUE_HEADER_BYTES ? (size_t)bytes : 0;
}

/* All of the header, given its first `bytes` and the payload's place behind it. */
static void finish_header(char *header, size_t bytes, struct view payload) {
    uint32_t crc = digest_crc32(0, view_make(header, bytes));
    if (payload.bytes)
        crc = digest_crc32(crc, payload);
    char tail[16];
    int tail_bytes = snprintf(tail, sizeof tail, " crc=%08x", crc);
    memcpy(header + bytes, tail, (size_t)tail_bytes);
    memset(header + bytes + tail_bytes, ' ', VALUE_HEADER_BYTES - bytes - (size_t)tail_bytes);
    header[VALUE_HEADER_BYTES - 1] = '\n';
}

/* --- reading --- */

struct scan {
    const char *at, *end;
};

static bool scan_text(struct scan *scan, const char *text) {
    size_t bytes = strlen(text);
    if ((size_t)(scan->end - scan->at) < bytes || memcmp(scan->at, text, bytes) != 0)
        return false;
    scan->at += bytes;
    return true;
}

static bool scan_number(struct scan *scan, uint32_t *out) {
    uint32_t value = 0;
    unsigned digits = 0;
    for (; scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9'; scan->at++) {
        if (++digits > 9)
            return false;
        value = value * 10 + (uint32_t)(*scan->at - '0');
    }
    *out = value;
    return digits > 0;
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool scan_hex(struct scan *scan, uint8_t *out, size_t n) {
    if ((size_t)(scan->end - scan->at) < 2 * n)
        return false;
    for (size_t i = 0; i < n; i++, scan->at += 2) {
        int high = hex_digit(scan->at[0]), low = hex_digit(scan->at[1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool scan_kind(struct scan *scan, struct value_facts *facts) {
    if (scan_text(scan, "ember1 emb dim=")) {
        facts->kind = CACHE_EMB;
        return scan_number(scan, &facts->n) && scan_text(scan, " type=f32");
    }
    if (scan_text(scan, "ember1 cls labels=")) {
        facts->kind = CACHE_CLS;
        return scan_number(scan, &facts->n);
    }
    facts->kind = CACHE_RANK;
    facts->n = 1;
    return scan_text(scan, "ember1 rank");
}

static bool scan_header(struct scan *scan, struct value_facts *facts) {
    uint32_t truncated;
    if (!scan_kind(scan, facts) || !scan_text(scan, " tokens=") ||
        !scan_number(scan, &facts->tokens) || !scan_text(scan, " truncated=") ||
        !scan_number(scan, &truncated) || truncated > 1 || !scan_text(scan, " sha=") ||
        !scan_hex(scan, facts->sha, VALUE_SHA_BYTES) || !scan_text(scan, " crc="))
        return false;
    facts->truncated = truncated;
    return true;
}

enum value_fault value_facts(struct view value, struct value_facts *out) {
    if (value.bytes < VALUE_HEADER_BYTES || value.bytes > LIMIT_CACHE_VALUE_BYTES)
        return VALUE_MALFORMED;
    struct scan scan = {value.data, value.data + VALUE_HEADER_BYTES};
    struct value_facts facts;
    if (!scan_header(&scan, &facts))
        return VALUE_MALFORMED;
    facts.payload = view_make(value.data + VALUE_HEADER_BYTES, value.bytes - VALUE_HEADER_BYTES);
    if (facts.n == 0 || facts.n > VALUE_NUMBERS_MAX ||
        (facts.kind == CACHE_EMB && facts.payload.bytes != facts.n * sizeof(float)))
        return VALUE_MALFORMED;
    char again[VALUE_HEADER_BYTES];
    size_t bytes =
        write_facts(facts.kind, facts.n, facts.tokens, facts.truncated, facts.sha, again);
    if (bytes == 0 || memcmp(again, value.data, bytes) != 0)
        return VALUE_MALFORMED;
    finish_header(again, bytes, facts.payload);
    size_t digits = bytes + 5; /* of the crc */
    uint8_t crc[4];
    scan = (struct scan){value.data + digits, value.data + digits + 8};
    if (!scan_hex(&scan, crc, sizeof crc) ||
        memcmp(again + digits + 8, value.data + digits + 8, VALUE_HEADER_BYTES - digits - 8) != 0)
        return VALUE_MALFORMED;
    if (memcmp(again, value.data, VALUE_HEADER_BYTES) != 0)
        return VALUE_CRC;
    *out = facts;
    return VALUE_OK;
}

/* One character of a JSON string in the forms json_quote() writes; false for any other. */
static bool scan_char(struct scan *scan, char *out) {
    if (scan->at == scan->end || (unsigned char)*scan->at < 0x20)
        return false;
    if (*scan->at != '\\') {
        *out = *scan->at++;
        return true;
    }
    static const char from[] = "\"\\ntr", to[] = "\"\\\n\t\r";
    if (scan_text(scan, "\\u00")) {
        uint8_t byte;
        bool fine = scan_hex(scan, &byte, 1);
        *out = (char)byte;
        return fine;
    }
    if (scan->end - scan->at < 2 || !scan->at[1])
        return false;
    const char *letter = strchr(from, scan->at[1]);
    if (!letter)
        return false;
    *out = to[letter - from];
    scan->at += 2;
    return true;
}

static bool scan_label(struct scan *scan, char *label, size_t *bytes) {
    if (!scan_text(scan, "\""))
        return false;
    for (*bytes = 0; !scan_text(scan, "\""); ++*bytes)
        if (*bytes == LIMIT_LABEL_BYTES || !scan_char(scan, &label[*bytes]))
            return false;
    return true;
}

static bool scan_float(struct scan *scan, float *out) {
    char text[32], *end;
    size_t n = 0;
    while (scan->at < scan->end && n < sizeof text - 1 && *scan->at &&
           strchr("0123456789+-.e", *scan->at))
        text[n++] = *scan->at++;
    text[n] = '\0';
    *out = strtof(text, &end);
    return n > 0 && *end == '\0' && isfinite(*out);
}

static bool is_score(float x) {
    return x >= 0 && x <= 1; /* and no NaN */
}

static enum value_fault parse_scores(struct view json, uint32_t n, uint64_t labels_check,
                                     float *scores) {
    struct scan scan = {json.data, json.data + json.bytes};
    uint64_t check = KEY_LABELS_CHECK;
    if (!scan_text(&scan, "{"))
        return VALUE_MALFORMED;
    for (uint32_t i = 0; i < n; i++) {
        char label[LIMIT_LABEL_BYTES];
        size_t bytes;
        if ((i && !scan_text(&scan, ",")) || !scan_label(&scan, label, &bytes) ||
            !scan_text(&scan, ":") || !scan_float(&scan, &scores[i]) || !is_score(scores[i]))
            return VALUE_MALFORMED;
        check = hash_bytes(label, bytes, check);
    }
    if (!scan_text(&scan, "}") || scan.at != scan.end)
        return VALUE_MALFORMED;
    return check == labels_check ? VALUE_OK : VALUE_SHAPE;
}

static enum value_fault parse_logit(struct view json, float *out) {
    struct scan scan = {json.data, json.data + json.bytes};
    bool fine = scan_text(&scan, "{\"logit\":") && scan_float(&scan, out) &&
                scan_text(&scan, "}") && scan.at == scan.end;
    return fine ? VALUE_OK : VALUE_MALFORMED;
}

static bool all_scores(const float *numbers, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        if (!is_score(numbers[i]))
            return false;
    return true;
}

static bool all_finite(const float *numbers, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        if (!isfinite(numbers[i]))
            return false;
    return true;
}

enum value_fault value_parse(struct view value, const struct cache_key *key, float *numbers,
                             struct cache_entry *out) {
    struct value_facts facts;
    enum value_fault fault = value_facts(value, &facts);
    if (fault != VALUE_OK)
        return fault;
    if (facts.kind != key->kind || facts.n != key->n)
        return VALUE_SHAPE;
    if (memcmp(facts.sha, key->sha, VALUE_SHA_BYTES) != 0)
        return VALUE_OTHER_TEXT;
    if (facts.kind == CACHE_CLS) {
        fault = parse_scores(facts.payload, facts.n, key->labels_check, numbers);
    } else if (facts.kind == CACHE_RANK) {
        fault = parse_logit(facts.payload, numbers);
    } else {
        memcpy(numbers, facts.payload.data, facts.payload.bytes);
        fault = all_finite(numbers, facts.n) ? VALUE_OK : VALUE_MALFORMED;
    }
    if (fault != VALUE_OK)
        return fault;
    *out = (struct cache_entry){facts.kind, facts.truncated, facts.tokens, facts.n, numbers};
    return VALUE_OK;
}

/* --- writing --- */

/* JSON of the scores into out; 0 when it does not fit. */
static size_t write_scores(const struct cache_entry *entry, const struct key_labels *labels,
                           char *out, size_t out_bytes) {
    size_t n = 0;
    for (uint32_t i = 0; i < entry->n; i++) {
        if (out_bytes - n < 40) /* brace or comma, ':' and the longest number take less */
            return 0;
        out[n++] = i ? ',' : '{';
        size_t quoted = json_quote(labels->labels[labels->order[i]], out + n, out_bytes - n);
        if (quoted + 40 > out_bytes - n)
            return 0;
        n += quoted;
        n += (size_t)snprintf(out + n, out_bytes - n, ":%.9g", (double)entry->numbers[i]);
    }
    out[n++] = '}';
    return n;
}

/* What follows the header, into out; its bytes, 0 when it does not fit. */
static size_t write_payload(const struct cache_entry *entry, const struct key_labels *labels,
                            char *out, size_t out_bytes) {
    char json[40];
    const void *from = entry->numbers;
    size_t bytes = entry->n * sizeof(float);
    if (entry->kind == CACHE_CLS)
        return write_scores(entry, labels, out, out_bytes);
    if (entry->kind == CACHE_RANK) {
        from = json;
        bytes = (size_t)snprintf(json, sizeof json, "{\"logit\":%.9g}", (double)entry->numbers[0]);
    }
    if (bytes > out_bytes)
        return 0;
    memcpy(out, from, bytes);
    return bytes;
}

size_t value_write(const struct cache_key *key, const struct cache_entry *entry,
                   const struct key_labels *labels, char *out, size_t out_bytes) {
    if (out_bytes > LIMIT_CACHE_VALUE_BYTES)
        out_bytes = LIMIT_CACHE_VALUE_BYTES;
    if (entry->kind != key->kind || entry->n != key->n || out_bytes < VALUE_HEADER_BYTES ||
        entry->n == 0 || !all_finite(entry->numbers, entry->n))
        return 0;
    if (entry->kind == CACHE_CLS &&
        (!labels || labels->n != entry->n || labels->check != key->labels_check ||
         !all_scores(entry->numbers, entry->n)))
        return 0;
    char *payload = out + VALUE_HEADER_BYTES;
    size_t bytes = write_payload(entry, labels, payload, out_bytes - VALUE_HEADER_BYTES);
    size_t header =
        write_facts(entry->kind, entry->n, entry->tokens, entry->truncated, key->sha, out);
    if (header == 0 || bytes == 0)
        return 0;
    finish_header(out, header, view_make(payload, bytes));
    return VALUE_HEADER_BYTES + bytes;
}
