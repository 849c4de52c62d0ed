/* header.h - the fixed 32-byte header of every message: all that a broker reads.
 *
 *   offset size  field
 *        0    2  magic       0x4d45, "EM"
 *        2    1  version     1
 *        3    1  type        enum wire_type
 *        4    1  flags       WIRE_FLAG_*
 *        5    1  status      in replies and results; in requests: lane
 *        6    2  attempt     in requests and dispatches; in what a worker sends: credit, its
 *                            absolute window; in PONG to a worker: demand, the cost that waits or
 *                            runs for its services
 *        8    8  id          number of the request in its session; worker side: ticket
 *                            (slot | generation << 32)
 *       16    8  epoch       client side: session from WELCOME; worker side: the broker's start id
 *       24    4  budget_us   time left, relative (no clock is compared); 0: carries no deadline; in
 *                            RESULT: engine work the request took, its part of each batch by
 *                            tokens; 0: none (a cache hit), or not known
 *       28    2  service     number agreed in WELCOME / READY_OK; 0: the broker itself
 *       30    2  check       CRC-16/CCITT-FALSE of bytes 0..29
 *
 * All little-endian. 32 bytes fit libzmq's inline message, so a header costs no allocation.
 * Threads: pure functions. */
#ifndef EMBER_WIRE_HEADER_H
#define EMBER_WIRE_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HEADER_BYTES = 32, WIRE_VERSION = 1 };

enum wire_type {
    /* client and broker */
    WIRE_HELLO = 1,   /* Hello */
    WIRE_WELCOME = 2, /* Welcome */
    WIRE_REQUEST = 3, /* body by the task of the service */
    WIRE_REPLY = 4,   /* reply of that task, or Error when the status is not OK */
    WIRE_CANCEL = 5,  /* id names the request; no body */
    WIRE_PING = 6,    /* either side */
    WIRE_PONG = 7,
    WIRE_GOAWAY = 8,      /* Goaway: send nothing new here */
    WIRE_WHO_ARE_YOU = 9, /* the session is not known: say HELLO or READY */
    /* worker and broker (PING, PONG, WHO_ARE_YOU and CANCEL, too: id is then the ticket) */
    WIRE_READY = 16,     /* Ready */
    WIRE_READY_OK = 17,  /* ReadyOk */
    WIRE_DISPATCH = 18,  /* the request's body, untouched */
    WIRE_RESULT = 19,    /* as REPLY */
    WIRE_NACK = 20,      /* ticket not started: give it to another */
    WIRE_HEARTBEAT = 21, /* Heartbeat */
    WIRE_DRAIN = 22,     /* worker: send me nothing new */
    WIRE_BYE = 23,       /* worker, client: I am done and leave */
    WIRE_BYE_OK = 24,
};

enum {
    WIRE_FLAG_RETRY = 1,  /* sent before, perhaps executed */
    WIRE_FLAG_HEDGED = 2, /* in DISPATCH: another execution of it runs elsewhere */
    WIRE_FLAG_ALONE = 4,  /* in REQUEST: not to share an execution with an equal request */
};

enum wire_lane { WIRE_LANE_HIGH = 0, WIRE_LANE_NORMAL = 1, WIRE_LANE_BULK = 2, WIRE_LANES = 3 };

struct header {
    uint8_t type;
    uint8_t flags;
    union {
        uint8_t status;
        uint8_t lane;
    };
    union {
        uint16_t attempt;
        uint16_t credit;
    };
    uint64_t id;
    uint64_t epoch;
    uint32_t budget_us;
    uint16_t service;
};

enum header_verdict {
    HEADER_OK,
    HEADER_BAD_LENGTH,
    HEADER_BAD_MAGIC,
    HEADER_BAD_CHECK,
    HEADER_BAD_VERSION, /* well formed, of a version we do not speak */
    HEADER_BAD_TYPE,
};

void header_pack(const struct header *header, uint8_t out[HEADER_BYTES]);

/* On HEADER_OK *out is filled; otherwise it is untouched. */
enum header_verdict header_parse(const void *data, size_t bytes, struct header *out);

const char *header_verdict_name(enum header_verdict verdict);
const char *wire_type_name(uint8_t type); /* "REQUEST"; "?" when unknown */
const char *wire_lane_name(uint8_t lane); /* "high", "normal", "bulk"; else "?" */

#endif
