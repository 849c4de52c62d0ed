/* expose.c - Prometheus text, and a small HTTP server for it on libmicrohttpd.
 *
 *   scrape ──► server thread ──► cfg.metrics(arg, page) ──► response, page given to libmicrohttpd
 *
 * One thread, at most CONNECTIONS connections, each cut after IDLE_SECONDS of silence: a scraper
 * that hangs costs a descriptor for that long and nothing else. Only GET and HEAD are served. */
#include "metrics/expose.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

enum { CONNECTIONS = 32, IDLE_SECONDS = 10 };

struct expose {
    struct MHD_Daemon *daemon;
    struct expose_cfg cfg;
    uint16_t port;
};

/* ---------------------------------------------------------------- text */

void expose_text_done(struct expose_text *self) {
    free(self->data);
    *self = (struct expose_text){0};
}

static bool grow(struct expose_text *out, size_t need) {
    if (need <= out->room)
        return true;
    size_t room = out->room ? out->room : 16 * 1024;
    while (room < need)
        room *= 2;
    if (room > EXPOSE_PAGE_BYTES)
        return false;
    char *data = realloc(out->data, room);
    if (!data)
        return false;
    out->data = data;
    out->room = room;
    return true;
}

void expose_printf(struct expose_text *out, const char *format, ...) {
    va_list args;
    va_start(args, format);
    char small[1024];
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(small, sizeof small, format, args);
    va_end(args);
    if (n < 0 || !grow(out, out->bytes + (size_t)n + 1))
        out->cut = true;
    else {
        if ((size_t)n < sizeof small)
            memcpy(out->data + out->bytes, small, (size_t)n + 1);
        else
            vsnprintf(out->data + out->bytes, (size_t)n + 1, format, again);
        out->bytes += (size_t)n;
    }
    va_end(again);
}

void expose_family(struct expose_text *out, const char *name, const char *type, const char *help) {
    expose_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void expose_u64(struct expose_text *out, const char *name, const char *labels, uint64_t value) {
    if (labels && *labels)
        expose_printf(out, "%s{%s} %llu\n", name, labels, (unsigned long long)value);
    else
        expose_printf(out, "%s %llu\n", name, (unsigned long long)value);
}

void expose_f64(struct expose_text *out, const char *name, const char *labels, double value) {
    if (labels && *labels)
        expose_printf(out, "%s{%s} %.15g\n", name, labels, value);
    else
        expose_printf(out, "%s %.15g\n", name, value);
}

/* The samples of n edges, counts[n] beyond, in the unit of the edges. */
static void buckets(struct expose_text *out, const char *name, const char *labels,
                    const double *edges, const struct counter *counts, unsigned n_edges,
                    double sum) {
    const char *l = labels ? labels : "", *comma = labels && *labels ? "," : "";
    uint64_t n = 0;
    for (unsigned i = 0; i < n_edges; i++) {
        n += counter_get(&counts[i]);
        expose_printf(out, "%s_bucket{%s%sle=\"%g\"} %llu\n", name, l, comma, edges[i],
                      (unsigned long long)n);
    }
    n += counter_get(&counts[n_edges]);
    expose_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, l, comma, (unsigned long long)n);
    char part[320];
    snprintf(part, sizeof part, "%s_sum", name);
    expose_f64(out, part, labels, sum);
    snprintf(part, sizeof part, "%s_count", name);
    expose_u64(out, part, labels, n);
}

void expose_histogram(struct expose_text *out, const char *name, const char *labels,
                      const struct histogram *histogram) {
    double edges[HISTOGRAM_EDGES];
    for (unsigned i = 0; i < HISTOGRAM_EDGES; i++)
        edges[i] = (double)histogram_edges_us[i] / 1e6;
    buckets(out, name, labels, edges, histogram->bucket, HISTOGRAM_EDGES,
            (double)counter_get(&histogram->sum_us) / 1e6);
}

void expose_sizes(struct expose_text *out, const char *name, const char *labels,
                  const struct sizes *sizes) {
    double edges[SIZES_EDGES];
    for (unsigned i = 0; i < SIZES_EDGES; i++)
        edges[i] = (double)sizes_edge(i);
    buckets(out, name, labels, edges, sizes->bucket, SIZES_EDGES, (double)counter_get(&sizes->sum));
}

const char *expose_label(struct view value, char out[EXPOSE_LABEL_BYTES]) {
    size_t n = 0;
    for (size_t i = 0; i < value.bytes && n + 2 < EXPOSE_LABEL_BYTES; i++) {
        char c = value.data[i];
        if (c == '"' || c == '\\')
            out[n++] = '\\';
        if (c == '\n') {
            out[n++] = '\\';
            c = 'n';
        }
        out[n++] = c;
    }
    out[n] = '\0';
    return out;
}

/* ---------------------------------------------------------------- server */

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned code,
                              struct expose_text *page, const char *type) {
    /* The page is malloc'ed memory: libmicrohttpd frees it once it is sent. */
    struct MHD_Response *response =
        page->data ? MHD_create_response_from_buffer(page->bytes, page->data, MHD_RESPMEM_MUST_FREE)
                   : MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
    if (!response) {
        expose_text_done(page);
        return MHD_NO;
    }
    MHD_add_response_header(response, "Content-Type", type);
    if (code == 405)
        MHD_add_response_header(response, "Allow", "GET, HEAD");
    enum MHD_Result result = MHD_queue_response(connection, code, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer_check(struct MHD_Connection *connection, const struct expose *self,
                                    bool (*check)(void *, struct expose_text *), const char *good) {
    struct expose_text page = {0};
    bool fine = !check || check(self->cfg.arg, &page);
    if (fine) {
        page.bytes = 0;
        expose_printf(&page, "%s\n", good);
    } else if (!page.bytes)
        expose_printf(&page, "not %s\n", good);
    return answer(connection, fine ? 200 : 503, &page, "text/plain; charset=utf-8");
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_bytes, void **state) {
    (void)version;
    (void)upload;
    (void)state;
    const struct expose *self = arg;
    struct expose_text page = {0};
    *upload_bytes = 0; /* a body, if any, is thrown away */
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        expose_printf(&page, "GET or HEAD only\n");
        return answer(connection, 405, &page, "text/plain; charset=utf-8");
    }
    if (strcmp(url, "/metrics") == 0) {
        self->cfg.metrics(self->cfg.arg, &page);
        return answer(connection, 200, &page, "text/plain; version=0.0.4; charset=utf-8");
    }
    if (strcmp(url, "/healthz") == 0 || strcmp(url, "/livez") == 0)
        return answer_check(connection, self, self->cfg.health, "ok");
    if (strcmp(url, "/readyz") == 0)
        return answer_check(connection, self, self->cfg.ready, "ready");
    expose_printf(&page, "there are /metrics, /livez, /healthz and /readyz\n");
    return answer(connection, 404, &page, "text/plain; charset=utf-8");
}

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static bool parse_port(const char *text, uint16_t *out) {
    char *end;
    errno = 0;
    unsigned long port = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || port > 65535)
        return false;
    *out = (uint16_t)port;
    return true;
}

/* "127.0.0.1:80", "[::1]:80", ":80" (every IPv4 address). */
static bool parse_listen(const char *listen, union address *out, socklen_t *bytes) {
    const char *colon = strrchr(listen, ':');
    uint16_t port;
    char host[64];
    if (!colon || (size_t)(colon - listen) >= sizeof host || !parse_port(colon + 1, &port))
        return false;
    size_t n = (size_t)(colon - listen);
    memcpy(host, listen, n);
    host[n] = '\0';
    memset(out, 0, sizeof *out);
    if (n > 2 && host[0] == '[' && host[n - 1] == ']') {
        host[n - 1] = '\0';
        out->v6.sin6_family = AF_INET6;
        out->v6.sin6_port = htons(port);
        *bytes = sizeof out->v6;
        return inet_pton(AF_INET6, host + 1, &out->v6.sin6_addr) == 1;
    }
    out->v4.sin_family = AF_INET;
    out->v4.sin_port = htons(port);
    *bytes = sizeof out->v4;
    return inet_pton(AF_INET, n ? host : "0.0.0.0", &out->v4.sin_addr) == 1;
}

/* A listening socket of our own, so that a failure names the address and the reason. */
static int listen_on(const char *listen_address, uint16_t *port, struct err *err) {
    union address address;
    socklen_t bytes;
    if (!parse_listen(listen_address, &address, &bytes)) {
        err_set(err, STATUS_INVALID_ARGUMENT, "'%s' is not HOST:PORT with a numeric host",
                listen_address);
        return -1;
    }
    int one = 1;
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        bind(fd, &address.any, bytes) != 0 || listen(fd, CONNECTIONS) != 0 ||
        getsockname(fd, &address.any, &bytes) != 0) {
        bool taken = errno == EADDRINUSE;
        err_errno(err, STATUS_UNAVAILABLE, "listen on '%s'%s", listen_address,
                  taken ? " (another program has it: choose an address with --http, or --http off)"
                        : "");
        if (fd >= 0)
            close(fd);
        return -1;
    }
    *port = ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
    return fd;
}

enum status expose_start(const struct expose_cfg *cfg, expose_t **out, struct err *err) {
    uint16_t port;
    struct err why = {.status = STATUS_OK};
    int fd = listen_on(cfg->listen, &port, &why);
    if (fd < 0)
        return err_set(err, why.status, "%s", why.text);
    struct expose *self = calloc(1, sizeof *self);
    if (!self) {
        close(fd);
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    }
    self->cfg = *cfg;
    self->port = port;
    self->daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL, 0, NULL, NULL, on_request, self,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS, MHD_OPTION_END);
    if (!self->daemon) {
        close(fd);
        free(self);
        return err_set(err, STATUS_UNAVAILABLE, "start the http server on '%s'", cfg->listen);
    }
    self->cfg.listen = NULL; /* borrowed for this call only */
    *out = self;
    return STATUS_OK;
}

void expose_stop(expose_t **self) {
    if (!*self)
        return;
    MHD_stop_daemon((*self)->daemon); /* closes the listening socket, too */
    free(*self);
    *self = NULL;
}

uint16_t expose_port(const expose_t *self) {
    return self->port;
}
