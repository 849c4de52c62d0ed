/* cache_people.c - hiredis' blocking calls, a step of SCAN at a time, with the questions about
 * its keys in one pipeline. After an error of the connection nothing more is asked on it: hiredis
 * keeps the error, and a late reply can not be taken for the next one's. */
#include "cache/cache_people.h"

#include "cache/redis_url.h"

#include <hiredis/hiredis.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

enum { SCAN_COUNT = 1000 };

struct cache_people {
    redisContext *redis;
};

static enum status connection_error(cache_people_t *self, struct err *err) {
    return err_set(err, STATUS_UNAVAILABLE, "redis: %s", self->redis->errstr);
}

/* The reply, checked for being there and no error. Takes and frees it when it is neither. */
static enum status check_reply(cache_people_t *self, redisReply **reply, struct err *err) {
    if (!*reply)
        return connection_error(self, err);
    if ((*reply)->type != REDIS_REPLY_ERROR)
        return STATUS_OK;
    const char *text = (*reply)->str;
    enum status st = STATUS_FAILED_PRECONDITION;
    if (strncmp(text, "NOAUTH", 6) == 0 || strncmp(text, "WRONGPASS", 9) == 0)
        st = STATUS_UNAUTHENTICATED;
    else if (strncmp(text, "NOPERM", 6) == 0)
        st = STATUS_PERMISSION_DENIED;
    st = err_set(err, st, "redis says: %s", text);
    freeReplyObject(*reply);
    *reply = NULL;
    return st;
}

/* Ask, and have a reply of the given type in *out; the caller frees it. */
static enum status ask(cache_people_t *self, int type, redisReply **out, struct err *err, int argc,
                       const char **argv, const size_t *bytes) {
    redisReply *reply = redisCommandArgv(self->redis, argc, argv, bytes);
    enum status st = check_reply(self, &reply, err);
    if (st == STATUS_OK && reply->type != type && reply->type != REDIS_REPLY_NIL) {
        freeReplyObject(reply);
        st = err_set(err, STATUS_DATA_LOSS, "redis: a reply of another type to %s", argv[0]);
    }
    if (st == STATUS_OK)
        *out = reply;
    return st;
}

static enum status log_in(cache_people_t *self, const struct redis_url *url, struct err *err) {
    redisReply *reply = NULL;
    enum status st = STATUS_OK;
    if (url->password[0]) {
        const char *argv[3] = {"AUTH", url->user, url->password};
        if (!url->user[0])
            argv[1] = url->password;
        st = ask(self, REDIS_REPLY_STATUS, &reply, err, url->user[0] ? 3 : 2, argv, NULL);
        if (st != STATUS_OK)
            return st;
        freeReplyObject(reply);
    }
    char db[16];
    snprintf(db, sizeof db, "%u", url->db);
    const char *select[2] = {"SELECT", db};
    st = ask(self, REDIS_REPLY_STATUS, &reply, err, 2, select, NULL);
    if (st == STATUS_OK)
        freeReplyObject(reply);
    return st;
}

enum status cache_people_open(const char *url_text, uint32_t timeout_ms, cache_people_t **out,
                              struct err *err) {
    struct redis_url url;
    enum status st = redis_url_parse(url_text, &url, err);
    if (st != STATUS_OK)
        return st;
    struct timeval timeout = {timeout_ms / 1000, (suseconds_t)(timeout_ms % 1000 * 1000)};
    cache_people_t *self = calloc(1, sizeof *self);
    if (self)
        self->redis =
            url.is_unix
                ? redisConnectUnixWithTimeout(url.host, timeout)
                : redisConnectWithTimeout(url.host, (int)strtoul(url.port, NULL, 10), timeout);
    if (!self || !self->redis)
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for a connection to Redis");
    else if (self->redis->err)
        st = err_set(err, STATUS_UNAVAILABLE, "redis at '%s': %s", url.host, self->redis->errstr);
    else if (redisSetTimeout(self->redis, timeout) != REDIS_OK)
        st = connection_error(self, err);
    else
        st = log_in(self, &url, err);
    if (st != STATUS_OK) {
        cache_people_close(&self);
        return st;
    }
    *out = self;
    return STATUS_OK;
}

void cache_people_close(cache_people_t **self) {
    if (!*self)
        return;
    if ((*self)->redis)
        redisFree((*self)->redis);
    free(*self);
    *self = NULL;
}

enum status cache_people_get(cache_people_t *self, struct view key, char *out, size_t out_bytes,
                             size_t *bytes, int64_t *ttl_s, struct err *err) {
    const char *argv[2] = {"GET", key.data};
    const size_t argl[2] = {3, key.bytes};
    redisReply *reply = NULL;
    enum status st = ask(self, REDIS_REPLY_STRING, &reply, err, 2, argv, argl);
    if (st != STATUS_OK)
        return st;
    if (reply->type == REDIS_REPLY_NIL)
        st = err_set(err, STATUS_NOT_FOUND, "no entry '%.*s'", (int)key.bytes, key.data);
    else if (reply->len > out_bytes)
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED,
                     "the entry has %zu bytes, at most %zu are read", reply->len, out_bytes);
    size_t got = reply->len;
    if (st == STATUS_OK)
        memcpy(out, reply->str, got);
    freeReplyObject(reply);
    if (st != STATUS_OK)
        return st;
    const char *ttl_argv[2] = {"TTL", key.data};
    st = ask(self, REDIS_REPLY_INTEGER, &reply, err, 2, ttl_argv, argl);
    if (st != STATUS_OK)
        return st;
    *bytes = got;
    *ttl_s = reply->integer;
    freeReplyObject(reply);
    return STATUS_OK;
}

/* --- walking --- */

/* One step of SCAN: *out holds the keys, *cursor is moved on ("0": that was all). */
static enum status scan_step(cache_people_t *self, const char *pattern, char cursor[32],
                             redisReply **out, struct err *err) {
    char count[16];
    snprintf(count, sizeof count, "%d", SCAN_COUNT);
    const char *argv[6] = {"SCAN", cursor, "COUNT", count, "MATCH", pattern};
    redisReply *reply = NULL;
    enum status st = ask(self, REDIS_REPLY_ARRAY, &reply, err, pattern ? 6 : 4, argv, NULL);
    if (st != STATUS_OK)
        return st;
    bool fine = reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
                reply->element[0]->type == REDIS_REPLY_STRING && reply->element[0]->len < 32 &&
                reply->element[1]->type == REDIS_REPLY_ARRAY;
    for (size_t i = 0; fine && i < reply->element[1]->elements; i++)
        fine = reply->element[1]->element[i]->type == REDIS_REPLY_STRING;
    if (!fine) {
        freeReplyObject(reply);
        return err_set(err, STATUS_DATA_LOSS, "redis: SCAN was answered in another form");
    }
    memcpy(cursor, reply->element[0]->str, reply->element[0]->len + 1);
    *out = reply;
    return STATUS_OK;
}

/* "ember:<model>@<fingerprint8>:<kind>:<32 hex>" into its parts; false for any other key. */
static bool split_key(struct view key, struct cache_people_group *out) {
    if (key.bytes < 6 || memcmp(key.data, "ember:", 6) != 0)
        return false;
    const char *model = key.data + 6, *end = key.data + key.bytes;
    const char *colon = memchr(model, ':', (size_t)(end - model));
    const char *kind = colon ? colon + 1 : NULL;
    const char *last = kind ? memchr(kind, ':', (size_t)(end - kind)) : NULL;
    if (!last || end - last != 33 || (size_t)(colon - model) >= sizeof out->model ||
        (size_t)(last - kind) >= sizeof out->kind || !memchr(model, '@', (size_t)(colon - model)))
        return false;
    *out = (struct cache_people_group){0};
    memcpy(out->model, model, (size_t)(colon - model));
    memcpy(out->kind, kind, (size_t)(last - kind));
    return true;
}

static int compare_groups(const struct cache_people_group *a, const struct cache_people_group *b) {
    int order = strcmp(a->model, b->model);
    return order ? order : strcmp(a->kind, b->kind);
}

/* The group of the same names, made where it belongs when it is new; NULL when there are too
 * many. */
static struct cache_people_group *find_group(struct cache_people_stat *stat,
                                             const struct cache_people_group *name) {
    uint32_t i = 0;
    while (i < stat->n_groups && compare_groups(&stat->groups[i], name) < 0)
        i++;
    if (i < stat->n_groups && compare_groups(&stat->groups[i], name) == 0)
        return &stat->groups[i];
    if (stat->n_groups == CACHE_PEOPLE_GROUPS)
        return NULL;
    memmove(&stat->groups[i + 1], &stat->groups[i], (stat->n_groups++ - i) * sizeof *stat->groups);
    stat->groups[i] = *name;
    return &stat->groups[i];
}

/* Count the keys of one step, and ask in one pipeline what they take. */
static enum status count_keys(cache_people_t *self, const redisReply *keys,
                              struct cache_people_stat *stat, struct err *err) {
    for (size_t i = 0; i < keys->elements; i++) {
        const char *argv[3] = {"MEMORY", "USAGE", keys->element[i]->str};
        const size_t bytes[3] = {6, 5, keys->element[i]->len};
        if (redisAppendCommandArgv(self->redis, 3, argv, bytes) != REDIS_OK)
            return connection_error(self, err);
    }
    enum status st = STATUS_OK;
    for (size_t i = 0; i < keys->elements; i++) {
        redisReply *reply = NULL;
        struct err *first = st == STATUS_OK ? err : NULL;
        if (redisGetReply(self->redis, (void **)&reply) != REDIS_OK)
            return connection_error(self, first);
        enum status one =
            check_reply(self, &reply, first); /* all are taken, the first error told */
        st = st == STATUS_OK ? one : st;
        if (one != STATUS_OK)
            continue;
        struct cache_people_group name;
        uint64_t used = reply->type == REDIS_REPLY_INTEGER ? (uint64_t)reply->integer : 0;
        freeReplyObject(reply); /* nil: it has expired since */
        if (used == 0)
            continue;
        if (!split_key(view_make(keys->element[i]->str, keys->element[i]->len), &name)) {
            stat->others++;
            continue;
        }
        stat->keys++;
        stat->bytes += used;
        struct cache_people_group *group = find_group(stat, &name);
        if (group) {
            group->keys++;
            group->bytes += used;
        }
    }
    return st;
}

/* The value behind "\n<name>:" of INFO; empty when it is not there. */
static struct view info_field(const redisReply *info, const char *name) {
    char mark[40];
    int bytes = snprintf(mark, sizeof mark, "\n%s:", name);
    const char *at = strstr(info->str, mark);
    return at ? view_make(at + bytes, strcspn(at + bytes, "\r\n")) : view_make("", 0);
}

static uint64_t info_number(const redisReply *info, const char *name) {
    return strtoull(info_field(info, name).data, NULL, 10);
}

static void info_text(const redisReply *info, const char *name, char *out, size_t out_bytes) {
    struct view text = info_field(info, name);
    snprintf(out, out_bytes, "%.*s", (int)text.bytes, text.data);
}

static enum status server_info(cache_people_t *self, struct cache_people_stat *stat,
                               struct err *err) {
    redisReply *info = NULL;
    const char *argv[1] = {"INFO"};
    enum status st = ask(self, REDIS_REPLY_STRING, &info, err, 1, argv, NULL);
    if (st != STATUS_OK)
        return st;
    if (info->type == REDIS_REPLY_STRING) {
        info_text(info, "redis_version", stat->version, sizeof stat->version);
        info_text(info, "maxmemory_policy", stat->policy, sizeof stat->policy);
        stat->used_bytes = info_number(info, "used_memory");
        stat->max_bytes = info_number(info, "maxmemory");
        stat->hits = info_number(info, "keyspace_hits");
        stat->misses = info_number(info, "keyspace_misses");
        stat->evicted = info_number(info, "evicted_keys");
        stat->expired = info_number(info, "expired_keys");
    }
    freeReplyObject(info);
    return STATUS_OK;
}

enum status cache_people_stat(cache_people_t *self, cache_people_progress_fn *progress, void *arg,
                              struct cache_people_stat *out, struct err *err) {
    struct cache_people_stat stat = {0};
    char cursor[32] = "0";
    uint64_t seen = 0;
    enum status st = server_info(self, &stat, err);
    if (st != STATUS_OK)
        return st;
    do {
        redisReply *reply = NULL;
        st = scan_step(self, NULL, cursor, &reply, err);
        if (st != STATUS_OK)
            return st;
        seen += reply->element[1]->elements;
        st = count_keys(self, reply->element[1], &stat, err);
        freeReplyObject(reply);
        if (st == STATUS_OK && progress && !progress(arg, seen, 0))
            st = err_set(err, STATUS_CANCELLED, "ended early");
        if (st != STATUS_OK)
            return st;
    } while (strcmp(cursor, "0") != 0);
    *out = stat;
    return STATUS_OK;
}

/* "ember:<model>@*" or "ember:<model>@<fingerprint8>:*"; false when the name may be none of ours,
 * which also keeps a pattern out of it. */
static bool make_pattern(const char *model, char *out, size_t out_bytes) {
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    if (!model)
        return snprintf(out, out_bytes, "ember:*") > 0;
    size_t name = strspn(model, allowed);
    size_t fingerprint = model[name] == '@' ? strspn(model + name + 1, "0123456789abcdef") : 0;
    if (name == 0 || name > LIMIT_NAME_BYTES)
        return false;
    if (model[name] == '\0')
        return snprintf(out, out_bytes, "ember:%s@*", model) < (int)out_bytes;
    return fingerprint == 8 && model[name + 9] == '\0' &&
           snprintf(out, out_bytes, "ember:%s:*", model) < (int)out_bytes;
}

static enum status unlink_keys(cache_people_t *self, const redisReply *keys, uint64_t *removed,
                               struct err *err) {
    if (keys->elements == 0)
        return STATUS_OK;
    size_t n = keys->elements + 1;
    const char **argv = calloc(n, sizeof *argv);
    size_t *bytes = calloc(n, sizeof *bytes);
    enum status st = STATUS_OK;
    if (!argv || !bytes)
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for %zu keys", n);
    for (size_t i = 0; st == STATUS_OK && i < n; i++) {
        argv[i] = i ? keys->element[i - 1]->str : "UNLINK";
        bytes[i] = i ? keys->element[i - 1]->len : 6;
    }
    redisReply *reply = NULL;
    if (st == STATUS_OK)
        st = ask(self, REDIS_REPLY_INTEGER, &reply, err, (int)n, argv, bytes);
    if (st == STATUS_OK) {
        *removed += (uint64_t)reply->integer;
        freeReplyObject(reply);
    }
    free(argv);
    free(bytes);
    return st;
}

enum status cache_people_purge(cache_people_t *self, const char *model,
                               cache_people_progress_fn *progress, void *arg, uint64_t *removed,
                               struct err *err) {
    char pattern[LIMIT_CACHE_KEY_BYTES], cursor[32] = "0";
    uint64_t seen = 0;
    *removed = 0;
    if (!make_pattern(model, pattern, sizeof pattern))
        return err_set(err, STATUS_INVALID_ARGUMENT,
                       "'%.80s' is neither a model's name nor name@fingerprint8", model);
    do {
        redisReply *reply = NULL;
        enum status st = scan_step(self, pattern, cursor, &reply, err);
        if (st != STATUS_OK)
            return st;
        seen += reply->element[1]->elements;
        st = unlink_keys(self, reply->element[1], removed, err);
        freeReplyObject(reply);
        if (st == STATUS_OK && progress && !progress(arg, seen, *removed))
            st = err_set(err, STATUS_CANCELLED, "ended early");
        if (st != STATUS_OK)
            return st;
    } while (strcmp(cursor, "0") != 0);
    return STATUS_OK;
}
