/* replace.h - a file is there whole or not at all: what is written lands beside it and takes its
 * place when all of it is on disk.
 *
 * Threads: any; two writers of one path: one of them fails, or the later one wins. */
#ifndef EMBER_BENCH_REPLACE_H
#define EMBER_BENCH_REPLACE_H

#include "base/err.h"

#include <stdio.h>

typedef void replace_fn(FILE *out, const void *arg);

/* `put` writes all of it; what cannot be written is noticed here. A link is followed, and what is
 * no file (/dev/stdout, a pipe) is written as it comes. STATUS_UNAVAILABLE, with the file as it
 * was. */
enum status replace_file(const char *path, replace_fn *put, const void *arg, struct err *err);

#endif
