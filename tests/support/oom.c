/* oom.c - see oom.h. Live blocks stand in one table, under a lock: a test allocates little, and its
 * exactness is worth more than its speed. */
#include "support/oom.h"

#include "support/test.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <zmq.h>

enum { LIVE_MAX = 1 << 16, MESSAGE_INLINE = 33, LIMIT_RUNS = 5000 };

struct block {
    void *at;
    void *caller;
    size_t bytes;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct block live[LIVE_MAX]; /* open addressing, linear */
static atomic_uint n_live;
static atomic_uint seen, first_at, last_at, failed; /* last_at 0: not armed */
static void *_Atomic failed_caller;
static _Thread_local bool is_exempt;

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t n, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_aligned_alloc(size_t align, size_t bytes);
int __real_posix_memalign(void **out, size_t align, size_t bytes);
void __real_free(void *at);
int __real_zmq_msg_init_size(zmq_msg_t *msg, size_t bytes);
void *__real_zmq_ctx_new(void);
void *__real_zmq_socket(void *context, int type);
int __real_pthread_create(pthread_t *out, const pthread_attr_t *attr, void *(*run)(void *),
                          void *arg);

void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_aligned_alloc(size_t align, size_t bytes);
int __wrap_posix_memalign(void **out, size_t align, size_t bytes);
char *__wrap_strdup(const char *text);
void __wrap_free(void *at);
int __wrap_zmq_msg_init_size(zmq_msg_t *msg, size_t bytes);
void *__wrap_zmq_ctx_new(void);
void *__wrap_zmq_socket(void *context, int type);
int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *attr, void *(*run)(void *),
                          void *arg);

/* ------------------------------------------------------------------------------ the table */

static size_t home(const void *at) {
    return (size_t)(((uintptr_t)at >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 48) % LIVE_MAX;
}

static void *add(void *at, size_t bytes, void *caller) {
    if (!at || is_exempt)
        return at;
    pthread_mutex_lock(&lock);
    if (n_live >= LIVE_MAX / 2)
        abort(); /* of the test: it allocates more than the table is for */
    size_t i = home(at);
    while (live[i].at)
        i = (i + 1) % LIVE_MAX;
    live[i] = (struct block){at, caller, bytes};
    n_live++;
    pthread_mutex_unlock(&lock);
    return at;
}

static void take_out(void *at) {
    if (!at)
        return;
    pthread_mutex_lock(&lock);
    size_t i = home(at);
    while (live[i].at && live[i].at != at)
        i = (i + 1) % LIVE_MAX;
    if (live[i].at) {
        n_live--;
        live[i].at = NULL;
        for (size_t k = (i + 1) % LIVE_MAX; live[k].at; k = (k + 1) % LIVE_MAX) {
            struct block moved = live[k]; /* the ones behind close up */
            live[k].at = NULL;
            size_t to = home(moved.at);
            while (live[to].at)
                to = (to + 1) % LIVE_MAX;
            live[to] = moved;
        }
    }
    pthread_mutex_unlock(&lock);
}

static bool may(void *caller) {
    if (is_exempt || !last_at)
        return true;
    unsigned n = ++seen;
    if (n < first_at || n > last_at)
        return true;
    if (failed++ == 0)
        failed_caller = caller;
    errno = ENOMEM;
    return false;
}

/* ------------------------------------------------------------------------------ in place of */

#define CALLER __builtin_return_address(0)

void *__wrap_malloc(size_t bytes) {
    return may(CALLER) ? add(__real_malloc(bytes), bytes, CALLER) : NULL;
}

void *__wrap_calloc(size_t n, size_t bytes) {
    return may(CALLER) ? add(__real_calloc(n, bytes), n * bytes, CALLER) : NULL;
}

void *__wrap_realloc(void *old, size_t bytes) {
    if (!may(CALLER))
        return NULL;
    take_out(old); /* before another thread can be given the same address */
    void *at = __real_realloc(old, bytes);
    return add(at, bytes, CALLER);
}

void *__wrap_aligned_alloc(size_t align, size_t bytes) {
    return may(CALLER) ? add(__real_aligned_alloc(align, bytes), bytes, CALLER) : NULL;
}

int __wrap_posix_memalign(void **out, size_t align, size_t bytes) {
    if (!may(CALLER))
        return ENOMEM;
    int code = __real_posix_memalign(out, align, bytes);
    if (code == 0)
        add(*out, bytes, CALLER);
    return code;
}

char *__wrap_strdup(const char *text) {
    size_t bytes = strlen(text) + 1;
    char *at = may(CALLER) ? add(__real_malloc(bytes), bytes, CALLER) : NULL;
    return at ? memcpy(at, text, bytes) : NULL;
}

void __wrap_free(void *at) {
    take_out(at);
    __real_free(at);
}

int __wrap_zmq_msg_init_size(zmq_msg_t *msg, size_t bytes) {
    return bytes <= MESSAGE_INLINE || may(CALLER) ? __real_zmq_msg_init_size(msg, bytes) : -1;
}

void *__wrap_zmq_ctx_new(void) {
    return may(CALLER) ? __real_zmq_ctx_new() : NULL;
}

void *__wrap_zmq_socket(void *context, int type) {
    return may(CALLER) ? __real_zmq_socket(context, type) : NULL;
}

struct start {
    void *(*run)(void *);
    void *arg;
    bool exempt;
};

static void *started(void *arg) {
    struct start start = *(struct start *)arg;
    __real_free(arg);
    is_exempt = start.exempt;
    return start.run(start.arg);
}

int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *attr, void *(*run)(void *),
                          void *arg) {
    struct start *start = may(CALLER) ? __real_malloc(sizeof *start) : NULL;
    if (!start)
        return EAGAIN;
    *start = (struct start){run, arg, is_exempt};
    int code = __real_pthread_create(out, attr, started, start);
    if (code != 0)
        __real_free(start);
    return code;
}

/* ------------------------------------------------------------------------------ running */

void oom_exempt(bool exempt) {
    is_exempt = exempt;
}

void oom_arm(unsigned first, unsigned n) {
    seen = failed = 0;
    failed_caller = NULL;
    first_at = first;
    last_at = n > UINT32_MAX - first ? UINT32_MAX : first + n - 1;
}

unsigned oom_disarm(void) {
    last_at = 0;
    return failed; /* stays what it is until the next oom_arm() */
}

unsigned oom_live(void) {
    return n_live;
}

/* The address as addr2line wants it, whatever the program was loaded at. */
static void print_place(const char *what, const void *caller) {
    extern const char __executable_start[];
    fprintf(stderr, "  %s at %#zx\n", what,
            (size_t)((uintptr_t)caller - (uintptr_t)__executable_start));
}

static void print_live(void) {
    unsigned n = 0;
    for (size_t i = 0; i < LIVE_MAX && n < 16; i++)
        if (live[i].at) {
            print_place("allocated", live[i].caller);
            fprintf(stderr, "  %zu bytes\n", live[i].bytes);
            n++;
        }
}

static bool run_at(const struct oom_cfg *cfg, unsigned at, unsigned n) {
    unsigned before = n_live;
    oom_arm(at, n);
    if (getenv("OOM_TRACE"))
        fprintf(stderr, "%s: %u\n", cfg->name, at);
    enum status status = cfg->run(cfg->arg);
    unsigned total = seen;
    bool hit = oom_disarm() > 0;
    bool fine =
        status == STATUS_OK || (hit && (status == STATUS_RESOURCE_EXHAUSTED ||
                                        (cfg->others != STATUS_OK && status == cfg->others)));
    if (!fine || (!cfg->keeps && n_live != before)) {
        if (hit)
            print_place("failed", failed_caller);
        if (fine)
            print_live();
        TEST_FAIL("%s, allocation %u of %u fails%s: %s, %u blocks before, %u after", cfg->name, at,
                  total, n > 1 ? " with all behind it" : "", status_name(status), before,
                  (unsigned)n_live);
    }
    return hit;
}

unsigned oom_run(const struct oom_cfg *cfg) {
    unsigned most = 0;
    TEST_ROW(cfg->name);
    for (int all = 0; all < (cfg->once ? 1 : 2); all++) {
        unsigned at = 1;
        while (run_at(cfg, at, all ? UINT32_MAX : 1))
            if (++at > LIMIT_RUNS)
                TEST_FAIL("%s does not come to an end", cfg->name);
        most = at - 1 > most ? at - 1 : most;
    }
    return most;
}
