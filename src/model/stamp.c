/* stamp.c - see stamp.h. Reading is a cursor over lines; the sum is checked before anything else,
 * so what is parsed is what somebody of ours wrote, or made to look like it: every number and
 * every name is checked all the same. */
#include "model/stamp.h"

#include "base/hash.h"
#include "base/limits.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    TICK_NS = 50 * 1000 * 1000,
    SECOND_NS = 1000 * 1000 * 1000,
    TAIL_BYTES = 4 + 16 + 1, /* "sum ", digits, end of line */
};

static const char *const type_names[] = {
    [WEIGHTS_F32] = "f32", [WEIGHTS_F16] = "f16", [WEIGHTS_BF16] = "bf16",   [WEIGHTS_F64] = "f64",
    [WEIGHTS_I64] = "i64", [WEIGHTS_I32] = "i32", [WEIGHTS_OTHER] = "other",
};
enum { N_TYPES = sizeof type_names / sizeof *type_names };

/* ---- files ---- */

static int64_t ns_of(struct timespec t) {
    return (int64_t)t.tv_sec * SECOND_NS + t.tv_nsec;
}

bool stamp_look(const char *dir, const char *name, struct stamp_file *out) {
    char path[PATH_MAX];
    struct stat info;
    int n = snprintf(path, sizeof path, "%s/%s", dir, name);
    int m = snprintf(out->name, sizeof out->name, "%s", name);
    if (n < 0 || (size_t)n >= sizeof path || m < 0 || (size_t)m >= sizeof out->name)
        return false;
    out->there = stat(path, &info) == 0;
    if (!out->there) {
        out->device = out->inode = out->bytes = 0;
        out->modified_ns = out->changed_ns = 0;
        return errno == ENOENT || errno == ENOTDIR;
    }
    out->device = (uint64_t)info.st_dev;
    out->inode = (uint64_t)info.st_ino;
    out->bytes = (uint64_t)info.st_size;
    out->modified_ns = ns_of(info.st_mtim);
    out->changed_ns = ns_of(info.st_ctim);
    return true;
}

static bool same_look(const struct stamp_file *a, const struct stamp_file *b) {
    return a->there == b->there && a->device == b->device && a->inode == b->inode &&
           a->bytes == b->bytes && a->modified_ns == b->modified_ns &&
           a->changed_ns == b->changed_ns;
}

bool stamp_holds(const struct stamp *self) {
    for (uint32_t i = 0; i < self->n_files; i++) {
        struct stamp_file now;
        if (!stamp_look(self->dir, self->files[i].name, &now) || !same_look(&now, &self->files[i]))
            return false;
    }
    return self->n_files > 0;
}

bool stamp_settled(const struct stamp_file *files, uint32_t n, int64_t now_ns) {
    for (uint32_t i = 0; i < n; i++) {
        const int64_t changed = files[i].changed_ns;
        const int64_t tick = changed % SECOND_NS == 0 ? 2 * (int64_t)SECOND_NS : TICK_NS;
        if (files[i].there && (changed > now_ns || now_ns - changed < tick))
            return false;
    }
    return true;
}

/* ---- writing ---- */

static bool printable(const char *name) {
    for (; *name; name++)
        if ((unsigned char)*name < 0x20 || *name == 0x7f)
            return false;
    return true;
}

static bool print_tensor(FILE *f, const struct tensor *t) {
    if (!printable(t->name))
        return false;
    fprintf(f, "tensor %s %u", type_names[t->type], t->rank);
    for (uint32_t i = 0; i < t->rank; i++)
        fprintf(f, " %llu", (unsigned long long)t->shape[i]);
    fprintf(f, " %s\n", t->name);
    return true;
}

static bool print_file(FILE *f, const struct stamp_file *file) {
    if (!printable(file->name))
        return false;
    if (file->there)
        fprintf(f, "file %llu %llu %llu %lld %lld %s\n", (unsigned long long)file->device,
                (unsigned long long)file->inode, (unsigned long long)file->bytes,
                (long long)file->modified_ns, (long long)file->changed_ns, file->name);
    else
        fprintf(f, "none %s\n", file->name);
    return true;
}

static bool print_all(FILE *f, const struct stamp *self, const weights_t *tensors) {
    if (!printable(self->dir))
        return false;
    fprintf(f, "ember-stamp 1\nscheme %016llx\ndir %s\nfingerprint ",
            (unsigned long long)self->scheme, self->dir);
    for (size_t i = 0; i < sizeof self->fingerprint; i++)
        fprintf(f, "%02x", self->fingerprint[i]);
    fputc('\n', f);
    bool ok = true;
    for (uint32_t i = 0; ok && i < self->n_files; i++)
        ok = print_file(f, &self->files[i]);
    for (uint32_t i = 0; ok && i < weights_count(tensors); i++)
        ok = print_tensor(f, weights_at(tensors, i));
    return ok;
}

enum status stamp_print(const struct stamp *self, const weights_t *tensors, char **out,
                        size_t *bytes, struct err *err) {
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    if (!f)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    bool ok = print_all(f, self, tensors);
    if (fflush(f) == 0 && ok) /* text and n are right from here on */
        fprintf(f, "sum %016llx\n", (unsigned long long)hash_bytes(text, n, 0));
    if (fclose(f) != 0) {
        free(text);
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    }
    if (!ok || n > STAMP_BYTES_MAX) {
        free(text);
        return err_set(err, STATUS_OUT_OF_RANGE, "names with control characters, or too many");
    }
    *out = text;
    *bytes = n;
    return STATUS_OK;
}

/* ---- reading ---- */

/* What is left of the line that is being read. */
struct line {
    struct view rest;
};

static bool next_line(struct view *text, struct line *out) {
    const char *end = text->bytes ? memchr(text->data, '\n', text->bytes) : NULL;
    if (!end)
        return false;
    out->rest = view_make(text->data, (size_t)(end - text->data));
    *text = view_make(end + 1, text->bytes - out->rest.bytes - 1);
    return true;
}

/* The next word; empty at the end of the line. */
static struct view take_word(struct line *line) {
    const char *space = line->rest.bytes ? memchr(line->rest.data, ' ', line->rest.bytes) : NULL;
    struct view word = line->rest;
    if (space)
        word.bytes = (size_t)(space - word.data);
    const size_t gone = space ? word.bytes + 1 : word.bytes;
    line->rest = view_make(line->rest.data + gone, line->rest.bytes - gone);
    return word;
}

static bool take_number(struct line *line, uint64_t *out) {
    struct view word = take_word(line);
    uint64_t value = 0;
    for (size_t i = 0; i < word.bytes; i++) {
        const unsigned digit = (unsigned)(word.data[i] - '0');
        if (digit > 9 || value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return word.bytes > 0;
}

static bool take_time(struct line *line, int64_t *out) {
    const bool negative = line->rest.bytes && *line->rest.data == '-';
    uint64_t value;
    if (negative)
        line->rest = view_make(line->rest.data + 1, line->rest.bytes - 1);
    if (!take_number(line, &value) || value > INT64_MAX)
        return false;
    *out = negative ? -(int64_t)value : (int64_t)value;
    return true;
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool take_hex(struct line *line, uint8_t *out, size_t n) {
    struct view word = take_word(line);
    if (word.bytes != 2 * n)
        return false;
    for (size_t i = 0; i < n; i++) {
        int high = hex_digit(word.data[2 * i]), low = hex_digit(word.data[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool take_hex64(struct line *line, uint64_t *out) {
    uint8_t bytes[8];
    if (!take_hex(line, bytes, sizeof bytes))
        return false;
    *out = 0;
    for (size_t i = 0; i < sizeof bytes; i++)
        *out = *out << 8 | bytes[i];
    return true;
}

/* All that is left of the line, as a name. */
static bool take_rest(struct line *line, char *out, size_t max) {
    if (line->rest.bytes == 0 || line->rest.bytes >= max ||
        memchr(line->rest.data, 0, line->rest.bytes))
        return false;
    memcpy(out, line->rest.data, line->rest.bytes);
    out[line->rest.bytes] = 0;
    return true;
}

/* Names stay inside the directory. */
static bool plain_path(const char *name) {
    return name[0] != '/' && strcmp(name, "..") != 0 && strncmp(name, "../", 3) != 0 &&
           !strstr(name, "/../");
}

static bool parse_file(struct line *line, bool there, struct stamp *out) {
    if (out->n_files == STAMP_FILES_MAX)
        return false;
    struct stamp_file *file = &out->files[out->n_files];
    *file = (struct stamp_file){.there = there};
    if (there && !(take_number(line, &file->device) && take_number(line, &file->inode) &&
                   take_number(line, &file->bytes) && take_time(line, &file->modified_ns) &&
                   take_time(line, &file->changed_ns)))
        return false;
    out->n_files++;
    return take_rest(line, file->name, sizeof file->name) && plain_path(file->name);
}

static bool parse_tensor(struct line *line, struct stamp *out) {
    struct tensor tensor = {0};
    struct view type = take_word(line);
    uint64_t rank;
    uint32_t i = 0;
    while (i < N_TYPES && !view_equal(type, view_of(type_names[i])))
        i++;
    if (i == N_TYPES || !take_number(line, &rank) || rank > WEIGHTS_RANK_MAX)
        return false;
    tensor.type = (enum weights_type)i;
    tensor.rank = (uint32_t)rank;
    for (uint32_t k = 0; k < tensor.rank; k++)
        if (!take_number(line, &tensor.shape[k]))
            return false;
    return line->rest.bytes > 0 && !memchr(line->rest.data, 0, line->rest.bytes) &&
           weights_add(out->tensors, line->rest, &tensor, NULL) == STATUS_OK;
}

static bool parse_line(struct line *line, struct stamp *out) {
    struct view word = take_word(line);
    if (view_equal(word, view_of("file")))
        return parse_file(line, true, out);
    if (view_equal(word, view_of("none")))
        return parse_file(line, false, out);
    return view_equal(word, view_of("tensor")) && parse_tensor(line, out);
}

static bool head_line(struct view *text, const char *word, struct line *line) {
    return next_line(text, line) && view_equal(take_word(line), view_of(word));
}

static bool parse_all(struct view text, struct stamp *out) {
    struct line line;
    uint64_t version;
    bool ok = head_line(&text, "ember-stamp", &line) && take_number(&line, &version) &&
              version == 1 && head_line(&text, "scheme", &line) &&
              take_hex64(&line, &out->scheme) && head_line(&text, "dir", &line) &&
              take_rest(&line, out->dir, sizeof out->dir) &&
              head_line(&text, "fingerprint", &line) &&
              take_hex(&line, out->fingerprint, sizeof out->fingerprint);
    while (ok && text.bytes > 0)
        ok = next_line(&text, &line) && parse_line(&line, out);
    return ok && weights_seal(out->tensors, NULL) == STATUS_OK;
}

/* Takes the last line off *text when it tells the sum of those before it. */
static bool check_sum(struct view *text) {
    if (text->bytes < TAIL_BYTES || text->bytes > STAMP_BYTES_MAX)
        return false;
    struct view tail = view_make(text->data + (text->bytes - TAIL_BYTES), TAIL_BYTES);
    struct line line;
    uint64_t sum;
    text->bytes -= TAIL_BYTES;
    return head_line(&tail, "sum", &line) && take_hex64(&line, &sum) &&
           sum == hash_bytes(text->data, text->bytes, 0);
}

enum status stamp_parse(struct view text, struct stamp *out, struct err *err) {
    *out = (struct stamp){0};
    if (!check_sum(&text))
        return err_set(err, STATUS_DATA_LOSS, "it is cut or altered");
    out->files = calloc(STAMP_FILES_MAX, sizeof *out->files);
    out->tensors = weights_new();
    enum status st = STATUS_OK;
    if (!out->files || !out->tensors)
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    else if (!parse_all(text, out))
        st = err_set(err, STATUS_DATA_LOSS, "it is no stamp of this version");
    if (st != STATUS_OK)
        stamp_done(out);
    return st;
}

void stamp_done(struct stamp *self) {
    free(self->files);
    weights_destroy(&self->tensors);
    *self = (struct stamp){0};
}
