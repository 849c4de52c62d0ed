/* pickle.h - the part of Python's pickle language that a PyTorch state dict is written in.
 *
 *     {"name": _rebuild_tensor_v2(("storage", FloatStorage, "0", "cpu", 1024), offset, size,
 *                                 stride, requires_grad, hooks), ...}
 *
 * A pickle is a program that may call any function of any module. This machine has none: it
 * builds dictionaries, tuples, strings and integers, knows OrderedDict, _rebuild_tensor_v2,
 * _rebuild_parameter and the storage types by their exact names, and stops at everything else.
 * Opcodes: Lib/pickletools.py of CPython. Threads: a pure function of the bytes. */
#ifndef EMBER_MODEL_PICKLE_H
#define EMBER_MODEL_PICKLE_H

#include "model/weights.h"

struct pickle_tensor {
    struct view key; /* names the storage; borrowed from the pickle */
    enum weights_type type;
    uint32_t element_bytes;
    uint64_t count;  /* elements of the storage */
    uint64_t offset; /* first element of this tensor */
    uint64_t last;   /* its element that lies furthest back, in storage; offset when it is empty */
    uint32_t rank;
    uint64_t shape[WEIGHTS_RANK_MAX], stride[WEIGHTS_RANK_MAX];
};

/* Called once for each tensor of the dictionary, in its order. Anything but STATUS_OK ends the
 * reading. */
typedef enum status (*pickle_found_fn)(void *arg, struct view name,
                                       const struct pickle_tensor *tensor, struct err *err);

/* Run `text` to its end and report the tensors of the dictionary that it leaves; entries that
 * are no tensors are passed over. Every view lies inside its storage: last < count unless a
 * dimension is 0.
 *   STATUS_DATA_LOSS           no such opcode, wrong arguments, a view beyond its storage
 *   STATUS_RESOURCE_EXHAUSTED  deeper or larger than any state dict: marks, stack, memo, values
 *   STATUS_UNIMPLEMENTED       a newer protocol, an unknown storage type
 *   STATUS_PERMISSION_DENIED   a function, class or extension that is not on the list */
enum status pickle_read(struct view text, pickle_found_fn found, void *arg, struct err *err);

#endif
