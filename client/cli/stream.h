/* stream.h - many texts through few calls: words of the command line, or the lines of a file of any
 * length, in bounded memory.
 *
 *     lines --> chunk of up to 512 --> call \
 *     lines --> chunk              --> call  > four at a time, answers handed over in order
 *     lines --> chunk              --> call /
 *
 * At a terminal each line is a chunk of its own, so that the answer comes at once. On standard
 * error a line tells how far it is, when that is a terminal and standard output is not. */
#ifndef EMBER_CLI_STREAM_H
#define EMBER_CLI_STREAM_H

#include "cli.h"

enum { STREAM_CHUNK_TEXTS = 512 };

struct stream_task {
    /* Starts a call for the texts. */
    enum ember_status (*start)(void *arg, ember_t *e, const char *const *texts, size_t n,
                               const size_t *text_bytes, ember_call_t **call,
                               struct ember_error *error);
    /* Prints the answer; `first` is the number of its first text, from 0. False: standard output is
     * gone. */
    bool (*print)(void *arg, const ember_result_t *result, const char *const *texts,
                  const size_t *text_bytes, uint64_t first);
    void *arg;
    bool pairs; /* a text is two, with a tab between: words are taken two by two, a line without a
                 * tab is refused */
};

/* The place of the tab in a pair that stream_run() handed over. */
size_t stream_tab(const char *text, size_t bytes);

/* Runs all texts: argv[1..n_words], or the lines of `file` ("-": standard input), which is also
 * read when there are neither words nor a file. Returns the exit status. */
int stream_run(struct cli *cli, const struct stream_task *task, int n_words, char **argv,
               const char *file);

#endif
