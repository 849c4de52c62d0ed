/* weights.h - the tensors of one model, by name, whatever file they lie in.
 *
 *     model.safetensors    --safetensors.c--.
 *     ...-00001-of-00002   --safetensors.c--+-->  names, types, shapes, views into the mapped files
 *     pytorch_model.bin    --torchbin.c-----'                 |
 *                                                             '-- weights_read() --> float32
 *
 * A reader maps its file, checks its index once and adds tensors here; from then on every view
 * is known to lie inside its mapping. Values are not looked at until they are read. Threads:
 * immutable once open. Memory: the tensors stay in the mapped files, only names and shapes are
 * ours. */
#ifndef EMBER_MODEL_WEIGHTS_H
#define EMBER_MODEL_WEIGHTS_H

#include "base/err.h"
#include "base/view.h"
#include "model/mapped.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum weights_type {
    WEIGHTS_F32,
    WEIGHTS_F16,
    WEIGHTS_BF16,
    WEIGHTS_F64,
    WEIGHTS_I64,
    WEIGHTS_I32,
    WEIGHTS_OTHER
};
enum { WEIGHTS_RANK_MAX = 8 };

struct tensor {
    const char *name; /* owned by the weights */
    enum weights_type type;
    uint32_t rank; /* 0..WEIGHTS_RANK_MAX */
    uint64_t shape[WEIGHTS_RANK_MAX];
    uint64_t stride
        [WEIGHTS_RANK_MAX]; /* in elements: [i, j] lies at data[i * stride[0] + j * stride[1]] */
    bool dense;             /* the strides are those of a row-major array without gaps */
    const void *data;       /* little-endian, no alignment promised */
    size_t bytes;           /* from data to behind the last element */
};

typedef struct weights weights_t;

/* Open the weights of a published model directory: model.safetensors, else
 * model.safetensors.index.json with its files, else pytorch_model.bin, else its index.
 *   STATUS_NOT_FOUND           none of them is there, or a file that the index names is not
 *   STATUS_UNAVAILABLE         a file cannot be opened
 *   STATUS_DATA_LOSS           malformed, truncated or out of range
 *   STATUS_RESOURCE_EXHAUSTED  beyond a limit, or no memory
 *   STATUS_UNIMPLEMENTED       a form we do not read: compressed records, before torch 1.6
 *   STATUS_PERMISSION_DENIED   a pickle that asks for code, or a path out of the directory
 * The message names the file. */
enum status weights_open(const char *dir, weights_t **out, struct err *err);
void weights_destroy(weights_t **self); /* NULL is fine */

/* The files that weights_open() looks for, in order of preference; NULL behind the last. */
const char *weights_entry(uint32_t i);

/* False of a table that tells names, types and shapes alone (model/stamp.h): nothing can be read
 * from it, and it came from no files. */
bool weights_have_values(const weights_t *self);

/* By full name; NULL when absent. */
const struct tensor *weights_find(const weights_t *self, const char *name);
uint32_t weights_count(const weights_t *self);
const struct tensor *weights_at(const weights_t *self, uint32_t i); /* in order of name */

/* The file names (without the directory) that the weights came from, an index among them. They
 * are what a fingerprint has to cover. */
uint32_t weights_files(const weights_t *self);
const char *weights_file_name(const weights_t *self, uint32_t i); /* in order of name */
struct view weights_file_bytes(const weights_t *self,
                               uint32_t i); /* mapped as long as self lives */
const struct mapped_look *weights_file_look(const weights_t *self, uint32_t i); /* when opened */

/* Read a floating tensor (F32, F16, BF16, F64) of exactly rows x cols (rank 2, or rank 1 with
 * rows 1) widened to float32 into out[rows * cols]. With `out` NULL everything but the values
 * is checked: do that before allocating rows * cols numbers on the word of a configuration.
 *   STATUS_NOT_FOUND      absent
 *   STATUS_DATA_LOSS      other shape, or NaN or infinity among the values
 *   STATUS_UNIMPLEMENTED  a type that is not one of the four */
enum status weights_read(const weights_t *self, const char *name, uint64_t rows, uint64_t cols,
                         float *out, struct err *err);

/* The same of rows first .. first + n alone (within rows), into out[n * cols]: for tables that are
 * too large to be widened at once. */
enum status weights_read_rows(const weights_t *self, const char *name, uint64_t rows, uint64_t cols,
                              uint64_t first, uint64_t n, float *out, struct err *err);

/* --- For the readers of files ----------------------------------------------------------------- */

/* An empty table; NULL without memory. */
weights_t *weights_new(void);

/* Bytes of one element; 0 for WEIGHTS_OTHER. */
size_t weights_type_bytes(enum weights_type type);

/* Fill in row-major strides and `dense` from the shape. */
void weights_set_dense(struct tensor *tensor);

/* Add a tensor under a copy of `name` (UTF-8 without NUL). STATUS_RESOURCE_EXHAUSTED beyond
 * LIMIT_TENSORS, LIMIT_TENSOR_NAME_BYTES or memory. */
enum status weights_add(weights_t *self, struct view name, const struct tensor *tensor,
                        struct err *err);

/* Sort by name, after the last weights_add(); STATUS_DATA_LOSS when a name stands twice. */
enum status weights_seal(weights_t *self, struct err *err);

#endif
