/* cache_people_test.c - what `ember cache` stands on, against a real Redis with entries of three
 * models and keys of others. */
#include "cache/cache_people.h"
#include "cache/value.h"
#include "support/redis_proc.h"

static struct redis_proc redis;
static key_maker_t *maker;

/* Store `n` entries as a worker would; both kinds for a `cls`. */
static void store(const char *model_name, const char *fingerprint, uint32_t n, bool left) {
    struct key_model model;
    char value[1024], reply[64], text[16];
    static const float numbers[4] = {1, 2, 3, 4};
    TEST_EQ(key_model_init(&model, model_name, fingerprint, 4, NULL), STATUS_OK);
    for (uint32_t i = 0; i < n; i++) {
        struct cache_key key;
        struct cache_entry entry = {CACHE_EMB, false, 7, 4, numbers};
        snprintf(text, sizeof text, "%u", i);
        key_emb(maker, &model, view_of(""), view_of(text), left, &key);
        size_t bytes = value_write(&key, &entry, NULL, value, sizeof value);
        const char *args[] = {"SET", key.name, value, "EX", "500"};
        const size_t arg_bytes[] = {3, key.name_bytes, bytes, 2, 3};
        redis_ask_v(&redis, reply, sizeof reply, args, arg_bytes, 5);
        TEST_STR_EQ(reply, "+OK");
    }
}

static cache_people_t *people;

static int fill(void **state) {
    (void)state;
    char reply[64];
    struct err err;
    redis_ask(&redis, reply, sizeof reply, "FLUSHALL", NULL);
    store("mini", "0123abcd", 1500, false); /* more than one step of SCAN */
    store("mini", "0123abcd", 5, true);
    store("mini", "ffffffff", 7, false);
    store("mini2", "0123abcd", 11, false);
    redis_ask(&redis, reply, sizeof reply, "SET", "session:1", "not ours", NULL);
    redis_ask(&redis, reply, sizeof reply, "SET", "ember:odd", "nor this", NULL);
    if (!people && cache_people_open(redis.url, 2000, &people, &err) != STATUS_OK)
        TEST_FAIL("%s", err.text);
    return 0;
}

static void test_get(void **state) {
    (void)state;
    struct key_model model;
    struct cache_key key;
    struct err err;
    char value[256];
    size_t bytes;
    int64_t ttl_s;
    TEST_EQ(key_model_init(&model, "mini", "0123abcd", 4, NULL), STATUS_OK);
    key_emb(maker, &model, view_of(""), view_of("3"), false, &key);
    struct view name = view_make(key.name, key.name_bytes);
    TEST_EQ(cache_people_get(people, name, value, sizeof value, &bytes, &ttl_s, &err), STATUS_OK);
    struct value_facts facts;
    TEST_EQ(value_facts(view_make(value, bytes), &facts), VALUE_OK);
    TEST_TRUE(facts.n == 4 && facts.tokens == 7 && facts.payload.bytes == 16);
    TEST_TRUE(ttl_s > 450 && ttl_s <= 500);
    TEST_EQ(cache_people_get(people, name, value, 111, &bytes, &ttl_s, &err),
            STATUS_RESOURCE_EXHAUSTED);
    TEST_EQ(
        cache_people_get(people, view_of("ember:no"), value, sizeof value, &bytes, &ttl_s, &err),
        STATUS_NOT_FOUND);
    TEST_EQ(
        cache_people_get(people, view_of("session:1"), value, sizeof value, &bytes, &ttl_s, &err),
        STATUS_OK);
    TEST_EQ(ttl_s, -1);
    char reply[64];
    redis_ask(&redis, reply, sizeof reply, "LPUSH", "list", "x", NULL);
    TEST_EQ(cache_people_get(people, view_of("list"), value, sizeof value, &bytes, &ttl_s, &err),
            STATUS_FAILED_PRECONDITION);
    TEST_HAS(err.text, "WRONGTYPE");
}

static bool count_calls(void *arg, uint64_t seen, uint64_t removed) {
    (void)removed;
    (void)seen;
    return ++*(int *)arg < 1000;
}

static bool stop_at_once(void *arg, uint64_t seen, uint64_t removed) {
    (void)arg;
    (void)seen;
    (void)removed;
    return false;
}

static void test_stat(void **state) {
    (void)state;
    static const struct {
        const char *model, *kind;
        uint64_t keys;
    } want[] = {{"mini2@0123abcd", "emb", 11},
                {"mini@0123abcd", "emb", 1500},
                {"mini@0123abcd", "emb+left", 5},
                {"mini@ffffffff", "emb", 7}};
    struct cache_people_stat stat;
    struct err err;
    int calls = 0;
    TEST_EQ(cache_people_stat(people, count_calls, &calls, &stat, &err), STATUS_OK);
    TEST_TRUE(calls >= 2);
    TEST_EQ(stat.n_groups, 4);
    for (size_t i = 0; i < 4; i++) {
        TEST_ROW(want[i].model);
        TEST_STR_EQ(stat.groups[i].model, want[i].model);
        TEST_STR_EQ(stat.groups[i].kind, want[i].kind);
        TEST_EQ(stat.groups[i].keys, want[i].keys);
        TEST_TRUE(stat.groups[i].bytes > want[i].keys * 112);
    }
    TEST_EQ(stat.keys, 1523);
    TEST_EQ(stat.others, 2);
    TEST_TRUE(stat.version[0] && stat.policy[0] && stat.used_bytes > 100000 && stat.max_bytes == 0);
    TEST_EQ(cache_people_stat(people, stop_at_once, NULL, &stat, &err), STATUS_CANCELLED);
}

static uint64_t keys_left(void) {
    char reply[64];
    redis_ask(&redis, reply, sizeof reply, "DBSIZE", NULL);
    return strtoull(reply + 1, NULL, 10);
}

static void test_purge(void **state) {
    (void)state;
    static const struct {
        const char *name, *model;
        uint64_t removed;
        enum status status;
    } rows[] = {
        {"one fingerprint", "mini@ffffffff", 7, STATUS_OK},
        {"again", "mini@ffffffff", 0, STATUS_OK},
        {"a pattern", "mini*", 0, STATUS_INVALID_ARGUMENT},
        {"a set", "min[i]", 0, STATUS_INVALID_ARGUMENT},
        {"all by pattern", "*", 0, STATUS_INVALID_ARGUMENT},
        {"nothing", "", 0, STATUS_INVALID_ARGUMENT},
        {"half a fingerprint", "mini@0123", 0, STATUS_INVALID_ARGUMENT},
        {"something behind", "mini@0123abcd:emb", 0, STATUS_INVALID_ARGUMENT},
        {"a model, not its longer namesake", "mini", 1505, STATUS_OK},
        {"the rest of ours", NULL, 12, STATUS_OK},
    };
    uint64_t left = keys_left();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TEST_ROW(rows[i].name);
        uint64_t removed = 99;
        int calls = 0;
        struct err err;
        TEST_EQ(cache_people_purge(people, rows[i].model, count_calls, &calls, &removed, &err),
                rows[i].status);
        TEST_EQ(removed, rows[i].removed);
        left -= removed;
        TEST_EQ(keys_left(), left);
    }
    TEST_EQ(left, 1); /* session:1 */
}

static void test_trouble(void **state) {
    (void)state;
    cache_people_t *other = NULL;
    struct err err;
    char reply[64], url[160];
    TEST_EQ(cache_people_open("redis://127.0.0.1:1", 500, &other, &err), STATUS_UNAVAILABLE);
    TEST_EQ(cache_people_open("unix:///nowhere", 500, &other, &err), STATUS_UNAVAILABLE);
    TEST_EQ(cache_people_open("nonsense", 500, &other, &err), STATUS_INVALID_ARGUMENT);
    redis_kill(&redis, SIGSTOP);
    TEST_EQ(cache_people_open(redis.url, 100, &other, &err), STATUS_UNAVAILABLE);
    redis_kill(&redis, SIGCONT);
    redis_ask(&redis, reply, sizeof reply, "ACL", "SETUSER", "looker", "on", ">pw", "~*", "+get",
              "+ttl", "+select", NULL);
    redis_ask(&redis, reply, sizeof reply, "CONFIG", "SET", "requirepass", "pw", NULL);
    TEST_EQ(cache_people_open(redis.url, 500, &other, &err), STATUS_UNAUTHENTICATED);
    snprintf(url, sizeof url, "redis://:no@127.0.0.1:%s", redis.port);
    TEST_EQ(cache_people_open(url, 500, &other, &err), STATUS_UNAUTHENTICATED);
    TEST_TRUE(other == NULL);
    snprintf(url, sizeof url, "redis://looker:pw@127.0.0.1:%s/1", redis.port);
    TEST_EQ(cache_people_open(url, 500, &other, &err), STATUS_OK);
    struct cache_people_stat stat;
    uint64_t removed;
    TEST_EQ(cache_people_stat(other, NULL, NULL, &stat, &err), STATUS_PERMISSION_DENIED);
    TEST_EQ(cache_people_purge(other, NULL, NULL, NULL, &removed, &err), STATUS_PERMISSION_DENIED);
    cache_people_close(&other);
    redis_kill(&redis, SIGKILL);
    TEST_EQ(cache_people_stat(people, NULL, NULL, &stat, &err), STATUS_UNAVAILABLE);
    cache_people_close(&people);
    cache_people_close(&people);
}

int main(void) {
    struct err err;
    signal(SIGPIPE, SIG_IGN); /* as the header asks */
    if (!redis_start(&redis, true)) {
        printf("redis-server is not installed\n");
        return TEST_SKIPPED;
    }
    if (key_maker_new(&maker, &err) != STATUS_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_get, fill), cmocka_unit_test_setup(test_stat, fill),
        cmocka_unit_test_setup(test_purge, fill), cmocka_unit_test_setup(test_trouble, fill)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    key_maker_destroy(&maker);
    redis_stop(&redis);
    return failed;
}
