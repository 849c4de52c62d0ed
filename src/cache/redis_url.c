/* redis_url.c - takes a URL apart from left to right. */
#include "cache/redis_url.h"

#include "base/view.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

static enum status bad(struct err *err, const char *what) {
    return err_set(err, STATUS_INVALID_ARGUMENT,
                   "redis URL: %s; it reads redis://[user:password@]host[:port][/db] or "
                   "unix:///path",
                   what);
}

static bool copy_text(struct view text, char *out, size_t out_bytes) {
    if (text.bytes >= out_bytes || (text.bytes && memchr(text.data, '\0', text.bytes)))
        return false;
    if (text.bytes)
        memcpy(out, text.data, text.bytes);
    out[text.bytes] = '\0';
    return true;
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* With %XX as bytes; false when it is too long, or a % is not followed by two hex digits or gives
 * NUL. */
static bool copy_secret(struct view text, char *out, size_t out_bytes) {
    size_t n = 0;
    for (size_t i = 0; i < text.bytes; i++, n++) {
        char c = text.data[i];
        if (c == '%') {
            int high = i + 2 < text.bytes ? hex_value(text.data[i + 1]) : -1;
            int low = i + 2 < text.bytes ? hex_value(text.data[i + 2]) : -1;
            if (high < 0 || low < 0 || (high == 0 && low == 0))
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (n + 1 >= out_bytes)
            return false;
        out[n] = c;
    }
    out[n] = '\0';
    return true;
}

static bool parse_number(const char *text, uint32_t max, uint32_t *out) {
    uint32_t n = 0, digits = 0;
    for (; text[digits] >= '0' && text[digits] <= '9' && digits < 6; digits++)
        n = n * 10 + (uint32_t)(text[digits] - '0');
    *out = n;
    return digits > 0 && text[digits] == '\0' && n <= max;
}

static bool parse_login(struct view login, struct redis_url *out) {
    const char *colon = memchr(login.data, ':', login.bytes);
    if (!colon)
        return false;
    size_t user_bytes = (size_t)(colon - login.data);
    return copy_secret(view_make(login.data, user_bytes), out->user, sizeof out->user) &&
           copy_secret(view_make(colon + 1, login.bytes - user_bytes - 1), out->password,
                       sizeof out->password) &&
           out->password[0];
}

/* host, host:port, [v6] or [v6]:port */
static bool parse_host(struct view text, struct redis_url *out) {
    const char *port = NULL, *end = text.data + text.bytes;
    struct view host = text;
    if (text.bytes && text.data[0] == '[') {
        const char *close = memchr(text.data, ']', text.bytes);
        if (!close || (close + 1 < end && close[1] != ':'))
            return false;
        host = view_make(text.data + 1, (size_t)(close - text.data) - 1);
        port = close + 1 < end ? close + 2 : NULL;
    } else if (text.bytes) {
        const char *colon = memchr(text.data, ':', text.bytes);
        if (colon) {
            host.bytes = (size_t)(colon - text.data);
            port = colon + 1;
        }
    }
    uint32_t number = 6379;
    char digits[8] = "6379";
    if (port && (!copy_text(view_make(port, (size_t)(end - port)), digits, sizeof digits) ||
                 !parse_number(digits, 65535, &number) || number == 0))
        return false;
    snprintf(out->port, sizeof out->port, "%u", number & 0xffff);
    return host.bytes > 0 && copy_text(host, out->host, sizeof out->host);
}

enum status redis_url_parse(const char *url, struct redis_url *out, struct err *err) {
    struct redis_url parsed = {0};
    if (strncmp(url, "unix://", 7) == 0) {
        struct sockaddr_un address;
        if (url[7] != '/')
            return bad(err, "a socket's path begins with '/'");
        if (strlen(url + 7) >= sizeof address.sun_path)
            return bad(err, "the socket's path is too long");
        parsed.is_unix = true;
        if (!copy_text(view_of(url + 7), parsed.host, sizeof parsed.host))
            return bad(err, "the socket's path is too long");
        *out = parsed;
        return STATUS_OK;
    }
    if (strncmp(url, "redis://", 8) != 0)
        return bad(err, "it begins with neither redis:// nor unix://");
    struct view rest = view_of(url + 8);
    const char *slash = memchr(rest.data, '/', rest.bytes);
    const char *at = memrchr(rest.data, '@', slash ? (size_t)(slash - rest.data) : rest.bytes);
    if (slash) {
        if (slash[1] && !parse_number(slash + 1, 65535, &parsed.db))
            return bad(err, "behind the host's '/' stands no database number");
        rest.bytes = (size_t)(slash - rest.data);
    }
    if (at) {
        if (!parse_login(view_make(rest.data, (size_t)(at - rest.data)), &parsed))
            return bad(err, "before '@' stands no user:password, or a wrong %XX");
        rest = view_make(at + 1, rest.bytes - (size_t)(at + 1 - rest.data));
    }
    if (!parse_host(rest, &parsed))
        return bad(err, "no host, or a port that is no number from 1 to 65535");
    *out = parsed;
    return STATUS_OK;
}

enum status redis_url_resolve(const struct redis_url *url, struct redis_addresses *out,
                              struct err *err) {
    struct redis_addresses addresses = {0};
    if (url->is_unix) {
        struct sockaddr_un *address = (struct sockaddr_un *)&addresses.of[0];
        address->sun_family = AF_UNIX;
        copy_text(view_of(url->host), address->sun_path, sizeof address->sun_path);
        addresses.bytes[0] = sizeof *address;
        addresses.n = 1;
        *out = addresses;
        return STATUS_OK;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    int rc = getaddrinfo(url->host, url->port, &hints, &found);
    if (rc != 0)
        return err_set(err, STATUS_NOT_FOUND, "redis host '%s': %s", url->host, gai_strerror(rc));
    for (struct addrinfo *a = found; a && addresses.n < REDIS_ADDRESSES_MAX; a = a->ai_next) {
        memcpy(&addresses.of[addresses.n], a->ai_addr, a->ai_addrlen);
        addresses.bytes[addresses.n++] = a->ai_addrlen;
    }
    freeaddrinfo(found);
    *out = addresses;
    return STATUS_OK;
}
