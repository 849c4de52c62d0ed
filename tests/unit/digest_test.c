#include "support/test.h"

#include "digest/digest.h"

static void test_known(void **state) { /* RFC 1321 A.5, FIPS 180-4 examples, CRC catalogue */
    (void)state;
    uint8_t md5[DIGEST_MD5_BYTES], sha[DIGEST_SHA256_BYTES];
    char hex[65];
    digest_md5(view_of("message digest"), md5);
    digest_hex(md5, sizeof md5, hex);
    TEST_STR_EQ(hex, "f96b697d7cb7938d525a2f31aaf161d0");
    digest_md5(view_make(NULL, 0), md5);
    digest_hex(md5, sizeof md5, hex);
    TEST_STR_EQ(hex, "d41d8cd98f00b204e9800998ecf8427e");
    digest_sha256(view_of("abc"), sha);
    digest_hex(sha, sizeof sha, hex);
    TEST_STR_EQ(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    TEST_EQ(digest_crc32(0, view_of("123456789")), 0xcbf43926u);
    TEST_EQ(digest_crc32(digest_crc32(0, view_of("1234")), view_of("56789")), 0xcbf43926u);
}

static void test_in_pieces(void **state) {
    (void)state;
    uint8_t whole[DIGEST_SHA256_BYTES], pieces[DIGEST_SHA256_BYTES];
    digest_sha256(view_of("one two three"), whole);
    digest_sha256_t *sha = digest_sha256_new();
    assert_non_null(sha);
    digest_sha256_add(sha, view_of("one "));
    digest_sha256_add(sha, view_of(""));
    digest_sha256_add(sha, view_of("two three"));
    digest_sha256_finish(&sha, pieces);
    TEST_TRUE(sha == NULL);
    TEST_MEM_EQ(pieces, whole, sizeof whole);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_known),
                                       cmocka_unit_test(test_in_pieces)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
