/* mapped.c - see mapped.h. O_NONBLOCK, so that a named pipe in place of a file is refused
 * instead of holding the program until somebody writes to it. */
#include "model/mapped.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int64_t ns_of(struct timespec t) {
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

enum status mapped_open(const char *path, struct mapped *out, struct err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_errno(err, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_UNAVAILABLE, "open '%s'",
                         path);
    enum status st = STATUS_OK;
    struct mapped mapped = {0};
    struct stat info;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        st = err_set(err, STATUS_UNAVAILABLE, "'%s' is not a file", path);
    } else if (info.st_size > 0) {
        void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (data == MAP_FAILED)
            st = err_errno(err, STATUS_UNAVAILABLE, "map '%s'", path);
        else
            mapped.bytes = view_make(data, (size_t)info.st_size);
    }
    if (st == STATUS_OK)
        mapped.look = (struct mapped_look){.device = (uint64_t)info.st_dev,
                                           .inode = (uint64_t)info.st_ino,
                                           .bytes = (uint64_t)info.st_size,
                                           .modified_ns = ns_of(info.st_mtim),
                                           .changed_ns = ns_of(info.st_ctim)};
    close(fd); /* the mapping outlives the descriptor */
    if (st == STATUS_OK)
        *out = mapped;
    return st;
}

void mapped_close(struct mapped *self) {
    if (self->bytes.bytes)
        munmap((void *)(uintptr_t)self->bytes.data, self->bytes.bytes);
    self->bytes = view_make(NULL, 0);
}

static void advise(const struct mapped *self, int advice) {
    if (self->bytes.bytes) /* advice may be refused: nothing depends on it */
        (void)madvise((void *)(uintptr_t)self->bytes.data, self->bytes.bytes, advice);
}

void mapped_sequential(const struct mapped *self) {
    advise(self, MADV_SEQUENTIAL);
}

void mapped_release(const struct mapped *self) {
    advise(self, MADV_NORMAL);
    advise(self, MADV_DONTNEED);
}
