/* players.c - see players.h. */
#include "players.h"

#include "base/check.h"
#include "base/clock.h"
#include "wire/session.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { GREETING = 64, READ = 16384, BUNCH = 32, WELCOME_US = 20 * 1000 * 1000 };

/* ---------------------------------------------------------------- out */

static void put(struct players *self, struct player *p, const void *data, size_t bytes) {
    if (p->n_out + bytes > p->out_room) {
        p->out_room = 2 * (p->n_out + bytes);
        p->out = realloc(p->out, p->out_room);
        CHECK(p->out);
    }
    if (bytes)
        memcpy(p->out + p->n_out, data, bytes);
    p->n_out += bytes;
    if (!p->dirty) {
        p->dirty = true;
        self->dirty[self->n_dirty++] = p->number;
    }
}

static void put_frame(struct players *self, struct player *p, uint8_t flags, const void *data,
                      size_t bytes) {
    uint8_t head[9] = {flags, (uint8_t)bytes};
    if (bytes >= 256) {
        head[0] |= 2;
        for (int i = 0; i < 8; i++)
            head[1 + i] = (uint8_t)((uint64_t)bytes >> (56 - 8 * i));
    }
    put(self, p, head, bytes >= 256 ? 9 : 2);
    put(self, p, data, bytes);
}

void players_send(struct players *self, struct player *player, const struct header *header,
                  const void *body, size_t bytes) {
    uint8_t packed[HEADER_BYTES];
    header_pack(header, packed);
    put_frame(self, player, 1, packed, sizeof packed);
    put_frame(self, player, 0, body, bytes);
}

static void flush(struct players *self, struct player *p) {
    p->dirty = false;
    if (p->fd < 0)
        return;
    while (p->sent < p->n_out) {
        ssize_t n = send(p->fd, p->out + p->sent, p->n_out - p->sent, MSG_NOSIGNAL);
        if (n < 0)
            break;
        p->sent += (size_t)n;
    }
    if (p->sent == p->n_out)
        p->sent = p->n_out = 0;
    bool wants = p->n_out > 0;
    if (wants != p->wants_out) {
        struct epoll_event event = {.events = EPOLLIN | (wants ? EPOLLOUT : 0),
                                    .data.u32 = p->number};
        epoll_ctl(self->epoll, EPOLL_CTL_MOD, p->fd, &event);
        p->wants_out = wants;
    }
}

/* ---------------------------------------------------------------- sessions */

static void introduce(struct players *self, struct player *p) {
    struct wire_out out = {0};
    struct wire_model model = {.name = view_of("m"),
                               .fingerprint = view_of("0"),
                               .dim = 384,
                               .max_tokens = 256,
                               .tasks = 1U << WIRE_TASK_EMBED};
    struct wire_ready ready = {.protocol_min = 1,
                               .protocol_max = 1,
                               .uuid = p->number + 1,
                               .name = view_of("w"),
                               .host = view_of("h"),
                               .version = view_of("0"),
                               .tier = view_of("standard"),
                               .models = &model,
                               .n_models = 1};
    struct wire_service_name want = {view_of("m"), WIRE_TASK_EMBED};
    struct wire_hello hello = {.protocol_min = 1,
                               .protocol_max = 1,
                               .name = view_of("bench"),
                               .version = view_of("0"),
                               .client = p->number + 1,
                               .want = &want,
                               .n_want = 1};
    CHECK((p->worker ? session_ready_encode(&ready, &out) : session_hello_encode(&hello, &out)) ==
          STATUS_OK);
    struct header header = {.type = p->worker ? WIRE_READY : WIRE_HELLO,
                            .credit = p->worker ? self->credit : 0};
    players_send(self, p, &header, out.data, out.bytes);
    wire_out_done(&out);
}

static void on_message(struct players *self, struct player *p, const uint8_t *body, size_t bytes) {
    const struct header *header = &p->header;
    if (header->type == WIRE_WELCOME || header->type == WIRE_READY_OK) {
        CHECK(header->status == STATUS_OK);
        self->n_open += !p->open;
        p->open = true;
        p->epoch = header->epoch;
        p->service = 1; /* the only one there is */
    } else if (header->type == WIRE_PING) {
        struct header pong = {.type = WIRE_PONG,
                              .id = header->id,
                              .epoch = p->epoch,
                              .credit = p->worker ? self->credit : 0};
        players_send(self, p, &pong, NULL, 0);
    } else {
        self->on_message(p, header, body, bytes);
    }
}

/* ---------------------------------------------------------------- in */

/* One frame from data[0..bytes); returns its length, 0 when it is not complete. */
static size_t take_frame(struct players *self, struct player *p, const uint8_t *data,
                         size_t bytes) {
    if (bytes < 2)
        return 0;
    size_t head = data[0] & 2 ? 9 : 2, size = data[1];
    if (bytes < head)
        return 0;
    if (head == 9) {
        size = 0;
        for (int i = 1; i < 9; i++)
            size = size << 8 | data[i];
    }
    if (bytes - head < size)
        return 0;
    if (data[0] & 4) { /* READY opens the connection, PING wants PONG and its context back */
        static const char pong[] = "\4PONG";
        if (!p->open && size >= 6 && memcmp(data + head, "\5READY", 6) == 0)
            introduce(self, p);
        else if (size == 7 && memcmp(data + head, "\4PING", 5) == 0) /* libzmq's has none */
            put_frame(self, p, 4, pong, sizeof pong - 1);
    } else if (data[0] & 1) {
        CHECK(header_parse(data + head, size, &p->header) == HEADER_OK);
        p->has_header = true;
    } else if (p->has_header) {
        p->has_header = false;
        on_message(self, p, data + head, size);
    }
    return head + size;
}

static void on_input(struct players *self, struct player *p) {
    while (p->fd >= 0) {
        if (p->in_room - p->n_in < READ) {
            p->in_room = 2 * p->in_room + READ;
            p->in = realloc(p->in, p->in_room);
            CHECK(p->in);
        }
        ssize_t n = recv(p->fd, p->in + p->n_in, p->in_room - p->n_in, 0);
        if (n < 0 && errno == EAGAIN)
            break;
        CHECK(n > 0); /* the broker must not hang up */
        p->n_in += (size_t)n;
        size_t at = 0, took;
        if (!p->greeted && p->n_in >= GREETING) {
            at = GREETING;
            p->greeted = true;
        }
        while (p->greeted && (took = take_frame(self, p, p->in + at, p->n_in - at)))
            at += took;
        memmove(p->in, p->in + at, p->n_in - at);
        p->n_in -= at;
        if ((size_t)n < READ)
            break;
    }
    if (!p->n_in) { /* thousands are idle: what they do not need is given back */
        free(p->in);
        p->in = NULL;
        p->in_room = 0;
    }
}

void players_turn(struct players *self, int timeout_ms) {
    struct epoll_event events[256];
    int n = epoll_wait(self->epoll, events, 256, timeout_ms);
    for (int i = 0; i < n; i++) {
        struct player *p = &self->list[events[i].data.u32];
        if (events[i].events & EPOLLOUT)
            flush(self, p);
        if (events[i].events & ~(uint32_t)EPOLLOUT)
            on_input(self, p);
    }
    for (uint32_t i = 0; i < self->n_dirty; i++)
        flush(self, &self->list[self->dirty[i]]);
    self->n_dirty = 0;
}

void players_run(struct players *self, uint64_t us) {
    for (uint64_t until = clock_us() + us; clock_us() < until;)
        players_turn(self, 10);
}

/* ---------------------------------------------------------------- connections */

uint16_t players_free_port(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&at, bytes) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&at, &bytes) == 0);
    close(fd);
    return ntohs(at.sin_port);
}

static int dial(uint16_t port) {
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (int i = 0; i < 5000; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK(fd >= 0); /* else: RLIMIT_NOFILE */
        if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0) {
            int one = 1;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            fcntl(fd, F_SETFL, O_NONBLOCK);
            return fd;
        }
        close(fd);
        usleep(1000);
    }
    fprintf(stderr, "nobody listens on port %u\n", port);
    exit(1);
}

static void add_one(struct players *self, bool worker, uint16_t port) {
    static const uint8_t greeting[GREETING] = {0xff, 0,    0, 0, 0,   0,   0,   0,
                                               1,    0x7f, 3, 0, 'N', 'U', 'L', 'L'};
    static const char ready[] = "\5READY\13Socket-Type\0\0\0\6DEALER";
    CHECK(self->n < self->max);
    struct player *p = &self->list[self->n];
    *p = (struct player){.fd = dial(port), .number = self->n++, .worker = worker};
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = p->number};
    CHECK(epoll_ctl(self->epoll, EPOLL_CTL_ADD, p->fd, &event) == 0);
    put(self, p, greeting, sizeof greeting);
    put_frame(self, p, 4, ready, sizeof ready - 1);
}

void players_add(struct players *self, uint32_t n, bool workers, uint16_t port) {
    uint64_t until = clock_us() + WELCOME_US;
    for (uint32_t i = 0; i < n; i++) {
        add_one(self, workers, port);
        while (i % BUNCH == BUNCH - 1 && self->n_open + 4 * BUNCH < self->n && clock_us() < until)
            players_turn(self, 1);
    }
    while (self->n_open < self->n && clock_us() < until)
        players_turn(self, 10);
    CHECK(self->n_open == self->n);
}

void players_close(struct players *self, struct player *player) {
    CHECK(player->fd >= 0);
    epoll_ctl(self->epoll, EPOLL_CTL_DEL, player->fd, NULL);
    close(player->fd);
    player->fd = -1;
}

void players_init(struct players *self, uint32_t max, uint16_t credit) {
    *self = (struct players){.epoll = epoll_create1(EPOLL_CLOEXEC), .max = max, .credit = credit};
    self->list = calloc(max, sizeof *self->list);
    self->dirty = calloc(max, sizeof *self->dirty);
    CHECK(self->epoll >= 0 && self->list && self->dirty);
}

void players_done(struct players *self) {
    for (uint32_t i = 0; i < self->n; i++) {
        if (self->list[i].fd >= 0)
            close(self->list[i].fd);
        free(self->list[i].in);
        free(self->list[i].out);
    }
    close(self->epoll);
    free(self->list);
    free(self->dirty);
}
