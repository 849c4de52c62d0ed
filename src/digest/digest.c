/* digest.c - see digest.h. libcrypto can refuse MD5 only in FIPS mode; the cache cannot name an
 * entry then, which is our deployment's mistake, so it is a CHECK. */
#include "digest/digest.h"

#include "base/check.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <zlib.h>

void digest_md5(struct view data, uint8_t out[DIGEST_MD5_BYTES]) {
    CHECK(EVP_Digest(data.data ? data.data : "", data.bytes, out, NULL, EVP_md5(), NULL) == 1);
}

void digest_sha256(struct view data, uint8_t out[DIGEST_SHA256_BYTES]) {
    SHA256((const unsigned char *)(data.data ? data.data : ""), data.bytes, out);
}

uint32_t digest_crc32(uint32_t crc, struct view data) {
    return (uint32_t)crc32_z(crc, (const unsigned char *)data.data, data.bytes);
}

digest_sha256_t *digest_sha256_new(void) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(ctx);
        ctx = NULL;
    }
    return (digest_sha256_t *)ctx;
}

void digest_sha256_add(digest_sha256_t *self, struct view data) {
    CHECK(EVP_DigestUpdate((EVP_MD_CTX *)self, data.data ? data.data : "", data.bytes) == 1);
}

void digest_sha256_finish(digest_sha256_t **self, uint8_t out[DIGEST_SHA256_BYTES]) {
    EVP_MD_CTX *ctx = (EVP_MD_CTX *)*self;
    CHECK(EVP_DigestFinal_ex(ctx, out, NULL) == 1);
    EVP_MD_CTX_free(ctx);
    *self = NULL;
}

struct digest_pair {
    EVP_MD_CTX *md5, *sha256;
};

digest_pair_t *digest_pair_new(void) {
    digest_pair_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->md5 = EVP_MD_CTX_new();
    self->sha256 = EVP_MD_CTX_new();
    /* Looking an algorithm up costs more than hashing a short text: it is done here, once. */
    if (!self->md5 || !self->sha256 || EVP_DigestInit_ex(self->md5, EVP_md5(), NULL) != 1 ||
        EVP_DigestInit_ex(self->sha256, EVP_sha256(), NULL) != 1)
        digest_pair_destroy(&self);
    return self;
}

void digest_pair_destroy(digest_pair_t **self) {
    if (!*self)
        return;
    EVP_MD_CTX_free((*self)->md5);
    EVP_MD_CTX_free((*self)->sha256);
    free(*self);
    *self = NULL;
}

void digest_pair_begin(digest_pair_t *self) {
    CHECK(EVP_DigestInit_ex(self->md5, NULL, NULL) == 1);
    CHECK(EVP_DigestInit_ex(self->sha256, NULL, NULL) == 1);
}

void digest_pair_add(digest_pair_t *self, struct view data) {
    const char *bytes = data.data ? data.data : "";
    CHECK(EVP_DigestUpdate(self->md5, bytes, data.bytes) == 1);
    CHECK(EVP_DigestUpdate(self->sha256, bytes, data.bytes) == 1);
}

void digest_pair_finish(digest_pair_t *self, uint8_t md5[DIGEST_MD5_BYTES],
                        uint8_t sha256[DIGEST_SHA256_BYTES]) {
    CHECK(EVP_DigestFinal_ex(self->md5, md5, NULL) == 1);
    CHECK(EVP_DigestFinal_ex(self->sha256, sha256, NULL) == 1);
}

void digest_hex(const uint8_t *bytes, size_t n, char *out) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * n] = '\0';
}
