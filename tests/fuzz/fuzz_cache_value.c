/* fuzz_cache_value.c - a value from Redis is bytes from outside. Whatever is read as an answer must be
 * finite, and an `emb` is written again to the same bytes. */
#include "base/check.h"
#include "cache/value.h"

#include <math.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static float numbers[VALUE_NUMBERS_MAX];
    static char again[LIMIT_CACHE_VALUE_BYTES];
    struct view value = view_make(data, size);
    struct value_facts facts;
    enum value_fault fault = value_facts(value, &facts);
    if (fault != VALUE_OK) {
        CHECK(fault == VALUE_MALFORMED || fault == VALUE_CRC);
        return 0;
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
        return 0;
    for (uint32_t i = 0; i < entry.n; i++)
        CHECK(isfinite(entry.numbers[i]));
    if (entry.kind == CACHE_EMB) {
        CHECK(value_write(&key, &entry, NULL, again, sizeof again) == size);
        CHECK(memcmp(again, data, size) == 0);
    }
    return 0;
}
