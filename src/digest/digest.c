/* digest.c - see digest.h. libcrypto can refuse MD5 only in FIPS mode; the cache cannot name an entry
 * then, which is our deployment's mistake, so it is a CHECK. */
#include "digest/digest.h"

#include "base/check.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
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

void digest_hex(const uint8_t *bytes, size_t n, char *out) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * n] = '\0';
}
