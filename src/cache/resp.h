/* resp.h - commands to Redis as bytes, as redis.io's "Redis serialization protocol" has them:
 *
 *     *2\r\n$4\r\nMGET\r\n$3\r\nkey\r\n
 *
 * in a buffer of fixed size that is filled at one end and sent from the other. There is always
 * room: the owner allows no more commands out than it was sized for.
 * Threads: owner only. Memory: resp_out_init() allocates, nothing after it does. */
#ifndef EMBER_CACHE_RESP_H
#define EMBER_CACHE_RESP_H

#include <stdbool.h>
#include <stddef.h>

enum {
    RESP_ARG_BYTES_MAX = 32,     /* around an argument: its length, two line ends */
    RESP_COMMAND_BYTES_MAX = 128 /* of a command beside its long arguments: count, name, options */
};

struct resp_out {
    char *data;
    size_t size, from, to; /* data[from..to) is still to be sent */
};

bool resp_out_init(struct resp_out *self, size_t size); /* false without memory */
void resp_out_done(struct resp_out *self);
void resp_out_reset(struct resp_out *self);
size_t resp_out_bytes(const struct resp_out *self); /* still to be sent */

/* Moves what is to be sent to the front, so that `size - resp_out_bytes()` are free behind it. */
void resp_compact(struct resp_out *self);

void resp_array(struct resp_out *self, size_t n_args); /* begins a command; n_args follow */
void resp_arg(struct resp_out *self, const char *data, size_t bytes);
void resp_text(struct resp_out *self, const char *text);

#endif
