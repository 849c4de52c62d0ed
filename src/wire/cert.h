/* cert.h - keys in files, in the text form of czmq's certificates (zcert, ZPL), so that its tools
 * read ours and we theirs.
 *
 *     # EmberMQ client certificate                      comments and empty lines anywhere
 *     metadata
 *         name = "indexer"                              four blanks, name = value, quotes or none
 *         role = "client"
 *         max-requests = "256"
 *     curve
 *         public-key = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
 *         secret-key = "..."                            in secret certificates only
 *
 * What is not of this form is refused whole, with the number of the line; unknown metadata are
 * skipped. Messages never quote a value: it may be a secret.
 *
 * Threads: none of its own. Memory: none is taken. */
#ifndef EMBER_WIRE_CERT_H
#define EMBER_WIRE_CERT_H

#include "base/err.h"
#include "base/limits.h"
#include "base/view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CERT_KEY_BYTES = 32,
    CERT_KEY_TEXT = 41,     /* a key in Z85, the NUL included */
    CERT_FILE_BYTES = 8192, /* of a certificate */
    CERT_WEIGHT_MAX = 100,
};

enum cert_role { CERT_ANY, CERT_CLIENT, CERT_WORKER, CERT_OPERATOR, CERT_SERVER, CERT_ROLES };

struct cert {
    uint8_t public_key[CERT_KEY_BYTES];
    uint8_t secret_key[CERT_KEY_BYTES]; /* zero without one */
    bool has_secret;
    char name[LIMIT_NAME_BYTES + 1]; /* "": none */
    enum cert_role role;             /* CERT_ANY: the certificate does not say */
    uint32_t max_requests, max_cost; /* 0: not limited here */
    uint64_t max_bytes;
    uint32_t weight; /* 0: not said */
};

/* A certificate from its text. STATUS_DATA_LOSS: it is none, *out is untouched. A secret key that
 * does not belong to the public one is refused. */
enum status cert_parse(struct view text, struct cert *out, struct err *err);

/* The same from a file, named in messages. A secret certificate must be readable by its owner alone
 * and belong to us or to root (whose files a group may read: credentials of systemd are such).
 * STATUS_UNAVAILABLE: it cannot be read; STATUS_PERMISSION_DENIED: others can. */
enum status cert_load(const char *path, struct cert *out, struct err *err);

/* A certificate that must have a secret, or must have none. */
enum status cert_load_secret(const char *path, struct cert *out, struct err *err);
enum status cert_load_public(const char *path, struct cert *out, struct err *err);

/* A new pair of keys into *out, whose other fields stay. False: libzmq has no CURVE. */
bool cert_make_keys(struct cert *out);

/* The text of a certificate with or without its secret; the number of bytes, less than
 * CERT_FILE_BYTES. */
size_t cert_print(const struct cert *self, bool secret, char out[CERT_FILE_BYTES]);

void cert_clear(struct cert *self); /* not optimised away */

/* Z85. False: not 40 characters of it. */
void cert_key_text(const uint8_t key[CERT_KEY_BYTES], char out[CERT_KEY_TEXT]);
bool cert_key_bytes(struct view text, uint8_t out[CERT_KEY_BYTES]);

const char *cert_role_name(enum cert_role role); /* "client" ...; "" for CERT_ANY */
bool cert_role_from(struct view name, enum cert_role *out);

/* Letters, digits, '.', '_', '-', 1 to LIMIT_NAME_BYTES of them, and no '.' in front. */
bool cert_name_ok(struct view name);

#endif
