/* fuzz_cert.c - any bytes as a certificate: refused with a line, or something that can be written
 * and reads the same. */
#include "base/check.h"
#include "wire/cert.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct cert cert, again;
    struct err err = {.text = ""};
    if (cert_parse(view_make(data, size), &cert, &err) != STATUS_OK) {
        CHECK(err.status == STATUS_DATA_LOSS && err.text[0]);
        return 0;
    }
    CHECK(memchr(cert.name, '\0', sizeof cert.name) && cert.role < CERT_ROLES);
    CHECK(!cert.name[0] || cert_name_ok(view_of(cert.name)));
    CHECK(cert.weight <= CERT_WEIGHT_MAX && cert.max_requests <= LIMIT_CLIENT_TICKETS);
    char text[CERT_FILE_BYTES];
    size_t n = cert_print(&cert, cert.has_secret, text);
    CHECK(n < sizeof text && cert_parse(view_make(text, n), &again, NULL) == STATUS_OK);
    CHECK(memcmp(&cert.public_key, &again.public_key, sizeof cert.public_key) == 0);
    CHECK(again.has_secret == cert.has_secret && again.role == cert.role);
    CHECK(again.max_bytes == cert.max_bytes && again.weight == cert.weight);
    return 0;
}
