/* json.c - cJSON between a check in front (UTF-8, depth) and one behind (duplicate keys). */
#include "json/json.h"

#include "base/limits.h"
#include "base/utf8.h"

#include <cjson/cJSON.h>

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Deepest nesting of a text, strings skipped; cJSON recurses, so this is checked before it. */
static uint32_t nesting(struct view text) {
    uint32_t depth = 0, deepest = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.bytes; i++) {
        char c = text.data[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            depth++;
            deepest = depth > deepest ? depth : deepest;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return deepest;
}

static int compare_keys(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A key twice in one object: two readers could take different ones, so neither is right. */
static enum status check_keys(const cJSON *object, const char **keys, const char **twice) {
    size_t n = 0;
    for (const cJSON *m = object->child; m; m = m->next)
        keys[n++] = m->string;
    qsort(keys, n, sizeof *keys, compare_keys);
    for (size_t i = 1; i < n; i++)
        if (strcmp(keys[i - 1], keys[i]) == 0) {
            *twice = keys[i];
            return STATUS_DATA_LOSS;
        }
    return STATUS_OK;
}

static size_t widest_object(const cJSON *value) {
    size_t widest = 0;
    if (cJSON_IsObject(value))
        widest = (size_t)cJSON_GetArraySize(value);
    for (const cJSON *m = value->child; m; m = m->next) {
        size_t n = m->child ? widest_object(m) : 0;
        widest = n > widest ? n : widest;
    }
    return widest;
}

static enum status check_all_keys(const cJSON *value, const char **keys, const char **twice) {
    enum status st = cJSON_IsObject(value) ? check_keys(value, keys, twice) : STATUS_OK;
    for (const cJSON *m = value->child; m && st == STATUS_OK; m = m->next)
        if (m->child)
            st = check_all_keys(m, keys, twice);
    return st;
}

static enum status no_duplicates(const cJSON *root, const char *what, struct err *err) {
    size_t n = widest_object(root);
    if (n < 2)
        return STATUS_OK;
    const char **keys = malloc(n * sizeof *keys);
    if (!keys)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "%s: no memory", what);
    const char *twice = NULL;
    enum status st = check_all_keys(root, keys, &twice);
    if (st != STATUS_OK)
        st = err_set(err, st, "%s: key '%.80s' stands twice in one object", what, twice);
    free(keys);
    return st;
}

enum status json_parse(struct view text, size_t max_bytes, const char *what, json_t **out,
                       struct err *err) {
    if (text.bytes > max_bytes)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED,
                       "%s: %zu bytes of JSON, at most %zu are read", what, text.bytes, max_bytes);
    size_t valid = utf8_valid_prefix(text);
    if (valid != text.bytes)
        return err_set(err, STATUS_DATA_LOSS, "%s: byte %zu is not UTF-8", what, valid);
    if (nesting(text) > LIMIT_JSON_DEPTH)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "%s: nested deeper than %d", what,
                       LIMIT_JSON_DEPTH);
    const char *end = NULL;
    cJSON *root = cJSON_ParseWithLengthOpts(text.data ? text.data : "", text.bytes, &end, 0);
    if (!root)
        return err_set(err, STATUS_DATA_LOSS, "%s: not JSON at byte %td", what,
                       end ? end - text.data : 0);
    while (end < text.data + text.bytes && strchr(" \t\r\n", *end) && *end)
        end++;
    enum status st = STATUS_OK;
    if (end != text.data + text.bytes)
        st = err_set(err, STATUS_DATA_LOSS, "%s: something follows the JSON at byte %td", what,
                     end - text.data);
    if (st == STATUS_OK)
        st = no_duplicates(root, what, err);
    if (st != STATUS_OK) {
        cJSON_Delete(root);
        return st;
    }
    *out = root;
    return STATUS_OK;
}

static enum status read_all(int fd, char *data, size_t bytes, const char *path, struct err *err) {
    for (size_t done = 0; done < bytes;) {
        ssize_t n = read(fd, data + done, bytes - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(err, STATUS_UNAVAILABLE, "read '%s'", path);
        if (n == 0)
            return err_set(err, STATUS_DATA_LOSS, "'%s' became shorter while it was read", path);
        done += (size_t)n;
    }
    return STATUS_OK;
}

enum status json_load(const char *path, size_t max_bytes, json_t **out, struct err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not hold us */
    if (fd < 0)
        return err_errno(err, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_UNAVAILABLE, "open '%s'",
                         path);
    enum status st = STATUS_OK;
    char *data = NULL;
    struct stat info;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
        st = err_set(err, STATUS_UNAVAILABLE, "'%s' is not a file", path);
    else if ((uint64_t)info.st_size > max_bytes)
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "%s: %lld bytes, at most %zu are read", path,
                     (long long)info.st_size, max_bytes);
    if (st == STATUS_OK && !(data = malloc((size_t)info.st_size + 1)))
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "%s: no memory", path);
    if (st == STATUS_OK)
        st = read_all(fd, data, (size_t)info.st_size, path, err);
    if (st == STATUS_OK)
        st = json_parse(view_make(data, (size_t)info.st_size), max_bytes, path, out, err);
    free(data);
    close(fd);
    return st;
}

void json_destroy(json_t **self) {
    cJSON_Delete(*self);
    *self = NULL;
}

const json_t *json_get(const json_t *self, const char *key) {
    return cJSON_IsObject(self) ? cJSON_GetObjectItemCaseSensitive(self, key) : NULL;
}

const json_t *json_first(const json_t *self) {
    return cJSON_IsObject(self) || cJSON_IsArray(self) ? self->child : NULL;
}

const json_t *json_next(const json_t *self) {
    return self->next;
}

const char *json_key(const json_t *self) {
    return self->string;
}

uint32_t json_size(const json_t *self) {
    return cJSON_IsObject(self) || cJSON_IsArray(self) ? (uint32_t)cJSON_GetArraySize(self) : 0;
}

bool json_is_object(const json_t *self) {
    return cJSON_IsObject(self);
}

bool json_is_array(const json_t *self) {
    return cJSON_IsArray(self);
}

bool json_is_null(const json_t *self) {
    return cJSON_IsNull(self);
}

bool json_f64(const json_t *self, double *out) {
    if (!cJSON_IsNumber(self) || !isfinite(self->valuedouble))
        return false;
    *out = self->valuedouble;
    return true;
}

bool json_u64(const json_t *self, uint64_t *out) {
    double x;
    if (!json_f64(self, &x) || x < 0 || x > 9007199254740992.0 || x != floor(x))
        return false;
    *out = (uint64_t)x;
    return true;
}

bool json_bool(const json_t *self, bool *out) {
    if (!cJSON_IsBool(self))
        return false;
    *out = cJSON_IsTrue(self);
    return true;
}

const char *json_text(const json_t *self) {
    return cJSON_IsString(self) ? self->valuestring : NULL;
}

size_t json_quote(struct view text, char *out, size_t out_bytes) {
    static const char hex[] = "0123456789abcdef";
    size_t n = 0;
#define PUT(c)                                                                                     \
    do {                                                                                           \
        if (n + 1 < out_bytes)                                                                     \
            out[n] = (c);                                                                          \
        n++;                                                                                       \
    } while (0)
    PUT('"');
    for (size_t i = 0; i < text.bytes; i++) {
        unsigned char c = (unsigned char)text.data[i];
        const char *escape = c ? strchr("\"\"\\\\\nn\tt\rr", c) : NULL;
        if (c == '"' || c == '\\') {
            PUT('\\');
            PUT((char)c);
        } else if (escape && c < 0x20) {
            PUT('\\');
            PUT(escape[1]);
        } else if (c < 0x20 || c == 0x7f) {
            PUT('\\');
            PUT('u');
            PUT('0');
            PUT('0');
            PUT(hex[c >> 4]);
            PUT(hex[c & 15]);
        } else {
            PUT((char)c);
        }
    }
    PUT('"');
#undef PUT
    if (out_bytes)
        out[n < out_bytes ? n : out_bytes - 1] = '\0';
    return n;
}
