/* status.h - the one list of failure words, from the engine to the caller's screen.
 *
 * Names, numbers and meanings of the first seventeen are gRPC's, since people know them
 * (https://grpc.io/docs/guides/status-codes); UNKNOWN_OUTCOME takes the place of gRPC's UNKNOWN.
 * They travel in the wire header as one byte: numbers are never reused. */
#ifndef EMBER_BASE_STATUS_H
#define EMBER_BASE_STATUS_H

#include <stdbool.h>
#include <stdint.h>

enum status {
    STATUS_OK = 0,
    STATUS_CANCELLED = 1,          /* the caller took the request back */
    STATUS_UNKNOWN_OUTCOME = 2,    /* it may have run; requests are pure, so repeating is safe */
    STATUS_INVALID_ARGUMENT = 3,   /* the request can never succeed as it is */
    STATUS_DEADLINE_EXCEEDED = 4,  /* its time ran out first */
    STATUS_NOT_FOUND = 5,          /* no such model, file or entry */
    STATUS_ALREADY_EXISTS = 6,     /* what was to be made is there already */
    STATUS_PERMISSION_DENIED = 7,  /* known, but not allowed to do this */
    STATUS_RESOURCE_EXHAUSTED = 8, /* a limit is reached: memory, queue, size; see retry_after_ms */
    STATUS_FAILED_PRECONDITION = 9, /* right request, wrong state */
    STATUS_ABORTED = 10,            /* given up half-way by us */
    STATUS_OUT_OF_RANGE = 11,       /* a number beyond what the data has */
    STATUS_UNIMPLEMENTED =
        12,                  /* well formed, but not supported; the message says what is missing */
    STATUS_INTERNAL = 13,    /* our mistake, or broken data found where none should be */
    STATUS_UNAVAILABLE = 14, /* not executed: nobody there to do it; safe to retry */
    STATUS_DATA_LOSS = 15,   /* a file or value is corrupt */
    STATUS_UNAUTHENTICATED = 16, /* not known */
};

/* "OK", "INVALID_ARGUMENT" ...; "UNKNOWN(42)" is never returned: an unknown number reads
 * "INVALID". */
const char *status_name(enum status status);

/* True and *out written when `code` (a byte from outside) is a status we know. */
bool status_from_code(uint8_t code, enum status *out);

#endif
