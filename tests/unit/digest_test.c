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

static void test_pair(void **state) {
    (void)state;
    digest_pair_t *pair = digest_pair_new();
    assert_non_null(pair);
    for (int round = 0; round < 3; round++) { /* the same one, again and again */
        uint8_t md5[DIGEST_MD5_BYTES], sha[DIGEST_SHA256_BYTES];
        uint8_t want_md5[DIGEST_MD5_BYTES], want_sha[DIGEST_SHA256_BYTES];
        const char *whole = round == 1 ? "" : "one two three";
        digest_pair_begin(pair);
        digest_pair_add(pair, view_make(NULL, 0));
        digest_pair_add(pair, view_make(whole, round == 1 ? 0 : 4));
        digest_pair_add(pair, view_of(whole + (round == 1 ? 0 : 4)));
        digest_pair_finish(pair, md5, sha);
        digest_md5(view_of(whole), want_md5);
        digest_sha256(view_of(whole), want_sha);
        TEST_MEM_EQ(md5, want_md5, sizeof md5);
        TEST_MEM_EQ(sha, want_sha, sizeof sha);
    }
    digest_pair_begin(pair); /* begun and left */
    digest_pair_destroy(&pair);
    digest_pair_destroy(&pair);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_known),
                                       cmocka_unit_test(test_in_pieces),
                                       cmocka_unit_test(test_pair)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
