/* keyring.c - a sorted array of keys, made of three directories.
 *
 * What fails, fails closed: a file that is not understood admits nobody, also when a good one of
 * this name admitted somebody a second ago; a key in two files is in none. Only a directory that
 * cannot be read is an error: then nobody knows what it would say. */
#include "keyring.h"

#include "base/hash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { YOUNG_US = 2 * 1000 * 1000 };

struct keyring {
    struct keyring_entry *entries; /* by key */
    uint32_t n, room, bad;
    uint64_t seed;
    keyring_bad_fn *tell;
    void *arg;
};

static const struct {
    const char *folder;
    enum cert_role role;
} folders[] = {{"clients", CERT_CLIENT}, {"operators", CERT_OPERATOR}, {"workers", CERT_WORKER}};
enum { FOLDERS = sizeof folders / sizeof *folders };

static void refuse(keyring_t *self, const char *what) {
    self->bad++;
    if (self->tell)
        self->tell(self->arg, what);
}

static bool is_skipped(const char *name) {
    size_t n = strlen(name);
    return name[0] == '.' || n == 0 || name[n - 1] == '~';
}

/* Without a name in it a certificate is called as its file, up to the last dot. */
static void take_name(const struct cert *cert, const char *file, char out[LIMIT_NAME_BYTES + 1]) {
    const char *dot = strrchr(file, '.');
    size_t n = dot ? (size_t)(dot - file) : strlen(file);
    struct view name = cert->name[0] ? view_of(cert->name) : view_make(file, n);
    if (!cert_name_ok(name))
        name = view_of("unnamed");
    memcpy(out, name.data, name.bytes);
    out[name.bytes] = '\0';
}

static bool make_room(keyring_t *self) {
    if (self->n < self->room)
        return true;
    uint32_t room = self->room ? 2 * self->room : 64;
    struct keyring_entry *entries = realloc(self->entries, room * sizeof *entries);
    if (!entries)
        return false;
    self->entries = entries;
    self->room = room;
    return true;
}

static void add(keyring_t *self, enum cert_role role, const char *file, const struct cert *cert) {
    struct keyring_entry *e = &self->entries[self->n++];
    *e = (struct keyring_entry){.role = role,
                                .who = {.max_requests = cert->max_requests,
                                        .max_bytes = cert->max_bytes,
                                        .max_cost = cert->max_cost,
                                        .weight = cert->weight}};
    memcpy(e->key, cert->public_key, sizeof e->key);
    take_name(cert, file, e->name);
    uint64_t account = hash_bytes(e->key, sizeof e->key, self->seed);
    e->who.account = account ? account : 1;
}

static void read_file(keyring_t *self, int folder, const char *dir, const char *name) {
    char path[PATH_MAX];
    struct cert cert;
    struct err err = {.text = ""};
    snprintf(path, sizeof path, "%s/%s/%s", dir, folders[folder].folder, name);
    if (cert_load_public(path, &cert, &err) != STATUS_OK) {
        refuse(self, err.text);
        return;
    }
    if (cert.role != CERT_ANY && cert.role != folders[folder].role) {
        err_set(&err, STATUS_INVALID_ARGUMENT, "'%s': a certificate of a %s lies in %s/", path,
                cert_role_name(cert.role), folders[folder].folder);
        refuse(self, err.text);
        return;
    }
    add(self, folders[folder].role, name, &cert);
}

static enum status read_folder(keyring_t *self, int folder, const char *dir, struct err *err) {
    char path[PATH_MAX];
    enum status st = STATUS_OK;
    snprintf(path, sizeof path, "%s/%s", dir, folders[folder].folder);
    DIR *d = opendir(path);
    if (!d)
        return err_errno(err, STATUS_UNAVAILABLE, "'%s'", path);
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(d);
        if (!entry && errno)
            st = err_errno(err, STATUS_UNAVAILABLE, "'%s'", path);
        if (!entry)
            break;
        if (is_skipped(entry->d_name))
            continue;
        if (self->n + self->bad >= KEYRING_MAX)
            st = err_set(err, STATUS_UNAVAILABLE, "'%s': more than %d certificates", dir,
                         KEYRING_MAX);
        else if (!make_room(self))
            st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for certificates");
        if (st != STATUS_OK)
            break;
        read_file(self, folder, dir, entry->d_name);
    }
    closedir(d);
    return st;
}

static int by_key(const void *a, const void *b) {
    return memcmp(((const struct keyring_entry *)a)->key, ((const struct keyring_entry *)b)->key,
                  CERT_KEY_BYTES);
}

/* Takes out every key that stands there more than once. */
static void drop_doubles(keyring_t *self) {
    struct err err;
    uint32_t kept = 0;
    for (uint32_t i = 0, next; i < self->n; i = next) {
        const struct keyring_entry *a = &self->entries[i];
        for (next = i + 1; next < self->n && by_key(a, &self->entries[next]) == 0; next++) {
            const struct keyring_entry *b = &self->entries[next];
            err_set(&err, STATUS_INVALID_ARGUMENT,
                    "one key is both %s '%s' and %s '%s': it is refused as either",
                    cert_role_name(a->role), a->name, cert_role_name(b->role), b->name);
            refuse(self, err.text);
        }
        if (next == i + 1)
            self->entries[kept++] = *a;
    }
    self->n = kept;
}

enum status keyring_load(const char *dir, uint64_t seed, keyring_bad_fn *bad, void *arg,
                         keyring_t **out, struct err *err) {
    keyring_t *self = calloc(1, sizeof *self);
    if (!self)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for certificates");
    *self = (keyring_t){.seed = seed, .tell = bad, .arg = arg};
    enum status st = STATUS_OK;
    for (int i = 0; st == STATUS_OK && i < FOLDERS; i++)
        st = read_folder(self, i, dir, err);
    if (st != STATUS_OK) {
        keyring_destroy(&self);
        return st;
    }
    if (self->n)
        qsort(self->entries, self->n, sizeof *self->entries, by_key);
    drop_doubles(self);
    self->tell = NULL;
    *out = self;
    return STATUS_OK;
}

void keyring_destroy(keyring_t **self) {
    if (*self)
        free((*self)->entries);
    free(*self);
    *self = NULL;
}

uint32_t keyring_count(const keyring_t *self) {
    return self->n;
}

uint32_t keyring_bad(const keyring_t *self) {
    return self->bad;
}

const struct keyring_entry *keyring_find(const keyring_t *self, const uint8_t key[CERT_KEY_BYTES]) {
    struct keyring_entry wanted;
    if (!self->n)
        return NULL;
    memcpy(wanted.key, key, sizeof wanted.key);
    return bsearch(&wanted, self->entries, self->n, sizeof *self->entries, by_key);
}

static bool same_who(const struct core_who *a, const struct core_who *b) {
    return a->account == b->account && a->max_requests == b->max_requests &&
           a->max_bytes == b->max_bytes && a->max_cost == b->max_cost && a->weight == b->weight;
}

bool keyring_same(const keyring_t *a, const keyring_t *b) {
    if (a->n != b->n || a->bad != b->bad)
        return false;
    for (uint32_t i = 0; i < a->n; i++) {
        const struct keyring_entry *x = &a->entries[i], *y = &b->entries[i];
        if (by_key(x, y) != 0 || x->role != y->role || strcmp(x->name, y->name) != 0 ||
            !same_who(&x->who, &y->who))
            return false;
    }
    return true;
}

/* ---- has it changed? */

/* The order in which a directory is read says nothing: files are added up. */
static bool stamp_folder(const char *dir, int folder, uint64_t wall_us, uint64_t *sum,
                         bool *settled) {
    char path[PATH_MAX];
    struct stat info;
    snprintf(path, sizeof path, "%s/%s", dir, folders[folder].folder);
    DIR *d = opendir(path);
    if (!d)
        return false;
    uint32_t n = 0;
    for (struct dirent *entry; n < 2 * KEYRING_MAX && (entry = readdir(d)) != NULL;) {
        if (is_skipped(entry->d_name) || fstatat(dirfd(d), entry->d_name, &info, 0) != 0)
            continue;
        n++;
        uint64_t facts[] = {(uint64_t)folder,
                            info.st_ino,
                            (uint64_t)info.st_size,
                            info.st_mode,
                            (uint64_t)info.st_mtim.tv_sec,
                            (uint64_t)info.st_mtim.tv_nsec,
                            (uint64_t)info.st_ctim.tv_sec,
                            (uint64_t)info.st_ctim.tv_nsec,
                            info.st_uid};
        *sum +=
            hash_bytes(entry->d_name, strlen(entry->d_name), hash_bytes(facts, sizeof facts, 0));
        uint64_t changed_us =
            (uint64_t)info.st_ctim.tv_sec * 1000000 + (uint64_t)info.st_ctim.tv_nsec / 1000;
        if (changed_us + YOUNG_US > wall_us)
            *settled = false;
    }
    closedir(d);
    return true;
}

uint64_t keyring_stamp(const char *dir, uint64_t wall_us, bool *settled) {
    uint64_t sum = 0;
    *settled = true;
    for (int i = 0; i < FOLDERS; i++)
        if (!stamp_folder(dir, i, wall_us, &sum, settled))
            return 0;
    return sum ? sum : 1;
}
