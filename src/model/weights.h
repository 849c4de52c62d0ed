/* weights.h - the tensors of one model, by name, whatever file they lie in.
 *
 * A reader (safetensors.c, torchbin.c) maps its file, checks its index once and adds tensors here; from
 * then on every view is known to lie inside its mapping. Values are not looked at until they are read.
 * Threads: immutable once loaded. */
#ifndef EMBER_MODEL_WEIGHTS_H
#define EMBER_MODEL_WEIGHTS_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum weights_type { WEIGHTS_F32, WEIGHTS_F16, WEIGHTS_BF16, WEIGHTS_F64, WEIGHTS_I64, WEIGHTS_OTHER };
enum { WEIGHTS_RANK_MAX = 4 };

struct tensor {
    const char *name; /* owned by the weights */
    enum weights_type type;
    uint32_t rank; /* 0..WEIGHTS_RANK_MAX */
    uint64_t shape[WEIGHTS_RANK_MAX];
    const void *data; /* row-major, little-endian, no alignment promised */
    size_t bytes;
};

typedef struct weights weights_t;

/* Open the weights of a published model directory: model.safetensors, else
 * model.safetensors.index.json with its files, else pytorch_model.bin, else its index.
 * STATUS_NOT_FOUND no such file; STATUS_DATA_LOSS malformed, truncated or out of range;
 * STATUS_RESOURCE_EXHAUSTED beyond a limit; STATUS_UNIMPLEMENTED a form we do not read;
 * STATUS_PERMISSION_DENIED a pickle that asks for code, or a path out of the directory.
 * The message names the file. */
enum status weights_open(const char *dir, weights_t **out, struct err *err);
void weights_destroy(weights_t **self); /* NULL is fine */

/* By full name; NULL when absent. */
const struct tensor *weights_find(const weights_t *self, const char *name);
uint32_t weights_count(const weights_t *self);
const struct tensor *weights_at(const weights_t *self, uint32_t i); /* in order of name */

/* Read a floating tensor (F32, F16, BF16, F64) of exactly rows x cols (rank 2, or rank 1 with rows 1)
 * widened to float32 into out[rows * cols].
 * STATUS_NOT_FOUND absent; STATUS_DATA_LOSS other shape, other type, or NaN or infinity among the
 * values. */
enum status weights_read(const weights_t *self, const char *name, uint64_t rows, uint64_t cols,
                         float *out, struct err *err);

#endif
