/* vector_file.h - rows of float32 numbers into a file, complete or not at all.
 *
 *     VECTOR_NPY    NumPy's format, version 1.0 (numpy/lib/format.py): a head of 128 bytes, then
 *                   [n, dim] float32, little-endian, row after row: numpy.load(path, mmap_mode="r")
 *     VECTOR_JSONL  {"i":0,"dim":384,"vector":[...]} a line; nine digits bring a float32 back
 *
 * A file is written under its name with ".part" behind it and gets its name when it is complete; a
 * link is followed. What is no file (/dev/stdout, a pipe) is written as it comes.
 *
 * Threads: owner only. */
#ifndef EMBER_MODEL_TOOL_VECTOR_FILE_H
#define EMBER_MODEL_TOOL_VECTOR_FILE_H

#include "base/err.h"

#include <stdint.h>
#include <stdio.h>

enum vector_form { VECTOR_JSONL, VECTOR_NPY };

enum { VECTOR_NPY_HEAD = 128 }; /* bytes; the format wants a multiple of 64 */

struct vector_file {
    enum vector_form form;
    uint32_t dim;
    uint64_t n; /* rows so far */
    FILE *file;
    char path[4096], part[4096]; /* "" for standard output and what is no file */
};

/* `path` "" is standard output, where VECTOR_NPY cannot go, nor to what is no file: its head tells
 * how many rows follow, and is written last. STATUS_INVALID_ARGUMENT for that, STATUS_OUT_OF_RANGE:
 * the path is too long, STATUS_UNAVAILABLE. vector_file_abort() is fine after any. */
enum status vector_file_open(const char *path, enum vector_form form, uint32_t dim,
                             struct vector_file *self, struct err *err);

/* The next row, x[dim]. Errors of writing are told by vector_file_close(). */
void vector_file_add(struct vector_file *self, const float *x);

/* Whether all could be written so far: a full disk need not be written to for an hour. */
bool vector_file_good(const struct vector_file *self);

/* Completes the file and gives it its name. STATUS_UNAVAILABLE: it could not be written, and is
 * removed. */
enum status vector_file_close(struct vector_file *self, struct err *err);
void vector_file_abort(struct vector_file *self); /* removes what there is; nothing after close */

#endif
