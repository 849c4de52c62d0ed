/* store.h - a directory of files that we made ourselves and that nobody else can have altered: what
 * is in it may be used without making it again.
 *
 *     store_open("/var/cache/ember")  ->  store_file() to use   store_lock(), store_write() to make
 *
 * Rules, checked at every opening:
 *   - directory and files belong to us or to root, and nobody else may write them (mode & 022);
 *   - a file is a regular file and no symbolic link;
 *   - a file is never written where others see it: a temporary name, fsync, rename. So it may be
 *     mapped: nothing of ours ever shortens it (whoever does kills those that map it, SIGBUS).
 *   - the file system is of this host: on a shared one another host can take a mapped file away.
 * The directory itself may be reached through a symbolic link: what it leads to is judged.
 *
 * Threads: none of it is shared. Memory: allocates nothing. */
#ifndef EMBER_MODEL_STORE_H
#define EMBER_MODEL_STORE_H

#include "base/err.h"
#include "base/view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STORE_NAME_MAX = 128 }; /* bytes of a file's name, the NUL included */

struct store {
    int dir; /* a descriptor; -1: closed */
};

/* Opens the directory at `path`; makes it (mode 0700), and the one above it, when it is not there.
 *   STATUS_UNAVAILABLE        it can neither be opened nor made
 *   STATUS_PERMISSION_DENIED  others could have written in it
 *   STATUS_UNIMPLEMENTED      it is on a network file system
 * The message names the path. */
enum status store_open(const char *path, struct store *out, struct err *err);
void store_close(struct store *self); /* closed or {-1}: fine */

/* Whether statfs(2)'s f_type is that of a network file system. */
bool store_remote(uint64_t type);

/* Opens the file `name` for reading, and tells its size. The caller closes *fd.
 *   STATUS_NOT_FOUND          no such file
 *   STATUS_PERMISSION_DENIED  a symbolic link, no regular file, or others could have written it
 *   STATUS_UNAVAILABLE        it cannot be opened */
enum status store_file(const struct store *self, const char *name, int *fd, uint64_t *bytes,
                       struct err *err);

/* Writes first and second, end to end, as the file `name`, which is then on the disk and replaces
 * what was there in one step. STATUS_UNAVAILABLE when it cannot (full, read-only); nothing is left
 * behind. */
enum status store_write(const struct store *self, const char *name, struct view first,
                        struct view second, struct err *err);

/* Waits at most wait_us until we alone hold the directory's lock; *lock is a descriptor, and
 * closing it (or dying) gives the lock back. STATUS_DEADLINE_EXCEEDED somebody else has it still,
 * STATUS_UNAVAILABLE it cannot be had here (a read-only directory). */
enum status store_lock(const struct store *self, uint64_t wait_us, int *lock, struct err *err);

/* Notes that `fd`, of store_file(), was used today. */
void store_touch(int fd);

/* Removes what nobody has used for 30 days, and what was left half written. Files in use lose their
 * name only. For the holder of the lock. */
void store_sweep(const struct store *self);

#endif
