/* zip_maker.h - zip archives of stored records, built in memory, to be damaged by tests.
 *
 *     struct zip_maker z = {0};
 *     zip_add(&z, "root/version", "3\n", 2);
 *     zip_finish(&z);                           -> z.data[0..z.bytes) */
#ifndef EMBER_ZIP_MAKER_H
#define EMBER_ZIP_MAKER_H

#include "digest/digest.h"
#include "support/test.h"

enum { ZIP_MAKER_BYTES = 16 * 1024, ZIP_MAKER_RECORDS = 16 };

struct zip_maker {
    char data[ZIP_MAKER_BYTES];
    size_t bytes;
    char directory[4096];
    size_t directory_bytes, directory_at;
    unsigned n;
    bool zip64; /* sizes and places as ZIP64 says them */
};

static inline void zip_put(char *to, size_t *at, uint64_t value, unsigned bytes) {
    for (unsigned i = 0; i < bytes; i++)
        to[(*at)++] = (char)(i < 8 ? value >> 8 * i & 0xff : 0);
}

static inline void zip_put_text(char *to, size_t *at, const void *text, size_t bytes) {
    memcpy(to + *at, text, bytes);
    *at += bytes;
}

static inline void zip_add(struct zip_maker *z, const char *name, const void *data, size_t bytes) {
    size_t local = z->bytes, name_bytes = strlen(name);
    TEST_TRUE(z->bytes + bytes + name_bytes + 64 < sizeof z->data && z->n < ZIP_MAKER_RECORDS);
    uint32_t crc = digest_crc32(0, view_make(data, bytes));
    zip_put_text(z->data, &z->bytes, "PK\3\4", 4);
    zip_put(z->data, &z->bytes, 20, 2); /* version; flags, method, time and date are 0 */
    zip_put(z->data, &z->bytes, 0, 8);
    zip_put(z->data, &z->bytes, crc, 4);
    zip_put(z->data, &z->bytes, bytes, 4);
    zip_put(z->data, &z->bytes, bytes, 4);
    zip_put(z->data, &z->bytes, name_bytes, 2);
    zip_put(z->data, &z->bytes, 5, 2); /* an extra field, so that nobody forgets it */
    zip_put_text(z->data, &z->bytes, name, name_bytes);
    zip_put_text(z->data, &z->bytes, "FB\1\0Z", 5);
    if (bytes)
        zip_put_text(z->data, &z->bytes, data, bytes);

    char *d = z->directory;
    size_t *at = &z->directory_bytes;
    zip_put_text(d, at, "PK\1\2", 4);
    zip_put(d, at, 20, 2);
    zip_put(d, at, 20, 2);
    zip_put(d, at, 0, 8);
    zip_put(d, at, crc, 4);
    zip_put(d, at, z->zip64 ? 0xffffffff : bytes, 4);
    zip_put(d, at, z->zip64 ? 0xffffffff : bytes, 4);
    zip_put(d, at, name_bytes, 2);
    zip_put(d, at, z->zip64 ? 33 : 0, 2);
    zip_put(d, at, 0, 10); /* comment, disk, attributes */
    zip_put(d, at, z->zip64 ? 0xffffffff : local, 4);
    zip_put_text(d, at, name, name_bytes);
    if (z->zip64) {
        zip_put_text(d, at, "XX\1\0?", 5);
        zip_put(d, at, 1, 2);
        zip_put(d, at, 24, 2);
        zip_put(d, at, bytes, 8);
        zip_put(d, at, bytes, 8);
        zip_put(d, at, local, 8);
    }
    z->n++;
}

static inline void zip_finish(struct zip_maker *z) {
    z->directory_at = z->bytes;
    zip_put_text(z->data, &z->bytes, z->directory, z->directory_bytes);
    size_t end64 = z->bytes;
    if (z->zip64) {
        zip_put_text(z->data, &z->bytes, "PK\6\6", 4);
        zip_put(z->data, &z->bytes, 44, 8);
        zip_put(z->data, &z->bytes, 0, 12);
        zip_put(z->data, &z->bytes, z->n, 8);
        zip_put(z->data, &z->bytes, z->n, 8);
        zip_put(z->data, &z->bytes, z->directory_bytes, 8);
        zip_put(z->data, &z->bytes, z->directory_at, 8);
        zip_put_text(z->data, &z->bytes, "PK\6\7", 4);
        zip_put(z->data, &z->bytes, 0, 4);
        zip_put(z->data, &z->bytes, end64, 8);
        zip_put(z->data, &z->bytes, 1, 4);
    }
    zip_put_text(z->data, &z->bytes, "PK\5\6", 4);
    zip_put(z->data, &z->bytes, 0, 4);
    zip_put(z->data, &z->bytes, z->n, 2);
    zip_put(z->data, &z->bytes, z->n, 2);
    zip_put(z->data, &z->bytes, z->zip64 ? 0xffffffff : z->directory_bytes, 4);
    zip_put(z->data, &z->bytes, z->zip64 ? 0xffffffff : z->directory_at, 4);
    zip_put(z->data, &z->bytes, 0, 2);
}

#endif
