/* cache_redis_test.c - the cache against a real Redis that is well, killed, frozen, full or
 * locked. What must hold in each: every key is answered once, with its own value or a miss, and
 * soon. */
#include "base/clock.h"
#include "base/hash.h"
#include "cache/cache.h"
#include "cache/cache_redis.h"
#include "support/redis_proc.h"

#include <poll.h>

enum { TOKENS = 2048, DIM = 8 };

static struct redis_proc redis;
static key_maker_t *maker;
static struct key_model model;

/* What came for each token. */
static struct {
    uint32_t answers;
    bool hit;
    float first;
    enum cache_source source;
} got[TOKENS];
static uint32_t n_got, n_hits;

static void on_answer(void *arg, uint64_t token, const struct cache_entry *entry,
                      enum cache_source source) {
    (void)arg;
    TEST_TRUE(token < TOKENS);
    got[token].answers++;
    got[token].hit = entry != NULL;
    got[token].first = entry ? entry->numbers[0] : 0;
    got[token].source = source;
    n_got++;
    n_hits += entry != NULL;
}

static void forget_answers(void) {
    memset(got, 0, sizeof got);
    n_got = n_hits = 0;
}

static struct cache_key key_of(uint32_t id) {
    struct cache_key key;
    char text[32];
    snprintf(text, sizeof text, "text %u", id);
    key_emb(maker, &model, view_of(""), view_of(text), false, &key);
    return key;
}

static const char *name_of(const struct cache_key *key) {
    static char name[LIMIT_CACHE_KEY_BYTES + 1];
    memcpy(name, key->name, key->name_bytes);
    name[key->name_bytes] = '\0';
    return name;
}

static float numbers[DIM];

static void put(cache_t *cache, uint32_t id) {
    struct cache_key key = key_of(id);
    for (uint32_t i = 0; i < DIM; i++)
        numbers[i] = (float)(id + i);
    struct cache_entry entry = {CACHE_EMB, false, 5, DIM, numbers};
    cache_put(cache, &key, &entry, NULL);
}

static bool want(cache_t *cache, uint32_t id, uint64_t token) {
    struct cache_key key = key_of(id);
    return cache_want(cache, &key, token, clock_us());
}

static void step(cache_t *cache, uint64_t most_us) {
    uint64_t now_us = clock_us(), deadline = cache_deadline_us(cache);
    uint64_t wait_us = deadline <= now_us ? 0 : deadline - now_us;
    wait_us = wait_us < most_us ? wait_us : most_us;
    struct pollfd fd = {cache_fd(cache), cache_events(cache), 0};
    poll(&fd, 1, (int)((wait_us + 999) / 1000));
    cache_on_events(cache, fd.revents, clock_us());
    cache_tick(cache, clock_us());
}

#define PUMP_UNTIL(cache, cond)                                                                    \
    do {                                                                                           \
        uint64_t end_us_ = clock_us() + 8000000;                                                   \
        while (!(cond)) {                                                                          \
            if (clock_us() > end_us_)                                                              \
                TEST_FAIL("not within 8 s: %s", #cond);                                            \
            step((cache), 5000);                                                                   \
        }                                                                                          \
    } while (0)

static struct cache_stats stats_of(const cache_t *cache) {
    struct cache_stats stats;
    cache_stats(cache, &stats);
    return stats;
}

/* timeout_us: generous where a slow machine must not decide the test. */
static cache_t *make(const char *url, size_t memory_bytes, uint32_t timeout_us) {
    cache_t *cache = NULL;
    struct err err;
    struct cache_cfg cfg = {
        .memory_bytes = memory_bytes, .redis_url = url, .ttl_s = 1000, .timeout_us = timeout_us};
    if (cache_new(&cfg, on_answer, NULL, &cache, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
    forget_answers();
    return cache;
}

static bool is_up(const cache_t *cache) {
    return stats_of(cache).redis == CACHE_REDIS_UP;
}

static cache_t *make_up(size_t memory_bytes) {
    cache_t *cache = make(redis.url, memory_bytes, 2000000);
    PUMP_UNTIL(cache, is_up(cache));
    return cache;
}

static void ask_all(cache_t *cache, uint32_t n) {
    forget_answers();
    for (uint32_t i = 0; i < n; i++)
        TEST_TRUE(want(cache, i, i));
    cache_flush(cache, clock_us());
}

static void all_answered_once(uint32_t n) {
    TEST_EQ(n_got, n);
    for (uint32_t i = 0; i < n; i++) {
        TEST_EQ(got[i].answers, 1);
        if (got[i].hit && got[i].first != (float)i)
            TEST_FAIL("token %u got the value of %g", i, (double)got[i].first);
    }
}

static int fresh(void **state) {
    (void)state;
    char reply[64];
    if (!redis.pid)
        redis_start_again(&redis, NULL);
    redis_ask(&redis, reply, sizeof reply, "FLUSHALL", NULL);
    redis_ask(&redis, reply, sizeof reply, "CONFIG", "RESETSTAT", NULL);
    return 0;
}

/* --- well --- */

static void test_hit_and_miss(void **state) {
    (void)state;
    cache_t *cache = make_up(0);
    put(cache, 0);
    put(cache, 1);
    PUMP_UNTIL(cache, stats_of(cache).sets_done == 2);
    ask_all(cache, 3);
    PUMP_UNTIL(cache, n_got == 3);
    all_answered_once(3);
    TEST_TRUE(got[0].hit && got[1].hit && !got[2].hit);
    TEST_EQ(got[0].source, CACHE_REDIS);
    TEST_EQ(got[2].source, CACHE_MISS);
    struct cache_stats stats = stats_of(cache);
    TEST_EQ(stats.hits_redis, 2);
    TEST_EQ(stats.misses, 1);
    cache_destroy(&cache);
}

/* The header line is for people. */
static void test_readable(void **state) {
    (void)state;
    char reply[256];
    cache_t *cache = make_up(0);
    put(cache, 7);
    PUMP_UNTIL(cache, stats_of(cache).sets_done == 1);
    struct cache_key key = key_of(7);
    redis_ask(&redis, reply, sizeof reply, "GETRANGE", name_of(&key), "0", "95", NULL);
    TEST_HAS(reply, "ember1 emb dim=8 type=f32 tokens=5 truncated=0 sha=");
    cache_destroy(&cache);
}

static void test_ttl(void **state) {
    (void)state;
    enum { N = 300 };
    cache_t *cache = make_up(0);
    for (uint32_t id = 0; id < N; id++)
        put(cache, id);
    PUMP_UNTIL(cache, stats_of(cache).sets_done == N);
    long least = 1 << 30, most = 0;
    for (uint32_t id = 0; id < N; id++) {
        char reply[64];
        struct cache_key key = key_of(id);
        redis_ask(&redis, reply, sizeof reply, "TTL", name_of(&key), NULL);
        long ttl = strtol(reply + 1, NULL, 10);
        least = ttl < least ? ttl : least;
        most = ttl > most ? ttl : most;
    }
    TEST_TRUE(least >= 880 && least < 950); /* of 1,000 s +- 10 %, a few may have passed */
    TEST_TRUE(most <= 1100 && most > 1050);
    cache_destroy(&cache);
}

static void test_one_command(void **state) {
    (void)state;
    char reply[16384];
    cache_t *cache = make_up(0);
    ask_all(cache, 100);
    PUMP_UNTIL(cache, n_got == 100);
    redis_ask(&redis, reply, sizeof reply, "INFO", "commandstats", NULL);
    TEST_HAS(reply, "cmdstat_mget:calls=1,");
    ask_all(cache, 2 * LIMIT_MGET + 1); /* more than one may hold: three */
    PUMP_UNTIL(cache, n_got == 2 * LIMIT_MGET + 1);
    all_answered_once(2 * LIMIT_MGET + 1);
    redis_ask(&redis, reply, sizeof reply, "INFO", "commandstats", NULL);
    TEST_HAS(reply, "cmdstat_mget:calls=4,");
    TEST_EQ(stats_of(cache).bursts, 4);
    cache_destroy(&cache);
}

static void test_big_burst(void **state) {
    (void)state;
    enum { N = CACHE_BURSTS_MAX * LIMIT_MGET };
    cache_t *cache = make_up(0);
    for (uint32_t id = 0; id < N; id++)
        put(cache, id);
    PUMP_UNTIL(cache, stats_of(cache).sets_done == N);
    forget_answers();
    for (uint32_t i = 0; i < N; i++)
        TEST_TRUE(want(cache, i, i));
    TEST_TRUE(!want(cache, 0, 0)); /* no room for more questions: a miss at once */
    cache_flush(cache, clock_us());
    PUMP_UNTIL(cache, n_got == N);
    all_answered_once(N);
    TEST_EQ(n_hits, N);
    cache_destroy(&cache);
}

static void test_memory_in_front(void **state) {
    (void)state;
    cache_t *first = make_up(1 << 20);
    put(first, 3);
    PUMP_UNTIL(first, stats_of(first).sets_done == 1);
    struct cache_key key = key_of(3);
    struct cache_entry entry;
    TEST_TRUE(cache_get_now(first, &key, &entry));
    cache_destroy(&first);

    cache_t *second = make_up(1 << 20); /* another worker */
    TEST_TRUE(!cache_get_now(second, &key, &entry));
    TEST_TRUE(want(second, 3, 3));
    cache_flush(second, clock_us());
    PUMP_UNTIL(second, n_got == 1);
    TEST_TRUE(got[3].hit);
    TEST_TRUE(cache_get_now(second, &key, &entry));
    TEST_TRUE(entry.numbers[0] == 3 && entry.tokens == 5);
    TEST_EQ(stats_of(second).entries, 1);
    TEST_EQ(stats_of(second).hits_memory, 1);
    cache_destroy(&second);
}

static void test_labels(void **state) {
    (void)state;
    cache_t *cache = make_up(0);
    struct view names[3] = {view_of("投诉"), view_of("建议"), view_of("咨询")};
    struct key_labels labels, other_order;
    struct cache_key key;
    TEST_EQ(key_labels_init(&labels, names, 3, false, NULL), STATUS_OK);
    key_cls(maker, &model, view_of(""), view_of("text"), &labels, view_of(""), 0, &key);
    static const float scores[3] = {0.7f, 0.2f, 0.1f};
    float sorted[3];
    key_labels_to_entry(&labels, scores, sorted);
    struct cache_entry entry = {CACHE_CLS, false, 4, 3, sorted};
    cache_put(cache, &key, &entry, &labels);
    PUMP_UNTIL(cache, stats_of(cache).sets_done == 1);
    char reply[256];
    redis_ask(&redis, reply, sizeof reply, "GETRANGE", name_of(&key), "96", "-1", NULL);
    TEST_STR_EQ(reply, "{\"咨询\":0.100000001,\"建议\":0.200000003,\"投诉\":0.699999988}");

    struct view swapped[3] = {names[1], names[2], names[0]};
    TEST_EQ(key_labels_init(&other_order, swapped, 3, false, NULL), STATUS_OK);
    key_cls(maker, &model, view_of(""), view_of("text"), &other_order, view_of(""), 0, &key);
    TEST_TRUE(cache_want(cache, &key, 1, clock_us()));
    cache_flush(cache, clock_us());
    PUMP_UNTIL(cache, n_got == 1);
    TEST_TRUE(got[1].hit);
    TEST_NEAR(got[1].first, 0.1, 1e-6); /* of the label that is first in bytewise order */
    cache_destroy(&cache);
}

/* --- values that are no answer --- */

/* Two texts of one MD5 (M. Stevens, 2024): whoever wrote both must not get one's vector for the
 * other. */
static void test_collision(void **state) {
    (void)state;
    static const char *const texts[2] = {
        "TEXTCOLLBYfGiJUETHQ4hAcKSMd5zYpgqf1YRDhkmxHkhPWptrkoyz28wnI9V0aHeAuaKnak",
        "TEXTCOLLBYfGiJUETHQ4hEcKSMd5zYpgqf1YRDhkmxHkhPWptrkoyz28wnI9V0aHeAuaKnak"};
    struct cache_key keys[2];
    for (int i = 0; i < 2; i++)
        key_emb(maker, &model, view_of(""), view_of(texts[i]), false, &keys[i]);
    TEST_EQ(keys[0].name_bytes, keys[1].name_bytes);
    TEST_MEM_EQ(keys[0].name, keys[1].name, keys[0].name_bytes);
    cache_t *cache = make_up(1 << 20);
    struct cache_entry entry = {CACHE_EMB, false, 5, DIM, numbers};
    cache_put(cache, &keys[0], &entry, NULL);
    PUMP_UNTIL(cache, stats_of(cache).sets_done == 1);
    TEST_TRUE(cache_get_now(cache, &keys[0], &entry));
    TEST_TRUE(!cache_get_now(cache, &keys[1], &entry));
    TEST_TRUE(cache_want(cache, &keys[1], 1, clock_us()));
    cache_flush(cache, clock_us());
    PUMP_UNTIL(cache, n_got == 1);
    TEST_TRUE(!got[1].hit);
    TEST_EQ(stats_of(cache).value_faults[VALUE_OTHER_TEXT], 1);
    cache_destroy(&cache);
}

static void test_bad_values(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t from;      /* the entry whose bytes are stored under key 0 */
        const char *offset; /* SETRANGE there */
        const char *bytes;  /* NULL: nothing is changed */
        enum value_fault want;
    } rows[] = {
        {"as it was", 0, NULL, NULL, VALUE_OK},
        {"of another text", 1, NULL, NULL, VALUE_OTHER_TEXT},
        {"a number changed", 0, "100", "x", VALUE_CRC},
        {"the header changed", 0, "11", "D", VALUE_MALFORMED},
        {"a byte behind", 0, "128", "x", VALUE_MALFORMED},
    };
    cache_t *cache = make_up(0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        char name[LIMIT_CACHE_KEY_BYTES + 1], reply[256];
        uint64_t before = stats_of(cache).value_faults[rows[i].want];
        uint64_t done = stats_of(cache).sets_done;
        put(cache, rows[i].from);
        PUMP_UNTIL(cache, stats_of(cache).sets_done == done + 1);
        struct cache_key key = key_of(0), from = key_of(rows[i].from);
        snprintf(name, sizeof name, "%s", name_of(&key));
        if (rows[i].from != 0)
            redis_ask(&redis, reply, sizeof reply, "COPY", name_of(&from), name, "REPLACE", NULL);
        if (rows[i].bytes)
            redis_ask(&redis, reply, sizeof reply, "SETRANGE", name, rows[i].offset, rows[i].bytes,
                      NULL);
        forget_answers();
        TEST_TRUE(want(cache, 0, 0));
        cache_flush(cache, clock_us());
        PUMP_UNTIL(cache, n_got == 1);
        TEST_EQ(got[0].hit, rows[i].want == VALUE_OK);
        if (rows[i].want != VALUE_OK)
            TEST_EQ(stats_of(cache).value_faults[rows[i].want], before + 1);
    }
    struct cache_key key = key_of(0);
    char reply[64];
    redis_ask(&redis, reply, sizeof reply, "DEL", name_of(&key), NULL);
    redis_ask(&redis, reply, sizeof reply, "LPUSH", name_of(&key), "not a string", NULL);
    forget_answers();
    TEST_TRUE(want(cache, 0, 0));
    cache_flush(cache, clock_us());
    PUMP_UNTIL(cache, n_got == 1);
    TEST_TRUE(!got[0].hit && is_up(cache)); /* MGET reads another type as nil */
    cache_destroy(&cache);
}

/* --- trouble --- */

static void test_killed(void **state) {
    (void)state;
    cache_t *cache = make_up(0);
    for (uint32_t id = 0; id < 500; id++)
        put(cache, id);
    PUMP_UNTIL(cache, stats_of(cache).sets_done == 500);
    forget_answers();
    redis_kill(&redis, SIGSTOP); /* so that the burst is surely out when it dies */
    for (uint32_t i = 0; i < 500; i++)
        TEST_TRUE(want(cache, i, i));
    cache_flush(cache, clock_us());
    redis_kill(&redis, SIGKILL);
    PUMP_UNTIL(cache, n_got == 500);
    all_answered_once(500);
    TEST_EQ(n_hits, 0);
    TEST_EQ(stats_of(cache).redis_faults[CACHE_FAULT_CLOSED], 1);
    TEST_TRUE(!want(cache, 0, 0)); /* at once, nobody waits for what is down */
    PUMP_UNTIL(cache, stats_of(cache).redis_faults[CACHE_FAULT_CONNECT] >= 2);

    TEST_TRUE(redis_start_again(&redis, NULL));
    uint64_t start_us = clock_us();
    PUMP_UNTIL(cache, want(cache, 0, 0)); /* back: the breaker lets a probe through */
    TEST_TRUE(clock_us() - start_us < 4000000);
    forget_answers();
    cache_flush(cache, clock_us());
    PUMP_UNTIL(cache, n_got == 1);
    PUMP_UNTIL(cache, is_up(cache));
    uint64_t done = stats_of(cache).sets_done;
    put(cache, 0);
    PUMP_UNTIL(cache, stats_of(cache).sets_done == done + 1);
    ask_all(cache, 2);
    PUMP_UNTIL(cache, n_got == 2);
    TEST_TRUE(got[0].hit && !got[1].hit);
    cache_destroy(&cache);
}

/* Frozen in the middle of a burst, then thawed: it then answers what nobody waits for any more. */
static void test_frozen(void **state) {
    (void)state;
    cache_t *cache = make(redis.url, 0, 500000);
    PUMP_UNTIL(cache, is_up(cache));
    for (uint32_t id = 0; id < 100; id++)
        put(cache, id);
    PUMP_UNTIL(cache, stats_of(cache).sets_done == 100);
    for (int round = 0; round < 2; round++) {
        redis_kill(&redis, SIGSTOP);
        uint64_t start_us = clock_us();
        ask_all(cache, 50);
        PUMP_UNTIL(cache, n_got == 50);
        uint64_t took_us = clock_us() - start_us;
        all_answered_once(50);
        TEST_EQ(n_hits, 0);
        TEST_TRUE(took_us >= 500000 && took_us < 5000000);
        redis_kill(&redis, SIGCONT);
        /* Other texts under the same tokens: an old reply would bring the wrong number. */
        PUMP_UNTIL(cache, is_up(cache));
        forget_answers();
        for (uint32_t i = 0; i < 50; i++)
            TEST_TRUE(want(cache, 99 - i, i));
        cache_flush(cache, clock_us());
        PUMP_UNTIL(cache, n_got == 50);
        for (uint32_t i = 0; i < 50; i++)
            TEST_TRUE(got[i].hit && got[i].first == (float)(99 - i));
    }
    TEST_EQ(stats_of(cache).redis_faults[CACHE_FAULT_TIMEOUT], 2);
    cache_destroy(&cache);
}

/* Frozen before anybody asks: found out by the login, at nobody's cost. */
static void test_frozen_at_login(void **state) {
    (void)state;
    redis_kill(&redis, SIGSTOP);
    cache_t *cache = make(redis.url, 0, 0);
    PUMP_UNTIL(cache, stats_of(cache).redis_faults[CACHE_FAULT_CONNECT] >= 1);
    TEST_TRUE(!want(cache, 0, 0));
    redis_kill(&redis, SIGCONT);
    PUMP_UNTIL(cache, stats_of(cache).connects == 1);
    cache_destroy(&cache);
}

static void test_destroy(void **state) {
    (void)state;
    cache_t *cache = make_up(0);
    for (uint32_t i = 0; i < 300; i++)
        put(cache, i);
    redis_kill(&redis, SIGSTOP);
    ask_all(cache, 300);
    TEST_TRUE(want(cache, 300, 300)); /* one that is not even sent */
    cache_destroy(&cache);
    redis_kill(&redis, SIGCONT);
    all_answered_once(301);
    TEST_EQ(n_hits, 0);
}

static void test_password(void **state) {
    (void)state;
    char reply[64], url[192];
    redis_ask(&redis, reply, sizeof reply, "ACL", "SETUSER", "ember", "on", ">s3cret", "~ember:*",
              "+get", "+mget", "+set", "+ping", "+select", NULL);
    redis_ask(&redis, reply, sizeof reply, "ACL", "SETUSER", "default", ">other", NULL);
    redis_ask(&redis, reply, sizeof reply, "CONFIG", "SET", "requirepass", "other", NULL);
    cache_t *cache = make(redis.url, 0, 0); /* unix:// carries no password */
    PUMP_UNTIL(cache, stats_of(cache).redis_faults[CACHE_FAULT_AUTH] >= 3);
    TEST_TRUE(!want(cache, 0, 0));
    TEST_EQ(stats_of(cache).connects, 0);
    cache_destroy(&cache);
    static const struct {
        const char *login;
        bool fine;
    } rows[] = {
        {":other", true}, {"ember:s3cret", true}, {"ember:wrong", false}, {":wrong", false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].login);
        snprintf(url, sizeof url, "redis://%s@127.0.0.1:%s/3", rows[i].login, redis.port);
        cache = make(url, 0, 2000000);
        if (rows[i].fine) {
            PUMP_UNTIL(cache, is_up(cache));
            put(cache, (uint32_t)i);
            PUMP_UNTIL(cache, stats_of(cache).sets_done == 1);
            TEST_TRUE(want(cache, (uint32_t)i, 0));
            cache_flush(cache, clock_us());
            PUMP_UNTIL(cache, n_got == 1);
            TEST_TRUE(got[0].hit);
        } else {
            PUMP_UNTIL(cache, stats_of(cache).redis_faults[CACHE_FAULT_AUTH] >= 1);
            TEST_EQ(stats_of(cache).connects, 0);
        }
        cache_destroy(&cache);
    }
    redis_kill(&redis, SIGKILL); /* and with it its passwords */
}

static void test_database(void **state) {
    (void)state;
    char reply[256], url[64];
    snprintf(url, sizeof url, "redis://127.0.0.1:%s/3", redis.port);
    cache_t *cache = make(url, 0, 2000000);
    PUMP_UNTIL(cache, is_up(cache));
    put(cache, 0);
    PUMP_UNTIL(cache, stats_of(cache).sets_done == 1);
    redis_ask(&redis, reply, sizeof reply, "INFO", "keyspace", NULL);
    TEST_HAS(reply, "db3:keys=1,");
    TEST_TRUE(!strstr(reply, "db0:"));
    cache_destroy(&cache);
}

/* A server that takes no SET still answers questions. */
static void test_refuses_sets(void **state) {
    (void)state;
    static const struct {
        const char *name, *command[4];
        enum cache_fault fault;
    } rows[] = {
        {"full", {"CONFIG", "SET", "maxmemory", "1"}, CACHE_FAULT_OOM},
        {"replica", {"REPLICAOF", "127.0.0.1", "1", NULL}, CACHE_FAULT_READONLY},
    };
    char reply[64];
    cache_t *cache = make_up(0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        uint64_t done = stats_of(cache).sets_done;
        put(cache, 0);
        PUMP_UNTIL(cache, stats_of(cache).sets_done == done + 1);
        redis_ask(&redis, reply, sizeof reply, rows[i].command[0], rows[i].command[1],
                  rows[i].command[2], rows[i].command[3], NULL);
        for (uint32_t id = 1; id < 200; id++)
            put(cache, id);
        PUMP_UNTIL(cache, stats_of(cache).redis_faults[rows[i].fault] >= 3);
        ask_all(cache, 1);
        PUMP_UNTIL(cache, n_got == 1);
        TEST_TRUE(got[0].hit && is_up(cache));
        /* Left alone after the failures: not all 199 are tried. */
        uint64_t end_us = clock_us() + 200000;
        while (clock_us() < end_us)
            step(cache, 20000);
        TEST_TRUE(stats_of(cache).redis_faults[rows[i].fault] < 150);
        redis_ask(&redis, reply, sizeof reply, "CONFIG", "SET", "maxmemory", "0", NULL);
        redis_ask(&redis, reply, sizeof reply, "REPLICAOF", "NO", "ONE", NULL);
        PUMP_UNTIL(cache, stats_of(cache).sets_queued == 0); /* after a second it is well again */
        PUMP_UNTIL(cache, stats_of(cache).sets_done + stats_of(cache).sets_dropped ==
                              stats_of(cache).puts);
    }
    TEST_EQ(stats_of(cache).connects, 1);
    cache_destroy(&cache);
}

static void test_nobody_there(void **state) {
    (void)state;
    cache_t *cache = make("redis://127.0.0.1:1", 1 << 20, 0);
    PUMP_UNTIL(cache, stats_of(cache).redis_faults[CACHE_FAULT_CONNECT] >= 2);
    TEST_TRUE(!want(cache, 0, 0));
    for (uint32_t i = 0; i < LIMIT_SETS_QUEUED + 100; i++)
        put(cache, i);
    TEST_EQ(stats_of(cache).sets_queued, LIMIT_SETS_QUEUED);
    TEST_EQ(stats_of(cache).sets_dropped, 100);
    struct cache_key key = key_of(LIMIT_SETS_QUEUED);
    struct cache_entry entry;
    TEST_TRUE(cache_get_now(cache, &key, &entry)); /* memory does not care */
    cache_destroy(&cache);
    cache = make("unix:///nowhere/at/all", 0, 0);
    PUMP_UNTIL(cache, stats_of(cache).redis_faults[CACHE_FAULT_CONNECT] >= 1);
    cache_destroy(&cache);
    cache = make(NULL, 0, 0); /* no Redis, no memory: a cache that knows nothing */
    TEST_TRUE(!want(cache, 0, 0) && cache_fd(cache) == -1);
    TEST_TRUE(cache_deadline_us(cache) == UINT64_MAX);
    put(cache, 0);
    cache_destroy(&cache);
}

static void test_bench(void **state) {
    (void)state;
    if (!getenv("EMBER_BENCH"))
        return;
    enum { N = 128, ROUNDS = 400 };
    struct err err;
    TEST_EQ(key_model_init(&model, "m", "0123abcd", 384, &err), STATUS_OK);
    cache_t *cache = make_up(0);
    static float vector[384];
    for (uint32_t i = 0; i < N; i++) {
        struct cache_key key = key_of(i);
        struct cache_entry entry = {CACHE_EMB, false, 5, 384, vector};
        cache_put(cache, &key, &entry, NULL);
    }
    PUMP_UNTIL(cache, stats_of(cache).sets_done == N);
    uint64_t start_us = clock_us();
    for (uint32_t i = 0; i < ROUNDS; i++) {
        ask_all(cache, N);
        PUMP_UNTIL(cache, n_got == N);
    }
    double us = (double)(clock_us() - start_us) / (N * ROUNDS);
    start_us = clock_us();
    for (uint32_t i = 0; i < N * ROUNDS; i++)
        (void)key_of(i);
    printf("%d keys of 384 numbers per MGET: %.2f us per key, of which making the key %.2f us\n", N,
           us, (double)(clock_us() - start_us) / (N * ROUNDS));
    cache_destroy(&cache);
}

int main(void) {
    struct err err;
    if (!redis_start(&redis, true)) {
        printf("redis-server is not installed\n");
        return TEST_SKIPPED;
    }
    if (key_maker_new(&maker, &err) != STATUS_OK ||
        key_model_init(&model, "m", "0123abcd", DIM, &err) != STATUS_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_hit_and_miss, fresh),
        cmocka_unit_test_setup(test_readable, fresh),
        cmocka_unit_test_setup(test_ttl, fresh),
        cmocka_unit_test_setup(test_one_command, fresh),
        cmocka_unit_test_setup(test_big_burst, fresh),
        cmocka_unit_test_setup(test_memory_in_front, fresh),
        cmocka_unit_test_setup(test_labels, fresh),
        cmocka_unit_test_setup(test_collision, fresh),
        cmocka_unit_test_setup(test_bad_values, fresh),
        cmocka_unit_test_setup(test_killed, fresh),
        cmocka_unit_test_setup(test_frozen, fresh),
        cmocka_unit_test_setup(test_frozen_at_login, fresh),
        cmocka_unit_test_setup(test_destroy, fresh),
        cmocka_unit_test_setup(test_password, fresh),
        cmocka_unit_test_setup(test_database, fresh),
        cmocka_unit_test_setup(test_refuses_sets, fresh),
        cmocka_unit_test_setup(test_nobody_there, fresh),
        cmocka_unit_test_setup(test_bench, fresh),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    key_maker_destroy(&maker);
    redis_stop(&redis);
    return failed;
}
