/* cache_redis.c - one connection, its questions in order, and the end of both.
 *
 *     DOWN --next_try_us--> CONNECTING --writable--> LOGIN --PONG--> UP
 *      ^                        |                      |              |
 *      '------------------------'----------------------'--------------'
 *          fail(): everything that was asked is answered as a miss
 *
 * Replies come in the order of the commands, so what is expected is a ring of one byte each: a
 * step of the login, a SET, or the oldest burst. The ring dies with its connection, and a
 * connection dies with its first missed deadline: a late reply has nobody to go to.
 *
 *     bursts:   first                first + n_sent
 *                | out | out | out | collecting |        a burst is one MGET
 *
 * Invariants:
 *   - each key that cache_redis_want() took is in exactly one burst, and leaves it with one answer;
 *   - n_expected = steps of the login that are out + n_sets_out + n_sent;
 *   - nothing is written or closed while a callback runs (`busy`), so the reply in hand
 *     stays valid.
 *
 * Login ends with PING, before anybody is kept waiting: a server that is loading, frozen or wants a
 * password is found out at nobody's cost.
 *
 * Why hiredis' reader, but not its asynchronous context: in 0.14 that one ends in an assert()
 * when a server sends a reply nobody asked for (async.c, redisProcessCallbacks), and bytes from
 * outside may not abort us. The reader is fed bytes and knows no socket, which is all we need. */
#include "cache/cache_redis.h"

#include "base/check.h"
#include "base/hash.h"
#include "cache/breaker.h"
#include "cache/redis_url.h"
#include "cache/resp.h"

#include <hiredis/hiredis.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READ_BYTES = 64 * 1024,
    READS_PER_EVENT = 64,             /* then other descriptors get their turn */
    BUFFERED_BYTES_MAX = 4096 * 1024, /* of a reply that is not complete: not ours beyond */
    MGET_BYTES_MAX =
        RESP_COMMAND_BYTES_MAX + LIMIT_MGET * (LIMIT_CACHE_KEY_BYTES + RESP_ARG_BYTES_MAX),
    SET_BYTES_MAX = RESP_COMMAND_BYTES_MAX + LIMIT_CACHE_KEY_BYTES + LIMIT_CACHE_VALUE_BYTES +
                    5 * RESP_ARG_BYTES_MAX,
    SETS_OUT_BYTES = 256 * 1024, /* no further SET is written while that much has not left */
    OUT_BYTES = CACHE_BURSTS_MAX * MGET_BYTES_MAX + SETS_OUT_BYTES + SET_BYTES_MAX,
    EXPECTED_MAX = 128
};
_Static_assert(3 + (int)CACHE_BURSTS_MAX + (int)CACHE_SETS_IN_FLIGHT <= (int)EXPECTED_MAX,
               "every reply has its place");

enum link_state { DOWN, CONNECTING, LOGIN, UP };
enum expected { EXPECT_LOGIN, EXPECT_BURST, EXPECT_SET };

struct burst {
    uint32_t n;
    uint64_t deadline_us; /* once it is sent */
    struct {
        struct cache_key key;
        uint64_t token;
    } wanted[LIMIT_MGET];
};

struct set {
    struct set *next;
    uint32_t key_bytes, value_bytes;
    char bytes[]; /* key, value */
};

struct cache_redis {
    cache_redis_answer_fn *answer;
    void *arg;
    struct redis_url url;
    struct redis_addresses addresses;
    uint32_t address; /* the one to try next */
    uint32_t ttl_s;
    uint64_t timeout_us, random;

    enum link_state state;
    int fd; /* -1 in DOWN */
    redisReader *reader;
    redisReplyObjectFunctions reply_functions; /* the reader's own, with guard_array() */
    void *(*default_array)(const redisReadTask *, int);
    uint64_t next_try_us;       /* DOWN */
    uint64_t login_deadline_us; /* CONNECTING, LOGIN */
    struct breaker breaker, set_breaker;
    struct backoff backoff;
    bool busy;

    uint8_t expected[EXPECTED_MAX];
    uint32_t expected_first, n_expected;
    struct resp_out out;

    struct burst *bursts; /* [CACHE_BURSTS_MAX] */
    uint32_t first, n_sent;

    struct set *sets_first, **sets_end;
    uint32_t n_sets, n_sets_out;
    size_t sets_bytes;
    uint64_t sets_moved_us; /* a SET was answered, or the first one sent */
    struct cache_stats stats;
};

/* --- start and end --- */

enum status cache_redis_new(const struct cache_cfg *cfg, cache_redis_answer_fn *answer, void *arg,
                            cache_redis_t **out, struct err *err) {
    cache_redis_t *self = calloc(1, sizeof *self);
    if (!self)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for the Redis cache");
    self->fd = -1;
    self->answer = answer;
    self->arg = arg;
    self->ttl_s = cfg->ttl_s ? cfg->ttl_s : CACHE_TTL_S;
    self->timeout_us = cfg->timeout_us ? cfg->timeout_us : CACHE_TIMEOUT_US;
    self->random = cfg->seed ? cfg->seed : hash_entropy64();
    self->breaker = breaker_make(CACHE_BREAKER_FAILURES, CACHE_BREAKER_OPEN_US);
    self->set_breaker = self->breaker;
    self->backoff = backoff_make(CACHE_BACKOFF_MIN_US, CACHE_BACKOFF_MAX_US);
    self->sets_end = &self->sets_first;
    bool has_out = resp_out_init(&self->out, OUT_BYTES);
    self->bursts = calloc(CACHE_BURSTS_MAX, sizeof *self->bursts);
    enum status st = STATUS_OK;
    if (!has_out || !self->bursts)
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for the Redis cache");
    if (st == STATUS_OK)
        st = redis_url_parse(cfg->redis_url, &self->url, err);
    if (st == STATUS_OK)
        st = redis_url_resolve(&self->url, &self->addresses, err);
    if (st != STATUS_OK) {
        cache_redis_destroy(&self);
        return st;
    }
    *out = self;
    return STATUS_OK;
}

static void disconnect(cache_redis_t *self) {
    if (self->fd >= 0)
        close(self->fd);
    if (self->reader)
        redisReaderFree(self->reader);
    self->fd = -1;
    self->reader = NULL;
    self->state = DOWN;
    self->n_expected = 0;
    resp_out_reset(&self->out);
    self->stats.sets_dropped += self->n_sets_out;
    self->n_sets_out = 0;
}

/* Answer every key that is in a burst with a miss. The state is DOWN: nothing new can be wanted. */
static void answer_all(cache_redis_t *self) {
    bool was_busy = self->busy;
    self->busy = true;
    for (uint32_t i = 0; i < CACHE_BURSTS_MAX; i++) {
        struct burst *burst = &self->bursts[(self->first + i) % CACHE_BURSTS_MAX];
        for (uint32_t k = 0; k < burst->n; k++)
            self->answer(self->arg, &burst->wanted[k].key, burst->wanted[k].token,
                         view_make(NULL, 0));
        burst->n = 0;
    }
    self->n_sent = 0;
    self->busy = was_busy;
}

static void fail(cache_redis_t *self, enum cache_fault fault, uint64_t now_us) {
    self->stats.redis_faults[fault]++;
    disconnect(self);
    breaker_failed(&self->breaker, now_us);
    self->next_try_us = now_us + backoff_draw(&self->backoff, &self->random);
    if (self->breaker.state == BREAKER_OPEN && self->next_try_us < self->breaker.until_us)
        self->next_try_us = self->breaker.until_us;
    self->address = (self->address + 1) % self->addresses.n;
    answer_all(self);
}

static struct set *take_set(cache_redis_t *self) {
    struct set *set = self->sets_first;
    self->sets_first = set->next;
    if (!set->next)
        self->sets_end = &self->sets_first;
    self->n_sets--;
    self->sets_bytes -= (size_t)set->key_bytes + set->value_bytes;
    return set;
}

void cache_redis_destroy(cache_redis_t **self) {
    cache_redis_t *gone = *self;
    if (!gone)
        return;
    CHECK(!gone->busy);
    disconnect(gone);
    if (gone->bursts)
        answer_all(gone);
    while (gone->sets_first)
        free(take_set(gone));
    free(gone->bursts);
    resp_out_done(&gone->out);
    free(gone);
    *self = NULL;
}

/* --- writing --- */

static void expect(cache_redis_t *self, enum expected what) {
    CHECK(self->n_expected < EXPECTED_MAX);
    self->expected[(self->expected_first + self->n_expected++) % EXPECTED_MAX] = (uint8_t)what;
}

static void put_login(cache_redis_t *self) {
    if (self->url.password[0]) {
        resp_array(&self->out, self->url.user[0] ? 3 : 2);
        resp_text(&self->out, "AUTH");
        if (self->url.user[0])
            resp_text(&self->out, self->url.user);
        resp_text(&self->out, self->url.password);
        expect(self, EXPECT_LOGIN);
    }
    if (self->url.db) {
        char number[16];
        snprintf(number, sizeof number, "%u", self->url.db);
        resp_array(&self->out, 2);
        resp_text(&self->out, "SELECT");
        resp_text(&self->out, number);
        expect(self, EXPECT_LOGIN);
    }
    resp_array(&self->out, 1);
    resp_text(&self->out, "PING");
    expect(self, EXPECT_LOGIN);
}

/* The burst that is being collected becomes an MGET. */
static void seal_burst(cache_redis_t *self, uint64_t now_us) {
    struct burst *burst = &self->bursts[(self->first + self->n_sent) % CACHE_BURSTS_MAX];
    resp_compact(&self->out);
    resp_array(&self->out, burst->n + 1);
    resp_text(&self->out, "MGET");
    for (uint32_t i = 0; i < burst->n; i++)
        resp_arg(&self->out, burst->wanted[i].key.name, burst->wanted[i].key.name_bytes);
    burst->deadline_us = now_us + self->timeout_us;
    self->n_sent++;
    self->stats.bursts++;
    self->stats.keys_asked += burst->n;
    expect(self, EXPECT_BURST);
}

static bool may_send_set(const cache_redis_t *self) {
    return self->state == UP && self->n_sets > 0 && self->n_sets_out < CACHE_SETS_IN_FLIGHT &&
           resp_out_bytes(&self->out) < SETS_OUT_BYTES;
}

static void put_sets(cache_redis_t *self, uint64_t now_us) {
    while (may_send_set(self) && breaker_allow(&self->set_breaker, now_us)) {
        struct set *set = take_set(self);
        char ttl[16];
        snprintf(ttl, sizeof ttl, "%u", ttl_jitter(self->ttl_s, &self->random));
        resp_compact(&self->out);
        resp_array(&self->out, 5);
        resp_text(&self->out, "SET");
        resp_arg(&self->out, set->bytes, set->key_bytes);
        resp_arg(&self->out, set->bytes + set->key_bytes, set->value_bytes);
        resp_text(&self->out, "EX");
        resp_text(&self->out, ttl);
        expect(self, EXPECT_SET);
        free(set);
        if (self->n_sets_out++ == 0)
            self->sets_moved_us = now_us;
        self->stats.sets_sent++;
    }
}

static void write_out(cache_redis_t *self, uint64_t now_us) {
    while (resp_out_bytes(&self->out) > 0) {
        ssize_t n = send(self->fd, self->out.data + self->out.from, resp_out_bytes(&self->out),
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return; /* cache_redis_events() asks for POLLOUT */
        if (n < 0) {
            fail(self, CACHE_FAULT_CLOSED, now_us);
            return;
        }
        self->out.from += (size_t)n;
    }
    resp_out_reset(&self->out);
}

void cache_redis_flush(cache_redis_t *self, uint64_t now_us) {
    if (self->busy || self->state != UP)
        return; /* in a callback: whoever called it flushes when it returns */
    if (self->n_sent < CACHE_BURSTS_MAX &&
        self->bursts[(self->first + self->n_sent) % CACHE_BURSTS_MAX].n > 0)
        seal_burst(self, now_us);
    put_sets(self, now_us);
    write_out(self, now_us);
}

/* --- asking --- */

bool cache_redis_want(cache_redis_t *self, const struct cache_key *key, uint64_t token,
                      uint64_t now_us) {
    if (self->state != UP)
        return false;
    for (;;) {
        if (self->n_sent == CACHE_BURSTS_MAX)
            return false;
        struct burst *burst = &self->bursts[(self->first + self->n_sent) % CACHE_BURSTS_MAX];
        if (burst->n == LIMIT_MGET) {
            seal_burst(self, now_us); /* written with the flush */
            continue;
        }
        if (burst->n == 0 && !breaker_allow(&self->breaker, now_us))
            return false;
        burst->wanted[burst->n].key = *key;
        burst->wanted[burst->n++].token = token;
        return true;
    }
}

void cache_redis_set(cache_redis_t *self, const struct cache_key *key, struct view value) {
    CHECK(value.bytes <= LIMIT_CACHE_VALUE_BYTES);
    size_t bytes = key->name_bytes + value.bytes;
    struct set *set = NULL;
    if (self->n_sets < LIMIT_SETS_QUEUED && self->sets_bytes + bytes <= CACHE_SETS_BYTES_MAX)
        set = malloc(sizeof *set + bytes);
    if (!set) {
        self->stats.sets_dropped++;
        return;
    }
    *set = (struct set){NULL, key->name_bytes, (uint32_t)value.bytes};
    memcpy(set->bytes, key->name, key->name_bytes);
    memcpy(set->bytes + key->name_bytes, value.data, value.bytes);
    *self->sets_end = set;
    self->sets_end = &set->next;
    self->n_sets++;
    self->sets_bytes += bytes;
}

/* --- reading --- */

static enum cache_fault fault_of(const redisReply *reply) {
    static const struct {
        const char *word;
        enum cache_fault fault;
    } rows[] = {
        {"NOAUTH", CACHE_FAULT_AUTH},      {"WRONGPASS", CACHE_FAULT_AUTH},
        {"NOPERM", CACHE_FAULT_AUTH},      {"LOADING", CACHE_FAULT_LOADING},
        {"BUSY", CACHE_FAULT_LOADING},     {"MASTERDOWN", CACHE_FAULT_LOADING},
        {"OOM", CACHE_FAULT_OOM},          {"READONLY", CACHE_FAULT_READONLY},
        {"MISCONF", CACHE_FAULT_READONLY}, {"NOREPLICAS", CACHE_FAULT_READONLY},
    };
    size_t bytes = strcspn(reply->str, " ");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strlen(rows[i].word) == bytes && memcmp(reply->str, rows[i].word, bytes) == 0)
            return rows[i].fault;
    return CACHE_FAULT_OTHER;
}

/* One value or nil for each key? */
static bool is_burst_reply(const redisReply *reply, uint32_t n) {
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != n)
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (reply->element[i]->type != REDIS_REPLY_STRING &&
            reply->element[i]->type != REDIS_REPLY_NIL)
            return false;
    return true;
}

static void answer_burst(cache_redis_t *self, const redisReply *reply) {
    struct burst *burst = &self->bursts[self->first];
    breaker_ok(&self->breaker); /* first: a callback may want more */
    backoff_reset(&self->backoff);
    self->busy = true;
    for (uint32_t i = 0; i < burst->n; i++) {
        const redisReply *value = reply->element[i];
        self->answer(self->arg, &burst->wanted[i].key, burst->wanted[i].token,
                     value->type == REDIS_REPLY_STRING ? view_make(value->str, value->len)
                                                       : view_make(NULL, 0));
    }
    self->busy = false;
    burst->n = 0; /* only now: a callback may have wanted more, in other bursts */
    self->first = (self->first + 1) % CACHE_BURSTS_MAX;
    self->n_sent--;
}

static void take_set_reply(cache_redis_t *self, const redisReply *reply, uint64_t now_us) {
    self->n_sets_out--;
    self->sets_moved_us = now_us;
    if (reply->type == REDIS_REPLY_STATUS) {
        self->stats.sets_done++;
        breaker_ok(&self->set_breaker);
        return;
    }
    /* OOM, READONLY and their like say nothing about reading: the connection stays. */
    self->stats.redis_faults[fault_of(reply)]++;
    self->stats.sets_dropped++;
    breaker_failed(&self->set_breaker, now_us);
}

/* False when the connection was closed. */
static bool take_reply(cache_redis_t *self, const redisReply *reply, uint64_t now_us) {
    bool is_error = reply->type == REDIS_REPLY_ERROR;
    if (self->n_expected == 0) {
        fail(self, is_error ? fault_of(reply) : CACHE_FAULT_PROTOCOL, now_us);
        return false;
    }
    enum expected what = (enum expected)self->expected[self->expected_first];
    self->expected_first = (self->expected_first + 1) % EXPECTED_MAX;
    self->n_expected--;
    if (what == EXPECT_SET && (is_error || reply->type == REDIS_REPLY_STATUS)) {
        take_set_reply(self, reply, now_us);
        return true;
    }
    if (what == EXPECT_LOGIN && reply->type == REDIS_REPLY_STATUS) {
        if (self->n_expected == 0) {
            self->state = UP;
            self->stats.connects++;
        }
        return true;
    }
    if (what == EXPECT_BURST && is_burst_reply(reply, self->bursts[self->first].n)) {
        answer_burst(self, reply);
        return true;
    }
    fail(self, is_error ? fault_of(reply) : CACHE_FAULT_PROTOCOL, now_us);
    return false;
}

/* Take all replies that are complete. False when the connection was closed. */
static bool take_replies(cache_redis_t *self, uint64_t now_us) {
    for (;;) {
        void *reply = NULL;
        if (redisReaderGetReply(self->reader, &reply) != REDIS_OK ||
            self->reader->len > BUFFERED_BYTES_MAX) {
            if (reply)
                freeReplyObject(reply);
            fail(self, CACHE_FAULT_PROTOCOL, now_us);
            return false;
        }
        if (!reply)
            return true;
        bool open = take_reply(self, reply, now_us);
        freeReplyObject(reply);
        if (!open)
            return false;
    }
}

/* Read what is there and act on it. */
static void read_in(cache_redis_t *self, uint64_t now_us) {
    char bytes[READ_BYTES];
    for (uint32_t i = 0; i < READS_PER_EVENT; i++) {
        ssize_t n = recv(self->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n <= 0) {
            fail(self, CACHE_FAULT_CLOSED, now_us);
            return;
        }
        if (redisReaderFeed(self->reader, bytes, (size_t)n) != REDIS_OK) {
            fail(self, CACHE_FAULT_PROTOCOL, now_us);
            return;
        }
        if (!take_replies(self, now_us) || (size_t)n < sizeof bytes)
            return;
    }
}

/* --- connecting --- */

/* No reply to us has more elements than a burst has keys, nor an array in it: such a length is
 * refused before memory is taken for it. */
static void *guard_array(const redisReadTask *task, int elements) {
    if (task->parent || elements > LIMIT_MGET)
        return NULL;
    return ((const cache_redis_t *)task->privdata)->default_array(task, elements);
}

static bool make_reader(cache_redis_t *self) {
    self->reader = redisReaderCreate();
    if (!self->reader)
        return false;
    self->reader->maxbuf = BUFFERED_BYTES_MAX; /* keep the buffer between replies */
    self->reply_functions = *self->reader->fn;
    self->default_array = self->reply_functions.createArray;
    self->reply_functions.createArray = guard_array;
    self->reader->fn = &self->reply_functions;
    self->reader->privdata = self;
    return true;
}

static void log_in(cache_redis_t *self, uint64_t now_us) {
    self->state = LOGIN;
    put_login(self);
    write_out(self, now_us);
}

static void connect_now(cache_redis_t *self, uint64_t now_us) {
    const struct sockaddr *address = (const struct sockaddr *)&self->addresses.of[self->address];
    self->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (self->fd < 0 || !make_reader(self)) {
        fail(self, CACHE_FAULT_CONNECT, now_us);
        return;
    }
    int on = 1;
    if (address->sa_family != AF_UNIX)
        setsockopt(self->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    self->login_deadline_us = now_us + CACHE_CONNECT_US;
    if (connect(self->fd, address, self->addresses.bytes[self->address]) == 0)
        log_in(self, now_us);
    else if (errno == EINPROGRESS)
        self->state = CONNECTING;
    else
        fail(self, CACHE_FAULT_CONNECT, now_us);
}

static void finish_connect(cache_redis_t *self, uint64_t now_us) {
    int code = 0;
    socklen_t bytes = sizeof code;
    if (getsockopt(self->fd, SOL_SOCKET, SO_ERROR, &code, &bytes) != 0 || code != 0)
        fail(self, CACHE_FAULT_CONNECT, now_us);
    else
        log_in(self, now_us);
}

/* --- hooks --- */

int cache_redis_fd(const cache_redis_t *self) {
    return self->fd;
}

short cache_redis_events(const cache_redis_t *self) {
    if (self->state == CONNECTING)
        return POLLOUT;
    return self->fd < 0 ? 0 : (short)(POLLIN | (resp_out_bytes(&self->out) ? POLLOUT : 0));
}

/* When the connection is given up unless replies come. */
static uint64_t patience_us(const cache_redis_t *self) {
    if (self->state != UP)
        return self->login_deadline_us;
    uint64_t deadline = self->n_sent ? self->bursts[self->first].deadline_us : UINT64_MAX;
    uint64_t sets = self->sets_moved_us + self->timeout_us * CACHE_SET_PATIENCE;
    return self->n_sets_out && sets < deadline ? sets : deadline;
}

uint64_t cache_redis_deadline_us(const cache_redis_t *self) {
    if (self->state == DOWN)
        return self->next_try_us;
    uint64_t deadline = patience_us(self);
    if (may_send_set(self) && self->set_breaker.state == BREAKER_CLOSED)
        return 0; /* due now: a SET came in since the last flush */
    if (may_send_set(self) && self->set_breaker.state == BREAKER_OPEN &&
        self->set_breaker.until_us < deadline)
        deadline = self->set_breaker.until_us;
    return deadline;
}

void cache_redis_on_events(cache_redis_t *self, short revents, uint64_t now_us) {
    if (self->busy || revents == 0)
        return;
    if (self->state == CONNECTING) {
        finish_connect(self, now_us);
        return;
    }
    if (self->state != DOWN && (revents & (POLLIN | POLLERR | POLLHUP)))
        read_in(self, now_us);
    if (self->state != DOWN)
        write_out(self, now_us);
    cache_redis_flush(self, now_us);
}

void cache_redis_tick(cache_redis_t *self, uint64_t now_us) {
    if (self->busy)
        return;
    if (self->state == DOWN && now_us >= self->next_try_us)
        connect_now(self, now_us);
    if (self->state != DOWN && now_us >= patience_us(self)) {
        /* Late; but was it Redis, or our own loop? What lies in the socket came in time. */
        if (self->state != CONNECTING)
            read_in(self, now_us);
        if (self->state != DOWN && now_us >= patience_us(self))
            fail(self, self->state == UP ? CACHE_FAULT_TIMEOUT : CACHE_FAULT_CONNECT, now_us);
    }
    cache_redis_flush(self, now_us);
}

void cache_redis_stats(const cache_redis_t *self, struct cache_stats *out) {
    memcpy(out->redis_faults, self->stats.redis_faults, sizeof out->redis_faults);
    out->bursts = self->stats.bursts;
    out->keys_asked = self->stats.keys_asked;
    out->sets_sent = self->stats.sets_sent;
    out->sets_done = self->stats.sets_done;
    out->sets_dropped = self->stats.sets_dropped;
    out->connects = self->stats.connects;
    out->sets_queued = self->n_sets;
    out->redis = self->state != UP                        ? CACHE_REDIS_DOWN
                 : self->breaker.state == BREAKER_CLOSED  ? CACHE_REDIS_UP
                 : self->breaker.state == BREAKER_PROBING ? CACHE_REDIS_PROBE
                                                          : CACHE_REDIS_BYPASS;
}
