/* tool.h - what the subcommands of ember-model share. */
#ifndef EMBER_MODEL_TOOL_H
#define EMBER_MODEL_TOOL_H

#include "base/err.h"
#include "base/view.h"

/* Exit statuses, for scripts. */
enum tool_exit {
    TOOL_OK = 0,     /* done; for check: something ran and all of it passed */
    TOOL_FAILED = 1, /* a check failed, or it could not be done: the reason is on stderr */
    TOOL_USAGE = 2   /* the command line makes no sense */
};

/* Each takes its own words, argv[0] being the name of the subcommand. */
enum tool_exit inspect_main(int argc, char **argv);
enum tool_exit check_main(int argc, char **argv);
enum tool_exit prepare_main(int argc, char **argv);
enum tool_exit quantize_main(int argc, char **argv);
enum tool_exit synth_main(int argc, char **argv);
enum tool_exit bench_main(int argc, char **argv);
enum tool_exit eval_main(int argc, char **argv);
enum tool_exit embed_main(int argc, char **argv);

/* "ember-model: <text>" on stderr; returns TOOL_USAGE for STATUS_INVALID_ARGUMENT, else
 * TOOL_FAILED. */
enum tool_exit tool_fail(const struct err *err);

/* "dir/name" into out[bytes]; STATUS_OUT_OF_RANGE when it is longer. */
enum { TOOL_PATH_MAX = 4096 };
enum status tool_path(char out[TOOL_PATH_MAX], const char *dir, const char *name, struct err *err);

/* The bytes of a file of at most max_bytes; the caller frees out->data. STATUS_NOT_FOUND,
 * STATUS_UNAVAILABLE, STATUS_RESOURCE_EXHAUSTED. */
enum status tool_read(const char *path, size_t max_bytes, struct view *out, struct err *err);

#endif
