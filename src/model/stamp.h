/* stamp.h - what is remembered of a model directory: its fingerprint and the shapes of its
 * tensors, and how the files looked when they were read. While they look the same, gigabytes need
 * not be read again to learn the same.
 *
 *     ember-stamp 1
 *     scheme 6f0c9d2b1a3e4f55             what a fingerprint covers, in this version of ours
 *     dir /models/minilm
 *     fingerprint 94fa57b3...             64 digits
 *     file 65024 131 389 1763655437123456789 1763655437123456789 config.json
 *     none vocab.txt                      was not there; would be part of it
 *     tensor f32 2 30522 384 embeddings.word_embeddings.weight
 *     sum 0123456789abcdef                hash_bytes() of all lines above
 *
 * file: device, inode, size, times of the last change of contents and of the inode in
 * nanoseconds, as Git keeps them in its index. That is as strong: whoever alters a file without
 * any of the five changing (setting the clock back, writing to the disk underneath) is believed.
 * A file that changed within a moment of being read is not remembered, because a clock that ticks
 * could hide a second change.
 *
 * Threads: none of it is shared. Bytes of a stamp are not trusted: stamp_parse() checks all. */
#ifndef EMBER_MODEL_STAMP_H
#define EMBER_MODEL_STAMP_H

#include "base/err.h"
#include "base/view.h"
#include "model/weights.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    STAMP_BYTES_MAX = 4 * 1024 * 1024,
    STAMP_FINGERPRINT_BYTES = 32,
    STAMP_FILES_MAX = 2048,
    STAMP_NAME_MAX = 256, /* bytes of a file's name, the NUL included */
};

struct stamp_file {
    char name[STAMP_NAME_MAX];
    bool there;
    uint64_t device, inode, bytes;
    int64_t modified_ns, changed_ns; /* mtime, ctime; since 1970 */
};

struct stamp {
    uint64_t scheme;
    char dir[4096];
    uint8_t fingerprint[STAMP_FINGERPRINT_BYTES];
    struct stamp_file *files; /* [n_files] */
    uint32_t n_files;
    weights_t *tensors; /* names, types and shapes; no values (weights_have_values()) */
};

/* How the file `name` of the directory looks now. False when that cannot be told. */
bool stamp_look(const char *dir, const char *name, struct stamp_file *out);

/* Whether every file looks as it did. */
bool stamp_holds(const struct stamp *self);

/* Whether the files may be remembered: none changed within the last tick before now_ns (50 ms; two
 * seconds where the file system keeps whole seconds), the time at which they were looked at. */
bool stamp_settled(const struct stamp_file *files, uint32_t n, int64_t now_ns);

/* The text of a stamp. `tensors` may have values, and self->tensors is not looked at. *out:
 * malloc'd. STATUS_OUT_OF_RANGE when a name has a control character or it would have more than
 * STAMP_BYTES_MAX. */
enum status stamp_print(const struct stamp *self, const weights_t *tensors, char **out,
                        size_t *bytes, struct err *err);

/* Fills *out, for stamp_done(). STATUS_DATA_LOSS when it is not such a text, bytes altered or
 * missing; STATUS_RESOURCE_EXHAUSTED no memory. */
enum status stamp_parse(struct view text, struct stamp *out, struct err *err);
void stamp_done(struct stamp *self); /* a zeroed one is fine */

#endif
