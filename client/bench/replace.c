/* replace.c - see replace.h. */
#include "replace.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SUFFIX_BYTES = 32 }; /* ".4194304.part" */

static bool is_other(const char *path) {
    struct stat there;
    return stat(path, &there) == 0 && !S_ISREG(there.st_mode);
}

static bool put_all(FILE *f, replace_fn *put, const void *arg, bool file) {
    put(f, arg);
    bool good = fflush(f) == 0 && !ferror(f) && (!file || fsync(fileno(f)) == 0);
    return fclose(f) == 0 && good;
}

static enum status put_beside(const char *path, const char *part, replace_fn *put, const void *arg,
                              struct err *err) {
    unlink(part); /* of a killed process that had our number, as in a container */
    int fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (fd >= 0 && !f)
        close(fd);
    enum status st = STATUS_OK;
    if (!f || !put_all(f, put, arg, true) || rename(part, path) != 0)
        st = err_errno(err, STATUS_UNAVAILABLE, "%s", path);
    if (st != STATUS_OK && fd >= 0)
        unlink(part);
    return st;
}

enum status replace_file(const char *path, replace_fn *put, const void *arg, struct err *err) {
    if (is_other(path)) {
        FILE *f = fopen(path, "we");
        return f && put_all(f, put, arg, false) ? STATUS_OK
                                                : err_errno(err, STATUS_UNAVAILABLE, "%s", path);
    }
    char *real = realpath(path, NULL); /* NULL: it is not there yet */
    const char *to = real ? real : path;
    size_t bytes = strlen(to) + SUFFIX_BYTES;
    char *part = malloc(bytes);
    enum status st = STATUS_RESOURCE_EXHAUSTED;
    if (part) {
        snprintf(part, bytes, "%s.%ld.part", to, (long)getpid());
        st = put_beside(to, part, put, arg, err);
    } else {
        err_set(err, st, "no memory for %s", path);
    }
    free(part);
    free(real);
    return st;
}
