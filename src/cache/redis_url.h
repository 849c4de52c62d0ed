/* redis_url.h - where Redis is.
 *
 *     redis://host   redis://host:6379/2   redis://:password@host   redis://user:p%40ss@[::1]:6379
 *     unix:///run/redis.sock
 *
 * User and password may hold %XX. Parsing is pure. */
#ifndef EMBER_CACHE_REDIS_URL_H
#define EMBER_CACHE_REDIS_URL_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum { REDIS_URL_HOST_MAX = 256, REDIS_URL_SECRET_MAX = 256 };

struct redis_url {
    bool is_unix;
    char host[REDIS_URL_HOST_MAX]; /* or the socket's path */
    char port[6];
    char user[REDIS_URL_SECRET_MAX];     /* empty: none */
    char password[REDIS_URL_SECRET_MAX]; /* empty: none */
    uint32_t db;
};

/* STATUS_INVALID_ARGUMENT with a text that names the fault but never repeats the URL: it may hold a
 * password. */
enum status redis_url_parse(const char *url, struct redis_url *out, struct err *err);

/* Where that is on the network. */
enum { REDIS_ADDRESSES_MAX = 4 };
struct redis_addresses {
    uint32_t n;
    struct sockaddr_storage of[REDIS_ADDRESSES_MAX];
    socklen_t bytes[REDIS_ADDRESSES_MAX];
};

/* Asks the resolver, which may block. STATUS_NOT_FOUND: no such host. */
enum status redis_url_resolve(const struct redis_url *url, struct redis_addresses *out,
                              struct err *err);

#endif
