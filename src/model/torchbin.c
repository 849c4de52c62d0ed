/* torchbin.c - zip records and pickled views become tensors.
 *
 *     <root>/data.pkl  --pickle.c-->  name, key, offset, shape, stride
 *                                            |
 *     <root>/data/<key>  --zip.c-->  bytes --'--> tensor, a view into the file
 *
 * Invariants: a record has exactly the bytes that its storage says, and pickle.c has checked
 * every view against that number, so a tensor's last element lies inside its record.
 *
 * Why several views of one storage are fine but not any number of them: tied weights and one
 * big storage are common, while a small file whose thousand tensors all show the same bytes
 * would fill memory when it is read. */
#include "model/torchbin.h"

#include "base/limits.h"
#include "model/pickle.h"
#include "model/zip.h"

#include <stdio.h>
#include <string.h>

enum { KEY_BYTES_MAX = 256, VIEWS_PER_BYTE_MAX = 4 };

struct reader {
    zip_t *zip;
    struct view root; /* up to and including the slash */
    weights_t *into;
    uint64_t bytes_left; /* that further views may show */
};

/* The only record "<root>/data.pkl" names the root. */
static enum status find_root(const zip_t *zip, struct view *root, struct err *err) {
    static const char tail[] = "/data.pkl";
    size_t tail_bytes = sizeof tail - 1;
    uint32_t found = 0;
    for (uint32_t i = 0; i < zip_count(zip); i++) {
        struct view name = zip_name(zip, i);
        if (name.bytes <= tail_bytes)
            continue;
        size_t at = name.bytes - tail_bytes;
        if (memcmp(name.data + at, tail, tail_bytes) != 0 || memchr(name.data, '/', at))
            continue;
        *root = view_make(name.data, at + 1);
        found++;
    }
    if (found == 1 && root->bytes <= KEY_BYTES_MAX)
        return STATUS_OK;
    return err_set(err, STATUS_DATA_LOSS, "a zip archive with %u records '<folder>/data.pkl'",
                   found);
}

static enum status find_record(struct reader *r, const char *folder, struct view key,
                               struct view *out, struct err *err) {
    char name[2 * KEY_BYTES_MAX + 16];
    if (key.bytes > KEY_BYTES_MAX)
        return err_set(err, STATUS_DATA_LOSS, "a record name of %zu bytes", key.bytes);
    int n = snprintf(name, sizeof name, "%.*s%s%.*s", (int)r->root.bytes, r->root.data, folder,
                     (int)key.bytes, key.data);
    return zip_record(r->zip, view_make(name, (size_t)n), out, err);
}

static bool is_dense(const struct tensor *t) {
    uint64_t stride = 1;
    for (uint32_t i = t->rank; i-- > 0;) {
        if (t->shape[i] == 0)
            return true;
        if (t->shape[i] != 1 && t->stride[i] != stride)
            return false;
        stride *= t->shape[i];
    }
    return true;
}

static enum status add_tensor(void *arg, struct view name, const struct pickle_tensor *p,
                              struct err *err) {
    struct reader *r = arg;
    int shown = name.bytes < 100 ? (int)name.bytes : 100;
    struct view record;
    enum status st = find_record(r, "data/", p->key, &record, err);
    if (st != STATUS_OK) {
        st = st == STATUS_NOT_FOUND ? STATUS_DATA_LOSS : st;
        return err_prefix(err, st, "tensor '%.*s'", shown, name.data);
    }
    if (p->count != record.bytes / p->element_bytes || record.bytes % p->element_bytes)
        return err_set(err, STATUS_DATA_LOSS,
                       "tensor '%.*s': its storage has %llu elements of %u bytes, the record %zu "
                       "bytes",
                       shown, name.data, (unsigned long long)p->count, p->element_bytes,
                       record.bytes);
    struct tensor t = {.type = p->type, .rank = p->rank};
    uint64_t n = 1;
    for (uint32_t i = 0; i < p->rank; i++) {
        t.shape[i] = p->shape[i];
        t.stride[i] = p->stride[i];
        n = p->shape[i] && n ? n * p->shape[i] : 0;
    }
    if (n * p->element_bytes > r->bytes_left)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED,
                       "its tensors show more than %d times the bytes of the file",
                       VIEWS_PER_BYTE_MAX);
    r->bytes_left -= n * p->element_bytes;
    t.dense = is_dense(&t);
    t.data = record.data + p->offset * p->element_bytes;
    t.bytes = n ? (size_t)(p->last - p->offset + 1) * p->element_bytes : 0;
    return weights_add(r->into, name, &t, err);
}

/* torch 2 says how its numbers are stored; before that they were little-endian on every machine
 * that mattered. */
static enum status check_order(struct reader *r, struct err *err) {
    struct view order;
    struct err found;
    enum status st = find_record(r, "", view_of("byteorder"), &order, &found);
    if (st == STATUS_NOT_FOUND)
        return STATUS_OK;
    if (st != STATUS_OK)
        return err_set(err, st, "%s", found.text);
    if (!view_equal(order, view_of("little")))
        return err_set(err, STATUS_UNIMPLEMENTED, "its byte order is not little");
    return STATUS_OK;
}

enum status torchbin_read(struct view file, weights_t *into, struct err *err) {
    if (file.bytes && (unsigned char)file.data[0] == 0x80)
        return err_set(err, STATUS_UNIMPLEMENTED,
                       "the format before torch 1.6 is not read; torch.save(torch.load(...)) with "
                       "a newer torch converts it");
    struct reader r = {.into = into};
    if (__builtin_mul_overflow((uint64_t)file.bytes, VIEWS_PER_BYTE_MAX, &r.bytes_left))
        r.bytes_left = UINT64_MAX;
    enum status st = zip_open(file, &r.zip, err);
    if (st != STATUS_OK)
        return st;
    struct view pickle;
    st = find_root(r.zip, &r.root, err);
    if (st == STATUS_OK)
        st = check_order(&r, err);
    if (st == STATUS_OK)
        st = find_record(&r, "", view_of("data.pkl"), &pickle, err);
    if (st == STATUS_OK)
        st = pickle_read(pickle, add_tensor, &r, err);
    zip_close(&r.zip);
    return st;
}
