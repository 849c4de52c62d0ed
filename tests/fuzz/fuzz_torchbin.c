/* fuzz_torchbin.c - the bytes as a whole pytorch_model.bin, and as the pickle inside one, where
 * most of the language is: checksums of an archive are hard to guess. */
#include "base/check.h"
#include "model/pickle.h"
#include "model/torchbin.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum status check(void *arg, struct view name, const struct pickle_tensor *t,
                         struct err *err) {
    (void)arg;
    (void)name;
    (void)err;
    CHECK(t->rank <= WEIGHTS_RANK_MAX && t->element_bytes >= 1);
    CHECK(t->offset <= t->count);
    bool empty = false;
    uint64_t last = t->offset, n = 1;
    for (uint32_t i = 0; i < t->rank; i++)
        empty |= t->shape[i] == 0;
    if (empty)
        return STATUS_OK;
    for (uint32_t i = 0; i < t->rank; i++) {
        last += (t->shape[i] - 1) * t->stride[i];
        n *= t->shape[i];
    }
    CHECK(last == t->last && last < t->count && n <= t->count);
    return STATUS_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct err err;
    (void)pickle_read(view_make(data, size), check, NULL, &err);
    weights_t *weights = weights_new();
    CHECK(weights);
    if (torchbin_read(view_make(data, size), weights, &err) == STATUS_OK &&
        weights_seal(weights, &err) == STATUS_OK) {
        for (uint32_t i = 0; i < weights_count(weights); i++) {
            const struct tensor *t = weights_at(weights, i);
            if (t->rank != 2 || !weights_type_bytes(t->type))
                continue;
            float *out = malloc((size_t)(t->shape[0] * t->shape[1]) * sizeof *out + 1);
            CHECK(out);
            (void)weights_read(weights, t->name, t->shape[0], t->shape[1], out, &err);
            free(out);
        }
    }
    weights_destroy(&weights);
    return 0;
}
