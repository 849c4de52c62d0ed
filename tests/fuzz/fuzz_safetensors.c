/* fuzz_safetensors.c - a file of any bytes: refused, or every tensor can be read to its last
 * byte. */
#include "base/check.h"
#include "model/safetensors.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    weights_t *weights = weights_new();
    struct err err;
    CHECK(weights);
    if (safetensors_read(view_make(data, size), weights, &err) == STATUS_OK &&
        weights_seal(weights, &err) == STATUS_OK) {
        for (uint32_t i = 0; i < weights_count(weights); i++) {
            const struct tensor *t = weights_at(weights, i);
            CHECK(weights_find(weights, t->name) == t);
            if (t->rank != 2 || t->bytes > size || !weights_type_bytes(t->type))
                continue;
            float *out = malloc(t->bytes * 2 + 1);
            CHECK(out);
            (void)weights_read(weights, t->name, t->shape[0], t->shape[1], out, &err);
            free(out);
        }
    }
    weights_destroy(&weights);
    return 0;
}
