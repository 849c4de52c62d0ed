/* cache_hostile_test.c - the cache against a Redis of our own that says the wrong thing, half of
 * it, or nothing. Time is an argument, so no row waits. */
#include "cache/cache.h"
#include "cache/cache_redis.h"
#include "support/test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { TOKENS = 8192 };

static char dir[] = "/tmp/ember-hostile-XXXXXX", path[64], url[96];
static int listener;
static key_maker_t *maker;
static struct key_model model;
static uint64_t now_us = 1000000;
static cache_t *cache;
static uint32_t answers[TOKENS], n_answers, n_hits;
static float last_number;
static bool ask_in_callback;

static struct cache_key key_of(uint32_t id) {
    struct cache_key key;
    char text[16];
    snprintf(text, sizeof text, "%u", id);
    key_emb(maker, &model, view_of(""), view_of(text), false, &key);
    return key;
}

static bool want(uint32_t id, uint64_t token) {
    struct cache_key key = key_of(id);
    return cache_want(cache, &key, token, now_us);
}

static void on_answer(void *arg, uint64_t token, const struct cache_entry *entry,
                      enum cache_source source) {
    (void)arg;
    (void)source;
    TEST_TRUE(token < TOKENS);
    TEST_EQ(++answers[token], 1);
    n_answers++;
    n_hits += entry != NULL;
    last_number = entry ? entry->numbers[0] : 0;
    if (ask_in_callback) { /* a caller may do all this from here */
        struct cache_key key = key_of(9999);
        static const float number = 5;
        struct cache_entry own = {CACHE_EMB, false, 1, 1, &number}, out;
        cache_put(cache, &key, &own, NULL);
        (void)cache_get_now(cache, &key, &out);
        cache_flush(cache, now_us);
        cache_tick(cache, now_us);
        cache_on_events(cache, POLLIN, now_us);
    }
}

static struct cache_stats stats(void) {
    struct cache_stats out;
    cache_stats(cache, &out);
    return out;
}

/* Let the cache act on what its socket has, as a loop would, without waiting. */
static void turn(void) {
    for (int i = 0; i < 4; i++) {
        struct pollfd fd = {cache_fd(cache), cache_events(cache), 0};
        poll(&fd, 1, 0);
        cache_on_events(cache, fd.revents, now_us);
        cache_tick(cache, now_us);
    }
}

static int take_connection(void) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    return fd;
}

static void say(int fd, const char *data, size_t bytes) {
    (void)!send(fd, data, bytes, MSG_NOSIGNAL);
    turn();
}

static size_t hear(int fd, char *out, size_t out_bytes) {
    ssize_t n = recv(fd, out, out_bytes - 1, 0);
    out[n > 0 ? n : 0] = '\0';
    return n > 0 ? (size_t)n : 0;
}

/* A connection that is logged in. */
static int welcome(void) {
    char heard[256];
    now_us += 5000000; /* past every back-off */
    turn();
    int fd = take_connection();
    TEST_TRUE(fd >= 0);
    hear(fd, heard, sizeof heard);
    TEST_STR_EQ(heard, "*1\r\n$4\r\nPING\r\n");
    say(fd, "+PONG\r\n", 7);
    return fd;
}

static void ask(uint32_t n) {
    memset(answers, 0, sizeof answers);
    n_answers = n_hits = 0;
    for (uint32_t i = 0; i < n; i++)
        TEST_TRUE(want(i, i));
    cache_flush(cache, now_us);
}

static int make(void **state) {
    (void)state;
    struct cache_cfg cfg = {.redis_url = url, .memory_bytes = 1 << 20, .seed = 1};
    struct err err;
    while (take_connection() >= 0)
        ;
    ask_in_callback = false;
    if (cache_new(&cfg, on_answer, NULL, &cache, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
    return 0;
}

static int destroy(void **state) {
    (void)state;
    cache_destroy(&cache);
    return 0;
}

/* The value of text `id`: a vector of one number. */
static size_t value_of(uint32_t id, float number, char *out) {
    struct cache_key key = key_of(id);
    struct cache_entry entry = {CACHE_EMB, false, 1, 1, &number};
    char value[VALUE_HEADER_BYTES + 4];
    size_t bytes = value_write(&key, &entry, NULL, value, sizeof value);
    TEST_EQ(bytes, sizeof value);
    int n = snprintf(out, 16, "$%zu\r\n", bytes);
    memcpy(out + n, value, bytes);
    memcpy(out + n + bytes, "\r\n", 2);
    return (size_t)n + bytes + 2;
}

enum { KEPT = -1, TIMES_OUT = -2 };

static void test_replies(void **state) {
    (void)state;
    static const struct {
        const char *name, *reply; /* to an MGET of two keys */
        int fault;
    } rows[] = {
        {"two misses", "*2\r\n$-1\r\n$-1\r\n", KEPT},
        {"one value too few", "*1\r\n$-1\r\n", CACHE_FAULT_PROTOCOL},
        {"one value too many", "*3\r\n$-1\r\n$-1\r\n$-1\r\n", CACHE_FAULT_PROTOCOL},
        {"none", "*0\r\n", CACHE_FAULT_PROTOCOL},
        {"nil", "*-1\r\n", CACHE_FAULT_PROTOCOL},
        {"a status", "+OK\r\n", CACHE_FAULT_PROTOCOL},
        {"a number", ":2\r\n", CACHE_FAULT_PROTOCOL},
        {"one string", "$5\r\nhello\r\n", CACHE_FAULT_PROTOCOL},
        {"numbers", "*2\r\n:1\r\n:2\r\n", CACHE_FAULT_PROTOCOL},
        {"an error inside", "*2\r\n$-1\r\n-ERR no\r\n", CACHE_FAULT_PROTOCOL},
        {"arrays inside", "*2\r\n*1\r\n$-1\r\n*0\r\n", CACHE_FAULT_PROTOCOL},
        {"two billion values", "*2000000000\r\n", CACHE_FAULT_PROTOCOL},
        {"2^63 values", "*9223372036854775808\r\n", CACHE_FAULT_PROTOCOL},
        {"-2 values", "*-2\r\n", CACHE_FAULT_PROTOCOL},
        {"not Redis", "HTTP/1.1 400 Bad Request\r\n\r\n", CACHE_FAULT_PROTOCOL},
        {"no length", "*2\r\n$x\r\n", CACHE_FAULT_PROTOCOL},
        {"values that are none", "*2\r\n$5\r\nhello\r\n$0\r\n\r\n", KEPT},
        {"a reply nobody asked for", "*2\r\n$-1\r\n$-1\r\n+OK\r\n", CACHE_FAULT_PROTOCOL},
        {"an error nobody asked for", "*2\r\n$-1\r\n$-1\r\n-ERR bye\r\n", CACHE_FAULT_OTHER},
        {"loading", "-LOADING Redis is loading the dataset in memory\r\n", CACHE_FAULT_LOADING},
        {"busy", "-BUSY Redis is busy running a script.\r\n", CACHE_FAULT_LOADING},
        {"master down", "-MASTERDOWN Link with MASTER is down\r\n", CACHE_FAULT_LOADING},
        {"password", "-NOAUTH Authentication required.\r\n", CACHE_FAULT_AUTH},
        {"permission", "-NOPERM this user has no permissions\r\n", CACHE_FAULT_AUTH},
        {"moved", "-MOVED 3999 127.0.0.1:6381\r\n", CACHE_FAULT_OTHER},
        {"an empty error", "-\r\n", CACHE_FAULT_OTHER},
        {"nothing", "", TIMES_OUT},
        {"half a line", "*2", TIMES_OUT},
        {"half an array", "*2\r\n$-1\r\n", TIMES_OUT},
        {"half a value", "*2\r\n$100\r\nember1 emb", TIMES_OUT},
        {"half of two gigabytes", "*2\r\n$2147483647\r\nx", TIMES_OUT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        int fd = welcome();
        ask(2);
        uint64_t faults[CACHE_FAULTS], kept = stats().connects;
        memcpy(faults, stats().redis_faults, sizeof faults);
        char heard[512];
        TEST_TRUE(hear(fd, heard, sizeof heard) > 0);
        say(fd, rows[i].reply, strlen(rows[i].reply));
        if (rows[i].fault == TIMES_OUT) {
            TEST_EQ(n_answers, 0);
            now_us += CACHE_TIMEOUT_US - 1;
            turn();
            TEST_EQ(n_answers, 0);
            TEST_EQ(cache_deadline_us(cache), now_us + 1);
            now_us++;
            turn();
        }
        TEST_EQ(n_answers, 2);
        TEST_EQ(n_hits, 0);
        for (int f = 0; f < CACHE_FAULTS; f++) {
            bool counted =
                f == rows[i].fault || (rows[i].fault == TIMES_OUT && f == CACHE_FAULT_TIMEOUT);
            TEST_EQ(stats().redis_faults[f], faults[f] + counted);
        }
        TEST_EQ(cache_fd(cache) >= 0, rows[i].fault == KEPT);
        TEST_EQ(stats().connects, kept);
        if (rows[i].fault == KEPT) { /* for the next row */
            close(fd);
            turn();
        } else {
            close(fd);
        }
    }
}

static void test_byte_by_byte(void **state) {
    (void)state;
    char reply[256];
    int fd = welcome();
    ask(2);
    size_t bytes = (size_t)snprintf(reply, 32, "*2\r\n$-1\r\n");
    bytes += value_of(1, 42, reply + bytes);
    for (size_t i = 0; i < bytes; i++) {
        TEST_EQ(n_answers, 0);
        say(fd, reply + i, 1);
    }
    TEST_EQ(n_answers, 2);
    TEST_EQ(n_hits, 1);
    TEST_EQ(last_number, 42);
    close(fd);
}

/* Our own loop stood still beyond the deadline, but the reply was there in time. */
static void test_slow_loop(void **state) {
    (void)state;
    int fd = welcome();
    ask_in_callback = true; /* where the same lateness may not be acted on */
    ask(1);
    (void)!send(fd, "*1\r\n$-1\r\n", 9, MSG_NOSIGNAL);
    now_us += 100 * CACHE_TIMEOUT_US;
    cache_tick(cache, now_us);
    TEST_EQ(n_answers, 1);
    TEST_EQ(stats().redis_faults[CACHE_FAULT_TIMEOUT], 0);
    TEST_TRUE(cache_fd(cache) >= 0);
    close(fd);
}

/* The reply of the burst before, said on every connection there is, reaches nobody. */
static void test_late_reply(void **state) {
    (void)state;
    char reply[256];
    int old = welcome();
    ask(1);
    now_us += CACHE_TIMEOUT_US;
    turn();
    TEST_EQ(n_answers, 1);
    size_t bytes = (size_t)snprintf(reply, 32, "*1\r\n");
    bytes += value_of(0, 13, reply + bytes);
    int fresh = welcome();
    ask(1);
    say(old, reply, bytes); /* the old connection is closed: this goes nowhere */
    TEST_EQ(n_answers, 0);
    /* Even a server that mixes up its connections does no harm: text 7 is not text 0. */
    memset(answers, 0, sizeof answers);
    say(fresh, "*1\r\n$-1\r\n", 9);
    TEST_EQ(n_answers, 1);
    n_answers = 0;
    memset(answers, 0, sizeof answers);
    TEST_TRUE(want(7, 7));
    cache_flush(cache, now_us);
    say(fresh, reply, bytes);
    TEST_EQ(n_answers, 1);
    TEST_EQ(n_hits, 0);
    TEST_EQ(stats().value_faults[VALUE_OTHER_TEXT], 1);
    close(old);
    close(fresh);
}

static void test_breaker(void **state) {
    (void)state;
    for (int i = 0; i < CACHE_BREAKER_FAILURES; i++) {
        int fd = welcome();
        ask(1);
        say(fd, "-ERR ill\r\n", 10);
        TEST_EQ(n_answers, 1);
        close(fd);
    }
    uint64_t opened_us = now_us;
    now_us = opened_us + CACHE_BREAKER_OPEN_US - 1;
    turn();
    TEST_EQ(take_connection(), -1);
    TEST_TRUE(!want(0, 0));
    int fd = welcome();
    TEST_EQ(stats().redis, CACHE_REDIS_BYPASS);
    ask(3); /* one burst is the probe */
    TEST_EQ(stats().redis, CACHE_REDIS_PROBE);
    TEST_TRUE(!want(3, 3)); /* nobody else waits for its outcome */
    say(fd, "-ERR ill\r\n", 10);
    TEST_EQ(n_answers, 3);
    close(fd);
    now_us += CACHE_BREAKER_OPEN_US - 1;
    turn();
    TEST_EQ(take_connection(), -1);
    fd = welcome();
    ask(3);
    say(fd, "*3\r\n$-1\r\n$-1\r\n$-1\r\n", 19);
    TEST_EQ(n_answers, 3);
    TEST_EQ(stats().redis, CACHE_REDIS_UP);
    TEST_TRUE(want(5, 5));
    close(fd);
}

/* Waiting times between attempts grow, and stay within 50 ms .. 2 s. */
static void test_backoff(void **state) {
    (void)state;
    uint64_t last_us = 0;
    for (int i = 0; i < 12; i++) {
        uint64_t due_us = cache_deadline_us(cache);
        if (i > 0) {
            uint64_t waited_us = due_us - last_us;
            TEST_TRUE(waited_us >= CACHE_BACKOFF_MIN_US / 2 && waited_us <= CACHE_BACKOFF_MAX_US);
            if (i >= CACHE_BREAKER_FAILURES)
                TEST_TRUE(waited_us >= CACHE_BREAKER_OPEN_US);
        }
        now_us = due_us > now_us ? due_us - 1 : now_us;
        turn();
        TEST_TRUE(i == 0 || take_connection() == -1);
        now_us++;
        turn();
        int fd = take_connection();
        TEST_TRUE(fd >= 0);
        close(fd); /* accepted and closed: no login */
        turn();
        last_us = now_us;
        TEST_EQ(stats().redis_faults[CACHE_FAULT_CLOSED], i + 1);
    }
    TEST_EQ(stats().redis, CACHE_REDIS_DOWN);
}

static void test_no_login(void **state) {
    (void)state;
    static const struct {
        const char *name, *reply;
        int fault;
    } rows[] = {
        {"silence", "", CACHE_FAULT_CONNECT},
        {"loading", "-LOADING wait\r\n", CACHE_FAULT_LOADING},
        {"full", "-ERR max number of clients reached\r\n", CACHE_FAULT_OTHER},
        {"an array", "*1\r\n$4\r\nPONG\r\n", CACHE_FAULT_PROTOCOL},
        {"two replies", "+PONG\r\n+PONG\r\n", CACHE_FAULT_PROTOCOL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        now_us += 5000000;
        turn();
        int fd = take_connection();
        uint64_t before = stats().redis_faults[rows[i].fault];
        TEST_TRUE(fd >= 0);
        say(fd, rows[i].reply, strlen(rows[i].reply));
        TEST_TRUE(!want(0, 0));
        now_us += CACHE_CONNECT_US - 1;
        turn();
        TEST_EQ(stats().redis_faults[rows[i].fault], before + (rows[i].reply[0] != 0));
        now_us++;
        cache_tick(cache, now_us);
        TEST_EQ(stats().redis_faults[rows[i].fault], before + 1);
        close(fd);
    }
}

static void test_calls_from_the_callback(void **state) {
    (void)state;
    int fd = welcome();
    ask_in_callback = true;
    ask(3);
    say(fd, "*3\r\n$-1\r\n$-1\r\n$-1\r\n", 19);
    TEST_EQ(n_answers, 3);
    char heard[4096];
    TEST_TRUE(hear(fd, heard, sizeof heard) > 0);
    TEST_HAS(heard, "SET"); /* what the callback put went out behind */
    ask(3);
    close(fd);
    turn();
    TEST_EQ(n_answers, 3);
    /* The reply is there, but nobody to write to: the reply in hand comes first, each key once. */
    fd = welcome();
    hear(fd, heard, sizeof heard);
    say(fd, "+OK\r\n+OK\r\n+OK\r\n", 15); /* to what the callbacks of the close put */
    TEST_EQ(stats().sets_done, 3);
    ask(3);
    hear(fd, heard, sizeof heard);
    (void)!send(fd, "*3\r\n$-1\r\n$-1\r\n$-1\r\n", 19, MSG_NOSIGNAL);
    close(fd);
    turn();
    TEST_EQ(n_answers, 3);
    TEST_EQ(stats().redis_faults[CACHE_FAULT_PROTOCOL], 0);
    TEST_EQ(cache_fd(cache), -1);
}

/* A server that reads nothing: what waits is bounded, questions end at their deadline. */
static void test_reads_nothing(void **state) {
    (void)state;
    int fd = welcome();
    static const float number = 1;
    struct cache_entry entry = {CACHE_EMB, false, 1, 1, &number};
    for (uint32_t i = 0; i < 3 * LIMIT_SETS_QUEUED; i++) {
        struct cache_key key = key_of(i);
        cache_put(cache, &key, &entry, NULL);
        if (i % 64 == 0)
            cache_flush(cache, now_us);
    }
    struct cache_stats full = stats();
    TEST_EQ(full.sets_sent, CACHE_SETS_IN_FLIGHT);
    TEST_EQ(full.sets_queued, LIMIT_SETS_QUEUED);
    TEST_EQ(full.sets_sent + full.sets_queued + full.sets_dropped, 3 * LIMIT_SETS_QUEUED);
    for (int i = 0; i < CACHE_BURSTS_MAX; i++)
        for (uint32_t k = 0; k < LIMIT_MGET; k++)
            TEST_TRUE(want(k, (uint64_t)i * LIMIT_MGET + k));
    memset(answers, 0, sizeof answers);
    n_answers = 0;
    cache_flush(cache, now_us);
    now_us += CACHE_TIMEOUT_US;
    cache_tick(cache, now_us);
    TEST_EQ(n_answers, CACHE_BURSTS_MAX * LIMIT_MGET);
    TEST_EQ(stats().redis_faults[CACHE_FAULT_TIMEOUT], 1);
    TEST_EQ(stats().sets_dropped, full.sets_dropped + CACHE_SETS_IN_FLIGHT);
    close(fd);

    /* SETs alone have more patience, but not for ever. */
    fd = welcome();
    TEST_EQ(stats().sets_sent, 2 * CACHE_SETS_IN_FLIGHT);
    now_us += CACHE_TIMEOUT_US * CACHE_SET_PATIENCE - 1;
    turn();
    TEST_TRUE(cache_fd(cache) >= 0);
    now_us++;
    cache_tick(cache, now_us);
    TEST_EQ(stats().redis_faults[CACHE_FAULT_TIMEOUT], 2);
    close(fd);
}

static void listen_here(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!mkdtemp(dir))
        TEST_FAIL("mkdtemp: %s", strerror(errno));
    snprintf(path, sizeof path, "%s/s", dir);
    snprintf(url, sizeof url, "unix://%s", path);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, 64) != 0)
        TEST_FAIL("listen at %s: %s", path, strerror(errno));
}

int main(void) {
    struct err err;
    listen_here();
    if (key_maker_new(&maker, &err) != STATUS_OK ||
        key_model_init(&model, "m", "0123abcd", 1, &err) != STATUS_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_replies, make, destroy),
        cmocka_unit_test_setup_teardown(test_byte_by_byte, make, destroy),
        cmocka_unit_test_setup_teardown(test_slow_loop, make, destroy),
        cmocka_unit_test_setup_teardown(test_late_reply, make, destroy),
        cmocka_unit_test_setup_teardown(test_breaker, make, destroy),
        cmocka_unit_test_setup_teardown(test_backoff, make, destroy),
        cmocka_unit_test_setup_teardown(test_no_login, make, destroy),
        cmocka_unit_test_setup_teardown(test_calls_from_the_callback, make, destroy),
        cmocka_unit_test_setup_teardown(test_reads_nothing, make, destroy),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    key_maker_destroy(&maker);
    close(listener);
    unlink(path);
    rmdir(dir);
    return failed;
}
