/* keypair.c - see keypair.h. */
#include "wire/keypair.h"

#include <string.h>

static bool may_be(enum cert_role said, enum cert_role role) {
    return said == CERT_ANY || said == role || (said == CERT_OPERATOR && role == CERT_CLIENT);
}

static enum status check_role(const char *path, const struct cert *cert, enum cert_role role,
                              struct err *err) {
    if (may_be(cert->role, role))
        return STATUS_OK;
    return err_set(err, STATUS_INVALID_ARGUMENT, "'%s' is the certificate of a %s, not of a %s",
                   path, cert_role_name(cert->role), cert_role_name(role));
}

enum status keypair_load(const char *own, const char *server, enum cert_role role,
                         struct frame_curve *out, struct err *err) {
    struct cert mine, theirs;
    enum status st = cert_load_secret(own, &mine, err);
    if (st != STATUS_OK)
        return st;
    st = check_role(own, &mine, role, err);
    if (st == STATUS_OK)
        st = cert_load_public(server, &theirs, err);
    if (st == STATUS_OK)
        st = check_role(server, &theirs, CERT_SERVER, err);
    if (st == STATUS_OK) {
        *out = (struct frame_curve){.domain = NULL};
        memcpy(out->public_key, mine.public_key, sizeof out->public_key);
        memcpy(out->secret_key, mine.secret_key, sizeof out->secret_key);
        memcpy(out->server_key, theirs.public_key, sizeof out->server_key);
    }
    cert_clear(&mine);
    return st;
}
