/* vector_file.c - the head of a NumPy file names the number of rows, so room is left for it. */
#include "vector_file.h"

#include "base/check.h"
#include "base/limits.h"
#include "engine/vector.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* "\x93NUMPY", version 1.0, the length of what follows, then a Python dictionary filled up with
 * blanks and ended by a line feed. */
static void npy_head(uint64_t n, uint32_t dim, uint8_t out[VECTOR_NPY_HEAD]) {
    static const uint8_t magic[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, VECTOR_NPY_HEAD - 10, 0};
    char text[VECTOR_NPY_HEAD - sizeof magic + 1];
    const int used = snprintf(text, sizeof text,
                              "{'descr': '<f4', 'fortran_order': False, "
                              "'shape': (%" PRIu64 ", %" PRIu32 "), }",
                              n, dim);
    CHECK(used > 0 && (size_t)used < sizeof text - 1);
    memset(text + used, ' ', sizeof text - (size_t)used);
    text[sizeof text - 2] = '\n';
    memcpy(out, magic, sizeof magic);
    memcpy(out + sizeof magic, text, sizeof text - 1);
}

static void put_head(struct vector_file *self) {
    uint8_t head[VECTOR_NPY_HEAD];
    npy_head(self->n, self->dim, head);
    fwrite(head, 1, sizeof head, self->file);
}

static bool is_other(const char *path) {
    struct stat there;
    return stat(path, &there) == 0 && !S_ISREG(there.st_mode);
}

/* /dev/stdout or a pipe: written as it comes, never replaced. */
static enum status open_other(const char *path, enum vector_form form, struct vector_file *self,
                              struct err *err) {
    if (form == VECTOR_NPY)
        return err_set(err, STATUS_INVALID_ARGUMENT,
                       "'%s' is no file: NumPy's format needs one, as its head is written last",
                       path);
    self->file = fopen(path, "we");
    return self->file ? STATUS_OK : err_errno(err, STATUS_UNAVAILABLE, "open '%s'", path);
}

enum status vector_file_open(const char *path, enum vector_form form, uint32_t dim,
                             struct vector_file *self, struct err *err) {
    CHECK(dim <= LIMIT_DIM);
    *self = (struct vector_file){.form = form, .dim = dim};
    if (!*path && form == VECTOR_NPY)
        return err_set(err, STATUS_INVALID_ARGUMENT,
                       "a NumPy file needs --out FILE: its head, which comes first, tells how many "
                       "vectors follow");
    if (!*path) {
        self->file = stdout;
        return STATUS_OK;
    }
    if (is_other(path))
        return open_other(path, form, self, err);
    char *real = realpath(path, NULL); /* a link is followed; NULL: it is not there yet */
    const int n = snprintf(self->part, sizeof self->part, "%s.part", real ? real : path);
    const bool fits = n >= 0 && (size_t)n < sizeof self->part;
    if (fits)
        snprintf(self->path, sizeof self->path, "%s", real ? real : path);
    free(real);
    if (!fits)
        return err_set(err, STATUS_OUT_OF_RANGE, "the path '%.60s...' is too long", path);
    self->file = fopen(self->part, "we");
    if (!self->file)
        return err_errno(err, STATUS_UNAVAILABLE, "make '%s'", self->part);
    if (form == VECTOR_NPY)
        put_head(self);
    return STATUS_OK;
}

void vector_file_add(struct vector_file *self, const float *x) {
    if (self->form == VECTOR_NPY) {
        uint8_t row[LIMIT_DIM * sizeof *x];
        vector_encode(x, self->dim, VECTOR_F32, row);
        fwrite(row, sizeof *x, self->dim, self->file);
    } else {
        fprintf(self->file, "{\"i\":%" PRIu64 ",\"dim\":%" PRIu32 ",\"vector\":[", self->n,
                self->dim);
        for (uint32_t k = 0; k < self->dim; k++)
            fprintf(self->file, "%s%.9g", k ? "," : "", (double)x[k]);
        fputs("]}\n", self->file);
    }
    self->n++;
}

bool vector_file_good(const struct vector_file *self) {
    return !ferror(self->file);
}

enum status vector_file_close(struct vector_file *self, struct err *err) {
    bool good = self->form != VECTOR_NPY || fseek(self->file, 0, SEEK_SET) == 0;
    if (good && self->form == VECTOR_NPY)
        put_head(self);
    good = fflush(self->file) == 0 && !ferror(self->file) && good;
    if (self->file == stdout) {
        self->file = NULL;
        return good ? STATUS_OK : err_errno(err, STATUS_UNAVAILABLE, "write to standard output");
    }
    good = fclose(self->file) == 0 && good;
    self->file = NULL;
    if (good && (!*self->part || rename(self->part, self->path) == 0))
        return STATUS_OK;
    enum status st =
        err_errno(err, STATUS_UNAVAILABLE, "write %s", *self->part ? self->part : "what is asked");
    if (*self->part)
        remove(self->part);
    return st;
}

void vector_file_abort(struct vector_file *self) {
    if (!self->file || self->file == stdout)
        return;
    fclose(self->file);
    if (*self->part)
        remove(self->part);
    self->file = NULL;
}
