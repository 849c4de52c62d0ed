/* torchbin.h - the tensors of a pytorch_model.bin, read without running anything.
 *
 *     zip: <root>/data.pkl     a pickle: name -> storage key, offset, size, stride
 *          <root>/data/<key>   the numbers of one storage
 *
 * A pickle is a program for a stack machine that may name any function of any module. Ours has
 * no functions: it knows dictionaries, tuples, strings, integers and the four names a state
 * dict is made of, and stops at everything else. Threads: a pure function of the bytes. */
#ifndef EMBER_MODEL_TORCHBIN_H
#define EMBER_MODEL_TORCHBIN_H

#include "model/weights.h"

/* Add the tensors of `file` (kept as views: it must outlive `into`) to `into`; entries of the
 * state dict that are no tensors are passed over.
 *   STATUS_DATA_LOSS           malformed zip or pickle, a view beyond its storage, a wrong checksum
 *   STATUS_RESOURCE_EXHAUSTED  beyond LIMIT_PICKLE_BYTES, LIMIT_TENSORS, a depth or memory
 *   STATUS_UNIMPLEMENTED       compressed or encrypted records, big-endian numbers, an unknown
 *                              storage type, the format before torch 1.6
 *   STATUS_PERMISSION_DENIED   the pickle asks for anything that is not on the list */
enum status torchbin_read(struct view file, weights_t *into, struct err *err);

#endif
