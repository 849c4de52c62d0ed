/* text_rows.c - getline(), and for JSON rows jsonl.h on the line in hand. */
#include "text_rows.h"

#include "base/limits.h"
#include "base/utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool ends_in(const char *text, const char *end) {
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

enum status text_rows_open(const char *path, struct text_rows *self, struct err *err) {
    const bool standard = strcmp(path, "-") == 0;
    *self = (struct text_rows){.path = standard ? "standard input" : path,
                               .json = ends_in(path, ".jsonl")};
    self->jsonl.path = self->path;
    self->file = standard ? stdin : fopen(path, "re");
    if (!self->file)
        return err_errno(err, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_UNAVAILABLE, "open '%s'",
                         path);
    struct stat info;
    if (fstat(fileno(self->file), &info) == 0 && S_ISDIR(info.st_mode))
        return err_set(err, STATUS_UNAVAILABLE, "'%s' is a directory", path);
    if (fstat(fileno(self->file), &info) == 0 && S_ISREG(info.st_mode))
        self->bytes = (uint64_t)info.st_size;
    return STATUS_OK;
}

void text_rows_close(struct text_rows *self) {
    json_destroy(&self->row);
    free(self->data);
    if (self->file && self->file != stdin)
        fclose(self->file);
    self->file = NULL;
    self->data = NULL;
}

/* One line without its end, or self->end. */
static enum status read_line(struct text_rows *self, struct view *line, struct err *err) {
    errno = 0;
    ssize_t n = getline(&self->data, &self->room, self->file);
    if (n < 0 && !feof(self->file))
        return err_errno(err, STATUS_UNAVAILABLE, "read '%s'", self->path);
    self->end = n < 0;
    if (n < 0)
        return STATUS_OK;
    self->line++;
    self->read += (uint64_t)n;
    while (n > 0 && (self->data[n - 1] == '\n' || self->data[n - 1] == '\r'))
        n--;
    *line = view_make(self->data, (size_t)n);
    return STATUS_OK;
}

static enum status text_of_row(struct text_rows *self, struct view line, struct view *text,
                               struct err *err) {
    self->jsonl.line = self->line - 1; /* it counts the line that it is given */
    enum status st = jsonl_line(&self->jsonl, self->data, line.bytes, &self->row, err);
    if (st != STATUS_OK)
        return st;
    const json_t *value = json_get(self->row, "text");
    if (!value)
        return err_set(err, STATUS_DATA_LOSS, "%s:%u: \"text\" is missing", self->path, self->line);
    if (!jsonl_text(&self->jsonl, value, text))
        return err_set(err, STATUS_DATA_LOSS, "%s:%u: \"text\" is no string", self->path,
                       self->line);
    return STATUS_OK;
}

enum status text_rows_next(struct text_rows *self, struct view *text, struct err *err) {
    struct view line;
    enum status st;
    json_destroy(&self->row);
    do
        st = read_line(self, &line, err);
    while (st == STATUS_OK && !self->end && self->json && line.bytes == 0);
    if (st != STATUS_OK || self->end)
        return st;
    *text = line;
    if (self->json && (st = text_of_row(self, line, text, err)) != STATUS_OK)
        return st;
    if (text->bytes > LIMIT_TEXT_BYTES)
        return err_set(err, STATUS_DATA_LOSS, "%s:%u: the text has %zu bytes, at most %d are taken",
                       self->path, self->line, text->bytes, LIMIT_TEXT_BYTES);
    const size_t valid = utf8_valid_prefix(*text);
    if (valid < text->bytes)
        return err_set(err, STATUS_DATA_LOSS, "%s:%u: the text is not UTF-8 at byte %zu",
                       self->path, self->line, valid);
    return STATUS_OK;
}
