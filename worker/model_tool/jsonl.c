/* jsonl.c - one read of the whole file, then a walk over its lines. */
#include "jsonl.h"

#include "base/limits.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum status jsonl_open(const char *path, struct jsonl *self, struct err *err) {
    *self = (struct jsonl){.path = path};
    FILE *f = fopen(path, "re");
    if (!f)
        return err_errno(err, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_UNAVAILABLE, "open '%s'",
                         path);
    enum status st = STATUS_OK;
    struct stat info;
    if (fstat(fileno(f), &info) != 0 || !S_ISREG(info.st_mode))
        st = err_set(err, STATUS_UNAVAILABLE, "'%s' is not a file", path);
    else if (info.st_size > JSONL_FILE_MAX)
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "'%s': %lld bytes, at most %d are read", path,
                     (long long)info.st_size, JSONL_FILE_MAX);
    else if (!(self->data = malloc((size_t)info.st_size + 1)))
        st = err_set(err, STATUS_RESOURCE_EXHAUSTED, "'%s': no memory", path);
    else
        self->bytes = fread(self->data, 1, (size_t)info.st_size, f);
    if (st == STATUS_OK && ferror(f))
        st = err_errno(err, STATUS_UNAVAILABLE, "read '%s'", path);
    fclose(f);
    return st;
}

void jsonl_close(struct jsonl *self) {
    free(self->data);
    self->data = NULL;
}

/* Private code points that may stand for U+0000, as escapes and as UTF-8: the first one that the
 * line does not use is taken. */
static const struct {
    const char *escape, *upper, *utf8;
} stand_ins[] = {
    {"\\uf8f0", "\\uF8F0", "\xef\xa3\xb0"},
    {"\\uf8f1", "\\uF8F1", "\xef\xa3\xb1"},
    {"\\uf8f2", "\\uF8F2", "\xef\xa3\xb2"},
};

static bool line_has(struct view line, const char *part) {
    return memmem(line.data, line.bytes, part, strlen(part)) != NULL;
}

/* Replaces each \u0000 escape of `line` in place; "\\u0000", a backslash and text, is none. */
static void replace_nul(struct jsonl *self, struct view line) {
    self->nul = NULL;
    if (!line_has(line, "\\u0000"))
        return;
    size_t k = 0, n = sizeof stand_ins / sizeof *stand_ins;
    while (k < n && (line_has(line, stand_ins[k].escape) || line_has(line, stand_ins[k].upper) ||
                     line_has(line, stand_ins[k].utf8)))
        k++;
    if (k == n)
        return; /* the text then ends at the NUL, and its ids will not match: loud enough */
    self->nul = stand_ins[k].utf8;
    char *text = self->data + (line.data - self->data);
    for (size_t i = 0; i + 6 <= line.bytes; i++) {
        if (text[i] != '\\')
            continue;
        if (memcmp(text + i, "\\u0000", 6) == 0)
            memcpy(text + i, stand_ins[k].escape, 6);
        i++; /* whatever is escaped is no backslash that begins an escape */
    }
}

enum status jsonl_next(struct jsonl *self, json_t **row, struct err *err) {
    *row = NULL;
    while (self->at < self->bytes) {
        const char *start = self->data + self->at;
        const char *end = memchr(start, '\n', self->bytes - self->at);
        struct view line = {start, end ? (size_t)(end - start) : self->bytes - self->at};
        self->at += line.bytes + 1;
        self->line++;
        if (line.bytes == 0)
            continue;
        replace_nul(self, line);
        char what[300];
        snprintf(what, sizeof what, "%.250s:%u", self->path, self->line);
        enum status st = json_parse(line, LIMIT_JSON_BYTES, what, row, err);
        if (st == STATUS_OK && !json_is_object(*row)) {
            json_destroy(row);
            st = err_set(err, STATUS_DATA_LOSS, "%s: not a JSON object", what);
        }
        return st;
    }
    return STATUS_OK;
}

enum status jsonl_line(struct jsonl *self, char *line, size_t bytes, json_t **row,
                       struct err *err) {
    self->data = line;
    self->bytes = bytes;
    self->at = 0;
    enum status st = jsonl_next(self, row, err);
    self->data = NULL;
    return st;
}

bool jsonl_text(const struct jsonl *self, const json_t *value, struct view *out) {
    const char *text = json_text(value);
    if (!text)
        return false;
    size_t bytes = strlen(text);
    if (self->nul) { /* the document is ours alone: its strings may be written */
        char *data = (char *)(uintptr_t)text;
        size_t n = 0;
        for (size_t i = 0; i < bytes;) {
            bool nul = i + 3 <= bytes && memcmp(data + i, self->nul, 3) == 0;
            data[n++] = nul ? '\0' : data[i];
            i += nul ? 3 : 1;
        }
        bytes = n;
    }
    *out = view_make(text, bytes);
    return true;
}
