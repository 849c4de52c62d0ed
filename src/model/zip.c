/* zip.c - from the end record to the central directory to the bytes of each record.
 *
 *     end record (last 22 bytes and a comment)
 *        |  counts and offsets of 16 and 32 bits; a saturated one stands in the ZIP64 end record
 *        v
 *     central directory: name, size, CRC, place of the local header
 *        v
 *     local header: only its length matters, the bytes begin behind it
 *
 * Invariants after zip_open(): records sorted by name, each name once; [local header .. last
 * byte] of two records never overlap, so reading every record once reads at most the file.
 *
 * Why compressed records are refused: torch never writes them, and what is stored can be used
 * where it lies. */
#include "model/zip.h"

#include "base/limits.h"
#include "digest/digest.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    END_BYTES = 22,
    LOCATOR64_BYTES = 20,
    END64_BYTES = 56,
    CENTRAL_BYTES = 46,
    LOCAL_BYTES = 30,
    COMMENT_MAX = 65535,
    RECORDS_MAX = LIMIT_TENSORS + 1024, /* a storage each, and what torch adds */
    FLAG_ENCRYPTED = 1,
};

struct record {
    struct view name, bytes;
    uint64_t local; /* place of the local header */
    uint32_t crc;
    uint16_t method, flags;
    bool crc_seen;
};

struct zip {
    struct record *records; /* [n] by name */
    uint32_t n;
};

struct directory {
    uint64_t count, bytes, offset;
    uint64_t limit; /* everything else lies before this */
};

static uint16_t get16(const char *p) {
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint32_t get32(const char *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint64_t get64(const char *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static bool inside(uint64_t offset, uint64_t bytes, uint64_t limit) {
    return offset <= limit && bytes <= limit - offset;
}

/* The end record closes the file, so its comment must reach exactly to the last byte. */
static bool find_end(struct view file, uint64_t *out) {
    if (file.bytes < END_BYTES)
        return false;
    uint64_t last = file.bytes - END_BYTES;
    uint64_t first = last > COMMENT_MAX ? last - COMMENT_MAX : 0;
    for (uint64_t at = last + 1; at-- > first;) {
        const char *p = file.data + at;
        if (memcmp(p, "PK\5\6", 4) == 0 && get16(p + 20) == last - at) {
            *out = at;
            return true;
        }
    }
    return false;
}

/* A value of the short record, unless it is saturated: then the long one's. Both must agree
 * otherwise. */
static bool merge(uint64_t shorter, uint64_t saturated, uint64_t longer, uint64_t *out) {
    *out = longer;
    return shorter == saturated || shorter == longer;
}

static enum status read_end(struct view file, struct directory *dir, struct err *err) {
    uint64_t end;
    if (!find_end(file, &end))
        return err_set(err, STATUS_DATA_LOSS, "no zip archive, or its end is missing (%zu bytes)",
                       file.bytes);
    const char *p = file.data + end;
    if (get16(p + 4) != 0 || get16(p + 6) != 0)
        return err_set(err, STATUS_UNIMPLEMENTED, "a zip archive in several parts");
    *dir = (struct directory){get16(p + 10), get32(p + 12), get32(p + 16), end};
    if (end >= LOCATOR64_BYTES && memcmp(p - LOCATOR64_BYTES, "PK\6\7", 4) == 0) {
        uint64_t locator = end - LOCATOR64_BYTES, at = get64(file.data + locator + 8);
        if (!inside(at, END64_BYTES, locator) || memcmp(file.data + at, "PK\6\6", 4) != 0)
            return err_set(err, STATUS_DATA_LOSS, "the ZIP64 end record is not where it should be");
        const char *q = file.data + at;
        if (!merge(dir->count, 0xffff, get64(q + 32), &dir->count) ||
            !merge(dir->bytes, 0xffffffff, get64(q + 40), &dir->bytes) ||
            !merge(dir->offset, 0xffffffff, get64(q + 48), &dir->offset))
            return err_set(err, STATUS_DATA_LOSS, "the two end records disagree");
        dir->limit = at;
    }
    if (!inside(dir->offset, dir->bytes, dir->limit))
        return err_set(err, STATUS_DATA_LOSS, "the directory lies beyond the end of the file");
    if (dir->count > RECORDS_MAX)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "%llu records, at most %d are read",
                       (unsigned long long)dir->count, RECORDS_MAX);
    if (dir->count > dir->bytes / CENTRAL_BYTES)
        return err_set(err, STATUS_DATA_LOSS, "%llu records do not fit a directory of %llu bytes",
                       (unsigned long long)dir->count, (unsigned long long)dir->bytes);
    return STATUS_OK;
}

/* The ZIP64 extra field holds, in this order, those of the three values that are saturated. */
static bool read_extra64(const char *p, size_t bytes, uint64_t *size, uint64_t *packed,
                         uint64_t *local) {
    uint64_t *want[3] = {*size == 0xffffffff ? size : NULL, *packed == 0xffffffff ? packed : NULL,
                         *local == 0xffffffff ? local : NULL};
    if (!want[0] && !want[1] && !want[2])
        return true;
    while (bytes >= 4) {
        uint16_t id = get16(p), n = get16(p + 2);
        if (n > bytes - 4)
            return false;
        if (id == 1) {
            const char *q = p + 4, *end = q + n;
            for (int i = 0; i < 3; i++) {
                if (!want[i])
                    continue;
                if (end - q < 8)
                    return false;
                *want[i] = get64(q);
                q += 8;
            }
            return true;
        }
        p += 4 + n;
        bytes -= 4u + n;
    }
    return false;
}

/* Where the bytes of a record begin: behind its local header, which must tell the same story. */
static enum status locate(struct view file, uint64_t limit, uint64_t size, struct record *record,
                          struct err *err) {
    int shown = record->name.bytes < 100 ? (int)record->name.bytes : 100;
    if (!inside(record->local, LOCAL_BYTES, limit))
        return err_set(err, STATUS_DATA_LOSS, "record '%.*s' lies outside the file", shown,
                       record->name.data);
    const char *p = file.data + record->local;
    uint64_t name_bytes = get16(p + 26);
    uint64_t begin = record->local + LOCAL_BYTES + name_bytes + get16(p + 28);
    if (memcmp(p, "PK\3\4", 4) != 0 || !inside(begin, size, limit))
        return err_set(err, STATUS_DATA_LOSS, "record '%.*s' lies outside the file", shown,
                       record->name.data);
    if (get16(p + 8) != record->method ||
        !view_equal(view_make(p + LOCAL_BYTES, name_bytes), record->name))
        return err_set(err, STATUS_DATA_LOSS, "record '%.*s' is another one where it lies", shown,
                       record->name.data);
    record->bytes = view_make(file.data + begin, (size_t)size);
    return STATUS_OK;
}

/* One entry of the directory at *at; moves *at behind it. */
static enum status read_entry(struct view file, const struct directory *dir, uint64_t *at,
                              struct record *record, struct err *err) {
    uint64_t end = dir->offset + dir->bytes;
    const char *p = file.data + *at;
    if (!inside(*at, CENTRAL_BYTES, end) || memcmp(p, "PK\1\2", 4) != 0)
        return err_set(err, STATUS_DATA_LOSS, "the directory is damaged or shorter than it says");
    uint64_t name_bytes = get16(p + 28), extra_bytes = get16(p + 30), note_bytes = get16(p + 32);
    uint64_t bytes = CENTRAL_BYTES + name_bytes + extra_bytes + note_bytes;
    if (!inside(*at, bytes, end))
        return err_set(err, STATUS_DATA_LOSS, "the directory is damaged or shorter than it says");
    uint64_t packed = get32(p + 20), size = get32(p + 24), local = get32(p + 42);
    const char *extra = p + CENTRAL_BYTES + name_bytes;
    *record = (struct record){
        .name = view_make(p + CENTRAL_BYTES, (size_t)name_bytes),
        .crc = get32(p + 16),
        .method = get16(p + 10),
        .flags = get16(p + 8),
    };
    if (!read_extra64(extra, (size_t)extra_bytes, &size, &packed, &local))
        return err_set(err, STATUS_DATA_LOSS, "a ZIP64 field is damaged");
    if (record->method == 0 && size != packed && !(record->flags & FLAG_ENCRYPTED))
        return err_set(err, STATUS_DATA_LOSS, "a stored record has two sizes");
    record->local = local;
    *at += bytes;
    return locate(file, dir->offset, packed, record, err);
}

static int compare_names(struct view a, struct view b) {
    size_t n = a.bytes < b.bytes ? a.bytes : b.bytes;
    int order = n ? memcmp(a.data, b.data, n) : 0;
    return order ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

static int by_name(const void *a, const void *b) {
    return compare_names(((const struct record *)a)->name, ((const struct record *)b)->name);
}

static int by_local(const void *a, const void *b) {
    const struct record *x = a, *y = b;
    return (x->local > y->local) - (x->local < y->local);
}

static enum status check_apart(zip_t *self, const char *file, struct err *err) {
    if (self->n == 0)
        return STATUS_OK;
    qsort(self->records, self->n, sizeof *self->records, by_local);
    for (uint32_t i = 1; i < self->n; i++) {
        const struct record *prev = &self->records[i - 1];
        if (prev->bytes.data + prev->bytes.bytes > file + self->records[i].local)
            return err_set(err, STATUS_DATA_LOSS, "records overlap at byte %llu",
                           (unsigned long long)self->records[i].local);
    }
    qsort(self->records, self->n, sizeof *self->records, by_name);
    for (uint32_t i = 1; i < self->n; i++) {
        struct view name = self->records[i].name;
        if (by_name(&self->records[i - 1], &self->records[i]) == 0)
            return err_set(err, STATUS_DATA_LOSS, "record '%.*s' stands twice",
                           name.bytes < 100 ? (int)name.bytes : 100, name.data);
    }
    return STATUS_OK;
}

enum status zip_open(struct view file, zip_t **out, struct err *err) {
    struct directory dir = {0};
    enum status st = read_end(file, &dir, err);
    if (st != STATUS_OK)
        return st;
    zip_t *self = calloc(1, sizeof *self);
    if (self && dir.count)
        self->records = calloc((size_t)dir.count, sizeof *self->records);
    if (!self || (dir.count && !self->records))
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    uint64_t at = dir.offset;
    for (uint64_t i = 0; i < dir.count && st == STATUS_OK; i++) {
        st = read_entry(file, &dir, &at, &self->records[i], err);
        self->n++;
    }
    if (st == STATUS_OK && at != dir.offset + dir.bytes)
        st = err_set(err, STATUS_DATA_LOSS, "the directory has more entries than it says");
    if (st == STATUS_OK)
        st = check_apart(self, file.data, err);
    if (st == STATUS_OK) {
        *out = self;
        self = NULL; /* moved to the caller */
    }
    zip_close(&self);
    return st;
}

void zip_close(zip_t **self) {
    if (*self)
        free((*self)->records);
    free(*self);
    *self = NULL;
}

uint32_t zip_count(const zip_t *self) {
    return self->n;
}

struct view zip_name(const zip_t *self, uint32_t i) {
    return self->records[i].name;
}

enum status zip_record(zip_t *self, struct view name, struct view *out, struct err *err) {
    struct record key = {.name = name};
    struct record *r =
        self->n ? bsearch(&key, self->records, self->n, sizeof *self->records, by_name) : NULL;
    int shown = name.bytes < 100 ? (int)name.bytes : 100;
    if (!r)
        return err_set(err, STATUS_NOT_FOUND, "there is no record '%.*s'", shown, name.data);
    if (r->flags & FLAG_ENCRYPTED)
        return err_set(err, STATUS_UNIMPLEMENTED, "record '%.*s' is encrypted", shown, name.data);
    if (r->method != 0)
        return err_set(err, STATUS_UNIMPLEMENTED,
                       "record '%.*s' is compressed (method %u); only stored records are read",
                       shown, name.data, r->method);
    if (!r->crc_seen && digest_crc32(0, r->bytes) != r->crc)
        return err_set(err, STATUS_DATA_LOSS, "record '%.*s' has a wrong checksum", shown,
                       name.data);
    r->crc_seen = true;
    *out = r->bytes;
    return STATUS_OK;
}
