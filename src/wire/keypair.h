/* keypair.h - what a client or worker encrypts with, from two certificates: its own and the
 * brokers'.
 *
 * Threads: none of its own. */
#ifndef EMBER_WIRE_KEYPAIR_H
#define EMBER_WIRE_KEYPAIR_H

#include "wire/cert.h"
#include "wire/frame.h"

/* `own`: path of a secret certificate (NAME.key_secret); `server`: path of the brokers' public one
 * (server.key). `role`: CERT_CLIENT (an operator is one, too) or CERT_WORKER; a certificate that
 * says another role is refused here, since every broker would. Errors as cert_load_secret() and
 * cert_load_public(). *out is the caller's to clear. */
enum status keypair_load(const char *own, const char *server, enum cert_role role,
                         struct frame_curve *out, struct err *err);

#endif
