/* fuzz_prepared.c - any bytes as the head of a file of prepared weights: refused, or what is in
 * them is what was wanted. An input is a head, then the file's size; the sums in it are made
 * right, so that the comparisons behind them are reached. */
#include "base/check.h"
#include "base/hash.h"
#include "model/prepared.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct model_shape shape = {.layers = 2, .hidden = 32, .heads = 4, .eps = 1e-12f};

static void judge(struct view head, uint64_t file_bytes, const struct prepared_key *key) {
    struct err err = {0};
    enum status st = prepared_check(head, file_bytes, key, &err);
    CHECK(st == STATUS_OK || (err.status == st && err.text[0]));
    if (st != STATUS_OK)
        return;
    struct prepared_header got, want;
    CHECK(head.bytes >= sizeof got && file_bytes == sizeof got + key->bytes);
    memcpy(&got, head.data, sizeof got);
    prepared_expect(key, &want);
    want.image_sum = got.image_sum;
    want.header_sum = got.header_sum;
    CHECK(memcmp(&got, &want, sizeof want) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct prepared_key key = {.fingerprint = {1, 2, 3},
                                     .shape = &shape,
                                     .kernel = gemm_by_name(GEMM_F32, "portable"),
                                     .layout = 1,
                                     .bytes = 12345};
    uint64_t file_bytes = sizeof(struct prepared_header) + key.bytes;
    judge(view_make(data, size), file_bytes, &key);

    struct prepared_header header; /* the same laid over what is wanted */
    prepared_expect(&key, &header);
    memcpy(&header, data, size < sizeof header ? size : sizeof header);
    if (size > sizeof header)
        file_bytes += data[sizeof header];
    header.header_sum = 0;
    header.header_sum = hash_bytes(&header, sizeof header, PREPARED_VERSION);
    judge(view_make(&header, sizeof header), file_bytes, &key);
    return 0;
}
