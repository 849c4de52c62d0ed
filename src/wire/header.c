/* header.c - the header's bytes. See header.h for the table. */
#include "wire/header.h"

#include <string.h>

enum { MAGIC = 0x4d45 };

/* CRC-16/CCITT-FALSE (polynomial 0x1021, start 0xffff). The polynomial is so sparse that a byte's
 * eight steps collapse into shifts: bits 12, 5 and 0 of it are where a byte, folded with its own
 * upper half, comes back. */
static uint16_t crc16(const uint8_t *data, size_t bytes) {
    unsigned crc = 0xffff;
    for (size_t i = 0; i < bytes; i++) {
        unsigned x = (crc >> 8 ^ data[i]) & 0xff;
        x ^= x >> 4;
        crc = (crc << 8 ^ x << 12 ^ x << 5 ^ x) & 0xffff;
    }
    return (uint16_t)crc;
}

static void put16(uint8_t *p, uint16_t x) {
    p[0] = (uint8_t)x;
    p[1] = (uint8_t)(x >> 8);
}

static void put32(uint8_t *p, uint32_t x) {
    put16(p, (uint16_t)x);
    put16(p + 2, (uint16_t)(x >> 16));
}

static void put64(uint8_t *p, uint64_t x) {
    put32(p, (uint32_t)x);
    put32(p + 4, (uint32_t)(x >> 32));
}

static uint16_t get16(const uint8_t *p) {
    return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t get32(const uint8_t *p) {
    return (uint32_t)get16(p) | (uint32_t)get16(p + 2) << 16;
}

static uint64_t get64(const uint8_t *p) {
    return (uint64_t)get32(p) | (uint64_t)get32(p + 4) << 32;
}

void header_pack(const struct header *header, uint8_t out[HEADER_BYTES]) {
    put16(out, MAGIC);
    out[2] = WIRE_VERSION;
    out[3] = header->type;
    out[4] = header->flags;
    out[5] = header->status;
    put16(out + 6, header->credit);
    put64(out + 8, header->id);
    put64(out + 16, header->epoch);
    put32(out + 24, header->budget_us);
    put16(out + 28, header->service);
    put16(out + 30, crc16(out, 30));
}

enum header_verdict header_parse(const void *data, size_t bytes, struct header *out) {
    if (bytes != HEADER_BYTES)
        return HEADER_BAD_LENGTH;
    const uint8_t *p = data;
    if (get16(p) != MAGIC)
        return HEADER_BAD_MAGIC;
    if (get16(p + 30) != crc16(p, 30))
        return HEADER_BAD_CHECK;
    if (p[2] != WIRE_VERSION)
        return HEADER_BAD_VERSION;
    if (wire_type_name(p[3])[0] == '?')
        return HEADER_BAD_TYPE;
    *out = (struct header){
        .type = p[3],
        .flags = p[4],
        .status = p[5],
        .credit = get16(p + 6),
        .id = get64(p + 8),
        .epoch = get64(p + 16),
        .budget_us = get32(p + 24),
        .service = get16(p + 28),
    };
    return HEADER_OK;
}

const char *header_verdict_name(enum header_verdict verdict) {
    static const char *const names[] = {"ok",        "bad-length",  "bad-magic",
                                        "bad-check", "bad-version", "bad-type"};
    return names[verdict];
}

const char *wire_type_name(uint8_t type) {
    static const char *const names[] = {
        [WIRE_HELLO] = "HELLO",       [WIRE_WELCOME] = "WELCOME",
        [WIRE_REQUEST] = "REQUEST",   [WIRE_REPLY] = "REPLY",
        [WIRE_CANCEL] = "CANCEL",     [WIRE_PING] = "PING",
        [WIRE_PONG] = "PONG",         [WIRE_GOAWAY] = "GOAWAY",
        [WIRE_READY] = "READY",       [WIRE_WHO_ARE_YOU] = "WHO_ARE_YOU",
        [WIRE_READY_OK] = "READY_OK", [WIRE_DISPATCH] = "DISPATCH",
        [WIRE_RESULT] = "RESULT",     [WIRE_NACK] = "NACK",
        [WIRE_DRAIN] = "DRAIN",       [WIRE_HEARTBEAT] = "HEARTBEAT",
        [WIRE_BYE] = "BYE",           [WIRE_BYE_OK] = "BYE_OK",
    };
    const char *name = type < sizeof names / sizeof *names ? names[type] : NULL;
    return name ? name : "?";
}

const char *wire_lane_name(uint8_t lane) {
    static const char *const names[WIRE_LANES] = {"high", "normal", "bulk"};
    return lane < WIRE_LANES ? names[lane] : "?";
}
