/* safetensors.h - the index of a safetensors file (github.com/huggingface/safetensors, "Format").
 *
 *     [8 bytes: N, little-endian][N bytes: one JSON object][data]
 *     {"__metadata__": {"text": "text"},
 *      "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}
 *
 * Threads: a pure function of the bytes. */
#ifndef EMBER_MODEL_SAFETENSORS_H
#define EMBER_MODEL_SAFETENSORS_H

#include "model/weights.h"

/* Add the tensors of `file` (kept as views: it must outlive `into`) to `into`. Accepted is what
 * the format allows: sizes that agree with shape and type, the data covered without gap,
 * overlap or rest. That no name stands twice is left to weights_seal(). A type we do not know
 * is added as WEIGHTS_OTHER: only who reads it is refused.
 * STATUS_DATA_LOSS malformed, STATUS_RESOURCE_EXHAUSTED beyond LIMIT_ST_HEADER_BYTES,
 * LIMIT_TENSORS, LIMIT_TENSOR_NAME_BYTES, WEIGHTS_RANK_MAX or memory. Time and memory are
 * linear in the header. */
enum status safetensors_read(struct view file, weights_t *into, struct err *err);

#endif
