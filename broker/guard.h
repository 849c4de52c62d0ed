/* guard.h - who may connect, and as what: libzmq's question about each key (ZAP, RFC 27), answered
 * from a directory of certificates that is looked at every second.
 *
 *     a peer's handshake ──libzmq, inproc──► guard's thread ──► 200, User-Id = key, or 400
 *     DIR/clients/ ... ──every second──► keyring ─────^ ^
 *     loop ── guard_find(User-Id): role, name, limits ──'
 *
 * All fails closed: without an answer libzmq refuses, see frame.c. While a directory cannot be
 * read, nobody new is admitted and those who are connected stay.
 *
 * Threads: guard_start() and guard_stop() by one owner; the rest by any. */
#ifndef EMBER_BROKER_GUARD_H
#define EMBER_BROKER_GUARD_H

#include "keyring.h"
#include "wire/frame.h"

typedef struct guard guard_t;

struct guard_counts {
    uint64_t admitted, refused; /* handshakes */
    uint64_t reloads;
    uint32_t keys, bad; /* in force; files refused at the last reload */
    bool closed;        /* the directory cannot be read */
};

/* Reads `dir`, starts the thread and binds the ZAP endpoint of `context`; to be called before any
 * socket of it is bound. STATUS_UNAVAILABLE, PERMISSION_DENIED, INVALID_ARGUMENT, DATA_LOSS: the
 * directory or a file in it is not as it should be, named in *err: at the start everything must
 * be; FAILED_PRECONDITION: this libzmq has no CURVE. */
enum status guard_start(void *context, const char *dir, guard_t **out, struct err *err);
void guard_stop(
    guard_t **self); /* after its sockets were closed, before the context ends; or NULL */

/* What a ROUTER of the broker is made with. Has the secret key until guard_forget_secret(), to be
 * called when the sockets are made; libzmq keeps its own copy as long as they live. */
const struct frame_curve *guard_clients(const guard_t *self);
const struct frame_curve *guard_workers(const guard_t *self);
void guard_forget_secret(guard_t *self);

/* Whose User-Id this is, by what is in force now. False: nobody's. */
bool guard_find(guard_t *self, const char *user, struct keyring_entry *out);
bool guard_find_key(guard_t *self, const uint8_t key[CERT_KEY_BYTES], struct keyring_entry *out);

void guard_reload(guard_t *self);            /* look at the directory now; does not wait */
uint64_t guard_version(const guard_t *self); /* changes when the keys in force do */
void guard_counts(guard_t *self, struct guard_counts *out);

/* Is a port bound to `endpoint` out of reach of other hosts? */
bool guard_is_local(const char *endpoint);

/* A ZAP request as frames behind the empty one, and what is answered: pure, for the thread and for
 * tests. `ring` NULL: the directory cannot be read. */
enum { GUARD_FRAMES = 7, GUARD_FRAME_BYTES = 256 };
struct guard_request {
    uint32_t n; /* frames that came; more than GUARD_FRAMES: some were dropped */
    struct view frames[GUARD_FRAMES];
};
struct guard_answer {
    const char *code;         /* "200", "300", "400" or "500" */
    char user[CERT_KEY_TEXT]; /* User-Id, "" unless 200 */
    const char *why;          /* for the log */
};
struct guard_answer guard_judge(const struct guard_request *request, const keyring_t *ring);

#endif
