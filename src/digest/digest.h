/* digest.h - MD5, SHA-256 and CRC-32 of bytes; the door to libcrypto and zlib.
 *
 * MD5 names cache entries, because people can compute it; SHA-256 is what decides.
 * Threads: each function may run on any thread; a struct digest_sha256 belongs to one. */
#ifndef EMBER_DIGEST_H
#define EMBER_DIGEST_H

#include "base/err.h"
#include "base/view.h"

#include <stdint.h>

enum { DIGEST_MD5_BYTES = 16, DIGEST_SHA256_BYTES = 32 };

void digest_md5(struct view data, uint8_t out[DIGEST_MD5_BYTES]);
void digest_sha256(struct view data, uint8_t out[DIGEST_SHA256_BYTES]);

/* CRC-32 of RFC 1952 (zlib's), continued from `crc`; start with 0. */
uint32_t digest_crc32(uint32_t crc, struct view data);

/* SHA-256 in pieces. new() is NULL without memory; finish() writes the digest and frees. */
typedef struct digest_sha256 digest_sha256_t;
digest_sha256_t *digest_sha256_new(void);
void digest_sha256_add(digest_sha256_t *self, struct view data);
void digest_sha256_finish(digest_sha256_t **self, uint8_t out[DIGEST_SHA256_BYTES]);

/* MD5 and SHA-256 of one input given in pieces, over and over: begin, add ..., finish. new() is
 * NULL without memory; nothing after it allocates. */
typedef struct digest_pair digest_pair_t;
digest_pair_t *digest_pair_new(void);
void digest_pair_destroy(digest_pair_t **self); /* NULL is fine */
void digest_pair_begin(digest_pair_t *self);
void digest_pair_add(digest_pair_t *self, struct view data);
void digest_pair_finish(digest_pair_t *self, uint8_t md5[DIGEST_MD5_BYTES],
                        uint8_t sha256[DIGEST_SHA256_BYTES]);

/* Lower-case hex of n bytes and a NUL: out holds 2 n + 1. */
void digest_hex(const uint8_t *bytes, size_t n, char *out);

#endif
