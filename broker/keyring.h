/* keyring.h - the certificates of a directory: which public key may do what.
 *
 *     DIR/server.key_secret          the broker's own pair (not read here)
 *     DIR/clients/indexer.key        may ask, on the client port
 *     DIR/operators/anna.key         may ask, and see the broker's status
 *     DIR/workers/gpu-7.key          may work, on the worker port
 *
 * Files are public certificates (wire/cert.h); those that begin with '.' or end with '~' are
 * skipped. A key has one role: one that stands in two files has none. A keyring never changes; a
 * changed directory makes another.
 *
 * Threads: immutable. */
#ifndef EMBER_BROKER_KEYRING_H
#define EMBER_BROKER_KEYRING_H

#include "core.h"
#include "wire/cert.h"

enum { KEYRING_MAX = 8192 }; /* certificates */

struct keyring_entry {
    uint8_t key[CERT_KEY_BYTES];
    enum cert_role role;
    char name[LIMIT_NAME_BYTES + 1]; /* of the certificate, or of its file */
    struct core_who who;
};

typedef struct keyring keyring_t;

/* Told of each file that is refused, one line. */
typedef void keyring_bad_fn(void *arg, const char *what);

/* Reads the directory. `seed` makes account numbers out of keys; the same for all keyrings of a
 * process. STATUS_UNAVAILABLE: one of the three directories cannot be read, or has too many files;
 * STATUS_RESOURCE_EXHAUSTED: no memory. Files that are refused are no error here. */
enum status keyring_load(const char *dir, uint64_t seed, keyring_bad_fn *bad, void *arg,
                         keyring_t **out, struct err *err);
void keyring_destroy(keyring_t **self); /* NULL is fine */

uint32_t keyring_count(const keyring_t *self);
uint32_t keyring_bad(const keyring_t *self); /* files and keys that were refused */

/* Do both admit the same keys, with the same names and limits, and refuse as many files? */
bool keyring_same(const keyring_t *a, const keyring_t *b);

/* NULL when the key is not there. Borrowed. */
const struct keyring_entry *keyring_find(const keyring_t *self, const uint8_t key[CERT_KEY_BYTES]);

/* A number that changes with the directory's files (names, sizes, times, modes); 0 when it cannot
 * be read. *settled: no file is so young that it could change again without a trace. */
uint64_t keyring_stamp(const char *dir, uint64_t wall_us, bool *settled);

#endif
