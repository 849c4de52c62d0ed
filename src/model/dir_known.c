/* dir_known.c - a directory that was read before and has not changed since: the fingerprint, and a
 * table of tensors without values, come from a stamp (model/stamp.h) in a store.
 *
 *     stamp there, of this directory and scheme, all files look as they did     -> believed
 *     else look at all files, hash them, look again; both alike, settled, and
 *     the weights that are open among them                                      -> remembered
 *
 * Small files are read and checked at every start all the same: what a stamp saves is opening the
 * weights and hashing everything. */
#include "model/dir_parts.h"

#include "base/hash.h"
#include "model/stamp.h"
#include "model/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *dir_weights_name(const struct model_dir *dir) {
    return weights_files(dir->weights) ? weights_file_name(dir->weights, 0) : "weights";
}

const char *const dir_small[DIR_SMALL] = {
    "config.json",
    "configuration.json",
    "label_mapping.json",
    "modules.json",
    "sentence_bert_config.json",
    "vocab.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    ZERO_SHOT_FILE,
};

/* What a fingerprint covers: the names, and the way in which they are hashed. */
static uint64_t scheme_of(void) {
    uint64_t scheme = MODEL_FINGERPRINT_SCHEME;
    for (size_t i = 0; i < DIR_SMALL; i++)
        scheme = hash_bytes(dir_small[i], strlen(dir_small[i]), scheme);
    return scheme;
}

/* One stamp per path: "minilm-0123456789abcdef.stamp". */
static void stamp_name(const struct model_dir *dir, char out[STORE_NAME_MAX]) {
    snprintf(out, STORE_NAME_MAX, "%s-%016llx.stamp", dir->name,
             (unsigned long long)hash_bytes(dir->path, strlen(dir->path), 0));
}

/* ---- recall ---- */

static bool read_whole(int fd, char *out, size_t bytes) {
    size_t done = 0;
    while (done < bytes) {
        ssize_t n = read(fd, out + done, bytes - done);
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

static bool load_stamp(const struct store *store, const char *name, struct stamp *out) {
    int fd;
    uint64_t bytes;
    if (store_file(store, name, &fd, &bytes, NULL) != STATUS_OK)
        return false;
    char *text = bytes <= STAMP_BYTES_MAX ? malloc((size_t)bytes + 1) : NULL;
    bool ok = text && read_whole(fd, text, (size_t)bytes) &&
              stamp_parse(view_make(text, (size_t)bytes), out, NULL) == STATUS_OK;
    if (ok)
        store_touch(fd);
    free(text);
    close(fd);
    return ok;
}

/* Its stamp, when it is of this directory as it is now; for stamp_done(). */
static bool find_stamp(const struct model_dir *dir, const struct store *store, struct stamp *out) {
    char name[STORE_NAME_MAX];
    stamp_name(dir, name);
    if (!load_stamp(store, name, out))
        return false;
    if (out->scheme == scheme_of() && strcmp(out->dir, dir->path) == 0 && stamp_holds(out))
        return true;
    stamp_done(out);
    return false;
}

bool dir_recall(struct model_dir *dir, const struct store *store) {
    struct stamp stamp;
    if (!find_stamp(dir, store, &stamp))
        return false;
    memcpy(dir->files_sha256, stamp.fingerprint, sizeof dir->files_sha256);
    dir->weights = stamp.tensors;
    stamp.tensors = NULL; /* moved to the directory */
    stamp_done(&stamp);
    return true;
}

static bool same_file(const struct stamp_file *seen, const struct mapped_look *mapped) {
    return seen->there && seen->device == mapped->device && seen->inode == mapped->inode &&
           seen->bytes == mapped->bytes && seen->modified_ns == mapped->modified_ns &&
           seen->changed_ns == mapped->changed_ns;
}

/* Whether the weights that are open are those that were looked at: between the two a name may have
 * come to stand for another file. */
static bool weights_seen(const weights_t *weights, const struct stamp_file *files, uint32_t n) {
    for (uint32_t i = 0; i < weights_files(weights); i++) {
        uint32_t f = 0;
        while (f < n && strcmp(files[f].name, weights_file_name(weights, i)) != 0)
            f++;
        if (f == n || !same_file(&files[f], weights_file_look(weights, i)))
            return false;
    }
    return true;
}

/* Not same_file(): there are file systems that number inodes anew, so another number alone is no
 * other file. */
bool model_dir_weights_hold(const struct model_dir *self) {
    for (uint32_t i = 0; i < weights_files(self->weights); i++) {
        const struct mapped_look *then = weights_file_look(self->weights, i);
        struct stamp_file now;
        if (!stamp_look(self->path, weights_file_name(self->weights, i), &now) || !now.there ||
            now.bytes != then->bytes || now.modified_ns != then->modified_ns)
            return false;
        if (now.device == then->device && now.inode == then->inode &&
            now.changed_ns != then->changed_ns)
            return false;
    }
    return true;
}

bool dir_still_known(const struct model_dir *dir, const struct store *store) {
    struct stamp stamp;
    if (!find_stamp(dir, store, &stamp))
        return false;
    const bool same = memcmp(dir->files_sha256, stamp.fingerprint, sizeof dir->files_sha256) == 0 &&
                      weights_seen(dir->weights, stamp.files, stamp.n_files);
    stamp_done(&stamp);
    return same;
}

/* ---- remember ---- */

struct dir_look {
    struct stamp_file *files; /* [STAMP_FILES_MAX] */
    uint32_t n;
    bool ok; /* all of them could be told */
};

static void look_at(struct dir_look *look, const char *real, const char *name) {
    for (uint32_t i = 0; i < look->n; i++)
        if (strcmp(look->files[i].name, name) == 0)
            return;
    look->ok =
        look->ok && look->n < STAMP_FILES_MAX && stamp_look(real, name, &look->files[look->n]);
    look->n += look->ok;
}

/* Everything that a fingerprint covers, and what would take the place of the weights. */
static void look_around(struct dir_look *look, const struct dir_reading *r) {
    const char *real = r->dir->path;
    char name[DIR_POOLING_BYTES + 16];
    look->n = 0;
    look->ok = true;
    for (size_t i = 0; i < DIR_SMALL; i++)
        look_at(look, real, dir_small[i]);
    snprintf(name, sizeof name, "%s/config.json", r->pooling);
    look_at(look, real, name);
    for (uint32_t i = 0; weights_entry(i); i++)
        look_at(look, real, weights_entry(i));
    for (uint32_t i = 0; i < weights_files(r->dir->weights); i++)
        look_at(look, real, weights_file_name(r->dir->weights, i));
}

static void write_stamp(const struct dir_reading *r, const struct store *store, const char *name,
                        struct stamp *stamp) {
    char *text;
    size_t bytes;
    stamp->scheme = scheme_of();
    memcpy(stamp->fingerprint, r->dir->files_sha256, sizeof stamp->fingerprint);
    if (stamp_print(stamp, r->dir->weights, &text, &bytes, NULL) != STATUS_OK)
        return;
    (void)store_write(store, name, view_make(text, bytes), view_make(NULL, 0), NULL);
    free(text);
}

enum status dir_hash_and_remember(struct dir_reading *r, const struct store *store,
                                  enum status (*hash)(struct dir_reading *r, struct err *err),
                                  int64_t opened_ns, struct err *err) {
    char name[STORE_NAME_MAX];
    struct stamp_file *files = calloc(STAMP_FILES_MAX, sizeof *files);
    struct stamp *stamp = calloc(1, sizeof *stamp);
    if (!files || !stamp) {
        free(files);
        free(stamp);
        return hash(r, err);
    }
    struct dir_look look = {.files = files};
    stamp_name(r->dir, name);
    look_around(&look, r);
    enum status st = hash(r, err);
    snprintf(stamp->dir, sizeof stamp->dir, "%s", r->dir->path);
    stamp->files = files;
    stamp->n_files = look.n;
    if (st == STATUS_OK && look.ok && weights_seen(r->dir->weights, files, look.n) &&
        stamp_holds(stamp) && stamp_settled(files, look.n, opened_ns))
        write_stamp(r, store, name, stamp);
    free(files);
    free(stamp);
    return st;
}
