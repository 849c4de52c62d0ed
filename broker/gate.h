/* gate.h - the broker's sessions and the keys behind them.
 *
 *     HELLO  ──► gate_client() ──► core_hello() ──► gate_seat()        let in, as whom
 *     READY  ──► gate_worker() ──► core_ready() ──► gate_seat()
 *     gate_changed() ──► gate_revoked(), until it finds none           whose key is gone must leave
 *
 * libzmq has no way to close one connection of a ROUTER: a revoked key keeps its connection, but
 * has no session, and no HELLO or READY of it makes one.
 *
 * Threads: owner only. Memory: all of it is taken in gate_init(). */
#ifndef EMBER_BROKER_GATE_H
#define EMBER_BROKER_GATE_H

#include "guard.h"

#define GATE_NONE UINT32_MAX

enum gate_side { GATE_CLIENTS, GATE_WORKERS, GATE_SIDES };

struct gate_seat {
    uint8_t key[CERT_KEY_BYTES];
    enum cert_role role; /* CERT_ANY: nobody */
};

struct gate {
    guard_t *guard; /* NULL: no keys, everybody may everything */
    struct gate_seat *seats[GATE_SIDES];
    uint32_t n[GATE_SIDES];
    struct gate_seat next; /* whom gate_client() or gate_worker() let in last */
    uint64_t version;
};

/* `guard` is borrowed until gate_done(); without one no memory is taken. False: no memory. */
bool gate_init(struct gate *self, guard_t *guard, uint32_t max_clients, uint32_t max_workers);
void gate_done(struct gate *self);

/* May the connection with this User-Id (NULL: none) begin a session, or go on with `client`, its
 * number, GATE_NONE when it has none? STATUS_OK: who->account and limits are those of its
 * certificate. STATUS_UNAUTHENTICATED: its key is not, or no longer, admitted. */
enum status gate_client(struct gate *self, uint32_t client, const char *user, struct core_who *who,
                        struct err *err);
enum status gate_worker(struct gate *self, uint32_t worker, const char *user, struct err *err);

void gate_seat(struct gate *self, enum gate_side side, uint32_t number); /* it got this number */
void gate_leave(struct gate *self, enum gate_side side, uint32_t number);

/* STATUS_PERMISSION_DENIED unless its key is an operator's. */
enum status gate_status(const struct gate *self, uint32_t client, struct err *err);

/* True once after the keys changed. Then gate_revoked() names the first session at or above `from`
 * whose key is not admitted any more, GATE_NONE: no more of this side; it is to be ended. */
bool gate_changed(struct gate *self);
uint32_t gate_revoked(struct gate *self, enum gate_side side, uint32_t from);

#endif
