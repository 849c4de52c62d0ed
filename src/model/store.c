/* store.c - see store.h.
 *
 * Why a lock although a rename needs none: so that N processes that start together make a file
 * once. Whoever waits for it too long goes on without; two writers then do the same work and the
 * later rename wins, which is harmless. For that reason temporary names are random. */
#include "model/store.h"

#include "base/clock.h"
#include "base/hash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define LOCK_NAME "lock"
#define TEMP_TAIL ".tmp"

enum {
    LOCK_STEP_US = 5 * 1000,
    DAY_S = 24 * 3600,
    UNUSED_DAYS = 30,
    TEMP_S = 3600, /* longer than anybody writes */
};

/* ---- the directory ---- */

static bool only_ours(const struct stat *info) {
    return (info->st_uid == geteuid() || info->st_uid == 0) && (info->st_mode & 022) == 0;
}

/* The directory, or first the one above it: ~/.cache may be missing in a fresh home. */
static void make_dir(const char *path) {
    char above[PATH_MAX];
    if (mkdir(path, 0700) == 0 || errno != ENOENT)
        return;
    int n = snprintf(above, sizeof above, "%s", path);
    char *slash = n > 0 && (size_t)n < sizeof above ? strrchr(above, '/') : NULL;
    if (!slash || slash == above)
        return;
    *slash = 0;
    if (mkdir(above, 0700) == 0)
        (void)mkdir(path, 0700); /* whether it is there now is seen by opening it */
}

bool store_remote(uint64_t type) {
    static const uint32_t types[] = {
        0x6969,     /* NFS */
        0xff534d42, /* CIFS */
        0xfe534d42, /* SMB 2 */
        0x517b,     /* SMB */
        0x00c36400, /* Ceph */
        0x5346414f, /* AFS */
        0x0bd00bd0, /* Lustre */
        0x65735546, /* FUSE: mostly sshfs, s3fs and the like, and not told apart */
        0x01021997, /* 9p */
        0x47504653, /* GPFS */
        0x7461636f, /* OCFS2 */
        0x01161970, /* GFS2 */
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if ((uint32_t)type == types[i]) /* f_type is signed here and there */
            return true;
    return false;
}

enum status store_open(const char *path, struct store *out, struct err *err) {
    struct stat info;
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 && errno == ENOENT) {
        make_dir(path);
        dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    if (dir < 0)
        return err_errno(err, STATUS_UNAVAILABLE, "open '%s'", path);
    if (fstat(dir, &info) != 0 || !only_ours(&info)) {
        close(dir);
        return err_set(err, STATUS_PERMISSION_DENIED,
                       "'%s': it must belong to this user or root, and nobody else may write in it "
                       "(chmod 700)",
                       path);
    }
    struct statfs system;
    if (fstatfs(dir, &system) == 0 && store_remote((uint64_t)system.f_type)) {
        close(dir);
        return err_set(err, STATUS_UNIMPLEMENTED,
                       "'%s': it is on a network file system, and must be on one of this host",
                       path);
    }
    out->dir = dir;
    return STATUS_OK;
}

void store_close(struct store *self) {
    if (self->dir >= 0)
        close(self->dir);
    self->dir = -1;
}

/* ---- reading ---- */

enum status store_file(const struct store *self, const char *name, int *fd, uint64_t *bytes,
                       struct err *err) {
    struct stat info;
    int file = openat(self->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (file < 0 && errno == ENOENT)
        return err_set(err, STATUS_NOT_FOUND, "'%s' is not there", name);
    if (file < 0)
        return err_errno(err, errno == ELOOP ? STATUS_PERMISSION_DENIED : STATUS_UNAVAILABLE,
                         "open '%s'", name);
    if (fstat(file, &info) != 0 || !S_ISREG(info.st_mode) || !only_ours(&info)) {
        close(file);
        return err_set(err, STATUS_PERMISSION_DENIED, "'%s': others could have written it", name);
    }
    *fd = file;
    *bytes = (uint64_t)info.st_size;
    return STATUS_OK;
}

void store_touch(int fd) {
    struct stat info;
    if (fstat(fd, &info) == 0 && info.st_mtime + DAY_S < time(NULL))
        (void)futimens(fd, NULL); /* not ours, or a read-only file system: then it stays as old */
}

/* ---- writing ---- */

static bool write_all(int fd, struct view bytes) {
    while (bytes.bytes > 0) {
        ssize_t n = write(fd, bytes.data, bytes.bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        bytes = view_make(bytes.data + n, bytes.bytes - (size_t)n);
    }
    return true;
}

enum status store_write(const struct store *self, const char *name, struct view first,
                        struct view second, struct err *err) {
    char temp[STORE_NAME_MAX + 32];
    snprintf(temp, sizeof temp, "%s.%016llx" TEMP_TAIL, name, (unsigned long long)hash_entropy64());
    int fd = openat(self->dir, temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return err_errno(err, STATUS_UNAVAILABLE, "make '%s'", temp);
    /* fsync, because what is mapped later is read from the disk again whenever memory was short:
     * bytes that could not be written must not get a name. */
    bool written =
        write_all(fd, first) && write_all(fd, second) && fchmod(fd, 0644) == 0 && fsync(fd) == 0;
    int code = errno;
    if (close(fd) != 0 && written) {
        code = errno;
        written = false;
    }
    if (written && renameat(self->dir, temp, self->dir, name) == 0) {
        (void)fsync(self->dir); /* without it a power cut costs the name, and it is made again */
        return STATUS_OK;
    }
    if (!written)
        errno = code;
    err_errno(err, STATUS_UNAVAILABLE, "write '%s'", name);
    unlinkat(self->dir, temp, 0);
    return STATUS_UNAVAILABLE;
}

enum status store_lock(const struct store *self, uint64_t wait_us, int *lock, struct err *err) {
    int fd =
        openat(self->dir, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0)
        return err_errno(err, STATUS_UNAVAILABLE, "open '" LOCK_NAME "'");
    const uint64_t until_us = clock_us() + wait_us;
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        enum status st = errno == EWOULDBLOCK || errno == EINTR
                             ? clock_us() < until_us ? STATUS_OK : STATUS_DEADLINE_EXCEEDED
                             : STATUS_UNAVAILABLE;
        if (st != STATUS_OK) {
            err_errno(err, st, "lock '" LOCK_NAME "'");
            close(fd);
            return st;
        }
        nanosleep(&(struct timespec){.tv_nsec = LOCK_STEP_US * 1000L}, NULL);
    }
    *lock = fd;
    return STATUS_OK;
}

/* ---- cleaning up ---- */

static bool ends_with(const char *text, const char *tail) {
    size_t n = strlen(text), t = strlen(tail);
    return n > t && strcmp(text + n - t, tail) == 0;
}

void store_sweep(const struct store *self) {
    int fd = openat(self->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return;
    }
    const time_t now = time(NULL);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        const char *name = entry->d_name;
        struct stat info;
        const bool temp = ends_with(name, TEMP_TAIL);
        if ((!temp && !ends_with(name, ".weights") && !ends_with(name, ".stamp")) ||
            fstatat(self->dir, name, &info, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(info.st_mode))
            continue;
        if (info.st_mtime + (temp ? TEMP_S : UNUSED_DAYS * DAY_S) < now)
            unlinkat(self->dir, name, 0);
    }
    closedir(dir);
}
