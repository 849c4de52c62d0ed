/* guard.c - one thread: a REP socket that answers libzmq, and a directory that is watched by asking
 * for its looks every second.
 *
 * Why not czmq's zauth: it ignores the domain, so that a client's key would open the worker port;
 * it lives in czmq's own context while our sockets have theirs; it asserts on what it receives; and
 * czmq takes over the signal handlers of a process. What is left is a request of seven frames and
 * a reply of six.
 *
 * Why the directory is asked and not inotify: a network file system, or a volume whose link is
 * turned to another directory, sends no events; asking costs a microsecond a file.
 *
 * Invariants: `ring` is replaced under the lock and freed by the thread alone; only the thread uses
 * the socket; a reply follows each request. */
#include "guard.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/thread.h"
#include "wire/wait.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define ZAP_ENDPOINT   "inproc://zeromq.zap.01"
#define DOMAIN_CLIENTS "ember.clients"
#define DOMAIN_WORKERS "ember.workers"

enum {
    LOOK_US = 1000 * 1000,
    LOG_EVERY_US = 1000 * 1000,
    BURST = 64,       /* requests answered between two looks at the clock */
    REFUSED_TOLD = 8, /* files named at one reload */
};

/* The first few files that were refused; how many there were is counted by the keyring. */
struct refused {
    uint32_t n;
    char what[REFUSED_TOLD][ERR_TEXT_MAX];
};

struct guard {
    char dir[PATH_MAX];
    struct frame_curve clients, workers;
    void *zap;
    pthread_t thread;
    bool running;
    int wake_fd;
    _Atomic bool stopping, asked; /* asked: to look now */
    pthread_mutex_t lock;         /* guards ring and counts */
    keyring_t *ring;
    struct guard_counts counts;
    _Atomic uint64_t version;
    uint64_t seed, stamp, look_us;
    bool settled;
    struct log_limit log_refused;
    struct refused refused;
};

/* ---- judging */

static bool frame_is(const struct guard_request *request, uint32_t i, const char *text) {
    return view_equal(request->frames[i], view_of(text));
}

static struct guard_answer answer(const char *code, const char *why) {
    return (struct guard_answer){.code = code, .why = why};
}

/* Frames: version, request id, domain, address, routing id of our socket, mechanism, key. */
struct guard_answer guard_judge(const struct guard_request *request, const keyring_t *ring) {
    if (request->n != GUARD_FRAMES || !frame_is(request, 0, "1.0"))
        return answer("500", "not a request of ours");
    if (!frame_is(request, 5, "CURVE") || request->frames[6].bytes != CERT_KEY_BYTES)
        return answer("400", "not a CURVE key");
    bool client_port = frame_is(request, 2, DOMAIN_CLIENTS);
    if (!client_port && !frame_is(request, 2, DOMAIN_WORKERS))
        return answer("500", "unknown domain");
    if (!ring)
        return answer("300", "the certificates cannot be read");
    uint8_t key[CERT_KEY_BYTES];
    memcpy(key, request->frames[6].data, sizeof key);
    const struct keyring_entry *e = keyring_find(ring, key);
    if (!e)
        return answer("400", "unknown key");
    if (client_port ? e->role != CERT_CLIENT && e->role != CERT_OPERATOR : e->role != CERT_WORKER)
        return answer("400", client_port ? "a worker's key on the client port"
                                         : "a client's key on the worker port");
    struct guard_answer ok = {.code = "200", .why = "admitted"};
    cert_key_text(key, ok.user);
    return ok;
}

/* ---- the socket */

/* One request into `request`, whose views point into `room`; false when none is waiting. */
static bool receive(void *zap, char room[GUARD_FRAMES][GUARD_FRAME_BYTES],
                    struct guard_request *request) {
    request->n = 0;
    for (bool more = true; more;) {
        zmq_msg_t frame;
        zmq_msg_init(&frame);
        if (zmq_msg_recv(&frame, zap, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&frame);
            return false;
        }
        size_t bytes = zmq_msg_size(&frame);
        if (request->n < GUARD_FRAMES && bytes <= GUARD_FRAME_BYTES) {
            if (bytes)
                memcpy(room[request->n], zmq_msg_data(&frame), bytes);
            request->frames[request->n] = view_make(room[request->n], bytes);
        } else {
            request->n = GUARD_FRAMES; /* one too many, or too long: it will not be judged */
        }
        request->n++;
        more = zmq_msg_more(&frame);
        zmq_msg_close(&frame);
    }
    return true;
}

static void reply(void *zap, struct view id, const struct guard_answer *a) {
    const struct view frames[] = {
        view_of("1.0"), id, view_of(a->code), view_of(a->why), view_of(a->user), view_make("", 0)};
    enum { N = sizeof frames / sizeof *frames };
    for (size_t i = 0; i < N; i++)
        if (zmq_send(zap, frames[i].data, frames[i].bytes, i + 1 < N ? ZMQ_SNDMORE : 0) < 0)
            return; /* the context ends */
}

static void log_refusal(guard_t *self, const struct guard_request *request, const char *why) {
    uint32_t held;
    char key[CERT_KEY_TEXT] = "", address[2 * GUARD_FRAME_BYTES + 3],
         text[GUARD_FRAME_BYTES + 1] = "";
    if (!log_allow(&self->log_refused, clock_us(), LOG_EVERY_US, &held))
        return;
    if (request->n == GUARD_FRAMES) {
        snprintf(text, sizeof text, "%.*s", (int)request->frames[3].bytes, request->frames[3].data);
        if (request->frames[6].bytes == CERT_KEY_BYTES)
            cert_key_text((const uint8_t *)request->frames[6].data, key);
    }
    log_warn("key-refused", "why=\"%s\" address=%s key=\"%s\" held=%u", why,
             log_quoted(text, address, sizeof address), key, held);
}

static void answer_one(guard_t *self, const struct guard_request *request) {
    pthread_mutex_lock(&self->lock);
    struct guard_answer a = guard_judge(request, self->counts.closed ? NULL : self->ring);
    bool ok = a.code[0] == '2';
    self->counts.admitted += ok;
    self->counts.refused += !ok;
    pthread_mutex_unlock(&self->lock);
    bool has_id = request->n >= 2 && request->n <= GUARD_FRAMES;
    reply(self->zap, has_id ? request->frames[1] : view_make("", 0), &a);
    if (!ok)
        log_refusal(self, request, a.why);
}

/* ---- the directory */

static void note_refused(void *arg, const char *what) {
    struct refused *self = arg;
    if (self->n < REFUSED_TOLD)
        snprintf(self->what[self->n++], ERR_TEXT_MAX, "%s", what);
}

static void log_quoting(enum log_level level, const char *event, const char *text) {
    char quoted[2 * ERR_TEXT_MAX];
    log_line(level, event, "msg=%s", log_quoted(text, quoted, sizeof quoted));
}

/* What the directory says now is in force; NULL: it cannot be read. */
static void put_in_force(guard_t *self, keyring_t *ring) {
    pthread_mutex_lock(&self->lock);
    keyring_t *old = self->ring;
    self->counts.closed = ring == NULL;
    if (ring) {
        self->ring = ring;
        self->counts.keys = keyring_count(ring);
        self->counts.bad = keyring_bad(ring);
        self->counts.reloads++;
    }
    pthread_mutex_unlock(&self->lock);
    if (!ring)
        return;
    keyring_destroy(&old);
    atomic_fetch_add(&self->version, 1);
}

/* Loads what has changed. A directory that is being changed right now is loaded again, since two
 * changes within a tick of the file system's clock look like one. */
static void look(guard_t *self) {
    struct refused *refused = &self->refused;
    struct err err = {.text = ""};
    bool asked = atomic_exchange(&self->asked, false), settled, was_closed = self->counts.closed;
    uint64_t stamp = keyring_stamp(self->dir, clock_wall_us(), &settled);
    if (stamp && stamp == self->stamp && self->settled && !asked)
        return;
    keyring_t *ring = NULL;
    refused->n = 0;
    if (keyring_load(self->dir, self->seed, note_refused, refused, &ring, &err) != STATUS_OK) {
        put_in_force(self, NULL);
        self->stamp = 0;
        if (!was_closed || asked)
            log_quoting(LOG_ERROR, "keys-unreadable", err.text);
        return;
    }
    self->stamp = stamp;
    self->settled = settled;
    if (!was_closed && !asked && keyring_same(ring, self->ring)) {
        keyring_destroy(&ring);
        return;
    }
    for (uint32_t i = 0; i < refused->n; i++)
        log_quoting(LOG_ERROR, "key-file-refused", refused->what[i]);
    log_info("keys-loaded", "keys=%u refused_files=%u", keyring_count(ring), keyring_bad(ring));
    put_in_force(self, ring);
}

static void *run(void *arg) {
    guard_t *self = arg;
    char room[GUARD_FRAMES][GUARD_FRAME_BYTES];
    struct guard_request request;
    while (!atomic_load(&self->stopping)) {
        zmq_pollitem_t items[] = {{self->zap, 0, ZMQ_POLLIN, 0},
                                  {NULL, self->wake_fd, ZMQ_POLLIN, 0}};
        uint64_t now = clock_us();
        long wait_ms = now < self->look_us ? (long)((self->look_us - now) / 1000 + 1) : 0;
        if (wait_for(items, 2, wait_ms) < 0 && errno != EINTR)
            break;
        uint64_t count;
        if (items[1].revents && read(self->wake_fd, &count, sizeof count) < 0)
            continue;
        for (int i = 0; i < BURST && receive(self->zap, room, &request); i++)
            answer_one(self, &request);
        if (clock_us() >= self->look_us || atomic_load(&self->asked)) {
            look(self);
            self->look_us = clock_us() + LOOK_US;
        }
    }
    zmq_close(self->zap);
    self->zap = NULL;
    return NULL;
}

/* ---- start and end */

static enum status read_own_key(guard_t *self, struct err *err) {
    char path[PATH_MAX + 32];
    struct cert cert;
    snprintf(path, sizeof path, "%s/server.key_secret", self->dir);
    enum status st = cert_load_secret(path, &cert, err);
    if (st == STATUS_OK && cert.role != CERT_ANY && cert.role != CERT_SERVER)
        st = err_set(err, STATUS_INVALID_ARGUMENT, "'%s' is the certificate of a %s", path,
                     cert_role_name(cert.role));
    if (st == STATUS_OK) {
        memcpy(self->clients.public_key, cert.public_key, sizeof cert.public_key);
        memcpy(self->clients.secret_key, cert.secret_key, sizeof cert.secret_key);
        self->workers = self->clients;
        self->clients.domain = DOMAIN_CLIENTS;
        self->workers.domain = DOMAIN_WORKERS;
    }
    cert_clear(&cert);
    return st;
}

/* At the start the first bad file is the error. */
static void keep_first(void *arg, const char *what) {
    struct err *err = arg;
    if (!err->text[0])
        err_set(err, STATUS_INVALID_ARGUMENT, "%s", what);
}

static enum status read_keys(guard_t *self, struct err *err) {
    struct err first = {.text = ""};
    enum status st = read_own_key(self, err);
    if (st != STATUS_OK)
        return st;
    self->stamp = keyring_stamp(self->dir, clock_wall_us(), &self->settled);
    st = keyring_load(self->dir, self->seed, keep_first, &first, &self->ring, err);
    if (st == STATUS_OK && first.text[0])
        st = err_set(err, first.status, "%s", first.text);
    if (st == STATUS_OK)
        self->counts.keys = keyring_count(self->ring);
    return st;
}

static enum status open_zap(guard_t *self, void *context, struct err *err) {
    int zero = 0;
    if (!zmq_has("curve"))
        return err_set(err, STATUS_FAILED_PRECONDITION, "this libzmq has no CURVE");
    self->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    self->zap = zmq_socket(context, ZMQ_REP);
    if (self->wake_fd < 0 || !self->zap ||
        zmq_setsockopt(self->zap, ZMQ_LINGER, &zero, sizeof zero) != 0 ||
        zmq_bind(self->zap, ZAP_ENDPOINT) != 0)
        return err_set(err, STATUS_INTERNAL, "the handler of keys: %s", zmq_strerror(errno));
    return STATUS_OK;
}

enum status guard_start(void *context, const char *dir, guard_t **out, struct err *err) {
    guard_t *self = calloc(1, sizeof *self);
    if (!self)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    pthread_mutex_init(&self->lock, NULL);
    self->wake_fd = -1;
    self->seed = hash_entropy64();
    self->look_us = clock_us() + LOOK_US;
    atomic_store(&self->version, 1);
    enum status st = STATUS_OK;
    if ((size_t)snprintf(self->dir, sizeof self->dir, "%s", dir) >= sizeof self->dir - 128)
        st = err_set(err, STATUS_INVALID_ARGUMENT, "the path is too long");
    if (st == STATUS_OK)
        st = read_keys(self, err);
    if (st == STATUS_OK)
        st = open_zap(self, context, err);
    if (st == STATUS_OK) {
        st = thread_start(&self->thread, "ember-guard", run, self, err);
        self->running = st == STATUS_OK;
    }
    if (st != STATUS_OK) {
        guard_stop(&self);
        return err_prefix(err, st, "curve-dir");
    }
    *out = self;
    return STATUS_OK;
}

static void wake(guard_t *self) {
    uint64_t one = 1;
    (void)!write(self->wake_fd, &one, sizeof one);
}

void guard_stop(guard_t **out) {
    guard_t *self = *out;
    *out = NULL;
    if (!self)
        return;
    if (self->running) {
        atomic_store(&self->stopping, true);
        wake(self);
        pthread_join(self->thread, NULL);
    }
    if (self->zap)
        zmq_close(self->zap);
    if (self->wake_fd >= 0)
        close(self->wake_fd);
    keyring_destroy(&self->ring);
    pthread_mutex_destroy(&self->lock);
    explicit_bzero(self, sizeof *self);
    free(self);
}

const struct frame_curve *guard_clients(const guard_t *self) {
    return &self->clients;
}

const struct frame_curve *guard_workers(const guard_t *self) {
    return &self->workers;
}

void guard_forget_secret(guard_t *self) {
    explicit_bzero(self->clients.secret_key, sizeof self->clients.secret_key);
    explicit_bzero(self->workers.secret_key, sizeof self->workers.secret_key);
}

bool guard_find(guard_t *self, const char *user, struct keyring_entry *out) {
    uint8_t key[CERT_KEY_BYTES];
    return user && cert_key_bytes(view_of(user), key) && guard_find_key(self, key, out);
}

bool guard_find_key(guard_t *self, const uint8_t key[CERT_KEY_BYTES], struct keyring_entry *out) {
    pthread_mutex_lock(&self->lock);
    const struct keyring_entry *e = keyring_find(self->ring, key);
    if (e)
        *out = *e;
    pthread_mutex_unlock(&self->lock);
    return e != NULL;
}

void guard_reload(guard_t *self) {
    atomic_store(&self->asked, true);
    wake(self);
}

uint64_t guard_version(const guard_t *self) {
    return atomic_load_explicit(&self->version, memory_order_relaxed);
}

void guard_counts(guard_t *self, struct guard_counts *out) {
    pthread_mutex_lock(&self->lock);
    *out = self->counts;
    pthread_mutex_unlock(&self->lock);
}

bool guard_is_local(const char *endpoint) {
    static const char *const local[] = {"ipc://",           "inproc://",    "tcp://127.",
                                        "tcp://localhost:", "tcp://[::1]:", "tcp://lo:"};
    for (size_t i = 0; i < sizeof local / sizeof *local; i++)
        if (strncmp(endpoint, local[i], strlen(local[i])) == 0)
            return true;
    return false;
}
