/* keys.h - a directory of certificates for a test, as ember-broker takes it.
 *
 *     struct keys keys;
 *     keys_make(&keys);                                server key, empty folders
 *     keys_add(&keys, "clients", "web", &web);         a new pair; its public half is admitted
 *     keys_secret(&keys, "web", &web, path);           a file with its secret half
 *     ...
 *     keys_remove(&keys); */
#ifndef EMBER_TEST_KEYS_H
#define EMBER_TEST_KEYS_H

#include "support/test.h"
#include "wire/cert.h"
#include "wire/frame.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KEYS_PATH = 256 };

struct keys {
    char dir[64];
    struct cert server;
};

static inline void keys_write(const char *path, const void *text, size_t bytes, mode_t mode) {
    char temp[KEYS_PATH + 8];
    const char *slash = strrchr(path, '/');
    snprintf(temp, sizeof temp, "%.*s/.%s.tmp", (int)(slash - path), path, slash + 1);
    int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    TEST_TRUE(fd >= 0 && write(fd, text, bytes) == (ssize_t)bytes && fchmod(fd, mode) == 0);
    close(fd);
    TEST_TRUE(rename(temp, path) == 0);
}

static inline void keys_path(const struct keys *self, const char *folder, const char *name,
                             char out[KEYS_PATH]) {
    snprintf(out, KEYS_PATH, "%s/%s/%s.key", self->dir, folder, name);
}

/* The public half of `cert` into a folder. */
static inline void keys_put(const struct keys *self, const char *folder, const char *name,
                            const struct cert *cert) {
    char path[KEYS_PATH], text[CERT_FILE_BYTES];
    keys_path(self, folder, name, path);
    keys_write(path, text, cert_print(cert, false, text), 0644);
}

/* A new pair into *cert, whose limits stay; its public half into a folder. */
static inline void keys_add(const struct keys *self, const char *folder, const char *name,
                            struct cert *cert) {
    TEST_TRUE(cert_make_keys(cert));
    keys_put(self, folder, name, cert);
}

static inline void keys_take_away(const struct keys *self, const char *folder, const char *name) {
    char path[KEYS_PATH];
    keys_path(self, folder, name, path);
    TEST_TRUE(unlink(path) == 0);
}

/* A file with the secret half, in the directory itself, where the broker does not look. */
static inline void keys_secret(const struct keys *self, const char *name, const struct cert *cert,
                               char out[KEYS_PATH]) {
    char text[CERT_FILE_BYTES];
    snprintf(out, KEYS_PATH, "%s/%s.key_secret", self->dir, name);
    keys_write(out, text, cert_print(cert, true, text), 0600);
}

static inline void keys_make(struct keys *self) {
    char path[KEYS_PATH], text[CERT_FILE_BYTES];
    memset(self, 0, sizeof *self);
    snprintf(self->dir, sizeof self->dir, "/tmp/ember-keys-XXXXXX");
    TEST_TRUE(mkdtemp(self->dir) != NULL);
    static const char *const folders[] = {"clients", "workers", "operators"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", self->dir, folders[i]);
        TEST_TRUE(mkdir(path, 0700) == 0);
    }
    self->server.role = CERT_SERVER;
    TEST_TRUE(cert_make_keys(&self->server));
    keys_secret(self, "server", &self->server, path);
    snprintf(path, sizeof path, "%s/server.key", self->dir);
    keys_write(path, text, cert_print(&self->server, false, text), 0644);
}

static inline int keys_unlink(const char *path, const struct stat *info, int kind,
                              struct FTW *ftw) {
    (void)info;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static inline void keys_remove(struct keys *self) {
    nftw(self->dir, keys_unlink, 8, FTW_DEPTH | FTW_PHYS);
}

/* What a socket of the holder of `cert` is made with; `server`: whom it takes for the broker. */
static inline struct frame_curve keys_curve(const struct cert *cert, const struct cert *server) {
    struct frame_curve out = {.domain = NULL};
    memcpy(out.public_key, cert->public_key, sizeof out.public_key);
    memcpy(out.secret_key, cert->secret_key, sizeof out.secret_key);
    memcpy(out.server_key, server->public_key, sizeof out.server_key);
    return out;
}

#endif
