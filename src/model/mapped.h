/* mapped.h - a file as read-only bytes in memory.
 *
 * The pages are shared with every other process that maps the file, and with the page cache.
 * Whoever shortens a mapped file kills its readers (SIGBUS): model files are replaced by
 * renaming, not rewritten. Threads: immutable once open. */
#ifndef EMBER_MODEL_MAPPED_H
#define EMBER_MODEL_MAPPED_H

#include "base/err.h"
#include "base/view.h"

#include <stdint.h>

/* What tells one state of a file from another, at the time it was opened. */
struct mapped_look {
    uint64_t device, inode, bytes;
    int64_t modified_ns, changed_ns; /* mtime, ctime; since 1970 */
};

struct mapped {
    struct view bytes;       /* an empty file has none */
    struct mapped_look look; /* of the file behind the mapping, whatever its name stands for now */
};

/* STATUS_NOT_FOUND no such file; STATUS_UNAVAILABLE it cannot be opened, or is no regular file. */
enum status mapped_open(const char *path, struct mapped *out, struct err *err);
void mapped_close(struct mapped *self); /* a zeroed one is fine */

/* Tell the kernel that the bytes are now read once, from front to back; and afterwards, that this
 * process may lose them: they stay in the page cache and come back when touched. */
void mapped_sequential(const struct mapped *self);
void mapped_release(const struct mapped *self);

#endif
