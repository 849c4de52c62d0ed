/* players.h - many clients and workers of a broker, played by one thread over plain TCP: ZMTP 3.0
 * with the NULL mechanism (https://rfc.zeromq.org/spec/23), so that thousands of connections cost
 * the machine little beside the broker under test.
 *
 * Buffers grow as needed. Threads: one. Whatever goes wrong ends the program. */
#ifndef EMBER_BENCH_PLAYERS_H
#define EMBER_BENCH_PLAYERS_H

#include "wire/header.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct player {
    int fd; /* -1: closed */
    uint32_t number;
    bool worker, open, greeted, wants_out, dirty, has_header;
    uint64_t epoch;
    uint16_t service;
    uint8_t *in, *out;
    size_t n_in, in_room, n_out, out_room, sent;
    struct header header; /* of the message whose body comes next */
};

struct players {
    int epoll;
    struct player *list; /* [max] */
    uint32_t n, max, n_open;
    uint32_t *dirty, n_dirty;
    uint16_t credit; /* what workers say in every message */
    /* A frame that is neither greeting nor PING. */
    void (*on_message)(struct player *player, const struct header *header, const uint8_t *body,
                       size_t bytes);
};

void players_init(struct players *self, uint32_t max, uint16_t credit);
void players_done(struct players *self);
/* Dials `n` more and waits until the broker has welcomed them all. */
void players_add(struct players *self, uint32_t n, bool workers, uint16_t port);
void players_close(struct players *self, struct player *player);
void players_send(struct players *self, struct player *player, const struct header *header,
                  const void *body, size_t bytes);
void players_turn(struct players *self, int timeout_ms);
void players_run(struct players *self, uint64_t us);

uint16_t players_free_port(void);

#endif
