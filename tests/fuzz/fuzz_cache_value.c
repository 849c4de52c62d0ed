/* fuzz_cache_value.c - a value from Redis is bytes from outside. Whatever is read as an answer
 * must be finite, and an `emb` is written again to the same bytes. */
#include "base/check.h"
#include "cache/value.h"
#include "digest/digest.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_value(struct view value) {
    static float numbers[VALUE_NUMBERS_MAX];
    static char again[LIMIT_CACHE_VALUE_BYTES];
    struct value_facts facts;
    enum value_fault fault = value_facts(value, &facts);
    if (fault != VALUE_OK) {
        CHECK(fault == VALUE_MALFORMED || fault == VALUE_CRC);
        return;
    }
    /* A key that agrees, so that the payload is read too; of a `cls`, labels "a" and "b". */
    static const struct view labels[2] = {{"a", 1}, {"b", 1}};
    struct key_labels sorted;
    CHECK(key_labels_init(&sorted, labels, 2, false, NULL) == STATUS_OK);
    struct cache_key key = {.kind = facts.kind, .n = facts.n};
    key.labels_check = facts.kind == CACHE_CLS ? sorted.check : 0;
    memcpy(key.sha, facts.sha, sizeof facts.sha);
    struct cache_entry entry;
    if (value_parse(value, &key, numbers, &entry) != VALUE_OK)
        return;
    for (uint32_t i = 0; i < entry.n; i++)
        CHECK(isfinite(entry.numbers[i]));
    if (entry.kind == CACHE_EMB) {
        CHECK(value_write(&key, &entry, NULL, again, sizeof again) == value.bytes);
        CHECK(memcmp(again, value.data, value.bytes) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char mended[LIMIT_CACHE_VALUE_BYTES];
    read_value(view_make(data, size));
    /* And with its crc made right: no mutation hits one by chance, and what lies behind it would
     * never be reached. */
    if (size < VALUE_HEADER_BYTES || size > sizeof mended)
        return 0;
    memcpy(mended, data, size);
    char *crc = memmem(mended, VALUE_HEADER_BYTES - 13, " crc=", 5);
    if (!crc)
        return 0;
    struct view facts = view_make(mended, (size_t)(crc - mended));
    struct view payload = view_make(mended + VALUE_HEADER_BYTES, size - VALUE_HEADER_BYTES);
    char digits[9];
    snprintf(digits, sizeof digits, "%08x", digest_crc32(digest_crc32(0, facts), payload));
    memcpy(crc + 5, digits, 8);
    read_value(view_make(mended, size));
    return 0;
}
