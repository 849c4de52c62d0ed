/* The fixed header: every field survives, every damage is seen. */
#include "support/test.h"

#include "base/hash.h"
#include "wire/header.h"

static const struct header sample = {
    .type = WIRE_DISPATCH,
    .flags = WIRE_FLAG_RETRY,
    .lane = WIRE_LANE_BULK,
    .attempt = 0x1234,
    .id = 0x0123456789abcdef,
    .epoch = 0xfedcba9876543210,
    .budget_us = 10000000,
    .service = 0xbeef,
};

static void
test_bytes(void **state) { /* the table of header.h and docs/PROTOCOL.md, byte by byte */
    (void)state;
    static const uint8_t want[30] = {
        0x45, 0x4d,                                     /* magic: "EM" */
        1,    18,   1,    2,                            /* version, type, flags, lane */
        0x34, 0x12,                                     /* attempt */
        0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01, /* id */
        0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe, /* epoch */
        0x80, 0x96, 0x98, 0x00,                         /* budget */
        0xef, 0xbe,                                     /* service */
    };
    uint8_t bytes[HEADER_BYTES];
    header_pack(&sample, bytes);
    TEST_MEM_EQ(bytes, want, sizeof want);
}

static void test_check_value(void **state) { /* CRC-16/CCITT-FALSE of "123456789" is 0x29b1 */
    (void)state;
    /* The check is over 30 bytes, so the catalogue's value is reached by a second computation,
     * bit by bit. */
    uint8_t bytes[HEADER_BYTES];
    header_pack(&sample, bytes);
    unsigned crc = 0xffff;
    for (int i = 0; i < 30; i++) {
        crc ^= (unsigned)bytes[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 0x8000 ? (crc << 1 ^ 0x1021) & 0xffff : crc << 1;
    }
    TEST_EQ(bytes[30] | bytes[31] << 8, crc);
}

static void test_round_trip(void **state) {
    (void)state;
    uint64_t seed = 7;
    for (int i = 0; i < 1000; i++) {
        struct header in = {
            .type = (uint8_t)(1 + hash_below(&seed, 9)),
            .flags = (uint8_t)hash_next(&seed),
            .status = (uint8_t)hash_next(&seed),
            .credit = (uint16_t)hash_next(&seed),
            .id = hash_next(&seed),
            .epoch = hash_next(&seed),
            .budget_us = (uint32_t)hash_next(&seed),
            .service = (uint16_t)hash_next(&seed),
        };
        uint8_t bytes[HEADER_BYTES];
        header_pack(&in, bytes);
        struct header out = {0};
        TEST_EQ(header_parse(bytes, sizeof bytes, &out), HEADER_OK);
        TEST_EQ(out.type, in.type);
        TEST_EQ(out.flags, in.flags);
        TEST_EQ(out.status, in.status);
        TEST_EQ(out.credit, in.credit);
        TEST_EQ(out.id, in.id);
        TEST_EQ(out.epoch, in.epoch);
        TEST_EQ(out.budget_us, in.budget_us);
        TEST_EQ(out.service, in.service);
    }
}

static void test_refused(void **state) {
    (void)state;
    uint8_t good[HEADER_BYTES + 1];
    header_pack(&sample, good);
    struct header out = {.id = 99};
    TEST_EQ(header_parse(good, HEADER_BYTES - 1, &out), HEADER_BAD_LENGTH);
    TEST_EQ(header_parse(good, HEADER_BYTES + 1, &out), HEADER_BAD_LENGTH);
    TEST_EQ(header_parse(good, 0, &out), HEADER_BAD_LENGTH);
    for (unsigned bit = 0; bit < HEADER_BYTES * 8; bit++) { /* one flipped bit is always seen */
        uint8_t bytes[HEADER_BYTES];
        memcpy(bytes, good, sizeof bytes);
        bytes[bit / 8] = (uint8_t)(bytes[bit / 8] ^ 1u << bit % 8);
        TEST_EQ(header_parse(bytes, sizeof bytes, &out),
                bit < 16 ? HEADER_BAD_MAGIC : HEADER_BAD_CHECK);
    }
    struct header odd = sample;
    odd.type = 250;
    header_pack(&odd, good);
    TEST_EQ(header_parse(good, HEADER_BYTES, &out), HEADER_BAD_TYPE);
    TEST_EQ(out.id, 99); /* untouched on refusal */
}

static void test_names(void **state) {
    (void)state;
    TEST_STR_EQ(wire_type_name(WIRE_REQUEST), "REQUEST");
    TEST_STR_EQ(wire_type_name(WIRE_BYE_OK), "BYE_OK");
    TEST_STR_EQ(wire_type_name(0), "?");
    TEST_STR_EQ(wire_type_name(12), "?");
    TEST_STR_EQ(wire_type_name(255), "?");
    TEST_STR_EQ(wire_lane_name(WIRE_LANE_HIGH), "high");
    TEST_STR_EQ(wire_lane_name(WIRE_LANE_BULK), "bulk");
    TEST_STR_EQ(wire_lane_name(WIRE_LANES), "?");
    TEST_STR_EQ(header_verdict_name(HEADER_BAD_CHECK), "bad-check");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),      cmocka_unit_test(test_check_value),
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
