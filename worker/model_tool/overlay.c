/* overlay.c - symbolic links in a temporary folder. */
#include "overlay.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH_MAX = 8 };

enum status overlay_init(struct overlay *self, struct err *err) {
    const char *base = getenv("TMPDIR");
    self->path[0] = '\0';
    char path[TOOL_PATH_MAX];
    enum status st = tool_path(path, base && *base ? base : "/tmp", "ember-model-XXXXXX", err);
    if (st != STATUS_OK)
        return st;
    if (!mkdtemp(path))
        return err_errno(err, STATUS_UNAVAILABLE, "make a folder '%s'", path);
    memcpy(self->path, path, sizeof path);
    return STATUS_OK;
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *ftw) {
    (void)info, (void)type, (void)ftw;
    remove(path);
    return 0; /* go on: as much as possible goes */
}

void overlay_done(struct overlay *self) {
    if (self->path[0])
        nftw(self->path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    self->path[0] = '\0';
}

/* "a/b", no empty part, no "." or "..". */
static bool name_stays_inside(const char *name) {
    for (const char *p = name;;) {
        size_t n = strcspn(p, "/");
        if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
            return false;
        p += n;
        if (!*p)
            return true;
        p++;
    }
}

/* The path of `name`, its folders made and what was there removed. */
static enum status make_room(struct overlay *self, const char *name, char path[TOOL_PATH_MAX],
                             struct err *err) {
    if (!name_stays_inside(name))
        return err_set(err, STATUS_INVALID_ARGUMENT, "'%s' leads out of the model's folder", name);
    enum status st = tool_path(path, self->path, name, err);
    if (st != STATUS_OK)
        return st;
    for (char *slash = strchr(path + strlen(self->path) + 1, '/'); slash;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        bool made = mkdir(path, 0700) == 0 || errno == EEXIST;
        *slash = '/';
        if (!made)
            return err_errno(err, STATUS_UNAVAILABLE, "make the folder of '%s'", path);
    }
    if (unlink(path) != 0 && errno != ENOENT)
        return err_errno(err, STATUS_UNAVAILABLE, "remove '%s'", path);
    return STATUS_OK;
}

enum status overlay_link(struct overlay *self, const char *name, const char *target,
                         struct err *err) {
    char path[TOOL_PATH_MAX], absolute[PATH_MAX];
    if (!realpath(target, absolute))
        return err_errno(err, STATUS_NOT_FOUND, "'%s'", target);
    enum status st = make_room(self, name, path, err);
    if (st == STATUS_OK && symlink(absolute, path) != 0)
        st = err_errno(err, STATUS_UNAVAILABLE, "link '%s'", path);
    return st;
}

enum status overlay_write(struct overlay *self, const char *name, struct view bytes,
                          struct err *err) {
    char path[TOOL_PATH_MAX];
    enum status st = make_room(self, name, path, err);
    if (st != STATUS_OK)
        return st;
    FILE *f = fopen(path, "wxe");
    if (!f)
        return err_errno(err, STATUS_UNAVAILABLE, "make '%s'", path);
    bool written = fwrite(bytes.data, 1, bytes.bytes, f) == bytes.bytes;
    if (fclose(f) != 0 || !written)
        return err_errno(err, STATUS_UNAVAILABLE, "write '%s'", path);
    return STATUS_OK;
}

enum status overlay_remove(struct overlay *self, const char *name, struct err *err) {
    char path[TOOL_PATH_MAX];
    return make_room(self, name, path, err);
}

/* The files of one folder of a layer; `below` is its name in the model directory, "" for the
 * top. */
static enum status add_folder(struct overlay *self, const char *folder, const char *below,
                              unsigned depth, struct err *err) {
    DIR *dir = opendir(folder);
    if (!dir)
        return err_errno(err, STATUS_NOT_FOUND, "folder '%s'", folder);
    enum status st = STATUS_OK;
    for (struct dirent *e; st == STATUS_OK && (e = readdir(dir));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        char source[TOOL_PATH_MAX], name[TOOL_PATH_MAX];
        struct stat info;
        st = tool_path(source, folder, e->d_name, err);
        if (st == STATUS_OK)
            st = tool_path(name, *below ? below : ".", e->d_name, err);
        const char *inside = *below ? name : name + 2; /* without "./" */
        if (st == STATUS_OK && stat(source, &info) != 0)
            st = err_errno(err, STATUS_UNAVAILABLE, "'%s'", source);
        if (st != STATUS_OK)
            break;
        if (!S_ISDIR(info.st_mode))
            st = overlay_link(self, inside, source, err);
        else if (depth == DEPTH_MAX)
            st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "'%s': too many folders deep", source);
        else
            st = add_folder(self, source, inside, depth + 1, err);
    }
    closedir(dir);
    return st;
}

enum status overlay_layer(struct overlay *self, const char *layer, struct err *err) {
    return add_folder(self, layer, "", 0, err);
}

static uint64_t counted; /* by count_entry(): nftw() hands nothing through */

static int count_entry(const char *path, const struct stat *info, int type, struct FTW *ftw) {
    (void)path, (void)ftw;
    if (type == FTW_F && S_ISREG(info->st_mode))
        counted += (uint64_t)info->st_size;
    return 0;
}

uint64_t overlay_bytes(const struct overlay *self) {
    counted = 0;
    nftw(self->path, count_entry, 16, 0);
    return counted;
}
