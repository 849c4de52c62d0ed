/* port.h - a TCP port of 127.0.0.1 that is free now, below the range the system hands out by
 * itself (a client that redials a dead port inside that range can connect to itself). */
#ifndef EMBER_TEST_PORT_H
#define EMBER_TEST_PORT_H

#include "base/hash.h"
#include "support/test.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

/* No port twice in a process, and tests that run at the same time look in different places. */
static inline unsigned port_free(void) {
    enum { FIRST = 20000, N = 12000 };
    static uint32_t next;
    if (!next)
        next = (uint32_t)(hash_entropy64() % N) + 1;
    for (unsigned i = 0; i < N; i++) {
        unsigned port = FIRST + next++ % N;
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int rc = bind(fd, (struct sockaddr *)&address, sizeof address);
        close(fd);
        if (rc == 0)
            return port;
    }
    TEST_FAIL("no free TCP port");
    return 0;
}

#endif
